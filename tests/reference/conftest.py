"""Real attention heads with outputs correctly rounded to float64."""

from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parents[2] / "proofs" / "data"


@pytest.fixture(scope="session")
def golden_heads():
    """Map each head's name to its Q, K, V and golden output."""
    with (
        np.load(DATA / "qkv.npz", allow_pickle=False) as inputs,
        np.load(DATA / "golden_n64.npz", allow_pickle=False) as outputs,
    ):
        return {
            name: (*(inputs[f"{name}/{part}"] for part in "QKV"), outputs[name])
            for name in outputs.files
        }
