"""One thread a process, and one Hypothesis profile: no deadlines, and the same examples on every run."""

import os

# Tests run on every core: threads of BLAS on top of that wait for each other, and take twice as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

settings.register_profile(
    "attest",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
settings.load_profile("attest")
