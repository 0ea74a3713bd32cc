"""The claims as pages: an index, and a page a stem with every bound's formula and where it is enforced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sympy

from specs import CLAIMS
from specs.claim import Bound, Claim, Hypothesis, Relation
from specs.ledger import Record, ledger
from specs.printing.catalogue import NOTICE, STEMS, claims_of

#: What each folder of claims is about, and the paper whose sentences it holds, as the index says it.
TITLES = {
    "softmax": "Softmax: perturbation, the exp kernel, rounding",
    "kernels": "Kernels in low precision: what a declared arithmetic may return",
    "polynomial": "Polynomials in place of exp (P2)",
    "streaming": "One pass over keys and values (P2)",
    "dynamic": "Attention under updates (P1)",
    "sparsification": "Fewer columns (P3)",
    "regression": "Attention regression (P4)",
    "real_heads": "Real heads: clusters, dropped keys, certified samples",
    "caches": "Quantised caches",
    "decoding": "Decoding with an index of keys",
}

#: How the sides are related, where that is not ``at most``.
_RELATIONS = {Relation.EQUALS: "is", Relation.AT_LEAST: "is at least"}


def index() -> str:
    """Return the text of ``CLAIMS.md``: what the ledger says of every claim, and where its page is."""
    parts = [
        f"<!-- {NOTICE} -->\n# The claims\n\n"
        "A row a claim: what is known of it, as `attest audit` recomputes it, and how sharp its bounds are. "
        "The link leads to\nits hypotheses, formulas, domains, theorems and places; "
        "[docs/glossary.md](docs/glossary.md) says what the words mean,\n"
        "and [specs/papers.toml](specs/papers.toml) what the four papers say, sentence by sentence.\n"
    ]
    for stem in STEMS:
        parts.append(f"\n## [{TITLES[stem]}](docs/claims/{stem}.md)\n{_HEADING}")
        parts += [
            _row(ledger().records[claim.id], f"docs/claims/{stem}.md") for claim in claims_of(stem)
        ]
    parts.append(f"\n## Open: no executable claim stands behind these\n{_HEADING}")
    parts += [_row(r, "") for r in ledger().records.values() if r.id not in CLAIMS]
    return "".join(parts)


_HEADING = "\n| claim | says | verdict | assurance | sharpness |\n|---|---|---|---|---|\n"


def _row(record: Record, page: str) -> str:
    name = f"[{record.id}]({page}#{_anchor(record.id)})" if page else record.id
    figures: dict[str, list[str]] = {}
    for bound, figure in (record.sharpness or {}).items():
        figures.setdefault(_figure(figure), []).append(f"`{bound}`")
    sharpness = "; ".join(
        f"{figure}: {', '.join(names)}" if len(figures) > 1 else figure
        for figure, names in figures.items()
    )
    quote = " ".join(record.quote.split()).replace("|", "\\|")
    return f"| {name} | {quote} | {record.shown} | {record.assurance} | {sharpness} |\n"


def page(stem: str, sources: Mapping[str, str], called: frozenset[str]) -> str:
    """Return the text of ``docs/claims/<stem>.md``: every claim of a folder, whole.

    Parameters
    ----------
    stem
        The folder.
    sources
        The file in which each theorem is stated, as :func:`stated_in` finds it.
    called
        The bounds that the fast path certifies with.
    """
    claims = claims_of(stem)
    parts = [
        f"<!-- {NOTICE} -->\n# {TITLES[stem]}\n\n"
        "Formulas are printed from the expressions that the tests enforce and Coq proves. "
        "Counts are whole, other numbers at\nleast 0, unless a domain says otherwise. "
        "[The index](../../CLAIMS.md) has all claims, [the glossary](../glossary.md) the words.\n\n"
        + ", ".join(f"[{claim.id}](#{_anchor(claim.id)})" for claim in claims)
        + "\n"
    ]
    for claim in claims:
        parts += _claim(claim, stem, sources, called)
    return "".join(parts)


def stated_in(folder: Path) -> dict[str, str]:
    """Return for each theorem of a folder of Coq sources its file, from the folder on."""
    return {
        name: path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*.v"))
        for name in re.findall(
            r"^(?:Theorem|Lemma|Corollary)\s+(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }


def _hypothesis(hypothesis: Hypothesis[Any]) -> str:
    apart = f" (no theorem needs it: {hypothesis.alone})" if hypothesis.alone else ""
    return f"- {hypothesis.statement}{apart}\n"


def _claim(
    claim: Claim[Any], stem: str, sources: Mapping[str, str], called: frozenset[str]
) -> list[str]:
    record = ledger().records[claim.id]
    source = claim.witness.__module__.replace(".", "/") + ".py"
    scope = f" Scope: {record.scope}." if record.scope else ""
    parts = [
        f"\n## {claim.id}\n\n{claim.statement}\n",
        f"\nFrom: {claim.where}. Verdict: **{record.shown}**, {record.assurance}.{scope}\n",
    ]
    if claim.assumes:
        parts.append("\nAssumes:\n\n" + "".join(map(_hypothesis, claim.assumes)))
    for bound in claim.bounds:
        parts += _bound(bound, record, stem, sources, called)
    if claim.refutation is not None:
        parts.append(
            f"\nHypothesis refuted, by {claim.refutation.source}, where\n\n"
            f"$${_latex(claim.refutation.where)}$$\n\nand open elsewhere.\n"
        )
    if record.repaired_by:
        parts.append(f"\nWhat is true and useful instead: {', '.join(record.repaired_by)}.\n")
    not_stated = " ".join(dict.fromkeys(t for t in (claim.not_stated, record.not_stated) if t))
    if not_stated:
        parts.append(f"\nNot stated: {not_stated}\n")
    parts.append(f"\nStated in [`{source}`](../../{source}).\n")
    return parts


def _bound(
    bound: Bound[Any],
    record: Record,
    stem: str,
    sources: Mapping[str, str],
    called: frozenset[str],
) -> list[str]:
    verb = _RELATIONS.get(bound.relation, "is at most")
    parts = [
        f"\n### `{bound.name}`\n\n{bound.meaning[0].upper()}{bound.meaning[1:]} {verb}\n\n"
        f"$${_latex(bound.expression)}$$\n"
    ]
    domain = _domain(bound)
    if domain:
        parts.append(f"\n- Domain: {domain}.\n")
    else:
        parts.append("\n")
    if bound.theorem:
        parts.append(f"- Proved: {_theorem(bound.theorem, sources)}, as `b_{bound.name}`.\n")
    else:
        parts.append("- No theorem: enclosed on instances.\n")
    sharpness = _figure((record.sharpness or {})[bound.name])
    by = bound.attained or bound.approached
    reached = f", by {_theorem(by, sources)}" if by else ""
    parts.append(f"- Sharpness: {sharpness}{reached}.\n")
    if bound.name in called:
        file = f"fastpath/core/bounds/{stem}.py"
        parts.append(f"- Certifies at run time: [`{file}`](../../{file}).\n")
    else:
        parts.append("- Enforced by the tests and the audit; nothing at run time calls it.\n")
    if bound.vacuous_where == sympy.true:
        parts.append("- Vacuous: the cheapest answer meets it.\n")
    elif bound.vacuous_where != sympy.false:
        parts.append(
            f"- Vacuous, as the cheapest answer meets it, where ${_latex(bound.vacuous_where)}$.\n"
        )
    return parts


def _figure(sharpness: str) -> str:
    """Return a sharpness as it is read: of nought no digit was worth claiming."""
    return "no digit claimed" if sharpness == "0" else sharpness


def _domain(bound: Bound[Any]) -> str:
    """Return what the arguments of a bound have to satisfy beyond being of their kind."""
    parts = [
        rf"${_latex(argument)} \in {sympy.latex(domain)}$"
        for argument, domain in bound.domain.items()
    ]
    if bound.provided != sympy.true:
        parts.append(f"${_latex(bound.provided)}$")
    return ", ".join(parts)


def _theorem(name: str, sources: Mapping[str, str]) -> str:
    file = sources[name]
    return f"[`{name}`](../../proofs/coq/{file}) in {file}"


def _anchor(heading: str) -> str:
    return heading.lower().replace(".", "")


def _latex(expression: sympy.Basic) -> str:
    """Return a formula in which a name of several letters reads as one name."""
    names = {
        symbol: r"\mathrm{" + symbol.name.replace("_", r"\_") + "}"
        for symbol in expression.free_symbols
        if len(symbol.name) > 1 and symbol.name not in ("eta", "epsilon", "kappa", "tau")
    }
    return str(sympy.latex(expression, symbol_names=names, mul_symbol=r" \, "))
