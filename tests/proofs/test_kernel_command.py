"""``attest conform --kernel --model`` and ``attest fingerprint``: tables, JSON, JUnit, and bad input."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from proofs.__main__ import main
from proofs.evidence import kernel_cases
from proofs.judging.implementation import implementation

#: A kernel in a file, with a helper beside it, and what can be wrong with one.
SOURCE = """
import numpy as np
import beside_it
from fastpath.kernels import RoundingModel

mine = RoundingModel(out="bfloat16", block=64)


def kernel(Q, K, V, *, scale=1.0, causal=False):
    print("a kernel that talks")
    return beside_it.rounded(attention(Q, K, V, scale, causal))


def attention(Q, K, V, scale, causal):
    group = Q.shape[0] // K.shape[0] if Q.ndim > 2 else 1
    K, V = (np.repeat(x, group, axis=0) if x.ndim > 2 else x for x in (K, V))
    scores = (Q @ np.swapaxes(K, -1, -2)) * np.float32(scale)
    if causal:
        offset = scores.shape[-1] - scores.shape[-2] if causal == "lower-right" else 0
        scores = np.where(np.tri(*scores.shape[-2:], offset, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights @ V) / weights.sum(axis=-1, keepdims=True)


def unrounded_causal(Q, K, V, *, scale=1.0, causal=False):
    return beside_it.rounded(attention(Q, K, V, scale, False))


def ends(Q, K, V, **options):
    raise SystemExit("\\x00 no device")


NOT_A_FUNCTION = 3
"""

BESIDE = """
from fastpath.kernels import FORMATS

rounded = FORMATS["bfloat16"].nearest
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel in a file of the current folder, of which Python's path does not know."""
    (tmp_path / "json.py").write_text(SOURCE)  # a name that something installed has too
    (tmp_path / "beside_it.py").write_text(BESIDE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "beside_it", raising=False)
    return "json.py"


@pytest.fixture(autouse=True)
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the cases that the faults draw, for time."""
    monkeypatch.setattr(kernel_cases, "cases", lambda: iter(()))
    monkeypatch.setattr(kernel_cases, "LENGTHS", ())


def test_a_kernel_of_its_model_conforms(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("float32_throughout:bfloat16", f"{file}:mine"):
        assert main(["conform", "--kernel", f"{file}:kernel", "--model", model]) == 0
        printed = capsys.readouterr()
        assert "a kernel that talks" not in printed.out
        assert (
            f"{file}:kernel: 11 of 11 cases conform to RoundingModel(out='bfloat16'" in printed.out
        )
        assert "Not run: 7 cases with options that json.py:kernel does not take: " in printed.out


def test_a_fault_is_in_the_table_in_json_and_in_junit(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel, model = f"{file}:unrounded_causal", "float32_throughout:bfloat16"
    command = ["conform", "--kernel", kernel, "--model", model]
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "causal with more keys than queries: output[" in printed
    assert "repeat(kernel, 'causal with more keys than queries', RoundingModel(out=" in printed

    assert main([*command, "--json", "--junit", "found.xml"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is False
    verdicts = {case["name"]: case["verdict"] for case in document["cases"]}
    failing = {name for name, verdict in verdicts.items() if verdict == "FAILS"}
    assert failing == {"causal with more keys than queries", "a mask that adds -1e4"}

    suite = ElementTree.parse("found.xml").getroot()
    assert {x.get("name") for x in suite if x.find("failure") is not None} == failing
    assert int(suite.get("failures") or 0) == len(failing)
    assert int(suite.get("tests") or 0) == len(verdicts) == len(suite)
    assert int(suite.get("skipped") or 0) == list(verdicts.values()).count("not run")


def test_a_kernel_that_ends_the_program_is_a_finding_a_case(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["conform", "--kernel", f"{file}:ends", "--model", "torch_sdpa_math"]
    assert main([*command, "--junit", "found.xml"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("The kernel raises SystemExit: ") == 18
    assert len(ElementTree.parse("found.xml").getroot()) == 18


def test_a_model_that_says_nothing_of_so_many_keys_is_a_finding(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("coarse.py").write_text(
        "from fastpath.kernels import RoundingModel\n"
        "def coarse():\n"
        "    return RoundingModel(out='bfloat16', accumulate='bfloat16')\n"
    )
    command = ["conform", "--kernel", f"{file}:kernel", "--model", "coarse.py:coarse", "--json"]
    assert main(command) == 1
    cases = {case["name"]: case for case in json.loads(capsys.readouterr().out)["cases"]}
    (said,) = cases["a denominator that stalls"]["findings"]
    assert said.startswith("model must let a term pass through at most 64 roundings of bfloat16")
    assert cases["causal with more keys than queries"]["verdict"] == "FAILS"


def test_fingerprint_names_the_strongest_model(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fingerprint", f"{file}:kernel"]) == 0
    assert "nothing refutes is float32_throughout, in bfloat16" in capsys.readouterr().out
    assert main(["fingerprint", f"{file}:unrounded_causal", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["strongest"] is None
    assert {model["probe"] for model in document["models"]} == {"causal"}
    assert main(["fingerprint", f"{file}:ends"]) == 1
    printed = capsys.readouterr().out
    assert "causal: The kernel raises SystemExit" in printed
    assert "ends returned nothing that could be judged." in printed


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["conform", "--model", "torch_sdpa_math"], "--model needs --kernel, the function"),
        (["conform", "--kernel", "json.py:kernel", "--model", "flash"], "--model must be one of"),
        (
            ["conform", "--kernel", "json.py:kernel", "--model", "onnx_function:half"],
            "--model must be a RoundingModel, got 'onnx_function:half': out must be one of",
        ),
        (
            ["conform", "--kernel", "json.py:kernel", "--model", "json.py:NOT_A_FUNCTION"],
            "which is 3",
        ),
        (["conform", "--kernel", "json.py"], "--kernel must be MODULE:FUNCTION or path"),
        (["conform", "--kernel", "none.py:kernel"], "there is no file none.py"),
        (["conform", "--kernel", "json.py:none"], "--kernel must name a function of json.py"),
        (["conform", "--impl", "none.py"], "there is no file none.py"),
        (["fingerprint", "json.py:kernel", "--out", "half"], "--out must be one of float64"),
        (["fingerprint", "json.py:none"], "KERNEL must name a function of json.py"),
        (
            [
                *("conform", "--kernel", "json.py:ends", "--model", "torch_sdpa_math"),
                *("--junit", "no/such/folder.xml"),
            ],
            "--junit must be a file that can be written",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    file: str, command: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert said in printed.err


def test_an_implementation_may_be_a_file(file: str) -> None:
    Path("impl.py").write_text("def attention(Q, K, V, *, causal=False):\n    return 5\n")
    module = implementation("impl.py", "attention")
    assert module.attention(1, 2, 3) == 5
    assert implementation("./impl.py", "attention") is module
