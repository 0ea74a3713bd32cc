"""Inputs that tell arithmetics apart: exact weights, vernier columns, ladders of logits, many keys alike."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.inputs import Array
from fastpath.kernels.formats import FORMATS

#: How many keys and columns a probe has.
KEYS, COLUMNS = 256, 64


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Queries, keys and values in float32, all of them numbers of a format, with the options of attention.

    ``reveals`` says what a kernel of another arithmetic gets wrong; ``exact_weights``, where the weights
    relative to the largest are numbers of the format, by how much at most they are not.
    """

    name: str
    reveals: str
    Q: NDArray[np.float32]
    K: NDArray[np.float32]
    V: NDArray[np.float32]
    options: dict[str, Any] = field(default_factory=dict)
    exact_weights: float | None = None


def probes(out: str, seed: int = 0) -> Iterator[Probe]:
    """Yield the probes of a format."""
    fmt = FORMATS[out]
    half = fmt.unit_roundoff
    for weight in (0.5, 0.5625, 0.6875, 0.8125, 0.9375):
        yield _weighed(out, f"weights of {weight}", "what exp is off by", weight, 2.0)
    for side, name in ((1, "above"), (-1, "below")):
        yield _weighed(
            out,
            f"weights just {name} the middle of two numbers",
            "weights that are rounded",
            0.5 * (1 + half) * (1 + side * half / 64),
            4.0,
        )
    for offset in (8.0, 24.0):
        yield _ladder(out, offset)
    rng = np.random.default_rng(seed)
    for name, size, keys in (("diffuse", 0.5, 512), ("sharp", 3.0, 512), ("few keys", 1.0, 3)):
        yield _random(out, name, size, keys, rng, {})
    yield _random(out, "causal", 1.0, 64, rng, {"causal": "lower-right"})
    yield Probe(
        name="2,048 keys alike",
        reveals="sums that stall",
        Q=np.zeros((1, COLUMNS), np.float32),
        K=np.zeros((2048, COLUMNS), np.float32),
        V=_numbers(out, 1 + rng.random((2048, COLUMNS))),
    )


#: Weights are 2^-k of k up to this, or (3/4)^k of fewer k, all of them numbers of 8 bits; the least ones.
POWERS, THIRDS, DEEPEST = 8, 6, 12
#: How many rows of weights are drawn, how many rise, and how many keys are heavy where few are.
DRAWN, RISING, HEAVY = 2, 3, 8


def exact_probes(
    out: str, queries: int, keys: int, columns: int, values: int, seed: int = 0
) -> Iterator[Probe]:
    """Yield probes of a shape whose weights are powers of 1/2 or 3/4, or a little less, which a format holds.

    What a kernel of a model returns is then known up to little more than the accumulator's roundings and the
    output's own.  Of values of either sign, whose means are small and their steps with them, one key too many
    or too few shows; of values that are one of two neighbouring numbers, what is off in the denominator,
    wherever the mean lies near the middle between the two.
    """
    rng = np.random.default_rng(seed)
    spacing = 2 * FORMATS[out].unit_roundoff
    quarters_of = rng.integers(0, 4, (keys, values)).astype(np.float64)
    signs: Array = np.where(rng.integers(0, 2, (keys, values)), 1.0, -1.0) * (1 + quarters_of / 4)
    steps: Array = 1 + spacing * rng.integers(0, 2, (keys, values)).astype(np.float64)
    position = np.arange(keys)
    drawn = rng.integers(0, POWERS, (DRAWN, keys))
    # Weights that rise up to a key, and are 1 from there on.
    corners = np.linspace(0, keys - 1, RISING + 1)[1:, None]
    rising = np.clip(np.ceil((corners - position) * 16 / keys), 0, POWERS)
    few = np.full((2, keys), DEEPEST)
    for row in few:
        row[rng.choice(keys, min(keys, HEAVY), replace=False)] = rng.integers(
            0, 5, min(keys, HEAVY)
        )
    halves = -np.log(2) * np.concatenate([few, drawn, rising])
    quarters = np.log(0.75) * rng.integers(0, THIRDS, (DRAWN, keys))
    weights = {"1": None, "2^-k": halves, "(3/4)^k": quarters}
    sides = position % 2
    balanced: Any = np.where(sides, -1.0, 2.0**-DEEPEST)[:, None] * (
        1 + rng.integers(0, 4, values) / 4
    )
    balanced[keys - keys % 2 :] = 0
    small = -np.log(2) * DEEPEST * sides[None]
    shape = queries, columns, rng
    for values_are, chosen in (("of either sign", signs), ("two neighbours", steps)):
        for weights_are, logarithms in weights.items():
            name = f"{keys} keys, values {values_are}, weights {weights_are}"
            yield _powers(out, name, logarithms, chosen, *shape)
        name = f"{keys} keys, values {values_are}, causal"
        causal = _powers(out, name, None, chosen, *shape)
        yield replace(causal, options={**causal.options, "causal": "lower-right"})
    yield _powers(out, f"{keys} keys, logits far below 0", halves, steps, *shape, offset=-8.0)
    yield _powers(out, f"{keys} keys in balance", small, balanced, *shape, short=spacing / 128)


def _powers(
    out: str,
    name: str,
    logarithms: Array | None,
    values: Array,
    queries: int,
    columns: int,
    rng: np.random.Generator,
    offset: float = 0.0,
    short: float = 0.0,
) -> Probe:
    """Give row i a row of logarithms of weights, less ``short`` below 0; None: equal weights."""
    fmt, scale = FORMATS[out], float(np.float32(columns**-0.5))
    pieces = 3 if fmt.precision < 24 else 1
    room = (columns - (offset != 0)) // pieces
    Q, exact = np.zeros((queries, columns)), 0.0
    # Equal weights are of keys that no query looks at.
    K = rng.standard_normal((len(values), columns))
    if logarithms is not None and room:
        logarithms, K, rows = logarithms[:room], np.zeros(K.shape), np.arange(queries)
        for index, row in enumerate(logarithms):
            rest, size = (row - short * (row < 0)) / scale, 1.0
            for place in range(pieces * index, pieces * (index + 1)):
                K[:, place] = fmt.nearest(rest / size)
                Q[rows % len(logarithms) == index, place] = size
                rest, size = rest - K[:, place] * size, size * fmt.unit_roundoff
        found = scale * (Q @ K.T) - logarithms[rows % len(logarithms)]
        if offset:
            Q[:, -1], K[:, -1] = 1.0, fmt.nearest(offset / scale)
        # Relative to whichever key is the largest so far.
        exact = float(np.expm1(2 * np.abs(found).max()))
    return Probe(
        name=name,
        reveals="what is off by more than the accumulator's roundings",
        Q=_numbers(out, Q),
        K=_numbers(out, K),
        V=_numbers(out, values),
        options={"scale": scale},
        exact_weights=None if fmt.precision < 8 else exact + 2.0**-40,
    )


def _numbers(out: str, x: Any) -> NDArray[np.float32]:
    return FORMATS[out].nearest(x).astype(np.float32)


def _pieces(out: str, scores: Array) -> tuple[Array, Array]:
    """Return a query and keys, numbers of a format, whose products are the scores up to three roundings."""
    fmt = FORMATS[out]
    query, columns, rest, size = [], [], np.asarray(scores, np.float64), 1.0
    for _ in range(3 if fmt.precision < 24 else 1):
        piece = fmt.nearest(rest / size)
        query.append(size)
        columns.append(piece)
        rest = rest - piece * size
        size *= fmt.unit_roundoff
    q, k = np.zeros((1, COLUMNS)), np.zeros((len(scores), COLUMNS))
    q[0, : len(query)], k[:, : len(query)] = query, np.stack(columns, axis=1)
    return q, k


def _weighed(out: str, name: str, reveals: str, weight: float, span: float) -> Probe:
    """Give one key of weight 1 and others of one weight; columns sweep the output over some steps.

    The first key's value grows by a step of its format from column to column, all others are 1: where the
    output steps up says what it was before it was rounded.
    """
    fmt = FORMATS[out]
    scores = np.full(KEYS, np.log(weight))
    scores[0] = 0
    q, k = _pieces(out, scores)
    reach = span * fmt.unit_roundoff * (1 + (KEYS - 1) * weight)
    values = np.ones((KEYS, COLUMNS))
    values[0] = 1 + np.linspace(0, reach, COLUMNS)
    return Probe(
        name=name,
        reveals=reveals,
        Q=_numbers(out, q),
        K=_numbers(out, k),
        V=_numbers(out, values),
        exact_weights=_distance(out, weight, q, k),
    )


def _distance(out: str, weight: float, q: Array, k: Array) -> float | None:
    """Return how far the weights are from a number of the format, relatively, if it is one."""
    if float(FORMATS[out].nearest(weight)) != weight:
        return None
    off = np.abs(np.exp((k[1:] @ q[0]) - k[0] @ q[0]) / weight - 1).max()
    return float(off) + 2.0**-40


def _ladder(out: str, offset: float) -> Probe:
    """Give logits in steps of a fraction of their format's own about a common offset."""
    step = 2 * FORMATS[out].unit_roundoff
    scores = offset * (1 + step * np.linspace(0, 8, KEYS))
    q, k = _pieces(out, scores)
    values = np.where(np.arange(KEYS)[:, None] % 2 == 0, 1.0, -1.0) * np.ones((1, COLUMNS))
    values = values * (1 + step * (np.arange(COLUMNS) % 7))
    order = np.argsort(np.where((scores / offset - 1) / step % 1 < 0.5, 0, 1), kind="stable")
    values[order[: KEYS // 2]], values[order[KEYS // 2 :]] = 1.0, -1.0
    return Probe(
        name=f"a ladder of logits about {offset:g}",
        reveals="logits that are rounded",
        Q=_numbers(out, q),
        K=_numbers(out, k),
        V=_numbers(out, values),
    )


def _random(
    out: str, name: str, size: float, keys: int, rng: np.random.Generator, options: dict[str, Any]
) -> Probe:
    return Probe(
        name=name,
        reveals="what all of it comes to",
        Q=_numbers(out, size * rng.standard_normal((16, COLUMNS))),
        K=_numbers(out, rng.standard_normal((keys, COLUMNS))),
        V=_numbers(out, rng.standard_normal((keys, COLUMNS))),
        options={"scale": COLUMNS**-0.5, **options},
    )
