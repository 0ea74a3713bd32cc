"""Exact attention, certified entry by entry."""
