"""`attest check` convicts an attention whose certificate lies, and refuses bad input in a sentence."""

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from proofs import __main__ as command
from proofs.command.report import Check, as_json, print_check
from proofs.command.sections import exact as heads_section
from proofs.judging.exact import HeadExamination, examine
from proofs.judging.heads import Head, shipped_heads
from reference import Verdict, attention, decide
from tests.proofs.checking import install, run_check, write_heads

ROOT = Path(__file__).parents[2]
Array = NDArray[Any]

(REAL,) = (head for head in shipped_heads(64) if head.name == "minilm_L2H2_n64")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A .npz with one real head of 64 tokens."""
    return write_heads(tmp_path / "real.npz", REAL)


def _head(Q: Any, K: Any, V: Any, name: str = "h") -> Head:
    return Head(name, *(np.asarray(x, np.float64) for x in (Q, K, V)))


# --------------------------------------------------------------------------- an honest answer


def test_an_honest_implementation_passes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_check(capsys, file)
    assert (status, err) == (0, "")
    assert "PASS: of 8 runs every error is inside its certificate; 1 certify none." in out
    assert "P1 by 1, P2 by 0, P3 by 0, P4 by 1, of 1 head" in " ".join(out.split())


@pytest.mark.slow
def test_all_data_that_ship_pass_from_another_directory(tmp_path: Path) -> None:
    found = _elsewhere(tmp_path, "check", "--json")
    document = json.loads(found.stdout)
    assert (found.returncode, found.stderr, document["passed"]) == (0, "", True)
    assert len(document["heads"]) == 14
    for head in document["heads"]:
        assert [run["dtype"] for run in head["runs"]] == ["float32", "float64"]
        assert not {paper["id"]: paper["holds"] for paper in head["papers"]}["P3"]
    assert len(document["polynomial"]) == 14
    for head in document["polynomial"]:
        assert [instance["verdict"] for instance in head["instances"]] == ["REFUSED", "WITHIN"]
    assert len(document["real_heads"]) == 14
    for head in document["real_heads"]:
        assert (head["certificate"]["method"], head["verdict"]) == ("exact", "WITHIN")
    assert len(document["regression"]) == 14
    proved = [head for head in document["regression"] if head["verdict"] == "WITHIN"]
    assert len(proved) == 12
    for head in proved:
        assert head["solution"]["h"] < 0.5
        assert (
            head["distance_from_planted"] <= head["solution"]["radius"] + head["planted"]["radius"]
        )
    (history,) = document["replacements"]
    assert (history["n"], history["replacements"], len(history["runs"])) == (256, 64, 6)
    assert {run["rows_checked"] for run in history["runs"]} == {63 * 4 + 256}
    assert len(document["matrices"]) == 3
    for matrix in document["matrices"]:
        assert matrix["rows_checked"] == matrix["n"]
        assert [scaled["hypothesis_holds"] for scaled in matrix["scales"]] == [False, True]


def test_the_command_runs_from_another_directory_and_on_a_pipe(file: Path, tmp_path: Path) -> None:
    found = _elsewhere(tmp_path, "check", file.name)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.isascii()


def _elsewhere(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "proofs", *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_json_says_what_the_table_says(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(run_check(capsys, file, "--json")[1])
    _, out, _ = run_check(capsys, file, "--verbose")
    (head,) = document["heads"]
    rows = [line.split() for line in out.splitlines() if line.startswith(REAL.name)]
    for run, row in zip(head["runs"], rows[:2], strict=True):
        name, error, bound, ratio, *checked, dtype, verdict = row
        assert (name, dtype, verdict) == (head["name"], run["dtype"], run["verdict"])
        assert checked == [str(head["rows_checked"]), "of", str(head["measurements"]["n_q"])]
        assert _rounds_up_to(run["error_upper"], error)
        assert _rounds_up_to(run["bound"], bound)
        assert f"{run['bound_over_error']:.0f}" == ratio
        assert run["error_lower"] <= run["error_upper"] <= run["bound"]
        assert run["bound_over_error"] == run["bound"] / run["error_upper"]
        assert run["claims"] == list(fastpath.attention(*REAL.matrices).claims)
    m = head["measurements"]
    figures = [m["logit_bound"], m["half_row_range"], m["scale_for_r"], *m["largest_entries"]]
    shown = [str(m["n_k"]), str(m["d"]), *(f"{x:.3g}" for x in figures)]
    assert rows[2][1:9] == shown
    assert rows[2][-1] == str(m["rank"])
    for paper in head["papers"]:
        for condition in paper["conditions"]:
            assert (condition["measured"] in out) or condition["holds"]
            assert condition["statement"] in " ".join(out.split())
        assert paper["holds"] == all(c["holds"] for c in paper["conditions"])
    assert document["summary"] in " ".join(out.split())


def _rounds_up_to(value: float, shown: str) -> bool:
    """Whether ``shown`` is the least number of its number of digits that is at least ``value``."""
    number = Decimal(shown)
    unit = Decimal(1).scaleb(number.adjusted() - 2)
    return number - unit < Decimal(value) <= number


def test_npz_and_safetensors_give_the_same_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = []
    for suffix in ("npz", "safetensors"):
        path = write_heads(tmp_path / f"real.{suffix}", REAL)
        documents.append(json.loads(run_check(capsys, path, "--json", "--seed", "0")[1]))
        assert documents[-1].pop("source") == str(path)
        for head in documents[-1]["real_heads"]:
            assert all(head.pop(time) > 0 for time in ("seconds", "exact_seconds", "speed"))
    assert documents[0] == documents[1]


def test_reading_changes_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = Head("h", REAL.Q[:4], REAL.K[:4], REAL.V[:4])
    for suffix in ("npz", "safetensors"):
        path = write_heads(tmp_path / f"small.{suffix}", small)
        before = path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir())
        assert run_check(capsys, path)[0] == 0
        assert (path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before


def test_nothing_is_cut_where_output_is_piped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "layer/" + "x" * 150
    path = write_heads(tmp_path / "long.npz", _head([[1]], [[1]], [[1]], name))
    _, out, _ = run_check(capsys, path, "--verbose")
    lines = [line for line in out.splitlines() if name in line]
    # float32, float64, numbers, papers, polynomial, certified, regression, two formats; four functions;
    # three sentences on what was refused
    assert len(lines) == 16
    assert [lines[k].split()[-1] for k in (0, 1, 4, 5)] == ["WITHIN"] * 4
    assert "\u2026" not in out


def test_a_float64_head_that_float32_cannot_hold_runs_in_float64_only() -> None:
    head = _head(REAL.Q[:4].astype(np.float64) * (1 + 2.0**-40), REAL.K[:4], REAL.V[:4])
    assert [run.dtype for run in examine(head, fastpath.attention).judgements] == ["float64"]


def test_a_column_of_equal_values_is_decided() -> None:
    head = _head(REAL.Q[:4], REAL.K[:4], np.column_stack([np.full(4, 0.1), REAL.V[:4, 0]]))
    assert examine(head, fastpath.attention).passed
    one_key = _head(REAL.Q[:4], REAL.K[:1], REAL.V[:1])
    assert examine(one_key, fastpath.attention).passed
    wrong = _answer(lambda Q, K, V: np.tile(np.nextafter(V[0], 9), (len(Q), 1)), lambda *_: 0.0)
    assert [run.verdict for run in examine(one_key, wrong).judgements] == [Verdict.OUTSIDE] * 2


def test_a_column_of_the_smallest_values_is_decided_beside_a_large_one() -> None:
    V = np.column_stack(
        [np.ldexp(REAL.V[:4, 0].astype(float), 400), np.ldexp(1.0, [-1074, -1073, -1074, -1074])]
    )
    (run,) = examine(_head(REAL.Q[:4], REAL.K[:4], V), fastpath.attention).judgements
    assert run.passed


def test_the_largest_error_is_enclosed() -> None:
    (_, run) = examine(REAL, fastpath.attention).judgements
    exact = attention(*REAL.matrices)
    lower, upper = exact.distance(_honest(*(x.astype(float) for x in REAL.matrices))).largest()
    assert run.error is not None
    assert run.error[0] <= lower <= upper <= run.error[1]
    assert run.error[1] <= np.nextafter(run.error[0], 1.0)
    assert run.bound == _honest_bound(*(x.astype(float) for x in REAL.matrices)).max()


def test_the_largest_error_is_enclosed_however_wide_the_enclosure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proofs.judging.judgement.decide", partial(decide, precisions=(24,)))
    (_, run) = examine(REAL, _answer(_honest, lambda *_: 1.0)).judgements
    exact = attention(*REAL.matrices)
    lower, upper = exact.distance(_honest(*(x.astype(float) for x in REAL.matrices))).largest()
    assert run.error is not None
    assert run.error[0] <= lower <= upper <= run.error[1]
    assert run.ratio is None  # the error may be zero, for all that 24 bits tell


# ---------------------------------------------------------------------------- an answer that lies


def _answer(
    output: Callable[[Array, Array, Array], Array], bound: Callable[[Array, Array, Array], Any]
) -> Callable[[Array, Array, Array], Any]:
    return lambda Q, K, V: SimpleNamespace(
        output=output(Q, K, V), error_bound=bound(Q, K, V), claims=("X",)
    )


def _honest_bound(Q: Array, K: Array, V: Array) -> Array:
    return fastpath.attention(Q, K, V).error_bound


def _offset(Q: Array, K: Array, V: Array) -> Array:
    output: Array = fastpath.attention(Q, K, V).output
    if output.dtype == np.float64:
        output[7, 3] += 1e-11 * np.abs(V).max()
    return output


def _drops_last_key(Q: Array, K: Array, V: Array) -> Array:
    return fastpath.attention(Q, K[:-1], V[:-1]).output


def _exponential_in_float32(Q: Array, K: Array, V: Array) -> Array:
    logits = Q @ K.T
    weights = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float32)).astype(
        V.dtype
    )
    return (weights @ V) / weights.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def _forgets_to_rescale(Q: Array, K: Array, V: Array) -> Array:
    numerator, denominator = 0.0, 0.0
    for half in (slice(0, 32), slice(32, 64)):
        logits = Q @ K[half].T
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        numerator, denominator = numerator + weights @ V[half], denominator + weights.sum(axis=1)
    return numerator / np.asarray(denominator)[:, None]


def _honest(Q: Array, K: Array, V: Array) -> Array:
    return fastpath.attention(Q, K, V).output


LIARS: dict[str, tuple[Any, Any, set[str]]] = {
    "zero bound": (_honest, lambda *_: 0.0, {"float32", "float64"}),
    "negative bound": (_honest, lambda *_: -1.0, {"float32", "float64"}),
    "bound of half the type": (
        _honest,
        lambda Q, K, V: np.full(len(Q), np.finfo(Q.dtype).eps / 64),
        {"float32", "float64"},
    ),
    "offset": (_offset, _honest_bound, {"float64"}),
    "dropped key": (_drops_last_key, _honest_bound, {"float32", "float64"}),
    "exp in float32": (_exponential_in_float32, _honest_bound, {"float64"}),
    "the mean, within its honest bound": (
        lambda Q, K, V: np.repeat(V.mean(axis=0)[None], len(Q), axis=0),
        lambda Q, K, V: np.ptp(V, axis=0).max() + 1e-3,
        {"float32", "float64"},
    ),
    "zeros, within their honest bound": (
        lambda Q, K, V: 0 * Q @ K.T @ V,
        lambda Q, K, V: np.abs(V).max() + 1e-3,
        {"float32", "float64"},
    ),
    "a bound that says nothing": (
        _honest,
        lambda Q, K, V: np.abs(V).max(),
        {"float32", "float64"},
    ),
    "an error that rounding does not explain, within its honest bound": (
        lambda Q, K, V: _honest(Q, K, V) + V.dtype.type(1e-9),
        lambda Q, K, V: 1e-3,
        {"float64"},
    ),
    "wrong shift": (_forgets_to_rescale, _honest_bound, {"float32", "float64"}),
}


@pytest.mark.parametrize("name", LIARS)
def test_an_error_above_its_bound_gives_exit_1(
    name: str, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, bound, caught = LIARS[name]
    install(monkeypatch, attention=_answer(output, bound))
    status, out, _ = run_check(capsys, file, "--impl", "liar", "--json")
    document = json.loads(out)
    assert (status, document["passed"], document["implementation"]) == (1, False, "liar")
    verdicts = {run["dtype"]: run["verdict"] for run in document["heads"][0]["runs"]}
    assert {dtype for dtype, verdict in verdicts.items() if verdict == "OUTSIDE"} == caught
    assert {dtype for dtype, verdict in verdicts.items() if verdict == "WITHIN"} == (
        {"float32", "float64"} - caught
    )
    assert "not every error is inside its certificate, see minilm_L2H2_n64" in document["summary"]


def test_why_an_honest_bound_does_not_do_is_said() -> None:
    def told(output: Any, bound: Any) -> str:
        return examine(REAL, _answer(output, bound)).judgements[1].failure

    assert "more than rounding in float64 explains, which is" in told(
        lambda Q, K, V: _honest(Q, K, V) + 1e-9, lambda *_: 1e-3
    )
    assert "half of what an answer errs that looks at no query: it says nothing" in told(
        _honest, lambda Q, K, V: np.abs(V).max()
    )


def test_a_head_of_which_no_certificate_says_anything_is_passed_by_none() -> None:
    huge = Head("huge", *(x.astype(np.float64) for x in (REAL.Q * 1e30, REAL.K, REAL.V)))
    for run in examine(huge, fastpath.attention).judgements:
        assert run.verdict is Verdict.OUTSIDE
        assert "it says nothing" in run.failure


def test_a_failure_says_where_and_how_to_see_it(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, attention=_answer(_offset, _honest_bound))
    status, out, _ = run_check(capsys, file, "--impl", "liar")
    told = " ".join(out.split())
    assert status == 1
    assert "minilm_L2H2_n64 in float64: OUTSIDE. 1 of 2048 entries is not within the bound" in told
    assert "arrays[f'minilm_L2H2_n64/{x}'].astype('float64')" in told
    assert ".output[7, 3]" in told


def test_a_failure_names_the_worst_entry_and_counts_the_others() -> None:
    def output(Q: Array, K: Array, V: Array) -> Array:
        result = _honest(Q, K, V)
        for size, entry in enumerate([(2, 1), (9, 8), (40, 0)], start=1):
            result[entry] += size if size < 3 else 1
        return result

    for run in examine(REAL, _answer(output, _honest_bound)).judgements:
        assert run.failure.startswith("3 of 2048 entries are not within their bounds;")
        assert "the error of entry [9, 8] exceeds its bound most: 2 against" in run.failure


def test_a_bound_is_judged_to_its_last_bit() -> None:
    output = _honest(*(x.astype(np.float64) for x in REAL.matrices))
    lower, upper = attention(*REAL.matrices).distance(output).bounds()
    above = np.vectorize(lambda x: np.nextafter(float(x), np.inf))(upper)
    assert (np.vectorize(Fraction)(above) > upper).all()
    below = above.copy()
    below[5, 6] = np.nextafter(float(lower[5, 6]), 0.0)
    for bound, verdict in ((above, Verdict.WITHIN), (below, Verdict.OUTSIDE)):
        found = examine(REAL, _answer(lambda Q, K, V: output, lambda *_, b=bound: b))
        assert found.judgements[1].verdict is verdict


def test_what_no_precision_decides_gives_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Equal weights of two keys: the mean is exact, and an enclosure cannot tell that the error is 0.
    file = write_heads(tmp_path / "f.npz", _head([[0]], [[0], [0]], [[1], [2]]))
    install(monkeypatch, attention=_answer(lambda Q, K, V: np.array([[1.5]]), lambda *_: 0.0))
    status, out, _ = run_check(capsys, file, "--impl", "liar")
    assert status == 1
    assert "h in float32: UNDECIDED" in out
    assert "Likewise of h in float64." in " ".join(out.split())


def _raises(Q: Array, K: Array, V: Array) -> Any:
    raise RuntimeError("out of luck")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_raises, "attention raised RuntimeError: out of luck"),
        (lambda Q, K, V: V, "attention raised AttributeError"),
        (_answer(lambda Q, K, V: V[:1], lambda *_: 1.0), "output must have shape"),
        (_answer(lambda Q, K, V: V.astype(int), lambda *_: 1.0), "output must hold float32"),
        (_answer(lambda Q, K, V: V * np.nan, lambda *_: 1.0), "output holds 2048 NaN"),
        (_answer(lambda Q, K, V: V, lambda *_: np.inf), "error_bound holds 1 NaN or infinite"),
        (_answer(lambda Q, K, V: V, lambda Q, K, V: V[0]), "error_bound must have shape"),
    ],
)
def test_an_answer_that_cannot_be_judged_gives_exit_1(
    function: Any,
    says: str,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, attention=function)
    status, out, err = run_check(capsys, file, "--impl", "liar")
    assert (status, err) == (1, "")
    assert f"minilm_L2H2_n64 in float32: NO ANSWER. {says}" in " ".join(out.split())
    assert json.loads(run_check(capsys, file, "--impl", "liar", "--json")[1])["passed"] is False


def test_an_implementation_that_writes_to_its_arguments_cannot_move_the_truth() -> None:
    def overwrites(Q: Array, K: Array, V: Array) -> Any:
        V[:] = 0
        return SimpleNamespace(output=V, error_bound=0.0, claims=())

    assert not any(run.passed for run in examine(REAL, overwrites).judgements)
    assert REAL.V.any()


# ------------------------------------------------------------------------------- a large head


def test_of_a_large_head_some_rows_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    found = examine(REAL, fastpath.attention, budget=4 * 64 + 63, rng=np.random.default_rng(0))
    rows = found.judgements[0].rows
    assert len(rows) == len(set(rows)) == 4
    again = examine(REAL, fastpath.attention, budget=4 * 64, rng=np.random.default_rng(0))
    assert rows == again.judgements[0].rows
    unforeseen = [
        examine(REAL, fastpath.attention, budget=4 * 64).judgements[0].rows for _ in range(9)
    ]
    assert len({rows, *unforeseen}) > 2
    check = Check(
        implementation="fastpath",
        source="a test",
        seed=0,
        sections=(heads_section.section([found], "a test"),),
    )
    print_check(check, verbose=True)
    assert capsys.readouterr().out.count("4 of 64") == 2
    (head,) = json.loads(as_json(check))["heads"]
    assert (head["rows_checked"], head["rows"]) == (4, list(rows))
    assert len(examine(REAL, fastpath.attention, budget=1).judgements[0].rows) == 1
    assert len(examine(REAL, fastpath.attention, budget=64 * 64).judgements[0].rows) == 64


def test_each_checked_row_is_compared_with_its_own_truth() -> None:
    def spoilt(row: int) -> HeadExamination:
        def output(Q: Array, K: Array, V: Array) -> Array:
            result = _honest(Q, K, V)
            result[row] += 1
            return result

        return examine(REAL, _answer(output, bound), budget=4 * 64, rng=np.random.default_rng(0))

    def bound(Q: Array, K: Array, V: Array) -> Array:
        result = np.full(len(Q), 8.0)
        result[list(checked)] = _honest_bound(Q, K, V)[list(checked)].max(axis=1)
        return result

    honest = examine(REAL, fastpath.attention, budget=4 * 64, rng=np.random.default_rng(0))
    checked = honest.judgements[0].rows
    for row in checked:
        assert not spoilt(row).passed
        assert f"[{row}, " in spoilt(row).judgements[0].failure
    assert spoilt(next(iter(set(range(64)) - set(checked)))).passed


# ---------------------------------------------------------------------------------- bad input


def _integers(path: Path) -> None:
    header = {
        f"h/{r}": {"dtype": "I16", "shape": [2, 2], "data_offsets": [8 * k, 8 * k + 8]}
        for k, r in enumerate("QKV")
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(24))


def _object_arrays(path: Path) -> None:
    objects = {f"h/{r}": np.array([[Fraction(1)]], dtype=object) for r in "QKV"}
    np.savez(path, **objects)  # type: ignore[arg-type]


def _bare_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, REAL.Q)


def _truncated(path: Path) -> None:
    write_heads(path, REAL)
    path.write_bytes(path.read_bytes()[:-100])


def _corrupted(path: Path) -> None:
    write_heads(path, REAL)
    content = bytearray(path.read_bytes())
    content[1000] ^= 255
    path.write_bytes(content)


def _without_v(path: Path) -> None:
    np.savez(path, **{"h/Q": REAL.Q, "h/K": REAL.K})  # type: ignore[arg-type]


def _nan(path: Path) -> None:
    V = REAL.V.copy()
    V[3, 4] = np.nan
    write_heads(path, Head("h", REAL.Q, REAL.K, V))


BAD_FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "missing": ("none.npz", lambda path: None, "does not exist"),
    "directory": ("folder.npz", Path.mkdir, "is a directory"),
    "extension": ("f.csv", lambda path: path.write_text("1,2"), "give a .npz or .safetensors file"),
    "name too long": ("x" * 300 + ".npz", lambda path: None, "cannot be opened"),
    "no bytes": ("f.npz", Path.touch, "is not a .npz archive"),
    "truncated": ("f.npz", _truncated, "is not a .npz archive"),
    "corrupted": ("f.npz", _corrupted, "minilm_L2H2_n64/Q"),
    "pickle": ("f.npz", lambda path: path.write_bytes(pickle.dumps([1])), "pickle is never read"),
    "npy": ("f.npz", _bare_array, "is not a .npz archive"),
    "objects": ("f.npz", _object_arrays, "never pickled objects"),
    "no V": ("f.npz", _without_v, "lacks h/V"),
    "NaN": ("f.npz", _nan, "h/V"),
    "tiny features": (
        "f.npz",
        lambda path: np.savez(path, **{"m/X": np.full((3, 2), 1e-200)}),
        "m/X",
    ),
    "no tensors": ("f.safetensors", Path.touch, "is not a .safetensors file"),
    "truncated tensors": ("f.safetensors", _truncated, "truncated or corrupted"),
    "integers": ("f.safetensors", _integers, "holds I16: allowed are"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_input_is_refused_in_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, make, says = BAD_FILES[name]
    make(tmp_path / file)
    before = sorted(tmp_path.iterdir())
    _refused(run_check(capsys, tmp_path / file), says, str(tmp_path / file))
    assert sorted(tmp_path.iterdir()) == before


def _refused(result: tuple[int, str, str], *says: str) -> None:
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.startswith("attest: ")
    assert err.endswith((".\n", "?\n"))
    assert err.count("\n") == 1
    for words in says:
        assert words in err


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("", "importable module"),
        (".relative", "importable module"),
        ("json", "a function attention"),
        ("broken", "ZeroDivisionError"),
    ],
)
def test_an_implementation_that_cannot_be_loaded_is_refused(
    module: str,
    says: str,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    _refused(run_check(capsys, file, "--impl", module), "--impl must name", says)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_heads(tmp_path / "real.safetensors", REAL)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    said = "safetensors is not installed", '"attest-attention[report]"'
    _refused(run_check(capsys, file), *said)


def test_an_unknown_claim_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["show", "S.none"], ["audit", "S.none"]):
        status = command.main(arguments)
        captured = capsys.readouterr()
        _refused((status, captured.out, captured.err), "S.none", "S.range")


@pytest.mark.parametrize("arguments", [[], ["chekc"], ["check", "--fast"], ["check", "a", "b"]])
def test_a_wrong_command_line_gives_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().out == ""
