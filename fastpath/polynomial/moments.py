r"""Sums over keys from which polynomial attention on any later query follows, with what certifies it.

About a centre c, for every :math:`|\alpha| \le g`: :math:`S_\alpha = \sum_j (k_j - c)^\alpha [v_j, 1]`.  They
add over blocks and shards, move to another centre, and know nothing of the polynomial: the coefficients
come in with the queries.  No softmax changes when c is taken from every key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import log2
from typing import Any

import numpy as np

from fastpath.core.bounds.polynomial import moments_output
from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.core.certified import Certified
from fastpath.core.cores import run, run_in_order
from fastpath.core.directed import UNIT_ROUNDOFF, above, below, down, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import norm, sum_above
from fastpath.polynomial.minimax import Polynomial
from fastpath.polynomial.monomials import Monomials, block_columns, monomials, summands

CLAIMS = ("P2.poly", "P2.kappa", "P2.recentre", "FP.moments", "FP.polynomial", "FP.exp")

#: Keys and values are scaled by powers of two, so that no power of theirs overflows.  The smallest unit
#: has a reciprocal; lengths of keys and spreads of values have room.
SMALLEST_UNIT, LARGEST_KEY, LARGEST_VALUE = 2.0**-1020, 2.0**1010, 2.0**1021

#: Logits may reach this far from the centre; rounding, e^(2 reach) u, has long passed 1.  Within it
#: all that underflow takes from a sum is far below the one rounding that is counted for it.
LARGEST_REACH = 32.0

#: Monomials of queries, scaled inversely to the keys, may reach this: nothing overflows, and what underflow
#: takes, 2^-1074 a product, then stays below u times LEAST_MAGNITUDE, however many terms there are.
LARGEST_POWER = 2.0**500

#: Sums over blocks of keys that wait to be added up take no more than this.
HELD_BYTES = 2**28

#: Columns that are centred or scaled at once: they stay in the second-level cache.
CONVERTED = 8192

#: An output whose values are all equal is exact, but no enclosure can decide an error bound of zero.
#: Certificates go no lower than this, relative to a power of two near the column's largest value.
DECIDABLE = 2.0**-100

#: Values count as at least this, relative to their unit: u times it still covers all underflow.
LEAST_MAGNITUDE = 2.0**-400


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """How far keys lie from a centre, how large values are, and the units that both are scaled by.

    Attributes
    ----------
    key_low, key_high : (d,) arrays
        Bounds on k_j - centre, variable by variable.
    radius : float
        Bound on |k_j - centre|.
    value_low, value_high : (d_v,) arrays
        The exact range of each column of the values.
    key_unit : float
        A power of two above every |k_jl - centre_l| that was summed.
    value_units : (d_v + 1,) array
        Powers of two above the values of each column, and 1.
    """

    key_low: Array
    key_high: Array
    radius: float
    value_low: Array
    value_high: Array
    key_unit: float
    value_units: Array

    @classmethod
    def empty(cls, d: int, d_v: int) -> Ranges:
        """Return the ranges of no keys and values."""
        return cls(
            key_low=np.full(d, np.inf),
            key_high=np.full(d, -np.inf),
            radius=0.0,
            value_low=np.full(d_v, np.inf),
            value_high=np.full(d_v, -np.inf),
            key_unit=SMALLEST_UNIT,
            value_units=np.append(np.full(d_v, SMALLEST_UNIT), 1.0),
        )

    @property
    def half_ranges(self) -> Array:
        """Bounds on |k_j - centre|, variable by variable."""
        return np.maximum(-self.key_low, self.key_high)

    @property
    def spread(self) -> Array:
        """Bounds on max v - min v, column by column."""
        spread: Array = up(self.value_high - self.value_low)
        return spread

    @property
    def magnitude(self) -> Array:
        """The largest |v| of each column."""
        return np.maximum(-self.value_low, self.value_high)

    def merged(self, other: Ranges) -> Ranges:
        """Return the ranges of both sets, about one centre."""
        return Ranges(
            key_low=np.minimum(self.key_low, other.key_low),
            key_high=np.maximum(self.key_high, other.key_high),
            radius=max(self.radius, other.radius),
            value_low=np.minimum(self.value_low, other.value_low),
            value_high=np.maximum(self.value_high, other.value_high),
            key_unit=max(self.key_unit, other.key_unit),
            value_units=np.maximum(self.value_units, other.value_units),
        )

    def about(self, shift: Array) -> Ranges:
        """Return the ranges about a centre that lies ``shift`` further, in a unit above that too."""
        # A shift is a difference of centres, rounded.
        low, high = below(self.key_low - above(shift)), above(self.key_high - below(shift))
        corner = norm(np.maximum(-low, high))
        radius = min(corner, float(up(self.radius + _moved(shift))))
        key_unit = max(self.key_unit, float(_unit(np.abs(shift).max())))
        return replace(self, key_low=low, key_high=high, radius=radius, key_unit=key_unit)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Keys and values, one a column, that are centred and scaled in float64 a few at a time.

    Attributes
    ----------
    keys : (d, n) array
        As given.
    values : (d_v, n) array
        As given.
    centre : (d,) array
        What is taken from every key.
    ranges : Ranges
        Theirs.
    """

    keys: Matrix
    values: Matrix
    centre: Array
    ranges: Ranges

    @classmethod
    def of(cls, k: Matrix, v: Matrix, centre: Array | None = None) -> Block:
        """Take over the rows of k and v, about a centre or about the middle of the keys.

        Raises
        ------
        ValueError
            If a key lies beyond 2^1010 from the centre in some entry, or a value beyond 2^1021 from 0.
        """
        keys, values = np.ascontiguousarray(k.T), np.ascontiguousarray(v.T)
        least, most, value_low, value_high = (
            limit.astype(np.float64)
            for x in (keys, values)
            for limit in (x.min(axis=1), x.max(axis=1))
        )
        if centre is None:
            centre = least / 2 + most / 2
        with np.errstate(over="ignore"):  # refused below
            key_low, key_high = least - centre, most - centre
        key_low, key_high = below(key_low), above(key_high)
        furthest = np.maximum(-key_low, key_high).max()
        magnitude = np.maximum(-value_low, value_high)
        if not furthest <= LARGEST_KEY:
            raise ValueError(f"K must lie within 2^1010 of the centre, got {furthest:.3g}.")
        if not magnitude.max() <= LARGEST_VALUE:
            raise ValueError(f"V must not exceed 2^1021 in magnitude, got {magnitude.max():.3g}.")
        ranges = Ranges(
            key_low=key_low,
            key_high=key_high,
            radius=0.0,
            value_low=value_low,
            value_high=value_high,
            key_unit=float(_unit(furthest)),
            value_units=np.append(_unit(magnitude), 1.0),
        )
        block = cls(keys=keys, values=values, centre=centre, ranges=ranges)
        longest = max(
            np.einsum("ij,ij->j", x, x).max()
            for x in map(block.scaled_keys, parts(block.count, CONVERTED))
        )
        # An entry is a difference that was rounded, and there twice.
        radius = float(up(up(np.sqrt(sum_above(longest, len(keys) + 3))) * ranges.key_unit))
        return replace(block, ranges=replace(ranges, radius=radius))

    @property
    def count(self) -> int:
        """How many keys."""
        return len(self.keys.T)

    def scaled_keys(self, part: slice) -> Array:
        """Return (k_j - centre) / key_unit, of shape (d, b)."""
        keys = np.subtract(self.keys[:, part], self.centre[:, None], dtype=np.float64)
        keys *= 1 / self.ranges.key_unit
        return keys

    def weights(self, part: slice) -> Array:
        """Return [v_j, 1] / value_units, of shape (d_v + 1, b)."""
        values = self.values[:, part]
        weights = np.ones((len(values) + 1, values.shape[1]))
        np.multiply(values, 1 / self.ranges.value_units[:-1, None], out=weights[:-1])
        return weights


def parts(count: int, columns: int) -> Iterator[slice]:
    """Yield slices of so many columns that cover them all."""
    for start in range(0, count, columns):
        yield slice(start, min(start + columns, count))


def _unit(magnitude: Any) -> Any:
    """Return the least power of two above, and at least SMALLEST_UNIT, which is that of zero."""
    power = np.ldexp(1.0, np.frexp(magnitude)[1])
    return np.where(magnitude > SMALLEST_UNIT, power, SMALLEST_UNIT)


def _moved(shift: Array) -> float:
    """Bound the length of a move of the centre, of which a difference is known, rounded."""
    return norm(up(np.abs(shift)))


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Queries, one a column, scaled in float64 a few at a time, and how far their logits go.

    Attributes
    ----------
    q : (d, n) array
        As given.
    factors : (d, 1) array
        The unit of the keys; 0 in variables where no key differs from the centre.
    logit_bounds : (n,) array
        Bounds on |q_i . (k_j - centre)| over the keys: the least of |q_i| radius and of
        sum_l |q_il| max_j |k_jl - centre_l|.
    largest : float
        The largest of them.
    reach : float
        Bound on sum_l |q_il| |k_jl - centre_l| and on twice what |q| makes of the moves of the centre.
    farthest : float
        The largest scaled entry: far more than the logits where keys vary little in its variable.
    """

    q: Matrix
    factors: Array
    logit_bounds: Array
    largest: float
    reach: float
    farthest: float

    @classmethod
    def of(cls, q: Matrix, ranges: Ranges, moved: float = 0.0) -> Queries:
        """Take over the rows of q for keys of these ranges, whose centre has moved by ``moved``."""
        factors = np.where(ranges.half_ranges > 0, ranges.key_unit, 0.0)[:, None]
        queries = cls(
            q=np.ascontiguousarray(q.T),
            factors=factors,
            logit_bounds=np.empty(len(q)),
            largest=0.0,
            reach=0.0,
            farthest=0.0,
        )
        radius, half_ranges = ranges.radius / ranges.key_unit, ranges.half_ranges / ranges.key_unit
        longest = farthest = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for part in parts(len(q), CONVERTED):
                x = queries.scaled(part)
                lengths = up(np.sqrt(sum_above(np.einsum("ij,ij->j", x, x), len(x))))
                longest = max(longest, float(lengths.max()))
                box = sum_above(half_ranges @ np.abs(x, out=x), len(x))
                farthest = max(farthest, float(x.max()))
                np.fmin(up(lengths * radius), box, out=queries.logit_bounds[part])
            largest = float(queries.logit_bounds.max())
            reach = float(up(largest + 2 * up(longest * up(moved / ranges.key_unit))))
        return replace(queries, largest=largest, reach=reach, farthest=farthest)

    def within_range(self, degree: int) -> bool:
        """Whether monomials of that degree keep to the range that the certificate assumes."""
        return self.reach <= LARGEST_REACH and (
            self.farthest <= 1 or degree * log2(self.farthest) <= log2(LARGEST_POWER)
        )

    @property
    def count(self) -> int:
        """How many queries."""
        return len(self.q.T)

    def scaled(self, part: slice) -> Array:
        """Return q_i times the unit of the keys, of shape (d, b)."""
        return np.multiply(self.q[:, part], self.factors, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums of all monomials of keys about a centre, and what bounds the logits and the errors.

    Attributes
    ----------
    d, degree : int
        Number of variables; highest power.
    sums : (monomials, d_v + 1) array
        Of ((k_j - centre) / key_unit)^a [v_j, 1] / value_units.
    count : int
        How many keys.
    ranges : Ranges
        Of the keys and values.
    moved : float
        Bound on the length of all moves of the centre since the sums were taken.
    roundings : int
        Bound on the roundings that any term of the sums has passed through.
    """

    d: int
    degree: int
    sums: Array
    count: int
    ranges: Ranges
    moved: float
    roundings: int

    @classmethod
    def none(cls, d: int, d_v: int, degree: int) -> Moments:
        """Return the sums over no keys."""
        sums = np.zeros((monomials(d, degree).count, d_v + 1))
        return cls(
            d=d,
            degree=degree,
            sums=sums,
            count=0,
            ranges=Ranges.empty(d, d_v),
            moved=0.0,
            roundings=0,
        )

    @classmethod
    def of(cls, block: Block, degree: int, workers: int | None = None) -> Moments:
        """Return the sums over one block of keys; without ``workers`` BLAS is left as it is."""
        d, width = len(block.keys), len(block.values) + 1
        basis = monomials(d, degree)
        sums = np.zeros((basis.count, width))
        columns = block_columns(d, degree, width)
        every = parts(block.count, columns)

        def add_all() -> None:
            for part in every:
                basis.add(block.scaled_keys(part), block.weights(part), sums)

        if workers is None:
            add_all()
        elif workers == 1:
            run([add_all], workers)
        else:
            tasks = (partial(sums_of, basis, block.scaled_keys, block.weights, p) for p in every)
            for added in run_in_order(tasks, workers, waiting(workers, sums)):
                sums += added
        roundings = sum_roundings(degree, block.count, columns)
        return cls(
            d=d,
            degree=degree,
            sums=sums,
            count=block.count,
            ranges=block.ranges,
            moved=0.0,
            roundings=roundings,
        )

    def merged(self, other: Moments) -> Moments:
        """Return the sums over both sets of keys; both have one centre, degree and size."""
        ranges = self.ranges.merged(other.ranges)
        return replace(
            self,
            sums=self._in_units_of(ranges) + other._in_units_of(ranges),
            count=self.count + other.count,
            ranges=ranges,
            moved=max(self.moved, other.moved),
            roundings=max(self.roundings, other.roundings) + 1,
        )

    def _in_units_of(self, ranges: Ranges) -> Array:
        """Return the sums in larger units: products with powers of two, exact but for underflow."""
        powers = (self.ranges.key_unit / ranges.key_unit) ** np.arange(self.degree + 1)
        degrees = monomials(self.d, self.degree).degrees
        scaled: Array = self.sums * powers[degrees, None]
        scaled *= self.ranges.value_units / ranges.value_units
        return scaled

    def about(self, shift: Array) -> Moments:
        """Return the sums about a centre that lies ``shift`` further: P2.recentre.

        Cost: 2 d degree passes over the sums.
        """
        ranges = self.ranges.about(shift)
        sums = self._in_units_of(ranges)
        monomials(self.d, self.degree).translate(sums, shift / ranges.key_unit)
        return replace(
            self,
            sums=sums,
            ranges=ranges,
            moved=float(up(self.moved + _moved(shift))),
            # For each variable ``degree`` differences, each a product and a sum; shift was rounded.
            roundings=self.roundings + 3 * self.degree * self.d,
        )

    def attend(
        self,
        queries: Queries,
        polynomial: Polynomial,
        dtype: np.dtype[Any],
        workers: int | None = None,
    ) -> Certified:
        """Return polynomial attention of scaled queries, certified for softmax attention.

        Without ``workers`` BLAS is left as it is.
        """
        basis = monomials(self.d, self.degree)
        operators = basis.operators(polynomial.coefficients, self.sums)
        roundings = self.roundings + query_roundings(self.d, self.degree)
        result = Result(queries, polynomial, roundings, self.ranges.value_units, dtype)
        value_low, value_high = self.ranges.value_low[:, None], self.ranges.value_high[:, None]
        columns = block_columns(self.d, self.degree, self.sums.shape[1])

        def compute(rows: slice) -> None:
            totals = basis.evaluate(queries.scaled(rows), operators)
            result.put(rows, totals, self.count, value_low, value_high)

        tasks = [partial(compute, rows) for rows in parts(queries.count, columns)]
        for _ in run_in_order(tasks, workers, len(tasks)):
            pass
        return result.certified


def sums_of(
    basis: Monomials,
    keys: Callable[[slice], Array],
    weights: Callable[[slice], Array],
    part: slice,
) -> Array:
    """Return the sums over some keys alone."""
    scaled_keys, of_keys = keys(part), weights(part)
    sums = np.zeros((basis.count, len(of_keys)))
    basis.add(scaled_keys, of_keys, sums)
    return sums


def waiting(workers: int, sums: Array) -> int:
    """Return how many sums may wait to be added up in their order."""
    return min(4 * workers, HELD_BYTES // sums.nbytes)


def sum_roundings(degree: int, count: int, columns: int) -> int:
    """Bound the roundings that a term passes through when keys are summed, so many a block.

    Taking the centre off and multiplying (degree each), adding up a block, adding up the blocks.
    """
    return 2 * degree + min(count, columns) + -(-count // columns)


def query_roundings(d: int, degree: int) -> int:
    """Bound the roundings that a term passes through when a query is answered.

    The multinomial number (2 degree + 2), its products with coefficient and sum (2), the query's
    monomial and its two products (degree), the sums over head and tail; one more for all underflow.
    """
    return 3 * degree + 5 + summands(d, degree)


def rounding_bound(
    polynomial: Polynomial, reach: float, roundings: int, least: float, dtype: np.dtype[Any]
) -> float:
    """Bound what rounding adds to an error, relative to the largest value: FP.moments.

    ``least`` is a lower bound on the denominator, or its computed value, a key.
    """
    if not least > 0:
        return np.inf
    output = UNIT_ROUNDOFF + (ARITHMETIC["float32"]["unit_roundoff"] if dtype == np.float32 else 0)
    amplification = up(polynomial.absolute(reach) / least)
    return float(
        moments_output(1.0, roundings * UNIT_ROUNDOFF, amplification, 0.0, 1.0, output, 0.0)
    )


def certified_error(
    polynomial: Polynomial, queries: Queries, ranges: Ranges, roundings: int, dtype: np.dtype[Any]
) -> float:
    """Bound the error of any row before it is computed; inf where the weights may not be positive."""
    rounding = rounding_bound(polynomial, queries.reach, roundings, polynomial.lowest, dtype)
    # The computed denominator may be less than the true one by as much.
    least = float(down(polynomial.lowest * down(1 - rounding)))
    rounding = rounding_bound(polynomial, queries.reach, roundings, least, dtype)
    if not rounding <= 1:
        return np.inf
    spread, magnitude = float(ranges.spread.max()), float(ranges.magnitude.max())
    bound = up(up(polynomial.total_variation * spread) + up(magnitude * rounding))
    return float(up(bound + ARITHMETIC[dtype.name]["tiny"]))


class Result:
    """Outputs and their certificates, put together block by block."""

    def __init__(
        self,
        queries: Queries,
        polynomial: Polynomial,
        roundings: int,
        value_units: Array,
        dtype: np.dtype[Any],
    ) -> None:
        shape = (queries.count, len(value_units) - 1)
        self.certified = Certified(
            output=np.empty(shape, dtype), error_bound=np.empty(shape), claims=CLAIMS
        )
        self._queries, self._polynomial, self._roundings = queries, polynomial, roundings
        self._units, self._dtype = value_units[:-1, None], dtype

    def put(
        self, rows: slice, totals: Array, keys: int | Array, value_low: Array, value_high: Array
    ) -> None:
        """Set a block of rows.

        Parameters
        ----------
        rows : slice
            Which.
        totals : (d_v + 1, b) array
            Weighted sums of the values in their units, and of ones; divided in place.
        keys : int or (b,) array
            How many keys were summed.
        value_low, value_high : (d_v, 1) or (d_v, b) arrays
            Ranges of the values that were summed.
        """
        rounding = rounding_bound(
            self._polynomial,
            self._queries.reach,
            self._roundings,
            float(down(totals[-1] / keys).min()),
            self._dtype,
        )
        totals[:-1] /= totals[-1]
        totals[:-1] *= self._units
        # The truth lies in the range of the values: going there increases no error.
        output = totals[:-1].astype(self._dtype)
        np.clip(output, value_low.astype(self._dtype), value_high.astype(self._dtype), out=output)
        self.certified.output[rows] = output.T
        spread = up(value_high - value_low)
        # The rounding counted for underflow is one of the unit, which rows may see far too little of.
        magnitude = np.maximum(np.maximum(-value_low, value_high), LEAST_MAGNITUDE * self._units)
        logit_bounds = self._queries.logit_bounds[rows]
        bound = up(self._polynomial.total_variation_within(logit_bounds) * spread)
        bound = up(bound + up(up(magnitude * rounding) + ARITHMETIC[self._dtype.name]["tiny"]))
        np.minimum(bound, spread + DECIDABLE * self._units, out=bound)
        self.certified.error_bound[rows] = bound.T
