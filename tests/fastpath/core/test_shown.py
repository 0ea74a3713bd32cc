"""The face of the package: short results, short help, a version, and options that mypy knows."""

import pydoc
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

import fastpath
from fastpath.core.semantics import ALIGNMENTS, Causal, EmptyRows
from fastpath.regression.attention_regression import METHODS as SOLVERS
from fastpath.sparsification.choice import METHODS, Guarantee, Method

RNG = np.random.default_rng(0)
Q, K, V = RNG.standard_normal((3, 300, 4))
X = RNG.standard_normal((5, 90))


@pytest.mark.parametrize(
    "result",
    [
        fastpath.attention(Q, K, V),
        fastpath.certified_attention(Q, K, V, tolerance=0.1),
        fastpath.certify(Q, K, V, V, rng=RNG),
        fastpath.attention_gradient(Q, K, V, V).dQ,
        fastpath.gram(X),
        fastpath.sparsify(X),
        fastpath.sparsify(X, guarantee="columns"),
        fastpath.polynomial_attention(Q / 9, K / 9, V, tolerance=0.1),
        fastpath.AttentionRegression(Q[:9], K, V, V[:9]).solve(np.zeros((4, 4))),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_result_shows_itself_in_a_few_words(result: Any) -> None:
    shown = repr(result)
    assert len(shown) < 500
    assert "\n" not in shown
    assert "array(" not in shown
    assert "None" not in shown
    assert shown.startswith(type(result).__name__ + "(")


def test_what_is_shown_of_a_bound_is_rounded_upward() -> None:
    for largest in (1.2301e-5, 9.999, 1.0, 0.0, 3e-310, np.inf):
        shown = repr(fastpath.Certified(output=V, error_bound=V * 0 + largest, claims=()))
        (most,) = re.findall(r"error_bound=<float64 \(300, 4\), at most (\S+)>", shown)
        assert Decimal(most) >= Decimal(largest)
        assert float(most) <= largest * 1.01
    empty = np.zeros((0, 4))
    shown = repr(fastpath.Certified(output=empty, error_bound=empty, claims=()))
    assert "error_bound=<float64 (0, 4)>" in shown


def test_help_names_array_like_and_does_not_expand_it() -> None:
    told = pydoc.render_doc(fastpath, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    assert "_SupportsArray" not in told
    assert max(map(len, told.splitlines())) < 800
    assert "ArrayLike" in pydoc.render_doc(fastpath.attention)


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "fastpath.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", fastpath.__version__)


def test_the_types_of_options_are_what_the_program_takes() -> None:
    literals = [x for option in get_args(Causal) for x in get_args(option)]
    assert {True, False, *literals} == set(ALIGNMENTS)
    assert get_args(EmptyRows) == ("refuse", "zeros")
    assert get_args(Guarantee) == tuple(METHODS)
    assert set(get_args(Method)) == {"auto"}.union(*METHODS.values())
    hints = get_type_hints(fastpath.AttentionRegression.solve)
    assert get_args(hints["method"]) == ("auto", *SOLVERS)
    for name, option, wrong in (
        ("attention", "causal", "upper_left"),
        ("attention", "empty_rows", "zero"),
        ("certified_attention", "rows", "quantiles"),
        ("sparsify", "guarantee", "column"),
        ("sparsify", "method", "caratheodry"),
    ):
        allowed = str(get_type_hints(getattr(fastpath, name))[option])
        assert "Literal" in allowed
        assert repr(wrong) not in allowed
