"""Attention as it is run: every option by its definition in Arb, heads and gradients too."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from flint import arb, ctx

import reference
from reference.attention import log_sum_exp, weights
from reference.gradient import attention_gradient
from reference.visibility import visible
from tests.reference.truth import encloses_arb, fractions, to_arb

BITS_OF_TRUTH = 2000


def exactly(x):
    """One number as an Arb ball of no width, or of the precision where a fraction is not binary."""
    x = Fraction(x)
    return arb(x.numerator) / arb(x.denominator)


def by_definition(Q, K, V, *, scale, seen, bias, softcap, sink):
    """Output, log-sum-exp and weights of one head, each sum written out."""
    n_q, n_k = len(Q), len(K)
    S = fractions(Q) @ fractions(K).T
    output = np.full((n_q, V.shape[1]), arb(0), dtype=object)
    logarithms = np.full(n_q, arb(0), dtype=object)
    P = np.full((n_q, n_k), arb(0), dtype=object)
    values = to_arb(fractions(V))
    for i in range(n_q):
        terms = {}
        for j in np.flatnonzero(seen[i]):
            s = exactly(scale) * exactly(S[i, j])
            if softcap is not None:
                s = exactly(softcap) * (s / exactly(softcap)).tanh()
            terms[j] = (s + exactly(Fraction(float(bias[i, j])))).exp()
        total = sum(terms.values(), arb(0))
        if sink is not None:
            total += exactly(Fraction(float(sink))).exp()
        if not terms and sink is None:
            continue
        logarithms[i] = total.log()
        for j, term in terms.items():
            P[i, j] = term / total
            output[i] = output[i] + P[i, j] * values[j]
    return output, logarithms, P


def drawn(rng):
    """A head's arrays and options: each option is there in half of the draws."""
    n_q, n_k, d, d_v = (int(x) for x in rng.integers(1, 6, 4))
    size = rng.choice([0.1, 1.0, 30.0])
    Q, K, V = (rng.standard_normal(s) for s in ((n_q, d), (n_k, d), (n_k, d_v)))

    def perhaps(value):
        return value if rng.random() < 0.5 else None

    bias = rng.standard_normal((n_q, n_k))
    bias[rng.random(bias.shape) < 0.2] = -np.inf
    options = {
        "scale": [1, 0.3, Fraction(1, 3), -2][rng.integers(4)],
        "causal": [False, "upper-left", "lower-right"][rng.integers(3)],
        "window": perhaps((perhaps(int(rng.integers(3))), perhaps(int(rng.integers(3))))),
        "mask": perhaps(rng.random((n_q, n_k)) < 0.7),
        "bias": perhaps(bias),
        "softcap": [None, 1.5, Fraction(7, 3)][rng.integers(3)],
        "sinks": perhaps(rng.standard_normal()),
    }
    return (Q * size).astype(np.float32), K, V, options


def seen_by_definition(n_q, n_k, options):
    """Which keys are visible, one comparison at a time."""
    left, right = options["window"] or (None, None)
    offset = 0 if options["causal"] == "upper-left" else n_k - n_q
    seen = np.zeros((n_q, n_k), bool)
    for i, j in np.ndindex(n_q, n_k):
        seen[i, j] = (
            (options["causal"] is False or j <= i + offset)
            and (left is None or j >= i + offset - left)
            and (right is None or j <= i + offset + right)
            and (options["mask"] is None or options["mask"][i, j])
            and (options["bias"] is None or options["bias"][i, j] > -np.inf)
        )
    return seen


@pytest.mark.parametrize("seed", range(60))
def test_every_option_is_enclosed_as_it_is_defined(seed):
    ctx.prec = BITS_OF_TRUTH
    Q, K, V, options = drawn(np.random.default_rng(seed))
    seen = seen_by_definition(len(Q), len(K), options)
    bias = np.zeros(seen.shape) if options["bias"] is None else options["bias"]
    output, logarithms, P = by_definition(
        Q,
        K,
        V,
        scale=options["scale"],
        seen=seen,
        bias=bias,
        softcap=options["softcap"],
        sink=options["sinks"],
    )
    found = reference.attention(Q, K, V, empty_rows="zeros", **options)
    assert encloses_arb(found, output)
    rows = seen.any(axis=1) | (options["sinks"] is not None)
    if rows.all():
        assert encloses_arb(log_sum_exp(Q, K, **options), logarithms)
        assert encloses_arb(weights(Q, K, **options), P)
    else:
        with pytest.raises(ValueError, match=f"query {np.argmin(rows)} sees no key"):
            reference.attention(Q, K, V, **options)


def test_a_group_of_query_heads_reads_one_key_head_and_masks_broadcast():
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal(s) for s in ((2, 6, 3, 2), (2, 2, 4, 2), (2, 2, 4, 3)))
    mask = rng.random((6, 1, 4)) < 0.8
    mask[..., 0] = True
    bias, sinks = rng.standard_normal((2, 1, 3, 4)), rng.standard_normal(6)
    found = reference.attention(Q, K, V, mask=mask, bias=bias, sinks=sinks)
    for batch, head in np.ndindex(2, 6):
        alone = reference.attention(
            Q[batch, head],
            K[batch, head // 3],
            V[batch, head // 3],
            mask=np.broadcast_to(mask[head], (3, 4)),
            bias=bias[batch, 0],
            sinks=sinks[head],
        )
        assert (
            found[batch, head].distance(alone.midpoint()).largest()[0]
            <= alone.distance(alone.midpoint()).largest()[1]
        )


def test_narrow_floats_are_taken_as_the_numbers_that_they_are():
    x = np.array([[0.1, -3.0], [448.0, 2.0**-9]]).astype(ml_dtypes.float8_e4m3fn)
    y = x.astype(np.float64)
    one, other = (reference.attention(a, a, a) for a in (x, y))
    assert (one.mid == other.mid).all()
    assert one.radius == other.radius


def gradient_by_definition(Q, K, V, dO, *, scale, seen, bias, softcap, sink):
    """The gradient of the output's sum weighted by dO, by the quotient rule written out for every score."""
    output, _, P = by_definition(
        Q, K, V, scale=scale, seen=seen, bias=bias, softcap=softcap, sink=sink
    )
    S, values, weight = fractions(Q) @ fractions(K).T, to_arb(fractions(V)), to_arb(fractions(dO))
    dscores = np.full(P.shape, arb(0), dtype=object)
    for i, j in np.ndindex(P.shape):
        dscores[i, j] = P[i, j] * sum(
            (weight[i, c] * (values[j, c] - output[i, c]) for c in range(V.shape[1])), arb(0)
        )
    dlogits = dscores.copy()
    if softcap is not None:
        for i, j in np.ndindex(P.shape):
            t = (exactly(scale) * exactly(S[i, j]) / exactly(softcap)).tanh()
            dlogits[i, j] = dlogits[i, j] * (1 - t * t)
    factor = exactly(scale)
    return (
        factor * (dlogits @ to_arb(fractions(K))),
        factor * (dlogits.T @ to_arb(fractions(Q))),
        P.T @ weight,
        dscores,
    )


@pytest.mark.parametrize("seed", range(30))
def test_the_gradient_is_enclosed_as_it_is_defined(seed):
    ctx.prec = BITS_OF_TRUTH
    rng = np.random.default_rng(seed)
    Q, K, V, options = drawn(rng)
    seen = seen_by_definition(len(Q), len(K), options)
    bias = np.zeros(seen.shape) if options["bias"] is None else options["bias"]
    dO = rng.standard_normal((len(Q), V.shape[1]))
    truth = gradient_by_definition(
        Q,
        K,
        V,
        dO,
        scale=options["scale"],
        seen=seen,
        bias=bias,
        softcap=options["softcap"],
        sink=options["sinks"],
    )
    found = attention_gradient(Q, K, V, dO, empty_rows="zeros", **options)
    for enclosure, exact in zip(found[:4], truth, strict=True):
        assert encloses_arb(enclosure, exact)


def test_key_heads_get_the_sum_of_what_their_query_heads_give():
    rng = np.random.default_rng(1)
    Q, K, V, dO = (rng.standard_normal(s) for s in ((4, 3, 2), (2, 5, 2), (2, 5, 3), (4, 3, 3)))
    found = attention_gradient(Q, K, V, dO, causal="lower-right")
    for key_head in range(2):
        parts = [
            attention_gradient(Q[h], K[key_head], V[key_head], dO[h], causal="lower-right")
            for h in (2 * key_head, 2 * key_head + 1)
        ]
        for name in ("dK", "dV"):
            total = getattr(parts[0], name) + getattr(parts[1], name)
            whole = getattr(found, name)[key_head]
            assert abs(whole - total).largest()[0] <= 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"causal": "left"}, TypeError, "causal must be False, True"),
        ({"causal": 1}, TypeError, "causal must be False, True"),
        ({"causal": True}, ValueError, "as many queries as keys, got n_q = 2 and n_k = 3"),
        ({"window": (-1, None)}, ValueError, "left width must not be negative, got -1"),
        ({"window": (1.5, None)}, TypeError, "left width must be an integer or None, got 1.5"),
        ({"window": 3}, TypeError, "window must be a pair"),
        ({"mask": np.ones((2, 3))}, TypeError, "mask must hold booleans"),
        ({"mask": np.ones((3, 3), bool)}, ValueError, "mask must broadcast"),
        ({"mask": np.zeros((2, 3), bool)}, ValueError, "query 0 sees no key"),
        ({"bias": [[0.0, np.inf, 0.0]]}, ValueError, r"bias must not hold \+inf"),
        ({"bias": [[0.0, np.nan, 0.0]]}, ValueError, "bias must be finite"),
        ({"bias": np.zeros((3, 3))}, ValueError, "mask and bias must broadcast"),
        ({"softcap": 0}, ValueError, "softcap must be positive, got 0"),
        ({"softcap": True}, TypeError, "softcap must be a number"),
        ({"scale": np.nan}, ValueError, "scale must be finite"),
        ({"scale": "1"}, TypeError, "scale must be a number"),
        ({"sinks": [0.0, 0.0]}, ValueError, "sinks must have shape"),
        ({"sinks": np.nan}, ValueError, "sinks must be finite"),
        ({"empty_rows": "skip"}, ValueError, "empty_rows must be 'refuse' or 'zeros'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        reference.attention(np.ones((2, 1)), np.ones((3, 1)), np.ones((3, 1)), **options)


def test_an_aligned_diagonal_is_that_of_its_name():
    assert visible(2, 4, causal="lower-right").tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert visible(2, 4, causal="upper-left").tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    assert visible(4, 2, causal="lower-right").tolist() == [[0, 0], [0, 0], [1, 0], [1, 1]]
    assert visible(3, 3, window=(1, 0)).tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
