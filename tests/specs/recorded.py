"""What every claim's evidence was when last looked at: ``python -m tests.specs.recorded`` writes it anew.

An audit is content with any evidence that supports a claim: a witness, samples or hypotheses that were
changed by mistake may do so as well.  ``recorded.json`` says what they are, in numbers that a reader can
compare: the values of quantity, bound and cheapest answer on instances, and which hypotheses break as one
number of an instance moves, on both sides of each edge and on it.  Read the difference before you commit it.
"""

import json
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal, InvalidOperation, localcontext
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import sympy

from reference import Enclosure
from specs import CLAIMS
from specs.claim import Bound, Claim

FILE = Path(__file__).parent / "recorded.json"

#: Bits at which values are enclosed, and the significant digits recorded of them.
BITS, DIGITS = 96, 9

#: Random instances of each claim whose values are recorded, and of those whose enclosures are dear.
SAMPLES = 2
DEAR = {"P4.descent": 0, "P4.conjugate": 1, "P3.certificate": 1, "P3.sketches": 1}

#: How many changes of instances are tried, and where hypotheses take long.
MOST = 60
FEWER = {"P4.algorithm": 0, "P3.certificate": 20, "P3.loewner": 20, "P3.goal": 40}

#: Seconds after which what breaks is not asked any further.
LONGEST = 0.05

#: The way to a number: names of fields, places in tuples, and in arrays, of as many dimensions.
Way = tuple[str | int | tuple[int, ...], ...]


def main() -> None:
    """Write what is so now."""
    warnings.simplefilter("error")
    signal.signal(signal.SIGVTALRM, _stop)
    found = {
        id_: {
            "declared": {b.name: declared(b) for b in claim.bounds},
            "values": {at: values(claim, at, i, those) for at, i, those in instances(claim)},
            "edges": [*edges(claim)],
        }
        for id_, claim in CLAIMS.items()
    }

    FILE.write_text(_printed(found) + "\n", encoding="utf-8")


def _printed(found: Any, depth: int = 3) -> str:
    """Return JSON with a line for every item that deep."""
    if depth == 0 or not found:
        return json.dumps(found, ensure_ascii=False)
    if isinstance(found, dict):
        items = [f"{json.dumps(k)}: {_printed(v, depth - 1)}" for k, v in found.items()]
        return "{\n" + ",\n".join(items) + "\n}"
    return "[\n" + ",\n".join(_printed(v, 0) for v in found) + "\n]"


# ----------------------------------------------------------------------------------------- values


def declared(bound: Bound[Any]) -> dict[str, str]:
    """Return what a bound says of itself, and no other file is printed from."""
    said = {a.name: str(held) for a, held in bound.domains.items()}
    for what, relation in (("provided", bound.provided), ("vacuous", bound.vacuous_where)):
        if relation not in (sympy.true, sympy.false):
            said[what] = sympy.sstr(relation)
    return said


def instances(claim: Claim[Any]) -> Iterator[tuple[str, Any, tuple[Bound[Any], ...]]]:
    """Yield instances, named, and the bounds whose values are recorded on them."""
    yield "witness", claim.witness(), claim.bounds
    for bound in claim.bounds:
        yield f"extremal {bound.name}", bound.extremal(), (bound,)
        for k, edge in enumerate(bound.edges()):
            yield f"edge {k} of {bound.name}", edge, (bound,)
    rng = np.random.default_rng(20)
    for k in range(DEAR.get(claim.id, SAMPLES)):
        yield f"sample {k}", claim.sample(rng), claim.bounds
    if claim.refutation is not None:
        for k, edge in enumerate(claim.refutation.edges()):
            yield f"edge {k} of the refutation", edge, claim.bounds


def values(
    claim: Claim[Any], name: str, instance: Any, bounds: tuple[Bound[Any], ...]
) -> dict[str, list[str]]:
    """Return the digits of bound, cheapest answer and quantity on an instance.

    What rounding did on a sample is not recorded: another machine rounds another way.
    """
    machine = claim.id.startswith("FP.") and name.startswith("sample")
    found = {}
    for b in bounds:
        enclosed = (b.value, b.trivial) if machine else (b.value, b.trivial, b.quantity)
        found[b.name] = [digits(of(instance, BITS)) for of in enclosed]
    if claim.rival is not None:
        for thing, prices in claim.rival.figures(instance, BITS).items():
            found[f"price: {thing}"] = [digits(price) for price in prices]
    if claim.refutation is not None:
        found["refuted"] = [str(claim.refutation.reaches(instance))]
    return found


def digits(value: Enclosure) -> str:
    """Return a number in the middle of an enclosure, with few digits."""
    lower, upper = (Fraction(end.item()) for end in value.bounds())
    middle = (lower + upper) / 2
    with localcontext(prec=DIGITS):
        return f"{(Decimal(middle.numerator) / Decimal(middle.denominator)).normalize():e}"


def rounds(id_: str) -> bool:
    """Whether instances of a claim hold sums and exponentials that this machine computes."""
    return id_.startswith("FP.") or id_ in ("R.balance", "I.box")


def agree(one: str, other: str, *, rounded: bool = False) -> bool:
    """Whether two strings of digits are of one number: the last digit may be rounded the other way.

    Where both are what rounding did, on two machines, only their size is the same: a binary place.
    """
    if one == other:
        return True
    try:
        x, y = Decimal(one), Decimal(other)
    except InvalidOperation:
        return False
    if rounded:
        return abs(x - y) <= max(abs(x), abs(y)) / 2
    return abs(x - y) <= Decimal(1).scaleb(max(x.adjusted(), y.adjusted()) - DIGITS + 1)


# ------------------------------------------------------------------------------------- hypotheses


def broken(claim: Claim[Any], instance: Any) -> tuple[int, ...]:
    """Return which hypotheses do not hold, by their places; one that cannot be decided does not."""

    def holds(k: int) -> bool:
        try:
            return bool(claim.assumes[k].holds(instance))
        except Exception:
            return False

    return tuple(k for k in range(len(claim.assumes)) if not holds(k))


def starts(claim: Claim[Any]) -> dict[str, Any]:
    """Return the instances whose numbers are moved."""
    return {"witness": claim.witness()} | {f"extremal {b.name}": b.extremal() for b in claim.bounds}


def edges(claim: Claim[Any]) -> Iterator[tuple[str, Way, str, tuple[int, ...]]]:
    """Yield what to change of which instance, and what then breaks: on both sides of each edge, and on it."""
    seen: Counter[object] = Counter()
    if not (left := FEWER.get(claim.id, MOST)):
        return
    for base, instance in starts(claim).items():
        for path, leaf in _leaves(instance):
            field = (path[0], len(path))
            for several in _moves(claim, instance, path, leaf):
                outcomes = tuple(_tried(claim, instance, path, m) for m in several)
                seen[field, outcomes] += 1
                if _IMPOSSIBLE in outcomes or seen[field, outcomes] > 2 or left < len(several):
                    continue
                left -= len(several)
                for moved, outcome in zip(several, outcomes, strict=True):
                    yield base, path, moved, outcome


#: Of what is no instance at all.
_IMPOSSIBLE = (-1,)


def _tried(claim: Claim[Any], instance: Any, path: Way, moved: str) -> tuple[int, ...]:
    """Return what breaks, unless that takes long: a number may say how large something is."""
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        return broken(claim, changed(instance, path, moved))
    except (Exception, _TooLong):
        return _IMPOSSIBLE
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


class _TooLong(BaseException):
    pass


def _stop(*_: object) -> None:
    raise _TooLong


def _leaves(value: Any, path: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Yield numbers, and what holds numbers, with the way to them."""
    if path:
        yield path, value
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, np.ndarray):
        for at in dict.fromkeys(((0,) * value.ndim, tuple(n - 1 for n in value.shape))):
            if value.size:
                yield (*path, at), value[at]
    elif isinstance(value, tuple):
        for k in sorted({0, len(value) - 1}) if value else ():
            yield from _leaves(value[k], (*path, k))


def _moves(claim: Claim[Any], instance: Any, path: Way, leaf: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(leaf, bool | np.bool_):
        yield ("turned",)
    elif isinstance(leaf, int | np.integer | Fraction | float | np.floating):

        def tried(value: Fraction) -> tuple[int, ...]:
            return _tried(claim, instance, path, _named(leaf, value))

        if isinstance(leaf, float | np.floating) and not np.isfinite(leaf):
            return
        for sign in (-1, 1):
            yield from _edge(sign, leaf, tried)
        if isinstance(leaf, float | np.floating):
            yield ("nan",)
            yield ("inf",)
    elif isinstance(leaf, tuple | list | np.ndarray | str):
        if len(leaf):
            yield ("last dropped",)
        if isinstance(leaf, np.ndarray) and leaf.dtype != bool and leaf.dtype.kind in "ifO":
            yield from (("negated",), ("zero",), ("doubled",), ("halved",))
            if leaf.ndim > 1:
                yield ("last column dropped",)


def _edge(
    sign: int, leaf: Any, tried: Callable[[Fraction], tuple[int, ...]]
) -> Iterator[tuple[str, ...]]:
    """Yield numbers just before, at and behind where the hypotheses that break are others."""
    whole = isinstance(leaf, int | np.integer)
    start = Fraction(leaf.item() if isinstance(leaf, np.generic) else leaf)
    before = tried(start)
    step = Fraction(1) if whole else max(abs(start), Fraction(1, 1024)) / 1024
    inside = start
    for _ in range(8 if whole else 24):
        outside = start + sign * step
        if tried(outside) != before:
            break
        inside, step = outside, 2 * step
    else:
        return
    while abs(outside - inside) > (1 if whole else abs(start) / 2**60 + Fraction(1, 2**80)):
        middle = (inside + outside) / 2
        middle = Fraction(floor(middle)) if whole else middle
        if middle in (inside, outside):
            break
        if tried(middle) == before:
            inside = middle
        else:
            outside = middle
    if isinstance(leaf, float | np.floating):
        kind = type(leaf)
        a, b = kind(float(inside)), kind(float(outside))
        several = dict.fromkeys((a, b, np.nextafter(b, kind(sign * np.inf))))
        yield tuple(float(x).hex() for x in several if np.isfinite(x))
    elif whole:
        yield _named(leaf, inside), _named(leaf, outside)
    else:
        low, high = sorted((inside, outside))
        edge = next(
            (
                near
                for most in (1, 10, 100, 1000, 10**6)
                if low <= (near := ((low + high) / 2).limit_denominator(most)) <= high
            ),
            outside,
        )
        little = max(abs(edge), Fraction(1, 1024)) / 2**30
        yield tuple(_named(leaf, edge + k * sign * little) for k in (-1, 0, 1))


def _named(leaf: Any, value: Fraction) -> str:
    return str(value) if not isinstance(leaf, float | np.floating) else float(value).hex()


def changed(instance: Any, path: Way, moved: str) -> Any:
    """Return an instance of which one thing is another."""
    if not path:
        return _moved(instance, moved)
    first, *rest = path
    if isinstance(first, str):
        inner = changed(getattr(instance, first), tuple(rest), moved)
        return replace(instance, **{first: inner})
    if isinstance(instance, np.ndarray):
        copy = instance.copy()
        copy[first] = _moved(instance[first], moved)
        return copy
    inner = changed(instance[first], tuple(rest), moved)
    return tuple(inner if k == first else x for k, x in enumerate(instance))


def _moved(leaf: Any, moved: str) -> Any:
    match moved:
        case "turned":
            return not leaf
        case "last dropped":
            return leaf[:-1]
        case "last column dropped":
            return leaf[:, :-1]
        case "negated":
            return -leaf
        case "zero":
            return 0 * leaf
        case "doubled":
            return 2 * leaf
        case "halved":
            return leaf // 2 if leaf.dtype.kind == "i" else leaf / 2
    if isinstance(leaf, float | np.floating):
        return type(leaf)(float.fromhex(moved))
    return type(leaf)(int(moved)) if isinstance(leaf, int | np.integer) else Fraction(moved)


if __name__ == "__main__":
    main()
