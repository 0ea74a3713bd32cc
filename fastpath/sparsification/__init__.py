"""Fewer feature columns, with a certified distance."""
