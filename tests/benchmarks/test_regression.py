"""Attention regression against its peers: same data, same process, interleaved, medians of one run.

``make bench`` runs these with one BLAS thread; they report and assert nothing about time.  Every solver
stops at the same gradient norm, 1e-8 (1 + |B|), and is given the same loss and gradient.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.optimize as so

from fastpath import AttentionRegression
from fastpath.regression.curvature import Products, hessian
from fastpath.regression.model import Data, Point, joined, point
from fastpath.regression.sketched import Sketched, jacobian, tensor_sketch, tensor_srht
from tests.benchmarks.interleaved import clock, medians

Array = Any

TOLERANCE = 1e-8

SIZES = [(256, 8), (256, 16), (1024, 8)]


def _planted(n: int, d: int, seed: int, noise: float = 0.1) -> tuple[Data, Array, Array]:
    """Return a problem of normal matrices with noise in B, and the point it was made from."""
    rng = np.random.default_rng(seed)
    A1, A2, A3 = (rng.standard_normal((n, d)) for _ in range(3))
    X, Y = rng.standard_normal((d, d)) / d, rng.standard_normal((d, d)) / np.sqrt(d)
    B = point(Data(A1, A2, A3, np.zeros((n, d))), X, Y).residual
    B = B + noise * np.linalg.norm(B) / np.sqrt(B.size) * rng.standard_normal(B.shape)
    return Data(A1, A2, A3, B), X, Y


def _perturbed(X: Array, share: float, seed: int) -> Array:
    direction = np.random.default_rng(1000 + seed).standard_normal(X.shape)
    return X + share * np.linalg.norm(X) / np.linalg.norm(direction) * direction


def _regression(data: Data) -> AttentionRegression:
    return AttentionRegression(data.A1, data.A2, data.A3, data.B)


class _ConvergedError(Exception):
    """Raised by a peer's loss once its gradient is small enough."""


def _watched(data: Data, projected: bool) -> tuple[Callable[[Array], Any], list[Point]]:
    """Return loss and gradient of a vector, raising at the common threshold, and the points seen."""
    threshold = TOLERANCE * (1 + np.linalg.norm(data.B))
    seen: list[Point] = []

    def loss_and_gradient(z: Array) -> Any:
        here = point(data, z.reshape(data.X_shape)) if projected else point(data, *data.split(z))
        seen[:] = [here]
        if here.gradient_norm <= threshold:
            raise _ConvergedError
        gX, gY = here.gradient
        return here.loss, gX.ravel() if projected else joined(gX, gY)

    return loss_and_gradient, seen


def _peer(
    data: Data, X: Array, Y: Array, method: str, *, projected: bool = False, steps: int = 10**5
) -> Point:
    loss_and_gradient, seen = _watched(data, projected)
    options: dict[str, Any] = {"maxiter": steps}
    more: dict[str, Any] = {}
    if method == "L-BFGS-B":
        options |= {"maxfun": 10**5, "ftol": 0, "gtol": 0, "maxcor": 20}
    else:
        options["gtol"] = 0
        more["hessp"] = lambda z, v: joined(*_at(seen, data, z).product(*data.split(v)))
    start = X.ravel() if projected else joined(X, Y)
    with contextlib.suppress(_ConvergedError):
        so.minimize(loss_and_gradient, start, jac=True, method=method, options=options, **more)
    return seen[0]


def _at(seen: list[Point], data: Data, z: Array) -> Point:
    if not np.array_equal(joined(seen[0].X, seen[0].Y), z):
        seen[:] = [point(data, *data.split(z))]
    return seen[0]


def _least_squares(data: Data, X: Array, Y: Array) -> Point:
    threshold = TOLERANCE * (1 + np.linalg.norm(data.B))
    seen = [point(data, X, Y)]

    def residuals(z: Array) -> Array:
        return _at(seen, data, z).residual.ravel()

    def derivative(z: Array) -> Array:
        here = _at(seen, data, z)
        if here.gradient_norm <= threshold:
            raise _ConvergedError
        return jacobian(here).reshape(-1, data.size)

    smallest = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15)
    with contextlib.suppress(_ConvergedError):
        so.least_squares(residuals, joined(X, Y), derivative, method="lm", **smallest)
    return seen[0]


def _report(benchmark: Any, seconds: dict[str, float], **more: Any) -> None:
    ours = next(iter(seconds))
    figures = {f"{name} (ms)": round(1e3 * value, 2) for name, value in seconds.items()}
    ratios = {f"{name} / {ours}": round(v / seconds[ours], 1) for name, v in seconds.items()}
    ratios.pop(f"{ours} / {ours}")
    benchmark.extra_info.update(figures | ratios | more)
    print(figures, ratios, more)


@pytest.mark.parametrize(("n", "d"), SIZES[:2])
def test_hessian_beside_products_and_autograd(benchmark: Any, n: int, d: int) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    data, X, Y = _planted(n, d, 0)
    products, here = Products(data), point(data, X, Y)
    regression = _regression(data)
    regression.hessian(X, Y)
    A1, A2, A3, B = (torch.from_numpy(A) for A in (data.A1, data.A2, data.A3, data.B))

    def loss(z: Any) -> Any:
        x, y = z[: d * d].reshape(d, d), z[d * d :].reshape(d, d)
        return 0.5 * ((torch.softmax(A1 @ x @ A2.T, dim=1) @ A3 @ y - B) ** 2).sum()

    def by_products() -> None:
        at = point(data, X, Y)
        for unit in np.eye(data.size):
            at.product(*data.split(unit))

    functions: dict[str, Any] = {
        "hessian": lambda: regression.hessian(X, Y),
        "2 d^2 products": by_products,
        "torch.autograd": lambda: torch.autograd.functional.hessian(
            loss, torch.from_numpy(joined(X, Y))
        ),
    }
    difference = np.abs(functions["torch.autograd"]().numpy() - regression.hessian(X, Y)).max()
    relative = difference / np.abs(hessian(here, products, gauss_newton=False)).max()
    _report(benchmark, medians(functions, 5), n=n, d=d, difference=float(relative))
    benchmark.pedantic(functions["hessian"], rounds=3)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_solvers_from_a_tenth_away(benchmark: Any, n: int, d: int) -> None:
    data, X, Y = _planted(n, d, 0)
    X0, Y0 = _perturbed(X, 0.1, 0), _perturbed(Y, 0.1, 1)

    def solve(method: str) -> Any:
        # The problem is built anew: what is computed once for all Hessians counts.
        return _regression(data).solve(X0, Y0, method=method, tolerance=TOLERANCE)

    functions: dict[str, Any] = {
        "varpro": partial(solve, "varpro"),
        "newton": partial(solve, "newton"),
        "newton-cg": partial(solve, "newton-cg"),
        "L-BFGS-B": partial(_peer, data, X0, Y0, "L-BFGS-B"),
        "L-BFGS-B projected": partial(_peer, data, X0, Y0, "L-BFGS-B", projected=True),
        "trust-krylov": partial(_peer, data, X0, Y0, "trust-krylov"),
        "least_squares": partial(_least_squares, data, X0, Y0),
    }
    reached = {
        name: f"{getattr(result, 'fun', getattr(result, 'loss', None)):.6g}"
        for name, result in ((name, function()) for name, function in functions.items())
    }
    _report(benchmark, medians(functions, 3), n=n, d=d, losses=reached)
    benchmark.pedantic(functions["varpro"], rounds=3)


@pytest.mark.parametrize(("n", "d"), SIZES[:2])
def test_iterations_and_certificates_over_seeds(benchmark: Any, n: int, d: int) -> None:
    """Steps to 1e-8, steps to each accuracy beside log log(1/eps), and the certificate at 1e-13."""
    accuracies = (1e-1, 1e-2, 1e-4, 1e-8, 1e-12)
    counts: list[list[int]] = []
    for seed in range(10):
        data, X, Y = _planted(n, d, seed)
        regression = _regression(data)
        X0, Y0 = _perturbed(X, 0.1, seed), _perturbed(Y, 0.1, seed + 100)
        result = regression.solve(X0, Y0, tolerance=TOLERANCE)
        norms: list[float] = []
        fine = regression.solve(
            X0, Y0, tolerance=1e-13, callback=lambda at, norms=norms: norms.append(at.gradient_norm)
        )
        below = [[norm <= eps * norms[0] for norm in norms] for eps in accuracies]
        counts.append([hit.index(True) for hit in below if True in hit])
        shown = " ".join(f"{norm:.1e}" for norm in norms)
        proof = fine.certificate
        told = f"{result.nit} steps to 1e-8, success {result.success}; to 1e-13: {shown}"
        told += f"; h {proof.h}, radius {proof.radius} {proof.reason or ''}"
        print(f"seed {seed}: {told}")
        benchmark.extra_info[f"seed {seed}"] = told
    for place, eps in enumerate(accuracies):
        steps = [count[place] for count in counts if len(count) > place]
        told = f"median {np.median(steps):g}, most {max(steps)} steps of {len(steps)} seeds"
        told += f"; log2 log10(1/eps) = {np.log2(-np.log10(eps)):.1f}"
        print(f"eps {eps:g}: {told}")
        benchmark.extra_info[f"eps {eps:g}"] = told
    benchmark.pedantic(lambda: regression.certify(result.X, result.Y), rounds=3)


@pytest.mark.parametrize("kind", ["srht", "tensorsketch"])
def test_contraction_of_the_sketched_step(benchmark: Any, kind: str) -> None:
    """One full step near the optimum: the error after it over the error before, in the Hessian's norm."""
    n, d = 256, 8
    sketch = tensor_srht if kind == "srht" else tensor_sketch
    for multiple in (1, 2, 4, 8, 16, 32):
        contractions: dict[str, list[float]] = {"plain": [], "regularised": []}
        for seed in range(20):
            data, X, Y = _planted(n, d, seed)
            end = _regression(data).solve(X, Y, tolerance=1e-10)
            H = _regression(data).hessian(end.X, end.Y)
            rng = np.random.default_rng(seed)
            error = 1e-4 * rng.standard_normal(data.size)
            here = point(data, *data.split(end.x + error))
            rows = sketch(jacobian(here), multiple * data.size, rng)
            regularised = Sketched(data, kind, multiple * data.size, rng)
            models = {
                "plain": rows.T @ rows,
                "regularised": regularised.hessian(here, gauss_newton=True, rough=False),
            }
            for name, model in models.items():
                step = np.linalg.lstsq(model, -joined(*here.gradient), rcond=None)[0]
                after = error + step
                contractions[name].append(np.sqrt((after @ H @ after) / (error @ H @ error)))
        for name, seen in contractions.items():
            line = f"median {np.median(seen):.3g}, worst {max(seen):.3g}"
            print(f"{kind} {multiple} x variables, {name}: {line}")
            benchmark.extra_info[f"{multiple} x variables, {name}"] = line
    benchmark.pedantic(lambda: sketch(jacobian(here), 4 * data.size, rng), rounds=3)


#: Steps allowed to L-BFGS-B from far away: at a flat place it takes them all.
FAR_STEPS = 1000


def _from_far_away(data: Data, starts: list[Array], Y0: Array) -> dict[str, Callable[[], float]]:
    """Return what reaches which loss, from the first start and from all."""

    def ours(X: Array) -> float:
        return _regression(data).solve(X, Y0).fun

    def peer(X: Array) -> float:
        return _peer(data, X, Y0, "L-BFGS-B", steps=FAR_STEPS).loss

    def projected(X: Array) -> float:
        return _peer(data, X, Y0, "L-BFGS-B", projected=True, steps=FAR_STEPS).loss

    functions = {"varpro": ours, "L-BFGS-B": peer, "L-BFGS-B projected": projected}
    return {name: lambda f=f: f(starts[0]) for name, f in functions.items()} | {
        f"{len(starts)} starts of {name}": lambda f=f: min(map(f, starts))
        for name, f in functions.items()
    }


@pytest.mark.parametrize("start", ["zero", "2.0", "0.5"])
def test_success_from_far_away(benchmark: Any, start: str) -> None:
    """Noiseless problems: how many of 20 reach a loss of 1e-10 of the largest, and in what time."""
    n, d = 256, 4
    reached: dict[str, int] = {}
    times: dict[str, float] = {}
    for seed in range(20):
        data, X, _ = _planted(n, d, seed, noise=0.0)
        regression = _regression(data)
        rng = np.random.default_rng(seed)
        X0 = np.zeros_like(X) if start == "zero" else _perturbed(X, float(start), seed)
        Y0 = regression.solve(X0, max_iterations=0).Y
        starts = [X0, *(rng.standard_normal(X.shape) / d for _ in range(9))]
        functions = _from_far_away(data, starts, Y0)
        for name, function in functions.items():
            begun = clock()
            small = function() <= 1e-10 * float(np.vdot(data.B, data.B))
            times[name] = times.get(name, 0.0) + clock() - begun
            reached[name] = reached.get(name, 0) + small
    told = {name: f"{reached[name]} of 20 in {seconds:.2f} s" for name, seconds in times.items()}
    print(start, told)
    benchmark.extra_info.update(told)
    benchmark.pedantic(lambda: regression.solve(X0, Y0), rounds=3)
