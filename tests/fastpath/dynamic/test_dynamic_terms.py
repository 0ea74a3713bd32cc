"""Every term of the certificate of DynamicAttention, and every guard of what it counts, is needed.

FP.dynamic is proved of numbers; here the program is held to it: what it certifies is the formula, at what a
second count of the same run finds, and each guard has the tokens on which nothing else would do.
``tests/mutants/dynamic.py`` leaves them out one at a time.
"""

import copy
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from numpy.typing import NDArray

from fastpath import DynamicAttention
from fastpath.core.bounds.dynamic import dynamic_weight
from fastpath.core.bounds.softmax import rounding_logit
from fastpath.dynamic import kept, recomputed, sums
from fastpath.dynamic import weights as by_key
from fastpath.dynamic.cached import Cached
from fastpath.dynamic.certificate import row_error_bound
from fastpath.dynamic.choice import Plan
from fastpath.dynamic.dirty import Dirty
from reference import Verdict, attention_verdict
from specs import CLAIMS
from specs.softmax.rounding import ARITHMETIC

Array = NDArray[Any]

BOUNDS = {bound.name: bound for claim in CLAIMS.values() for bound in claim.bounds}

#: By how many factors e^step, and steps, a cached weight is renewed at most, as the certificate has it.
FACTORS = 32
LARGEST_STEPS = {"float32": 16.0, "float64": 64.0}

#: Bits at which formulas are evaluated.
BITS = 400


@cache
def _compiled(name: str) -> Callable[..., mpmath.mpf]:
    bound = BOUNDS[name]
    compiled: Callable[..., mpmath.mpf] = sympy.lambdify(
        bound.arguments, bound.expression, "mpmath"
    )
    return compiled


def _claimed(name: str, **arguments: Any) -> mpmath.mpf:
    """Return a bound as its claim states it, at numbers."""
    given = (arguments[symbol.name] for symbol in BOUNDS[name].arguments)
    return _compiled(name)(*map(mpmath.mpf, given))


def _formula(query: Array, size: mpmath.mpf, **counts: Any) -> mpmath.mpf:
    """Return what FP.dynamic says of a row whose logits sum up products of so much in all."""
    constants = ARITHMETIC[query.dtype.name]
    u, tiny = (
        mpmath.mpf(x.numerator) / x.denominator for x in (constants.unit_roundoff, constants.tiny)
    )
    magnitude, denominator, mass, roundings, events, factors, steps = (
        mpmath.mpf(counts[name])
        for name in ("magnitude", "denominator", "mass", "roundings", "events", "factors", "steps")
    )
    logit_error = _claimed(
        "rounding_logit", dimension=len(query), unit_roundoff=u, logit_magnitude=size, tiny=tiny
    )
    weight_error = _claimed(
        "dynamic_weight",
        logit_error=logit_error,
        unit_roundoff=u,
        # Of a computed logit and a computed shift, each within its error of one that is exact.
        reach=2 * (size + logit_error),
        exp_error=int(constants.exp_error),
        factors=factors,
        steps=steps,
    )
    output = {
        "weight_error": weight_error,
        # The mass is a sum of positive numbers, computed in as many roundings.
        "mass_ratio": mass / denominator * (1 + roundings * u),
        "roundings": roundings,
        "magnitude": magnitude,
        "underflow": events * tiny * mpmath.exp(steps) / denominator,
        "smallest": 2 * (events / denominator + 1) * tiny,
        "unit_roundoff": u,
    }
    # A quotient before it is rounded is within its error of an average of values.
    quotient = magnitude + _claimed("dynamic_output", quotient=0, **output)
    return _claimed("dynamic_output", quotient=quotient, **output)


#: Arguments in each of which the terms that are named are what there is.
EXTREMES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "logit error": {"dimension": 64, "size": 8.0, "roundings": 0},
    "products of a logit that underflow": {"dimension": 64, "size": 0.0},
    "reach of the shifted exponent": {"size": 30.0},
    "factors": {"factors": 32},
    "steps": {"steps": 16.0},
    "mass": {"mass": 160.0},
    "roundings": {"roundings": 2**20},
    "underflow": {"denominator": 2.0**-90, "mass": 2.0**-90, "events": 500},
    "underflow of what is renewed": {
        **{"denominator": 2.0**-90, "mass": 2.0**-90, "events": 500, "steps": 16.0},
    },
    "smallest": {"magnitude": 0.0, "events": 100},
    "values": {"magnitude": 2.0**40},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("extreme", EXTREMES)
def test_what_is_certified_is_at_least_the_formula(extreme: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    with mpmath.workprec(BITS):
        for _ in range(20):
            chosen = {
                **{"dimension": 1, "size": 2.0**-20, "magnitude": 1.0, "denominator": 1.0},
                **{"mass": 1.0, "roundings": 3, "events": 1, "factors": 0, "steps": 0.0},
                **EXTREMES[extreme],
            }
            shape, size = chosen.pop("dimension"), chosen.pop("size")
            query = (size * rng.standard_normal(shape)).astype(dtype)
            keys = np.abs(size * rng.standard_normal(shape)).astype(dtype).tolist()
            for name in ("magnitude", "denominator", "mass"):
                chosen[name] *= float(rng.uniform(1, 2))
            size = sum(abs(mpmath.mpf(float(q))) * k for q, k in zip(query, keys, strict=True))
            found = row_error_bound(query, keys, scaled=False, **chosen)
            assert found >= _formula(query, size, **chosen)


def test_the_magnitude_of_a_logit_is_not_rounded_downwards() -> None:
    """Products that are each less than half a unit of the sum are lost, one by one."""
    small, large = 0.49 * 2.0**-52, 64
    query = np.full(2**21, small)
    query[:large] = 1.0
    counts: dict[str, Any] = {"magnitude": 1.0, "denominator": 1.0, "mass": 1.0, "roundings": 0}
    counts |= {"events": 1, "factors": 0, "steps": 0.0}
    with mpmath.workprec(BITS):
        size = large + (len(query) - large) * mpmath.mpf(small)
        found = row_error_bound(query, [1.0] * len(query), scaled=False, **counts)
        assert found >= _formula(query, size, **counts)


# ------------------------------------------------------------------------- what is counted


def _spied(monkeypatch: Any) -> dict[str, Any]:
    """Let the strategies tell what they certify with."""
    given: dict[str, Any] = {}

    def spy(query: Any, largest_keys: Any, **named: Any) -> float:
        given.update(named, query=query, largest_keys=largest_keys)
        return row_error_bound(query, largest_keys, **named)

    for module in (sums, kept, recomputed):
        monkeypatch.setattr(module, "row_error_bound", spy)
    return given


@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_every_rebuild_counts_among_the_roundings_and_the_weights(
    mode: Any, monkeypatch: Any
) -> None:
    """A key that weighs nothing is changed: no mass passes through, but the sums are rounded."""
    given = _spied(monkeypatch)
    n, limit = 60, 3
    K = np.where(np.arange(n) < limit, -400.0, 0.0)[:, None]
    dynamic = _dynamic(mode, np.ones((n, 1)), K, np.ones((n, 2)), rebuild_every=limit)
    for rebuilds in range(1, 20):
        for i in range(limit):
            dynamic.update_key(i, 0, 0.25 if rebuilds % 2 else -0.25)
        assert dynamic.stats["rebuilds"] == rebuilds
        dynamic.error_bound(n - 1)
        # At first a product and n - 1 sums; then one a rebuild; then 2k of each of two sets of pairs, and
        # what a pair is itself.
        assert given["roundings"] >= n + rebuilds + 4 * limit + 5
        # At first one a token, then two a pair.
        assert given["events"] >= n + 2 * limit * (rebuilds + 1)


@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "recomputed"])
def test_the_tokens_count_among_the_roundings_and_the_weights(mode: Any, monkeypatch: Any) -> None:
    given = _spied(monkeypatch)
    n = 300
    K, V = np.zeros((n, 1)), np.zeros((n, 1))
    K[-1], V[-2] = -3.0, 5.0
    dynamic = _dynamic(mode, np.ones((n, 1)), K, V, rebuild_every=1)
    dynamic.error_bound(0)
    assert given["roundings"] >= n + 1
    assert given["events"] >= n
    assert given["largest_keys"] == [3.0]
    assert given["magnitude"] == 5.0


#: Ways in which a token gets large and small again, with the sums in between.
WAYS: dict[str, Callable[[DynamicAttention, Array, float], Any]] = {
    "update_key": lambda d, row, v: [d.update_key(1, 0, step) for step in (row[0], -row[0])],
    "set_key": lambda d, row, v: [d.set_key(1, size * row) for size in (1, 0)],
    "append": lambda d, row, v: d.evict(d.append(0 * row, row, [0.0])),
    "update_value": lambda d, row, v: [d.update_value(1, 0, step) for step in (v, -v)],
    "set_value": lambda d, row, v: [d.set_value(1, [size * v]) for size in (1, 0)],
    "append a value": lambda d, row, v: d.evict(d.append(0 * row, 0 * row, [v])),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept"])
def test_the_largest_key_and_value_are_of_all_that_ever_was(
    mode: Any, way: str, monkeypatch: Any
) -> None:
    """The sums remember what passed through them, so the bound must."""
    given = _spied(monkeypatch)
    dynamic = _dynamic(mode, np.ones((4, 1)), np.zeros((4, 1)), np.zeros((4, 1)), rebuild_every=8)
    # Room for a token more: what comes next stays in the same sums.
    dynamic.evict(dynamic.append([0.0], [0.0], [0.0]))
    WAYS[way](dynamic, np.array([2.0]), 7.0)
    dynamic.error_bound(0)
    assert given["largest_keys" if "value" not in way else "magnitude"] == (
        [2.0] if "value" not in way else 7.0
    )


def test_sums_that_are_taken_over_keep_what_is_known_of_them(monkeypatch: Any) -> None:
    given = _spied(monkeypatch)
    n, limit = 6, 2
    dynamic = _dynamic(
        "cached", np.ones((n, 1)), np.zeros((n, 1)), np.ones((n, 1)), rebuild_every=2
    )
    for step in (2.0, -2.0):
        dynamic.update_key(0, 0, step)
        dynamic.update_value(1, 0, step)
        dynamic.update_key(2, 0, 0.0)
    before = dynamic._strategy
    assert isinstance(before, Cached)
    before.rebuild()
    after = Dirty(dynamic._tokens, room=n, limit=limit, sliced=False, after=before)
    assert after.rebuilds == 3
    after.error_bound(3)
    assert given["roundings"] >= n + 3 + 4 * limit + 5
    assert (given["factors"], given["steps"]) == (2, 4.0)
    assert given["largest_keys"] == [2.0]
    assert given["magnitude"] == 3.0


@pytest.mark.parametrize("sliced", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_the_mass_is_what_has_passed_through_the_sums(
    mode: Any, sliced: bool, monkeypatch: Any
) -> None:
    """Without queries every weight is 1, so the mass is a count: of a change of a value, two."""
    given = _spied(monkeypatch)
    n, limit = 24, 3
    zeros = np.zeros((n, 1))
    dynamic = _dynamic(mode, zeros, zeros, np.ones((n, 1)), rebuild_every=limit, worst_case=sliced)
    for i in range(limit):
        dynamic.update_value(i, 0, -2.0)
    # Not yet in the sums of the last row, or in them: they count.
    dynamic.error_bound(n - 1)
    assert given["mass"] >= n + 4 * (n + 2 * limit)
    dynamic.update_query(n - 1, 0, 0.0)
    dynamic.update_value(limit, 0, -2.0)
    dynamic.query_row(n - 1)
    # Computed anew: the sums are those of the tokens less what is pending, or frozen.
    assert dynamic._strategy.mass[n - 1] >= n + 2  # type: ignore[union-attr]


# ---------------------------------------------------------------------------------- weights


def _weights_hold(dynamic: DynamicAttention) -> None:
    """Assert that the logarithm of every cached weight errs by no more than FP.dynamic says."""
    strategy, tokens = dynamic._strategy, dynamic._tokens
    assert isinstance(strategy, Cached)
    constants = ARITHMETIC[tokens.dtype.name]
    u, tiny = (float(x) for x in (constants.unit_roundoff, constants.tiny))
    for i in dynamic.live.tolist():
        query = tokens.queries[i].astype(float)
        size = float(np.abs(query) @ np.array(strategy._largest_keys))
        logit_error = rounding_logit(len(query), u, size, tiny)
        error = dynamic_weight(
            *(logit_error, u, 2 * (size + logit_error), float(constants.exp_error)),
            *(FACTORS, LARGEST_STEPS[tokens.dtype.name]),
        )
        for j in dynamic.live.tolist():
            weight = float(strategy._pool[strategy._place[j], i])
            pairs = zip(tokens.queries[i], tokens.keys[j], strict=True)
            logit = sum(Fraction(float(q)) * Fraction(float(k)) for q, k in pairs)
            exact = logit - Fraction(float(strategy.shift[i]))
            with mpmath.workprec(BITS):
                off = mpmath.log(weight) - mpmath.mpf(exact.numerator) / exact.denominator
            assert weight >= tiny
            assert abs(off) <= error


def test_a_weight_follows_the_key_as_it_was_stored() -> None:
    """A key of 2^10 in float32 takes no step of 2^-15, however often."""
    ones = np.ones((2, 1), np.float32)
    dynamic = _dynamic("cached", ones, 2**10 * ones, np.array([[1.0], [-1]], np.float32))
    for _ in range(by_key.FACTORS):
        dynamic.update_key(0, 0, 2.0**-15)
    _weights_hold(dynamic)


def test_a_weight_is_not_renewed_by_more_factors_than_are_counted() -> None:
    """Steps that are less than half a unit of 1 leave a weight as it is, and the key moves on."""
    ones = np.ones((2, 1), np.float32)
    V = np.array([[1.0], [-1]], np.float32)
    dynamic = _dynamic("cached", ones, 0 * ones, V, rebuild_every=2)
    for _ in range(8000):
        dynamic.update_key(0, 0, 0.49 * 2.0**-23)
    _weights_hold(dynamic)
    _holds(dynamic, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_walks_keep_every_weight_within_its_error(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for size in (0.1, 1.0, 30.0):
        Q, K, V = (rng.standard_normal((5, 3)).astype(dtype) for _ in range(3))
        dynamic = _dynamic("cached", Q, K, V, rebuild_every=3)
        for _ in range(70):
            delta = size * float(rng.standard_normal()) / 30
            dynamic.update_key(int(rng.integers(2)), int(rng.integers(3)), delta)
        _weights_hold(dynamic)


# ----------------------------------------------------------------------------------- guards


def _dynamic(mode: Any, Q: Array, K: Array, V: Array, **options: Any) -> DynamicAttention:
    dynamic = DynamicAttention(Q, K, V, mode="auto" if mode == "recomputed" else mode, **options)
    if mode == "recomputed":
        dynamic._begin(Plan(strategy="recomputed", limit=0))
    return dynamic


def _holds(dynamic: DynamicAttention, i: int) -> None:
    """Assert that row i is within its bound, whichever way it is read first."""
    tokens, live = dynamic._tokens, dynamic.live.tolist()
    place, columns = live.index(i), range(len(tokens.values) - 1)
    Q, K, V = tokens.queries[i : i + 1], tokens.keys[live], tokens.values[:-1, live].T
    reads: tuple[Callable[[DynamicAttention], Any], ...] = (
        lambda d: d.query_row(i),
        lambda d: [d.query(i, j) for j in columns],
        lambda d: [d.query_column(j)[place] for j in columns],
        lambda d: d.output().output[place],
    )
    for read in reads:
        one = copy.copy(dynamic)
        row = np.array(read(one))
        assert np.isfinite(row).all()
        assert attention_verdict(Q, K, V, row[None], one.error_bound(i))[0] is Verdict.WITHIN


def test_a_sum_of_products_that_stagnates_is_within_the_error_of_the_logits() -> None:
    """Every product after the first 64 is less than half a unit of what it is added to."""
    query = np.ones((2, 1024), np.float32)
    keys = np.zeros((2, 1024), np.float32)
    keys[:, :64] = 1
    keys[0, 64:] = 0.49 * 2.0**-23
    V = np.array([[1.0], [-1]], np.float32)
    for mode in ("recomputed", "cached", "dirty", "kept"):
        _holds(_dynamic(mode, query, keys, V), 0)


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("sliced", [False, True], ids=["at once", "sliced"])
@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_what_outweighed_all_and_left_takes_its_rounding_errors_along(
    mode: Any, sliced: bool, settled: bool
) -> None:
    """Beside e^40 the sums keep no digits of the other tokens, and what is left may look like them."""
    rng = np.random.default_rng(0)
    for size in (33.3, 34.1, 35.2, 38.0, 38.7, 39.3):
        V = rng.standard_normal((5, 2))
        K = 0.1 * rng.standard_normal((5, 1))
        dynamic = _dynamic(mode, np.ones((5, 1)), K, V, rebuild_every=2, worst_case=sliced)
        for step in (size, -size):
            dynamic.update_key(0, 0, step)
            dynamic.update_key(1, 0, 0.01)
            for _ in range(2 if sliced else 0):
                # A slice each; the same token twice takes one pair.
                dynamic.update_key(2, 0, 0.01)
        if not settled:
            dynamic.update_key(3, 0, 0.01)
        for i in (0, 4):
            _holds(dynamic, i)


@pytest.mark.parametrize("mode", ["cached", "dirty"])
def test_what_leaves_before_it_has_come_in_takes_its_rounding_errors_along(mode: Any) -> None:
    """What is frozen counts: a pending pair takes away what it adds, and both are large."""
    rng = np.random.default_rng(1)
    for size in np.linspace(32.0, 38.0, 13).tolist():
        V = rng.standard_normal((5, 2))
        K = 0.1 * rng.standard_normal((5, 1))
        dynamic = _dynamic(mode, np.ones((5, 1)), K, V, rebuild_every=2, worst_case=True)
        dynamic.update_key(0, 0, size)
        dynamic.update_key(1, 0, 0.01)
        dynamic.update_key(0, 0, -size)
        for i in (3, 4):
            _holds(dynamic, i)


@pytest.mark.parametrize("rebuild_every", [1, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept"])
def test_a_weight_that_would_overflow_makes_its_row_stale(
    mode: Any, dtype: Any, rebuild_every: int
) -> None:
    V = np.array([[1.0], [-1], [0.5]], dtype)
    ones = np.ones((3, 1), dtype)
    for change in ("update_key", "set_key"):
        dynamic = _dynamic(mode, ones, 0 * ones, V, rebuild_every=rebuild_every)
        for size in (800.0, -800.0):
            if change == "update_key":
                dynamic.update_key(0, 0, size)
            else:
                dynamic.set_key(0, [max(size, 0.0)])
            _holds(dynamic, 1)
            dynamic.update_key(1, 0, 0.5)


@pytest.mark.parametrize("steps", [(-300.0,), (-20.0,) * 14, (-1.0,) * 600])
@pytest.mark.parametrize("mode", ["cached", "dirty", "kept"])
def test_a_weight_that_underflowed_comes_back(mode: Any, steps: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    # A query of 3 takes a step of three times its size.
    dynamic = _dynamic(mode, np.full((3, 1), 3.0), np.zeros((3, 1)), rng.standard_normal((3, 2)))
    for step in (*steps, *(-step for step in steps)):
        dynamic.update_key(0, 0, step)
    _holds(dynamic, 1)


def test_a_weight_comes_back_in_a_row_whose_query_has_grown() -> None:
    zeros = np.zeros((3, 1))
    dynamic = _dynamic("cached", zeros, zeros, np.array([[1.0], [-1], [0.5]]))
    for grow in (lambda: dynamic.update_query(1, 0, 50.0), lambda: dynamic.set_query(1, [60.0])):
        grow()
        dynamic.query_row(1)
        for step in (-10.0, -10.0, 10.0, 10.0):
            dynamic.update_key(0, 0, step)
        _holds(dynamic, 1)


@pytest.mark.parametrize("mode", ["cached", "dirty", "kept", "recomputed"])
def test_a_row_is_that_of_its_query_as_it_is(mode: Any) -> None:
    K = np.arange(3.0)[:, None]
    dynamic = _dynamic(mode, np.ones((3, 1)), K, K)
    dynamic.update_query(1, 0, 2.0)
    dynamic.set_query(2, [-3.0])
    for i in (1, 2):
        _holds(dynamic, i)


def test_more_tokens_than_float32_covers_are_refused(monkeypatch: Any) -> None:
    def begin(*_: Any) -> None:
        raise AssertionError("all rows would be computed")

    monkeypatch.setattr(DynamicAttention, "_begin", begin)
    many = np.zeros((2**21 + 1, 1), np.float32)
    with pytest.raises(ValueError, match=r"^K must have at most 2097152 rows in float32"):
        DynamicAttention(many, many, many)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [-1.0, -15.0, -60.0, -3000.0])
def test_kept_weights_that_leave_their_scale_together_are_computed_anew(
    step: float, dtype: Any
) -> None:
    """Every key is lowered, until the weights as they were scaled are nothing."""
    rng = np.random.default_rng(6)
    V = rng.standard_normal((4, 2)).astype(dtype)
    ones = np.ones((4, 1), dtype)
    dynamic = _dynamic("kept", ones, 0 * ones, V)
    for _ in range(max(2, int(-900 / step))):
        for i in range(4):
            dynamic.update_key(i, 0, step)
    for i in range(4):
        _holds(dynamic, i)
    before = dynamic.stats["refreshed_rows"]
    dynamic.query(0, 0)
    assert dynamic.stats["refreshed_rows"] == before + 1
    assert dynamic.output().output == pytest.approx(np.broadcast_to(V.mean(axis=0), (4, 2)))


def test_a_kept_weight_is_not_renewed_by_more_factors_than_are_counted() -> None:
    ones = np.ones((3, 1))
    dynamic = _dynamic("kept", ones, 0 * ones, ones)
    for step in range(1, 100):
        before = dynamic.stats["multiplications"]
        dynamic.update_key(1, 0, 2.0**-10)
        # By a factor, 2 n; from the definition, n d.
        renewed = dynamic.stats["multiplications"] - before == 2 * 3
        assert renewed == (step % (by_key.FACTORS + 1) != 0)


def test_kept_columns_are_those_of_the_tokens_as_they_are() -> None:
    rng = np.random.default_rng(7)
    Q, K, V = (rng.standard_normal((5, 2)) for _ in range(3))
    dynamic = DynamicAttention(Q, K, V, mode="kept")
    dynamic.append([1.0, 0.5], [0.25, -1.0], [2.0, -3.0])
    dynamic.set_key(3, [0.5, -0.25])
    # Not before the token that was appended, for which everything is computed anew.
    dynamic.evict(1)
    dynamic.append([-1.0, 0.5], [0.25, 1.0], [-2.0, 3.0])
    dynamic.update_key(0, 1, 0.5)
    for i in dynamic.live.tolist():
        _holds(dynamic, i)


def test_a_kept_row_does_not_see_a_later_token_whose_key_is_replaced() -> None:
    values = np.array([[1.0], [0.0], [0.0]])
    dynamic = DynamicAttention(values, values, values, mode="kept", causal=True)
    dynamic.set_key(2, [0.5])
    assert dynamic.query(0, 0) == 1.0
