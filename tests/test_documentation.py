"""The documents' examples run and print what is shown, their links lead somewhere, their figures are so."""

import re
import shlex
import tomllib
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastpath
from proofs.__main__ import main
from proofs.evidence.coq_checker import statements
from specs import CLAIMS
from specs.claim import Assurance, Status
from specs.ledger import ledger

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
WRITTEN = [path for path in DOCUMENTS if "GENERATED" not in path.read_text("utf-8")[:200]]
README = (ROOT / "README.md").read_text("utf-8")
FINDINGS = (ROOT / "docs" / "findings.md").read_text("utf-8")

#: A block of code, by its language.
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

#: What a command measured, of which last digits depend on the processor and times on the day: figures with
#: a point or a power of ten, and the quotient of two such.
MEASURED = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+")
QUOTIENT = re.compile(r"(#\s+#\s+)\d+")


def named(paths: list[Path]) -> list[Any]:
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in paths]


def results(text: str) -> list[tuple[str, str]]:
    """Run a document's examples in turn, and return what each shows and what it printed.

    A ``text`` block shows what the ``python`` block before it prints; a ``console`` block begins with a
    command.
    """
    found, names, printed = [], {"__name__": "example"}, ""
    for language, block in BLOCK.findall(text):
        if language == "python":
            out = StringIO()
            with redirect_stdout(out):
                exec(compile(block, "document", "exec"), names)
            printed = out.getvalue()
        elif language == "text" and printed:
            found.append((block, printed))
            printed = ""
        elif language == "console":
            command, _, shown = block.partition("\n")
            out = StringIO()
            with redirect_stdout(out):
                main(shlex.split(command.removeprefix("$ attest ")))
            found.append((counted(shown), counted(out.getvalue())))
    return found


def counted(told: str) -> str:
    """Return what a command told without what it measured."""
    return QUOTIENT.sub(r"\1#", MEASURED.sub("#", told))


def shows(shown: str, printed: str) -> bool:
    """Return whether printed text is what is shown, white space apart; ``...`` stands for any text."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in shown.split("...")]
    return re.fullmatch(r"\s*" + r"\s*.*\s*".join(parts) + r"\s*", printed, re.DOTALL) is not None


@pytest.mark.parametrize(
    "document", named([path for path in WRITTEN if "```python\n" in path.read_text("utf-8")])
)
def test_the_examples_of_a_document_print_what_is_shown(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for shown, printed in results(document.read_text("utf-8")):
        assert shows(shown, printed), (
            f"{document.name} shows\n{shown}\nand what is printed is\n{printed}"
        )


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "CONTRIBUTING.md"])
def test_a_document_that_teaches_has_examples(name: str) -> None:
    assert "```python\n" in (ROOT / name).read_text("utf-8")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a b\n", "a  b", True),
        ("a ... d", "a b\nc d", True),
        ("a\n...\n", "a b c", True),
        ("a", "a b", False),
        ("a ... d", "a b c", False),
    ],
)
def test_what_is_shown_is_compared_whole(shown: str, printed: str, same: bool) -> None:
    assert shows(shown, printed) is same


@pytest.mark.slow
def test_the_readme_shows_what_make_check_prints() -> None:
    (shown,) = [block for _, block in BLOCK.findall(README) if "PASS" in block]
    out = StringIO()
    with redirect_stdout(out):
        assert main(["check"]) == 0
    assert shows(counted(f"...{shown}..."), counted(out.getvalue()))


@pytest.mark.parametrize("document", named(DOCUMENTS))
def test_every_relative_link_of_a_document_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(
        r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", document.read_text("utf-8")
    ):
        file = document.parent / target if target else document
        assert file.exists(), f"{document.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            anchors = {
                re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings
            }
            assert anchor in anchors, f"{document.name} links to {target}#{anchor}"


@pytest.mark.parametrize("document", named(WRITTEN))
def test_every_file_and_theorem_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    if document.name == "CHANGELOG.md":
        return  # what it tells of files was so
    for name in re.findall(r"`((?:reference|specs|fastpath|proofs|tests|docs)/[\w./]+)`", text):
        assert (ROOT / name).exists(), f"{document.name} names {name}"
    for name in re.findall(r"`((?:s|r|k|fp|p\d)_\w+)`", text):
        assert name in statements(), f"{document.name} names the theorem {name}"


def test_the_architecture_leads_from_a_certificate_to_its_theorem() -> None:
    """Where does the bound on a dropped key's share come from?  From claim to theorem, in one section."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    _, life = page.split("## The life of one bound\n")
    life = life.partition("\n## ")[0]
    for bound in CLAIMS["R.drop"].bounds:
        assert f"`{bound.name}`" in life
        assert f"`{bound.theorem}`" in life
    (source,) = re.findall(r"`r_drop` in `(\S+)`", life)
    assert re.search(r"^Theorem r_drop\b", (ROOT / source).read_text("utf-8"), re.MULTILINE)


def test_how_to_choose_has_a_causal_head_of_30000_tokens() -> None:
    """Which function do I call for it?  The one of that row, and `certified_attention` says the same."""
    page = (ROOT / "docs" / "choosing.md").read_text("utf-8")
    (row,) = [x for x in page.splitlines() if x.startswith("|") and "30,000 tokens" in x]
    head, call, *_ = (x.strip(" *`") for x in row.strip("|").split("|"))
    assert head.startswith("causal")
    rng = np.random.default_rng(0)
    arrays = dict(zip("QKV", rng.standard_normal((3, 20, 4)), strict=True))
    found = eval(call, {"attention": fastpath.attention, **arrays})
    certified = fastpath.certified_attention(*arrays.values(), tolerance=0.1, causal=True)
    assert certified.method == "exact"
    assert (certified.output == found.output).all()


def test_what_must_be_trusted_is_a_list_of_files_and_of_axioms() -> None:
    """What must I trust?  The files of one table, Coq's kernel, and just the axioms that are allowed."""
    page = (ROOT / "docs" / "trust.md").read_text("utf-8")
    table = re.findall(r"\]\(\.\./([\w/.]+)\)", page.partition("\n## ")[0])
    assert {"reference/attention.py", "specs/claim.py", "proofs/axioms.toml"} <= set(table)
    assert all((ROOT / name).exists() for name in table)
    axioms = tomllib.loads((ROOT / "proofs" / "axioms.toml").read_text("utf-8"))
    words = {3: "three", 4: "four", 5: "five"}
    assert f"{words[len(axioms['axiom'])]} axioms" in " ".join(page.split())


def test_the_readme_is_of_80_lines() -> None:
    assert len(README.splitlines()) <= 80


@pytest.mark.parametrize("papers", ["S, K", "FP", "P1", "P2", "P3", "P4", "L", "R", "Q", "I"])
def test_the_findings_count_what_the_ledger_says(papers: str) -> None:
    records = [
        record
        for id_, record in ledger().records.items()
        if id_.split(".")[0] in papers.split(", ")
    ]
    verdicts = Counter(str(record.verdict) for record in records).most_common()
    shown = ", ".join(f"{count} {verdict}" for verdict, count in verdicts)
    proved = sum(record.assurance is Assurance.PROVED for record in records)
    (row,) = [x for x in FINDINGS.splitlines() if x.startswith(f"| {papers}: ")]
    assert row.endswith(f" | {shown} | {proved} of {len(records)} |")


def test_the_findings_name_every_claim_that_does_not_simply_hold() -> None:
    for record in ledger().records.values():
        if record.verdict is not Status.HOLDS:
            assert record.id in FINDINGS, f"{record.id} is {record.verdict}"


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
    trust = (ROOT / "docs" / "trust.md").read_text("utf-8")
    assert f"- {len(bounds) - proved} of the {len(bounds)} bounds have no theorem" in trust
