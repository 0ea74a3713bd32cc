"""Attention inputs that reach the edges: one row, one column, huge, equal, subnormal, Fortran order."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[Any]

#: Exponents of two by which a whole matrix is scaled; products of two stay inside either type.
_SCALES = st.sampled_from([0, 0, 0, 1, 3, 7, -3, -20, -60, 6])


@st.composite
def matrices(draw: st.DrawFn, rows: int, columns: int, dtype: type[Any]) -> Array:
    """Draw a matrix of one size: smooth, constant, sparse, with ties or with one huge entry."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["normal", "constant", "zeros", "ties", "spike", "subnormal"]))
    matrix = rng.standard_normal((rows, columns))
    if kind == "constant":
        matrix[:] = matrix[0, 0]
    elif kind == "zeros":
        matrix[rng.random(matrix.shape) < 0.7] = 0
    elif kind == "ties":
        matrix = np.round(matrix)
    elif kind == "spike":
        matrix[rng.integers(rows), rng.integers(columns)] = 64.0
    matrix = np.ldexp(matrix, draw(_SCALES)).astype(dtype)
    if kind == "subnormal":
        matrix = np.ldexp(matrix, -140 if dtype is np.float32 else -1060).astype(dtype)
    return np.asfortranarray(matrix) if draw(st.booleans()) else matrix


@st.composite
def attention_inputs(draw: st.DrawFn) -> tuple[Array, Array, Array, bool]:
    """Draw (Q, K, V, causal) of one floating-point type."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    sizes = st.sampled_from([1, 1, 2, 3, 5, 8, 17])
    n_q, n_k, d, d_v = (draw(sizes) for _ in range(4))
    causal = draw(st.booleans())
    n_q = n_k if causal else n_q
    Q, K, V = (draw(matrices(r, c, dtype)) for r, c in ((n_q, d), (n_k, d), (n_k, d_v)))
    if draw(st.integers(0, 9)) == 0:
        V = V * (np.finfo(dtype).max / 2**10 / max(1.0, float(np.abs(V).max())))
    return Q, K, V.astype(dtype), causal


@st.composite
def feature_matrices(draw: st.DrawFn) -> Any:
    """Draw X for sparsification: dense or sparse, wide or narrow, with repeated or zero rows."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n, d = draw(st.sampled_from([1, 2, 3, 5, 8])), draw(st.sampled_from([1, 2, 7, 40, 130]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.standard_normal((n, d))
    kind = draw(
        st.sampled_from(["normal", "thin", "ties", "repeated", "rank one", "zeros", "spike"])
    )
    if kind == "thin":
        X[rng.random(X.shape) < 0.8] = 0
    elif kind == "ties":
        X = np.round(X)
    elif kind == "repeated":
        X = X[rng.integers(0, n, n)][:, rng.integers(0, d, d)]
    elif kind == "rank one":
        X = np.outer(X[:, 0], X[0])
    elif kind == "zeros":
        X[rng.random(n) < 0.5] = 0
        X[:, rng.random(d) < 0.5] = 0
    elif kind == "spike":
        X[rng.integers(n), rng.integers(d)] = 2.0**12
    X = np.ldexp(X, draw(st.sampled_from([0, 0, -3, -40, 3]))).astype(dtype)
    layout = draw(st.sampled_from(["C", "F", "csr", "csc"]))
    if layout in ("C", "F"):
        return np.asarray(X, order=layout)
    return sp.csr_array(X).asformat(layout)
