"""One attention head that has been checked: what a public door makes of its arguments, and passes inward."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.inputs import Matrix, attention_inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Queries, keys and values of one floating-point type whose shapes fit, and which keys a query sees.

    Only :meth:`of` checks anything.  Whatever takes a head relies on that, and checks nothing again.

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
    """

    queries: Matrix
    keys: Matrix
    values: Matrix
    causal: bool = False

    @classmethod
    def of(cls, Q: ArrayLike, K: ArrayLike, V: ArrayLike, *, causal: bool) -> "Head":
        """Check the arguments of a public function, or refuse as :func:`attention_inputs` does."""
        queries, keys, values = attention_inputs(Q, K, V, causal=causal)
        return cls(queries=queries, keys=keys, values=values, causal=bool(causal))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating-point type of all three."""
        dtype: np.dtype[Any] = self.queries.dtype
        return dtype

    def last_seen(self, rows: NDArray[np.intp]) -> NDArray[np.intp] | None:
        """Return the index of the last key that each of some queries sees; None where it is the last key."""
        return rows if self.causal else None
