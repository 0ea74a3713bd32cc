"""Causal attention on sharp heads: keys of next to no weight are dropped band by band, every row certified."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fastpath.core.certified import Certified
from fastpath.core.costs import DROPPING_KEY, exact_cost, pair_cost
from fastpath.core.head import Head
from fastpath.core.offers import Refusal
from fastpath.core.semantics import Semantics
from fastpath.real_heads.dropped_keys import CLUSTERS, DroppedKeys
from fastpath.real_heads.exact_rows import exact_rows

#: Where bands of rows begin, as parts of all: those of the first are computed exactly, since its queries
#: have too few keys in common that could tell what may be dropped.
BANDS = (0.0, 0.125, 0.25, 0.5)


class CausalDroppedKeys:
    r"""Attention of a causal head, by bands of rows, each of which drops keys as :class:`DroppedKeys` does.

    What a key weighs at most is told by the keys before the band, which all of its queries see; a key that
    is dropped may be among these or of the band itself.

    Parameters
    ----------
    head : Head
        Causal, without options.
    bands : sequence of DroppedKeys
        Of all bands but the first, which has ``exact`` rows.
    """

    @classmethod
    def planned(
        cls, head: Head, allowed: float, rng: np.random.Generator
    ) -> "CausalDroppedKeys | Refusal":
        """Cluster the queries of each band, or refuse as :meth:`DroppedKeys.planned` does."""
        starts = [int(part * len(head.keys)) for part in BANDS]
        bands = []
        for start, stop in zip(starts[1:], [*starts[2:], len(head.keys)], strict=True):
            band = DroppedKeys.planned(_band(head, start, stop), allowed, rng)
            if isinstance(band, Refusal):
                return band
            bands.append(band)
        return cls(head, starts[1], bands)

    def __init__(self, head: Head, exact: int, bands: Sequence[DroppedKeys]) -> None:
        self._head, self._exact, self._bands = head, exact, bands

    @staticmethod
    def planning_cost(head: Head) -> float:
        """Predict what making this object takes (``fastpath.core.costs``)."""
        return DroppedKeys.planning_cost(head)

    @staticmethod
    def likely_cost(head: Head, kept: float) -> float:
        """Predict what :meth:`attend` takes where a fraction of the keys is kept, before planning."""
        starts = [int(part * len(head.keys)) for part in BANDS]
        cost = _triangle(head, starts[1])
        for start, stop in zip(starts[1:], [*starts[2:], len(head.keys)], strict=True):
            cost += DroppedKeys.likely_cost(_band(head, start, stop), kept)
        return cost

    def cost(self, rng: np.random.Generator) -> float:
        """Predict what :meth:`attend` takes, from clusters drawn at random."""
        return _triangle(self._head, self._exact) + sum(band.cost(rng) for band in self._bands)

    def attend(self) -> Certified:
        """Return attention, each entry certified."""
        parts = [exact_rows(self._head, np.arange(self._exact))]
        parts += [band.attend() for band in self._bands]
        return Certified(
            output=np.concatenate([part.output for part in parts]),
            error_bound=np.concatenate([part.error_bound for part in parts]),
            claims=tuple(dict.fromkeys(claim for part in parts[::-1] for claim in part.claims)),
        )


def _triangle(head: Head, rows: int) -> float:
    return rows**2 / 2 * pair_cost(head)


def _band(head: Head, start: int, stop: int) -> Head:
    """Return some rows of a causal head, with all keys that any of them sees."""
    return replace(
        head,
        queries=head.queries[start:stop],
        keys=head.keys[:stop],
        values=head.values[:stop],
        causal=False,
        options=Semantics(heads=(), queries=stop - start, keys=stop, right=0, offset=start),
    )
