"""One Hypothesis profile: no deadlines on a shared machine, and the same examples on every run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "attest",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
settings.load_profile("attest")
