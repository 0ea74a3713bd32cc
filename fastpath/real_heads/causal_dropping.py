"""Causal attention on sharp heads: keys of next to no weight are dropped by bands, every row certified."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import ceil

import numpy as np

from fastpath.core.certified import Certified
from fastpath.core.cores import run, worker_count
from fastpath.core.costs import CAUSAL_DROPPING_ROW, pair_cost
from fastpath.core.head import Head
from fastpath.core.inputs import source
from fastpath.core.offers import Refusal
from fastpath.core.semantics import Semantics
from fastpath.real_heads.dropped_keys import DroppedKeys
from fastpath.real_heads.exact_rows import exact_rows

#: Where bands of rows end, as parts of all.  The rows of the first are computed exactly: its queries have
#: too few keys in common that could tell what may be dropped.
BANDS = (0.125, 0.25, 0.5, 1.0)


class CausalDroppedKeys:
    r"""Attention of a causal head, by bands of rows, each of which drops keys as :class:`DroppedKeys` does.

    What a key weighs at most is told by the keys before the band, which all of its queries see; a key that
    is dropped may be among these or of the band itself.

    Parameters
    ----------
    head : Head
        Causal, without options.
    bands : sequence of DroppedKeys
        Of all bands but the first.
    """

    @classmethod
    def planned(
        cls, head: Head, allowed: float, rng: np.random.Generator
    ) -> "CausalDroppedKeys | Refusal":
        """Cluster the queries of each band, or refuse as :meth:`DroppedKeys.planned` does."""
        # The largest first: bands differ in size.
        tasks = [partial(DroppedKeys.planned, band, allowed, source(rng)) for band in _bands(head)][
            ::-1
        ]
        planned = run(tasks, worker_count(head.workers))[::-1]
        bands = [band for band in planned if not isinstance(band, Refusal)]
        for band in planned:
            if isinstance(band, Refusal):
                return band
        return cls(head, bands)

    def __init__(self, head: Head, bands: Sequence[DroppedKeys]) -> None:
        self._head, self._bands = head, bands

    @staticmethod
    def planning_cost(head: Head) -> float:
        """Predict what making this object takes (``fastpath.core.costs``)."""
        return CAUSAL_DROPPING_ROW * len(head.queries)

    @staticmethod
    def likely_cost(head: Head, kept: float) -> float:
        """Predict what :meth:`attend` takes where a fraction of the keys is kept, before planning."""
        return _exact_cost(head) + sum(DroppedKeys.likely_cost(band, kept) for band in _bands(head))

    def cost(self, rng: np.random.Generator) -> float:
        """Predict what :meth:`attend` takes, from clusters drawn at random."""
        tasks = [partial(band.cost, source(rng)) for band in self._bands][::-1]
        return _exact_cost(self._head) + sum(run(tasks, worker_count(self._head.workers)))

    def attend(self) -> Certified:
        """Return attention, each entry certified."""
        exact = exact_rows(self._head, np.arange(_exact_count(self._head)))
        parts = [exact, *(band.attend() for band in self._bands)]
        return Certified(
            output=np.concatenate([part.output for part in parts]),
            error_bound=np.concatenate([part.error_bound for part in parts]),
            claims=tuple(dict.fromkeys(claim for part in parts[::-1] for claim in part.claims)),
        )


def _exact_count(head: Head) -> int:
    """Return the number of rows of the first band."""
    return ceil(BANDS[0] * len(head.keys))


def _exact_cost(head: Head) -> float:
    return _exact_count(head) ** 2 / 2 * pair_cost(head)


def _bands(head: Head) -> Iterator[Head]:
    """Yield the rows of each band but the first, with all keys that any of them sees."""
    ends = [_exact_count(head), *(ceil(part * len(head.keys)) for part in BANDS[1:])]
    for start, stop in pairwise(ends):
        if start < stop:
            yield replace(
                head,
                queries=head.queries[start:stop],
                keys=head.keys[:stop],
                values=head.values[:stop],
                causal=False,
                options=Semantics(heads=(), queries=stop - start, keys=stop, right=0, offset=start),
            )
