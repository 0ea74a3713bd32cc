r"""Halving a set of keys and values by a walk that balances itself, and what that can do to any query.

Near keys are paired, and of each pair one goes and the other takes its weight.  Which one is drawn by a
self-balancing walk (Alweiss, Liu and Sawhney 2021) on the features of e^{q·k}(v, 1), as BalanceKV does;
then pairs are turned around while that makes the whole lighter.  What is lost has, in each degree m of the
series of e^{q·x} and each column, a length that the Gram matrix of the halved keys gives (I.discrepancy),
and lengths add up: a few numbers bound what any number of halvings did, to every query.

Lengths depend on coordinates.  Keys are taken from a centre, turned, and divided by powers of two by which
queries are multiplied, so that neither side is long where the other is (as R.balance does).  Which
coordinates, which pairs and which signs decide how tight a bound is; that it holds depends on none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.decoding import (
    box_slack,
    gram_sum,
    power_discrepancy,
    series_discrepancy,
)
from fastpath.core.bounds.softmax import rounding_logit
from fastpath.core.directed import UNIT_ROUNDOFF, above, library_up, up
from fastpath.core.inputs import Array
from fastpath.core.norms import TINY, lengths, longest_row, norm, sum_above
from fastpath.decoding.boxes import Rotation

CLAIMS = ("I.discrepancy", "I.coreset", "I.box", "FP.discrepancy", "FP.product", "FP.sum")

#: The degrees that are told apart; what is beyond is bounded key by key.
DEGREES = 20

#: Powers of two that coordinates are divided by.
LARGEST_EXPONENT = 40

#: The length that keys have on average in coordinates chosen without queries: about that of both sides on
#: heads whose logits spread by one.
USUAL_LENGTH = 2.0

#: A sign is drawn in proportion to how far the walk has gone, up to so many times the longest step.
LONGEST_WALK = 2.0

#: How often all pairs are looked at again; most walks need five.
SWEEPS = 10


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Coordinates: a centre, a matrix near a rotation, and powers of two.

    Attributes
    ----------
    centre : float64 array, shape (d,)
    rotation : Rotation
    exponents : array of integers, shape (d,)
        Images of keys are divided by 2 to these, and those of queries multiplied.
    """

    centre: Array
    rotation: Rotation
    exponents: NDArray[np.int64]

    @classmethod
    def of(cls, k: Array, asked: Array | None) -> Self:
        """Choose coordinates in which keys, and queries of these second moments, spread alike."""
        d = k.shape[1]
        plain = cls(
            centre=np.zeros(d), rotation=Rotation(np.eye(d)), exponents=np.zeros(d, np.int64)
        )
        with np.errstate(all="ignore"):
            centre = (k / len(k)).sum(axis=0)
            keys = moments(k - centre)
            queries = np.eye(d) if asked is None else asked
            sizes = np.trace(keys), np.trace(queries)
            if not np.isfinite(sizes).all():
                return plain
            # Scaled, neither overflows.
            keys, queries = keys / sizes[0], queries / sizes[1]
            root, inverse = _power(queries, 0.5), _power(queries, -0.5)
            between = inverse @ _power(root @ keys @ root, 0.5) @ inverse
            stretch, axes = np.linalg.eigh(between)
            logarithms = np.log2(np.maximum(stretch, 1e-300)) / 2
            logarithms += (np.log2(sizes[0]) - np.log2(sizes[1])) / 4
            found = cls(
                centre=centre,
                # Numbers of float32, which take half as many bytes: it need not be a rotation.
                rotation=Rotation(axes.astype(np.float32).astype(np.float64)),
                exponents=_within_reach(np.round(logarithms)),
            )
            if asked is None:
                usual = np.sqrt((found.keys(k) ** 2).sum(axis=1).mean())
                more = np.round(np.log2(usual / USUAL_LENGTH)) if usual > 0 else 0.0
                found = replace(found, exponents=_within_reach(found.exponents + more))
        return found

    def keys(self, k: Array) -> Array:
        """Return keys in these coordinates, as computed."""
        # Exact, but for subnormal numbers: 2^-1034 at most, far less than what FP.product counts.
        images: Array = np.ldexp((k - self.centre) @ self.rotation.matrix, -self.exponents)
        return images

    def queries(self, q: Array) -> tuple[Array, Array]:
        """Return images of queries before they are multiplied by powers of two, and after."""
        images = q @ self.rotation.matrix
        return images, np.ldexp(images, self.exponents)


def _within_reach(exponents: Array) -> NDArray[np.int64]:
    limited: NDArray[np.int64] = np.clip(
        np.nan_to_num(exponents), -LARGEST_EXPONENT, LARGEST_EXPONENT
    ).astype(np.int64)
    return limited


def moments(x: Array) -> Array:
    """Return the second moments of rows, a little more than they are: none is 0."""
    with np.errstate(all="ignore"):
        second = x.T @ x / len(x)
        more = 1e-3 * np.trace(second) / len(second)
        found: Array = second + (more if more > 0 else 1.0) * np.eye(len(second))
    return found


def _power(matrix: Array, exponent: float) -> Array:
    values, axes = np.linalg.eigh(matrix)
    found: Array = (axes * np.maximum(values, 1e-300) ** exponent) @ axes.T
    return found


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What all halvings in one frame can have done.

    Attributes
    ----------
    frame : Frame
    norms : float64 array, shape (DEGREES + 1, d_v + 1)
        By degree and column, the last column for the denominator: at least the length of what is missing.
    masses : float64 array, shape (d_v + 1,)
        At least the sum of magnitudes of what was taken and given.
    longest_image, longest_turned, longest_key : float
        No halved key is longer in the frame's coordinates, before powers of two, and from the centre.
    """

    frame: Frame
    norms: Array
    masses: Array
    longest_image: float
    longest_turned: float
    longest_key: float

    @classmethod
    def empty(cls, frame: Frame, columns: int) -> Self:
        """Return that of no halving."""
        return cls(
            frame=frame,
            norms=np.zeros((DEGREES + 1, columns + 1)),
            masses=np.zeros(columns + 1),
            longest_image=0.0,
            longest_turned=0.0,
            longest_key=0.0,
        )

    def after(self, k: Array, v: Array, signs: Array, level: int) -> Self:
        """Return that after keys of weight 2^level were taken (sign 1), or doubled (sign -1)."""
        x = self.frame.keys(k)
        weights, units = _in_units(v)
        with np.errstate(all="ignore"):
            norms = _norms(x, weights, signs)
            units = units + level
            magnitudes = sum_above(np.abs(weights).sum(axis=0), len(k))
            found = replace(
                self,
                norms=_finite_or_infinite(up(self.norms + up(np.ldexp(norms, units)))),
                masses=_finite_or_infinite(up(self.masses + up(np.ldexp(magnitudes, units)))),
                longest_image=max(self.longest_image, longest_row(x)),
                longest_turned=max(
                    self.longest_turned, longest_row(np.ldexp(x, self.frame.exponents))
                ),
                longest_key=max(self.longest_key, longest_row(up(np.abs(k - self.frame.centre)))),
            )
        return found

    def missing(self, q: Array, logarithm: Array) -> Array:
        """Bound what a query's numerators and denominator lack, over e^logarithm; NaN says nothing."""
        frame, d = self.frame, q.shape[1]
        images, stretched = frame.queries(q)
        with np.errstate(all="ignore"):
            length, image_length = longest_row(q), longest_row(images)
            slack = box_slack(
                # Of the subtraction of the centre.
                up(length * up(2 * UNIT_ROUNDOFF * self.longest_key)),
                frame.rotation.defect,
                length,
                self.longest_key,
                image_length,
                frame.rotation.image_error(self.longest_key),
                frame.rotation.image_error(length),
                self.longest_turned,
            )
            sizes = lengths(stretched)[:, None]
            powers = np.zeros((len(q), self.norms.shape[1]))
            for degree in range(DEGREES + 1):
                powers = up(powers + power_discrepancy(sizes, self.norms[degree], degree))
            whole = series_discrepancy(
                powers, self.masses, up(sizes * self.longest_image), DEGREES, slack
            )
            centre_error = rounding_logit(
                d, UNIT_ROUNDOFF, up(lengths(q) * norm(frame.centre)), TINY
            )
            exponent = above(above(above(q @ frame.centre) + centre_error) - logarithm)
            factor = library_up(np.exp(exponent))
            found: Array = up(whole * factor[:, None])
        return found


def _finite_or_infinite(x: Array) -> Array:
    found: Array = np.where(np.isfinite(x), x, np.inf)
    return found


def _in_units(v: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return values and a column of ones, each at most 1 in units of powers of two, and the powers."""
    with_ones = np.concatenate([v, np.ones((len(v), 1))], axis=1)
    units = np.frexp(np.abs(with_ones).max(axis=0))[1].astype(np.int64)
    return np.ldexp(with_ones, -units), units


def _norms(x: Array, weights: Array, signs: Array) -> Array:
    """Bound the length of what weights of these signs lack, by degree and column (FP.discrepancy)."""
    n, d = x.shape
    signed = signs[:, None] * weights
    products, sizes = x @ x.T, lengths(x)
    longest = max(1.0, float(sizes.max()))
    powers, powers_of_sizes, largest = np.ones_like(products), np.ones(n), 1.0
    norms = np.empty((DEGREES + 1, weights.shape[1]))
    for degree in range(DEGREES + 1):
        if degree:
            powers *= products
            powers_of_sizes = up(powers_of_sizes * sizes)
            largest = up(largest * up(longest * longest))
        computed = ((powers @ signed) * signed).sum(axis=0)
        magnitude = sum_above(powers_of_sizes @ np.abs(weights), n)
        roundings = degree * (d + 1) + 2 * n + 2
        # Each product may lose TINY, and is multiplied by what is at most ``largest``.
        underflow = up(up(float(roundings * n) * n * largest) * TINY)
        squares = gram_sum(
            np.maximum(computed, 0), up(roundings * UNIT_ROUNDOFF), magnitude, underflow
        )
        norms[degree] = up(np.sqrt(squares))
    return norms


def halved(x: Array, v: Array, rng: np.random.Generator) -> Array:
    """Return which of an even number of keys go (1), and which take the weight of one (-1)."""
    kernel = _kernel(x, v)
    first, second = _pairs(kernel)
    steps = (
        kernel[np.ix_(first, first)]
        - kernel[np.ix_(first, second)]
        - kernel[np.ix_(second, first)]
        + kernel[np.ix_(second, second)]
    )
    chosen = _walk(steps, rng)
    signs = np.empty(len(x))
    signs[first], signs[second] = chosen, -chosen
    return signs


def _kernel(x: Array, v: Array) -> Array:
    """Return products of the features of keys and values, up to a factor."""
    weights, _ = _in_units(v)
    values = weights[:, :-1]
    usual = np.square(values).sum(axis=1).mean()
    with np.errstate(all="ignore"):
        exponents = x @ x.T
        kernel = np.exp(exponents - np.diagonal(exponents).max())
        kernel *= values @ values.T / (usual if usual > 0 else 1.0) + 1
    known: Array = np.nan_to_num(kernel, nan=0.0, posinf=0.0)
    return known


def _pairs(kernel: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair each key, the longest first, with the nearest that has none."""
    size = np.diagonal(kernel)
    distances = size[None] - 2 * kernel  # up to the key's own size
    free = np.ones(len(kernel), bool)
    first, second = [], []
    for i in np.argsort(-size, kind="stable"):
        if free[i]:
            free[i] = False
            j = int(np.argmin(np.where(free, distances[i], np.inf)))
            free[j] = False
            first.append(i)
            second.append(j)
    return np.array(first), np.array(second)


def _walk(steps: Array, rng: np.random.Generator) -> Array:
    """Draw a sign for each step, against where the walk has gone, and turn signs while that shortens it."""
    size = np.diagonal(steps)
    limit = LONGEST_WALK * max(float(size.max()), 1e-300)
    signs, along = np.empty(len(steps)), np.zeros(len(steps))
    for i, drawn in enumerate(rng.random(len(steps))):
        signs[i] = 1.0 if drawn < 0.5 - along[i] / (2 * limit) else -1.0
        along += signs[i] * steps[i]
    for _ in range(SWEEPS):
        turned = False
        for i in range(len(steps)):
            if signs[i] * along[i] > size[i] * (1 + 1e-9):
                signs[i] = -signs[i]
                along += 2 * signs[i] * steps[i]
                turned = True
        if not turned:
            break
    return signs
