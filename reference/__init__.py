"""Attest's definitions, computed so that the answer comes with a proof of its accuracy.

Input floats are taken as exact numbers.  Every result is an :class:`Enclosure`: integers of which
|truth − midpoint| ≤ radius is a theorem.  To believe it, read ``exponential`` (the one kernel,
proved in Coq), ``balls`` and ``enclosure`` (at most one floor an operation, counted), then
``attention`` (the definition).  What remains to be trusted is Python's integers and numpy's object
arrays.
"""

from reference.arithmetic.decide import PRECISIONS, decide
from reference.arithmetic.enclosure import Enclosure
from reference.arithmetic.expression import evaluate
from reference.arithmetic.verdict import Verdict
from reference.attention import attention, attention_verdict, log_sum_exp, logits, softmax, weights
from reference.attention_box import attention_box
from reference.gradient import attention_gradient
from reference.polynomial_weights import polynomial_attention
from reference.polynomials import kappa
from reference.sparsification import distance, loewner_epsilon, loewner_verdict

__all__ = [
    "PRECISIONS",
    "Enclosure",
    "Verdict",
    "attention",
    "attention_box",
    "attention_gradient",
    "attention_verdict",
    "decide",
    "distance",
    "evaluate",
    "kappa",
    "loewner_epsilon",
    "loewner_verdict",
    "log_sum_exp",
    "logits",
    "polynomial_attention",
    "softmax",
    "weights",
]
