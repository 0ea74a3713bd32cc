"""Cases for attention that is kept while tokens change or stream, each with its usual mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.evidence.cases import Case

__all__ = ["StateCase", "states"]

Array = NDArray[Any]


@dataclass(frozen=True)
class StateCase(Case):
    """Tokens of a state, what is done to it, and the tokens as they are then.

    ``Q``, ``K`` and ``V`` are the tokens in the end; ``semantics`` are arguments of the state by name.
    """

    state: str = ""
    start: tuple[Array, Array, Array] | None = None
    changes: tuple[tuple[str, tuple[Any, ...]], ...] = ()


def states() -> Iterator[StateCase]:
    """Yield the cases of both kinds of state, in both types."""
    for dtype in (np.float32, np.float64):
        yield from _changing(np.dtype(dtype))
        yield from _streaming(np.dtype(dtype))


def _changing(dtype: np.dtype[Any]) -> Iterator[StateCase]:
    rng = np.random.default_rng(16)
    scale = 0.375

    def case(
        name: str,
        catches: str,
        *changes: tuple[str, tuple[Any, ...]],
        done: Callable[[Array, Array, Array], tuple[Array, Array, Array]] = lambda *x: x,
        causal: bool = False,
        scale: float = scale,
    ) -> StateCase:
        start = _tokens(rng, 11, dtype)
        Q, K, V = done(*(x.copy() for x in start))
        return StateCase(
            f"{name} in {dtype.name}",
            catches,
            Q,
            K,
            V,
            causal,
            {"scale": scale},
            "DynamicAttention",
            start,
            changes,
        )

    def put(which: int, index: Any, value: Any, add: bool = False) -> Any:
        def done(*tokens: Array) -> tuple[Array, ...]:
            tokens[which][index] = value + (float(tokens[which][index]) if add else 0)
            return tokens

        return done

    def more(*rows: Array) -> Any:
        return lambda *tokens: tuple(np.vstack(x) for x in zip(tokens, rows, strict=True))

    yield case("changing tokens with a scale", "a scale that is left out, or applied twice")
    yield case(
        "changing causal tokens with a scale", "a scale of the rows of one mask only", causal=True
    )
    yield case(
        "changing tokens with a negative scale", "a scale that is taken for a size", scale=-0.7
    )
    yield case(
        "one entry of a query under a scale",
        "a change that is added to a scaled query as it is",
        ("update_query", (3, 1, 1.5)),
        done=put(0, (3, 1), 1.5, add=True),
    )
    row = rng.standard_normal(4).astype(dtype)
    yield case(
        "a new query under a scale",
        "a new query that is not scaled",
        ("set_query", (4, row)),
        done=put(0, 4, row),
    )
    yield case(
        "one entry of a key under a scale",
        "a step of the logits without the scale, or with its square",
        ("update_key", (5, 2, -2.5)),
        done=put(1, (5, 2), -2.5, add=True),
    )
    rows = [rng.standard_normal(width).astype(dtype) for width in (4, 4, 3)]
    yield case(
        "a token appended under a scale",
        "the query of a new token that is not scaled",
        ("append", tuple(rows)),
        done=more(*rows),
    )


def _streaming(dtype: np.dtype[Any]) -> Iterator[StateCase]:
    rng = np.random.default_rng(17)
    for name, catches, scale in (
        ("a stream with a scale", "a scale that is left out, or applied twice", 0.25),
        ("a stream with a negative scale", "a scale that is taken for a size", -0.3),
        ("a stream with a scale above 1", "a degree for logits without their scale", 3.0),
    ):
        Q, K, V = _tokens(rng, 13, dtype)
        Q = Q / np.abs(scale * np.linalg.norm(Q) * np.linalg.norm(K)).astype(dtype)
        given = {"scale": scale}
        yield StateCase(
            f"{name} in {dtype.name}", catches, Q, K, V, False, given, "StreamingAttention"
        )


def _tokens(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    Q, K, V = (rng.standard_normal((n, width)).astype(dtype) for width in (4, 4, 3))
    return Q, K, V
