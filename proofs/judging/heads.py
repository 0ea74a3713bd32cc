"""Attention heads and feature matrices from files: where arrays of others are checked, once.

A file holds heads as arrays ``<name>/Q``, ``<name>/K``, ``<name>/V`` and feature matrices as ``<name>/X``;
arrays of other names are left alone.  Nothing is ever unpickled, and nothing is written.  What an array
says of its size is compared with limits, and with the bytes that there are, before memory is taken for it.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference.scores import LARGEST_SIZE

__all__ = [
    "ROLES",
    "FeatureMatrix",
    "Head",
    "InputError",
    "Inputs",
    "Replacements",
    "opened",
    "read_file",
    "shipped_heads",
    "shipped_matrices",
    "shipped_replacements",
]

Matrix = NDArray[Any]

#: The arrays of a head, in the order in which attention takes them.
ROLES = ("Q", "K", "V")

#: The array of a feature matrix.
FEATURES = "X"

#: The real heads that ship have up to 512 tokens; `attest check` takes 13 s for those of up to 256.
SHIPPED_TOKENS = 256

#: What all arrays that are read of a file may take together, unpacked: 131,072 keys of 64 float32 do.
LARGEST_BYTES = 1 << 27

#: A .npy header is a few dozen bytes; numpy itself reads none above 10,000.
LARGEST_HEADER = 10_000

#: Rows of X are zero or have a largest entry of 2^-120 to 2^120: the squares of all neither overflow nor
#: underflow, nor do those of X scaled to meet P3's hypothesis.
SQUARED_EXPONENT = 120

#: With entries of at most 2^500 no logit, nor a product of norms, overflows in float64.
LARGEST_ENTRY = 2.0**500

#: Of the matrices in extras.npz, those that are stored dense; the bag of words is in CSR format.
_SHIPPED_DENSE = ("ffn_minilm_L3_n32_d1536", "hidden_minilm_L3_n64_d384")

#: The head whose tokens are replaced in extras.npz.
_SHIPPED_REPLACED = "minilm_L0H11_n256"

_ALLOWED = "allowed are matrices of float16, float32 or float64"


class InputError(ValueError):
    """Something given to the command cannot be used; the message is a full sentence."""


@dataclass(frozen=True)
class Head:
    """One attention head: softmax(Q K^T) V is what it computes, with no further scaling.

    Attributes
    ----------
    name
        Its name in the file.
    Q : array, shape (n_q, d), float32 or float64
        Queries.
    K : array, shape (n_k, d), of the same type
        Keys.
    V : array, shape (n_k, d_v), of the same type
        Values.
    """

    name: str
    Q: Matrix
    K: Matrix
    V: Matrix

    @property
    def matrices(self) -> tuple[Matrix, Matrix, Matrix]:
        """Q, K, V."""
        return self.Q, self.K, self.V


@dataclass(frozen=True, kw_only=True)
class FeatureMatrix:
    """Rows of features: X Xᵀ holds the logits of an attention whose queries and keys are both X.

    Attributes
    ----------
    name
        Its name in the file.
    X : array, shape (n, d), float32 or float64
        One row a token.
    """

    name: str
    X: Matrix


@dataclass(frozen=True, kw_only=True)
class Replacements:
    """Tokens of a head that are replaced one after another, in layer 0: one row of Q, K and V each time.

    Attributes
    ----------
    name
        What it is called.
    head
        The head before the first replacement.
    tokens : array, shape (m,)
        Index of the token that is replaced each time.
    rows : three arrays, shapes (m, d), (m, d), (m, d_v), of the head's type
        Its new rows of Q, K and V.
    """

    name: str
    head: Head
    tokens: NDArray[Any]
    rows: tuple[Matrix, Matrix, Matrix]


class Inputs(NamedTuple):
    """What a file holds, smallest first: heads by number of logits, matrices by entries, then by name."""

    heads: tuple[Head, ...]
    matrices: tuple[FeatureMatrix, ...]


def shipped_heads(largest: int = SHIPPED_TOKENS) -> tuple[Head, ...]:
    """Return the real heads that ship with the package and have at most ``largest`` tokens."""
    with as_file(files("proofs").joinpath("data/qkv.npz")) as path:
        return tuple(head for head in read_file(path).heads if len(head.K) <= largest)


def shipped_matrices() -> tuple[FeatureMatrix, ...]:
    """Return the real feature matrices that ship: activations, hidden states and a bag of words."""
    with (
        as_file(files("proofs").joinpath("data/extras.npz")) as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        matrices = {name: arrays[f"X_{name}"] for name in _SHIPPED_DENSE}
        words = np.zeros(arrays["X_bow_shape"])
        rows = np.repeat(np.arange(len(words)), np.diff(arrays["X_bow_indptr"]))
        words[rows, arrays["X_bow_indices"]] = arrays["X_bow_data"]
    n, d = words.shape
    matrices[f"bow_n{n}_d{d}"] = words
    return _by_size(FeatureMatrix(name=name, X=_widened(X)) for name, X in matrices.items())


def shipped_replacements() -> Replacements:
    """Return the real token replacements that ship, with the head that they are made in."""
    (head,) = (head for head in shipped_heads() if head.name == _SHIPPED_REPLACED)
    with (
        as_file(files("proofs").joinpath("data/extras.npz")) as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        tokens = arrays["upd_pos"]
        Q, K, V = (_widened(arrays[f"upd_{role}_rows"]) for role in ROLES)
    name = f"{head.name} with {len(tokens)} tokens replaced"
    return Replacements(name=name, head=head, tokens=tokens, rows=(Q, K, V))


def read_file(path: Path) -> Inputs:
    """Read every head and every feature matrix of a file.

    Parameters
    ----------
    path : Path
        A .npz or .safetensors file.

    Returns
    -------
    Inputs
        At least one head or matrix.

    Raises
    ------
    InputError
        If the file cannot be read, holds neither a head nor a matrix, or holds one that cannot be used.
    """
    with opened(path, LARGEST_BYTES) as (names, read):
        heads, matrices = _heads_among(names, path), _matrices_among(names, path)
        if not heads and not matrices:
            shown = ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "")
            raise InputError(
                f"FILE {path} holds no head and no feature matrix: it needs arrays <name>/Q, <name>/K "
                f"and <name>/V, or <name>/X, got {shown or 'none'}."
            )
        read_heads = [_head(name, read, path) for name in heads]
        read_matrices = [_feature_matrix(name, read, path) for name in matrices]
    return Inputs(
        tuple(sorted(read_heads, key=lambda head: (len(head.Q) * len(head.K), head.name))),
        _by_size(read_matrices),
    )


# ------------------------------------------------------------------------------------- containers

#: The names of an open file's arrays, and how to read one; other arrays are never read.
_Arrays = tuple[list[str], Callable[[str], Matrix]]

# Damaged bytes can make zipfile, numpy and safetensors raise almost anything, MemoryError included; so
# what is caught below is Exception, around single calls of those libraries only.


def opened(path: Path, largest: float = math.inf) -> AbstractContextManager[_Arrays]:
    """Open a .npz or .safetensors file: the names of its arrays, and how to read one.

    The arrays that are read may take ``largest`` bytes together; without a limit, as for weights, a file
    should come from whoever one trusts.

    Raises
    ------
    InputError
        If the file cannot be read; when an array is read, if that cannot be.
    """
    allowed = "give a .npz or .safetensors file"
    try:
        if path.is_dir():
            raise InputError(f"FILE {path} is a directory: {allowed}.")
        if not path.is_file():
            raise InputError(f"FILE {path} does not exist: {allowed}.")
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"FILE {path} cannot be opened ({_reason(error)}): {allowed}.") from None
    readers = {".npz": _npz, ".safetensors": _safetensors}
    if path.suffix.lower() not in readers:
        raise InputError(f"FILE {path} has another format: {allowed}.")
    return readers[path.suffix.lower()](path, largest)


@contextmanager
def _npz(path: Path, largest: float) -> Iterator[_Arrays]:
    # np.load closes only the files that it is given open, when what it finds is damaged.
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        # It would take a bare .npy too, and on a pickle would advise to load it unsafely.
        if not zipfile.is_zipfile(file):
            raise InputError(
                f"FILE {path} is not a .npz archive: it is truncated, corrupted or of another format "
                "(a pickle is never read)."
            )
        file.seek(0)
        try:
            archive = np.load(file, allow_pickle=False)
            names = list(archive.files)
        except Exception as error:
            raise InputError(
                f"FILE {path} is not a .npz archive, or is corrupted: {_reason(error)}."
            ) from None

        left = largest

        def read(name: str) -> Matrix:
            nonlocal left
            try:
                size = _member_size(archive.zip, name)
            except InputError as error:
                raise InputError(f"Array {name} of {path} cannot be read ({error}).") from None
            except Exception as error:
                raise InputError(
                    f"Array {name} of {path} cannot be read ({_reason(error)}): {_ALLOWED}, "
                    "never pickled objects."
                ) from None
            left -= size
            if left < 0:
                raise _too_much(name, path, largest)
            try:
                array = archive[name]
            except Exception as error:
                raise InputError(
                    f"Array {name} of {path} cannot be read ({_reason(error)}): {_ALLOWED}, "
                    "never pickled objects."
                ) from None
            if not isinstance(array, np.ndarray):
                raise InputError(f"Array {name} of {path} is not an array: {_ALLOWED}.")
            return array

        with archive:
            yield names, read


def _member_size(archive: zipfile.ZipFile, name: str) -> int:
    """Return the bytes that a member of a .npz takes in memory, if its header and its length agree.

    Nothing but the archive's directory and the member's first bytes is read.
    """
    names = archive.namelist()
    member = archive.getinfo(f"{name}.npy" if f"{name}.npy" in names else name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError("it is packed by a method that numpy does not write")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if reader is None:
            raise InputError(f"its format {version[0]}.{version[1]} holds no numbers")
        if version == (2, 0):
            length = int.from_bytes(stream.read(4), "little")
            if length > LARGEST_HEADER:
                raise InputError(f"its header takes {length} bytes")
            stream.seek(-4, io.SEEK_CUR)
        shape, _, dtype = reader(stream, max_header_size=LARGEST_HEADER)
        header = stream.tell()
    promised = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and promised != member.file_size - header:
        raise InputError(
            f"its header promises shape {shape} of {dtype}, {promised} bytes, and there are "
            f"{member.file_size - header}"
        )
    return max(promised, member.file_size)


def _too_much(name: str, path: Path, largest: float) -> InputError:
    return InputError(
        f"Array {name} of {path} is too large: all arrays that are read of a file may take "
        f"{largest / 2**20:.3g} MiB together."
    )


@contextmanager
def _safetensors(path: Path, largest: float) -> Iterator[_Arrays]:
    from safetensors import safe_open

    archive: Any  # the library's methods have no types
    try:
        archive = safe_open(path, framework="np")
    except Exception as error:
        raise InputError(
            f"FILE {path} is not a .safetensors file, or is truncated or corrupted: "
            f"{_reason(error)}."
        ) from None

    left = largest

    def read(name: str) -> Matrix:
        nonlocal left
        try:
            # Asked before reading, as numpy has no bfloat16 to read into.  The library has compared what
            # the header says with the file's length.
            promised = archive.get_slice(name)
            kind, shape = promised.get_dtype(), promised.get_shape()
        except Exception as error:
            raise InputError(f"Array {name} of {path} cannot be read: {_reason(error)}.") from None
        if kind not in ("F16", "F32", "F64"):
            raise InputError(f"Array {name} of {path} holds {kind}: {_ALLOWED} (F16, F32, F64).")
        left -= math.prod(shape) * int(kind[1:]) // 8
        if left < 0:
            raise _too_much(name, path, largest)
        try:
            return archive.get_tensor(name)  # type: ignore[no-any-return]
        except Exception as error:
            raise InputError(f"Array {name} of {path} cannot be read: {_reason(error)}.") from None

    with archive:
        yield list(archive.keys()), read


# ------------------------------------------------------------------------------ heads and matrices


def _heads_among(arrays: Sequence[str], path: Path) -> list[str]:
    found: dict[str, set[str]] = {}
    for array in arrays:
        name, slash, role = array.rpartition("/")
        if slash and name and role in ROLES:
            found.setdefault(name, set()).add(role)
    for name, roles in found.items():
        _check_printable("head", name, path)
        missing = [f"{name}/{role}" for role in ROLES if role not in roles]
        if missing:
            raise InputError(
                f"Head {name} of {path} lacks {' and '.join(missing)}: "
                f"a head needs {name}/Q, {name}/K and {name}/V."
            )
    return list(found)


def _matrices_among(arrays: Sequence[str], path: Path) -> list[str]:
    parts = (array.rpartition("/") for array in arrays)
    found = [name for name, slash, role in parts if slash and name and role == FEATURES]
    for name in found:
        _check_printable("matrix", name, path)
    return found


def _check_printable(kind: str, name: str, path: Path) -> None:
    if not name.isprintable():
        raise InputError(f"The name of {kind} {name!r} of {path} must be printable.")


def _head(name: str, read: Callable[[str], Matrix], path: Path) -> Head:
    where = f"of {path}"
    Q, K, V = (_matrix(f"{name}/{role}", read(f"{name}/{role}"), where) for role in ROLES)
    if not Q.dtype == K.dtype == V.dtype:
        raise InputError(
            f"Arrays {name}/Q, {name}/K and {name}/V {where} must have one type, "
            f"got {Q.dtype}, {K.dtype} and {V.dtype}."
        )
    if Q.shape[1] != K.shape[1]:
        raise InputError(
            f"Arrays {name}/Q and {name}/K {where} must have equally many columns, "
            f"got shapes {Q.shape} and {K.shape}."
        )
    if len(K) != len(V):
        raise InputError(
            f"Arrays {name}/K and {name}/V {where} must have equally many rows, "
            f"got shapes {K.shape} and {V.shape}."
        )
    for role, array in (("K", K), ("Q", Q)):
        _check_rows(f"{name}/{role}", array, where)
    return Head(name, *(_widened(x) for x in (Q, K, V)))


def _feature_matrix(name: str, read: Callable[[str], Matrix], path: Path) -> FeatureMatrix:
    array, where = f"{name}/{FEATURES}", f"of {path}"
    X = _matrix(array, read(array), where)
    _check_rows(array, X, where)
    largest = np.abs(X).max(axis=1)
    exponents = np.frexp(largest[largest > 0])[1]
    if exponents.size and np.abs(exponents).max() > SQUARED_EXPONENT:
        raise InputError(
            f"Array {array} {where} must have rows whose largest entries are zero or between "
            f"2^-{SQUARED_EXPONENT} and 2^{SQUARED_EXPONENT} in magnitude, so that their squares are floats, "
            f"got {largest[largest > 0].min():.3g} to {largest.max():.3g}."
        )
    return FeatureMatrix(name=name, X=_widened(X))


def _by_size(matrices: Iterable[FeatureMatrix]) -> tuple[FeatureMatrix, ...]:
    return tuple(sorted(matrices, key=lambda matrix: (matrix.X.size, matrix.name)))


def _check_rows(array_name: str, array: Matrix, where: str) -> None:
    if len(array) > LARGEST_SIZE:
        raise InputError(
            f"Array {array_name} {where} must have at most {LARGEST_SIZE} rows, which is what a row of "
            f"the exact reference can take, got {len(array)}."
        )


def _matrix(array_name: str, array: Matrix, where: str) -> Matrix:
    subject = f"Array {array_name} {where}"
    if array.dtype.type not in (np.float16, np.float32, np.float64):
        raise InputError(f"{subject} holds {array.dtype}: {_ALLOWED}.")
    if array.ndim != 2:
        raise InputError(f"{subject} must be a matrix (2 dimensions), got shape {array.shape}.")
    if array.size == 0:
        raise InputError(f"{subject} must not be empty, got shape {array.shape}.")
    finite = np.isfinite(array)
    if not finite.all():
        raise InputError(
            f"{subject} must be finite, got {np.count_nonzero(~finite)} NaN or infinite of "
            f"{array.size} entries."
        )
    largest = float(max(array.max(), -array.min()))
    if largest > LARGEST_ENTRY:
        raise InputError(
            f"{subject} must not exceed 2^500 in magnitude, so that logits do not overflow, "
            f"got {largest:.3g}."
        )
    return array.astype(array.dtype.newbyteorder("="), order="C")


def _widened(array: Matrix) -> Matrix:
    """Return float16 as the float32 of the same value, other types as they are; nothing may write."""
    result = array.astype(np.float32) if array.dtype == np.float16 else array
    result.flags.writeable = False
    return result


def _reason(error: BaseException) -> str:
    """Return a library's message as one line that can stand inside a sentence."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
