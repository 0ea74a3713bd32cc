"""The examples run, and say what they are there to say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("over", ["cache", "index"])
def test_a_decoding_loop_reports_bounds_fallbacks_and_audits(over: str) -> None:
    found = subprocess.run(
        [sys.executable, "examples/decode_with_a_cache.py", "--first", "200", "--over", over],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.count("of 56 steps in full precision") == 3
    assert (
        f"smollm2_L8H3_n256: errors and bounds relative to max |V|, tolerance 0.05, over {over}"
        in found.stdout
    )
