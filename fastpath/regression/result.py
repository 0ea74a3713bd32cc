"""What a solver of attention regression reports while it runs and when it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Array
from fastpath.core.once import once
from fastpath.core.shown import shown
from fastpath.regression.certificate import Certificate


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a solver is; the argument of its callback.  The arrays are copies.

    Attributes
    ----------
    nit : int
        Steps taken so far.
    X, Y : arrays
        The current point.
    fun : float
        The loss there.
    gradient_norm : float
        The Frobenius norm of the gradient there.
    """

    __repr__ = shown

    nit: int
    X: Array
    Y: Array
    fun: float
    gradient_norm: float


@standard_arithmetic
@dataclass(frozen=True, kw_only=True)
class RegressionResult:
    """The fields of scipy's ``OptimizeResult``, the point as matrices, and a certificate.

    Attributes
    ----------
    X : array, shape (p, q)
        Inner matrix of the logits.
    Y : array, shape (r, s)
        Matrix of the values.
    x : array, shape (p q + r s,)
        X and Y, row by row, in one vector.
    fun : float
        The loss, ½ of the squared Frobenius norm.
    jac : array, shape (p q + r s,)
        The gradient.
    gradient_norm : float
        Its norm.
    success : bool
        Whether the norm is at most tolerance times 1 + |B|: whether ``found`` is a critical point.
    found : str
        What that is, in words: ``"a critical point"`` or ``"no critical point"``.  That no other has a lower
        loss is never known.
    starts : int
        From how many starts it is the lowest end.
    status : int
        0 converged, 1 out of iterations, 2 at the floor of float64 (neither the method's steps, the best Y
        nor steps along the gradient lower the loss by more than rounding may), 3 stopped by the callback,
        4 sketched steps that do not contract.
    message : str
        The status in a sentence.
    nit, nfev, njev, nhev : int
        Steps, and evaluations of the loss, the gradient and the Hessian (its products for newton-cg and
        gradient).
    certificate : Certificate
        Within which radius an exact critical point lies, or why none is known; computed when first
        asked for, since it can cost more than the solution.
    """

    __repr__ = shown

    X: Array
    Y: Array
    x: Array
    fun: float
    jac: Array
    gradient_norm: float
    success: bool
    status: int
    message: str
    nit: int
    nfev: int
    njev: int
    nhev: int
    starts: int = 1
    _certify: Callable[[], Certificate] = field(repr=False, compare=False)

    @property
    def found(self) -> str:
        """What ``success`` is about, in words."""
        return "a critical point" if self.success else "no critical point"

    @once
    def certificate(self) -> Certificate:
        """Within which radius of (X, Y) an exact critical point lies (P4.kantorovich)."""
        return self._certify()
