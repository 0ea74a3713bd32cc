"""Replacing X by a narrower Y: how far attention moves, and how far the Gram matrices lie apart.

    A(X) = D⁻¹ exp(X Xᵀ),   G = X Xᵀ,   H = Y Yᵀ,   (1 − ε) G ⪯ H ⪯ (1 + ε) G.

Distances of A(Y) from A(X) are enclosed.  Everything about G and H is decided: floats are rational
numbers, so are their Gram matrices, and a rational matrix is semidefinite or it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import ratios
from reference.arithmetic.gram import gram, gram_rank, semidefinite
from reference.arithmetic.verdict import Verdict
from reference.attention import weights

__all__ = [
    "Distance",
    "attention_matrices",
    "barrier_selection",
    "distance",
    "loewner_epsilon",
    "loewner_interval",
    "loewner_verdict",
]


class Distance(NamedTuple):
    """How far two attention matrices lie apart, in the two norms that ‖·‖_∞ may mean.

    Attributes
    ----------
    entry : Enclosure of shape ()
        max_ij |a_ij − b_ij|.
    row : Enclosure of shape ()
        max_i Σ_j |a_ij − b_ij|, which is the norm that ‖·‖_∞ induces.
    """

    entry: Enclosure
    row: Enclosure


def attention_matrices(X: Any, Y: Any, *, precision: int = 128) -> tuple[Enclosure, Enclosure]:
    """Enclose D⁻¹ exp(X Xᵀ) and D⁻¹ exp(Y Yᵀ).

    Parameters
    ----------
    X, Y : (n, d) and (n, m) array_like
        Floats or integers, taken as exact.
    precision : int
        Bits of the weights, at least 16.

    Returns
    -------
    Two enclosures of shape (n, n)

    Raises
    ------
    TypeError, ValueError
        As :func:`reference.weights`, or if X and Y differ in their number of rows.
    """
    if np.shape(X)[:1] != np.shape(Y)[:1]:
        raise ValueError(
            f"X and Y must have equally many rows, got shapes {np.shape(X)} and {np.shape(Y)}."
        )
    return weights(X, X, precision=precision), weights(Y, Y, precision=precision)


def distance(X: Any, Y: Any, *, precision: int = 128) -> Distance:
    """Enclose how far the attention matrix of Y is from that of X, entrywise and in row sums.

    Parameters and errors are those of :func:`attention_matrices`.
    """
    of_x, of_y = attention_matrices(X, Y, precision=precision)
    gap = abs(of_x - of_y)
    return Distance(gap.max(), gap.sum(axis=1).max())


# ------------------------------------------------------------------------------ Loewner's order


def loewner_verdict(X: Any, Y: Any, epsilon: Any, *, weights: Any = None) -> Verdict:
    """Decide (1 − ε) X Xᵀ ⪯ Y diag(w) Yᵀ ⪯ (1 + ε) X Xᵀ, in exact rational arithmetic.

    Parameters
    ----------
    X, Y : (n, d) and (n, m) array_like
        Floats, integers or Fractions; n at most 128; d or m may be 0.  Any rank.
    epsilon : float, int or Fraction
        At least 0.
    weights : (m,) array_like, optional
        Nonnegative weights of Y's columns; 1 by default.

    Returns
    -------
    Verdict
        WITHIN or OUTSIDE; never UNDECIDED.

    Raises
    ------
    TypeError, ValueError
        As :func:`gram`; if X and Y differ in their number of rows; if epsilon is negative or NaN.

    Notes
    -----
    Cost: two eliminations of order n, n³/3 products of integers that grow to n times the bits of
    G.  Doubling n multiplies the time by about twenty; n = 64 takes seconds.
    """
    G, H = gram(X), gram(Y, weights, name="Y")
    if G.shape != H.shape:
        raise ValueError(f"X and Y must have equally many rows, got {len(G)} and {len(H)}.")
    e = _exact(epsilon, "epsilon")
    if e < 0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}.")
    within = semidefinite(H - (1 - e) * G) and semidefinite((1 + e) * G - H)
    return Verdict.WITHIN if within else Verdict.OUTSIDE


def loewner_interval(
    X: Any, Y: Any, *, weights: Any = None, width: Any = Fraction(1, 1 << 20)
) -> tuple[Enclosure, Enclosure] | None:
    """Enclose the largest a and the least b with  a X Xᵀ ⪯ Y diag(w) Yᵀ ⪯ b X Xᵀ.

    These are the extreme generalized eigenvalues of the pair on the range of X.

    Parameters
    ----------
    X, Y, weights
        As in :func:`loewner_verdict`; X not zero.
    width : float or Fraction
        Each enclosure is at most this wide.

    Returns
    -------
    Two enclosures of shape (), or None
        None if there is no b: Y has a direction that X has not.

    Raises
    ------
    TypeError, ValueError
        As :func:`loewner_verdict`; if X is zero or the width is not positive.

    Notes
    -----
    Cost: about 2 log₂(b / width) eliminations.  An eigenvalue is a root of a polynomial, not a
    rational number; whether one lies below a rational number is decided exactly.
    """
    G, H = gram(X), gram(Y, weights, name="Y")
    if G.shape != H.shape:
        raise ValueError(f"X and Y must have equally many rows, got {len(G)} and {len(H)}.")
    width = _exact(width, "width")
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}.")
    if not G.any():
        raise ValueError("X must not be zero: every a and every b would do.")
    # A direction in the range of H and not in that of G is one more for the two together.
    used = slice(None) if weights is None else np.asarray(weights) > 0
    both = np.hstack([np.asarray(X, object), np.asarray(Y, object)[:, used]])
    if gram_rank(both) > gram_rank(X):
        return None
    top = Fraction(1)
    while not semidefinite(top * G - H):
        top *= 2
    least = _bisect(lambda t: semidefinite(t * G - H), top, width)
    largest = _bisect(lambda t: not semidefinite(H - t * G), 2 * top, width)
    return _between(*largest), _between(*least)


def loewner_epsilon(
    X: Any, Y: Any, *, weights: Any = None, width: Any = Fraction(1, 1 << 20)
) -> Enclosure | None:
    """Enclose the least ε with (1 − ε) X Xᵀ ⪯ Y diag(w) Yᵀ ⪯ (1 + ε) X Xᵀ; None if there is none.

    Parameters, errors and cost are those of :func:`loewner_interval`.
    """
    interval = loewner_interval(X, Y, weights=weights, width=width)
    if interval is None:
        return None
    a, b = interval
    return (1 - a).maximum(b - 1)


def barrier_selection(X: Any, count: int) -> tuple[list[int], list[float]]:
    """Select columns of X, reweighted so that they have nearly its Gram matrix, by the two barriers.

    Batson, Spielman and Srivastava (SIAM Journal on Computing 41(6), 2012): in the basis in which the Gram
    matrix is I, each of ``count`` steps moves a lower and an upper barrier and adds the column for
    which there is most room between what the two allow.

    Parameters
    ----------
    X : (n, d) array_like
        Not zero.
    count : int
        More than the rank of X.

    Returns
    -------
    The selected columns, some of them more than once, and their weights

    Notes
    -----
    In floating point: what was selected is any selection, and :func:`loewner_epsilon` says exactly how good.
    Cost: count · (k³ + d k²), k the rank.
    """
    X = np.asarray(X, float)
    _, singular, right = np.linalg.svd(X, full_matrices=False)
    V = right[singular > singular[0] * 1e-9]
    k = len(V)
    root = float(np.sqrt(count / k))
    low, high, pace = -root * k, (root**2 + root) * k / (root - 1), (root + 1) / (root - 1)
    A, columns, weights = np.zeros((k, k)), [], []
    for _ in range(count):
        above, below = (high + pace) * np.eye(k) - A, A - (low + 1) * np.eye(k)
        old_above, old_below = high * np.eye(k) - A, A - low * np.eye(k)
        room = {}
        for name, new, old in (("upper", above, old_above), ("lower", below, old_below)):
            inverse = np.linalg.inv(new)
            gap = abs(np.trace(inverse) - np.trace(np.linalg.inv(old)))
            once, twice = np.sum(V * (inverse @ V), 0), np.sum((inverse @ V) ** 2, 0)
            room[name] = twice / gap + (once if name == "upper" else -once)
        best = int(np.argmax(room["lower"] - room["upper"]))
        weight = 2 / float(room["lower"][best] + room["upper"][best])
        columns.append(best)
        weights.append(weight)
        A += weight * np.multiply.outer(V[:, best], V[:, best])
        low, high = low + 1, high + pace
    ends = np.linalg.eigvalsh(A)
    return columns, [2 * w / float(ends[0] + ends[-1]) for w in weights]


def _bisect(
    reached: Callable[[Fraction], bool], top: Fraction, width: Fraction
) -> tuple[Fraction, Fraction]:
    """Return the ends of an interval that holds the least t in [0, top] at which it is reached."""
    low, high = Fraction(0), top
    while high - low > width:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return low, high


def _between(low: Fraction, high: Fraction) -> Enclosure:
    """Enclose a number between two binary fractions."""
    ends = Enclosure.exact([low + high, high - low])
    return Enclosure(ends.mid[0], int(ends.mid[1]), ends.bits + 1)


def _exact(value: Any, name: str) -> Fraction:
    numerators, denominators = ratios(value, name)
    if numerators.shape != ():
        raise ValueError(f"{name} must be one number, got shape {numerators.shape}.")
    return Fraction(numerators.item(), denominators.item())
