"""What every search for a minimum needs to know, and what it counts and remembers."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fastpath.regression.model import Point

EPSILON = float(np.finfo(np.float64).eps)


@dataclass
class Search:
    """What a search for a minimum needs to know, and counts."""

    #: The gradient norm at which it has converged.
    threshold: float
    most_iterations: int
    #: Called with every point; True asks to stop.
    report: Callable[[int, Point], bool]
    iterations: int = 0
    evaluations: int = 1
    gradients: int = 1
    hessians: int = 0
    hessian_products: int = 0
    status: str = field(default="running", init=False)

    #: The lowest point that was tried and not taken since the last step.
    lowest: Point | None = field(default=None, init=False)
    #: What rounding may do to the loss at the floor.
    rounding: float = field(default=0.0, init=False)

    #: Give up when this many steps together do not halve the gradient; None never does.
    patience: int | None = None
    _norms: list[float] = field(default_factory=list, init=False)

    def tried(self, there: Point) -> Point:
        """Count a point that was evaluated, and remember it if it is the lowest since the last step."""
        self.evaluations += 1
        if self.lowest is None or there.loss < self.lowest.loss:
            self.lowest = there
        return there

    def finished(self, here: Point) -> bool:
        """Tell the caller where the search is, and whether it ends there."""
        self.lowest = None
        self._norms.append(here.gradient_norm)
        if self.report(self.iterations, here):
            self.status = "stopped"
        elif here.gradient_norm <= self.threshold:
            self.status = "converged"
        elif self.iterations >= self.most_iterations:
            self.status = "iterations"
        elif (
            self.patience is not None
            and len(self._norms) > self.patience
            and here.gradient_norm > self._norms[-1 - self.patience] / 2
        ):
            self.status = "slow"
        return self.status != "running"
