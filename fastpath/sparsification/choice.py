"""The choices behind a sparsification: which method, how many columns, and whether it is certified."""

from dataclasses import dataclass
from math import ceil, sqrt
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp

from fastpath.core.bounds.sparsification import bss_epsilon, jl_width, leverage_width, osnap_width
from fastpath.sparsification.feature_matrix import Features
from fastpath.sparsification.gram import PRODUCT, gram_seconds

#: The methods of each guarantee.
METHODS = {
    "exact": ("gram",),
    "loewner": ("gram", "gram-of-sketch", "osnap", "countsketch", "leverage"),
    "entrywise": ("gram", "jl"),
    "columns": ("caratheodory", "bss", "leverage"),
}

#: Oblivious sketches: the places in which they put each column.
SPARSITY = {"gram-of-sketch": 2, "osnap": 2, "countsketch": 1}

#: Methods that draw random numbers.
RANDOMISED = (*SPARSITY, "jl", "leverage")

#: Methods without any error but rounding.
WITHOUT_ERROR = ("gram", "caratheodory")

#: Seconds that OSNAP spends on a stored entry and that BSS spends on n⁴, on the scale of gram.PRODUCT.
SKETCH_ENTRY, BARRIERS = 1.8e-8, 1.0e-9

#: Carathéodory's cost grows like n⁶: 2 s at 32 rows, a minute at 64.
LARGEST_CARATHEODORY = 32

#: BSS is worth waiting this long for, or as long as ten Gram matrices.
PATIENCE = 10.0

#: Widths beyond any memory stand for all that are larger, up to infinity, and are refused as too wide.
WIDEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every choice of :func:`fastpath.sparsify`, checked and made; ``certified`` asks for a proof."""

    guarantee: str
    method: str
    epsilon: float | None
    failure_probability: float | None
    width: int | None
    certified: bool

    def first_width(self, n: int, rank: int, largest: int) -> int:
        """Return how many columns to begin with: by the claim where it must suffice, else by experience.

        Raises
        ------
        ValueError
            If the claim asks for more than the ``largest`` useful number.
        """
        places = SPARSITY.get(self.method, 1)
        if self.width is not None:
            width = self.width
        elif self.epsilon is None or self.method in WITHOUT_ERROR:
            width = largest
        elif self.method == "jl":
            width = _rounded_up(jl_width(n, self.epsilon, self.failure_probability or 0.5))
        elif self.method == "bss":
            width = _barrier_width(rank, self.epsilon)
        elif not self.certified:
            width = _rounded_up(osnap_width(n, self.epsilon, self.failure_probability))
        elif self.method == "leverage" and self.failure_probability is not None:
            width = _rounded_up(leverage_width(rank, self.epsilon, self.failure_probability, 2.0))
        else:
            # The squared singular values of a random k x m matrix end at (1 ± sqrt(k/m))².  The root is
            # written so that it is not rounded to 1 before 1 is taken off.
            ratio = (sqrt(1 + self.epsilon) + 1) / self.epsilon
            width = _rounded_up(rank * ratio * ratio)
        width = max(1, -(-width // places)) * places
        if width > largest:
            if self.method in ("bss", "leverage"):
                return largest
            raise ValueError(
                f"method={self.method!r} needs {'at least ' if width >= WIDEST else ''}{width} columns "
                f"for epsilon={self.epsilon}"
                f"{'' if self.certified else f', failure_probability={self.failure_probability}'}, more "
                f"than the {largest} that are useful: guarantee='exact' has no error with {rank}."
            )
        return width


def make_plan(
    X: Features,
    guarantee: str,
    epsilon: Any,
    failure_probability: Any,
    method: str,
    width: Any,
) -> Plan:
    """Check the choices of :func:`fastpath.sparsify` and make those that are left open.

    Raises
    ------
    TypeError, ValueError
        If a choice is not allowed, or does not go with another.
    """
    _check_member("guarantee", guarantee, tuple(METHODS))
    _check_member("method", method, ("auto", *METHODS[guarantee]))
    epsilon = _open_unit("epsilon", epsilon)
    failure_probability = _open_unit("failure_probability", failure_probability)
    width = _checked_width(width, X.shape[1])
    if method == "auto":
        method = _choose(X, guarantee, epsilon, failure_probability, width)
    exact = method in WITHOUT_ERROR
    if guarantee == "exact" and epsilon is not None:
        raise ValueError(
            f"epsilon must be left out for guarantee='exact', which errs by rounding only, got {epsilon}."
        )
    if exact and width is not None:
        raise ValueError(
            f"width must be left out for method={method!r}, which finds it from X, got {width}."
        )
    if not exact and epsilon is None and width is None:
        raise ValueError(
            f"guarantee={guarantee!r} needs epsilon or width for method={method!r} on {X.shape[0]} rows, "
            "got neither."
        )
    if failure_probability is not None:
        if method not in RANDOMISED and guarantee in ("exact", "columns"):
            raise ValueError(
                f"failure_probability must be left out for method={method!r}, which is deterministic, "
                f"got {failure_probability}."
            )
        if epsilon is None:
            raise ValueError("failure_probability needs epsilon: the error that may be exceeded.")
    # Where the claim alone vouches for a sketch, its width must be the claim's.
    certified = (
        failure_probability is None
        or method not in SPARSITY
        or width is not None
        or gram_seconds(X) <= _sketch_seconds(X)
    )
    return Plan(
        guarantee=guarantee,
        method=method,
        epsilon=epsilon,
        failure_probability=failure_probability,
        width=width,
        certified=certified,
    )


def _choose(
    X: Features,
    guarantee: str,
    epsilon: float | None,
    failure_probability: float | None,
    width: int | None,
) -> str:
    """Choose a method by its cost, in the order of preference that :func:`fastpath.sparsify` states."""
    n, d = X.shape
    if guarantee == "exact":
        return "gram"
    if guarantee == "loewner":
        if width is not None:
            return "osnap"
        if epsilon is None or failure_probability is None:
            return "gram"
        needed = float(osnap_width(n, epsilon, failure_probability))
        sketch = _sketch_seconds(X) + PRODUCT * n * n * needed
        return "gram-of-sketch" if needed < d and sketch < gram_seconds(X) else "gram"
    if guarantee == "entrywise":
        if width is not None:
            return "jl"
        needed = n if epsilon is None else float(jl_width(n, epsilon, failure_probability or 0.5))
        return "jl" if needed < min(n, d) else "gram"
    if epsilon is None and width is None and n <= LARGEST_CARATHEODORY:
        return "caratheodory"
    if failure_probability is not None:
        return "leverage"
    oversampling = (
        width / n if width is not None else _barrier_width(n, epsilon) / n if epsilon else 1.0
    )
    barriers = BARRIERS * oversampling * float(n) ** 4
    return "bss" if barriers <= max(PATIENCE, 10 * gram_seconds(X)) else "leverage"


def _sketch_seconds(X: Features) -> float:
    return SKETCH_ENTRY * float(X.nnz if sp.issparse(X) else X.size)


def _barrier_width(rank: int, epsilon: float) -> int:
    """Return the least m with 2 sqrt(q)/(q + 1) <= epsilon, q = m/rank."""
    rank = max(rank, 1)
    root = (1 + sqrt(1 - epsilon**2)) / epsilon
    width = max(rank + 1, _rounded_up(rank * root * root))
    # What rounding left out is less than 2^-48 of the width, so that this takes a step or two.
    while width < WIDEST and float(bss_epsilon(width / rank)) > epsilon:
        width += max(1, width >> 48)
    return width


def _rounded_up(value: Any) -> int:
    """Return the integer at or above a width, WIDEST where no memory holds it."""
    return ceil(value) if value < WIDEST else WIDEST


def _check_member(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")


def _open_unit(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number or None, got {value!r}.")
    # As it is, which float may not hold, and as a float, which may round to 0 or 1.
    given: Any = value
    if not (0 < given < 1 and 0 < float(given) < 1):
        raise ValueError(f"{name} must be in (0, 1), got {value!r}.")
    return float(value)


def _checked_width(width: Any, columns: int) -> int | None:
    if width is None:
        return None
    if isinstance(width, (bool, np.bool_)) or not isinstance(width, Integral):
        raise TypeError(f"width must be an integer or None, got {width!r}.")
    if not 1 <= int(width) <= columns:
        raise ValueError(f"width must be in [1, {columns}], the columns of X, got {width}.")
    return int(width)
