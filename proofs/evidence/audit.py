"""The audit: recompute what is known of every claim, and compare it with the ledger.

Nothing here trusts a record.  A verdict belongs to a hypothesis set, not to an instance of it.  For each
executable claim the audit looks at many instances (the witness, samples, extremal instances, the edges of
regions, what searches found) and checks that they satisfy the hypotheses, that none exceeds a bound, that
the cheapest answer does so somewhere (else the bound is vacuous) and meets the bound exactly where it is
said to, that a rival which is said to dominate never pays more and always pays less for something, that a
refutation reaches exactly its region, and how close the extremal instance comes.  The ledger must say
exactly what was found: a record that says more, or less, is a difference, and so is a sentence of an
abstract without a record, or a quotation that is in none of the sentences that it is of.
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
import sympy

from proofs.evidence import coq_checker as check
from proofs.evidence.finds import finds
from reference import Enclosure, Verdict, evaluate
from specs import CLAIMS
from specs.claim import Assurance, Bound, Claim, Relation, Rival, Status, Value, hint
from specs.ledger import Ledger, Record, ledger
from specs.printing.coq import coq_bounds

#: Fractional bits to try before an instance is called undecided.
PRECISIONS = (256, 512, 1280)

#: The sharpness of a bound that some instance attains, and of one that instances come arbitrarily close to.
ATTAINED, APPROACHED = "attained", "approached"

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
        For each bound ``attained``, where counts decide so or Coq proves it, ``approached``, where Coq proves
        that, or else a lower bound on quantity / bound at its extremal instance.
    vacuous_where
        For each bound that the cheapest answer meets on a part of the hypothesis set, which part.
    refuted_where
        Where the conjecture that the claim rests on is refuted; elsewhere the claim is open.
    faults
        Sentences about what is broken in the evidence itself.
    """

    verdict: Status
    assurance: Assurance
    sharpness: Mapping[str, str | Fraction] = field(default_factory=dict)
    vacuous_where: Mapping[str, str] = field(default_factory=dict)
    refuted_where: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observed:
    """What is so on one instance of some of a claim's bounds, none of which is a verdict by itself.

    Attributes
    ----------
    name
        Which instance it is.
    broken
        The hypotheses that it does not satisfy.
    astray
        The bounds of which an argument lies outside its domain, or all together where nothing is provided.
    decided
        For each bound that was tried, whether the quantity is within it.
    met
        The bounds of these that the cheapest answer meets.
    inside
        The bounds in whose ``vacuous_where`` the instance lies.
    pays_less
        Whether the claim's rival pays no more for anything and less for something.
    reached, in_region
        Whether the refutation reaches the instance, and whether the instance lies in its region.
    """

    name: str
    broken: tuple[str, ...]
    astray: frozenset[str]
    decided: Mapping[str, Verdict]
    met: frozenset[str]
    inside: frozenset[str]
    pays_less: bool
    reached: bool
    in_region: bool


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
    ids: Sequence[str] = (),
    *,
    proofs: bool = False,
    book: Ledger | None = None,
    each: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> AuditReport:
    """Audit the named claims, or all of them and the abstracts' sentences too.

    Parameters
    ----------
    ids
        Claim ids; none means every claim.
    proofs
        Whether to run Coq: on all proofs or, where claims are named, on what their theorems require.
        Without it a theorem counts when its source, and all that it requires, is what Coq checked when the
        snapshot was taken, and the report says that Coq was not run.
    book
        The ledger to audit; the one that ships by default.
    each
        Yields the ids, one after another: what shows how far the audit is.

    Raises
    ------
    ValueError
        If an id is unknown.
    """
    book = ledger() if book is None else book
    unknown = [i for i in ids if i not in book.records and i not in CLAIMS]
    if unknown:
        raise ValueError(
            f"unknown claim id {unknown[0]!r}; {hint(unknown[0], {*book.records, *CLAIMS})}"
        )
    proved, not_run, broken = _theorems(proofs, ids)
    differences = list(broken)
    if not ids:
        differences += [*_sentence_differences(book), *_missing_records(book)]
    audits = []
    for id_ in each(ids or [*book.records]):
        if id_ not in book.records:
            differences.append(f"{id_} is an executable claim without a record in the ledger.")
            continue
        record = book.records[id_]
        finding = find(CLAIMS[id_], proved) if id_ in CLAIMS else _nothing_found()
        wrong = (
            *compare(record, finding),
            *_repair_differences(record, book),
            *_quote_differences(record, book),
        )
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
    seen = [observe(claim, *named) for named in instances(claim)]
    verdict, judged = judge(claim, seen)
    faults = list(judged)
    sharpness = {b.name: _sharpness(b, proved) for b in claim.bounds}
    with_theorem = all(b.theorem and proved(b.theorem, b.name, b.relation) for b in claim.bounds)
    faults += [
        f"no checked theorem {name} concludes b_{b.name}"
        + (f" as {relation.value}." if relation else ".")
        for b in claim.bounds
        for name, relation in ((b.theorem, b.relation), (b.attained, None), (b.approached, None))
        if name and not proved(name, b.name, relation)
    ]
    faults += [
        f"the point {point} of {b.name} lies outside the domain."
        for b in claim.bounds
        for point in b.points
        if strays(b, dict(zip((a.name for a in b.arguments), map(_exactly, point), strict=True)))
    ]
    assurance = Assurance.PROVED if with_theorem else Assurance.CERTIFIED
    if verdict is Status.HYPOTHESIS_REFUTED or claim.source:
        # What is counted here supports the claim; that it says nothing rests on the publication.
        assurance = Assurance.CITED
    return Finding(
        verdict,
        assurance,
        sharpness,
        {b.name: sympy.sstr(b.vacuous_where) for b in claim.bounds if _is_region(b)},
        sympy.sstr(claim.refutation.where) if claim.refutation is not None else "",
        tuple(faults),
    )


def instances(
    claim: Claim[Any], samples: int = SAMPLES
) -> list[tuple[str, Any, tuple[Bound[Any], ...]]]:
    """Return the instances that a claim is audited on, named, and the bounds that each is for.

    The witness comes first.
    """
    rng = np.random.default_rng(SEED)
    found = [("the witness", claim.witness(), claim.bounds)]
    found += [(f"sample {k}", claim.sample(rng), claim.bounds) for k in range(samples)]
    for bound in claim.bounds:
        found.append((f"extremal {bound.name}", bound.extremal(), (bound,)))
        found += [(f"edge {k} of {bound.name}", i, (bound,)) for k, i in enumerate(bound.edges())]
    bounds = {b.name: b for b in claim.bounds}
    found += [(f"find: {catches}", i, (bounds[name],)) for catches, name, i in finds(claim)]
    if claim.refutation is not None:
        edges = claim.refutation.edges()
        found += [(f"edge {k} of the refutation", i, claim.bounds) for k, i in enumerate(edges)]
    return found


def observe(claim: Claim[Any], name: str, instance: Any, bounds: Sequence[Bound[Any]]) -> Observed:
    """Find what is so on one instance of some of a claim's bounds."""
    refutation = claim.refutation
    return Observed(
        name,
        claim.broken_hypotheses(instance),
        frozenset(b.name for b in bounds if strays(b, b.parameters(instance, PRECISIONS[0]))),
        {b.name: decide_bound(b, instance) for b in bounds},
        frozenset(b.name for b in bounds if decide_trivial(b, instance) is not Verdict.OUTSIDE),
        frozenset(b.name for b in bounds if lies_in(b.vacuous_where, b.parameters, instance)),
        claim.rival is not None and pays_less(claim.rival, instance),
        refutation is not None and refutation.reaches(instance),
        refutation is not None and lies_in(refutation.where, refutation.parameters, instance),
    )


def judge(claim: Claim[Any], seen: Sequence[Observed]) -> tuple[Status, tuple[str, ...]]:
    """Return the verdict on the hypothesis set that instances were taken from, and the faults.

    One instance is enough for *refuted*, and for a conjecture to be refuted on a part of the set; a claim
    that rests on a conjecture which is refuted nowhere seen is *open*.  The other verdicts are about
    all instances: a bound is *vacuous* if the cheapest answer meets it on all of them, a claim
    *dominated* if the rival pays less on all of them.
    """
    faults = [f"{o.name} breaks the hypothesis: {h}." for o in seen for h in o.broken]
    faults += [f"{o.name} lies outside the domain of {b}." for o in seen for b in sorted(o.astray)]
    faults += [
        f"{bound} is undecided at {o.name} with {PRECISIONS[-1]} bits."
        for o in seen
        for bound, decided in o.decided.items()
        # Equality cannot be decided by enclosures unless both sides are rational: a bound that is attained
        # need only not be exceeded.
        if decided is Verdict.UNDECIDED and not o.name.startswith(("extremal", "edge", "find"))
    ]
    faults += [f for bound in claim.bounds for f in _region_faults(bound, seen)]
    faults += [
        f"the refutation reaches {o.name}, which lies outside its region."
        if o.reached
        else f"the refutation does not reach {o.name}, which lies in its region."
        for o in seen
        if o.reached != o.in_region
    ]
    if any(Verdict.OUTSIDE in o.decided.values() for o in seen):
        verdict = Status.REFUTED
    elif claim.refutation is not None:
        reached = any(o.reached for o in seen)
        verdict = Status.HYPOTHESIS_REFUTED if reached else Status.OPEN
    elif any(all(b.name in o.met for o in seen if b.name in o.decided) for b in claim.bounds):
        verdict = Status.VACUOUS
    elif claim.rival is not None and all(o.pays_less for o in seen):
        verdict = Status.DOMINATED
    else:
        verdict = Status.HOLDS
    return verdict, tuple(faults)


def lies_in(
    where: sympy.Basic, parameters: Callable[[Any, int], Mapping[str, Value]], instance: Any
) -> bool:
    """Decide by enclosures whether an instance lies in the region that a SymPy relation describes.

    Raises
    ------
    ArithmeticError
        If two sides that are not equal cannot be told apart.
    """
    if where in (sympy.true, sympy.false):
        return bool(where)
    if isinstance(where, sympy.And | sympy.Or):
        parts = [lies_in(part, parameters, instance) for part in where.args]
        return all(parts) if isinstance(where, sympy.And) else any(parts)
    strict = isinstance(where, sympy.StrictGreaterThan | sympy.StrictLessThan)
    for bits in PRECISIONS:
        values = parameters(instance, bits)
        decided = _compared(where, values, bits)
        if decided is not None:
            return decided
    if _exact(where.gts - where.lts, values) == 0:
        return not strict
    raise ArithmeticError(f"{where} is undecided with {PRECISIONS[-1]} bits.")


def _exact(expression: sympy.Expr, values: Mapping[str, Value]) -> sympy.Expr:
    """Put in the values that are rational numbers."""
    tree = sympy.sympify(expression, strict=True)
    return tree.subs(
        {
            symbol: sympy.Rational(value.numerator, value.denominator)
            for symbol in tree.free_symbols
            if isinstance(value := values[symbol.name], int | Fraction)
        }
    )


def strays(bound: Bound[Any], values: Mapping[str, Value]) -> bool:
    """Return whether arguments certainly lie outside a bound's domain: on its edge nothing is decided."""
    for argument, allowed in bound.domains.items():
        value = values[argument.name]
        if isinstance(value, int | Fraction):
            low = high = Fraction(value)
        elif argument.is_integer:
            return True
        else:
            held = evaluate(argument, {argument: value}, PRECISIONS[0]).bounds()
            low, high = (Fraction(end.item()) for end in held)
        if argument.is_integer and low.denominator != 1:
            return True
        if high < allowed.inf or low > allowed.sup:
            return True
        if low == high and not _contains(allowed, low):
            return True
    return bound.provided == sympy.false or (
        bound.provided != sympy.true and _compared(bound.provided, values, PRECISIONS[0]) is False
    )


def _contains(allowed: sympy.Set, number: Fraction) -> bool:
    """Return whether a set contains a number that lies between its ends, or is one of them."""
    if isinstance(allowed, sympy.Interval):  # SymPy takes a hundred times as long
        return not (
            (allowed.left_open and number == allowed.inf)
            or (allowed.right_open and number == allowed.sup)
        )
    return allowed.contains(sympy.Rational(number.numerator, number.denominator)) is sympy.true


def _compared(where: sympy.Basic, values: Mapping[str, Value], bits: int) -> bool | None:
    """Decide an inequality by the enclosures of its sides, or not at all."""
    strict = isinstance(where, sympy.StrictGreaterThan | sympy.StrictLessThan)
    (low, high), (least, most) = (
        evaluate(side, values, bits).bounds() for side in (where.gts, where.lts)
    )
    if low.item() > most.item() or (not strict and low.item() >= most.item()):
        return True
    if high.item() < least.item() or (strict and high.item() <= least.item()):
        return False
    return None


def _exactly(point: sympy.Rational | int) -> Fraction | int:
    return point if isinstance(point, int) else Fraction(int(point.p), int(point.q))


def _is_region(bound: Bound[Any]) -> bool:
    """Return whether the cheapest answer is said to meet the bound on a part of the hypothesis set."""
    return bound.vacuous_where not in (sympy.true, sympy.false)


def _region_faults(bound: Bound[Any], seen: Sequence[Observed]) -> Iterable[str]:
    """Yield where the cheapest answer meets a bound that it is not said to meet, or the reverse."""
    name, where = bound.name, sympy.sstr(bound.vacuous_where)
    if bound.vacuous_where == sympy.false:
        return  # on no whole region: the verdict needs one instance that the cheapest answer fails
    for o in (o for o in seen if name in o.decided):
        if name in o.met and name not in o.inside:
            yield f"{name} is met by the cheapest answer at {o.name}, though not {where}."
        if name in o.inside and name not in o.met:
            yield f"{name} is not met by the cheapest answer at {o.name}, though {where}."
    if _is_region(bound):
        edges = [name in o.inside for o in seen if o.name.endswith(f"of {name}")]
        if edges != [True, False]:
            yield f"the edges of {name} must lie inside and outside {where}, in this order."


def decide_bound(bound: Bound[Any], instance: Any) -> Verdict:
    """Decide whether the quantity is within its bound on an instance, raising the precision."""
    return _decide_side(bound, bound.quantity, instance)


def decide_trivial(bound: Bound[Any], instance: Any) -> Verdict:
    """Decide whether the cheapest answer meets the bound on an instance: then it is vacuous there."""
    return _decide_side(bound, bound.trivial, instance)


def _decide_side(
    bound: Bound[Any], side: Callable[[Any, int], Enclosure], instance: Any
) -> Verdict:
    """Decide by enclosures, or where both sides are known as rational numbers by those."""
    found = _decide(lambda bits: (side(instance, bits), bound.value(instance, bits)))
    if found is not Verdict.UNDECIDED:
        return found
    low, high = (Fraction(end.item()) for end in side(instance, PRECISIONS[-1]).bounds())
    if low != high:
        return found
    # A count meets its bound where that is rounded only because a quotient is no binary number.
    most = _exact(bound.expression, bound.parameters(instance, PRECISIONS[-1]))
    if not most.is_Rational:
        return found
    return Verdict.WITHIN if low <= Fraction(int(most.p), int(most.q)) else Verdict.OUTSIDE


def pays_less(rival: Rival[Any], instance: Any) -> bool:
    """Decide whether a rival pays no more for anything, and less for something, on an instance."""

    def compared(name: str, smaller: int) -> Verdict:
        def sides(bits: int) -> tuple[Enclosure, Enclosure]:
            prices = rival.figures(instance, bits)[name]  # the claim's, the rival's
            return prices[smaller], prices[1 - smaller]

        return _decide(sides)

    names = rival.figures(instance, PRECISIONS[0]).keys()
    no_more = all(compared(name, 1) is Verdict.WITHIN for name in names)
    return no_more and any(compared(name, 0) is Verdict.OUTSIDE for name in names)


def compare(record: Record, finding: Finding) -> Iterable[str]:
    """Yield what the ledger says otherwise than was found, in sentences."""
    yield from finding.faults
    if record.verdict != finding.verdict:
        yield f"the ledger says {record.verdict}, the audit found {finding.verdict}."
    if record.assurance != finding.assurance:
        yield f"the ledger says {record.assurance}, the evidence makes it {finding.assurance}."
    if record.refuted_where != finding.refuted_where:
        yield (
            f"the ledger says refuted where {record.refuted_where or 'nothing'}, the audit found "
            f"{finding.refuted_where or 'nothing'}."
        )
    said = record.vacuous_where or {}
    for name in sorted(said.keys() | finding.vacuous_where.keys()):
        if said.get(name) != finding.vacuous_where.get(name):
            yield (
                f"the ledger says that {name} is vacuous where {said.get(name, 'nothing')}, the audit "
                f"found {finding.vacuous_where.get(name, 'nothing')}."
            )
    if finding.verdict is Status.HYPOTHESIS_REFUTED and not record.scope:
        yield "the ledger must say in scope where the hypothesis is refuted, and by whom."
    recorded = record.sharpness or {}
    for name in recorded.keys() - finding.sharpness.keys():
        yield f"the ledger records the sharpness of {name}, which is no bound of this claim."
    for name, found in finding.sharpness.items():
        if name not in recorded:
            yield f"the ledger does not record the sharpness of {name}, found {shown(found)}."
        elif isinstance(found, str) or recorded[name] in (ATTAINED, APPROACHED):
            if shown(found) != recorded[name]:
                yield f"the ledger says {recorded[name]} of {name}, the audit found {shown(found)}."
        elif floor_like(found, recorded[name]) != recorded[name]:
            yield (
                f"the ledger says that {name} reaches {recorded[name]} of its bound, the audit found "
                f"{floor_like(found, recorded[name])}."
            )


def floor_like(value: Fraction, pattern: str) -> str:
    """Round down to as many decimals as the pattern has."""
    unit = Decimal(1).scaleb(-len(pattern.partition(".")[2]))
    rounded = (Decimal(value.numerator) / Decimal(value.denominator)).quantize(unit, ROUND_FLOOR)
    # The ratio 1 is said to be attained; a figure says what was certified from below, which is less.
    return str(min(rounded, 1 - unit))


def shown(value: str | Fraction) -> str:
    """Return a sharpness as a word, or with four decimals, rounded down."""
    return value if isinstance(value, str) else floor_like(value, "0.0000")


def _decide(sides: Callable[[int], tuple[Enclosure, Enclosure]]) -> Verdict:
    for bits in PRECISIONS:
        quantity, bound = sides(bits)
        (lower, upper), (least, most) = quantity.bounds(), bound.bounds()
        if upper.item() <= least.item():
            return Verdict.WITHIN
        if lower.item() > most.item():
            return Verdict.OUTSIDE
    return Verdict.UNDECIDED


def _sharpness(
    bound: Bound[Any], proved: Callable[[str, str, Relation | None], bool]
) -> str | Fraction:
    """Return whether a bound is attained or approached, or else a lower bound on quantity / bound."""
    instance, bits = bound.extremal(), PRECISIONS[0]
    (lower, upper), (least, most) = (
        side.bounds() for side in (bound.quantity(instance, bits), bound.value(instance, bits))
    )
    # Counts are enclosed by points, which decides equality; of anything else Coq has to prove it.
    if lower.item() == upper.item() == least.item() == most.item():
        return ATTAINED
    if bound.attained and proved(bound.attained, bound.name, None):
        return ATTAINED
    if bound.approached and proved(bound.approached, bound.name, None):
        return APPROACHED
    return Fraction(lower.item()) / Fraction(most.item()) if most.item() else Fraction(0)


def _nothing_found() -> Finding:
    return Finding(Status.OPEN, Assurance.NONE)


def _theorems(
    run: bool, ids: Sequence[str]
) -> tuple[Callable[[str, str, Relation | None], bool], tuple[str, ...], tuple[str, ...]]:
    """Return which theorems count as proved, what was not run, and what the checker found broken."""
    stated, concluded = check.statements(), check.conclusions()
    if (check.SOURCES / "Bounds.v").read_text(encoding="utf-8") != coq_bounds():
        stale = "proofs/coq/Bounds.v is not what the claims say; run python -m specs.printing."
        return lambda theorem, bound, relation: False, (), (stale,)
    sound: Collection[str] = ()
    not_run: tuple[str, ...]
    broken: tuple[str, ...] = ()
    needed = {
        theorem
        for id_ in ids
        if id_ in CLAIMS
        for bound in CLAIMS[id_].bounds
        for theorem in (bound.theorem, bound.attained, bound.approached)
        if theorem in stated
    }
    if run and ids and not needed:
        not_run = ("Coq: these claims name no theorem.",)
    elif run:
        report = check.check(only=needed)
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


def _quote_differences(record: Record, book: Ledger) -> Iterable[str]:
    """Yield the parts of a quotation that no sentence which names the claim holds, white space apart."""
    texts = [
        " ".join(s.text.split()) for p in book.papers for s in p.sentences if record.id in s.claims
    ]
    for part in record.quote.split("…") if texts else ():
        wanted = " ".join(part.split())
        if not wanted or not any(wanted in text for text in texts):
            yield f"the quotation {wanted!r} is in no sentence that names the claim."


def _missing_records(book: Ledger) -> Iterable[str]:
    for id_ in CLAIMS.keys() - book.records.keys():
        yield f"{id_} is an executable claim without a record in the ledger."
