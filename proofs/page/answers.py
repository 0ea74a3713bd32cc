"""The answers of a check by what they are about, each with its place in the document.

A place is written as in JavaScript: ``heads[0].runs[1].bound``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Item", "items_of", "look_up"]

#: What tells an answer from other records of the document.
_FIELDS = {"name", "dtype", "passed", "verdict", "bound", "error_upper", "refusal", "failure"}


@dataclass(frozen=True)
class Answer:
    """One answer of an implementation.

    Attributes
    ----------
    place, section
        Where in the document it is, and in which of its sections.
    function
        The function that was asked.
    found
        What the document says of it.
    """

    place: str
    section: str
    function: str
    found: Mapping[str, Any]

    @property
    def asked(self) -> str:
        """In which way, in words."""
        found = self.found
        parts = [found["dtype"]]
        if "scale" in found:
            parts.append(f"scaled by {found['scale']:.3g}")
        if isinstance(kept := found.get("columns_kept"), int):
            parts.append(f"d = {kept}")
        parts += [str(found[name]) for name in ("guarantee", "mode", "format") if name in found]
        return ", ".join(parts)

    @property
    def outcome(self) -> str:
        """What became of it: ``within``, ``refused`` or ``failed``."""
        if not self.found["passed"]:
            return "failed"
        return "refused" if self.found["verdict"] == "REFUSED" else "within"

    @property
    def reason(self) -> str:
        """Why nothing was certified, or what was chosen and why, in a sentence."""
        certificate = self.found.get("certificate") or {}
        method, reason = certificate.get("method", ""), certificate.get("reason", "")
        chosen = f"{method}: {reason}" if method and reason else ""
        return str(self.found["failure"] or self.found["refusal"] or chosen)


@dataclass(frozen=True)
class Item:
    """A head, a feature matrix or a history of replacements, and all answers about it.

    Attributes
    ----------
    name, kind
        Its name, and what it is.
    place, found
        Where it is described, and how: for a head with measurements and papers.
    answers
        In the order of the document.
    """

    name: str
    kind: str
    place: str
    found: Mapping[str, Any]
    answers: tuple[Answer, ...]

    @property
    def nearest(self) -> Answer | None:
        """The answer that failed, or else whose error comes nearest to its bound."""
        answered = [a for a in self.answers if a.outcome != "refused"]
        return min(answered, key=_margin, default=None)

    @property
    def main(self) -> Answer | None:
        """The answer that stands for it: exact attention in the head's own type, or the nearest."""
        exact = (a for a in self.answers if a.section == "heads")
        return next(exact, self.nearest)

    @property
    def passed(self) -> bool:
        """Whether every answer did."""
        return all(answer.outcome != "failed" for answer in self.answers)


def _margin(answer: Answer) -> tuple[bool, float]:
    ratio = answer.found.get("bound_over_error")
    return bool(answer.found["passed"]), float("inf") if ratio is None else ratio


def items_of(document: Mapping[str, Any], functions: Mapping[str, str]) -> tuple[Item, ...]:
    """Return everything that was asked about, in the order of the document.

    Parameters
    ----------
    document
        What ``attest check --json`` prints.
    functions
        The function behind each section of it.
    """
    places: dict[str, tuple[str, Mapping[str, Any]]] = {}
    answers: dict[str, list[Answer]] = {}
    for section, function in functions.items():
        for k, entry in enumerate(document.get(section, ())):
            place = f"{section}[{k}]"
            places.setdefault(entry["name"], (place, entry))
            found = answers.setdefault(entry["name"], [])
            found += [Answer(p, section, function, a) for p, a in _answers(place, entry)]
    kinds = {"matrices": "feature matrix", "replacements": "replacements"}
    return tuple(
        Item(name, kinds.get(place.partition("[")[0], "head"), place, entry, tuple(answers[name]))
        for name, (place, entry) in places.items()
    )


def _answers(place: str, entry: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(entry, list):
        for k, inner in enumerate(entry):
            yield from _answers(f"{place}[{k}]", inner)
    elif isinstance(entry, dict) and entry.keys() >= _FIELDS:
        yield place, entry
    elif isinstance(entry, dict):
        for name, inner in entry.items():
            yield from _answers(f"{place}.{name}", inner)


def look_up(document: Any, place: str) -> Any:
    """Return what stands at a place of a document.

    Raises
    ------
    KeyError, IndexError
        If nothing does.
    """
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", place):
        document = document[int(index)] if index else document[name]
    return document
