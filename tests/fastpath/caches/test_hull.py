"""The hull against every corner of its box, and total variation against every set."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

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
