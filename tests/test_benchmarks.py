"""BENCHMARKS.md is what was measured, losses in bold; nothing is measured here."""

from typing import Any

import pytest

from tests.benchmarks import report
from tests.benchmarks.tables import TABLES, Figure


def results(**figures: Any) -> dict[str, Any]:
    """Return what one run of the benchmark of the first table found."""
    table = TABLES[0]
    raw = {
        "benchmarks": [
            {
                "fullname": f"tests/benchmarks/{table.test}[{next(iter(table.rows))}]",
                "extra_info": figures,
            }
        ]
    }
    run = {
        "date": "2026-01-02 03:04 UTC",
        "set": "the reduced set",
        "processor": "a processor",
        "instructions": "AVX2",
        "cores": 2,
        "threads": "one thread",
        "load": (0.5, 1.5),
        "versions": {"numpy": "2.4"},
    }
    return report.merged({}, raw, run)


def test_the_page_is_generated_from_what_was_measured() -> None:
    written = report.page(report.TEMPLATE.read_text("utf-8"), report.read())
    assert report.PAGE.read_text("utf-8") == written, "run: python -m tests.benchmarks --report"
    for table in TABLES:
        if f"({report.plot(table)})" in written:
            assert (report.ROOT / report.plot(table)).exists()


@pytest.mark.parametrize(
    ("ratio", "says", "told"),
    [
        (0.5, Figure.SPEED, "**0.5**"),
        (2.5, Figure.SPEED, "2.5"),
        (0.5, Figure.SLOWNESS, "2"),
        (2.5, Figure.SLOWNESS, "**0.4**"),
        (0.996, Figure.SPEED, "**1**"),
        (0.5, Figure.VALUE, "0.5"),
    ],
)
def test_a_loss_is_in_bold_and_nothing_else(ratio: float, says: Figure, told: str) -> None:
    assert report.cell({"x": ratio}, "x", says) == told


def test_a_table_says_which_run_it_is_of_and_on_what() -> None:
    found = results(**{"fastpath / torch": 2.0, "fastpath / numpy three lines": 0.8})
    table = report.markdown(TABLES[0], found)
    assert "| **0.5** | 1.2 |" in table
    assert "Run 1" in table
    told = report.described(found)
    assert (
        "a processor (AVX2), one thread; 2 cores, whose load was 0.5 before and 1.5 after" in told
    )


def test_a_run_replaces_what_it_measured_and_leaves_the_rest() -> None:
    before = results(x=1.0)
    before["figures"]["other"] = {"run": "2025-01-01 00:00 UTC", "x": 3.0}
    before["runs"]["2025-01-01 00:00 UTC"] = {}
    raw = {"benchmarks": [{"fullname": "tests/benchmarks/t.py::t[a]", "extra_info": {"x": 2.0}}]}
    after = report.merged(before, raw, {"date": "2026-05-05 00:00 UTC"})
    assert after["figures"]["t.py::t[a]"] == {"run": "2026-05-05 00:00 UTC", "x": 2.0}
    assert after["figures"]["other"]["x"] == 3.0
    assert len(after["runs"]) == 3


def test_what_no_run_measured_is_said_to_be_so() -> None:
    assert "not measured yet" in report.markdown(TABLES[0], {})


def test_a_template_without_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="once, has it 0 times"):
        report.page("no table", {})


def test_the_reduced_set_is_part_of_the_tables() -> None:
    for table in TABLES:
        assert set(table.quick) <= set(table.rows)
