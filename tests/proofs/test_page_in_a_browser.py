"""A page in a real browser, headless Chromium: opened from a file, sorted, filtered, expanded, printed."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="the extra report")
pytest.importorskip("matplotlib", reason="the extra report")

from proofs.command.check import check
from proofs.command.claims_document import claims_document
from proofs.judging.heads import shipped_heads, shipped_matrices
from proofs.page import write_check

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium"),
]

#: Contrast that WCAG asks of text, and the widths of a desk and a telephone.
CONTRAST, DESK, TELEPHONE = 4.5, 1280, 390

#: Return what contrasts too little: every element with text of its own, against what lies behind it.
_FAINT = """(least) => {
  const rgb = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const linear = (x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const light = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.a === 1) return colour;
    }
    throw new Error("nothing lies behind");
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("script, style")) continue;
    const style = getComputedStyle(element);
    const front = rgb(element.closest("svg") ? style.fill : style.color);
    const [x, y] = [light(front), light(behind(element))].sort((a, b) => b - a);
    const ratio = (x + 0.05) / (y + 0.05);
    if (ratio < least) found.push([element.tagName, element.textContent.slice(0, 40), ratio]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real heads, a matrix and every claim."""
    heads = [*shipped_heads(64)][:2] + [h for h in shipped_heads(256) if len(h.Q) == 256][:1]
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_check(
        path, check("fastpath", "a test", [*heads, shipped_matrices()[0]]), claims_document()
    )
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


class Opened:
    """A page that was opened, what it said on the console, and what it asked of the network."""

    def __init__(self, browser: Any, file: Path, width: int = DESK, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def rows(self, section: str) -> list[str]:
        """Return the names in a section's table that are shown, in their order."""
        found = self.page.locator(f"#{section} tbody:not([hidden]) > tr:first-child > th button")
        return [name.strip() for name in found.all_text_contents()]

    def press(self, section: str, heading: str) -> None:
        """Press a heading."""
        self.page.locator(f"#{section} thead button", has_text=re.compile(f"^{heading}$")).click()

    def choice(self, section: str, name: str) -> Any:
        """Return a drop-down list of a section."""
        return self.page.locator(f"#{section} select[data-filter='{name}']")


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    found = Opened(browser, file)
    yield found
    assert found.said == []
    assert [url for url in found.requests if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in found.requests) == 1
    found.context.close()


def test_it_sorts_by_number_and_back(opened: Opened) -> None:
    def bounds() -> list[float]:
        cells = opened.page.locator("#heads tbody > tr:first-child > td[data-label='bound'] data")
        return [float(x) for x in cells.evaluate_all("all => all.map(x => x.value)")]

    opened.press("heads", "bound")
    assert bounds() == sorted(bounds())
    heading = opened.page.locator("#heads th[aria-sort]", has_text=re.compile("^bound$"))
    assert heading.get_attribute("aria-sort") == "ascending"
    opened.press("heads", "bound")
    assert bounds() == sorted(bounds(), reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    opened.press("claims", "claim")
    names = opened.rows("claims")
    assert len(names) > 100
    assert names != opened.rows("claims")[::-1]
    assert names[0].startswith("FP.")


def test_it_filters_by_word_and_by_choice(opened: Opened) -> None:
    every = opened.rows("claims")
    opened.choice("claims", "verdict").select_option("vacuous")
    assert opened.rows("claims") == ["P3.goal"]
    assert opened.page.locator("#claims .count").text_content() == f"1 of {len(every)} shown"
    opened.choice("claims", "verdict").select_option("")
    opened.page.locator("#claims input").fill("softmax_tv")
    assert "S.tv" in opened.rows("claims")
    assert len(opened.rows("claims")) < len(every)
    opened.page.locator("#claims input").fill("no such word")
    assert opened.rows("claims") == []
    opened.page.locator("#claims input").fill("")
    opened.choice("claims", "named").select_option("here")
    assert "FP.softmax" in opened.rows("claims")
    assert "P3.goal" not in opened.rows("claims")


def test_it_expands_by_keyboard_and_a_link_opens_its_claim(opened: Opened) -> None:
    first = opened.page.locator("#heads button.open").first
    details = opened.page.locator("#heads tr.details").first
    assert not details.is_visible()
    first.focus()
    opened.page.keyboard.press("Enter")
    assert first.get_attribute("aria-expanded") == "true"
    assert details.is_visible()
    opened.page.locator("#claims input").fill("no such word")
    details.get_by_role("link", name="FP.softmax").click()
    opened.page.wait_for_function("document.activeElement.textContent === 'FP.softmax'")
    assert opened.page.locator("[id='FP.softmax-more']").is_visible()
    first.focus()
    opened.page.keyboard.press("Space")
    assert not details.is_visible()


def test_whoever_tabs_sees_where_they_are(opened: Opened) -> None:
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(25):
        opened.page.keyboard.press("Tab")
        style, tag = opened.page.evaluate(
            "(e => [getComputedStyle(e).outlineStyle, e.tagName])(document.activeElement)"
        )
        assert style not in ("none", "hidden"), tag
        seen.add(tag)
    assert {"A", "SUMMARY", "INPUT", "SELECT", "BUTTON"} <= seen


@pytest.mark.parametrize("width", [DESK, TELEPHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrasts_and_nothing_hangs_over(
    browser: Any, file: Path, width: int, scheme: str
) -> None:
    opened = Opened(browser, file, width, color_scheme=scheme)
    for _ in range(2):
        assert opened.page.evaluate(_FAINT, CONTRAST) == []
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width
        for section in ("heads", "others", "claims"):
            opened.page.locator(f"#{section} button.all").click()
    assert opened.page.locator("#claims tr.details:visible").count() == 0
    assert opened.said == []
    opened.context.close()


def test_the_accessibility_tree_tells_what_the_eye_sees(opened: Opened) -> None:
    session = opened.context.new_cdp_session(opened.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]

    def value(node: dict[str, Any], name: str) -> Any:
        return node.get(name, {}).get("value")

    def names(role: str) -> list[str]:
        return [str(value(n, "name")) for n in nodes if value(n, "role") == role]

    for role in ("button", "link", "table", "combobox", "searchbox", "image", "columnheader"):
        found = names(role)
        assert found, f"no {role}"
        assert all(found), f"a {role} has no name: {found}"
    assert "Claims" in names("table")
    assert "Heads" in names("heading")
    assert names("navigation") == ["Contents"]
    assert "Certified bound and observed error of each head" in names("image")
    (head, *_) = [
        n for n in nodes if value(n, "name") == "minilm_L0H11_n64" and value(n, "role") == "button"
    ]
    assert {p["name"]: p["value"].get("value") for p in head["properties"]}["expanded"] is False


def test_a_table_stays_one_on_a_telephone(browser: Any, file: Path) -> None:
    opened = Opened(browser, file, TELEPHONE)
    session = opened.context.new_cdp_session(opened.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    roles = {n.get("role", {}).get("value") for n in nodes}
    assert {"table", "row", "columnheader", "rowheader", "cell"} <= roles
    opened.page.get_by_label("Sort by").first.select_option(label="bound / error")
    ratios = opened.page.locator("#heads td[data-label='bound / error'] data").evaluate_all(
        "all => all.map(x => Number(x.value))"
    )[:3]
    assert ratios == sorted(ratios)
    opened.context.close()


def test_it_prints_in_ink_and_moves_only_where_that_is_wanted(browser: Any, file: Path) -> None:
    opened = Opened(browser, file, color_scheme="dark", reduced_motion="reduce")
    assert (
        opened.page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    )
    opened.page.emulate_media(media="print")
    assert (
        opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    for selector in ("nav", ".controls"):
        assert not opened.page.locator(selector).first.is_visible()
    assert opened.page.evaluate(_FAINT, CONTRAST) == []
    opened.context.close()


def test_it_says_everything_without_its_script(browser: Any, file: Path) -> None:
    opened = Opened(browser, file, java_script_enabled=False)
    assert opened.page.locator("#heads tr.details").first.is_visible()
    assert not opened.page.locator("#heads .controls").is_visible()
    opened.context.close()
