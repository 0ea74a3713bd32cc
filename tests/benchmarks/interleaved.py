"""Fair timing: the functions take turns, so that a busy machine slows all of them alike."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

#: Time of this process only: on a shared machine the clock on the wall measures the others.
clock = time.process_time

#: Rounds of any comparison: fewer where a reduced set is measured.
MOST_ROUNDS = int(os.environ.get("ATTEST_MOST_ROUNDS", "1000"))


def seconds(function: Callable[[], Any]) -> float:
    """Return the processor's seconds in one call."""
    start = clock()
    function()
    return clock() - start


def medians(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each function, called in turn ``rounds`` times after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(min(rounds, MOST_ROUNDS) + 1):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}
