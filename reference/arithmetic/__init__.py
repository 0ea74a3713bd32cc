"""Exact numbers, balls and enclosures: each docstring is the inequality that it holds by."""
