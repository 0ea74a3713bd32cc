"""What an installation must do, run by its own interpreter: ``python -I smoke.py``, far from any source tree.

Nothing is imported but what was installed, and no file is read but the packages' own.
"""

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PACKAGES = ("fastpath", "proofs", "reference", "specs")


def main() -> None:
    """Fail with a traceback if anything does not work."""
    for name in PACKAGES:
        found = Path(str(importlib.import_module(name).__file__))
        assert found.is_relative_to(sys.prefix), f"{name} comes from {found}"

    import fastpath
    import reference

    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((5, 3)) for _ in range(3))
    result = fastpath.attention(Q, K, V)
    verdict, _ = reference.attention_verdict(Q, K, V, result.output, result.error_bound)
    assert verdict is reference.Verdict.WITHIN
    # Every public name is there, whatever it needs.
    for name in fastpath.__all__:
        getattr(fastpath, name)
    state = fastpath.MomentState(3, 3, 4)
    state.update(K, V)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.npz")
        state.save(path)
        assert fastpath.MomentState.load(path).count == 5

    command = Path(sys.executable).with_name("attest")
    for arguments in (
        ["show", "S.tv"],
        ["audit", "S.tv", "FP.softmax"],
        ["check", "--json"],
    ):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [command, *arguments], cwd=folder, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, f"attest {' '.join(arguments)}: {done.stderr or done.stdout}"
        print(f"attest {' '.join(arguments)}: {len(done.stdout)} characters")
    print("installed and working")


if __name__ == "__main__":
    main()
