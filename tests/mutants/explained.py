"""Drawn faults that no test notices and why none could: what they compute is right as well."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """In what way a fault is none."""

    SAME = "what is computed is the same, in every place where it is used"
    CHOICE = "a number that is chosen: bounds are of what was done, whatever was chosen"
    INSTANCE = "one more instance of what is assumed, or one answer more that looks at nothing"
    PRECISION = (
        "more digits, or fewer where enough are left: an enclosure decides, or says that it cannot"
    )
    COST = "it takes longer, or less long, to the same result"


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
        What stands there, and what would be planted; of a choice, that anything is planted in the line.
    kind : Kind
        In what way.
    why : str
        The reason, in words.
    """

    file: str
    function: str
    line: str
    before: str = ""
    after: str = ""
    kind: Kind
    why: str


EXPLAINED = (
    Explained(
        file="reference/arithmetic/exponential.py",
        function="exp_nonpositive",
        line="t = 1 << work",
        before="1",
        after="(0)",
        kind=Kind.PRECISION,
        why="the innermost term, y^(N+1)/(N+1)!, is below a unit of the working precision: the proof has it, "
        "and the guard bits hide it (tests/reference/test_terms.py counts the terms)",
    ),
    Explained(
        file="reference/models/lazy_sums.py",
        function="KeptWeights.apply",
        line="self.denominators = np.append(self.denominators, 0)",
        before="0",
        after="(1)",
        kind=Kind.SAME,
        why="what is appended to the denominators is replaced by _refresh two lines below",
    ),
    Explained(
        file="reference/sparsification.py",
        function="loewner_interval",
        line="X: Any, Y: Any, *, weights: Any = None, width: Any = Fraction(1, 1 << 20)",
        before="1",
        after="(2)",
        kind=Kind.PRECISION,
        why="where it is the second 1 the interval is half as wide, and so still at most this wide; "
        "the first is noticed",
    ),
    Explained(
        file="specs/dynamic/hardness.py",
        function="<lambda>",
        line="witness=lambda: Below(64, Fraction(1, 2), Fraction(1), Fraction(1, 4)),",
        before="64",
        after="(65)",
        kind=Kind.INSTANCE,
        why="any instance that satisfies the hypotheses is a witness, and one token more does",
    ),
    Explained(
        file="fastpath/dynamic/sums.py",
        function="",
        line='LARGEST_EXPONENT = {"float32": 16.0, "float64": 300.0}',
        kind=Kind.CHOICE,
        why="when a row is computed anew is a choice: e^299 overflows as little as e^300, and bounds are "
        "of what was done",
    ),
    Explained(
        file="specs/caches/box.py",
        function="<lambda>",
        line="trivial=lambda i, bits: lift(2 * float(i.radii.max()), bits),",
        before="2",
        after="(3)",
        kind=Kind.INSTANCE,
        why="a cheapest answer is compared with the bound, and three times the largest radius is one too",
    ),
    Explained(
        file="fastpath/caches/bit_planes.py",
        function="",
        line="PLANES = 12",
        kind=Kind.CHOICE,
        why="how many planes are stored: radii are of the planes that were read",
    ),
    Explained(
        file="fastpath/caches/bit_planes.py",
        function="",
        line="_FIRST_KEYS, _FIRST_VALUES = 2, 1",
        kind=Kind.CHOICE,
        why="with how many planes a query begins: rounds go on until the bound is reached",
    ),
    Explained(
        file="fastpath/caches/bit_planes.py",
        function="",
        line="_SHARE = 0.6",
        kind=Kind.CHOICE,
        why="how much is read in a round: rounds go on until the bound is reached",
    ),
    Explained(
        file="fastpath/sparsification/certificate.py",
        function="",
        line="WELL_CONDITIONED = 2.0**-20",
        kind=Kind.CHOICE,
        why="from where a slack is taken: what a factorisation proves holds with it and without",
    ),
    Explained(
        file="fastpath/sparsification/certificate.py",
        function="",
        line="LARGEST_SLACK = 2.0**-6",
        kind=Kind.CHOICE,
        why="which certificates are thought too weak to be given",
    ),
)
