r"""P1: what the structures of ``problem`` take, in exact counts.

The simplest keeps A = exp(Q Kᵀ) and D and nothing else (P1.kept): 2n products an update, n an entry.

One change of a key changes one column of A = exp(Q Kᵀ), so A V changes by a matrix of rank one.  Keep the
sums as of the last *rebuild* and at most k pending pairs; a rebuild adds k pairs by one product of an
n × k matrix with a k × (d_v + 1) one.  With k = n^τ and d = d_v = n that is the abstract's T_mat(n, n^τ, n)
every n^τ updates.

Scalar products and exponentials are counted on the structures while they run, on exact numbers
(``reference.models.lazy_sums``).  Additions, copies and the quotient of an answer are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from reference import Enclosure
from reference.models.lazy_sums import LazySums, Sums, exact_answer
from reference.tokens import SetRow
from specs.claim import Bound, Claim, Hypothesis, Relation
from specs.dynamic.problem import (
    ENTRIES,
    REBUILDS,
    SIZES,
    Changes,
    integers,
    most_pending,
    paper_log,
    paper_sample,
    same_key_changes,
    sizes,
    small_changes,
)
from specs.lifting import lift
from specs.symbols import (
    MATRIX_EXPONENT,
    dimension,
    exponent,
    n,
    pending,
    rebuild_every,
    updates,
    value_columns,
)

width = value_columns + 1

_UPDATED = Hypothesis[Changes](
    "something is updated",
    lambda i: bool(i.log),
    alone="without an update there is nothing to count",
)


def _definition_products(i: Changes, columns: int) -> int:
    """Count one row from the definition: logits, and some columns of sums."""
    return len(i.K) * (int(i.K.shape[1]) + columns)


def _definition_of_all(i: Changes, bits: int) -> Enclosure:
    return lift(len(i.K) * _definition_products(i, i.V.shape[1] + 1), bits)


# ---------------------------------------------------------------------------------------- P1.kept


def _largest_cost(structure: Sums, i: Changes, cost: Callable[[Sums], int]) -> int:
    """Return the largest growth of a count in one operation."""
    largest, before = 0, cost(structure)
    for operation in i.log:
        structure.apply(operation)
        largest, before = max(largest, cost(structure) - before), cost(structure)
    return largest


def _read_cost(structure: Sums, i: Changes, read: Callable[[Sums], Any]) -> int:
    """Count the products of a read after the log."""
    structure.run(i.log)
    before = structure.products
    read(structure)
    return structure.products - before


def _kept_error(i: Changes) -> Fraction:
    """Return the largest error of an entry of the structure that keeps A and D."""
    kept = i.kept()
    kept.run(i.log)
    return max(
        abs(kept.entry(row, column) - exact_answer(kept.tokens, row, column))
        for row in kept.tokens.live
        for column in range(i.V.shape[1])
    )


def _stale_error(i: Changes) -> Fraction:
    """Return the largest error of answering as if no key had changed."""
    before, now = i.kept(), i.tokens()
    return max(
        abs(before.entry(row, column) - exact_answer(now, row, column))
        for row in now.live
        for column in range(i.V.shape[1])
    )


P1_KEPT = Claim[Changes](
    id="P1.kept",
    where="ours, against P1, sentences 7 and 10 to 12",
    statement=(
        "Keep A = exp(Q K^T) and the diagonal of D, and nothing else: an update of an entry of K changes one "
        "column and takes 2n products, of V none; an entry (i, j), which is what sentence 7 asks for, is "
        "one inner product of row i of A with column j of V over D_i: n products.  Answers are the "
        "definition's."
    ),
    not_stated=(
        "A quotient an entry, n exponentials an update and additions are not counted. n^2 + n numbers beside "
        "the tokens. In floating point it is FP.dynamic."
    ),
    assumes=(ENTRIES, _UPDATED),
    bounds=(
        Bound(
            name="kept_update_products",
            meaning="the products of an update of an entry, A and D kept",
            arguments=(n,),
            expression=2 * n,
            points=((5,),),
            quantity=lambda i, bits: lift(_largest_cost(i.kept(), i, lambda s: s.products), bits),
            parameters=lambda i, bits: sizes(i, "n"),
            trivial=_definition_of_all,
            extremal=lambda: same_key_changes(4, 1, 1, 3, 2),
            theorem="p1_kept_update",
            attained="p1_kept_update_attained",
        ),
        Bound(
            name="kept_entry_products",
            meaning="the products of a query of an entry, A and D kept",
            arguments=(n,),
            expression=n,
            points=((5,),),
            quantity=lambda i, bits: lift(_read_cost(i.kept(), i, lambda s: s.entry(0, 0)), bits),
            parameters=lambda i, bits: sizes(i, "n"),
            trivial=lambda i, bits: lift(_definition_products(i, 2), bits),
            extremal=lambda: same_key_changes(4, 1, 1, 3, 2),
            theorem="p1_kept_entry",
            relation=Relation.EQUALS,
        ),
        Bound(
            name="kept_error",
            meaning="the error of an entry in exact arithmetic, A and D kept",
            expression=sympy.Integer(0),
            quantity=lambda i, bits: lift(_kept_error(i), bits),
            trivial=lambda i, bits: lift(_stale_error(i), bits),
            extremal=small_changes,
            theorem="p1_kept_correct",
        ),
    ),
    witness=small_changes,
    sample=paper_sample,
)

# -------------------------------------------------------------------------------------- P1.update


def _apart_from_rebuilds(structure: Sums) -> int:
    return structure.products - structure.rebuilding


def _amortised(structure: LazySums, i: Changes) -> Fraction:
    before = structure.products
    structure.run(i.log)
    return Fraction(structure.products - before, len(i.log))


P1_UPDATE = Claim[Changes](
    id="P1.update",
    where="P1, sentence 10",
    statement=(
        "Amortised update time O(n^{omega(1,1,tau)-tau}). Our reading for classical multiplication, with "
        "k = n^tau pairs and d_v columns of values: an update of an entry of K takes 2n products, of V "
        "none, a rebuild of k pairs n k (d_v + 1) products, an update amortised n (d_v + 3).  NOTE The "
        "paper has d = d_v = n.  By classical multiplication no exponent is gained, whatever tau is: "
        "what is gained is a matrix product in place of vector operations.  P1.blocks goes below."
    ),
    not_stated=(
        "Building the structure: n times refresh_products (P1.tokens). The theorems are of updates of K; "
        "that one of V takes no product is counted on instances."
    ),
    assumes=(REBUILDS, ENTRIES, _UPDATED),
    bounds=(
        Bound(
            name="update_products",
            meaning="the products of an update of an entry, rebuilds apart",
            arguments=(n,),
            expression=2 * n,
            points=((5,),),
            quantity=lambda i, bits: lift(_largest_cost(i.lazy(), i, _apart_from_rebuilds), bits),
            parameters=lambda i, bits: sizes(i, "n"),
            trivial=_definition_of_all,
            extremal=lambda: same_key_changes(4, 1, 1, 3, 2),
            theorem="p1_update_exact",
            relation=Relation.EQUAL_TERM,
        ),
        Bound(
            name="rebuild_products",
            meaning="the products of a rebuild of so many pairs",
            arguments=(n, pending, value_columns),
            expression=n * pending * width,
            points=((5, 3, 7),),
            quantity=lambda i, bits: lift(_largest_cost(i.lazy(), i, lambda s: s.rebuilding), bits),
            parameters=lambda i, bits: {**sizes(i, *SIZES), "pending": i.rebuild_every},
            trivial=_definition_of_all,
            extremal=lambda: same_key_changes(4, 1, 1, 3, 2),
            vacuous_where=pending * width >= n * (dimension + width),
            edges=lambda: (same_key_changes(2, 2, 1, 3, 4), same_key_changes(2, 2, 1, 3, 3)),
            theorem="p1_update_exact",
            relation=Relation.EQUAL_TERM,
        ),
        Bound(
            name="amortised_products",
            meaning="the products of an update, rebuilds shared out, by classical multiplication",
            arguments=(n, value_columns),
            expression=n * (value_columns + 3),
            points=((5, 7),),
            quantity=lambda i, bits: lift(_amortised(i.lazy(), i), bits),
            parameters=lambda i, bits: sizes(i, *SIZES),
            trivial=_definition_of_all,
            extremal=lambda: same_key_changes(4, 1, 1, 8, 2),
            vacuous_where=value_columns + 3 >= n * (dimension + width),
            edges=lambda: (same_key_changes(1, 2, 3, 3, 2), same_key_changes(1, 3, 3, 3, 2)),
            theorem="p1_update_amortised",
            relation=Relation.RELATIVE,
            attained="p1_update_attained",
        ),
    ),
    witness=small_changes,
    sample=paper_sample,
)

# -------------------------------------------------------------------------------------- P1.blocks

#: An exponent of matrix multiplication, just above Strassen's log2(7) = 2.80735...
STRASSEN = Fraction(28074, 10000)


def _blocks_fit(i: Changes) -> bool:
    k = i.rebuild_every
    return k.bit_count() == 1 < k and len(i.K) % k == (i.V.shape[1] + 1) % k == 0


def _update_sample(rng: np.random.Generator) -> Changes:
    k = int(rng.choice([2, 4]))
    n, v = k * int(rng.integers(1, 4)), k * int(rng.integers(1, 3)) - 1
    d, length = int(rng.integers(1, 4)), int(rng.integers(1, 13))
    return Changes(
        integers(rng, n, d),
        integers(rng, n, d),
        integers(rng, n, v),
        paper_log(rng, n, d, v, length),
        k,
    )


P1_BLOCKS = Claim[Changes](
    id="P1.blocks",
    where="P1, sentence 10",
    statement=(
        "Amortised update time O(n^{omega(1,1,tau)-tau}), below the classical count: with rebuilds by "
        "square blocks of order k that take k^omega products, an update amortised takes 2n + n (d_v + 1) "
        "k^{omega-3}.  So with d_v = n and k = n^tau, n^{2-(3-omega)tau}: omega(1,1,tau) <= 2 + (omega - "
        "2) tau, by blocks."
    ),
    not_stated=(
        "Rectangular multiplication better than by square blocks, that is omega(1,1,tau) itself. The theorem "
        "is of updates of K, as P1.update's are."
    ),
    assumes=(
        REBUILDS,
        replace(ENTRIES, mirrors=(), alone="additions to entries of K are the theorem's form"),
        _UPDATED,
        Hypothesis(
            "k is a power of two, at least 2, and divides n and d_v + 1: Strassen's blocks fit",
            _blocks_fit,
            mirrors=(
                "limit = (2 ^ m)",
                "count T mod limit = 0",
                "(value_columns + 1) mod limit = 0",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="fast_amortised_products",
            meaning="the products of an update, rebuilds shared out, by blocks of order k in k^exponent",
            arguments=(n, value_columns, rebuild_every, exponent),
            expression=2 * n
            + n * width * sympy.exp(exponent * sympy.log(rebuild_every)) / rebuild_every**3,
            domain={exponent: MATRIX_EXPONENT},
            # What Strassen's recursion attains.
            provided=exponent * sympy.log(2) >= sympy.log(7),
            points=((8, 7, 4, 3),),
            quantity=lambda i, bits: lift(_amortised(i.lazy(strassen=True), i), bits),
            parameters=lambda i, bits: {
                **sizes(i, "n", "value_columns", "rebuild_every"),
                "exponent": STRASSEN,
            },
            trivial=lambda i, bits: lift(len(i.K) * (i.V.shape[1] + 3), bits),
            extremal=lambda: same_key_changes(4, 1, 15, 8, 2),
            theorem="p1_blocks_amortised",
            relation=Relation.RELATIVE,
        ),
    ),
    witness=small_changes,
    sample=_update_sample,
)

# --------------------------------------------------------------------------------------- P1.query


def _pending_now(i: Changes) -> int:
    structure = i.lazy()
    structure.run(i.log)
    return len(structure.pending)


def _count_bound(
    name: str,
    meaning: str,
    arguments: tuple[sympy.Symbol, ...],
    expression: sympy.Expr,
    points: tuple[int, ...],
    cost: Callable[[Changes], int],
    trivial: Callable[[Changes], int],
    changed: Callable[[Changes], int],
    extremal: Callable[[], Changes],
    vacuous_where: sympy.Basic,
    edges: tuple[Changes, Changes],
    theorem: str = "",
    relation: Relation = Relation.EQUALS,
) -> Bound[Changes]:
    """Return the bound of a cost where so many pairs are pending, or so many tokens ``changed``."""
    return Bound(
        name=name,
        meaning=meaning,
        arguments=arguments,
        expression=expression,
        points=(points,),
        theorem=theorem,
        relation=relation,
        quantity=lambda i, bits: lift(cost(i), bits),
        parameters=lambda i, bits: {**sizes(i, *SIZES), "pending": changed(i)},
        trivial=lambda i, bits: lift(trivial(i), bits),
        extremal=extremal,
        vacuous_where=vacuous_where,
        edges=lambda: edges,
    )


P1_QUERY = Claim[Changes](
    id="P1.query",
    where="P1, sentence 10",
    statement=(
        "Worst-case query time O(n^{1+tau}). Our reading, with k <= n^tau pairs pending: an entry takes "
        "2k products, that is O(n^tau); a row k (d_v + 1); a column of n entries 2 n k, which is the "
        "O(n^{1+tau}) of the abstract.  NOTE Sentence 7 asks for an entry (i, j), so sentence 10 says "
        "less than the structure gives, by a factor n, and less than three lines give (P1.pair). The "
        "cheapest answer is therefore that of P1.kept: n products an entry, n d_v a row, n^2 a column."
    ),
    not_stated="",
    assumes=(REBUILDS, ENTRIES),
    bounds=(
        _count_bound(
            "entry_products",
            "the products of a query of an entry",
            (pending,),
            2 * pending,
            (3,),
            lambda i: _read_cost(i.lazy(), i, lambda s: s.entry(0, 0)),
            lambda i: len(i.K),
            _pending_now,
            lambda: same_key_changes(9, 1, 2, 2, 4),
            2 * pending >= n,
            (same_key_changes(2, 1, 2, 1, 4), same_key_changes(3, 1, 2, 1, 4)),
            "p1_query_entry",
        ),
        _count_bound(
            "row_products",
            "the products of a query of a row",
            (pending, value_columns),
            pending * width,
            (3, 7),
            lambda i: _read_cost(i.lazy(), i, lambda s: s.row(0)),
            lambda i: int(i.V.size),
            _pending_now,
            lambda: same_key_changes(9, 1, 2, 2, 4),
            pending * width >= n * value_columns,
            (same_key_changes(2, 2, 1, 1, 4), same_key_changes(3, 2, 1, 1, 4)),
            "p1_query_row",
        ),
        _count_bound(
            "column_products",
            "the products of a query of a column",
            (n, pending),
            2 * n * pending,
            (5, 3),
            lambda i: _read_cost(i.lazy(), i, lambda s: s.column(0)),
            lambda i: len(i.K) ** 2,
            _pending_now,
            lambda: same_key_changes(9, 1, 2, 2, 4),
            2 * pending >= n,
            (same_key_changes(2, 1, 2, 1, 4), same_key_changes(3, 1, 2, 1, 4)),
            "p1_query_column",
        ),
    ),
    witness=small_changes,
    sample=paper_sample,
)

# -------------------------------------------------------------------------------------- P1.tokens


def _rows_sample(rng: np.random.Generator) -> Changes:
    i = paper_sample(rng)
    n, d = i.K.shape
    log = tuple(
        SetRow(name, int(rng.integers(n)), integers(rng, d).tolist())
        for name in ("key", "query", "key", "query")
    )
    return Changes(i.Q, i.K, i.V, log, i.rebuild_every)


def _only(i: Changes, array: str) -> Changes:
    """Keep the operations on one array."""
    log = tuple(o for o in i.log if isinstance(o, SetRow) and o.array == array)
    return Changes(i.Q, i.K, i.V, log, i.rebuild_every)


def _token_bound(
    name: str,
    meaning: str,
    arguments: tuple[sympy.Symbol, ...],
    expression: sympy.Expr,
    points: tuple[int, ...],
    array: str,
    theorem: str,
    vacuous_where: sympy.Basic = sympy.false,
    edges: Callable[[], tuple[Changes, ...]] = tuple,
) -> Bound[Changes]:
    return Bound(
        name=name,
        meaning=meaning,
        arguments=arguments,
        expression=expression,
        points=(points,),
        quantity=lambda i, bits: lift(
            _largest_cost(i.lazy(), _only(i, array), _apart_from_rebuilds), bits
        ),
        parameters=lambda i, bits: sizes(i, *(a.name for a in arguments)),
        trivial=_definition_of_all,
        extremal=_rows_witness,
        vacuous_where=vacuous_where,
        edges=edges,
        theorem=theorem,
        relation=Relation.EQUALS,
    )


def _rows_witness() -> Changes:
    i = small_changes()
    return Changes(
        i.Q, i.K, i.V, (SetRow("key", 1, [1, 1]), SetRow("query", 2, [0, 1])), i.rebuild_every
    )


def _one_query(tokens: int) -> Changes:
    i = same_key_changes(tokens, 1, 1, 0, 1)
    return Changes(i.Q, i.K, i.V, (SetRow("query", 0, [2]),), 1)


P1_TOKENS = Claim[Changes](
    id="P1.tokens",
    where="ours, beyond P1",
    statement=(
        "Replacing a key takes n d products, rebuilds apart; changing a query n (d + d_v + 1), as does "
        "any row from the definition; appending a token takes both, of n + 1 tokens; replacing a value "
        "and evicting a token take none.  Each but the change of a query leaves one pending pair."
    ),
    not_stated="Exponentials: n for each of the two.",
    assumes=(
        REBUILDS,
        Hypothesis(
            "every operation replaces a key or a query",
            lambda i: all(isinstance(o, SetRow) and o.array != "value" for o in i.log),
            alone="the theorem is of such an operation, by its type",
        ),
    ),
    bounds=(
        _token_bound(
            "key_products",
            "the products of replacing a key, rebuilds apart",
            (n, dimension),
            n * dimension,
            (5, 4),
            "key",
            "p1_tokens_key",
        ),
        _token_bound(
            "refresh_products",
            "the products of computing a row from the definition",
            (n, dimension, value_columns),
            n * (dimension + value_columns + 1),
            (5, 4, 7),
            "query",
            "p1_tokens_row",
            n <= 1,
            lambda: (_one_query(1), _one_query(2)),
        ),
    ),
    witness=_rows_witness,
    sample=_rows_sample,
)

# --------------------------------------------------------------------------------------- P1.slots


def _slots_now(i: Changes) -> int:
    structure = i.slots()
    structure.run(i.log)
    return len(structure.slots)


def _two_slots() -> Changes:
    return same_key_changes(4, 1, 2, 3, 2)


#: Where half of the tokens have changed, one row of a sum is as dear as computing it.
_HALF_CHANGED = (
    2 * pending >= n,
    (same_key_changes(4, 1, 2, 2, 3), same_key_changes(5, 1, 2, 2, 3)),
)


def _slot_exponentials(i: Changes) -> int:
    structure = i.slots()
    structure.run(i.log)
    before = structure.exponentials
    structure.row(0)
    return structure.exponentials - before


P1_SLOTS = Claim[Changes](
    id="P1.slots",
    where="ours, beyond P1",
    statement=(
        "Keep the k tokens that have changed, as the sums hold them and as they are, in place of the "
        "weights: an update takes no product, repeated updates of a token share a slot, and a query of "
        "an entry takes 2k (d + 2) products, of a row 2k (d + d_v + 1); a rebuild is n rows."
    ),
    not_stated="A column is n entries.",
    assumes=(REBUILDS, ENTRIES, _UPDATED),
    bounds=(
        _count_bound(
            "slot_entry_products",
            "the products of a query of an entry, with so many tokens changed",
            (pending, dimension),
            2 * pending * (dimension + 2),
            (3, 4),
            lambda i: _read_cost(i.slots(), i, lambda s: s.entry(0, 0)),
            lambda i: _definition_products(i, 2),
            _slots_now,
            _two_slots,
            *_HALF_CHANGED,
            "p1_slots_entry",
        ),
        _count_bound(
            "slot_row_products",
            "the products of a query of a row, with so many tokens changed",
            (pending, dimension, value_columns),
            2 * pending * (dimension + width),
            (3, 4, 7),
            lambda i: _read_cost(i.slots(), i, lambda s: s.row(0)),
            lambda i: _definition_products(i, i.V.shape[1] + 1),
            _slots_now,
            _two_slots,
            *_HALF_CHANGED,
            "p1_slots_row",
        ),
        _count_bound(
            "slot_rebuild_products",
            "the products of a rebuild of so many changed tokens",
            (n, pending, dimension, value_columns),
            2 * n * pending * (dimension + width),
            (5, 3, 4, 7),
            lambda i: _largest_cost(i.slots(), i, lambda s: s.products),
            lambda i: len(i.K) * _definition_products(i, i.V.shape[1] + 1),
            lambda i: i.rebuild_every,
            _two_slots,
            2 * pending >= n,
            (same_key_changes(4, 1, 2, 3, 2), same_key_changes(5, 1, 2, 3, 2)),
            "p1_slots_amortised",
            Relation.RELATIVE,
        ),
    ),
    witness=small_changes,
    sample=paper_sample,
)

# -------------------------------------------------------------------------------- P1.exponentials

P1_EXPONENTIALS = Claim[Changes](
    id="P1.exponentials",
    where="ours, beside P1.update and P1.slots",
    statement=(
        "Where the weights are kept, an update of an entry of K takes n exponentials and nothing else "
        "takes any but whole keys and rows; where the changed tokens are kept, a query of an entry or a "
        "row takes 2k."
    ),
    not_stated="The exponentials of whole keys and rows: n each.",
    assumes=(REBUILDS, ENTRIES, _UPDATED),
    bounds=(
        Bound(
            name="update_exponentials",
            meaning="the exponentials of an update of an entry",
            arguments=(n,),
            expression=n,
            points=((5,),),
            quantity=lambda i, bits: lift(
                _largest_cost(i.lazy(), i, lambda s: s.exponentials), bits
            ),
            parameters=lambda i, bits: sizes(i, "n"),
            trivial=lambda i, bits: lift(len(i.K) ** 2, bits),
            extremal=lambda: same_key_changes(4, 1, 1, 3, 2),
            vacuous_where=n <= 1,
            edges=lambda: (same_key_changes(1, 1, 1, 3, 2), same_key_changes(2, 1, 1, 3, 2)),
            theorem="p1_exponentials_update",
        ),
        _count_bound(
            "slot_exponentials",
            "the exponentials of a query of an entry or a row, with so many tokens changed",
            (pending,),
            2 * pending,
            (3,),
            _slot_exponentials,
            lambda i: len(i.K),
            _slots_now,
            _two_slots,
            *_HALF_CHANGED,
            "p1_exponentials_slots",
        ),
    ),
    witness=small_changes,
    sample=paper_sample,
)

# --------------------------------------------------------------------------------------- P1.space


def _most_numbers(structure: Sums, i: Changes) -> int:
    most = structure.numbers()
    for operation in i.log:
        structure.apply(operation)
        most = max(most, structure.numbers())
    return most


_KEPT = n * (2 * dimension + value_columns) + n * width  # the tokens and their sums

P1_SPACE = Claim[Changes](
    id="P1.space",
    where="P1, inside (unread)",
    statement=(
        "The structure that keeps the weights stores n^2 + n (2d + 2d_v + 1) + (k - 1)(n + d_v + 1) "
        "numbers between updates, the one that keeps the changed tokens n (2d + 2d_v + 1) + 2 (k - 1)(d "
        "+ d_v + 1)."
    ),
    not_stated="The abstract states no space bound. Room in which an implementation works.",
    assumes=(REBUILDS, ENTRIES),
    bounds=(
        Bound(
            name="cached_numbers",
            meaning="the numbers that are stored where the weights are kept",
            arguments=(n, dimension, value_columns, rebuild_every),
            expression=n**2 + _KEPT + (rebuild_every - 1) * (n + width),
            points=((5, 4, 7, 3),),
            quantity=lambda i, bits: lift(_most_numbers(i.lazy(), i), bits),
            parameters=lambda i, bits: sizes(i, *SIZES),
            # The weights as they were before each pending update.
            trivial=lambda i, bits: lift((i.rebuild_every + 1) * len(i.K) ** 2, bits),
            extremal=lambda: same_key_changes(3, 1, 1, 4, 4),
            vacuous_where=_KEPT + (rebuild_every - 1) * (n + width) >= rebuild_every * n**2,
            edges=lambda: (same_key_changes(3, 1, 1, 4, 2), same_key_changes(4, 1, 1, 4, 2)),
            theorem="p1_space_cached",
        ),
        Bound(
            name="slot_numbers",
            meaning="the numbers that are stored where no weights are kept",
            arguments=(n, dimension, value_columns, rebuild_every),
            expression=_KEPT + 2 * (rebuild_every - 1) * (dimension + width),
            points=((5, 4, 7, 3),),
            quantity=lambda i, bits: lift(_most_numbers(i.slots(), i), bits),
            parameters=lambda i, bits: sizes(i, *SIZES),
            trivial=lambda i, bits: lift(len(i.K) ** 2, bits),
            extremal=lambda: same_key_changes(4, 1, 1, 4, 4),
            vacuous_where=_KEPT + 2 * (rebuild_every - 1) * (dimension + width) >= n**2,
            edges=lambda: (same_key_changes(6, 1, 1, 4, 2), same_key_changes(7, 1, 1, 4, 2)),
            theorem="p1_space_slots",
        ),
    ),
    witness=lambda: same_key_changes(12, 1, 1, 4, 2),
    sample=paper_sample,
)

# ----------------------------------------------------------------------------------- P1.worstcase


def _largest_column_cost(i: Changes) -> int:
    """Return the products of the dearest query of a column between updates."""
    structure, most = i.lazy(sliced=True), 0
    for operation in i.log:
        structure.apply(operation)
        before = structure.products
        structure.column(0)
        most = max(most, structure.products - before)
    return most


#: One token, or a rebuild after every update: there is nothing to slice.
_NO_SLICES = (n - 1) * (rebuild_every - 1) <= 0


def _one_slice() -> tuple[Changes, Changes]:
    return same_key_changes(3, 1, 1, 4, 1), same_key_changes(2, 1, 1, 4, 2)


def _unsliced_update(i: Changes) -> int:
    """Count the update that rebuilds at once."""
    size, k = len(i.K), i.rebuild_every
    return 2 * size + size * k * (int(i.V.shape[1]) + 1)


P1_WORSTCASE = Claim[Changes](
    id="P1.worstcase",
    where="ours, in place of P1.update's amortisation",
    statement=(
        "A rebuild may be spread over the next k updates, ceil(n/k) rows each: then no update takes more "
        "than 2n + (n + k - 1)(d_v + 1) products, hardly more than n (d_v + 3) amortised; a read needs "
        "at most 2k - 1 pairs, so an entry takes 2 (2k - 1) products; and a column still 2 n k, since "
        "the rows that need the old pairs get fewer as new ones come. Where the changed tokens are "
        "kept, no update takes more than 2 (n + k - 1)(d + d_v + 1).  Tokens that are appended "
        "meanwhile, where there is room, or evicted change nothing of it."
    ),
    not_stated=(
        "Changes of a query and reads are no part of the slices. An append that finds no room begins "
        "anew, which takes as long as building."
    ),
    assumes=(REBUILDS, ENTRIES),
    bounds=(
        Bound(
            name="sliced_update_products",
            meaning="the products of any one update, its slice of a rebuild included",
            arguments=(n, rebuild_every, value_columns),
            expression=2 * n + (n + rebuild_every - 1) * width,
            points=((5, 3, 7),),
            quantity=lambda i, bits: lift(
                _largest_cost(i.lazy(sliced=True), i, lambda s: s.products), bits
            ),
            parameters=lambda i, bits: sizes(i, "n", "rebuild_every", "value_columns"),
            trivial=lambda i, bits: lift(_unsliced_update(i), bits),
            vacuous_where=_NO_SLICES,
            edges=_one_slice,
            # ceil(4/3) = (4 + 3 - 1)/3.
            extremal=lambda: same_key_changes(4, 1, 1, 4, 3),
            theorem="p1_worstcase_update",
        ),
        Bound(
            name="sliced_pairs",
            meaning="the pairs that a read of a row needs",
            arguments=(rebuild_every,),
            expression=2 * rebuild_every - 1,
            points=((64,),),
            quantity=lambda i, bits: lift(most_pending(i.lazy(sliced=True), i), bits),
            parameters=lambda i, bits: {**sizes(i, "rebuild_every"), "updates": len(i.log)},
            trivial=lambda i, bits: lift(len(i.log), bits),
            extremal=lambda: same_key_changes(6, 1, 1, 5, 3),
            vacuous_where=2 * rebuild_every - 1 >= updates,
            edges=lambda: (same_key_changes(6, 1, 1, 5, 3), same_key_changes(6, 1, 1, 6, 3)),
            theorem="p1_worstcase_pairs",
        ),
        Bound(
            name="sliced_entry_products",
            meaning="the products of a query of an entry",
            arguments=(rebuild_every,),
            expression=2 * (2 * rebuild_every - 1),
            points=((64,),),
            quantity=lambda i, bits: lift(
                _read_cost(i.lazy(sliced=True), i, lambda s: s.entry(len(i.K) - 1, 0)), bits
            ),
            parameters=lambda i, bits: sizes(i, *SIZES),
            # With A and D kept.
            trivial=lambda i, bits: lift(len(i.K), bits),
            extremal=lambda: same_key_changes(12, 1, 1, 5, 3),
            vacuous_where=2 * (2 * rebuild_every - 1) >= n,
            edges=lambda: (same_key_changes(6, 1, 1, 5, 2), same_key_changes(7, 1, 1, 5, 2)),
            theorem="p1_worstcase_entry",
        ),
        Bound(
            name="sliced_column_products",
            meaning="the products of a query of a column",
            arguments=(n, rebuild_every),
            expression=2 * n * rebuild_every,
            points=((5, 64),),
            quantity=lambda i, bits: lift(_largest_column_cost(i), bits),
            parameters=lambda i, bits: sizes(i, *SIZES),
            # With A and D kept.
            trivial=lambda i, bits: lift(len(i.K) ** 2, bits),
            extremal=lambda: same_key_changes(8, 1, 1, 3, 3),
            vacuous_where=2 * rebuild_every >= n,
            edges=lambda: (same_key_changes(6, 1, 1, 5, 3), same_key_changes(7, 1, 1, 5, 3)),
            theorem="p1_worstcase_column",
        ),
        Bound(
            name="sliced_slot_products",
            meaning="the products of any one update where the changed tokens are kept, its slice included",
            arguments=(n, rebuild_every, dimension, value_columns),
            expression=2 * (n + rebuild_every - 1) * (dimension + width),
            points=((5, 3, 4, 7),),
            quantity=lambda i, bits: lift(
                _largest_cost(i.slots(sliced=True), i, lambda s: s.products), bits
            ),
            parameters=lambda i, bits: sizes(i, *SIZES),
            # All slots at once.
            trivial=lambda i, bits: lift(
                2 * i.rebuild_every * _definition_products(i, i.V.shape[1] + 1), bits
            ),
            vacuous_where=_NO_SLICES,
            edges=_one_slice,
            extremal=lambda: same_key_changes(4, 1, 1, 4, 3),
            theorem="p1_slots_sliced",
        ),
    ),
    witness=lambda: same_key_changes(12, 1, 1, 4, 2),
    sample=paper_sample,
)

CLAIMS = (
    P1_KEPT,
    P1_UPDATE,
    P1_BLOCKS,
    P1_QUERY,
    P1_TOKENS,
    P1_SLOTS,
    P1_EXPONENTIALS,
    P1_SPACE,
    P1_WORSTCASE,
)
