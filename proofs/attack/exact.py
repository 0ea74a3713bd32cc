"""Attacks on what stands beside exact attention: its certificate, its gradient's, and others' outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from proofs.attack.instances import (
    BIAS,
    MASK,
    SCALE,
    SINKS,
    SOFTCAP,
    Array,
    Heads,
    clustered,
    heads,
    seeded,
    tokens,
)
from proofs.attack.search import Attack, BrokenError, Statement
from reference import Enclosure, attention, attention_gradient, log_sum_exp


def finite(what: str, x: Any) -> Array:
    """Return an array of numbers, or say that it is none."""
    array = np.asarray(x)
    if not np.isfinite(array).all():
        raise BrokenError(f"{what} is not finite.")
    return array


def output(
    found: Any, Q: Array, K: Array, V: Array, options: dict[str, Any]
) -> Iterator[Statement]:
    """State that an output, and its log-sum-exp where there is one, are within their bounds."""
    o, bound = finite("an output", found.output), finite("an error bound", found.error_bound)
    bound = np.broadcast_to(bound, o.shape)
    logarithm = getattr(found, "log_sum_exp", None)
    sees = np.ones(len(o), bool) if logarithm is None else ~np.isneginf(logarithm)
    if (o[~sees] != 0).any():
        raise BrokenError("a row that sees nothing is not 0.")
    if not sees.any():
        return
    told = options | {"empty_rows": "zeros"}
    yield Statement(
        what="the output's error",
        quantity=lambda bits: attention(Q, K, V, precision=bits, **told)[sees].distance(o[sees]),
        bound=bound[sees],
    )
    if logarithm is not None and sees.all():
        finite("a log-sum-exp", logarithm)
        seen = {name: x for name, x in options.items() if name != "empty_rows"}
        yield Statement(
            what="the log-sum-exp's error",
            quantity=lambda bits: log_sum_exp(Q, K, precision=bits, **seen).distance(logarithm),
            bound=finite("a bound", found.log_sum_exp_bound),
        )


def _attention(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked() | {"empty_rows": "zeros"}
    found = module.attention(x.Q, x.K, x.V, workers=1 + x.choice % 2, **options)
    yield from output(found, x.Q, x.K, x.V, options)


def _prepared(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked() | {"empty_rows": "zeros"}
    cut = 1 + x.choice % len(x.K)
    prepared = module.Prepared(x.K[:cut], x.V[:cut])
    for place in range(cut, len(x.K)):
        prepared.append(x.K[place : place + 1], x.V[place : place + 1])
    found = module.attention(x.Q, prepared, **options)
    whole = module.attention(x.Q, x.K, x.V, **options)
    if found.output.tobytes() != whole.output.tobytes():
        raise BrokenError("keys that were appended give other bits.")
    yield from output(found, x.Q, x.K, x.V, options)


def _merged(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked(SCALE | SOFTCAP)
    cuts = sorted({0, 1 + x.choice % len(x.K), (x.choice // 7) % len(x.K), len(x.K)})
    parts = [module.attention(x.Q, x.K[a:b], x.V[a:b], **options) for a, b in pairwise(cuts)]
    yield from output(module.merge(parts), x.Q, x.K, x.V, options)


def _gradient(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked() | {"empty_rows": "zeros"}
    found = module.attention_gradient(x.Q, x.K, x.V, x.dO, **options)
    for name in ("dQ", "dK", "dV"):
        part = getattr(found, name)
        values = finite(name, part.output)
        yield Statement(
            what=f"the error of {name}",
            quantity=_derivative(x, options, name, values),
            bound=np.broadcast_to(finite("a bound", part.error_bound), values.shape),
        )
    if found.dsinks is not None:
        values = finite("dsinks", found.dsinks.output).reshape(())

        def by_sink(bits: int) -> Enclosure:
            enclosed = attention_gradient(x.Q, x.K, x.V, x.dO, precision=bits, **options).dsinks
            assert enclosed is not None
            return enclosed.reshape().distance(values)

        yield Statement(
            what="the error of dsinks",
            quantity=by_sink,
            bound=np.reshape(found.dsinks.error_bound, ()),
        )


def _derivative(
    x: Heads, options: dict[str, Any], name: str, values: Array
) -> Callable[[int], Enclosure]:
    def distance(bits: int) -> Enclosure:
        exact = attention_gradient(x.Q, x.K, x.V, x.dO, precision=bits, **options)
        enclosed: Enclosure = getattr(exact, name)
        return enclosed.distance(values)

    return distance


def _certify(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked() | {"empty_rows": "zeros"}
    served = module.attention(x.Q, x.K, x.V, **options).output
    if x.choice % 3:
        served = served + x.dO
    if not np.isfinite(served).all():
        raise ValueError("what is planted must leave the output finite.")
    found = module.certify(x.Q, x.K, x.V, served, rng=seeded(x), **options)
    if found.uncovered or (found.output is not served and (found.output != served).any()):
        raise BrokenError("of so few rows some were left out, or the output is another.")
    bound = finite("an error bound", found.error_bound)
    told = options | {"empty_rows": "zeros"}
    yield Statement(
        what="the error of the output that was served",
        quantity=lambda bits: attention(x.Q, x.K, x.V, precision=bits, **told).distance(served),
        bound=np.broadcast_to(bound, served.shape),
    )


def _certified(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked() | {"empty_rows": "zeros"}
    tolerance = (0.3, 0.05, 1e-3)[x.choice % 3]
    sees = ~np.isneginf(module.attention(x.Q, x.K, x.V, **options).log_sum_exp)
    found = module.certified_attention(x.Q, x.K, x.V, tolerance=tolerance, rng=seeded(x), **options)
    if found.uncovered:
        raise BrokenError("every row was asked for, and some are left out.")
    values = finite("an output", found.output)
    if (values[~sees] != 0).any():
        raise BrokenError("a row that sees nothing is not 0.")
    if sees.any():
        bound = np.broadcast_to(finite("a bound", found.error_bound), values.shape)
        yield Statement(
            what="the output's error",
            quantity=lambda bits: attention(x.Q, x.K, x.V, precision=bits, **options)[
                sees
            ].distance(values[sees]),
            bound=bound[sees],
        )


_KERNEL = SCALE | BIAS | MASK | SOFTCAP | SINKS


def _kernel_options(x: Heads) -> dict[str, Any]:
    given = x.asked(_KERNEL)
    if "bias" in given:
        given["bias"] = np.where(np.isinf(x.bias), -1.0, x.bias).astype(np.float32)
    return given | {"empty_rows": "zeros"}


def _served(x: Heads, given: dict[str, Any]) -> tuple[Array, Array, Array]:
    """Return what a kernel in float32 throughout makes of a head: weights, their sums and the output."""
    single = np.float32
    Q, K, V = (a.astype(single) for a in (x.Q, x.K, x.V))
    scores = (Q @ K.T) * single(given.get("scale", 1.0))
    if "softcap" in given:
        cap = single(given["softcap"])
        scores = cap * np.tanh(scores / cap)
    if "bias" in given:
        scores = scores + given["bias"]
    if "mask" in given:
        scores = np.where(given["mask"], scores, single(-np.inf))
    top = scores.max(axis=1, keepdims=True)
    sink = single(given["sinks"]) if "sinks" in given else single(-np.inf)
    top = np.maximum(top, sink)
    top = np.where(np.isinf(top), single(0), top)
    weights = np.exp(scores - top)
    total = weights.sum(axis=1, keepdims=True) + np.exp(sink - top)
    return weights, total, np.where(total > 0, (weights @ V) / np.where(total > 0, total, 1), 0)


def _tolerance(module: ModuleType, x: Heads) -> Iterator[Statement]:
    kernels = module.kernels
    x = Heads(**(vars(x) | {n: getattr(x, n).astype(np.float32) for n in ("Q", "K", "V", "dO")}))
    given = _kernel_options(x)
    model = kernels.float32_throughout()
    found = kernels.tolerance(x.Q, x.K, x.V, model, **given)
    centre, judged = finite("the centre", found.centre), np.isfinite(found.bound)
    if np.isnan(found.lower).any() or np.isnan(found.upper).any():
        raise BrokenError("an end of the interval is NaN.")
    if "mask" in given and "sinks" not in given:
        judged &= x.mask.any(axis=1, keepdims=True)
    yield Statement(
        what="the centre's error",
        quantity=lambda bits: attention(x.Q, x.K, x.V, precision=bits, **given).distance(centre),
        bound=np.broadcast_to(found.centre_bound, centre.shape),
    )
    served = _served(x, given)[2].astype(np.float64)
    low, high = found.lower, found.upper
    if not ((served >= low) & (served <= high))[judged].all():
        raise BrokenError("a kernel in float32 throughout is outside of its interval.")
    yield Statement(
        what="the error of a kernel in float32",
        quantity=lambda bits: attention(x.Q, x.K, x.V, precision=bits, **given).distance(
            np.where(judged, served, centre)
        ),
        bound=np.where(judged, np.maximum(high - centre, centre - low) * 2, np.inf),
    )


def _judge(module: ModuleType, x: Heads) -> Iterator[Statement]:
    kernels = module.kernels
    x = Heads(**(vars(x) | {n: getattr(x, n).astype(np.float32) for n in ("Q", "K", "V", "dO")}))
    given = _kernel_options(x)
    found = kernels.judge_attention(
        _served(x, given)[2], x.Q, x.K, x.V, kernels.float32_throughout(), **given
    )
    if found.refuted:
        raise BrokenError(f"a kernel in float32 throughout is refuted: {found.sentence}")
    yield Statement(
        what="the kernel's error",
        quantity=partial(_exactly, found.ratio),
        bound=1.0,
    )


def _exactly(number: float, bits: int) -> Enclosure:
    return Enclosure.exact(number)


def _judge_backward(module: ModuleType, x: Heads) -> Iterator[Statement]:
    kernels, single = module.kernels, np.float32
    x = Heads(**(vars(x) | {n: getattr(x, n).astype(single) for n in ("Q", "K", "V", "dO")}))
    given = {"scale": x.scale} if x.options & SCALE else {}
    weights, total, served = _served(x, given)
    P = weights / total
    dP = x.dO @ x.V.T
    dS = P * (dP - (x.dO * served).sum(axis=1, keepdims=True)) * single(given.get("scale", 1.0))
    gradients = {"dQ": dS @ x.K, "dK": dS.T @ x.Q, "dV": P.T @ x.dO}
    if not all(np.isfinite(g).all() for g in (*gradients.values(), served)):
        raise ValueError("the kernel's numbers must be finite.")
    found = kernels.judge_attention_backward(
        gradients, served, x.dO, x.Q, x.K, x.V, kernels.float32_throughout(), **given
    )
    for name, part in found.items():
        if part.refuted:
            raise BrokenError(f"{name} in float32 throughout is refuted: {part.sentence}")
        yield Statement(
            what=f"the kernel's {name}",
            quantity=partial(_exactly, part.ratio),
            bound=1.0,
        )


ATTACKS = (
    Attack(function="attention", sample=heads, statements=_attention),
    Attack(function="Prepared", sample=heads, statements=_prepared),
    Attack(function="merge", sample=heads, statements=_merged),
    Attack(function="attention_gradient", sample=heads, statements=_gradient),
    Attack(function="certify", sample=heads, statements=_certify),
    Attack(function="certified_attention", sample=clustered, statements=_certified),
    Attack(function="kernels.tolerance", sample=tokens, statements=_tolerance),
    Attack(function="kernels.judge_attention", sample=tokens, statements=_judge),
    Attack(function="kernels.judge_attention_backward", sample=tokens, statements=_judge_backward),
)
