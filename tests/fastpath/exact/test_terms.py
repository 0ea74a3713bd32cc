"""Every term of exact attention's certificate is one that something depends on.

Two kinds of instance.  Where rounding can be made to exceed what the bound would be without a term, it is
made to, whatever the order in which a processor adds.  Where it cannot, since another term is always larger,
queries and keys are parallel, so that the certificate has no room: it is the theorem's expression, to the
last bits, and each term shows.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy

import fastpath
from fastpath.core.bounds.softmax import ARITHMETIC as FASTPATH_ARITHMETIC
from fastpath.core.norms import row_norms
from fastpath.exact.attention import KEY_BLOCK, QUERY_BLOCK
from fastpath.exact.blocks import logit_magnitude
from fastpath.exact.prepared import PreparedHead
from fastpath.exact.scaled_values import ScaledValues
from reference import Enclosure, Verdict, attention_verdict, evaluate
from specs import CLAIMS
from specs.softmax.rounding import ARITHMETIC

LOGIT, WEIGHT, OUTPUT = (bound.expression for bound in CLAIMS["FP.softmax"].bounds)

#: Bits that tell the underflow of float64, 2^-1074, from nothing.
BITS = 1400

#: What rounding the certificate upward may add to it.
RELATIVE_ALLOWANCE = Fraction(1, 2**32)

#: The largest logits whose exponentials are taken without a shift, as the module states them.
UNSHIFTED = {"float32": 40, "float64": 300}


#: A mask, even one that hides nothing, keeps tiles to a block of keys, however few the queries are.
BY_BLOCKS = np.ones((1, 1), bool)


# ---------------------------------------------------------------------- the theorem's expression


def _theorem(Q: Any, V: Any, output: Any, row: int, column: int, visible: int) -> Enclosure:
    """Enclose FP.softmax for queries s (1, ..., 1) and keys (+-1, ..., +-1): sum_l |q_l k_l| = |q| |k|.

    What the program does is counted here anew: key blocks, exponentials, roundings, underflows, units.
    """
    arithmetic = ARITHMETIC[Q.dtype.name]
    d = Q.shape[1]
    # Either norm is a sum of d squares, each of which may have been rounded so often (FP.sum).
    magnitude = d * Fraction(float(abs(Q[row, 0]))) / (1 - 2 * d * arithmetic.unit_roundoff)
    common = {"unit_roundoff": arithmetic.unit_roundoff, "tiny": arithmetic.tiny}
    logit_error = evaluate(LOGIT, {"dimension": d, "logit_magnitude": magnitude, **common}, BITS)
    limit = UNSHIFTED[Q.dtype.name]
    shifted = bool(np.abs(Q).max() * d > limit)
    blocks = -(-visible // KEY_BLOCK)
    # So many queries leave a tile of so many blocks; there is an exponential and a rescaling a tile.
    tiles = -(-visible // (max(1, QUERY_BLOCK // len(Q)) * KEY_BLOCK))
    exponentials = tiles if shifted else 1
    weight_error = evaluate(
        WEIGHT,
        {
            "logit_error": logit_error,
            "reach": (logit_error + magnitude) * 2 if shifted else 0,
            "exp_error": arithmetic.exp_error,
            "exponentials": exponentials,
            **common,
        },
        BITS,
    )
    exponents = np.frexp(np.abs(V).max(axis=0))[1] - 1
    moderate = np.abs(exponents).max() <= 8
    unit = Fraction(1) if moderate else Fraction(2) ** int(exponents[column])
    values = [Fraction(float(v)) / unit for v in V[:visible, column]]
    # An exponential and a product are lost a key and an exponential, in either sum, by at most tiny of
    # weights that add up to 1, or to e^-limit; fourfold.
    lost = Enclosure.exact(8 * visible * exponentials * arithmetic.tiny, BITS)
    if not shifted:
        lost = lost * Enclosure.exact(limit, BITS).exp()
    largest = Enclosure.exact(max(Fraction(1, 2**40), *map(abs, values)), BITS)
    largest = largest.maximum(lost * 4)
    # The smallest number in the units of the column; far more than the smallest normal one loses.
    information = np.finfo(Q.dtype)
    smallest = max(
        Fraction(float(information.tiny)),
        Fraction(float(information.smallest_subnormal)) / unit / 2,
    )
    bound = evaluate(
        OUTPUT,
        {
            "weight_error": weight_error,
            "spread": max(values) - min(values),
            "magnitude": largest,
            "quotient": Fraction(float(output[row, column])) / unit,
            # A product and the sum of a block; an addition for each block after it, a rescaling a tile.
            "terms": min(KEY_BLOCK, visible) + (blocks - 1) + (tiles - 1),
            "unit_roundoff": arithmetic.unit_roundoff,
            "underflow": lost / largest.minimum(Enclosure.exact(1, BITS)),
            "tiny": smallest,
        },
        BITS,
    )
    # No error passes the spread, but for what an enclosure needs to decide it.
    return bound.minimum(max(values) - min(values) + Fraction(1, 2**100)) * unit


def _parallel(dtype: type[Any], size: float, n: int, d: int) -> Any:
    """Return queries and keys for which nothing is lost to the Cauchy-Schwarz bound, and values."""
    rng = np.random.default_rng(n)
    K = np.ones((n, d), dtype) * np.where(np.arange(n) % 3, 1, -1).astype(dtype)[:, None]
    V = rng.standard_normal((n, 3)).astype(dtype)
    V[:, 1] = dtype(1) + V[:, 1] / 16  # a spread far below the magnitude
    V[: n // 2, 2] *= dtype(2.0**-44)  # what half of the rows see is far below the column's unit
    return np.full((n, d), size / d, dtype), K, V


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n", "d"), [(9, 1), (KEY_BLOCK, 8), (2 * KEY_BLOCK + 40, 2)])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_for_parallel_queries_and_keys_the_certificate_is_the_theorem(
    dtype: type[Any], shifted: bool, n: int, d: int, causal: bool
) -> None:
    Q, K, V = _parallel(dtype, 2.0 * UNSHIFTED[dtype.__name__] if shifted else 0.5, n, d)
    Q = Q if causal else Q[:2]
    result = fastpath.attention(Q, K, V, causal=causal)
    rows = [n // 3, n - 1] if causal else [0]
    for row in rows:
        visible = row + 1 if causal else n
        for column in range(3):
            theorem = _theorem(Q, V, result.output, row, column, visible)
            least, most = (Fraction(end.item()) for end in theorem.bounds())
            certified = Fraction(float(result.error_bound[row, column]))
            assert least <= certified <= most * (1 + RELATIVE_ALLOWANCE), (row, column)


# ------------------------------------------------------------- instances in which one term holds


def _judged(Q: Any, K: Any, V: Any, **arguments: Any) -> Any:
    """Return the result after its every entry was decided to be within its bound."""
    result = fastpath.attention(Q, K, V, **arguments)
    verdict, _ = attention_verdict(Q, K, V, result.output, result.error_bound, **arguments)
    assert verdict is Verdict.WITHIN
    return result


def _error(result: Any, truth: Fraction) -> Fraction:
    """Return the error of the only entry, which must be within its bound."""
    error = abs(Fraction(float(result.output.item())) - truth)
    assert error <= Fraction(float(result.error_bound.item()))
    return error


def _sums_that_lose(blocks: int) -> Any:
    """Return float32 values whose key blocks add up exactly, and lose in every later addition.

    A block's sum is 256 + delta with delta just below half a last place of the last half of the sums: there
    each addition drops it.  Within a block all partial sums are exact, so that their order is all one.
    """
    delta = 2.0**-17 * blocks - 2.0**-15
    V = np.ones((blocks, KEY_BLOCK))
    V[:, 0] += delta
    return V.reshape(-1, 1).astype(np.float32)


def _mean_error(V: Any, mask: Any = BY_BLOCKS) -> Fraction:
    """Return the error of a mean of values, by a query of 0.

    Of two columns: numpy adds up blocks in turn then, and one column pairwise.
    """
    Q, K = np.zeros((1, 1), np.float32), np.zeros((len(V), 1), np.float32)
    result = fastpath.attention(Q, K, np.repeat(V, 2, axis=1), mask=mask)
    result = replace(result, output=result.output[:, :1], error_bound=result.error_bound[:, :1])
    return _error(result, sum(map(Fraction, V.ravel().tolist()), Fraction()) / len(V))


def test_sums_of_many_blocks_err_as_often_as_the_certificate_counts() -> None:
    """Catches: no gamma at all; the roundings of one key block only."""
    u = ARITHMETIC["float32"].unit_roundoff
    assert _mean_error(_sums_that_lose(64)) > 10 * u
    assert _mean_error(_sums_that_lose(64), mask=None) > 10 * u
    assert _mean_error(_sums_that_lose(1024), mask=None) > 250 * u
    assert _mean_error(_sums_that_lose(4096)) > 2 * (KEY_BLOCK + 8) * u


def test_sums_that_cancel_err_by_the_magnitude_of_their_values() -> None:
    """Catches: gamma times the quotient, without the magnitude of the values."""
    rising = _sums_that_lose(128)
    V = np.concatenate([rising, rising - np.float32(2)])
    assert _mean_error(V) > 20 * ARITHMETIC["float32"].unit_roundoff


def _rounded(p: Fraction) -> Fraction:
    return Fraction(p.numerator / p.denominator)  # Python rounds the quotient of integers correctly


def test_logits_of_products_that_cancel_err_by_their_magnitude() -> None:
    """Catches: the logits' error left out.  Two products of 130 round the same way, and all but cancel.

    With a fused multiply-add one of the two is rounded, without it both are.
    """
    rng = np.random.default_rng(0)
    u = ARITHMETIC["float64"].unit_roundoff
    for q in rng.uniform(11.4, 11.6, (10_000, 2)):
        a, c = map(Fraction, q.tolist())
        key = float(rng.uniform(11.4, 11.6))
        other = float(_rounded(a * Fraction(key) / c))
        lost = [_rounded(p) - p for p in (a * Fraction(key), -c * Fraction(other))]
        if min(lost) > 100 * u:
            break
    Q, K = q[None], np.array([[key, -other], [-key, other]])
    result = _judged(Q, K, np.array([[1.0], [-1.0]]))
    truth = evaluate(
        sympy.tanh(sympy.Symbol("t")), {"t": a * Fraction(key) - c * Fraction(other)}, 256
    )
    (low,), (high,) = (end.ravel() for end in truth.bounds())
    output = Fraction(float(result.output.item()))
    assert min(abs(output - low), abs(output - high)) > 99 * u


def test_logits_far_above_the_first_block_err_by_their_shift() -> None:
    """Catches: the reach of the shifted exponent left out.

    A first block of logits near -301 sets the shift; two keys near 301 are then shifted by 602, and in
    each product and shift round as far as they can, one upward and one downward.
    """
    rng = np.random.default_rng(0)
    u = ARITHMETIC["float64"].unit_roundoff
    q, low = 17.0 + rng.random(), -301.0 / 17.5
    shift = q * low
    keys = (301.0 + rng.random(20_000) / 8) / q
    logits = q * keys
    computed = logits - shift
    errors = [
        Fraction(e) - (Fraction(q) * Fraction(k) - Fraction(shift))
        for e, k in zip(computed.tolist(), keys.tolist(), strict=True)
    ]
    most, least = int(np.argmax(errors)), int(np.argmin(errors))
    assert errors[most] > 720 * u
    assert errors[least] < -720 * u
    K = np.full((KEY_BLOCK + 2, 1), low)
    K[KEY_BLOCK:, 0] = keys[most], keys[least]
    V = np.zeros((len(K), 1))
    V[KEY_BLOCK:, 0] = 1.0, -1.0
    _judged(np.array([[q]]), K, V, mask=BY_BLOCKS)


def test_subnormal_values_err_by_half_of_the_smallest_number() -> None:
    """Catches: the underflow of the output left out."""
    V = np.array([[1], [2]], np.float32) * np.finfo(np.float32).smallest_subnormal
    _judged(np.zeros((1, 1), np.float32), np.zeros((2, 1), np.float32), V)


def test_a_sum_of_weights_that_overflows_is_not_divided_by() -> None:
    """Catches: the finiteness test of the denominator left out: finite / inf = 0 is finite."""
    K = np.zeros((KEY_BLOCK + 3, 1), np.float32)
    V = np.zeros((len(K), 1), np.float32)
    K[KEY_BLOCK:], V[:2, 0], V[KEY_BLOCK:] = 1, (1, -1), 2.0**-10
    _judged(np.array([[88.5]], np.float32), K, V, mask=BY_BLOCKS)


def test_a_sum_of_values_that_overflows_is_not_divided() -> None:
    """Catches: the finiteness test of the numerator left out: an infinite quotient says nothing."""
    K = np.zeros((KEY_BLOCK + 2, 1), np.float32)
    V = np.zeros((len(K), 1), np.float32)
    K[KEY_BLOCK:], V[KEY_BLOCK:, 0] = 1, (1.99, 1.5)
    result = _judged(np.array([[88.0]], np.float32), K, V, mask=BY_BLOCKS)
    assert result.error_bound.item() < np.ptp(V)


# --------------------------------------------------------- what the certificate is computed from


def _exceeds_norm(x: Any) -> bool:
    """Whether every certified norm is at least the exact one."""
    norms, exponent = row_norms(x)
    squares = [sum(Fraction(float(entry)) ** 2 for entry in row) for row in x]
    unit = Fraction(2) ** exponent
    return all(
        (Fraction(float(norm)) * unit) ** 2 >= square
        for norm, square in zip(norms, squares, strict=True)
    )


def test_a_norm_is_bounded_where_every_addition_is_lost() -> None:
    """Catches: the roundings of a sum of squares.  All but one square are below half its last place."""
    x = np.full((1, 2**16), 2.0**-27.1)
    x[0, 0] = 1 - 2.0**-53  # in its unit, whose square lies just below 1
    assert _exceeds_norm(x)


def test_a_norm_is_bounded_where_its_squares_underflow() -> None:
    """Catches: what the squares lose to underflow beside a row that sets the unit."""
    x = np.full((2, 4096), 2.0**-538)  # each square is a quarter of the smallest number
    x[0] = 1
    assert _exceeds_norm(x)


def test_norms_of_all_kinds_of_rows_are_bounded() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        for d in (1, 2, 3, 17):
            assert _exceeds_norm(rng.standard_normal((300, d)).astype(dtype))


def test_causal_logits_are_bounded_by_the_longest_key_so_far() -> None:
    """Catches: the last key's length in place of the longest's."""
    Q, K = np.ones((3, 1)), np.array([[1.0], [4.0], [2.0]])
    side, first = PreparedHead(K, K), np.zeros(3, int)
    assert (logit_magnitude(Q, side, (first, np.array([1, 2, 3]))) >= [1, 4, 4]).all()
    assert (logit_magnitude(Q, side, None) >= [4, 4, 4]).all()
    assert (logit_magnitude(Q, side, (first + 1, np.array([2, 3, 3]))) >= [4, 4, 4]).all()


def test_a_windows_logits_are_bounded_by_the_longest_key_in_it() -> None:
    """Catches: either end of what a block's windows see left out, or the longest key anywhere."""
    keys = 7
    for peak in range(keys):
        K = np.ones((keys, 1))
        K[peak] = 4
        side = PreparedHead(K, K)
        for start in range(1, keys):
            for stop in range(start + 1, keys + 1):
                # Two queries: the window of one ends where the other's starts, or beyond.
                middle = (start + stop) // 2
                ranges = np.array([start, middle]), np.array([middle + 1, stop])
                found = logit_magnitude(np.ones((2, 1)), side, ranges)
                assert (found >= (4 if start <= peak < stop else 1)).all()
                assert (found < (5 if start <= peak < stop else 2)).all()


def test_a_spread_that_is_rounded_is_bounded() -> None:
    """Catches: a difference of values that rounds down."""
    values = ScaledValues(np.array([[1.0], [-(2.0**-60)]]))
    spread, _ = values.spread_and_magnitude(*values.range(None))
    assert Fraction(float(spread.item())) >= 1 + Fraction(1, 2**60)


def test_a_bound_in_the_units_of_tiny_values_is_rounded_upward() -> None:
    """Catches: the last underflow, of the bound itself."""
    values = ScaledValues(np.array([[3 * 2.0**-1074]]))
    for bound in (1.0, 1.1, 2.0**-40):
        restored = Fraction(float(values.restore_bound(np.array([[bound]])).item()))
        assert restored >= Fraction(bound) * Fraction(1, 2**1073)


def test_values_whose_spread_could_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match=r"V must not exceed 2\^1021"):
        fastpath.attention(np.ones((1, 1)), np.ones((2, 1)), np.array([[1.7e308], [-1.7e308]]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_that_could_overflow_are_refused(dtype: type[Any]) -> None:
    side = np.array([[np.sqrt(np.finfo(dtype).max / 7)]], dtype)
    with pytest.raises(ValueError, match="a logit could overflow"):
        fastpath.attention(side, side, np.ones((1, 1), dtype))


def test_more_roundings_than_the_claim_covers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: n u <= 1/4 not asked for, here of a type so coarse that 17 keys are too many."""
    monkeypatch.setitem(FASTPATH_ARITHMETIC["float32"], "unit_roundoff", 2.0**-6)
    for keys in (16, 17):
        Q, K, V = (np.zeros((n, 1), np.float32) for n in (1, keys, keys))
        if keys == 16:
            fastpath.attention(Q, K, V)
            continue
        with pytest.raises(ValueError, match="at most 16 roundings a term in float32"):
            fastpath.attention(Q, K, V)
