"""Bugs that attention kernels have had in public, each planted, each rejected by the case meant for it.

The kernel is online softmax over blocks of keys.  Without a bug it conforms, whichever way it runs.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from proofs.evidence import conformance
from proofs.evidence.conformance import NonConformanceError, judge, judge_certified
from proofs.judging.bars import rounding_bar

Array = NDArray[Any]
CASES = {case.name: case for case in conformance.plain_cases()}


def kernel(
    Q: Array,
    K: Array,
    V: Array,
    causal: bool,
    *,
    backwards: bool = False,
    start: float = -np.inf,
    hidden: float = -np.inf,
    added: bool = False,
    clamped: bool = False,
    unguarded: bool = False,
    maximum_first: bool = False,
    last_shift: int = 0,
    padded: bool = False,
    rescaled: bool = True,
    epsilon: float = 0.0,
    exp: Callable[[Array], Array] = np.exp,
    block: int = 32,
) -> Array:
    """Return attention, with the bugs asked for."""
    rows = np.arange(len(Q))[:, None]
    largest = np.full((len(Q), 1), start, Q.dtype)
    numerator, denominator = np.zeros((len(Q), V.shape[1]), Q.dtype), np.zeros_like(largest)
    firsts = range(0, len(K), block)
    for first in reversed(firsts) if backwards else firsts:
        keys, values = K[first : first + block], V[first : first + block]
        if padded and len(keys) < block:
            more = ((0, block - len(keys)), (0, 0))
            keys, values = np.pad(keys, more), np.pad(values, more)
        logits = Q @ keys.T
        seen = np.ones(logits.shape, bool)
        if causal:
            seen = np.arange(first, first + len(keys)) <= rows + last_shift * (first == firsts[-1])
        if added:
            masked = np.where(seen, logits, logits + Q.dtype.type(hidden))
        else:
            masked = np.where(seen, logits, Q.dtype.type(hidden))
        considered = logits if maximum_first else masked
        larger = np.maximum(largest, considered.max(axis=1, keepdims=True))
        if clamped:
            larger = np.where(np.isneginf(larger), 0, larger).astype(Q.dtype)
        shift = larger if unguarded else np.where(np.isneginf(larger), 0, larger).astype(Q.dtype)
        weights = exp(masked - shift)
        rescale = exp(largest - shift) if rescaled else np.ones_like(shift)
        numerator = numerator * rescale + weights @ values
        denominator = denominator * rescale + weights.sum(axis=1, keepdims=True)
        largest = larger
    return numerator / (denominator + Q.dtype.type(epsilon))  # type: ignore[no-any-return]


def exp_of(log2_e: float) -> Callable[[Array], Array]:
    return lambda x: np.exp2(x * x.dtype.type(log2_e))


def unshifted(Q: Array, K: Array, V: Array, causal: bool, *, first_sum: float) -> Array:
    """Take no maximum off, and start the sum of the weights at a number."""
    logits = Q @ K.T
    if causal:
        logits = np.where(np.tri(len(Q), dtype=bool), logits, -np.inf).astype(Q.dtype)
    weights = np.exp(logits)
    return (weights @ V) / (weights.sum(axis=1, keepdims=True) + Q.dtype.type(first_sum))  # type: ignore[no-any-return]


def counts_one_more(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    """Compute softmax with 1 in the denominator beside the weights, shifted as it should be."""
    return kernel(Q, np.vstack([K, 0 * K[:1]]), np.vstack([V, 0 * V[:1]]), False)


def without(key: slice) -> Callable[..., Array]:
    return lambda Q, K, V, causal: kernel(Q, K[key], V[key], causal)


def clipped(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    logits = np.clip(Q @ K.T, -50, 50)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights @ V) / weights.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def scaled_twice(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    return kernel(Q / Q.dtype.type(np.sqrt(Q.shape[1])), K, V, causal)


def half_weights(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    return kernel(Q, K, V, causal, exp=lambda x: np.exp(x).astype(np.float16).astype(x.dtype))


def zeros(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    return np.zeros((len(Q), V.shape[1]), V.dtype)


def mean(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    return np.repeat(V.mean(axis=0, keepdims=True), len(Q), axis=0)


def middle(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    return np.repeat((V.max(axis=0) / 2 + V.min(axis=0) / 2)[None], len(Q), axis=0)


@dataclass(frozen=True)
class Bug:
    """A kernel with a mistake, and the case meant for it, without the type in its name.

    ``types`` are those in which the mistake can be told from rounding.  One that is ``within`` the tolerance
    asked of ``certified_attention`` is a matter for ``attention`` alone.
    """

    of: Callable[..., Array]
    case: str
    types: tuple[str, ...] = ("float32", "float64")
    within: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def bug(case: str, *, types: tuple[str, ...] = ("float32", "float64"), **options: Any) -> Bug:
    within = options.pop("within", False)
    return Bug(partial(kernel, **options), case, types, within)


WIDE = ("float64",)

BUGS = {
    "zeros": Bug(zeros, "minilm_L2H2_n64 in {}"),
    "the mean of V": Bug(mean, "minilm_L2H2_n64 in {}"),
    "the middle of V": Bug(middle, "minilm_L2H2_n64 in {}, causal"),
    "scaled twice": Bug(scaled_twice, "smollm2_L12H4_n64 in {}"),
    "last key dropped": Bug(without(slice(-1)), "the last key takes all in {}"),
    "first key dropped": Bug(without(slice(1, None)), "the first key takes all in {}"),
    "maximum clamped to 0 after a hidden block": bug(
        "logits below -2^10 in {}, causal", clamped=True, backwards=True
    ),
    "maximum that starts at 0": bug("logits below -2^10 in {}", start=0.0),
    "maximum that starts at -1e4": bug("logits below -2^14 in {}", start=-1e4),
    "maximum that starts at -1e5": bug("logits below -2^17 in {}", start=-1e5),
    "maximum that starts at -1e6": bug("logits below -2^20 in {}", types=WIDE, start=-1e6),
    "maximum that starts at -1e9": bug("logits below -2^30 in {}", types=WIDE, start=-1e9),
    "mask of -1e4": bug("logits below -2^14 in {}, causal", hidden=-1e4),
    "mask of -1e5": bug("logits below -2^17 in {}, causal", hidden=-1e5),
    "mask of -1e6": bug("logits below -2^20 in {}, causal", types=WIDE, hidden=-1e6),
    "mask of -1e9": bug("logits below -2^30 in {}, causal", types=WIDE, hidden=-1e9),
    "mask that adds -1e4": bug(
        "causal logits that rise by 2^10 a key in {}", hidden=-1e4, added=True
    ),
    "mask that adds -1e5": bug(
        "causal logits that rise by 2^10 a key in {}", hidden=-1e5, added=True
    ),
    "NaN from a hidden first block": bug(
        "causal across blocks in {}", unguarded=True, backwards=True
    ),
    "maximum taken before the mask": bug("causal with huge logits in {}", maximum_first=True),
    "one key too many in the last block": bug(
        "causal logits that rise by 2^10 a key in {}", last_shift=1
    ),
    "one key too few in the last block": bug(
        "causal logits that rise by 2^10 a key in {}", last_shift=-1
    ),
    "keys of zeros that count": bug(
        "a prime number of keys at logits near -3 in {}", padded=True
    ),
    "a block that is not rescaled": bug(
        "a maximum that rises block by block in {}", rescaled=False
    ),
    "sum that starts at 1e-6, unshifted": Bug(
        partial(unshifted, first_sum=1e-6), "a single key at a logit of -30 in {}"
    ),
    "sum with 1e-6 added": bug(
        "a single key at a logit of -30 in {}", epsilon=1e-6, within=True
    ),
    "sum that counts one more": Bug(counts_one_more, "a single key at a logit of -30 in {}"),
    "no shift": Bug(partial(unshifted, first_sum=0.0), "logits to 10000 in {}"),
    "logits clipped to 50": Bug(clipped, "logits to 100 in {}"),
    "log2(e) of seven digits": bug(
        "one key against 25 that weigh half as much in {}",
        types=WIDE, exp=exp_of(1.442695), within=True,
    ),
    "log2(e) of three digits": bug(
        "one key against 25 that weigh half as much in {}", exp=exp_of(1.44), within=True
    ),
    "weights in half precision": Bug(half_weights, "diffuse weights over many keys in {}", WIDE, True),
}  # fmt: skip


def plain(of: Callable[..., Array]) -> types.ModuleType:
    """Return an implementation of the bare output."""
    module = types.ModuleType("plain")
    module.attention = lambda Q, K, V, *, causal=False: of(Q, K, V, causal)  # type: ignore[attr-defined]
    return module


def adapter(of: Callable[..., Array]) -> types.ModuleType:
    """Return an implementation that certifies the output, as docs/adapters.md shows."""

    def certified_attention(
        Q: Array, K: Array, V: Array, *, tolerance: float, rows: str, causal: bool, **asked: Any
    ) -> Any:
        return fastpath.certify(Q, K, V, of(Q, K, V, causal), causal=causal, **asked)

    module = types.ModuleType("adapter")
    module.certified_attention = certified_attention  # type: ignore[attr-defined]
    return module


def rejected(judged: Callable[..., Any], module: types.ModuleType, case: str) -> bool:
    with np.errstate(all="ignore"):
        try:
            judged(module, CASES[case])
        except (NonConformanceError, ValueError):  # certify refuses NaN and infinity
            return True
    return False


@pytest.mark.parametrize("name", BUGS)
def test_a_public_bug_is_rejected_by_the_case_meant_for_it(name: str) -> None:
    found = BUGS[name]
    for dtype in found.types:
        case = found.case.format(dtype)
        assert rejected(judge, plain(found.of), case), case
        assert rejected(judge_certified, adapter(found.of), case) != found.within, case


CORRECT = {
    "forwards": kernel,
    "backwards": partial(kernel, backwards=True),
    "blocks of one": partial(kernel, block=1),
    # Safe: no logit of which a certificate in the type says anything is as low.
    "the least float for minus infinity": lambda Q, K, V, causal: kernel(
        Q, K, V, causal, start=np.finfo(Q.dtype).min, hidden=np.finfo(Q.dtype).min
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "forwards" else pytest.mark.slow) for n in CORRECT]
)
@pytest.mark.parametrize("case", sorted({bug.case for bug in BUGS.values()}))
def test_the_kernel_without_a_bug_passes_the_cases_meant_for_bugs(name: str, case: str) -> None:
    for dtype in ("float32", "float64"):
        if case.format(dtype) in CASES:
            assert not rejected(judge, plain(CORRECT[name]), case.format(dtype))
            assert not rejected(judge_certified, adapter(CORRECT[name]), case.format(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "adapter"])
def test_attention_of_torch_conforms_in_every_case(form: str) -> None:
    torch = pytest.importorskip("torch", reason="an optional peer, of the extra peers (R.certify)")

    def sdpa(Q: Array, K: Array, V: Array, causal: bool) -> Array:
        q, k, v = (torch.from_numpy(np.ascontiguousarray(x))[None, None] for x in (Q, K, V))
        of = torch.nn.functional.scaled_dot_product_attention
        return of(q, k, v, scale=1.0, is_causal=causal)[0, 0].numpy()  # type: ignore[no-any-return]

    judged, module = {
        "plain": (judge, plain(sdpa)),
        "adapter": (judge_certified, adapter(sdpa)),
    }[form]
    for case in CASES.values():
        judged(module, case)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zeros", "the mean of V", "the middle of V", "scaled twice"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_real_head_is_passed_by_an_answer_that_looks_at_no_query(name: str, dtype: str) -> None:
    for case in (c for c in CASES if c.startswith("minilm") and dtype in c):
        assert rejected(judge, plain(BUGS[name].of), case)
        assert rejected(judge_certified, adapter(BUGS[name].of), case)


@pytest.mark.slow
def test_every_case_shuts_out_each_trivial_answer_that_is_not_right() -> None:
    for case in CASES.values():
        if len(case.Q) > 64 or "subnormal" in case.name:
            continue  # for time; and a type that does not hold the values is no measure
        for of in (zeros, mean, middle):
            if case.causal and of is not zeros:
                continue  # of a query's own keys; zeros are the same
            with np.errstate(all="ignore"):
                output = of(case.Q, case.K, case.V, case.causal)
            exact = fastpath.attention(case.Q, case.K, case.V, causal=case.causal).output
            rounding = rounding_bar(case.Q, case.K, case.V, causal=bool(case.causal))
            right = bool((np.abs(output.astype(np.float64) - exact) <= rounding).all())
            assert rejected(judge, plain(of), case.name) != right, case.name
