"""The examples of the documents run, and what the documents say of the project is so."""

import re
from pathlib import Path

import pytest

from specs import CLAIMS
from specs.claim import Status, ledger

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_the_python_examples_of_a_document_run(document: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, document, "exec"), {"__name__": "example"})


def test_every_relative_link_of_a_document_leads_somewhere() -> None:
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (ROOT / target).exists(), f"{document.name} links to {target}"


def test_the_readme_counts_the_open_claims_rightly() -> None:
    open_claims = sum(r.verdict is Status.OPEN for r in ledger().records.values())
    assert f"the {open_claims} claims of the papers" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("id_", CLAIMS)
def test_the_readme_shows_what_the_ledger_says_of_an_executable_claim(id_: str) -> None:
    record = ledger().records[id_]
    shown = f"| {id_} | {record.verdict} | {record.assurance} | "
    (row,) = [x for x in (ROOT / "README.md").read_text("utf-8").splitlines() if shown in x]
    for bound, sharpness in (record.sharpness or {}).items():
        assert f"`{bound}` {sharpness}" in row
