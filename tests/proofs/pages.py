"""Pages as a test reads them: elements, ids and numbers, without a browser."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

#: Elements that have no end.
VOID = {"meta", "link", "input", "wbr", "br", "img"}

_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@dataclass(frozen=True)
class Number:
    """A number of a document: which, where it stands there, its value, and what is shown."""

    document: str
    place: str
    value: float | int
    shown: str

    @property
    def read(self) -> Decimal:
        """The number that a reader sees."""
        digits, _, exponent = self.shown.partition("×10")
        return Decimal(digits).scaleb(int(exponent.translate(_DIGITS) or 0))


@dataclass
class Page(HTMLParser):
    """A page, read once; what is not well-formed fails."""

    path: Path
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    numbers: list[Number] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, int]] = []
        self._number: tuple[dict[str, str | None], str] | None = None
        self.source = self.path.read_text("utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open, f"{self._open} are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"{tag} has an attribute twice: {attrs}"
        self.elements.append((tag, attributes))
        if tag not in VOID:
            texts = self.texts.setdefault(tag, [])
            self._open.append((tag, len(texts)))
            texts.append("")
        if tag == "data":
            self._number = attributes, ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"{tag} is closed and was not opened"
        assert self._open.pop()[0] == tag, f"{tag} is closed before what it holds"
        if tag == "data" and self._number:
            held, shown = self._number
            value = json.loads(str(held["value"]))
            self.numbers.append(Number(str(held["data-in"]), str(held["data-place"]), value, shown))
            self._number = None

    def handle_data(self, data: str) -> None:
        for tag, index in self._open:
            self.texts[tag][index] += data
        if self._number:
            self._number = self._number[0], self._number[1] + data

    @property
    def ids(self) -> Counter[str]:
        """Every id, and how often it is given."""
        return Counter(str(a["id"]) for _, a in self.elements if "id" in a)

    def attributes(self, name: str) -> list[str]:
        """Return every value of an attribute."""
        return [str(a[name]) for _, a in self.elements if a.get(name) is not None]

    def text(self, tag: str) -> list[str]:
        """Return the text of every element of a kind, white space folded."""
        return [" ".join(text.split()) for text in self.texts.get(tag, [])]


def places(document: Any, name: str, place: str = "") -> dict[str, Any]:
    """Return every place of a document that ends in this name, and what stands there."""
    found: dict[str, Any] = {}
    if isinstance(document, list):
        for k, inner in enumerate(document):
            found |= places(inner, name, f"{place}[{k}]")
    elif isinstance(document, dict):
        for key, inner in document.items():
            here = f"{place}.{key}".removeprefix(".")
            if re.sub(r"\[\d+\]$", "", key) == name:
                found[here] = inner
            found |= places(inner, name, here)
    return found
