"""Every judge: what it judges, and which function of an implementation it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any, Generic, TypeVar

from proofs.judging import (
    caches,
    dynamic,
    exact,
    polynomial,
    real_heads,
    regression,
    sparsification,
)
from proofs.judging.heads import FeatureMatrix, Head, Replacements
from proofs.judging.judgement import Examination
from reference.scores import LARGEST_SIZE

__all__ = ["JUDGES", "Item", "Judge"]

#: What can be judged on.
Item = Head | FeatureMatrix | Replacements

Judged = TypeVar("Judged", Head, FeatureMatrix, Replacements)


@dataclass(frozen=True, kw_only=True)
class Judge(Generic[Judged]):
    """Who judges one function of an implementation.

    Attributes
    ----------
    stem
        The folder of that name in every room.
    function
        The function's name.
    judges
        The type of the things that it is asked about.
    examine
        What asks it about one of them, and judges the answers.
    largest_causal
        The most tokens of a head of which it may be asked for causal attention; 0: it knows of none.
    draws
        Whether of large things it looks at random rows.
    """

    stem: str
    function: str
    judges: type[Judged]
    examine: Callable[..., Examination[Any]]
    largest_causal: int = 0
    draws: bool = True


#: In the order in which they are told.
JUDGES: tuple[Judge[Any], ...] = (
    Judge(
        stem="exact",
        function="attention",
        judges=Head,
        examine=exact.examine,
        largest_causal=LARGEST_SIZE,
    ),
    Judge(
        stem="dynamic",
        function="DynamicAttention",
        judges=Replacements,
        examine=dynamic.examine,
        draws=False,
    ),
    Judge(
        stem="polynomial", function="polynomial_attention", judges=Head, examine=polynomial.examine
    ),
    Judge(
        stem="real_heads",
        function="certified_attention",
        judges=Head,
        examine=real_heads.examine,
        largest_causal=isqrt(LARGEST_SIZE),  # every row is enclosed
    ),
    Judge(
        stem="regression",
        function="AttentionRegression",
        judges=Head,
        examine=regression.examine,
        draws=False,
    ),
    Judge(
        stem="sparsification",
        function="sparsify",
        judges=FeatureMatrix,
        examine=sparsification.examine,
    ),
    Judge(stem="caches", function="QuantisedCache", judges=Head, examine=caches.examine),
)
