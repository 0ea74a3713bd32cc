"""Exact numbers as enclosures."""

from typing import Any

from reference import Enclosure


def lift(value: Any, bits: int) -> Enclosure:
    """Enclose exact numbers."""
    return Enclosure.exact(value, bits)
