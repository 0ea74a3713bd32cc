r"""P2's stream: what must be kept, what one pass can do and cannot, and what the three sketches cost.

A token is a row of Q, of K and of V.  Moments of keys and values, C(d + g, g) (d_v + 1) numbers whatever n
is, are all that polynomial attention needs of them (P2.onepass), if they come before the queries or the
attention is causal; else every query must be remembered (P2.order).  Each of the paper's three sketches
is beaten by something simpler (P2.space).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, product
from math import comb
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, attention, evaluate
from reference.arithmetic.gram import gram_rank
from reference.index_stream import cache_answer, cache_tokens, index_answer, index_stream
from reference.models.counted_products import Tally
from reference.moments import exponents, moments
from reference.polynomial_weights import half_range, polynomial_attention
from specs.claim import Bound, Claim, Hypothesis, Relation, Rival, Value
from specs.lifting import lift
from specs.polynomial.weights import features, taylor
from specs.symbols import (
    AT_LEAST_TWO,
    SHARE,
    degree,
    dimension,
    doublings,
    half,
    magnitude,
    n,
    output_rows,
    revealed,
    states,
    value_rows,
    values,
    variables,
    volume,
)

Matrix = NDArray[Any]


#: The one choice of parameters at which the sentences of the abstract are witnessed together.
P2_DOUBLINGS, P2_COLUMNS = 5, 1

# ------------------------------------------------------------------- P2.storage, P2.quadratic


@dataclass(frozen=True)
class Tokens:
    """Queries, keys and values of n tokens, one row each."""

    Q: Matrix
    K: Matrix
    V: Matrix


def _token_counts(i: Tokens) -> Mapping[str, Value]:
    return {"n": len(i.K), "dimension": i.K.shape[1], "values": i.V.shape[1]}


def _products(Q: Matrix, K: Matrix, V: Matrix) -> int:
    """Count the scalar products of exact attention; exponentials and quotients are not counted."""
    tally = Tally()
    tally.product(tally.product(Q, K.T), V)
    return tally.products


def _token_products(i: Tokens) -> int:
    """Count what the last token costs where keys and values are kept."""
    return _products(i.Q[-1:], i.K, i.V)


def _revealed(i: Tokens) -> int:
    """Count the numbers that the outputs of n queries reveal of V, whatever it is.

    Outputs are W V, W the weights of the queries: as many numbers a column of V as W has rank.  The queries
    are multiples, 0 to n - 1, of one that tells the keys apart, times ln 2: weights are then powers of 2.
    """
    seeds = (np.random.default_rng(seed) for seed in count())
    directions = (i.K @ rng.integers(-9, 10, i.K.shape[1]) for rng in seeds)
    logits = next([int(x) for x in k] for k in directions if len(np.unique(k)) == len(k))
    weights = np.array([[Fraction(2) ** (t * s) for s in logits] for t in range(len(i.K))], object)
    rank: int = gram_rank(weights)
    return rank * int(i.V.shape[1])


def _tokens_sample(rng: np.random.Generator) -> Tokens:
    """Draw integers; no two keys are equal."""
    d, d_v = (int(rng.integers(1, 9)) for _ in range(2))
    K = np.unique(rng.integers(-2, 3, (int(rng.integers(2, 9)), d)), axis=0)
    K = np.vstack([K, K[-1:] + 1])
    return Tokens(rng.integers(-2, 3, K.shape), K, rng.integers(-2, 3, (len(K), d_v)))


def _steps(n: int) -> Tokens:
    """Give n tokens whose keys differ."""
    K = np.arange(2 * n).reshape(n, 2)
    return Tokens(0 * K + 1, K, 0 * K + 1)


_MORE_THAN_ONE = Hypothesis[Tokens](
    "there are at least two tokens",
    lambda i: len(i.K) > 1,
    alone="products are counted of any number of tokens",
)

P2_STORAGE = Claim[Tokens](
    id="P2.storage",
    where="P2, sentence 7",
    statement=(
        "Storing K and V necessitates O(n d) space. Our reading: the outputs of n queries reveal all n d_v "
        "entries of V, if no two keys are equal, so that no cache that is linear in V, and from which exact "
        "attention can be answered, has fewer numbers; with K and V, n (d + d_v) numbers, a token costs n (d "
        "+ d_v) products. Polynomial attention needs neither (P2.onepass)."
    ),
    not_stated=(
        "That K must be kept too: (n - 1) d of its numbers suffice, as a key subtracted from all changes "
        "nothing. That a query tells n different keys apart is found, not proved. How many bits approximate "
        "attention needs, and caches of any kind, is P2.floor. Exponentials are not counted."
    ),
    assumes=(
        _MORE_THAN_ONE,
        Hypothesis(
            "keys are integers and no two are equal",
            lambda i: i.K.dtype.kind == "i" and len(np.unique(i.K, axis=0)) == len(i.K),
            mirrors=("dot d u (K i) <> dot d u (K j)",),
        ),
    ),
    bounds=(
        Bound(
            name="cache_numbers",
            meaning="the numbers in V, which the outputs of n queries reveal",
            arguments=(revealed,),
            expression=revealed,
            points=((14,),),
            quantity=lambda i, bits: lift(i.V.size, bits),
            parameters=lambda i, bits: {"revealed": _revealed(i)},
            # K and V: the outputs do not tell K from K less a key.
            trivial=lambda i, bits: lift(i.K.size + i.V.size, bits),
            extremal=lambda: _steps(3),
            theorem="p2_storage_cache",
        ),
        Bound(
            name="token_products",
            meaning="the products that one more token costs, with K and V kept",
            arguments=(n, dimension, values),
            expression=n * (dimension + values),
            points=((7, 3, 2),),
            quantity=lambda i, bits: lift(_token_products(i), bits),
            parameters=lambda i, bits: _token_counts(i),
            # Computing every row again.
            trivial=lambda i, bits: lift(_products(i.Q, i.K, i.V), bits),
            extremal=lambda: _steps(3),
            theorem="p2_storage_token",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: _steps(4),
    sample=_tokens_sample,
)

_QUADRATIC = n**2 * (dimension + values)

P2_QUADRATIC = Claim[Tokens](
    id="P2.quadratic",
    where="P2, sentence 3",
    statement=(
        "A token takes O(n^2) time. Our reading: n^2 (d + d_v) products, which is what computing all rows "
        "again takes; with K and V kept, as the sentence before has it, a token takes n (d + d_v)."
    ),
    not_stated="Exponentials are not counted.",
    assumes=(_MORE_THAN_ONE,),
    bounds=(
        Bound(
            name="quadratic_products",
            meaning="the products of computing every row again for one token",
            arguments=(n, dimension, values),
            expression=_QUADRATIC,
            points=((7, 3, 2),),
            quantity=lambda i, bits: lift(_products(i.Q, i.K, i.V), bits),
            parameters=lambda i, bits: _token_counts(i),
            # Computing again, for every token, all rows.
            trivial=lambda i, bits: lift(len(i.K) * _products(i.Q, i.K, i.V), bits),
            extremal=lambda: Tokens(*(np.ones((3, 2)),) * 3),
            theorem="p2_quadratic",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: Tokens(*(np.ones((4, 2)),) * 3),
    sample=_tokens_sample,
    rival=Rival(
        "P2.storage",
        lambda i, bits: {
            "products": (
                evaluate(_QUADRATIC, _token_counts(i), bits),
                lift(_token_products(i), bits),
            ),
            "numbers kept": (lift(i.K.size + i.V.size, bits), lift(i.K.size + i.V.size, bits)),
        },
    ),
)

# ------------------------------------------------------------------------------------ P2.onepass


@dataclass(frozen=True)
class Stream:
    """Keys and values, the degree of the polynomial, and the order in which they meet the queries.

    ``order`` has a letter for each arrival: k for a key with its value, q for a query.
    """

    K: Matrix
    V: Matrix
    degree: int
    order: str


def _moment_count(i: Stream) -> int:
    return sum(len(S) for S in moments(i.K, i.V, i.degree).values())


def _stream_sample(rng: np.random.Generator) -> Stream:
    n, d, d_v, q = (int(rng.integers(1, most)) for most in (40, 5, 5, 5))
    K, V = rng.standard_normal((n, d)), rng.standard_normal((n, d_v))
    return Stream(K, V, int(rng.integers(0, 4)), "k" * n + "q" * min(q, 3))


P2_ONEPASS = Claim[Stream](
    id="P2.onepass",
    where="P2, sentence 8",
    statement=(
        "One pass over the data is enough. Our reading: (d_v+1) C(d+g, g) moments, whatever n is, give "
        "polynomial attention exactly, if every key comes before the first query, or if the attention is "
        "causal. Otherwise P2.order forbids it."
    ),
    not_stated="That moments give the polynomial's answer exactly is tested in rational numbers.",
    assumes=(
        Hypothesis(
            "every key and value comes before the first query",
            lambda i: "qk" not in i.order and i.order.count("k") == len(i.K),
            alone="the program of the theorem reads keys and values first",
        ),
    ),
    bounds=(
        Bound(
            name="moment_numbers",
            meaning="the numbers kept of keys and values",
            arguments=(variables, degree, values),
            expression=(values + 1) * features,
            points=((3, 2, 4),),
            quantity=lambda i, bits: lift(_moment_count(i), bits),
            parameters=lambda i, bits: {
                "variables": i.K.shape[1],
                "degree": i.degree,
                "values": i.V.shape[1],
                "n": len(i.K),
            },
            # K and V.
            trivial=lambda i, bits: lift(i.K.size + i.V.size, bits),
            extremal=lambda: Stream(np.ones((2, 2)), np.ones((2, 1)), 3, "kk"),
            vacuous_where=(values + 1) * features >= n * (variables + values),
            edges=lambda: tuple(
                Stream(np.ones((keys, 1)), np.ones((keys, 1)), 3, "k" * keys) for keys in (4, 5)
            ),
            theorem="p2_onepass_pass",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: Stream(np.ones((9, 1)), np.ones((9, 1)), 2, "k" * 9 + "qqq"),
    sample=_stream_sample,
)

# -------------------------------------------------------------------------------------- P2.order


@dataclass(frozen=True)
class TooEarly:
    """So many queries, each of one bit, before the only key; every output may err by ``error``."""

    queries: int
    error: Fraction


def _told_apart(i: TooEarly, bits: int) -> int:
    """Count the words of bits that can be read from the outputs, whatever the errors are."""
    answers = set()
    for word in product((0, 1), repeat=i.queries):
        low, high = attention(*index_stream(word), precision=bits).bounds()
        readings = {tuple(index_answer(y)) for y in (low - i.error, high + i.error)}
        answers |= readings if len(readings) == 1 else set()
    return len(answers)


P2_ORDER = Claim[TooEarly](
    id="P2.order",
    where="ours, beside P2.onepass",
    statement=(
        "If n queries come before the last key, one pass of non-causal attention is impossible in o(n) bits: "
        "there are streams in which every query carries a bit that its output spells out, even if all "
        "outputs err by nearly (n-1)/(4(n+1)), so 2^n states must be told apart after the last query."
    ),
    not_stated="For randomised algorithms it is the theorem p2_onepass_index, by counting as in P2.floor.",
    assumes=(
        Hypothesis("there are at least two queries", lambda i: i.queries >= 2, mirrors=("1 < n",)),
        Hypothesis(
            "0 <= error < (n-1)/(4(n+1))",
            lambda i: 0 <= i.error < Fraction(i.queries - 1, 4 * (i.queries + 1)),
            mirrors=("error < (INR n - 1) / (4 * (INR n + 1))",),
        ),
    ),
    bounds=(
        Bound(
            name="onepass_states",
            meaning="two to the number of queries that came too early",
            arguments=(states,),
            expression=states,
            points=((8,),),
            quantity=lambda i, bits: lift(2**i.queries, bits),
            parameters=lambda i, bits: {"states": _told_apart(i, bits)},
            # Keeping every query as a float64.
            trivial=lambda i, bits: lift(2 ** (64 * i.queries), bits),
            extremal=lambda: TooEarly(4, Fraction(7, 50)),
            theorem="p2_onepass_states",
        ),
    ),
    witness=lambda: TooEarly(3, Fraction(1, 10)),
    sample=lambda rng: TooEarly(int(rng.integers(2, 5)), Fraction(int(rng.integers(0, 83)), 1000)),
)

# -------------------------------------------------------------------------------------- P2.floor


@dataclass(frozen=True)
class RandomCache:
    """Caches of ``keys`` tokens with ``columns`` bits each, one for each toss of a coin.

    A cache knows the words of bits in its codebook by their number there, and takes every other word for the
    first of them; every output may err by ``error``.
    """

    keys: int
    dimension: int
    columns: int
    codebooks: tuple[tuple[int, ...], ...]
    error: Fraction

    @property
    def bits(self) -> int:
        """How many bits the values have."""
        return self.keys * self.columns


def _readings(i: RandomCache, bits: int) -> list[list[tuple[int, ...]]]:
    """Return for every word what is read from the outputs where all err downwards, and upwards."""
    found = []
    for word in product((0, 1), repeat=i.bits):
        low, high = attention(*cache_tokens(word, i.keys, i.dimension), precision=bits).bounds()
        found.append([tuple(cache_answer(y)) for y in (low - i.error, high + i.error)])
    return found


def _words(i: RandomCache) -> list[tuple[int, ...]]:
    return list(product((0, 1), repeat=i.bits))


def _success(i: RandomCache, bits: int) -> Fraction:
    """Return how often the caches are right in all bits, on the word that fares worst."""
    right = {
        number
        for number, (word, read) in enumerate(zip(_words(i), _readings(i, bits), strict=True))
        if set(read) == {word}
    }
    kept = [right.intersection(book) for book in i.codebooks]
    rarest = min(sum(word in words for words in kept) for word in range(2**i.bits))
    return Fraction(rarest, len(i.codebooks))


def _index_parameters(i: RandomCache, bits: int) -> Mapping[str, Value]:
    """Give the states, and the words within the distance that the bit which fares worst allows.

    Where a word is not in its codebook, the outputs are those of the first word there.
    """
    words, readings = _words(i), _readings(i, bits)
    worst = 0
    for number, word in enumerate(words):
        taken = [readings[number if number in book else book[0]] for book in i.codebooks]
        for place, bit in enumerate(word):
            worst = max(worst, sum(any(read[place] != bit for read in reads) for reads in taken))
    radius = max(0, -(-2 * worst * i.bits // len(i.codebooks)) - 1)
    return {
        "states": max(len(book) for book in i.codebooks),
        "volume": sum(comb(i.bits, wrong) for wrong in range(radius + 1)),
    }


def _every_word(i: RandomCache) -> bool:
    return set(range(2**i.bits)) == {word for book in i.codebooks for word in book}


def _floor_sample(rng: np.random.Generator) -> RandomCache:
    dimension = int(rng.integers(1, 4))
    keys = int(rng.integers(1, min(4, 2**dimension) + 1))
    columns = int(rng.integers(1, 1 + 4 // keys))
    words = 2 ** (keys * columns)
    books = []
    for _ in range(int(rng.integers(1, 4))):
        books.append(tuple(map(int, rng.choice(words, int(rng.integers(1, words)), False))))
    missing = set(range(words)).difference(*books)
    books.append(tuple(sorted(missing)) or (0,))
    return RandomCache(
        keys, dimension, columns, tuple(books), Fraction(int(rng.integers(0, 24)), 100)
    )


def _all_words(keys: int, dimension: int, columns: int) -> RandomCache:
    return RandomCache(
        keys, dimension, columns, (tuple(range(2 ** (keys * columns))),), Fraction(24, 100)
    )


P2_FLOOR = Claim[RandomCache](
    id="P2.floor",
    where="ours, beside P2, sentences 7, 9 and 10",
    statement=(
        "Whatever is kept of n keys and values, from which attention of later queries can be answered with "
        "an error below 1/4, is at least d_v min(n, 2^d) - log2(1/p) bits, if for every input all answers "
        "are right with probability p, randomised or not: Omega(d min(n, 2^d)) for d_v = d. There are keys, "
        "corners of a cube, logits at most (d/2) log2(8d), whose values' bits the outputs spell out one by "
        "one; the best toss of the coin tells p of the 2^{n d_v} words apart, by averaging. Where each "
        "answer alone is wrong with probability delta (INDEX), 2^{n d_v} <= 2 states V, V the words within "
        "distance k of one, k + 1 >= 2 delta n d_v: still Omega(n d_v) bits for delta < 1/4. So no cache of "
        "o(n) is possible for all inputs once d >= log2(n): what is sublinear must assume less of the "
        "logits (P2.poly, P2.error)."
    ),
    not_stated=(
        "Omega(d min(n, e^d)) and that nothing better holds for d = Omega(log n): Haris and Onak, COLT 2025, "
        "arXiv 2502.15955, cited. That V is at most 2^{H(2 delta) n d_v}, H the binary entropy: V is counted."
    ),
    assumes=(
        Hypothesis(
            "there are at most 2^d keys",
            lambda i: 1 <= i.keys <= 2**i.dimension,
            mirrors=("NoDup", "length a = d"),
        ),
        Hypothesis(
            "0 <= error < 1/4", lambda i: 0 <= i.error < Fraction(1, 4), mirrors=("error < 1 / 4",)
        ),
        Hypothesis(
            "every word is in some codebook",
            _every_word,
            mirrors=("Rabs (answer r (state r w) i l - cache_output v c keys w i l) <= error",),
        ),
    ),
    bounds=(
        Bound(
            name="floor_states",
            meaning="the words of the values' bits, 2^(n d_v), times the probability of being right",
            arguments=(states,),
            expression=states,
            points=((8,),),
            quantity=lambda i, bits: lift(_success(i, bits) * 2**i.bits, bits),
            parameters=lambda i, bits: {"states": max(len(book) for book in i.codebooks)},
            # Keeping all keys and values as float64.
            trivial=lambda i, bits: lift(2 ** (64 * i.keys * (i.dimension + i.columns)), bits),
            extremal=lambda: _all_words(3, 2, 1),
            theorem="p2_floor_states",
        ),
        Bound(
            name="floor_index_states",
            meaning="the words of the values' bits, where each answer alone fails with probability delta",
            arguments=(states, volume),
            expression=2 * states * volume,
            points=((8, 5),),
            quantity=lambda i, bits: lift(2**i.bits, bits),
            parameters=_index_parameters,
            # Keeping all keys and values as float64.
            trivial=lambda i, bits: lift(2 ** (64 * i.keys * (i.dimension + i.columns)), bits),
            extremal=lambda: _all_words(3, 2, 1),
            theorem="p2_floor_index",
        ),
    ),
    witness=lambda: _all_words(2, 1, 2),
    sample=_floor_sample,
)

# -------------------------------------------------------------------------------------- P2.space


@dataclass(frozen=True)
class Sketches:
    """How many rows the sketches have, for n = 2^doublings tokens, d columns everywhere, k entries kept.

    The degree of the polynomial is ``doublings``, as in :class:`Growing`: P2.space and P2.error are about
    the same sketches.  That of U₂ᵀV has ``value_rows`` rows, that of D⁻¹U₁ ``output_rows``.
    """

    doublings: int
    d: int
    value_rows: int
    output_rows: int
    sparsity: int

    @property
    def n(self) -> int:
        """The tokens."""
        return 1 << self.doublings

    @property
    def degree(self) -> int:
        """The degree of the polynomial."""
        return self.doublings

    @property
    def width(self) -> int:
        """t, the width of U₁ and U₂."""
        return comb(self.d + self.degree, self.degree)


def sketch(i: Sketches) -> tuple[Matrix, Matrix, Matrix]:
    """Return Ψ U₂, Ψ V and Φ D⁻¹U₁, formed token by token, for random tokens and maps of signs Ψ and Φ."""
    rng = np.random.default_rng(i.n)
    of_keys, of_values = np.zeros((i.value_rows, i.width)), np.zeros((i.value_rows, i.d))
    of_queries = np.zeros((i.output_rows, i.width))
    powers = np.array(exponents(i.d, i.degree))
    Q, K, V = (rng.uniform(-1, 1, (i.n, i.d)) for _ in range(3))
    denominators = np.exp(Q @ K.T).sum(axis=1)
    for q, k, v, denominator in zip(Q, K, V, denominators, strict=True):
        signs = rng.choice([-1.0, 1.0], i.value_rows)
        of_keys += np.multiply.outer(signs, np.prod(k**powers, axis=1))
        of_values += np.multiply.outer(signs, v)
        signs = rng.choice([-1.0, 1.0], i.output_rows)
        of_queries += np.multiply.outer(signs, np.prod(q**powers, axis=1) / denominator)
    return of_keys, of_values, of_queries


def _sketched_numbers(i: Sketches) -> int:
    """Count the numbers in the three sketches that are not 0."""
    return sum(int(np.count_nonzero(part)) for part in sketch(i))


def _space_prices(i: Sketches, bits: int) -> Mapping[str, tuple[Enclosure, Enclosure]]:
    """Compare with U₂ᵀV itself, with a sketch of the output's rows, and with a heap for each column."""
    t = i.width
    return {
        "numbers for U₂ᵀV": (lift(i.value_rows * (t + i.d), bits), lift(t * i.d, bits)),
        "numbers for the output's columns": (
            lift(i.output_rows * t, bits),
            lift(i.output_rows * i.d, bits),
        ),
        "numbers for columns of final rows": (
            lift(i.output_rows * t, bits),
            lift(2 * i.sparsity * i.d, bits),
        ),
        "failure probability for final rows": (lift(Fraction(1, 100), bits), lift(0, bits)),
    }


def _space_sample(rng: np.random.Generator) -> Sketches:
    d, k = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    return Sketches(
        int(rng.integers(max(2, d), 9)),
        d,
        d + int(rng.integers(0, 5)),
        2 * k + int(rng.integers(0, 9)),
        k,
    )


_SKETCH_NUMBERS = value_rows * (features + values) + output_rows * features

P2_SPACE = Claim[Sketches](
    id="P2.space",
    where="P2, sentences 9 and 10",
    statement=(
        "Three sketches in o(n) space replace K and V. Our reading: Psi U2 (m2 x t), Psi V (m2 x d), "
        "Phi D^-1 U1 (m1 x t), m2 (t + d) + m1 t numbers, at the degree log2(n) of P2.error. True where "
        "that is less than Q, K and V have, and each is dominated: with m2 >= d rows, "
        "which the rank of U2ᵀV asks for, the first two are larger than U2ᵀV itself, t d numbers without "
        "error; Phi (D^-1 U1 U2ᵀV) is m1 x d; and where a row is final once computed, a heap of k entries a "
        "column needs 2 k d numbers, no randomness, and makes no error (P2.heap)."
    ),
    not_stated=(
        "The sketches' sizes in the paper (unread): rows are parameters here. Sketches of the output remain "
        "of use for turnstile updates and for shards that add rows (P2.recovery)."
    ),
    assumes=(
        Hypothesis(
            "n >= 2^d",
            lambda i: i.n >= 2**i.d,
            alone="numbers are counted of sketches of any sizes",
        ),
        Hypothesis(
            "n = 2^doublings and doublings >= 2",
            lambda i: i.doublings >= 2,
            alone="numbers are counted of sketches of any sizes",
        ),
        Hypothesis(
            "the sketch of U2ᵀV has at least d rows",
            lambda i: i.value_rows >= i.d,
            alone="numbers are counted of sketches of any sizes",
        ),
        Hypothesis(
            "the sketch of the output has at least 2 k rows",
            lambda i: i.output_rows >= 2 * i.sparsity > 0,
            alone="numbers are counted of sketches of any sizes",
        ),
    ),
    bounds=(
        Bound(
            name="sketch_numbers",
            meaning="the numbers in the three sketches",
            arguments=(variables, degree, values, value_rows, output_rows),
            expression=_SKETCH_NUMBERS,
            points=((3, 2, 3, 5, 7),),
            quantity=lambda i, bits: lift(_sketched_numbers(i), bits),
            parameters=lambda i, bits: {
                "variables": i.d,
                "degree": i.degree,
                "values": i.d,
                "value_rows": i.value_rows,
                "output_rows": i.output_rows,
                "n": i.n,
            },
            # Q, K and V.
            trivial=lambda i, bits: lift(3 * i.n * i.d, bits),
            extremal=lambda: Sketches(4, 2, 3, 4, 2),
            vacuous_where=3 * n * variables <= _SKETCH_NUMBERS,
            edges=lambda: (Sketches(6, 2, 2, 12, 1), Sketches(6, 2, 2, 11, 1)),
            theorem="p2_space",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: Sketches(P2_DOUBLINGS, P2_COLUMNS, 1, 2, 1),
    sample=_space_sample,
    rival=Rival("P2.heap", _space_prices),
)

# -------------------------------------------------------------------------------------- P2.error


@dataclass(frozen=True)
class Growing:
    """Queries, and n = 2^doublings keys and values, for Taylor's polynomial of degree ``doublings``."""

    Q: Matrix
    K: Matrix
    V: Matrix
    doublings: int
    half_range: Fraction


def _growing_error(i: Growing, approximation: Enclosure, bits: int) -> Enclosure:
    return abs(approximation - attention(i.Q, i.K, i.V, precision=bits)).max()


_ERROR_NUMBERS = (values + 1) * sympy.binomial(variables + doublings, doublings)
_remainder = sympy.exp(half) * half ** (doublings + 1) / sympy.factorial(doublings + 1)


def _growing_sample(rng: np.random.Generator) -> Growing:
    level, d, d_v = int(rng.integers(2, 8)), int(rng.integers(1, 6)), int(rng.integers(1, 4))
    Q, K, V = (rng.uniform(-0.99, 0.99, s) for s in ((2, d), (2**level, d), (2**level, d_v)))
    Q /= d
    return Growing(Q, K, V, level, half_range(Q, K))


def _bits_of(doublings: int, d: int) -> Growing:
    """Give as keys and values the corners of a cube, repeated."""
    K = np.array(list(product((-0.25, 0.25), repeat=d)) * 2 ** (doublings - d))
    return Growing(K[:1], K, K, doublings, Fraction(d, 16))


def _four_keys() -> Growing:
    b = 2.0**-12
    side = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    return Growing(np.ones((1, 1)), b * side, side, 2, Fraction(b))


P2_ERROR = Claim[Growing](
    id="P2.error",
    where="P2, sentence 11",
    statement=(
        "As n grows, the error falls and memory stays nearly constant. Our reading: with degree log2(n), the "
        "error is at most 2 max|V| E/(1 + sqrt(1-E^2)), E = e^b b^{g+1}/(g+1)! for g = log2(n) and b = "
        "half_range <= 1, less than 2 e max|V|/n; memory is (d_v+1) C(d + log2(n), d) numbers: "
        "polylogarithmic, of degree d, and more than K and V themselves until n is large: for d = 10 at n = "
        "2^15 a hundredfold. With a fixed degree neither changes: the error does not fall."
    ),
    not_stated=(
        "How the paper trades n for error (unread). With half_range growing as o(sqrt(log n)) the error "
        "still falls; nothing here is stated of it."
    ),
    assumes=(
        Hypothesis(
            "n = 2^doublings and doublings >= 2",
            lambda i: i.doublings >= 2 and len(i.K) == 2**i.doublings,
            mirrors=("2 <= g",),
        ),
        Hypothesis(
            "every |q.k| <= half_range <= 1",
            lambda i: half_range(i.Q, i.K) <= i.half_range <= 1,
            mirrors=("bounded", "0 <= b <= 1"),
        ),
    ),
    bounds=(
        Bound(
            name="error_output",
            meaning="the change of an output, the degree being log2(n)",
            arguments=(doublings, half, magnitude),
            expression=2 * magnitude * _remainder / (1 + sympy.sqrt(1 - _remainder**2)),
            domain={doublings: AT_LEAST_TWO, half: SHARE},
            points=((4, sympy.Rational(1, 2), 3),),
            quantity=lambda i, bits: _growing_error(
                i,
                polynomial_attention(i.Q, i.K, i.V, taylor(i.doublings), precision=bits),
                bits,
            ),
            parameters=lambda i, bits: {
                "doublings": i.doublings,
                "half_range": i.half_range,
                "magnitude": Fraction(float(np.abs(i.V).max())),
            },
            # The mean of the values.
            trivial=lambda i, bits: _growing_error(i, lift(i.V, bits).sum(axis=0) / len(i.V), bits),
            extremal=_four_keys,
            theorem="p2_error_output",
        ),
        Bound(
            name="error_numbers",
            meaning="the numbers kept, the degree being log2(n)",
            arguments=(doublings, variables, values),
            expression=_ERROR_NUMBERS,
            points=((4, 2, 3),),
            quantity=lambda i, bits: lift(
                len(exponents(i.K.shape[1], i.doublings)) * (i.V.shape[1] + 1), bits
            ),
            parameters=lambda i, bits: {
                "doublings": i.doublings,
                "variables": i.K.shape[1],
                "values": i.V.shape[1],
            },
            # K and V.
            trivial=lambda i, bits: lift(i.K.size + i.V.size, bits),
            extremal=_four_keys,
            vacuous_where=2**doublings * (variables + values) <= _ERROR_NUMBERS,
            edges=lambda: (_bits_of(5, 3), _bits_of(6, 3)),
            theorem="p2_error_numbers",
            relation=Relation.EQUALS,
        ),
    ),
    witness=lambda: Growing(
        np.array([[1.0]]),
        np.repeat([[0.5], [-0.25]], 1 << (P2_DOUBLINGS - 1), axis=0),
        np.repeat([[1.0], [-1.0]], 1 << (P2_DOUBLINGS - 1), axis=0),
        P2_DOUBLINGS,
        Fraction(1, 2),
    ),
    sample=_growing_sample,
)

CLAIMS = (P2_QUADRATIC, P2_STORAGE, P2_ONEPASS, P2_ORDER, P2_FLOOR, P2_SPACE, P2_ERROR)
