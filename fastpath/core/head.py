"""Attention heads that have been checked: what a public door makes of its arguments, and passes inward."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.inputs import Matrix, attention_inputs, heads_inputs
from fastpath.core.semantics import Semantics, semantics


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Queries, keys and values of one floating-point type whose shapes fit, and which keys a query sees.

    Only :meth:`of` and :meth:`Heads.of` check anything.  Whatever takes a head relies on that, and checks
    nothing again.

    Attributes
    ----------
    queries : array, shape (n_q, d)
        Finite.
    keys : array, shape (n_k, d)
        Finite.
    values : array, shape (n_k, d_v)
        Finite.
    causal : bool
        Whether query i sees only the keys j <= i; then n_q = n_k.
    options : Semantics or None
        The options of attention as it is run, ``causal`` among them; None where there are none besides it.
    workers : int or None
        How many threads may work on it; None: every core that the process may use.
    """

    queries: Matrix
    keys: Matrix
    values: Matrix
    causal: bool = False
    options: Semantics | None = None
    workers: int | None = None

    @classmethod
    def of(
        cls,
        Q: ArrayLike,
        K: ArrayLike,
        V: ArrayLike,
        *,
        causal: bool,
        workers: int | None = None,
    ) -> "Head":
        """Check the arguments of a public function, or refuse as :func:`attention_inputs` does."""
        queries, keys, values = attention_inputs(Q, K, V, causal=causal)
        return cls(queries=queries, keys=keys, values=values, causal=bool(causal), workers=workers)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating-point type of all three."""
        dtype: np.dtype[Any] = self.queries.dtype
        return dtype

    @property
    def seen(self) -> Semantics:
        """The options, those of plain attention included."""
        if self.options is not None:
            return self.options
        sizes = len(self.queries), len(self.keys)
        return Semantics(
            heads=(), queries=sizes[0], keys=sizes[1], right=0 if self.causal else None
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads:
    """Heads of one shape, a matrix being one, with the options of attention as it is run.

    Attributes
    ----------
    queries : array, shape (..., h_q, n_q, d) or (n_q, d)
    keys : array, shape (..., h_k, n_k, d) or (n_k, d)
    values : array, shape (..., h_k, n_k, d_v) or (n_k, d_v)
    options : Semantics
    """

    queries: Matrix
    keys: Matrix
    values: Matrix
    options: Semantics

    @classmethod
    def of(cls, Q: ArrayLike, K: ArrayLike, V: ArrayLike, **options: Any) -> "Heads":
        """Check the arguments of a public function, or refuse as :func:`heads_inputs` and `semantics` do.

        Whether entries are finite is the caller's to check.
        """
        q, k, v = heads_inputs(Q, K, V)
        given = semantics(q.shape[:-2], q.shape[-2], k.shape[-2], **options)
        return cls(queries=q, keys=k, values=v, options=given)

    def __len__(self) -> int:
        return int(np.prod(self.queries.shape[:-2], dtype=int))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output."""
        return (*self.queries.shape[:-1], self.values.shape[-1])

    def each(self, workers: int) -> Iterator[Head]:
        """Yield the heads one by one; so many threads may work on each."""
        queries, keys, values = (
            x.reshape(-1, *x.shape[-2:]) for x in (self.queries, self.keys, self.values)
        )
        group = len(queries) // len(keys)
        for index, head in enumerate(np.ndindex(*self.options.heads)):
            options = self.options.of_head(head)
            causal = options.only_causal
            yield Head(
                queries=queries[index],
                keys=keys[index // group],
                values=values[index // group],
                causal=bool(causal),
                options=None if causal is not None and options.scale == 1 else options,
                workers=workers,
            )
