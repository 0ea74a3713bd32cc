"""The bounds that the fast path calls, as numpy functions that round upward, one operation after another."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import sympy

from specs.printing.catalogue import NOTICE, ROOT, claims_of
from specs.softmax.rounding import ARITHMETIC

#: Where the generated modules stand.
PACKAGE = "fastpath.core.bounds"

#: An intermediate whose code is longer than this stands in a line of its own.
LONGEST_OPERAND = 44

_HEADER = f'''"""Bounds of the claims in specs/{{stem}}, rounded upward.

{NOTICE}

Arguments are nonnegative floats or arrays that broadcast, unless a docstring says otherwise; every
returned value is at least the exact value of the formula at the given floats, and ``inf`` where
a denominator is not positive (the bound then says nothing).
"""
'''


def called(room: Path) -> frozenset[str]:
    """Return the names that the modules of a room import from the generated ones."""
    sources = (path.read_text(encoding="utf-8") for path in room.rglob("*.py"))
    return frozenset().union(*(imported(ast.parse(source)) for source in sources))


def imported(module: ast.Module) -> frozenset[str]:
    """Return the names that one module imports from the generated ones."""
    return frozenset(
        alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
    )


def stem_source(stem: str, names: Collection[str]) -> str:
    """Return the text of ``fastpath/core/bounds/<stem>.py``, with the bounds of those names."""
    functions = [
        function_source(
            bound.name,
            bound.arguments,
            bound.expression,
            f"Bound {bound.meaning}: {claim.id}.\n\n    ``{sympy.sstr(bound.expression)}``\n    ",
        )
        for claim in claims_of(stem)
        for bound in claim.bounds
        if bound.name in names
    ]
    body = "".join(f"\n\n{function}" for function in functions)
    if stem == "softmax":
        body = _arithmetic_source() + body
    imports = ["import math\n"] if "math." in body else []
    imports.append("from typing import Any\n\nimport numpy as np\n\n")
    rounding = [name for name in _DIRECTED if f"{name}(" in body]
    imports.append(f"from fastpath.core.directed import {', '.join(rounding)}\n")
    return _format(_HEADER.format(stem=stem) + "\n" + "".join(imports) + body)


def function_source(
    name: str, arguments: Sequence[sympy.Symbol], expression: sympy.Expr, says: str
) -> str:
    """Return the text of a function whose value is at least that of a nonnegative expression."""
    lines, result = UpwardPrinter(expression).up()
    body = "".join(f"        {line}\n" for line in (*lines, f"return {result}"))
    return (
        f"def {name}({', '.join(f'{a.name}: Any' for a in arguments)}) -> Any:\n"
        f'    """{says}"""\n'
        '    with np.errstate(divide="ignore", over="ignore", under="ignore"):\n'
        f"{body}"
    )


#: What a generated module imports of fastpath.core.directed, where it calls it.
_DIRECTED = ("down", "library_down", "library_up", "total_up", "up")


class UpwardPrinter:
    r"""Print a nonnegative SymPy expression as lines of numpy code that round in one direction.

    Each operation is followed by one step outward: for x >= 0, ``x (1 + 2^-52) + 2^-1074`` rounds to
    at least the next number.  Differences and quotients take the opposite direction on the right.
    numpy's exp, expm1, log, tanh and power are allowed 4 ulp (a test measures them).  What occurs more
    than once, rounded the same way, is computed once.
    """

    def __init__(self, expression: sympy.Expr) -> None:
        self._expression = expression
        #: How often each part is read, rounded which way; what a repeated part holds counts once.
        self._read: Counter[tuple[sympy.Expr, str]] = Counter()
        self._lines: list[str] = []
        self._names: dict[tuple[sympy.Expr, str], str] = {}
        self._in_sum = False
        self._counting = True
        self._print(expression, "up")
        self._counting = False

    def up(self) -> tuple[tuple[str, ...], str]:
        """Return lines that name the parts, and code whose value is at least the expression's."""
        self._lines, self._names = [], {}
        result = self._print(self._expression, "up", whole=True)
        return tuple(self._lines), result

    def _print(self, e: sympy.Expr, way: str, *, whole: bool = False) -> str:
        """Return the code of a part, which is a name where the part is long or read again."""
        if e.is_Symbol:
            return str(e.name)
        if e.is_Integer and e >= 0:
            return str(e)
        key = (e, way)
        if self._counting:
            self._read[key] += 1
            return "" if self._read[key] > 1 else self._operation(e, way)
        if key in self._names:
            return self._names[key]
        code = self._operation(e, way)
        if not whole and (len(code) > LONGEST_OPERAND or self._read[key] > 1):
            code = self._named(code)
            if not self._in_sum:
                self._names[key] = code
        return code

    def _named(self, code: str) -> str:
        """Write a line that gives code a name, unless it stands in a sum's term, and return the name."""
        if self._in_sum or self._counting:
            return code
        name = f"part_{len(self._lines) + 1}"
        self._lines.append(f"{name} = {code}")
        return name

    def _operation(self, e: sympy.Expr, way: str) -> str:
        other = "down" if way == "up" else "up"
        if e.is_Rational and e >= 0:
            return f"{way}({e.p} / {e.q})"
        if e.is_Add:
            return self._sum(e, way, other)
        if e.is_Mul or (e.is_Pow and e.exp.is_Rational and e.exp < 0):
            numerator, denominator = sympy.fraction(e)
            code = self._product(numerator, way)
            if denominator != 1:
                code = self._step(way, code, "/", self._product(denominator, other))
            return code
        if e.is_Pow and e.exp == sympy.Rational(1, 2):
            return f"{way}(np.sqrt({self._print(e.base, way)}))"
        if e.is_Pow and e.exp == 2:
            base = self._print(e.base, way)
            base = base if base.isidentifier() else self._named(base)
            return f"{way}({base} * {base})"
        if e.is_Pow and e.exp.is_integer:
            return f"library_{way}(np.power({self._print(e.base, way)}, {e.exp}))"
        library = {sympy.exp: "exp", sympy.log: "log", sympy.tanh: "tanh"}
        if e.func in library:
            return f"library_{way}(np.{library[e.func]}({self._print(e.args[0], way)}))"
        if e.func is sympy.factorial:
            return f"{way}(float(math.factorial({e.args[0]})))"
        if e.func is sympy.binomial:
            return f"{way}(float(math.comb({e.args[0]}, {e.args[1]})))"
        if e.func is sympy.Abs and e.args[0].is_Symbol:
            return f"np.abs({e.args[0].name})"
        if e.func is sympy.Max and e.args[0] == 0 and e.args[1].is_Symbol:
            return f"np.maximum(0.0, {e.args[1].name})"
        if e.func is sympy.Sum and way == "up":
            return self._sum_of_many(e)
        if e.func is sympy.Min and len(e.args) == 2:
            return f"np.minimum({', '.join(self._print(a, way) for a in e.args)})"
        raise NotImplementedError(f"no directed rounding for {type(e).__name__}: {e}")

    def _sum_of_many(self, e: sympy.Sum) -> str:
        """Print a sum over an index, whose term stands in one line as it depends on the index."""
        index, first, last = e.limits[0]
        outside, self._in_sum = self._in_sum, True
        term = self._print(e.function, "up")
        self._in_sum = outside
        return f"total_up({term} for {index} in range({first}, {last} + 1))"

    def _step(self, way: str, left: str, operator: str, right: str) -> str:
        """Print an operation on codes, the longer of which get names first."""
        left, right = (
            self._named(code) if len(code) > LONGEST_OPERAND else code for code in (left, right)
        )
        return f"{way}({left} {operator} {right})"

    def _product(self, e: sympy.Expr, way: str) -> str:
        factors = sympy.Mul.make_args(e)
        code = self._print(factors[0], way)
        for factor in factors[1:]:
            code = self._step(way, code, "*", self._print(factor, way))
        return code

    def _sum(self, e: sympy.Expr, way: str, other: str) -> str:
        plus = [t for t in e.args if not t.could_extract_minus_sign()]
        minus = [-t for t in e.args if t.could_extract_minus_sign()]
        if len(plus) == 1 and plus[0].func is sympy.exp and minus == [1]:
            # exp(t) - 1 would lose every digit of a small t.
            return f"library_{way}(np.expm1({self._print(plus[0].args[0], way)}))"
        code = self._print(plus[0], way)
        for term in plus[1:]:
            code = self._step(way, code, "+", self._print(term, way))
        for term in minus:
            code = self._step(way, code, "-", self._print(term, other))
        return code


def _arithmetic_source() -> str:
    rows = "".join(
        f'    "{name}": {{\n'
        f'        "unit_roundoff": {_power_of_two(a.unit_roundoff)},\n'
        f'        "tiny": {_power_of_two(a.tiny)},\n'
        f'        "exp_error": {float(a.exp_error)},\n'
        f'        "tanh_error": {float(a.tanh_error)},\n'
        "    },\n"
        for name, a in ARITHMETIC.items()
    )
    return (
        "\n#: The constants of each floating-point type (FP.softmax, FP.exp, FP.tanh).\n"
        f"ARITHMETIC: dict[str, dict[str, float]] = {{\n{rows}}}\n"
    )


def _power_of_two(value: Any) -> str:
    return f"2.0**-{value.denominator.bit_length() - 1}"


def _format(source: str) -> str:
    """Wrap long lines as the formatter would, so that the file passes the linter."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", "bounds.py", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout
