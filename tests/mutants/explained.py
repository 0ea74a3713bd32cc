"""Drawn faults that no test notices and why none could: what they compute is right as well."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A fault that changes nothing that is promised.

    Attributes
    ----------
    file, function : str
        Where; the function's qualified name.
    line : str
        The text of the line where it begins.
    before, after : str
        What stands there, and what would be planted.
    why : str
        The reason, in words.
    """

    file: str
    function: str
    line: str
    before: str
    after: str
    why: str


EXPLAINED = (
    Explained(
        file="reference/arithmetic/exponential.py",
        function="exp_nonpositive",
        line="t = 1 << work",
        before="1",
        after="(0)",
        why="the innermost term, y^(N+1)/(N+1)!, is below a unit of the working precision: the proof has it, "
        "and the guard bits hide it (tests/reference/test_terms.py counts the terms)",
    ),
    Explained(
        file="reference/models/lazy_sums.py",
        function="KeptWeights.apply",
        line="self.denominators = np.append(self.denominators, 0)",
        before="0",
        after="(1)",
        why="what is appended to the denominators is replaced by _refresh two lines below",
    ),
    Explained(
        file="reference/sparsification.py",
        function="loewner_interval",
        line="X: Any, Y: Any, *, weights: Any = None, width: Any = Fraction(1, 1 << 20)",
        before="1",
        after="(2)",
        why="where it is the second 1 the interval is half as wide, and so still at most this wide; "
        "the first is noticed",
    ),
    Explained(
        file="specs/dynamic/hardness.py",
        function="<lambda>",
        line="witness=lambda: Below(64, Fraction(1, 2), Fraction(1), Fraction(1, 4)),",
        before="64",
        after="(65)",
        why="any instance that satisfies the hypotheses is a witness, and one token more does",
    ),
    Explained(
        file="fastpath/dynamic/sums.py",
        function="",
        line='LARGEST_EXPONENT = {"float32": 16.0, "float64": 300.0}',
        before="300.0",
        after="(299.0)",
        why="when a row is computed anew is a choice: e^299 overflows as little as e^300, and bounds are "
        "of what was done",
    ),
    Explained(
        file="specs/caches/box.py",
        function="<lambda>",
        line="trivial=lambda i, bits: lift(2 * float(i.radii.max()), bits),",
        before="2",
        after="(3)",
        why="a cheapest answer is compared with the bound, and three times the largest radius is one too",
    ),
)
