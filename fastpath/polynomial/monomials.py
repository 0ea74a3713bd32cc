r"""Sums over keys of all monomials up to a degree, and polynomials of q·k evaluated from them.

By the multinomial theorem :math:`\sum_m c_m (q \cdot k)^m = \sum_{|\alpha| \le g} c_{|\alpha|}
\tfrac{|\alpha|!}{\alpha!} q^\alpha k^\alpha`, so the sums over keys of :math:`k^\alpha w` serve every query
and every polynomial.

A block has one row a monomial, so that each row is the product of two others.  The variables are
split: a monomial is one of the *head* variables times one of the last few, the *tail*.  One matrix
product for each degree of the tail then sums over the keys, or over the head, and far fewer rows are
formed than there are monomials.
"""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Array

#: A block of keys or queries takes about this many bytes.  At d = 4 and degree 4 a quarter of it is
#: 30 % slower, since each row costs a call; at d = 8 and degree 4 twice as much gains nothing.
BLOCK_BYTES = 2**21
LEAST_COLUMNS, MOST_COLUMNS = 512, 8192

#: The largest number whose factorial is less than 2^1024.
LARGEST_DEGREE = 170


def monomial_count(d: int, degree: int) -> int:
    """Return the number of monomials of at most that degree in d variables."""
    return math.comb(d + degree, degree)


def summands(d: int, degree: int) -> int:
    """Return how many terms pass through one another's sums when a polynomial is evaluated."""
    tail = _tail_variables(d, degree)
    return monomial_count(d - tail, degree) + monomial_count(tail, degree)


def block_columns(d: int, degree: int, width: int) -> int:
    """Return how many keys or queries a block should have, for that many weights a key."""
    tail = _tail_variables(d, degree)
    widest = monomial_count(tail - 1, degree) if tail else 1
    fitting = BLOCK_BYTES // (8 * (summands(d, degree) + width * (1 + widest)))
    return min(MOST_COLUMNS, max(LEAST_COLUMNS, 1 << fitting.bit_length() >> 1))


def _tail_variables(d: int, degree: int) -> int:
    """Return how many variables to split off: with few weights, long products of the head are slow."""
    count = monomial_count(d, degree)
    return min(d - 1, 0 if count < 60 else 1 if count < 300 else 2)


class Monomials:
    """The monomials of at most ``degree`` in ``d`` variables, and sums of their products with weights.

    Attributes
    ----------
    exponents : (count, d) array
        Of the monomials in the order in which the sums are kept.
    degrees : (count,) array
        Theirs.
    rank : (count,) array
        Their places in the usual order: by degree, then with the larger power of the first variable
        in which two differ first.
    """

    def __init__(self, d: int, degree: int) -> None:
        if degree > LARGEST_DEGREE:
            raise ValueError(
                f"degree must be at most {LARGEST_DEGREE}, beyond which factorials overflow, got {degree}."
            )
        self.d, self.degree = d, degree
        tail_variables = _tail_variables(d, degree)
        self._head = _Graded(d - tail_variables, degree)
        self._tail = _Graded(tail_variables, degree if tail_variables else 0)
        #: How many of the head and which of the tail multiply to monomials of degree <= degree.
        self._levels = [
            (self._head.starts[degree - level + 1], slice(*tail))
            for level, tail in enumerate(pairwise(self._tail.starts))
        ]
        ends = np.cumsum([0, *(heads * (tail.stop - tail.start) for heads, tail in self._levels)])
        self._parts = [slice(*part) for part in pairwise(ends.tolist())]
        self.exponents = np.concatenate(
            [
                np.hstack(
                    (
                        np.repeat(self._head.exponents[:heads], tail.stop - tail.start, axis=0),
                        np.tile(self._tail.exponents[tail], (heads, 1)),
                    )
                )
                for heads, tail in self._levels
            ]
        )
        self.degrees = self.exponents.sum(axis=1)
        self.rank = self._rank(self.exponents)
        self._multinomials = _multinomials(self.exponents)

    @property
    def count(self) -> int:
        """The number of monomials."""
        return len(self.exponents)

    def add(self, x: Array, weights: Array, sums: Array) -> None:
        """Add sum_j x_j^a w_j, over columns of x (d, b) and weights (width, b), to sums (count, width)."""
        head, tail = self._values(x)
        for (heads, level), part in zip(self._levels, self._parts, strict=True):
            products = (tail[level, None] * weights).reshape(-1, x.shape[1])
            sums[part] += (head[:heads] @ products.T).reshape(-1, len(weights))

    def operators(self, coefficients: Array, sums: Array) -> list[Array]:
        """Return what :meth:`evaluate` needs: the sums times coefficient and multinomial number."""
        padded = np.zeros(self.degree + 1)
        padded[: len(coefficients)] = coefficients
        scaled = sums * (padded[self.degrees] * self._multinomials)[:, None]
        return [
            np.ascontiguousarray(scaled[part].reshape(heads, -1).T)
            for (heads, _), part in zip(self._levels, self._parts, strict=True)
        ]

    def evaluate(self, x: Array, operators: list[Array]) -> Array:
        """Return sum_j P(x_i . x_j) w_j, of shape (width, b), for every column i of x (d, b)."""
        head, tail = self._values(x)
        total: Array = operators[0] @ head
        for (heads, level), operator in zip(self._levels[1:], operators[1:], strict=True):
            products = (operator @ head[:heads]).reshape(-1, *total.shape)
            products *= tail[level, None]
            for product in products:
                total += product
        return total

    def translate(self, sums: Array, shift: Array) -> None:
        r"""Turn sums of x^a w into sums of (x - shift)^a w, in place.

        One variable at a time, by the binomial theorem as repeated differences: pass i takes shift times
        the sum with one power less from every sum with at least i powers.
        """
        place = np.empty(self.count, np.intp)
        place[self.rank] = np.arange(self.count)
        for variable in np.flatnonzero(shift):
            powers = self.exponents[:, variable]
            for least in range(1, self.degree + 1):
                rows = np.flatnonzero(powers >= least)
                lower = self.exponents[rows]
                lower[:, variable] -= 1
                sums[rows] -= shift[variable] * sums[place[self._rank(lower)]]

    def _values(self, x: Array) -> tuple[Array, Array]:
        variables = self._head.exponents.shape[1]
        return self._head.values(x[:variables]), self._tail.values(x[variables:])

    def _rank(self, exponents: NDArray[np.int16]) -> NDArray[np.int64]:
        """Count the monomials before each: of less degree, or of more in the first variable that differs."""
        after = np.cumsum(exponents[:, ::-1], axis=1, dtype=np.int64)[:, ::-1]
        counts = [
            [math.comb(self.d - 1 - v + rest, self.d - v) for rest in range(self.degree + 1)]
            for v in range(self.d)
        ]
        ranks: NDArray[np.int64] = np.take_along_axis(np.array(counts).T, after, axis=0).sum(axis=1)
        return ranks


class _Graded:
    """Monomials of some variables, degree by degree, each one variable times one of the degree before."""

    def __init__(self, variables: int, degree: int) -> None:
        self.exponents = np.zeros((1, variables), np.int16)
        #: Where each degree starts, and the end.
        self.starts = [0, 1]
        self._steps: list[tuple[int, slice, slice]] = []
        # The first monomial of the last degree in which no variable before this one has a power.
        leads = [0] * variables
        for _ in range(degree):
            raised: list[NDArray[np.int16]] = []
            row = self.starts[-1]
            for variable in range(variables):
                factors = slice(leads[variable], self.starts[-1])
                products = self.exponents[factors].copy()
                products[:, variable] += 1
                raised.append(products)
                leads[variable] = row
                row += len(products)
                self._steps.append((variable, factors, slice(leads[variable], row)))
            self.exponents = np.concatenate((self.exponents, *raised))
            self.starts.append(row)

    def values(self, x: Array) -> Array:
        """Return the monomials of the columns of x (variables, b), one a row."""
        rows = np.empty((len(self.exponents), x.shape[1]))
        rows[0] = 1.0
        for variable, factors, products in self._steps:
            np.multiply(rows[factors], x[variable], out=rows[products])
        return rows


def _multinomials(exponents: NDArray[np.int16]) -> Array:
    """Return |a|!/a! for every row a."""
    factorials = np.array([math.factorial(m) for m in range(int(exponents.sum(axis=1).max()) + 1)])
    factorials = factorials.astype(np.float64)
    numbers: Array = factorials[exponents.sum(axis=1)] / factorials[exponents].prod(axis=1)
    return numbers


@lru_cache(maxsize=16)
def monomials(d: int, degree: int) -> Monomials:
    """Return the monomials of at most that degree in d variables, made once."""
    return Monomials(d, degree)
