"""Heads as models store them: many in one array, under the names of projections, in narrow floats."""

import itertools
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from proofs.judging.heads import InputError, read_file

NARROW = {
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}


def raw(path: Path, kind: str, arrays: dict[str, NDArray[Any]]) -> Path:
    """Write a .safetensors file by its specification, for types that numpy has not."""
    header, start = {}, 0
    for name, array in arrays.items():
        end = start + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


@pytest.mark.parametrize("kind", NARROW)
def test_every_number_of_a_narrow_type_is_read_as_it_is(kind: str, tmp_path: Path) -> None:
    bits = np.dtype(NARROW[kind]).itemsize * 8
    codes = np.arange(2**bits, dtype=np.uint16 if bits == 16 else np.uint8)
    with np.errstate(invalid="ignore"):  # of NaN
        numbers = codes.view(NARROW[kind]).astype(np.float64)
    kept = np.isfinite(numbers)
    arrays = {f"h/{role}": codes[kept].reshape(-1, 2) for role in "QKV"}
    (head,) = read_file(raw(tmp_path / "f.safetensors", kind, arrays)).heads
    assert head.Q.dtype == np.float32
    assert np.array_equal(head.Q.ravel(), numbers[kept])


def test_a_narrow_number_that_is_none_is_refused(tmp_path: Path) -> None:
    codes = np.full((2, 2), 0x7F, np.uint8)  # NaN
    path = raw(tmp_path / "f.safetensors", "F8_E4M3", {f"h/{role}": codes for role in "QKV"})
    with pytest.raises(InputError, match=r"h/Q of .* must be finite, got 4 NaN"):
        read_file(path)


def _heads(rng: np.random.Generator, *lead: int) -> NDArray[Any]:
    return rng.standard_normal((*lead, 5, 3)).astype(np.float32)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_group_of_query_heads_gets_the_key_head_that_it_reads(
    batch: tuple[int, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = _heads(rng, *batch, 4), _heads(rng, *batch, 2), _heads(rng, *batch, 2)
    path = tmp_path / "f.npz"
    np.savez(path, **{"m/Q": Q, "m/K": K, "m/V": V})  # type: ignore[arg-type]
    found = {head.name: head for head in read_file(path).heads}
    assert len(found) == Q[..., 0, 0].size
    for index in itertools.product(*map(range, Q.shape[:-2])):
        head = found[f"m[{', '.join(map(str, index))}]"]
        key_index = (*index[:-1], index[-1] // 2)
        assert np.array_equal(head.Q, Q[index])
        assert np.array_equal(head.K, K[key_index])
        assert np.array_equal(head.V, V[key_index])


@pytest.mark.parametrize(
    ("names", "pattern", "head"),
    [
        (("a.q_proj", "a.k_proj", "a.v_proj"), None, "a"),
        (("l.0.query", "l.0.key", "l.0.value"), None, "l.0"),
        (("x/q", "x/k", "x/v"), None, "x"),
        (("q@7", "k@7", "v@7"), "{role}@{name}", "7"),
        (("m.attn.Q.w", "m.attn.K.w", "m.attn.V.w"), "{name}.attn.{role}.w", "m"),
    ],
)
def test_arrays_are_found_by_the_names_that_models_give_them(
    names: tuple[str, ...], pattern: str | None, head: str, tmp_path: Path
) -> None:
    path = tmp_path / "f.safetensors"
    save_file({name: np.ones((2, 2), np.float32) for name in names}, path)
    assert [found.name for found in read_file(path, pattern).heads] == [head]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 5, 3), (2, 5, 3), (2, 5, 3)), "must have a multiple of the 2 heads of m/K, got 3"),
        (((2, 5, 3), (2, 5, 3), (1, 5, 3)), "must agree in their leading axes"),
        (((2, 1, 5, 3), (1, 1, 5, 3), (1, 1, 5, 3)), "must agree in their leading axes"),
        (((2, 5, 3), (2, 5, 3), (5, 3)), "must be a matrix"),
        (((1, 1, 1, 5, 3),) * 3, "must be a matrix"),
    ],
)
def test_heads_that_do_not_fit_are_refused_in_a_sentence(
    shapes: tuple[tuple[int, ...], ...], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "f.npz"
    arrays = {f"m/{role}": np.ones(shape) for role, shape in zip("QKV", shapes, strict=True)}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        read_file(path)


def test_two_arrays_for_one_role_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    arrays = {f"m/{role}": np.ones((2, 2)) for role in ("Q", "q", "K", "V")}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has m/Q and m/q for Q: give --names"):
        read_file(path)


@pytest.mark.parametrize("pattern", ["{name}", "{role}", "{name}{name}{role}", "Q"])
def test_a_pattern_without_a_place_for_both_names_is_refused(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    np.savez(path, **{"m/Q": np.ones((2, 2))})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--names must hold"):
        read_file(path, pattern)
