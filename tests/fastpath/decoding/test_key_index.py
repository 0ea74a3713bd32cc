"""An index of keys: certificates against the enclosed truth, what is appended, files and refusals."""

import pickle
import threading
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastpath import KeyIndex, QuantisedCache, attention
from fastpath.decoding import boxes, key_index
from fastpath.decoding.key_index import Decoded
from fastpath.exact.prepared import PreparedHead
from proofs.judging.heads import shipped_heads
from reference import Verdict, attention_verdict, log_sum_exp
from reference.arithmetic.decide import decide

TOLERANCES = (0.5, 0.02, 1e-6)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clusters be chosen among few keys, of two each, and blocks be merged often."""
    monkeypatch.setattr(key_index, "FEWEST", 1)
    monkeypatch.setattr(key_index, "LARGEST_SHARE", 1.0)
    monkeypatch.setattr(key_index, "WAITING", 4)
    monkeypatch.setattr(key_index, "MERGED", 3)
    monkeypatch.setattr(boxes, "CLUSTER_KEYS", 2)


def assert_certified(q: Any, K: Any, V: Any, found: Decoded, tolerance: float) -> None:
    """Output and log-sum-exp are within their bounds, and the output within the tolerance unless exact."""
    group, output, bound = (np.atleast_2d(x) for x in (q, found.output, found.error_bound))
    assert np.isfinite(bound).all()
    verdict, _ = attention_verdict(group, K, V, output, bound, precision=192)
    assert verdict is Verdict.WITHIN
    assert found.log_sum_exp is not None
    assert found.log_sum_exp_bound is not None
    verdict, _ = decide(
        lambda bits: log_sum_exp(group, K, precision=bits),
        np.atleast_1d(found.log_sum_exp),
        np.atleast_1d(found.log_sum_exp_bound),
    )
    assert verdict is Verdict.WITHIN
    if found.method == "clusters":
        assert not found.reason
        assert found.error_bound.max() <= tolerance * np.abs(np.asarray(V, float)).max()
    else:
        assert found.reason.endswith(".")


def structured() -> list[Any]:
    rng = np.random.default_rng(5)
    normal = rng.standard_normal
    far = normal((12, 4))
    far[::3] += 40
    cases = {
        "zeros": (np.zeros((2, 4)), np.zeros((5, 4)), np.zeros((5, 2))),
        "zero queries": (np.zeros((2, 4)), normal((6, 4)), normal((6, 2))),
        "constant values": (normal((2, 4)), 3 * normal((9, 4)), np.full((9, 2), -7.77)),
        "equal keys": (normal((2, 4)), np.full((9, 4), 0.3), normal((9, 2))),
        "ties": (np.ones((1, 2)), np.tile([[3.0, -3.0], [-9.0, 1.0]], (6, 1)), normal((12, 2))),
        "one key": (normal((2, 3)), normal((1, 3)), normal((1, 2))),
        "one column": (normal((3, 1)), 9 * normal((17, 1)), normal((17, 1))),
        "far apart": (normal((2, 4)), far, normal((12, 2))),
        "2^100": (2.0**-98 * normal((2, 4)), 2.0**100 * normal((9, 4)), 2.0**100 * normal((9, 2))),
        "1e-30": (1e30 * normal((2, 4)), 1e-30 * normal((9, 4)), 1e-30 * normal((9, 2))),
        "subnormal keys": (np.full((1, 2), 1e8), 1e-310 * normal((6, 2)), normal((6, 1))),
        "float32": tuple(
            x.astype(np.float32)
            for x in (normal((4, 8)), 5 * normal((40, 8)), far[:, :2].repeat(4, 0)[:40])
        ),
        "float32, 1e30": (
            np.float32(1e-29) * normal((2, 4)).astype(np.float32),
            np.float32(1e30) * normal((9, 4)).astype(np.float32),
            np.float32(1e30) * normal((9, 2)).astype(np.float32),
        ),
        "large logits": (30 * normal((2, 4)), 30 * normal((40, 4)), normal((40, 3))),
        "huge logits": (1e150 * normal((2, 4)), 1e150 * normal((9, 4)), normal((9, 2))),
        "float16": tuple((3 * normal(s)).astype(np.float16) for s in ((2, 4), (20, 4), (20, 2))),
        "bfloat16": tuple(
            (3 * normal(s)).astype(ml_dtypes.bfloat16) for s in ((2, 4), (20, 4), (20, 2))
        ),
        "integers": (
            np.ones((1, 2), int),
            np.arange(20).reshape(10, 2) * 3,
            np.arange(10)[:, None],
        ),
        "Fortran": tuple(np.asfortranarray(2 * normal(s)) for s in ((3, 4), (20, 4), (20, 2))),
    }
    return [pytest.param(*case, id=name) for name, case in cases.items()]


@pytest.mark.parametrize(("Q", "K", "V"), structured())
def test_the_truth_is_within_the_bound(Q: Any, K: Any, V: Any) -> None:
    index = KeyIndex(K, V)
    wide = [np.asarray(x).astype(float) for x in (Q, K, V)]
    for tolerance in TOLERANCES:
        assert_certified(*wide, index.attend(Q, tolerance), tolerance)
        assert_certified(wide[0][0], *wide[1:], index.attend(Q[0], tolerance), tolerance)


@pytest.mark.parametrize(("Q", "K", "V"), structured())
def test_the_truth_is_within_the_bound_after_appending_one_by_one(Q: Any, K: Any, V: Any) -> None:
    K, V = (np.asarray(x) for x in (K, V))
    index = KeyIndex(K[:1], V[:1])
    for k, v in zip(K[1:], V[1:], strict=True):
        index.append(k, v)
    assert len(index) == len(K)
    wide = [np.asarray(x).astype(float) for x in (Q, K, V)]
    assert_certified(*wide, index.attend(Q, 0.02), 0.02)


def cluster(monkeypatch: pytest.MonkeyPatch, *sizes: int) -> None:
    """Let keys lie in clusters of these sizes, in their order."""
    monkeypatch.setattr(boxes, "_sorted", lambda k: (np.arange(len(k)), np.array(sizes)))


def light(count: int, total: float) -> tuple[Any, Any, Any]:
    """Give one heavy key of value 0, and light ones of value 1 that weigh so much together beside it."""
    K = np.r_[0.0, np.full(count, np.log(total / count))][:, None]
    return np.ones((1, 1)), K, np.r_[0.0, np.ones(count)][:, None]


def test_keys_that_stay_closed_count_by_what_they_weigh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a count, a weight or a distance that is left out."""
    cluster(monkeypatch, 1, 10, 6)
    for sign in (1, -1):
        Q, K, V = light(16, 0.009)
        found = KeyIndex(K, sign * V).attend(Q, 0.02)
        assert found.method == "clusters"
        assert found.keys_read == 1
        assert_certified(Q, K, sign * V, found, 0.02)
        error = np.abs(attention(Q, K, sign * V).output - found.output)
        assert (found.error_bound <= 1.01 * error).all()
        exact = attention(Q, K, V).log_sum_exp
        assert found.log_sum_exp is not None
        assert found.log_sum_exp_bound is not None
        assert found.log_sum_exp_bound <= 1.02 * np.abs(exact - found.log_sum_exp)


def test_a_key_may_lie_in_the_corner_of_its_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: halves that are left out, or rounded inward."""
    cluster(monkeypatch, 2, 2)
    K = np.array([[0.0], [0.0], [-9.0], [-5.2]])
    V = np.array([[0.0], [0.0], [1.0], [1.0]])
    found = KeyIndex(K, V).attend(np.ones((1, 1)), 0.02)
    assert found.keys_read == 2
    assert_certified(np.ones((1, 1)), K, V, found, 0.02)


def test_a_key_may_lie_in_the_corner_of_its_box_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: the sign of a query's coordinate, left on the half of the box."""
    cluster(monkeypatch, 2, 2)
    K = np.array([[0.0], [0.0], [9.0], [5.2]])
    V = np.array([[0.0], [0.0], [1.0], [1.0]])
    found = KeyIndex(K, V).attend(-np.ones((1, 1)), 0.02)
    assert found.keys_read == 2
    assert_certified(-np.ones((1, 1)), K, V, found, 0.02)


def test_the_heaviest_for_any_query_of_a_group_counts_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster(monkeypatch, 1, 1, 1)
    K = np.array([[0.0, 0.0], [-5.0, -30.0], [-30.0, -5.0]])
    V = np.array([[0.0], [1.0], [1.0]])
    for Q in (np.eye(2), np.eye(2)[::-1]):
        found = KeyIndex(K, V).attend(Q, 0.02)
        assert found.method == "clusters"
        assert_certified(Q, K, V, found, 0.02)


def test_the_rounding_of_attention_on_opened_keys_is_part_of_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster(monkeypatch, 8, 1)
    rng = np.random.default_rng(4)
    K = np.r_[rng.standard_normal((8, 3)), [[-99.0] * 3]].astype(np.float32)
    V = rng.standard_normal((9, 4)).astype(np.float32)
    q = np.ones((1, 3), np.float32)
    found = KeyIndex(K, V).attend(q, 0.02)
    assert found.keys_read == 8
    assert_certified(*(x.astype(float) for x in (q, K, V)), found, 0.02)


def test_keys_that_wait_are_read() -> None:
    Q, K, V = light(6, 0.001)
    index = KeyIndex(K, V)
    index.append([0.0], [1.0])
    found = index.attend(Q, 0.5)
    assert found.method == "clusters"
    assert_certified(Q, np.r_[K, [[0.0]]], np.r_[V, [[1.0]]], found, 0.5)


def test_a_matrix_that_is_no_rotation_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: the distance of the matrix from a rotation, left out."""
    half = boxes.Rotation(np.array([[0.5]]))
    monkeypatch.setattr(boxes.Rotation, "of", classmethod(lambda cls, k: half))
    cluster(monkeypatch, 2, 2)
    K, V = np.array([[20.0], [20.0], [10.0], [10.0]]), np.array([[0.0], [0.0], [1.0], [1.0]])
    found = KeyIndex(K, V).attend(np.ones((1, 1)), 0.3)
    assert_certified(np.ones((1, 1)), K, V, found, 0.3)


def test_a_guess_that_was_too_high_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The middle of a box may have a far larger logit than each of its keys."""
    axes = boxes.Rotation(np.eye(5))
    monkeypatch.setattr(boxes.Rotation, "of", classmethod(lambda cls, k: axes))
    cluster(monkeypatch, 1, 5, 1)
    K = np.full((7, 5), -10.0)
    K[1:6] += 10 * np.eye(5)
    K[0], K[6] = -6.0, -6.4
    V = np.r_[0.0, np.zeros(5), 1.0][:, None]
    found = KeyIndex(K, V).attend(np.ones((1, 5)), 0.02)
    assert found.method == "clusters"
    assert_certified(np.ones((1, 5)), K, V, found, 0.02)


def test_what_overflows_is_opened() -> None:
    rng = np.random.default_rng(2)
    K, V = (rng.standard_normal((12, 2)).astype(np.float32) for _ in "KV")
    K[::2] *= 4000
    q = np.array([[1.0, -1.0], [0.5, 2.0]], np.float32)
    found = KeyIndex(K, V).attend(q, 0.02)
    assert_certified(q.astype(float), K.astype(float), V.astype(float), found, 0.02)


def test_a_value_that_came_last_counts_when_its_key_stays_closed() -> None:
    """Catches: the range of the values before, kept when blocks are sorted."""
    Q, K, V = light(3, 0.001)
    index = KeyIndex(K, V)
    index.attend(Q, 0.5)
    new = np.full((5, 1), np.log(1e-3))
    values = np.r_[[[-5.0]] * 2, [[0.5]] * 3]
    for k, v in zip(new, values, strict=True):
        index.append(k, v)
    K, V = np.r_[K, new], np.r_[V, values]
    found = index.attend(Q, 0.5)
    assert found.keys_read < len(K)
    assert_certified(Q, K, V, found, 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_every_key_lies_in_the_box_of_its_cluster_or_waits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtype = (np.float32, np.float64)[seed % 2]
    d = int(rng.integers(1, 5))
    K, V = ((3 * rng.standard_normal((90, c))).astype(dtype) for c in (d, 2))
    index = KeyIndex(K[:7], V[:7])
    stop = 7
    while stop < 90:
        start, stop = stop, min(90, stop + int(rng.integers(1, 9)))
        index.append(K[start:stop], V[start:stop])
        if seed % 3 == 0:
            index.attend(K[0], 0.1)
        keys, sizes, starts = (x.array for x in (index._keys, index._sizes, index._starts))
        assert np.array_equal(starts, np.cumsum(sizes) - sizes)
        assert sizes.sum() == index._sorted
        assert stop - index._sorted < 4
        assert sum(b.start == 0 for b in index._blocks) == 1
        levels = [b.level for b in index._blocks]
        assert levels == sorted(levels, reverse=True)
        for block, end in zip(
            index._blocks, [b.start for b in index._blocks[1:]] + [index._sorted], strict=True
        ):
            rows = slice(block.start, end)
            first = int(np.searchsorted(starts, block.start))
            assert first == block.first
            last = int(np.searchsorted(starts, end))
            of = np.repeat(np.arange(first, last), sizes[first:last])
            images = (keys[rows] @ index._rotation.matrix).astype(float)
            middles, halves = (x.array[of].astype(float) for x in (index._middles, index._halves))
            # What is recomputed may round otherwise.
            slack = 4 * d * np.finfo(dtype).eps * np.abs(keys).max()
            assert (np.abs(images - middles) <= halves + slack).all()
            assert block.longest_key >= np.linalg.norm(keys[rows].astype(float), axis=1).max()
            assert block.extent >= np.linalg.norm(np.abs(middles) + halves, axis=1).max()
        rows = np.concatenate([keys, index._values.array], axis=1)
        expected = np.concatenate([K[:stop], V[:stop]], axis=1)
        assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, expected.tolist()))
    assert index._rotation.matrix.dtype == dtype


def test_blocks_of_a_size_are_merged() -> None:
    index = KeyIndex(np.ones((1, 1)), np.ones((1, 1)))
    for _ in range(199):
        index.append([1.0], [1.0])
    levels = [b.level for b in index._blocks]
    assert max(levels.count(level) for level in levels) < key_index.MERGED
    assert len(levels) <= (key_index.MERGED - 1) * (max(levels) + 1)


def test_real_heads_are_certified_and_read_in_part() -> None:
    read = []
    for head in shipped_heads():
        index = KeyIndex(head.K, head.V)
        wide = [x.astype(float) for x in head.matrices]
        exact = attention(*wide)
        for row in range(0, len(head.Q), 8):
            rows = slice(row, row + 1 + row % 4)
            found = index.attend(head.Q[rows], 0.02)
            off = np.abs(found.output - exact.output[rows]) + exact.error_bound[rows]
            assert (off <= found.error_bound + 2 * exact.error_bound[rows]).all()
            if found.method == "clusters":
                assert found.error_bound.max() <= 0.02 * np.abs(head.V).max()
                read.append(found.keys_read / len(head.K))
    assert len(read) > 100
    assert min(read) < 0.5


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(300))
def test_the_truth_is_within_the_bound_of_random_keys(seed: int) -> None:
    rng = np.random.default_rng([seed, 77])
    dtype = (np.float32, np.float64)[rng.integers(2)]
    d, n = int(rng.integers(1, 6)), int(rng.integers(1, 60))
    centres = 10.0 ** rng.uniform(-1, 2) * rng.standard_normal((int(rng.integers(1, 6)), d))
    K = centres[rng.integers(0, len(centres), n)] + 10.0 ** rng.uniform(
        -3, 1
    ) * rng.standard_normal((n, d))
    V = rng.standard_normal((n, 2)) * 10.0 ** rng.uniform(-20, 20)
    Q = 10.0 ** rng.uniform(-2, 0.5) * rng.standard_normal((int(rng.integers(1, 5)), d))
    Q, K, V = (x.astype(dtype) for x in (Q, K, V))
    first = int(rng.integers(1, n + 1))
    index = KeyIndex(K[:first], V[:first])
    for k, v in zip(K[first:], V[first:], strict=True):
        if rng.random() < 0.2:
            index.attend(Q, 0.1)
        index.append(k, v)
    tolerance = float(10 ** rng.uniform(-4, -0.1))
    wide = [x.astype(float) for x in (Q, K, V)]
    assert_certified(*wide, index.attend(Q, tolerance), tolerance)


# ------------------------------------------------------------------------------------------- state


def filled() -> tuple[KeyIndex, Any]:
    rng = np.random.default_rng(3)
    K, V = (3 * rng.standard_normal((43, c)).astype(np.float32) for c in (3, 2))
    index = KeyIndex(K[:20], V[:20])
    index.append(K[20:41], V[20:41])
    index.append(K[41], V[41])
    return index, K[42]


def same(first: KeyIndex, second: KeyIndex) -> bool:
    arrays = zip(first._arrays().values(), second._arrays().values(), strict=True)
    return (
        all(np.array_equal(a.array, b.array) for a, b in arrays)
        and first._blocks == second._blocks
        and first._sorted == second._sorted
        and np.array_equal(first._rotation.matrix, second._rotation.matrix)
    )


def of_file(index: KeyIndex, folder: Path) -> KeyIndex:
    index.save(folder / "index")
    return KeyIndex.load(folder / "index")


@pytest.mark.parametrize("way", ["copy", "deepcopy", "pickle", "file"])
def test_a_copy_is_the_same_and_shares_nothing(way: str, tmp_path: Path) -> None:
    index, key = filled()
    ways: dict[str, Callable[[KeyIndex], KeyIndex]] = {
        "copy": copy,
        "deepcopy": deepcopy,
        "pickle": lambda x: pickle.loads(pickle.dumps(x)),
        "file": lambda x: of_file(x, tmp_path),
    }
    other = ways[way](index)
    assert same(index, other)
    before, after = index.attend(key, 0.1), other.attend(key, 0.1)
    assert np.array_equal(before.output, after.output)
    assert np.array_equal(before.error_bound, after.error_bound)
    kept = deepcopy(index)
    for _ in range(9):
        other.append(key, np.full(2, 100, np.float32))
    assert same(index, kept)
    assert len(other) == len(index) + 9
    assert (
        repr(other)
        == f"KeyIndex(K of shape ({len(other)}, 3), V of shape ({len(other)}, 2), float32)"
    )
    assert other.nbytes > index.nbytes


def test_a_file_that_was_changed_or_is_of_another_cache_is_refused(tmp_path: Path) -> None:
    index, _ = filled()
    path = tmp_path / "index"
    index.save(path)
    content = path.read_bytes()
    for changed in (content[:-9], content[:99] + b"x" + content[100:]):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="digest"):
            KeyIndex.load(path)
    QuantisedCache(np.ones((2, 2)), np.ones((2, 2))).save(path)
    with pytest.raises(
        ValueError, match=r"must name a file of key index, 1, got .* of quantised cache"
    ):
        KeyIndex.load(path)


BAD: dict[str, tuple[Callable[[KeyIndex], Any], type[Exception], str]] = {
    "a query of another dimension": (
        lambda x: x.attend(np.ones((2, 4), np.float32), 0.1),
        ValueError,
        r"q must have shape \(3,\) or \(g, 3\), as the index's keys, got \(2, 4\)",
    ),
    "a query of a wider type": (
        lambda x: x.attend(np.ones(3), 0.1),
        TypeError,
        "q must be of a type that float32 holds, as the index's keys are, got float64",
    ),
    "queries of many heads": (
        lambda x: x.attend(np.ones((1, 2, 3), np.float32), 0.1),
        ValueError,
        "q must have shape",
    ),
    "no query": (
        lambda x: x.attend(np.ones((0, 3), np.float32), 0.1),
        ValueError,
        "q must not be empty",
    ),
    "a query that is NaN": (
        lambda x: x.attend(np.full(3, np.nan, np.float32), 0.1),
        ValueError,
        "q must be finite, got 3 NaN",
    ),
    "a query whose logits overflow": (
        lambda x: x.attend(np.full(3, 3e38, np.float32), 0.1),
        ValueError,
        "a logit could overflow",
    ),
    "a query that is no number": (
        lambda x: x.attend(["a", "b", "c"], 0.1),
        TypeError,
        "q must|q\\[0\\] must",
    ),
    "no tolerance": (
        lambda x: x.attend(np.ones(3, np.float32), 0),
        ValueError,
        r"tolerance must be in \(0, 1\), got 0",
    ),
    "a tolerance below zero": (
        lambda x: x.attend(np.ones(3, np.float32), -0.5),
        ValueError,
        r"tolerance must be in \(0, 1\), got -0.5",
    ),
    "a tolerance that is NaN": (
        lambda x: x.attend(np.ones(3, np.float32), np.nan),
        ValueError,
        r"tolerance must be in \(0, 1\), got nan",
    ),
    "a tolerance that is a bool": (
        lambda x: x.attend(np.ones(3, np.float32), True),
        TypeError,
        "tolerance must be a number",
    ),
    "a failure probability without a source of chance": (
        lambda x: x.attend(np.ones(3, np.float32), 0.1, failure_probability=0.1),
        ValueError,
        "failure_probability and rng must be given together, got no rng",
    ),
    "a source of chance without a failure probability": (
        lambda x: x.attend(np.ones(3, np.float32), 0.1, rng=np.random.default_rng(0)),
        ValueError,
        "failure_probability and rng must be given together, got no failure_probability",
    ),
    "a failure probability of 1": (
        lambda x: x.attend(
            np.ones(3, np.float32), 0.1, failure_probability=1, rng=np.random.default_rng(0)
        ),
        ValueError,
        r"failure_probability must be in \(0, 1\), got 1",
    ),
    "a seed for a source of chance": (
        lambda x: x.attend(np.ones(3, np.float32), 0.1, failure_probability=0.1, rng=7),  # type: ignore[arg-type]
        TypeError,
        "rng must be a numpy.random.Generator, got 7",
    ),
    "a wider key": (
        lambda x: x.append(np.ones(3), np.ones(2, np.float32)),
        TypeError,
        "K must be of a type that float32 holds",
    ),
    "a wider value": (
        lambda x: x.append(np.ones(3, np.float32), np.ones(2)),
        TypeError,
        "V must be of a type that float32 holds",
    ),
    "a key of another dimension": (
        lambda x: x.append(np.ones(2, np.float32), np.ones(2, np.float32)),
        ValueError,
        r"K must have shape \(m, 3\)",
    ),
    "more keys than values": (
        lambda x: x.append(np.ones((5, 3), np.float32), np.ones((4, 2), np.float32)),
        ValueError,
        "K and V must have the same number of rows, got 5 and 4",
    ),
    "a value that is infinite": (
        lambda x: x.append(np.ones((5, 3), np.float32), np.full((5, 2), np.inf, np.float32)),
        ValueError,
        "V must be finite",
    ),
    "a key that is NaN": (
        lambda x: x.append(np.full(3, np.nan, np.float32), np.ones(2, np.float32)),
        ValueError,
        "K must be finite",
    ),
    "no key": (
        lambda x: x.append(np.ones((0, 3), np.float32), np.ones((0, 2), np.float32)),
        ValueError,
        "K must not be empty",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_leaves_the_state_as_it_was(name: str) -> None:
    call, error, says = BAD[name]
    index, key = filled()
    index.attend(key, 0.1)
    kept = deepcopy(index)
    with pytest.raises(error, match=says):
        call(index)
    assert same(index, kept)
    assert np.array_equal(index.attend(key, 0.1).output, kept.attend(key, 0.1).output)


@pytest.mark.parametrize(
    ("K", "V", "says"),
    [
        (np.ones(3), np.ones((3, 1)), "K must be a matrix"),
        (np.ones((2, 3, 4)), np.ones((2, 3, 1)), "of several heads each has an index of its own"),
        (np.ones((3, 4)), np.ones((2, 1)), "must have the same number of rows"),
        (np.ones((0, 4)), np.ones((0, 1)), "K must not be empty"),
        (np.full((1, 1), np.nan), np.ones((1, 1)), "K must be finite"),
        (np.ones((1, 1)), np.full((1, 1), 1e308), r"V must not exceed 2\^1021"),
    ],
)
def test_keys_and_values_that_do_not_fit_make_no_index(K: Any, V: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        KeyIndex(K, V)


def test_values_that_could_overflow_are_not_appended() -> None:
    index = KeyIndex(np.ones((2, 1)), np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"V must not exceed 2\^1021"):
        index.append([1.0], [1e308])
    assert len(index) == 2


def test_what_is_given_is_copied() -> None:
    K, V = np.ones((6, 2)), np.arange(12.0).reshape(6, 2)
    index = KeyIndex(K, V)
    before = index.attend(np.ones(2), 0.1).output
    K[:], V[:] = 7, 7
    assert np.array_equal(index.attend(np.ones(2), 0.1).output, before)


def test_threads_append_and_attend_at_once() -> None:
    rng = np.random.default_rng(9)
    K, V = (2 * rng.standard_normal((240, c)) for c in (2, 1))
    index, failed = KeyIndex(K[:40], V[:40]), []

    def run(part: int) -> None:
        try:
            for k, v in zip(K[40 + part :: 4], V[40 + part :: 4], strict=True):
                index.append(k, v)
                found = index.attend(k, 0.1)
                assert np.isfinite(found.error_bound).all()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert len(index) == 240
    assert_certified(K[:2], K, V, index.attend(K[:2], 0.1), 0.1)


def test_few_keys_and_spread_weights_are_read_exactly_and_say_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    K, V = np.zeros((64, 2)), np.arange(64.0)[:, None]
    index = KeyIndex(K, V)
    monkeypatch.setattr(key_index, "LARGEST_SHARE", 0.25)
    spread = index.attend(np.ones(2), 0.02)
    assert spread.method == "exact"
    assert spread.keys_read == 64
    assert spread.reason == "the clusters' bounds leave 100% of the keys to be read."
    monkeypatch.setattr(key_index, "FEWEST", 65)
    few = index.attend(np.ones(2), 0.02)
    assert few.reason == "64 keys are read as fast as chosen among."
    expected = attention(np.ones((1, 2)), K, V)
    off = np.abs(few.output - expected.output[0])
    assert (off <= few.error_bound + expected.error_bound[0]).all()


def test_more_queries_than_gain_by_blocks_have_the_bits_of_attention() -> None:
    rng = np.random.default_rng(11)
    Q, K, V = (rng.standard_normal(s).astype(np.float32) for s in ((17, 3), (40, 3), (40, 2)))
    found, expected = key_index._exact(Q, PreparedHead(K, V)), attention(Q, K, V)
    assert np.array_equal(found.output, expected.output)
    few = key_index._exact(Q[:16], PreparedHead(K, V))
    assert (
        np.abs(few.output - expected.output[:16]) <= few.error_bound + expected.error_bound[:16]
    ).all()
