"""Peers' rules as the benchmarks re-state them: each is attention where it reads every key."""

from typing import Any

import numpy as np
import pytest

import fastpath
from tests.benchmarks import peer_rules


@pytest.fixture(scope="module")
def head() -> Any:
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 301, 6)).astype(np.float32)
    return Q[:20] / 2, K, V


def error(output: Any, head: Any) -> float:
    exact = fastpath.attention(*head)
    return float(np.abs(output - exact.output).max() / np.abs(head[2]).max())


def test_all_pages_are_attention_and_the_last_key_counts_once(head: Any) -> None:
    output, read = peer_rules.pages(*head, len(head[1]) + 16, np.random.default_rng(0))
    exact = fastpath.attention(*head)
    # Sums of float32 in another order: twice what the exact one is certified to err by.
    assert (np.abs(output - exact.output) <= 2 * exact.error_bound).all()
    assert (read == len(head[1])).all()


def test_few_keys_err_less_when_they_are_more(head: Any) -> None:
    for rule in peer_rules.RULES.values():
        few, many = (
            np.mean(
                [error(rule.rule(*head, size, np.random.default_rng(s)), head) for s in range(5)]
            )
            for size in (8, 128)
        )
        assert many < few


def test_hashed_keys_over_their_chance_are_attention_in_the_mean(head: Any) -> None:
    few, many = (
        error(peer_rules.hashes(*head, tables, np.random.default_rng(0), bits=4)[0], head)
        for tables in (8, 200)
    )
    assert many < few


def test_a_budget_is_met_where_terms_are_as_good_as_normal(head: Any) -> None:
    Q, K, V = head
    Q, V, many = Q / 8, V + 3, np.random.default_rng(1)
    K = np.tile(K, (20, 1))
    V = np.tile(V, (20, 1))
    exact = fastpath.attention(Q, K, V).output
    epsilon, delta = 0.05, 0.1
    output, _, read = peer_rules.budgeted(Q, K, V, epsilon, delta, many)
    off = np.linalg.norm(output - exact, axis=1) > epsilon * np.linalg.norm(exact, axis=1)
    assert off.mean() <= delta
    assert (read < len(K)).all()
    # So small an epsilon takes every key.
    everything, logarithms, read = peer_rules.budgeted(Q, K, V, 1e-6, delta, many)
    exact = fastpath.attention(Q, K, V)
    assert (np.abs(everything - exact.output) <= 2 * exact.error_bound).all()
    assert (np.abs(logarithms - exact.log_sum_exp) <= 2 * exact.log_sum_exp_bound).all()
    assert (read == len(K)).all()
