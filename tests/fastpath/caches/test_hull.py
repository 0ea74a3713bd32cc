"""The hull against every corner of its box, and total variation against every set."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from fastpath import BitPlaneCache, attention, certify_quantised
from fastpath.caches.hull import farthest_above
from fastpath.caches.variation import variation_bound

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("case", range(30))
def test_the_hull_is_attained_at_a_corner_and_exceeded_at_none(case: int) -> None:
    n = int(RNG.integers(1, 8))
    known, radii = RNG.dirichlet(np.ones(n)), RNG.exponential(0.5, n) * (case % 3 > 0)
    values = RNG.standard_normal((n, 1)) if case % 4 else RNG.integers(-1, 2, (n, 1)).astype(float)
    lower, upper = known * np.exp(-radii), known * np.exp(radii)
    x = [Fraction(v) for v in values[:, 0].tolist()]
    outputs = []
    for chosen in product((False, True), repeat=n):
        weights = [
            Fraction(u if c else w)
            for u, w, c in zip(upper.tolist(), lower.tolist(), chosen, strict=True)
        ]
        outputs.append(sum(w * v for w, v in zip(weights, x, strict=True)) / sum(weights))
    centre = float(np.mean(values)) - 3
    found = Fraction(float(farthest_above(lower, upper, values, np.array([centre]))[0]))
    distance = max(outputs) - Fraction(centre)
    assert found >= distance
    assert distance >= found * Fraction(999999, 1000000)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_where_newtons_method_stops_early_the_bound_is_larger_and_holds(steps: int) -> None:
    for _ in range(20):
        n = int(RNG.integers(2, 12))
        known, radii = RNG.dirichlet(np.ones(n)), RNG.exponential(1.5, n)
        lower, upper = known * np.exp(-radii), known * np.exp(radii)
        values, centre = RNG.standard_normal((n, 3)), np.zeros(3)
        early = farthest_above(lower, upper, values, centre, steps=steps)
        assert (early >= farthest_above(lower, upper, values, centre) * (1 - 1e-12)).all()


@pytest.mark.parametrize("case", range(30))
def test_total_variation_is_exceeded_by_no_set_and_never_more_than_any_closed_form(
    case: int,
) -> None:
    n = int(RNG.integers(2, 9))
    known, radii = RNG.dirichlet(np.ones(n)), RNG.exponential(0.4, n)
    upper, lower = known * np.exp(radii), known * np.exp(-radii)
    largest = max(
        upper[s].sum() / (upper[s].sum() + lower[~s].sum()) - known[s].sum()
        for s in (np.array(c) for c in product((False, True), repeat=n))
        if s.any()
    )
    found = variation_bound(known / known.max(), radii)
    rounding = n * np.finfo(float).eps
    assert found >= largest - rounding
    average = known @ np.exp(radii)
    closed = 1 - 1 / average if average <= 2 else average**2 / (average**2 + 4)
    assert found <= min(closed, np.tanh(radii.max() / 2)) + 4 * rounding


def test_equal_radii_of_many_light_keys_come_close_to_tanh() -> None:
    found = variation_bound(np.ones(10_000), np.full(10_000, 0.3))
    assert np.tanh(0.15) * 0.999 <= found <= np.tanh(0.15) * (1 + 1e-9)


def test_no_radius_and_one_key_leave_no_variation() -> None:
    assert variation_bound(np.ones(5), np.zeros(5)) == 0
    assert variation_bound(np.ones(1), np.array([3.0])) == 0


def test_radii_beyond_every_exponential_leave_everything() -> None:
    assert variation_bound(np.ones(5), np.array([1.0, 2.0, 1e3, 0.0, 0.1])) <= 1


@pytest.mark.parametrize("radius", [30.0, 700.0, 750.0, 1e4, 1e30])
@pytest.mark.parametrize("apart", [1.0, 1.5, 1.999])
def test_keys_far_below_may_rise_above_all_others(radius: float, apart: float) -> None:
    """Catches: a product of e^radius and of a weight that is 0 as a float, of which nothing is left."""
    read, K = np.array([[0.0], [-apart * radius]]), np.array([[-radius], [radius - apart * radius]])
    V, Q = np.array([[0.0], [1.0]]), np.ones((1, 1))
    for options in ({}, {"sinks": -apart * radius}):
        found = certify_quantised(Q, read, V, radius, 0.0, bound="hull", **options)
        exact = attention(Q, K, V, **options)
        assert (np.abs(found.output - exact.output) <= found.error_bound).all()


def test_bits_that_are_not_read_yet_may_say_which_key_is_heaviest() -> None:
    """Catches: the same, where logits of planes that were read lie a thousand apart."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        Q, K, V = rng.standard_normal((3, 4)), 1e4 * rng.standard_normal((4, 4)), np.eye(4)
        found, exact = BitPlaneCache(K, V).attention(Q, 0.05), attention(Q, K, V)
        assert (np.abs(found.output - exact.output) <= found.error_bound + exact.error_bound).all()
