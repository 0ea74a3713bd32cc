"""``python -m tests.benchmarks [--quick]``: measure, keep the figures, and write BENCHMARKS.md and its plots.

Everything takes turns in one process with one BLAS thread.  ``--quick`` is a reduced set of some minutes;
``--only NAME ...`` the benchmarks of some tables; ``--report`` measures nothing and writes the page again.
Peers that are not installed (``pip install .[peers]``) are skipped, and what is not measured stays as it was.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from tests.benchmarks import report
from tests.benchmarks.tables import TABLES

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

#: Rounds of each comparison in the reduced set.
QUICK_ROUNDS = 5


def chosen(quick: bool, only: list[str]) -> list[str]:
    """Return what pytest is to run: every file, or the benchmarks of tables."""
    if not only and not quick:
        return [str(report.HERE)]
    tables = [table for table in TABLES if not only or table.name in only]
    found = []
    for table in tables:
        test = str(report.HERE / table.test)
        found += [f"{test}[{id_}]" if id_ else test for id_ in table.quick] if quick else [test]
    return found


def run_of(
    quick: bool, only: list[str], load: tuple[float, float], cpu: dict[str, Any]
) -> dict[str, Any]:
    """Return what was run, and on what."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    kernels = sorted({x["architecture"] for x in threadpool_info() if "architecture" in x})
    versions = {}
    for name in ("numpy", "scipy", "torch", "scikit-learn"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "set": f"the {'reduced' if quick else 'full'} set"
        + (f" of {', '.join(only)}" if only else ""),
        "processor": cpu.get("brand_raw") or platform.machine(),
        "instructions": f"numpy {extensions[-1] if extensions else 'baseline'}, BLAS {', '.join(kernels)}",
        "cores": os.cpu_count(),
        "threads": "one thread",
        "load": load,
        "versions": versions,
    }


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], choices=[table.name for table in TABLES])
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if options.report:
        report.write(report.read())
        return 0
    environment = {**os.environ, **ONE_THREAD}
    if options.quick:
        environment["ATTEST_MOST_ROUNDS"] = str(QUICK_ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        raw, before = Path(folder) / "raw.json", os.getloadavg()[0]
        command = [sys.executable, "-m", "pytest", *chosen(options.quick, options.only)]
        command += ["--benchmark-only", "-m", "", "-n", "0", f"--benchmark-json={raw}"]
        command += ["--benchmark-max-time=0.2", "--benchmark-min-rounds=1"]
        done = subprocess.run(command, cwd=report.ROOT, env=environment, check=False)
        if not raw.exists() or not raw.stat().st_size:
            return done.returncode or 1
        found = json.loads(raw.read_text("utf-8"))
    run = run_of(
        options.quick, options.only, (before, os.getloadavg()[0]), found["machine_info"]["cpu"]
    )
    if done.returncode:
        run["set"] += ", of which not all was measured"
    report.write(report.merged(report.read(), found, run))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
