"""State a bound of one's own, have it audited, and see a hasty version of it broken.

    python examples/claim_of_my_own.py

The claim: attention whose logits lie within a spread r of each other is nearly uniform, in that its entropy
falls short of that of n equal weights by at most r^2/8.  A claim is a Python object: hypotheses that decide
what is an instance, a quantity that is enclosed, the bound as a SymPy expression, and evidence.  The same in
a file, for `attest audit --claims FILE` and `attest falsify --claims FILE`: docs/tutorial.md, section 9.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy

from proofs.algebra.falsify import falsify
from proofs.evidence.audit import find
from reference import Enclosure, softmax
from specs.claim import Bound, Claim, Hypothesis

spread = sympy.Symbol("spread", nonnegative=True)


@dataclass(frozen=True)
class Logits:
    """The logits of one row."""

    x: np.ndarray


def shortfall(i, bits):
    """Enclose log n less the entropy of the weights: the sum of p log(n p)."""
    p = softmax(i.x, precision=bits)
    return (p * (p * Enclosure.exact(float(len(i.x)), bits)).log()).sum()


bound = Bound(
    name="entropy_shortfall",
    meaning="log n less the entropy of the weights",
    arguments=(spread,),
    expression=spread**2 / 8,
    points=((1,), (sympy.Rational(1, 2),)),
    quantity=shortfall,
    parameters=lambda i, bits: {"spread": Fraction(i.x.max()) - Fraction(i.x.min())},
    trivial=lambda i, bits: Enclosure.exact(float(len(i.x)), bits).log(),  # entropy is not negative
    extremal=lambda: Logits(np.array([-0.125, 0.125])),
)
claim = Claim[Logits](
    id="MINE.entropy",
    where="an example",
    statement="The entropy of softmax weights is at least log n - r^2/8, r the spread of the logits.",
    not_stated="",
    assumes=(Hypothesis("there is a logit", lambda i: len(i.x) > 0),),
    bounds=(bound,),
    witness=lambda: Logits(np.array([0.5, -0.25, 0.0])),
    sample=lambda rng: Logits(rng.uniform(-1, 1, rng.integers(2, 8))),
)

print(f"claimed:  {claim.statement}")
audited = find(claim, lambda *theorem: False)  # no theorem of it was checked by Coq
print(
    f"observed: {audited.verdict}, {audited.assurance}; on its extremal instance the shortfall is"
)
print(f"          {float(audited.sharpness['entropy_shortfall']):.4f} of the bound")

hasty = replace(claim, bounds=(replace(bound, expression=spread**2 / 9),))
for name, one in (("r^2/8", claim), ("r^2/9", hasty)):
    (searched,) = falsify(one, seed=0, budget=300)
    said = f"broken, by {searched.shown}" if searched.broken else "not broken"
    print(f"search:   with {name} {said}; {searched.tried} instances,")
    print(f"          the sharpest at {searched.sharpness:.4f} of the bound")
