"""The examples of the documents run, and what the documents say of the project is so."""

import re
from collections import Counter
from pathlib import Path

import pytest

from specs import CLAIMS
from specs.claim import Assurance, Status
from specs.ledger import ledger

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


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


@pytest.mark.parametrize("papers", ["S, K", "FP", "P1", "P2", "P3", "P4", "R"])
def test_the_readme_counts_what_the_ledger_says(papers: str) -> None:
    records = [
        record
        for id_, record in ledger().records.items()
        if id_.split(".")[0] in papers.split(", ")
    ]
    verdicts = Counter(str(record.verdict) for record in records).most_common()
    shown = ", ".join(f"{count} {verdict}" for verdict, count in verdicts)
    proved = sum(record.assurance is Assurance.PROVED for record in records)
    (row,) = [x for x in README.splitlines() if x.startswith(f"| {papers}: ")]
    assert row.endswith(f" | {shown} | {proved} of {len(records)} |")


def test_the_readme_counts_claims_and_theorems() -> None:
    bounds = [bound for claim in CLAIMS.values() for bound in claim.bounds]
    records = ledger().records
    told = " ".join(README.split())
    assert f"Of {len(records)} claims, {len(CLAIMS)} are executable" in told
    open_ones = sum(record.verdict is Status.OPEN for record in records.values())
    assert open_ones == len(records) - len(CLAIMS)
    assert f"and {open_ones} are open" in told
    proved = sum(bool(bound.theorem) for bound in bounds)
    assert f"for {proved} of {len(bounds)} bounds" in told
