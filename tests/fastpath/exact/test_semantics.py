"""Attention as it is run: every option, alone, in pairs and in any combination, within its certificate."""

from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.exact import attention as module
from reference import Verdict, attention_verdict, evaluate
from reference.arithmetic.decide import decide
from reference.attention import log_sum_exp
from reference.visibility import visible
from specs import CLAIMS
from specs.softmax.rounding import ARITHMETIC
from specs.softmax.scores import LOG_ERROR

EXPRESSIONS = {
    bound.name: bound.expression
    for name in ("FP.softmax", "FP.scores", "FP.lse")
    for bound in CLAIMS[name].bounds
}


def _scale(rng: Any, shape: Any) -> Any:
    return float(rng.choice([0.3, -1.7, 2.0**-120, 0.0, 4.0]))


def _causal(rng: Any, shape: Any) -> Any:
    return ["upper-left", "lower-right"][rng.integers(2)]


def _window(rng: Any, shape: Any) -> Any:
    return tuple(None if rng.random() < 0.3 else int(rng.integers(4)) for _ in range(2))


def _mask(rng: Any, shape: Any) -> Any:
    return rng.random(_broadcastable(rng, shape)) < rng.choice([0.1, 0.5, 0.9])


def _bias(rng: Any, shape: Any) -> Any:
    size = rng.choice([0.1, 3.0, 60.0])
    bias = size * rng.standard_normal(_broadcastable(rng, shape))
    bias[rng.random(bias.shape) < 0.3] = rng.choice([-np.inf, -1e4, -1e30, 0.0])
    return bias.astype((np.float32, np.float64)[rng.integers(2)])


def _softcap(rng: Any, shape: Any) -> Any:
    return float(rng.choice([0.7, 15.0, 50.0]))


def _sinks(rng: Any, shape: Any) -> Any:
    sinks = rng.choice([0.3, 5.0, 200.0]) * rng.standard_normal(shape[:-2][-1:])
    return sinks if sinks.ndim else float(sinks)


def _heads(rng: Any, shape: Any) -> Any:
    raise AssertionError("heads are no argument")


OPTIONS = {
    "scale": _scale,
    "causal": _causal,
    "window": _window,
    "mask": _mask,
    "bias": _bias,
    "softcap": _softcap,
    "sinks": _sinks,
    "heads": _heads,
}


def _broadcastable(rng: Any, shape: Any) -> Any:
    """Return a shape that broadcasts to the shape."""
    return tuple(n if rng.random() < 0.7 else 1 for n in shape)


def drawn(rng: Any, names: Any) -> Any:
    """Return Q, K, V and the options of those names."""
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n_q, n_k, d, d_v = (int(x) for x in rng.integers(1, (8, 11, 5, 4)))
    heads, key_heads = ((2, 4), (2, 2)) if "heads" in names else ((), ())
    size = rng.choice([0.1, 1.0, 5.0, 30.0])
    Q = size * rng.standard_normal((*heads, n_q, d))
    K = rng.standard_normal((*key_heads, n_k, d))
    V = rng.choice([1.0, 1e-20, 1e20]) * rng.standard_normal((*key_heads, n_k, d_v))
    options = {name: OPTIONS[name](rng, (*heads, n_q, n_k)) for name in names if name != "heads"}
    return (*(x.astype(dtype) for x in (Q, K, V)), options)


def empty_rows(Q: Any, K: Any, options: Any) -> Any:
    """Which queries see neither key nor sink, by the definition."""
    given = {name: options[name] for name in ("causal", "window", "mask") if name in options}
    shape = (*Q.shape[:-1], K.shape[-2])
    seen = np.broadcast_to(visible(Q.shape[-2], K.shape[-2], **given), shape)
    if "bias" in options:
        seen = seen & (options["bias"] > -np.inf)
    return ~seen.any(axis=-1) & ("sinks" not in options)


def judged(Q: Any, K: Any, V: Any, options: Any) -> Any:
    """Return the result after every entry of it was decided to lie within its bound."""
    result = fastpath.attention(Q, K, V, empty_rows="zeros", **options)
    empty = empty_rows(Q, K, options)
    assert (result.output[empty] == 0).all()
    assert (result.error_bound[empty] == 0).all()
    assert (result.log_sum_exp[empty] == -np.inf).all()
    # No enclosure decides 0 <= 0.
    bound = np.where(empty[..., None], 2.0**-1000, result.error_bound)
    verdict, _ = attention_verdict(Q, K, V, result.output, bound, empty_rows="zeros", **options)
    assert verdict is Verdict.WITHIN
    if empty.any():
        with pytest.raises(ValueError, match=f"^query {int(np.argwhere(empty)[0][-1])} .*must see"):
            fastpath.attention(Q, K, V, **options)
    else:
        verdict, _ = decide(
            lambda bits: log_sum_exp(Q, K, precision=bits, **options),
            result.log_sum_exp,
            result.log_sum_exp_bound,
        )
        assert verdict is Verdict.WITHIN
    return result


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let heads of a few keys have several blocks."""
    monkeypatch.setattr(module, "KEY_BLOCK", 3)
    monkeypatch.setattr(module, "QUERY_BLOCK", 2)


@pytest.mark.parametrize(
    "names", [(name,) for name in OPTIONS] + list(combinations(OPTIONS, 2)), ids="-".join
)
def test_every_option_and_every_pair_is_within_its_certificate(names: Any) -> None:
    for seed in range(6):
        judged(*drawn(np.random.default_rng(seed), names))


@pytest.mark.parametrize("seed", range(150))
def test_any_combination_of_options_is_within_its_certificate(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    judged(*drawn(rng, [name for name in OPTIONS if rng.random() < 0.5]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000))
def test_any_of_many_combinations_is_within_its_certificate(seed: int) -> None:
    rng = np.random.default_rng(10_000 + seed)
    judged(*drawn(rng, [name for name in OPTIONS if rng.random() < 0.5]))


X = np.ones((2, 1))
Y = np.ones((3, 1))
HEADS = np.ones((4, 2, 1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"causal": "left"}, TypeError, "causal must be True, False, 'upper-left'"),
        ({"causal": 1}, TypeError, "causal must be True, False, 'upper-left'"),
        ({"causal": True}, ValueError, "causal=True needs as many queries as keys, got 2 .* and 3"),
        ({"window": (-1, None)}, ValueError, "window's left width must be at least 0, got -1"),
        ({"window": (1.5, None)}, TypeError, "window's left width must be an integer, got 1.5"),
        ({"window": 3}, TypeError, "window must be a pair"),
        ({"mask": np.ones((2, 3))}, TypeError, "mask must hold booleans"),
        ({"mask": np.ones((3, 3), bool)}, ValueError, r"mask must broadcast to \(2, 3\)"),
        ({"mask": [[True] * 3, [False] * 3]}, ValueError, "^query 1 must see a key or a sink"),
        ({"bias": [[0.0, np.inf, 0.0]]}, ValueError, r"bias must not hold \+inf"),
        ({"bias": [[0.0, np.nan, 0.0]]}, ValueError, "bias must be finite or -inf, got NaN.$"),
        (
            {"bias": [[0.0, np.nan, 0.0]], "mask": [[True, False, True]]},
            ValueError,
            "got NaN, which is hidden by the mask",
        ),
        ({"bias": np.zeros((3, 3))}, ValueError, "bias must broadcast"),
        ({"bias": np.full((2, 3), -1e308)}, ValueError, "a score could overflow"),
        ({"softcap": 0}, ValueError, "softcap must be positive, got 0"),
        ({"softcap": True}, TypeError, "softcap must be a number"),
        ({"softcap": 1e-310}, ValueError, "softcap must lie in"),
        ({"scale": np.nan}, ValueError, "scale must be finite"),
        ({"scale": "1"}, TypeError, "scale must be a number"),
        ({"scale": Fraction(1, 3)}, ValueError, "scale must be a number that float64 holds"),
        ({"scale": 1e-310}, ValueError, "scale must lie in"),
        ({"scale": 1e307}, ValueError, "a logit could overflow"),
        ({"sinks": [0.0, 0.0]}, ValueError, "sinks must have shape"),
        ({"sinks": np.nan}, ValueError, "sinks must be finite"),
        ({"empty_rows": "skip"}, ValueError, "empty_rows must be 'refuse' or 'zeros'"),
        ({"workers": 0}, ValueError, "workers must be at least 1, got 0"),
        ({"workers": 1.0}, TypeError, "workers must be an integer"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(
    options: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        fastpath.attention(30 * X if "scale" in options else X, Y, Y, **options)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((HEADS, np.ones((3, 3, 1)), np.ones((3, 3, 1))), "multiple of K's 3 heads, got 4"),
        ((HEADS, np.ones((2, 3, 1)), np.ones((1, 3, 1))), "K and V the same heads"),
        ((HEADS, Y, Y), "K must be a matrix, or .* with as many axes as Q, 3"),
        ((X[0], Y, Y), "Q must be a matrix, or .* with 2 axes or more"),
        ((HEADS[None], np.ones((2, 2, 3, 1)), np.ones((2, 2, 3, 1))), "same leading axes"),
    ],
)
def test_heads_that_do_not_fit_are_refused(arrays: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastpath.attention(*arrays)


def test_a_row_that_sees_nothing_is_named_with_its_head() -> None:
    mask = np.ones((4, 2, 3), bool)
    mask[2, 1] = False
    with pytest.raises(ValueError, match=r"^query 1 of head \(2,\) must see a key or a sink"):
        fastpath.attention(HEADS, np.ones((2, 3, 1)), np.ones((2, 3, 1)), mask=mask)


@pytest.mark.parametrize("name", ["K", "V"])
def test_what_is_not_finite_behind_a_mask_is_refused_as_hidden(name: str) -> None:
    arrays = {"Q": HEADS, "K": np.ones((2, 3, 1)), "V": np.ones((2, 3, 1))}
    arrays[name][1, 2] = np.nan
    mask = np.ones((4, 1, 3), bool)
    mask[2:, :, 2] = False
    with pytest.raises(ValueError, match=f"{name} must be finite.* row 2, which is hidden"):
        fastpath.attention(**arrays, mask=mask)
    mask[2] = True  # one of the two heads that read it
    with pytest.raises(ValueError, match=f"{name} must be finite, got 1 NaN or infinite of 6"):
        fastpath.attention(**arrays, mask=mask)


def test_no_bit_depends_on_the_number_of_workers() -> None:
    rng = np.random.default_rng(0)
    Q, K, V, options = drawn(rng, ["heads", "bias", "softcap", "sinks"])
    one = fastpath.attention(Q, K, V, workers=1, **options)
    for workers in (2, 5, None):
        other = fastpath.attention(Q, K, V, workers=workers, **options)
        for name in ("output", "error_bound", "log_sum_exp", "log_sum_exp_bound"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_hidden_blocks_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a window or a block mask that costs what no mask costs."""
    Q, K = np.ones((12, 1)), np.ones((12, 1))
    block = np.kron(np.eye(4), np.ones((3, 3))).astype(bool)
    tiles = module._tiles
    seen: list[int] = []

    def counted(*arguments: Any) -> Any:
        for queries, keys, tile in tiles(*arguments):
            seen.append(tile.size)
            yield queries, keys, tile

    monkeypatch.setattr(module, "_tiles", counted)
    for options, most in (
        ({"window": (0, 0)}, 12 * 3),
        ({"mask": block}, 12 * 3 + 2 * 6),
        ({"causal": True}, 12 * 9),
    ):
        seen.clear()
        fastpath.attention(Q, K, K, **options)
        assert 0 < sum(seen) <= most, options


def test_a_mask_written_in_numbers_costs_the_certificate_nothing() -> None:
    """Catches: a bias of -1e30 in the magnitude of the scores."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((5, 3)) for _ in range(3))
    mask = np.tril(np.ones((5, 5), bool))
    numbers = fastpath.attention(Q, K, V, bias=np.where(mask, 0.0, -1e30))
    hidden = fastpath.attention(Q, K, V, bias=np.where(mask, 0.0, -np.inf))
    assert (numbers.error_bound == hidden.error_bound).all()
    assert (numbers.output == hidden.output).all()


def test_an_input_is_read_and_not_changed() -> None:
    rng = np.random.default_rng(0)
    Q, K, V, options = drawn(rng, list(OPTIONS))
    before = [np.array(x) for x in (Q, K, V, options["mask"], options["bias"], options["sinks"])]
    fastpath.attention(Q, K, V, empty_rows="zeros", **options)
    after = [Q, K, V, options["mask"], options["bias"], options["sinks"]]
    assert all(x.tobytes() == np.asarray(y).tobytes() for x, y in zip(before, after, strict=True))


def test_rows_whose_first_keys_are_hidden_and_whose_scores_are_low_see_the_others() -> None:
    """Catches: a shift taken of a block that a row does not see: every weight of the row underflows."""
    Q, K = np.ones((4, 1), np.float32), np.full((7, 1), -300, np.float32)
    V = np.arange(7, dtype=np.float32)[:, None]
    mask = np.ones((4, 7), bool)
    mask[::2, :3] = False
    judged(Q, K, V, {"mask": mask})


def test_a_sink_hides_what_lies_far_below_it() -> None:
    """Catches: numbers that stand for -inf counted as scores where a sink is all that is seen."""
    X = np.ones((3, 1))
    numbers, hidden = (
        fastpath.attention(X, X, X, bias=np.full((3, 3), below), sinks=2.0)
        for below in (-1e30, -np.inf)
    )
    assert (numbers.output == 0).all()
    assert (numbers.log_sum_exp_bound == hidden.log_sum_exp_bound).all()


@pytest.mark.parametrize("shifted", [False, True])
def test_for_parallel_queries_and_keys_scores_and_logarithms_are_bounded_by_the_theorems(
    shifted: bool,
) -> None:
    """Catches each term left out: cap, bias, sink, sum, logarithm.  Counts are made anew here."""
    constants = ARITHMETIC["float32"]
    u, tiny = constants.unit_roundoff, constants.tiny
    d, n, scale, cap, sink = 2, 7, Fraction(3, 4), Fraction(48), Fraction(-30 if shifted else -3)
    size = Fraction(24 if shifted else 4)
    bias = Fraction(40 if shifted else 5)
    Q = np.full((1, d), float(size / d), np.float32)
    result = fastpath.attention(
        Q,
        np.ones((n, d), np.float32),
        np.ones((n, 1), np.float32),
        scale=float(scale),
        softcap=float(cap),
        bias=np.full((1, n), float(bias)),
        sinks=float(sink),
    )

    def value(name: str, **arguments: Any) -> Any:
        bound = EXPRESSIONS[name]
        return evaluate(bound, arguments, 300).bounds()[1].item()

    # Either norm is a sum of d squares, each of which may have been rounded so often (FP.sum).
    logit = scale * size / (1 - 2 * d * u)
    error = value(
        "scaled_logit",
        dimension=d,
        unit_roundoff=u,
        logit_magnitude=logit,
        tiny=tiny,
        largest_key=1,
    )
    error = value(
        "capped_score",
        score_error=error,
        unit_roundoff=u,
        tanh_error=constants.tanh_error,
        cap_magnitude=min(logit + error, cap),
        softcap=cap,
        tiny=tiny,
    )
    error = value(
        "biased_score",
        score_error=error + tiny,
        unit_roundoff=u,
        score_magnitude=logit,
        bias_magnitude=bias,
    )
    magnitude = logit + bias
    blocks, tiles = 3 + 1, 2 + 1  # of keys, and the sink
    weight = value(
        "rounding_weight",
        logit_error=error,
        unit_roundoff=u,
        reach=2 * (magnitude + error) if shifted else 0,
        exp_error=constants.exp_error,
        exponentials=tiles if shifted else 1,
    )
    logarithm = Fraction(float(result.log_sum_exp[0]))
    least = value(
        "log_sum_exp",
        weight_error=weight,
        terms=3 + (blocks - 1) + (tiles - 1),
        unit_roundoff=u,
        underflow=0,
        log_magnitude=abs(logarithm),
        log_error=LOG_ERROR,
        double_roundoff=ARITHMETIC["float64"].unit_roundoff,
    )
    found = Fraction(float(result.log_sum_exp_bound[0]))
    assert least <= found <= least * (1 + Fraction(1, 2**20))


def test_a_sink_is_rounded_to_the_type_of_the_computation() -> None:
    """Catches: half a last place of 33 in float32 left out, which is 32 times that of a weight."""
    X = np.zeros((1, 1), np.float32)
    judged(X, X, X, {"sinks": 33 + 0.99 * 2.0**-19})


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_tile_that_a_mask_hides_from_all_does_not_end_the_row(hidden: int) -> None:
    """Catches: keys behind a block that nobody sees, left out."""
    n, rows = 3 * module.KEY_BLOCK, module.QUERY_BLOCK
    gone = slice(hidden * module.KEY_BLOCK, (hidden + 1) * module.KEY_BLOCK)
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((size, 2)) for size in (rows, n, n))
    mask = np.ones((rows, n), bool)
    mask[:, gone] = False
    masked = fastpath.attention(Q, K, V, mask=mask)
    short = fastpath.attention(Q, np.delete(K, gone, 0), np.delete(V, gone, 0))
    off = np.abs(masked.output - short.output)
    assert (off <= masked.error_bound + short.error_bound).all()
