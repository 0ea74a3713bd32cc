"""Decoding over many keys: which of them one query must read, and what the others can change."""
