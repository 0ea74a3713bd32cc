"""P1's lower bound as a program: the public name of :mod:`fastpath.dynamic.hinted`."""

from fastpath.dynamic.hinted import HintedMv, safe_steps

__all__ = ["HintedMv", "safe_steps"]
