"""Rows drawn before an output is there certify it as rows drawn afterwards do."""

import numpy as np
import pytest

from fastpath import attention, certify
from fastpath.core.head import Head
from fastpath.real_heads import drawn_rows
from fastpath.real_heads.drawn_rows import DrawnRows, completed


@pytest.mark.parametrize("drawn", [300, 400, 900, 2000])
@pytest.mark.parametrize("causal", [False, True])
def test_what_is_certified_is_what_certify_says(drawn: int, causal: bool) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 900, 4))
    output = attention(Q, K, V, causal=causal).output
    output += rng.standard_normal(output.shape) ** 3 / 100
    uncovered, chance = 0.05, 1e-5
    given = Head.of(Q, K, V, causal=causal, workers=1)
    found = DrawnRows.of(given, uncovered, chance, drawn, np.random.default_rng(3))
    expected = certify(
        Q,
        K,
        V,
        output,
        uncovered=uncovered,
        failure_probability=chance,
        rows=min(drawn, len(Q)),
        causal=causal,
        rng=np.random.default_rng(3),
    )
    assert found.bound(found.errors(output[found.rows])) == expected.error_bound
    assert found.skipped == expected.rows_skipped
    assert found.uncovered == expected.uncovered
    assert found.failure_probability == expected.failure_probability
    assert found.claims == expected.claims


@pytest.mark.parametrize("causal", [False, True])
def test_rows_that_are_known_and_the_others_are_attention(causal: bool) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 300, 4))
    given, exact = Head.of(Q, K, V, causal=causal, workers=1), attention(Q, K, V, causal=causal)
    parts = [DrawnRows.of(given, 0.4, 0.1, 40, np.random.default_rng(seed)) for seed in (0, 1)]
    everything = DrawnRows.of(given, 0.4, 0.1, 300, rng)
    for known in ([], parts, [everything]):
        found = completed(given, [(part.rows, part.exact) for part in known])
        assert found.claims == exact.claims
        off = np.abs(found.output - exact.output)
        assert (off <= found.error_bound + exact.error_bound).all()
        assert found.log_sum_exp is not None
        assert exact.log_sum_exp is not None
        off = np.abs(found.log_sum_exp - exact.log_sum_exp)
        assert (off <= found.log_sum_exp_bound + exact.log_sum_exp_bound).all()


def test_rows_that_are_known_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 300, 4))
    given = Head.of(Q, K, V, causal=False, workers=1)
    part = DrawnRows.of(given, 0.4, 0.1, 40, rng)
    asked, compute = [], drawn_rows.exact_rows
    monkeypatch.setattr(
        drawn_rows, "exact_rows", lambda head, rows: asked.append(rows) or compute(head, rows)
    )
    completed(given, [(part.rows, part.exact)])
    assert np.array_equal(np.concatenate(asked), np.setdiff1d(np.arange(300), part.rows))
