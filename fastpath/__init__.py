"""fastpath: fast attention that returns, with every answer, a bound on its error.

Needs numpy and scipy only.  What a bound rests on is named by its claim ids: ``attest show FP.softmax``.
"""

from fastpath.attention import attention
from fastpath.certified import Certified
from fastpath.moment_state import MomentState
from fastpath.polynomial import CertifiedExpansion, Expansion, ExpansionError, polynomial_attention
from fastpath.streaming import StreamingAttention

__all__ = [
    "Certified",
    "CertifiedExpansion",
    "Expansion",
    "ExpansionError",
    "MomentState",
    "StreamingAttention",
    "attention",
    "polynomial_attention",
]
