"""One head of attention, and all heads of an array: what is computed of each, and which keys it sees.

o_i = Σ_j e^(s_ij) v_j / (Σ_j e^(s_ij) + e^(sink)),   over the keys j that query i sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import as_objects, entries
from reference.scores import scores
from reference.visibility import visible

__all__ = ["Head", "arranged", "checked_precision", "head_shape", "heads", "lifted"]

LEAST_PRECISION = 16

Seen = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Head:
    """One head: its matrices, what its scores are made of, and which keys each query sees.

    Attributes
    ----------
    queries, keys, values : Enclosure
        Matrices.
    seen : array of bool, shape (n_q, n_k), or None where every query sees every key
    bias : Enclosure or None
        Added to the scores; 0 at hidden keys.
    sink : Enclosure or None
        One more logit of the denominator.
    scale, softcap
        As in :func:`attention`.
    """

    queries: Enclosure
    keys: Enclosure
    values: Enclosure
    seen: Seen | None
    bias: Enclosure | None
    sink: Enclosure | None
    scale: Any
    softcap: Any

    def scores(self, precision: int) -> Enclosure:
        """Enclose the scores, hidden ones included."""
        return scores(
            self.queries,
            self.keys,
            scale=self.scale,
            bias=self.bias,
            softcap=self.softcap,
            precision=checked_precision(precision),
        )

    def output(self, empty_rows: str, precision: int) -> Enclosure:
        """Enclose the head's attention."""
        E, total, _ = self._exponentials(empty_rows, precision)
        largest = max(entries(abs(self.values.mid)), default=0)
        exponent = largest.bit_length() - self.values.bits  # max|V| < 2^exponent
        return (E @ self.values.at(precision - exponent)) / total

    def weights(self, empty_rows: str, precision: int) -> Enclosure:
        """Enclose the weights of the keys."""
        E, total, _ = self._exponentials(empty_rows, precision)
        return E / total

    def log_sum_exp(self, precision: int) -> Enclosure:
        """Enclose the logarithm of the denominator."""
        _, total, shift = self._exponentials("refuse", precision)
        return (shift + total.log())[:, 0]

    def _exponentials(
        self, empty_rows: str, precision: int
    ) -> tuple[Enclosure, Enclosure, Enclosure]:
        """Enclose e^(s_ij − c_i), their sums with the sink's, and c_i.

        c_i is the largest visible midpoint of row i: exact, so it cancels.  A row that sees nothing has
        the sum 1 where that is allowed.
        """
        S = self.scores(precision)
        sink = self.sink
        if sink is not None:
            S, sink = S.at(max(S.bits, sink.bits)), sink.at(max(S.bits, sink.bits))
        seen = np.ones(S.shape, dtype=bool) if self.seen is None else self.seen
        lowest = S.mid.min() if sink is None else min(S.mid.min(), sink.mid[()])
        shift = np.where(seen, S.mid, lowest).max(axis=1, keepdims=True)
        if sink is not None:
            shift = np.maximum(shift, sink.mid[()])
        # So far below the kernel's cut that 0 comes back, which is what an unseen key contributes.
        hidden = -(precision + 1) << max(S.bits, 0)
        shifted = np.where(seen, S.mid - shift, hidden)
        E = Enclosure(as_objects(shifted), S.radius, S.bits).at(precision).exp()
        total = E.sum(axis=1, keepdims=True)
        if sink is not None:
            total = (
                total
                + Enclosure(as_objects(sink.mid[()] - shift), sink.radius, sink.bits)
                .at(precision)
                .exp()
            )
        else:
            empty: Seen = np.asarray(~seen.any(axis=1))
            if empty.any() and empty_rows == "refuse":
                raise ValueError(
                    f"query {int(np.argmax(empty))} sees no key, and there is no sink: give "
                    "empty_rows='zeros' for zeros."
                )
            total = total + Enclosure.exact(empty[:, None].astype(np.int64))
            E = Enclosure(np.where(empty[:, None], 0, E.mid), E.radius, E.bits)
        return E, total, Enclosure(as_objects(shift), 0, S.bits)


def heads(
    Q: Any,
    K: Any,
    V: Any,
    *,
    scale: Any = 1,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: Any = None,
    bias: Any = None,
    softcap: Any = None,
    sinks: Any = None,
) -> dict[tuple[int, ...], Head]:
    """Return every head of the arguments of :func:`attention`, by its index (..., h_q).

    The index is () where Q, K and V are matrices.
    """
    queries, keys, values = (lifted(X, name) for X, name in ((Q, "Q"), (K, "K"), (V, "V")))
    shape = head_shape(queries, keys, values)
    n_q, n_k = queries.shape[-2], keys.shape[-2]
    size = (*shape, n_q, n_k)
    given = visible(n_q, n_k, causal=causal, window=window, mask=mask)
    added, hidden = (None, np.False_) if bias is None else _bias(bias)
    try:
        seen: Seen = np.array(np.broadcast_to(given, size))
        seen &= ~hidden
        terms = None if added is None else np.broadcast_to(added.mid, size)
    except ValueError:
        raise ValueError(f"mask and bias must broadcast to {size}.") from None
    logit = None if sinks is None else Enclosure.exact(sinks, name="sinks")
    if logit is not None and logit.shape not in ((), shape[-1:] or (1,)):
        raise ValueError(
            f"sinks must have shape {shape[-1:] or (1,)}, one a head, got {logit.shape}."
        )
    whole = bool(seen.all())
    group = shape[-1] // keys.shape[-3] if shape else 1

    def of(index: tuple[int, ...]) -> Head:
        key_index = (*index[:-1], index[-1] // group) if index else ()
        term = None
        if added is not None and terms is not None:
            term = Enclosure(terms[index], added.radius, added.bits)
        return Head(
            queries=queries[index],
            keys=keys[key_index],
            values=values[key_index],
            seen=None if whole else seen[index],
            bias=term,
            sink=logit[index[-1] if index else 0] if logit is not None and logit.ndim else logit,
            scale=scale,
            softcap=softcap,
        )

    return {index: of(index) for index in np.ndindex(*shape)}


def arranged(parts: dict[tuple[int, ...], Enclosure]) -> Enclosure:
    """Return one array of the parts, their indices first; () is the index of an only part."""
    if () in parts:
        return parts[()]
    bits = max(part.bits for part in parts.values())
    aligned = {index: part.at(bits) for index, part in parts.items()}
    shape = tuple(max(axis) + 1 for axis in zip(*aligned, strict=True))
    mid = np.empty((*shape, *next(iter(aligned.values())).shape), dtype=object)
    for index, part in aligned.items():
        mid[index] = part.mid if part.ndim else part.mid[()]
    return Enclosure(mid, max(part.radius for part in aligned.values()), bits)


def _bias(bias: Any) -> tuple[Enclosure, Seen]:
    """Return the finite part of a bias, 0 where it hides a key, and where it does."""
    given = np.asarray(bias)
    numbers = given if given.dtype == object else given.astype(np.float64)
    hidden = np.asarray(numbers == -np.inf, dtype=bool)
    if np.any(numbers == np.inf):
        raise ValueError("bias must not hold +inf: it would leave nothing to the other keys.")
    return Enclosure.exact(np.where(hidden, 0, given), name="bias"), hidden


def head_shape(queries: Enclosure, keys: Enclosure, values: Enclosure) -> tuple[int, ...]:
    """Return (..., h_q), or () for matrices, if the shapes fit."""
    for name, x in (("Q", queries), ("K", keys), ("V", values)):
        if x.ndim < 2 or 0 in x.shape[:-1]:
            raise ValueError(
                f"{name} must be a matrix with at least one row, or one for every head, got {x.shape}."
            )
        if x.ndim != queries.ndim:
            raise ValueError(
                f"{name} must have as many axes as Q, {queries.ndim}, got shape {x.shape}."
            )
    if keys.shape[-2] != values.shape[-2]:
        raise ValueError(
            f"V must have as many rows as K, {keys.shape[-2]}, got {values.shape[-2]}."
        )
    if queries.ndim == 2:
        return ()
    if keys.shape[:-2] != values.shape[:-2] or queries.shape[:-3] != keys.shape[:-3]:
        raise ValueError(
            "Q, K and V must agree in their leading axes, and K and V in their heads, got "
            f"{queries.shape}, {keys.shape} and {values.shape}."
        )
    if queries.shape[-3] % keys.shape[-3]:
        raise ValueError(
            f"Q must have a multiple of K's {keys.shape[-3]} heads, got {queries.shape[-3]}."
        )
    return queries.shape[:-2]


def lifted(X: Any, name: str) -> Enclosure:
    """Return an array taken as exact; an enclosure as it is."""
    return X if isinstance(X, Enclosure) else Enclosure.exact(X, name=name)


def checked_precision(precision: int) -> int:
    """Return a precision of at least 16 bits, as the exponential kernel asks, or refuse."""
    if precision < LEAST_PRECISION:
        raise ValueError(f"precision must be at least {LEAST_PRECISION}, got {precision}.")
    return precision
