"""``attest check``: every judge asks an implementation about the data that are of its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
from proofs.judging.implementation import implementation
from proofs.judging.registry import JUDGES, Item

__all__ = ["SECTIONS", "check"]

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


def check(name: str, source: str, items: Sequence[Item], left_out: str = "") -> Check:
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

    Raises
    ------
    InputError
        If there is no such module, or it has no function for any of the items.
    """
    kinds = {type(item) for item in items}
    judges = [judge for judge in JUDGES if judge.judges in kinds]
    module = implementation(name, *(judge.function for judge in judges))
    asked = [judge for judge in judges if callable(getattr(module, judge.function, None))]
    found: dict[str, list[Any]] = {judge.stem: [] for judge in asked}
    steps = [(j, item) for j in asked for item in items if isinstance(item, j.judges)]
    for judge, item in track(steps, lambda step: f"{step[0].function}: {step[1].name}"):
        found[judge.stem].append(judge.examine(item, getattr(module, judge.function)))
    sections = (
        SECTIONS[judge.stem](found[judge.stem], f"{name}.{judge.function} on {source}")
        for judge in asked
    )
    return Check(
        implementation=name,
        source=source,
        sections=tuple(sections),
        unchecked=tuple(
            f"{name} has no function {judge.function}: "
            f"{', '.join(item.name for item in items if isinstance(item, judge.judges))} not checked."
            for judge in judges
            if judge not in asked
        ),
        not_run=tuple(filter(None, (left_out, ELSEWHERE))),
    )
