"""Quantised caches of keys and values, with a certificate for the answer that is being served."""
