"""specs: what is claimed.  One module a paper, plus softmax, kernel, rounding, real_heads, drop_rounding.

``CLAIMS`` maps the id of every executable claim to it; ``specs.ledger.ledger()`` is the closed list
of what the four papers say, sentence by sentence, with what the project holds of each.
"""

from typing import Any

from specs.caches import audits as cache_audits
from specs.caches import box as cache_box
from specs.caches import variation as cache_variation
from specs.claim import Claim, by_id
from specs.decoding import boxes as index_boxes
from specs.decoding import discrepancy as index_discrepancy
from specs.decoding import sampled as index_sampled
from specs.decoding import unopened as index_unopened
from specs.dynamic import costs as p1_costs
from specs.dynamic import hardness as p1_hardness
from specs.dynamic import problem as p1_dynamic
from specs.dynamic import rounding as p1_rounding
from specs.kernels import backward as kernel_backward
from specs.kernels import interval as kernel_interval
from specs.kernels import probable as kernel_probable
from specs.polynomial import rounding as p2_rounding
from specs.polynomial import weights as p2_polynomial
from specs.real_heads import drop_rounding
from specs.real_heads import expansion as real_heads
from specs.regression import affine as p4_local
from specs.regression import algorithm as p4_algorithm
from specs.regression import curvature as p4_curvature
from specs.regression import derivatives as p4_regression
from specs.regression import descent as p4_descent
from specs.regression import newton as p4_newton
from specs.regression import rounding as p4_rounding
from specs.regression import starts as p4_starts
from specs.softmax import gradient, kernel, rounding, scores, sums
from specs.softmax import perturbation as softmax
from specs.sparsification import algorithms as p3_algorithms
from specs.sparsification import certificate as p3_certificate
from specs.sparsification import heavy_keys
from specs.sparsification import loewner as p3_sparsification
from specs.sparsification import sketch as p3_sketch
from specs.streaming import recovery as p2_recovery
from specs.streaming import stream as p2_streaming

CLAIMS: dict[str, Claim[Any]] = {
    claim.id: claim
    for claim in (
        *softmax.CLAIMS,
        *kernel.CLAIMS,
        *rounding.CLAIMS,
        *sums.CLAIMS,
        *scores.CLAIMS,
        *gradient.CLAIMS,
        *kernel_interval.CLAIMS,
        *kernel_probable.CLAIMS,
        *kernel_backward.CLAIMS,
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
        *heavy_keys.CLAIMS,
        *p4_regression.CLAIMS,
        *p4_curvature.CLAIMS,
        *p4_newton.CLAIMS,
        *p4_descent.CLAIMS,
        *p4_starts.CLAIMS,
        *p4_algorithm.CLAIMS,
        *p4_local.CLAIMS,
        *p4_rounding.CLAIMS,
        *real_heads.CLAIMS,
        *drop_rounding.CLAIMS,
        *cache_box.CLAIMS,
        *cache_variation.CLAIMS,
        *cache_audits.CLAIMS,
        *index_boxes.CLAIMS,
        *index_unopened.CLAIMS,
        *index_discrepancy.CLAIMS,
        *index_sampled.CLAIMS,
    )
}

#: As an attribute of the package it hides the module of that name, which is imported from as ever.
claim = by_id(CLAIMS)
