r"""A ledger of audited answers, whose statement holds at all times at once.

After each answer is fixed, a coin of probability rho decides whether it is compared with the truth.
With D errors audited, at most k(D) answers have erred: the largest k for which the probability
:math:`P(\mathrm{Bin}(k, \rho) \le D)` exceeds :math:`w_D \delta`.  That is so at all times together, except
with probability :math:`\sum w_D \delta = \delta`, since of the first m errors the coins are independent
however they were chosen (Q.ledger).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.caches import ledger_tail
from fastpath.core.directed import above, float_at_most, library_down, library_up, total_up, up
from fastpath.core.inputs import generator, integer, open_unit
from fastpath.core.locked import Locked
from fastpath.core.norms import sum_above
from fastpath.core.shown import shown
from fastpath.core.state_files import load, write_arrays

_KIND = "audit ledger, 1"

#: The share of the failure probability that is kept for the case that no audit finds an error: 1 % more
#: audits than Wilks asks at one time.  The D-th error has (1 - FIRST)/(D (D + 1)).
_FIRST = 0.9

#: More than anybody's answers.
_MOST_ANSWERS = 2**64

#: Of more audited errors than this, the tail's largest term is taken by its logarithm.
_EXACT_TERMS = 12


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What a ledger states, at whatever time it is asked.

    Attributes
    ----------
    steps, audits, errors : int
        Answers that were given, that were audited, and of the audited ones those beyond the tolerance.
    most_errors : int
        Of all answers at most so many are beyond the tolerance.
    uncovered : float
        ``most_errors`` by ``steps``, rounded upward; 0 of none.
    failure_probability : float
        The probability that ``most_errors`` is ever exceeded, at this or any other time.
    tolerance : float
        What counts as an error.
    """

    __repr__ = shown

    steps: int
    audits: int
    errors: int
    most_errors: int
    uncovered: float
    failure_probability: float
    tolerance: float
    claims: tuple[str, ...] = ("Q.ledger",)


@standard_arithmetic
class AuditLedger(Locked):
    """Count audits of a stream of answers, and bound how many of all answers have erred.

    For each answer: fix it, call :meth:`audit`, and where that says so compute the truth and call
    :meth:`record` with the error.  The coin must stay hidden until the answer is fixed: it is tossed then.

    Parameters
    ----------
    uncovered : float
        In (0, 1): the fraction of answers that may err.  It is certified once ln(1/(0.9 delta))/uncovered
        audits have found no error.
    failure_probability : float
        In (0, 1): of the statement being wrong at any time.
    tolerance : float
        Not negative: an answer errs if its error is larger.
    audit_probability : float, optional
        In (0, 1]: of an audit of each answer; ``uncovered`` by default.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    Notes
    -----
    Claims: Q.ledger.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> rng = np.random.default_rng(0)
    >>> ledger = fastpath.AuditLedger(0.05, 1e-6, tolerance=0.01, audit_probability=0.5)
    >>> for answer in range(2000):
    ...     if ledger.audit(rng):
    ...         ledger.record(0.001)  # the error of the answer, which was fixed before
    >>> said = ledger.bound()
    >>> said.steps, said.errors, said.uncovered < 0.05
    (2000, 0, True)
    """

    def __init__(
        self,
        uncovered: float,
        failure_probability: float,
        tolerance: float,
        *,
        audit_probability: float | None = None,
    ) -> None:
        super().__init__()
        self._uncovered = open_unit("uncovered", uncovered)
        self._failure = open_unit("failure_probability", failure_probability)
        self._tolerance = _size("tolerance", tolerance)
        if not np.isfinite(self._tolerance):
            raise ValueError(f"tolerance must be finite, got {tolerance!r}.")
        self._rate = self._uncovered
        if audit_probability is not None:
            rate = _size("audit_probability", audit_probability)
            if not 0 < rate <= 1:
                raise ValueError(f"audit_probability must be in (0, 1], got {audit_probability!r}.")
            self._rate = rate
        self._steps = self._audits = self._errors = 0
        self._waiting = False

    def audit(self, rng: np.random.Generator) -> bool:
        """Toss the coin of an answer that is fixed, and return whether it is to be audited.

        Raises
        ------
        TypeError
            If ``rng`` is no generator.
        RuntimeError
            If the last audit has no result yet.
        """
        with self._lock:
            if self._waiting:
                raise RuntimeError("record must be called with the last audit's error first.")
            # A number below the rate is at least as likely as the rate: random() has steps of 2^-53.
            self._waiting = bool(generator(rng).random() < self._rate)
            self._steps += 1
            return self._waiting

    def record(self, error: float) -> None:
        """Give the error of the answer that is being audited; infinite where it has none.

        Raises
        ------
        TypeError, ValueError
            If it is no number, NaN or negative.
        RuntimeError
            If no answer is being audited.
        """
        with self._lock:
            size = _size("error", error)
            if not self._waiting:
                raise RuntimeError("record must follow an audit that was asked for.")
            self._waiting = False
            self._audits += 1
            self._errors += size > self._tolerance

    def bound(self) -> Audited:
        """Return what can be said of all answers so far."""
        with self._lock:
            # An answer that is being audited may have erred.
            unseen = self._steps - self._audits
            most = min(most_errors(self._errors, self._rate, self._failure), self._errors + unseen)
            return _stated(
                self._steps, self._audits, self._errors, most, self._failure, self._tolerance
            )

    def split(self, workers: int) -> tuple[AuditLedger, ...]:
        """Return empty ledgers for so many workers, whose statements together fail as seldom as this one.

        Raises
        ------
        TypeError, ValueError
            If ``workers`` is no positive integer, or this ledger is not empty.
        """
        with self._lock:
            if self._steps:
                raise ValueError(f"a ledger must be empty to be split, got {self._steps} steps.")
            share = float_at_most(self._failure / integer("workers", workers, 1))
            return tuple(
                AuditLedger(self._uncovered, share, self._tolerance, audit_probability=self._rate)
                for _ in range(workers)
            )

    def merge(self, *others: AuditLedger) -> Audited:
        """Return the statement of several ledgers of one tolerance: what each states, added up.

        Raises
        ------
        TypeError, ValueError
            If one is no ledger, is given twice or has another tolerance.
        """
        ledgers = (self, *others)
        for i, other in enumerate(ledgers):
            if not isinstance(other, AuditLedger):
                raise TypeError(f"others must be AuditLedgers, got {other!r}.")
            if any(other is earlier for earlier in ledgers[:i]):
                raise ValueError("others must be different ledgers, got one twice.")
        parts = [ledger.bound() for ledger in ledgers]
        if len({part.tolerance for part in parts}) > 1:
            raise ValueError(
                f"others must have this ledger's tolerance {self._tolerance}, got "
                f"{sorted({part.tolerance for part in parts})}."
            )
        return _stated(
            sum(p.steps for p in parts),
            sum(p.audits for p in parts),
            sum(p.errors for p in parts),
            sum(p.most_errors for p in parts),
            min(float(total_up(p.failure_probability for p in parts)), 1.0),
            self._tolerance,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ledger to a file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with self._lock:
            write_arrays(path, _KIND, self._contents())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AuditLedger:
        """Return the ledger that a file holds.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it was truncated or changed, or holds something else.
        """
        return load(path, (_KIND,), cls._from_contents, cls._contents)

    def _contents(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        return {
            "numbers": np.array([self._uncovered, self._failure, self._tolerance, self._rate]),
            "counts": np.array([self._steps, self._audits, self._errors, self._waiting], np.int64),
        }

    @classmethod
    def _from_contents(cls, arrays: dict[str, NDArray[Any]]) -> AuditLedger:
        """Return the ledger that has these contents."""
        uncovered, failure, tolerance, rate = arrays["numbers"].tolist()
        new = cls(uncovered, failure, tolerance, audit_probability=rate)
        new._steps, new._audits, new._errors, waiting = arrays["counts"].tolist()
        new._waiting = bool(waiting)
        if not 0 <= new._errors <= new._audits <= new._steps - new._waiting:
            raise ValueError("counts must be those of a ledger.")
        return new


def most_errors(audited: int, rate: float, failure_probability: float) -> int:
    """Return k(D): the most errors there may be with D of them audited."""
    weight = _FIRST if audited == 0 else (1 - _FIRST) / (audited * (audited + 1))
    return _most(audited, rate, float_at_most(library_down(failure_probability * weight)))


@lru_cache(maxsize=256)
def _most(audited: int, rate: float, share: float) -> int:
    """Return the largest k with P(Bin(k, rate) <= audited) > share, or a few more for rounding.

    Where that is more than there are answers, some number that is.
    """
    low, high = audited, audited + 1
    while _tail(high, audited, rate) > share:
        if high > _MOST_ANSWERS:
            return high  # of all answers that there are nothing is said
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _tail(middle, audited, rate) > share:
            low = middle
        else:
            high = middle
    return low


def _tail(errors: int, audited: int, rate: float) -> float:
    """Bound P(Bin(errors, rate) <= audited), for errors > audited."""
    if audited <= _EXACT_TERMS and errors < 2**40:
        return float(ledger_tail(errors, audited, rate))
    # The last term by its logarithm; before it, terms fall by at least a ratio.
    if rate == 1:
        return 0.0
    factors = up((errors - audited) / np.arange(1.0, audited + 1) + 1)
    chosen = float(sum_above(library_up(np.log(factors)).sum(), audited))
    missed = library_down((errors - audited) * library_down(-math.log1p(-rate)))
    caught = library_down(audited * library_down(-math.log(rate)))
    exponent = float(above(above(chosen - missed) - caught))
    ratio = library_up(up(audited * up(1 - rate)) / library_down((errors - audited + 1) * rate))
    if exponent > 0 or ratio >= 1:
        return 1.0
    return min(1.0, float(up(library_up(math.exp(exponent)) / (library_down(1 - ratio)))))


def _stated(
    steps: int, audits: int, errors: int, most: int, failure: float, tolerance: float
) -> Audited:
    return Audited(
        steps=steps,
        audits=audits,
        errors=errors,
        most_errors=most,
        uncovered=min(float(up(most / steps)), 1.0) if steps else 0.0,
        failure_probability=failure,
        tolerance=tolerance,
    )


def _size(name: str, value: Any) -> float:
    """Return a number that is not negative, or refuse."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    number = float(value)
    if not number >= 0:
        raise ValueError(f"{name} must be at least 0, got {value!r}.")
    return number
