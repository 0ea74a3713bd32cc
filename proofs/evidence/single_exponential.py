"""FP.exp of float32, decided: numpy's exp at every argument whose result is a normal number.

    python -m proofs.evidence.single_exponential [--share 1/64]

There are 2.2e9 such arguments.  Each result is compared with float64's exp, which errs by at most 2 u64
(FP.exp of float64, measured): what that leaves open is added, so the figure is a bound.  It holds for this
machine and this numpy, which the report names; another processor takes another kernel.
"""

import argparse
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from specs.softmax.rounding import ARITHMETIC

#: Arguments that are tried at once.
CHUNK = 1 << 22

#: The last bit patterns of arguments whose exponentials are normal: of 88.72 and of -87.33.
LAST_POSITIVE, LAST_NEGATIVE = 0x42B17217, 0xC2AEAC4F


@dataclass(frozen=True)
class Decided:
    """What numpy's exp errs by at most, in units of u, where, and over how many arguments."""

    units: float
    argument: float
    arguments: int
    machine: str

    @property
    def holds(self) -> bool:
        """Whether FP.exp holds of float32 on this machine, on what was tried."""
        return self.units <= float(ARITHMETIC["float32"].exp_error)


def patterns(share: Fraction) -> Iterator[np.ndarray]:
    """Yield the bit patterns of arguments, chunk by chunk: every one, or every so many chunks."""
    step = max(1, round(1 / share))
    for first, last in ((0, LAST_POSITIVE), (0x80000000, LAST_NEGATIVE)):
        for start in range(first, last + 1, CHUNK * step):
            yield np.arange(start, min(start + CHUNK, last + 1), dtype=np.uint32)


def decide(share: Fraction = Fraction(1)) -> Decided:
    """Bound the error of numpy's float32 exp over all arguments, or over a share of them."""
    u32, u64 = (float(ARITHMETIC[name].unit_roundoff) for name in ("float32", "float64"))
    open_part = float(ARITHMETIC["float64"].exp_error) * 2 * u64
    worst, where, count = 0.0, 0.0, 0
    for bits in patterns(share):
        arguments = bits.view(np.float32)
        exact = np.exp(arguments.astype(np.float64))
        error = np.exp(arguments).astype(np.float64)
        error -= exact
        error /= exact
        np.abs(error, out=error)
        at = int(np.argmax(error))
        count += len(bits)
        if error[at] > worst:
            worst, where = float(error[at]), float(arguments[at])
    return Decided((worst + open_part) / u32, where, count, _machine())


def _machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model}, numpy {np.__version__}"


def main() -> None:
    """Print what was decided; exit with 1 if FP.exp does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=Fraction, default=Fraction(1), help="of all arguments")
    found = decide(parser.parse_args().share)
    print(
        f"exp of float32 errs by at most {found.units:.4f} u over {found.arguments} arguments, at "
        f"{found.argument.hex()} ({found.machine}): FP.exp "
        f"{'holds' if found.holds else 'does not hold'}."
    )
    raise SystemExit(not found.holds)


if __name__ == "__main__":
    main()
