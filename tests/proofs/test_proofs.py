"""The proof checker passes on the proofs as they are, and fails on every way to weaken them."""

import ast
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proofs.evidence.coq_checker import (
    AXIOMS,
    PROOFS,
    SOURCES,
    CoqMissingError,
    Report,
    check,
    conclusions,
    confirmed,
    main,
    statements,
    table,
)
from reference.arithmetic.exponential import GUARD, exp_nonpositive, exp_real, log_positive
from specs import CLAIMS
from specs.claim import Status
from specs.ledger import ledger

BOUNDS = [bound for claim in CLAIMS.values() for bound in claim.bounds if bound.theorem]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a copy of the Coq sources that a test may break."""
    shutil.copyfile(PROOFS / AXIOMS, tmp_path / AXIOMS)
    return Path(shutil.copytree(SOURCES, tmp_path / "coq"))


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text, f"{file.name} no longer contains {before!r}; the test needs a new target"
    file.write_text(text.replace(before, after, 1), encoding="utf-8")


# ------------------------------------------------------------------------- what needs no Coq


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda b: b.name)
def test_the_theorem_of_every_bound_concludes_it_in_the_relation_of_the_claim(bound) -> None:
    assert bound.relation in conclusions()[bound.theorem][bound.name]


SHARP = [b for b in BOUNDS if b.attained or b.approached]


@pytest.mark.parametrize("bound", SHARP, ids=lambda b: b.name)
def test_the_theorem_of_attainment_is_recorded_and_is_not_the_bound_itself(bound) -> None:
    assert not (bound.attained and bound.approached)
    theorem = bound.attained or bound.approached
    assert re.search(rf"\bBounds\.b_{bound.name}\b", statements()[theorem])
    assert bound.relation not in conclusions()[theorem].get(bound.name, ())


def test_the_snapshot_is_of_the_sources_as_they_are() -> None:
    assert confirmed() == (statements().keys(), ())


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("Fixpoint fsum", "Axiom hole : False.\nFixpoint fsum", "Axiom"),
        ("Fixpoint fsum", "Parameter hole : False.\nFixpoint fsum", "Parameter"),
        ("Fixpoint fsum", "Hypothesis hole : False.\nFixpoint fsum", "Hypothesis"),
        ("Fixpoint fsum", "Local Variable f : R.\nFixpoint fsum", "Variable"),
        ("Fixpoint fsum", "Unset Guard Checking.\nFixpoint fsum", "Guard Checking"),
        ("Fixpoint fsum", 'Notation "x <= y" := True.\nFixpoint fsum', "Notation"),
        ("Proof. reflexivity. Qed.", "Proof. native_compute. Qed.", "native_compute"),
        ("Fixpoint fsum", "Fixpoint fsum .. ", "not read to its end"),
        ("Fixpoint fsum", "(* Fixpoint fsum", "not read to its end"),
    ],
)
def test_a_source_with_a_gap_is_refused(sources: Path, before: str, after: str, word: str) -> None:
    edit(sources / "Foundations" / "Sums.v", before, after)
    report = check(sources)
    assert not report.passed
    assert any("Sums.v" in problem and word in problem for problem in report.problems)
    assert report.not_run == ("Nothing was compiled, as the sources were refused.",)


def test_a_gap_inside_a_comment_is_no_gap(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(
        sources / "Foundations" / "Sums.v",
        "Fixpoint fsum",
        "(* Axiom (* Admitted. *) admit *)\nFixpoint fsum",
    )
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CoqMissingError):  # it came past the sources
        check(sources)


def test_a_file_that_is_not_listed_is_refused(sources: Path) -> None:
    (sources / "Extra.v").write_text("Lemma extra : True. Proof. exact I. Qed.\n")
    assert "Extra.v is not listed" in "".join(check(sources).problems)


def test_a_file_that_is_listed_and_absent_is_refused(sources: Path) -> None:
    (sources / "Foundations" / "Sums.v").unlink()
    assert "Sums.v is listed in _CoqProject and does not exist" in "".join(check(sources).problems)


def test_a_theorem_declared_twice_is_refused(sources: Path) -> None:
    with (sources / "Softmax" / "Taylor.v").open("a") as file:
        file.write("\nTheorem s_tv : True.\nProof. exact I. Qed.\n")
    assert "Theorem s_tv is declared in" in "".join(check(sources).problems)


def test_without_coq_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CoqMissingError, match="apt-get install coq libcoq-interval"):
        check()
    assert main([]) == 2
    assert "coqc was not found, so no proof was checked" in capsys.readouterr().err


# ---------------------------------------------------------------------------- what runs Coq


@pytest.fixture(scope="module")
def report() -> Report:
    return check()


@pytest.mark.proofs
def test_the_proofs_check(report: Report) -> None:
    assert report.all_problems() == ()
    assert {theorem.name: theorem.statement for theorem in report.theorems} == statements()
    assert {theorem.name: dict(theorem.concludes) for theorem in report.theorems} == conclusions()


def test_no_clock_decides_whether_a_proof_checks() -> None:
    """Catches: a limit in seconds, which a busy machine exceeds on sources that are right."""
    for path in sorted((PROOFS / "evidence").glob("coq_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert getattr(node, "arg", None) != "timeout", f"{path.name}, line {node.lineno}"  # type: ignore[attr-defined]


@pytest.mark.proofs
def test_the_report_says_what_was_not_run(report: Report) -> None:
    text = table(report)
    assert "trusted the libraries" in text
    assert text.endswith("passed")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Coq sources beside what they compile to."""
    work = Path(shutil.copytree(SOURCES, tmp_path_factory.mktemp("compiled") / "coq"))
    for line in (work / "_CoqProject").read_text(encoding="utf-8").split():
        if line.endswith(".v") and line != "BoundsCheck.v":
            assert coqc(work, line) == ""
    return work


def coqc(work: Path, file: str) -> str:
    """Compile one file and return what Coq objects to."""
    command = ["coqc", "-q", "-R", ".", "Attest", "-w", "none", file]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stderr), done.stderr
    return done.stderr


def redefining(work: Path, file: str, names: list[str], change: str) -> str:
    """Return a source in which bounds mean what they mean in Bounds.v, but for a change."""
    bounds = (work / "Bounds.v").read_text(encoding="utf-8")
    meanings = ["Local Open Scope R_scope."]
    for name in names:
        (head, body), *more = re.findall(rf"(Definition b_{name}\b[^=]*:=)([^.]*)\.", bounds)
        assert not more
        meanings.append(f"{head} ({body}){change}.")
    lines = (work / file).read_text(encoding="utf-8").splitlines()
    imports = max(
        i for i, line in enumerate(lines) if re.match(r"(From .*)?Require |Import ", line)
    )
    return "\n".join([*lines[: imports + 1], *meanings, *lines[imports + 1 :]])


def file_of(theorem: str) -> str:
    """Return the source that proves a theorem, from the folder of all."""
    (file,) = (
        f.relative_to(SOURCES).as_posix()
        for f in SOURCES.rglob("*.v")
        if re.search(rf"^Theorem {theorem}\b", f.read_text(), re.M)
    )
    return file


@pytest.mark.proofs
@pytest.mark.parametrize("file", sorted({file_of(b.theorem) for b in BOUNDS}))
def test_a_proof_goes_through_for_bounds_that_are_repeated_in_its_file(
    file: str, compiled: Path
) -> None:
    """So what fails below fails for the two percent."""
    names = [b.name for b in BOUNDS if file_of(b.theorem) == file]
    (compiled / "Repeated.v").write_text(redefining(compiled, file, names, ""), encoding="utf-8")
    assert coqc(compiled, "Repeated.v") == ""


#: Bounds of claims that are false: what their theorems say is that they are exceeded.
EXCEEDED = {
    b.name
    for record in ledger().records.values()
    if record.verdict is Status.REFUTED
    for b in CLAIMS[record.id].bounds
}


@pytest.mark.proofs
@pytest.mark.parametrize(
    "bound", [b for b in BOUNDS if b.name not in EXCEEDED], ids=lambda b: b.name
)
def test_a_bound_that_is_two_percent_smaller_is_not_proved(bound, compiled: Path) -> None:
    less = " * (98 / 100)" if bound.expression != 0 else " - 2 / 100"
    source = redefining(compiled, file_of(bound.theorem), [bound.name], less)
    (compiled / "Tightened.v").write_text(source, encoding="utf-8")
    objection = coqc(compiled, "Tightened.v")
    assert re.search(r"^Error|Error:", objection, re.M), objection


@pytest.mark.proofs
def test_the_functions_that_coq_speaks_of_compute_what_python_computes(sources: Path) -> None:
    generator = random.Random(20231122)
    points = [
        (generator.randrange(-1 << bits + 5, 1 << bits + 5), bits)
        for bits in [16, 17, 30, 64, 128] * 6
    ]
    cut = -(16 << 16)
    nonpositive = [(-abs(x), bits) for x, bits in points] + [(x, 16) for x in (0, -1, cut, cut - 1)]
    values = [(f"exp_kernel ({x}) {bits}", exp_nonpositive(x, bits)) for x, bits in nonpositive]
    values += [(f"exp_real ({x}) {bits}", exp_real(x, bits)) for x, bits in points]
    for x, bits in [(abs(x) + 1, bits) for x, bits in points]:
        y = log_positive(x, bits) << GUARD
        work, head = bits + GUARD, max(0, x.bit_length() - bits)
        residual = ((x * exp_real(-y << head, work + head)) >> (bits + head)) - (1 << work)
        values += [(f"log_residual {x} {bits} ({y})", residual), (f"log_result ({y})", y >> GUARD)]
    left, right = ("; ".join(str(value[side]) for value in values) for side in (0, 1))
    (sources / "Mirror.v").write_text(
        "Require Import ZArith List ExpKernel ExpLog.\nImport ListNotations.\nOpen Scope Z_scope.\n"
        f"Theorem mirror : [{left}] = [{right}].\nProof. vm_compute. reflexivity. Qed.\n"
    )
    edit(sources / "_CoqProject", "BoundsCheck.v", "Mirror.v")
    (sources / "BoundsCheck.v").unlink()
    report = check(sources, only=["mirror"])
    assert not any("compile" in problem for problem in report.problems)
    assert [theorem.name for theorem in report.theorems] == ["mirror"]
