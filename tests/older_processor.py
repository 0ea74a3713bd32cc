"""``python tests/older_processor.py COMMAND ...``: run a command as if this processor had no AVX-512.

Another processor adds up in another order and computes exp by another routine, so last bits differ.
numpy leaves out the instructions that it is told to, and OpenBLAS takes the kernels that it is told to.
"""

import os
import sys

import numpy as np


def environment() -> dict[str, str]:
    """Return the variables that have numpy and OpenBLAS do without AVX-512, on any machine."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    # Only what is there: numpy warns of what is not, and warnings are errors in tests.
    newer = [name for name in found.get("found", ()) if name.startswith(("AVX512", "X86_V4"))]
    # What is left out already is not found, and stays left out: this may run within itself.
    left_out = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").split()
    variables = {"NPY_DISABLE_CPU_FEATURES": " ".join([*left_out, *newer])}
    if {"AVX2", "X86_V3"} & {*found.get("found", ()), *found["baseline"]}:
        # Kernels for AVX2, which OpenBLAS does not check that the processor has.
        variables["OPENBLAS_CORETYPE"] = "Haswell"
    return variables


if __name__ == "__main__":
    os.execvpe(sys.argv[1], sys.argv[1:], {**os.environ, **environment()})
