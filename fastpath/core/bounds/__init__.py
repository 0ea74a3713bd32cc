"""Bounds as functions, printed from the claims: what the fast path calls, one module a stem."""
