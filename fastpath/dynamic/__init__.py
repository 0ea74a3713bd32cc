"""Attention of tokens that change."""

from fastpath.dynamic.attention import DynamicAttention

__all__ = ["DynamicAttention"]
