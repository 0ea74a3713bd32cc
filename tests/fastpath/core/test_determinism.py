"""The same seed gives the same bytes: whatever the workers, BLAS's threads, readers beside and processes."""

import copy
import dataclasses
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import fastpath
from fastpath import kernels
from fastpath.core import cores
from tests.states import STATES, after


def drawn(*shape: int, size: float = 1.0) -> Any:
    return size * np.random.default_rng(sum(shape)).standard_normal(shape)


Q, K, V = drawn(4, 150, 8), drawn(2, 170, 8, size=2), drawn(2, 170, 5)
SINGLE = tuple(x.astype(np.float32) for x in (Q, K, V))
SMALL = drawn(150, 8, size=0.1), drawn(170, 8, size=0.1), drawn(170, 5)


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


#: Every public function with workers.
CALLS: dict[str, Callable[[int], Any]] = {
    "attention": lambda w: fastpath.attention(Q, K, V, scale=0.3, workers=w),
    "attention in float32": lambda w: fastpath.attention(*SINGLE, window=(9, 3), workers=w),
    "attention_gradient": lambda w: fastpath.attention_gradient(
        *SINGLE, drawn(4, 150, 5), sinks=np.ones(4), workers=w
    ),
    "certify": lambda w: fastpath.certify(
        Q,
        K,
        V,
        np.zeros((4, 150, 5)),
        uncovered=0.1,
        failure_probability=0.1,
        rng=_rng(),
        workers=w,
    ),
    "certified_attention": lambda w: fastpath.certified_attention(
        Q, K, V, tolerance=0.1, rng=_rng(), workers=w
    ),
    "polynomial_attention": lambda w: fastpath.polynomial_attention(
        *SMALL, tolerance=0.01, workers=w
    ),
    "gram": lambda w: fastpath.gram(drawn(40, 5000), workers=w),
    "QuantisedCache": lambda w: fastpath.QuantisedCache(K, V).attention(Q, workers=w),
    "QuantisedCache by the hull": lambda w: fastpath.QuantisedCache(K, V).attention(
        Q[:, :5], bound="hull", workers=w
    ),
    "certify_quantised": lambda w: fastpath.certify_quantised(Q, K, V, 0.1, 0.1, workers=w),
    "kernels.tolerance": lambda w: kernels.tolerance(
        *SINGLE, kernels.flash_attention_2(), workers=w
    ),
    "kernels.judge_attention": lambda w: kernels.judge_attention(
        fastpath.attention(*SINGLE).output, *SINGLE, kernels.flash_attention_2("float32"), workers=w
    ),
}


def _dynamic() -> Any:
    state = fastpath.DynamicAttention(*SMALL[:1], SMALL[1][:150], SMALL[2][:150], mode="cached")
    for step in range(7):
        state.update_key(step, step, 0.5)
    return state


def _regression() -> Any:
    return fastpath.AttentionRegression(drawn(30, 2), drawn(20, 3), drawn(20, 4), drawn(30, 2))


_POINT = drawn(2, 3, size=0.1), drawn(4, 2)

#: Every object that is read, and what is read of it.
READS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "Prepared": (lambda: fastpath.Prepared(K, V), lambda o: fastpath.attention(Q, o)),
    "DynamicAttention": (_dynamic, lambda o: [o.query(3, 1), o.query_row(2), o.output()]),
    "MomentState": (lambda: after("MomentState", 5), lambda o: o.query(drawn(9, 2))),
    "StreamingAttention": (lambda: after("StreamingAttention", 5), lambda o: o.decode()),
    "StreamingAttention, sketch": (
        lambda: after("StreamingAttention, sketch", 5),
        lambda o: o.decode(),
    ),
    "QuantisedCache": (
        lambda: fastpath.QuantisedCache(K[0, :20], V[0, :20]),
        lambda o: [o.attention(Q[0]), o.variation(Q[0, :2]), o.read(), o.radii()],
    ),
    "BitPlaneCache": (
        lambda: fastpath.BitPlaneCache(K[0], V[0]),
        lambda o: o.attention(Q[0, :6], 0.1),
    ),
    "AuditLedger": (lambda: after("AuditLedger", 60), lambda o: o.bound()),
    "KeyIndex": (
        lambda: fastpath.KeyIndex(np.tile(K[0, :20], (900, 1)), np.tile(V[0, :20], (900, 1))),
        lambda o: o.attend(16 * Q[0, :2], 0.1),
    ),
    "BalancedCoreset": (
        lambda: after("BalancedCoreset", 5),
        lambda o: o.attend(drawn(6, 4).astype(np.float32)),
    ),
    "AttentionRegression": (
        _regression,
        lambda o: [o.loss(*_POINT), o.gradient(*_POINT), o.hessian(*_POINT), o.certify(*_POINT)],
    ),
    "a solution": (
        lambda: _regression().solve(_POINT[0], max_iterations=3, rng=_rng()),
        lambda o: [o.X, o.certificate],
    ),
    "Gram": (lambda: fastpath.gram(drawn(9, 40)), lambda o: [o.matrix, o.error]),
    "KeyGram": (
        lambda: fastpath.key_gram(drawn(40, 5)),
        lambda o: [o.merge(o), fastpath.heavy_keys(drawn(40, 5), 0.2, gram=o)],
    ),
}


def digest(result: Any) -> str:
    """Return what two results share if they have the same bytes."""
    state = hashlib.sha256()

    def add(part: Any) -> None:
        if dataclasses.is_dataclass(part):
            part = [getattr(part, field.name) for field in dataclasses.fields(part)]
        if sp.issparse(part):
            part = [part.data, part.indices, part.indptr]
        if isinstance(part, list | tuple):
            state.update(b"[")
            for inner in part:
                add(inner)
        elif isinstance(part, np.ndarray):
            state.update(f"{part.dtype}{part.shape}".encode() + part.tobytes())
        elif isinstance(part, float):
            state.update(float(part).hex().encode())
        elif callable(part):
            state.update(b"?")
        else:
            state.update(repr(part).encode())

    add(result)
    return state.hexdigest()


@pytest.mark.parametrize("name", CALLS)
def test_no_byte_depends_on_workers_or_the_threads_of_blas(name: str) -> None:
    library = cores._libraries()[0]
    before, found = library.get_num_threads(), set()
    try:
        for threads in (1, 2):
            cores._set(library, threads)
            found |= {digest(CALLS[name](workers)) for workers in (1, 2, 4)}
            assert library.get_num_threads() == threads
    finally:
        cores._set(library, before)
    assert len(found) == 1


@pytest.mark.parametrize("name", READS)
def test_readers_beside_each_other_read_what_one_would(name: str) -> None:
    make, read = READS[name]
    alone = digest(read(make()))
    for _ in range(3):
        shared, together = make(), Barrier(4)

        def reading(shared: Any = shared, together: Barrier = together) -> str:
            together.wait()
            return digest(read(shared))

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(4) as pool:
                found = [task.result() for task in [pool.submit(reading) for _ in range(4)]]
        finally:
            sys.setswitchinterval(interval)
        assert set(found) == {alone}


@pytest.mark.parametrize("name", sorted({*READS} - {"a solution"}))
def test_a_copy_is_read_as_the_original(name: str) -> None:
    make, read = READS[name]
    original = make()
    copied = copy.deepcopy(original)
    assert digest(read(copied)) == digest(read(original))


def everything() -> dict[str, str]:
    """Return what all calls and reads give."""
    return {name: digest(call(2)) for name, call in CALLS.items()} | {
        f"read {name}": digest(read(make())) for name, (make, read) in READS.items()
    }


def _child(answers: Any) -> None:
    answers.put(everything())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_another_process_gives_the_same_bytes(start: str) -> None:
    if start == "fork" and not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    here = everything()
    context = multiprocessing.get_context(start)
    answers = context.SimpleQueue()
    child = context.Process(target=_child, args=(answers,))
    child.start()
    there = answers.get()
    child.join()
    assert there == here


@pytest.mark.parametrize("name", CALLS)
def test_numpys_error_state_changes_nothing(name: str) -> None:
    alone = digest(CALLS[name](1))
    with np.errstate(all="raise"):
        assert digest(CALLS[name](1)) == alone
        assert set(np.geterr().values()) == {"raise"}


def test_every_class_that_is_saved_is_among_those_that_are_read() -> None:
    assert {name.partition(",")[0] for name in STATES} <= READS.keys()
