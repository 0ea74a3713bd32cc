"""Arrays of a .npz or .safetensors file: what they say of their size is compared before memory is taken.

Nothing is ever unpickled, and nothing is written.  An array is held to limits, and to the bytes that there
are.
"""

from __future__ import annotations

import io
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALLOWED", "InputError", "opened"]

Matrix = NDArray[Any]

#: A .npy header is a few dozen bytes; numpy itself reads none above 10,000.
LARGEST_HEADER = 10_000

ALLOWED = "allowed are matrices of float16, float32 or float64"


class InputError(ValueError):
    """Something given to the command cannot be used; the message is a full sentence."""


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
                    f"Array {name} of {path} cannot be read ({_reason(error)}): {ALLOWED}, "
                    "never pickled objects."
                ) from None
            left -= size
            if left < 0:
                raise _too_much(name, path, largest)
            try:
                array = archive[name]
            except Exception as error:
                raise InputError(
                    f"Array {name} of {path} cannot be read ({_reason(error)}): {ALLOWED}, "
                    "never pickled objects."
                ) from None
            if not isinstance(array, np.ndarray):
                raise InputError(f"Array {name} of {path} is not an array: {ALLOWED}.")
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
        if kind not in _BITS:
            raise InputError(
                f"Array {name} of {path} holds {kind}: {ALLOWED} ({', '.join(_BITS)})."
            )
        left -= math.prod(shape) * max(_BITS[kind], 32 if kind in _NARROW else 0) // 8
        if left < 0:
            raise _too_much(name, path, largest)
        try:
            if kind in _NARROW:
                return _NARROW[kind](_bytes_of(path, name)).reshape(shape)
            return archive.get_tensor(name)  # type: ignore[no-any-return]
        except Exception as error:
            raise InputError(f"Array {name} of {path} cannot be read: {_reason(error)}.") from None

    with archive:
        yield list(archive.keys()), read


#: The types that are read of a .safetensors file, and how many bits each takes there.
_BITS = {"F16": 16, "F32": 32, "F64": 64, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8}


def _bytes_of(path: Path, name: str) -> bytes:
    """Return the bytes of an array of a .safetensors file that the library has checked."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start, end = json.loads(file.read(length))[name]["data_offsets"]
        file.seek(8 + length + start)
        return file.read(end - start)


def _from_bfloat16(data: bytes) -> Matrix:
    """Return float32, of which bfloat16 is the upper half."""
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def _from_e5m2(data: bytes) -> Matrix:
    """Return float32 by way of float16, of which this type is the upper half."""
    halves = np.frombuffer(data, np.uint8).astype(np.uint16) << 8
    return halves.view(np.float16).astype(np.float32)


def _from_e4m3(data: bytes) -> Matrix:
    """Return float32 of a sign, 4 bits of exponent, 3 of fraction: no infinity, NaN where all are 1."""
    codes = np.arange(256)
    exponents, fractions = (codes >> 3) & 15, codes & 7
    normal = exponents > 0
    values = np.ldexp((8.0 * normal + fractions) / 8, np.maximum(exponents, 1) - 7)
    values[(codes & 127) == 127] = np.nan
    table = np.where(codes >= 128, -values, values).astype(np.float32)
    result: Matrix = table[np.frombuffer(data, np.uint8)]
    return result


_NARROW = {"BF16": _from_bfloat16, "F8_E4M3": _from_e4m3, "F8_E5M2": _from_e5m2}


def _reason(error: BaseException) -> str:
    """Return a library's message as one line that can stand inside a sentence."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
