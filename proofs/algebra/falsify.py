"""Try to break a claim: search its hypothesis set for an instance whose quantity exceeds the bound.

The search knows nothing of a claim but what every claim has: instances (the witness, samples),
hypotheses that decide whether something is one, quantities and bounds.  From those instances it goes on by

- structure: arrays of zeros, of two levels, of rank one, with ties, with one entry that stands out; an array
  in the place of another, or opposite to it; scaled up and down; one key, one query;
- tightening: every number that a hypothesis compares is moved until the hypothesis only just holds;
- climbing: random steps, of all sizes, that raise quantity / bound.

Where fields hold what a program computed from the others they are computed again after each of these.

Floats choose where to look; enclosures decide.  The same seed and budget find the same; a limit on the
processor's time only ends the search earlier, and what was found says so.
"""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from multiprocessing.connection import Connection
from pickle import PicklingError as _PicklingError
from typing import Any

import numpy as np
import sympy

from proofs.evidence.audit import decide_bound, decide_trivial, lies_in, pays_less, strays
from reference import Verdict
from specs.claim import Bound, Claim

#: Fractional bits with which the search looks.
BITS = 192

#: Instances tried for each bound, unless more are asked for.
BUDGET = 400

#: Random instances that the search begins with, beside the witness.
SAMPLES = 6

#: Halvings with which a number is moved to the edge of a hypothesis.
HALVINGS = 24

#: Instances after which the search begins anew for the first time.
ROUND = 500

#: The shapes of which the best instances are kept to go on from, and how many of each.
ISLANDS, ALIKE = 12, 4

#: Numbers of an instance that are moved one after another before something else is tried.
COORDINATES = 6

#: No length and no count grows beyond, as what is counted may be done.
LARGEST_LENGTH, LARGEST_COUNT = 1 << 7, 1 << 20

#: A count may grow so far though nothing is better there.
SMALL_COUNT = 1 << 7

#: The part of the best quotient with which the way to a limit still goes on.
NEARLY = 0.98

#: No direction is followed farther.
FARTHEST = 2.0**12

#: What an instance may raise that is none: a shape that does not fit, a quotient by zero, an undecided sign.
NO_INSTANCE = (
    ArithmeticError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    NotImplementedError,
    np.linalg.LinAlgError,
    RuntimeError,
    MemoryError,
)

#: Binary digits of a fraction that is tried: exact arithmetic with more takes long, and shows no more.
DIGITS = 14


@dataclass(frozen=True, kw_only=True)
class Find:
    """What the search found about one bound of a claim.

    Attributes
    ----------
    claim, bound
        Whose it is.
    broken
        Whether enclosures decide that the quantity exceeds the bound on ``instance``.
    sharpness
        The largest quantity / bound that was seen.
    instance
        Where; ``None`` if nothing was, or if the process that found it could not hand it over.
    shown
        The instance as a sentence would hold it, its arrays as exact decimals.
    spent
        How many instances were looked at.
    tried
        How many of them satisfied the hypotheses.
    trivial
        How many of these the cheapest answer meets the bound on.
    misplaced
        An instance on which it does so outside the bound's ``vacuous_where``, or does not inside: which, and
        the instance.  Empty if there was none.
    cheaper
        On how many of these the claim's rival pays less; ``None`` if the claim has no rival.
    stopped
        Whether the processor's time ran out before the budget did.
    """

    claim: str
    bound: str
    broken: bool
    sharpness: float
    instance: Any
    shown: str
    spent: int
    tried: int
    trivial: int
    misplaced: str
    cheaper: int | None
    stopped: bool = False


def falsify(
    claim: Claim[Any],
    *,
    seed: int = 0,
    budget: int = BUDGET,
    seconds: float | None = None,
    witness: bool = True,
    enough: float = math.inf,
) -> tuple[Find, ...]:
    """Search for an instance that breaks a claim, each bound in turn.

    Parameters
    ----------
    claim
        The claim.
    seed
        Of the random numbers.
    budget
        How many instances to evaluate for each bound.
    seconds
        Of the processor for each bound, in a process of its own that is ended then; ``None``: in this
        process, for as long as it takes.
    witness
        Whether to begin with the claim's witness, too, and not with samples alone.
    enough
        The quantity / bound at which the search ends, as it is what was looked for.

    Returns
    -------
    tuple of Find
        One a bound, in order.

    Raises
    ------
    ValueError
        If ``budget`` is less than 1, ``seed`` less than 0, or ``seconds`` is not a number above 0.
    """
    if budget < 1:
        raise ValueError(f"budget must be at least 1, got {budget}.")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}.")
    if seconds is not None and not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a number above 0, got {seconds:g}.")
    searches = [_Search(claim, bound, seed, budget, witness, enough) for bound in claim.bounds]
    return tuple(s.run() if seconds is None else _within(s, seconds) for s in searches)


def _within(search: _Search, seconds: float) -> Find:
    """Run a search in a process that ends when it has used that much of the processor."""
    # A claim is made of functions without a name, which only a copy of this process has.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_apart, args=(search, sender, seconds), daemon=True)
    process.start()
    sender.close()
    found = search.found()
    try:
        while True:
            found = receiver.recv()
    except EOFError:
        pass
    finally:
        process.kill()
        process.join()
    return found


def _run_apart(search: _Search, sender: Connection, seconds: float) -> None:
    """Run a search, and send what is found whenever it changes."""

    def send(found: Find) -> None:
        try:
            sender.send(found)
        except (AttributeError, TypeError, ValueError, OSError, _PicklingError):
            sender.send(dataclasses.replace(found, instance=None))

    # The default of this signal ends the process, whatever it is in the middle of.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    search.tell = lambda found: send(dataclasses.replace(found, stopped=True))
    found = search.run()
    signal.setitimer(signal.ITIMER_PROF, 0)
    send(found)


class _Search:
    """A search for one bound: what has been tried, and the best so far."""

    def __init__(
        self,
        claim: Claim[Any],
        bound: Bound[Any],
        seed: int,
        budget: int,
        witness: bool,
        enough: float,
    ) -> None:
        self.claim, self.bound, self.budget = claim, bound, budget
        self.witness, self.enough = witness, enough
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.tried = self.trivial = self.spent = 0
        self.longest = self.most = 0
        self.islands: dict[Any, list[tuple[float, Any]]] = {}
        self.best: tuple[float, Any] | None = None
        self.sizes: dict[Any, float] = {}
        self.looked_at: set[Any] = set()
        self.last = -1.0
        self.broken: Any = None
        self.misplaced = ""
        self.cheaper = None if claim.rival is None else 0
        self.tell: Callable[[Find], None] = lambda found: None

    def run(self) -> Find:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._search()
        return self.found()

    def found(self) -> Find:
        sharpness, instance = self.best or (0.0, None)
        where = instance if self.broken is None else self.broken
        return Find(
            claim=self.claim.id,
            bound=self.bound.name,
            broken=self.broken is not None,
            sharpness=sharpness,
            instance=where,
            shown=written(where),
            spent=self.spent,
            tried=self.tried,
            trivial=self.trivial,
            misplaced=self.misplaced,
            cheaper=self.cheaper,
        )

    def _search(self) -> None:
        # What no step leads out of, another beginning avoids: each has twice as many instances as the last.
        samples = np.random.default_rng([1, self.seed])
        end = ROUND
        while not self._done():
            self._begin(samples, min(end, self.budget))
            end = 3 * end

    def _begin(self, samples: np.random.Generator, end: int) -> None:
        """Search from new samples until so many instances were looked at."""
        # Cold: extremal instances are what the search has to find by itself.
        seeds = [self.claim.sample(samples) for _ in range(SAMPLES)]
        if self.witness:
            seeds.insert(0, self.claim.witness())
        self.islands, self.sizes, self.looked_at = {}, {}, set()
        self.longest = max(largest_length(instance) for instance in seeds) + 2
        most = 2 * max(largest_count(instance) for instance in seeds) + 4
        self.most = max(most, SMALL_COUNT)
        for instance in seeds:
            self._consider(instance)
        # The first, with each structure once; then any instance, with any structure or step.
        begun = self.spent
        for structure in structures(seeds[0], self.rng):
            if 3 * (self.spent - begun) > end - begun or self._done():
                break
            self._consider(self._settled(structure()))
        idle = 0
        while self.spent < end and not self._done() and idle < 10 * self.budget:
            # What becomes no instance costs nothing, but the search has to end.
            spent = self.spent
            self._move(seeds)
            idle += self.spent == spent
        self.spent = max(self.spent, end) if idle >= 10 * self.budget else self.spent

    def _move(self, seeds: Sequence[Any]) -> None:
        """Give one of the best few some structure, or go from it: by steps, coordinates, limits or edges."""
        base = self._base(seeds)
        kind = self.rng.random()
        if kind < 0.05:
            self._consider(self._settled(crossed(base, self._base(seeds), self.rng)))
        elif kind < 0.3:
            made = structure_of(base, self.rng)
            if made is not None and self.rng.random() < 0.3:
                made = structure_of(made, self.rng)
            self._consider(self._settled(made))
        elif kind < 0.55:
            size = 2.0 ** self.rng.uniform(-2 - 20 * self.spent / self.budget, 1)
            moved = self._settled(stepped(base, self.rng, size))
            while self._consider(moved):
                # What raised the quotient may do so again.
                base, moved = moved, self._settled(extrapolated(base, moved))
        elif kind < 0.7:
            self._by_coordinates(base)
        elif kind < 0.85:
            self._to_a_limit(base)
        else:
            self._to_an_edge(base)

    def _base(self, seeds: Sequence[Any]) -> Any:
        """Choose what to go on from: the best, or the best of a shape that may yet become so."""
        fresh = self.rng.random()
        if not self.islands or fresh < 0.03:
            return seeds[int(self.rng.integers(len(seeds)))]
        if fresh < 0.06:
            return self.claim.sample(self.rng)
        ranked = sorted(self.islands.values(), key=lambda kept: -kept[0][0])
        rank = int(
            self.rng.integers(len(ranked)) if self.rng.random() < 0.3 else self.rng.exponential()
        )
        kept = ranked[min(rank, len(ranked) - 1)]
        return kept[min(int(self.rng.exponential(0.7)), len(kept) - 1)][1]

    def _by_coordinates(self, base: Any) -> None:
        """Move some numbers, one after another, each by a step that has lately led somewhere."""
        places = coordinates(base)
        if not places:
            return
        for chosen in self.rng.permutation(len(places))[:COORDINATES]:
            place = places[int(chosen)]
            size = self.sizes.get(place, 0.5)
            for way in (size, -size) if self.rng.random() < 0.5 else (-size, size):
                moved = self._settled(nudged(base, place, way))
                if self._consider(moved):
                    base = moved
                    size *= 4
                    break
            self.sizes[place] = min(max(size / 2, 2.0**-30), 64.0)

    def _to_a_limit(self, base: Any) -> None:
        """Change an instance by a factor, by its square and so on, while that helps or does little harm."""
        ways = scalings(base, self.rng)
        if not ways:
            return
        way = ways[int(self.rng.integers(len(ways)))]
        power = 1.0 if self.rng.random() < 0.5 else -1.0
        moved = self._settled(way(base, 2.0**power))
        while abs(power) <= 64 and (self._consider(moved) or self._is_near_the_best()):
            power *= 2
            base, moved = moved, self._settled(way(moved, 2.0**power))

    def _to_an_edge(self, base: Any) -> None:
        """Go in a direction for as far as the hypotheses hold: the worst is seldom inside."""
        direction = directed(base, self.rng)
        if direction is None:
            return
        # What a number bounds may go farther if the number does.
        free = bool(self.rng.random() < 0.5)
        nearest, farthest = 0.0, 2.0**-4
        while self._holds(direction(farthest), free):
            nearest, farthest = farthest, 4 * farthest
            if farthest > FARTHEST:
                break
        for _ in range(HALVINGS // 2 if farthest <= FARTHEST else 0):
            middle = (nearest + farthest) / 2
            if self._holds(direction(middle), free):
                nearest = middle
            else:
                farthest = middle
        if nearest:
            self._consider(self._settled(direction(nearest)))

    def _is_near_the_best(self) -> bool:
        return self.best is not None and self.last > NEARLY * self.best[0]

    def _holds(self, instance: Any, free: bool) -> bool:
        instance = self._settled(instance)
        if instance is not None and free:
            tightened = self._tightened(instance)
            instance = instance if tightened is None else tightened
        return instance is not None and self._is_one(instance)

    def _settled(self, instance: Any) -> Any:
        """Compute again what a program computed from the other fields."""
        if instance is None or self.claim.recomputed is None:
            return instance
        try:
            return self.claim.recomputed(instance)
        except NO_INSTANCE:
            return None

    def _done(self) -> bool:
        reached = self.best is not None and self.best[0] >= self.enough
        return self.spent >= self.budget or self.broken is not None or reached

    def _consider(self, instance: Any) -> bool:
        """Evaluate an instance with its numbers tightened, and return whether it is the best so far."""
        self.last = -1.0
        if instance is None or self._done():
            return False
        length, count = largest_length(instance), largest_count(instance)
        if length > self.longest or count > self.most or self._seen(instance):
            return False
        tightened = self._tightened(instance)
        best = self.best
        improved = self._evaluate(instance if tightened is None else tightened)
        if self.best is not best:
            # What is best at the largest size that may be may be better still beyond.
            if length >= self.longest - 1:
                self.longest = max(self.longest, min(2 * length, LARGEST_LENGTH))
            if count >= self.most // 2:
                self.most = max(self.most, min(4 * count, LARGEST_COUNT))
        return improved

    def _seen(self, instance: Any) -> bool:
        """Return whether an instance of nothing but counts and words was looked at before."""
        held = [_held(instance, name) for name in _fields(instance)]
        if not all(isinstance(value, int | str | None) for value in held):
            return False
        key = (*_fields(instance), *held)
        seen = key in self.looked_at
        self.looked_at.add(key)
        return seen

    def _evaluate(self, instance: Any) -> bool:
        """Evaluate an instance, and return whether it is the best so far, or of a shape seen before."""
        self.spent += 1
        if not self._is_one(instance):
            return False
        try:
            quantity = self.bound.quantity(instance, BITS)
            value = self.bound.value(instance, BITS)
            low, most = quantity.bounds()[0].item(), value.bounds()[1].item()
            ratio = _quotient(Fraction(low), Fraction(most))
            if self.bound.expression == 0:
                # Of 0 nothing is a part: how near it is only says where to look.
                ratio = float(quantity.contains(0)) or 0.99 / (1 + abs(float(low)))
            if ratio > 1 - 1e-9 and decide_bound(self.bound, instance) is Verdict.OUTSIDE:
                self.broken = instance
            self._place(instance)
        except NO_INSTANCE:
            return False
        self.tried += 1
        self.last = ratio
        improved = self._keep(ratio, instance)
        self.tell(self.found())
        return improved

    def _keep(self, ratio: float, instance: Any) -> bool:
        """Keep the best of each shape: what is better at last may be of another than what is at first."""
        shape = shape_of(instance)
        kept = self.islands.get(shape, [])
        best = self.best is None or ratio > self.best[0]
        improved = best or (bool(kept) and ratio > kept[0][0])
        if best:
            self.best = (ratio, instance)
        self.islands[shape] = sorted([*kept, (ratio, instance)], key=lambda b: -b[0])[:ALIKE]
        if len(self.islands) > ISLANDS:
            del self.islands[min(self.islands, key=lambda one: self.islands[one][0][0])]
        return improved

    def _place(self, instance: Any) -> None:
        """Note where the cheapest answer meets the bound, and whether the rival pays less there."""
        met = decide_trivial(self.bound, instance) is not Verdict.OUTSIDE
        where = self.bound.vacuous_where
        if where != sympy.false and not self.misplaced:
            inside = lies_in(where, self.bound.parameters, instance)
            if met != inside:
                self.misplaced = (
                    f"{'met' if met else 'not met'} {'where' if inside else 'though not'} "
                    f"{sympy.sstr(where)}, at {written(instance)}"
                )
        if self.claim.rival is not None and self.cheaper is not None:
            self.cheaper += pays_less(self.claim.rival, instance)
        self.trivial += met

    def _is_one(self, instance: Any) -> bool:
        try:
            return not self.claim.broken_hypotheses(instance) and not strays(
                self.bound, self.bound.parameters(instance, BITS)
            )
        except NO_INSTANCE:
            return False

    def _tightened(self, instance: Any) -> Any:
        """Move every fraction to where the hypotheses only just hold, towards the smaller bound."""
        found = None
        for field in _fields(instance):
            value = _held(instance, field)
            if not isinstance(value, Fraction) or (
                "." in field and isinstance(_held(instance, field.rpartition(".")[0]), tuple)
            ):
                continue
            base = instance if found is None else found
            # Which way lowers the bound is not known: both ways are, if both are possible, tried in turn.
            target = Fraction(0) if self.rng.random() < 0.8 else 2 * value + 1
            moved = self._edge(base, field, value, target)
            found = base if moved is None else moved
        return found

    def _edge(self, instance: Any, field: str, inside: Fraction, outside: Fraction) -> Any:
        def at(value: Fraction) -> Any:
            return self._settled(_replaced(instance, {field: value}))

        def holds(value: Fraction) -> bool:
            candidate = at(value)
            return candidate is not None and self._is_one(candidate)

        if not holds(inside):
            # The number has to grow until the hypothesis holds at all.
            for _ in range(12):
                inside = _short(2 * inside + Fraction(1, 1024))
                if holds(inside):
                    break
            else:
                return None
        else:
            # Most have been moved before: the edge is near.
            near = _short(inside + (outside - inside) / (1 << 12))
            if near == inside or not holds(near):
                return at(inside)
        if holds(outside):
            return at(outside)
        for _ in range(HALVINGS):
            middle = _short((inside + outside) / 2)
            if middle in (inside, outside):
                break
            if holds(middle):
                inside = middle
            else:
                outside = middle
        # An edge is more often 1/3 than a number beside it.
        simplest = _simplest(min(inside, outside), max(inside, outside))
        return at(simplest if simplest != outside and holds(simplest) else inside)


def _short(value: Fraction) -> Fraction:
    """Round to a fraction with few binary digits, if it has a long denominator."""
    if value.denominator < 1 << DIGITS:
        return value
    shift = DIGITS - value.numerator.bit_length() + value.denominator.bit_length()
    return Fraction(round(value * Fraction(2) ** shift)) / Fraction(2) ** shift


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """Return the fraction with the least denominator from low to high, both included."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    below = math.floor(low)
    return below + 1 / _simplest(1 / (high - below), 1 / (low - below))


def written(instance: Any) -> str:
    """Return an instance in one line, with every digit of its numbers."""
    with np.printoptions(floatmode="unique", threshold=64, linewidth=10**6):
        return " ".join(repr(instance).split())


def _quotient(low: Fraction, most: Fraction) -> float:
    if most <= 0:
        return math.inf if low > 0 else 0.0
    ratio = low / most
    return float(ratio) if ratio < 10**300 else math.inf


def largest_length(instance: Any) -> int:
    """Return the largest length in an instance: what its evaluation costs grows with it, it may be fast."""
    held = [_held(instance, name) for name in _fields(instance)]
    arrays = [n for v in held if isinstance(v, np.ndarray) for n in v.shape]
    return max([*arrays, *(len(_held(instance, name)) for name in _tuples(instance))], default=0)


def largest_count(instance: Any) -> int:
    """Return the largest count in an instance."""
    held = [_held(instance, name) for name in _fields(instance)]
    return max((abs(v) for v in held if isinstance(v, int)), default=0)


def _fields(instance: Any) -> list[str]:
    """Return the fields of an instance, of records inside it, and the places of tuples, by their paths."""
    found = []
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if not field.init:
            continue
        if dataclasses.is_dataclass(value):
            found += [f"{field.name}.{inner}" for inner in _fields(value)]
        elif isinstance(value, tuple):
            found += [f"{field.name}.{place}" for place in range(len(value))]
        else:
            found.append(field.name)
    return found


def _held(instance: Any, path: str) -> Any:
    """Return what stands at a path, None where the path leads nowhere."""
    for part in path.split("."):
        if isinstance(instance, tuple):
            instance = instance[int(part)] if int(part) < len(instance) else None
        else:
            instance = getattr(instance, part, None)
    return instance


def _replaced(instance: Any, fields: Mapping[str, Any]) -> Any:
    """Return an instance with other values at some paths, None if that is none."""
    try:
        for path, value in fields.items():
            if isinstance(value, np.ndarray) and isinstance(old := _held(instance, path), tuple):
                value = _as_tuple(value, old)
            instance = _put(instance, path, _short(value) if isinstance(value, Fraction) else value)
        return instance
    except NO_INSTANCE:
        return None


def _put(instance: Any, path: str, value: Any) -> Any:
    first, _, rest = path.partition(".")
    if isinstance(instance, tuple):
        place = int(first)
        inner = _put(instance[place], rest, value) if rest else value
        parts = (*instance[:place], inner, *instance[place + 1 :])
        make = getattr(type(instance), "_make", tuple)  # a named tuple stays one
        return make(parts)
    inner = _put(getattr(instance, first), rest, value) if rest else value
    return dataclasses.replace(instance, **{first: inner})


def _arrays(instance: Any, kinds: str = "f") -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of an instance by their paths, tuples of numbers among them."""
    held = {name: _held(instance, name) for name in _fields(instance)}
    found = {name: value for name, value in held.items() if isinstance(value, np.ndarray)}
    for name in _tuples(instance):
        if not any(name.startswith(f"{seen}.") for seen in found):
            view = _as_array(_held(instance, name))
            if view is not None:
                found[name] = view
    return {name: a for name, a in found.items() if a.dtype.kind in kinds and a.size}


def _array_at(instance: Any, name: str) -> Any:
    """Return the array at a path, that of a tuple's numbers too; None where there is none."""
    value = _held(instance, name)
    return _as_array(value) if isinstance(value, tuple) else value


def _as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return the numbers of a tuple, or of tuples of one length, as an array; None of anything else."""
    if type(value) is not tuple or not value:
        return None
    if all(type(part) is tuple for part in value):
        inner = [_as_array(part) for part in value]
        shapes = {None if one is None else (one.shape, one.dtype) for one in inner}
        return None if None in shapes or len(shapes) > 1 else np.array(inner)
    if all(isinstance(part, bool) for part in value):
        return np.array(value)
    if all(type(part) is int for part in value):
        return np.array(value) if max(map(abs, value)) < 1 << 62 else None
    if all(isinstance(part, Fraction | float | int) for part in value):
        try:
            return np.array([float(part) for part in value])
        except OverflowError:
            return None
    return None


def _as_tuple(array: np.ndarray[Any, Any], like: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an array as a tuple of the kind of another, whose numbers stay where they are the same."""
    first = like[0]
    if type(first) is tuple:
        return tuple(_as_tuple(row, like[k % len(like)]) for k, row in enumerate(array))
    if isinstance(first, bool):
        return tuple(map(bool, array))
    if all(type(part) is int for part in like):
        return tuple(map(int, array))
    if isinstance(first, float):
        return tuple(map(float, array))
    olds = [like[k] if k < len(like) else None for k in range(len(array))]
    return tuple(
        old if old is not None and float(old) == number else _as_fraction(float(number))
        for old, number in zip(olds, array, strict=True)
    )


def _as_fraction(number: float) -> Fraction:
    simple = Fraction(number).limit_denominator(1 << 10)
    return simple if float(simple) == number else _short(Fraction(number))


# ------------------------------------------------------------------------------- structure

Shaper = Callable[[np.ndarray[Any, Any], np.random.Generator], np.ndarray[Any, Any]]


def _spiked(array: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    found = np.zeros_like(array)
    found.flat[rng.integers(array.size)] = np.abs(array).max() or 1
    return found


def _two_levels(array: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    return np.asarray(np.where(rng.random(array.shape) < rng.random(), array.max(), array.min()))


def _rank_one(array: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if array.ndim < 2:
        return np.full_like(array, array.flat[0])
    return np.asarray(array[..., :1] * array[..., :1, :])


def _one_high(array: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """All at the least but one at the largest."""
    found = np.full_like(array, array.min())
    found.flat[rng.integers(array.size)] = array.max()
    return found


SHAPERS: tuple[Shaper, ...] = (
    lambda a, rng: np.zeros_like(a),
    lambda a, rng: np.ones_like(a),
    lambda a, rng: -a,
    lambda a, rng: np.broadcast_to(a[:1], a.shape).copy(),
    lambda a, rng: np.sign(a) * np.abs(a).max(),
    lambda a, rng: a * np.where(np.arange(a.shape[-1]) % 2, -1, 1).astype(a.dtype),
    _spiked,
    _one_high,
    lambda a, rng: -_one_high(-a, rng),
    _two_levels,
    _rank_one,
    lambda a, rng: rng.permuted(a),
    lambda a, rng: a * a.dtype.type(2.0),
    lambda a, rng: a * a.dtype.type(0.5),
    lambda a, rng: a * a.dtype.type(2.0**8),
    lambda a, rng: a * a.dtype.type(2.0**-8),
    lambda a, rng: a * a.dtype.type(2.0**-40),
    lambda a, rng: np.round(a),
)


def structures(instance: Any, rng: np.random.Generator) -> list[Callable[[], Any]]:
    """Return what makes relatives of an instance, with more structure than chance would give them."""
    return [*_other_shapes(instance, rng), *_other_arrays(instance, rng)]


def structure_of(instance: Any, rng: np.random.Generator) -> Any:
    """Return an instance with some structure: of another shape as often as of other numbers."""
    kinds = [_other_shapes(instance, rng), _other_arrays(instance, rng)]
    kinds = [kind for kind in kinds if kind]
    if not kinds:
        return None
    made = kinds[int(rng.integers(len(kinds)))]
    return made[int(rng.integers(len(made)))]()


def _other_shapes(instance: Any, rng: np.random.Generator) -> list[Callable[[], Any]]:
    """Return what changes lengths, counts and numbers outside arrays, or splits all arrays alike."""
    arrays = _arrays(instance)
    found: list[Callable[[], Any]] = []

    def add(function: Callable[..., Any], *arguments: Any) -> None:
        found.append(partial(function, *arguments))

    every = _arrays(instance, kinds="fiubO")
    for size in sorted({length for a in every.values() for length in a.shape}):
        for wanted in sorted({1, 2, size - 1, size + 1, size // 2, 2 * size} - {0, size}):
            add(_resized, instance, every, size, wanted)
            for counts in _counts_beside(instance, size, wanted):
                add(_resized_beside, instance, every, size, wanted, counts)
        if size > 1:
            add(_split_alike, instance, arrays, size, rng)
    for name in _fields(instance):
        for number in _other_numbers(_held(instance, name)):
            add(lambda n, x: _replaced(instance, {n: x}), name, number)
    for name in _tuples(instance):
        for parts in _other_tuples(_held(instance, name), rng):
            add(lambda n, x: _replaced(instance, {n: x}), name, parts)
    return found


def _other_arrays(instance: Any, rng: np.random.Generator) -> list[Callable[[], Any]]:
    """Return what gives structure to all arrays, to one, or to how one differs from another."""
    arrays = _arrays(instance)
    found: list[Callable[[], Any]] = []

    def add(function: Callable[..., Any], *arguments: Any) -> None:
        found.append(partial(function, *arguments))

    def put(name: str, make: Callable[[], Any]) -> Any:
        return _replaced(instance, {name: make()})

    for shaper in SHAPERS if arrays else ():
        add(lambda s: _replaced(instance, {k: s(a, rng) for k, a in arrays.items()}), shaper)
    for name, array in arrays.items():
        for shaper in SHAPERS:
            add(put, name, partial(shaper, array, rng))
        for other, twin in arrays.items():
            if other != name and twin.shape == array.shape and twin.dtype == array.dtype:
                add(put, name, twin.copy)
                add(put, name, partial(np.negative, twin))
                for shaper in SHAPERS:
                    add(put, name, partial(_apart, twin, array, shaper, rng))
                    if (array > 0).all() and (twin > 0).all():
                        add(put, name, partial(_in_proportion, twin, array, shaper, rng))
    return found


def _apart(
    twin: np.ndarray[Any, Any],
    array: np.ndarray[Any, Any],
    shaper: Shaper,
    rng: np.random.Generator,
) -> np.ndarray[Any, Any]:
    """Give structure to the difference of two arrays."""
    return np.asarray(twin + shaper(array - twin, rng))


def _in_proportion(
    twin: np.ndarray[Any, Any],
    array: np.ndarray[Any, Any],
    shaper: Shaper,
    rng: np.random.Generator,
) -> np.ndarray[Any, Any]:
    """Give structure to the quotient of two positive arrays."""
    return np.asarray(twin * (1 + shaper(array / twin - 1, rng)))


def _split_alike(
    instance: Any,
    arrays: dict[str, np.ndarray[Any, Any]],
    size: int,
    rng: np.random.Generator,
) -> Any:
    """Give arrays two levels along one axis, split in the same place."""
    first = rng.permutation(size) < rng.integers(1, size + 1)
    changed = {}
    for name, array in arrays.items():
        axes = [axis for axis, length in enumerate(array.shape) if length == size]
        if not axes or rng.random() < 0.3:
            continue
        axis = axes[int(rng.integers(len(axes)))]
        shape = [1] * array.ndim
        shape[axis] = size
        chosen = first if rng.random() < 0.5 else ~first
        if rng.random() < 0.4:  # each entry's row at one of two of those that there are
            rows = np.where(chosen, *rng.integers(size, size=2))
            changed[name] = np.take(array, rows, axis=axis)
            continue
        twins = [k for k, a in arrays.items() if k != name and a.shape == array.shape]
        if twins and rng.random() < 0.4:  # two levels beside another array
            beside = twins[int(rng.integers(len(twins)))]
            twin = changed.get(beside, arrays[beside])
            mask = chosen.reshape([size if k == axis else 1 for k in range(array.ndim)])
            if (array > 0).all() and (twin > 0).all():
                shares = array / twin
                changed[name] = twin * np.where(mask, shares.max(), shares.min())
            else:
                apart = array - twin
                changed[name] = twin + np.where(mask, apart.max(), apart.min())
            continue
        high, low = array.max(), array.min()
        if rng.random() < 0.5:
            high, low = np.abs(array).max(), -np.abs(array).max()
        levels = np.where(chosen, high, low).reshape(shape)
        changed[name] = np.broadcast_to(levels, array.shape).astype(array.dtype)
    return _replaced(instance, changed) if changed else None


def _resized(instance: Any, arrays: dict[str, np.ndarray[Any, Any]], size: int, wanted: int) -> Any:
    """Give every axis of one length another, by leaving out or repeating entries."""
    picked = np.arange(wanted) % size
    changed = {}
    for name, array in arrays.items():
        for axis, length in enumerate(array.shape):
            if length == size:
                array = np.take(array, picked, axis=axis)
        changed[name] = array
    return _replaced(instance, changed)


def _counts_beside(instance: Any, size: int, wanted: int) -> list[dict[str, int]]:
    """Return counts that may belong to arrays of another length: that length, or one more or less."""
    held = {name: _held(instance, name) for name in _fields(instance)}
    counts = {name: v for name, v in held.items() if type(v) is int}
    found = [{name: wanted} for name, v in counts.items() if v == size]
    step = 1 if wanted > size else -1
    found += [{name: v + step} for name, v in counts.items() if v + step >= 0]
    return found


def _resized_beside(
    instance: Any,
    arrays: dict[str, np.ndarray[Any, Any]],
    size: int,
    wanted: int,
    counts: Mapping[str, int],
) -> Any:
    resized = _resized(instance, arrays, size, wanted)
    return None if resized is None else _replaced(resized, counts)


def _other_numbers(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return sorted({0, 1, 2, value - 1, value + 1, 2 * value} - {value})
    if isinstance(value, float | np.floating):
        return [type(value)(value * factor) for factor in (-1, 0.5, 0, 2.0**-20, 3, 64)]
    if isinstance(value, Fraction):
        return [value * Fraction(share) for share in (0, 0.5, 2**-10, 2, 64)]
    return []


def _tuples(instance: Any) -> list[str]:
    """Return the paths of all tuples of an instance that are not empty, inner ones included."""
    within = {path.rpartition(".")[0] for path in _fields(instance)}
    every = [path for path in sorted({*within, *_fields(instance)}) if path]
    return [
        path for path in every if type(_held(instance, path)) is tuple and _held(instance, path)
    ]


def _other_tuples(value: tuple[Any, ...], rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """Leave out a part, repeat one, exchange two, or put what two hold into one."""
    first, second = (int(place) for place in rng.integers(len(value), size=2))
    found = [value[:first] + value[first + 1 :], (*value, value[first]), value + value, value[::-1]]
    if first != second:
        swapped = list(value)
        swapped[first], swapped[second] = value[second], value[first]
        found.append(tuple(swapped))
        if type(value[first]) is type(value[second]) is tuple:
            united = tuple(dict.fromkeys(value[first] + value[second]))
            united = tuple(sorted(united)) if all(isinstance(x, int) for x in united) else united
            rest = [part for place, part in enumerate(value) if place not in (first, second)]
            found += [
                (united, *rest),
                tuple(united if k == first else x for k, x in enumerate(value)),
            ]
    return found


# --------------------------------------------------------------------------------- climbing


def crossed(instance: Any, other: Any, rng: np.random.Generator) -> Any:
    """Put some fields of one instance into another."""
    names = [
        name
        for name in _fields(instance)
        if type(_held(other, name)) is type(_held(instance, name))
    ]
    chosen = [name for name in names if rng.random() < 0.3]
    return _replaced(instance, {name: _held(other, name) for name in chosen}) if chosen else None


def stepped(instance: Any, rng: np.random.Generator, size: float) -> Any:
    """Move one field, or all arrays, by a random step of that relative size."""
    arrays = _arrays(instance)
    movable = [*arrays] + [
        name
        for name in _fields(instance)
        if name not in arrays
        and isinstance(_held(instance, name), Fraction | int | float | np.floating)
    ]
    if not movable:
        return None
    chosen: Sequence[str] = [str(rng.choice(movable))]
    if rng.random() < 0.2:
        chosen = [*arrays] or chosen
    if arrays and rng.random() < 0.25:
        return _moved_together(instance, arrays, rng, size)
    changed: dict[str, Any] = {}
    for name in chosen:
        value = _held(instance, name)
        if name in arrays:
            changed[name] = _stepped_array(arrays[name], rng, size)
        elif isinstance(value, bool):
            changed[name] = not value
        elif isinstance(value, int):
            changed[name] = max(0, value + int(rng.choice([-2, -1, 1, 2])))
        elif isinstance(value, Fraction):
            changed[name] = value * Fraction(1 + size * float(rng.uniform(-0.5, 0.5)))
        else:
            changed[name] = type(value)(value * (1 + size * float(rng.uniform(-0.5, 0.5))))
    return _replaced(instance, changed)


Place = tuple[str, int]


def coordinates(instance: Any) -> list[Place]:
    """Return the places of all numbers of an instance: a path, and which entry of the array there.

    Paths of several arrays, joined by bars, stand for the same entry of each.
    """
    places: list[Place] = []
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, array in _arrays(instance).items():
        alike.setdefault(array.shape, []).append(name)
    for shape, names in alike.items():
        if len(names) > 1:
            places += [("|".join(names), k) for k in range(math.prod(shape))]
    every = _arrays(instance, "fiu")
    for name, array in every.items():
        places += [(name, k) for k in range(array.size)]
    for name in _fields(instance):
        value = _held(instance, name)
        if name in every or any(name.startswith(f"{seen}.") for seen in every):
            continue
        if isinstance(value, Fraction | int | float | np.floating) and not isinstance(value, bool):
            places.append((name, -1))
    return places


def nudged(instance: Any, place: Place, size: float) -> Any:
    """Move one number by that share of itself, or of the largest beside it where it is 0."""
    name, entry = place
    if "|" in name:
        for one in name.split("|"):
            instance = None if instance is None else nudged(instance, (one, entry), size)
        return instance
    value = _array_at(instance, name)
    if entry < 0:
        return _replaced(instance, {name: _nudged_number(value, size, 1)})
    if not isinstance(value, np.ndarray) or entry >= value.size:
        return None
    changed = value.copy()
    beside = np.abs(value).max() or 1
    changed.flat[entry] = _nudged_number(value.flat[entry].item(), size, beside)
    return _replaced(instance, {name: changed})


def _nudged_number(value: Any, size: float, beside: Any) -> Any:
    if isinstance(value, int):
        return value + int(math.copysign(max(1, round(abs(size * value) / 2)), size))
    if isinstance(value, Fraction):
        return value * Fraction(math.exp(size)) if value else Fraction(size)
    return type(value)(value * math.exp(size) if value else beside * size)


def scalings(instance: Any, rng: np.random.Generator) -> list[Callable[[Any, float], Any]]:
    """Return what changes an instance by a factor: a number, an array, distances in it, or its size."""
    arrays = _arrays(instance)
    ways: list[Callable[[Any, float], Any]] = []
    for name in _fields(instance):
        value = _held(instance, name)
        if isinstance(value, Fraction | int | float | np.floating) and not isinstance(value, bool):
            ways.append(partial(_scaled_number, name))
    sizes = sorted({n for a in _arrays(instance, "fiubO").values() for n in a.shape})
    for place in range(len(sizes)):
        ways.append(partial(_lengthened, place))
    if len(arrays) > 1:
        ways.append(partial(_scaled_arrays, (*arrays,)))
    for name, array in arrays.items():
        ways.append(partial(_scaled_arrays, (name,)))
        ways.append(partial(_spread, name))
        if array.size > 1:
            ways.append(partial(_scaled_part, name, rng.random(array.shape) < 0.5))
            one = np.arange(array.size).reshape(array.shape) == rng.integers(array.size)
            ways.append(partial(_scaled_part, name, one))
        for other, twin in arrays.items():
            if other != name and twin.shape == array.shape:
                ways.append(partial(_scaled_difference, name, other))
    return ways


def _scaled_number(name: str, instance: Any, factor: float) -> Any:
    value = _held(instance, name)
    if isinstance(value, int):
        scaled = round(value * factor)
        return _replaced(instance, {name: scaled}) if abs(scaled) < LARGEST_COUNT else None
    exact = Fraction(factor) if isinstance(value, Fraction) else factor
    return _replaced(instance, {name: type(value)(value * exact)})


def _scaled_arrays(names: Sequence[str], instance: Any, factor: float) -> Any:
    held = {name: _array_at(instance, name) for name in names}
    return _replaced(instance, {k: (a * factor).astype(a.dtype) for k, a in held.items()})


def _scaled_part(name: str, part: np.ndarray[Any, Any], instance: Any, factor: float) -> Any:
    array = _array_at(instance, name)
    return _replaced(instance, {name: np.where(part, array * factor, array).astype(array.dtype)})


def _spread(name: str, instance: Any, factor: float) -> Any:
    """Scale an array's distances from its first entry."""
    array = _array_at(instance, name)
    return _replaced(
        instance, {name: (array.flat[0] + (array - array.flat[0]) * factor).astype(array.dtype)}
    )


def _scaled_difference(name: str, other: str, instance: Any, factor: float) -> Any:
    array, twin = _array_at(instance, name), _array_at(instance, other)
    return _replaced(instance, {name: (twin + (array - twin) * factor).astype(array.dtype)})


def _lengthened(place: int, instance: Any, factor: float) -> Any:
    """Repeat what lies along every axis of one length, or leave it out."""
    arrays = _arrays(instance, "fiubO")
    sizes = sorted({length for array in arrays.values() for length in array.shape})
    if place >= len(sizes):
        return None
    wanted = round(sizes[place] * factor)
    if not 0 < wanted <= LARGEST_LENGTH:
        return None
    return _resized(instance, arrays, sizes[place], wanted)


def directed(instance: Any, rng: np.random.Generator) -> Callable[[float], Any] | None:
    """Return what goes from an instance in one direction: of one number, an array's, or twins' apart."""
    arrays = _arrays(instance)
    if not arrays:
        return None
    names = [*arrays]
    name = names[int(rng.integers(len(names)))]
    array = arrays[name]
    signs = np.where(rng.random(array.shape) < rng.choice([0.1, 0.5, 0.9]), 1.0, -1.0)
    if rng.random() < 0.4:
        only = np.arange(array.size).reshape(array.shape) == rng.integers(array.size)
        signs = np.where(only, signs, 0.0)
    sizes = np.abs(array) if rng.random() < 0.5 else np.full(array.shape, np.abs(array).max() or 1)
    start = array
    twins = [k for k, a in arrays.items() if k != name and a.shape == array.shape]
    if twins and rng.random() < 0.5:
        # Away from another array, by as much everywhere or in proportion.
        start = arrays[twins[int(rng.integers(len(twins)))]]
        sizes = np.abs(start) if rng.random() < 0.5 else np.ones(array.shape)

    def moved(far: float) -> Any:
        return _replaced(instance, {name: (start + far * signs * sizes).astype(array.dtype)})

    return moved


def shape_of(instance: Any) -> Any:
    """Return what of an instance no small step changes: lengths, counts, words."""
    held = [_held(instance, name) for name in _fields(instance)]
    return tuple(
        v.shape if isinstance(v, np.ndarray) else v if isinstance(v, int | str) else None
        for v in held
    )


def _moved_together(
    instance: Any, arrays: dict[str, np.ndarray[Any, Any]], rng: np.random.Generator, size: float
) -> Any:
    """Move all arrays of one shape alike, by a step or a factor: differences stay, or quotients."""
    shape = list(arrays.values())[int(rng.integers(len(arrays)))].shape
    step = rng.standard_normal(shape) * size * (rng.random(shape) < rng.choice([0.3, 1.0]))
    factor = bool(rng.random() < 0.5)
    return _replaced(
        instance,
        {
            name: (array * np.exp(step) if factor else array + step).astype(array.dtype)
            for name, array in arrays.items()
            if array.shape == shape
        },
    )


def extrapolated(before: Any, after: Any) -> Any:
    """Go from one instance to another, and as far again."""
    changed: dict[str, Any] = {}
    for name, new in _arrays(after).items():
        old = _array_at(before, name)
        if np.shape(old) == new.shape:
            changed[name] = new + (new - old)
    for name in _fields(after):
        old, new = _held(before, name), _held(after, name)
        if name in changed or any(name.startswith(f"{seen}.") for seen in changed):
            continue
        if isinstance(old, Fraction) and isinstance(new, Fraction):
            changed[name] = new + (new - old)
        elif isinstance(old, float) and isinstance(new, float):
            changed[name] = type(new)(new + (new - old))
    return _replaced(after, changed)


def _stepped_array(
    array: np.ndarray[Any, Any], rng: np.random.Generator, size: float
) -> np.ndarray[Any, Any]:
    scale = np.abs(array).max() or 1
    step = rng.standard_normal(array.shape) * size * scale
    kind = rng.random()
    if kind < 0.4:  # one entry
        step = np.where(
            np.arange(array.size).reshape(array.shape) == rng.integers(array.size), step, 0
        )
    elif kind < 0.5:  # a whole row
        keep = np.zeros(array.shape[0], dtype=bool)
        keep[rng.integers(len(keep))] = True
        step = np.where(keep.reshape(-1, *([1] * (array.ndim - 1))), step, 0)
    elif kind < 0.6:  # all by a factor
        step = array * (size * rng.uniform(-1, 1))
    return np.asarray(array + step.astype(array.dtype))
