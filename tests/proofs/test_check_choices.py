"""`attest check` on some heads, some functions, causal and scaled, and on all cores."""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastpath
from proofs.command import check as check_command
from proofs.judging.exact import examine
from proofs.judging.heads import Head, shipped_heads
from tests.proofs.checking import install, run_check, write_heads

(REAL,) = (head for head in shipped_heads(64) if head.name == "minilm_L2H2_n64")
HEADS = [Head(name, *(x[:8] for x in REAL.matrices)) for name in ("a", "b[0]", "b[1]")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_heads(tmp_path / "heads.npz", *HEADS)


def _document(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    status, out, _ = run_check(capsys, *arguments, "--json")
    assert status == 0
    return json.loads(out)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["a"], ["a"]),
        (["b[0]"], ["b[0]"]),
        (["b*"], ["b[0]", "b[1]"]),
        (["?", "b[1]"], ["a", "b[1]"]),
    ],
)
def test_only_the_heads_of_these_names_are_checked(
    patterns: list[str], found: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [part for pattern in patterns for part in ("--head", pattern)]
    document = _document(capsys, file, *asked, "--section", "attention")
    assert [head["name"] for head in document["heads"]] == found
    assert "caches" not in document


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--head", "b[2]"],
            "--head must name a head or matrix of these, got 'b[2]'; did you mean b[",
        ),
        (["--head", "zzz"], "got 'zzz'; the first is a."),
        (["--section", "heads"], "--section must be one of attention, DynamicAttention,"),
        (["--section", "sparsify"], "heads.npz holds nothing to ask sparsify about."),
        (["--section", "QuantisedCache", "--causal"], "--causal leaves nothing to ask"),
        (["--seed", "-1"], "--seed must be at least 0, got -1."),
        (["--scale", "nan"], "--scale must be a finite number"),
        (["--scale", "1e200"], "no entry of Q above 2^500, got 1e+200 for head a."),
    ],
)
def test_a_choice_that_leaves_nothing_is_refused(
    arguments: list[str], says: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run_check(capsys, file, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_shipped_heads_are_not_scaled_again(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_check(capsys, "--scale", "0.5")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--scale needs FILE" in err


def test_a_scaled_head_is_another_head(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (before,), (after,) = (
        _document(capsys, file, "--head", "a", "--section", "attention", *more)["heads"]
        for more in ([], ["--scale", "0.5"])
    )
    for name in ("logit_bound", "half_row_range"):
        assert after["measurements"][name] == before["measurements"][name] / 2


def test_causal_attention_is_asked_for_and_judged(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = _document(capsys, file, "--causal")
    assert {"heads", "real_heads"} == {
        name for name in document if isinstance(document[name], list)
    }
    assert all(run["call"].endswith("causal=True)") for h in document["heads"] for run in h["runs"])
    assert all(head["causal"] for head in document["real_heads"])
    _, out, _ = run_check(capsys, file, "--causal")
    told = " ".join(out.split())
    assert "as --causal asks: polynomial_attention, AttentionRegression, QuantisedCache." in told
    install(monkeypatch, attention=lambda Q, K, V, causal: fastpath.attention(Q, K, V))
    status, out, _ = run_check(capsys, file, "--causal", "--impl", "liar")
    assert (status, out.count("OUTSIDE")) == (1, 1)


def test_a_seed_draws_the_same_rows_whatever_is_asked_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (large,) = (head for head in shipped_heads(256) if head.name == "minilm_L2H11_n256")
    file = write_heads(tmp_path / "large.npz", HEADS[0], large)

    def drawn(*arguments: str) -> tuple[Any, int]:
        document = _document(capsys, file, "--section", "certified_attention", *arguments)
        return document["real_heads"][-1]["rows"], document["seed"]

    rows, seed = drawn()
    assert len(rows) < 256
    assert drawn("--seed", str(seed)) == (rows, seed)
    assert drawn("--seed", str(seed), "--head", large.name) == (rows, seed)
    assert drawn("--seed", str(seed + 1))[0] != rows
    _, out, _ = run_check(capsys, file, "--section", "attention", "--seed", "7")
    assert out.endswith("Rows that were drawn at random: --seed 7 draws them again.\n")


def test_of_a_causal_answer_random_rows_are_judged_by_what_they_see() -> None:
    def examined(attend: Any, seed: int) -> Any:
        return examine(REAL, attend, causal=True, budget=640, rng=np.random.default_rng(seed))

    def later(Q: Any, K: Any, V: Any, causal: bool) -> Any:
        return fastpath.attention(Q, K, V, mask=np.tri(len(Q), k=1, dtype=bool))

    for seed in range(3):
        honest = examined(fastpath.attention, seed)
        assert honest.passed
        assert [len(run.rows) for run in honest.judgements] == [10, 10]
        assert not examined(later, seed).passed


@pytest.mark.slow
def test_many_steps_are_shared_by_processes_and_found_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talks.py").write_text(
        "print('hello')\nfrom fastpath import attention, QuantisedCache\n"
    )
    heads = [Head(f"h{k}", *(x[k : k + 8] for x in REAL.matrices)) for k in range(2)]
    file = write_heads(tmp_path / "heads.npz", *heads)
    implementation = "--impl", tmp_path / "talks.py", "--seed", "0"
    here = _document(capsys, file, *implementation)
    started: list[Any] = []

    def pool(*arguments: Any) -> ProcessPoolExecutor:
        started.append(arguments)
        return ProcessPoolExecutor(*arguments)

    monkeypatch.setattr(check_command, "STEPS_A_PROCESS", 1)
    monkeypatch.setattr(check_command, "cores", lambda: 2)
    monkeypatch.setattr(check_command, "ProcessPoolExecutor", pool)
    there = _document(capsys, file, *implementation)
    assert len(started) == 1
    assert here == there
    (tmp_path / "ends.py").write_text("import os\ndef attention(Q, K, V):\n    os._exit(3)\n")
    status, out, err = run_check(capsys, file, "--impl", tmp_path / "ends.py")
    assert (status, out) == (2, "")
    assert "ended one of the processes in which it was asked" in err
