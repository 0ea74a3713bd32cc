"""One thread a process, and Hypothesis without deadlines, on the same examples on every run.

The loop draws 30 examples a property; `make test`, which runs what is slow too, draws 100.
"""

import os

# Tests run on every core: threads of BLAS on top of that wait for each other, and take twice as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "attest",
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
    print_blob=True,
)
settings.register_profile("loop", settings.get_profile("attest"), max_examples=30)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("loop" if "not slow" in config.option.markexpr else "attest")
