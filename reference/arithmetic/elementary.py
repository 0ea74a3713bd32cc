"""Elementary functions of arrays of balls: an integer kernel on the midpoints, then the radius.

Each function f takes midpoints A, the shared radius r and ``bits``, all in units of 2^−bits, and
returns midpoints and a radius that enclose f(a) for every a with |a − A| ≤ r in its domain.  The
functions are monotone with a monotone slope, so the error the radius causes is largest at one end
of the array; there it is measured by evaluating f once more, and one unit is added for each kernel
call involved.  ``bits`` is at least 16, as the exponential kernel asks.
"""

from math import isqrt

from reference.arithmetic.exact_numbers import ObjectArray, entries, entrywise
from reference.arithmetic.exponential import exp_nonpositive, exp_real, log_positive

__all__ = ["exp", "log", "sqrt", "tanh"]


def exp(mid: ObjectArray, radius: int, bits: int) -> tuple[ObjectArray, int]:
    """Enclose e^a: |e^a − e^A| ≤ e^A (e^r − 1), at most e^(A + r) − e^A for the largest A."""
    result = entrywise(lambda x: exp_real(x, bits), mid)
    if radius == 0 or mid.size == 0:
        return result, 1
    top = max(entries(mid))
    slope_error = exp_real(top + radius, bits) - exp_real(top, bits) + 2
    return result, slope_error + 1


def log(mid: ObjectArray, radius: int, bits: int) -> tuple[ObjectArray, int]:
    """Enclose ln a: |ln a − ln A| ≤ ln A − ln(A − r), largest for the least A.

    Raises
    ------
    ArithmeticError
        If some entry is not certified positive.
    """
    least = min(entries(mid), default=radius + 1)
    if least - radius <= 0:
        raise ArithmeticError(
            f"log of an entry that is not certified positive at {bits} bits: "
            "it is not positive, or the precision is too low."
        )
    result = entrywise(lambda x: log_positive(x, bits), mid)
    if radius == 0 or mid.size == 0:
        return result, 1
    slope_error = log_positive(least, bits) - log_positive(least - radius, bits) + 2
    return result, slope_error + 1


def sqrt(mid: ObjectArray, radius: int, bits: int) -> tuple[ObjectArray, int]:
    """Enclose √a for the a ≥ 0 in the ball: error √A − √(A − r) for the least A ≥ r, else √r.

    Raises
    ------
    ArithmeticError
        If some entry is certified negative.
    """
    least = min(entries(mid), default=0)
    if least + radius < 0:
        raise ArithmeticError(f"sqrt of an entry that is certified negative at {bits} bits.")
    result = entrywise(lambda x: isqrt(max(x, 0) << bits), mid)
    if radius == 0:
        return result, 1
    # Below r the root of max(A, 0) and the root of a are both in [√max(A, 0), √(A + r)] or in
    # [0, √A]; either is no longer than √r.
    start, end = (least, least - radius) if least >= radius else (radius, 0)
    slope_error = isqrt(start << bits) + 1 - isqrt(end << bits)
    return result, slope_error + 1


def tanh(mid: ObjectArray, radius: int, bits: int) -> tuple[ObjectArray, int]:
    """Enclose tanh a = ±(1 − t)/(1 + t), t = e^(−2|A|): slope at most 1 in a, at most 2 in t."""
    one = 1 << bits

    def kernel(x: int) -> int:
        t = exp_nonpositive(-2 * abs(x), bits)
        magnitude = ((one - t) << bits) // (one + t)
        return magnitude if x >= 0 else -magnitude

    return entrywise(kernel, mid), radius + 3  # one unit of t counts twice; the floor is the third
