"""specs: what is claimed.  One module a paper, plus softmax, kernel, rounding, real_heads, drop_rounding.

``CLAIMS`` maps the id of every executable claim to it; ``specs.claim.ledger()`` is the closed list
of what the four papers say, sentence by sentence, with what the project holds of each.
"""

from typing import Any

from specs import (
    drop_rounding,
    kernel,
    p1_costs,
    p1_dynamic,
    p1_hardness,
    p1_rounding,
    p2_polynomial,
    p2_recovery,
    p2_rounding,
    p2_streaming,
    p3_algorithms,
    p3_certificate,
    p3_sketch,
    p3_sparsification,
    p4_curvature,
    p4_local,
    p4_newton,
    p4_regression,
    p4_rounding,
    real_heads,
    rounding,
    softmax,
)
from specs.claim import Claim

CLAIMS: dict[str, Claim[Any]] = {
    claim.id: claim
    for claim in (
        *softmax.CLAIMS,
        *kernel.CLAIMS,
        *rounding.CLAIMS,
        *p2_polynomial.CLAIMS,
        *p2_rounding.CLAIMS,
        *p2_streaming.CLAIMS,
        *p2_recovery.CLAIMS,
        *p1_dynamic.CLAIMS,
        *p1_costs.CLAIMS,
        *p1_hardness.CLAIMS,
        *p1_rounding.CLAIMS,
        *p3_sparsification.CLAIMS,
        *p3_certificate.CLAIMS,
        *p3_sketch.CLAIMS,
        *p3_algorithms.CLAIMS,
        *p4_regression.CLAIMS,
        *p4_curvature.CLAIMS,
        *p4_newton.CLAIMS,
        *p4_local.CLAIMS,
        *p4_rounding.CLAIMS,
        *real_heads.CLAIMS,
        *drop_rounding.CLAIMS,
    )
}
