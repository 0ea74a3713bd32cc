"""`attest check` reads feature matrices exactly and convicts a `sparsify` whose numbers lie."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.sparse import csr_array

import fastpath
from proofs import __main__ as command
from proofs.command.sections.sparsification import section
from proofs.judging.heads import (
    FeatureMatrix,
    InputError,
    read_file,
    shipped_heads,
    shipped_matrices,
)
from proofs.judging.sparsification import (
    GUARANTEES,
    MatrixExamination,
    SparsifyJudgement,
    examine,
)
from reference import Verdict, distance, loewner_epsilon, loewner_verdict
from reference.arithmetic.gram import gram
from tests.proofs.checking import install, run_check

Array = NDArray[Any]
Sparsify = Callable[..., Any]

SHIPPED = {matrix.name: matrix for matrix in shipped_matrices()}
HIDDEN = SHIPPED["hidden_minilm_L3_n64_d384"]

#: Real rows, few enough for exact elimination to be quick.
SMALL = FeatureMatrix(name="small", X=HIDDEN.X[:6].astype(np.float64))


def _write(path: Path, arrays: dict[str, Array]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
    else:
        save_file(arrays, path)
    return path


def _answer(Y: Array, **numbers: Any) -> SimpleNamespace:
    """Answer with Y and numbers that are true of nothing: 0, where none are given."""
    names = ("epsilon", "slack", "logit_error", "entry_error", "row_error")
    return SimpleNamespace(
        Y=Y, method="made up", claims=("X",), **(dict.fromkeys(names, 0.0) | numbers)
    )


def _changed(change: Callable[[Array, Any], dict[str, Any]]) -> Sparsify:
    """Return an implementation that takes fastpath's answer and changes some fields of it."""

    def sparsify(X: Array, **choices: Any) -> Any:
        honest = fastpath.sparsify(X, **choices)
        return replace(honest, **change(X, honest))

    return sparsify


def _runs(examination: MatrixExamination) -> list[SparsifyJudgement]:
    return list(examination.judgements)


# -------------------------------------------------------------------------------- what is read


def test_the_matrices_that_ship_are_those_of_the_archive() -> None:
    assert {name: matrix.X.shape for name, matrix in SHIPPED.items()} == {
        "hidden_minilm_L3_n64_d384": (64, 384),
        "ffn_minilm_L3_n32_d1536": (32, 1536),
        "bow_n96_d1342": (96, 1342),
    }
    path = Path(command.__file__).parent / "data" / "extras.npz"
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["X_hidden_minilm_L3_n64_d384"], HIDDEN.X)
        words = SHIPPED["bow_n96_d1342"].X
        stored = (arrays[f"X_bow_{part}"] for part in ("data", "indices", "indptr"))
        np.testing.assert_array_equal(csr_array(tuple(stored), words.shape).toarray(), words)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_a_file_may_hold_matrices_heads_or_both(tmp_path: Path, suffix: str, dtype: str) -> None:
    X = SMALL.X.astype(dtype)
    head = {f"h/{role}": X[:, :3].copy() for role in "QKV"}
    matrices = {"a/b/X": X, "h/X": X[:2].copy()}
    only_heads = read_file(_write(tmp_path / f"heads.{suffix}", head))
    only_matrices = read_file(_write(tmp_path / f"matrices.{suffix}", matrices))
    both = read_file(_write(tmp_path / f"both.{suffix}", head | matrices))
    assert [len(x) for x in (*only_heads, *only_matrices, *both)] == [1, 0, 0, 2, 1, 2]
    for found in (only_matrices, both):
        assert [matrix.name for matrix in found.matrices] == ["h", "a/b"]
        np.testing.assert_array_equal(found.matrices[1].X, X)
        assert found.matrices[1].X.dtype == (np.float64 if dtype == "<f8" else np.float32)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"X": np.ones((2, 2))}, "no head and no feature matrix.*<name>/X"),
        ({"m/X": np.ones(2)}, "m/X .* must be a matrix"),
        ({"m/X": np.ones((2, 0))}, "m/X .* must not be empty"),
        ({"m/X": np.array([[1.0, np.nan]])}, "m/X .* must be finite"),
        ({"m/X": np.array([[1, 2]])}, "m/X .* holds int64"),
        ({"m/X": np.full((1, 1), 2.0**501)}, "m/X .* 2\\^500"),
        ({"m/X": np.zeros((1 << 20 | 1, 1), np.float16)}, "m/X .* at most 1048576 rows"),
        ({"\x1b[2J/X": np.ones((2, 2))}, "must be printable"),
        ({"m/X": np.ones((2, 2)), "h/Q": np.ones((2, 2))}, "h lacks|lacks h/K"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_refused(
    tmp_path: Path, arrays: dict[str, Array], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path / "f.npz", arrays)
    with pytest.raises(InputError, match=says):
        read_file(path)
    status, out, err = run_check(capsys, path)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


# ---------------------------------------------------------------------------- an honest answer


def test_an_honest_implementation_passes_and_json_says_what_the_table_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _write(tmp_path / "f.npz", {"small/X": SMALL.X})
    status, out, err = run_check(capsys, file, "--verbose")
    assert (status, err) == (0, "")
    told = " ".join(out.split())
    assert "sparsify, 8 runs: every error is inside its certificate" in told
    assert "max|XX^T| < 0.1, which 0 of 1 meet" in told
    document = json.loads(run_check(capsys, file, "--json")[1])
    assert document["passed"]
    assert "heads" not in document
    (matrix,) = document["matrices"]
    (measured,) = (x.split() for x in out.splitlines() if x.startswith("small "))
    assert measured[1:3] == ["6", "384"]
    rows = [x.split() for x in out.splitlines() if x.endswith("WITHIN") or "Y = 0  " in x]
    for scaled in matrix["scales"]:
        zero = rows.pop(0)
        assert zero[1:5] == ["-", "Y", "=", "0"]
        assert _rounds_up_to(scaled["zero_entry_error"][1], zero[8])
        assert _rounds_up_to(scaled["zero_row_error"][1], zero[10])
        for run in scaled["runs"]:
            scale, guarantee, method, columns, *figures, verdict = rows.pop(0)
            assert (guarantee, method) == (run["guarantee"], run["method"])
            assert (scale, columns) == (f"{scaled['scale']:.3g}", str(run["columns"]))
            found = [run["quantities"][name] for name in ("gram", "entry", "row")]
            numbers = [x for q in found for x in (q["error"][1], q["bound"])]
            assert all(map(_rounds_up_to, numbers, figures))
            assert len(numbers) == len(figures)
            assert verdict == run["verdict"] == "WITHIN"
            assert all(q["verdict"] == "WITHIN" for q in run["quantities"].values())
            assert run["claims"]
    assert not rows


def _rounds_up_to(value: float, shown: str) -> bool:
    """Whether ``shown`` is the least three-digit number that is at least ``value``."""
    number = Decimal(shown)
    unit = Decimal(1).scaleb(number.adjusted() - 2)
    return number - unit < Decimal(value) <= number


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_scale_is_the_largest_of_three_digits_that_meets_the_hypothesis(dtype: Any) -> None:
    for factor in (1e-1, 1.0, 7.77, 1e17):
        X = (SMALL.X * factor).astype(dtype)
        original, scaled = examine(FeatureMatrix(name="m", X=X), fastpath.sparsify).scales
        assert original.scale == 1
        assert not original.hypothesis_holds
        assert scaled.hypothesis_holds
        for found, matrix in ((original, X), (scaled, X.astype(float) * scaled.scale)):
            largest = max(gram(matrix.astype(dtype)).flat)
            assert Fraction(found.logit_bound[0]) <= largest <= Fraction(found.logit_bound[1])
        mantissa, exponent = f"{scaled.scale:.2e}".split("e")
        assert float(f"{mantissa}e{exponent}") == scaled.scale
        next_one = float(f"{round(float(mantissa) * 100) + 1}e{int(exponent) - 2}")
        assert max(gram((X.astype(float) * next_one).astype(dtype)).flat) >= Fraction(0.1)


def test_a_matrix_that_meets_the_hypothesis_is_not_scaled() -> None:
    found = examine(FeatureMatrix(name="m", X=SMALL.X / 1000), fastpath.sparsify)
    assert [scaled.scale for scaled in found.scales] == [1.0]
    assert found.passed
    assert "which 1 of 1 meet" in section([found], "a test").summary


def test_the_errors_of_attention_are_those_of_the_reference() -> None:
    def sparsify(X: Array, **_: Any) -> Any:
        return _answer(X[:, ::2] * 1.4, epsilon=9, logit_error=1e9, entry_error=1, row_error=2)

    found = examine(SMALL, sparsify)
    for scaled in found.scales:
        X = SMALL.X * scaled.scale
        for Y, entry, row in (
            (np.zeros((6, 1)), scaled.zero_entry, scaled.zero_row),
            *(
                (X[:, ::2] * 1.4, run.quantities["entry"].error, run.quantities["row"].error)
                for run in found.at(scaled)
                if run.quantities
            ),
        ):
            exact = distance(X, Y)
            for shown, enclosure in ((entry, exact.entry), (row, exact.row)):
                lower, upper = enclosure.largest()
                assert shown is not None
                assert Fraction(shown[0]) <= lower <= upper <= Fraction(shown[1])
                assert shown[1] <= np.nextafter(shown[0], 9)


def test_the_error_of_the_gram_matrix_is_judged_to_its_last_bit_entrywise() -> None:
    X, Y = np.array([[0.25, 0], [0, 0.5]]) / 2, np.array([[0.25, 0], [0.0625, 0.25]]) / 2
    # YYᵀ − XXᵀ is [[0, 1/64], [1/64, −47/256]] / 4, and the diagonal of XXᵀ is [1/16, 1/4] / 4.
    worst = 47 / 64
    for epsilon, verdict in (
        (worst, Verdict.WITHIN),
        (np.nextafter(worst, 0), Verdict.OUTSIDE),
    ):
        answer = _answer(Y, epsilon=epsilon, logit_error=1, entry_error=1, row_error=2)
        run = examine(FeatureMatrix(name="m", X=X), lambda X, **_: answer).judgements[2]  # noqa: B023
        assert run.quantities is not None
        assert run.guarantee == "entrywise"
        assert run.quantities["gram"].error == (worst, worst)
        assert run.quantities["gram"].verdict is run.verdict is verdict


@pytest.mark.parametrize("factor", [1.0, 1.75], ids=["below G", "above G"])
@pytest.mark.parametrize("rows", [np.ones(6), np.logspace(-4, 0, 6)], ids=["even", "ill-scaled"])
def test_the_worst_direction_comes_within_a_millionth_of_the_loewner_error(
    factor: float, rows: Array
) -> None:
    X = SMALL.X * rows[:, None]
    Y = X[:, ::3] * factor
    exact = loewner_epsilon(X, Y, width=Fraction(1, 1 << 30))
    assert exact is not None
    lower, upper = exact.largest()
    for epsilon, verdict in (
        (upper * (1 + Fraction(1, 10**6)), Verdict.WITHIN),
        (lower * (1 - Fraction(1, 10**6)), Verdict.OUTSIDE),
    ):
        answer = _answer(Y, epsilon=float(epsilon), logit_error=1e9, entry_error=1, row_error=2)
        found = examine(FeatureMatrix(name="m", X=X), lambda X, **_: answer)  # noqa: B023
        for run in found.at(found.scales[0]):
            if run.guarantee != "entrywise":
                assert run.quantities is not None
                asked = run.epsilon_asked is None or epsilon <= run.epsilon_asked
                assert run.quantities["gram"].verdict is (verdict if asked else Verdict.OUTSIDE)
                error = run.quantities["gram"].error
                assert error is not None
                assert Fraction(error[0]) <= upper


def test_slack_is_allowed_on_the_diagonal_and_no_further() -> None:
    X = np.array([[1.0], [1.0]]) / 8  # singular: without slack no other Y would do
    Y = np.array([[1.0, 0.0], [1.0, 2.0**-10]]) / 8
    # H − G = diag(0, 2^-26) and diag(G) = (2^-6, 2^-6).
    for slack, verdict in ((2.0**-20, Verdict.WITHIN), (2.0**-21, Verdict.OUTSIDE)):
        answer = _answer(Y, slack=slack, logit_error=1, entry_error=1, row_error=2)
        found = examine(FeatureMatrix(name="m", X=X), lambda X, **_: answer)  # noqa: B023
        for run in _runs(found):
            assert run.quantities is not None
            assert run.quantities["gram"].verdict is verdict


def test_equal_logits_have_no_error() -> None:
    found = examine(SMALL, lambda X, **_: _answer(np.hstack([np.zeros((6, 2)), X[:, ::-1]])))
    assert found.passed
    for run in _runs(found):
        assert run.quantities is not None
        assert {quantity.error for quantity in run.quantities.values()} == {(0.0, 0.0)}


@pytest.mark.parametrize(
    "X",
    [
        np.ones((1, 1)),
        np.zeros((3, 5)),
        np.vstack([np.zeros(9), np.eye(3, 9)]),
        np.repeat(SMALL.X[:3], 2, axis=0),
        np.outer(np.arange(1.0, 8), np.ones(20)),
        SMALL.X[:, :2],
        SMALL.X.astype(np.float32) * np.float32(1e35),
        np.asfortranarray(SMALL.X * 2.0**-200),
    ],
    ids=["one", "zeros", "zero row", "equal rows", "rank one", "d < n", "huge", "tiny"],
)
def test_an_honest_implementation_passes_on_the_edges(X: Array) -> None:
    found = examine(FeatureMatrix(name="m", X=X), fastpath.sparsify)
    assert found.passed, [run.failure for run in _runs(found)]


@pytest.mark.slow
@pytest.mark.parametrize("guarantee", [g for g in GUARANTEES if g != "entrywise"])
def test_the_shipped_activations_keep_their_loewner_error_exactly(guarantee: str) -> None:
    X = SHIPPED["ffn_minilm_L3_n32_d1536"].X
    result = fastpath.sparsify(
        X, guarantee=guarantee, epsilon=GUARANTEES[guarantee], rng=np.random.default_rng(0)
    )
    assert result.slack == 0
    assert loewner_verdict(X, result.Y, result.epsilon) is Verdict.WITHIN
    # What `attest check` shows beside it is nearly all of it.
    assert loewner_verdict(X, result.Y, result.epsilon * 0.99) is Verdict.OUTSIDE


# ------------------------------------------------------------------------------ an answer that lies


def _nothing(X: Array, **_: Any) -> Any:
    return _answer(np.zeros((len(X), 1)), epsilon=0.1, logit_error=1e9, entry_error=1, row_error=2)


def _nudged(X: Array, **_: Any) -> Any:
    X[2, 0] += 1e-6 * np.abs(X).max()
    return _answer(X, epsilon=1e-12, logit_error=1e9, entry_error=1, row_error=2)


#: What is wrong, and what the failure must name; each lies in every run.
LIARS: dict[str, tuple[Sparsify, str]] = {
    "Y = 0 that claims 0.1": (_nothing, "exceeds epsilon + slack: 1 against 0.1"),
    "logit bound of nothing": (
        _changed(lambda X, honest: {"logit_error": 0.0}),
        "|YY^T - XX^T|_ij exceeds logit_error",
    ),
    "entry bound of nothing": (
        _changed(lambda X, honest: {"entry_error": 0.0}),
        "attention matrices exceeds entry_error",
    ),
    "row bound of nothing": (
        _changed(lambda X, honest: {"row_error": 0.0}),
        "magnitudes exceeds row_error",
    ),
    "epsilon of nothing": (
        _changed(lambda X, honest: {"epsilon": 0.0, "slack": 0.0}),
        "exceeds epsilon + slack",
    ),
    "Y off by a millionth": (_nudged, "exceeds epsilon + slack"),
    "a row of zeros": (
        _changed(lambda X, honest: {"Y": honest.Y * (np.arange(len(X)) != 3)[:, None]}),
        "exceeds epsilon + slack",
    ),
    "Y shrunk": (_changed(lambda X, honest: {"Y": honest.Y / 2}), "exceeds epsilon + slack"),
}


@pytest.mark.parametrize("name", LIARS)
def test_an_error_above_its_bound_gives_exit_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sparsify, says = LIARS[name]
    install(monkeypatch, sparsify=sparsify)
    file = _write(tmp_path / "f.npz", {"small/X": SMALL.X})
    status, out, _ = run_check(capsys, file, "--impl", "liar", "--json")
    document = json.loads(out)
    assert (status, document["passed"]) == (1, False)
    assert "not every error is inside its certificate, see small" in document["summary"]
    runs = [run for scaled in document["matrices"][0]["scales"] for run in scaled["runs"]]
    assert [run["verdict"] for run in runs] == ["OUTSIDE"] * 8
    assert all(says in run["failure"] for run in runs)
    _, out, _ = run_check(capsys, file, "--impl", "liar", "--verbose")
    told = " ".join(out.split())
    for run in runs:
        assert f"{run['guarantee']}: OUTSIDE. {run['failure']}" in told
    assert "epsilon=0.8, rng=numpy.random.default_rng(0))" in told


def _raises(X: Array, **_: Any) -> Any:
    raise RuntimeError("out of luck")


@pytest.mark.parametrize(
    ("sparsify", "says"),
    [
        (_raises, "sparsify raised RuntimeError: out of luck"),
        (lambda X, **_: X, "sparsify raised AttributeError"),
        (lambda X: _answer(X), "sparsify raised TypeError"),
        (lambda X, **_: _answer(X, epsilon=None), "sparsify raised TypeError"),
        (lambda X, **_: _answer(X[:3]), "Y must have shape (6, m) with m at least 1, got (3, 384)"),
        (lambda X, **_: _answer(X[0]), "Y must have shape (6, m)"),
        (lambda X, **_: _answer(X[:, :0]), "Y must have shape (6, m)"),
        (lambda X, **_: _answer(X.astype(int)), "Y must hold float32 or float64, got int64"),
        (lambda X, **_: _answer(X * np.nan), "Y holds 2304 NaN or infinite entries"),
        (lambda X, **_: _answer(X, slack=np.nan), "slack must be finite and at least 0, got nan"),
        (lambda X, **_: _answer(X, row_error=np.inf), "row_error must be finite"),
        (lambda X, **_: _answer(X, entry_error=-1.0), "entry_error must be finite and at least 0"),
    ],
)
def test_an_answer_that_cannot_be_judged_gives_exit_1(
    sparsify: Sparsify,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, sparsify=sparsify)
    file = _write(tmp_path / "f.npz", {"small/X": SMALL.X})
    status, out, _ = run_check(capsys, file, "--impl", "liar", "--json")
    assert status == 1
    for scaled in json.loads(out)["matrices"][0]["scales"]:
        assert [run["verdict"] for run in scaled["runs"]] == ["NO ANSWER"] * 4
        assert all(says in run["failure"] for run in scaled["runs"])
    status, out, _ = run_check(capsys, file, "--impl", "liar", "--verbose")
    assert status == 1
    assert f"columns: NO ANSWER. {says}" in " ".join(out.split())


def test_an_implementation_cannot_overwrite_the_matrix() -> None:
    before = SMALL.X.copy()

    def sparsify(X: Array, **_: Any) -> Any:
        answer = _answer(X.copy())
        X[:] = 0
        return answer

    assert examine(SMALL, sparsify).passed
    np.testing.assert_array_equal(SMALL.X, before)


def test_an_epsilon_above_the_one_asked_for_does_not_pass() -> None:
    # No columns: an honest Loewner error of 1 whatever X is.
    def nothing(X: Array, **_: Any) -> Any:
        return _answer(0 * X[:, :1], epsilon=1, logit_error=1e9, entry_error=1, row_error=2)

    for run in _runs(examine(SMALL, nothing)):
        if run.epsilon_asked is not None:
            assert run.verdict is Verdict.OUTSIDE
            assert run.failure.startswith("epsilon must be at most the 0.8 asked for, got 1.")


def test_an_infinite_error_is_shown_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A row of zeros has no logits; a Y that gives it some is off by any multiple of them.
    X = np.array([[0.0, 0.0], [0.1, 0.1]])
    answer = _answer(np.full((2, 1), 0.1), epsilon=9, logit_error=9, entry_error=1, row_error=2)
    install(monkeypatch, sparsify=lambda X, **_: answer)
    file = _write(tmp_path / "f.npz", {"m/X": X})
    status, out, _ = run_check(capsys, file, "--impl", "liar", "--json")
    runs = {run["guarantee"]: run for run in json.loads(out)["matrices"][0]["scales"][0]["runs"]}
    assert status == 1
    assert runs["entrywise"]["quantities"]["gram"]["error"] is None
    assert {run["quantities"]["gram"]["verdict"] for run in runs.values()} == {"OUTSIDE"}
    _, out, _ = run_check(capsys, file, "--impl", "liar", "--verbose")
    (shown,) = (x for x in map(str.split, out.splitlines()) if x[:2] == ["1", "entrywise"])
    assert shown[5] == "inf"
    assert "inf against 9" in " ".join(out.split())


# ------------------------------------------------------------------------------- what is checked


@pytest.mark.slow
def test_of_a_large_matrix_some_rows_are_checked() -> None:
    def spoilt(row: int) -> Sparsify:
        def sparsify(X: Array, **_: Any) -> Any:
            Y = X.copy()
            Y[row, 0] += 1
            return _answer(Y, epsilon=9, logit_error=1e-3, entry_error=1, row_error=2)

        return sparsify

    def examined(sparsify: Sparsify, budget: int) -> MatrixExamination:
        return examine(HIDDEN, sparsify, budget=budget, rng=np.random.default_rng(0))

    work = 64 * (384 + 512)
    found = examined(fastpath.sparsify, 4 * work + 1)
    assert found.passed
    rows = found.judgements[0].rows
    assert len(rows) == len(set(rows)) == 4
    assert rows == examined(spoilt(0), 4 * work).judgements[0].rows
    for row in rows:
        for run in _runs(examined(spoilt(row), 4 * work)):
            assert run.verdict is Verdict.OUTSIDE
    # Twice X has four times its Gram matrix, an error of three on the diagonal.
    for run in _runs(examined(lambda X, **_: _answer(2 * X), 4 * work)):
        assert run.quantities is not None
        assert run.quantities["gram"].error == (3.0, 3.0)
    (document,) = section([found], "a test").document
    assert (document["rows_checked"], document["rows"]) == (4, rows)
    assert len(examined(spoilt(0), 1).judgements[0].rows) == 1


def test_what_an_implementation_has_no_function_for_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = next(head for head in shipped_heads(64))
    arrays = {f"h/{role}": x[:4] for role, x in zip("QKV", head.matrices, strict=True)}
    both = _write(tmp_path / "both.npz", arrays | {"small/X": SMALL.X})
    only_matrix = _write(tmp_path / "matrix.npz", {"small/X": SMALL.X})
    for function, other, things in (
        ("attention", "sparsify", "small"),
        ("sparsify", "attention", "h"),
    ):
        install(monkeypatch, **{function: getattr(fastpath, function)})
        status, out, _ = run_check(capsys, both, "--impl", "liar", "--json")
        assert status == 0
        assert f"liar has no function {other}: {things} not checked." in json.loads(out)["summary"]
        assert f"liar has no function {other}" in run_check(capsys, both, "--impl", "liar")[1]
    install(monkeypatch, attention=fastpath.attention)
    status, out, err = run_check(capsys, only_matrix, "--impl", "liar")
    assert (status, out) == (2, "")
    assert "must name a module with a function sparsify" in err
