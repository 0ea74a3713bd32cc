"""A quantised cache's certificates beside the enclosed truth on the keys and values that it was given.

The truth is ``reference.attention`` on the originals, of which the implementation keeps a few bits each: its
bound has to cover what quantising took, the rounding of its kernel and that of the certificate itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from proofs.judging.heads import Head
from proofs.judging.implementation import Unanswered, ask
from proofs.judging.judgement import (
    Answer,
    Examination,
    Judgement,
    checked_rows,
    enclosed,
    judge_rows,
)

__all__ = ["BUDGET", "FORMATS", "QuantisedCache", "examine"]

QuantisedCache = Callable[..., Any]

#: Logits enclosed for one head: 0.3 s at 128 bits.
BUDGET = 1 << 13

#: The formats that are asked for, by what they are called.
FORMATS: dict[str, dict[str, Any]] = {
    "int8": {"key_bits": 8, "value_bits": 8},
    "int4": {"key_bits": 4, "value_bits": 4},
}


def examine(
    head: Head,
    make: QuantisedCache,
    *,
    budget: int = BUDGET,
    rng: np.random.Generator | None = None,
) -> Examination[Judgement]:
    """Store a head in every format, ask for all of its rows, and judge random ones of the answers.

    Parameters
    ----------
    head
        The head, stored and asked in float32 where that holds all of its entries, else in float64.
    make
        ``QuantisedCache`` of the implementation under test; it is given copies.
    budget
        The most logits to enclose.
    rng
        Draws the rows; by default one that nobody can foresee.
    """
    with np.errstate(over="ignore", under="ignore"):
        exact = all(np.array_equal(x.astype(np.float32), x) for x in head.matrices)
    dtype = "float32" if exact else "float64"

    def answered(form: dict[str, Any]) -> Answer:
        Q, K, V = (x.astype(dtype) for x in head.matrices)
        return Answer.of(make(K, V, **form).attention(Q))

    answers = {
        name: ask("QuantisedCache", partial(answered, form)) for name, form in FORMATS.items()
    }
    # Drawn when the answers are fixed.
    rng = np.random.default_rng() if rng is None else rng
    rows = checked_rows(len(head.Q), len(head.K), budget, rng)
    truth = enclosed(head.Q[rows], head.K, head.V)
    judgements = []
    for name, answer in answers.items():
        asked = Judgement(
            name=head.name,
            asked=f"in {name}",
            dtype=dtype,
            rows=tuple(rows.tolist()),
            row_count=len(head.Q),
            call=_call(head.name, dtype, FORMATS[name]),
        )
        if isinstance(answer, Unanswered):
            judgements.append(replace(asked, failure=answer.failure))
        else:
            judgements.append(judge_rows(asked, answer, rows, truth))
    return Examination(
        name=head.name,
        dtype=head.K.dtype.name,
        shape=(len(head.Q), len(head.K)),
        judgements=tuple(judgements),
    )


def _call(head: str, dtype: str, form: dict[str, Any]) -> str:
    bits = ", ".join(f"{name}={value!r}" for name, value in form.items())
    matrices = f"*(arrays[f'{head}/{{x}}'].astype('{dtype}') for x in 'KV')"
    return f"QuantisedCache({matrices}, {bits}).attention(arrays['{head}/Q'].astype('{dtype}'))"
