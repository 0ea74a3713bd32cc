"""The site builds without network and without a warning, and its links lead somewhere."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "docs" / "site" / "build.py"


def builder() -> ModuleType:
    """Return the module that lays out the site; Sphinx is not needed for that."""
    spec = importlib.util.spec_from_file_location("site_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.path[:]
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


class Page(HTMLParser):
    """What a page links to, loads, and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon"):
            self.loads.append(given["href"])


def faults(html: Path) -> Iterator[str]:
    """Yield, for a folder of pages, each link that leads nowhere and each thing fetched from elsewhere."""
    pages = {path: Page(path.read_text("utf-8")) for path in html.resolve().rglob("*.html")}
    for path, page in pages.items():
        yield from (f"{path.name} fetches {x}" for x in page.loads if urlsplit(x).netloc)
        for target in page.links + page.loads:
            if urlsplit(target).netloc or urlsplit(target).scheme:
                continue
            place, anchor = urldefrag(target)
            file = (path.parent / unquote(urlsplit(place).path)).resolve() if place else path
            if not file.exists() or (file in pages and unquote(anchor) not in pages[file].anchors):
                yield f"{path.name} links to {target}"


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<h1 id="there">b</h1><a href="../a.html#up">a</a>')
    (tmp_path / "a.html").write_text(
        '<a id="up" href="sub/b.html#there">good</a> <a href="https://example.org/x">not ours</a>'
        '<a href="sub/b.html#gone">1</a> <a href="c.html">2</a> <a href="#down">3</a>'
        '<script src="https://example.org/x.js"></script> <img src="lost.svg">'
    )
    assert list(faults(tmp_path)) == [
        "a.html fetches https://example.org/x.js",
        "a.html links to sub/b.html#gone",
        "a.html links to c.html",
        "a.html links to #down",
        "a.html links to lost.svg",
    ]


def test_every_document_stands_in_the_table_of_contents() -> None:
    told = builder().contents()
    for path in (ROOT / "docs").glob("*.md"):
        assert f"\ndocs/{path.stem}\n" in told


@pytest.mark.parametrize("id_", ["P1", "P2", "P3", "P4"])
def test_a_paper_has_its_sentences_what_is_true_and_what_to_use(id_: str) -> None:
    page = builder().paper(id_)
    claims, true, use = page.split("\n## ")[1:]
    assert claims.startswith("What it claims")
    assert claims.count("\n| ") > 5
    assert true.startswith("What is true")
    assert "\n### " in true
    assert use.startswith("What to use")
    assert "`fastpath." in use


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    for name in ("sphinx", "myst_parser", "numpydoc", "furo", "matplotlib", "latex2mathml"):
        pytest.importorskip(name, reason=f"{name} is of the extra site: pip install .[site]")
    done = subprocess.run(
        [sys.executable, BUILD, tmp_path],
        env={**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    html = tmp_path / "html"
    names = {path.stem for path in html.rglob("*.html")}
    assert {"index", "gallery", "examples", "api-fastpath", "paper-P3"} <= names
    assert not list(faults(html))
