"""`attest long-heads` computes what a plain encoder computes, and refuses what it cannot use."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from proofs import __main__ as command
from proofs.command.long_heads import Encoder, Window, long_head, read_encoder, read_windows
from proofs.judging.heads import read_file

Array = NDArray[Any]

HIDDEN, INNER, HEADS, LAYERS, POSITIONS = 8, 12, 2, 3, 6

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "light", "##s", "##ness", "l", "e", ",", "a"]

CONFIGURATION = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "vocab_size": len(TOKENS),
    "layer_norm_eps": 1e-12,
}

TEXT = "The LIGHTS, a lightness the light; THE lights the a a a the"


def made_up_weights() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    weights: dict[str, Array] = {}

    def dense(name: str, rows: int, columns: int) -> None:
        weights[f"{name}.weight"] = rng.standard_normal((rows, columns)) / math.sqrt(columns)
        weights[f"{name}.bias"] = rng.standard_normal(rows)

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = rng.uniform(0.5, 2, HIDDEN)
        weights[f"{name}.bias"] = rng.standard_normal(HIDDEN)

    for name, rows in (("word", len(TOKENS)), ("position", POSITIONS), ("token_type", 2)):
        weights[f"embeddings.{name}_embeddings.weight"] = rng.standard_normal((rows, HIDDEN))
    norm("embeddings.LayerNorm")
    for k in range(LAYERS):
        layer = f"encoder.layer.{k}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense(f"{layer}.attention.{part}", HIDDEN, HIDDEN)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", INNER, HIDDEN)
        dense(f"{layer}.output.dense", HIDDEN, INNER)
        norm(f"{layer}.output.LayerNorm")
    return {name: x.astype(np.float32) for name, x in weights.items()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory with an encoder of made-up weights."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(CONFIGURATION))
    (directory / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    save_file(made_up_weights(), directory / "model.safetensors")
    return directory


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------ the encoder


def plainly(weights: dict[str, Array], tokens: tuple[int, ...], layer: int) -> list[Array]:
    """Return Q, K, V of every head, one token and one sum after the other, in float64."""
    w = {name: x.astype(float) for name, x in weights.items()}

    def dense(x: Array, name: str) -> Array:
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        scaled = (x - np.mean(x)) / math.sqrt(np.var(x) + CONFIGURATION["layer_norm_eps"])
        return w[f"{name}.weight"] * scaled + w[f"{name}.bias"]

    def gelu(x: float) -> float:
        return x * (1 + math.erf(x / math.sqrt(2))) / 2

    def heads(rows: list[Array], name: str) -> Array:
        return np.array([np.split(dense(x, name), HEADS) for x in rows])

    rows = [
        norm(
            w["embeddings.word_embeddings.weight"][t]
            + w["embeddings.position_embeddings.weight"][k]
            + w["embeddings.token_type_embeddings.weight"][0],
            "embeddings.LayerNorm",
        )
        for k, t in enumerate(tokens)
    ]
    for k in range(layer + 1):
        name = f"encoder.layer.{k}"
        parts = ("query", "key", "value")
        Q, K, V = (heads(rows, f"{name}.attention.self.{part}") for part in parts)
        if k == layer:
            return [Q / math.sqrt(Q.shape[2]), K, V]
        for i, x in enumerate(rows):
            attended = []
            for h in range(HEADS):
                p = [math.exp(Q[i, h] @ key / math.sqrt(Q.shape[2])) for key in K[:, h]]
                attended.append(sum(a * v for a, v in zip(p, V[:, h], strict=True)) / sum(p))
            x = x + dense(np.concatenate(attended), f"{name}.attention.output.dense")
            x = norm(x, f"{name}.attention.output.LayerNorm")
            inner = np.array([gelu(y) for y in dense(x, f"{name}.intermediate.dense")])
            rows[i] = norm(x + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    raise AssertionError


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("head", range(HEADS))
def test_in_float64_it_differs_from_a_plain_encoder_by_less_than_float32_rounds(
    model: Path, layer: int, head: int
) -> None:
    """An error of a formula would be as large in either type."""
    single = read_encoder(model)
    double = replace(single, weights={k: x.astype(float) for k, x in single.weights.items()})
    windows = [
        Window(name="", tokens=(2, 4, 5, 6, 10, 3)),
        Window(name="", tokens=(2, 11, 5, 7, 4, 3)),
    ]
    truth = [plainly(made_up_weights(), w.tokens, layer) for w in windows]

    def error(encoder: Encoder) -> list[float]:
        found = long_head(encoder, windows, layer, head)
        return [
            np.abs(found[role] - np.concatenate([t[k][:, head] for t in truth])).max()
            for k, role in enumerate("QKV")
        ]

    for finer, coarser in zip(error(double), error(single), strict=True):
        assert finer < coarser


def test_a_prefix_of_the_names_of_arrays_changes_nothing(model: Path) -> None:
    before = read_encoder(model).weights
    path = model / "model.safetensors"
    save_file({f"bert.{name}": x for name, x in load_file(path).items()}, path)
    after = read_encoder(model).weights
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


# -------------------------------------------------------------------------------------- the tokens


def spelled(encoder: Encoder, path: Path, text: str, windows: int) -> list[list[str]]:
    path.write_text(text, encoding="utf-8")
    return [[TOKENS[t] for t in w.tokens] for w in read_windows(encoder, path, windows)]


def test_a_text_is_cut_into_windows_between_their_marks(model: Path, text: Path) -> None:
    assert spelled(read_encoder(model), text, TEXT, 3) == [
        ["[CLS]", "the", "light", "##s", ",", "[SEP]"],
        ["[CLS]", "a", "light", "##ness", "the", "[SEP]"],
        ["[CLS]", "light", "[UNK]", "the", "light", "[SEP]"],
    ]


@pytest.mark.parametrize(
    ("written", "tokens"),
    [
        ("LÍGHTS\tthe\u00a0a\nthe", ["light", "##s", "the", "a"]),
        ("li\u00adght the,a", ["light", "the", ",", "a"]),
        ("\u5149a light le the", ["[UNK]", "a", "light", "[UNK]"]),
        ("a" * 101 + " a a the", ["[UNK]", "a", "a", "the"]),
        ("light\u201cthe a a", ["light", "[UNK]", "the", "a"]),
    ],
)
def test_words_are_split_as_bert_splits_them(
    written: str, tokens: list[str], model: Path, text: Path
) -> None:
    (found,) = spelled(read_encoder(model), text, written, 1)
    assert found[1:-1] == tokens


def test_a_vocabulary_with_capitals_keeps_them(model: Path, text: Path) -> None:
    (model / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    (found,) = spelled(read_encoder(model), text, "The light a the", 1)
    assert found[1:-1] == ["[UNK]", "light", "a", "the"]


# ------------------------------------------------------------------------------------- the command


def run(
    capsys: pytest.CaptureFixture[str], model: Path, text: Path, output: Path, *more: str
) -> tuple[int, str]:
    layer = () if "--layer" in more else ("--layer", "1")
    arguments = [str(model), str(text), str(output), *layer, "--head", "1", *more]
    status = command.main(["long-heads", *arguments])
    return status, capsys.readouterr().err


def test_the_file_holds_the_head_as_float16_and_can_be_checked(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bible_L1H1.npz"
    assert run(capsys, model, text, output, "--windows", "3") == (0, "")
    (head,) = read_file(output).heads
    encoder = read_encoder(model)
    expected = long_head(encoder, read_windows(encoder, text, 3), 1, 1)
    assert head.name == "bible_L1H1"
    for role, found in zip("QKV", head.matrices, strict=True):
        assert found.shape == (3 * POSITIONS, HIDDEN // HEADS)
        assert np.array_equal(found, expected[role].astype(np.float16))
    assert command.main(["check", str(output)]) == 0


def _configured(**changes: Any) -> Callable[[Path], object]:
    return lambda model: (model / "config.json").write_text(json.dumps(CONFIGURATION | changes))


def _rewritten(change: Callable[[dict[str, Array]], object]) -> Callable[[Path], None]:
    def of(model: Path) -> None:
        weights = made_up_weights()
        change(weights)
        save_file(weights, model / "model.safetensors")

    return of


def _huge(weights: dict[str, Array]) -> None:
    weights["encoder.layer.1.attention.self.key.bias"][:] = 1e5


REFUSED: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "no configuration": (lambda m: (m / "config.json").unlink(), (), "config.json cannot be read"),
    "no JSON": (lambda m: (m / "config.json").write_text("{"), (), "config.json is not JSON"),
    "a list": (lambda m: (m / "config.json").write_text("[]"), (), "must hold a JSON object"),
    "another model": (
        _configured(model_type="gpt2"),
        (),
        "must have model_type 'bert', got 'gpt2'",
    ),
    "another activation": (_configured(hidden_act="relu"), (), "must have hidden_act 'gelu'"),
    "no size": (_configured(hidden_size=None), (), "hidden_size in config.json"),
    "no epsilon": (_configured(layer_norm_eps="small"), (), "must be a number, got 'small'"),
    "two positions": (_configured(max_position_embeddings=2), (), "at least 3, got 2"),
    "heads that do not divide": (_configured(num_attention_heads=3), (), "got 8 and 3"),
    "no vocabulary": (lambda m: (m / "vocab.txt").unlink(), (), "vocab.txt cannot be read"),
    "no marks": (lambda m: (m / "vocab.txt").write_text("[CLS]\nthe"), (), "lacks [SEP], [UNK]"),
    "a long vocabulary": (_configured(vocab_size=5), (), "must have shape (5, 8), got (12, 8)"),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), (), "does not exist"),
    "a missing array": (
        _rewritten(lambda w: w.pop("encoder.layer.2.output.dense.bias")),
        (),
        "lacks the array encoder.layer.2.output.dense.bias",
    ),
    "an array of another shape": (
        _rewritten(lambda w: w.update({"embeddings.LayerNorm.bias": np.ones(3, np.float32)})),
        (),
        "embeddings.LayerNorm.bias of",
    ),
    "values that float16 has not": (_rewritten(_huge), (), "65504, got 1e+05"),
    "no such layer": (lambda m: None, ("--layer", "3"), "--layer must be in [0, 2]"),
    "a negative layer": (lambda m: None, ("--layer", "-1"), "--layer must be in [0, 2]"),
    "no such head": (lambda m: None, ("--head", "2"), "--head must be in [0, 1]"),
    "no window": (lambda m: None, ("--windows", "0"), "--windows must be at least 1, got 0"),
    "a short text": (lambda m: None, ("--windows", "9"), "36 tokens for 9 windows, got 18"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_sentence_and_nothing_is_written(
    case: str, model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, more, says = REFUSED[case]
    spoil(model)
    output = tmp_path / "out.npz"
    status, err = run(capsys, model, text, output, "--windows", "1", *more)
    assert status == 2
    assert err.startswith("attest: ")
    assert err.count("\n") == 1
    assert says in err
    assert not output.exists()


def test_a_text_of_other_bytes_is_refused(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text.write_bytes(b"\xff\xfe")
    assert "must be UTF-8 text" in run(capsys, model, text, tmp_path / "out.npz")[1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("out.safetensors", "OUTPUT must be a .npz file"),
        ("text.npz", "exists already"),
        ("nowhere/out.npz", "is no directory"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_and_left_alone(
    name: str,
    says: str,
    model: Path,
    text: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.npz").write_bytes(b"mine")
    status, err = run(capsys, model, text, tmp_path / name)
    assert status == 2
    assert says in err
    assert (tmp_path / "text.npz").read_bytes() == b"mine"
