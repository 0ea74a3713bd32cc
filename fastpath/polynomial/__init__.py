"""Attention by polynomials: linear in the number of keys where logits are small."""
