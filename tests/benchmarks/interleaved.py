"""Fair timing: the functions take turns, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def medians(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each function, called in turn ``rounds`` times."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}
