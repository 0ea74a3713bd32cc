"""Softmax attention as it is run, on floats taken as exact numbers, enclosed.

    o_i = Σ_j e^(s_ij) v_j / (Σ_j e^(s_ij) + e^(sink)),   over the keys j that query i sees,

with the scores s of ``scores`` and the keys that ``visibility`` lets it see.  Without options this is
D⁻¹ exp(Q Kᵀ) V, the papers' definition: there is no 1/√d.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.arithmetic.decide import PRECISIONS, decide
from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import as_objects, entries
from reference.arithmetic.verdict import Verdict
from reference.scores import LARGEST_SIZE, logits, matrix, scores
from reference.visibility import visible

__all__ = [
    "LARGEST_SIZE",
    "Head",
    "arranged",
    "attention",
    "attention_verdict",
    "heads",
    "log_sum_exp",
    "logits",
    "softmax",
    "stacked",
    "weights",
]

LEAST_PRECISION = 16

Seen = NDArray[np.bool_]


def attention(
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
    empty_rows: str = "refuse",
    precision: int = 128,
) -> Enclosure:
    """Enclose attention, of width at most 40 n_k 2^−precision max|V| at any size of the logits.

    output_i = Σ_j e^(s_ij) v_j / (Σ_j e^(s_ij) + e^(sink)) over the visible keys j,
    s_ij = cap(scale · q_i·k_j) + bias_ij, cap(x) = softcap · tanh(x / softcap).

    Parameters
    ----------
    Q : (n_q, d) or (..., h_q, n_q, d) array_like, or (n_q, d) Enclosure
        Queries: floats or integers, taken as exact.
    K : (n_k, d) or (..., h_k, n_k, d) array_like, or (n_k, d) Enclosure
        Keys; h_q is a multiple of h_k, and query head h reads key head h // (h_q / h_k).
    V : (n_k, d_v) or (..., h_k, n_k, d_v) array_like, or (n_k, d_v) Enclosure
        Values, likewise.
    scale : float, int or Fraction
        Factor of q_i·k_j, taken as exact.
    causal : {False, True, "upper-left", "lower-right"}
    window : pair of (int or None), optional
        Which keys a query sees, as :func:`reference.visibility.visible` says.
    mask : array_like of bool, optional
        True where a key is visible; broadcasts to (..., h_q, n_q, n_k).
    bias : array_like, optional
        Added to the scores; −inf hides the key.  Broadcasts likewise.
    softcap : float, int or Fraction, optional
        Positive.
    sinks : number, or (h_q,) array_like, optional
        A logit a head that only the denominator sees.
    empty_rows : {"refuse", "zeros"}
        What a query that sees neither key nor sink gets: an error that names it, or zeros.
    precision : int
        Bits of the weights, at least 16.

    Returns
    -------
    Enclosure of shape (n_q, d_v) or (..., h_q, n_q, d_v)

    Raises
    ------
    TypeError
        If an argument holds something else than it should.
    ValueError
        If a number is not finite, shapes do not fit, n_q · n_k exceeds 2^20, or a row is empty and
        ``empty_rows`` is "refuse".

    Notes
    -----
    Cost: n_q n_k exponentials and n_q n_k (d + d_v) integer products a head.  For n = 256, d = d_v = 32
    and precision 128 this is about one second (``pytest -m slow tests/reference --durations=5``).
    """
    if empty_rows not in ("refuse", "zeros"):
        raise ValueError(f"empty_rows must be 'refuse' or 'zeros', got {empty_rows!r}.")
    found = heads(
        Q,
        K,
        V,
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
    )
    return stacked(found, lambda head: head.output(empty_rows, precision))


def log_sum_exp(
    Q: Any,
    K: Any,
    *,
    scale: Any = 1,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    mask: Any = None,
    bias: Any = None,
    softcap: Any = None,
    sinks: Any = None,
    precision: int = 128,
) -> Enclosure:
    """Enclose ln(Σ_j e^(s_ij) + e^(sink)), the logarithm of attention's denominator.

    Parameters and errors are those of :func:`attention`; a row that sees nothing is refused, as its
    logarithm is −∞.

    Returns
    -------
    Enclosure of shape (n_q,) or (..., h_q, n_q)
    """
    found = heads(
        Q,
        K,
        K,
        scale=scale,
        causal=causal,
        window=window,
        mask=mask,
        bias=bias,
        softcap=softcap,
        sinks=sinks,
    )
    return stacked(found, lambda head: head.log_sum_exp(precision))


def weights(
    Q: Any, K: Any, *, causal: bool | str = False, precision: int = 128, **semantics: Any
) -> Enclosure:
    """Enclose the softmax matrix  p_ij = e^(s_ij) / (Σ_l e^(s_il) + e^(sink))  of one head.

    Parameters, errors and cost are those of :func:`attention`; a row that sees nothing is refused.

    Returns
    -------
    Enclosure of shape (n_q, n_k)
    """
    ((_, head),) = heads(
        matrix(Q, "Q"), matrix(K, "K"), matrix(K, "K"), causal=causal, **semantics
    ).items()
    return head.weights("refuse", precision)


def softmax(v: Any, *, precision: int = 128) -> Enclosure:
    """Enclose  p_j = e^(v_j) / Σ_l e^(v_l)  along the last axis.

    Parameters
    ----------
    v : (..., n) array_like or Enclosure
        Logits; floats and integers are taken as exact.
    precision : int
        Bits of the weights, at least 16.

    Returns
    -------
    Enclosure of the shape of ``v``

    Raises
    ------
    TypeError, ValueError
        If ``v`` holds something else than finite numbers, or none.
    """
    v = v if isinstance(v, Enclosure) else Enclosure.exact(v, name="v")
    if v.mid.ndim == 0 or v.mid.size == 0:
        raise ValueError(f"v must have an axis and an entry, got shape {v.shape}.")
    shifted = Enclosure(v.mid - v.mid.max(axis=-1, keepdims=True), v.radius, v.bits)
    E = shifted.at(_checked(precision)).exp()
    return E / E.sum(axis=-1, keepdims=True)


def attention_verdict(
    Q: Any,
    K: Any,
    V: Any,
    output: Any,
    error_bound: Any,
    *,
    precision: int = 128,
    **semantics: Any,
) -> tuple[Verdict, Enclosure]:
    """Decide |output − attention| ≤ error_bound for all entries, raising the precision as needed.

    Parameters
    ----------
    Q, K, V, **semantics
        As in :func:`attention`.
    output : array_like of the shape of the truth
        The output that is judged, taken as exact.
    error_bound : float or array_like
        The claimed bound: for all entries, for each row, or for each entry.
    precision : int
        The precision to begin with; the higher ones of PRECISIONS follow.

    Returns
    -------
    verdict : Verdict
        UNDECIDED only if it still is at the last precision.
    enclosure : Enclosure
        The one that decided.

    Raises
    ------
    TypeError, ValueError
        As :func:`attention`, or if the shape of ``output`` or ``error_bound`` does not fit.
    """
    Q, K, V = (_lifted(X, name) for X, name in ((Q, "Q"), (K, "K"), (V, "V")))
    _head_shape(Q, K, V)
    shape = (*Q.shape[:-1], V.shape[-1])
    if np.shape(output) != shape:
        raise ValueError(f"output must have shape {shape}, got {np.shape(output)}.")
    bound = np.asarray(error_bound)
    if bound.shape not in ((), shape[:-1], shape):
        raise ValueError(
            f"error_bound must have shape (), {shape[:-1]} or {shape}, got {bound.shape}."
        )
    return decide(
        lambda bits: attention(Q, K, V, precision=bits, **semantics),
        output,
        bound[..., None] if bound.shape == shape[:-1] else bound,
        precisions=(precision, *(higher for higher in PRECISIONS if higher > precision)),
    )


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
            precision=_checked(precision),
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
    queries, keys, values = (_lifted(X, name) for X, name in ((Q, "Q"), (K, "K"), (V, "V")))
    shape = _head_shape(queries, keys, values)
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
    if logit is not None and logit.shape not in ((), shape[-1:]):
        raise ValueError(f"sinks must have shape {shape[-1:]}, one a head, got {logit.shape}.")
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
            sink=logit[index[-1]] if logit is not None and logit.ndim else logit,
            scale=scale,
            softcap=softcap,
        )

    return {index: of(index) for index in np.ndindex(*shape)}


def stacked(found: dict[tuple[int, ...], Head], enclose: Callable[[Head], Enclosure]) -> Enclosure:
    """Return what is enclosed of every head, as one array with the heads' axes first."""
    return arranged({index: enclose(head) for index, head in found.items()})


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


def _head_shape(queries: Enclosure, keys: Enclosure, values: Enclosure) -> tuple[int, ...]:
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


def _lifted(X: Any, name: str) -> Enclosure:
    return X if isinstance(X, Enclosure) else Enclosure.exact(X, name=name)


def _checked(precision: int) -> int:
    if precision < LEAST_PRECISION:
        raise ValueError(f"precision must be at least {LEAST_PRECISION}, got {precision}.")
    return precision
