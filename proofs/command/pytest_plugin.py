"""A plugin of pytest: the fixture ``attest_attention_case`` runs a test once for every case of the suite.

    def test_my_kernel(attest_attention_case):
        attest_attention_case.check(my_kernel, torch_flash_cpu("bfloat16"))

It is loaded wherever pytest runs, so nothing but pytest is imported before a test asks for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class AttentionCase:
    """A case by its name; its numbers are those of the format that the kernel returns."""

    name: str

    def check(self, kernel: Callable[..., Any], model: Any) -> None:
        """Fail the test unless what the kernel returns is what one of that model may return.

        Parameters
        ----------
        kernel : callable
            ``kernel(Q, K, V, **options) -> array``.  A case with an option that it has no parameter for is
            skipped.
        model : fastpath.kernels.RoundingModel

        Raises
        ------
        TypeError
            If an argument is not allowed.
        """
        from proofs.evidence.kernel_cases import judge_kernel, kernel_case

        if not callable(kernel):
            raise TypeError(f"kernel must be callable, got {kernel!r}.")
        if not isinstance(model, importlib.import_module("fastpath.kernels").RoundingModel):
            raise TypeError(f"model must be a RoundingModel, got {model!r}.")
        try:
            case = kernel_case(self.name, model.out)
        except ValueError:
            pytest.skip(f"'{self.name}' has numbers that {model.out} does not hold.")
        found = judge_kernel(kernel, case, model)
        if found.missing:
            pytest.skip(f"the kernel does not take {', '.join(found.missing)}.")
        if found.findings:
            said = "\n".join((*found.findings, f"This case catches {case.catches}"))
            pytest.fail(f"{case.name}: {said}", pytrace=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a case once for every one."""
    if "attest_attention_case" in metafunc.fixturenames:
        from proofs.evidence.kernel_cases import case_names

        metafunc.parametrize("attest_attention_case", case_names(), indirect=True)


@pytest.fixture
def attest_attention_case(request: pytest.FixtureRequest) -> AttentionCase:
    """One case of the conformance suite, or of the public faults: ``.check(kernel, model)`` judges it."""
    return AttentionCase(request.param)
