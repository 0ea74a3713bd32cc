"""Attention regression: derivatives, solvers and a certificate of what they find."""

from fastpath.regression.attention_regression import AttentionRegression

__all__ = ["AttentionRegression"]
