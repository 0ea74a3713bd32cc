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

import fastpath
from proofs.judging.heads import (
    LARGEST_BYTES,
    LARGEST_ENTRY,
    Head,
    InputError,
    read_file,
    shipped_heads,
)
from proofs.judging.hypotheses import Measurements, logit_rounding, measure, papers
from proofs.judging.sparsification import examine
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


def crafted(
    path: Path, header: bytes, content: bytes = b"", method: int = zipfile.ZIP_STORED
) -> Path:
    """Write a .npz whose h/Q is ``header`` and ``content``; the other arrays are sound."""
    sound = head_arrays(np.float64, n=4, d=2)
    with zipfile.ZipFile(path, "w") as archive:
        for role in "KV":
            stream = io.BytesIO()
            np.save(stream, sound[f"h/{role}"])
            archive.writestr(f"h/{role}.npy", stream.getvalue())
        archive.writestr("h/Q.npy", header + content, compress_type=method)
    return path


def header(shape: tuple[int, ...], version: int = 1, descr: str = "<f8") -> bytes:
    stream = io.BytesIO()
    write = {1: np.lib.format.write_array_header_1_0, 2: np.lib.format.write_array_header_2_0}
    write[version](stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


#: A header of the second version that says it is 2 GiB long.
ENDLESS = np.lib.format.magic(2, 0) + (1 << 31).to_bytes(4, "little") + b" " * 64

CRAFTED: dict[str, tuple[bytes, bytes, int, str]] = {
    "more than there is": (header((1 << 20, 8)), bytes(64), 0, "67108864 bytes, and there are 64"),
    "less than there is": (header((4, 1)), bytes(64), 0, "32 bytes, and there are 64"),
    "a negative size": (header((-4, -2)), bytes(32), 0, "64 bytes, and there are 32"),
    "an endless header": (ENDLESS, b"", 0, "its header takes 2147483648 bytes"),
    "a long header": (
        np.lib.format.magic(1, 0) + (20_000).to_bytes(2, "little") + b" " * 20_000,
        b"", 0, "h/Q .* cannot be read",
    ),
    "version 3": (np.lib.format.magic(3, 0), bytes(64), 0, "its format 3.0 holds no numbers"),
    "no header": (b"\x93NUM", b"", 0, "h/Q .* cannot be read"),
    "another packing": (header((4, 2)), bytes(64), zipfile.ZIP_LZMA, "packed by a method"),
}  # fmt: skip


@pytest.mark.parametrize("name", CRAFTED)
def test_a_header_that_lies_is_refused_before_memory_is_taken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, content, method, says = CRAFTED[name]
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", _never)
    with pytest.raises(InputError, match=says):
        read_file(crafted(tmp_path / "f.npz", start, content, method))


def _never(*_: Any) -> Any:
    raise AssertionError("an array was read")


@pytest.mark.parametrize("version", [1, 2])
def test_a_sound_header_of_either_version_is_read(tmp_path: Path, version: int) -> None:
    path = crafted(tmp_path / "f.npz", header((4, 2), version), bytes(64))
    assert not read_file(path).heads[0].Q.any()


def test_an_array_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = LARGEST_BYTES // 256 // 8 + 1
    path = crafted(
        tmp_path / "f.npz", header((rows, 256)), bytes(rows * 256 * 8), zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < LARGEST_BYTES // 500
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", _never)
    with pytest.raises(InputError, match=r"h/Q .* is too large: .* 128 MiB together"):
        read_file(path)


@pytest.mark.parametrize("write", [npz, tensors])
def test_arrays_that_are_too_much_together_are_refused(
    tmp_path: Path, write: Callable[[Path, Arrays], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = head_arrays() | head_arrays(name="g")
    path = write(tmp_path / ("f.npz" if write is npz else "f.safetensors"), arrays)
    unpacked = sum(x.nbytes for x in arrays.values())
    headers = 128 * len(arrays) if write is npz else 0
    monkeypatch.setattr("proofs.judging.heads.LARGEST_BYTES", unpacked + headers)
    assert len(read_file(path).heads) == 2
    monkeypatch.setattr("proofs.judging.heads.LARGEST_BYTES", unpacked + headers - 1)
    with pytest.raises(InputError, match="is too large"):
        read_file(path)


@pytest.mark.parametrize("written", [0, 40, 1 << 20])
def test_a_directory_that_lies_about_a_length_is_refused(tmp_path: Path, written: int) -> None:
    path = crafted(tmp_path / "f.npz", header((4, 2)), bytes(64), zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    length = (len(header((4, 2))) + 64).to_bytes(4, "little")
    where = whole.rindex(length)  # in the directory, which comes last
    path.write_bytes(whole[:where] + written.to_bytes(4, "little") + whole[where + 4 :])
    with pytest.raises(InputError, match="h/Q"):
        read_file(path)


def test_safetensors_whose_header_promises_more_than_there_is_are_refused(tmp_path: Path) -> None:
    for shape, end in (([1 << 40, 1 << 20], 32), ([4, 2], 1 << 40), ([1 << 40, 1 << 20], 1 << 63)):
        offsets = {"dtype": "F64", "shape": shape, "data_offsets": [0, end]}
        text = json.dumps({f"h/{role}": offsets for role in "QKV"}).encode()
        path = tmp_path / "f.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(32))
        with pytest.raises(InputError):
            read_file(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_whose_squares_are_no_floats_are_refused(tmp_path: Path, dtype: Any) -> None:
    """What is not refused, ``sparsify`` takes, scaled down too."""
    X = np.random.default_rng(7).uniform(1, 2, (4, 3)).astype(dtype)
    least, most = -121, 119
    for exponent, refused in ((least, False), (least - 1, True), (most, False), (most + 1, True)):
        rows = X.copy()
        rows[1] = np.ldexp(rows[1], exponent)
        path = npz(tmp_path / "f.npz", {"m/X": rows})
        if refused:
            with pytest.raises(InputError, match=r"m/X .* between 2\^-120 and 2\^120"):
                read_file(path)
        else:
            read_file(path)
    rows = X.copy()
    rows[0] = 0
    rows[1], rows[2] = np.ldexp(rows[1], least), np.ldexp(rows[2], most)
    (matrix,) = read_file(npz(tmp_path / "f.npz", {"m/X": rows})).matrices
    found = examine(matrix, fastpath.sparsify)
    assert found.passed, [run.failure for scaled in found.scales for run in scaled.runs]


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
        monkeypatch.setattr("proofs.judging.hypotheses.LOGITS_HELD", 64 * 64)
        at_once = measure(scaled)
        monkeypatch.setattr("proofs.judging.hypotheses.LOGITS_HELD", 7 * 64)
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


@pytest.mark.parametrize("role", "QKV")
@pytest.mark.parametrize("sign", [1, -1])
def test_entries_too_large_for_logits_are_refused_whatever_their_sign(
    role: str, sign: int, tmp_path: Path
) -> None:
    """Catches: a limit that negative entries pass."""
    arrays = {f"h/{other}": np.ones((2, 2)) for other in "QKV"}
    arrays[f"h/{role}"][1, 0] = sign * 2.0**501
    with pytest.raises(InputError, match=rf"h/{role} .* must not exceed 2\^500 in magnitude"):
        read_file(npz(tmp_path / "f.npz", arrays))
