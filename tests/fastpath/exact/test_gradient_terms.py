"""Every term and factor of the gradient's certificate shows: it is the theorems' formula, to the last bits.

In float64 most terms are so far below the largest that no test of errors, nor of the certificate's size,
would miss one.  So the constants of the arithmetic are set to those of a type so coarse that every term is a
fair part of some bound, and the certificate is compared with the claims' expressions, put together here once
more: what is counted, bounded and added up is written down anew, from what was computed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from fastpath.core.bounds.softmax import ARITHMETIC
from fastpath.exact import gradient as module
from reference import evaluate
from specs import CLAIMS
from specs.softmax.rounding import ARITHMETIC as SPECIFIED

Array = NDArray[Any]

EXPRESSIONS = {
    bound.name: bound.expression
    for name in ("FP.softmax", "FP.scores", "FP.gradient", "FP.sum", "FP.underflow")
    for bound in CLAIMS[name].bounds
}

#: The constants of the coarse type: a roundoff whose square shows, and an underflow that shows beside it.
ROUNDOFF, TINY = Fraction(1, 2**17), Fraction(1, 2**23)

#: Tiles of three keys, blocks of two queries, and the largest scores that are not shifted.
KEY_BLOCK, QUERY_BLOCK, UNSHIFTED = 3, 2, 2.0

#: What rounding the certificate upward, and the float64 that it is computed from, may add or take.
ALLOWANCE = Fraction(1, 2**32)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program take float64 for the coarse type."""
    for name, value in (
        ("UNIT_ROUNDOFF", float(ROUNDOFF)),
        ("TINY", float(TINY)),
        ("KEY_BLOCK", KEY_BLOCK),
        ("QUERY_BLOCK", QUERY_BLOCK),
        ("UNSHIFTED", UNSHIFTED),
        ("PARTS", 2),  # of several blocks each
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setitem(ARITHMETIC["float64"], "unit_roundoff", float(ROUNDOFF))
    monkeypatch.setitem(ARITHMETIC["float64"], "tiny", float(TINY))


#: Bits behind the point that tell half of float32's smallest number from nothing.
BITS = 300


def _value(name: str, **arguments: Any) -> Fraction:
    """Return a claim's bound."""
    value: Fraction = evaluate(EXPRESSIONS[name], arguments, BITS).bounds()[1].item()
    return value


def _length(row: Array) -> np.longdouble:
    """Return the norm of a query or a key from its squares, whose sum is rounded in the coarse type."""
    d = len(row)
    squares = sum((Fraction(float(x)) ** 2 for x in row), Fraction())
    bound = _value(
        "positive_sum", computed=squares, terms=d, roundings=d, unit_roundoff=ROUNDOFF, tiny=TINY
    )
    numerator, denominator = (np.longdouble(n) for n in (bound.numerator, bound.denominator))
    return np.sqrt(numerator / denominator)


def _fractions(x: Any) -> Any:
    return np.vectorize(lambda y: Fraction(*np.longdouble(y).as_integer_ratio()), otypes=[object])(
        x
    )


@dataclass
class Instance:
    """One head and options; nothing is hidden but by causality."""

    Q: Array
    K: Array
    V: Array
    gradient: Array
    scale: float = 1.0
    softcap: float | None = None
    bias: Array | None = None
    sink: float | None = None
    causal: bool = False
    options: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        given = {
            "scale": self.scale,
            "softcap": self.softcap,
            "bias": self.bias,
            "sinks": self.sink,
            "causal": "upper-left" if self.causal else None,
        }
        self.options = {name: x for name, x in given.items() if x is not None}


def _instance(seed: int, *, size: float = 1.0, vague: bool = False, **options: Any) -> Instance:
    """Return entries of few bits, so that scores are exact in float64 however large they are."""
    rng = np.random.default_rng(seed)
    n_q, n_k, d, d_v = 5, 7, 2, 3
    Q, K, V, dO = (
        np.round(64 * rng.standard_normal(shape)) / 64
        for shape in ((n_q, d), (n_k, d), (n_k, d_v), (n_q, d_v))
    )
    if vague:  # every other row is beyond what the type tells apart
        Q[::2] *= 2.0**15
    if "bias" in options:
        options["bias"] = np.round(64 * rng.standard_normal((n_q, n_k))) / 64
    return Instance(size * Q, K, V, dO, **options)


class Theorem:
    """The certificate by the claims' expressions, from what float64 computes, taken more exactly."""

    def __init__(self, x: Instance) -> None:
        self.x = x
        n_q, n_k = len(x.Q), len(x.K)
        Q, K, V, dO = (y.astype(np.longdouble) for y in (x.Q, x.K, x.V, x.gradient))
        scores = x.scale * (Q @ K.T)
        self.slopes = np.ones_like(scores)
        if x.softcap is not None:
            tangents = np.tanh(scores / x.softcap)
            self.slopes, scores = 1 - tangents**2, x.softcap * tangents
        if x.bias is not None:
            scores = scores + x.bias
        if x.causal:
            scores = np.where(np.tri(n_q, n_k, dtype=bool), scores, -np.inf)
        self.rows = [self._row(i) for i in range(n_q)]
        self.shift = np.zeros((n_q, 1), np.longdouble)
        for first in range(0, n_q, QUERY_BLOCK):
            block = slice(first, first + QUERY_BLOCK)
            if not self._small(first):
                largest = scores[block].max(axis=1, keepdims=True)
                self.shift[block] = largest if x.sink is None else np.maximum(largest, x.sink)
        exponentials = np.exp(scores - self.shift)
        sink = np.zeros((n_q, 1)) if x.sink is None else np.exp(x.sink - self.shift)
        self.total = exponentials.sum(axis=1, keepdims=True) + sink
        self.sink_weights = sink / self.total
        self.weights = exponentials / self.total
        self.products = dO @ V.T
        self.means = (self.weights * self.products).sum(axis=1, keepdims=True)
        self.by_scores = np.abs(self.weights * (self.products - self.means))
        self.errors = [self._errors(i) for i in range(n_q)]
        self.terms_of_keys = QUERY_BLOCK + -(-n_q // QUERY_BLOCK)

    # ------------------------------------------------------------------------------ scores

    def _row(self, i: int) -> dict[str, Any]:
        """Return what is known of a row's scores."""
        x, d = self.x, self.x.Q.shape[1]
        seen = slice(i + 1 if x.causal else None)
        longest = max(map(_length, x.K[seen]))
        magnitude = Fraction(*(_length(x.Q[i]) * longest).as_integer_ratio())
        common = {"dimension": d, "unit_roundoff": ROUNDOFF, "tiny": TINY}
        if x.scale == 1:
            error = _value("rounding_logit", logit_magnitude=magnitude, **common)
        else:
            magnitude *= abs(Fraction(x.scale))
            error = _value(
                "scaled_logit",
                logit_magnitude=magnitude,
                largest_key=Fraction(*max(map(_length, x.K)).as_integer_ratio()),
                **common,
            )
        slope_error = Fraction(0)
        if x.softcap is not None:
            softcap = Fraction(x.softcap)
            error = _value(
                "capped_score",
                score_error=error,
                unit_roundoff=ROUNDOFF,
                tanh_error=6,
                cap_magnitude=min(magnitude + error, softcap),
                softcap=softcap,
                tiny=TINY,
            )
            slope_error = _value(
                "gradient_slope",
                tangent_error=min(error / softcap, 2),
                unit_roundoff=ROUNDOFF,
                tiny=TINY,
            )
            magnitude = min(magnitude, softcap)
        if x.bias is not None:
            largest = Fraction(float(np.abs(x.bias[i, seen]).max()))
            error = _value(
                "biased_score",
                score_error=error + TINY,
                unit_roundoff=ROUNDOFF,
                score_magnitude=magnitude,
                bias_magnitude=largest,
            )
            magnitude += largest
        if x.sink is not None:
            sink = abs(Fraction(x.sink))
            error, magnitude = max(error, sink * ROUNDOFF + TINY), max(magnitude, sink)
        return {"error": error, "magnitude": magnitude, "slope_error": slope_error}

    def _small(self, i: int) -> bool:
        """Whether no row of a row's block is shifted."""
        first = i - i % QUERY_BLOCK
        rows = self.rows[first : first + QUERY_BLOCK]
        return all(row["magnitude"] + row["error"] <= UNSHIFTED for row in rows)

    def _terms(self, i: int) -> int:
        """Return how many roundings a term of a sum over the keys that a row's block sees passes."""
        n_k = len(self.x.K)
        seen = min(n_k, i - i % QUERY_BLOCK + QUERY_BLOCK, len(self.x.Q)) if self.x.causal else n_k
        return KEY_BLOCK + -(-seen // KEY_BLOCK)

    # ------------------------------------------------------------------------------- errors

    def _raised(self, total: Any, terms: int, count: int) -> Fraction:
        return _value(
            "positive_sum",
            computed=Fraction(total),
            terms=count,
            roundings=terms,
            unit_roundoff=ROUNDOFF,
            tiny=TINY,
        )

    def _errors(self, i: int) -> dict[str, Any]:
        """Return, for a row: share of a weight that it errs, part of an exact one, and part in any case."""
        x, row = self.x, self.rows[i]
        n_k, d_v = x.V.shape
        count = n_k + (x.sink is not None)
        terms = self._terms(i)
        small = self._small(i)
        weight_error = _value(
            "rounding_weight",
            logit_error=row["error"],
            unit_roundoff=ROUNDOFF,
            reach=0 if small else 2 * (row["magnitude"] + row["error"]),
            exp_error=2,
            exponentials=1,
        )
        lightest = Fraction(*np.exp(np.longdouble(-UNSHIFTED)).as_integer_ratio())
        theta = _value(
            "gradient_exponent",
            weight_error=weight_error,
            terms=terms,
            unit_roundoff=ROUNDOFF,
            underflow=_value(
                "weights_underflow",
                keys=count,
                exponentials=1,
                tiny=TINY,
                lightest=lightest if small else 1,
            ),
        )
        vague = theta > 1
        if vague:
            share = once = _value("gradient_unknown", weight_error=theta, largest_weight=1, lost=0)
            tiny = _value(
                "gradient_unknown", weight_error=theta, largest_weight=2 * TINY, lost=2 * TINY
            )
        else:
            share = _value("gradient_weight", weight_error=theta, weight=1, tiny=0)
            tiny = _value("gradient_weight", weight_error=theta, weight=0, tiny=2 * TINY)
            once = Fraction(0)
        lengths = np.sqrt((x.gradient[i].astype(np.longdouble) ** 2).sum()) * np.sqrt(
            (x.V.astype(np.longdouble) ** 2).sum(axis=1)
        )
        products = Fraction(*lengths.max().as_integer_ratio())
        product_error = _value(
            "rounding_logit",
            dimension=d_v,
            unit_roundoff=ROUNDOFF,
            logit_magnitude=products,
            tiny=TINY,
        )
        largest = products + product_error
        total = Fraction(*self.total[i, 0].as_integer_ratio())
        magnitude = _fractions(self.total[i, 0] * self.weights[i] * np.abs(self.products[i])).sum()
        mean_error = _value(
            "gradient_mean",
            relative_weight_error=share,
            mean_magnitude=self._raised(magnitude, terms, count) / total,
            terms=terms,
            unit_roundoff=ROUNDOFF,
            product_error=product_error,
            lost=(once + tiny * count) * largest + (count / total + 1) * TINY,
        )
        mean = abs(Fraction(*self.means[i, 0].as_integer_ratio()))

        def score(**given: Any) -> Fraction:
            zeros = dict.fromkeys(
                (
                    "absolute_weight_error",
                    "slope_error",
                    "product_error",
                    "mean_error",
                    "score_gradient",
                    "weight",
                    "difference",
                    "tiny",
                ),
                0,
            )
            return _value(
                "gradient_score",
                **(zeros | {"relative_weight_error": share, "unit_roundoff": ROUNDOFF} | given),
            )

        errs = {"product_error": product_error, "mean_error": mean_error}
        sink_weight = Fraction(*self.sink_weights[i, 0].as_integer_ratio())
        return {
            "share": share,
            "once": once,
            "tiny": tiny,
            "relative": score(score_gradient=1, slope_error=row["slope_error"]),
            "absolute": score(weight=1, **errs),
            "of_every": score(
                absolute_weight_error=tiny, difference=largest + mean, tiny=TINY, **errs
            ),
            "of_exact": score(absolute_weight_error=once, difference=largest + mean, **errs),
            "sink": score(
                absolute_weight_error=tiny + once,
                mean_error=mean_error,
                score_gradient=sink_weight * mean,
                weight=sink_weight,
                difference=mean,
                tiny=TINY,
            ),
            "by_sink": sink_weight * mean,
        }

    # ---------------------------------------------------------------------------- the bounds

    def of_query(self, i: int) -> Fraction:
        """Bound what a row of dQ errs."""
        x, e, n_k = self.x, self.errors[i], len(self.x.K)
        largest = _fractions(np.abs(x.K).max(axis=1))
        terms, count = self._terms(i), n_k + (x.sink is not None)
        with_scores, with_weights = (
            self._raised((_fractions(y[i]) * largest).sum(), terms, count)
            for y in (self.by_scores, self.weights)
        )
        error = e["relative"] * with_scores + e["absolute"] * with_weights
        error += (e["of_every"] * count + e["of_exact"]) * largest.max()
        return self._sum(error, with_scores, terms, count, abs(Fraction(x.scale)))

    def of_key(self, j: int) -> Fraction:
        """Bound what a row of dK errs."""
        largest = _fractions(np.abs(self.x.Q).max(axis=1))
        by_scores, weights = _fractions(self.by_scores[:, j]), _fractions(self.weights[:, j])
        terms, n_q = self.terms_of_keys, len(largest)
        gamma = self._gamma(terms)
        columns = [
            [
                (e["relative"] + gamma) * b * q
                for e, b, q in zip(self.errors, by_scores, largest, strict=True)
            ],
            [e["absolute"] * w * q for e, w, q in zip(self.errors, weights, largest, strict=True)],
        ]
        error = sum(self._raised(sum(column), terms, n_q) for column in columns)
        error += self._total(lambda e: e["of_every"] + e["of_exact"], largest)
        return self._sum(error, Fraction(0), terms, n_q, abs(Fraction(self.x.scale)))

    def of_value(self, j: int) -> Fraction:
        """Bound what a row of dV errs."""
        largest = _fractions(np.abs(self.x.gradient).max(axis=1))
        weights = _fractions(self.weights[:, j])
        terms, n_q = self.terms_of_keys, len(largest)
        gamma = self._gamma(terms)
        column = [
            (e["share"] + gamma) * w * g
            for e, w, g in zip(self.errors, weights, largest, strict=True)
        ]
        error = self._raised(sum(column), terms, n_q)
        error += self._total(lambda e: e["tiny"] + e["once"], largest)
        return self._sum(error, Fraction(0), terms, n_q, Fraction(1))

    def of_sink(self) -> Fraction:
        """Bound what the derivative by the sink errs."""
        n_q = len(self.x.Q)
        error, magnitude = (
            self._raised(sum(e[name] for e in self.errors), n_q, n_q)
            for name in ("sink", "by_sink")
        )
        return _value(
            "gradient_sum",
            error_sum=error,
            magnitude_sum=magnitude,
            terms=n_q,
            unit_roundoff=ROUNDOFF,
            lost=n_q * TINY,
        )

    def _gamma(self, terms: int) -> Fraction:
        """Return what a sum errs of its terms' magnitudes."""
        return _value(
            "gradient_sum",
            error_sum=0,
            magnitude_sum=1,
            terms=terms,
            unit_roundoff=ROUNDOFF,
            lost=0,
        )

    def _total(self, of: Callable[[dict[str, Any]], Fraction], largest: Any) -> Fraction:
        """Add up what every query errs in any case, block by block."""
        total = Fraction(0)
        for first in range(0, len(largest), QUERY_BLOCK):
            block = slice(first, first + QUERY_BLOCK)
            parts = [of(e) * x for e, x in zip(self.errors[block], largest[block], strict=True)]
            total += self._raised(sum(parts), len(parts), len(parts))
        return total

    def _sum(
        self, error: Fraction, magnitude: Fraction, terms: int, count: int, scale: Fraction
    ) -> Fraction:
        return _value(
            "gradient_sum",
            error_sum=scale * error,
            magnitude_sum=scale * magnitude,
            terms=terms,
            unit_roundoff=ROUNDOFF,
            lost=(scale * count + 1) * TINY,
        )


INSTANCES = {
    "plain": _instance(0, size=0.25),
    "shifted": _instance(1, size=4.0),
    "scaled": _instance(2, scale=-0.375),
    "large scale": _instance(3, scale=24.0, size=0.125),
    "capped": _instance(4, scale=0.5, softcap=1.5),
    "vague and capped": _instance(11, vague=True, scale=0.5, softcap=0.125),
    "biased": _instance(5, bias=True),
    "sink": _instance(6, sink=0.75),
    "everything": _instance(7, size=2.0, scale=0.5, softcap=2.5, bias=True, sink=-0.5),
    "causal": _instance(10, causal=True, bias=True, sink=0.25),
    "vague": _instance(8, vague=True),
    "vague and everything": _instance(9, vague=True, scale=0.5, bias=True, sink=1.5),
}


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("name", INSTANCES)
def test_the_certificate_is_the_theorems_formula(name: str) -> None:
    """Catches each term and factor left out, or made 2 % smaller."""
    x = INSTANCES[name]
    found = fastpath.attention_gradient(x.Q, x.K, x.V, x.gradient, **x.options)
    theorem = Theorem(x)

    def compare(certified: Any, exact: Fraction, where: str) -> None:
        quotient = Fraction(float(certified)) / exact
        assert 1 - ALLOWANCE <= quotient <= 1 + ALLOWANCE, (where, float(quotient - 1))

    for i in range(len(x.Q)):
        compare(found.dQ.error_bound[i, 0], theorem.of_query(i), f"dQ {i}")
    for j in range(len(x.K)):
        compare(found.dK.error_bound[j, 0], theorem.of_key(j), f"dK {j}")
        compare(found.dV.error_bound[j, 0], theorem.of_value(j), f"dV {j}")
    assert (found.dsinks is None) == (x.sink is None)
    if found.dsinks is not None:
        compare(found.dsinks.error_bound, theorem.of_sink(), "dsinks")


@pytest.mark.parametrize("size", [1.0, 2.0**-140])
def test_what_is_returned_in_float32_errs_by_its_rounding_besides(size: float) -> None:
    """Catches: the rounding of the result left out, its part of the smallest number too."""
    rng = np.random.default_rng(0)
    Q, K, V, dO = (rng.standard_normal((6, 2)).astype(np.float32) for _ in range(4))
    dO = dO * np.float32(size)
    arithmetic = SPECIFIED["float32"]
    found = fastpath.attention_gradient(Q, K, V, dO)
    exact = fastpath.attention_gradient(*(x.astype(np.float64) for x in (Q, K, V, dO)))
    for part, fine in zip(found, exact, strict=True):
        assert part.output.dtype == np.float32
        for at in np.ndindex(part.output.shape):
            theorem = _value(
                "gradient_result",
                computation_error=Fraction(float(fine.error_bound[at])),
                result_magnitude=abs(Fraction(float(part.output[at]))),
                unit_roundoff=arithmetic.unit_roundoff,
                tiny=arithmetic.tiny,
            )
            certified = Fraction(float(part.error_bound[at]))
            assert 1 - ALLOWANCE <= certified / theorem <= 1 + ALLOWANCE
