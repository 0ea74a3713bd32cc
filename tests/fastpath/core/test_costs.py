"""One cost model: every number of it is measured by one command, and stands nowhere else."""

import ast
from pathlib import Path

import numpy as np

from fastpath.core import costs
from fastpath.core.head import Head

ROOT = Path(__file__).parents[3]


def test_the_command_that_calibrates_measures_every_number() -> None:
    source = (ROOT / "tests" / "benchmarks" / "calibrate.py").read_text(encoding="utf-8")
    told = {
        node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)
    } | {"UNIT"}
    numbers = {name for name, value in vars(costs).items() if isinstance(value, float)}
    assert len(numbers) > 20
    assert numbers <= told
    assert "tests.benchmarks.calibrate" in (costs.__doc__ or "")


def test_a_causal_head_costs_half_of_what_all_pairs_do() -> None:
    X = np.ones((5, 3))
    full, causal = (Head.of(X, X, X[:, :2], causal=c) for c in (False, True))
    assert costs.exact_cost(full) == 5 * 5 * (3 + 2 + costs.LOGIT) == 2 * costs.exact_cost(causal)
    assert costs.rows_cost(causal, 2) == 2 * 5 * costs.pair_cost(full)
