"""Exact attention over sharded keys, and Gram matrices over sharded columns, on a Dask cluster.

Needs the extra ``attest-attention[dask]``.  Keys, values and features stay where they are: what moves is
the queries to them, and back an output with the logarithm of its denominator, or a matrix of n².  Every
shard's answer brings its certificate, and what puts answers together certifies its own rounding.  A shard
that was lost with its worker is computed again.  docs/scale.md says what moves, how deep and how large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastpath.core.certified import Certified
from fastpath.core.inputs import Array, Matrix, integer, matrix
from fastpath.core.offers import Refusal
from fastpath.exact.attention import attention as attention_of_one
from fastpath.exact.merge import merge
from fastpath.sparsification.certificate import range_factor
from fastpath.sparsification.feature_matrix import feature_matrix, take_columns
from fastpath.sparsification.gram import Gram
from fastpath.sparsification.gram import gram as gram_of_one
from fastpath.sparsification.leverage import leverage_scores, poisson_columns
from fastpath.sparsification.sparsify import Sparsified, measured
from fastpath.streaming.distributed import key_partitions, tree

try:
    import dask
    import dask.array as da
    from dask.sizeof import sizeof
except ImportError as problem:
    raise ImportError(
        "fastpath.distributed needs dask: pip install 'attest-attention[dask]'."
    ) from problem


def attention(Q: ArrayLike, K: Any, V: Any, *, scale: float = 1.0) -> Certified:
    """Return exact softmax attention of queries over keys in partitions, on the default Dask scheduler.

    Each partition answers by itself, as :func:`fastpath.attention`; answers are weighed by their
    denominators, as :func:`fastpath.merge`, eight at a time.

    Parameters
    ----------
    Q : array_like, shape (n, d)
        Queries, sent to every partition.
    K : dask array, shape (m, d), or sequence of delayed or plain arrays
        Keys, partitioned by rows; a sequence holds a partition each.
    V : dask array, shape (m, d_v), or sequence of delayed or plain arrays
        Values, partitioned as K.
    scale : float
        Of the logits.

    Returns
    -------
    Certified
        On the caller's machine, with ``log_sum_exp`` and its bound.  Not the bits of one machine: sums are
        taken in another order, for which the bound allows.

    Raises
    ------
    TypeError, ValueError
        If partitions do not match, none has a key, or as :func:`fastpath.attention` of any.

    Notes
    -----
    Cost: as one machine, divided among the workers; a partition returns n (d_v + 2) numbers and as many
    bounds, whatever its keys.

    Claims: FP.softmax, FP.merge, FP.lse, FP.exp.
    """
    queries = dask.delayed(matrix("Q", Q), traverse=False)
    answered = dask.delayed(_answered)
    answer: Certified | None = merged_answers(
        [answered(queries, k, v, scale) for k, v in key_partitions(K, V)]
    )
    if answer is None:
        raise ValueError("K must have a key, got partitions without rows.")
    return answer


def merged_answers(answers: Sequence[Any]) -> Any:
    """Merge answers that tasks of the caller's own have given, where keys are made or read.

    Dask may move a partition to a worker that has nothing to do; what a task makes for itself stays.

    Parameters
    ----------
    answers : sequence of delayed Certified
        Of the same queries over disjoint keys, at least one, as :func:`fastpath.merge` takes; None of a
        task that had no key.

    Returns
    -------
    Certified or None
        On the caller's machine; None where every task had no key.

    Raises
    ------
    TypeError, ValueError
        If there is none, or as :func:`fastpath.merge`.

    Notes
    -----
    A worker holds the answers that one task merges, at most 8, whatever the number of keys.

    Claims: FP.merge, FP.lse, FP.exp.
    """
    if not answers:
        raise ValueError("answers must have an answer, got none.")
    return tree(_merged, answers).compute()


def gram(X: Any) -> Gram:
    """Return X Xᵀ of features in blocks of columns, with a count of its roundings.

    Parameters
    ----------
    X : dask array, shape (n, d), or sequence of delayed or plain matrices of n rows
        Features, partitioned by columns, dense or sparse; a sequence holds a block each.

    Returns
    -------
    Gram
        On the caller's machine, as :func:`fastpath.gram`.

    Raises
    ------
    TypeError, ValueError
        If X is partitioned by rows or has no block, blocks differ in their rows, or
        :func:`fastpath.gram` refuses a block; a block's rows have to be zero or within 2^-250 to 2^250.

    Notes
    -----
    Cost: as one machine, divided among the workers; n² numbers move from every block.

    Claims: P3.gram.
    """
    of_block = dask.delayed(_gram_of_block)
    return merged_grams([of_block(block) for block in _blocks(X)])


def merged_grams(grams: Sequence[Any]) -> Gram:
    """Sum Gram matrices that tasks of the caller's own have computed, where blocks are made or read.

    Parameters
    ----------
    grams : sequence of delayed Gram
        Of disjoint blocks of columns, at least one.

    Returns
    -------
    Gram
        On the caller's machine.

    Raises
    ------
    ValueError
        If there is none, or blocks differ in their rows.

    Notes
    -----
    Claims: P3.gram.
    """
    if not grams:
        raise ValueError("grams must have a Gram matrix, got none.")
    result: Gram = tree(_gram_sum, grams).compute()
    return result


def sparsify(X: Any, width: int, *, rng: np.random.Generator | None = None) -> Sparsified:
    """Keep some columns of X, drawn by leverage from blocks of columns, and certify how close they are.

    Parameters
    ----------
    X : dask array or sequence
        As for :func:`gram`.  A block is asked for three times: persist what is dear to make.
    width : int
        How many columns are kept on average, at least 1.
    rng : numpy.random.Generator, optional
        The only source of randomness; a fresh one where left out.  A block that is computed again after
        its worker's loss draws what it drew before.

    Returns
    -------
    Sparsified
        On the caller's machine: ``Y = X[:, columns] * sqrt(weights)``, with the ``epsilon`` that two
        factorisations prove against the whole of X Xᵀ; ``inf`` where so few columns prove nothing.

    Raises
    ------
    TypeError, ValueError
        As :func:`gram`; if width is no integer of at least 1 or ``rng`` no generator.
    RuntimeError
        If Y would overflow X's type.

    Notes
    -----
    Cost: as :func:`fastpath.sparsify` with ``guarantee="columns", method="leverage"``.  What moves besides
    the Gram matrices: a whitening of at most n² numbers to each block, a score of each column, and the
    columns kept.

    Claims: P3.gram, P3.randomised, P3.loewner, P3.certificate.
    """
    mean = integer("width", width, 1)
    if rng is None:
        rng = np.random.default_rng()
    elif not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator or None, got {rng!r}.")
    blocks = _blocks(X)
    G = gram(blocks)
    whitening = dask.delayed(range_factor(G)[1], traverse=False)
    scored, taken = dask.delayed(_scores), dask.delayed(_taken)
    seeds = rng.integers(2**63, size=len(blocks))
    scores = dask.compute(
        *(scored(block, whitening, int(seed)) for block, seed in zip(blocks, seeds, strict=True))
    )
    columns, weights = poisson_columns(np.concatenate(scores), mean, rng)
    if not len(columns):
        columns, weights = np.zeros(1, np.intp), np.ones(1)
    starts = np.cumsum([0, *map(len, scores)])
    cuts = np.searchsorted(columns, starts)
    kept = [
        taken(block, columns[first:last] - start)
        for block, start, first, last in zip(blocks, starts, cuts, cuts[1:], strict=False)
        if first < last
    ]
    Y = np.concatenate(dask.compute(*kept), axis=1)
    Y = Y * np.sqrt(weights).astype(Y.dtype)
    result = measured("columns", "leverage", G, Y, columns, weights)
    if isinstance(result, Refusal):
        raise result.error(f"{result.reason}.")
    return result


def _blocks(X: Any) -> list[Any]:
    if isinstance(X, da.Array):
        if X.ndim != 2 or len(X.chunks[0]) != 1:
            raise ValueError(
                f"X must be a matrix partitioned by columns only, got chunks {X.chunks}."
            )
        blocks = [
            block
            for block, columns in zip(X.to_delayed().ravel(), X.chunks[1], strict=True)
            if columns
        ]
    elif isinstance(X, Sequence) and not isinstance(X, (str, bytes)):
        blocks = list(X)
    else:
        raise TypeError(
            f"X must be a dask array or a sequence of delayed or plain matrices, got {type(X).__name__}."
        )
    if not blocks:
        raise ValueError("X must have a block of columns, got none.")
    return blocks


# ------------------------------------------------------------------------------- what workers do


def _size_of_answer(answer: Certified) -> int:
    arrays = (answer.output, answer.error_bound, answer.log_sum_exp, answer.log_sum_exp_bound)
    return sum(int(np.asarray(x).nbytes) for x in arrays if x is not None)


def _size_of_gram(G: Gram) -> int:
    return G.matrix.nbytes


# Dask places tasks by what it would cost to move results, and frees memory by their sizes.
sizeof.register(Certified, _size_of_answer)
sizeof.register(Gram, _size_of_gram)


def _answered(Q: Matrix, K: Any, V: Any, scale: float) -> Certified | None:
    # A dask array may have partitions without rows.
    if np.ndim(K) == np.ndim(V) == 2 and len(K) == len(V) == 0:
        return None
    return attention_of_one(Q, K, V, scale=scale, workers=1)


def _merged(parts: list[Certified | None]) -> Certified | None:
    there = [part for part in parts if part is not None]
    return merge(there) if len(there) > 1 else next(iter(there), None)


def _gram_of_block(block: Any) -> Gram:
    return gram_of_one(block, workers=1)


def _gram_sum(parts: list[Gram]) -> Gram:
    total, roundings = parts[0].matrix.copy(), parts[0].roundings
    for part in parts[1:]:
        if part.matrix.shape != total.shape:
            raise ValueError(
                f"X must have blocks of the same number of rows, got {len(total)} and {len(part.matrix)}."
            )
        total += part.matrix
        roundings = max(roundings, part.roundings) + 1
    return Gram(matrix=total, roundings=roundings)


def _scores(block: Any, whitening: Array, seed: int) -> Array:
    return leverage_scores(feature_matrix(block), np.random.default_rng(seed), whitening=whitening)


def _taken(block: Any, columns: NDArray[np.intp]) -> Matrix:
    return take_columns(feature_matrix(block), columns)
