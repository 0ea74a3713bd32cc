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
    claim: Claim[Any], *, seed: int = 0, budget: int = BUDGET, seconds: float | None = None
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
    searches = [_Search(claim, bound, seed, budget) for bound in claim.bounds]
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

    def __init__(self, claim: Claim[Any], bound: Bound[Any], seed: int, budget: int) -> None:
        self.claim, self.bound, self.budget = claim, bound, budget
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.tried = self.trivial = self.spent = 0
        self.best: list[tuple[float, Any]] = []
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
        sharpness, instance = self.best[0] if self.best else (0.0, None)
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
        # Cold: extremal instances are what the search has to find by itself.
        samples = np.random.default_rng([1, self.seed])
        seeds = [self.claim.witness(), *(self.claim.sample(samples) for _ in range(SAMPLES))]
        self.reach = 2 * max(largest_length(instance) for instance in seeds) + 4
        for instance in seeds:
            self._consider(instance)
        # The witness, with each structure once; then any instance, with any structure or step.
        for structure in structures(seeds[0], self.rng):
            if 3 * self.spent > self.budget or self._done():
                break
            self._consider(self._settled(structure()))
        idle = 0
        while not self._done() and idle < 10 * self.budget:
            # What becomes no instance costs nothing, but the search has to end.
            spent = self.spent
            self._move(seeds)
            idle += self.spent == spent

    def _move(self, seeds: Sequence[Any]) -> None:
        """Give one of the best few some structure, or step from it: at first far and then near."""
        if not self.best or self.rng.random() < 0.05:
            base = seeds[int(self.rng.integers(len(seeds)))]
        else:
            base = self.best[min(int(self.rng.exponential(1.5)), len(self.best) - 1)][1]
        if self.rng.random() < 0.4:
            relatives = structures(base, self.rng)
            if relatives:
                self._consider(self._settled(relatives[int(self.rng.integers(len(relatives)))]()))
            return
        size = 2.0 ** self.rng.uniform(-2 - 20 * self.spent / self.budget, 1)
        moved = self._settled(stepped(base, self.rng, size))
        while self._consider(moved):
            # What raised the quotient may do so again.
            base, moved = moved, self._settled(extrapolated(base, moved))

    def _settled(self, instance: Any) -> Any:
        """Compute again what a program computed from the other fields."""
        if instance is None or self.claim.recomputed is None:
            return instance
        try:
            return self.claim.recomputed(instance)
        except NO_INSTANCE:
            return None

    def _done(self) -> bool:
        return self.spent >= self.budget or self.broken is not None

    def _consider(self, instance: Any) -> bool:
        """Evaluate an instance with its numbers tightened, and return whether it is the best so far."""
        if instance is None or largest_length(instance) > self.reach or self._done():
            return False
        best = self.best[0][0] if self.best else -1.0
        tightened = self._tightened(instance)
        self._evaluate(instance if tightened is None else tightened)
        return bool(self.best) and self.best[0][0] > best

    def _evaluate(self, instance: Any) -> None:
        self.spent += 1
        if not self._is_one(instance):
            return
        try:
            quantity = self.bound.quantity(instance, BITS)
            value = self.bound.value(instance, BITS)
            low, most = quantity.bounds()[0].item(), value.bounds()[1].item()
            ratio = _quotient(Fraction(low), Fraction(most))
            if self.bound.expression == 0:
                ratio = float(quantity.contains(0))
            if ratio > 1 - 1e-9 and decide_bound(self.bound, instance) is Verdict.OUTSIDE:
                self.broken = instance
            self._place(instance)
        except NO_INSTANCE:
            return
        self.tried += 1
        self.best = sorted([*self.best, (ratio, instance)], key=lambda b: -b[0])[:8]
        self.tell(self.found())

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
    """Return the largest count or length in an instance: what its evaluation costs grows with it."""
    held = [_held(instance, name) for name in _fields(instance)]
    counts = [abs(v) for v in held if isinstance(v, int)]
    return max(
        [*counts, *(n for v in held if isinstance(v, np.ndarray) for n in v.shape)], default=0
    )


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
    held = {name: _held(instance, name) for name in _fields(instance)}
    return {
        name: value
        for name, value in held.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in kinds and value.size
    }


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
    arrays = _arrays(instance)
    found: list[Callable[[], Any]] = []

    def add(function: Callable[..., Any], *arguments: Any) -> None:
        found.append(partial(function, *arguments))

    def put(name: str, make: Callable[[], Any]) -> Any:
        return _replaced(instance, {name: make()})

    every = _arrays(instance, kinds="fiubO")
    for size in sorted({length for a in every.values() for length in a.shape}):
        for wanted in sorted({1, 2, size - 1, size + 1} - {0, size}):
            add(_resized, instance, every, size, wanted)
    for name in _fields(instance):
        for number in _other_numbers(_held(instance, name)):
            add(lambda n, x: _replaced(instance, {n: x}), name, number)
    for shaper in SHAPERS:
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


# --------------------------------------------------------------------------------- climbing


def stepped(instance: Any, rng: np.random.Generator, size: float) -> Any:
    """Move one field, or all arrays, by a random step of that relative size."""
    arrays = _arrays(instance)
    movable = [
        name
        for name in _fields(instance)
        if name in arrays or isinstance(_held(instance, name), Fraction | int | float | np.floating)
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
            changed[name] = _stepped_array(value, rng, size)
        elif isinstance(value, bool):
            changed[name] = not value
        elif isinstance(value, int):
            changed[name] = max(0, value + int(rng.choice([-2, -1, 1, 2])))
        elif isinstance(value, Fraction):
            changed[name] = value * Fraction(1 + size * float(rng.uniform(-0.5, 0.5)))
        else:
            changed[name] = type(value)(value * (1 + size * float(rng.uniform(-0.5, 0.5))))
    return _replaced(instance, changed)


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
    for name in _fields(after):
        old, new = _held(before, name), _held(after, name)
        if isinstance(new, np.ndarray):
            if new.dtype.kind == "f" and np.shape(old) == new.shape:
                changed[name] = new + (new - old)
        elif isinstance(old, Fraction) and isinstance(new, Fraction):
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
