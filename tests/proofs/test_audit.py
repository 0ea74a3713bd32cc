"""The audit agrees with the ledger that ships, and objects to one that says more or less."""

from importlib.resources import files
from typing import Any

import pytest

from proofs.evidence.audit import audit
from specs.ledger import parse_ledger

#: Every claim is found anew, which `attest audit` does in `make test` too.
pytestmark = pytest.mark.slow

TEXT = files("specs").joinpath("papers.toml").read_text(encoding="utf-8")


def _edited(id_: str, old: str, new: str) -> Any:
    """Return the ledger with one replacement inside one record."""
    start = TEXT.index(f'id = "{id_}"\n')
    end = TEXT.find("[[claim]]", start)
    record = TEXT[start:] if end < 0 else TEXT[start:end]
    assert old in record
    return parse_ledger(TEXT.replace(record, record.replace(old, new)))


def test_the_ledger_that_ships_says_exactly_what_is_found() -> None:
    report = audit()
    assert report.agrees, [d for a in report.claims for d in a.differences] + list(
        report.differences
    )


def test_the_audit_says_when_coq_was_not_run() -> None:
    assert any("Coq" in sentence for sentence in audit(["S.tv"]).not_run)


@pytest.mark.parametrize(
    ("id_", "old", "new", "says"),
    [
        ("P4.omega", '"holds"', '"open"', "the ledger says open, the audit found holds"),
        ("P4.omega", '"cited"', '"certified"', "the evidence makes it cited"),
        ("P4.algorithm", '"refuted"', '"holds"', "the audit found refuted"),
        ("P4.algorithm", '"P4.descent"', '"P4.algorithm"', "whose own verdict is refuted"),
        ("P3.omega", '"cited"', '"proved"', "the evidence makes it cited"),
        ("P3.goal", '"vacuous"', '"holds"', "the audit found vacuous"),
        ("P3.goal", '["P3.loewner", "P3.rows"]', "[]", "no claim that repairs it"),
        ("P3.goal", '"P3.rows"', '"P3.row"', "P3.row, which has no record"),
        ("P3.goal", '"P3.rows"', '"P3.omega"', "whose own verdict is dominated"),
        ("P3.deterministic", '"dominated"', '"holds"', "the audit found dominated"),
        ("P3.deterministic", '"P3.gram"', '"P3.rows"', "P3.gram dominates it"),
        ("P3.gram", '"holds"', '"dominated"', "the audit found holds"),
        ("P1.hardness", '"refuted"', '"holds"', "the audit found refuted"),
        ("P1.pair", '"dominated"', '"holds"', "the audit found dominated"),
        ("P1.pair", '"P1.kept", ', "", "P1.kept dominates it"),
        ("P1.conjecture", '"hypothesis-refuted"', '"holds"', "the audit found hypothesis-refuted"),
        ("P1.conjecture", '"cited"', '"certified"', "the evidence makes it cited"),
        (
            "P1.conjecture",
            "scope =",
            "# scope =",
            "must say in scope where the hypothesis is refuted",
        ),
        ("FP.exp", '"certified"', '"proved"', "the evidence makes it certified"),
        ("S.tv", '"proved"', '"tested"', "the evidence makes it proved"),
        ("S.tv", '"holds"', '"vacuous"', "the audit found holds"),
        ("K.exp", '"0.977"', '"0.978"', "found 0.977"),
        ("K.exp", '"0.977"', '"0.976"', "found 0.977"),
        ("S.tv", 'softmax_tv = "attained", ', "", "does not record the sharpness of softmax_tv"),
        ("S.tv", "softmax_tv", "softmax_vt", "is no bound of this claim"),
        ("P1.correct", 'error = "attained"', 'error = "0.9999"', "the audit found attained"),
        ("S.tv", '"attained"', '"0.9999"', "says 0.9999 of softmax_tv, the audit found attained"),
        (
            "R.drop",
            '"0.9999"',
            '"attained"',
            "says attained of dropped_mass, the audit found 0.9999",
        ),
        ("S.ratio", '"approached"', '"attained"', "says attained of softmax_ratio"),
        ("P3.loewner", '"approached"', '"0.9996"', "the audit found approached"),
        (
            "P1.query",
            'entry_products = "2*pending >=',
            'entry_products = "3*pending >=',
            "entry_products is vacuous where 3*pending >= n, the audit found 2*pending >= n",
        ),
        (
            "P1.tokens",
            "vacuous_where",
            "# vacuous_where",
            "vacuous where nothing, the audit found n <= 1",
        ),
        (
            "P1.conjecture",
            "5*tau",
            "4*tau",
            "refuted where 4*tau*log(10) < log(4), the audit found 5*tau",
        ),
        ("P1.update", "amortized", "amortised", "is in no sentence that names the claim"),
        (
            "P1.hardness",
            "conjecture … is",
            "conjecture is",
            "is in no sentence that names the claim",
        ),
        ("P4.tensor", "is Kronecker", "… is the Kronecker", "'is the Kronecker product between"),
    ],
)
def test_a_record_that_says_more_or_less_than_was_found_is_a_difference(
    id_: str, old: str, new: str, says: str
) -> None:
    report = audit([id_], book=_edited(id_, old, new))
    assert not report.agrees
    assert says in " ".join(report.claims[0].differences)


@pytest.fixture
def finding_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found of every claim takes half a minute, and says nothing of the ledger's own gaps."""
    nothing = audit(["P3.omega"]).claims[0].finding
    monkeypatch.setattr("proofs.evidence.audit.find", lambda claim, proved: nothing)


@pytest.mark.usefixtures("finding_nothing")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("worst-case query time", "worst-case update time", "word for word"),
        ('claims = ["P1.hardness", "P1.conjecture"]', "claims = []", "must either name its claims"),
        ('claims = ["P1.hardness", ', 'claims = ["P1.hardnes", ', "has no record"),
        ('claims = ["P3.goal"]', 'claims = ["P3.goal"]\nno_claim = "x"', "must either name"),
    ],
)
def test_a_sentence_without_a_record_is_a_difference(old: str, new: str, says: str) -> None:
    assert old in TEXT
    report = audit(book=parse_ledger(TEXT.replace(old, new, 1)))
    assert says in " ".join(report.differences)


@pytest.mark.usefixtures("finding_nothing")
def test_an_executable_claim_without_a_record_is_a_difference() -> None:
    start = TEXT.index('[[claim]]\nid = "K.exp"')
    end = TEXT.index("[[claim]]", start + 1)
    report = audit(book=parse_ledger(TEXT[:start] + TEXT[end:]))
    assert "K.exp is an executable claim without a record in the ledger." in report.differences


def test_an_unknown_id_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown claim id 'S\.tw'; did you mean S\.tv"):
        audit(["S.tw"])


def test_nothing_counts_as_proved_when_the_coq_bounds_are_not_the_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proofs.evidence.audit.coq_bounds", lambda: "Definition b_softmax_tv := 0.")
    report = audit(["S.tv"])
    assert report.claims[0].finding.assurance == "certified"
    assert "proofs/coq/Bounds.v is not what the claims say" in " ".join(report.differences)
