"""Files that hold a state: whole or not there at all, and refused once they have changed.

A file is what numpy's ``savez`` writes, without pickles, followed by the SHA-256 digest of those bytes.
The digest is compared before anything is read.  It guards against accidents, not against forgers: whoever
forges one can make a state say anything.  What is read takes no more memory than the file is long, and is
refused in a sentence where it makes no state; nothing of it is ever executed.
"""

from __future__ import annotations

import glob
import hashlib
import io
import math
import os
import stat
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

State = TypeVar("State")

try:
    import fcntl
except ImportError:  # where there are no such locks, what a killed process left stays
    fcntl = None  # type: ignore[assignment]

_DIGEST_BYTES = hashlib.sha256().digest_size

#: A file that has not been locked for so long was left by a process that is no more.
_SECONDS_TO_LOCK = 60


def write_arrays(
    path: str | os.PathLike[str], kind: str, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write arrays to a file; a file of that name is replaced in the last step, which is atomic.

    Parameters
    ----------
    path : path-like
        Where to; a file beside it holds what is not whole yet.
    kind : str
        What the arrays are, and the version of their format.
    arrays : mapping from names to arrays
        Of numbers or strings.

    Raises
    ------
    OSError
        If the file cannot be written; a file of that name is then as before.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{"kind": np.array(kind), **arrays})
    content = buffer.getvalue()
    target = Path(path)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with open(partial, "xb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content + hashlib.sha256(content).digest())
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _tidy(target)


def _tidy(target: Path) -> None:
    """Remove what processes that were killed while they wrote this file have left beside it."""
    if fcntl is None:
        return
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 32}"):
        with suppress(OSError):
            # One that is being written is locked, at the latest a moment after it is made.
            if time.time() - left.stat().st_mtime > _SECONDS_TO_LOCK:
                with open(left, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()


def load(
    path: str | os.PathLike[str],
    kinds: tuple[str, ...],
    build: Callable[[Arrays], State],
    contents: Callable[[State], Mapping[str, NDArray[Any]]],
) -> State:
    """Return the state that a file holds, if that would be saved as it stands there, bit for bit.

    Parameters
    ----------
    path : path-like
    kinds : tuple of str
        What the file may hold, this version first and then older ones.
    build, contents : callable
        Make a state of arrays, and arrays of a state; a newer version has more arrays than an older one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no file but a pipe or a device, was truncated or changed, or holds another kind of state,
        another version, or the arrays of no state.
    """
    found, arrays = _read_arrays(path, kinds)
    reason = "its arrays are those of no state"
    try:
        state = build(dict(arrays))
        again = contents(state)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ValueError(_refusal(path, f"{reason} ({type(error).__name__})")) from error
    told = arrays.keys() == again.keys() if found == kinds[0] else arrays.keys() < again.keys()
    if not (told and all(_same(x, again[name]) for name, x in arrays.items())):
        raise ValueError(_refusal(path, reason))
    return state


def _read_arrays(path: str | os.PathLike[str], kinds: tuple[str, ...]) -> tuple[str, Arrays]:
    """Return which kind a file holds, and the arrays that :func:`write_arrays` wrote, bit for bit."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a directory open says so itself
        raise ValueError(_refusal(path, "it is a pipe or a device"))
    stored = Path(path).read_bytes()
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(_refusal(path, "its digest is wrong"))
    try:
        arrays = _members(content)
        found = str(arrays.pop("kind").item())
    except (
        Exception
    ) as error:  # zipfile and numpy raise almost anything on bytes that are not theirs
        raise ValueError(_refusal(path, f"its archive is none ({type(error).__name__})")) from error
    if found not in kinds:
        shown = ascii(found[:80])[1:-1]
        raise ValueError(
            f"path must name a file of {' or '.join(kinds)}, got {os.fspath(path)} of {shown}."
        )
    return found, arrays


def _members(content: bytes) -> Arrays:
    """Return the arrays of an archive in this machine's byte order, none larger than what holds it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) != len(members):
            raise ValueError("a name stands twice.")
        # Nothing is packed, so that what members overlap in is all that they could gain.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members) or sum(
            member.file_size for member in members
        ) > len(content):
            raise ValueError("a member is larger than what holds it.")
        return {
            member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members
        }


def _array(stored: bytes) -> NDArray[Any]:
    """Return the array of a .npy file of numbers or text, of the version that numpy writes for these."""
    stream = io.BytesIO(stored)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("its format is another.")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    body = stored[stream.tell() :]
    if dtype.kind not in "biufU" or math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError("its header is of other bytes.")
    array = np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
    # A copy, since a state changes its arrays.
    return array.astype(dtype.newbyteorder("="), order="K", copy=True)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and one.tobytes() == other.tobytes()


def _refusal(path: str | os.PathLike[str], reason: str) -> str:
    return f"path must name a state file as it was saved, got {os.fspath(path)}: {reason}."
