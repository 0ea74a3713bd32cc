"""The claims with their formulas, and what the ledger says of them, as pages."""

from __future__ import annotations

import sympy

from specs import CLAIMS
from specs.ledger import ledger
from specs.printing.catalogue import NOTICE


def formulas() -> str:
    """Return the text of ``CLAIMS.md``: what the ledger says, and each claim's bounds as formulas."""
    parts = [
        f"<!-- {NOTICE} -->\n# The claims, with their formulas\n\n"
        "Each formula below is printed from the expression that the tests enforce; the same is what Coq "
        "proves, where a theorem\nis named, and what `fastpath` certifies with, where it does.  A verdict "
        "is about all that a claim assumes: where a\nbound says less on a part of it, that part follows "
        "the formula.\nWhat the audit found about each: `attest audit`. "
        "What the four papers say, sentence by sentence: `specs/papers.toml`.\n",
        _table(),
    ]
    for claim in CLAIMS.values():
        parts.append(f"\n## {claim.id}\n\n{claim.statement}\n")
        if claim.assumes:
            parts.append("\nAssumes: " + "; ".join(h.statement for h in claim.assumes) + ".\n")
        for bound in claim.bounds:
            parts.append(
                f"\n- `{bound.name}`: {bound.meaning} is at most\n\n"
                f"  $${_latex(bound.expression)}$$\n"
            )
            proof = (
                f"Coq: `{bound.theorem}`" if bound.theorem else "No theorem: enclosed on instances."
            )
            sharp = f"; reached: `{bound.attained}`" if bound.attained else ""
            parts.append(f"\n  {proof}{sharp}\n")
            if bound.vacuous_where == sympy.true:
                parts.append("\n  Vacuous: the cheapest answer meets it.\n")
            elif bound.vacuous_where != sympy.false:
                parts.append(
                    f"\n  Vacuous, as the cheapest answer meets it, where\n\n"
                    f"  $${_latex(bound.vacuous_where)}$$\n"
                )
        if claim.refutation is not None:
            parts.append(
                f"\nHypothesis refuted, by {claim.refutation.source}, where\n\n"
                f"  $${_latex(claim.refutation.where)}$$\n\n  and open elsewhere.\n"
            )
        if claim.not_stated:
            parts.append(f"\nNot stated: {claim.not_stated}\n")
    return "".join(parts)


def _table() -> str:
    """Return what the ledger says of every claim, which `attest audit` confirms."""
    rows = ["\n| claim | verdict | assurance | sharpness = extremal / bound |\n|---|---|---|---|\n"]
    for record in ledger().records.values():
        id_ = f"[{record.id}](#{record.id.lower().replace('.', '')})"
        sharpness = ", ".join(f"`{bound}` {s}" for bound, s in (record.sharpness or {}).items())
        shown = id_ if record.id in CLAIMS else record.id
        rows.append(f"| {shown} | {record.shown} | {record.assurance} | {sharpness} |\n")
    return "".join(rows)


def _latex(expression: sympy.Basic) -> str:
    """Return a formula in which a name of several letters reads as one name."""
    names = {
        symbol: r"\mathrm{" + symbol.name.replace("_", r"\_") + "}"
        for symbol in expression.free_symbols
        if len(symbol.name) > 1 and symbol.name not in ("eta", "epsilon", "kappa")
    }
    return str(sympy.latex(expression, symbol_names=names, mul_symbol=r" \, "))
