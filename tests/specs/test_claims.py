"""Every claim has a witness, is not vacuous, is not exceeded, and its sharp bounds are sharp."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy

from proofs.evidence.audit import (
    decide_bound,
    decide_trivial,
    find,
    pays_less,
    shown,
    strays,
)
from reference import Enclosure, Verdict
from reference.tokens import Evict
from specs import CLAIMS
from specs.claim import Assurance, Bound, Claim, Rival, Status
from specs.symbols import eta

PAIRS = [
    pytest.param(claim, bound, id=f"{claim.id}-{bound.name}")
    for claim in CLAIMS.values()
    for bound in claim.bounds
]


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_witness_satisfies_every_hypothesis(claim: Claim[Any]) -> None:
    assert claim.broken_hypotheses(claim.witness()) == ()


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_every_sample_satisfies_every_hypothesis(claim: Claim[Any]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert claim.broken_hypotheses(claim.sample(rng)) == ()


@pytest.mark.parametrize(("claim", "bound"), PAIRS)
def test_the_extremal_instance_satisfies_every_hypothesis(
    claim: Claim[Any], bound: Bound[Any]
) -> None:
    assert claim.broken_hypotheses(bound.extremal()) == ()


#: Claims that are false as printed: what their witness exhibits exceeds the bound.
REFUTED = {
    "P1.hardness": "keeping A and D is below what is forbidden",
    "P1.optimal": "keeping A and D is below what is said to be optimal",
    "P4.algorithm": "a start is a strict local minimum",
}


@pytest.mark.parametrize(("claim", "bound"), PAIRS)
def test_the_witness_is_within_the_bound(claim: Claim[Any], bound: Bound[Any]) -> None:
    found = decide_bound(bound, claim.witness())
    assert found is (Verdict.OUTSIDE if claim.id in REFUTED else Verdict.WITHIN)


#: Claims whose bounds the cheapest answer meets; every other bound must exclude it.
VACUOUS = {
    "P3.goal": "Y = 0 meets it",
    "P1.hardness": "keeping A and D meets it",
    "P1.optimal": "keeping A and D meets it",
}


@pytest.mark.parametrize(("claim", "bound"), PAIRS)
def test_the_cheapest_answer_exceeds_the_bound(claim: Claim[Any], bound: Bound[Any]) -> None:
    found = decide_trivial(bound, claim.witness())
    assert found is (Verdict.WITHIN if claim.id in VACUOUS else Verdict.OUTSIDE)


@pytest.mark.parametrize(("claim", "bound"), PAIRS)
def test_the_extremal_instance_does_not_exceed_the_bound(
    claim: Claim[Any], bound: Bound[Any]
) -> None:
    exceeds = decide_bound(bound, bound.extremal()) is Verdict.OUTSIDE
    assert exceeds == (claim.id in REFUTED)


#: Bounds whose extremal instance does not come within 2 % and why; every other bound must be sharp.
NOT_SHARP = {
    "floor_index_states": "Markov's inequality, at one half of the words",
    "rounding_exp": "a margin over what was measured on one machine",
    "rounding_tanh": "a margin over what was measured on one machine",
    "leverage_width": "matrix Bernstein, where the exact tail of two columns is known",
    "kernel_probable": "Hoeffding's bound, of few signs",
    "sampled_error": "Bernstein's bound, of few keys",
    "sampled_moment": "Bernstein's bound, of few keys",
    "jl_width": "Chernoff's bound over all pairs, where rows' lengths alone are counted",
    "osnap_width": "Markov's inequality",
    "sketch_mean_square": "all sketches of few columns are gone through: it lacks 1/d of it, d the columns",
    "implied_columns": "what is nearly linear is more than the rank, which is linear",
    "bss_epsilon": "what the barriers allow, where columns leave more room",
    "sketch_slack": "equal terms, for which Cauchy-Schwarz is tight, lose half a rounding each when summed",
    "grid_value_error": "a count of roundings of which few are met in full",
    "kernel_exp": "the guard bits' share of the error, 1/64, is an upper bound",
    "dynamic_error": "an equality: the bound is 0",
    "kept_error": "an equality: the bound is 0",
    "reduction_mistakes": "an equality: the bound is 0",
    "loss_difference": "an equality: the bound is 0",
    "tensor_difference": "an equality: the bound is 0",
    "model_difference": "an equality: the bound is 0",
    "gradient_difference": "an equality: the bound is 0",
    "hessian_difference": "an equality: the bound is 0",
    "neuron_difference": "an equality: the bound is 0",
    "stuck_loss": "a difference: the bound is 0",
    "regression_gradient_error": "norms of norms of roundings, with factors 2 for the second order",
    "weights_underflow": "weights alone, where values and products lose as much",
    "centre_mean_error": "a count of roundings, of which two keys have few",
    "share_slack": "no key has all the roundings that some key may have",
    "regression_hessian_error": "norms of norms of roundings, and of terms that cancel",
}


@pytest.mark.parametrize(
    "bound", [b for c in CLAIMS.values() for b in c.bounds], ids=lambda b: b.name
)
def test_a_bound_two_percent_tighter_is_refuted(bound: Bound[Any]) -> None:
    tighter = replace(bound, expression=bound.expression * sympy.Rational(98, 100))
    refuted = decide_bound(tighter, bound.extremal()) is Verdict.OUTSIDE
    assert refuted == (bound.name not in NOT_SHARP)


def test_a_claim_with_a_tighter_bound_is_found_refuted() -> None:
    claim = CLAIMS["S.tv"]
    tighter = replace(
        claim.bounds[0], expression=claim.bounds[0].expression * sympy.Rational(98, 100)
    )
    finding = find(replace(claim, bounds=(tighter,)), lambda theorem, bound, relation: True)
    assert finding.verdict is Status.REFUTED


def test_a_claim_with_a_loose_bound_is_found_vacuous() -> None:
    claim = CLAIMS["S.tv"]
    loose = replace(claim.bounds[0], expression=sympy.Integer(1))
    assert (
        find(replace(claim, bounds=(loose,)), lambda theorem, bound, relation: True).verdict
        is Status.VACUOUS
    )


def test_a_claim_whose_rival_pays_less_is_found_dominated() -> None:
    claim = CLAIMS["P3.deterministic"]
    assert find(claim, lambda theorem, bound, relation: True).verdict is Status.DOMINATED
    alone = replace(claim, rival=None)
    assert find(alone, lambda theorem, bound, relation: True).verdict is Status.HOLDS


def test_a_claim_whose_conjecture_is_refuted_somewhere_is_found_so() -> None:
    claim = CLAIMS["P1.conjecture"]
    found = find(claim, lambda theorem, bound, relation: True)
    assert found.verdict is Status.HYPOTHESIS_REFUTED
    assert found.assurance is Assurance.CITED
    assert claim.refutation is not None
    elsewhere = replace(claim.refutation, reaches=lambda instance: False)
    found = find(replace(claim, refutation=elsewhere), lambda theorem, bound, relation: True)
    assert found.verdict is Status.OPEN
    assert any("does not reach edge 0 of the refutation" in fault for fault in found.faults)


@pytest.mark.parametrize(
    ("claimed", "rival", "dominated"),
    [((2, 2), (2, 2), False), ((2, 2), (1, 2), True), ((2, 2), (1, 3), False)],
    ids=["the same price", "less for one thing", "less for one and more for another"],
)
def test_a_rival_dominates_only_if_it_pays_no_more_and_something_less(
    claimed: tuple[int, int], rival: tuple[int, int], dominated: bool
) -> None:
    prices = {
        name: (Enclosure.exact(c, 16), Enclosure.exact(r, 16))
        for name, c, r in zip(("columns", "operations"), claimed, rival, strict=True)
    }
    assert pays_less(Rival("S.range", lambda instance, bits: prices), None) is dominated


#: Claims of every input.
NO_HYPOTHESES = {"S.taylor", "P3.caratheodory"}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_an_instance_that_breaks_a_hypothesis_is_noticed(claim: Claim[Any]) -> None:
    broken = {
        "S.range": lambda i: replace(i, logit_bound=i.logit_bound / 100),
        "S.ratio": lambda i: replace(i, eta=i.eta / 100),
        "S.tv": lambda i: replace(i, eta=i.eta / 100),
        "S.output": lambda i: replace(i, eta=i.eta / 100),
        "S.weights": lambda i: replace(i, epsilon=i.epsilon / 100),
        "S.kappa": lambda i: replace(i, coefficients=-i.coefficients),
        "K.exp": lambda i: replace(i, x=1),
        "FP.exp": lambda i: replace(i, argument=np.float32(-100)),
        "FP.softmax": lambda i: replace(i, quotient=np.float64(np.inf)),
        "FP.sum": lambda i: replace(i, computed=np.float64(np.inf)),
        "FP.product": lambda i: replace(i, product=np.inf * i.product),
        "FP.underflow": lambda i: replace(i, logits=i.logits - 1),
        "FP.tanh": lambda i: replace(i, argument=np.float32(2.0**-60)),
        "FP.scores": lambda i: replace(i, scale=2.0**-1074),
        "FP.lse": lambda i: replace(i, logarithm=-np.inf),
        "FP.merge": lambda i: replace(i, weights=0 * i.weights),
        "FP.gradient": lambda i: replace(i, weights=0 * i.weights),
        "FP.kernel": lambda i: replace(i, weights=0 * i.weights),
        "FP.kernel_matmul": lambda i: replace(i, theta=i.theta - 1),
        "FP.kernel_exact": lambda i: replace(i, theta=i.theta - 1),
        "FP.kernel_probable": lambda i: replace(i, failure_probability=Fraction(1)),
        "FP.kernel_backward": lambda i: replace(i, rounded=np.inf * i.rounded),
        "FP.kernel_blocks": lambda i: replace(i, exact=0.0, off=2.0**-60),
        "P2.poly": lambda i: replace(i, half_range=i.half_range / 2),
        "P2.cost": lambda i: replace(i, coefficients=(-1, *i.coefficients[1:])),
        "P2.kappa": lambda i: replace(i, cells=1),
        "P2.minimax": lambda i: replace(i, other=(*i.other, Fraction(1))),
        "P2.recentre": lambda i: replace(i, degree=0),
        "FP.polynomial": lambda i: replace(i, x=np.float64(800)),
        "FP.moments": lambda i: replace(i, numerator=2 * i.numerator),
        "P2.quadratic": lambda i: replace(i, Q=i.Q[:1], K=i.K[:1], V=i.V[:1]),
        "P2.storage": lambda i: replace(i, Q=i.Q[:1], K=i.K[:1], V=i.V[:1]),
        "P2.onepass": lambda i: replace(i, order="q" + i.order),
        "P2.order": lambda i: replace(i, error=Fraction(1, 4)),
        "P2.floor": lambda i: replace(i, error=Fraction(1, 4)),
        "P2.space": lambda i: replace(i, value_rows=i.d - 1),
        "P2.error": lambda i: replace(i, doublings=i.doublings + 1),
        "P2.recovery": lambda i: replace(i, accuracy=i.accuracy / 2),
        "P2.heap": lambda i: replace(i, entry_error=i.entry_error / 2),
        "P2.compressibility": lambda i: replace(i, v=-i.v),
        "P1.problem": lambda i: replace(i, row=3),
        "P1.correct": lambda i: replace(i, rebuild_every=0),
        "P1.update": lambda i: replace(i, log=(Evict(0),)),
        "P1.blocks": lambda i: replace(i, rebuild_every=3),
        "P1.query": lambda i: replace(i, log=(Evict(0),)),
        "P1.tokens": lambda i: replace(i, log=(Evict(0),)),
        "P1.slots": lambda i: replace(i, log=()),
        "P1.exponentials": lambda i: replace(i, log=()),
        "P1.space": lambda i: replace(i, log=(Evict(0),)),
        "P1.worstcase": lambda i: replace(i, log=(Evict(0),)),
        "P1.kept": lambda i: replace(i, log=(Evict(0),)),
        "P1.pair": lambda i: replace(i, tau=Fraction(3, 2)),
        "P1.hardness": lambda i: replace(i, gap=Fraction(1)),
        "P1.optimal": lambda i: replace(i, tau=Fraction(3, 2)),
        "P1.conjecture": lambda i: replace(i, P=i.V),
        "P1.entries": lambda i: replace(i, P=i.V),
        "P1.columns": lambda i: replace(i, P=i.V),
        "P1.reduction": lambda i: replace(i, read_error=i.read_error / 2**20),
        "FP.dynamic": lambda i: replace(i, mass=i.mass / 100),
        "P4.loss": lambda i: replace(i, X=i.X / 2),
        "P4.tensor": lambda i: replace(i, X=i.X / 2),
        "P4.model": lambda i: replace(i, key_projection=i.key_projection[:, :1]),
        "P4.gradient": lambda i: replace(i, X=i.X / 2),
        "P4.hessian": lambda i: replace(i, X=i.X / 2),
        "P4.cumulant": lambda i: replace(i, logit_radius=i.logit_radius / 100),
        "P4.lipschitz": lambda i: replace(i, spectral_norm=i.spectral_norm / 100),
        "P4.psd": lambda i: replace(i, spectral_norm=i.spectral_norm / 100),
        "P4.nearby": lambda i: replace(i, spectral_norm=i.spectral_norm / 100),
        "P4.local": lambda i: replace(i, spectral_norm=i.spectral_norm / 100),
        "P4.newton": lambda i: replace(i, lipschitz=i.lipschitz / 100),
        "P4.basin": lambda i: replace(i, lipschitz=i.lipschitz / 100),
        "P4.kantorovich": lambda i: replace(i, lipschitz=i.lipschitz / 100),
        "P4.affine": lambda i: replace(i, lipschitz=i.lipschitz / 100),
        "P4.cost": lambda i: replace(i, X=i.X / 2),
        "FP.regression": lambda i: replace(i, weight_error=i.weight_error / 2**30),
        "P3.goal": lambda i: replace(i, X=2 * i.X),
        "P3.loewner": lambda i: replace(i, epsilon=i.epsilon / 100),
        "P3.rows": lambda i: replace(i, Y=2 * i.Y),
        "P3.gram": lambda i: replace(i, X=i.X[:, :-1]),
        "P3.certificate": lambda i: replace(i, lower=-i.lower),
        "P3.entries": lambda i: replace(i, X=0 * i.X),
        "P3.sketch": lambda i: replace(i, epsilon=i.epsilon / 100),
        "P3.composed": lambda i: replace(i, second_epsilon=i.second_epsilon / 100),
        "P3.randomised": lambda i: replace(i, overestimate=i.overestimate / 2),
        "P3.deterministic": lambda i: replace(i, oversampling=Fraction(1)),
        "R.certify": lambda i: replace(i, skipped=i.rows),
        "R.balance": lambda i: replace(i, key=i.key[:1]),
        "R.jensen": lambda i: replace(i, labels=i.labels[:-1]),
        "R.expansion": lambda i: replace(i, values=i.values[:-1]),
        "P4.descent": lambda i: replace(i, rate=2 * i.rate),
        "P4.conjugate": lambda i: replace(i, largest=i.largest / 2),
        "P4.stuck": lambda i: replace(i, X=Fraction(7, 10)),
        "P4.neuron": lambda i: replace(i, half=0),
        "P4.algorithm": lambda i: replace(i, X=i.X + 1),
        "P4.omega": lambda i: replace(i, published=Fraction(1)),
        "R.drop": lambda i: replace(i, dropped=(True,) * len(i.dropped)),
        "FP.drop": lambda i: replace(i, radius=i.radius / 2),
        "L.heavy": lambda i: replace(i, epsilon=Fraction(2)),
        "L.powers": lambda i: replace(i, half_power=0),
        "L.softmax": lambda i: replace(i, n=1),
        "L.leverage": lambda i: replace(i, defect=Fraction(-10)),
        "P3.sketches": lambda i: replace(i, buckets=0),
        "P3.omega": lambda i: replace(i, published=Fraction(1)),
        "P3.implication": lambda i: replace(i, X=0 * i.X),
        "P3.jl": lambda i: replace(i, epsilon=Fraction(1)),
        "Q.hull": lambda i: replace(i, radii=i.radii / 2),
        "Q.augmented": lambda i: replace(i, errors=i.errors / 2),
        "FP.augmented": lambda i: replace(i, second_moment=i.second_moment / 2),
        "Q.tv": lambda i: replace(i, levels=i.levels[:-1]),
        "Q.tv_light": lambda i: replace(i, radii=tuple(8 * c for c in i.radii)),
        "Q.tv_closed": lambda i: replace(i, radii=tuple(-c for c in i.radii)),
        "Q.witcert": lambda i: replace(i, radii=tuple(0 * c for c in i.radii)),
        "Q.tv_hard": lambda i: replace(i, numbers=(1, 2)),
        "Q.ledger": lambda i: replace(i, audited=i.errors),
        "I.box": lambda i: replace(i, half=i.half / 4),
        "I.unopened": lambda i: replace(i, bounds=i.logits - 1),
        "I.discrepancy": lambda i: replace(i, slack=i.slack / 8),
        "I.coreset": lambda i: replace(i, kept_weights=i.kept_weights / 8),
        "FP.discrepancy": lambda i: replace(i, computed=i.computed + 1),
        "I.sampled": lambda i: replace(i, samples=2 * i.samples),
    }
    if not claim.assumes:
        assert claim.id in NO_HYPOTHESES, "a claim without hypotheses holds everywhere"
        return
    assert claim.broken_hypotheses(broken[claim.id](claim.witness()))


# -------------------------------------------------------------------------------------- domains


@pytest.mark.parametrize(("claim", "bound"), PAIRS)
def test_a_domain_is_of_arguments_and_its_points_lie_in_it(
    claim: Claim[Any], bound: Bound[Any]
) -> None:
    assert set(bound.domain) <= set(bound.arguments)
    assert bound.provided.free_symbols <= set(bound.arguments)
    for point in bound.points:
        names = (argument.name for argument in bound.arguments)
        assert not strays(bound, dict(zip(names, map(Fraction, map(str, point)), strict=True)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hilbert_tv", {"scale": Fraction(1, 2)}),
        ("weights_tv", {"epsilon": 1}),
        ("jl_width", {"n": 3, "epsilon": 0, "failure_probability": 1}),
        ("gram_columns", {"n": Fraction(3, 2)}),
        ("gram_columns", {"n": 0}),
        ("softmax_tv", {"eta": -1}),
        ("gram_rounding", {"columns": 8, "unit_roundoff": Fraction(1, 8)}),
        ("certify_failure", {"rows": 3, "skipped": 3, "uncovered": Fraction(1, 2)}),
    ],
)
def test_what_lies_outside_a_domain_is_noticed(name: str, values: dict[str, Any]) -> None:
    (bound,) = (b for _, b in (p.values for p in PAIRS) if b.name == name)
    assert strays(bound, values)


def test_an_instance_outside_a_domain_is_a_fault() -> None:
    claim = CLAIMS["S.tv"]
    narrow = replace(claim.bounds[0], domain={eta: sympy.Interval(0, sympy.Rational(1, 8))})
    finding = find(replace(claim, bounds=(narrow,)), lambda theorem, bound, relation: True)
    assert "the witness lies outside the domain of softmax_tv." in finding.faults
    assert any(fault.startswith("the point (2/7,) of softmax_tv") for fault in finding.faults)


# ------------------------------------------------------------------------------------ sharpness


@pytest.mark.parametrize(
    ("id_", "name", "with_coq"),
    [
        ("S.tv", "softmax_tv", "attained"),
        ("S.ratio", "softmax_ratio", "approached"),
        ("R.drop", "dropped_mass", "0.9999"),
    ],
)
def test_a_real_bound_is_attained_or_approached_only_if_coq_proves_it(
    id_: str, name: str, with_coq: str
) -> None:
    for checked, expected in ((True, with_coq), (False, "0.9999")):
        found = find(CLAIMS[id_], lambda theorem, bound, relation, checked=checked: checked)
        assert shown(found.sharpness[name]) == expected


def test_counts_decide_that_a_bound_is_attained_and_one_less_that_it_is_not() -> None:
    claim = CLAIMS["P1.tokens"]
    found = find(claim, lambda theorem, bound, relation: False)
    assert set(found.sharpness.values()) == {"attained"}
    looser = replace(claim.bounds[0], expression=claim.bounds[0].expression + 1)
    found = find(replace(claim, bounds=(looser,)), lambda theorem, bound, relation: False)
    assert isinstance(found.sharpness[looser.name], Fraction)


def test_a_bound_replaces_its_arguments_by_name_where_sympys_own_subs_does_not() -> None:
    (bound, _) = CLAIMS["S.tv"].bounds
    assert bound.expression.subs("eta", 1) == bound.expression
    assert bound.at(eta=1) == sympy.tanh(sympy.Rational(1, 2))
    assert bound.at() == bound.expression
    with pytest.raises(TypeError, match="softmax_tv takes eta; got et"):
        bound.at(et=1)
    two = next(b for c in CLAIMS.values() for b in c.bounds if len(b.arguments) > 1)
    first, second = two.arguments[:2]
    swapped = two.at(**{first.name: second, second.name: first})
    assert swapped.subs({first: 2, second: 3}) == two.expression.subs({first: 3, second: 2})
