"""Files that hold a state: whole or not there at all, and refused once they have changed.

A file is what numpy's ``savez`` writes, without pickles, followed by the SHA-256 digest of those bytes.
The digest is compared before anything is read.  It guards against accidents, not against forgers.
"""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_DIGEST_BYTES = hashlib.sha256().digest_size


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
            file.write(content + hashlib.sha256(content).digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_arrays(path: str | os.PathLike[str], *kinds: str) -> Arrays:
    """Return the arrays that :func:`write_arrays` wrote of one of some kinds, bit for bit.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it was truncated or changed, or holds another kind of state.
    """
    stored = Path(path).read_bytes()
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(
            f"path must name a state file as it was saved, got {os.fspath(path)}: its digest is wrong."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found = arrays.pop("kind").item()
    if found not in kinds:
        raise ValueError(
            f"path must name a file of {' or '.join(kinds)}, got {os.fspath(path)} of {found}."
        )
    return arrays
