"""`--html` writes one page that needs nothing else, and every number of it is that of `--json`."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="the extra report")
pytest.importorskip("matplotlib", reason="the extra report")

import fastpath
from proofs.__main__ import main
from proofs.command.check import check
from proofs.command.claims_document import claims_document
from proofs.command.claims_report import audit_as_json
from proofs.command.report import Check, as_json
from proofs.evidence.audit import AuditReport, audit
from proofs.judging.heads import FeatureMatrix, Head, Replacements, shipped_replacements
from proofs.page import figures, write_audit, write_check
from proofs.page.answers import Answer, Item, look_up
from proofs.page.formulas import mathml, tex
from specs import CLAIMS
from specs.ledger import ledger
from tests.proofs.checking import install, write_heads
from tests.proofs.pages import Page, places

#: A vacuous claim, a conjecture refuted in part, one that is dominated, one vacuous in part, one that holds.
IDS = ("P3.goal", "P1.conjecture", "P3.implication", "P2.heap", "S.tv")

#: MathML that every browser draws.
MATHML = {"math", "mrow", "mi", "mo", "mn", "mfrac", "msqrt", "msup", "msub", "munderover"}

#: Three megabytes, of which a page may take all.
LARGEST = 3 << 20

#: What an attacker would call a head, and what a formula is made of.
NAME = 'h<script>alert("1")</script>$\\frac$_^{'

#: What no file of UTF-8 and no drawing can hold.
UNPRINTABLE = "lone \ud800 and \x07"


def _head(n: int, name: str) -> Head:
    rng = np.random.default_rng(n)
    Q, K, V = (rng.standard_normal((n, 3)).astype(np.float32) for _ in range(3))
    return Head(name, Q, K, V)


@pytest.fixture(scope="module")
def checked() -> Check:
    """Two heads, a matrix and two replacements, one of a name that no template may trust."""
    shipped = shipped_replacements()
    Q, K, V = (x[:2, :4] for x in shipped.rows)
    history = Replacements(
        name="history",
        head=Head("replaced", *(x[:5, :4] for x in shipped.head.matrices)),
        tokens=shipped.tokens[:2] % 5,
        rows=(Q, K, V),
    )
    matrix = FeatureMatrix(name="m", X=np.random.default_rng(3).standard_normal((3, 7)))
    items = [_head(4, UNPRINTABLE), _head(9, NAME), matrix, history]
    return check("fastpath", "a <b>test</b>", items, "Not run: much.")


@pytest.fixture(scope="module")
def claims() -> dict[str, Any]:
    return claims_document(IDS)


@pytest.fixture(scope="module")
def page(checked: Check, claims: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_check(path, checked, claims)
    return Page(path)


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return audit(IDS)


@pytest.fixture(scope="module")
def audited(
    report: AuditReport, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Page]:
    path = tmp_path_factory.mktemp("page") / "audit.html"
    write_audit(path, report)
    return claims_document(report=report), Page(path)


# ------------------------------------------------------------------------------------- numbers


def _same(page: Page, documents: dict[str, Any]) -> None:
    assert page.numbers
    for number in page.numbers:
        stands = look_up(documents[number.document], number.place)
        assert (number.value, type(number.value)) == (stands, type(stands)), number.place
        value, read = number.value, float(number.read)
        if number.place.endswith((".bound", ".error_upper")):
            assert value <= read <= 1.01 * value, f"{number.shown} is not {value} rounded up"
        else:
            assert abs(read - value) <= 0.01 * abs(value), f"{number.shown} is not {value}"


def test_every_number_is_that_of_the_document(
    page: Page, checked: Check, claims: dict[str, Any]
) -> None:
    document = json.loads(as_json(checked))
    _same(page, {"check": document, "claims": claims})
    shown = {number.place for number in page.numbers if number.document == "check"}
    for section in checked.sections:
        for name in ("error_upper", "bound_over_error", "rows_checked"):
            entries = places(document[section.name], name, section.name)
            answers = {p for p in entries if f"{p.rpartition('.')[0]}.call" in _calls(document)}
            told = {p for p in answers if entries[p] is not None}
            assert told, f"{section.name} has no {name}"
            assert told <= shown


def _calls(document: dict[str, Any]) -> set[str]:
    return set(places(document, "call"))


def test_every_number_of_an_audit_is_that_of_its_document(
    audited: tuple[dict[str, Any], Page], report: AuditReport
) -> None:
    document, page = audited
    assert document == json.loads(audit_as_json(report))
    _same(page, {"claims": document})
    bounds = [b for claim in document["claims"] for b in claim["bounds"]]
    assert len(bounds) == sum(len(CLAIMS[id_].bounds) for id_ in IDS)
    for bound in bounds:
        assert bound["tightest"]["quantity"][1] <= 1.0000001 * bound["tightest"]["bound"][1]


def test_the_two_documents_of_the_claims_say_the_same(
    audited: tuple[dict[str, Any], Page], claims: dict[str, Any]
) -> None:
    found, recorded = audited[0], claims
    for one, other in zip(found["claims"], recorded["claims"], strict=True):
        for name in ("id", "verdict", "assurance", "vacuous_where", "refuted_where", "bounds"):
            assert one[name] == other[name], (one["id"], name)
        assert not one["differences"]


# ----------------------------------------------------------------------------------- structure


@pytest.fixture(params=["check", "audit"])
def either(request: pytest.FixtureRequest) -> Page:
    if request.param == "check":
        return request.getfixturevalue("page")  # type: ignore[no-any-return]
    return request.getfixturevalue("audited")[1]  # type: ignore[no-any-return]


def test_a_page_needs_nothing_else(either: Page) -> None:
    assert len(either.source.encode()) <= LARGEST
    for tag, attributes in either.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "audio", "video")
        assert "src" not in attributes
        if tag == "link":
            assert str(attributes["href"]).startswith("data:")
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} has {name}"
            if name == "href" and tag == "a":
                assert re.match(r"#|[^:]*#L\d+$", str(value)), value
            if "url(" in str(value):
                assert "url(#" in str(value)
    assert "@import" not in either.source
    (policy,) = (v for v in either.attributes("content") if "default-src" in v)
    assert "default-src 'none'" in policy


def test_what_is_pointed_at_is_there_once(either: Page) -> None:
    assert set(either.ids.values()) == {1}
    pointed = [h[1:] for h in either.attributes("href") if h.startswith("#")]
    pointed += either.attributes("aria-controls") + either.attributes("aria-labelledby")
    assert pointed
    assert set(pointed) <= set(either.ids)


def test_links_lead_to_lines_that_say_so(either: Page) -> None:
    links = [h for h in either.attributes("href") if "#L" in h]
    assert links
    for link in links:
        file, _, line = link.partition("#L")
        lines = (either.path.parent / file).resolve().read_text("utf-8").splitlines()
        assert re.search(r'\bid ?= ?"|^(Theorem|Lemma|Corollary) ', lines[int(line) - 1]), link


def test_tables_say_what_they_are(either: Page) -> None:
    for tag, attributes in either.elements:
        if tag == "table" and attributes.get("class") != "map":
            assert attributes["role"] == "table"
            assert attributes.get("aria-labelledby") or attributes.get("aria-label")
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
        if tag == "button" and attributes.get("class") == "open":
            assert attributes["aria-expanded"] == "false"
    levels = [int(tag[1]) for tag, _ in either.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1


def test_the_verdict_comes_first_and_every_head_is_told(page: Page) -> None:
    assert page.text("h1") == ["Every error is inside its certificate."]
    titles = " ".join(page.text("figcaption"))
    for title in (
        *("Certified bound and observed error", "How generous", "Error and bytes against n"),
        *("Time against n", "Coverage against tolerance", "Where polynomials apply"),
    ):
        assert title in titles
    told = " ".join(page.text("main"))
    for words in (
        "P3 does not apply: max|Q-K|",
        "asked: Q = K",
        "Claims that the certificates name",
    ):
        assert words in told
    assert "Not run: much." in page.text("p")
    assert NAME in page.text("button")
    assert "lone \\ud800 and \x07" in page.text("button")


def test_what_was_refused_is_told_as_such(page: Page, checked: Check) -> None:
    refused = [j for s in checked.sections for j in s.judgements if j.outcome == "REFUSED"]
    assert refused
    told = page.text("td")
    assert told.count("refused") == len(refused)
    for judgement in refused:
        assert " ".join(judgement.refusal.split()) in told


def test_nothing_that_is_named_is_markup(page: Page) -> None:
    assert len(page.texts["script"]) == 2
    assert "<b>test</b>" not in page.source
    assert "alert(" not in "".join(page.texts["script"])


def test_a_claim_brings_its_evidence(either: Page) -> None:
    told = " ".join(either.text("main"))
    for words in (
        "The paper's words",
        "Vacuous: the cheapest answer meets it.",
        "open elsewhere.",
        "True and useful instead:",
        "softmax_tv",
        "Proved in Coq: s_tv",
        "Bounds.b_softmax_tv",
        "Tightest instance",
        "Classical_Prop.classic",
        "every |u_i - v_i| <= eta",
    ):
        assert words in told, words
    assert set(IDS) <= set(either.ids)
    assert len(either.texts["math"]) >= len(IDS)


# ------------------------------------------------------------------------------------ formulas


def test_every_formula_is_drawn_by_every_browser() -> None:
    for claim in CLAIMS.values():
        for bound in claim.bounds:
            drawn = mathml(bound.expression, block=True) + mathml(bound.vacuous_where)
            assert set(re.findall(r"<(\w+)", drawn)) <= MATHML, bound.name
            for argument in bound.expression.free_symbols:
                letter = {"eta": "η", "epsilon": "ε", "kappa": "κ", "tau": "τ"}
                assert f">{letter.get(argument.name, argument.name)}<" in drawn, argument


def test_no_tex_is_left_of_what_the_papers_say() -> None:
    sentences = [s.text for paper in ledger().papers for s in paper.sentences]
    quotes = [record.quote for record in ledger().records.values()]
    set_in_tex = [text for text in sentences + quotes if "$" in text or "\\" in text]
    assert len(set_in_tex) > 40
    for text in set_in_tex:
        plain = re.sub(r"<[^>]*>", "", tex(text))
        assert not re.search(r"[$\\]|\^|begin|mathbb|langle", plain), plain
    assert (
        tex("$a_{i} < b^2$")
        == '<span class="tex"><i>a</i><sub><i>i</i></sub> &lt; <i>b</i><sup>2</sup></span>'
    )
    assert tex("1 < 2 & $") == "1 &lt; 2 &amp; $"


# ------------------------------------------------------------------------------------- figures


def _timed(*rows: tuple[int, float, float]) -> list[Item]:
    """Return heads of so many keys, and the seconds of certified and exact attention."""
    return [
        Item(
            "h",
            "head",
            "",
            {},
            (
                Answer(
                    "",
                    "real_heads",
                    "certified_attention",
                    {"keys": n, "seconds": ours, "exact_seconds": exact},
                ),
            ),
        )
        for n, ours, exact in rows
    ]


def _captions(items: Sequence[Item]) -> list[str]:
    return [f.caption for f in figures._drawn(items, (figures._times,))]


def test_a_crossover_is_told_where_it_was_measured_only() -> None:
    slow, fast = (0.2, 0.1), (0.1, 0.2)
    assert _captions(_timed((64, *slow))) == []
    assert "No crossover" in _captions(_timed((64, *slow), (128, *slow)))[0]
    assert "From n = 128 on" in _captions(_timed((64, *slow), (128, *fast), (256, *fast)))[0]
    assert "faster for n = 64." in _captions(_timed((64, *fast), (128, *slow)))[0]


def test_figures_take_the_colours_of_the_page(page: Page) -> None:
    assert page.source.count("<svg") == 6
    drawn = "".join(re.findall(r"<svg.*?</svg>", page.source, re.DOTALL))
    assert "var(--accent)" in drawn
    assert not re.search(r"#[0-9a-f]{6}\b", drawn)


# ------------------------------------------------------------------------------------ commands


def test_an_error_beyond_its_bound_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def liar(Q: Any, K: Any, V: Any) -> Any:
        return replace(fastpath.attention(Q, K, V), error_bound=np.zeros((len(Q), V.shape[1])))

    install(monkeypatch, attention=liar)
    monkeypatch.setattr("proofs.page.pages.claims_document", lambda: claims_document(("S.tv",)))
    file, report = write_heads(tmp_path / "h.npz", _head(4, "h")), tmp_path / "report.html"
    status = main(["check", str(file), "--impl", "liar", "--json", "--html", str(report)])
    document = json.loads(capsys.readouterr().out)
    page = Page(report)
    assert (status, document["passed"]) == (1, False)
    assert page.text("h1") == ["2 of 2 runs did not pass."]
    assert any("exceeds its bound most" in text for text in page.text("li"))
    _same(page, {"check": document, "claims": claims_document(("S.tv",))})


def test_what_lacks_exact_attention_has_a_page_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, polynomial_attention=fastpath.polynomial_attention)
    found = check("liar", "a test", [_head(4, "h")])
    write_check(tmp_path / "report.html", found, claims_document(("S.tv",)))
    assert "liar has no function attention: h not checked." in Page(tmp_path / "report.html").text(
        "p"
    )


def test_audit_writes_a_page(
    report: AuditReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("proofs.evidence.audit.audit", lambda *_, **__: report)
    path = tmp_path / "audit.html"
    assert main(["audit", *IDS, "--html", str(path)]) == 0
    assert "softmax_tv attained" in capsys.readouterr().out
    assert Page(path).text("h1") == ["Of 5 claims the ledger says exactly what was found."]


def test_a_ledger_that_differs_is_the_verdict(report: AuditReport, tmp_path: Path) -> None:
    one = replace(report.claims[0], differences=("it is <odd>.",))
    write_audit(tmp_path / "audit.html", replace(report, claims=(one,), differences=()))
    page = Page(tmp_path / "audit.html")
    assert page.text("h1") == ["The ledger differs from what was found, in 1 place."]
    assert "it is <odd>." in page.text("p")


@pytest.mark.parametrize("command", ["check", "audit"])
def test_a_page_that_cannot_be_written_is_refused_first(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was computed")

    monkeypatch.setattr("proofs.command.check.check", never)
    monkeypatch.setattr("proofs.evidence.audit.audit", never)
    for path in (tmp_path, tmp_path / "none" / "report.html"):
        assert main([command, "--html", str(path)]) == 2
        error = capsys.readouterr().err
        assert f"--html must name a file in a folder that exists, got {path}." in error


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_a_page_is_refused_in_a_sentence(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [m for m in sys.modules if m.startswith("proofs.page") or m.startswith(missing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # type: ignore[arg-type]
    assert main(["audit", "S.tv", "--html", "report.html"]) == 2
    assert capsys.readouterr().err == (
        f'attest: {missing} is not installed; run pip install "attest-attention[report]".\n'
    )


def test_claims_from_outside_have_no_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("proofs.command.falsify.outsiders", lambda *_: [SimpleNamespace()])
    assert main(["audit", "--html", "report.html"]) == 2
    assert "--html shows this project's ledger" in capsys.readouterr().err
