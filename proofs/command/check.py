"""``attest check``: every judge asks an implementation about the data that are of its kind."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from fnmatch import fnmatchcase
from multiprocessing import get_context
from types import ModuleType
from typing import Any
from zlib import crc32

import numpy as np
from threadpoolctl import threadpool_limits

from proofs.command.layout import track
from proofs.command.report import Check, Section
from proofs.command.sections import (
    caches,
    dynamic,
    exact,
    polynomial,
    real_heads,
    regression,
    sparsification,
)
from proofs.judging.heads import LARGEST_ENTRY, Head, InputError
from proofs.judging.implementation import implementation
from proofs.judging.registry import JUDGES, Item, Judge
from specs.claim import alike

__all__ = ["SECTIONS", "check", "cores", "scaled", "selected"]

#: A judge, and what it asks about.
Step = tuple[Judge[Any], Item]

#: What tells of each stem's judgements.
SECTIONS: dict[str, Callable[[Sequence[Any], str], Section]] = {
    "exact": exact.section,
    "dynamic": dynamic.section,
    "polynomial": polynomial.section,
    "real_heads": real_heads.section,
    "regression": regression.section,
    "sparsification": sparsification.section,
    "caches": caches.section,
}

#: What ``attest`` does beside.
ELSEWHERE = (
    "Not run: attest audit (the claims), attest audit --proofs (Coq), attest conform (edge cases)."
)


#: Steps that a process of its own is started for: it takes two seconds before the first.
STEPS_A_PROCESS = 16


def selected(items: Sequence[Item], patterns: Sequence[str]) -> list[Item]:
    """Return the items whose name one of the patterns is, or matches with ``*`` and ``?``.

    Raises
    ------
    InputError
        If a pattern matches none.
    """
    found: dict[str, Item] = {}
    for pattern in patterns:
        like = pattern.replace("[", "[[]")  # heads of an array are called name[0, 3]
        named = {i.name: i for i in items if i.name == pattern or fnmatchcase(i.name, like)}
        if not named:
            raise InputError(
                f"--head must name a head or matrix of these, got {pattern!r}; "
                f"{alike(pattern, (i.name for i in items)) or f'the first is {items[0].name}.'}"
            )
        found |= named
    return [item for item in items if item.name in found] if patterns else [*items]


def scaled(head: Head, scale: float) -> Head:
    """Return a head whose Q is that of the given one times ``scale``, rounded to its type.

    Raises
    ------
    InputError
        If it is no finite number, or entries of Q become too large.
    """
    with np.errstate(all="ignore"):
        Q = (head.Q.astype(np.float64) * scale).astype(head.Q.dtype)
        usable = np.isfinite(Q).all() and np.abs(Q).max().astype(np.float64) <= LARGEST_ENTRY
    if not usable:
        raise InputError(
            f"--scale must be a finite number that leaves no entry of Q above 2^500, got {scale:g} for "
            f"head {head.name}."
        )
    return replace(head, Q=Q)


def check(
    name: str,
    source: str,
    items: Sequence[Item],
    left_out: str = "",
    *,
    functions: Sequence[str] = (),
    causal: bool = False,
    seed: int | None = None,
) -> Check:
    """Let every judge ask the module ``name`` about the items that it judges.

    Parameters
    ----------
    name
        An importable module.
    source
        Where the items come from, in words.
    items
        Heads, feature matrices and histories of replacements.
    left_out
        Which of the source's items are not among these, in a sentence.
    functions
        The functions to ask; by default all.
    causal
        Whether to ask for causal attention, and only those functions and heads that have it.
    seed
        Draws the rows that are checked of a large head or matrix, whatever else is asked for; by default one
        that nobody can foresee.

    Raises
    ------
    InputError
        If there is no such module, it has no function for any of the items, ``functions`` names one of which
        nothing is known, ``causal`` leaves nothing to ask, or the seed is negative.
    """
    known = [judge.function for judge in JUDGES]
    for function in functions:
        if function not in known:
            raise InputError(f"--section must be one of {', '.join(known)}, got {function!r}.")
    kinds = {type(item) for item in items}
    judges = [j for j in JUDGES if j.judges in kinds and (not functions or j.function in functions)]
    if not judges:
        raise InputError(f"{source} holds nothing to ask {' or '.join(functions)} about.")
    module = implementation(name, *(judge.function for judge in judges))
    asked = [judge for judge in judges if callable(getattr(module, judge.function, None))]
    steps = [(j, item) for j in asked for item in items if isinstance(item, j.judges)]
    not_run = [left_out, ELSEWHERE]
    if causal:
        omitted = dict.fromkeys(j.function for j, item in steps if not _has_causal(j, item))
        steps = [step for step in steps if _has_causal(*step)]
        asked = [judge for judge in asked if any(judge is j for j, _ in steps)]
        if not steps:
            raise InputError(
                "--causal leaves nothing to ask: it is for attention, and for certified_attention of up to "
                "1024 tokens, of heads with as many queries as keys."
            )
        if omitted:
            not_run.insert(
                1, f"Not run, or not of every head, as --causal asks: {', '.join(omitted)}."
            )
    if seed is not None and seed < 0:
        raise InputError(f"--seed must be at least 0, got {seed}.")
    if seed is None:
        seed = int(np.random.default_rng().integers(2**32))
    found: dict[str, list[Any]] = {judge.stem: [] for judge in asked}
    for (judge, _), examination in _examined(name, module, steps, causal, seed):
        found[judge.stem].append(examination)
    sections = (
        SECTIONS[judge.stem](found[judge.stem], f"{name}.{judge.function} on {source}")
        for judge in asked
    )
    return Check(
        implementation=name,
        source=source,
        seed=seed,
        sections=tuple(sections),
        unchecked=tuple(
            f"{name} has no function {judge.function}: "
            f"{', '.join(item.name for item in items if isinstance(item, judge.judges))} not checked."
            for judge in judges
            if not callable(getattr(module, judge.function, None))
        ),
        not_run=tuple(filter(None, not_run)),
    )


def _has_causal(judge: Judge[Any], item: Item) -> bool:
    return (
        isinstance(item, Head)
        and len(item.Q) == len(item.K)
        and len(item.K) <= judge.largest_causal
    )


def _examined(
    name: str, module: ModuleType, steps: Sequence[Step], causal: bool, seed: int
) -> Iterator[tuple[Step, Any]]:
    """Yield every step with what was found, in order.

    Many steps are shared among all cores, by processes that can load the module by its name.
    """
    tracked = track(steps, lambda step: f"{step[0].function}: {step[1].name}")
    count = min(cores(), len(steps) // STEPS_A_PROCESS)
    if count < 2 or module.__spec__ is None:
        for judge, item in tracked:
            yield (judge, item), _ask(judge, module, item, causal, seed)
        return
    pool = ProcessPoolExecutor(count, get_context("spawn"), _start)
    try:
        work = [
            pool.submit(_examine, name, JUDGES.index(j), item, causal, seed) for j, item in steps
        ]
        for step, future in zip(tracked, work, strict=True):
            yield step, future.result()
    except BrokenProcessPool:
        raise InputError(f"{name} ended one of the processes in which it was asked.") from None
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start() -> None:
    """Let a process that examines print nothing to stdout, which is the report's, and use one core."""
    sys.stdout = sys.stderr
    threadpool_limits(1)


def _examine(name: str, index: int, item: Item, causal: bool, seed: int) -> Any:
    judge = JUDGES[index]
    return _ask(judge, implementation(name, judge.function), item, causal, seed)


def _ask(judge: Judge[Any], module: ModuleType, item: Item, causal: bool, seed: int) -> Any:
    asked: dict[str, Any] = {"causal": True} if causal else {}
    if judge.draws:
        # Of its own, so that it draws the same whatever is asked beside it and by whichever process.
        of_step = crc32(f"{judge.function} {item.name}".encode(errors="backslashreplace"))
        asked["rng"] = np.random.default_rng([seed, of_step])
    return judge.examine(item, getattr(module, judge.function), **asked)
