"""Drawn faults that no test notices and why none could: what they compute is right as well."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A fault that changes nothing that is promised.

    Attributes
    ----------
    file, function : str
        Where; the function's qualified name.
    before, after : str
        What stands there, and what would be planted.
    why : str
        The reason, in words.
    """

    file: str
    function: str
    before: str
    after: str
    why: str


EXPLAINED: tuple[Explained, ...] = ()
