"""The gradient of attention, on floats taken as exact numbers, enclosed.

For a loss with ∂loss/∂output = dO, weights P, scores s_ij = cap(x_ij) + bias_ij and x_ij = scale · q_i·k_j:

    dV = Pᵀ dO,   dP = dO Vᵀ,   D_i = Σ_j p_ij dP_ij,   ds_ij = p_ij (dP_ij − D_i),
    dx_ij = ds_ij (1 − tanh²(x_ij / softcap)),   dQ = scale · dx K,   dK = scale · dxᵀ Q,
    dbias = ds,   dsink = −Σ_i p_i,sink D_i.

A key head that several query heads read gets the sum of what they give.  The formulas are derived for
symbols in ``proofs/symbolic``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.exact_numbers import as_objects
from reference.heads import Head, arranged, heads
from reference.scores import logits, number, scaled

__all__ = ["Gradient", "attention_gradient"]


class Gradient(NamedTuple):
    """Derivatives of a loss by the arguments of attention, each of its argument's shape.

    ``dbias`` has the shape of the scores, (..., h_q, n_q, n_k); ``dsinks`` is None without sinks.
    """

    dQ: Enclosure
    dK: Enclosure
    dV: Enclosure
    dbias: Enclosure
    dsinks: Enclosure | None


def attention_gradient(
    Q: Any, K: Any, V: Any, dO: Any, *, precision: int = 128, **semantics: Any
) -> Gradient:
    """Enclose the derivatives of Σ dO · attention(Q, K, V) by Q, K, V, bias and sinks.

    Parameters
    ----------
    Q, K, V, **semantics
        As for :func:`reference.attention`; a row that sees nothing gives no derivative where
        ``empty_rows`` is "zeros".
    dO : array_like of the output's shape
        Taken as exact.
    precision : int
        Bits behind the point of the weights, at least 16.

    Raises
    ------
    TypeError, ValueError
        As :func:`reference.attention`, or if dO does not fit.
    """
    empty_rows = semantics.pop("empty_rows", "refuse")
    found = heads(Q, K, V, **semantics)
    shape = (*np.shape(_mid(Q))[:-1], np.shape(_mid(V))[-1])
    gradient_of_output = dO if isinstance(dO, Enclosure) else Enclosure.exact(dO, name="dO")
    if gradient_of_output.shape != shape:
        raise ValueError(
            f"dO must have the output's shape {shape}, got {gradient_of_output.shape}."
        )
    parts = {
        index: _of_head(head, gradient_of_output[index], empty_rows, precision)
        for index, head in found.items()
    }
    if () in parts:
        return parts[()]
    group = np.shape(_mid(Q))[-3] // np.shape(_mid(K))[-3]
    sinks = {index: part.dsinks for index, part in parts.items() if part.dsinks is not None}
    return Gradient(
        arranged({index: part.dQ for index, part in parts.items()}),
        _added({index: part.dK for index, part in parts.items()}, group),
        _added({index: part.dV for index, part in parts.items()}, group),
        arranged({index: part.dbias for index, part in parts.items()}),
        arranged(sinks) if sinks else None,
    )


def _of_head(head: Head, dO: Enclosure, empty_rows: str, precision: int) -> Gradient:
    P = head.weights(empty_rows, precision)
    dP = dO.dot(head.values.T)
    D = (P * dP).sum(axis=1, keepdims=True)
    ds = P * (dP - D)
    if head.seen is not None:  # an unseen key's weight is 0, not just within a radius of it
        ds = Enclosure(as_objects(np.where(head.seen, ds.mid, 0)), ds.radius, ds.bits)
    dx = ds
    scale = number(head.scale, "scale")
    if head.softcap is not None:
        ratio = scaled(
            logits(head.queries, head.keys), scale / number(head.softcap, "softcap"), precision
        )
        slope = 1 - ratio.at(max(precision, 16)).tanh() ** 2
        dx = ds * slope
    dQ = scaled(dx @ head.keys, scale, precision)
    dK = scaled(dx.T @ head.queries, scale, precision)
    dsinks = None
    if head.sink is not None:
        left = 1 - P.sum(axis=1, keepdims=True)
        dsinks = -(left * D).sum()
    return Gradient(dQ, dK, P.T @ dO, ds, dsinks)


def _added(parts: dict[tuple[int, ...], Enclosure], group: int) -> Enclosure:
    """Return the heads' parts as one array, ``group`` consecutive query heads added up."""
    summed: dict[tuple[int, ...], Enclosure] = {}
    for index, part in parts.items():
        key = (*index[:-1], index[-1] // group)
        summed[key] = summed[key] + part if key in summed else part
    return arranged(summed)


def _mid(X: Any) -> Any:
    return X.mid if isinstance(X, Enclosure) else X
