"""`attest check` prints at most 30 lines, more where asked, and a JSON document of documented fields."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proofs import __main__ as command
from proofs.command import check as check_command
from proofs.command.check import SECTIONS
from proofs.command.report import Check, Section, print_check, refusals
from proofs.judging.heads import (
    FeatureMatrix,
    Head,
    Replacements,
    shipped_heads,
    shipped_matrices,
    shipped_replacements,
)
from proofs.judging.judgement import Judgement
from proofs.judging.registry import JUDGES
from reference import Verdict
from tests.proofs.checking import run_check

ROOT = Path(__file__).parents[2]

#: The lines that a result takes at most.
LINES = 30

(REAL,) = (head for head in shipped_heads(64) if head.name == "minilm_L2H2_n64")
(HIDDEN,) = (matrix for matrix in shipped_matrices() if matrix.name.startswith("hidden"))
REPLACED = shipped_replacements()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what ships be two small heads, a small matrix and two replacements."""
    heads = tuple(Head(f"h{n}", *(x[:n] for x in REAL.matrices)) for n in (4, 9))
    head = Head("replaced", *(x[:5] for x in REPLACED.head.matrices))
    Q, K, V = (x[:2] for x in REPLACED.rows)
    history = Replacements(
        name="history", head=head, tokens=REPLACED.tokens[:2] % 5, rows=(Q, K, V)
    )
    monkeypatch.setattr(command, "shipped_heads", lambda: heads)
    monkeypatch.setattr(
        command,
        "shipped_matrices",
        lambda: (FeatureMatrix(name="m", X=HIDDEN.X[:3].astype(float)),),
    )
    monkeypatch.setattr(command, "shipped_replacements", lambda: history)


@pytest.mark.usefixtures("small")
def test_a_result_is_a_line_a_section_what_was_refused_pass_and_what_was_not_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = run_check(capsys)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) <= LINES
    table = lines[: lines.index("")]
    assert [line.split()[0] for line in table[3:]] == [judge.function for judge in JUDGES]
    told = " ".join(out.split())
    assert re.search(r"PASS: of \d+ runs every error is inside its certificate; \d+ certify", told)
    assert "Not run: the heads that ship with more than 256 tokens." in told
    assert "was refused for 2 of 2 heads: it takes" in told


@pytest.mark.usefixtures("small")
def test_hypotheses_are_a_row_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run_check(capsys, "--hypotheses")
    table = out.partition("The numbers that the papers' hypotheses are about")[2]
    rows = {line.split()[0]: line.split() for line in table.splitlines() if line.startswith("h")}
    heads = json.loads(run_check(capsys, "--json")[1])["heads"]
    assert {"h4", "h9"} <= set(rows)
    for head in heads:
        holds = ["holds" if paper["holds"] else "fails" for paper in head["papers"]]
        assert rows[head["name"]][-4:] == holds
    assert "P3 asks: Q = K, so that the logits are X X^T" in out


@pytest.mark.usefixtures("small")
def test_one_progress_bar_counts_the_whole_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = []

    def track(steps: Any, name: Any) -> Iterator[Any]:
        bars.append([name(step) for step in steps])
        return iter(steps)

    monkeypatch.setattr(check_command, "track", track)
    run_check(capsys, "--json")
    heads = (
        *("attention", "polynomial_attention", "certified_attention", "AttentionRegression"),
        "QuantisedCache",
    )
    (names,) = bars
    assert sorted(names) == sorted(
        [f"{function}: {head}" for function in heads for head in ("h4", "h9")]
        + ["DynamicAttention: history", "sparsify: m"]
    )


def test_every_stem_has_a_judge_and_a_section() -> None:
    assert [judge.stem for judge in JUDGES] == list(SECTIONS)
    for judge in JUDGES:
        assert judge.examine.__module__ == f"proofs.judging.{judge.stem}"
        assert SECTIONS[judge.stem].__module__ == f"proofs.command.sections.{judge.stem}"


# ------------------------------------------------------------------------ what a section's line says


def _judgement(name: str, error: float = 1.0, bound: float = 2.0, **fields: Any) -> Judgement:
    honest = {"verdict": Verdict.WITHIN, "error": (error, error), "bound": bound, "rows": (0,)}
    return Judgement(name=name, dtype="float64", row_count=1, **(honest | fields))


def _printed(
    capsys: pytest.CaptureFixture[str], *judgements: Judgement, verbose: bool = False
) -> str:
    section = Section(
        name="s",
        function="f",
        judgements=judgements,
        tables=(),
        remarks=(),
        refused=refusals("It", judgements),
        document=[],
    )
    print_check(Check(implementation="i", source="s", seed=0, sections=(section,)), verbose=verbose)
    return capsys.readouterr().out


def test_the_error_nearest_to_its_bound_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    near, large = _judgement("near", 0.25, 0.375), _judgement("large", 1.0, 9.0)
    zero = _judgement("zero", 0.0, 1e-9)
    for order in ((near, large, zero), (zero, large, near)):
        (line,) = (x for x in _printed(capsys, *order).splitlines() if x.startswith("f "))
        assert line.split() == ["f", "3", "0", "3", "of", "3", "2.50e-1", "3.75e-1", "1.5", "near"]


def test_a_failure_is_the_worst_and_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    near = _judgement("near", 1.0, 1.1)
    why = " ".join(["long"] * 99)
    wrong = [
        _judgement(f"wrong{k}", 1.0, 3.0, verdict=Verdict.UNDECIDED, failure=why, call="f()")
        for k in range(40)
    ]
    none = _judgement("none", verdict=None, error=None, bound=None, failure="It raised.")
    out = _printed(capsys, near, *wrong)
    (line,) = (x for x in out.splitlines() if x.startswith("f "))
    assert line.split()[-1] == "wrong0"
    told = " ".join(_printed(capsys, near, *wrong, verbose=True).split())
    for judgement in wrong:
        assert f"{judgement.name}: UNDECIDED. {why} Reproduce with f()." in told
    told = " ".join(out.split())
    assert f"wrong0: UNDECIDED. {why} Reproduce with f(). Likewise of wrong1" in told
    assert "FAIL: 40 of 41 runs did not pass." in told
    assert "PASS" not in told
    assert "none: NO ANSWER. It raised." in " ".join(_printed(capsys, none).split())


def test_failures_that_differ_in_figures_only_are_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = [
        _judgement(f"a{k}", verdict=Verdict.OUTSIDE, failure=f"{k} of 9 err by {k}.5e-{k}.")
        for k in range(9)
    ]
    other = _judgement("b", verdict=None, failure="It raised.")
    undecided = _judgement("c", verdict=Verdict.UNDECIDED, failure="1 of 9 err by 1.5e-1.")
    out = " ".join(_printed(capsys, wrong[0], other, *wrong[1:], undecided).split())
    first = "a0: OUTSIDE. 0 of 9 err by 0.5e-0. Likewise of a1, a2, a3, 5 others (--verbose)."
    assert first in out
    assert "b: NO ANSWER. It raised. c: UNDECIDED. 1 of 9 err by 1.5e-1. FAIL: 11 of 11" in out
    assert out.count("OUTSIDE") == 1


def test_what_is_refused_is_counted_and_its_first_reason_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused = [
        _judgement(f"r{k}", verdict=None, error=None, bound=None, refusal=f"It takes {k // 2} GB.")
        for k in range(100)
    ]
    out = _printed(capsys, _judgement("a"), *refused)
    assert len(out.splitlines()) <= LINES
    told = " ".join(out.split())
    assert (
        "It certifies nothing in 100 of 101 runs, as of r0: It takes 0 GB. 49 other reasons: --verbose."
    ) in told
    assert "PASS: of 101 runs every error is inside its certificate; 100 certify none." in told


def test_who_refuses_and_is_wrong_is_wrong() -> None:
    both = _judgement("b", verdict=Verdict.OUTSIDE, refusal="too large", failure="wrong")
    assert (both.passed, both.outcome) == (False, "OUTSIDE")
    silent = _judgement("s", verdict=None)
    assert (silent.passed, silent.outcome) == (False, "NO ANSWER")


# ----------------------------------------------------------------------------------------- documents


@pytest.mark.usefixtures("small")
def test_the_fields_of_the_json_document_are_those_that_are_documented(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = json.loads(run_check(capsys, "--json")[1])
    assert set(_fields(document)) == set(_documented())


#: Where the answers stand, which have fields in common.
ANSWERS = (
    *("heads[].runs[].", "replacements[].runs[].", "polynomial[].instances[].", "real_heads[]."),
    *("regression[].", "matrices[].scales[].runs[].", "caches[].runs[]."),
)


def _documented() -> Iterator[str]:
    """Yield every field of the page: an item is where, a colon, the names, a dash, the meaning."""
    told = (ROOT / "docs" / "check-json.md").read_text("utf-8")
    common = {"the document": ("",), "an answer": ANSWERS}
    for item in re.findall(r"^- (.*?) — ", told, re.MULTILINE | re.DOTALL):
        where, _, names = item.partition(": ")
        for place in common.get(where) or re.findall("`(.*?)`", where):
            for name in re.findall("`(.*?)`", names):
                yield f"{place}{name}"


def _fields(node: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every field; one whose value has fields, or has none, is told by theirs."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _fields(value, f"{path}.{name}".lstrip("."))
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for value in node:
            yield from _fields(value, f"{path}[]")
    else:
        yield path


@pytest.mark.slow
def test_the_sample_is_the_output_but_for_figures_that_differ_between_machines() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "proofs", "check", "--seed", "1602177"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    sample = (ROOT / "docs" / "check-output.txt").read_text("utf-8")
    assert len(found.stdout.splitlines()) <= LINES
    assert without_figures(found.stdout) == without_figures(sample)


def without_figures(output: str) -> str:
    """Return the words and counts of a result, without measured figures and whose error was nearest."""
    measured = re.sub(r"\d+(\.\d+)?e[+-]?\d+|\b\d+\.\d+\b|(?<=h = )\d+", "#", output)
    lines = [
        re.sub(r"(\d+ of \d+ +#.*?#) .*", r"\1", line) if " of " in line else line
        for line in measured.splitlines()
    ]
    return " ".join(" ".join(lines).split())


def test_figures_and_heads_are_left_out_of_a_comparison() -> None:
    assert without_figures("f  28  0  4480 of 4480   2.49e-7   2.20e-5     88.2  a_n64") == (
        without_figures("f  28  0  4480 of 4480   3e-7   2.21e-5     91  b with d = 4")
    )
    assert without_figures("f  28  0  4480 of 4480  1.0  2.0") != without_figures(
        "f  28  1  4480 of 4480  1.0  2.0"
    )
