"""fastpath: fast attention that returns, with every answer, a bound on its error.

Needs numpy and scipy only.  What a bound rests on is named by its claim ids: ``attest show FP.softmax``.
To import this package loads next to nothing; each name brings its modules when it is first used.

attention, attention_gradient       exact attention of heads, masks and options; its gradient; merge, Prepared
certify, certified_attention        an output of anybody's; attention to a tolerance, by the fastest way
polynomial_attention, MomentState   few columns or small logits, in linear time; kept, merged and saved
StreamingAttention, KeyIndex        one pass over a stream; the keys that matter to a query
BalancedCoreset                     a few weighted keys in the place of a stream's, with a bound
QuantisedCache, certify_quantised   keys and values in few bits; BitPlaneCache, AuditLedger
DynamicAttention                    tokens that change, come and go
sparsify, gram, heavy_keys          features and keys that stand for all; certify_loewner
AttentionRegression                 fit a layer by least squares
kernels                             judge a kernel by what its arithmetic can give
"""

from typing import TYPE_CHECKING

from fastpath.core.faces import lazily

if TYPE_CHECKING:
    from fastpath import kernels
    from fastpath.caches.audit_ledger import Audited, AuditLedger
    from fastpath.caches.bit_planes import BitPlaneCache, CertifiedBits
    from fastpath.caches.certify_quantised import Codes, certify_quantised
    from fastpath.caches.quantised_cache import QuantisedCache
    from fastpath.core.certified import Certified
    from fastpath.decoding.balanced_coreset import BalancedCoreset, Recalled
    from fastpath.decoding.key_index import Decoded, KeyIndex
    from fastpath.dynamic import DynamicAttention
    from fastpath.exact.attention import attention
    from fastpath.exact.gradient import Gradient, attention_gradient
    from fastpath.exact.merge import merge
    from fastpath.exact.prepared import Prepared
    from fastpath.polynomial.attention import (
        CertifiedExpansion,
        Expansion,
        ExpansionError,
        polynomial_attention,
    )
    from fastpath.polynomial.moment_state import MomentState
    from fastpath.real_heads.attention import CertifiedHead, certified_attention
    from fastpath.real_heads.certify import CertifiedRows, certify
    from fastpath.regression import AttentionRegression
    from fastpath.sparsification.certificate import (
        Closeness,
        certified_closeness,
        certify_loewner,
        entrywise_error,
    )
    from fastpath.sparsification.gram import Gram, gram
    from fastpath.sparsification.heavy_keys import HeavyKeys, KeyGram, heavy_keys, key_gram
    from fastpath.sparsification.sparsify import Sparsified, sparsify
    from fastpath.streaming.attention import StreamingAttention

__version__ = "0.1.0"

__all__ = [
    "AttentionRegression",
    "AuditLedger",
    "Audited",
    "BalancedCoreset",
    "BitPlaneCache",
    "Certified",
    "CertifiedBits",
    "CertifiedExpansion",
    "CertifiedHead",
    "CertifiedRows",
    "Closeness",
    "Codes",
    "Decoded",
    "DynamicAttention",
    "Expansion",
    "ExpansionError",
    "Gradient",
    "Gram",
    "HeavyKeys",
    "KeyGram",
    "KeyIndex",
    "MomentState",
    "Prepared",
    "QuantisedCache",
    "Recalled",
    "Sparsified",
    "StreamingAttention",
    "attention",
    "attention_gradient",
    "certified_attention",
    "certified_closeness",
    "certify",
    "certify_loewner",
    "certify_quantised",
    "entrywise_error",
    "gram",
    "heavy_keys",
    "kernels",
    "key_gram",
    "merge",
    "polynomial_attention",
    "sparsify",
]

#: Where each name stands.
_HOMES: dict[str, tuple[str, ...]] = {
    "fastpath.kernels": (),
    "fastpath.caches.audit_ledger": ("Audited", "AuditLedger"),
    "fastpath.caches.bit_planes": ("BitPlaneCache", "CertifiedBits"),
    "fastpath.caches.certify_quantised": ("Codes", "certify_quantised"),
    "fastpath.caches.quantised_cache": ("QuantisedCache",),
    "fastpath.core.certified": ("Certified",),
    "fastpath.decoding.balanced_coreset": ("BalancedCoreset", "Recalled"),
    "fastpath.decoding.key_index": ("Decoded", "KeyIndex"),
    "fastpath.dynamic": ("DynamicAttention",),
    "fastpath.exact.attention": ("attention",),
    "fastpath.exact.gradient": ("Gradient", "attention_gradient"),
    "fastpath.exact.merge": ("merge",),
    "fastpath.exact.prepared": ("Prepared",),
    "fastpath.polynomial.attention": (
        "CertifiedExpansion",
        "Expansion",
        "ExpansionError",
        "polynomial_attention",
    ),
    "fastpath.polynomial.moment_state": ("MomentState",),
    "fastpath.real_heads.attention": ("CertifiedHead", "certified_attention"),
    "fastpath.real_heads.certify": ("CertifiedRows", "certify"),
    "fastpath.regression": ("AttentionRegression",),
    "fastpath.sparsification.certificate": (
        "Closeness",
        "certified_closeness",
        "certify_loewner",
        "entrywise_error",
    ),
    "fastpath.sparsification.gram": ("Gram", "gram"),
    "fastpath.sparsification.heavy_keys": ("HeavyKeys", "KeyGram", "heavy_keys", "key_gram"),
    "fastpath.sparsification.sparsify": ("Sparsified", "sparsify"),
    "fastpath.streaming.attention": ("StreamingAttention",),
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
