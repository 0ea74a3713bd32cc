"""fastpath: fast attention that returns, with every answer, a bound on its error.

Needs numpy and scipy only.  What a bound rests on is named by its claim ids: ``attest show FP.softmax``.
"""

from fastpath.attention import attention
from fastpath.certified import Certified
from fastpath.gram import Gram, gram
from fastpath.loewner import Closeness, certified_closeness, certify_loewner, entrywise_error
from fastpath.sparsification import Sparsified, sparsify

__all__ = [
    "Certified",
    "Closeness",
    "Gram",
    "Sparsified",
    "attention",
    "certified_closeness",
    "certify_loewner",
    "entrywise_error",
    "gram",
    "sparsify",
]
