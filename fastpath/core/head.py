"""One attention head that has been checked: what a public door makes of its arguments, and passes inward."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.inputs import Matrix, attention_inputs
from fastpath.core.semantics import Semantics, semantics

#: What the options of attention are where nothing is asked for.
PLAIN: dict[str, Any] = {
    "scale": 1.0,
    "window": None,
    "mask": None,
    "bias": None,
    "softcap": None,
    "sinks": None,
    "empty_rows": "refuse",
}


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
    options : Semantics or None
        The options of attention as it is run, ``causal`` among them; None where there are none besides it.
    """

    queries: Matrix
    keys: Matrix
    values: Matrix
    causal: bool = False
    options: Semantics | None = None

    @classmethod
    def of(
        cls, Q: ArrayLike, K: ArrayLike, V: ArrayLike, *, causal: bool | str, **options: Any
    ) -> "Head":
        """Check the arguments of a public function, or refuse as :func:`attention_inputs` does.

        ``options`` are those of attention as it is run, by name.
        """
        asked = isinstance(causal, str) or any(
            value is not PLAIN[name]
            and not (isinstance(value, (str, float, int)) and value == PLAIN[name])
            for name, value in options.items()
        )
        queries, keys, values = attention_inputs(Q, K, V, causal=False if asked else causal)  # type: ignore[arg-type]
        if not asked:
            return cls(queries=queries, keys=keys, values=values, causal=bool(causal))
        given = semantics((), len(queries), len(keys), causal=causal, **options)
        return cls(queries=queries, keys=keys, values=values, options=given)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating-point type of all three."""
        dtype: np.dtype[Any] = self.queries.dtype
        return dtype

    def last_seen(self, rows: NDArray[np.intp]) -> NDArray[np.intp] | None:
        """Return the index of the last key that each of some queries sees; None where it is the last key."""
        return rows if self.causal else None
