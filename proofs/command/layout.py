"""How the commands write: paragraphs, aligned columns, and how far a run is.

At a terminal everything folds at its width; piped, paragraphs and long sentences in tables fold at a width
of their own, names and figures never, and nothing is cut.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["print_paragraph", "print_table", "styled", "track"]

#: Where output is piped: the width of a paragraph, and that at which a sentence in a table folds.
PARAGRAPH, SENTENCE = 100, 72

#: Blanks between two columns, and the least width to which a terminal squeezes one that folds.
GAP, LEAST = 2, 8

#: How terminals are told to set what follows.
STYLES = {"bold": "\x1b[1m", "wrong": "\x1b[1;31m"}
PLAIN, CLEARED = "\x1b[0m", "\r\x1b[K"

Step = TypeVar("Step")


def print_paragraph(text: str) -> None:
    """Print prose, folded."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else PARAGRAPH
    print(textwrap.fill(text, width, break_long_words=terminal, break_on_hyphens=False))


def styled(text: str, style: str) -> str:
    """Return text as it is and, at a terminal, set in one of ``STYLES``."""
    shown = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"{STYLES[style]}{text}{PLAIN}" if shown else text


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], figures: range = range(0)
) -> None:
    """Print rows, below headings where there are any; columns of ``figures`` are aligned at the right."""
    cells = [
        [cell.split("\n") for cell in row] for row in ([headings] if headings else []) + [*rows]
    ]
    widths = _widths(cells)
    for k, row in enumerate(cells):
        folded = [_fold(cell, width) for cell, width in zip(row, widths, strict=True)]
        for height in range(max(map(len, folded))):
            parts = (column[height] if height < len(column) else "" for column in folded)
            aligned = (
                _blanks(part, width) + part if j in figures else part + _blanks(part, width)
                for j, (part, width) in enumerate(zip(parts, widths, strict=True))
            )
            print((" " * GAP).join(aligned).rstrip())
        if k == 0 and headings and sys.stdout.isatty():
            print("-" * (sum(widths) + GAP * (len(widths) - 1)))


def _widths(cells: Sequence[Sequence[Sequence[str]]]) -> list[int]:
    """Return how wide each column is: as its cells are, or where something must fold."""
    columns = list(zip(*cells, strict=True))
    widest = [max(_width(line) for cell in column for line in cell) for column in columns]
    if not sys.stdout.isatty():
        unfolded = [
            max((_longest_piece(x) for cell in c for x in cell), default=0) for c in columns
        ]
        return [max(min(w, SENTENCE), u) for w, u in zip(widest, unfolded, strict=True)]
    allowed = shutil.get_terminal_size().columns - GAP * (len(widest) - 1)
    while sum(widest) > allowed and max(widest) > LEAST:
        widest[widest.index(max(widest))] -= 1
    return widest


def _longest_piece(line: str) -> int:
    """Return the width of the longest part of a line that does not fold where output is piped."""
    return max(map(_width, line.split()), default=0)


def _fold(lines: Sequence[str], width: int) -> list[str]:
    folded = []
    for line in lines:
        if _width(line) <= width:
            folded.append(line)
        else:
            indent = " " * (len(line) - len(line.lstrip()))
            folded += textwrap.wrap(
                line,
                width,
                subsequent_indent=indent if len(indent) < width else "",
                break_on_hyphens=False,
            )
    return folded or [""]


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(x) else 2 if unicodedata.east_asian_width(x) in "WF" else 1
        for x in text
    )


def _blanks(text: str, width: int) -> str:
    return " " * (width - _width(text))


def track(steps: Sequence[Step], name: Callable[[Step], str]) -> Iterator[Step]:
    """Yield the steps of a run and, where stderr is a terminal, show which is the current one."""
    shown, start = sys.stderr.isatty(), time.monotonic()
    try:
        for k, step in enumerate(steps):
            if shown:
                minutes, seconds = divmod(int(time.monotonic() - start), 60)
                text = f"{k}/{len(steps)}  {minutes}:{seconds:02}  {name(step)}"
                width = shutil.get_terminal_size().columns - 1
                print(CLEARED + text[:width], end="", file=sys.stderr, flush=True)
            yield step
    finally:
        if shown:
            print(CLEARED, end="", file=sys.stderr, flush=True)
