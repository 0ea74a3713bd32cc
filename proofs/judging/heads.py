"""Attention heads and feature matrices from files: where arrays of others are checked, once.

A file holds heads as arrays ``<name>/Q``, ``<name>/K``, ``<name>/V``, or with a dot and the names that models
give them (``<name>.q_proj``), and feature matrices as ``<name>/X``; arrays of other names are left alone.
An array of three or four axes holds many heads, (batch, heads, n, d), of which a group of queries may read
one key head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from proofs.judging.containers import ALLOWED, InputError, opened
from reference.scores import LARGEST_SIZE

__all__ = [
    "ROLES",
    "FeatureMatrix",
    "Head",
    "InputError",
    "Inputs",
    "Replacements",
    "read_file",
    "shipped_heads",
    "shipped_matrices",
    "shipped_replacements",
]

Matrix = NDArray[Any]

#: The arrays of a head, in the order in which attention takes them.
ROLES = ("Q", "K", "V")

#: What models call them, by role.
ROLE_NAMES = {
    role: (role, role.lower(), f"{role.lower()}_proj", word)
    for role, word in (("Q", "query"), ("K", "key"), ("V", "value"))
}

#: How an array's name is made of a head's and a role's, where nothing else is asked for.
PATTERNS = ("{name}/{role}", "{name}.{role}")

#: The array of a feature matrix.
FEATURES = "X"

#: The real heads that ship have up to 512 tokens; `attest check` takes 13 s for those of up to 256.
SHIPPED_TOKENS = 256

#: What all arrays that are read of a file may take together, unpacked: 131,072 keys of 64 float32 do.
LARGEST_BYTES = 1 << 27


#: Rows of X are zero or have a largest entry of 2^-120 to 2^120: the squares of all neither overflow nor
#: underflow, nor do those of X scaled to meet P3's hypothesis.
SQUARED_EXPONENT = 120

#: With entries of at most 2^500 no logit, nor a product of norms, overflows in float64.
LARGEST_ENTRY = 2.0**500

#: Of the matrices in extras.npz, those that are stored dense; the bag of words is in CSR format.
_SHIPPED_DENSE = ("ffn_minilm_L3_n32_d1536", "hidden_minilm_L3_n64_d384")

#: The head whose tokens are replaced in extras.npz.
_SHIPPED_REPLACED = "minilm_L0H11_n256"


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


def read_file(path: Path, names: str | None = None) -> Inputs:
    """Read every head and every feature matrix of a file.

    Parameters
    ----------
    path : Path
        A .npz or .safetensors file.
    names : str, optional
        How an array's name is made, with ``{name}`` and ``{role}`` in it, as in
        ``{name}.self_attn.{role}_proj``; by default ``PATTERNS``.

    Returns
    -------
    Inputs
        At least one head or matrix.

    Raises
    ------
    InputError
        If the file cannot be read, holds neither a head nor a matrix, or holds one that cannot be used.
    """
    patterns = PATTERNS if names is None else (_pattern(names),)
    with opened(path, LARGEST_BYTES) as (arrays, read):
        heads, matrices = _heads_among(arrays, patterns, path), _matrices_among(arrays, path)
        if not heads and not matrices:
            shown = ", ".join(map(repr, arrays[:6])) + (", ..." if len(arrays) > 6 else "")
            raise InputError(
                f"FILE {path} holds no head and no feature matrix: it needs arrays "
                f"{'<name>/Q, <name>/K and <name>/V' if names is None else names}, or <name>/X, "
                f"got {shown or 'none'}."
            )
        read_heads = [
            head for name, roles in heads.items() for head in _read_heads(name, roles, read, path)
        ]
        read_matrices = [_feature_matrix(name, read, path) for name in matrices]
    return Inputs(
        tuple(sorted(read_heads, key=lambda head: (len(head.Q) * len(head.K), head.name))),
        _by_size(read_matrices),
    )


def _pattern(names: str) -> str:
    if names.count("{name}") != 1 or names.count("{role}") != 1:
        raise InputError(f"--names must hold {{name}} and {{role}} once each, got {names!r}.")
    return names


def _heads_among(
    arrays: Sequence[str], patterns: Sequence[str], path: Path
) -> dict[str, dict[str, str]]:
    """Return the arrays of every head: by its name, and then by their roles."""
    found: dict[str, dict[str, str]] = {}
    for pattern in patterns:
        escaped = re.escape(pattern).replace(r"\{name\}", "(?P<name>.+)")
        for role, called in ROLE_NAMES.items():
            form = re.compile(escaped.replace(r"\{role\}", f"(?:{'|'.join(called)})"), re.DOTALL)
            for array in arrays:
                match = form.fullmatch(array)
                if match is None:
                    continue
                roles = found.setdefault(match["name"], {})
                if role in roles:
                    raise InputError(
                        f"Head {match['name']} of {path} has {roles[role]} and {array} for {role}: "
                        "give --names."
                    )
                roles[role] = array
    for name, roles in found.items():
        _check_printable("head", name, path)
        missing = [role for role in ROLES if role not in roles]
        if missing:
            raise InputError(
                f"Head {name} of {path} lacks {' and '.join(f'{name}/{role}' for role in missing)}: "
                f"a head needs {name}/Q, {name}/K and {name}/V."
            )
    return found


def _matrices_among(arrays: Sequence[str], path: Path) -> list[str]:
    parts = (array.rpartition("/") for array in arrays)
    found = [name for name, slash, role in parts if slash and name and role == FEATURES]
    for name in found:
        _check_printable("matrix", name, path)
    return found


def _check_printable(kind: str, name: str, path: Path) -> None:
    if not name.isprintable():
        raise InputError(f"The name of {kind} {name!r} of {path} must be printable.")


def _read_heads(
    name: str, roles: dict[str, str], read: Callable[[str], Matrix], path: Path
) -> Iterator[Head]:
    """Yield the head of three matrices, or every query head of arrays with more axes."""
    where = f"of {path}"
    arrays = {role: read(roles[role]) for role in ROLES}
    axes = {array.ndim for array in arrays.values()}
    if axes <= {3, 4} and len(axes) == 1:
        yield from _many_heads(name, roles, arrays, where)
    else:
        yield _head(name, roles, arrays, where)


def _many_heads(
    name: str, roles: dict[str, str], arrays: dict[str, Matrix], where: str
) -> Iterator[Head]:
    Q, K, V = (arrays[role] for role in ROLES)
    if K.shape[:-2] != V.shape[:-2] or Q.shape[:-3] != K.shape[:-3]:
        raise InputError(
            f"Arrays {', '.join(roles[role] for role in ROLES)} {where} must agree in their leading axes, "
            f"K and V in their heads, got shapes {Q.shape}, {K.shape} and {V.shape}."
        )
    if 0 in K.shape[:-2] or Q.shape[-3] % K.shape[-3]:
        raise InputError(
            f"Array {roles['Q']} {where} must have a multiple of the {K.shape[-3]} heads of "
            f"{roles['K']}, got {Q.shape[-3]}."
        )
    group = Q.shape[-3] // K.shape[-3]
    for index in np.ndindex(*Q.shape[:-2]):
        key_index = (*index[:-1], index[-1] // group)
        one = {"Q": Q[index], "K": K[key_index], "V": V[key_index]}
        yield _head(f"{name}[{', '.join(map(str, index))}]", roles, one, where)


def _head(name: str, roles: dict[str, str], arrays: dict[str, Matrix], where: str) -> Head:
    Q, K, V = (_matrix(roles[role], arrays[role], where) for role in ROLES)
    if not Q.dtype == K.dtype == V.dtype:
        raise InputError(
            f"Arrays {roles['Q']}, {roles['K']} and {roles['V']} {where} must have one type, "
            f"got {Q.dtype}, {K.dtype} and {V.dtype}."
        )
    if Q.shape[1] != K.shape[1]:
        raise InputError(
            f"Arrays {roles['Q']} and {roles['K']} {where} must have equally many columns, "
            f"got shapes {Q.shape} and {K.shape}."
        )
    if len(K) != len(V):
        raise InputError(
            f"Arrays {roles['K']} and {roles['V']} {where} must have equally many rows, "
            f"got shapes {K.shape} and {V.shape}."
        )
    for role, array in (("K", K), ("Q", Q)):
        _check_rows(roles[role], array, where)
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
        raise InputError(f"{subject} holds {array.dtype}: {ALLOWED}.")
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
