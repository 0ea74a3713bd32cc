"""What the tests run with for an older processor does what it says, whatever processor this is."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("older_processor.py")

#: What numpy finds once it is told; importing it must not warn.
FOUND = (
    "import numpy as np; print(*np.show_config(mode='dicts')['SIMD Extensions'].get('found', ()))"
)


def test_numpy_finds_nothing_newer_than_avx2_and_says_nothing() -> None:
    command = [sys.executable, SCRIPT, sys.executable, "-W", "error", "-c", FOUND]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not told.stderr
    assert not [name for name in told.stdout.split() if name.startswith(("AVX512", "X86_V4"))]


def test_the_status_is_that_of_the_command() -> None:
    command = [sys.executable, SCRIPT, sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(command, check=False).returncode == 7
