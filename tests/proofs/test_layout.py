"""What the commands print folds at a terminal's width, and where it is piped nothing is cut or padded."""

import os
import sys
from collections.abc import Callable

import pytest

from proofs.command import layout

ROWS = [("a", "1", "sentence " * 12), ("longer/" + "x" * 90, "-22", "short")]
HEADINGS = ("name", "\nfigure", "told")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make stdout and stderr a terminal of so many columns."""

    def made(columns: int) -> None:
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        size = os.terminal_size((columns, 9))
        monkeypatch.setattr("shutil.get_terminal_size", lambda: size)

    return made


def test_a_piped_table_folds_sentences_only_and_pads_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    layout.print_table(HEADINGS, ROWS, range(1, 2))
    lines = capsys.readouterr().out.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert sum("longer/" + "x" * 90 in line for line in lines) == 1
    assert " ".join(" ".join(lines).split()).count("sentence") == 12
    told = 97 + layout.GAP + len("figure") + layout.GAP
    assert {line.find("sentence") for line in lines if "sentence" in line} == {told}
    assert max(map(len, lines)) <= told + layout.SENTENCE
    figures = {line[told - layout.GAP - 3 : told - layout.GAP] for line in lines}
    assert {"  1", "-22"} <= figures


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_table_folds_at_the_terminals_width_and_nothing_is_cut(
    columns: int, terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(columns)
    layout.print_table(HEADINGS, ROWS, range(1, 2))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert out.count("x") == 90
    assert "".join(out.split()).count("sentence") >= 6


def test_wide_characters_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    layout.print_table((), [("漢字", "1"), ("abcd", "2"), ("e\u0301bcd", "3")])
    assert capsys.readouterr().out == "漢字  1\nabcd  2\ne\u0301bcd  3\n"


def test_only_a_terminal_is_told_of_styles_and_of_progress(
    terminal: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert layout.styled("text", "wrong") == "text"
    assert [*layout.track("ab", str)] == ["a", "b"]
    assert capsys.readouterr().err == ""
    terminal(20)
    assert layout.styled("text", "wrong") == "\x1b[1;31mtext\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert layout.styled("text", "wrong") == "text"
    assert [*layout.track(["one", "two" * 20], str)] == ["one", "two" * 20]
    shown = capsys.readouterr().err.split(layout.CLEARED)
    assert next(s.split() for s in shown if s) == ["0/2", "0:00", "one"]
    assert all(len(s) < 20 for s in shown)
    assert shown[-1] == ""
