"""Attention of a stream of keys and values, and what is kept of its output."""
