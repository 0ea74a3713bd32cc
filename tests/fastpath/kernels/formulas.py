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


def written_bound(
    Q: Any,
    K: Any,
    V: Any,
    model: RoundingModel,
    scale: float = 1.0,
    softcap: float | None = None,
    bias: Any = None,
    sinks: float | None = None,
) -> Array:
    """Return B as a tolerance adds it up, in plain float64: by Cauchy and Schwarz, with a sink and underflow.

    Of what tolerances allow this is the least: errors of scores are taken entry by entry, and nothing is
    rounded upward.
    """
    q, k, v = (np.asarray(x, np.float64) for x in (Q, K, V))
    u, n, d = _unit(model.accumulate), len(k), q.shape[1]
    low, inputs, exponentials = _unit(model.logits), _unit(model.inputs), _unit(model.exponentials)
    product = scale * (q @ k.T)
    error = abs(scale) * (np.abs(q) @ np.abs(k).T)
    error = error * ((1 + _gamma(d + 4, u)) * (1 + inputs) ** 2 - 1)
    if model.logits:
        grown = (1 + low) ** (2 if scale != 1 and model.inputs is None else 1) * (
            1 + _gamma(0, u)
        ) - 1
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
    sink = -np.inf if sinks is None else sinks
    top = np.maximum(score.max(axis=1, keepdims=True), sink)
    denominator_ = np.exp(score - top).sum(axis=1, keepdims=True) + np.exp(sink - top)
    logarithm = top + np.log(denominator_)
    p, p_sink = np.exp(score - logarithm), np.exp(sink - logarithm)
    # theta: the error, what grows as the score falls below the logarithm, and what all keys share.
    split = 11 * u if model.splits > 1 else 0.0
    reach = 3 * u + exponentials + (3 * u if model.splits > 1 else 0.0)
    fall = reach + u + split
    blocks = 1 if model.block is None else -(-n // model.block)
    exp = model.exp_error * u / (1 - model.exp_error * u)
    constant = blocks * exp + exponentials / (1 - exponentials)
    weight = _unit(model.weights)
    if model.denominator == "rounded":
        constant, weight = constant + weight / (1 - weight), 0.0
    largest_error = error.max(axis=1, keepdims=True)
    if model.splits > 1:
        constant = constant + exp + split * (np.abs(logarithm) + np.log(n + 1) + largest_error)
    constant = constant + 2 * largest_error * fall + (u + split) * np.abs(logarithm)
    theta = error + fall * (logarithm - score) + constant
    # Beside values' distances, the distance is from the largest score.
    nearer = theta - (3 * u + exponentials) * (logarithm - top)
    sink_theta = np.zeros_like(logarithm)
    if sinks is not None:
        sink_error = ((1 + low) * (1 + _gamma(1, u)) - 1) * abs(sinks)
        sink_theta = sink_error + fall * np.maximum(logarithm - sinks, 0) + constant
    o, raised = p @ v, p * np.exp(theta)
    variance = np.maximum(p @ (v * v) - o * o, 0)
    squares = (p * np.expm1(nearer) ** 2).sum(axis=1, keepdims=True)
    squares = squares + p_sink * np.expm1(sink_theta) ** 2
    first = np.sqrt(squares) * np.sqrt(variance)
    # Of large exponents: about what the kernel's weights are, the sink by itself.
    levers = np.sqrt((raised * np.expm1(-nearer) ** 2).sum(axis=1, keepdims=True))
    apart = np.einsum("ij,ijc->ic", raised, (v[None] - o[:, None]) ** 2)
    apart = apart + p_sink * np.exp(sink_theta) * o * o
    second = levers * np.sqrt(apart) + p_sink * np.expm1(sink_theta) * np.abs(o)
    theta_most = theta.max(axis=1, keepdims=True)
    near = np.abs(np.log2(theta_most / 2.0**-6)) < 1
    first = np.where(near, np.minimum(first, second), np.where(theta_most > 2.0**-6, second, first))
    terms = model.roundings(n + (sinks is not None))
    extra = model.splits + 4 if model.splits > 1 else 0
    others = (1 + weight) * (1 + _unit(model.values)) * (1 + _unit(model.partials))
    numerator = (1 + _gamma(terms + 2 + extra, u)) * others - 1
    denominator = (1 + _gamma(terms + extra, u)) * (1 + exponentials) - 1
    largest = raised.sum(axis=1, keepdims=True) + p_sink * np.exp(sink_theta)
    smallest = (p * np.exp(-theta)).sum(axis=1, keepdims=True) + p_sink * np.exp(-sink_theta)
    # Underflow: of weights in low formats relative to the largest, or to 1 where they are divided first.
    heaviest = np.maximum(p.max(axis=1, keepdims=True), p_sink)
    lost = 0 * heaviest
    lost_values = 0 * o
    for name in ("weights", "exponentials"):
        narrow = model.format(name)
        if narrow is not None:
            lost_values = lost_values + narrow.lost * heaviest * np.abs(v).sum(axis=0)
            if name == "exponentials" or model.denominator == "rounded":
                lost = lost + narrow.lost * heaviest * n
    weights = model.format("weights")
    if weights is not None and model.denominator == "normalised" and weights.gradual:
        lost_values = lost_values + weights.lost * ((p < weights.tiny) @ np.abs(v))
    bound: Array = first + numerator * (raised @ np.abs(v)) + lost_values
    bound = bound + np.abs(o) * (denominator * largest + lost)
    bound = bound / ((1 - denominator) * smallest - lost)
    return bound
