"""The audit: recompute what is known of every claim, and compare it with the ledger.

Nothing here trusts a record.  For each executable claim the audit checks that the witness satisfies the
hypotheses, that no instance exceeds a bound, that the cheapest answer does (else the bound is
vacuous), that a rival which is said to dominate never pays more and always pays less for something,
and how close the extremal instance comes.  The ledger must say exactly what was found: a record that
says more, or less, is a difference, and so is a sentence of an abstract without a record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from proofs import check
from reference import Enclosure, Verdict
from specs import CLAIMS
from specs.claim import (
    Assurance,
    Bound,
    Claim,
    Ledger,
    Record,
    Relation,
    Rival,
    Status,
    ledger,
)
from specs.codegen import coq_bounds

#: Fractional bits to try before an instance is called undecided.
PRECISIONS = (256, 512, 1280)

#: Random instances of each claim, from one seed.
SAMPLES, SEED = 25, 20261122


@dataclass(frozen=True)
class Finding:
    """What the audit found about one claim.

    Attributes
    ----------
    verdict, assurance
        As recomputed.
    sharpness
        For each bound, a lower bound on quantity / bound at its extremal instance.
    faults
        Sentences about what is broken in the evidence itself.
    """

    verdict: Status
    assurance: Assurance
    sharpness: Mapping[str, Fraction] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    """A record beside what was found, and the differences in sentences."""

    record: Record
    finding: Finding
    differences: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """Every audited claim, differences that belong to no claim, and what was not run."""

    claims: tuple[Audit, ...]
    differences: tuple[str, ...]
    not_run: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the ledger says exactly what was found."""
        return not self.differences and not any(a.differences for a in self.claims)


def audit(
    ids: Sequence[str] = (), *, proofs: bool = False, book: Ledger | None = None
) -> AuditReport:
    """Audit the named claims, or all of them and the abstracts' sentences too.

    Parameters
    ----------
    ids
        Claim ids; none means every claim.
    proofs
        Whether to run Coq.  Without it a theorem counts when its source, and all that it requires, is
        what Coq checked when the snapshot was taken, and the report says that Coq was not run.
    book
        The ledger to audit; the one that ships by default.

    Raises
    ------
    ValueError
        If an id is unknown.
    """
    book = ledger() if book is None else book
    unknown = [i for i in ids if i not in book.records and i not in CLAIMS]
    if unknown:
        raise ValueError(
            f"unknown claim id {unknown[0]!r}; known are {', '.join(sorted(book.records))}."
        )
    proved, not_run, broken = _theorems(proofs)
    differences = list(broken)
    if not ids:
        differences += [*_sentence_differences(book), *_missing_records(book)]
    audits = []
    for id_ in ids or book.records:
        if id_ not in book.records:
            differences.append(f"{id_} is an executable claim without a record in the ledger.")
            continue
        record = book.records[id_]
        finding = find(CLAIMS[id_], proved) if id_ in CLAIMS else _nothing_found()
        wrong = (*compare(record, finding), *_repair_differences(record, book))
        audits.append(Audit(record, finding, wrong))
    return AuditReport(tuple(audits), tuple(differences), not_run)


def find(claim: Claim[Any], proved: Callable[[str, str, Relation | None], bool]) -> Finding:
    """Recompute verdict, assurance and sharpness of an executable claim.

    Parameters
    ----------
    claim
        The claim.
    proved
        Whether a theorem of that name was checked, and concludes the bound of that name in that relation;
        ``None``: speaks of the bound.
    """
    faults: list[str] = []
    rng = np.random.default_rng(SEED)
    instances = [("the witness", claim.witness())]
    instances += [(f"sample {k}", claim.sample(rng)) for k in range(SAMPLES)]
    extremes = {b.name: b.extremal() for b in claim.bounds}
    refuted = vacuous = False
    sharpness = {}
    for name, instance in [*instances, *((f"extremal {n}", e) for n, e in extremes.items())]:
        faults += [f"{name} breaks the hypothesis: {h}." for h in claim.broken_hypotheses(instance)]
    for bound in claim.bounds:
        for name, instance in instances:
            decided = decide_bound(bound, instance)
            refuted |= decided is Verdict.OUTSIDE
            if decided is Verdict.UNDECIDED:
                faults.append(f"{bound.name} is undecided at {name} with {PRECISIONS[-1]} bits.")
        vacuous |= decide_trivial(bound, claim.witness()) is not Verdict.OUTSIDE
        # Equality cannot be decided by enclosures, so an attained bound need only not be exceeded.
        refuted |= decide_bound(bound, extremes[bound.name]) is Verdict.OUTSIDE
        sharpness[bound.name] = _sharpness(bound, extremes[bound.name])
    dominated = decide_dominated(claim, (instance for _, instance in instances))
    reached = claim.refutation is not None and any(
        claim.refutation.reaches(instance) for _, instance in instances
    )
    verdict = (
        Status.REFUTED
        if refuted
        else Status.HYPOTHESIS_REFUTED
        if reached
        else Status.VACUOUS
        if vacuous
        else Status.DOMINATED
        if dominated
        else Status.HOLDS
    )
    with_theorem = all(b.theorem and proved(b.theorem, b.name, b.relation) for b in claim.bounds)
    faults += [
        f"no checked theorem {name} concludes b_{b.name}"
        + (f" as {relation.value}." if relation else ".")
        for b in claim.bounds
        for name, relation in ((b.theorem, b.relation), (b.attained, None))
        if name and not proved(name, b.name, relation)
    ]
    assurance = Assurance.PROVED if with_theorem else Assurance.CERTIFIED
    if verdict is Status.HYPOTHESIS_REFUTED:
        # What is counted here supports the claim; that it says nothing rests on the publication.
        assurance = Assurance.CITED
    return Finding(verdict, assurance, sharpness, tuple(faults))


def decide_bound(bound: Bound[Any], instance: Any) -> Verdict:
    """Decide whether the quantity is within its bound on an instance, raising the precision."""
    return _decide(lambda bits: (bound.quantity(instance, bits), bound.value(instance, bits)))


def decide_trivial(bound: Bound[Any], instance: Any) -> Verdict:
    """Decide whether the cheapest answer meets the bound on an instance: then it is vacuous there."""
    return _decide(lambda bits: (bound.trivial(instance, bits), bound.value(instance, bits)))


def decide_dominated(claim: Claim[Any], instances: Iterable[Any]) -> bool:
    """Decide whether the claim's rival pays no more for anything, and less for something, always."""
    rival = claim.rival
    return rival is not None and all(_pays_less(rival, instance) for instance in instances)


def compare(record: Record, finding: Finding) -> Iterable[str]:
    """Yield what the ledger says otherwise than was found, in sentences."""
    yield from finding.faults
    if record.verdict != finding.verdict:
        yield f"the ledger says {record.verdict}, the audit found {finding.verdict}."
    if record.assurance != finding.assurance:
        yield f"the ledger says {record.assurance}, the evidence makes it {finding.assurance}."
    if finding.verdict is Status.HYPOTHESIS_REFUTED and not record.scope:
        yield "the ledger must say in scope where the hypothesis is refuted, and by whom."
    recorded = record.sharpness or {}
    for name in recorded.keys() - finding.sharpness.keys():
        yield f"the ledger records the sharpness of {name}, which is no bound of this claim."
    for name, found in finding.sharpness.items():
        if name not in recorded:
            yield f"the ledger does not record the sharpness of {name}, found {shown(found)}."
        elif floor_like(found, recorded[name]) != recorded[name]:
            yield (
                f"the ledger says that {name} reaches {recorded[name]} of its bound, the audit found "
                f"{floor_like(found, recorded[name])}."
            )


def floor_like(value: Fraction, pattern: str) -> str:
    """Round down to as many decimals as the pattern has; a bound exactly reached shows as 9s."""
    unit = Decimal(1).scaleb(-len(pattern.partition(".")[2]))
    rounded = (Decimal(value.numerator) / Decimal(value.denominator)).quantize(unit, ROUND_FLOOR)
    # An enclosure never certifies the ratio 1 from below, so 1 is not a figure that can be found.
    return str(min(rounded, 1 - unit))


def shown(value: Fraction) -> str:
    """Return a sharpness with four decimals, rounded down."""
    return floor_like(value, "0.0000")


def _decide(sides: Callable[[int], tuple[Enclosure, Enclosure]]) -> Verdict:
    for bits in PRECISIONS:
        quantity, bound = sides(bits)
        (lower, upper), (least, most) = quantity.bounds(), bound.bounds()
        if upper.item() <= least.item():
            return Verdict.WITHIN
        if lower.item() > most.item():
            return Verdict.OUTSIDE
    return Verdict.UNDECIDED


def _pays_less(rival: Rival[Any], instance: Any) -> bool:
    def compared(name: str, smaller: int) -> Verdict:
        def sides(bits: int) -> tuple[Enclosure, Enclosure]:
            prices = rival.figures(instance, bits)[name]  # the claim's, the rival's
            return prices[smaller], prices[1 - smaller]

        return _decide(sides)

    names = rival.figures(instance, PRECISIONS[0]).keys()
    no_more = all(compared(name, 1) is Verdict.WITHIN for name in names)
    return no_more and any(compared(name, 0) is Verdict.OUTSIDE for name in names)


def _sharpness(bound: Bound[Any], instance: Any) -> Fraction:
    bits = PRECISIONS[0]
    lower, _ = bound.quantity(instance, bits).bounds()
    _, most = bound.value(instance, bits).bounds()
    if most.item() == 0:
        # An equality in disguise: |x - y| <= 0.  Where it holds it is reached.
        return Fraction(lower.item() >= 0)
    return Fraction(lower.item()) / Fraction(most.item())


def _nothing_found() -> Finding:
    return Finding(Status.OPEN, Assurance.NONE)


def _theorems(
    run: bool,
) -> tuple[Callable[[str, str, Relation | None], bool], tuple[str, ...], tuple[str, ...]]:
    """Return which theorems count as proved, what was not run, and what the checker found broken."""
    stated, concluded = check.statements(), check.conclusions()
    if (check.SOURCES / "Bounds.v").read_text(encoding="utf-8") != coq_bounds():
        stale = "proofs/coq/Bounds.v is not what the claims say; run python -m specs.codegen."
        return lambda theorem, bound, relation: False, (), (stale,)
    sound: Collection[str]
    if run:
        report = check.check()
        sound = {t.name for t in report.theorems} if report.passed else ()
        not_run, broken = report.not_run, report.all_problems()
    else:
        sound, broken = check.confirmed()
        not_run = ("Coq: the proofs are as of the last check's snapshot; --proofs runs them.",)

    def proved(theorem: str, bound: str, relation: Relation | None) -> bool:
        if theorem not in sound:
            return False
        if relation is None:
            return re.search(rf"\b{check.BOUNDS}\.b_{bound}\b", stated[theorem]) is not None
        return relation in concluded[theorem].get(bound, ())

    return proved, not_run, broken


def _sentence_differences(book: Ledger) -> Iterable[str]:
    for paper in book.papers:
        text = " ".join(s.text for s in paper.sentences)
        if hashlib.sha256(text.encode()).hexdigest() != paper.abstract_sha256:
            yield f"the sentences of {paper.id} are not its abstract, word for word."
        for sentence in paper.sentences:
            where = f"{paper.id}, sentence {sentence.number}"
            if bool(sentence.claims) == bool(sentence.no_claim):
                yield f"{where} must either name its claims or say why it makes none."
            for id_ in sentence.claims:
                if id_ not in book.records:
                    yield f"{where} names the claim {id_}, which has no record."


def _repair_differences(record: Record, book: Ledger) -> Iterable[str]:
    """Yield what is wrong with the claims that a record sends its reader to."""
    rival = CLAIMS[record.id].rival if record.id in CLAIMS else None
    if rival is not None and rival.claim not in record.repaired_by:
        yield f"{rival.claim} dominates it, and the ledger does not name it in repaired_by."
    if record.verdict is Status.VACUOUS and not record.repaired_by:
        yield "it is vacuous, and the ledger names no claim that repairs it."
    for id_ in record.repaired_by:
        if id_ not in book.records:
            yield f"repaired_by names {id_}, which has no record."
        elif book.records[id_].verdict is not Status.HOLDS:
            yield f"repaired_by names {id_}, whose own verdict is {book.records[id_].verdict}."


def _missing_records(book: Ledger) -> Iterable[str]:
    for id_ in CLAIMS.keys() - book.records.keys():
        yield f"{id_} is an executable claim without a record in the ledger."
