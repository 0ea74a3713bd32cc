"""What the public functions are attacked with: numbers where floats end, cancel or tie, in small shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Bits of :attr:`Heads.options`.
SCALE, BIAS, MASK, SOFTCAP, SINKS, LOWER_RIGHT, UPPER_LEFT, WINDOW = (1 << bit for bit in range(8))


@dataclass(frozen=True, kw_only=True)
class Heads:
    """One head, everything that may be asked of it, and which of that is.

    Attributes
    ----------
    Q, K, V : (n_q, d), (n_k, d) and (n_k, d_v) arrays
    dO : (n_q, d_v) array
        Derivatives by the output, errors that are planted in it, or numbers to update with.
    bias, mask : (n_q, n_k) arrays
    scale, softcap, sink : float
    window : int
        Keys on either side.
    options : int
        Which options are given: a sum of the bits above.
    choice : int
        Which of a function's ways is taken, and the seed of what it draws.
    """

    Q: Array
    K: Array
    V: Array
    dO: Array  # noqa: N815, the field's letter
    bias: Array
    mask: Array
    scale: float
    softcap: float
    sink: float
    window: int
    options: int
    choice: int

    def asked(self, allowed: int = 255) -> dict[str, Any]:
        """Return the options that are given of those that a function takes."""
        chosen = self.options & allowed
        every: dict[int, tuple[str, Any]] = {
            SCALE: ("scale", self.scale),
            BIAS: ("bias", self.bias),
            MASK: ("mask", self.mask),
            SOFTCAP: ("softcap", self.softcap),
            SINKS: ("sinks", self.sink),
            LOWER_RIGHT: ("causal", "lower-right"),
            UPPER_LEFT: ("causal", "upper-left"),
            WINDOW: ("window", (self.window, self.window)),
        }
        return dict(given for bit, given in every.items() if chosen & bit)


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """A matrix, and one that may stand for it.

    Attributes
    ----------
    X, Y : (n, d) and (n, m) arrays
    epsilon : float
    choice : int
        As of :class:`Heads`.
    """

    X: Array
    Y: Array
    epsilon: float
    choice: int


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Arrays of attention regression, and a point."""

    A1: Array
    A2: Array
    A3: Array
    B: Array
    X: Array
    Y: Array


@dataclass(frozen=True, kw_only=True)
class Audits:
    """A stream of answers that are audited.

    Attributes
    ----------
    rate, failure_probability : float
    steps, errors : int
        Of all answers, and how often one errs: each ``errors``-th.
    choice : int
        The seed of the coins.
    """

    rate: float
    failure_probability: float
    steps: int
    errors: int
    choice: int


def seeded(instance: Heads | Matrices | Audits) -> np.random.Generator:
    """Return what draws for an instance: moves lead to a choice below 0 too, which is no seed."""
    return np.random.default_rng(abs(instance.choice))


def entries(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Draw numbers of one of several kinds: plain, of one size, tied, sparse, far apart, nearly equal."""
    x = rng.standard_normal(shape)
    kinds = (
        x,
        x,
        np.sign(x),
        np.round(2 * x) / 2,
        np.where(rng.random(shape) < 0.3, 0, x) * 10,
        x * 10.0 ** rng.uniform(-30, 12),
        x * 2.0 ** rng.integers(-100, 20),
        x * np.ldexp(1.0, rng.integers(-30, 3, shape)),
        1 + x * 2.0**-20,
        np.broadcast_to(x[:1], shape),
        x * np.finfo(dtype).tiny,
        np.zeros(shape),
    )
    return np.array(kinds[rng.integers(len(kinds))], dtype)


def heads(rng: np.random.Generator) -> Heads:
    """Draw a head."""
    n_q, n_k, d, d_v = (int(x) for x in rng.integers(1, 7, 4))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    given = rng.random(8) < (0 if rng.random() < 0.4 else 0.3)
    if given[5] and given[6]:
        given[6] = False
    bias = entries(rng, (n_q, n_k), np.float64)
    if rng.random() < 0.3:
        bias[rng.random(bias.shape) < 0.3] = rng.choice([-np.inf, -1e4, -1e9])
    return Heads(
        Q=entries(rng, (n_q, d), dtype),
        K=entries(rng, (n_k, d), dtype),
        V=entries(rng, (n_k, d_v), dtype),
        dO=entries(rng, (n_q, d_v), dtype),
        bias=bias,
        mask=rng.random((n_q, n_k)) < 0.6,
        scale=float(rng.choice([1e-3, 0.3, 7.0, -1.0, 2.0**-30])),
        softcap=float(rng.choice([1e-6, 0.5, 30.0, 1e6])),
        sink=float(rng.choice([-1e4, 0.0, 1.5, 80.0, 1e4])),
        window=int(rng.integers(3)),
        options=int(np.packbits(given, bitorder="little")[0]),
        choice=int(rng.integers(1000)),
    )


def tokens(rng: np.random.Generator) -> Heads:
    """Draw a head of plain numbers with as many queries as keys, each a token."""
    n, d, d_v = (int(x) for x in rng.integers(1, 7, 3))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    drawn = heads(rng)
    shapes = {"Q": (n, d), "K": (n, d), "V": (n, d_v), "dO": (n, d_v), "bias": (n, n)}
    arrays = {name: entries(rng, shape, dtype) for name, shape in shapes.items()}
    if rng.random() < 0.6:
        arrays |= {x: rng.standard_normal(shapes[x]).astype(dtype) for x in ("Q", "K")}
    return Heads(**(vars(drawn) | arrays | {"mask": np.ones((n, n), bool)}))


def short(rng: np.random.Generator) -> Heads:
    """Draw a head whose scores are small, as polynomials need them."""
    drawn = heads(rng)
    reach = np.linalg.norm(drawn.Q.astype(float)) * np.linalg.norm(drawn.K.astype(float))
    factor = 2.0 ** rng.uniform(-6, 2) / (reach if 2.0**-1000 < reach < np.inf else 1.0)
    # Of keys that are next to nothing the queries end where their format does.
    largest, most = float(np.abs(drawn.Q).max()), float(np.finfo(drawn.Q.dtype).max)
    factor = min(factor, most / 2 / max(largest, 1.0))
    return Heads(**(vars(drawn) | {"Q": (drawn.Q * factor).astype(drawn.Q.dtype)}))


def clustered(rng: np.random.Generator) -> Heads:
    """Draw a head of which queries and keys lie in clusters, and some keys weigh next to nothing."""
    n_q, n_k, d, d_v = (int(x) for x in (*rng.integers(4, 24, 2), *rng.integers(1, 5, 2)))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    centres = rng.standard_normal((3, d)) * 2.0 ** rng.integers(-2, 3)
    near = 2.0 ** rng.integers(-20, 1)
    drawn = heads(rng)
    arrays = {
        "Q": centres[rng.integers(3, size=n_q)] + near * rng.standard_normal((n_q, d)),
        "K": centres[rng.integers(3, size=n_k)] * 2.0 ** rng.integers(0, 3)
        + near * rng.standard_normal((n_k, d)),
        "V": entries(rng, (n_k, d_v), dtype),
        "dO": entries(rng, (n_q, d_v), dtype),
        "bias": entries(rng, (n_q, n_k), np.float64),
    }
    arrays = {name: x.astype(dtype) for name, x in arrays.items()}
    return Heads(**(vars(drawn) | arrays | {"mask": rng.random((n_q, n_k)) < 0.8}))


def matrices(rng: np.random.Generator) -> Matrices:
    """Draw a matrix, and one near to it or not."""
    n, d = (int(x) for x in rng.integers(1, 7, 2))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    X = entries(rng, (n, d), dtype)
    near = 1 + rng.standard_normal((n, d)) * 2.0 ** rng.integers(-52, 0)
    Y = (X * near).astype(dtype) if rng.random() < 0.6 else entries(rng, (n, d), dtype)
    return Matrices(X=X, Y=Y, epsilon=float(rng.uniform(0.05, 0.9)), choice=int(rng.integers(1000)))


def problems(rng: np.random.Generator) -> Problem:
    """Draw a regression problem with logits and features of moderate size, and a point near a solution."""
    n, m, d1, d2, d3, d_out = (int(x) for x in rng.integers(1, 4, 6))
    n += d3 + 1
    shapes = {"A1": (n, d1), "A2": (m + 1, d2), "A3": (m + 1, d3)}
    size = 2.0 ** rng.integers(-3, 2)
    arrays = {name: size * rng.standard_normal(shape) for name, shape in shapes.items()}
    X, Y = rng.standard_normal((d1, d2)), rng.standard_normal((d3, d_out))
    logits = arrays["A1"] @ X @ arrays["A2"].T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    output = (weights / weights.sum(axis=1, keepdims=True)) @ arrays["A3"] @ Y
    noise = 2.0 ** rng.integers(-40, 2) * rng.standard_normal(output.shape)
    return Problem(**arrays, B=output + noise, X=X, Y=Y)


def audits(rng: np.random.Generator) -> Audits:
    """Draw a stream of answers."""
    return Audits(
        rate=float(rng.choice([0.01, 0.3, 0.5, 0.999, 1.0, 2.0**-10])),
        failure_probability=float(rng.choice([0.5, 0.01, 1e-9, 2.0**-40, 0.999])),
        steps=int(rng.integers(1, 400)),
        errors=int(rng.integers(1, 30)),
        choice=int(rng.integers(1000)),
    )
