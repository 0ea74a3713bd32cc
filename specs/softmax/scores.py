r"""FP: what rounding does to attention as it is run: scores, the logarithm of the denominator, merged parts.

The computation.  ``scaled_j = fl(q' . k_j)`` with ``q' = fl(fl(scale) q)``; ``capped_j = fl(c fl(tanh(fl(
scaled_j / c))))`` with ``c = fl(softcap)``; ``biased_j = fl(capped_j + fl(bias_j))``; what follows is
FP.softmax with the last of them for its logits.  A mask costs nothing: a hidden key has the weight 0.  A
sink is a key of value 0.  The logarithm of the denominator is ``fl(m + fl(ln D))`` in float64, m being
the shift and D the computed sum.

The model is that of FP.softmax; gradual underflow of ``q'`` loses at most u tiny an entry.

NOTE An error of a score is absolute: a bias adds to it, a cap does not enlarge it (its slope is at most 1),
and tanh itself errs relative to a result that is at most 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from reference import Enclosure, attention
from reference.attention import log_sum_exp
from reference.scores import scores
from specs.claim import Bound, Claim, Hypothesis, Value
from specs.softmax.rounding import ARITHMETIC, Arithmetic, gamma, lost_weights
from specs.symbols import (
    bias_magnitude,
    cap_magnitude,
    dimension,
    double_roundoff,
    largest_key,
    largest_part_error,
    log_error,
    log_magnitude,
    logit_magnitude,
    magnitude,
    part_error,
    quotient,
    score_error,
    score_magnitude,
    softcap,
    spread,
    tanh_error,
    terms,
    tiny,
    underflow,
    unit_roundoff,
    weight_error,
)

Array = NDArray[Any]

#: What numpy's float64 logarithm may err, in units of u: the 4 ulp that every generated bound allows.
LOG_ERROR = 8

DOUBLE = ARITHMETIC["float64"]


def _exact(x: Any, bits: int) -> Enclosure:
    return Enclosure.exact(np.array(x), bits)


# ------------------------------------------------------------------------------------- FP.tanh


@dataclass(frozen=True)
class TanhPoint:
    """An argument of numpy's tanh in one floating-point type."""

    argument: np.floating[Any]

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the argument's type."""
        return ARITHMETIC[self.argument.dtype.name]


#: The worst of 5 million float32 arguments in [1e-6, 12] with numpy 2.4 on AVX-512: 1.82 u.  The worst of
#: 2.5 million float64 arguments, 0x1.ab623bbf8aafp-1, errs by 1.62 u.
TANH_WORST_ARGUMENT = float.fromhex("0x1.1a36b4p-1")


def _tanh(i: TanhPoint, bits: int) -> Enclosure:
    return _exact(i.argument, bits).tanh()


def _tanh_relative_error(i: TanhPoint, bits: int) -> Enclosure:
    exact = _tanh(i, bits)
    return abs(_exact(np.tanh(i.argument), bits) - exact) / abs(exact)


FP_TANH = Claim[TanhPoint](
    id="FP.tanh",
    where="ours",
    statement="numpy's tanh errs by at most tanh_error u relative to tanh t: tanh_error = 6.",
    not_stated=(
        "A property of a library on a machine: measured, with margin, not proved. Below the normal "
        "range only an absolute error of tiny is used."
    ),
    assumes=(
        Hypothesis("|t| lies in [2^-40, 2^7]", lambda i: 2.0**-40 <= abs(float(i.argument)) <= 128),
    ),
    bounds=(
        Bound(
            name="rounding_tanh",
            meaning="the relative error of numpy's tanh",
            arguments=(tanh_error, unit_roundoff),
            expression=tanh_error * unit_roundoff,
            points=((6, sympy.Rational(1, 2**24)),),
            quantity=_tanh_relative_error,
            parameters=lambda i, bits: {
                "tanh_error": i.arithmetic.tanh_error,
                "unit_roundoff": i.arithmetic.unit_roundoff,
            },
            trivial=lambda i, bits: (
                abs(_exact(i.argument, bits) - _tanh(i, bits)) / abs(_tanh(i, bits))
            ),
            extremal=lambda: TanhPoint(np.float32(TANH_WORST_ARGUMENT)),
        ),
    ),
    witness=lambda: TanhPoint(np.float32(-0.75)),
    sample=lambda rng: TanhPoint(
        (np.float32, np.float64)[rng.integers(2)](
            rng.choice([-1, 1]) * np.exp(rng.uniform(np.log(1e-6), np.log(12.0)))
        )
    ),
)

# ----------------------------------------------------------------------------------- FP.scores


@dataclass(frozen=True)
class ScoredRow:
    """One query row with its scores, step by step.

    The inputs are exact: ``scale``, ``softcap`` and ``bias`` are float64, whatever type the row has.
    """

    query: Array
    keys: Array
    scale: float
    softcap: float
    bias: Array
    scaled: Array
    capped: Array
    biased: Array

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the row's type."""
        return ARITHMETIC[self.query.dtype.name]


def scored_row(
    query: Array, keys: Array, scale: float, softcap: float, bias: Array, *, in_order: bool = False
) -> ScoredRow:
    """Compute a row's scores in the type of the query; ``in_order``: sums from left to right."""
    dtype = query.dtype.type
    scaled_query = query * dtype(scale)
    if in_order:
        scaled = np.cumsum(keys * scaled_query, axis=1, dtype=query.dtype)[:, -1]
    else:
        scaled = keys @ scaled_query
    cap = dtype(softcap)
    capped = np.tanh(scaled / cap) * cap
    return ScoredRow(query, keys, scale, softcap, bias, scaled, capped, capped + bias.astype(dtype))


def _scaled_exactly(i: ScoredRow, bits: int) -> Enclosure:
    return scores(i.query[None], i.keys, scale=i.scale, precision=bits)[0]


def _capped_exactly(i: ScoredRow, bits: int) -> Enclosure:
    return scores(i.query[None], i.keys, scale=i.scale, softcap=i.softcap, precision=bits)[0]


def _biased_exactly(i: ScoredRow, bits: int) -> Enclosure:
    return _capped_exactly(i, bits) + Enclosure.exact(i.bias, bits)


def _scaled_error(i: ScoredRow, bits: int) -> Enclosure:
    return abs(Enclosure.exact(i.scaled, bits) - _scaled_exactly(i, bits)).max()


def _capped_error(i: ScoredRow, bits: int) -> Enclosure:
    return abs(Enclosure.exact(i.capped, bits) - _capped_exactly(i, bits)).max()


def _biased_error(i: ScoredRow, bits: int) -> Enclosure:
    return abs(Enclosure.exact(i.biased, bits) - _biased_exactly(i, bits)).max()


def _scaled_parameters(i: ScoredRow, bits: int) -> Mapping[str, Value]:
    products = Enclosure.exact(np.abs(i.keys), bits) @ Enclosure.exact(np.abs(i.query), bits)
    return {
        "dimension": len(i.query),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "logit_magnitude": (products * Fraction(abs(i.scale))).max(),
        "tiny": i.arithmetic.tiny,
        "largest_key": Fraction(float(np.abs(i.keys).max())),
    }


def _capped_parameters(i: ScoredRow, bits: int) -> Mapping[str, Value]:
    error = _scaled_error(i, bits)
    largest = abs(_scaled_exactly(i, bits)).max() + error
    return {
        "score_error": error,
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "tanh_error": i.arithmetic.tanh_error,
        "cap_magnitude": largest.minimum(Fraction(i.softcap)),
        "softcap": Fraction(i.softcap),
        "tiny": i.arithmetic.tiny,
    }


def _biased_parameters(i: ScoredRow, bits: int) -> Mapping[str, Value]:
    return {
        "score_error": _capped_error(i, bits),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "score_magnitude": abs(_capped_exactly(i, bits)).max(),
        "bias_magnitude": Fraction(float(np.abs(i.bias).max())),
    }


def _lost_products() -> ScoredRow:
    """Give a dot product 1 + u + u + ... that loses every term but the first, below a cap of 2^20."""
    query = np.full(1024, 2.0**-24, np.float32)
    query[0] = 1
    keys = np.ones((1, 1024), np.float32)
    return scored_row(query, keys, 1.0, 2.0**20, np.zeros(1), in_order=True)


def _sample_scores(rng: np.random.Generator) -> ScoredRow:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, d = int(rng.integers(1, 12)), int(rng.integers(1, 40))
    return scored_row(
        (rng.choice([0.1, 1.0, 8.0]) * rng.standard_normal(d)).astype(dtype),
        rng.standard_normal((n, d)).astype(dtype),
        float(rng.choice([1.0, d**-0.5, -0.3])),
        float(rng.choice([0.7, 15.0, 50.0])),
        float(rng.choice([0.0, 1.0, 20.0])) * rng.standard_normal(n),
    )


def _finite_scores(i: ScoredRow) -> bool:
    return all(bool(np.isfinite(a).all()) for a in (i.query, i.keys, i.bias, i.biased))


def _normal_factors(i: ScoredRow) -> bool:
    largest = Fraction(float(np.finfo(i.query.dtype).max))
    return all(
        i.arithmetic.tiny <= x <= largest for x in (abs(Fraction(i.scale)), Fraction(i.softcap))
    ) and all(not b or abs(Fraction(float(b))) >= i.arithmetic.tiny for b in i.bias)


FP_SCORES = Claim[ScoredRow](
    id="FP.scores",
    where="ours",
    statement=(
        "Rounding of scores: scaled logits err by gamma_(d+2) |scale| |q|.|k| + d tiny + 2 d u tiny max|k|; "
        "a soft cap adds gamma_(4+tanh_error) min(|x|, softcap) + 3 (1 + softcap) tiny; a bias adds gamma_2 "
        "(|s| + error + |bias|). With them for logits FP.softmax holds under any mask, and with a sink."
    ),
    not_stated=(
        "That a given BLAS obeys the model: conformance tests it on every output. What tanh errs is measured "
        "(FP.tanh)."
    ),
    assumes=(
        Hypothesis(
            "every input is finite, and so is what rounded arithmetic, sums in any order, made of them",
            _finite_scores,
            mirrors=("computed_logit", "computed_cap", "computed_bias"),
        ),
        Hypothesis(
            "scale, softcap > 0 and biases other than 0 are normal numbers of the type",
            _normal_factors,
            mirrors=("computed_logit", "0 < c", "computed_bias"),
        ),
        Hypothesis(
            "(d + 2) u <= 1/4",
            lambda i: (len(i.query) + 2) * i.arithmetic.unit_roundoff <= Fraction(1, 4),
            mirrors=(
                "INR d * u <= 1 / 2",
                "INR (d + 2) * u < 1",
                "(4 + te) * u <= 1 / 2",
                "u <= 1 / 4",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="scaled_logit",
            meaning="the error of a computed logit of a scaled query",
            arguments=(dimension, unit_roundoff, logit_magnitude, tiny, largest_key),
            expression=gamma(dimension + 2) * logit_magnitude
            + dimension * tiny
            + 2 * dimension * unit_roundoff * tiny * largest_key,
            points=((64, sympy.Rational(1, 2**24), 12, sympy.Rational(1, 2**126), 3),),
            quantity=_scaled_error,
            parameters=_scaled_parameters,
            trivial=lambda i, bits: abs(_scaled_exactly(i, bits)).max(),
            extremal=_lost_products,
            theorem="fp_scores_scaled",
        ),
        Bound(
            name="capped_score",
            meaning="the error of a computed score after its soft cap",
            arguments=(score_error, unit_roundoff, tanh_error, cap_magnitude, softcap, tiny),
            expression=score_error
            + gamma(4 + tanh_error) * cap_magnitude
            + 3 * (1 + softcap) * tiny,
            points=(
                (
                    sympy.Rational(1, 1000),
                    sympy.Rational(1, 2**24),
                    6,
                    12,
                    50,
                    sympy.Rational(1, 2**126),
                ),
            ),
            quantity=_capped_error,
            parameters=_capped_parameters,
            trivial=lambda i, bits: abs(_capped_exactly(i, bits)).max(),
            extremal=_lost_products,
            theorem="fp_scores_capped",
        ),
        Bound(
            name="biased_score",
            meaning="the error of a computed score with its bias",
            arguments=(score_error, unit_roundoff, score_magnitude, bias_magnitude),
            expression=score_error + gamma(2) * (score_magnitude + score_error + bias_magnitude),
            points=((sympy.Rational(1, 1000), sympy.Rational(1, 2**24), 12, 7),),
            quantity=_biased_error,
            parameters=_biased_parameters,
            trivial=lambda i, bits: abs(_biased_exactly(i, bits)).max(),
            extremal=_lost_products,
            theorem="fp_scores_biased",
        ),
    ),
    witness=lambda: scored_row(
        np.array([1.0, -0.5]),
        np.array([[1.0, 0.25], [0.3, 2.0], [-1.0, 0.7]]),
        0.3,
        1.5,
        np.array([0.1, -2.0, 0.7]),
    ),
    sample=_sample_scores,
    recomputed=lambda i: scored_row(i.query, i.keys, i.scale, i.softcap, i.bias, in_order=True),
)

# -------------------------------------------------------------------------------------- FP.lse


@dataclass(frozen=True)
class LogarithmRow:
    """One query row with the logarithm of its denominator, in float64."""

    query: Array
    keys: Array
    shift: np.floating[Any]
    weights: Array
    denominator: np.floating[Any]
    logarithm: float

    @property
    def arithmetic(self) -> Arithmetic:
        """The constants of the row's type."""
        return ARITHMETIC[self.query.dtype.name]


def logarithm_row(query: Array, keys: Array) -> LogarithmRow:
    """Compute a row with its sum taken from left to right: the order that loses most."""
    logits = np.cumsum(keys * query, axis=1, dtype=query.dtype)[:, -1]
    shift = logits.max()
    weights = np.exp(logits - shift)
    denominator = np.cumsum(weights, dtype=query.dtype)[-1]
    logarithm = float(np.float64(shift) + np.log(np.float64(denominator)))
    return LogarithmRow(query, keys, shift, weights, denominator, logarithm)


def _logarithm(i: LogarithmRow, bits: int) -> Enclosure:
    return log_sum_exp(i.query[None], i.keys, precision=bits)[0]


def _logarithm_error(i: LogarithmRow, bits: int) -> Enclosure:
    return abs(_exact(i.logarithm, bits) - _logarithm(i, bits))


def _logarithm_parameters(i: LogarithmRow, bits: int) -> Mapping[str, Value]:
    fine = bits + i.arithmetic.tiny.denominator.bit_length()
    normal = i.weights >= float(i.arithmetic.tiny)
    logits = scores(i.query[None], i.keys[normal], precision=fine)[0] - _exact(i.shift, fine)
    return {
        "weight_error": abs(Enclosure.exact(i.weights[normal], fine).log() - logits).max(),
        "terms": len(i.keys),
        "unit_roundoff": i.arithmetic.unit_roundoff,
        "underflow": 8 * len(i.keys) * i.arithmetic.tiny,
        "log_magnitude": abs(_exact(i.denominator, bits).log()) + abs(Fraction(float(i.shift))),
        "log_error": LOG_ERROR,
        "double_roundoff": DOUBLE.unit_roundoff,
    }


def _sample_logarithm(rng: np.random.Generator) -> LogarithmRow:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    n, d = int(rng.integers(1, 40)), int(rng.integers(1, 20))
    query = rng.choice([0.1, 1.0, 4.0]) * rng.standard_normal(d)
    return logarithm_row(query.astype(dtype), rng.standard_normal((n, d)).astype(dtype))


def _lost_terms() -> LogarithmRow:
    query, keys, _ = lost_weights(4096)
    return logarithm_row(query, keys)


FP_LSE = Claim[LogarithmRow](
    id="FP.lse",
    where="ours",
    statement=(
        "The logarithm of attention's denominator, computed in float64 from the shift m and the sum D, "
        "errs by theta + (gamma_k + underflow)/(1 - gamma_k - underflow) + gamma (|m| + |ln D|): theta as in "
        "FP.softmax, gamma of log_error + 2 roundings of float64."
    ),
    not_stated="What float64's logarithm errs, log_error u64 at most, is measured with margin.",
    assumes=(
        Hypothesis(
            "the logarithm, of rounded sums in any order, is finite",
            lambda i: bool(np.isfinite(i.logarithm)),
            mirrors=("Rabs (Dn - fsum n b) <= (gamma k u + underflow) * fsum n b",),
        ),
        Hypothesis(
            "n u <= 1/4",
            lambda i: len(i.keys) * i.arithmetic.unit_roundoff <= Fraction(1, 4),
            mirrors=("INR k * u < 1", "gamma k u + underflow < 1"),
        ),
    ),
    bounds=(
        Bound(
            name="log_sum_exp",
            meaning="the error of a computed log-sum-exp",
            arguments=(
                weight_error,
                terms,
                unit_roundoff,
                underflow,
                log_magnitude,
                log_error,
                double_roundoff,
            ),
            expression=weight_error
            + (gamma(terms) + underflow) / (1 - gamma(terms) - underflow)
            + (log_error + 2)
            * double_roundoff
            / (1 - (log_error + 2) * double_roundoff)
            * log_magnitude,
            points=(
                (
                    sympy.Rational(1, 1000),
                    256,
                    sympy.Rational(1, 2**24),
                    sympy.Rational(1, 2**60),
                    40,
                    8,
                    sympy.Rational(1, 2**53),
                ),
            ),
            quantity=_logarithm_error,
            parameters=_logarithm_parameters,
            trivial=lambda i, bits: abs(_logarithm(i, bits)),
            extremal=_lost_terms,
            theorem="fp_lse",
            attained="fp_lse_attained",
        ),
    ),
    witness=lambda: logarithm_row(
        np.array([1.0, -0.5]), np.array([[1.0, 0.25], [0.3, 2.0], [-1.0, 0.7]])
    ),
    sample=_sample_logarithm,
    recomputed=lambda i: logarithm_row(i.query, i.keys),
)

# ------------------------------------------------------------------------------------ FP.merge


@dataclass(frozen=True)
class MergedRow:
    """Attention of one query over disjoint sets of keys, one value column, and what it was merged to.

    ``outputs`` and ``logarithms`` are what was computed for each set, ``weights`` and ``merged`` what
    float64 made of them.
    """

    query: Array
    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    outputs: Array
    logarithms: Array
    weights: Array
    merged: float

    @property
    def shift(self) -> float:
        """What was subtracted from the logarithms."""
        return float(self.logarithms.max())


def merged_row(
    query: Array,
    keys: tuple[Array, ...],
    values: tuple[Array, ...],
    outputs: Array,
    logarithms: Array,
) -> MergedRow:
    """Merge what was computed, in float64."""
    weights = np.exp(logarithms - logarithms.max())
    merged = float((weights @ outputs) / weights.sum())
    return MergedRow(query, keys, values, outputs, logarithms, weights, merged)


def _rounded_parts(
    query: Array, keys: tuple[Array, ...], values: tuple[Array, ...], error: float
) -> MergedRow:
    """Merge parts computed in float64 and then moved by an error, in turn up and down."""
    outputs, logarithms = [], []
    for k, v in zip(keys, values, strict=True):
        logits = k @ query
        weights = np.exp(logits)
        outputs.append((weights @ v) / weights.sum())
        logarithms.append(np.log(weights.sum()))
    signs = error * (-1.0) ** np.arange(len(keys))
    return merged_row(query, keys, values, np.array(outputs) + signs, np.array(logarithms) + signs)


def _together(i: MergedRow, bits: int) -> Enclosure:
    """Enclose attention over all keys."""
    keys, values = np.concatenate(i.keys), np.concatenate(i.values)
    return attention(i.query[None], keys, values[:, None], precision=bits)[0, 0]


def _parts_error(i: MergedRow, bits: int) -> list[Enclosure]:
    return [
        abs(_exact(o, bits) - attention(i.query[None], k, v[:, None], precision=bits)[0, 0])
        for o, k, v in zip(i.outputs, i.keys, i.values, strict=True)
    ]


def _part_weight_error(i: MergedRow, bits: int) -> Enclosure:
    """Enclose max_a |ln(computed weight) - (exact logarithm - shift)|."""
    found = [
        abs(
            _exact(w, bits).log()
            - (log_sum_exp(i.query[None], k, precision=bits)[0] - _exact(i.shift, bits))
        )
        for w, k in zip(i.weights, i.keys, strict=True)
    ]
    return _largest(found)


def _largest(found: list[Enclosure]) -> Enclosure:
    largest = found[0]
    for other in found[1:]:
        largest = largest.maximum(other)
    return largest


def _merge_parameters(i: MergedRow, bits: int) -> Mapping[str, Value]:
    errors = _parts_error(i, bits)
    weights = [Fraction(float(w)) for w in i.weights]
    outputs = [Fraction(float(o)) for o in i.outputs]
    mean = errors[0] * (weights[0] / sum(weights))
    for error, weight in zip(errors[1:], weights[1:], strict=True):
        mean = mean + error * (weight / sum(weights))
    return {
        "weight_error": _part_weight_error(i, bits),
        "spread": max(outputs) - min(outputs),
        "part_error": mean,
        "largest_part_error": _largest(errors),
        "magnitude": max(abs(o) for o in outputs),
        "quotient": Fraction(i.merged),
        "terms": len(outputs),
        "unit_roundoff": DOUBLE.unit_roundoff,
        "underflow": 8 * len(outputs) * DOUBLE.tiny,
        "tiny": DOUBLE.tiny,
    }


def _sample_merge(rng: np.random.Generator) -> MergedRow:
    d = int(rng.integers(1, 6))
    sizes = rng.integers(1, 9, rng.integers(1, 5))
    keys = tuple(rng.standard_normal((n, d)) for n in sizes)
    values = tuple(rng.standard_normal(n) for n in sizes)
    query = rng.choice([0.1, 1.0, 3.0]) * rng.standard_normal(d)
    return _rounded_parts(query, keys, values, float(rng.choice([0.0, 1e-12, 1e-3, 0.1])))


def _two_of_opposite_errors() -> MergedRow:
    """Give two parts of equal weight, values 1 and -1, whose logarithms err by e one way and the other."""
    keys = (np.zeros((1, 1)), np.zeros((1, 1)))
    values = (np.array([1.0]), np.array([-1.0]))
    return merged_row(
        np.zeros(1), keys, values, np.array([1.0, -1.0]), np.array([2.0**-7, -(2.0**-7)])
    )


FP_MERGE = Claim[MergedRow](
    id="FP.merge",
    where="ours",
    statement=(
        "Attention over disjoint sets of keys, merged: the weighted mean of the parts' errors, tanh(theta/2) "
        "(spread of the outputs + largest error), and the rounding of FP.softmax's quotient; theta bounds "
        "the error of the logarithm of a part's weight."
    ),
    not_stated="That the sets are disjoint: merge cannot see keys.",
    assumes=(
        Hypothesis(
            "every weight is a normal number",
            lambda i: bool((i.weights >= float(DOUBLE.tiny)).all()),
            mirrors=("positive", "gamma k u + underflow <= 1"),
        ),
        Hypothesis(
            "every output is finite, and merged by rounded sums in any order",
            lambda i: bool(np.isfinite(i.outputs).all()),
            mirrors=(
                "Rabs (N - dot p b o') <= (gamma k u + underflow) * (M * fsum p b)",
                "Rabs (Dn - fsum p b) <= (gamma k u + underflow) * fsum p b",
                "Rabs (q - N / Dn) <= u * Rabs q + tiny",
                "Rabs (out - q) <= tiny",
            ),
        ),
    ),
    bounds=(
        Bound(
            name="merged_output",
            meaning="the error of attention that is merged of parts",
            arguments=(
                weight_error,
                spread,
                part_error,
                largest_part_error,
                magnitude,
                quotient,
                terms,
                unit_roundoff,
                underflow,
                tiny,
            ),
            expression=part_error
            + (spread + largest_part_error) * sympy.tanh(weight_error / 2)
            + (gamma(terms) + underflow) * (magnitude + (1 + unit_roundoff) * sympy.Abs(quotient))
            + unit_roundoff * sympy.Abs(quotient)
            + 3 * tiny,
            points=(
                (
                    sympy.Rational(1, 1000),
                    3,
                    sympy.Rational(1, 500),
                    sympy.Rational(1, 100),
                    2,
                    sympy.Rational(-7, 5),
                    8,
                    sympy.Rational(1, 2**53),
                    sympy.Rational(1, 2**60),
                    sympy.Rational(1, 2**1022),
                ),
            ),
            quantity=lambda i, bits: abs(_exact(i.merged, bits) - _together(i, bits)),
            parameters=_merge_parameters,
            trivial=lambda i, bits: abs(
                _exact((float(i.outputs.max()) + float(i.outputs.min())) / 2, bits)
                - _together(i, bits)
            ),
            extremal=_two_of_opposite_errors,
            theorem="fp_merge",
            attained="fp_merge_attained",
        ),
    ),
    witness=lambda: _rounded_parts(
        np.array([1.0, -0.5]),
        (np.array([[1.0, 0.25]]), np.array([[0.3, 2.0], [-1.0, 0.7]])),
        (np.array([1.0]), np.array([-2.0, 0.7])),
        1e-9,
    ),
    sample=_sample_merge,
    recomputed=lambda i: merged_row(i.query, i.keys, i.values, i.outputs, i.logarithms),
)

CLAIMS = (FP_TANH, FP_SCORES, FP_LSE, FP_MERGE)
