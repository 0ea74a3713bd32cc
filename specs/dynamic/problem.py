r"""P1: attention of tokens that change: what is asked, and that the lazy structures answer it.

In exact arithmetic, that is: what it costs is in ``p1_costs``, what rounding does in ``p1_rounding``, and
the lower bound in ``p1_hardness``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, logits
from reference.models.lazy_sums import KeptWeights, LazySums, SlotSums, Sums, exact_answer
from reference.tokens import Append, Evict, Name, Operation, SetRow, Tokens, UpdateEntry, replay
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.lifting import lift
from specs.symbols import largest_value, rebuild_every, updates

Matrix = NDArray[Any]


@dataclass(frozen=True)
class Changes:
    """Tokens of integers, what happens to them, and how many pending changes make a rebuild."""

    Q: Matrix
    K: Matrix
    V: Matrix
    log: tuple[Operation, ...]
    rebuild_every: int
    causal: bool = False

    def tokens(self) -> Tokens:
        """Return the tokens after the log."""
        return replay(self.Q, self.K, self.V, self.log, causal=self.causal)

    def lazy(self, *, sliced: bool = False, strassen: bool = False) -> LazySums:
        """Return the structure that keeps weights, before the log."""
        return LazySums(
            self.Q,
            self.K,
            self.V,
            causal=self.causal,
            rebuild_every=self.rebuild_every,
            sliced=sliced,
            strassen=strassen,
        )

    def kept(self) -> KeptWeights:
        """Return the structure that keeps the weights and the denominators only, before the log."""
        return KeptWeights(self.Q, self.K, self.V, causal=self.causal)

    def slots(self, *, sliced: bool = False) -> SlotSums:
        """Return the structure that keeps no weights, before the log."""
        return SlotSums(
            self.Q,
            self.K,
            self.V,
            causal=self.causal,
            rebuild_every=self.rebuild_every,
            sliced=sliced,
        )


SIZES = ("n", "dimension", "value_columns", "rebuild_every")


def sizes(i: Changes, *names: str) -> Mapping[str, Value]:
    """Return the sizes of these names."""
    found = dict(zip(SIZES, (len(i.K), i.K.shape[1], i.V.shape[1], i.rebuild_every), strict=True))
    return {name: found[name] for name in names}


def integers(rng: np.random.Generator, *shape: int) -> Matrix:
    """Draw small integers."""
    return rng.integers(-2, 3, shape)


def _entry_update(rng: np.random.Generator, name: Name, token: int, columns: int) -> UpdateEntry:
    return UpdateEntry(name, token, int(rng.integers(columns)), int(rng.choice([-2, -1, 1, 2])))


def paper_log(rng: np.random.Generator, n: int, d: int, v: int, length: int) -> Any:
    """Draw updates of entries of K and V."""
    return tuple(
        _entry_update(rng, name, int(rng.integers(n)), d if name == "key" else v)
        for name in rng.choice(["key", "value"], length)
    )


def _any_log(rng: np.random.Generator, n: int, d: int, v: int, length: int) -> Any:
    """Draw operations of all kinds."""
    log: list[Operation] = []
    live, count = list(range(n)), n
    columns: dict[Name, int] = {"query": d, "key": d, "value": v}
    for kind in rng.choice(["entry", "row", "append", "evict"], length):
        name, token = [*columns][rng.integers(3)], int(rng.choice(live))
        if kind == "entry":
            log.append(_entry_update(rng, name, token, columns[name]))
        elif kind == "row":
            log.append(SetRow(name, token, integers(rng, columns[name]).tolist()))
        elif kind == "append":
            log.append(Append(*(integers(rng, columns[a]).tolist() for a in columns)))
            live.append(count)
            count += 1
        elif len(live) > 1:
            live.remove(token)
            log.append(Evict(token))
    return tuple(log)


def _drawn(log: Callable[..., Any], rng: np.random.Generator) -> Changes:
    """Draw small and less small sizes alike: many a bound is vacuous on one side of a region only."""
    n, d, v, length = (int(rng.integers(1, most)) for most in rng.choice([4, 8, 16], 4))
    return Changes(
        integers(rng, n, d),
        integers(rng, n, d),
        integers(rng, n, v),
        log(rng, n, d, v, length),
        int(rng.integers(1, rng.choice([3, 6, 18]))),
        log is _any_log and bool(rng.integers(2)),
    )


def _any_sample(rng: np.random.Generator) -> Changes:
    return _drawn(_any_log, rng)


def paper_sample(rng: np.random.Generator) -> Changes:
    """Draw tokens and updates of entries of K and V."""
    return _drawn(paper_log, rng)


def _same_key_log(n: int, length: int) -> tuple[Operation, ...]:
    """Change a key's entry, each time another token's."""
    return tuple(UpdateEntry("key", t % n, 0, 1) for t in range(length))


def same_key_changes(n: int, d: int, v: int, length: int, rebuild_every: int) -> Changes:
    """Give ones everywhere and as many updates of keys."""
    Q, V = np.ones((n, d), int), np.ones((n, v), int)
    return Changes(Q, 0 * Q, V, _same_key_log(n, length), rebuild_every)


REBUILDS = Hypothesis[Changes](
    "rebuild_every >= 1", lambda i: i.rebuild_every >= 1, alone="Coq's settings, the type, have it"
)
ENTRIES = Hypothesis[Changes](
    "every operation adds to an entry of K or V",
    lambda i: all(isinstance(o, UpdateEntry) and o.array != "query" for o in i.log),
    mirrors=("of_entries", "Forall", "e = UpdateKey t j delta \\/ e = UpdateValue t j delta"),
)


# ------------------------------------------------------------------------------------- P1.problem


@dataclass(frozen=True)
class Question:
    """Changes and the entry of attention that is asked for after them."""

    changes: Changes
    row: int
    column: int


def _question_sample(rng: np.random.Generator) -> Question:
    """Let one value be larger than the others, so that no answer is equal to it."""
    n, d, v = (int(rng.integers(low, 6)) for low in (2, 1, 1))
    V = integers(rng, n, v)
    V[0] = 9
    log = tuple(_entry_update(rng, "key", int(rng.integers(n)), d) for _ in range(4))
    changes = Changes(integers(rng, n, d), integers(rng, n, d), V, log, 1)
    return Question(changes, int(rng.integers(n)), int(rng.integers(v)))


def _seen_values(i: Question) -> list[int]:
    tokens = i.changes.tokens()
    return [int(x) for x in tokens.value[tokens.seen(i.row), i.column]]


def _unnormalised(i: Question, bits: int) -> Enclosure:
    """Enclose (A V)_ij: the answer without its denominator."""
    tokens = i.changes.tokens()
    seen = tokens.seen(i.row)
    weights = logits(tokens.query[[i.row]], tokens.key[seen]).at(bits).exp()
    return (weights @ lift(tokens.value[seen, i.column], bits)).sum()


P1_PROBLEM = Claim[Question](
    id="P1.problem",
    where="P1, sentences 5 to 8",
    statement=(
        "An entry of K or V changes by delta; a query (i, j) is answered by (D^-1 A V)_ij of the "
        "matrices as they are.  The answer exists: D_i is positive, and it is an average of column j of "
        "V, so no larger than its largest entry (and, by -V, no smaller than its smallest).  Ours too: "
        "changes of Q, of rows, tokens that are appended and evicted, and the causal mask."
    ),
    not_stated="",
    assumes=(
        Hypothesis(
            "row i is a live token's",
            lambda i: i.row in i.changes.tokens().live,
            mirrors=("live T i = true",),
        ),
    ),
    bounds=(
        Bound(
            name="dynamic_average",
            meaning="the answer to a query (i, j)",
            arguments=(largest_value,),
            expression=largest_value,
            points=((sympy.Rational(7, 3),),),
            quantity=lambda i, bits: i.changes.tokens().row(i.row, precision=bits)[i.column],
            parameters=lambda i, bits: {"largest_value": max(_seen_values(i))},
            trivial=_unnormalised,
            extremal=lambda: Question(same_key_changes(3, 2, 1, 4, 1), 1, 0),
            theorem="p1_average",
            attained="p1_average_attained",
        ),
    ),
    witness=lambda: Question(
        Changes(
            np.array([[1, 0], [0, 1], [1, 1]]),
            np.array([[0, 1], [1, 1], [0, 0]]),
            np.array([[1, 2], [3, 1], [0, 5]]),
            (UpdateEntry("key", 1, 0, 1), UpdateEntry("value", 2, 1, -1)),
            1,
        ),
        0,
        1,
    ),
    sample=_question_sample,
)

# ------------------------------------------------------------------------------------- P1.correct


def _largest_difference(structure: Sums, i: Changes) -> Fraction:
    structure.run(i.log)
    tokens = structure.tokens
    return max(
        abs(structure.entry(row, column) - exact_answer(tokens, row, column))
        for row in tokens.live
        for column in range(i.V.shape[1])
    )


def _structure_error(i: Changes, bits: int) -> Enclosure:
    structures = (i.lazy(), i.lazy(sliced=True), i.slots())
    return lift(max(_largest_difference(s, i) for s in structures), bits)


def _unchanged_error(i: Changes, bits: int) -> Enclosure:
    """Enclose the error of answering as if nothing had happened."""
    before, now = i.slots().tokens, i.tokens()
    errors = (
        abs(exact_answer(before, row, 0) - exact_answer(now, row, 0))
        for row in now.live
        if row < len(i.K)
    )
    return lift(max(errors, default=Fraction(0)), bits)


def most_pending(structure: LazySums, i: Changes) -> int:
    """Return the largest number of pairs that a row's read needed after an operation."""
    most = 0
    for operation in i.log:
        structure.apply(operation)
        most = max(most, len(structure.pairs(len(structure.sums) - 1)))
    return most


def small_changes(rebuild_every: int = 2, causal: bool = False) -> Changes:
    """Give six tokens and five updates, two of them of one token."""
    return Changes(
        np.array([[1, 0], [2, 1], [-1, 1], [0, 2], [1, 1], [0, 1]]),
        np.array([[0, 1], [1, 0], [1, -1], [0, 0], [2, 0], [1, 1]]),
        np.array([[3], [-1], [2], [0], [1], [4]]),
        tuple(
            UpdateEntry(*change)
            for change in (
                ("key", 1, 0, 1),
                ("value", 2, 0, -3),
                ("key", 4, 1, -2),
                ("key", 0, 0, 2),
                ("key", 1, 1, 1),
            )
        ),
        rebuild_every,
        causal,
    )


P1_CORRECT = Claim[Changes](
    id="P1.correct",
    where="P1, sentence 10, implied",
    statement=(
        "After any list of operations the lazy structure's answers are the definition's, in exact "
        "arithmetic, and at most k - 1 pairs are pending, k = rebuild_every.  Operations: updates of "
        "entries and rows of K, V and Q, append, evict; with and without the causal mask; whether the "
        "weights are kept or the changed tokens, and whether a rebuild is done at once or in slices."
    ),
    not_stated=(
        "The theorem is about e^(q.k); the instances have 2^(q.k) in its place, so that answers are "
        "rational."
    ),
    assumes=(REBUILDS,),
    bounds=(
        Bound(
            name="dynamic_error",
            meaning="the error of an answer in exact arithmetic",
            expression=sympy.Integer(0),
            quantity=_structure_error,
            trivial=_unchanged_error,
            extremal=lambda: small_changes(causal=True),
            theorem="p1_correct",
        ),
        Bound(
            name="pending_pairs",
            meaning="the pending pairs",
            arguments=(rebuild_every,),
            expression=rebuild_every - 1,
            points=((64,),),
            quantity=lambda i, bits: lift(most_pending(i.lazy(), i), bits),
            parameters=lambda i, bits: {**sizes(i, "rebuild_every"), "updates": len(i.log)},
            # Never to rebuild.
            trivial=lambda i, bits: lift(len(i.log), bits),
            vacuous_where=rebuild_every - 1 >= updates,
            edges=lambda: (same_key_changes(2, 1, 1, 3, 4), same_key_changes(2, 1, 1, 4, 4)),
            extremal=lambda: same_key_changes(2, 1, 1, 3, 4),
            theorem="p1_pending",
        ),
    ),
    witness=small_changes,
    sample=_any_sample,
)

CLAIMS = (P1_PROBLEM, P1_CORRECT)
