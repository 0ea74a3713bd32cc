"""Tensors that are not on the CPU are refused by a sentence that says where each is; others are read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core.inputs import device


class Capsule:
    """What another library's array is: its numbers by DLPack, and where they are."""

    def __init__(self, array: Any, kind: int = 1) -> None:
        self._array, self._kind = array, kind

    def __dlpack__(self, **asked: Any) -> Any:
        return self._array.__dlpack__(**asked)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._kind, 0


class Placed(Capsule):
    """The same, which says by a platform where it is, as jax does."""

    def __init__(self, array: Any, platform: str) -> None:
        super().__init__(array)
        self.device = type(
            "Device", (), {"platform": platform, "__str__": lambda s: f"{platform}:0"}
        )()


def numbers(seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((5, 3))


DOORS: dict[str, Callable[..., Any]] = {
    "attention": fastpath.attention,
    "attention_gradient": lambda Q, K, V: tuple(fastpath.attention_gradient(Q, K, V, numbers(3))),
    "certify": lambda Q, K, V: fastpath.certify(Q, K, V, numbers(3), rng=np.random.default_rng(0)),
    "certified_attention": lambda *x: fastpath.certified_attention(*x, tolerance=0.1),
    "polynomial_attention": lambda *x: fastpath.polynomial_attention(*x, tolerance=0.1),
    "DynamicAttention": lambda *x: fastpath.DynamicAttention(*x, scale=0.5).output(),
}


@pytest.mark.parametrize("door", DOORS)
def test_numbers_are_read_by_dlpack_wherever_the_cpu_reaches(door: str) -> None:
    arrays = numbers(0), numbers(1), numbers(2)
    expected = DOORS[door](*arrays)
    for given in (
        map(Capsule, arrays),
        (Capsule(x, 3) for x in arrays),
        (Placed(x, "cpu") for x in arrays),
    ):
        found = DOORS[door](*given)
        for one, other in zip(
            found if isinstance(found, tuple) else (found,),
            expected if isinstance(expected, tuple) else (expected,),
            strict=True,
        ):
            np.testing.assert_array_equal(one.output, other.output)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("elsewhere", "said"),
    [
        (lambda x: Capsule(x, 2), "cuda"),
        (lambda x: Capsule(x, 99), "DLPack's device type 99"),
        (lambda x: Placed(x, "tpu"), "tpu:0"),
    ],
)
def test_mixed_devices_are_refused_and_named(
    door: str, elsewhere: Callable[[Any], Any], said: str
) -> None:
    message = f"^Q, K and V must be on the CPU, got Q on cpu, K on {said} and V on cpu: copy"
    with pytest.raises(ValueError, match=message):
        DOORS[door](numbers(), elsewhere(numbers()), numbers())


def test_torch_is_refused_where_it_holds_no_numbers() -> None:
    torch = pytest.importorskip("torch", reason="tensors elsewhere need torch, of the extra peers")
    here, nowhere = torch.ones(5, 3), torch.ones(5, 3, device="meta")
    assert (device(here), device(nowhere)) == ("cpu", "meta")
    for door in DOORS.values():
        with pytest.raises(ValueError, match="Q on meta, K on cpu and V on meta"):
            door(nowhere, here, nowhere)
    rng = np.random.default_rng(0)
    for name, call in (
        ("mask", lambda x: fastpath.attention(here, here, here, mask=x)),
        ("bias", lambda x: fastpath.certified_attention(here, here, here, tolerance=0.1, bias=x)),
        ("output", lambda x: fastpath.certify(here, here, here, x, rng=rng)),
        ("X", fastpath.gram),
    ):
        with pytest.raises(ValueError, match=f"{name} must be on the CPU, got a Tensor on meta"):
            call(nowhere)
    state = fastpath.StreamingAttention(3, 3, logit_bound=9.0, tolerance=0.1, sparsity=1)
    with pytest.raises(ValueError, match="V must be on the CPU"):
        state.absorb(here, nowhere)
    assert state._moments.count == 0
