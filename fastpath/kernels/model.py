"""What a kernel rounds, and to which format: the declaration from which its tolerance follows."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

from fastpath.core.inputs import integer
from fastpath.kernels.formats import FORMATS, Format

#: How the denominator is summed: of weights before they are rounded, of rounded ones, or before they are
#: divided by it and rounded.
DENOMINATORS = ("unrounded", "rounded", "normalised")


@dataclass(frozen=True, kw_only=True)
class RoundingModel:
    """The arithmetic of an attention kernel.

    A field that names a format is a rounding to nearest; None where there is none.  Formats are "float64",
    "float32", "tf32", "bfloat16", "float16", "float8_e4m3fn" and "float8_e5m2".

    Attributes
    ----------
    out : str
        The output.
    weights : str, optional
        P before it is multiplied with V.
    denominator : {"unrounded", "rounded", "normalised"}
        The output is divided by the sum of the weights as they were before that rounding, or as they are
        after it; or weights are divided by their sum, rounded, and multiplied with V.
    logits : str, optional
        Every result on the way to a score: the product, the scaled one, division, tanh and product of a soft
        cap, and the sum with the bias.
    inputs : str, optional
        Q and K, after the scale has been put on one of them, or its square root on both.
    values : str, optional
        V.
    exponentials : str, optional
        score - maximum, its exponential, and the sum of these.
    accumulate : str
        All products, sums and exponentials.
    block : int, optional
        Sums are made over so many keys at a time and then added up one after the other, rescaled where the
        maximum grows; None: in any order.
    splits : int
        Into so many parts the keys may be split, each with an output and a log-sum-exp of its own.
    partials : str, optional
        The outputs of the parts.
    score_gradients : str, optional
        Backward: dS before it is multiplied with K or Q.
    gradient_sums : str, optional
        Backward: dK and dV as they stand after every block of queries, in order.
    query_block : int, optional
        How many queries such a block has; needed with ``gradient_sums``, and None without.
    exp_error : float
        What exp and tanh may err, in units of the unit roundoff of ``accumulate``; the logarithm of a sum may
        err by 8.

    Raises
    ------
    TypeError, ValueError
        If a field is not allowed, or contradicts another.
    """

    out: str
    weights: str | None = None
    denominator: str = "unrounded"
    logits: str | None = None
    inputs: str | None = None
    values: str | None = None
    exponentials: str | None = None
    accumulate: str = "float32"
    block: int | None = None
    splits: int = 1
    partials: str | None = None
    score_gradients: str | None = None
    gradient_sums: str | None = None
    query_block: int | None = None
    exp_error: float = 6.0

    def __post_init__(self) -> None:
        """Refuse what is no arithmetic."""
        for name in ("out", "accumulate", *OPTIONAL):
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if not isinstance(value, str):
                raise TypeError(f"{name} must be the name of a format, got {value!r}.")
            if value not in FORMATS:
                raise ValueError(f"{name} must be one of {', '.join(FORMATS)}, got {value!r}.")
        if self.denominator not in DENOMINATORS:
            raise ValueError(
                f"denominator must be one of {', '.join(DENOMINATORS)}, got {self.denominator!r}."
            )
        object.__setattr__(self, "splits", integer("splits", self.splits, 1))
        for name in ("block", "query_block"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name), 1))
        object.__setattr__(self, "exp_error", _units(self.exp_error, self.accumulate))
        self._check_agreement()

    def _check_agreement(self) -> None:
        precision = FORMATS[self.accumulate].precision
        for name in OPTIONAL:
            value = getattr(self, name)
            if value is not None and FORMATS[value].precision > precision:
                raise ValueError(
                    f"{name} must be no finer than accumulate, {self.accumulate}, since what is computed in "
                    f"that is not rounded by it, got {value!r}."
                )
        if self.denominator == "rounded" and self.weights is None:
            raise ValueError(
                "denominator must be 'unrounded' or 'normalised' where weights is None, since no weight is "
                "rounded, got 'rounded'."
            )
        if self.splits > 1 and self.denominator == "normalised":
            raise ValueError(
                "denominator must be 'unrounded' or 'rounded' where the keys are split, since no part knows "
                f"the whole sum, got 'normalised' with splits={self.splits}."
            )
        if (self.gradient_sums is None) != (self.query_block is None):
            raise ValueError(
                "gradient_sums and query_block must be given together, since sums are rounded after every "
                f"block of queries, got {self.gradient_sums!r} and {self.query_block!r}."
            )
        if self.splits == 1 and self.partials is not None:
            raise ValueError(
                f"partials must be None where the keys are not split, got {self.partials!r} with splits=1."
            )

    def format(self, name: str) -> Format | None:
        """Return the format that a field names."""
        value = getattr(self, name)
        return None if value is None else FORMATS[value]

    @property
    def unit(self) -> Format:
        """The format in which sums are made."""
        return FORMATS[self.accumulate]

    @property
    def loses_by_weight(self) -> bool:
        """Whether what underflow takes is large enough to be counted by the largest weight of a row."""
        formats = (self.format("weights"), self.format("exponentials"), self.unit)
        return any(each is not None and each.gradual for each in formats)

    def blocks(self, keys: int) -> int:
        """Return in how many blocks so many keys lie."""
        return 1 if self.block is None else -(-keys // self.block)

    def roundings(self, keys: int, seen: Any = None) -> Any:
        """Bound the roundings that a term of a sum over keys passes through: FP.kernel's k.

        Of keys that are not ``seen`` the weights are 0, and adding 0 rounds nothing.
        """
        counted = keys if seen is None else np.clip(seen, 1, keys)
        if self.block is None:
            return counted
        return np.minimum(self.block, counted) + 2 * (np.minimum(self.blocks(keys), counted) - 1)

    def __str__(self) -> str:
        """Return the call that makes it, without what is as by default."""
        given = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.name == "out" or getattr(self, f.name) != f.default
        )
        return f"RoundingModel({', '.join(given)})"


OPTIONAL = (
    "weights",
    "logits",
    "inputs",
    "values",
    "exponentials",
    "partials",
    "score_gradients",
    "gradient_sums",
)


def _units(value: Any, accumulate: str) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"exp_error must be a number, got {value!r}.")
    most = 0.25 / FORMATS[accumulate].unit_roundoff
    if not 0 <= float(value) <= most:
        raise ValueError(
            f"exp_error must lie in [0, {most:g}], a relative error of at most 1/4 in {accumulate}, got "
            f"{value!r}."
        )
    return float(value)


def torch_sdpa_math(out: str = "bfloat16") -> RoundingModel:
    """Return the model of torch's SDPBackend.MATH on a CPU: all in float32, in any order, P written out."""
    return RoundingModel(out=out, weights="float32", denominator="normalised")


def torch_flash_cpu(out: str = "bfloat16", queries: int | None = None) -> RoundingModel:
    """Return the model of torch's SDPBackend.FLASH_ATTENTION on a CPU.

    Below float32 weights and dS are rounded, the denominator is a sum of unrounded weights, exp is a fast
    one, 1,840 units off, and dK and dV stand in the low format after every block of queries.  A head of so
    many ``queries`` has blocks of 32, of 64 from 192 queries on, of 256 from 768 on; where that is not said,
    of 32.
    """
    low = _low(out)
    if low is None:
        return RoundingModel(out=out, block=512)
    count = 1 if queries is None else integer("queries", queries, 1)
    return RoundingModel(
        out=out,
        weights=low,
        block=512,
        score_gradients=low,
        gradient_sums=low,
        query_block=256 if count >= 768 else 64 if count >= 192 else 32,
        exp_error=2048,
    )


def flash_attention_2(out: str = "bfloat16") -> RoundingModel:
    """Return the model of FlashAttention 2: weights rounded, sums of 16 keys added up in float32."""
    low = _low(out)
    return RoundingModel(out=out, weights=low, block=16, score_gradients=low)


def naive_low_precision(out: str = "bfloat16") -> RoundingModel:
    """Return the model of softmax(Q K^T scale) V, each operation rounded and softmax in float32."""
    low = _low(out)
    return RoundingModel(
        out=out, logits=low, weights=low, denominator="normalised", score_gradients=low
    )


def onnx_function(out: str = "float16") -> RoundingModel:
    """Return the model of ONNX's Attention by its function body: every result rounded."""
    low = _low(out)
    return RoundingModel(
        out=out,
        inputs=low,
        logits=low,
        exponentials=low,
        weights=low,
        denominator="normalised",
        score_gradients=low,
    )


def float32_throughout(out: str = "float32") -> RoundingModel:
    """Return the model of float32 throughout, sums in any order, divided in the end."""
    return RoundingModel(out=out)


def _low(out: str) -> str | None:
    """Return the format of the output where it is narrower than float32."""
    return out if out in FORMATS and FORMATS[out].precision < FORMATS["float32"].precision else None


#: The models that have a name, from the strongest to the weakest.
PRESETS: dict[str, Callable[[str], RoundingModel]] = {
    each.__name__: each
    for each in (
        float32_throughout,
        torch_sdpa_math,
        flash_attention_2,
        torch_flash_cpu,
        naive_low_precision,
        onnx_function,
    )
}
