"""Many heads at once, with a scale: certificates hold for each, whichever way it takes, on any threads."""

from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core.offers import Refusal
from fastpath.core.scaling import scaled
from fastpath.real_heads import attention as real_heads
from fastpath.real_heads import certify as certifying
from reference import Verdict, attention, attention_verdict

N = 24


def heads(*shape: int, n: int = N, d: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((*shape, n, d))


def grouped(dtype: Any = np.float64) -> Any:
    """Return two batches of four query heads that read two key heads."""
    return tuple(x.astype(dtype) for x in (heads(2, 4), heads(2, 2, seed=1), heads(2, 2, seed=2)))


# -------------------------------------------------------------------------------------- certify


def test_a_certificate_of_heads_is_that_of_the_worst_row_of_all() -> None:
    Q, K, V = grouped()
    exact = attention(Q, K, V, scale=0.3)
    output = exact.midpoint()
    output[1, 3, 5, 2] += 0.125
    found = fastpath.certify(Q, K, V, output, scale=0.3, rng=np.random.default_rng(0))
    least, most = exact.distance(output).reshape(-1).largest()
    own = fastpath.attention(Q, K, V, scale=0.3).error_bound.max()
    assert least <= found.error_bound <= np.nextafter(float(most) + 2 * own, 1)
    assert (found.uncovered, found.rows_checked) == (0.0, 2 * 4 * N)
    assert found.output.shape == output.shape


def test_rows_are_drawn_from_all_heads_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as one head takes, each row of each head as likely as any other."""
    Q, K, V = heads(8, n=600), heads(8, n=600, seed=1), heads(8, n=600, seed=2)
    output = fastpath.attention(Q, K, V).output
    seen: list[tuple[Any, Any]] = []
    exact_rows = certifying.exact_rows

    def noted(head: Any, rows: Any) -> Any:
        seen.append((head, rows))
        return exact_rows(head, rows)

    monkeypatch.setattr(certifying, "exact_rows", noted)
    found = fastpath.certify(Q, K, V, output, rng=np.random.default_rng(5), workers=1)
    drawn = np.random.default_rng(5).integers(0, 8 * 600, found.rows_checked)
    assert found.rows_checked == 2062
    expected = np.unique(drawn)
    counted = [rows + 600 * index for index, (_, rows) in enumerate(seen)]
    np.testing.assert_array_equal(np.concatenate(counted), expected)
    for index, (head, _) in enumerate(seen):
        np.testing.assert_array_equal(head.queries, Q[index])


def test_a_head_that_is_wrong_throughout_is_found() -> None:
    Q, K, V = heads(8, n=600), heads(2, n=600, seed=1), heads(2, n=600, seed=2)
    output = fastpath.attention(Q, K, V).output
    output[5] = output[4]
    found = fastpath.certify(Q, K, V, output, rng=np.random.default_rng(0))
    assert found.error_bound > 0.1


def test_an_output_of_a_bad_row_is_refused_with_its_head() -> None:
    Q, K, V = grouped()
    output = np.zeros(Q.shape)
    output[1, 2, 7, 0] = np.nan
    with pytest.raises(ValueError, match=r"in row 7 of head \(1, 2\)"):
        fastpath.certify(Q, K, V, output, rng=np.random.default_rng(0))


def test_a_row_that_sees_nothing_is_refused_whichever_rows_are_drawn() -> None:
    n = 3000
    Q, K, V = (heads(2, n=n, d=1, seed=seed) for seed in range(3))
    seen = np.ones((2, n, 1), bool)
    seen[1, 1234] = False
    for call in (
        lambda **o: fastpath.certify(Q, K, V, V, rng=np.random.default_rng(0), **o),
        lambda **o: fastpath.certified_attention(Q, K, V, tolerance=0.1, **o),
    ):
        with pytest.raises(ValueError, match=r"query 1234 of head \(1,\) must see a key or a sink"):
            call(mask=seen)
        with pytest.raises(ValueError, match=r"query 1234 of head \(1,\) must see a key or a sink"):
            call(bias=np.where(seen, 0.0, -np.inf))
    with pytest.raises(ValueError, match=r"query 2500 of head \(0,\) must see"):
        fastpath.certified_attention(
            Q, K[:, :2000], V[:, :2000], tolerance=0.1, causal="upper-left", window=(500, None)
        )


def test_options_of_one_head_are_its_own() -> None:
    Q, K, V = grouped()
    rng = np.random.default_rng(9)
    seen = rng.random((2, 4, N, N)) < 0.5
    seen[..., -1] = True
    bias = rng.standard_normal((4, N, N))
    for options in ({"mask": seen}, {"bias": bias}):
        found = fastpath.certified_attention(Q, K, V, tolerance=0.1, **options)
        exact = fastpath.attention(Q, K, V, **options)
        np.testing.assert_array_equal(found.output, exact.output)
        certified = fastpath.certify(Q, K, V, exact.output, rng=np.random.default_rng(0), **options)
        assert certified.error_bound <= np.nextafter(2 * exact.error_bound.max(), 1)


# ------------------------------------------------------------------------------------- the ways


def every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_heads, "LARGE", 0)
    monkeypatch.setattr(real_heads, "exact_cost", lambda head: np.inf)


def sharp(*shape: int, n: int = 120) -> Any:
    rng = np.random.default_rng(3)
    K = rng.standard_normal((*shape, n, 3))
    Q = 30 * K[..., rng.integers(0, 4, n), :] + rng.standard_normal(K.shape) / 20
    return Q, K, rng.standard_normal((*shape, n, 2))


@pytest.mark.parametrize("scale", [0.25, 0.3, -0.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("way", ["polynomial", "dropped keys"])
def test_every_way_takes_a_scale_and_heads(
    way: str, dtype: Any, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_way(monkeypatch)
    if way == "polynomial":
        Q, K, V = heads(4, n=60, d=2) / 8, heads(2, n=60, d=2, seed=1), heads(2, n=60, seed=2)
    else:
        Q, K, V = sharp(2)
        Q *= 4
    Q, K, V = (x.astype(dtype) for x in (Q, K, V))
    found = fastpath.certified_attention(Q, K, V, tolerance=0.01, scale=scale)
    assert found.method == way, found.reason
    verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound, scale=scale)
    assert verdict is Verdict.WITHIN
    largest = np.abs(V).max(axis=(-2, -1)).repeat(len(Q) // len(V))[:, None, None]
    assert (found.error_bound <= 0.01 * largest.astype(float)).all()
    assert ("FP.scores" in found.claims) == (scale != 0.25)


def test_the_rounding_of_a_scale_is_in_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of the tolerance, and dropped keys may take what it leaves."""
    every_way(monkeypatch)
    allowed: list[float] = []
    planned = real_heads.DroppedKeys.planned

    def noted(head: Any, given: float, rng: Any) -> Any:
        allowed.append(given)
        return planned(head, given, rng)

    monkeypatch.setattr(real_heads.DroppedKeys, "planned", noted)
    monkeypatch.setattr(real_heads, "SCALING_ROOM", 0.5)
    rng = np.random.default_rng(0)
    K = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
    Q = (500 * rng.choice([-1, 1], 200) + rng.standard_normal(200)).astype(np.float32)[:, None]
    V = rng.standard_normal((200, 2)).astype(np.float32)
    made = scaled(Q, 0.3)
    magnitude = np.abs(made.queries[:, 0].astype(float)) * 3
    shift = made.output_shift(magnitude, 3.0, np.ptp(V.astype(float), axis=0))
    largest = float(np.abs(V).max())
    tolerance = 10 * float(shift.max()) / largest
    found = fastpath.certified_attention(Q, K, V, tolerance=tolerance, scale=0.3)
    left = (tolerance - float(shift.max()) / largest) * (1 - 1e-6)
    plain = fastpath.certified_attention(made.queries, K, V, tolerance=left)
    assert found.method == plain.method == "dropped keys", found.reason
    assert (found.error_bound <= tolerance * largest).all()
    assert (found.error_bound >= plain.error_bound + 0.99 * shift).all()
    assert allowed[0] + shift.max() <= tolerance * largest


def test_a_scale_whose_rounding_takes_too_much_leaves_exact_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every_way(monkeypatch)
    Q, K, V = (x.astype(np.float32) for x in sharp())
    found = fastpath.certified_attention(Q, K, V, tolerance=1e-6, scale=0.3)
    assert found.method == "exact"
    assert "rounding scale times Q may move an output by" in found.reason


def test_heads_that_take_different_ways_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    every_way(monkeypatch)
    Q, K, V = sharp(2, n=120)
    Q[1] /= 1000
    found = fastpath.certified_attention(Q, K, V, tolerance=0.01)
    assert found.method == "dropped keys, polynomial"
    assert "dropped keys for head 0: " in found.reason
    assert "polynomial for head 1: " in found.reason
    verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound)
    assert verdict is Verdict.WITHIN


def test_heads_share_the_failure_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    every_way(monkeypatch)
    monkeypatch.setattr(real_heads.SampledKeys, "planned", lambda *_: Refusal(reason=""))
    chances: list[float] = []
    draw = real_heads.DrawnRows.of

    def noted(given: Any, uncovered: float, chance: float, *more: Any) -> Any:
        chances.append(chance)
        assert given.options.scale == 0.4  # not the head whose queries were scaled
        return draw(given, uncovered, chance, *more)

    monkeypatch.setattr(real_heads.DrawnRows, "of", noted)
    Q, K, V = (heads(3, n=600, d=8, seed=seed) for seed in range(3))
    found = fastpath.certified_attention(
        Q,
        K,
        V,
        tolerance=0.9,
        rows="quantile",
        uncovered=0.4,
        failure_probability=1e-6,
        scale=0.4,
        rng=np.random.default_rng(0),
        workers=1,
    )
    assert found.method == "clusters", found.reason
    assert (found.uncovered, found.failure_probability) == (0.4, 1e-6)
    assert len(chances) >= 3
    assert sum(chances) <= 1e-6
    exact = fastpath.attention(Q, K, V, scale=0.4)
    outside = (np.abs(found.output - exact.output) > found.error_bound + exact.error_bound).any(-1)
    assert (outside.mean(axis=-1) <= 0.4).all()


def test_options_that_only_exact_attention_takes_are_named() -> None:
    Q, K, V = grouped()
    found = fastpath.certified_attention(Q, K, V, tolerance=0.1, softcap=3.0, sinks=np.ones(4))
    assert found.method == "exact"
    assert "a softcap, sinks: taken by exact attention only" in found.reason
    exact = fastpath.attention(Q, K, V, softcap=3.0, sinks=np.ones(4))
    for name in ("output", "error_bound", "log_sum_exp", "log_sum_exp_bound"):
        np.testing.assert_array_equal(getattr(found, name), getattr(exact, name))


@pytest.mark.parametrize("causal", ["upper-left", "lower-right"])
def test_an_alignment_of_a_square_is_causal_attention(
    causal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_way(monkeypatch)
    Q, K, V = heads(2, d=2) / 8, heads(2, d=2, seed=1), heads(2, seed=2)
    found = fastpath.certified_attention(Q, K, V, tolerance=0.01, causal=causal)
    assert found.method == "polynomial"
    verdict, _ = attention_verdict(Q, K, V, found.output, found.error_bound, causal=True)
    assert verdict is Verdict.WITHIN


# -------------------------------------------------------------------------------------- threads


def test_no_bit_depends_on_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    every_way(monkeypatch)
    Q, K, V = sharp(3)
    Q[1] /= 1000
    output = fastpath.attention(Q, K, V).output + 0.01

    def everything(workers: int) -> list[Any]:
        rng = np.random.default_rng(0)
        found = fastpath.certified_attention(Q, K, V, tolerance=0.01, rng=rng, workers=workers)
        certified = fastpath.certify(Q, K, V, output, rng=rng, workers=workers)
        return [found.output, found.error_bound, certified.error_bound]

    for one, many in zip(everything(1), everything(5), strict=True):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2"])
def test_workers_that_are_none_are_refused(workers: Any) -> None:
    Q, K, V = heads(), heads(), heads()
    with pytest.raises((TypeError, ValueError), match="workers must be"):
        fastpath.certify(Q, K, V, V, rng=np.random.default_rng(0), workers=workers)
    with pytest.raises((TypeError, ValueError), match="workers must be"):
        fastpath.certified_attention(Q, K, V, tolerance=0.1, workers=workers)
    with pytest.raises((TypeError, ValueError), match="workers must be"):
        fastpath.polynomial_attention(Q, K, V, tolerance=0.1, workers=workers)
    with pytest.raises((TypeError, ValueError), match="workers must be"):
        fastpath.gram(Q, workers=workers)
