"""What a claim is: hypotheses, one or more inequalities, and the evidence that would convict it.

A :class:`Claim` is executable.  It carries a witness that satisfies its hypotheses, and for each
inequality ``quantity <= expression`` the cheapest answer (is the bound vacuous?) and the instance
that comes closest (is it sharp?).  What was *found* about a claim is never typed here: the audit
recomputes it and compares it with the ledger ``papers.toml``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, Generic, TypeVar

import numpy as np
import sympy

from reference import Enclosure, evaluate

Instance = TypeVar("Instance")


Value = Enclosure | Fraction | int


class Status(StrEnum):
    """What is known of a claim's truth (the ledger's ``verdict``)."""

    HOLDS = "holds"
    VACUOUS = "vacuous"
    REFUTED = "refuted"
    HYPOTHESIS_REFUTED = "hypothesis-refuted"
    DOMINATED = "dominated"
    OPEN = "open"


class Assurance(StrEnum):
    """How a status is known, strongest first."""

    PROVED = "proved"
    CERTIFIED = "certified"
    TESTED = "tested"
    CITED = "cited"
    NONE = "none"


class Relation(StrEnum):
    """How the head of a theorem's conclusion relates the bound to what it bounds."""

    #: quantity <= bound
    AT_MOST = "at most"
    #: bound <= quantity
    AT_LEAST = "at least"
    #: quantity = bound
    EQUALS = "equals"
    #: scaled quantity <= bound * scale, where the quantity of the claim is the quotient
    RELATIVE = "relative"
    #: quantity <= a sum of which the bound, or a multiple of it, is a term
    TERM = "term"
    #: quantity = such a sum
    EQUAL_TERM = "equal term"


@dataclass(frozen=True)
class Hypothesis(Generic[Instance]):
    """A condition on the inputs, decided exactly, with the sentence a user reads when it fails.

    Attributes
    ----------
    statement
        The sentence.
    holds
        Whether an instance satisfies it.
    mirrors
        The premises of the claim's theorems that it stands for: a predicate of Coq by its name, or a
        relation as Coq prints it, without names of modules.
    alone
        Why no theorem has such a premise, where none has.
    """

    statement: str
    holds: Callable[[Instance], bool]
    mirrors: tuple[str, ...] = ()
    alone: str = ""


def _no_parameters(instance: Any, bits: int) -> Mapping[str, Value]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Bound(Generic[Instance]):
    """One inequality ``quantity <= expression``.

    Attributes
    ----------
    name
        The bound's name in every room: ``fastpath.core.bounds.<stem>.<name>``, Coq's ``b_<name>``.
    meaning
        What is bounded, in a sentence.
    arguments
        The symbols of ``expression`` in the order in which every generated function takes them.  A constant
        has none; then ``points`` and ``parameters`` say nothing either, and are left out too.
    expression
        The bound itself; the single source of the Python, the Coq and the printed formula.  Its symbols
        assume what their numbers are, so that ``expression.subs("eta", 1)``, which looks for a symbol that
        assumes nothing, replaces nothing: ``at(eta=1)`` replaces by name, ``evaluate(eta=1)`` encloses.
    domain
        The numbers that an argument may be, where they are fewer than its kind allows (see ``domains``).
    provided
        A relation between several arguments without which the formula says nothing.
    points
        Rational argument tuples at which Coq's value is pinned to this expression's.
    quantity
        Encloses what is bounded on an instance, at a number of bits.
    parameters
        The values of ``arguments`` on an instance.
    trivial
        Encloses the same quantity for the cheapest answer that ignores the data.
    extremal
        The instance that comes closest to equality.
    vacuous_where
        Where the cheapest answer meets the bound: a relation over symbols that ``parameters`` gives a
        value.  ``false``: not everywhere for any of them, as the cheapest answer depends on the data;
        ``true``: everywhere.
    edges
        Where ``vacuous_where`` is a relation, an instance on its edge or just inside, and one just outside.
    theorem
        The Coq theorem that concludes ``... <= b_<name> ...``, where there is one.
    relation
        Where the theorem's conclusion has the bound, if not as an upper bound of what stands alone.
    attained
        The Coq theorem that the bound is attained, where there is one.
    approached
        The Coq theorem that no smaller multiple of the bound holds, where it is approached only.
    """

    name: str
    meaning: str
    arguments: tuple[sympy.Symbol, ...] = ()
    expression: sympy.Expr
    points: tuple[tuple[sympy.Rational | int, ...], ...] = ((),)
    quantity: Callable[[Instance, int], Enclosure]
    parameters: Callable[[Instance, int], Mapping[str, Value]] = _no_parameters
    trivial: Callable[[Instance, int], Enclosure]
    extremal: Callable[[], Instance]
    domain: Mapping[sympy.Symbol, sympy.Set] = field(default_factory=dict)
    provided: sympy.Basic = sympy.true
    vacuous_where: sympy.Basic = sympy.false
    edges: Callable[[], tuple[Instance, ...]] = tuple
    theorem: str = ""
    relation: Relation = Relation.AT_MOST
    attained: str = ""
    approached: str = ""

    @property
    def domains(self) -> dict[sympy.Symbol, sympy.Set]:
        """The numbers that each argument may be.

        What a symbol assumes is for SymPy to simplify by: a length may be 0 though its symbol is positive,
        unless ``domain`` excludes it.
        """
        return {a: self.domain.get(a, _of_its_kind(a)) for a in self.arguments}

    def value(self, instance: Instance, bits: int) -> Enclosure:
        """Enclose the right-hand side on an instance."""
        return evaluate(self.expression, self.parameters(instance, bits), bits)

    def latex(self) -> str:
        """Return the expression as LaTeX, symbols by their names."""
        names = {a: r"\mathrm{" + a.name.replace("_", r"\_") + "}" for a in self.arguments}
        return str(sympy.latex(self.expression, symbol_names=names))

    def at(self, **values: Any) -> sympy.Expr:
        """Return the expression with arguments, by their names, replaced by numbers or expressions.

        Raises
        ------
        TypeError
            If a name is not one of the bound's arguments, or a value is neither number nor expression.
        """
        arguments = {a.name: a for a in self.arguments}
        replaced = {}
        for name, value in values.items():
            if name not in arguments:
                raise TypeError(
                    f"{self.name} takes {', '.join(arguments) or 'nothing'}; got {name}."
                )
            try:
                replaced[arguments[name]] = sympy.sympify(value, strict=True)
            except sympy.SympifyError:
                raise TypeError(
                    f"{name} must be a number or a SymPy expression, got {value!r}."
                ) from None
        return self.expression.subs(replaced, simultaneous=True)

    def evaluate(self, *, digits: int = 30, **values: Fraction | float) -> Enclosure:
        """Enclose the bound at given arguments to a number of significant digits.

        Parameters
        ----------
        digits
            How many, at least 1: the enclosure is narrower than 10^-digits of its value.
        **values
            Every argument by its name: an int, a Fraction, or a float, which is taken as exact.

        Raises
        ------
        TypeError
            If an argument is missing, is not one of the bound's, or is no such number.
        ValueError
            If an argument lies outside its domain, or digits are fewer than 1.
        """
        if digits < 1:
            raise ValueError(f"digits must be at least 1, got {digits}.")
        names = [a.name for a in self.arguments]
        if sorted(values) != sorted(names):
            raise TypeError(
                f"{self.name} takes {', '.join(names)}; got {', '.join(values) or 'none'}."
            )
        exact = {name: _number(name, value) for name, value in values.items()}
        at = {
            a: sympy.Rational(exact[a.name].numerator, exact[a.name].denominator)
            for a in self.arguments
        }
        for argument, allowed in self.domains.items():
            if allowed.contains(at[argument]) != sympy.true:
                raise ValueError(
                    f"{argument.name} must be in {allowed}, got {values[argument.name]}."
                )
        if self.provided.subs(at) == sympy.false:
            raise ValueError(f"{self.name} speaks only where {self.provided}, got {values}.")
        counts = {
            a.name: int(exact[a.name]) if a.is_integer else exact[a.name] for a in self.arguments
        }
        bits = 64
        while True:
            found = evaluate(self.expression, counts, bits)
            lower, upper = (Fraction(end.item()) for end in found.bounds())
            if (upper - lower) * 10**digits <= max(abs(lower), abs(upper)) or bits > _MOST_BITS:
                return found
            bits *= 2


#: A value that takes more fractional bits is 0 as far as anybody can tell.
_MOST_BITS = 1 << 15


def _number(name: str, value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise TypeError(f"{name} must be an int, a Fraction or a float, got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}.")
    return Fraction(value)


def _of_its_kind(symbol: sympy.Symbol) -> sympy.Set:
    """Return the numbers that a symbol's name stands for: counts, sizes or reals."""
    if symbol.is_integer:
        return sympy.S.Naturals if symbol.is_positive else sympy.S.Naturals0
    return sympy.Interval(0, sympy.oo) if symbol.is_nonnegative else sympy.S.Reals


@dataclass(frozen=True)
class Rival(Generic[Instance]):
    """Another way to what a claim offers, at no greater price in anything and a lower one in something.

    Attributes
    ----------
    claim
        The id of the claim that the other way rests on.
    figures
        For each thing paid (columns, error, operations), on an instance and at a number of bits: what
        the claim asks, and what the other way takes.
    """

    claim: str
    figures: Callable[[Instance, int], Mapping[str, tuple[Enclosure, Enclosure]]]


@dataclass(frozen=True)
class Refutation(Generic[Instance]):
    """A published result under which a claim's conjecture is false, on some instances.

    The claim then says nothing there, which is not to say that what it concludes is false; elsewhere it
    is as open as the conjecture.

    Attributes
    ----------
    source
        Where it is published, by which statement.
    reaches
        Whether it reaches an instance, decided exactly.
    where
        The region that it reaches: a relation over symbols that ``parameters`` gives a value.
    parameters
        The values of the relation's symbols on an instance.
    edges
        An instance just inside the region, and one just outside.
    """

    source: str
    reaches: Callable[[Instance], bool]
    where: sympy.Basic
    parameters: Callable[[Instance, int], Mapping[str, Value]]
    edges: Callable[[], tuple[Instance, ...]]


@dataclass(frozen=True)
class Claim(Generic[Instance]):
    """Hypotheses that imply one or more inequalities.

    Attributes
    ----------
    id
        Name, never reused: ``S.tv``.
    where
        The paper and sentence it comes from, or ``ours``.
    statement
        The claim in a sentence or formula.
    not_stated
        What the claim says, or seems to say, that nothing here checks.
    assumes
        The hypotheses.
    bounds
        The inequalities.
    witness
        An instance that satisfies the hypotheses.
    sample
        A random instance that satisfies the hypotheses.
    rival
        What dominates the claim, where something does; the audit compares the two on every instance.
    refutation
        What refutes the conjecture that the claim rests on, where something does.
    source
        Where the numbers that the quantities return are published, if nothing here computes them.
    recomputed
        Where some fields of an instance are what a program computed from the others: the instance that the
        same inputs give, computed again.  No other values of these fields are instances.
    """

    id: str
    where: str
    statement: str
    not_stated: str
    assumes: tuple[Hypothesis[Instance], ...]
    bounds: tuple[Bound[Instance], ...]
    witness: Callable[[], Instance]
    sample: Callable[[np.random.Generator], Instance]
    rival: Rival[Instance] | None = None
    refutation: Refutation[Instance] | None = None
    source: str = ""
    recomputed: Callable[[Instance], Instance] | None = None

    def broken_hypotheses(self, instance: Instance) -> tuple[str, ...]:
        """Return the statements of the hypotheses that the instance does not satisfy."""
        return tuple(h.statement for h in self.assumes if not h.holds(instance))


def hint(id_: str, known: Iterable[str]) -> str:
    """Return which ids are spelled like an unknown one, or which groups there are if none is."""
    known = sorted(known)
    groups = dict.fromkeys(k.partition(".")[0] for k in known)
    return alike(id_, known) or f"known are those of {', '.join(groups)}."


def alike(name: str, known: Iterable[str]) -> str:
    """Return a question after what is spelled like a name; empty if nothing is."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else ""


def members(ids: Iterable[str], known: Collection[str]) -> list[str]:
    """Return ids in order, with all claims of it in the place of a group, such as P3 or S, once each."""
    found: dict[str, None] = {}
    for id_ in ids:
        group = [] if id_ in known else [k for k in known if k.startswith(f"{id_}.")]
        found.update(dict.fromkeys(group or [id_]))
    return [*found]


def by_id(claims: Mapping[str, Claim[Any]]) -> Callable[[str], Claim[Any]]:
    """Return a function that finds a claim by its id, and says which are spelled alike if there is none."""

    def claim(id_: str) -> Claim[Any]:
        """Return the executable claim of that id; raise ValueError if there is none."""
        if id_ in claims:
            return claims[id_]
        raise ValueError(f"no executable claim is called {id_!r}; {hint(id_, claims)}")

    return claim
