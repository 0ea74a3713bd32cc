"""Attention over disjoint sets of keys, merged: the parts' outputs weighted by their denominators."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.bounds.softmax import ARITHMETIC, log_sum_exp, merged_output, rounding_weight
from fastpath.core.certified import Certified
from fastpath.core.directed import UNIT_ROUNDOFF, down, library_up, total_up, up
from fastpath.core.inputs import Matrix, exact_floats
from fastpath.exact.attention import LOG_ERROR

#: Differences of larger outputs could overflow.
LARGEST_OUTPUT = 2.0**1021


@standard_arithmetic
def merge(parts: Sequence[Certified]) -> Certified:
    r"""Merge attention of the same queries over disjoint sets of keys, with a bound on the error.

    The output is :math:`\sum_a e^{L_a} o_a / \sum_a e^{L_a}` of the parts' outputs and log-sum-exps, which
    is attention over all keys; the order does not matter, and parts may have been merged themselves.

    Parameters
    ----------
    parts : sequence of Certified
        Outputs of one shape with ``error_bound``, ``log_sum_exp`` and ``log_sum_exp_bound``, from
        :func:`fastpath.attention` or from anyone who bounds both.  A sink belongs to one of them only.  A
        query that sees none of a part's keys has the log-sum-exp -inf there.

    Returns
    -------
    Certified
        In the type of the parts' outputs, with ``log_sum_exp`` and its bound.

    Raises
    ------
    TypeError, ValueError
        If there is no part, one has no log-sum-exp, shapes differ, an output is not finite or exceeds
        2^1021, or a bound is NaN or negative.

    Notes
    -----
    Cost: a few operations an entry of every part, in float64.  That the sets of keys are disjoint cannot be
    seen here.

    Claims: FP.merge, FP.lse, FP.exp, and those of the parts.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> Q, K, V = np.random.default_rng(0).standard_normal((3, 100, 16))
    >>> parts = [fastpath.attention(Q, K[part], V[part]) for part in (slice(60), slice(60, 100))]
    >>> merged, whole = fastpath.merge(parts), fastpath.attention(Q, K, V)
    >>> bool((abs(merged.output - whole.output) <= merged.error_bound + whole.error_bound).all())
    True
    """
    if not isinstance(parts, Sequence) or not parts:
        raise ValueError("parts must be a sequence of at least one part.")
    arrays = [_checked(a, part, np.shape(parts[0].output)) for a, part in enumerate(parts)]
    outputs, errors, logarithms, log_errors = (np.stack(x) for x in zip(*arrays, strict=True))
    constants, count = ARITHMETIC["float64"], len(parts)
    shift = logarithms.max(axis=0)
    empty = np.isneginf(shift)
    shift[empty] = 0
    nothing = np.isneginf(logarithms)
    # What weighs nothing takes no part in the spread.
    heaviest = np.take_along_axis(outputs, logarithms.argmax(axis=0)[None], 0)
    outputs, errors = np.where(nothing, heaviest, outputs), np.where(nothing, 0, errors)
    weights = np.exp(logarithms - shift)
    weights[0][empty] = 1
    total = weights.sum(axis=0)
    merged = (weights * outputs).sum(axis=0) / total
    reach = up(np.max(np.where(nothing, 0, shift - logarithms), axis=0))
    weight_error = rounding_weight(
        np.max(np.where(nothing, 0, log_errors), axis=0),
        UNIT_ROUNDOFF,
        reach,
        constants["exp_error"],
        1,
    )
    least = weights[0]
    for weight in weights[1:]:
        least = down(least + weight)
    lost = up(8 * count * constants["tiny"])
    bound = merged_output(
        weight_error,
        up(outputs.max(axis=0) - outputs.min(axis=0)),
        up(total_up(up(w * e) for w, e in zip(weights, errors, strict=True)) / least),
        errors.max(axis=0),
        np.abs(outputs).max(axis=0),
        merged,
        count,
        UNIT_ROUNDOFF,
        lost,
        constants["tiny"],
    )
    log_total = np.log(total)
    logarithm = shift + log_total
    log_bound = log_sum_exp(
        weight_error,
        count,
        UNIT_ROUNDOFF,
        lost,
        up(np.abs(shift) + library_up(np.abs(log_total))),
        LOG_ERROR,
        UNIT_ROUNDOFF,
    )
    output = merged.astype(np.result_type(*(np.asarray(part.output) for part in parts)))
    bound = up(bound + up(np.abs(merged - output)))
    output[np.broadcast_to(empty, output.shape)] = 0
    bound[np.broadcast_to(empty, bound.shape)] = 0
    logarithm[empty], log_bound[empty] = -np.inf, 0
    claims = ("FP.merge", "FP.lse", "FP.exp", *(claim for part in parts for claim in part.claims))
    return Certified(
        output=output,
        error_bound=bound,
        claims=tuple(dict.fromkeys(claims)),
        log_sum_exp=logarithm[..., 0],
        log_sum_exp_bound=log_bound[..., 0],
    )


def _checked(
    index: int, part: Any, shape: tuple[int, ...]
) -> tuple[Matrix, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return output, error bound, logarithm and its bound, in float64, the last two as columns."""
    name = f"parts[{index}]"
    if getattr(part, "log_sum_exp", None) is None or part.log_sum_exp_bound is None:
        raise ValueError(f"{name} must have a log_sum_exp and a log_sum_exp_bound, got none.")
    output, error, logarithm, log_error = (
        exact_floats(f"{name}.{field}", getattr(part, field)).astype(np.float64)
        for field in ("output", "error_bound", "log_sum_exp", "log_sum_exp_bound")
    )
    if output.shape != shape or output.ndim < 2:
        raise ValueError(
            f"{name}.output must have the shape of the first, {shape}, got {output.shape}."
        )
    if error.shape == shape[:-1]:
        error = error[..., None]
    for field, array, wanted in (
        ("error_bound", error, shape),
        ("log_sum_exp", logarithm, shape[:-1]),
        ("log_sum_exp_bound", log_error, shape[:-1]),
    ):
        if array.ndim and array.shape != wanted and array.shape != (*shape[:-1], 1):
            raise ValueError(f"{name}.{field} must have shape {wanted}, got {array.shape}.")
    if not np.abs(output).max() <= LARGEST_OUTPUT:
        raise ValueError(f"{name}.output must be finite and at most 2^1021 in magnitude.")
    if not (error >= 0).all() or not (log_error >= 0).all():
        raise ValueError(f"{name} must have bounds that are not negative.")
    if not (logarithm < np.inf).all():
        raise ValueError(f"{name}.log_sum_exp must be finite or -inf.")
    columns = (np.broadcast_to(x, shape[:-1])[..., None] for x in (logarithm, log_error))
    return (output, np.broadcast_to(error, shape), *columns)  # type: ignore[return-value]
