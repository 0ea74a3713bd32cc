"""The fixture that runs a test once for every case that attention kernels are judged by."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastpath.kernels import FORMATS
from proofs.evidence.kernel_cases import kernel_cases

pytest_plugins = ["pytester"]

DEEP = re.DOTALL | re.MULTILINE

#: Made here, too, so that the modules that this needs outlive a run inside this process.
NAMES = [case.name for case in kernel_cases(FORMATS["bfloat16"].name)]

KERNEL = """
import numpy as np
from fastpath.kernels import FORMATS, RoundingModel, float32_throughout


def kernel(Q, K, V, *, scale=1.0, causal=False):
    scores = (Q @ K.T) * np.float32(scale)
    if causal:
        offset = len(K) - len(Q) if causal == "lower-right" else 0
        scores[~np.tri(*scores.shape, offset, dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return FORMATS["bfloat16"].nearest(weights @ V / weights.sum(axis=1, keepdims=True))


def broken(Q, K, V, *, scale=1.0, causal=False):
    return kernel(Q, K, V, scale=scale, causal="upper-left" if causal else False)


def test_kernel(attest_attention_case):
    attest_attention_case.check(kernel, float32_throughout("bfloat16"))


def test_broken(attest_attention_case):
    attest_attention_case.check(broken, float32_throughout("bfloat16"))


def test_none(attest_attention_case):
    attest_attention_case.check(kernel, "bfloat16")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A test file of a kernel's author, where no plugin is loaded but ours."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(KERNEL)
    return pytester


def _run(suite: pytest.Pytester, *selected: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-p", "proofs.command.pytest_plugin", "-k", *selected)


def test_a_kernel_of_its_model_passes_every_case_that_it_takes(suite: pytest.Pytester) -> None:
    result = _run(suite, "test_kernel and (stalls or edge or causal or one or overflow or window)")
    outcomes = result.parseoutcomes()
    assert 20 < outcomes["passed"] < len(NAMES)
    assert outcomes["skipped"] >= 3
    assert "failed" not in outcomes


def test_a_failure_names_entry_excess_and_key_and_how_to_repeat_it(suite: pytest.Pytester) -> None:
    result = _run(suite, "test_broken and queries and causal")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "causal with more keys than queries: output?*?* lies outside *, * times as far from "
            "attention, *: key *, of weight *, explains it best. These two lines repeat it:",
            "    from fastpath.kernels import RoundingModel; from proofs.evidence.kernel_cases import repeat",
            "    repeat(kernel, 'causal with more keys than queries', RoundingModel(out='bfloat16'))",
            "This case catches masks: The diagonal is counted from the first key *",
        ]
    )


def test_what_is_no_model_is_refused_in_a_sentence(suite: pytest.Pytester) -> None:
    result = _run(suite, "test_none and queries and causal")
    result.stdout.fnmatch_lines(["*TypeError: model must be a RoundingModel, got 'bfloat16'."])


def test_the_example_of_the_document_runs(suite: pytest.Pytester) -> None:
    text = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text("utf-8")
    (block,) = (b for b in re.findall(r"^```py\n(.*?)^```$", text, DEEP) if "attest_" in b)
    (source,) = re.findall(r'write_text\("{3}\n(.*?)^"{3}\)$', text, DEEP)
    suite.makepyfile(mine=source, test_mine=block)
    outcomes = _run(suite, "test_mine and queries").parseoutcomes()
    assert outcomes["passed"] >= 5
    assert "failed" not in outcomes


def test_the_plugin_brings_nothing_along() -> None:
    script = (
        "import sys, proofs.command.pytest_plugin; "
        "print([m for m in ('numpy', 'sympy', 'rich', 'fastpath') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
