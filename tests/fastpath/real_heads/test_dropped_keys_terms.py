"""What the certificate of dropped keys is computed from, term by term: nothing is left out.

The bounds themselves are FP.drop's and FP.softmax's; here each argument that they are given is compared with
the exact quantity that it must not be below, on heads whose clusters round in every direction.
"""

import inspect
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.core.bounds.real_heads import centre_mean_error, image_error, share_slack
from fastpath.core.directed import UNIT_ROUNDOFF
from fastpath.core.head import Head
from fastpath.exact.attention import LOG_ERROR
from fastpath.real_heads import dropped_keys as dropping
from fastpath.real_heads.dropped_keys import DroppedKeys
from reference import Verdict, attention
from specs.softmax.rounding import ARITHMETIC

RECORDED = (
    "rounding_logit",
    "rounding_weight",
    "rounding_output",
    "image_error",
    "centre_mean_error",
    "share_slack",
    "dropped_keys_output",
    "dropped_mass",
    "log_sum_exp",
)

N_Q, N_K, D = 160, 41, 3
KEY_BLOCK, CENTRE_BLOCK = 16, 7


def _planned(Q: Any, K: Any, V: Any, allowed: float) -> Any:
    return DroppedKeys.planned(Head.of(Q, K, V, causal=False), allowed, np.random.default_rng(0))


def _exact(x: Any) -> Any:
    """Return an object array of Fractions."""
    array = np.asarray(x, dtype=np.float64)
    return np.array([Fraction(v) for v in array.ravel().tolist()], dtype=object).reshape(
        array.shape
    )


def _at_least_norm(bound: Any, *vectors: Any) -> bool:
    """Whether a bound is at least the Euclidean norm of every one of these exact vectors."""
    return all(Fraction(float(bound)) ** 2 >= (vector * vector).sum() for vector in vectors)


@pytest.fixture(scope="module", params=[np.float32, np.float64], ids=["float32", "float64"])
def spied(request: pytest.FixtureRequest) -> Any:
    """Return a head, the matrices that balance it, its certificate and the arguments of every bound."""
    rng = np.random.default_rng(7)
    Q = 5 * rng.standard_normal((4, D))[rng.integers(0, 4, N_Q)] + rng.standard_normal((N_Q, D)) / 9
    K = rng.standard_normal((N_K, D)) + 2
    V = rng.standard_normal((N_K, 2)) * [1, 2.0**-60] + [0, 1]
    Q, K, V = (x.astype(request.param) for x in (Q, K, V))
    calls: dict[str, list[Any]] = {name: [] for name in RECORDED}
    matrices = []

    def recording(name: str) -> Any:
        bound = getattr(dropping, name)

        def record(*arguments: Any) -> Any:
            result = bound(*arguments)
            calls[name].append((arguments, result))
            return result

        return record

    measure = DroppedKeys._measure

    def keeping(self: DroppedKeys, *given: Any) -> None:
        matrices.extend(given)
        measure(self, *given)

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(dropping, "KEPT_KEY_BLOCK", KEY_BLOCK)
        patch.setattr(dropping, "CENTRE_BLOCK", CENTRE_BLOCK)
        # All rows in one batch: every bound is asked once.
        patch.setattr(dropping, "TOGETHER", N_Q)
        patch.setattr(DroppedKeys, "_measure", keeping)
        for name in RECORDED:
            patch.setattr(dropping, name, recording(name))
        head = _planned(Q, K, V, 0.3 * float(np.abs(V).max()))
        result = head.attend()
    return (Q, K, V), matrices, head, result, calls


def _clusters(spied: Any) -> Any:
    """Yield for each cluster its number, its centre, and its exact steps q - c."""
    (_, _, _), _, head, _, _ = spied
    assert len(head._centres) >= 40
    for a in range(len(head._centres)):
        rows = head._clusters.rows(a)
        centre = _exact(head._centres[a])
        yield a, centre, _exact(head._q[rows]) - centre


def _slack_arguments(spied: Any) -> Any:
    names = inspect.signature(share_slack).parameters
    ((arguments, result),) = spied[4]["share_slack"]
    return dict(zip(names, arguments, strict=True)), result


def test_the_constants_of_the_slack_are_those_of_the_type_and_the_head(spied: Any) -> None:
    (Q, _, _), _, head, _, _ = spied
    given, slack = _slack_arguments(spied)
    arithmetic = ARITHMETIC[Q.dtype.name]
    assert (given["dimension"], given["keys"], given["share"]) == (D, N_K, head._share)
    assert given["unit_roundoff"] == arithmetic.unit_roundoff
    assert given["exp_error"] == arithmetic.exp_error
    assert given["tiny"] == arithmetic.tiny
    # A product, the additions of its block and of the blocks, and the mean's own rounding.
    assert given["terms"] >= 1 + (CENTRE_BLOCK - 1) + (-(-N_K // CENTRE_BLOCK) - 1) + 1
    assert given["lightest"] >= np.exp(dropping.LOWEST_LOGIT)
    assert np.array_equal(slack, head._slack)


def test_the_slack_knows_the_farthest_query_of_every_cluster(spied: Any) -> None:
    _, (for_queries, _), head, _, _ = spied
    given, _ = _slack_arguments(spied)
    M = _exact(for_queries)
    for a, _, steps in _clusters(spied):
        assert _at_least_norm(given["step_length"][a], *steps)
        assert _at_least_norm(given["radius"][a], *(steps @ M))
        assert given["radius"][a] == head._radius[a]


def test_the_radius_has_room_for_the_rounding_of_every_image(spied: Any) -> None:
    """Catches: the rounding of (q - c) M left out, though it rounded upward here."""
    (Q, _, _), (for_queries, _), head, _, calls = spied
    (length, size), room = calls["image_error"][0][0][2:4], calls["image_error"][0][1]
    computed = dropping.lengths(head._steps @ for_queries)
    assert _at_least_norm(size, _exact(for_queries).ravel())
    d, u = D + 1, ARITHMETIC[Q.dtype.name].unit_roundoff
    for a, _, steps in _clusters(spied):
        for i, row in enumerate(range(*head._clusters.starts[a : a + 2])):
            assert _at_least_norm(length[row], steps[i])
            assert Fraction(float(room[row])) >= d * u * Fraction(float(length[row])) * Fraction(
                float(np.linalg.norm(for_queries.astype(float)) * (1 - 2.0**-40))
            )
            assert head._radius[a] >= computed[row] + room[row]


def test_the_slack_knows_the_longest_key_and_the_size_of_every_logit(spied: Any) -> None:
    (Q, K, _), _, _, _, _ = spied
    given, _ = _slack_arguments(spied)
    arithmetic = ARITHMETIC[Q.dtype.name]
    longest = max((_exact(K) ** 2).sum(axis=1))
    assert Fraction(float(given["key_length"])) ** 2 >= longest
    gamma = D * arithmetic.unit_roundoff / (1 - D * arithmetic.unit_roundoff)
    for a, centre, _ in _clusters(spied):
        assert Fraction(float(given["reach"][a])) ** 2 >= (centre**2).sum() * longest
        error = Fraction(float(given["logit_error"][a])) - D * arithmetic.tiny
        assert error**2 >= gamma**2 * (centre**2).sum() * longest


def test_the_slack_knows_how_far_the_coordinates_are_from_inverse(spied: Any) -> None:
    _, (for_queries, for_keys), _, _, _ = spied
    given, _ = _slack_arguments(spied)
    difference = _exact(for_queries) @ _exact(for_keys).T - _exact(np.eye(D))
    assert _at_least_norm(given["defect"], difference.ravel())
    assert _at_least_norm(given["factor_norm"], _exact(for_keys).ravel())


def test_the_defect_has_room_for_its_own_rounding(spied: Any) -> None:
    """Catches: the rounding of M N^T left out: in float64 it is what the defect is made of."""
    _, (for_queries, for_keys), _, _, _ = spied
    given, _ = _slack_arguments(spied)
    sizes = np.linalg.norm(for_queries.astype(float)) * np.linalg.norm(for_keys.astype(float))
    wide = for_queries.astype(float) @ for_keys.astype(float).T - np.eye(D)
    assert given["defect"] >= np.linalg.norm(wide) + D * 2.0**-53 * sizes


def test_the_slack_knows_the_errors_of_means_and_images(spied: Any) -> None:
    (_, K, _), (_, for_keys), head, _, _ = spied
    given, _ = _slack_arguments(spied)
    constants = [given["unit_roundoff"], given["tiny"]]
    largest = np.linalg.norm(np.abs(K.astype(float)).max(axis=0))
    mean = centre_mean_error(
        D, given["terms"], N_K, constants[0], given["lightest"], largest, constants[1]
    )
    assert given["mean_error"] >= mean
    longest, origin = (np.linalg.norm(x.astype(float), axis=-1).max() for x in (K, head._origin))
    farthest = longest + origin + given["mean_error"]
    norm = np.linalg.norm(for_keys.astype(float))
    image = image_error(D, constants[0], farthest, norm, constants[1])
    assert given["key_image_error"] >= image
    assert _at_least_norm(given["image_length"], *_exact(head._images))


def test_the_rounding_of_the_kept_keys_is_that_of_exact_attention(spied: Any) -> None:
    (Q, K, V), _, head, _, calls = spied
    arithmetic = ARITHMETIC[Q.dtype.name]
    longest = max((_exact(K) ** 2).sum(axis=1))
    (d, u, reach, tiny), logit_error = calls["rounding_logit"][-2]
    assert (d, u, tiny) == (D, arithmetic.unit_roundoff, arithmetic.tiny)
    (error, u, farthest, exp_error, exponentials), weight_error = calls["rounding_weight"][-1]
    assert (u, exp_error, exponentials) == (arithmetic.unit_roundoff, arithmetic.exp_error, 1)
    assert np.array_equal(error, logit_error)
    (
        (given_error, spread, magnitude, quotient, terms, u, underflow, smallest),
        rounding,
    ) = calls["rounding_output"][-1]
    assert np.array_equal(given_error, weight_error)
    shifts = farthest * (1 - 2.0**-50) - reach - logit_error
    for i, row in enumerate(head._clusters.order):
        assert Fraction(float(reach[i, 0])) ** 2 >= (_exact(Q[row]) ** 2).sum() * longest
        # The shift is the logarithm of a row's sum of weights, or less: of the logits' size.
        logits = K.astype(float) @ Q[row].astype(float)
        sum_of_weights = logits.max() + np.log(np.exp(logits - logits.max()).sum())
        assert shifts[i, 0] >= abs(sum_of_weights) - 3
    unit = 2.0 ** (np.frexp(np.abs(V).max(axis=0))[1] - 1)
    assert (spread >= np.ptp(V.astype(float), axis=0) / unit).all()
    assert (magnitude >= np.abs(V).max(axis=0) / unit).all()
    # A product and the sum of its block, and the additions of the blocks.
    assert terms >= KEY_BLOCK + -(-N_K // KEY_BLOCK)
    assert u == arithmetic.unit_roundoff
    assert (
        underflow * magnitude
        >= float(8 * N_K * arithmetic.tiny) / dropping.LIGHTEST_SUM * (1 - 2.0**-50)
    ).all()
    assert (smallest >= float(arithmetic.tiny)).all()
    assert (np.abs(quotient) <= 2).all()
    assert np.abs(quotient).max() > 0.1
    ((given_rounding, share, given_spread), bound) = calls["dropped_keys_output"][-1]
    assert np.array_equal(given_rounding, rounding)
    ((_, light),) = calls["dropped_mass"]
    assert (share >= head._share + light).all()
    assert np.array_equal(given_spread, spread)
    assert (bound >= rounding).all()


def test_the_share_of_light_keys_is_what_their_logits_and_the_sum_of_heavy_weights_say(
    spied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same products as the certificate's.
    for name, value in (
        ("KEPT_KEY_BLOCK", KEY_BLOCK),
        ("CENTRE_BLOCK", CENTRE_BLOCK),
        ("TOGETHER", N_Q),
    ):
        monkeypatch.setattr(dropping, name, value)
    (Q, _, _), _, head, _, calls = spied
    u, tiny = (getattr(ARITHMETIC[Q.dtype.name], name) for name in ("unit_roundoff", "tiny"))
    _, weight_error = calls["rounding_weight"][-1]
    (_, _, reach, _), _ = calls["rounding_logit"][-2]
    (d, given_u, magnitude, given_tiny), logit_error = calls["rounding_logit"][-1]
    assert (d, given_u, given_tiny) == (D + 1, u, tiny)
    ((error, terms, given_u, underflow, logarithms, log_error, double_u), lost) = calls[
        "log_sum_exp"
    ][0]
    assert np.array_equal(error, weight_error)
    assert terms >= KEY_BLOCK + -(-N_K // KEY_BLOCK)
    assert (given_u, log_error, double_u) == (u, LOG_ERROR, UNIT_ROUNDOFF)
    assert underflow >= float(8 * N_K * tiny) / dropping.LIGHTEST_SUM * (1 - 2.0**-50)
    (((weight, total), share),) = calls["dropped_mass"]
    assert (share * total >= weight * (1 - 2.0**-50)).all()
    counts = []
    for a, kept, weighed, j in chain.from_iterable(map(head._clusters_of, head._batches())):
        rows = head._clusters.rows(a)
        shift = head._shift(a, weighed, j)
        heavy = head._heavy(a, kept, shift)
        sums = head._sums(head._q[rows], heavy.keys, shift, None)[:, -1].astype(float)
        counts.append(len(kept) - len(heavy.keys))
        assert (magnitude[rows, 0] >= reach[rows, 0] + np.abs(shift)).all()
        each = np.exp(heavy.threshold + logit_error[rows, 0])
        assert (weight[rows, 0] >= counts[-1] * each).all()
        assert (total[rows, 0] <= sums * np.exp(-lost[rows, 0])).all()
        assert (logarithms[rows, 0] >= np.abs(np.log(sums)) * (1 - 2.0**-50)).all()
    assert max(counts) > 0


def test_the_allowed_share_leaves_room_for_rounding(spied: Any) -> None:
    (_, _, V), _, head, result, calls = spied
    rounding = calls["rounding_output"][0][1] * 2.0 ** (np.frexp(np.abs(V).max(axis=0))[1] - 1)
    spread = np.ptp(V.astype(float), axis=0)
    # Once for the keys that a cluster drops, and once for light ones.
    assert 2 * head._share * spread.max() + rounding.max() <= head._allowed
    assert (result.error_bound <= head._allowed).all()


def test_rows_whose_kept_weights_add_up_to_little_are_computed_exactly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches: no look at the sum that underflow is relative to, which exactly is never so small."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((n, 2)) for n in (20, 9, 9))
    sums = DroppedKeys._sums
    exact = fastpath.attention(Q, K, V)
    for factor, alike in ((1.0, False), (2.0**-12, True)):
        monkeypatch.setattr(DroppedKeys, "_sums", lambda *given, f=factor: f * sums(*given))
        result = _planned(Q, K, V, 0.3).attend()
        assert np.array_equal(result.error_bound, exact.error_bound) is alike


def test_a_cluster_far_from_its_centre_keeps_the_keys_of_its_farthest_query() -> None:
    """Catches: a key's distance, times the radius of the cluster, left out."""
    rng = np.random.default_rng(0)
    Q = np.array([[40.0, 20.0], [-40.0, 21.0], [40.0, 19.0], [-40.0, 20.0]])
    K = np.concatenate([rng.standard_normal((30, 2)) / 99, [[0.2, -0.3], [-0.2, -0.3]]])
    V = np.zeros((32, 1))
    V[-2:, 0] = 1.0, -1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropping, "CLUSTERS", 0.5)
        head = _planned(Q, K, V, 0.1)
        assert len(head._centres) == 1
        result = head.attend()
    verdicts = attention(Q, K, V).verdict(result.output, result.error_bound)
    assert all(v is Verdict.WITHIN for v in verdicts.flat)
