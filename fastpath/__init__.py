"""fastpath: fast attention that returns, with every answer, a bound on its error.

Needs numpy and scipy only.  What a bound rests on is named by its claim ids: ``attest show FP.softmax``.
"""

from fastpath.attention import attention
from fastpath.certified import Certified
from fastpath.dynamic import DynamicAttention

__all__ = ["Certified", "DynamicAttention", "attention"]
