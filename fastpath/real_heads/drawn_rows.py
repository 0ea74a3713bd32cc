"""Rows drawn for a certificate before an output is there: exact once, to be held against what is tried."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastpath.core.certified import Certified
from fastpath.core.head import Head
from fastpath.core.inputs import Matrix
from fastpath.real_heads.certify import largest_errors, most_skipped
from fastpath.real_heads.exact_rows import exact_head, exact_rows


@dataclass(frozen=True, kw_only=True)
class DrawnRows:
    """Rows of a head, drawn independently of what will be certified on them, and their exact attention.

    Attributes
    ----------
    rows : array
        The different ones, ascending.
    exact : Certified
        Of these.
    repeats : array
        Of each row that was drawn, its place among the different ones.
    skipped : int
        How many of the largest errors decide nothing (R.certify).
    uncovered, failure_probability : float
        What a certificate on them leaves open; 0 where every row was drawn.
    """

    rows: NDArray[np.intp]
    exact: Certified
    repeats: NDArray[np.intp]
    skipped: int
    uncovered: float
    failure_probability: float

    @classmethod
    def of(
        cls,
        head: Head,
        uncovered: float,
        failure_probability: float,
        drawn: int,
        rng: np.random.Generator,
    ) -> "DrawnRows":
        """Draw so many rows, which are enough for a certificate, or take all."""
        n = len(head.queries)
        if drawn >= n:
            rows = repeats = np.arange(n)
            skipped, uncovered, reached = 0, 0.0, 0.0
        else:
            rows, repeats = np.unique(rng.integers(0, n, drawn), return_inverse=True)
            skipped, reached = most_skipped(drawn, uncovered, failure_probability)
        return cls(
            rows=rows,
            exact=exact_rows(head, rows),
            repeats=repeats,
            skipped=skipped,
            uncovered=uncovered,
            failure_probability=reached,
        )

    @property
    def claims(self) -> tuple[str, ...]:
        """What a certificate on these rows rests on."""
        return (("R.certify",) if self.uncovered else ()) + self.exact.claims

    def errors(self, output: Matrix) -> NDArray[np.float64]:
        """Bound the largest error of each row that was drawn, ascending, of an output's different ones."""
        return np.sort(largest_errors(output, self.exact)[self.repeats])

    def bound(self, errors: NDArray[np.float64]) -> float:
        """Return what all but the uncovered rows err by at most, from ascending errors."""
        return float(errors[len(errors) - 1 - self.skipped])


def completed(head: Head, known: Sequence[tuple[NDArray[np.intp], Certified]]) -> Certified:
    """Return exact attention of a head of which some rows are known."""
    if not known:
        return exact_head(head)
    missing = np.ones(len(head.queries), bool)
    for rows, _ in known:
        missing[rows] = False
    rest = np.flatnonzero(missing)
    parts = [*known, *([(rest, exact_rows(head, rest))] if len(rest) else [])]
    (_, like), n = parts[-1], len(head.queries)
    assert like.log_sum_exp is not None
    output = np.empty((n, *like.output.shape[1:]), like.output.dtype)
    bound = np.empty(output.shape)
    sums, sums_bound = np.empty(n, like.log_sum_exp.dtype), np.empty(n)
    for rows, found in parts:
        output[rows], bound[rows] = found.output, found.error_bound
        sums[rows], sums_bound[rows] = found.log_sum_exp, found.log_sum_exp_bound
    return Certified(
        output=output,
        error_bound=bound,
        claims=like.claims,
        log_sum_exp=sums,
        log_sum_exp_bound=sums_bound,
    )
