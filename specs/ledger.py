"""The closed list: every abstract sentence by sentence, and one record a claim."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from specs.claim import Assurance, Status


@dataclass(frozen=True)
class Record:
    """One row of the ledger: what the project says of a claim, to be confirmed by the audit.

    ``sharpness`` says of each bound that some instance attains it (``"attained"``: counts decide so, or Coq
    proves it), that instances come as near as one likes (``"approached"``: Coq proves it), or the largest
    quantity / bound seen, to the digits that are claimed: ``"0.99"``, that the audit finds 0.99 or more.

    ``vacuous_where`` names for each bound that the cheapest answer meets on a part of the hypothesis set
    which part; ``refuted_where`` says where a conjecture is refuted (elsewhere it is open).  On the rest
    of the hypothesis set the verdict is ``verdict``.
    """

    id: str
    where: str
    quote: str
    verdict: Status
    assurance: Assurance
    scope: str = ""
    sharpness: Mapping[str, str] | None = None
    vacuous_where: Mapping[str, str] | None = None
    refuted_where: str = ""
    repaired_by: tuple[str, ...] = ()
    not_stated: str = ""

    @property
    def shown(self) -> str:
        """The verdict, and that it is not one on the whole hypothesis set where that is so."""
        elsewhere = f" in part, else {Status.OPEN}" if self.refuted_where else ""
        return self.verdict + elsewhere + (", in part vacuous" if self.vacuous_where else "")


@dataclass(frozen=True)
class Sentence:
    """One sentence of an abstract: the claims that it makes, or why it makes none."""

    paper: str
    number: int
    text: str
    claims: tuple[str, ...]
    no_claim: str


@dataclass(frozen=True)
class Paper:
    """A paper's particulars and every sentence of its abstract."""

    id: str
    title: str
    authors: str
    source: str
    abstract_sha256: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True)
class Ledger:
    """The closed list: every abstract sentence by sentence, and one record a claim."""

    papers: tuple[Paper, ...]
    records: Mapping[str, Record]


def parse_ledger(text: str) -> Ledger:
    """Read a ledger from TOML, refusing unknown fields and repeated ids.

    Raises
    ------
    ValueError
        If a claim id appears twice.
    TypeError
        If a record has a field that :class:`Record` has not.
    """
    raw = tomllib.loads(text)
    records: dict[str, Record] = {}
    for row in raw["claim"]:
        record = _record(row)
        if record.id in records:
            raise ValueError(f"claim id {record.id} appears twice in the ledger; ids are unique")
        records[record.id] = record
    return Ledger(tuple(_paper(row) for row in raw["paper"]), records)


@cache
def ledger() -> Ledger:
    """Return the ledger that ships, ``specs/papers.toml``."""
    return parse_ledger(files("specs").joinpath("papers.toml").read_text(encoding="utf-8"))


def _record(row: dict[str, Any]) -> Record:
    fields = dict(row)
    fields["verdict"] = Status(fields["verdict"])
    fields["assurance"] = Assurance(fields["assurance"])
    fields["repaired_by"] = tuple(fields.get("repaired_by", ()))
    return Record(**fields)


def _paper(row: dict[str, Any]) -> Paper:
    sentences = tuple(
        Sentence(
            row["id"],
            number,
            sentence["text"],
            tuple(sentence.get("claims", ())),
            sentence.get("no_claim", ""),
        )
        for number, sentence in enumerate(row["sentence"], start=1)
    )
    return Paper(
        row["id"], row["title"], row["authors"], row["source"], row["abstract_sha256"], sentences
    )
