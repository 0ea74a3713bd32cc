"""Formulas as MathML, and what the ledger and Coq write as HTML."""

from __future__ import annotations

import re
from typing import Any

import sympy
from markupsafe import Markup, escape
from sympy.printing.mathml import MathMLPresentationPrinter

__all__ = ["coq", "mathml", "tex"]


class _Printer(MathMLPresentationPrinter):  # type: ignore[misc]
    """A name of several letters is one name, as in code: its underscore makes no subscript."""

    def _print_Symbol(self, sym: sympy.Symbol, style: str = "plain") -> Any:  # noqa: N802
        if "_" not in sym.name:
            return super()._print_Symbol(sym, style)
        element = self.dom.createElement("mi")
        element.appendChild(self.dom.createTextNode(sym.name))
        return element


def mathml(expression: sympy.Basic, *, block: bool = False) -> Markup:
    """Return an expression or a relation as MathML; products have a dot, as names have many letters."""
    printer = _Printer({"mul_symbol": "dot", "mul_symbol_mathml_numbers": "dot"})
    inner = printer._print(expression).toxml()
    kind = "block" if block else "inline"
    return Markup(f'<math display="{kind}">{inner}</math>')


#: What TeX's commands in the four abstracts stand for; of the others the name is set.
_COMMANDS = {
    **{"tau": "τ", "omega": "ω", "Omega": "Ω", "delta": "δ", "top": "⊤"},
    **{"bullet": "•", "sum": "∑", "langle": "⟨", "rangle": "⟩", "infty": "∞", "|": "‖"},
    **{"in": " ∈ ", "times": " × ", "approx": " ≈ ", "leq": " ≤ ", "ll": " ≪ ", "gg": " ≫ "},
}

#: Commands that set what follows in another style.
_STYLES = ("mathrm", "mathsf", "mathbb", "bf", "sf", "cal", "widetilde")

_TOKEN = re.compile(r"\\(?P<command>[A-Za-z]+|.)\s*|(?P<script>[_^])|(?P<brace>[{}])|(?P<other>.)")
_MATHS = re.compile(r"\$([^$]*)\$|\\begin\{align\*\}(.*?)\\end\{align\*\}", re.DOTALL)


def tex(text: str) -> Markup:
    """Return a sentence in which TeX's formulas are set, so far as the four abstracts need it."""
    if not _MATHS.search(text):
        return _formula(text) if "\\" in text else escape(text)
    parts, last = [], 0
    for found in _MATHS.finditer(text):
        parts += [escape(text[last : found.start()]), _formula(found[1] or found[2] or "")]
        last = found.end()
    return Markup("").join([*parts, escape(text[last:])])


def _formula(text: str) -> Markup:
    """Set one formula: italic single letters, scripts, and the signs that commands stand for."""
    tokens = [found.groupdict() for found in _TOKEN.finditer(" ".join(text.split()))]
    inner = Markup("").join(_set(tokens))
    return Markup('<span class="tex">{}</span>').format(inner)


def _set(tokens: list[dict[str, str | None]], *, one: bool = False) -> list[Markup]:
    """Set tokens up to the brace that closes them, or ``one`` of them, and take them away."""
    parts: list[Markup] = []
    while tokens:
        token = tokens.pop(0)
        if token["script"]:
            tag = {"_": "sub", "^": "sup"}[token["script"]]
            inner = Markup("").join(_set(tokens, one=True))
            parts.append(Markup(f"<{tag}>{{}}</{tag}>").format(inner))
        elif token["brace"] == "{":
            parts += _set(tokens)
        elif token["brace"] == "}":
            return parts
        elif token["command"] is not None:
            command = token["command"]
            if command in _STYLES:
                upright = re.sub("</?i>", "", Markup("").join(_set(tokens, one=True)))
                upright = "ℝ" if (command, upright) == ("mathbb", "R") else upright
                parts.append(Markup(upright + "\u0303" * (command == "widetilde")))
            else:
                parts.append(escape(_COMMANDS.get(command, command)))
        else:
            letter = (token["other"] or "").replace("-", "−")
            parts.append(Markup("<i>{}</i>").format(letter) if letter.isalpha() else escape(letter))
        if one:
            return parts
    return parts


def coq(statement: str) -> str:
    """Return a statement with a line for each premise, which Coq prints in one."""
    lines: list[str] = []
    line, depth = "", 0
    for piece in re.split(r"(\(|\)|->|,)", statement):
        line += piece
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if depth == 0 and (piece == "->" or (piece == "," and not lines)):
            lines.append(line.strip())
            line = ""
    return "\n  ".join([*lines, line.strip()])
