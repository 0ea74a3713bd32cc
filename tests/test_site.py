"""The site builds without network and without a warning, and its links lead somewhere."""

import importlib.util
import os
import subprocess
import sys
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
    pages = {path: Page(path.read_text("utf-8")) for path in html.rglob("*.html")}
    assert {"index", "gallery", "examples", "api-fastpath", "paper-P3"} <= {p.stem for p in pages}
    followed = 0
    for path, page in pages.items():
        for target in page.loads:
            assert not urlsplit(target).netloc, f"{path.name} fetches {target}"
        for target in page.links + page.loads:
            if urlsplit(target).scheme:
                continue
            place, anchor = urldefrag(target)
            file = (path.parent / unquote(urlsplit(place).path)).resolve() if place else path
            assert file.exists(), f"{path.relative_to(html)} links to {target}"
            if anchor and file in pages:
                known = pages[file].anchors
                assert unquote(anchor) in known, f"{path.relative_to(html)} links to {target}"
                followed += 1
    assert followed > 1000
