"""A coreset by halving: certificates against the enclosed truth, what it holds, merged, saved and refused."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastpath import BalancedCoreset, attention
from fastpath.decoding import balanced_coreset, discrepancy
from fastpath.decoding.balanced_coreset import Recalled
from proofs.judging.heads import shipped_heads
from reference import Verdict, attention_verdict
from tests.fastpath.decoding.test_key_index import structured

SIZE = 8


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so few keys be kept that the truth is quickly enclosed; fewer than 2^8 have fewer weights."""
    monkeypatch.setattr(balanced_coreset, "LEAST_SIZE", SIZE)


def coreset(K: Any, V: Any, seed: int = 0, size: int = SIZE, **options: Any) -> BalancedCoreset:
    made = BalancedCoreset(
        np.shape(K)[1],
        np.shape(V)[1],
        size=size,
        rng=np.random.default_rng(seed),
        **options,
    )
    made.absorb(K, V)
    return made


def assert_certified(Q: Any, K: Any, V: Any, found: Recalled) -> None:
    """Return whether output is within its bound, which is never more than the farthest value's distance."""
    wide = [np.asarray(x).astype(float) for x in (Q, K, V)]
    output = found.output.astype(float)
    assert np.isfinite(output).all()
    assert np.isfinite(found.error_bound).all()
    farthest = np.abs(wide[2][None] - output[:, None]).max(axis=1)
    near = np.abs(wide[2]).max(axis=0) * 2.0**-90 + 2.0**-1070
    assert (found.error_bound <= farthest * (1 + 2.0**-40) + near).all()
    assert attention_verdict(*wide, output, found.error_bound, precision=192)[0] is Verdict.WITHIN


@pytest.mark.parametrize(("Q", "K", "V"), structured())
def test_the_truth_is_within_the_bound(Q: Any, K: Any, V: Any) -> None:
    K, V = (np.concatenate(3 * [np.asarray(x)]) for x in (K, V))
    for options in ({}, {"queries": Q}):
        made = coreset(K, V, **options)
        assert len(made) <= SIZE
        assert made.weights.sum() == made.absorbed == len(K)
        assert_certified(Q, K, V, made.attend(Q))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.3, 1.0])
def test_a_bound_is_far_below_the_range_where_logits_are_small(dtype: Any, spread: float) -> None:
    rng = np.random.default_rng(7)
    Q, K = (rng.standard_normal((n, 3)) for n in (4, 150))
    K = (spread * K + [3.0, -1.0, 0.5]).astype(dtype)
    V = rng.standard_normal((150, 2)).astype(dtype)
    Q = (0.4 * Q).astype(dtype)
    made = coreset(K, V, size=64, queries=Q)
    found = made.attend(Q)
    assert_certified(Q, K, V, found)
    assert found.by_discrepancy.all()
    assert (found.error_bound < (0.1 + 0.3 * spread) * np.ptp(V, axis=0)).all()


def test_values_of_equal_keys_are_missed_by_what_the_bound_says() -> None:
    """Catches: a degree, a weight or the numerator's column that is left out."""
    V = np.arange(1.0, 18.0)[:, None] ** 2
    K = np.full((17, 2), 0.25)
    made = coreset(K, V)
    found = made.attend(np.array([[1.0, 2.0]]))
    error = abs(float(found.output[0, 0]) - V.mean())
    assert error > 0
    # A length of 0 is bounded by the root of what rounding makes of its square (FP.discrepancy).
    rounding = np.sqrt((2 * len(V) + 2) * 2.0**-53) * V.max()
    assert error <= found.error_bound[0, 0] <= error + 4 * rounding


def test_keys_of_one_value_are_missed_by_what_the_bound_says_nearly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches: a first degree, or the denominator's column, that is left out."""
    monkeypatch.setattr(balanced_coreset, "FARTHEST", 0.0)
    monkeypatch.setattr(
        discrepancy, "halved", lambda x, v, rng: np.where(x[:, 0] > np.median(x[:, 0]), 1.0, -1.0)
    )
    K = np.r_[np.full(5, -0.01), np.full(5, 0.01)][:, None]
    V = np.r_[-np.ones(5), np.ones(5)][:, None]
    made = coreset(K, V)
    query = np.array([[1.0]])
    found = made.attend(query)
    assert found.output[0, 0] == -1
    error = float(attention(query, K, V).output[0, 0]) + 1
    # The range says 2.
    assert_certified(query, K, V, found)
    assert error <= found.error_bound[0, 0]


def test_what_is_kept_is_exact_until_there_is_too_much() -> None:
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, 4)).astype(np.float32) for n in (3, SIZE, SIZE))
    made = coreset(K, V)
    found, exact = made.attend(Q), attention(Q, K, V)
    assert (found.error_bound <= 4 * exact.error_bound).all()
    assert_certified(Q, K, V, found)
    assert not found.by_discrepancy.any()
    made.absorb(K[:1], V[:1])
    assert len(made) <= SIZE


@pytest.mark.parametrize("level", [0, 1, 5])
@pytest.mark.parametrize("seed", range(6))
def test_a_ledger_bounds_what_is_missing_whatever_its_frame(seed: int, level: int) -> None:
    """Catches: a centre, a power of two, a weight, or how far a matrix is from a rotation, left out."""
    rng = np.random.default_rng(seed)
    n, d = 2 * int(rng.integers(1, 4)), int(rng.integers(1, 4))
    matrix = np.linalg.qr(rng.standard_normal((d, d)))[0] * rng.choice([1.0, 0.9, 1.1])
    frame = discrepancy.Frame(
        centre=rng.normal(0, 2, d),
        rotation=discrepancy.Rotation(matrix),
        exponents=rng.integers(-2, 3, d),
    )
    k = frame.centre + rng.normal(0, 0.3, (n, d)) * np.r_[3.0, np.full(n - 1, 0.1)][:, None]
    v, q = rng.normal(0, 3, (n, 2)), rng.normal(0, 1, (5, d))
    signs = np.tile([1.0, -1.0], n // 2)
    ledger = discrepancy.Ledger.empty(frame, 2).after(k, v, signs, level)
    missing = ledger.missing(q, np.zeros(5))
    weights = signs[:, None] * np.c_[v, np.ones(n)] * 2.0**level
    truth = np.abs(np.exp(q @ k.T) @ weights)
    assert (truth <= missing).all()
    assert np.isfinite(missing).all()


def test_a_ledgers_numbers_are_at_least_what_they_stand_for_and_hardly_more() -> None:
    rng = np.random.default_rng(3)
    k, v = rng.normal(1, 1, (8, 2)), rng.normal(0, 5, (8, 1))
    signs = np.tile([1.0, -1.0], 4)
    frame = discrepancy.Frame.of(k, None)
    empty = discrepancy.Ledger.empty(frame, 1)
    ledger = empty.after(k, v, signs, 3)
    x = [[Fraction(float(a)) for a in row] for row in frame.keys(k)]
    for column, weights in enumerate((v[:, 0], np.ones(8))):
        w = [Fraction(float(a)) * 8 for a in signs * weights]
        assert sum(map(abs, w)) <= Fraction(float(ledger.masses[column]))
        assert ledger.masses[column] <= float(sum(map(abs, w))) * (1 + 1e-12)
        for degree in (0, 1, 2, 3, discrepancy.DEGREES):
            exact = sum(
                w[i] * w[j] * sum(a * b for a, b in zip(x[i], x[j], strict=True)) ** degree
                for i in range(8)
                for j in range(8)
            )
            held = Fraction(float(ledger.norms[degree, column]))
            assert exact <= held**2
            size = sum(
                abs(a) * max(1.0, float(sum(c * c for c in r)) ** 0.5) ** degree
                for a, r in zip(w, x, strict=True)
            )
            assert float(held) <= float(exact) ** 0.5 + 1e-5 * float(size)
    twice = ledger.after(k, v, signs, 3)
    assert (twice.norms >= 2 * ledger.norms).all()
    assert (twice.masses >= 2 * ledger.masses).all()
    turned = frame.keys(k) * 2.0**frame.exponents
    for held, rows in (
        (ledger.longest_image, frame.keys(k)),
        (ledger.longest_turned, turned),
        (ledger.longest_key, k - frame.centre),
    ):
        longest = np.sqrt((rows**2).sum(axis=1)).max()
        assert longest * (1 - 1e-14) <= held <= longest * (1 + 1e-12)
    closer = twice.after(k[:2] / 2 + frame.centre / 2, v[:2], signs[:2], 0)
    assert closer.longest_key == twice.longest_key


def test_rounding_of_a_gram_sum_is_part_of_its_bound() -> None:
    """All cancels but what rounding leaves, of which nothing is known."""
    x = np.array([[1.0, 1 / 3], [1.0, 1 / 3]])
    norms = discrepancy._norms(x, np.full((2, 1), 0.3), np.array([1.0, -1.0]))
    roundings = 2 * 2 + 2
    assert (norms[:, 0] ** 2 >= roundings * 2.0**-53 * 0.6**2).all()
    tiny = discrepancy._norms(1e-200 * x, np.full((2, 1), 1e-200), np.array([1.0, -1.0]))
    assert (tiny**2 >= 2 * 2.0**-1022).all()


def test_halving_takes_one_of_each_pair_of_neighbours() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.standard_normal((20, 3)), 2, axis=0)
    signs = discrepancy.halved(x, np.ones((40, 1)), rng)
    assert (signs.reshape(20, 2).sum(axis=1) == 0).all()


def test_a_walk_with_a_memory_ends_nearer_than_drawn_signs() -> None:
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal((400, 3)) / 2, rng.standard_normal((400, 2))
    signs = discrepancy.halved(x, v, rng)
    drawn = np.repeat(rng.choice([-1.0, 1.0], 200), 2) * np.tile([1.0, -1.0], 200)
    ours, random = (discrepancy._norms(x, np.c_[v, np.ones(400)], s) for s in (signs, drawn))
    assert (ours[1:3] < random[1:3] / 2).all()


@pytest.mark.parametrize(
    "head", [h for h in shipped_heads() if h.name in {"minilm_L0H11_n256"}], ids=str
)
def test_a_mild_real_head_is_certified_by_its_discrepancy(head: Any) -> None:
    Q, K, V = head.Q, head.K, head.V
    found = coreset(K, V, size=192, queries=Q).attend(Q[::16])
    exact = attention(Q[::16], K, V)
    assert (np.abs(found.output - exact.output) <= found.error_bound + exact.error_bound).all()
    assert found.by_discrepancy.mean() > 0.5


def test_parts_that_are_merged_hold_all_keys_and_are_certified() -> None:
    rng = np.random.default_rng(2)
    Q, K, V = (s * rng.standard_normal((n, 2)) for s, n in ((0.2, 3), (1.0, 90), (1.0, 90)))
    parts = [coreset(K[i : i + 30], V[i : i + 30], seed=i, size=64) for i in (0, 30)]
    late = coreset(K[60:], V[60:], seed=9, size=16)
    before = late._contents()
    for part in (parts[1], late):
        parts[0].merge(part)
    assert len(parts[0]) <= 64
    assert parts[0].weights.sum() == parts[0].absorbed == 90
    assert all(np.array_equal(x, late._contents()[name]) for name, x in before.items())
    assert_certified(Q, K, V, parts[0].attend(Q))
    assert len(parts[0]._ledgers) >= 1
    fresh = BalancedCoreset(2, 2, size=64, rng=rng)
    fresh.merge(BalancedCoreset(2, 2, size=64, rng=rng))
    assert fresh.absorbed == 0
    fresh.merge(late)
    assert_certified(Q, K[60:], V[60:], fresh.attend(Q))


def test_values_that_only_the_other_part_had_and_lost_are_in_the_range() -> None:
    K, V = np.zeros((40, 1)), np.zeros((40, 1))
    V[0] = 1e6
    K[0] = 50.0
    for seed in range(8):
        late = coreset(K, V, seed=seed)
        made = coreset(K[1:], V[1:], seed=seed)
        made.merge(late)
        both_K, both_V = np.r_[K[1:], K], np.r_[V[1:], V]
        assert_certified(np.ones((1, 1)), both_K, both_V, made.attend(np.ones((1, 1))))


def test_a_seed_decides_all_and_pieces_do_not_matter_to_the_truth(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    Q, K, V = (0.3 * rng.standard_normal((n, 3)).astype(np.float32) for n in (2, 60, 60))
    one, two, other = coreset(K, V, 1), coreset(K, V, 1), coreset(K, V, 2)
    same = [np.array_equal(x, two._contents()[name]) for name, x in one._contents().items()]
    assert all(same)
    assert not np.array_equal(one._k, other._k)
    one.save(tmp_path / "held")
    loaded = BalancedCoreset.load(tmp_path / "held")
    assert loaded.nbytes == one.nbytes
    for made in (one, loaded):
        made.absorb(K[:20], V[:20])
    assert np.array_equal(one._k, loaded._k)
    a, b = (made.attend(Q) for made in (one, loaded))
    assert np.array_equal(a.output, b.output)
    assert np.array_equal(a.error_bound, b.error_bound)
    assert_certified(Q, np.r_[K, K[:20]], np.r_[V, V[:20]], a)
    pieces = coreset(K[:7], V[:7])
    for start in range(7, 60, 7):
        pieces.absorb(K[start : start + 7], V[start : start + 7])
        assert len(pieces) <= SIZE
    assert_certified(Q, K, V, pieces.attend(Q))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("levels", lambda x: x + 1),
        ("keys", lambda x: x * np.nan),
        ("range", lambda x: x * 0),
        ("0.norms", lambda x: x - 1e300),
        ("0.exponents", lambda x: x + 100),
        ("ledgers", lambda x: x * 0),
        ("numbers", lambda x: x * np.array([1, 1, 1, 2])),
    ],
)
def test_contents_of_no_coreset_are_refused(name: str, change: Any) -> None:
    rng = np.random.default_rng(4)
    arrays = coreset(rng.standard_normal((40, 2)), rng.standard_normal((40, 2)))._contents()
    BalancedCoreset._from_contents(dict(arrays))
    arrays[name] = change(arrays[name]).astype(arrays[name].dtype)
    if name == "ledgers":
        arrays = {n: x for n, x in arrays.items() if not n.startswith("0.")}
    with pytest.raises(ValueError, match="those of a coreset"):
        BalancedCoreset._from_contents(arrays)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="size must be at least 8, got 7"):
        BalancedCoreset(2, 2, size=7, rng=rng)
    with pytest.raises(ValueError, match="queries must have d = 2 columns, got 3"):
        BalancedCoreset(2, 2, size=8, rng=rng, queries=np.ones((4, 3)))
    made = BalancedCoreset(2, 3, size=8, rng=rng)
    with pytest.raises(RuntimeError, match="attend must come after absorb"):
        made.attend(np.ones((1, 2)))
    with pytest.raises(ValueError, match="K must have d = 2 columns, got 3"):
        made.absorb(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="same number of rows, got 2 and 1"):
        made.absorb(np.ones((2, 2)), np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"V must not exceed 2\^1020"):
        made.absorb(np.ones((1, 2)), np.full((1, 3), 1e308))
    made.absorb(np.ones((20, 2), np.float32), np.ones((20, 3), np.float32))
    with pytest.raises(TypeError, match="that float32 holds, as the first keys, got float64"):
        made.absorb(np.ones((1, 2)), np.ones((1, 3), np.float32))
    with pytest.raises(TypeError, match="Q must be of a type that float32 holds"):
        made.attend(np.ones((1, 2)))
    with pytest.raises(ValueError, match="a logit could overflow"):
        made.attend(np.full((1, 2), 1e38, np.float32))
    with pytest.raises(TypeError, match="other must be a BalancedCoreset, got int"):
        made.merge(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other must have d_v = 3, got 2"):
        made.merge(BalancedCoreset(2, 2, size=8, rng=rng))
    other = coreset(np.ones((20, 2)), np.ones((20, 3)))
    with pytest.raises(TypeError, match="other must have keys of float32"):
        made.merge(other)
    assert "of 20 keys, d = 2, d_v = 3, float32" in repr(made)
