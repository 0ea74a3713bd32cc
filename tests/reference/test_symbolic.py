"""The symbolic definitions satisfy their identities and agree with the enclosures."""

from fractions import Fraction

import numpy as np
import pytest
import sympy

from reference import Enclosure, attention, evaluate, softmax, symbolic, weights


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_jacobian_of_softmax_is_diag_p_minus_p_p_transposed(n):
    v = sympy.symbols(f"v:{n}", real=True)
    difference = symbolic.softmax(v).jacobian(v) - symbolic.softmax_jacobian(v)
    assert sympy.simplify(difference) == sympy.zeros(n)


def test_the_weights_of_softmax_sum_to_one():
    p = symbolic.softmax(sympy.symbols("v:4", real=True))
    assert sympy.simplify(sum(p)) == 1


def test_a_shift_of_all_logits_cancels():
    v, c = sympy.symbols("v:3", real=True), sympy.Symbol("c", real=True)
    difference = symbolic.softmax([entry + c for entry in v]) - symbolic.softmax(v)
    assert sympy.simplify(difference) == sympy.zeros(3, 1)


def test_the_first_causal_row_is_the_first_value():
    Q, K, V = (symbolic.symbols_matrix(name, 2, 2) for name in "QKV")
    assert sympy.simplify(symbolic.attention(Q, K, V, causal=True)[0, :] - V[0, :]) == sympy.zeros(
        1, 2
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n_q", "n_k", "d", "d_v"), [(2, 2, 1, 2), (3, 3, 2, 1), (3, 2, 2, 2)])
def test_symbolic_attention_lies_in_the_enclosure(n_q, n_k, d, d_v, causal):
    if causal and n_q != n_k:
        n_k = n_q
    rng = np.random.default_rng(7)
    arrays = {
        "Q": rng.normal(size=(n_q, d)).astype(np.float32),
        "K": rng.normal(size=(n_k, d)).astype(np.float32),
        "V": rng.normal(size=(n_k, d_v)).astype(np.float32),
    }
    matrices = {name: symbolic.symbols_matrix(name, *a.shape) for name, a in arrays.items()}
    values = {
        matrices[name][i, j]: Fraction(float(a[i, j]))
        for name, a in arrays.items()
        for i, j in np.ndindex(a.shape)
    }
    enclosed = attention(**arrays, causal=causal, precision=100)
    lower, upper = enclosed.bounds()
    expanded = symbolic.attention(**matrices, causal=causal)
    for i, c in np.ndindex(enclosed.shape):
        (low,), (high,) = (end.ravel() for end in evaluate(expanded[i, c], values, 200).bounds())
        assert lower[i, c] <= low <= high <= upper[i, c]


def test_symbolic_softmax_and_its_jacobian_lie_in_the_enclosures():
    v = [Fraction(1, 4), Fraction(-3, 2), Fraction(2)]
    symbols = sympy.symbols("v:3", real=True)
    values = dict(zip(symbols, v, strict=True))
    p = softmax(v, precision=64)
    derivative = symbolic.softmax(symbols).jacobian(symbols)
    for i in range(3):
        assert contains_enclosure(p[i], evaluate(symbolic.softmax(symbols)[i], values, 200))
        for j in range(3):
            formula = p[i] * (int(i == j) - p[j])
            assert contains_enclosure(formula, evaluate(derivative[i, j], values, 200))


def contains_enclosure(outer, inner):
    """Whether every ball of ``inner`` lies in its ball of ``outer``."""
    return all(outer.contains(end).all() for end in inner.bounds())


def test_weights_times_values_is_attention():
    rng = np.random.default_rng(3)
    Q, K, V = (rng.integers(-2, 3, (3, 2)) for _ in range(3))
    coarse, fine = weights(Q, K, precision=64) @ V, attention(Q, K, V, precision=200)
    assert isinstance(coarse, Enclosure)
    assert contains_enclosure(coarse, fine)
