"""SymPy's derivations give zero, and a wrong formula does not."""

import pytest

from proofs.symbolic import attention_gradient, regression
from reference.regression import Gradient, Hessian
from specs import CLAIMS

CASES = [
    pytest.param(difference, id=f"{claim}-{k}")
    for claim, differences in (regression.PROOFS | attention_gradient.PROOFS).items()
    for k, difference in enumerate(differences)
]


@pytest.mark.parametrize("differences", CASES)
def test_every_difference_is_zero(differences):
    found = list(differences())
    assert found
    assert all(difference == 0 for difference in found)


def test_every_derivation_is_of_a_claim():
    assert (regression.PROOFS | attention_gradient.PROOFS).keys() <= CLAIMS.keys()


def test_a_gradient_with_uncentred_slopes_is_found_wrong(monkeypatch):
    exact = regression.gradient

    def uncentred(P, p):
        G = P * (P.dot(p.A3).dot(p.Y) - p.B).dot(p.A3.dot(p.Y).T)
        return Gradient(p.A1.T.dot(G).dot(p.A2), exact(P, p).Y)

    monkeypatch.setattr(regression, "gradient", uncentred)
    differences = list(regression.gradient_differences((1, 2, 1, 1, 1, 1)))
    assert [difference != 0 for difference in differences] == [True, False]


def test_a_hessian_without_the_residuals_part_is_found_wrong(monkeypatch):
    exact = regression.hessian

    def gauss_newton(P, p):
        # Where B is the output the residual is 0.
        return Hessian(*exact(P, p._replace(B=P.dot(p.A3).dot(p.Y))))

    monkeypatch.setattr(regression, "hessian", gauss_newton)
    differences = list(regression.hessian_differences((1, 2, 1, 1, 1, 1)))
    assert any(difference != 0 for difference in differences)


def test_a_gradient_of_attention_without_the_slope_of_its_cap_is_found_wrong(monkeypatch):
    one = property(lambda head: 1 + 0 * head.t)
    exact = attention_gradient.SymbolicAttention.differentiated
    case = attention_gradient.Case(1, 2, 1, 1, softcap=True)
    found = exact(attention_gradient.SymbolicAttention(case))
    monkeypatch.setattr(attention_gradient.SymbolicAttention, "slopes", one)
    monkeypatch.setattr(attention_gradient.SymbolicAttention, "differentiated", lambda head: found)
    differences = [difference != 0 for difference in attention_gradient.gradient_differences(case)]
    assert differences == [True, True, True, False, False, False, False, False]
