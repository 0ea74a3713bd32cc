"""Lay out the pages of the site and have Sphinx build it: ``python docs/site/build.py [FOLDER]``.

The pages are the documents of the repository, where they stand, so that links between them hold; README is
the first.  Beside them: a page a room of docstrings, a page a paper, the examples with what they print, and a
gallery.
Nothing is fetched, and a warning is an error.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
sys.path[:0] = [str(ROOT), str(HERE)]

#: The chapters, in order; a document of ``docs`` that none names goes to the last.
CHAPTERS = {
    "Using it": [
        *("tutorial", "choosing", "examples", "gallery"),
        *("kernels", "adapters", "auditing", "check-json"),
    ],
    "Programs": ["api-fastpath", "api-kernels", "api-reference", "api-claims", "glossary"],
    "Papers": ["findings", "paper-P1", "paper-P2", "paper-P3", "paper-P4"],
    "Taking part": ["trust", "architecture"],
}
OTHERS = {
    "Papers": ["CLAIMS", "docs/claims/*"],
    "Programs": ["BENCHMARKS"],
    "Taking part": ["CONTRIBUTING", "proofs/README", "proofs/data/README", "CHANGELOG"],
}

#: A page of docstrings: its title, what it says first, the module, and the names if not all.
ROOMS = {
    "api-fastpath": ("fastpath", "Attention with a bound on every answer.", "fastpath", None),
    "api-kernels": (
        "fastpath.kernels",
        "Kernels in low precision, judged by the arithmetic that they declare.",
        "fastpath.kernels",
        None,
    ),
    "api-reference": (
        "reference",
        "Definitions, computed with a proof of their accuracy; slow, and for small inputs.",
        "reference",
        None,
    ),
    "api-claims": (
        "specs.claim",
        "How a bound is stated so that it can be audited.",
        "specs.claim",
        ("Claim", "Bound", "Hypothesis", "Rival", "Refutation", "Relation", "Status", "Assurance"),
    ),
}

#: What to use of a paper's subject, which the findings say in more words.
USE = {
    "P1": "`fastpath.DynamicAttention`, which chooses by measured costs between the paper's lazy sums and "
    "what beats them; `mode` fixes one.",
    "P2": "`fastpath.polynomial_attention` where keys are at hand, `MomentState` and `StreamingAttention` "
    "where they pass by once; `attention` where logits are large, as on every real head that was tried.",
    "P3": "`fastpath.sparsify`: a factor of the Gram matrix, without error, unless columns of X itself are "
    "asked for.  `gram` alone where only X Xᵀ is needed.",
    "P4": "`fastpath.AttentionRegression`: `solve` from a start that is near, `solve_from_many` from none, "
    "and `certify` for how far an exact minimum is.",
}

#: Where a link to a folder leads instead.
FOLDERS = {
    "examples": "docs/examples.md",
    "fastpath": "docs/api-fastpath.md",
    "reference": "docs/api-reference.md",
}

LINK = re.compile(r"(?P<open>!?\[(?P<text>[^\]]*)\]\()(?P<target>[^)#:\s]*)(?P<anchor>#[^)]*)?\)")


class Site:
    """The pages laid out so far, and the files that they link to."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.pages = set(_documents())

    def write(self, path: Path, text: str) -> None:
        """Write a page whose links are right where it stands in the repository."""
        place = self.source / (
            "index.md" if path == ROOT / "README.md" else path.relative_to(ROOT).as_posix()
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(LINK.sub(lambda found: self._link(found, path), text), "utf-8")

    def _link(self, found: "re.Match[str]", path: Path) -> str:
        """Leave a link to a page; carry a file that is none along; and make a folder plain text."""
        if not found["target"]:
            return found[0]
        target = (path.parent / found["target"]).resolve()
        if target.is_dir():
            page = FOLDERS.get(target.relative_to(ROOT).as_posix())
            return f"{found['open']}/{page})" if page else found["text"]
        if target in self.pages or not target.is_file():
            return found[0]  # what is nowhere, Sphinx says
        copy = self.source / target.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, copy)
        return found[0]


def _documents() -> Iterator[Path]:
    yield from (ROOT / f"{name}.md" for name in ("README", "BENCHMARKS", "CLAIMS"))
    yield from (ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG"))
    yield from (ROOT / "proofs" / "README.md", ROOT / "proofs" / "data" / "README.md")
    yield from sorted((ROOT / "docs").glob("*.md"))
    yield from sorted((ROOT / "docs" / "claims").glob("*.md"))


def contents() -> str:
    """Return the table of contents, which stands at the end of the first page."""
    named = {name for chapter in CHAPTERS.values() for name in chapter}
    rest = [path.stem for path in sorted((ROOT / "docs").glob("*.md")) if path.stem not in named]
    lines = []
    for title, names in CHAPTERS.items():
        last = rest if title == [*CHAPTERS][-1] else []
        pages = [*(f"docs/{name}" for name in (*names, *last)), *OTHERS.get(title, ())]
        lines += ["", "```{toctree}", ":hidden:", ":glob:", f":caption: {title}", "", *pages, "```"]
    return "\n".join(lines) + "\n"


def room(title: str, says: str, module: str, names: Iterable[str] | None) -> str:
    """Return the page of a module: every public name with its docstring."""
    found = vars(__import__(module, fromlist=["*"]))
    lines = [f"# `{title}`", "", says, ""]
    for name in names or found["__all__"]:
        thing = found[name]
        if inspect.isclass(thing):
            kind, members = "autoclass", ["   :members:"]
        elif callable(thing):
            kind, members = "autofunction", []
        else:
            continue
        lines += [
            f"## {name}",
            "",
            "```{eval-rst}",
            f".. {kind}:: {module}.{name}",
            *members,
            "```",
            "",
        ]
    return "\n".join(lines)


def paper(id_: str) -> str:
    """Return the page of a paper: its sentences with the claims in them, what is true, and what to use."""
    from specs.ledger import ledger

    book = ledger()
    places = dict(
        re.findall(r"\[([\w.]+)\]\(docs/(claims/[^)]*)\)", (ROOT / "CLAIMS.md").read_text("utf-8"))
    )
    (this,) = (one for one in book.papers if one.id == id_)
    lines = [
        f"# {id_}: {this.title}",
        "",
        f"{this.authors}, {this.source}. Only the abstract was read; these are its sentences, in order.",
        "",
        "## What it claims",
        "",
        "| | sentence | claims, and their verdicts |",
        "|---|---|---|",
    ]
    for sentence in this.sentences:
        told = [f"[{x}]({places[x]}): **{book.records[x].shown}**" for x in sentence.claims]
        text = sentence.text.replace("|", r"\|").replace("\n", " ")
        lines.append(f"| {sentence.number} | {text} | {'; '.join(told) or sentence.no_claim} |")
    findings = (ROOT / "docs" / "findings.md").read_text("utf-8").split("\n## ")[1:]
    lines += ["", "## What is true", ""]
    for section in findings:
        heading, _, body = section.partition("\n")
        if re.search(rf"\b{id_}\b", heading):
            lines += [f"### {heading}", "", body.replace("\n### ", "\n#### ").strip(), ""]
    lines += ["## What to use", "", USE[id_], ""]
    return "\n".join(lines)


def examples() -> str:
    """Return the page of examples: what each is for, what it prints, and its source."""
    lines = ["# Examples", "", "Each runs in seconds on data that ships; a test runs them all.", ""]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for path in sorted((ROOT / "examples").glob("*.py")):
        source = path.read_text("utf-8")
        _, doc, code = source.split('"""', 2)
        title, _, rest = inspect.cleandoc(doc).partition("\n")
        rest = re.sub(r"^    (python .*)$", r"```sh\n\1\n```", rest, flags=re.MULTILINE)
        printed = subprocess.run(
            [sys.executable, path], env=environment, capture_output=True, text=True, check=True
        ).stdout
        lines += [
            f"## {title.rstrip('.')}",
            "",
            rest.strip(),
            "",
            "```text",
            printed.rstrip(),
            "```",
            "",
        ]
        lines += ["```python", code.strip(), "```", ""]
    return "\n".join(lines)


def gallery(folder: Path) -> str:
    """Draw the figures, and return the page that shows them."""
    import figures

    lines = ["# Gallery", "", "Each figure is computed from what ships when the site is built.", ""]
    for draw in figures.FIGURES:
        name = draw.__name__
        figures.save(draw(), folder / f"{name}.svg")
        title, _, rest = inspect.cleandoc(draw.__doc__ or "").partition("\n")
        lines += [
            f"## {title.rstrip('.')}",
            "",
            rest.strip(),
            "",
            f"![{title}](figures/{name}.svg)",
            "",
        ]
    return "\n".join(lines)


def build(folder: Path) -> int:
    """Build the site in a folder, of which ``html`` is what can be served; return Sphinx's exit status."""
    from sphinx.cmd.build import build_main

    shutil.rmtree(folder, ignore_errors=True)
    site, docs = Site(folder), ROOT / "docs"
    for path in sorted(site.pages):
        text = path.read_text("utf-8")
        site.write(path, text + contents() if path == ROOT / "README.md" else text)
    for name, (title, says, module, names) in ROOMS.items():
        site.write(docs / f"{name}.md", room(title, says, module, names))
    for id_ in USE:
        site.write(docs / f"paper-{id_}.md", paper(id_))
    site.write(docs / "examples.md", examples())
    site.write(docs / "gallery.md", gallery(site.source / "docs" / "figures"))
    options = ["-W", "--keep-going", "-q", "-b", "html", "-c", HERE, site.source, folder / "html"]
    return build_main([str(option) for option in options])


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "site").resolve()))
