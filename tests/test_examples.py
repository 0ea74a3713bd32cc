"""The examples run, on what ships, and say what they are there to say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: What each prints, digits apart; those in the default loop take a second each.
SAYS = {
    "certify_my_attention": (
        r"minilm_L2H2_n64 +float16 .* 64 of 64",
        "every observed error lies inside its certificate",
    ),
    "judge_my_kernel": (
        r"smollm2_L8H3_n256 +kernel +0\.\d+ allowed +0 of 16384",
        r"smollm2_L8H3_n256 +loses_the_last_key +\d+\.\d+ allowed +[1-9]\d* of 16384",
        r"lies outside .* as RoundingModel\(out='bfloat16', weights='bfloat16'\) lets a kernel go",
    ),
    "decode_with_a_cache": (
        r"smollm2_L8H3_n256: errors and bounds relative to max \|V\|, tolerance 0.05",
        "of 192 steps in full precision",
    ),
    "stream_a_million_tokens": (
        "1000000 tokens of 4 columns: 64 MB of keys and values",
        r"kept: 3312 bytes, degree 4",
        r"certified error: \d\.\de-04 .*\nobserved error:  \d\.\de-0\d",
    ),
    "edit_a_cache": (r"\n +64 +\d+ +\d\.\de-1\d +\d\.\de-1\d\n", "one less: 256 live"),
    "compress_features": (
        r"ffn_minilm_L3_n32_d1536 +columns +\d+ of +1536 bss",
        r"Y = 0 +1 of +1342",
    ),
    "fit_a_layer": (r"minilm_L2H11_n256 +0\.05 +\d+ +1\.6e-02 +6\.1e-02 +\d\.\de-1\d",),
    "claim_of_my_own": (
        "observed: holds, certified",
        r"with r\^2/8 not broken",
        r"with r\^2/9 broken, by Logits\(",
    ),
}
DEFAULT = ("certify_my_attention", "claim_of_my_own")


def test_every_example_is_in_the_table() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(SAYS)


@pytest.mark.parametrize(
    "name",
    [name if name in DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in SAYS],
)
def test_an_example_says_what_it_is_there_to_say(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / f"{name}.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for said in SAYS[name]:
        assert re.search(said, done.stdout), f"{said} is not in\n{done.stdout}"


def test_the_first_lines_of_an_example_say_how_it_is_run() -> None:
    for name in SAYS:
        text = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
        assert f"    python examples/{name}.py" in text.split('"""')[1]


@pytest.mark.slow
def test_decoding_over_an_index_reports_bounds_fallbacks_and_audits() -> None:
    done = subprocess.run(
        [sys.executable, "examples/decode_with_a_cache.py", "--first", "200", "--over", "index"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("of 56 steps in full precision") == 3
    assert "tolerance 0.05, over index" in done.stdout
