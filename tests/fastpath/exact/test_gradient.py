"""The gradient of attention: every entry within its certificate, whatever the options."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.exact import attention as forward
from fastpath.exact import gradient as module
from proofs.judging.heads import shipped_heads
from reference import Verdict
from reference.arithmetic.decide import decide
from reference.gradient import attention_gradient
from tests.fastpath.exact.test_semantics import OPTIONS, drawn


def judged(Q: Any, K: Any, V: Any, dO: Any, options: Any) -> Any:
    """Return the result after every entry of it was decided to lie within its bound."""
    found = fastpath.attention_gradient(Q, K, V, dO, empty_rows="zeros", **options)
    given = {"dQ": Q, "dK": K, "dV": V, "dsinks": options.get("sinks")}
    assert (found.dsinks is None) == (given["dsinks"] is None)
    for name, of in given.items():
        if of is None:
            continue
        part = getattr(found, name)
        assert part.output.dtype == Q.dtype
        assert part.output.shape == np.shape(of)
        verdict, _ = decide(
            lambda bits, name=name: _enclosed(name, bits, Q, K, V, dO, options),
            part.output,
            part.error_bound,
        )
        assert verdict is Verdict.WITHIN, name
    return found


def _enclosed(name: str, bits: int, Q: Any, K: Any, V: Any, dO: Any, options: Any) -> Any:
    """Enclose a derivative, that by a sink added up over what shares it."""
    exact = attention_gradient(Q, K, V, dO, precision=bits, empty_rows="zeros", **options)
    part = getattr(exact, name)
    if name == "dsinks":
        while part.ndim > np.ndim(options["sinks"]):
            part = part.sum(axis=0)
    return part


def with_gradient(rng: Any, names: Any) -> Any:
    """Return Q, K, V, dO and the options of those names."""
    Q, K, V, options = drawn(rng, names)
    dO = rng.choice([1.0, 1e-10, 1e5]) * rng.standard_normal((*Q.shape[:-1], V.shape[-1]))
    return Q, K, V, dO.astype(Q.dtype), options


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let heads of a few keys have several blocks."""
    for of in (forward, module):
        monkeypatch.setattr(of, "KEY_BLOCK", 3)
        monkeypatch.setattr(of, "QUERY_BLOCK", 2)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "names", [(name,) for name in OPTIONS] + list(combinations(OPTIONS, 2)), ids="-".join
)
def test_every_option_and_every_pair_is_within_its_certificate(names: Any) -> None:
    judged(*with_gradient(np.random.default_rng(3), names))


#: Draws in which a row sees no key but one of bias -1e30, whose weight no rounding of scores leaves known.
VAGUE = (7, 56, 119, 122, 131, 183)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "seed",
    [*VAGUE, *(pytest.param(s, marks=pytest.mark.slow) for s in range(200) if s not in VAGUE)],
)
def test_any_combination_of_options_is_within_its_certificate(seed: int) -> None:
    rng = np.random.default_rng(2000 + seed)
    judged(*with_gradient(rng, [name for name in OPTIONS if rng.random() < 0.5]))


def test_the_gradient_of_heads_is_torchs_up_to_the_two_errors() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    shapes = (2, 4, 40, 8), (2, 2, 60, 8), (2, 2, 60, 5)
    Q, K, V = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    dO = rng.standard_normal((2, 4, 40, 5)).astype(np.float32)
    mask = rng.random((40, 60)) < 0.7
    found = fastpath.attention_gradient(Q, K, V, dO, scale=0.25, mask=mask)
    q, k, v = (torch.tensor(x.astype(np.float64), requires_grad=True) for x in (Q, K, V))
    output = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.tensor(mask), scale=0.25, enable_gqa=True
    )
    output.backward(torch.tensor(dO.astype(np.float64)))
    for part, x in zip(found, (q, k, v), strict=True):
        # What float64 errs on torch's side is far below a rounding of float32.
        assert (np.abs(part.output - x.grad.numpy()) <= part.error_bound * (1 + 2.0**-20)).all()


#: What the project promises of the median of largest bound / largest error of float32, a head at a time.
PROMISED_MEDIAN = 10


def test_the_bound_on_real_heads_is_near_the_error() -> None:
    ratios = []
    for head in shipped_heads(largest=64):
        Q, K, V = (x.astype(np.float32) for x in (head.Q, head.K, head.V))
        dO = np.random.default_rng(5).standard_normal(V.shape).astype(np.float32)
        found = fastpath.attention_gradient(Q, K, V, dO)
        exact = fastpath.attention_gradient(*(x.astype(np.float64) for x in (Q, K, V, dO)))
        for part, truth in zip(found, exact, strict=True):
            error = np.abs(part.output - truth.output)
            assert (error <= part.error_bound + truth.error_bound).all()
            ratios.append(part.error_bound.max() / error.max())
    assert np.median(ratios) <= PROMISED_MEDIAN


@pytest.mark.parametrize(
    "options",
    [
        {"causal": True},
        {"window": (60, 30), "softcap": 5.0, "sinks": np.array([0.5, -1.0, 0.0, 2.0])},
    ],
)
def test_no_bit_depends_on_the_number_of_workers(options: Any) -> None:
    rng = np.random.default_rng(6)
    shapes = (4, 1200, 4), (2, 1200, 4), (2, 1200, 3), (4, 1200, 3)
    Q, K, V, dO = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    one, *others = (
        fastpath.attention_gradient(Q, K, V, dO, workers=workers, **options)
        for workers in (1, 2, 3)
    )
    for other in others:
        for a, b in zip(
            (*one, one.dsinks or one.dQ), (*other, other.dsinks or other.dQ), strict=True
        ):
            assert (a.output == b.output).all()
            assert (a.error_bound == b.error_bound).all()


@pytest.mark.parametrize("causal", [False, "upper-left", "lower-right"])
def test_a_window_over_many_blocks_is_the_mask_that_it_stands_for(causal: Any) -> None:
    """Catches: tiles that do not fit where a block keeps them; keys that a window's ends leave out."""
    rng = np.random.default_rng(7)
    shapes = (1500, 2), (1700, 2), (1700, 1), (1500, 1)
    Q, K, V, dO = (rng.standard_normal(shape) for shape in shapes)
    offset = 0 if causal == "upper-left" else 200
    distance = np.arange(1700) - np.arange(1500)[:, None] - offset
    right = 70 if causal is False else 0
    mask = (distance >= -110) & (distance <= right)
    found, expected = (
        fastpath.attention_gradient(Q, K, V, dO, **options)
        for options in ({"window": (110, 70), "causal": causal}, {"mask": mask})
    )
    for a, b in zip(found, expected, strict=True):
        assert (np.abs(a.output - b.output) <= a.error_bound + b.error_bound).all()
        assert np.abs(a.output).max() > 1e6 * a.error_bound.max()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_tiles_whose_scores_lie_far_apart_are_within_their_certificate(sign: float) -> None:
    """Catches: a shift by the largest score of one tile, beside which the others' overflow."""
    Q, K = np.array([[100.0], [-100.0]]), sign * np.array([[9.0], [8.0], [8.5], [-8.0], [-9.0]])
    V = np.arange(5.0)[:, None] ** 2
    judged(Q, K, V, np.array([[1.0], [0.5]]), {})
    judged(Q, K, V, np.array([[1.0], [0.5]]), {"sinks": 500.0})


def test_logits_far_beyond_their_cap_have_finite_bounds() -> None:
    """Catches: the square of an error of tanh that is larger than tanh itself."""
    Q, K = np.array([[1e200]]), np.array([[1e10], [-1e10], [0.0]])
    V, dO = np.array([[1.0], [2.0], [-1.0]]), np.ones((1, 1))
    judged(Q, K, V, dO, {"softcap": 0.5, "bias": np.zeros((1, 3))})


@pytest.mark.parametrize(
    ("dO", "message"),
    [
        (np.ones((2, 2)), r"dO must have the output's shape \(2, 1\), got \(2, 2\)"),
        (np.array([[1.0], [np.nan]]), "dO must be finite, got 1 NaN or infinite of 2"),
        (
            np.full((2, 1), 1e308),
            "no derivative by ., nor what bounds its error, passes the largest float64",
        ),
    ],
)
def test_derivatives_that_make_no_sense_are_refused_by_name(dO: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastpath.attention_gradient(
            np.array([[1.0], [2.0]]), np.array([[50.0], [60.0]]), np.array([[5.0], [7.0]]), dO
        )


@pytest.mark.parametrize(
    ("q", "k", "options"),
    [
        (2.0**90, 2.0**40, {}),
        (2.0**100, 2.0**-100, {"scale": 2.0**40}),
        (1.0, 1.0, {"bias": np.full((1, 1), 2.0**127)}),
        (1.0, 1.0, {"sinks": 2.0**127}),
        (1.0, 1.0, {"scale": 2.0**-130}),
        (1.0, 1.0, {"softcap": 2.0**126}),
    ],
    ids=["scores", "scale and queries", "bias", "sinks", "a scale", "a softcap"],
)
def test_what_attention_refuses_in_float32_has_no_derivatives(
    q: float, k: float, options: dict[str, Any]
) -> None:
    """Catches: derivatives, computed in float64, where float32 has no output."""
    Q, K, V = (np.full((1, 1), x, np.float32) for x in (q, k, 1.0))
    with pytest.raises(ValueError, match=r" in float32, got ") as refused:
        fastpath.attention(Q, K, V, **options)
    with pytest.raises(ValueError, match=r" in float32, got ") as again:
        fastpath.attention_gradient(Q, K, V, np.ones((1, 1)), **options)
    assert str(again.value) == str(refused.value)
    Q, K, V = (x.astype(np.float64) for x in (Q, K, V))
    found = fastpath.attention_gradient(Q, K, V, np.ones((1, 1)), **options)
    assert np.isfinite(found.dQ.output).all()
