"""fastpath: fast attention that returns, with every answer, a bound on its error.

Needs numpy and scipy only.  What a bound rests on is named by its claim ids: ``attest show FP.softmax``.
"""

from fastpath.attention import attention
from fastpath.certified import Certified
from fastpath.certify import CertifiedRows, certify
from fastpath.dynamic import DynamicAttention
from fastpath.gram import Gram, gram
from fastpath.loewner import Closeness, certified_closeness, certify_loewner, entrywise_error
from fastpath.moment_state import MomentState
from fastpath.polynomial import CertifiedExpansion, Expansion, ExpansionError, polynomial_attention
from fastpath.real_heads import CertifiedHead, certified_attention
from fastpath.regression import AttentionRegression
from fastpath.sparsification import Sparsified, sparsify
from fastpath.streaming import StreamingAttention

__all__ = [
    "AttentionRegression",
    "Certified",
    "CertifiedExpansion",
    "CertifiedHead",
    "CertifiedRows",
    "Closeness",
    "DynamicAttention",
    "Expansion",
    "ExpansionError",
    "Gram",
    "MomentState",
    "Sparsified",
    "StreamingAttention",
    "attention",
    "certified_attention",
    "certified_closeness",
    "certify",
    "certify_loewner",
    "entrywise_error",
    "gram",
    "polynomial_attention",
    "sparsify",
]
