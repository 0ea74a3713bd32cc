"""Attest's definitions, computed so that the answer comes with a proof of its accuracy.

Input floats are taken as exact numbers.  Every result is an :class:`Enclosure`: integers of which
|truth − midpoint| ≤ radius is a theorem.  To believe it, read ``exponential`` (the one kernel,
proved in Coq), ``balls`` and ``enclosure`` (at most one floor an operation, counted), then
``attention`` (the definition).  What remains to be trusted is Python's integers and numpy's object
arrays.
"""

from reference.attention import attention, attention_verdict, logits, softmax, weights
from reference.enclosure import Enclosure
from reference.expression import evaluate
from reference.polynomials import kappa
from reference.sparsification import distance, loewner_epsilon, loewner_verdict
from reference.streaming import polynomial_attention
from reference.verdict import PRECISIONS, Verdict, decide

__all__ = [
    "PRECISIONS",
    "Enclosure",
    "Verdict",
    "attention",
    "attention_verdict",
    "decide",
    "distance",
    "evaluate",
    "kappa",
    "loewner_epsilon",
    "loewner_verdict",
    "logits",
    "polynomial_attention",
    "softmax",
    "weights",
]
