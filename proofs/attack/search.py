"""A search for input on which a function errs by more than it says, or answers with what is no number.

It knows nothing of a function but how to draw input for it and what its answer states.  From input that
was drawn it goes on by the moves with which claims are attacked (:mod:`proofs.algebra.falsify`): structure,
and steps of all sizes that raise error / bound.  Floats choose where to look; enclosures decide.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from proofs.algebra.falsify import NO_INSTANCE, extrapolated, stepped, structures, written
from reference import PRECISIONS, Enclosure

#: Input that a search begins with.
SAMPLES = 8

#: Of how many the best are kept, to go on from.
KEPT = 8

#: Entries of the largest array that a move may lead to.
LARGEST = 600

#: No number outside of an array goes further.
LARGEST_NUMBER = 10.0**6

#: How near the quotient must be known, relative to the bound, where more bits would tell it.
NEAR = Fraction(1, 64)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What one part of an answer states: |quantity| <= bound, entry by entry.

    Attributes
    ----------
    what : str
        In words.
    quantity : callable
        Encloses it, of so many bits; or a Fraction, which needs none.
    bound : array_like
        Numbers that are not NaN; where one is infinite nothing is said.
    """

    what: str
    quantity: Callable[[int], Enclosure | Fraction]
    bound: Any


class BrokenError(Exception):
    """An answer is wrong; the message is a sentence."""


class UndecidedError(Exception):
    """An error and its bound are so near to each other that no enclosure tells which is larger."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """How one function is attacked.

    Attributes
    ----------
    function : str
        Its name in the implementation, with a dot where it is a module's in there.
    sample : callable
        Draws input from a generator.
    statements : callable
        Asks the module for an answer to input, and yields what it states.
    """

    function: str
    sample: Callable[[np.random.Generator], Any]
    statements: Callable[[ModuleType, Any], Iterable[Statement]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the search found about one function.

    Attributes
    ----------
    function : str
    tried : int
        How many inputs it was asked about.
    refused : int
        How many of these it refused.
    undecided : int
        On how many an error is too near to its bound for any enclosure to tell.
    violations : int
        On how many it was wrong.
    ratio : float
        The largest error / bound.
    what : str
        Of which statement.
    instance : object
        Where; or the first on which it was wrong.
    sentence : str
        What is wrong there; empty if nothing is.
    stopped : bool
        Whether the time ran out before the instances did.
    """

    function: str
    tried: int
    refused: int
    undecided: int
    violations: int
    ratio: float
    what: str
    instance: Any
    sentence: str
    stopped: bool

    @property
    def written(self) -> str:
        """The instance in one line, every digit of it."""
        return written(self.instance)


def search(
    attack: Attack,
    module: ModuleType,
    *,
    instances: int,
    seed: int = 0,
    seconds: float | None = None,
) -> Found:
    """Search for input that breaks a function's bounds.

    Parameters
    ----------
    attack, module
        What is attacked, and where it is.
    instances
        How many inputs to ask about.
    seed
        Of the random numbers: the same finds the same.
    seconds
        Of the processor, after which the search ends earlier.

    Raises
    ------
    ValueError
        If ``instances`` is less than 1, ``seed`` less than 0 or ``seconds`` not above 0.
    """
    if instances < 1:
        raise ValueError(f"instances must be at least 1, got {instances}.")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}.")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"seconds must be more than 0, got {seconds:g}.")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _Search(attack, module, instances, seed, seconds).run()


class _Search:
    """What has been tried, and the best so far."""

    def __init__(
        self,
        attack: Attack,
        module: ModuleType,
        instances: int,
        seed: int,
        seconds: float | None,
    ) -> None:
        self.attack, self.module, self.instances = attack, module, instances
        self.rng = np.random.default_rng([seed, zlib.crc32(attack.function.encode())])
        self.end = None if seconds is None else time.process_time() + seconds
        self.tried = self.refused = self.undecided = self.violations = 0
        self.best: list[tuple[float, str, Any]] = []
        self.wrong: tuple[Any, str] | None = None

    def run(self) -> Found:
        samples = [self.attack.sample(self.rng) for _ in range(SAMPLES)]
        for sample in samples:
            self._consider(sample)
        while not self._done():
            self._move()
        ratio, what, instance = self.best[0] if self.best else (0.0, "", None)
        sentence = ""
        if self.wrong is not None:
            instance, sentence = self.wrong
        return Found(
            function=self.attack.function,
            tried=self.tried,
            refused=self.refused,
            undecided=self.undecided,
            violations=self.violations,
            ratio=ratio,
            what=what,
            instance=instance,
            sentence=sentence,
            stopped=self.tried < self.instances,
        )

    def _done(self) -> bool:
        late = self.end is not None and time.process_time() > self.end
        return self.tried >= self.instances or late

    def _move(self) -> None:
        kind = self.rng.random()
        if not self.best or kind < 0.3:
            self._consider(self.attack.sample(self.rng))
            return
        base = self.best[min(int(self.rng.exponential(1.5)), len(self.best) - 1)][2]
        if kind < 0.6:
            relatives = structures(base, self.rng)
            self._consider(_made(relatives[int(self.rng.integers(len(relatives)))]))
            return
        size = 2.0 ** self.rng.uniform(-2 - 24 * self.tried / self.instances, 1)
        moved = _made(lambda: stepped(base, self.rng, size))
        while self._consider(moved):
            base, moved = moved, _made(partial(extrapolated, base, moved))

    def _consider(self, instance: Any) -> bool:
        """Ask about an instance, and return whether error / bound is the largest so far."""
        if instance is None or not usable(instance) or self._done():
            self.tried += instance is None  # what makes no instance must not go on for ever
            return False
        self.tried += 1
        try:
            ratio, what = judged(self.attack, self.module, instance)
        except BrokenError as error:
            self.violations += 1
            if self.wrong is None:
                self.wrong = instance, str(error)
            return False
        except UndecidedError:
            self.undecided += 1
            return False
        except (ValueError, TypeError):
            self.refused += 1
            return False
        best = self.best[0][0] if self.best else -1.0
        self.best = sorted([*self.best, (ratio, what, instance)], key=lambda b: -b[0])[:KEPT]
        return ratio > best


def judged(attack: Attack, module: ModuleType, instance: Any) -> tuple[float, str]:
    """Return the largest error / bound of what a function states of an instance, and of which statement.

    Raises
    ------
    BrokenError
        If an error exceeds its bound, an answer is no number, an argument was changed, or something else
        than a sentence was raised.
    UndecidedError
        If no enclosure tells whether an error exceeds its bound.
    ValueError, TypeError
        If the function refuses the instance.
    """
    given = _copied(instance)
    try:
        statements = list(attack.statements(module, given))
    except (ValueError, TypeError) as error:
        if "." not in str(error) or len(str(error)) < 12:
            raise BrokenError(f"it was refused without a sentence: {error!r}.") from error
        _unchanged(instance, given)
        raise
    except BrokenError:
        raise
    except Exception as error:
        raise BrokenError(f"{type(error).__name__} was raised: {error}") from error
    _unchanged(instance, given)
    return max(((_ratio(s), s.what) for s in statements), default=(0.0, "nothing is stated"))


def _ratio(statement: Statement) -> float:
    """Return the largest quantity / bound, as far as it is known from below, if no bound is broken."""
    bound = np.asarray(statement.bound, np.float64)
    if np.isnan(bound).any():
        raise BrokenError(f"the bound of {statement.what} is NaN.")
    quantity = statement.quantity(PRECISIONS[0])
    if isinstance(quantity, Fraction):
        return _largest([(abs(quantity), abs(quantity), bound.item())], statement.what)[0]
    ratio = 0.0
    for bits in PRECISIONS:
        found = statement.quantity(bits)
        assert isinstance(found, Enclosure)
        low, high = (x.ravel() for x in abs(found).bounds())
        allowed = np.broadcast_to(bound, found.shape).ravel()
        ends = [e for e in zip(low, high, allowed.tolist(), strict=True) if e[2] != np.inf]
        ratio, settled = _largest(ends, statement.what)
        if settled:
            return ratio
    raise UndecidedError(statement.what)


def _largest(ends: list[tuple[Any, Any, float]], what: str) -> tuple[float, bool]:
    """Return the largest quotient of an end and a bound, and whether it is known well enough."""
    largest, settled = Fraction(0), True
    for low, high, bound in ends:
        allowed = Fraction(float(bound))
        if low > allowed:
            raise BrokenError(f"{what} is at least {_shown(low)}, and the bound {_shown(allowed)}.")
        if allowed:
            largest = max(largest, low / allowed)
        settled = settled and high <= allowed and (high - low) <= NEAR * allowed
    return float(largest) if largest < 10**300 else 1e300, settled


def _shown(number: Fraction) -> str:
    try:
        return f"{float(number):.17g}"
    except OverflowError:
        return "more than any float"


def _made(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except NO_INSTANCE:
        return None


def usable(instance: Any) -> bool:
    """Whether an instance is small, and of finite numbers but for hidden keys."""
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if isinstance(value, np.ndarray):
            if value.size > LARGEST or 0 in value.shape:
                return False
            if value.dtype.kind == "f" and not (np.isfinite(value) | (value == -np.inf)).all():
                return False
            if field.name != "bias" and value.dtype.kind == "f" and np.isinf(value).any():
                return False
        elif isinstance(value, float | int) and not abs(value) <= LARGEST_NUMBER:
            return False
    return True


def _copied(instance: Any) -> Any:
    arrays = {
        field.name: getattr(instance, field.name).copy()
        for field in dataclasses.fields(instance)
        if isinstance(getattr(instance, field.name), np.ndarray)
    }
    return dataclasses.replace(instance, **arrays)


def _unchanged(before: Any, after: Any) -> None:
    for field in dataclasses.fields(before):
        one, other = getattr(before, field.name), getattr(after, field.name)
        if isinstance(one, np.ndarray) and one.tobytes() != other.tobytes():
            raise BrokenError(f"the argument {field.name} was changed.")
