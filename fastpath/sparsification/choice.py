"""The ways to fewer columns: which suit what was asked, what each takes, and how many columns it keeps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from fastpath.core.bounds.sparsification import bss_epsilon, jl_width, leverage_width, osnap_width
from fastpath.core.costs import BARRIERS, SKETCHED_ENTRY, SYMMETRIC_PRODUCT, UNIT
from fastpath.core.offers import Offer, Refusal
from fastpath.sparsification.feature_matrix import FeatureMatrix
from fastpath.sparsification.gram import gram_cost

Answer = TypeVar("Answer")

#: In which sense Y is close, and by which method: ``METHODS`` says which go together.
Guarantee: TypeAlias = Literal["exact", "loewner", "entrywise", "columns"]
Method: TypeAlias = Literal[
    "auto",
    "gram",
    "gram-of-sketch",
    "osnap",
    "countsketch",
    "leverage",
    "jl",
    "bss",
    "caratheodory",
]

#: The methods of each guarantee.
METHODS = {
    "exact": ("gram",),
    "loewner": ("gram", "gram-of-sketch", "osnap", "countsketch", "leverage"),
    "entrywise": ("gram", "jl"),
    "columns": ("caratheodory", "bss", "leverage"),
}

#: Those that ``"auto"`` asks for an offer, in the order in which it prefers them.
ASKED = METHODS | {"loewner": ("gram", "gram-of-sketch", "osnap")}

#: Oblivious sketches: the places in which they put each column.
SPARSITY = {"gram-of-sketch": 2, "osnap": 2, "countsketch": 1}

#: Methods that draw random numbers.
RANDOMISED = (*SPARSITY, "jl", "leverage")

#: Methods without any error but rounding.
WITHOUT_ERROR = ("gram", "caratheodory")

#: Carathéodory's cost grows like n⁶: 2 s at 32 rows, a minute at 64.
LARGEST_CARATHEODORY = 32

#: BSS is worth waiting this long for, ten seconds, or as long as ten Gram matrices.
PATIENCE = 10 / UNIT

#: Widths beyond any memory stand for all that are larger, up to infinity, and are refused as too wide.
WIDEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What :func:`fastpath.sparsify` was asked for, checked."""

    guarantee: str
    method: str
    epsilon: float | None
    failure_probability: float | None
    width: int | None

    @classmethod
    def of(
        cls,
        X: FeatureMatrix,
        guarantee: str,
        epsilon: Any,
        failure_probability: Any,
        method: str,
        width: Any,
    ) -> "Asked":
        """Check what was asked for.

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
        if guarantee == "exact" and epsilon is not None:
            raise ValueError(
                "epsilon must be left out for guarantee='exact', which errs by rounding only, got "
                f"{epsilon}."
            )
        return cls(
            guarantee=guarantee,
            method=method,
            epsilon=epsilon,
            failure_probability=failure_probability,
            width=width,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One way to what was asked for; ``certified`` asks for a proof."""

    guarantee: str
    method: str
    epsilon: float | None
    failure_probability: float | None
    width: int | None
    certified: bool

    def first_width(self, n: int, rank: int, largest: int) -> int | Refusal:
        """Return how many columns to begin with: by the claim where it must suffice, else by experience.

        Refuse where the claim asks for more than the ``largest`` useful number.
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
            return Refusal(
                reason=f"method={self.method!r} needs {'at least ' if width >= WIDEST else ''}{width} "
                f"columns for epsilon={self.epsilon}"
                f"{'' if self.certified else f', failure_probability={self.failure_probability}'}, more "
                f"than the {largest} that are useful: guarantee='exact' has no error with {rank}"
            )
        return width


def ways(
    X: FeatureMatrix, asked: Asked, take: Callable[[Plan], Answer | Refusal]
) -> list[Offer[Answer] | Refusal]:
    """Ask every method that may serve for an offer; ``take`` carries a plan out."""
    methods = ASKED[asked.guarantee] if asked.method == "auto" else (asked.method,)
    return [_way(X, asked, method, take) for method in methods]


def _way(
    X: FeatureMatrix, asked: Asked, method: str, take: Callable[[Plan], Answer | Refusal]
) -> Offer[Answer] | Refusal:
    refusal = _unfit(X, asked, method)
    if refusal is None and asked.method == "auto":
        refusal = _UNSUITED[method](X, asked)
    if refusal is not None:
        return refusal
    plan = Plan(
        guarantee=asked.guarantee,
        method=method,
        epsilon=asked.epsilon,
        failure_probability=asked.failure_probability,
        width=asked.width,
        # Where the claim alone vouches for a sketch, its width must be the claim's.
        certified=asked.failure_probability is None
        or method not in SPARSITY
        or asked.width is not None
        or gram_cost(X) <= sketch_cost(X),
    )
    return Offer(
        way=method,
        cost=_cost(X, asked, method),
        certifies="the Loewner order" if asked.guarantee != "entrywise" else "every entry",
        take=partial(take, plan),
    )


def _unfit(X: FeatureMatrix, asked: Asked, method: str) -> Refusal | None:
    """Refuse a method that cannot do what was asked."""
    if asked.failure_probability is not None:
        if method not in RANDOMISED and asked.guarantee in ("exact", "columns"):
            return Refusal(
                reason=f"failure_probability must be left out for method={method!r}, which is "
                f"deterministic, got {asked.failure_probability}"
            )
        if asked.epsilon is None:
            return Refusal(
                reason="failure_probability needs epsilon: the error that may be exceeded"
            )
    if method in WITHOUT_ERROR:
        if asked.width is not None:
            return Refusal(
                reason=f"width must be left out for method={method!r}, which finds it from X, got "
                f"{asked.width}"
            )
    elif asked.epsilon is None and asked.width is None:
        return Refusal(
            reason=f"guarantee={asked.guarantee!r} needs epsilon or width for method={method!r} on "
            f"{X.shape[0]} rows, got neither"
        )
    return None


def _gram_unsuited(X: FeatureMatrix, asked: Asked) -> Refusal | None:
    if asked.guarantee == "entrywise" and asked.epsilon is not None:
        needed = _projected_width(X, asked.epsilon, asked.failure_probability)
        if needed < min(X.shape):
            return Refusal(
                reason="the factor of the Gram matrix has more columns than a projection"
            )
    return None


def _gram_of_sketch_unsuited(X: FeatureMatrix, asked: Asked) -> Refusal | None:
    if asked.width is not None or asked.epsilon is None or asked.failure_probability is None:
        return Refusal(
            reason="a sketch saves nothing of X Xᵀ without epsilon and a failure probability"
        )
    needed = float(osnap_width(X.shape[0], asked.epsilon, asked.failure_probability))
    if needed < X.shape[1]:
        return None
    return Refusal(reason=f"a sketch would need {needed:.3g} columns, no fewer than X has")


def _osnap_unsuited(X: FeatureMatrix, asked: Asked) -> Refusal | None:
    if asked.width is not None:
        return None
    return Refusal(reason="a sketch has more columns than the factor of the Gram matrix")


def _jl_unsuited(X: FeatureMatrix, asked: Asked) -> Refusal | None:
    if asked.width is not None or asked.epsilon is None:
        return None
    needed = _projected_width(X, asked.epsilon, asked.failure_probability)
    if needed < min(X.shape):
        return None
    return Refusal(reason=f"a projection would need {needed:.3g} columns")


def _caratheodory_unsuited(X: FeatureMatrix, asked: Asked) -> Refusal | None:
    if X.shape[0] <= LARGEST_CARATHEODORY:
        if asked.epsilon is None or _fewer_without_error(X, asked.epsilon):
            return None
        return Refusal(reason="columns without error are more than epsilon asks for")
    return Refusal(
        reason=f"columns without error take n⁶ steps, too many for {X.shape[0]} rows: "
        f"{LARGEST_CARATHEODORY} at most, unless asked for by name"
    )


def _fewer_without_error(X: FeatureMatrix, epsilon: float) -> bool:
    """Whether Carathéodory keeps fewer columns than the others do for epsilon, whatever the rank."""
    n, d = X.shape
    return n * (n + 1) // 2 < min(d, _barrier_width(n, epsilon))


def _bss_unsuited(X: FeatureMatrix, asked: Asked) -> Refusal | None:
    cost, most = _cost(X, asked, "bss"), max(PATIENCE, 10 * gram_cost(X))
    if cost <= most:
        return None
    return Refusal(
        reason=f"BSS would take some {cost * UNIT:.3g} s, and {most * UNIT:.3g} s are worth it"
    )


def _leverage_unsuited(X: FeatureMatrix, asked: Asked) -> Refusal | None:
    if asked.failure_probability is not None or _bss_unsuited(X, asked):
        return None
    return Refusal(reason="sampling by leverage keeps more columns than BSS, which is affordable")


#: Why ``"auto"`` does not take a method that could do what was asked.
_UNSUITED: dict[str, Callable[[FeatureMatrix, Asked], Refusal | None]] = {
    "gram": _gram_unsuited,
    "gram-of-sketch": _gram_of_sketch_unsuited,
    "osnap": _osnap_unsuited,
    "jl": _jl_unsuited,
    "caratheodory": _caratheodory_unsuited,
    "bss": _bss_unsuited,
    "leverage": _leverage_unsuited,
}


def _cost(X: FeatureMatrix, asked: Asked, method: str) -> float:
    """Predict what a method takes until Y stands (``fastpath.core.costs``).

    What all take alike is left out: factorisations of n x n, and the certificate.
    """
    n = X.shape[0]
    if method == "caratheodory":
        return (
            0.0  # where it is suited it is tried first, whatever it takes: others keep more columns
        )
    if method == "bss":
        width = asked.width or (_barrier_width(n, asked.epsilon) if asked.epsilon else n)
        return float(BARRIERS * (width / n) * float(n) ** 4)
    if method in SPARSITY:
        cost = sketch_cost(X) * SPARSITY[method] / SPARSITY["osnap"]
        if method != "gram-of-sketch":
            return cost
        needed = asked.width or osnap_width(n, asked.epsilon, asked.failure_probability or 0.5)
        return float(cost + SYMMETRIC_PRODUCT * n * n * needed)
    return gram_cost(X)


def sketch_cost(X: FeatureMatrix) -> float:
    """Predict what OSNAP takes."""
    return SKETCHED_ENTRY * X.stored


def _projected_width(X: FeatureMatrix, epsilon: float, failure_probability: float | None) -> float:
    return float(jl_width(X.shape[0], epsilon, failure_probability or 0.5))


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
