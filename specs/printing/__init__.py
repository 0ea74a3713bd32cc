"""The claims printed: as Python, as Coq and as formulas."""
