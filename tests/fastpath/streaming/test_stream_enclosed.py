"""StreamingAttention against the definitions: rows and recovered columns, enclosed."""

from typing import Any

import numpy as np
import pytest

from fastpath import StreamingAttention
from fastpath.core.bounds.streaming import heap_excess, recovery_error
from fastpath.streaming.count_sketch import CountSketch
from reference import Verdict, attention, attention_verdict
from reference.index_stream import index_answer, index_stream
from reference.sparse_tail import best_sparse
from tests.judging import most_failures, recovery_verdict

BITS = 128


def _rows(n: int, d: int, seed: int, dtype: type[Any]) -> Any:
    x = np.random.default_rng(seed).uniform(-1, 1, (n, d)) / np.sqrt(d)
    return x.astype(dtype)


def _idle(n: int, heavy: int, seed: int, dtype: type[Any]) -> tuple[Any, Any, Any]:
    """Draw a few queries that ask, among many that do not, and values whose mean is nearly 0."""
    Q, K, V = (_rows(n, 3, seed + i, dtype) for i in range(3))
    Q[heavy:] *= 2.0**-10
    rng = np.random.default_rng(seed)
    V -= V.mean(axis=0)
    return Q[rng.permutation(n)], K, V


#: What streams are asked for, relative to the largest value.
TOLERANCE = 1e-3


def _state(recovery: str, sparsity: int, seed: int = 0, bound: float = 1.0) -> StreamingAttention:
    return StreamingAttention(
        3,
        3,
        logit_bound=bound,
        tolerance=TOLERANCE,
        sparsity=sparsity,
        recovery=recovery,
        rng=np.random.default_rng(seed),
    )


def _run(state: StreamingAttention, Q: Any, K: Any, V: Any) -> tuple[Any, Any]:
    """Stream in uneven blocks; return outputs and error bounds."""
    for start in range(0, len(K), 17):
        state.absorb(K[start : start + 17], V[start : start + 17])
    results = [state.attend(Q[start : start + 29]) for start in range(0, len(Q), 29)]
    return tuple(
        np.concatenate([getattr(result, name) for result in results])
        for name in ("output", "error_bound")
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bound", [0.25, 1.0, 3.0])
def test_every_row_is_within_its_certificate(bound: float, dtype: type[Any]) -> None:
    Q, K, V = (_rows(n, 3, n, dtype) for n in (61, 90, 90))
    Q, K = Q * dtype(np.sqrt(bound)), K * dtype(np.sqrt(bound))
    output, error_bound = _run(_state("heap", 2, bound=bound), Q, K, V)
    assert attention_verdict(Q, K, V, output, error_bound)[0] is Verdict.WITHIN
    assert error_bound.max() <= TOLERANCE * np.abs(V).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparsity", [1, 3, 61, 100])
def test_a_heap_decodes_the_best_sparse_columns_within_its_bound(
    sparsity: int, dtype: type[Any]
) -> None:
    Q, K, V = _idle(61, 3, sparsity, dtype)
    state = _state("heap", sparsity)
    output, error_bound = _run(state, Q, K, V)
    columns, bound = state.decode()
    kept, exact = columns.toarray(), attention(Q, K, V, precision=BITS)
    assert bound.ratio == 1
    assert bound.failure_probability is None
    # Nothing that is observed would show half of it missing.
    assert np.array_equal(bound.excess, heap_excess(min(sparsity, 61), error_bound.max(axis=0)))
    for column in range(3):
        best = best_sparse(output[:, column], sparsity)
        expected = np.zeros(61)
        expected[best] = output[best, column]
        assert np.array_equal(kept[:, column], expected)
        verdict = recovery_verdict(
            kept[:, column], exact[:, column], sparsity, bound.ratio, bound.excess[column]
        )
        assert verdict is Verdict.WITHIN


def test_a_sketch_decodes_within_its_bound_but_for_the_stated_probability() -> None:
    """P2.recovery end to end, for 40 draws of hash functions and three columns each."""
    Q, K, V = _idle(200, 4, 5, np.float64)
    exact = attention(Q, K, V, precision=BITS)
    failures = 0
    for seed in range(40):
        state = _state("sketch", 4, seed)
        _, error_bound = _run(state, Q, K, V)
        columns, bound = state.decode()
        kept = columns.toarray()
        assert (
            bound.excess >= recovery_error(bound.ratio, 0.0, 200, error_bound.max(axis=0))
        ).all()
        assert (np.count_nonzero(kept, axis=0) <= 4).all()
        for column in range(3):
            verdict = recovery_verdict(
                kept[:, column], exact[:, column], 4, bound.ratio, bound.excess[column]
            )
            assert verdict is not Verdict.UNDECIDED
            failures += verdict is Verdict.OUTSIDE
    assert bound.failure_probability is not None
    assert failures <= most_failures(120, bound.failure_probability)


@pytest.mark.parametrize("heavy", [4, 64])
def test_equal_outputs_in_neighbouring_rows_are_found_as_often_as_stated(heavy: int) -> None:
    """Few queries that ask, in an aligned block among 100,096 that do not; 20 draws of hash functions."""
    n, first, sparsity = 100_096, 65_536, 64
    K = V = np.array([[1.0], [-1.0]])
    queries = StreamingAttention(1, 1, logit_bound=2.0, tolerance=1e-8, sparsity=1)
    queries.absorb(K, V)
    Q = np.zeros((n, 1))
    Q[first : first + heavy] = 2.0
    output = queries.attend(Q)
    failures, draws = 0, 20
    for seed in range(draws):
        sketch = CountSketch(1, sparsity, rng=np.random.default_rng(seed))
        sketch.add(np.arange(n), output.output)
        rows, estimates = sketch.entries(0)
        bound = sketch.bound(output.error_bound.max(axis=0), n)
        # In all other rows both columns are 0: keys and values are symmetric.
        union = np.union1d(rows, np.arange(first, first + heavy))
        kept = np.zeros(len(union))
        kept[np.searchsorted(union, rows)] = estimates
        exact = attention(Q[union], K, V, precision=BITS)[:, 0]
        verdict = recovery_verdict(kept, exact, sparsity, bound.ratio, bound.excess[0])
        assert verdict is not Verdict.UNDECIDED
        failures += verdict is Verdict.OUTSIDE
    assert bound.failure_probability is not None
    assert failures <= most_failures(draws, bound.failure_probability)


def test_what_a_sketch_or_heap_of_other_columns_keeps_is_outside_the_bound() -> None:
    """The tests above can fail: the second column is not the first."""
    Q, K, V = _idle(61, 3, 7, np.float64)
    state = _state("heap", 3)
    _run(state, Q, K, V)
    columns, bound = state.decode()
    exact = attention(Q, K, V, precision=BITS)
    verdict = recovery_verdict(
        columns.toarray()[:, 0], exact[:, 1], 3, bound.ratio, bound.excess[1]
    )
    assert verdict is Verdict.OUTSIDE


def test_the_stream_that_shows_why_queries_cannot_come_first_spells_its_bits_when_they_do_not() -> (
    None
):
    """P2.order: keys first, the INDEX stream is answered in a state that does not depend on its length."""
    bits = [1, 0, 1]
    Q, K, V = (x.astype(np.float64) for x in index_stream(bits))
    state = StreamingAttention(1, 1, logit_bound=2.0, tolerance=1e-3, sparsity=1)
    with pytest.raises(RuntimeError, match=r"P2\.order"):
        state.attend(Q)
    state.absorb(K, V)
    assert index_answer(state.attend(Q).output) == bits
