"""Attacks on polynomials, on states that are changed and asked, on caches in few bits, and on the ledger."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from proofs.attack.exact import finite, output
from proofs.attack.instances import (
    SCALE,
    SINKS,
    SOFTCAP,
    Array,
    Audits,
    Heads,
    audits,
    heads,
    seeded,
    short,
    tokens,
)
from proofs.attack.search import Attack, BrokenError, Statement
from proofs.judging.hypotheses import rounded_up
from reference import Enclosure, attention, weights
from reference.sparse_tail import sparse_tail

_TOLERANCES = (0.5, 0.05, 1e-4, 1e-9)


def _polynomial(module: ModuleType, x: Heads) -> Iterator[Statement]:
    tolerance = _TOLERANCES[x.choice % 4]
    found = module.polynomial_attention(x.Q, x.K, x.V, tolerance=tolerance)
    yield from output(found, x.Q, x.K, x.V, {})


def _moments(module: ModuleType, x: Heads) -> Iterator[Statement]:
    degree, cut = x.choice % 7, x.choice % len(x.K)
    centre = x.K[0].astype(np.float64) if x.choice % 2 else None
    state, other = (
        module.MomentState(x.K.shape[1], x.V.shape[1], degree, centre=centre) for _ in range(2)
    )
    if cut:
        state.update(x.K[:cut], x.V[:cut])
    other.update(x.K[cut:], x.V[cut:])
    state.merge(other)
    if x.choice % 3 == 0:
        state = state.recentred(x.K[-1].astype(np.float64))
    yield from output(state.query(x.Q), x.Q, x.K, x.V, {})


def _dynamic(module: ModuleType, x: Heads) -> Iterator[Statement]:
    n = len(x.K)
    if len(x.Q) != n:
        raise ValueError("a token must have a query and a key.")
    rng = seeded(x)
    Q, K, V = (a.copy() for a in (x.Q, x.K, x.V))
    options = x.asked(SCALE)
    causal = bool(rng.integers(2))
    state = module.DynamicAttention(
        Q,
        K,
        V,
        causal=causal,
        mode=("auto", "cached", "dirty", "kept")[rng.integers(4)],
        rebuild_every=(None, 1, 2)[rng.integers(3)],
        worst_case=bool(rng.random() < 0.2),
        **options,
    )
    for _ in range(int(rng.integers(8))):
        name, i = ("query", "key", "value")[rng.integers(3)], int(rng.integers(n))
        held = {"query": Q, "key": K, "value": V}[name]
        j = int(rng.integers(held.shape[1]))
        if rng.random() < 0.5:
            delta = float(x.dO.flat[rng.integers(x.dO.size)])
            new = held[i, j] + held.dtype.type(delta)
            if float(new) != float(held[i, j]) + delta:
                continue  # which of two roundings it is is not stated
            getattr(state, f"update_{name}")(i, j, delta)
            held[i, j] = new
        else:
            row = held[int(rng.integers(n))] * held.dtype.type(rng.choice([1, -1, 0, 0.5]))
            getattr(state, f"set_{name}")(i, row)
            held[i] = row
        if rng.random() < 0.3:
            state.query(i, int(rng.integers(V.shape[1])))
    told = {"causal": causal, **options}
    for i in range(n):
        row = finite("a row", state.query_row(i))
        entries = finite("an entry", [state.query(i, j) for j in range(len(row))])
        for read in (row, entries):
            yield Statement(
                what="a row's error",
                quantity=partial(_of_row, (Q, K, V), told, i, read),
                bound=np.full(len(row), state.error_bound(i)),
            )
    yield from output(state.output(), Q, K, V, told)


def _of_row(
    arrays: tuple[Array, Array, Array], told: dict[str, Any], i: int, read: Array, bits: int
) -> Enclosure:
    return attention(*arrays, precision=bits, **told)[i].distance(read)


def _streaming(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked(SCALE)
    sparsity, tolerance = 1 + x.choice % 3, _TOLERANCES[x.choice % 3]
    made: dict[str, Any] = {"logit_bound": (1.0, 4.0)[x.choice % 2], "tolerance": tolerance}
    state = module.StreamingAttention(
        x.K.shape[1],
        x.V.shape[1],
        sparsity=sparsity,
        recovery=("heap", "sketch")[x.choice % 2],
        rng=seeded(x),
        **made,
        **options,
    )
    cut = x.choice % len(x.K)
    if cut:
        state.absorb(x.K[:cut], x.V[:cut])
    state.absorb(x.K[cut:], x.V[cut:])
    found = state.attend(x.Q)
    yield from output(found, x.Q, x.K, x.V, options)
    decoded = state.decode()
    if x.choice % 2:
        return  # a sketch fails with some probability, which one instance does not tell
    columns = finite("a column", decoded.columns.toarray())
    for column in range(x.V.shape[1]):

        def missed(bits: int, column: int = column) -> Enclosure:
            exact = attention(x.Q, x.K, x.V, precision=bits, **options)[:, column]
            gap = Enclosure.exact(columns[:, column], bits) - exact
            far = (gap * gap).sum().sqrt()
            tail = sparse_tail(exact, sparsity, precision=bits)
            spared = far - tail * Fraction(float(decoded.bound.ratio))
            return spared.maximum(Enclosure.exact(0, spared.bits))

        yield Statement(
            what="a decoded column's distance beyond its tail",
            quantity=missed,
            bound=float(np.asarray(decoded.bound.excess)[column]),
        )


_LAYOUTS: tuple[dict[str, Any], ...] = (
    {},
    {"key_bits": 4, "value_bits": 4},
    {"key_bits": "fp8", "value_bits": "fp8"},
    {"key_bits": "bfloat16", "value_bits": "bfloat16"},
    {"key_bits": 4, "value_bits": 8, "per_channel": True, "group": 1},
    {"key_bits": 8, "value_bits": 4, "per_channel": True, "group": 1},
)

_CACHED = SCALE | SOFTCAP | SINKS


def _index(module: ModuleType, x: Heads) -> Iterator[Statement]:
    # Fewer keys are all read, as are those of which few are light: nine of ten are copies of the lightest.
    rng, Q = seeded(x), x.Q[:1] * x.Q.dtype.type(1024)
    rows = rng.integers(len(x.K), size=16384 + x.choice % 64)
    with np.errstate(all="ignore"):
        rows[rng.random(len(rows)) < 0.9] = np.argmin(x.K.astype(float) @ Q[0].astype(float))
    K, V = x.K[rows], x.V[rows]
    indexed = 16384 - x.choice % 1024
    index = module.KeyIndex(K[:indexed], V[:indexed])
    index.append(K[indexed:], V[indexed:])
    yield from output(index.attend(Q, _TOLERANCES[x.choice % 4]), Q, K, V, {})


def _coreset(module: ModuleType, x: Heads) -> Iterator[Statement]:
    # More keys than are kept, of which many are equal; queries short enough for a bound below the range.
    rng = seeded(x)
    count = 65 + x.choice % 64
    K, V = (a[rng.integers(len(a), size=count)] for a in (x.K, x.V))
    Q = x.Q * x.Q.dtype.type(2.0 ** -(x.choice % 5))
    options = {"queries": Q} if x.choice % 2 else {}
    made, other = (
        module.BalancedCoreset(K.shape[1], V.shape[1], size=64, rng=rng, **options)
        for _ in range(2)
    )
    cut = x.choice % count
    if cut:
        made.absorb(K[:cut], V[:cut])
    other.absorb(K[cut:], V[cut:])
    made.merge(other)
    yield from output(made.attend(Q), Q, K, V, {})


def _quantised(module: ModuleType, x: Heads) -> Iterator[Statement]:
    rng, options = seeded(x), x.asked(_CACHED)
    layout = _LAYOUTS[rng.integers(len(_LAYOUTS))]
    cut = int(rng.integers(1, len(x.K) + 1))
    cache = module.QuantisedCache(x.K[:cut], x.V[:cut], **layout)
    if cut < len(x.K):
        cache.append(x.K[cut:], x.V[cut:])
    left = np.arange(len(x.K))
    if len(left) > 1 and rng.random() < 0.4:
        gone = int(rng.integers(len(left)))
        cache.evict(gone)
        left = np.delete(left, gone)
    K, V = x.K[left], x.V[left]
    found = cache.attention(x.Q, bound=("augmented", "hull")[rng.integers(2)], **options)
    yield from output(found, x.Q, K, V, options)
    if "sinks" not in options:
        read, _ = cache.read()

        def variation(bits: int) -> Enclosure:
            apart = weights(x.Q, read, precision=bits, **options) - weights(
                x.Q, K, precision=bits, **options
            )
            return abs(apart).sum(axis=1) / 2

        yield Statement(
            what="the variation of the weights",
            quantity=variation,
            bound=finite("a variation", cache.variation(x.Q, **options)),
        )


def _certified_cache(module: ModuleType, x: Heads) -> Iterator[Statement]:
    rng, options = seeded(x), x.asked(_CACHED)
    bound = ("augmented", "hull")[rng.integers(2)]
    if rng.random() < 0.5:
        made = {}
        for name in ("K", "V"):
            codes = rng.integers(-120, 121, getattr(x, name).shape).astype(np.int8)
            scales = np.ldexp(1.0, rng.integers(-8, 2, (len(codes), 1))).astype(np.float32)
            held = module.Codes.of(codes, scales)
            # Half a step off at most, exactly: sixteenths of powers of two.
            off = rng.integers(-8, 9, codes.shape) / 16
            made[name] = held, (codes + off) * scales.astype(np.float64)
        (keys, K), (values, V) = made["K"], made["V"]
        told: Any = keys, values, keys.radius(), values.error()
        x = Heads(**(vars(x) | {"Q": x.Q.astype(np.float64)}))
    else:
        K, V = x.K, x.V
        off = [(a * 2.0 ** -rng.integers(2, 20)).astype(a.dtype) for a in (K, V)]
        near = [(a - rng.permuted(o)).astype(a.dtype) for a, o in zip((K, V), off, strict=True)]
        told = *near, _lengths(K, near[0]), _largest(V, near[1])
    found = module.certify_quantised(x.Q, *told, bound=bound, **options)
    yield from output(found, x.Q, K, V, options)


def _lengths(one: Array, other: Array) -> Array:
    """Return numbers that are not less than the lengths of the rows of a difference."""
    gap = Enclosure.exact(one) - Enclosure.exact(other)
    squares = (gap * gap).sum(axis=1).bounds()[1]
    found = np.array([rounded_up(Fraction(s)) for s in squares])
    return np.asarray(np.nextafter(np.sqrt(found), np.inf))


def _largest(one: Array, other: Array) -> Array:
    gap = abs(Enclosure.exact(one) - Enclosure.exact(other)).max(axis=1).bounds()[1]
    return np.array([rounded_up(Fraction(g)) for g in gap])


def _planes(module: ModuleType, x: Heads) -> Iterator[Statement]:
    options = x.asked(SCALE)
    cache = module.BitPlaneCache(x.K, x.V)
    found = cache.attention(x.Q, _TOLERANCES[x.choice % 4], **options)
    yield from output(found, x.Q, x.K, x.V, options)


#: Of what a ledger may fail with: the share of its first statement.  The D-th error has 1/(D (D + 1)) of the
#: rest.
_FIRST = Fraction(9, 10)


def _ledger(module: ModuleType, x: Audits) -> Iterator[Statement]:
    rng = seeded(x)
    ledger = module.AuditLedger(0.25, x.failure_probability, 1.0, audit_probability=x.rate)
    truly = audited = 0
    steps = max(x.steps, 0)
    for step in range(steps):
        wrong = step % max(x.errors, 1) == 0
        truly += wrong
        if ledger.audit(rng):
            audited += wrong
            ledger.record(2.0 if wrong else 1.0)
    stated = ledger.bound()
    if (stated.steps, stated.errors) != (steps, audited):
        raise BrokenError("the ledger miscounted.")
    if stated.most_errors < audited or stated.most_errors > steps:
        raise BrokenError(
            "the ledger states fewer errors than it saw, or more than there are answers."
        )
    if stated.most_errors == stated.steps - stated.audits + audited or stated.most_errors > 600:
        return
    # More errors than are stated would have shown so few with a probability of no more than the share.
    more, rate = stated.most_errors + 1, Fraction(x.rate)
    chance = sum(
        math.comb(more, k) * rate**k * (1 - rate) ** (more - k) for k in range(audited + 1)
    )
    share = Fraction(x.failure_probability)
    share *= _FIRST if audited == 0 else (1 - _FIRST) / (audited * (audited + 1))
    yield Statement(
        what="the probability of more errors than are stated",
        quantity=lambda bits: Fraction(chance) / share,
        bound=1.0 + 2.0**-50,
    )


ATTACKS = (
    Attack(function="polynomial_attention", sample=short, statements=_polynomial),
    Attack(function="MomentState", sample=short, statements=_moments),
    Attack(function="DynamicAttention", sample=tokens, statements=_dynamic),
    Attack(function="StreamingAttention", sample=short, statements=_streaming),
    Attack(function="KeyIndex", sample=short, statements=_index),
    Attack(function="BalancedCoreset", sample=short, statements=_coreset),
    Attack(function="QuantisedCache", sample=heads, statements=_quantised),
    Attack(function="certify_quantised", sample=heads, statements=_certified_cache),
    Attack(function="BitPlaneCache", sample=heads, statements=_planes),
    Attack(function="AuditLedger", sample=audits, statements=_ledger),
)
