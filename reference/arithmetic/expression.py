"""SymPy expressions, such as a claim's bound, evaluated to enclosures."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce
from math import comb, factorial
from operator import add, mul
from typing import Any

import sympy

from reference.arithmetic.enclosure import Enclosure

__all__ = ["evaluate"]

Values = Mapping[Any, Any]

FUNCTIONS: dict[Any, Callable[[Enclosure], Enclosure]] = {
    sympy.exp: Enclosure.exp,
    sympy.log: Enclosure.log,
    sympy.tanh: Enclosure.tanh,
    sympy.Abs: abs,
}


def evaluate(expr: sympy.Expr, values: Values, bits: int = 128) -> Enclosure:
    """Enclose the value of an expression whose symbols have the given values.

    Every node is evaluated with ``bits`` fractional bits or more; nothing is simplified and no
    float is met, so SymPy is trusted with the tree only.  The radius is absolute: small results
    want more bits.

    Parameters
    ----------
    expr : sympy.Expr
        Built from rational numbers, symbols, +, ×, integer and half-integer powers, exp, log, tanh,
        Abs, Max, Min, factorial, binomial, finite sums over one index.
    values : mapping from Symbol or name to Enclosure, Fraction, int or array_like
        The value of each symbol; in an exponent or a factorial, an int or a Fraction.  Arrays
        broadcast.
    bits : int
        Fractional bits to work with, at least 16.

    Returns
    -------
    Enclosure

    Raises
    ------
    KeyError
        If a symbol has no value.
    NotImplementedError
        If a node is of another kind.
    ArithmeticError
        If a denominator is not certified to differ from zero, or an argument to be in the domain.
    """
    if bits < 16:
        raise ValueError(f"bits must be at least 16, got {bits}.")
    return _enclosed(sympy.sympify(expr, strict=True), values, bits)


def _enclosed(node: sympy.Basic, values: Values, bits: int) -> Enclosure:
    def operands() -> list[Enclosure]:
        return [_enclosed(argument, values, bits) for argument in node.args]

    if isinstance(node, sympy.Symbol):
        value = _value(node, values)
        if isinstance(value, Enclosure):
            return value.at(max(value.bits, bits))
        return Enclosure.exact(value, bits, name=str(node))
    if isinstance(node, sympy.Rational):
        return Enclosure.exact(Fraction(int(node.p), int(node.q)), bits)
    if isinstance(node, sympy.factorial | sympy.binomial):
        return Enclosure.exact(_rational(node, values), bits)
    if node is sympy.E:
        return Enclosure.exact(1, bits).exp()
    if isinstance(node, sympy.Add):
        return reduce(add, operands())
    if isinstance(node, sympy.Mul):
        return _product(node, values, bits)
    if isinstance(node, sympy.Pow):
        return _power(node, values, bits)
    if isinstance(node, sympy.Max):
        return reduce(Enclosure.maximum, operands())
    if isinstance(node, sympy.Min):
        return reduce(Enclosure.minimum, operands())
    if isinstance(node, sympy.Sum) and len(node.limits) == 1:
        ((index, first, last),) = node.limits
        indices = range(int(_rational(first, values)), int(_rational(last, values)) + 1)
        terms = (_enclosed(node.function, {**values, index: i}, bits) for i in indices)
        return reduce(add, terms, Enclosure.exact(0, bits))
    if node.func in FUNCTIONS:
        (argument,) = operands()
        return FUNCTIONS[node.func](argument)
    raise _unsupported(node)


def _product(node: sympy.Mul, values: Values, bits: int) -> Enclosure:
    """One division, product of numerators by product of denominators: |x|^g/g! stays sharp."""
    above, below = [Enclosure.exact(1, bits)], []
    for factor in node.args:
        if isinstance(factor, sympy.Rational) and factor.q.bit_count() == 1:
            above.append(Enclosure.exact(Fraction(int(factor.p), int(factor.q)), bits))
        elif isinstance(factor, sympy.Rational):
            above.append(Enclosure.exact(int(factor.p), bits))
            below.append(Enclosure.exact(int(factor.q), bits))
        elif (
            isinstance(factor, sympy.Pow)
            and factor.base is not sympy.E
            and _exponent(factor, values) < 0
        ):
            below.append(
                _enclosed(sympy.Pow(factor.base, -factor.exp, evaluate=False), values, bits)
            )
        else:
            above.append(_enclosed(factor, values, bits))
    return reduce(mul, above) / reduce(mul, below) if below else reduce(mul, above)


def _power(node: sympy.Pow, values: Values, bits: int) -> Enclosure:
    if node.base is sympy.E:
        return _enclosed(node.exp, values, bits).exp()
    exponent = _exponent(node, values)
    base = _enclosed(node.base, values, bits)
    if exponent.denominator == 2:
        return base.sqrt() ** exponent.numerator
    return base**exponent.numerator


def _exponent(node: sympy.Pow, values: Values) -> Fraction:
    exponent = _rational(node.exp, values)
    if exponent.denominator > 2:
        raise NotImplementedError(f"powers must be integers or half-integers, got {node}.")
    return exponent


def _rational(node: sympy.Basic, values: Values) -> Fraction:
    """Return the exact value of an exponent, a factorial or a binomial coefficient."""
    if isinstance(node, sympy.Rational):
        return Fraction(int(node.p), int(node.q))
    if isinstance(node, sympy.Symbol):
        value = _value(node, values)
        if isinstance(value, int | Fraction):
            return Fraction(value)
        raise TypeError(
            f"{node} stands in an exponent, factorial or binomial: its value must be an int or a Fraction, "
            f"got {value!r}."
        )
    if isinstance(node, sympy.Add):
        return reduce(add, (_rational(argument, values) for argument in node.args))
    if isinstance(node, sympy.Mul):
        return reduce(mul, (_rational(argument, values) for argument in node.args))
    if isinstance(node, sympy.factorial | sympy.binomial):
        function = factorial if isinstance(node, sympy.factorial) else comb
        return Fraction(function(*(_natural(a, node, values) for a in node.args)))
    raise _unsupported(node)


def _natural(argument: sympy.Basic, node: sympy.Basic, values: Values) -> int:
    value = _rational(argument, values)
    if value.denominator != 1 or value < 0:
        raise ValueError(f"{node.func} needs integers at least 0, got {value} for {node}.")
    return int(value)


def _value(symbol: sympy.Symbol, values: Values) -> Any:
    if symbol in values:
        return values[symbol]
    if symbol.name in values:
        return values[symbol.name]
    raise KeyError(f"symbol {symbol} has no value; values name {sorted(map(str, values))}.")


def _unsupported(node: sympy.Basic) -> NotImplementedError:
    return NotImplementedError(f"no enclosure for {type(node).__name__} in {node}.")
