"""FP.kernel's B written down once more, in plain float64, term by term: what a tolerance must reach."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.kernels import FORMATS, RoundingModel

Array = NDArray[np.float64]


def _unit(name: str | None) -> float:
    return 0.0 if name is None else FORMATS[name].unit_roundoff


def _gamma(terms: float, u: float) -> float:
    return terms * u / (1 - terms * u)


def exact_bound(
    Q: Any,
    K: Any,
    V: Any,
    model: RoundingModel,
    scale: float = 1.0,
    softcap: float | None = None,
    bias: Any = None,
) -> Array:
    """Return B with its first term entry by entry, without underflow."""
    q, k, v = (np.asarray(x, np.float64) for x in (Q, K, V))
    u, n, d = _unit(model.accumulate), len(k), q.shape[1]
    low, inputs = _unit(model.logits), _unit(model.inputs)
    product = scale * (q @ k.T)
    size = abs(scale) * (np.abs(q) @ np.abs(k).T)
    error = ((1 + _gamma(d + 4, u)) * (1 + inputs) ** 2 - 1) * size
    roundings = 2 if scale != 1 and model.inputs is None else 1
    if model.logits:
        grown = (1 + low) ** roundings - 1
        error = error * (1 + grown) + grown * np.abs(product)
    score = product
    if softcap is not None:
        score = softcap * np.tanh(product / softcap)
        relative = (1 + low) ** 3 * (1 + _gamma(4 + model.exp_error, u)) - 1
        error = error + relative * np.minimum(np.abs(product) + error, softcap)
    if bias is not None:
        relative = (1 + low) ** 2 * (1 + _gamma(2, u)) - 1
        error = error + relative * (np.abs(score) + np.abs(bias) + error)
        score = score + bias
    largest = score.max(axis=1, keepdims=True)
    weights = np.exp(score - largest)
    p = weights / weights.sum(axis=1, keepdims=True)
    blocks = 1 if model.block is None else -(-n // model.block)
    exponentials = _unit(model.exponentials)
    theta = error + (3 * u + exponentials) * (largest - score)
    theta = theta + blocks * model.exp_error * u / (1 - model.exp_error * u)
    theta = theta + exponentials / (1 - exponentials)
    weight = _unit(model.weights)
    if model.denominator == "rounded":
        theta, weight = theta + weight / (1 - weight), 0.0
    if model.splits > 1:
        # The parts' logarithms, which lie between their scores and that of the whole, and their weights.
        logarithm = largest + np.log(weights.sum(axis=1, keepdims=True))
        sizes = np.abs(logarithm) + np.abs(score) + np.log(n)
        theta = theta + (11 * sizes + 3 * (largest - score) + model.exp_error) * u
    terms = n if model.block is None else min(model.block, n) + 2 * (blocks - 1)
    extra = model.splits + 4 if model.splits > 1 else 0
    others = (1 + weight) * (1 + _unit(model.values)) * (1 + _unit(model.partials))
    numerator = (1 + _gamma(terms + 2 + extra, u)) * others - 1
    denominator = (1 + _gamma(terms + extra, u)) * (1 + exponentials) - 1
    o = p @ v
    first = np.einsum("ij,ijc->ic", p * np.expm1(theta), np.abs(v[None] - o[:, None]))
    grown = p * np.exp(theta)
    total = first + numerator * (grown @ np.abs(v))
    total = total + denominator * np.abs(o) * grown.sum(axis=1, keepdims=True)
    bound: Array = total / ((1 - denominator) * (p * np.exp(-theta)).sum(axis=1, keepdims=True))
    return bound
