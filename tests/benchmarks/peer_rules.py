"""Rules by which peers approximate attention, re-stated from what they publish, in numpy; no line is theirs.

Each is "-like": an idea, without the engineering that its authors built around it, so that errors and what
is read compare, and times only roughly.  ``Rule.states`` says what the peer promises.  A user who has the
real one gives it to ``attest conform`` and ``attest check`` (docs/adapters.md).

- Rules for all queries choose or weigh keys once: ``uniform``, ``coreset``, ``halving``.
- Rules for each query look at keys anew: ``pages``, ``hashes``, ``budgeted``.  They return how many keys
  each query read, beside the output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from scipy.special import ndtri

import fastpath


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule ``(Q, K, V, size, rng) -> output``, and what its peer states about the error."""

    rule: Callable[..., Any]
    states: str


# --------------------------------------------------------------------------------- for all queries


def uniform(Q: Any, K: Any, V: Any, size: int, rng: np.random.Generator) -> Any:
    """Draw keys, each as likely as any other."""
    some = rng.permutation(len(K))[:size]
    return fastpath.attention(Q, K[some], V[some], workers=1).output


def coreset(Q: Any, K: Any, V: Any, size: int, rng: np.random.Generator) -> Any:
    """Pivot at random by what is left of the diagonal, and weigh the pivots as Nyström does (WildCat)."""
    pivots, weighed, centred = weighed_pivots(Q, K, V, size, rng)
    return over_weighed(Q, centred[pivots], weighed, V)


def weighed_pivots(Q: Any, K: Any, V: Any, size: int, rng: np.random.Generator) -> Any:
    """Return the pivots, what each weighs in every column of (V, 1), and the keys less their mean."""
    centred = K - K.mean(axis=0)
    # The balance between queries and keys: both kernels' exponents of one size.
    beta = np.sqrt((Q**2).sum(axis=1).mean() / max((centred**2).sum(axis=1).mean(), 1e-300))
    k = (centred * np.sqrt(beta)).astype(np.float64)
    half = (k**2).sum(axis=1) / 2
    left = np.exp(2 * (half - half.max()))
    factor, pivots = np.zeros((size, len(K))), []
    for i in range(size):
        pivots.append(int(np.searchsorted(np.cumsum(left), rng.random() * left.sum())))
        pivots[-1] = min(pivots[-1], len(K) - 1)
        row = np.exp(k @ k[pivots[-1]] - 2 * half.max()) - factor[:i, pivots[-1]] @ factor[:i]
        factor[i] = row / np.sqrt(max(row[pivots[-1]], 1e-300))
        left = np.maximum(left - factor[i] ** 2, 0)
    triangle = factor[:, pivots].T
    with_ones = np.concatenate([V, np.ones((len(V), 1), V.dtype)], axis=1)
    weighed = np.linalg.solve(
        triangle @ triangle.T + 1e-9 * np.eye(size), triangle @ (factor @ with_ones)
    )
    return pivots, weighed.astype(np.float32), centred


def over_weighed(Q: Any, pivots: Any, weighed: Any, V: Any) -> Any:
    """Return attention over weighed pivots, cut to the range of the values."""
    output = np.empty((len(Q), V.shape[1]), np.float32)
    for first in range(0, len(Q), 4096):
        logits = Q[first : first + 4096] @ pivots.T
        logits -= logits.max(axis=1, keepdims=True)
        sums = np.exp(logits, out=logits) @ weighed
        with np.errstate(all="ignore"):
            output[first : first + 4096] = np.nan_to_num(sums[:, :-1] / sums[:, -1:])
    return np.clip(output, V.min(axis=0), V.max(axis=0))


def halving(Q: Any, K: Any, V: Any, size: int, rng: np.random.Generator) -> Any:
    """Halve chunks of keys by a self-balancing walk over pairs, until so many are left (Thinformer)."""
    left = halved(K, V, size, rng)
    return fastpath.attention(Q, K[left], V[left], workers=1).output


def halved(K: Any, V: Any, size: int, rng: np.random.Generator) -> Any:
    """Return which keys are left; their number is that of all keys, halved until it is at most ``size``."""
    left, chunk = rng.permutation(len(K)), 256
    while len(left) > size:
        chunk = min(chunk, len(left))
        parts = left[: len(left) // chunk * chunk].reshape(-1, chunk)
        k, v = K[parts], np.concatenate([V[parts], np.ones((*parts.shape, 1), V.dtype)], axis=2)
        kernel = np.exp(k @ k.swapaxes(1, 2) - (k**2).sum(axis=2).max())
        kernel *= v @ v.swapaxes(1, 2)
        pairs, chosen = chunk // 2, np.empty((len(parts), chunk // 2), np.intp)
        signs = np.zeros(parts.shape, np.float32)
        for i in range(pairs):
            both = kernel[:, 2 * i] - kernel[:, 2 * i + 1]
            drift = (both * signs).sum(axis=1)
            size_of = kernel[:, 2 * i, 2 * i] + kernel[:, 2 * i + 1, 2 * i + 1]
            plus = rng.random(len(parts)) < np.clip(0.5 - drift / (4 * size_of + 1e-30), 0, 1)
            signs[:, 2 * i] = np.where(plus, 1, -1)
            signs[:, 2 * i + 1] = -signs[:, 2 * i]
            chosen[:, i] = 2 * i + plus
        left = np.take_along_axis(parts, chosen, axis=1).ravel()
    return left


# --------------------------------------------------------------------------------- for each query


def _over(q: Any, keys: Any, values: Any, weights: Any = None) -> Any:
    """Return attention of each query over its own keys (queries, keys, d), each key weighed."""
    logits = np.einsum("qd,qkd->qk", q, keys)
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    if weights is not None:
        logits *= weights
    return np.einsum("qk,qkd->qd", logits, values) / logits.sum(axis=1, keepdims=True)


def pages(
    Q: Any, K: Any, V: Any, size: int, rng: np.random.Generator, page: int = 16
) -> tuple[Any, Any]:
    """Read the pages whose largest possible logit is largest, by each column's range (Quest).

    ``size`` is how many keys a query reads.
    """
    count = ceil(len(K) / page)
    places = np.arange(count * page).reshape(count, page)
    # The last page repeats the last key, which then counts once.
    keys_of, counted = np.minimum(places, len(K) - 1), (places < len(K)).astype(np.float32)
    low, high = K[keys_of].min(axis=1), K[keys_of].max(axis=1)
    read = min(count, max(1, size // page))
    output = np.empty((len(Q), V.shape[1]), np.float32)
    for first in range(0, len(Q), 64):
        q = Q[first : first + 64]
        bounds = np.maximum(q, 0) @ high.T + np.minimum(q, 0) @ low.T
        taken = np.argpartition(-bounds, read - 1, axis=1)[:, :read]
        keys = keys_of[taken].reshape(len(q), -1)
        weights = counted[taken].reshape(len(q), -1)
        output[first : first + 64] = _over(q, K[keys], V[keys], weights)
    return output, np.full(len(Q), min(len(K), read * page))


def hashes(
    Q: Any, K: Any, V: Any, size: int, rng: np.random.Generator, bits: int = 10
) -> tuple[Any, Any]:
    """Read keys that share two of some tables' hashes with a query, over the chance of it (MagicPIG).

    ``size`` is the number of tables; the last 64 keys and the first 4 are always read.
    """
    d, n, tables = K.shape[1], len(K), size
    planes = rng.standard_normal((d, tables * bits)).astype(np.float32)
    centred = K - K.mean(axis=0)
    place = (1 << np.arange(bits)).astype(np.int32)

    def codes(x: Any) -> Any:
        return ((x @ planes > 0).reshape(len(x), tables, bits) @ place).astype(np.int16)

    of_keys, always = codes(centred).T.copy(), np.zeros(n, bool)
    always[:4] = always[-64:] = True
    lengths = np.sqrt((centred**2).sum(axis=1))
    output, read = np.empty((len(Q), V.shape[1]), np.float32), np.empty(len(Q), int)
    for i, (q, code) in enumerate(zip(Q, codes(Q), strict=True)):
        shared = np.zeros(n, np.int16)
        for table in range(tables):
            shared += of_keys[table] == code[table]
        some = np.flatnonzero((shared >= 2) | always)
        cosine = centred[some] @ q / np.maximum(lengths[some] * np.sqrt(q @ q), 1e-30)
        hit = (1 - np.arccos(np.clip(cosine, -1, 1)) / np.pi) ** bits
        chance = 1 - (1 - hit) ** tables - tables * hit * (1 - hit) ** (tables - 1)
        weights = np.where(always[some], 1, 1 / np.maximum(chance, 1e-12))
        output[i] = _over(q[None], K[some][None], V[some][None], weights)[0]
        read[i] = len(some)
    return output, read


#: Of :func:`budgeted`: the first and the last keys, which are always read; and of all keys the fractions that
#: weigh most, and that the variance is estimated from.
SINKS, WINDOW, HEAVIEST, BASE = 128, 128, 0.025, 0.025


def budgeted(
    Q: Any,
    K: Any,
    V: Any,
    epsilon: float,
    delta: float,
    rng: np.random.Generator,
    *,
    output: bool = True,
) -> tuple[Any, Any, Any]:
    r"""Read the heaviest keys, and of the others as many as a central limit theorem asks for (vAttention).

    For the denominator alone it states, for each query, :math:`|\hat D - D| \le \epsilon D` with probability
    :math:`1 - \delta`; for the output, :math:`|\hat o - o| \le \epsilon |o|`: there numerator and denominator
    each get half of :math:`\delta`, and :math:`\epsilon' = \epsilon / (2 + \epsilon)`, so that
    :math:`2 \epsilon' / (1 - \epsilon') = \epsilon`.  With z the normal quantile at :math:`1 - \delta / 2` of
    what is left, so many of the m others are drawn, with repeats:

    .. math:: b = \max\Big( \frac{z m \sigma_D}{\epsilon' D}, \frac{z m \sqrt{\operatorname{tr} \Sigma_N}}
              {\epsilon' |N|} \Big)^2,

    where D, N and both variances are themselves estimated from a base sample; where that is m or more, all
    are read.  Which keys weigh most is told by an oracle, to its advantage.

    Returns the output, the logarithms of the denominators, and how many keys each query read.
    """
    n, sides = len(K), 2 if output else 1
    z, aim = ndtri(1 - delta / sides / 2), epsilon / (2 + epsilon) if output else epsilon
    heaviest, base = ceil(HEAVIEST * n), max(32, ceil(BASE * n))
    found, logarithms = np.empty((len(Q), V.shape[1])), np.empty(len(Q))
    read = np.empty(len(Q), int)
    fixed = np.zeros(n, bool)
    fixed[:SINKS] = fixed[-WINDOW:] = True
    for i, q in enumerate(Q):
        logits = (K @ q).astype(np.float64)
        shift = logits.max()
        weights = np.exp(logits - shift)
        chosen, left = fixed.copy(), np.flatnonzero(~fixed)
        if len(left) > heaviest:
            chosen[left[np.argpartition(-weights[left], heaviest)[:heaviest]]] = True
        certain, others = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        N, D, m = weights[certain] @ V[certain], weights[certain].sum(), len(others)
        read[i] = n
        if m:
            drawn = others[rng.integers(0, m, base)]
            of = np.concatenate([weights[drawn, None] * V[drawn], weights[drawn, None]], axis=1)
            variances = of.var(axis=0, ddof=1)
            missing = np.sqrt(variances[-1]) / (D + m * of[:, -1].mean())
            if output:
                size = max(np.linalg.norm(N + m * of[:, :-1].mean(axis=0)), 1e-300)
                missing = max(missing, np.sqrt(variances[:-1].sum()) / size)
            needed = (z * m * missing / aim) ** 2
            if needed < m:
                more = max(0, ceil(needed) - base)
                drawn = np.concatenate([drawn, others[rng.integers(0, m, more)]])
                read[i] = len(certain) + len(drawn)
                share = m / len(drawn)
                N, D = N + share * weights[drawn] @ V[drawn], D + share * weights[drawn].sum()
            else:
                N, D = N + weights[others] @ V[others], D + weights[others].sum()
        found[i], logarithms[i] = N / D, shift + np.log(D)
    return found, logarithms, read


RULES = {
    "uniform keys": Rule(rule=uniform, states="nothing of its error"),
    "WildCat-like": Rule(rule=coreset, states="a rate in the rank, no number for an output"),
    "Thinformer-like": Rule(rule=halving, states="a rate in the size, no number for an output"),
}
