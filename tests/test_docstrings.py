"""The examples in docstrings run, and give what they show, on whatever processor."""

import doctest
import inspect
from typing import Any

import pytest

import fastpath
import reference
from fastpath import kernels

#: What a user calls, by name.
PUBLIC: dict[str, Any] = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (fastpath, kernels, reference)
    for name in module.__all__
    if callable(getattr(module, name))
}

#: What is called first: each has an example.
CALLED = (
    "fastpath.AttentionRegression",
    "fastpath.AuditLedger",
    "fastpath.DynamicAttention",
    "fastpath.MomentState",
    "fastpath.Prepared",
    "fastpath.QuantisedCache",
    "fastpath.StreamingAttention",
    "fastpath.attention",
    "fastpath.attention_gradient",
    "fastpath.certified_attention",
    "fastpath.certify",
    "fastpath.certify_quantised",
    "fastpath.gram",
    "fastpath.heavy_keys",
    "fastpath.merge",
    "fastpath.polynomial_attention",
    "fastpath.sparsify",
    "fastpath.kernels.assert_attention",
    "fastpath.kernels.tolerance",
    "reference.attention",
    "reference.softmax",
)


def examples(name: str) -> doctest.DocTest:
    text = inspect.getdoc(PUBLIC[name]) or ""
    return doctest.DocTestParser().get_doctest(text, {}, name, None, None)


@pytest.mark.parametrize("name", CALLED)
def test_what_is_called_first_has_an_example(name: str) -> None:
    assert examples(name).examples


@pytest.mark.parametrize("name", [name for name in PUBLIC if examples(name).examples])
def test_the_examples_of_a_docstring_give_what_they_show(name: str) -> None:
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    found = runner.run(examples(name), out=said.append)
    assert not found.failed, "".join(said)
