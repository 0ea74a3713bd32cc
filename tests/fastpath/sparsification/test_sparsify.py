"""What sparsify refuses, what it leaves alone, and what it does not depend on."""

import itertools
import tracemalloc
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st

import fastpath
from fastpath.core.bounds.sparsification import bss_epsilon
from fastpath.sparsification.choice import METHODS, WIDEST, _barrier_width
from tests.strategies import feature_matrices


def _wide() -> Any:
    return np.random.default_rng(0).standard_normal((4, 300))


def _with(position: tuple[int, int], value: float) -> Any:
    X = _wide()
    X[position] = value
    return X


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"epsilon": 0.0}, ValueError, r"epsilon must be in \(0, 1\), got 0.0"),
        ({"epsilon": 1.0}, ValueError, r"epsilon must be in \(0, 1\), got 1.0"),
        ({"epsilon": 10**400}, ValueError, r"epsilon must be in \(0, 1\), got 10000"),
        (
            {"epsilon": Fraction(1, 10**400)},
            ValueError,
            r"epsilon must be in \(0, 1\), got Fraction",
        ),
        ({"epsilon": float("nan")}, ValueError, r"epsilon must be in \(0, 1\), got nan"),
        ({"epsilon": "0.5"}, TypeError, "epsilon must be a number or None, got '0.5'"),
        ({"epsilon": True}, TypeError, "epsilon must be a number or None, got True"),
        (
            {"epsilon": 0.5, "failure_probability": 0},
            ValueError,
            r"failure_probability must be in \(0, 1\), got 0",
        ),
        ({"failure_probability": 0.1}, ValueError, "failure_probability needs epsilon"),
        ({"method": "osnap"}, ValueError, "needs epsilon or width"),
        ({"method": "osnap", "width": 0}, ValueError, r"width must be in \[1, 300\]"),
        ({"method": "osnap", "width": 301}, ValueError, r"width must be in \[1, 300\].*got 301"),
        ({"method": "osnap", "width": 2**70}, ValueError, r"width must be in \[1, 300\]"),
        ({"method": "osnap", "width": 20.0}, TypeError, "width must be an integer"),
        (
            {"method": "osnap", "epsilon": 1e-3},
            ValueError,
            "method='osnap' needs .* columns for epsilon=0.001, more than the 300 that are useful",
        ),
        (
            {"guarantee": "entrywise", "method": "jl", "epsilon": 1e-300},
            ValueError,
            "method='jl' needs at least .* more than the 300 that are useful",
        ),
        (
            {"guarantee": "columns", "method": "bss", "width": 4},
            ValueError,
            "width must exceed the rank of X, 4, for method='bss', got 4",
        ),
        ({"guarantee": "exactly"}, ValueError, "guarantee must be one of 'exact', 'loewner'"),
        ({"method": "bss"}, ValueError, "method must be one of 'auto', 'gram', .*got 'bss'"),
        ({"guarantee": "exact", "epsilon": 0.5}, ValueError, "epsilon must be left out"),
        ({"method": "gram", "width": 3}, ValueError, "width must be left out for method='gram'"),
        (
            {"guarantee": "columns", "method": "bss", "epsilon": 0.9, "failure_probability": 0.1},
            ValueError,
            "failure_probability must be left out for method='bss', which is deterministic",
        ),
        ({"rng": 7}, TypeError, "rng must be a numpy.random.Generator or None, got 7"),
    ],
)
def test_a_choice_that_is_not_allowed_is_named(choices: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fastpath.sparsify(_wide(), **{"guarantee": "loewner", **choices})


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (_with((1, 2), np.nan), ValueError, "X must be finite, but it holds NaN or infinite"),
        (_with((0, 0), np.inf), ValueError, "X must be finite"),
        (sp.csr_array(_with((1, 2), np.nan)), ValueError, "X must be finite"),
        (sp.csc_array(_with((3, 9), -np.inf)), ValueError, "X must be finite"),
        (np.ones(3), ValueError, r"X must be a matrix \(2 dimensions\), got shape \(3,\)"),
        (np.ones((3, 0)), ValueError, r"X must not be empty, got shape \(3, 0\)"),
        (np.ones((0, 3)), ValueError, "X must not be empty"),
        (np.ones((2, 2), complex), TypeError, "X must hold floats of at most 64 bits or integers"),
        (np.array([["a", "b"]]), TypeError, "X must hold"),
        (np.ma.masked_array(np.eye(3), np.eye(3)), TypeError, "X must be a plain array"),
        (
            np.full((2, 2), 2**53 + 1),
            ValueError,
            r"X must hold integers that float64 holds exactly",
        ),
        (
            sp.csr_array(np.full((2, 2), 2**53 + 1)),
            ValueError,
            r"X.data must hold integers that float64 holds exactly",
        ),
        (sp.coo_array(([1.0], ([0],)), shape=(3,)), ValueError, "X must be a matrix"),
        (np.array([[True, "b"]], object), TypeError, "X must hold"),
        (np.ma.masked_array(np.eye(3) > 0, np.eye(3)), TypeError, "X must be a plain array"),
        (np.full((2, 2), 1e300), ValueError, "squares could underflow or overflow"),
        (np.full((2, 2), 5e-324), ValueError, "squares could underflow or overflow"),
        (np.array([[1e-200, 1e200]]), ValueError, "squares could underflow or overflow"),
    ],
)
def test_features_that_are_not_allowed_are_named(X: Any, error: Any, message: str) -> None:
    for take in (fastpath.sparsify, fastpath.gram):
        with pytest.raises(error, match=message):
            take(X)


#: The least numbers that epsilon may be, and those at which a square, a root or a product underflows.
TINY = (5e-324, 1e-310, 1e-200, 1e-155, 1e-100, 1e-20, 1e-16, 1e-10, 1e-9)


@pytest.mark.parametrize("epsilon", [*TINY, 1 - 2.0**-53])
@pytest.mark.parametrize(("guarantee", "method"), [(g, m) for g in METHODS for m in METHODS[g]])
def test_any_epsilon_gives_an_answer_or_a_sentence(
    guarantee: str, method: str, epsilon: float
) -> None:
    """A width counted up one by one from 2^62 never ended, and 1/epsilon² left as OverflowError."""
    X = _wide()
    for probability in (None, 5e-324, 1e-200, 1 - 2.0**-53):
        try:
            result = fastpath.sparsify(
                X,
                guarantee=guarantee,
                method=method,
                epsilon=epsilon,
                failure_probability=probability,
                rng=np.random.default_rng(0),
            )
        except (ValueError, RuntimeError) as error:
            sentence = str(error)
            assert "epsilon" in sentence or "failure_probability" in sentence
            assert sentence.endswith(".")
        else:
            assert result.epsilon + result.slack <= epsilon


@pytest.mark.parametrize("method", ["bss", "leverage"])
def test_where_every_column_is_kept_nothing_is_lost(method: str) -> None:
    """As wide as X, a selection is X itself: no certificate of float64 is needed, nor good enough."""
    X = _wide()
    X[:, 7] = 0
    result = fastpath.sparsify(X, guarantee="columns", method=method, epsilon=5e-324)
    assert np.array_equal(result.Y, np.delete(X, 7, axis=1))
    assert (result.certificate, result.epsilon, result.slack) == ("copy", 0, 0)


@example(rank=1, epsilon=0.8)  # 4 columns exactly, of which rounding says 5
@given(
    rank=st.integers(0, 10**6), epsilon=st.one_of(st.sampled_from(TINY), st.floats(1e-12, 0.999))
)
def test_the_width_of_the_barrier_method_is_the_least_that_serves(
    rank: int, epsilon: float
) -> None:
    width, rank = _barrier_width(rank, epsilon), max(rank, 1)
    if width >= WIDEST:
        assert bss_epsilon(WIDEST / rank) >= epsilon
        return
    assert bss_epsilon(width / rank) <= epsilon
    # Beyond 2^46 columns the least is missed by a part in that.
    less = width - max(1, width >> 46)
    assert less <= rank or bss_epsilon(less / rank) > epsilon


def _malformed(kind: str) -> Any:
    X = sp.csr_array(np.array([[1.0, 2.0, 3.0], [0.0, 4.0, 5.0]]))
    if kind == "coo":
        X = X.tocoo()
        X.coords[1][0] = 9
    elif kind == "coo, duplicate":
        X = sp.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(2, 3))
    elif kind == "lil":
        X = X.tolil()
        X.rows[0][0] = 9
    elif kind == "bsr":
        X = X.tobsr()
        X.indices[0] = 9
    elif kind == "unsorted, duplicate":
        X.indices[:3] = [1, 0, 1]
    elif kind == "duplicate":
        X.indices[:2] = [1, 1]
    elif kind == "too large":
        X.indices[2] = 9
    elif kind == "negative":
        X.indices[0] = -1
    else:
        X.indptr[1] = 7
    return X


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("duplicate", r"X must have no duplicate indices: call X.sum_duplicates\(\) first"),
        ("unsorted, duplicate", r"X must have no duplicate indices"),
        ("coo, duplicate", r"X must have no duplicate indices"),
        ("coo", "X must be a well-formed COO matrix"),
        ("lil", r"indices in \[0, 3\), got 1 to 9"),
        ("bsr", "X must be a well-formed BSR matrix"),
        ("too large", r"indices in \[0, 3\), got 0 to 9"),
        ("negative", r"indices in \[0, 3\), got -1 to 2"),
        ("indptr", "indptr does not rise from 0 to the 5 stored entries"),
    ],
)
def test_malformed_sparse_features_are_refused_and_left_alone(kind: str, message: str) -> None:
    X = _malformed(kind)
    before = [a.copy() for a in _arrays(X)]
    with pytest.raises(ValueError, match=message):
        fastpath.sparsify(X)
    for old, new in zip(before, _arrays(X), strict=True):
        assert np.array_equal(old, new)


def _arrays(X: Any) -> tuple[Any, ...]:
    """Return the arrays that a sparse matrix is stored in."""
    places = {
        "coo": lambda: X.coords,
        "lil": lambda: (X.rows,),
        "dok": lambda: (),
        "dia": lambda: (),
    }
    data = np.array([*X.values()]) if X.format == "dok" else X.data
    return (data, *places.get(X.format, lambda: (X.indices, X.indptr))())


def _written_down(X: Any, form: str) -> Any:
    """Return a matrix in a sparse format, or with indices that are not sorted."""
    if not form.endswith("unsorted"):
        return sp.coo_matrix(X).asformat(form)
    Y = sp.coo_array(X).asformat(form[:3])
    for start, stop in pairwise(Y.indptr):
        for array in (Y.data, Y.indices):
            array[start:stop] = array[start:stop][::-1].copy()
    return type(Y)((Y.data, Y.indices, Y.indptr), shape=Y.shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.bool_])
@pytest.mark.parametrize(
    "form",
    [*("csr", "csc", "csr unsorted", "csc unsorted", "coo", "lil", "dok", "bsr", "dia")],
)
def test_every_sparse_format_gives_what_sorted_rows_give(form: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    X = (rng.integers(-3, 4, (5, 30)) * (rng.random((5, 30)) < 0.4)).astype(dtype)
    X[2] = 0
    given = _written_down(X, form)
    before = [a.copy() for a in _arrays(given)]
    floats = X if dtype == np.float32 else X.astype(np.float64)
    expected = fastpath.gram(sp.csr_array(floats))
    found = fastpath.gram(given)
    assert np.array_equal(found.matrix, expected.matrix)
    assert found.roundings == expected.roundings
    assert fastpath.sparsify(given).Y.dtype == floats.dtype
    assert np.array_equal(fastpath.gram(X).matrix, fastpath.gram(floats).matrix)
    for old, new in zip(before, _arrays(given), strict=True):
        assert np.array_equal(old, new)


def test_rows_that_end_where_others_begin_may_descend() -> None:
    X = sp.csr_array(np.array([[0.0, 0.0, 3.0], [1.0, 0.0, 0.0], [0.0] * 3, [1.0, 2.0, 0.0]]))
    assert fastpath.sparsify(X).epsilon == 0


@given(X=feature_matrices(), guarantee=st.sampled_from(list(METHODS)))
def test_features_are_never_changed(X: Any, guarantee: str) -> None:
    arrays = (X.data, X.indices, X.indptr) if sp.issparse(X) else (X,)
    before = [a.copy() for a in arrays]
    for array in arrays:
        array.flags.writeable = False
    epsilon = None if guarantee == "exact" else 0.9
    result = fastpath.sparsify(X, guarantee=guarantee, epsilon=epsilon)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))
    assert result.Y.dtype == X.dtype
    assert result.Y.shape[0] == X.shape[0]
    assert np.isfinite(dense := np.asarray(result.Y)).all(), dense


@given(X=feature_matrices())
def test_the_layout_of_the_features_changes_a_gram_matrix_by_rounding_only(X: Any) -> None:
    plain = X.toarray() if sp.issparse(X) else X
    layouts = [plain, np.asfortranarray(plain), sp.csr_array(plain), sp.csc_array(plain)]
    grams = [fastpath.gram(layout) for layout in layouts]
    for a, b in itertools.pairwise(grams):
        lengths = np.sqrt(np.outer(a.matrix.diagonal(), a.matrix.diagonal()))
        # Both are within their bounds of the truth, whose diagonal is within a's bound of a's.
        allowed = (a.error + b.error) * (1 + 2 * a.error) * lengths
        assert (np.abs(a.matrix - b.matrix) <= np.nextafter(allowed, np.inf)).all()


def test_sparse_features_are_not_made_dense() -> None:
    X = sp.random(64, 500_000, 1e-3, format="csr", random_state=0)
    fastpath.gram(X[:, :4096])
    for guarantee, choices in (
        ("exact", {}),
        ("loewner", {"method": "osnap", "width": 512}),
        ("columns", {"method": "leverage", "width": 512}),
    ):
        tracemalloc.start()
        try:
            fastpath.sparsify(X, guarantee=guarantee, rng=np.random.default_rng(0), **choices)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < X.shape[0] * X.shape[1] * 8 / 4, guarantee


def test_a_method_that_cannot_be_certified_says_so() -> None:
    """A width far below the rank loses directions: no draw helps."""
    X = _wide()
    with pytest.raises(RuntimeError, match=r"could be certified to epsilon=.* not to 0\.5"):
        fastpath.sparsify(X, guarantee="loewner", method="osnap", epsilon=0.5, width=2)


def test_without_a_certificate_the_failure_probability_is_given() -> None:
    """Where X Xᵀ costs more than a sketch, P3.sketches alone vouches for it, and that is said."""
    X = sp.random(3, 400_000, 0.9, format="csr", random_state=0)
    result = fastpath.sparsify(
        X,
        guarantee="loewner",
        method="osnap",
        epsilon=0.5,
        failure_probability=0.1,
        rng=np.random.default_rng(0),
    )
    known = result.certificate, result.failure_probability
    assert known in (("probability", 0.1), ("cholesky", None))
    assert result.epsilon <= 0.5


@pytest.mark.parametrize("method", ["osnap", "countsketch", "gram-of-sketch"])
def test_a_sketch_without_a_certificate_is_refused_where_it_would_underflow(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2^-149 / sqrt(2) is 2^-149 in float32, twice: Y Yᵀ would be 2 X Xᵀ."""
    monkeypatch.setattr("fastpath.sparsification.choice.gram_cost", lambda X: np.inf)
    X = np.ones((2, 4000), np.float32)
    asked: dict[str, Any] = {"method": method, "epsilon": 0.5, "failure_probability": 0.1}
    result = fastpath.sparsify(X, guarantee="loewner", **asked)
    assert result.certificate == "probability"
    assert "P3.sketch" in result.claims
    X[0] = 2.0**-149
    with pytest.raises(
        RuntimeError, match=r"rows shorter than .* could underflow: give X in float64"
    ):
        fastpath.sparsify(X, guarantee="loewner", **asked)
