"""One head of a BERT encoder over a long text: real queries, keys and values by the ten thousand.

The text is cut into windows as long as the encoder reads at once, each between the marks [CLS] and [SEP],
and the rows of all windows stand one below the other.

NOTE That is a retrieval memory of real keys, not one forward pass: positions repeat, and no window sees
another.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf

from proofs.judging.containers import InputError, opened
from proofs.judging.heads import ROLES, Matrix

__all__ = [
    "Encoder",
    "Window",
    "check_output",
    "long_head",
    "read_encoder",
    "read_windows",
    "write_head",
]

#: A longer word is unknown, as in BERT's own tokenizer.
LONGEST_WORD = 100

#: What this module computes; another model_type or hidden_act is another function.
_COMPUTED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}

#: The numbers of config.json that are used, and the least that each may be: a window holds three tokens.
_SIZES = {
    "hidden_size": 1,
    "intermediate_size": 1,
    "vocab_size": 1,
    "max_position_embeddings": 3,
    "type_vocab_size": 1,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
}

#: Names of arrays, as every file of BERT's weights has them.
_WORDS = "embeddings.word_embeddings.weight"
_PLACES = "embeddings.position_embeddings.weight"
_KINDS = "embeddings.token_type_embeddings.weight"
_PROJECTIONS = ("attention.self.query", "attention.self.key", "attention.self.value")

#: The tokens that a text is put between, and the one for words that the vocabulary cannot spell.
_FIRST, _LAST, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A BERT encoder.

    Attributes
    ----------
    weights
        Every array by its name, without the prefix that some files put before it; float32.
    vocabulary
        The index of every token.
    lower_case
        Whether the vocabulary has neither capitals nor accents.
    layers, heads
        How many there are, and how many heads a layer has.
    epsilon
        What is added to a variance before it divides.
    """

    weights: Mapping[str, Matrix]
    vocabulary: Mapping[str, int]
    lower_case: bool
    layers: int
    heads: int
    epsilon: float

    @property
    def positions(self) -> int:
        """How many tokens it reads at once."""
        return len(self.weights[_PLACES])


@dataclass(frozen=True, kw_only=True)
class Window:
    """Consecutive tokens of a text, between the marks."""

    name: str
    tokens: tuple[int, ...]


def read_encoder(directory: Path) -> Encoder:
    """Read a BERT encoder from a directory with config.json, vocab.txt and model.safetensors.

    Raises
    ------
    InputError
        If a file is missing or cannot be read, the model is another than BERT, or an array is missing or
        of another shape than config.json says.
    """
    configuration = _json(directory / "config.json")
    for name, computed in _COMPUTED.items():
        if configuration.get(name, computed) != computed:
            raise InputError(
                f"MODEL {directory} must have {name} {computed!r}, got {configuration[name]!r}."
            )
    sizes = {name: _size(configuration, name, least, directory) for name, least in _SIZES.items()}
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise InputError(
            f"hidden_size of MODEL {directory} must be a multiple of num_attention_heads, "
            f"got {sizes['hidden_size']} and {sizes['num_attention_heads']}."
        )
    epsilon = configuration.get("layer_norm_eps", 1e-12)
    if not isinstance(epsilon, float):
        raise InputError(f"layer_norm_eps of MODEL {directory} must be a number, got {epsilon!r}.")
    tokenizer = directory / "tokenizer_config.json"
    lower_case = _json(tokenizer).get("do_lower_case", True) if tokenizer.is_file() else True
    return Encoder(
        weights=_weights(directory / "model.safetensors", sizes),
        vocabulary=_vocabulary(directory / "vocab.txt", sizes["vocab_size"]),
        lower_case=bool(lower_case),
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        epsilon=epsilon,
    )


def read_windows(encoder: Encoder, path: Path, count: int) -> list[Window]:
    """Cut the beginning of a text file into ``count`` windows.

    Raises
    ------
    InputError
        If the file cannot be read, is not UTF-8 or is too short.
    """
    if count < 1:
        raise InputError(f"--windows must be at least 1, got {count}.")
    vocabulary, length = encoder.vocabulary, encoder.positions - 2
    tokens: list[int] = []
    for word in _words(_text("TEXT", path), encoder.lower_case):
        tokens += _pieces(word, vocabulary)
        if len(tokens) >= count * length:
            break
    else:
        raise InputError(
            f"TEXT {path} must give {count * length} tokens for {count} windows, got {len(tokens)}: "
            "give a longer text or fewer --windows."
        )
    first, last = vocabulary[_FIRST], vocabulary[_LAST]
    return [
        Window(name=f"window {k + 1}", tokens=(first, *tokens[k * length : (k + 1) * length], last))
        for k in range(count)
    ]


def long_head(
    encoder: Encoder, windows: Iterable[Window], layer: int, head: int
) -> dict[str, Matrix]:
    """Return Q, K and V of one head over all windows, by role; Q is divided by sqrt(d).

    Parameters
    ----------
    encoder
        The encoder.
    windows
        At least one.
    layer, head
        Which head, counted from 0.

    Returns
    -------
    dict of float32 arrays, each of shape (tokens of all windows, hidden size / heads)

    Raises
    ------
    InputError
        If the encoder has no such layer or head.

    Notes
    -----
    Cost: 12 h^2 multiply-adds a token for each layer before, h the hidden size, and a window's attention.
    """
    for name, value, allowed in (
        ("--layer", layer, encoder.layers),
        ("--head", head, encoder.heads),
    ):
        if not 0 <= value < allowed:
            raise InputError(f"{name} must be in [0, {allowed - 1}] for this MODEL, got {value}.")
    # Copies, as a view would keep the other heads too.
    rows = [
        [x[head].copy() for x in _projections(encoder, _hidden(encoder, w.tokens, layer), layer)]
        for w in windows
    ]
    Q, K, V = (np.concatenate(role) for role in zip(*rows, strict=True))
    return {"Q": Q / math.sqrt(Q.shape[1]), "K": K, "V": V}


def check_output(path: Path) -> None:
    """Refuse a file that :func:`write_head` could not write, before anything is computed.

    Raises
    ------
    InputError
        If it is no .npz, exists already or has no directory.
    """
    if path.suffix != ".npz":
        raise InputError(f"OUTPUT must be a .npz file, got {path}.")
    if path.exists():
        raise InputError(f"OUTPUT {path} exists already, and no file is overwritten.")
    if not path.parent.is_dir():
        raise InputError(f"OUTPUT {path} cannot be written: {path.parent} is no directory.")


def write_head(path: Path, matrices: Mapping[str, Matrix]) -> None:
    """Write a head as float16, to be taken as exact, under the name of the file.

    Raises
    ------
    InputError
        If the file cannot be written, or float16 does not reach an entry.
    """
    largest = max(float(np.abs(x).max()) for x in matrices.values())
    if not largest <= float(np.finfo(np.float16).max):
        raise InputError(f"Entries must not exceed float16's largest, 65504, got {largest:.3g}.")
    arrays: Any = {f"{path.stem}/{role}": matrices[role].astype(np.float16) for role in ROLES}
    try:
        with path.open("xb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise InputError(f"OUTPUT {path} cannot be written: {error.strerror}.") from None


# --------------------------------------------------------------------------------------- the files


def _text(what: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{what} {path} must be UTF-8 text.") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text("MODEL's", path))
    except json.JSONDecodeError as error:
        raise InputError(f"MODEL's {path} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InputError(f"MODEL's {path} must hold a JSON object.")
    return found


def _size(configuration: Mapping[str, Any], name: str, least: int, directory: Path) -> int:
    size = configuration.get(name)
    if not isinstance(size, int) or size < least:
        raise InputError(
            f"{name} in config.json of MODEL {directory} must be an integer of at least {least}, "
            f"got {size!r}."
        )
    return size


def _vocabulary(path: Path, size: int) -> dict[str, int]:
    # Not splitlines, which would split tokens that are themselves line separators.
    tokens = _text("MODEL's", path).removesuffix("\n").split("\n")
    if len(tokens) > size:
        raise InputError(
            f"MODEL's {path} must have at most vocab_size = {size} lines, got {len(tokens)}."
        )
    found = {token: k for k, token in enumerate(tokens)}
    missing = [token for token in (_FIRST, _LAST, _UNKNOWN) if token not in found]
    if missing:
        raise InputError(f"MODEL's {path} lacks {', '.join(missing)}: BERT's vocabulary is needed.")
    return found


def _weights(path: Path, sizes: Mapping[str, int]) -> dict[str, Matrix]:
    """Read the arrays that are used, whatever prefix the file puts before their names."""
    with opened(path) as (names, read):
        found = {}
        prefix = next((x.removesuffix(_WORDS) for x in names if x.endswith(_WORDS)), "")
        for name, shape in _shapes(sizes):
            if prefix + name not in names:
                raise InputError(f"FILE {path} lacks the array {prefix}{name} of a BERT encoder.")
            array = read(prefix + name)
            if array.shape != shape:
                raise InputError(
                    f"Array {prefix}{name} of {path} must have shape {shape}, got {array.shape}."
                )
            found[name] = array.astype(np.float32)
    return found


def _shapes(sizes: Mapping[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every array that an encoder has."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    yield _WORDS, (sizes["vocab_size"], hidden)
    yield _PLACES, (sizes["max_position_embeddings"], hidden)
    yield _KINDS, (sizes["type_vocab_size"], hidden)
    norms, denses = ["embeddings.LayerNorm"], []
    for k in range(sizes["num_hidden_layers"]):
        layer = f"encoder.layer.{k}"
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        square = (*_PROJECTIONS, "attention.output.dense")
        denses += [(f"{layer}.{name}", hidden, hidden) for name in square]
        denses += [(f"{layer}.intermediate.dense", inner, hidden)]
        denses += [(f"{layer}.output.dense", hidden, inner)]
    for name in norms:
        yield f"{name}.weight", (hidden,)
        yield f"{name}.bias", (hidden,)
    for name, rows, columns in denses:
        yield f"{name}.weight", (rows, columns)
        yield f"{name}.bias", (rows,)


# ------------------------------------------------------------------------------------------ tokens


def _words(text: str, lower_case: bool) -> Iterator[str]:
    """Split at blanks; punctuation marks and ideographs are words of their own, control characters go."""
    if lower_case:
        decomposed = unicodedata.normalize("NFD", text.lower())
        text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    word = ""
    for c in text:
        category = unicodedata.category(c)
        blank = c in "\t\n\r" or category == "Zs"
        alone = _stands_alone(c, category)
        if (blank or alone) and word:
            yield word
            word = ""
        if alone:
            yield c
        elif not (blank or category in ("Cc", "Cf", "Co") or c == "\ufffd"):
            word += c
    if word:
        yield word


def _stands_alone(c: str, category: str) -> bool:
    if c.isascii():
        return category[0] in "PS"
    ideographs = ("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH")
    return category[0] == "P" or unicodedata.name(c, "").startswith(ideographs)


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Spell a word by the longest tokens from the left; all but the first begin with ##."""
    found: list[int] = []
    start = 0
    while start < len(word) <= LONGEST_WORD:
        before = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if before + word[start:e] in vocabulary), None)
        if end is None:
            break
        found.append(vocabulary[before + word[start:end]])
        start = end
    return found if start == len(word) else [vocabulary[_UNKNOWN]]


# -------------------------------------------------------------------------------------- the layers


def _hidden(encoder: Encoder, tokens: tuple[int, ...], layer: int) -> Matrix:
    """Return what a layer is given for one window, (tokens, hidden size)."""
    weights = encoder.weights
    x = weights[_WORDS][list(tokens)] + weights[_PLACES][: len(tokens)] + weights[_KINDS][0]
    x = _normalised(encoder, x, "embeddings.LayerNorm")
    for k in range(layer):
        name = f"encoder.layer.{k}"
        attended = _dense(encoder, _attended(encoder, x, k), f"{name}.attention.output.dense")
        x = _normalised(encoder, x + attended, f"{name}.attention.output.LayerNorm")
        inner = _gelu(_dense(encoder, x, f"{name}.intermediate.dense"))
        x = _normalised(
            encoder, x + _dense(encoder, inner, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )
    return x


def _projections(encoder: Encoder, x: Matrix, layer: int) -> list[Matrix]:
    """Return queries, keys and values, (heads, tokens, hidden size / heads)."""
    dense = (_dense(encoder, x, f"encoder.layer.{layer}.{name}") for name in _PROJECTIONS)
    return [y.reshape(len(x), encoder.heads, -1).transpose(1, 0, 2) for y in dense]


def _attended(encoder: Encoder, x: Matrix, layer: int) -> Matrix:
    Q, K, V = _projections(encoder, x, layer)
    logits = Q @ K.transpose(0, 2, 1) / math.sqrt(Q.shape[2])
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    attended: Matrix = (weights @ V).transpose(1, 0, 2).reshape(x.shape)
    return attended


def _dense(encoder: Encoder, x: Matrix, name: str) -> Matrix:
    result: Matrix = x @ encoder.weights[f"{name}.weight"].T + encoder.weights[f"{name}.bias"]
    return result


def _normalised(encoder: Encoder, x: Matrix, name: str) -> Matrix:
    x = x - x.mean(axis=1, keepdims=True)
    variance = (x * x).mean(axis=1, keepdims=True)
    scaled = x / np.sqrt(variance + encoder.epsilon)
    result: Matrix = scaled * encoder.weights[f"{name}.weight"] + encoder.weights[f"{name}.bias"]
    return result


def _gelu(x: Matrix) -> Matrix:
    result: Matrix = x * (1 + erf(x / math.sqrt(2))) / 2
    return result
