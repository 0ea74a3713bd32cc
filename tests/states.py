"""Every class whose state can be saved: how one is made, changed, and told from another."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastpath import (
    AuditLedger,
    BalancedCoreset,
    KeyIndex,
    MomentState,
    QuantisedCache,
    StreamingAttention,
)


def _numbers(step: int, *shape: int) -> Any:
    return np.random.default_rng(step).standard_normal(shape).astype(np.float32)


def _caches(bits: Any, per_channel: bool) -> Iterator[QuantisedCache]:
    cache = QuantisedCache(
        _numbers(0, 3, 4),
        _numbers(1, 3, 2),
        key_bits=bits,
        value_bits=bits,
        group=2 if per_channel else 32,
        per_channel=per_channel,
    )
    step = 0
    while True:
        yield cache
        step += 1
        cache.append(_numbers(step, 3, 4), _numbers(-step % 97, 3, 2))
        if step % 3 == 0:
            cache.evict(step)


def _ledgers() -> Iterator[AuditLedger]:
    ledger, rng = AuditLedger(0.25, 1e-6, 0.5), np.random.default_rng(0)
    while True:
        yield ledger
        if ledger.audit(rng):
            yield ledger
            ledger.record(float(rng.random()))


def _moments() -> Iterator[MomentState]:
    state, step = MomentState(2, 3, 4, centre=[0.5, -0.5]), 0
    while True:
        yield state
        step += 1
        state.update(_numbers(step, 5, 2), _numbers(step + 1, 5, 3))


def _indices() -> Iterator[KeyIndex]:
    index, step = KeyIndex(_numbers(0, 600, 4), _numbers(1, 600, 2)), 0
    while True:
        yield index
        step += 1
        # Some wait and some are sorted in.
        index.append(_numbers(step, 300, 4), _numbers(step + 1, 300, 2))


def _coresets() -> Iterator[BalancedCoreset]:
    made = BalancedCoreset(4, 2, size=64, rng=np.random.default_rng(0), queries=_numbers(5, 9, 4))
    made.absorb(_numbers(0, 50, 4), _numbers(1, 50, 2))
    step = 0
    while True:
        yield made
        step += 1
        # Halved, now and then.
        made.absorb(_numbers(step, 30, 4), _numbers(step + 1, 30, 2))


def _streams(recovery: str) -> Iterator[StreamingAttention]:
    state = StreamingAttention(
        2,
        3,
        logit_bound=2.0,
        tolerance=0.1,
        sparsity=2,
        scale=0.5,
        recovery=recovery,
        rng=np.random.default_rng(0),
    )
    state.absorb(_numbers(0, 20, 2) / 8, _numbers(1, 20, 3))
    step = 0
    while True:
        yield state
        step += 1
        state.attend(_numbers(step, 3, 2) / 8)


#: For each kind of state, what yields it again and again, changed each time.
STATES: dict[str, Callable[[], Iterator[Any]]] = {
    "QuantisedCache": lambda: _caches(8, False),
    "QuantisedCache, 4 bits by channel": lambda: _caches(4, True),
    "QuantisedCache, bfloat16": lambda: _caches("bfloat16", False),
    "AuditLedger": _ledgers,
    "KeyIndex": _indices,
    "BalancedCoreset": _coresets,
    "MomentState": _moments,
    "StreamingAttention": lambda: _streams("heap"),
    "StreamingAttention, sketch": lambda: _streams("sketch"),
}


def after(name: str, steps: int) -> Any:
    """Return a state that was changed so many times."""
    states = STATES[name]()
    for _ in range(steps):
        next(states)
    return next(states)


def arrays_of(path: Path) -> dict[str, Any]:
    """Return what a saved file holds, read by numpy."""
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
