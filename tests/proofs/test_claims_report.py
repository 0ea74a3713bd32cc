"""What audit, show and conform print, and their exit codes."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fastpath
from fastpath import Certified
from proofs.__main__ import main
from proofs.evidence import coq_checker as check
from proofs.evidence.audit import audit
from specs import CLAIMS
from specs.claim import Assurance, members
from specs.ledger import Ledger, ledger


def test_audit_ends_with_a_table_and_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "S.tv", "P3.goal"]) == 0
    printed = capsys.readouterr().out
    for heading in ("claim", "verdict", "scope", "assurance", "sharpness = extremal/bound"):
        assert heading in printed
    assert "softmax_tv attained" in printed
    assert "the ledger says exactly what was found" in printed
    assert "Not run. Coq" in printed


def test_audit_fails_when_the_ledger_says_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = ledger()
    proved = replace(book.records["P4.omega"], assurance=Assurance.PROVED)
    edited = Ledger(book.papers, {**book.records, "P4.omega": proved})
    monkeypatch.setattr("proofs.evidence.audit.ledger", lambda: edited)
    assert main(["audit", "P4.omega"]) == 1
    assert (
        "P4.omega: the ledger says proved, the evidence makes it cited." in capsys.readouterr().out
    )


@pytest.mark.parametrize("command", [["audit", "S.tw"], ["show", "S.tw"]])
def test_an_unknown_claim_is_one_sentence_and_exit_code_2(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "'S.tw'; did you mean S.tv" in printed.err


@pytest.mark.parametrize("id_", ledger().records)
def test_show_prints_every_record(id_: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", id_]) == 0
    printed = capsys.readouterr().out
    record = ledger().records[id_]
    assert record.id in printed
    assert record.verdict in printed
    assert record.assurance in printed


def test_show_gives_formula_hypotheses_theorem_and_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["show", "S.output"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "spread*tanh(eta/2)",
        "every |u_i - v_i| <= eta",
        "s_output: forall",
        "perturbation.py",
    ):
        assert text in printed


def test_a_group_stands_for_its_claims(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "L", "S.tv", "L.heavy"]) == 0
    printed = capsys.readouterr().out
    heads = [line.split()[0] for line in printed.splitlines() if line.endswith("  (ours)")]
    assert heads == [id_ for id_ in ledger().records if id_.startswith("L.")] + ["S.tv"]
    assert main(["audit", "K"]) == 0
    assert "1 claim audited" in capsys.readouterr().out
    assert main(["falsify", "K", "--budget", "2"]) == 0
    assert capsys.readouterr().out.startswith("K.exp kernel_exp: not broken")
    assert main(["show", "Z"]) == 2
    assert "got 'Z'; known are those of FP, I, K, L, P1" in capsys.readouterr().err


def test_a_group_is_no_other_that_begins_so() -> None:
    known = ("P1.a", "P.b", "P.c", "X")
    assert members(["P", "X", "P.c"], known) == ["P.b", "P.c", "X"]
    assert members(["", "P.", "p"], known) == ["", "P.", "p"]


def test_audit_tells_a_program_what_it_tells_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "S.tv", "P3.goal", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agrees"]
    assert len(document["not_run"]) == 1
    for told in document["claims"]:
        record = ledger().records[told["id"]]
        assert (told["verdict"], told["assurance"]) == (record.verdict, record.assurance)
        assert (told["where"], told["scope"]) == (record.where, record.scope)
        assert told["sharpness"].keys() == record.sharpness.keys()
        assert (told["vacuous_where"], told["refuted_where"]) == (
            record.vacuous_where or {},
            record.refuted_where,
        )
        assert told["faults"] == told["differences"] == []


@pytest.mark.parametrize("ids", [[], ["S.tv"], ["S.tv", "P1.update"], ["P4.omega"]])
def test_coq_runs_on_what_the_named_claims_need(
    ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def checked(directory: None = None, *, only: set[str]) -> check.Report:
        asked.append(only)
        return check.Report(theorems=tuple(check.Theorem(name, "") for name in check.statements()))

    monkeypatch.setattr("proofs.evidence.coq_checker.check", checked)
    report = audit(ids, proofs=True, each=lambda _: ())
    if ids == ["P4.omega"]:
        assert asked == []
        assert report.not_run == ("Coq: these claims name no theorem.",)
        return
    named = {
        theorem
        for id_ in ids
        for bound in CLAIMS[id_].bounds
        for theorem in (bound.theorem, bound.attained, bound.approached)
    }
    assert asked == [named - {""}]


@pytest.mark.slow
def test_conform_passes_fastpath(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform"]) == 0
    assert "cases conform" in capsys.readouterr().out


def test_conform_fails_a_module_that_errs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def attention(Q: Any, K: Any, V: Any, *, causal: bool = False) -> Certified:
        honest = fastpath.attention(Q, K, V, causal=causal)
        return Certified(
            output=honest.output + honest.error_bound * 2, error_bound=honest.error_bound, claims=()
        )

    module = ModuleType("erring")
    module.attention = attention  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "erring", module)
    assert main(["conform", "--impl", "erring"]) == 1
    assert "To repeat it" in capsys.readouterr().out


def test_conform_refuses_a_module_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "--impl", "no_such_module"]) == 2
    assert "no_such_module" in capsys.readouterr().err


def test_audit_without_coq_counts_only_theorems_whose_sources_were_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = ("proofs/coq/Softmax/TotalVariation.v is not what Coq checked.",)
    monkeypatch.setattr(
        "proofs.evidence.coq_checker.confirmed", lambda: (frozenset({"s_tv_attained"}), changed)
    )
    report = audit(["S.tv"])
    assert any("no checked theorem s_tv concludes" in d for d in report.claims[0].differences)
    assert report.differences == changed


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (
            "Softmax/TotalVariation.v",
            "Theorem s_tv n u v eta S :",
            "Theorem s_tv n u v eta S : eta <= 0 ->",
        ),
        ("Softmax/Softmax.v", "Rabs (u i - v i) <= eta", "Rabs (u i - v i) < eta"),
    ],
)
def test_audit_without_coq_does_not_take_a_changed_proof_for_the_one_that_was_checked(
    file: str, before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Path(shutil.copytree(check.SOURCES, tmp_path / "coq"))
    text = (sources / file).read_text(encoding="utf-8")
    assert before in text
    changed = text.replace(before, after).replace("Qed.", "Admitted.", 1)
    (sources / file).write_text(changed, encoding="utf-8")
    monkeypatch.setattr("proofs.evidence.coq_checker.SOURCES", sources)
    report = audit(["S.tv"])
    assert report.claims[0].finding.assurance == Assurance.CERTIFIED
    assert any(f"{file} is not what Coq checked" in d for d in report.differences)


@pytest.mark.parametrize(
    "concluded",
    [{}, {"softmax_tv": ("equals",)}, {"softmax_tv": ("at least",)}, {"hilbert_tv": ("at most",)}],
)
def test_a_theorem_counts_only_for_the_bound_that_it_concludes_on_the_right_side(
    monkeypatch: pytest.MonkeyPatch, concluded: dict[str, tuple[str, ...]]
) -> None:
    whole = check.conclusions()
    assert audit(["S.tv"]).agrees
    monkeypatch.setattr(
        "proofs.evidence.coq_checker.conclusions", lambda: {**whole, "s_tv": concluded}
    )
    report = audit(["S.tv"])
    assert "the ledger says proved, the evidence makes it certified" in " ".join(
        report.claims[0].differences
    )


def test_a_link_to_the_theorem_that_the_bound_is_attained_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = CLAIMS["S.tv"]
    turned = [replace(b, theorem=b.attained) for b in claim.bounds]
    monkeypatch.setitem(CLAIMS, "S.tv", replace(claim, bounds=tuple(turned)))
    report = audit(["S.tv"])
    assert report.claims[0].finding.assurance == Assurance.CERTIFIED
    assert "no checked theorem s_tv_attained concludes b_softmax_tv as at most" in " ".join(
        report.claims[0].differences
    )
