"""Claims as a stranger might bring them, three true and three false: graphs, orders, primes and medians.

``attest falsify --claims tests/proofs/strangers.py`` with their ids has to break those named ``FALSE``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from reference import Enclosure
from specs.claim import Bound, Claim, Hypothesis

vertices = sympy.Symbol("vertices", integer=True, positive=True)
length = sympy.Symbol("length", integer=True, nonnegative=True)
average = sympy.Symbol("average", positive=True)
square_deviation = sympy.Symbol("square_deviation", nonnegative=True)


def _exactly(value: int | Fraction, bits: int) -> Enclosure:
    return Enclosure.exact(value, bits)


# ------------------------------------------------------------------------------------ graphs


@dataclass(frozen=True)
class Graph:
    """Which vertices are joined: above the diagonal of a square."""

    joined: np.ndarray[Any, Any]


def _symmetric(i: Graph) -> np.ndarray[Any, Any]:
    above = np.triu(i.joined != 0, 1).astype(int)
    return np.asarray(above + above.T)


def _edges(i: Graph, bits: int) -> Enclosure:
    return _exactly(int(_symmetric(i).sum()) // 2, bits)


def _random_graph(rng: np.random.Generator) -> Graph:
    n = int(rng.integers(3, 7))
    odd = np.arange(n) % 2  # only what is odd is joined to what is even
    return Graph(((rng.random((n, n)) < 0.5) & (odd != odd[:, None])).astype(int))


_square = Hypothesis[Graph](
    "the matrix is square", lambda i: i.joined.shape[0] == i.joined.shape[1] > 0
)
_no_triangle = Hypothesis[Graph](
    "no three vertices are joined to each other",
    lambda i: int(np.trace(np.linalg.matrix_power(_symmetric(i), 3))) == 0,
)


def _graphs(id_: str, statement: str, assumes: tuple[Hypothesis[Graph], ...]) -> Claim[Graph]:
    return Claim[Graph](
        id=id_,
        where="Mantel, 1907",
        statement=statement,
        not_stated="",
        assumes=assumes,
        bounds=(
            Bound(
                name="edges",
                meaning="the number of edges",
                arguments=(vertices,),
                expression=vertices**2 / sympy.Integer(4),
                points=((4,),),
                quantity=_edges,
                parameters=lambda i, bits: {"vertices": len(i.joined)},
                trivial=lambda i, bits: _exactly(len(i.joined) ** 2, bits),
                extremal=lambda: Graph(np.array([[0, 1], [0, 0]])),
            ),
        ),
        witness=lambda: Graph(np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])),
        sample=_random_graph,
    )


# ------------------------------------------------------------------------------------ orders


@dataclass(frozen=True)
class Order:
    """Places in an order, each once."""

    places: tuple[int, ...]


def _inversions(i: Order, bits: int) -> Enclosure:
    pairs = [(a, b) for k, a in enumerate(i.places) for b in i.places[k + 1 :]]
    return _exactly(sum(a > b for a, b in pairs), bits)


INVERSIONS = Claim[Order](
    id="STRANGER.inversions",
    where="any book",
    statement="An order of n things has at most n(n-1)/2 inversions.",
    not_stated="",
    assumes=(Hypothesis("no place is taken twice", lambda i: len({*i.places}) == len(i.places)),),
    bounds=(
        Bound(
            name="inversions",
            meaning="how many pairs are out of order",
            arguments=(length,),
            expression=length * (length - 1) / 2,
            points=((4,),),
            quantity=_inversions,
            parameters=lambda i, bits: {"length": len(i.places)},
            trivial=lambda i, bits: _exactly(len(i.places) ** 2, bits),
            extremal=lambda: Order((3, 2, 1)),
        ),
    ),
    witness=lambda: Order((1, 2, 3)),
    sample=lambda rng: Order(tuple(map(int, rng.permutation(int(rng.integers(2, 7)))))),
)


# ------------------------------------------------------------------------------------ primes


@dataclass(frozen=True)
class Argument:
    """Of Euler's polynomial n^2 + n + 41."""

    n: int


EULER = Claim[Argument](
    id="STRANGER.euler_FALSE",
    where="hearsay about Euler, 1772",
    statement="n^2 + n + 41 is prime: it has no more than two divisors.",
    not_stated="",
    assumes=(Hypothesis("0 <= n <= 100", lambda i: 0 <= i.n <= 100),),
    bounds=(
        Bound(
            name="divisors",
            meaning="the number of divisors",
            expression=sympy.Integer(2),
            quantity=lambda i, bits: _exactly(int(sympy.divisor_count(i.n * i.n + i.n + 41)), bits),
            trivial=lambda i, bits: _exactly(i.n * i.n + i.n + 41, bits),
            extremal=lambda: Argument(0),
        ),
    ),
    witness=lambda: Argument(1),
    sample=lambda rng: Argument(int(rng.integers(0, 12))),
)


# ----------------------------------------------------------------------------------- averages


@dataclass(frozen=True)
class Numbers:
    """Some numbers."""

    x: np.ndarray[Any, Any]


def _drawn(rng: np.random.Generator) -> Numbers:
    return Numbers(rng.uniform(0.5, 2, int(rng.integers(2, 9))))


def _mean(i: Numbers) -> Fraction:
    return sum((Fraction(float(a)) for a in i.x), Fraction(0)) / len(i.x)


def _square_deviation(i: Numbers) -> Fraction:
    return sum(((Fraction(float(a)) - _mean(i)) ** 2 for a in i.x), Fraction(0)) / len(i.x)


def _median_square(i: Numbers, bits: int) -> Enclosure:
    middle = sorted(Fraction(float(a)) for a in i.x)[(len(i.x) - 1) // 2]
    return _exactly((middle - _mean(i)) ** 2, bits)


_positive = Hypothesis[Numbers](
    "there are numbers, and all are positive", lambda i: bool(i.x.size and (i.x > 0).all())
)


def _of_numbers(
    id_: str,
    statement: str,
    argument: sympy.Symbol,
    expression: sympy.Expr,
    value: Callable[[Numbers], Fraction],
    quantity: Callable[[Numbers, int], Enclosure],
) -> Claim[Numbers]:
    return Claim[Numbers](
        id=id_,
        where="any book, or a misprint in it",
        statement=statement,
        not_stated="",
        assumes=(_positive,),
        bounds=(
            Bound(
                name=f"{argument.name}_bound",
                meaning=statement,
                arguments=(argument,),
                expression=expression,
                points=((1,),),
                quantity=quantity,
                parameters=lambda i, bits: {argument.name: value(i)},
                trivial=lambda i, bits: _exactly(Fraction(float(i.x.max())) ** 2 + 1, bits),
                extremal=lambda: Numbers(np.array([1.0, 1.0, 2.0])),
            ),
        ),
        witness=lambda: Numbers(np.array([1.0, 1.5, 0.75])),
        sample=_drawn,
    )


CLAIMS = (
    _graphs(
        "STRANGER.mantel",
        "A graph without triangles has at most n^2/4 edges.",
        (_square, _no_triangle),
    ),
    _graphs("STRANGER.edges_FALSE", "A graph has at most n^2/4 edges.", (_square,)),
    INVERSIONS,
    EULER,
    _of_numbers(
        "STRANGER.geometric",
        "A geometric mean is at most the arithmetic mean.",
        average,
        average,
        _mean,
        lambda i, bits: (Enclosure.exact(i.x, bits).log().sum() / _exactly(len(i.x), bits)).exp(),
    ),
    _of_numbers(
        "STRANGER.median_FALSE",
        "A median is within 0.95 standard deviations of the mean: its square within 0.9025.",
        square_deviation,
        square_deviation * sympy.Rational(9025, 10000),
        _square_deviation,
        _median_square,
    ),
)
