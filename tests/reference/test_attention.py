"""Attention's enclosure holds the truth for every input, stays narrow, and judges outputs."""

from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference
from reference import (
    PRECISIONS,
    Enclosure,
    Verdict,
    attention,
    attention_verdict,
    logits,
    softmax,
    weights,
)
from tests.reference.truth import FLOATS, apply, encloses, encloses_arb, fractions, to_arb

BITS_OF_TRUTH = 4000  # of Arb: more than a sum of exact logits of any size needs


def arb_weights(Q, K, causal):
    """The softmax matrix by its definition, exact logits shifted by their exact row maximum."""
    S = fractions(Q) @ fractions(K).T
    W = np.full(S.shape, arb(0), dtype=object)
    for i, row in enumerate(S):
        seen = row[: i + 1] if causal else row
        terms = [to_arb(s - max(seen))[()].exp() for s in seen]
        W[i, : len(seen)] = [term / sum(terms, arb(0)) for term in terms]
    return W


def arb_attention(Q, K, V, causal):
    """Attention by its definition."""
    return arb_weights(Q, K, causal) @ to_arb(fractions(V))


@st.composite
def heads(draw):
    """Q, K, V of any float type and scale (zero, denormal, huge), and whether they are causal."""
    dtype = np.dtype(draw(st.sampled_from(FLOATS)))
    causal = draw(st.booleans())
    n_q = draw(st.integers(1, 4))
    n_k = n_q if causal else draw(st.integers(1, 4))
    d, d_v = draw(st.integers(1, 3)), draw(st.integers(1, 3))

    def matrix(rows, columns):
        scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 100.0, 1e4, float(np.finfo(dtype).max)]))
        scale = dtype.type(min(scale, np.finfo(dtype).max)).item()
        width = 8 * dtype.itemsize
        anything = st.floats(-scale, scale, width=width)
        array = draw(hnp.arrays(dtype, (rows, columns), elements=anything))
        return np.asfortranarray(array) if draw(st.booleans()) else array

    return matrix(n_q, d), matrix(n_k, d), matrix(n_k, d_v), causal


# Soundness


@given(heads(), st.sampled_from([16, 53, 128]))
def test_attention_encloses_its_definition(head, precision):
    Q, K, V, causal = head
    with ctx.workprec(BITS_OF_TRUTH):
        truth = arb_attention(Q, K, V, causal)
        assert encloses_arb(attention(Q, K, V, causal=causal, precision=precision), truth)


@given(heads(), st.sampled_from([16, 53, 128]))
def test_weights_enclose_their_definition_and_their_rows_sum_to_one(head, precision):
    Q, K, _, causal = head
    W = weights(Q, K, causal=causal, precision=precision)
    with ctx.workprec(BITS_OF_TRUTH):
        assert encloses_arb(W, arb_weights(Q, K, causal))
    assert W.sum(axis=1).contains(1).all()


@given(heads())
def test_logits_are_exact(head):
    Q, K, _, _ = head
    S = logits(Q, K)
    assert S.radius == 0
    assert encloses(S, fractions(Q) @ fractions(K).T)


@given(heads())
def test_the_width_is_small_beside_the_largest_value_whatever_the_scales(head):
    Q, K, V, causal = head
    width = attention(Q, K, V, causal=causal, precision=128).width()
    largest = max(abs(fractions(V)).ravel())
    assume(largest)
    assert width <= 40 * len(V) * largest / 2**128


@given(heads())
def test_inputs_are_never_modified(head):
    Q, K, V, causal = head
    before = [array.tobytes() for array in (Q, K, V)]
    attention(Q, K, V, causal=causal)
    assert [array.tobytes() for array in (Q, K, V)] == before


def test_the_function_and_not_the_module_is_what_the_package_exports():
    import_module("reference.attention")  # must not put the module in the function's place
    assert reference.attention is attention
    assert callable(reference.attention)


# Inputs as enclosures, and softmax alone


def test_inputs_may_be_enclosures_and_their_radii_count():
    Q, K, V = np.array([[1.0], [-2.0]]), np.array([[0.5], [3.0]]), np.array([[7.0], [-1.0]])
    loose = Enclosure(Enclosure.exact(Q, 20).mid, 3, 20)
    enclosed = attention(loose, K, V)
    for shift in (-3, 0, 3):
        with ctx.workprec(BITS_OF_TRUTH):
            assert encloses_arb(enclosed, arb_attention(Q + shift / 2**20, K, V, False))
    assert enclosed.width() > attention(Q, K, V).width()


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=4), elements=st.floats(-1e5, 1e5)),
    st.integers(0, 5),
)
def test_softmax_encloses_its_definition_along_the_last_axis(v, radius):
    v64 = Enclosure.exact(v, 64)
    enclosed = softmax(Enclosure(v64.mid, v64.radius + radius, 64) if radius else v)
    with ctx.workprec(BITS_OF_TRUTH):
        # The truth may be anywhere in the balls: here at alternating ends.
        ends = np.where(np.indices(v.shape).sum(axis=0) % 2, 1, -1).astype(object)
        logits_ = apply(Fraction, fractions(v) + ends * radius * Fraction(1, 2**64))
        shifted = to_arb(logits_ - logits_.max(axis=-1, keepdims=True))
        E = apply(arb.exp, shifted)
        assert encloses_arb(enclosed, E / E.sum(axis=-1, keepdims=True))


# Edges


def test_one_key_returns_its_value():
    V = np.array([[3.5, -1e300, 5e-324]])
    assert attention(np.ones((4, 2)), np.ones((1, 2)), V).contains(V).all()


@pytest.mark.parametrize("scale", [0.0, 1e-320, 1.0, 1e4, 1e150, 1e300])
def test_equal_keys_average_their_values(scale):
    K = np.full((4, 2), scale)
    V = np.array([[1.0], [2.0], [4.0], [9.0]])
    assert attention(K, K, V).contains(4.0).all()


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e8, 1e150])
def test_huge_logits_select_the_largest(scale):
    K = np.array([[1.0], [2.0], [-3.0]])
    enclosed = attention(scale * K[:2], K, K)
    assert enclosed.contains(2.0).all()
    assert enclosed.width() <= Fraction(1, 2**110)


def test_denormal_logits_are_not_taken_for_zero():
    tiny = np.array([[5e-324]])
    enclosed = attention(tiny, np.array([[1.0], [0.0]]), np.array([[1.0], [0.0]]), precision=1200)
    lower, _ = enclosed.bounds()
    assert lower[0, 0] > Fraction(1, 2)  # by 2^-1076


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1.0, 2e307])
def test_the_first_causal_row_is_the_first_value(scale):
    rng = np.random.default_rng(1)
    Q, K = rng.normal(size=(2, 5, 2))
    V = scale * np.array([[1, -2], [3, 4], [0, 0], [-8, 7], [1, 1]])
    enclosed = attention(Q, K, V, causal=True)
    assert enclosed[0].contains(V[0]).all()
    assert not enclosed[1].contains(V[0]).any()


def test_causal_rows_are_attention_to_their_prefix():
    rng = np.random.default_rng(2)
    Q, K, V = rng.normal(size=(3, 6, 3))
    causal = attention(Q, K, V, causal=True, precision=100)
    for i in range(6):
        prefix = attention(Q[i : i + 1], K[: i + 1], V[: i + 1], precision=200)
        assert all(causal[i].contains(end[0]).all() for end in prefix.bounds())


def test_values_that_are_all_zero_give_zero():
    enclosed = attention(np.ones((2, 1)), np.ones((3, 1)), np.zeros((3, 2)))
    assert enclosed.contains(0).all()


def test_no_feature_means_equal_weights():
    enclosed = attention(np.ones((2, 0)), np.ones((4, 0)), np.arange(4)[:, None])
    assert enclosed.contains(1.5).all()


# Golden outputs, judged exactly


def test_golden_outputs_are_correctly_rounded(golden_heads):
    """Catches a wrong scale, axis or sign on real heads: half a unit in the last place is kept."""
    assert golden_heads
    for name, (Q, K, V, golden) in golden_heads.items():
        half_ulp = np.spacing(abs(golden)) / 2
        verdict, _ = attention_verdict(Q, K, V, golden, half_ulp)
        assert verdict is Verdict.WITHIN, name


def test_a_golden_output_off_by_one_unit_is_outside(golden_heads):
    name, (Q, K, V, golden) = next(iter(golden_heads.items()))
    wrong = golden.copy()
    wrong[5, 7] = np.nextafter(wrong[5, 7], np.inf)
    wrong[5, 7] = np.nextafter(wrong[5, 7], np.inf)
    verdicts = attention(Q, K, V).verdict(wrong, np.spacing(abs(wrong)) / 2)
    assert np.argwhere(verdicts != Verdict.WITHIN).tolist() == [[5, 7]], name
    assert verdicts[5, 7] is Verdict.OUTSIDE


# Verdicts


def small_head():
    rng = np.random.default_rng(5)
    return rng.normal(size=(3, 2)), rng.normal(size=(4, 2)), rng.normal(size=(4, 2))


def test_a_bound_may_be_a_scalar_one_a_row_or_one_an_entry():
    Q, K, V = small_head()
    output = attention(Q, K, V).midpoint()
    output[1] += 0.25
    for bound, verdict in [
        (0.5, Verdict.WITHIN),
        (0.2, Verdict.OUTSIDE),
        ([0.01, 0.5, 0.01], Verdict.WITHIN),
        ([0.5, 0.01, 0.5], Verdict.OUTSIDE),
        (np.array([[0.01] * 2, [0.5] * 2, [0.01] * 2]), Verdict.WITHIN),
        (np.array([[0.5] * 2, [0.5, 0.01], [0.5] * 2]), Verdict.OUTSIDE),
    ]:
        assert attention_verdict(Q, K, V, output, bound)[0] is verdict


def test_a_bound_per_row_is_not_taken_for_one_per_column_on_square_outputs():
    Q, K, V = small_head()
    Q = Q[:2]
    output = attention(Q, K, V).midpoint() + np.array([[0.25, 0.25], [0.0, 0.0]])
    assert attention_verdict(Q, K, V, output, [0.5, 0.01])[0] is Verdict.WITHIN
    assert attention_verdict(Q, K, V, output, [0.01, 0.5])[0] is Verdict.OUTSIDE


def test_the_precision_rises_until_the_bound_is_decided():
    one_key = np.ones((1, 1))
    output = np.array([[2.0]])
    for excess, verdict in [
        (Fraction(1, 2**200), Verdict.WITHIN),
        (-Fraction(1, 2**200), Verdict.OUTSIDE),
    ]:
        decided, enclosure = attention_verdict(
            one_key, one_key, one_key, output, np.array(1 + excess, dtype=object)
        )
        assert decided is verdict
        assert enclosure.bits == 256


def test_a_bound_that_is_attained_exactly_stays_undecided():
    one_key = np.ones((1, 1))
    verdict, enclosure = attention_verdict(one_key, one_key, one_key, [[2.0]], 1.0)
    assert verdict is Verdict.UNDECIDED
    assert enclosure.bits == PRECISIONS[-1]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(2), np.ones((2, 2)), np.ones((2, 2))), "Q must be a matrix"),
        (
            (np.ones((2, 2)), np.ones((0, 2)), np.ones((0, 2))),
            "K must be a matrix with at least one",
        ),
        ((np.ones((2, 2)), np.ones((2, 3)), np.ones((2, 2))), "equally many columns, got 2 and 3"),
        (
            (np.ones((2, 2)), np.ones((2, 2)), np.ones((3, 2))),
            "V must have as many rows as K, 2, got 3",
        ),
        ((np.ones((2, 2)), np.ones((2, 2)), np.ones(2)), "V must be a matrix"),
        (([[np.nan]], np.ones((1, 1)), np.ones((1, 1))), "Q must be finite, got an entry nan"),
        ((np.ones((1, 1)), [[np.inf]], np.ones((1, 1))), "K must be finite, got an entry inf"),
        ((np.ones((1, 1)), np.ones((1, 1)), [[-np.inf]]), "V must be finite, got an entry -inf"),
        ((np.ones((1025, 1)), np.ones((1024, 1)), np.ones((1024, 1))), "at most 1048576, got 1025"),
    ],
)
def test_bad_inputs_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        attention(*arguments)


def test_causal_needs_as_many_queries_as_keys():
    with pytest.raises(ValueError, match="got n_q = 2 and n_k = 3"):
        attention(np.ones((2, 1)), np.ones((3, 1)), np.ones((3, 1)), causal=True)


def test_too_low_a_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be at least 16, got 15"):
        weights(np.ones((1, 1)), np.ones((1, 1)), precision=15)


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="Q must hold"):
        logits(np.ones((1, 1), dtype=complex), np.ones((1, 1)))


@pytest.mark.parametrize("v", [3.0, np.ones((2, 0))])
def test_softmax_needs_an_entry(v):
    with pytest.raises(ValueError, match="v must have an axis and an entry"):
        softmax(v)


def test_shapes_of_output_and_bound_are_checked():
    one_key = np.ones((1, 1))
    with pytest.raises(ValueError, match=r"output must have shape \(1, 1\), got \(1,\)"):
        attention_verdict(one_key, one_key, one_key, [1.0], 0)
    with pytest.raises(ValueError, match="error_bound must have shape"):
        attention_verdict(one_key, one_key, one_key, [[1.0]], [0, 1])


@pytest.mark.slow
def test_a_head_of_256_tokens_is_enclosed_within_1e_minus_30():
    rng = np.random.default_rng(0)
    Q, K, V = rng.normal(size=(3, 256, 32))
    assert attention(Q, K, V).width() <= Fraction(1, 10**30)
