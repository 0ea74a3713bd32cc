"""Exponential and logarithm of scaled integers, correct to one unit in the last place.

A *scaled integer* ``x`` with ``bits`` fractional bits stands for x / 2^bits.  The kernels know
nothing but Python integers: what they promise depends on no libm, on no rounding mode and on no
multi-precision library (``mpmath.iv.exp`` does not always enclose: mpmath issue 1181).
"""

import math
from math import isqrt

__all__ = ["exp_nonpositive", "exp_real", "log_positive"]

GUARD = 8  # extra bits that absorb the rounding of the whole computation, squarings included
LARGEST_ARGUMENT = 1 << 16  # e^65536 has 94 548 bits; above it, shift first


def exp_nonpositive(x: int, bits: int) -> int:
    """Return 2^bits · e^(x / 2^bits) for x ≤ 0, within one unit in the last place.

    |exp_nonpositive(x, bits) − 2^bits e^(x/2^bits)| ≤ 1

    is theorem ``k_exp`` of ``proofs/coq/ExpKernel.v``, which is about this function, line by line:
    halve the argument until it is at most 2^−reduction, sum the Taylor series by Horner's rule,
    square as often as was halved.

    Parameters
    ----------
    x : int
        Scaled argument, at most 0.
    bits : int
        Number of fractional bits of argument and result, at least 16.

    Returns
    -------
    int
        Between 0 and 2^bits.

    Raises
    ------
    ValueError
        If ``x`` is positive or ``bits`` is below 16.

    Notes
    -----
    Cost: about 2√bits products of integers of ``bits`` bits.
    """
    _check_bits(bits)
    if x > 0:
        raise ValueError(f"x must be at most 0, got {x}; exp_real takes positive arguments.")
    if x < -(bits << bits):
        return 0  # e^(x/2^bits) < e^-bits < 2^-bits: less than one unit
    reduction = isqrt(bits)
    halvings = (-x >> bits).bit_length() + reduction
    work = bits + halvings + GUARD
    y = x << GUARD  # y / 2^work = x / 2^(bits + halvings), exactly, and in [-2^-reduction, 0]
    t = 1 << work
    for i in range(work // reduction + 1, 0, -1):
        t = (1 << work) + ((y * t) >> work) // i
    for _ in range(halvings):
        t = (t * t) >> work
    return (t + (1 << (halvings + GUARD - 1))) >> (halvings + GUARD)


def exp_real(x: int, bits: int) -> int:
    """Return 2^bits · e^(x / 2^bits) for any x, within one unit in the last place.

    For z = x / 2^bits > 0 take the reciprocal of e^(−z) with 3m + 2 more bits, m = ⌊z⌋ + 1: the
    kernel's one unit moves the result by e^(2z) 2^−(3m+2) < 0.26 units, as e^2 < 2^3, and rounding
    to nearest by 1/2.

    Parameters
    ----------
    x : int
        Scaled argument.
    bits : int
        Number of fractional bits of argument and result, at least 16.

    Returns
    -------
    int
        At least 0.

    Raises
    ------
    ValueError
        If ``bits`` is below 16.
    OverflowError
        If x / 2^bits exceeds 65536.
    """
    if x <= 0:
        return exp_nonpositive(x, bits)
    _check_bits(bits)
    if x > LARGEST_ARGUMENT << bits:
        raise OverflowError(
            f"exp of a number above {LARGEST_ARGUMENT} is not computed: shift the argument first."
        )
    extra = 3 * ((x >> bits) + 1) + 2
    reciprocal = exp_nonpositive(-x << extra, bits + extra)
    return ((1 << (2 * bits + extra + 1)) // reciprocal + 1) >> 1


def log_positive(x: int, bits: int) -> int:
    """Return 2^bits · ln(x / 2^bits) for x > 0, within one unit in the last place.

    Newton's iteration y ← y + ρ with ρ = x e^(−y) − 1 finds y; the last ρ is the proof, since
    ln x − y = ln(1 + ρ) and |ln(1 + ρ)| ≤ 2|ρ| for |ρ| ≤ 1/2.

    Parameters
    ----------
    x : int
        Scaled argument, positive.
    bits : int
        Number of fractional bits of argument and result, at least 16.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If ``x`` is not positive or ``bits`` is below 16.

    Notes
    -----
    Cost: three to six calls of the exponential.
    """
    _check_bits(bits)
    if x <= 0:
        raise ValueError(f"x must be positive, got {x}.")
    work = bits + GUARD
    head = max(0, x.bit_length() - bits)  # so that x / 2^bits < 2^head
    one = 1 << work
    numerator, denominator = (math.log(x) - bits * math.log(2)).as_integer_ratio()
    y = (numerator << work) // denominator  # a start; its error does not matter to the proof
    while True:
        # The exponential errs by 2^-(work + head), times x / 2^bits < 2^head: one unit of rho;
        # the floor is another.
        rho = ((x * exp_real(-y << head, work + head)) >> (bits + head)) - one
        if abs(rho) <= 8:
            # |ln x - y| <= 2 (8 + 2) units of 2^-work < 1/8 unit of the result, and rounding to
            # nearest adds 1/2.
            return (y + (1 << (GUARD - 1))) >> GUARD
        y += rho


def _check_bits(bits: int) -> None:
    if bits < 16:
        raise ValueError(f"bits must be at least 16, got {bits}.")
