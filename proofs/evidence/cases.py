"""The cases of the conformance suite: inputs, each with the mistake that it is there to catch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.judging.heads import shipped_heads

__all__ = ["Case", "Refusal", "edges", "real_heads", "refusals"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One input and the mistake that it is there to catch.

    ``semantics`` are the further arguments of attention as it is run: scale, window, mask, ...
    """

    name: str
    catches: str
    Q: Array
    K: Array
    V: Array
    causal: bool | str = False
    semantics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """Arguments that must be refused, by which exception, naming which argument."""

    name: str
    error: type[Exception]
    argument: str
    Q: Any
    K: Any
    V: Any
    causal: Any = False


def real_heads() -> Iterator[Case]:
    """Yield the shipped heads of up to 64 tokens, in both types, causal and not."""
    for head in shipped_heads(largest=64):
        for dtype in (np.float32, np.float64):
            Q, K, V = (x.astype(dtype) for x in (head.Q, head.K, head.V))
            name = f"{head.name} in {np.dtype(dtype).name}"
            yield Case(name, "an error that real attention shows", Q, K, V)
            yield Case(f"{name}, causal", "a wrong mask", Q, K, V, causal=True)


def edges(dtype: np.dtype[Any]) -> Iterator[Case]:
    """Yield what goes wrong at the edges: few keys, huge logits, tiny values, layouts in memory."""
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    def named(text: str) -> str:
        return f"{text} in {dtype.name}"

    information = np.finfo(dtype)
    yield Case(
        named("one query, one key"),
        "a sum that starts wrong",
        normal(1, 1),
        normal(1, 1),
        normal(1, 1),
    )
    yield Case(
        named("one key"),
        "weights that are not normalised",
        normal(5, 3),
        normal(1, 3),
        normal(1, 2),
    )
    yield Case(
        named("one column"), "a broadcast over columns", normal(6, 1), normal(7, 1), normal(7, 1)
    )
    yield Case(
        named("more queries than keys"), "swapped axes", normal(9, 4), normal(3, 4), normal(3, 2)
    )
    yield Case(
        named("equal keys"),
        "an order of summation that favours a key",
        normal(4, 3),
        np.repeat(normal(1, 3), 33, axis=0),
        normal(33, 3),
    )
    yield Case(
        named("zero queries"),
        "a division by a zero norm",
        np.zeros((3, 4), dtype),
        normal(6, 4),
        normal(6, 2),
    )
    yield Case(
        named("zero values"),
        "a scale computed from nothing",
        normal(3, 4),
        normal(6, 4),
        np.zeros((6, 2), dtype),
    )
    yield Case(
        named("equal values"),
        "an output outside the range of the values",
        normal(3, 4),
        normal(6, 4),
        np.full((6, 2), dtype.type(1) / 3, dtype),
    )
    for size in (1e2, 1e4):
        yield Case(
            named(f"logits to {size:g}"),
            "a missing shift",
            normal(5, 4) * dtype.type(size),
            normal(40, 4),
            normal(40, 2),
        )
    rising = np.linspace(-200, 200, 700).astype(dtype)[:, None]
    yield Case(
        named("a maximum that rises block by block"),
        "a running maximum that is not carried over",
        np.ones((2, 1), dtype),
        rising,
        normal(700, 2),
    )
    yield Case(
        named("a maximum that falls block by block"),
        "a rescaling applied to the wrong block",
        np.ones((2, 1), dtype),
        rising[::-1],
        normal(700, 2),
    )
    yield from _far_logits(dtype)
    yield from _tails(dtype)
    yield Case(
        named("the last key takes all"),
        "a dropped last key",
        np.ones((2, 1), dtype),
        np.append(np.zeros(520), 30).astype(dtype)[:, None],
        np.append(np.zeros(520), 1).astype(dtype)[:, None],
    )
    yield Case(
        named("diffuse weights over many keys"),
        "a dropped key",
        normal(2, 2) / 8,
        normal(3000, 2),
        normal(3000, 2),
    )
    yield Case(
        named("queries beyond one block"),
        "a block that overlaps the next",
        normal(1100, 2),
        normal(3, 2),
        normal(3, 1),
    )
    yield Case(
        named("causal across blocks"),
        "a mask shifted by one block",
        normal(300, 3),
        normal(300, 3),
        normal(300, 2),
        causal=True,
    )
    yield Case(
        named("causal with huge logits"),
        "a mask that beats the maximum",
        normal(40, 3) * 300,
        normal(40, 3),
        normal(40, 2),
        causal=True,
    )
    growing = np.logspace(-30, 0, 40)[:, None] * normal(40, 2)
    yield Case(
        named("causal with values that grow by 30 orders"),
        "an underflow judged by a later value",
        normal(40, 3),
        normal(40, 3),
        growing.astype(dtype),
        causal=True,
    )
    yield Case(
        named("huge values"),
        "an overflowing sum of values",
        normal(3, 4),
        normal(50, 4),
        np.clip(normal(50, 3), -2, 2) * (information.max / 16),
    )
    yield Case(
        named("the largest float as every value"),
        "rounding to infinity",
        normal(3, 4),
        normal(50, 4),
        np.full((50, 2), information.max / 8, dtype),
    )
    yield Case(
        named("subnormal values"),
        "an underflowing product",
        normal(3, 4),
        normal(20, 4),
        normal(20, 3) * information.smallest_normal / 8,
    )
    yield Case(
        named("columns of very different size"),
        "one scale for all columns",
        normal(3, 4),
        normal(20, 4),
        normal(20, 3) * np.array([1e-30, 1, 1e30], dtype),
    )
    yield Case(
        named("subnormal queries"),
        "a norm that underflows",
        normal(3, 4) * information.smallest_normal / 4,
        normal(20, 4),
        normal(20, 2),
    )
    yield Case(
        named("tiny queries against huge keys"),
        "a norm whose square overflows",
        normal(3, 4) * information.smallest_normal * 2**20,
        normal(20, 4) / (information.smallest_normal * 2**20),
        normal(20, 2),
    )
    yield Case(
        named("Fortran order"),
        "an assumption of C order",
        np.asfortranarray(normal(6, 5)),
        np.asfortranarray(normal(8, 5)),
        np.asfortranarray(normal(8, 3)),
    )
    yield Case(
        named("strided views"),
        "an assumption of contiguity",
        normal(12, 10)[::2, ::2],
        normal(16, 10)[::-2, ::-2],
        normal(16, 6)[::2, 1::2],
    )


def _far_logits(dtype: np.dtype[Any]) -> Iterator[Case]:
    """Yield logits all far below zero, or below what kernels put in place of minus infinity.

    All are multiples of 1/16 that every type of 8 significant bits or more computes exactly: a constant
    minus depth from one column, steps of the keys from the other.
    """
    # A certificate in float32 says nothing of logits near 1e6, nor one in float64 of 1e15.
    depths = [2**10, 2**14, 2**17] + ([2**20, 2**30] if dtype == np.float64 else [])
    for depth in depths:
        n = 80
        steps = np.arange(n) * 37 % 64 / 16 - 2
        # The heavy keys have other values than most: neither the mean nor the middle is near.
        values = np.where(steps > 1, 1.0, -1.0)
        root = 2.0 ** (depth.bit_length() // 2)
        Q = np.column_stack([np.full(n, -depth / root), 1 + np.arange(n) % 2])
        K = np.column_stack([np.full(n, root), steps])
        Q, K, V = (x.astype(dtype) for x in (Q, K, values[:, None]))
        text = f"logits below -2^{depth.bit_length() - 1}"
        yield Case(
            f"{text} in {dtype.name}",
            "a running maximum that starts at a number, such as 0 or -1e5, or a sum that starts at one",
            Q,
            K,
            V,
        )
        yield Case(
            f"{text} in {dtype.name}, causal",
            "a maximum clamped to 0 after a hidden block, or a mask of -1e4 or -1e5 for minus infinity",
            Q,
            K,
            V,
            causal=True,
        )


def _tails(dtype: np.dtype[Any]) -> Iterator[Case]:
    """Yield numbers of keys that no block divides, with what only the first or last key can tell."""
    n = 131
    rising = 2.0**17 * np.arange(n) / 128
    alternating = np.where(np.arange(n) % 2, 1.0, -1.0) * (1 + np.arange(n) % 5)
    one = np.ones((n, 1), dtype)
    yield Case(
        f"causal logits that rise by 2^10 a key in {dtype.name}",
        "a mask one key off in some block, or one of -1e5 that is added",
        one,
        rising[:, None].astype(dtype),
        alternating[:, None].astype(dtype),
        causal=True,
    )
    yield Case(
        f"causal logits that fall by 2^10 a key in {dtype.name}",
        "a first block that is lost, or a row that begins with hidden keys",
        one,
        -rising[:, None].astype(dtype),
        alternating[:, None].astype(dtype),
        causal=True,
    )
    yield Case(
        f"a prime number of keys at logits near -3 in {dtype.name}",
        "keys of zeros that fill the last block and count in the denominator",
        np.ones((2, 1), dtype),
        (-3 - np.arange(521) % 8 / 16)[:, None].astype(dtype),
        np.where(np.arange(521) % 8 < 4, 1.0, 0.5)[:, None].astype(dtype),
    )
    yield Case(
        f"a single key at a logit of -30 in {dtype.name}",
        "a denominator that starts at 1e-6, or a softmax that counts a key more",
        np.full((1, 1), -30, dtype),
        np.ones((1, 1), dtype),
        np.array([[1, -2]], dtype),
    )
    yield Case(
        f"one key against 25 that weigh half as much in {dtype.name}",
        "a temperature that is a little off, as by a shortened log2(e)",
        np.ones((1, 1), dtype),
        np.append(0, np.full(25, -4))[:, None].astype(dtype),
        np.append(1, np.zeros(25))[:, None].astype(dtype),
    )
    yield Case(
        f"the first key takes all in {dtype.name}",
        "a dropped first key",
        np.ones((2, 1), dtype),
        np.append(30, np.zeros(520)).astype(dtype)[:, None],
        np.append(1, np.zeros(520)).astype(dtype)[:, None],
    )


def refusals() -> Iterator[Refusal]:
    """Yield every kind of argument that must be refused."""
    good = np.ones((3, 2))
    bad_entry = np.ones((3, 2))
    bad_entry[1, 1] = np.nan
    infinite = np.ones((3, 2))
    infinite[0, 0] = np.inf
    yield Refusal("NaN in Q", ValueError, "Q", bad_entry, good, good)
    yield Refusal("NaN in K", ValueError, "K", good, bad_entry, good)
    yield Refusal("infinity in V", ValueError, "V", good, good, infinite)
    yield Refusal("an empty Q", ValueError, "Q", np.ones((0, 2)), good, good)
    yield Refusal("no keys", ValueError, "K", good, np.ones((0, 2)), np.ones((0, 2)))
    yield Refusal("no columns of V", ValueError, "V", good, good, np.ones((3, 0)))
    yield Refusal("a vector for Q", ValueError, "Q", np.ones(2), good, good)
    yield Refusal("three dimensions for V", ValueError, "V", good, good, np.ones((3, 2, 2)))
    yield Refusal("Q and K of different width", ValueError, "Q and K", np.ones((3, 4)), good, good)
    yield Refusal("K and V of different length", ValueError, "K and V", good, good, np.ones((4, 2)))
    yield Refusal(
        "causal with more queries than keys",
        ValueError,
        "causal",
        np.ones((4, 2)),
        good,
        good,
        True,
    )
    yield Refusal("complex numbers", TypeError, "K", good, good.astype(complex), good)
    yield Refusal("Booleans", TypeError, "V", good, good, good > 0)
    yield Refusal("strings", TypeError, "Q", [["a", "b"]], good, good)
    yield Refusal("causal as a string", TypeError, "causal", good, good, good, "yes")
    yield Refusal("logits that overflow", ValueError, "Q", good * 1e200, good * 1e200, good)
