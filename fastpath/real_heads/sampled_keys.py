"""Attention over a few keys, the same for all queries: what loose tolerances take; certified elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastpath.core.costs import CAUSAL_OWN, EXACT_CALL, SAMPLED_ROW, pair_cost, rows_cost
from fastpath.core.head import Head
from fastpath.core.inputs import Array, Matrix
from fastpath.core.offers import Refusal
from fastpath.real_heads.exact_rows import exact_rows
from fastpath.real_heads.own_blocks import TIME_BLOCKS, block_size, own_block, with_logarithms
from fastpath.real_heads.pilot import Pilot, pilot_rows


class SampledKeys:
    r"""Attention of heads that share keys and values, over one key of each of so many runs of equal length.

    Under a causal mask time is cut into blocks.  A row weighs the keys of its own block exactly, and those
    sampled of the blocks before it each as the same number of keys.

    Parameters
    ----------
    heads : sequence of Head
        Without options; of one shape, with the same keys and values.
    rng : numpy.random.Generator
        Draws the pilot's rows.
    """

    #: The fewest keys that are tried, and which fractions of rows may be repaired: none, as no row is known
    #: to err more than another.
    fewest, repairs = 256, (0.0,)

    @classmethod
    def planned(cls, heads: Sequence[Head], rng: np.random.Generator) -> "SampledKeys | Refusal":
        """Compute the pilot's rows."""
        return cls(heads, rng)

    def __init__(self, heads: Sequence[Head], rng: np.random.Generator) -> None:
        self._heads = heads
        n = len(heads[0].queries)
        count = max(1, min(_pilot_rows(heads[0]) // len(heads), n))
        self._rows = [np.sort(rng.permutation(len(head.queries))[:count]) for head in heads]
        each = list(zip(heads, self._rows, strict=True))
        found = [exact_rows(head, rows) for head, rows in each]
        #: The pilot's rows of the first head, and their exact attention.
        self.known = self._rows[0], found[0]
        self._exact = [of_head.output for of_head in found]
        self._own = [own_block(head, rows) if head.causal else None for head, rows in each]

    @staticmethod
    def planning_cost(heads: Sequence[Head]) -> float:
        """Predict what making this object takes (``fastpath.core.costs``)."""
        pilot = rows_cost(heads[0], _pilot_rows(heads[0]))
        if not heads[0].causal:
            return pilot
        # Few rows of all times see every block, and hide much of each; and each own block is a call or two.
        return 3 * (pilot + len(heads) * TIME_BLOCKS * EXACT_CALL)

    @staticmethod
    def least_cost(heads: Sequence[Head], samples: int = 0) -> float:
        """Predict what :meth:`output` takes with so many keys, or the fewest that are tried."""
        return _cost(heads, max(samples, SampledKeys.fewest))

    @staticmethod
    def trying_cost(heads: Sequence[Head], rows: int, samples: int) -> float:
        """Predict what planning, two pilots and so many rows of each head take with so many keys."""
        tried = 2 * _pilot_rows(heads[0]) + len(heads) * rows
        return SampledKeys.planning_cost(heads) + _rows_cost(heads, tried, samples)

    def cost(self, sampled: float, repaired: float) -> float:
        """Predict what :meth:`output` takes with so many keys sampled."""
        return _cost(self._heads, sampled)

    def pilot_cost(self, samples: int) -> float:
        """Predict what :meth:`pilot` takes."""
        return _rows_cost(self._heads, sum(map(len, self._rows)), samples)

    def rows_cost(self, rows: int, samples: int) -> float:
        """Predict what :meth:`rows` takes for so many rows of each head."""
        return _rows_cost(self._heads, len(self._heads) * rows, samples)

    def pilot(self, samples: int, rng: np.random.Generator) -> Pilot:
        """Try some rows with so many keys."""
        chosen = self._sample(samples, rng)
        errors = [
            np.abs(_attend(head, rows, chosen, own) - exact).max(axis=1)
            for head, rows, exact, own in zip(
                self._heads, self._rows, self._exact, self._own, strict=True
            )
        ]
        of_all = np.concatenate(errors)
        return Pilot(errors=of_all, predicted=np.zeros_like(of_all), sampled=float(len(chosen)))

    def output(self, samples: int, repaired: float, rng: np.random.Generator) -> Matrix:
        """Return attention of all heads (heads, n_q, d_v) over so many keys; no row is repaired."""
        chosen = self._sample(samples, rng)
        rows = np.arange(len(self._heads[0].queries))
        return np.stack([_attend(head, rows, chosen, None) for head in self._heads])

    def rows(
        self, samples: int, rows: Sequence[NDArray[np.intp]], rng: np.random.Generator
    ) -> list[Matrix]:
        """Return ascending rows of each head, as :meth:`output` with the same random numbers has them."""
        chosen = self._sample(samples, rng)
        return [
            _attend(head, some, chosen, None) for head, some in zip(self._heads, rows, strict=True)
        ]

    def _sample(self, samples: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw one key of each of so many runs."""
        n = len(self._heads[0].keys)
        count = min(samples, n)
        places = (np.arange(count) + rng.random(count)) * (n / count)
        return np.minimum(places.astype(np.intp), n - 1)


def _pilot_rows(head: Head) -> int:
    rows = pilot_rows(len(head.queries))
    return rows // 2 if head.causal else rows


def _cost(heads: Sequence[Head], sampled: float) -> float:
    return _rows_cost(heads, len(heads) * len(heads[0].queries), sampled)


def _rows_cost(heads: Sequence[Head], rows: int, sampled: float) -> float:
    """Predict what so many rows of all heads together take."""
    head = heads[0]
    pairs = min(sampled, len(head.keys)) * pair_cost(head)
    calls = 1
    if head.causal:
        # Of the past, and of the own block.
        own = block_size(len(head.keys)) * pair_cost(head)
        pairs = SAMPLED_ROW + CAUSAL_OWN * (pairs + own) / 2
        calls = 2 * TIME_BLOCKS
    return rows * (SAMPLED_ROW + pairs) + len(heads) * calls * EXACT_CALL


def _attend(
    head: Head,
    rows: NDArray[np.intp],
    chosen: NDArray[np.intp],
    own: tuple[Matrix, Array] | None,
) -> Matrix:
    """Return some ascending rows over the chosen keys, which ascend, and their own blocks."""
    if not head.causal:
        some = replace(head, keys=head.keys[chosen], values=head.values[chosen])
        return exact_rows(some, rows).output
    size = block_size(len(head.keys))
    output, logarithms = own or own_block(head, rows)
    output = output.copy()
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows // size)) + 1):
        first = int(rows[part[0]] // size * size)
        past = chosen[: np.searchsorted(chosen, first)]
        if not len(past):
            continue
        before = replace(
            head,
            queries=head.queries[rows[part]],
            keys=head.keys[past],
            values=head.values[past],
            causal=False,
        )
        found, sums = with_logarithms(exact_rows(before, np.arange(len(part))))
        # Each sampled key stands for as many as there are of them.
        gap = logarithms[part] - sums - np.log(first / len(past))
        share = 1 / (1 + np.exp(np.minimum(gap, 700.0)))
        output[part] += share[:, None] * (found - output[part])
    return output
