"""Derivations that SymPy carries out: identities of symbols, which hold for all numbers."""
