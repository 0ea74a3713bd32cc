"""Claims that are false: this project's true ones, each with one of the things wrong that go wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sympy

from reference import Enclosure
from specs import CLAIMS
from specs.claim import Claim
from specs.symbols import (
    centre_error,
    degree,
    eta,
    half_power,
    iterations,
    keys,
    logit_radius,
    n,
    pending,
    roundings,
    skipped,
    value_radius,
    values,
    variables,
    x,
)

SCALE = sympy.Rational(98, 100)


def planted(
    bound: str,
    *,
    expression: Callable[[sympy.Expr], sympy.Expr] = lambda e: e,
    without: str = "",
    quantity: Callable[[Enclosure], Enclosure] = lambda q: q,
    arguments: dict[sympy.Symbol, sympy.Symbol] | None = None,
    counted: dict[sympy.Symbol, Callable[[Any], int]] | None = None,
) -> Claim[Any]:
    """Return a true claim with one bound and one thing wrong with it.

    ``without`` is a part of the statement of a hypothesis to drop; ``arguments`` gives a symbol the values
    that another has, ``counted`` what to make of a count.
    """
    ((true, right),) = [(c, b) for c in CLAIMS.values() for b in c.bounds if b.name == bound]
    kept = tuple(h for h in true.assumes if not (without and without in h.statement))
    assert len(kept) == len(true.assumes) - bool(without)
    swapped = arguments or {}

    def parameters(instance: Any, bits: int) -> dict[str, Any]:
        values = dict(right.parameters(instance, bits))
        changed = {old.name: values[new.name] for old, new in swapped.items()}
        return values | changed | {c.name: f(values[c.name]) for c, f in (counted or {}).items()}

    wrong = replace(
        right,
        expression=expression(right.expression),
        quantity=lambda instance, bits: quantity(right.quantity(instance, bits)),
        parameters=parameters,
    )
    return replace(true, assumes=kept, bounds=(wrong,))


def small(bound: str) -> Claim[Any]:
    return planted(bound, expression=lambda e: SCALE * e)


def one_less(bound: str) -> Claim[Any]:
    return planted(bound, expression=lambda e: e - 1)


def fewer(bound: str) -> Claim[Any]:
    return planted(bound, expression=lambda e: e.subs(n, n - 1))


def dropped(bound: str, hypothesis: str) -> Claim[Any]:
    return planted(bound, without=hypothesis)


def at_one_key(bound: str) -> Claim[Any]:
    return planted(bound, expression=lambda e: e * sympy.Min(1, n - sympy.Rational(1, 2)))


#: Broken in the loop of every change; each named by what is wrong: the constant, a hypothesis, a norm, a
#: strict inequality between counts, a count, one key, a corner.
QUICKLY = {
    "constant of entry_difference": lambda: small("entry_difference"),
    "hypothesis of softmax_range_upper": lambda: dropped("softmax_range_upper", "logit_bound"),
    "norm of softmax_tv": lambda: planted("softmax_tv", quantity=lambda q: q + q),
    "strict caratheodory_columns": lambda: one_less("caratheodory_columns"),
    "one off in softmax_range_upper": lambda: planted(
        "softmax_range_upper", expression=lambda e: e.subs(n, n + 1)
    ),
    "one key of softmax_range_inverse": lambda: at_one_key("softmax_range_inverse"),
    "corner of softmax_tv": lambda: planted(
        "softmax_tv", expression=lambda e: sympy.Min(e, sympy.Rational(9, 10))
    ),
}
SLOWLY = {
    "constant of softmax_output": lambda: small("softmax_output"),
    "constant of softmax_tv": lambda: small("softmax_tv"),
    "constant of softmax_ratio": lambda: small("softmax_ratio"),
    "constant of softmax_entry": lambda: small("softmax_entry"),
    "constant of weights_tv": lambda: small("weights_tv"),
    "constant of weights_output": lambda: small("weights_output"),
    "constant of taylor_absolute": lambda: small("taylor_absolute"),
    "constant of loewner_row": lambda: small("loewner_row"),
    "constant of loewner_entry": lambda: small("loewner_entry"),
    "constant of kappa_tv": lambda: small("kappa_tv"),
    "constant of logit_difference": lambda: small("logit_difference"),
    "constant of jensen_sum": lambda: small("jensen_sum"),
    "constant of dropped_mass": lambda: small("dropped_mass"),
    "hypothesis of softmax_ratio": lambda: dropped("softmax_ratio", "eta"),
    "hypothesis of weights_tv": lambda: dropped("weights_tv", "epsilon"),
    "hypothesis of p3_goal_entry": lambda: dropped("p3_goal_entry", "(X X"),
    "hypothesis of loewner_logit": lambda: dropped("loewner_logit", "epsilon"),
    "spread for magnitude in softmax_output": lambda: planted(
        "softmax_output_magnitude", expression=lambda e: e / 2
    ),
    "strict entry_products": lambda: one_less("entry_products"),
    "strict gram_columns": lambda: one_less("gram_columns"),
    "strict cache_numbers": lambda: one_less("cache_numbers"),
    "strict update_products": lambda: one_less("update_products"),
    "one off in softmax_range_inverse": lambda: fewer("softmax_range_inverse"),
    "one off in row_products": lambda: planted(
        "row_products", expression=lambda e: e.subs(pending, pending - 1)
    ),
    "one off in quadratic_products": lambda: fewer("quadratic_products"),
    "one key of softmax_range_upper": lambda: at_one_key("softmax_range_upper"),
    "corner of softmax_output": lambda: planted(
        "softmax_output", expression=lambda e: e * (1 - sympy.Min(eta, 4) ** 4 / 2000)
    ),
    "corner of weights_tv": lambda: planted(
        "weights_tv", expression=lambda e: sympy.Min(e, sympy.Rational(8, 10))
    ),
    "corner of softmax_range_upper": lambda: planted(
        "softmax_range_upper", expression=lambda e: sympy.Min(e, sympy.Rational(99, 100))
    ),
    "rounding of positive_sum": lambda: planted(
        "positive_sum", expression=lambda e: e.subs(roundings, roundings - 1)
    ),
}

#: Made after the search, of other kinds: a sign, an exponent that is wrong for large arguments only, ties,
#: one argument's value for another's, a cap that is too low, a constant that is a millionth too small.
LATER = {
    "sign of taylor_absolute": lambda: planted(
        "taylor_absolute", expression=lambda e: e.subs(x, -x)
    ),
    "exponent of recentre_power": lambda: planted(
        "recentre_power", counted={degree: lambda g: min(g, 3)}
    ),
    "ties of softmax_lack": lambda: planted(
        "softmax_lack", expression=lambda e: e.subs(keys, keys - sympy.Rational(1, 2))
    ),
    "swapped in second_cumulant": lambda: planted(
        "second_cumulant", arguments={value_radius: logit_radius}
    ),
    "constant of newton_error": lambda: small("newton_error"),
    "constant of conjugate_error": lambda: small("conjugate_error"),
    "constant of fourth_cumulant": lambda: small("fourth_cumulant"),
    "constant of log_sum_exp": lambda: small("log_sum_exp"),
    "one off in moment_numbers": lambda: planted(
        "moment_numbers", expression=lambda e: e.subs(variables, variables - 1)
    ),
    "millionth of basin_reciprocal": lambda: planted(
        "basin_reciprocal", expression=lambda e: e * (1 - sympy.Rational(1, 10**6))
    ),
}

#: Made with those, and first searched when nothing more was changed of the search.
HELD_OUT = {
    "corner of hilbert_tv": lambda: planted(
        "hilbert_tv", expression=lambda e: sympy.Min(e, sympy.Rational(95, 100))
    ),
    "exponent of conjugate_error": lambda: planted(
        "conjugate_error", counted={iterations: lambda k: max(k, 2 * k - 6)}
    ),
    "exponent of power_weight": lambda: planted(
        "power_weight", counted={half_power: lambda p: min(p, 3)}
    ),
    "constant of third_cumulant": lambda: small("third_cumulant"),
    "constant of gradient_lipschitz_x": lambda: small("gradient_lipschitz_x"),
    "constant of heap_excess": lambda: small("heap_excess"),
    "constant of hull_output": lambda: small("hull_output"),
    "constant of unopened_output": lambda: small("unopened_output"),
    "constant of compressibility_ratio": lambda: small("compressibility_ratio"),
    "hypothesis of leverage_certificate": lambda: dropped("leverage_certificate", "no longer"),
    "sign of augmented_scatter": lambda: planted(
        "augmented_scatter", expression=lambda e: e.subs(centre_error, -centre_error)
    ),
    "one off in certify_failure": lambda: planted(
        "certify_failure", expression=lambda e: e.subs(skipped, skipped - 1)
    ),
    "strict sliced_pairs": lambda: one_less("sliced_pairs"),
    "one off in sketch_numbers": lambda: planted(
        "sketch_numbers", expression=lambda e: e.subs(values, values - 1)
    ),
}

#: All, by their names.
PLANTED = QUICKLY | SLOWLY | LATER | HELD_OUT
