"""Attention regression: train one attention layer by least squares, with exact second derivatives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import cycle
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Array, integer, matrix
from fastpath.regression.certificate import Certificate, Promise, certify, promise
from fastpath.regression.curvature import Products, hessian, schur
from fastpath.regression.gradient import descend_by_gradient
from fastpath.regression.model import Data, Point, joined, length, point
from fastpath.regression.newton import Joint, Projected, descend
from fastpath.regression.newton_cg import descend_by_products
from fastpath.regression.result import Progress, RegressionResult
from fastpath.regression.search import Search
from fastpath.regression.sketched import Sketched
from fastpath.regression.units import Units

__all__ = ["AttentionRegression", "Certificate", "Progress", "Promise", "RegressionResult"]

METHODS = ("varpro", "newton", "newton-cg", "gradient", "sketched")

#: Rows of a sketch, as a multiple of the number of variables.
SKETCH_ROWS = 8

#: Starts where none is given, X = 0 the first, and the spreads of the logits at the others, in turn.  Of
#: instances with a planted solution whose loss zero misses by factors of 5 to 50, a fourth of them finds it.
STARTS, SPREADS = 16, (1.0, 3.0, 0.3, 10.0)

#: Sketched steps that may pass without halving the gradient before the method reports its failure.
SKETCH_PATIENCE = 20


@standard_arithmetic
class AttentionRegression:
    r"""Least squares for one attention layer.

    .. math::
        f(X, Y) = \tfrac12 \| D^{-1} \exp(A_1 X A_2^\top)\, A_3 Y - B \|_F^2, \qquad
        D = \mathrm{diag}(\exp(A_1 X A_2^\top) \mathbf 1).

    Parameters
    ----------
    A1 : array_like, shape (n_q, p)
        Queries: float32, float64 or integers.  All is computed in float64; only the steps of varpro come
        from a Schur complement of float32 as long as that costs no accuracy.
    A2 : array_like, shape (n_k, q)
        Keys.
    A3 : array_like, shape (n_k, r)
        Values.
    B : array_like, shape (n_q, s)
        Outputs to fit.

    Raises
    ------
    TypeError
        If an input holds anything but float32, float64 or integers.
    ValueError
        If shapes do not fit, an array is empty or an entry is not finite.

    Notes
    -----
    X has shape (p, q) and Y (r, s); vectors hold X, then Y, each row by row.  A call that is refused
    changes nothing, and inputs are never modified.

    The paper's loss is twice this one.

    Claims: P4.loss, P4.gradient, P4.hessian, P4.kantorovich, P4.affine.

    Examples
    --------
    >>> import numpy as np
    >>> import fastpath
    >>> rng = np.random.default_rng(0)
    >>> A1, A2, A3 = rng.standard_normal((3, 60, 2))
    >>> X, Y = rng.standard_normal((2, 2, 2)) / 2
    >>> B = fastpath.attention(A1 @ X, A2, A3 @ Y).output
    >>> found = fastpath.AttentionRegression(A1, A2, A3, B).solve(X + 0.1)
    >>> found.success, found.certificate.radius < 1e-6
    (True, True)
    >>> float(np.abs(found.X - X).max()) < 1e-6
    True
    """

    def __init__(self, A1: ArrayLike, A2: ArrayLike, A3: ArrayLike, B: ArrayLike) -> None:
        inputs = {"A1": A1, "A2": A2, "A3": A3, "B": B}
        # Copies: what is computed from them once must not change.
        a1, a2, a3, b = (
            np.array(matrix(name, x), np.float64, order="C") for name, x in inputs.items()
        )
        for names, first, second in (("A2 and A3", a2, a3), ("A1 and B", a1, b)):
            if len(first) != len(second):
                raise ValueError(
                    f"{names} must have the same number of rows, got {len(first)} and {len(second)}."
                )
        self._data = Data(a1, a2, a3, b)
        self._products: Products | None = None

    def loss(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Return f(X, Y).

        Raises
        ------
        ValueError
            Here and below: if a shape does not fit, an entry is not finite, or the value overflows.

        Notes
        -----
        Cost: n_q n_k exponentials and n_q n_k (2 q + r) multiply-adds.  Claims: P4.loss.
        """
        return self._point(X, Y).loss

    def gradient(self, X: ArrayLike, Y: ArrayLike) -> tuple[Array, Array]:
        r"""Return the derivatives by X and by Y.

        :math:`A_1^\top G A_2` and :math:`F^\top R` with P the softmax, :math:`F = PA_3`,
        :math:`R = FY - B`, :math:`C = R(A_3Y)^\top`, :math:`G = P \circ (C - \mathrm{diag}(PC^\top) 1^\top)`.

        Notes
        -----
        Cost: the loss and n_q n_k (q + s) multiply-adds.  Claims: P4.gradient.
        """
        here = self._point(X, Y)
        return _finite("gradient", *here.gradient)  # type: ignore[return-value]

    def hvp(self, X: ArrayLike, Y: ArrayLike, dX: ArrayLike, dY: ArrayLike) -> tuple[Array, Array]:
        """Return the Hessian at (X, Y) applied to the direction (dX, dY), in the shapes of X and Y.

        Notes
        -----
        Cost: the loss and about n_q n_k (2 q + r + 2 s) multiply-adds.  Claims: P4.hessian.
        """
        here = self._point(X, Y)
        direction = (
            self._matrix("dX", dX, self._data.X_shape),
            self._matrix("dY", dY, self._data.Y_shape),
        )
        return _finite("hvp", *here.product(*direction))  # type: ignore[return-value]

    def hessian(self, X: ArrayLike, Y: ArrayLike, *, gauss_newton: bool = False) -> Array:
        """Return the Hessian, shape (p q + r s, p q + r s).

        Parameters
        ----------
        X, Y : array_like
            Where.
        gauss_newton : bool
            Leave out the second derivatives of the residual: positive semidefinite, and the same where
            the residual is zero.

        Notes
        -----
        Cost: n_q n_k (q r + q²/2) + n_q p q (p q / 4 + 2 r s) multiply-adds, and n_k q (r + q/2) numbers
        kept from the first call on.  Claims: P4.hessian.
        """
        here = self._point(X, Y)
        return _finite("hessian", hessian(here, self._kept(), gauss_newton=gauss_newton))[0]

    def schur(self, X: ArrayLike, Y: ArrayLike | None = None) -> Array:
        """Return the Schur complement of the Hessian on X, shape (p q, p q).

        Without Y at the least-squares Y for X: the Hessian of the function min over Y of f(X, Y).
        Directions of Y that leave the output as it is are left out.

        Notes
        -----
        Cost: as :meth:`hessian`, and (p q)² r s multiply-adds.  Claims: P4.hessian.
        """
        here = self._point(X, Y)
        return _finite("schur", schur(here, self._kept(), gauss_newton=False))[0]

    def solve(
        self,
        X0: ArrayLike | None = None,
        Y0: ArrayLike | None = None,
        *,
        method: Literal["auto", "varpro", "newton", "newton-cg", "gradient", "sketched"] = "auto",
        tolerance: float = 1e-8,
        max_iterations: int = 200,
        callback: Callable[[Progress], Any] | None = None,
        sketch: Literal["srht", "tensorsketch"] = "srht",
        sketch_rows: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> RegressionResult:
        """Lower the loss from (X0, Y0) to a critical point, which need not have the least loss.

        ================  ==========================================================================
        method            step
        ================  ==========================================================================
        ``"varpro"``      Newton on X, Y by least squares; Gauss-Newton while far.  The default
        ``"newton"``      the same on X and Y together
        ``"newton-cg"``   conjugate gradients with Hessian-vector products: for large p q + r s
        ``"gradient"``    gradient steps of one rate, which no Hessian is needed for: P4.descent
        ``"sketched"``    our reading of P4: Newton on a sketched, regularised Hessian
        ================  ==========================================================================

        Every method is damped or keeps to a trust region, and takes only steps that do not raise the
        loss.  Where it finds none, the best Y and steps along the gradient are tried before it ends.
        Matrices far from size one are solved in units, powers of two, in which they are not.

        Parameters
        ----------
        X0 : array_like, shape (p, q), optional
            Start.  Where left out: X = 0 and 15 random ones, of which the one that ends lowest is kept;
            fewer, once B is fitted to within tolerance (1 + |B|) or the callback stops.
        Y0 : array_like, shape (r, s), optional
            Start; by least squares where left out.  ``"varpro"`` replaces it by that in any case.
        method : str
            One of the table's, or ``"auto"``: varpro.
        tolerance : float
            Converged when the Frobenius norm of the gradient is at most tolerance (1 + |B|).
        max_iterations : int
            Most steps.
        callback : callable, optional
            Called with a :class:`Progress` at the start and after every step; raising
            ``StopIteration`` ends the search.
        sketch : {"srht", "tensorsketch"}
            For ``"sketched"``: TensorSRHT or TensorSketch.
        sketch_rows : int, optional
            For ``"sketched"``: its rows, 8 (p q + r s) where left out.
        rng : numpy.random.Generator, optional
            For ``"sketched"``, and for starts: the only source of randomness; a fresh one where left out.

        Returns
        -------
        RegressionResult
            ``success`` says that a critical point was reached (``found``), and nothing of other, lower ones.

        Raises
        ------
        TypeError, ValueError
            If an argument is not allowed, Y0 is given without X0, or the loss or its gradient overflows
            at the start.

        Notes
        -----
        Cost of a step: the gradient, and but for ``"gradient"`` the Hessian (its products), and
        (p q)³ / 3.  The last step of ``"varpro"`` and ``"newton"`` uses the Hessian before it again where
        that is enough.

        Claims: P4.hessian, P4.newton, P4.psd, P4.descent, P4.conjugate.
        """
        if method not in ("auto", *METHODS):
            raise ValueError(
                f"method must be 'auto' or one of {', '.join(map(repr, METHODS))}, got {method!r}."
            )
        if sketch not in ("srht", "tensorsketch"):
            raise ValueError(f"sketch must be 'srht' or 'tensorsketch', got {sketch!r}.")
        rows = SKETCH_ROWS * self._data.size
        if sketch_rows is not None:
            rows = integer("sketch_rows", sketch_rows, 1)
        tolerance = _positive("tolerance", tolerance)
        most = integer("max_iterations", max_iterations, 0)
        rng = _generator(rng)
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable or None, got {callback!r}.")
        if X0 is None:
            if Y0 is not None:
                raise ValueError("Y0 must be left out where X0 is, got an array.")
            fitted = 0.5 * (tolerance * (1 + length(self._data.B))) ** 2
            return self._lowest(
                self._starts(rng),
                fitted,
                lambda start: self.solve(
                    start,
                    method=method,
                    tolerance=tolerance,
                    max_iterations=most,
                    callback=callback,
                    sketch=sketch,
                    sketch_rows=sketch_rows,
                    rng=rng,
                ),
            )
        X0 = self._matrix("X0", X0, self._data.X_shape)
        if Y0 is not None:
            Y0 = self._matrix("Y0", Y0, self._data.Y_shape)
        here = self._point(X0, None if method in ("auto", "varpro") else Y0)
        if not np.isfinite(here.gradient_norm):
            raise ValueError("X0 and Y0 must keep the gradient finite, but it overflows float64.")
        threshold = tolerance * (1 + length(self._data.B))
        units = Units(self._data)
        start = units.enter(here)
        if not (np.isfinite(start.loss) and np.isfinite(start.gradient_norm)):
            units, start = Units(self._data, ones=True), here
        search = Search(threshold, most, _Reporter(callback, units))
        products = self._kept if units.ordinary else cache(lambda: Products(units.data))
        if method == "newton-cg":
            end = descend_by_products(start, search)
        elif method == "gradient":
            end = descend_by_gradient(start, search)
        elif method == "newton":
            end = descend(start, Joint(units.data, products()), search)
        elif method == "sketched":
            search.patience = SKETCH_PATIENCE
            end = descend(start, Sketched(units.data, sketch, rows, rng), search)
        else:
            end = descend(start, Projected(units.data, products), search)
        return self._result(end, units, search)

    def solve_from_many(
        self,
        starts: int,
        *,
        rng: np.random.Generator,
        logit_spread: float = 1.0,
        tolerance: float = 1e-8,
        max_iterations: int = 200,
        callback: Callable[[Progress], Any] | None = None,
    ) -> RegressionResult:
        """Solve by varpro from several random X0 and return the result of least loss.

        Starts matter: the loss has many critical points, and no method knows which one it will reach.

        Parameters
        ----------
        starts : int
            How many.
        rng : numpy.random.Generator
            Draws X0 with independent normal entries.
        logit_spread : float
            Root mean square of the logits at a start.
        tolerance, max_iterations, callback
            As for :meth:`solve`, for every start.

        Returns
        -------
        RegressionResult
            The best; its counts are its own.

        Raises
        ------
        TypeError, ValueError
            If an argument is not allowed.

        Notes
        -----
        Cost: as many times :meth:`solve`.
        """
        count = integer("starts", starts, 1)
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}.")
        scale = self._scale(_positive("logit_spread", logit_spread))
        return self._lowest(
            (scale * rng.standard_normal(self._data.X_shape) for _ in range(count)),
            -np.inf,
            lambda start: self.solve(
                start, tolerance=tolerance, max_iterations=max_iterations, callback=callback
            ),
        )

    def _scale(self, spread: float) -> float:
        """Return the size of random entries of X that give logits of this root mean square."""
        first, second = (length(A) / np.sqrt(len(A)) or 1.0 for A in (self._data.A1, self._data.A2))
        with np.errstate(over="ignore"):
            return float(spread / first / second)

    def _starts(self, rng: np.random.Generator) -> Iterator[Array]:
        yield np.zeros(self._data.X_shape)
        for _, spread in zip(range(STARTS - 1), cycle(SPREADS), strict=False):
            with np.errstate(over="ignore", invalid="ignore"):
                start = self._scale(spread) * rng.standard_normal(self._data.X_shape)
            if np.isfinite(start).all():  # not where A1 and A2 are next to nothing
                yield start

    @staticmethod
    def _lowest(
        starts: Iterable[Array], fitted: float, solve: Callable[[Array], RegressionResult]
    ) -> RegressionResult:
        """Return what ends lowest; starts after one that ends at ``fitted`` or below are not needed."""
        results = []
        for start in starts:
            results.append(solve(start))
            if results[-1].fun <= fitted or results[-1].status == STOPPED:
                break
        return replace(min(results, key=lambda result: result.fun), starts=len(results))

    def certify(self, X: ArrayLike, Y: ArrayLike) -> Certificate:
        """Prove that an exact critical point lies near (X, Y), or say why that fails.

        Notes
        -----
        Cost: the Hessian, its least eigenvalue in two bases, and the gradient once more in numpy's longest
        floats: 25 ms at n = 256, d = 8.

        Claims: P4.kantorovich, P4.affine, P4.local, P4.nearby, FP.regression.
        """
        return certify(self._point(X, Y), self._kept())

    def gradient_steps(self, X: ArrayLike, Y: ArrayLike, *, reduction: float) -> Promise:
        """Bound the gradient steps from (X, Y) that bring it nearer to a critical point by a factor.

        Parameters
        ----------
        X, Y : array_like
            Where.
        reduction : float
            The factor, more than 1.

        Notes
        -----
        Cost: as :meth:`certify`, and a second eigenvalue; the steps themselves need no Hessian.

        Claims: P4.descent, and those of :meth:`certify`.
        """
        factor = _positive("reduction", reduction)
        if not factor > 1:
            raise ValueError(f"reduction must be more than 1, got {reduction}.")
        return promise(self._point(X, Y), self._kept(), factor)

    def _kept(self) -> Products:
        if self._products is None:
            self._products = Products(self._data)
        return self._products

    def _matrix(self, name: str, x: ArrayLike, shape: tuple[int, int]) -> Array:
        checked = matrix(name, x)
        if checked.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {checked.shape}.")
        return np.array(checked, np.float64, order="C")

    def _point(self, X: ArrayLike, Y: ArrayLike | None) -> Point:
        """Evaluate at checked matrices; without Y at the best one."""
        x = self._matrix("X", X, self._data.X_shape)
        y = None if Y is None else self._matrix("Y", Y, self._data.Y_shape)
        here = point(self._data, x, y)
        if not np.isfinite(here.loss):
            raise ValueError(
                "X and Y must keep logits and loss finite, but they overflow float64: scale the matrices."
            )
        return here

    def _result(self, end: Point, units: Units, search: Search) -> RegressionResult:
        status, message = _ENDS[search.status]
        here = units.leave(end)
        X, Y = here.X, here.Y
        return RegressionResult(
            X=X,
            Y=Y,
            x=joined(X, Y),
            fun=here.loss,
            jac=joined(*here.gradient),
            gradient_norm=end.gradient_norm,
            success=end.gradient_norm <= search.threshold,
            status=status,
            message=message.format(
                norm=end.gradient_norm,
                threshold=search.threshold,
                rounding=np.ldexp(search.rounding, units.loss),
            ),
            nit=search.iterations,
            nfev=search.evaluations,
            njev=search.gradients,
            nhev=search.hessians + search.hessian_products,
            _certify=lambda: certify(here, self._kept()),
        )


#: The status of a search that the callback stopped.
STOPPED = 3

_ENDS = {
    "converged": (
        0,
        "The gradient norm {norm:.3g} is at most {threshold:.3g}: a critical point, which need not have the "
        "least loss.",
    ),
    "iterations": (
        1,
        "All iterations are used; the gradient norm is {norm:.3g}, not {threshold:.3g}.",
    ),
    "floor": (
        2,
        "No step lowers the loss measurably in float64: neither the method's own, nor the best Y, nor one "
        "along the gradient lowers it by more than {rounding:.2g}, which rounding may; the gradient norm is "
        "{norm:.3g}, and {threshold:.3g} was asked for.",
    ),
    "slow": (
        4,
        "The sketched steps do not contract: the last 20 did not halve the gradient norm, now {norm:.3g}, "
        "and {threshold:.3g} was asked for.",
    ),
    "stopped": (STOPPED, "The callback stopped the search at gradient norm {norm:.3g}."),
}


class _Reporter:
    """Tells the callback about every point, and whether it asked to stop."""

    def __init__(self, callback: Callable[[Progress], Any] | None, units: Units) -> None:
        self._callback, self._units = callback, units

    def __call__(self, iteration: int, here: Point) -> bool:
        if self._callback is not None:
            try:
                X, Y = self._units.matrices(here)
                loss = float(np.ldexp(here.loss, self._units.loss))
                self._callback(
                    Progress(
                        nit=iteration,
                        X=X.copy(),
                        Y=Y.copy(),
                        fun=loss,
                        gradient_norm=here.gradient_norm,
                    )
                )
            except StopIteration:
                return True
        return False


def _finite(name: str, *arrays: Array) -> tuple[Array, ...]:
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(
            f"X and Y must keep the {name} finite, but it overflows float64: scale the matrices."
        )
    return arrays


def _positive(name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (float, int, np.floating, np.integer)
    ):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    # As it is, which float may not hold, and as a float, which may round to 0.
    if not (0 < value <= sys.float_info.max and float(value) > 0):
        raise ValueError(f"{name} must be positive and finite, got {value}.")
    return float(value)


def _generator(rng: Any) -> np.random.Generator:
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator or None, got {rng!r}.")
    return rng
