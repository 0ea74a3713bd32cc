r"""FP.dynamic: what rounding can have done to one row since it was last computed from the definition.

:math:`|\text{output} - \text{exact}| \le 2 v\,(\rho\,(e^\theta - 1 + \gamma_R) + \text{underflow})
+ u\,|\text{output}| + \text{smallest}`, where v is the largest value ever, :math:`\rho` the mass that
passed through the sums over their denominator, R the roundings of a term and :math:`\theta` the error
of the logarithm of a weight.  Pending or rebuilt, in any order, after any number of updates.
"""

import numpy as np

from fastpath.core.bounds.dynamic import dynamic_output, dynamic_weight
from fastpath.core.bounds.softmax import (
    ARITHMETIC,
    positive_sum,
    rounding_logit,
    scaled_logit,
    weights_underflow,
)
from fastpath.core.directed import library_up, up
from fastpath.core.inputs import Matrix
from fastpath.core.norms import sum_above


def row_error_bound(
    query: Matrix,
    largest_keys: list[float],
    *,
    magnitude: float,
    denominator: float,
    mass: float,
    roundings: int,
    events: int,
    factors: int,
    steps: float,
    scaled: bool,
) -> float:
    """Bound the error of every entry of a row.

    Parameters
    ----------
    query : array, shape (d,)
        Times the scale.
    largest_keys : list of d floats
        Largest magnitude of every column of K since the row was computed from the definition, as for
        every argument below.
    scaled : bool
        Whether the query was rounded when it was multiplied by the scale: then every logit may err by as much
        more (FP.scores).
    magnitude : float
        Largest magnitude in V.
    denominator, mass : float
        The computed denominator, and the magnitudes of all weights that were added or subtracted.
    roundings : int
        How many roundings a term passes through.
    events : int
        How many weights were computed.
    factors : int
        By how many factors e^step a weight may have been multiplied.
    steps : float
        The largest sum of those |step|.
    """
    constants = ARITHMETIC[query.dtype.name]
    u, tiny = constants["unit_roundoff"], constants["tiny"]
    magnitudes = np.abs(query).astype(np.float64)
    logit_magnitude = float(sum_above(magnitudes.dot(largest_keys), len(query)))
    logit_error = rounding_logit(len(query), u, logit_magnitude, tiny)
    if scaled:
        logit_error = scaled_logit(len(query), u, logit_magnitude, tiny, max(largest_keys))
    weight_error = dynamic_weight(
        logit_error,
        u,
        2 * up(logit_magnitude + logit_error),
        constants["exp_error"],
        factors,
        steps,
    )
    # The mass is a sum of positive numbers, rounded as often as the terms.
    ratio = up(positive_sum(mass, events, roundings, u, tiny) / denominator)
    # What was lost may have been multiplied since.
    lost = up(weights_underflow(events, 1, tiny, denominator) * library_up(np.exp(steps)))
    smallest = 2 * up(up(up(events / denominator) + 1) * tiny)
    exact = weight_error, ratio, roundings, magnitude
    unrounded = dynamic_output(*exact, 0.0, lost, smallest, u)
    # The quotient before it is rounded is within that of an average of values.
    quotient = up(magnitude + unrounded)
    return float(dynamic_output(*exact, quotient, lost, smallest, u))
