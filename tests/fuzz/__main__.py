"""``python -m tests.fuzz [--seconds N] [TARGET ...]``: guided by coverage, look for what nobody should meet.

Targets read files (``containers``: .npz and .safetensors; ``states``: what was saved, sealed anew after
each change) and call public functions (``calls``).  A crash, an exception that is no refusal in a
sentence, NaN from finite input, a changed argument, a hang of 20 s or 2 GiB ends a run with status 1; the
input is kept in the folder ``findings``, and ``python -m tests.fuzz TARGET FILE`` tries it again.  Needs
the extra ``fuzz``.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGETS = ("containers", "states", "calls")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; or one and a file")
    parser.add_argument("--seconds", type=int, default=1800, help="for all targets together")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    arguments = parser.parse_args()
    chosen = arguments.targets or [*TARGETS]
    if len(chosen) == 2 and chosen[1] not in TARGETS:
        return subprocess.call([sys.executable, "-m", "tests.fuzz.target", *chosen])
    if not set(chosen) <= set(TARGETS):
        parser.error(f"TARGET must be one of {', '.join(TARGETS)}, got {' '.join(chosen)}.")
    arguments.findings.mkdir(exist_ok=True)
    status = 0
    for target in chosen:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as corpus:
            found = subprocess.call(
                [
                    *(sys.executable, "-m", "tests.fuzz.target", target, corpus),
                    f"-max_total_time={arguments.seconds // len(chosen)}",
                    f"-artifact_prefix={arguments.findings / target}-",
                    "-rss_limit_mb=2048",
                    "-max_len=4096",
                    "-len_control=0",
                    "-print_final_stats=1",
                    "-verbosity=0" if not sys.stdout.isatty() else "-verbosity=1",
                ]
            )
        took = time.monotonic() - started
        print(f"{target}: {'a finding' if found else 'nothing found'} in {took:.0f} s.", flush=True)
        status = status or int(bool(found))
    return status


if __name__ == "__main__":
    sys.exit(main())
