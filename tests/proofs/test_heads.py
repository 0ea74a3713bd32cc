"""Heads are read exactly or refused in a sentence, and measured so that "holds" is certain."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from proofs.heads import LARGEST_ENTRY, Head, InputError, read_file, shipped_heads
from proofs.hypotheses import Measurements, logit_rounding, measure, papers
from reference import logits

Arrays = dict[str, NDArray[Any]]


def head_arrays(dtype: Any = np.float32, n: int = 5, d: int = 3, name: str = "h") -> Arrays:
    rng = np.random.default_rng(7)
    return {f"{name}/{role}": rng.standard_normal((n, d)).astype(dtype) for role in "QKV"}


def npz(path: Path, arrays: Arrays) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def tensors(path: Path, arrays: Arrays) -> Path:
    save_file(arrays, path)
    return path


# ------------------------------------------------------------------------------- what is read


def test_the_shipped_arrays_are_those_of_the_manifest() -> None:
    manifest = json.loads(files("proofs").joinpath("data/manifest.json").read_text())["arrays"]
    heads = {head.name: head for head in shipped_heads(512)}
    assert heads.keys() == manifest.keys()
    for name, head in heads.items():
        assert (len(head.K), head.K.shape[1]) == (manifest[name]["n"], manifest[name]["d"])
        for role, array in zip("QKV", head.matrices, strict=True):
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            assert digest.startswith(manifest[name]["sha256"][role])


def test_fourteen_heads_of_at_most_256_tokens_ship() -> None:
    sizes = [len(head.K) for head in shipped_heads()]
    assert sizes == [64] * 7 + [256] * 7


@pytest.mark.parametrize(
    ("write", "dtype"),
    [(npz, dtype) for dtype in ("<f2", "<f4", "<f8", ">f4", ">f8")]
    + [(tensors, dtype) for dtype in ("<f2", "<f4", "<f8")],
)
def test_every_value_is_read_exactly(
    tmp_path: Path, write: Callable[[Path, Arrays], Path], dtype: str
) -> None:
    arrays = head_arrays(dtype)
    suffix = "npz" if write is npz else "safetensors"
    (head,) = read_file(write(tmp_path / f"f.{suffix}", arrays)).heads
    kept = np.float64 if np.dtype(dtype).itemsize == 8 else np.float32
    for role, array in zip("QKV", head.matrices, strict=True):
        assert array.dtype == kept
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, arrays[f"h/{role}"])


def test_heads_come_smallest_first_and_other_arrays_are_left_alone(tmp_path: Path) -> None:
    arrays = head_arrays(n=9, name="a/big") | head_arrays(n=2, name="small")
    arrays["notes"] = np.array(["text"])
    arrays["/Q"] = np.zeros(3)
    names = [head.name for head in read_file(npz(tmp_path / "f.npz", arrays)).heads]
    assert names == ["small", "a/big"]


# ---------------------------------------------------------------------------- what is refused

BAD_ARRAYS: list[tuple[str, Arrays, str]] = [
    ("no head", {"a": np.zeros((2, 2))}, "holds no head"),
    ("nothing", {}, "got none"),
    ("bare Q, K, V", {role: np.zeros((2, 2)) for role in "QKV"}, "<name>/Q"),
    ("no V", {"h/Q": np.zeros((2, 2)), "h/K": np.zeros((2, 2))}, "lacks h/V"),
    ("control characters", head_arrays(name="\x1b[2J"), "must be printable"),
    ("integers", head_arrays(np.int64), "h/Q .* holds int64"),
    ("complex", head_arrays(np.complex64), "h/Q .* holds complex64"),
    ("long double", head_arrays(np.longdouble), "h/Q .* holds (longdouble|float128)"),
    ("text", head_arrays() | {"h/K": np.array([["a"]])}, "h/K .* holds <U1"),
    ("mixed types", head_arrays() | {"h/K": np.zeros((5, 3))}, "one type"),
    ("vector", head_arrays() | {"h/V": np.zeros(5, np.float32)}, "h/V .* must be a matrix"),
    ("columns", head_arrays() | {"h/K": np.zeros((5, 2), np.float32)}, "equally many columns"),
    ("rows", head_arrays() | {"h/V": np.zeros((4, 3), np.float32)}, "equally many rows"),
    ("empty", head_arrays() | {"h/Q": np.zeros((0, 3), np.float32)}, "h/Q .* not be empty"),
    ("NaN", head_arrays() | {"h/V": np.full((5, 3), np.nan, np.float32)}, "h/V .* be finite"),
    ("infinity", head_arrays() | {"h/K": np.full((5, 3), np.inf, np.float32)}, "h/K .* be finite"),
    (
        "overflow",
        head_arrays(np.float64) | {"h/Q": np.full((5, 3), np.nextafter(LARGEST_ENTRY, np.inf))},
        "h/Q .* 2\\^500",
    ),
    (
        "too many keys",
        {f"h/{role}": np.zeros((1 << 20 | 1, 1), np.float16) for role in "QKV"},
        "h/K .* at most 1048576 rows",
    ),
]


@pytest.mark.parametrize(
    ("arrays", "says"), [x[1:] for x in BAD_ARRAYS], ids=[x[0] for x in BAD_ARRAYS]
)
def test_a_file_that_holds_no_head_is_refused(tmp_path: Path, arrays: Arrays, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_file(npz(tmp_path / "f.npz", arrays))


@pytest.mark.parametrize("write", [npz, tensors])
def test_damaged_bytes_are_refused_or_harmless(
    tmp_path: Path, write: Callable[[Path, Arrays], Path]
) -> None:
    path = write(tmp_path / ("f.npz" if write is npz else "f.safetensors"), head_arrays())
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_file(path)
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_file(path)
        except InputError:
            refused += 1
    assert refused


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "f.npz", head_arrays())
    other = tmp_path / "other.npz"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"not an array" if name == "h/K.npy" else old.read(name))
    with pytest.raises(InputError, match="h/K"):
        read_file(other)


def test_a_header_that_promises_more_than_memory_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    description = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 1 << 20)}
    np.lib.format.write_array_header_1_0(header, description)
    path = tmp_path / "f.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for role in "QKV":
            archive.writestr(f"h/{role}.npy", header.getvalue())
    with pytest.raises(InputError, match=r"h/Q .* cannot be read"):
        read_file(path)


# --------------------------------------------------------------------------- what is measured


def _head(Q: Any, K: Any, V: Any = None) -> Head:
    return Head("h", *(np.asarray(x, np.float64) for x in (Q, K, K if V is None else V)))


def _agree(head: Head, *values: float | Fraction) -> bool:
    """Whether figures differ by no more than rounding can explain: two logits, two roundings upward."""
    rounding = logit_rounding(head.Q.shape[1], *(float(abs(x).max()) for x in (head.Q, head.K)))
    ulps = 4 * Fraction(float(np.spacing(float(max(values)))))
    return Fraction(max(values)) - Fraction(min(values)) <= 4 * rounding + ulps


def test_logit_bound_and_half_row_range_are_the_exact_ones_rounded_up() -> None:
    for head in shipped_heads(64):
        exact = logits(head.Q, head.K)
        bound = abs(exact).largest()[1]
        half_range = (exact.max(axis=1) - exact.min(axis=1)).largest()[1] / 2
        measured = measure(head)
        assert measured.logit_bound >= bound
        assert measured.half_row_range >= half_range
        assert _agree(head, bound, measured.logit_bound)
        assert _agree(head, half_range, measured.half_row_range)


def test_the_logits_are_those_of_the_manifest() -> None:
    manifest = json.loads(files("proofs").joinpath("data/manifest.json").read_text())["arrays"]
    for head in shipped_heads():
        measured, recorded = measure(head), manifest[head.name]
        assert _agree(head, measured.logit_bound, recorded["logit_absmax"])
        assert _agree(head, measured.half_row_range, recorded["row_range_max"] / 2)
        assert measured.scale_for_r is not None
        assert _agree(head, measured.scale_for_r, recorded["scale_Q_for_r_0p1"])


def test_blocks_of_rows_cover_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    head = shipped_heads(64)[0]
    whole = measure(head)
    for row in (0, 63):
        Q = head.Q.copy()
        Q[row] *= 4
        scaled = Head("h", Q, head.K, head.V)
        monkeypatch.setattr("proofs.hypotheses.BLOCK", 64 * 64)
        at_once = measure(scaled)
        monkeypatch.setattr("proofs.hypotheses.BLOCK", 7 * 64)
        blocked = measure(scaled)
        assert _agree(scaled, blocked.logit_bound, at_once.logit_bound)
        assert _agree(scaled, blocked.half_row_range, at_once.half_row_range)
        assert blocked.half_row_range > whole.half_row_range


def test_half_row_range_ignores_a_vector_added_to_every_key() -> None:
    Q, K = [[1, -2], [3, 1]], np.array([[4, 0], [1, 5], [-2, 2]])
    heads = [_head(Q, K + np.array([a, b])) for a, b in ((0, 0), (8, -8))]
    measured = [measure(head) for head in heads]
    assert _agree(heads[1], 8, *(m.half_row_range for m in measured))
    assert _agree(heads[0], 12, measured[0].logit_bound)
    assert _agree(heads[1], 28, measured[1].logit_bound)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("d", [4, 9])
def test_rank_is_that_of_the_logits(rank: int, d: int) -> None:
    rng = np.random.default_rng(rank)
    Q = rng.integers(-3, 4, (7, rank)) @ rng.integers(-3, 4, (rank, d))
    K = rng.integers(-3, 4, (6, d))
    assert measure(_head(Q, K)).rank == np.linalg.matrix_rank(Q @ K.T)


def test_zero_logits_have_rank_zero_and_need_no_scale() -> None:
    measured = measure(_head(np.zeros((2, 3)), np.ones((2, 3))))
    assert (measured.rank, measured.scale_for_r) == (0, None)


# --------------------------------------------------------------------- which hypotheses hold


def _measured(**changes: Any) -> Measurements:
    """Return measurements that satisfy P2, P1 and P4, with changes."""
    values: dict[str, Any] = {
        **{"n_q": 131_073, "n_k": 131_073, "d": 16, "d_v": 16},
        **{"logit_bound": 5.0, "half_row_range": 4.0, "scale_for_r": 0.02},
        **{"largest_entries": (1.0, 1.0, 1.0), "query_key_distance": 1.0, "rank": 16},
    }
    return Measurements(**values | changes)


def _holding(**changes: Any) -> str:
    return " ".join(paper.id for paper in papers(_measured(**changes)) if paper.holds)


_P3 = {"n_q": 8, "n_k": 8, "d": 9, "d_v": 9, "logit_bound": 0.05, "query_key_distance": 0.0}


@pytest.mark.parametrize(
    ("changes", "holding"),
    [
        ({}, "P1 P2 P4"),
        ({"n_q": 131_072, "n_k": 131_072}, "P1 P4"),
        ({"d": 17, "d_v": 17}, "P1 P2 P4"),
        ({"d": 18, "d_v": 18}, "P1 P4"),
        ({"d": 18, "d_v": 18, "n_q": 2**18, "n_k": 2**18}, "P1 P4"),
        ({"d": 18, "d_v": 18, "n_q": 2**18 + 1, "n_k": 2**18 + 1}, "P1 P2 P4"),
        ({"largest_entries": (1.0, 1.0, 3.5)}, "P1 P4"),
        ({"n_q": 131_074}, ""),
        ({"d_v": 17}, ""),
        (_P3, "P1 P3"),
        (_P3 | {"d": 8, "d_v": 8}, "P1"),
        (_P3 | {"d": 4, "d_v": 4}, "P1 P4"),
        (_P3 | {"logit_bound": 0.1}, "P1"),
        (_P3 | {"query_key_distance": 1e-30}, "P1"),
        (_P3 | {"query_key_distance": None, "n_q": 9}, ""),
    ],
)
def test_a_paper_holds_where_all_its_conditions_do(changes: dict[str, Any], holding: str) -> None:
    assert _holding(**changes) == holding


def test_a_condition_says_in_numbers_why_it_fails() -> None:
    failing = [
        c.measured for p in papers(_measured(**_P3, rank=3)) for c in p.conditions if not c.holds
    ]
    assert failing == ["log2 n = 3 <= d = 9", "n = 8 <= 128K = 131072", "n = 8 < 2d = 18"]


def test_a_comparison_is_shown_to_the_digits_that_decide_it() -> None:
    (condition,) = (
        c
        for p in papers(_measured(logit_bound=0.09999))
        for c in p.conditions
        if "r in" in c.statement
    )
    assert condition.measured == "max|q.k| = 0.09999 < 0.1"


def test_logits_within_rounding_of_the_limit_do_not_hold() -> None:
    X = np.full((1, 10), np.nextafter(0.1, 0))  # max|q.k| is 0.1 less a few units of roundoff
    measured = measure(_head(X, X))
    assert logits(X, X).largest()[1] < Fraction(1, 10) < Fraction(measured.logit_bound)
    assert not papers(measured)[2].holds
