"""Heads made to leave the model of arithmetic: whatever is certified of them is so, by Arb at 200 bits.

A proof ends at a formula, and the program that computes it may overflow, underflow or hide a NaN on its
way.  Each family drives one kind of intermediate to where that happens.
"""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import flint
import numpy as np
import pytest

import fastpath
from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.head import Head as CheckedHead
from fastpath.core.offers import Refusal
from fastpath.polynomial import attention as polynomial
from fastpath.real_heads import attention as real_heads
from fastpath.real_heads import dropped_keys as dropping
from fastpath.real_heads.dropped_keys import DroppedKeys

Head = tuple[Any, Any, Any]


def exact_attention(Q: Any, K: Any, V: Any, causal: bool, bits: int) -> list[list[flint.arb]]:
    """Return attention of the given floats, enclosed: the definition, in another library's arithmetic."""
    flint.ctx.prec = bits
    q, k, v = (flint.arb_mat([[flint.arb(float(x)) for x in row] for row in A]) for A in (Q, K, V))
    logits = q * k.transpose()
    rows = []
    for i in range(len(Q)):
        seen = range(i + 1) if causal else range(len(K))
        weights = [logits[i, j].exp() for j in seen]
        total = sum(weights, flint.arb(0))
        rows.append(
            [
                sum((w * v[j, c] for w, j in zip(weights, seen, strict=True)), flint.arb(0)) / total
                for c in range(V.shape[1])
            ]
        )
    return rows


def violations(head: Head, causal: bool, result: Any) -> list[str]:
    """Return where an output is not within its bound, or not known to be."""
    output, bound = (
        np.asarray(result.output),
        np.broadcast_to(result.error_bound, result.output.shape),
    )
    if not (np.isfinite(output).all() and np.isfinite(bound).all() and (bound >= 0).all()):
        return [f"output {output} with bound {bound} is no certificate"]
    undecided = list(np.ndindex(output.shape))
    for bits in (200, 1000, 4000):
        exact = exact_attention(*head, causal, bits)
        found, left = [], []
        for i, c in undecided:
            error = abs(flint.arb(float(output[i, c])) - exact[i][c])
            if error > flint.arb(float(bound[i, c])):
                found.append(f"entry ({i}, {c}) errs by {error.str(5)}, bound {bound[i, c]:.6g}")
            elif not error <= flint.arb(float(bound[i, c])):
                left.append((i, c))
        if found or not left:
            return found
        undecided = left
    return [f"undecided at {undecided}"]


# ------------------------------------------------------------------------------------- families


def _range(dtype: Any) -> tuple[float, float]:
    """Return the logarithms of the largest and of the smallest normal number."""
    information = np.finfo(dtype)
    return float(np.log(information.max)), float(np.log(information.tiny))


def _values(rng: Any, n: int, heavy: Any) -> Any:
    """Draw values, those of the heavy keys small beside the others, so that only the sum of weights
    overflows, or so near to 2 that the weighted sum does before it.
    """
    v = rng.uniform(-1, 1, (n, 2))
    v[heavy] = rng.choice([0.0625, 0.01, 1e-3, 1.99]) * rng.uniform(0.5, 1, (len(heavy), 2))
    v[0] = 1.99, -1.99
    return v


def late_weights(rng: Any, dtype: Any) -> Head:
    """Later keys outweigh the first block by about what overflows, one by one or together."""
    n, d = int(rng.integers(8, 20)), int(rng.integers(1, 4))
    heavy = rng.permutation(np.arange(3, n))[: rng.integers(1, 5)]
    width = rng.choice([0.5, 4.0])
    gap = _range(dtype)[0] - np.log(len(heavy)) + rng.uniform(-width, width)
    size = rng.uniform(0.5, 30)
    q = np.zeros((int(rng.integers(1, 7)), d))
    q[:, 0] = size * (1 + rng.uniform(0, 0.005, len(q)))
    k = rng.choice([0.0, 0.1]) * rng.standard_normal((n, d))
    k[:, 0] += rng.uniform(-50, 50) / size
    k[heavy, 0] += gap / size
    return q, k, _values(rng, n, heavy)


def hidden_maximum(rng: Any, dtype: Any) -> Head:
    """All logits of the first keys are far below the rest, or far below zero all of them."""
    n, d = int(rng.integers(5, 16)), 2
    q = rng.uniform(0.5, 2, (4, d))
    k = -rng.uniform(0, 1, (n, d)) * 10.0 ** rng.uniform(0, 5)
    k[: rng.integers(1, 4)] *= 10.0 ** rng.uniform(0, 4)
    return q, k, rng.uniform(-1, 1, (n, 2))


def near_underflow(rng: Any, dtype: Any) -> Head:
    """All but a few weights are near the smallest number, and many of them count together."""
    n = int(rng.integers(6, 24))
    q = np.ones((4, 1)) * (1 + rng.uniform(0, 0.05, (4, 1)))
    k = np.full((n, 1), _range(dtype)[1]) + rng.uniform(-20, 8, (n, 1))
    k[rng.integers(0, n)] = rng.uniform(-1, 1)
    v = rng.uniform(0.5, 1, (n, 2))
    v[np.argmax(k)] = 10.0 ** -rng.uniform(0, 40, 2)
    return q, k, v


def near_unshifted(rng: Any, dtype: Any) -> Head:
    """Logits about as large as where the shift sets in."""
    limit = 40.0 if dtype == np.float32 else 300.0
    n = int(rng.integers(3, 12))
    scale = limit * (1 + rng.uniform(-1e-3, 1e-3))
    sign = rng.choice([-1.0, 1.0], (n, 1))
    k = rng.choice([1.0, 0.999, 0.5], (n, 1)) * sign if rng.random() < 0.7 else -np.ones((n, 1))
    return (
        np.full((3, 1), scale),
        k,
        rng.uniform(-1, 1, (n, 2)) * 2.0 ** rng.integers(-60, 1, (n, 2)),
    )


def one_hot(rng: Any, dtype: Any) -> Head:
    """Keys are unit vectors, queries multiples of them."""
    d = int(rng.integers(2, 7))
    size = 10.0 ** rng.uniform(-2, 3)
    return size * np.eye(d)[rng.integers(0, d, 5)], np.eye(d), np.eye(d)[:, :2] - 0.5


def ties(rng: Any, dtype: Any) -> Head:
    """Equal keys, zero queries, equal values."""
    n = int(rng.integers(2, 14))
    k = rng.choice([0.0, 1.0, -1.0], (n, 2)) * 10.0 ** rng.uniform(-3, 2)
    q = rng.choice([0.0, 1.0, -0.0], (4, 2)) * 10.0 ** rng.uniform(-3, 2)
    v = rng.choice([0.0, -0.0, 1.0, 1.0 + 2.0**-20], (n, 2))
    if rng.random() < 0.3:
        v[:] = v[0]
    return q, k, v * 10.0 ** rng.uniform(-30, 30)


def cancelling(rng: Any, dtype: Any) -> Head:
    """Values, and products in a logit, that cancel but for their last bits."""
    n = 2 * int(rng.integers(1, 8))
    big = 10.0 ** rng.uniform(0, 5)
    q = np.column_stack([np.full(4, big), np.full(4, big), rng.standard_normal(4)])
    a = rng.uniform(0.5, 1, n)
    k = np.column_stack([a, -a * (1 + 1e-7 * rng.standard_normal(n)), rng.standard_normal(n)])
    v = rng.uniform(0.5, 1, (n, 2))
    v[1::2] = -v[::2] * (1 + 1e-7)
    return q, k, v


def mixed_scales(rng: Any, dtype: Any) -> Head:
    """Variables whose keys are tiny and queries huge, or the reverse, with logits of ordinary size."""
    n, d = int(rng.integers(2, 10)), int(rng.integers(1, 4))
    most = 36.0 if dtype == np.float32 else 290.0
    scale = 10.0 ** rng.uniform(-most, most, d)
    q = rng.standard_normal((4, d)) * scale
    k = rng.standard_normal((n, d)) / scale * 10.0 ** rng.uniform(-3, 1)
    if rng.random() < 0.3:
        k[rng.integers(0, n), rng.integers(0, d)] *= 10.0 ** rng.uniform(-40, 3)
    if rng.random() < 0.3:
        q[rng.integers(0, 4)] *= 10.0 ** rng.uniform(-40, 1)
    return q, k, rng.uniform(-1, 1, (n, 2))


def extreme_values(rng: Any, dtype: Any) -> Head:
    """Values from subnormal numbers to the largest, in one column or in several."""
    information = np.finfo(dtype)
    low, high = np.log10(float(information.smallest_subnormal)), np.log10(float(information.max))
    n = int(rng.integers(2, 10))
    high -= 0 if dtype == np.float32 else 1.2  # 2^1021 is the most that is taken
    v = rng.choice([-1.0, 1.0], (n, 3)) * 10.0 ** rng.uniform(low, high, (n, 3))
    v[:, 1] = rng.choice([-1.0, 1.0]) * 10.0 ** (high - 1e-6)
    if rng.random() < 0.5:
        v[:, 2] = rng.choice([0, 1, 3], n) * float(information.smallest_subnormal)
    return 3 * rng.standard_normal((4, 2)), rng.standard_normal((n, 2)), v


def nearly_overflowing_logits(rng: Any, dtype: Any) -> Head:
    """Lengths whose product is about the largest that is taken, with logits that cancel or do not."""
    n, d = int(rng.integers(2, 8)), int(rng.integers(1, 4))
    most = float(np.finfo(dtype).max) ** 0.5 / 3
    q, k = rng.uniform(-1, 1, (3, d)), rng.uniform(-1, 1, (n, d))
    q *= most * 10.0 ** rng.uniform(-3, 0.2)
    k *= most * 10.0 ** rng.uniform(-3, 0.2)
    if rng.random() < 0.5:
        k[:] = k[0]
    return q, k, rng.uniform(-1, 1, (n, 2))


def far_from_their_cluster(rng: Any, dtype: Any) -> Head:
    """Few queries of a cluster see keys that the others do not, with small values: sums overflow."""
    gap = _range(dtype)[0] + rng.uniform(-4, 4)
    few, count, far = int(rng.integers(1, 5)), int(rng.integers(20, 50)), rng.uniform(5, 60)
    size = rng.uniform(5, 20)
    q = np.zeros((count + few, 2))
    q[:, 0] = size
    q[count:, 1] = (5 * size + gap + rng.uniform(-3, 3, few)) / far
    heavy = np.arange(2, 2 + rng.integers(1, 6))
    k = np.zeros((len(heavy) + 2, 2))
    k[:2, 0], k[heavy, 1] = 5, far
    v = _values(rng, len(k), heavy)
    v[1] = -1, 1
    return q, k, v


def shards_of_other_scales(rng: Any, dtype: Any) -> Head:
    """Logits of ordinary size, of keys of which one half is far larger or far from the other."""
    n, d = int(rng.integers(2, 14)), int(rng.integers(1, 4))
    most = 30.0 if dtype == np.float32 else 280.0
    scale = 10.0 ** rng.uniform(-most, most, 2)
    k = rng.uniform(-1, 1, (n, d)) * np.where(np.arange(n) < n // 2, *scale)[:, None]
    if rng.random() < 0.4:
        k += scale.max() * rng.uniform(-3, 3, d)
    k[:, rng.integers(0, d)] *= 10.0 ** -rng.choice([0.0, 5.0, 30.0])
    q = rng.uniform(-1, 1, (4, d)) * 10.0 ** rng.uniform(-3, 0.5) / np.abs(k).max()
    low = float(np.log10(np.finfo(dtype).tiny))
    return (
        q,
        k,
        rng.uniform(-1, 1, (n, 2)) * 10.0 ** rng.choice([0.0, low, low / 2, -low / 2], (n, 1)),
    )


def anything(rng: Any, dtype: Any) -> Head:
    """Logarithms of magnitudes are uniform."""
    n, d = int(rng.integers(1, 12)), int(rng.integers(1, 4))
    most = 18.0 if dtype == np.float32 else 150.0
    q, k, v = (
        rng.choice([-1.0, 1.0], shape)
        * 10.0 ** (rng.uniform(-most, most) + rng.uniform(-3, 1, shape))
        for shape in ((4, d), (n, d), (n, 2))
    )
    return q, k, v


FAMILIES: tuple[Callable[[Any, Any], Head], ...] = (
    late_weights, hidden_maximum, near_underflow, near_unshifted, one_hot, ties, cancelling,
    mixed_scales, extreme_values, nearly_overflowing_logits, far_from_their_cluster,
    shards_of_other_scales, anything,
)  # fmt: skip

# ---------------------------------------------------------------------------------------- ways

#: What a refusal says; any other ValueError is none.
REFUSAL = re.compile(" must ")


@standard_arithmetic
def _dropped(head: Head, tolerance: float) -> Any:
    """Return what is certified by dropping keys, or why that is refused."""
    checked = CheckedHead.of(*head, causal=False)
    allowed = tolerance * float(np.abs(checked.values).max())
    planned = DroppedKeys.planned(checked, allowed, np.random.default_rng(0))
    return planned if isinstance(planned, Refusal) else planned.attend()


def _moments(head: Head, rng: Any) -> Any:
    q, k, v = head
    state = fastpath.MomentState(k.shape[1], v.shape[1], int(rng.integers(1, 13)))
    half = len(k) // 2
    if half:
        other = fastpath.MomentState(state.d, state.d_v, state.degree)
        other.update(k[:half], v[:half])
        state.update(k[half:], v[half:])
        state.merge(other)
    else:
        state.update(k, v)
    if rng.random() < 0.5:
        state = state.recentred(k[0].astype(np.float64))
    return state.query(q)


def ways(head: Head, rng: Any) -> Iterator[tuple[str, Head, bool, Callable[[], Any]]]:
    """Yield every way to a certificate for a head: its name, head, mask, and what computes it."""
    q, k, v = head
    n = min(len(q), len(k))
    square = q[:n], k[-n:], v[-n:]
    tolerance = float(rng.choice([1e-6, 1e-3, 0.03, 0.3, 0.9]))
    yield "attention", head, False, lambda: fastpath.attention(*head)
    yield "causal attention", square, True, lambda: fastpath.attention(*square, causal=True)
    yield (
        "polynomial",
        head,
        False,
        lambda: fastpath.polynomial_attention(*head, tolerance=tolerance),
    )
    yield (
        "causal polynomial",
        square,
        True,
        lambda: fastpath.polynomial_attention(*square, tolerance=tolerance, causal=True),
    )
    yield "moments", head, False, lambda: _moments(head, rng)
    yield "dropped keys", head, False, lambda: _dropped(head, tolerance)
    yield (
        "certified_attention",
        head,
        False,
        lambda: fastpath.certified_attention(*head, tolerance=tolerance),
    )


def attack(family: Callable[[Any, Any], Head], dtype: Any, seed: int) -> dict[str, int]:
    """Certify one head in every way; return which were certified and which refused, or fail."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        drawn = [x.astype(dtype) for x in family(rng, dtype)]
    if not all(np.isfinite(x).all() for x in drawn):
        return {}
    head: Head = (drawn[0], drawn[1], drawn[2])
    counts: dict[str, int] = {}
    for name, given, causal, way in ways(head, rng):
        try:
            result = way()
        except ValueError as error:
            if not REFUSAL.search(str(error)):
                raise
            result = Refusal(reason=str(error))
        if isinstance(result, Refusal):
            counts[f"{name}, refused"] = 1
            continue
        found = violations(given, causal, result)
        assert not found, (
            f"{name} of {family.__name__}(np.random.default_rng({seed}), np.{dtype.__name__}): {found[0]}"
        )
        counts[name] = 1
    return counts


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let heads of a few keys have several blocks, and let them be planned for."""
    exact = import_module("fastpath.exact.attention")
    for module, name, value in (
        (exact, "KEY_BLOCK", 3),
        (exact, "QUERY_BLOCK", 2),
        (polynomial, "CAUSAL_BLOCK", 2),
        (dropping, "CLUSTERS", 1.0),
        (dropping, "KEPT_KEY_BLOCK", 3),
        (dropping, "CENTRE_BLOCK", 4),
        (dropping, "TOGETHER", 2),
        (real_heads, "LARGE", 0),
        (real_heads, "exact_cost", lambda head: np.inf),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_certified_of_a_head_at_the_edges_is_so(family: Any, dtype: Any) -> None:
    for seed in range(6):
        attack(family, dtype, seed)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_certified_of_many_heads_at_the_edges_is_so(family: Any, dtype: Any) -> None:
    total: dict[str, int] = {}
    for seed in range(1000, 1300):
        for name, count in attack(family, dtype, seed).items():
            total[name] = total.get(name, 0) + count
    print(family.__name__, dtype.__name__, total)
    assert total["attention"] > 100


def large_far_from_their_cluster(rng: Any, dtype: Any) -> Head:
    """The family in which dropped keys once failed, with many clusters, and with noise."""
    n, d, count = int(rng.integers(300, 1200)), int(rng.integers(2, 17)), int(rng.integers(1, 40))
    directions = rng.standard_normal((count, d))
    directions[:, -1] = 0
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sizes, noise = (rng.uniform(5, 30), rng.uniform(1, 6)), 10.0 ** rng.uniform(-3, -1)
    q, k = (
        size * directions[rng.integers(0, count, n)] + noise * rng.standard_normal((n, d))
        for size in sizes
    )
    q[:, -1] = k[:, -1] = 0
    far, few = (rng.permutation(n)[: rng.integers(1, most)] for most in (30, n // 3))
    size = rng.uniform(5, 60)
    k[far], k[far, -1] = 0, size
    overflow = sizes[0] * sizes[1] + _range(dtype)[0]
    q[few, -1] = (overflow + np.linspace(-6, 6, len(few))) / size
    v = rng.choice([0.05, 0.3, 1e-3]) * (1 + rng.random((n, 4)))
    v[0], v[1] = 1, rng.choice([-1, 0, 1])
    return q, k, v


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_certified_of_many_large_heads_by_dropping_keys_is_so(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With blocks and clusters as they are; the truth is exact attention in float64, within its bound."""
    monkeypatch.undo()
    dropped = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        q, k, v = (x.astype(dtype) for x in large_far_from_their_cluster(rng, dtype))
        found = _dropped((q, k, v), float(rng.choice([0.3, 0.03, 1e-3])))
        if isinstance(found, Refusal):
            continue
        dropped += 1
        exact = fastpath.attention(*(x.astype(np.float64) for x in (q, k, v)))
        error = np.abs(found.output - exact.output)
        assert (error <= found.error_bound + exact.error_bound).all(), seed
    assert dropped > 100
