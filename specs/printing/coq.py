"""The bounds as Coq definitions, and the points at which Coq's value of each is pinned."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy
from sympy.printing.precedence import PRECEDENCE, precedence
from sympy.printing.printer import Printer

from reference import evaluate
from reference.arithmetic.exponential import exp_nonpositive
from specs.claim import Bound
from specs.printing.catalogue import NOTICE, bounds


class CoqPrinter(Printer):  # type: ignore[misc]
    """Print a SymPy expression as a Coq real; integer symbols are nat, coerced by INR."""

    _functions = {  # noqa: RUF012 - sympy's printers read class attributes
        sympy.exp: "exp",
        sympy.log: "ln",
        sympy.tanh: "tanh",
        sympy.Abs: "Rabs",
        sympy.Max: "Rmax",
        sympy.Min: "Rmin",
    }

    def _grouped(self, e: sympy.Expr, level: int) -> str:
        code = str(self._print(e))
        return f"({code})" if precedence(e) <= level or code.startswith("-") else code

    def _atom(self, e: sympy.Expr) -> str:
        code = str(self._print(e))
        return code if code.isidentifier() or code.isdigit() else f"({code})"

    def _print_Integer(self, e: sympy.Integer) -> str:
        return str(e.p)

    def _print_Rational(self, e: sympy.Rational) -> str:
        return f"{e.p} / {e.q}"

    def _print_Symbol(self, e: sympy.Symbol) -> str:
        return f"INR {e.name}" if e.is_integer else str(e.name)

    def _print_Add(self, e: sympy.Add) -> str:
        plus = [t for t in e.args if not t.could_extract_minus_sign()]
        minus = [-t for t in e.args if t.could_extract_minus_sign()]
        code = " + ".join(self._grouped(t, PRECEDENCE["Add"]) for t in plus) or "0"
        return code + "".join(f" - {self._grouped(t, PRECEDENCE['Add'])}" for t in minus)

    def _print_Mul(self, e: sympy.Mul) -> str:
        if e.could_extract_minus_sign():
            return f"- {self._grouped(-e, PRECEDENCE['Mul'])}"
        numerator, denominator = sympy.fraction(e)
        factors = sympy.Mul.make_args(numerator)
        code = " * ".join(self._grouped(f, PRECEDENCE["Mul"]) for f in factors)
        if denominator == 1:
            return code
        left = code if len(factors) == 1 else f"({code})"
        return f"{left} / {self._atom(denominator)}"

    def _natural(self, e: sympy.Expr) -> str:
        if e.is_Integer and e >= 0:
            return f"{e}%nat"
        if e.is_Symbol and e.is_integer and e.is_nonnegative:
            return str(e.name)
        if e.is_Add:
            plus = [a for a in e.args if not a.could_extract_minus_sign()]
            minus = "".join(f" - {self._natural(-a)}" for a in e.args if a not in plus)
            return "(" + " + ".join(self._natural(a) for a in plus) + minus + ")%nat"
        if e.is_Mul:
            return "(" + " * ".join(self._natural(a) for a in e.args) + ")%nat"
        raise NotImplementedError(f"no Coq nat for {e}")

    def _print_Pow(self, e: sympy.Pow) -> str:
        base, exponent = e.args
        if exponent == sympy.Rational(1, 2):
            return f"sqrt {self._atom(base)}"
        if exponent.is_Rational and exponent < 0:
            return f"/ {self._atom(base**-exponent)}"
        return f"{self._atom(base)} ^ {self._natural(exponent)}"

    def _print_factorial(self, e: sympy.Expr) -> str:
        return f"INR (fact {self._natural(e.args[0])})"

    def _print_binomial(self, e: sympy.Expr) -> str:
        return f"C {self._natural(e.args[0])} {self._natural(e.args[1])}"

    def _print_Sum(self, e: sympy.Sum) -> str:
        index, first, last = e.limits[0]
        if first != 0:
            raise NotImplementedError(f"no Coq sum from {first}")
        term = str(self._print(e.function))
        return f"sum_f_R0 (fun {index.name} : nat => {term}) {self._natural(last)}"

    def _print_Function(self, e: sympy.Expr) -> str:
        if e.func not in self._functions:
            raise NotImplementedError(f"no Coq function for {e.func}")
        return " ".join([self._functions[e.func], *(self._atom(a) for a in e.args)])

    _print_Abs = _print_Max = _print_Min = _print_exp = _print_log = _print_Function

    def emptyPrinter(self, expr: Any) -> str:
        """Refuse what has no translation."""
        raise NotImplementedError(f"no Coq translation for {type(expr).__name__}: {expr}")


def coq(e: sympy.Expr) -> str:
    """Return an expression in Coq's syntax."""
    return str(CoqPrinter().doprint(e))


def coq_bounds() -> str:
    """Return the text of ``proofs/coq/Bounds.v``."""
    parts = [f"(** {NOTICE} *)\nRequire Import Reals.\nOpen Scope R_scope.\n"]
    for claim, bound in bounds():
        binders = " ".join(f"({a.name} : {_coq_type(a)})" for a in bound.arguments)
        parts.append(
            f"\n(** {claim.id}: {bound.meaning}. *)\n"
            f"Definition b_{bound.name} {binders} : R :=\n  {coq(bound.expression)}.\n"
        )
    return "".join(parts)


def _coq_type(symbol: sympy.Symbol) -> str:
    return "nat" if symbol.is_integer else "R"


#: Digits to which Coq's value of a bound is pinned.
_PINNED_DIGITS = 25

#: (argument, bits) at which Coq's mirror of the integer exp kernel must give Python's integer.
_KERNEL_POINTS = ((0, 16), (-1, 16), (-3 << 62, 64), (-(10**40), 128), (-(88 << 128), 128))


def coq_checks() -> str:
    """Return the text of ``proofs/coq/BoundsCheck.v``."""
    parts = [
        f"(** {NOTICE} *)\n"
        "Require Import Reals Lra ZArith.\nFrom Interval Require Import Tactic.\n"
        "Require Import Bounds ExpKernel.\nOpen Scope R_scope.\n\n"
        "Ltac closed_inr := repeat match goal with |- context [INR ?k] =>\n"
        "  rewrite (INR_IZR_INZ k);\n"
        "  let z := eval vm_compute in (Z.of_nat k) in change (Z.of_nat k) with z end.\n"
        "Ltac closed_max :=\n"
        "  repeat first [rewrite Rmax_right by lra | rewrite Rmax_left by lra\n"
        "    | rewrite Rmin_left by interval | rewrite Rmin_right by interval].\n"
        "Ltac pin :=\n"
        "  unfold tanh, sinh, cosh, C; cbn [sum_f_R0 Nat.add Nat.sub]; closed_inr; closed_max;\n"
        "  interval with (i_prec 200).\n"
    ]
    for _, bound in bounds():
        for point in bound.points:
            parts.append(_pin(bound, point))
    for argument, bits in _KERNEL_POINTS:
        parts.append(
            f"\nGoal exp_kernel ({argument}) {bits} = {exp_nonpositive(argument, bits)}%Z.\n"
            "Proof. vm_compute. reflexivity. Qed.\n"
        )
    return "".join(parts)


def _pin(bound: Bound[Any], point: tuple[sympy.Rational | int, ...]) -> str:
    values = dict(zip((a.name for a in bound.arguments), point, strict=True))
    lower, _ = evaluate(bound.expression, _fractions(values), 256).bounds()
    digits = sympy.Rational(
        round(lower.item() * 10 ** (_PINNED_DIGITS + 5)), 10 ** (_PINNED_DIGITS + 5)
    )
    arguments = " ".join(
        str(p) if a.is_integer else f"({coq(sympy.sympify(p, strict=True))})"
        for a, p in zip(bound.arguments, point, strict=True)
    )
    return (
        f"\nGoal Rabs (b_{bound.name} {arguments} - ({coq(digits)})) <= 1 / 10 ^ {_PINNED_DIGITS}.\n"
        f"Proof. unfold b_{bound.name}; pin. Qed.\n"
    )


def _fractions(values: dict[str, sympy.Rational | int]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int) else Fraction(int(value.p), int(value.q))
        for name, value in values.items()
    }
