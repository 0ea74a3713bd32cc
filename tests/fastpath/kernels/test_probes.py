"""Probes of exact weights: no kernel of a model leaves what they allow; faults that random inputs hide do."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from fastpath.kernels import FORMATS, PRESETS, RoundingModel
from fastpath.kernels.fingerprint import judge_probe
from fastpath.kernels.probes import Probe, exact_probes
from tests.benchmarks.kernel_faults import HIDDEN, MODEL, kernel
from tests.fastpath.kernels.simulated import ORDERS, family, simulate


@pytest.mark.parametrize("out", ["bfloat16", "float16", "float32"])
def test_no_kernel_of_a_model_leaves_what_exact_weights_allow(out: str) -> None:
    rng = np.random.default_rng(5)
    named = {name: make(out) for name, make in PRESETS.items()}
    shapes = [(8, 200, 64, 8), (3, 65, 7, 2), (2, 3, 2, 1), (1, 1, 1, 1)]
    for number, model in enumerate((family(out) | named).values()):
        for probe in exact_probes(out, *shapes[number % len(shapes)], seed=number):
            order = ORDERS[number % len(ORDERS)]
            output = simulate(
                probe.Q, probe.K, probe.V, model, order=order, rng=rng, **probe.options
            )
            judgement = judge_probe(output, probe, model)
            assert not judgement.refuted, (probe.name, judgement.sentence)


@pytest.mark.slow
@pytest.mark.parametrize("out", ["bfloat16", "float16", "float32"])
def test_no_kernel_of_a_model_leaves_what_exact_weights_allow_at_length(out: str) -> None:
    rng = np.random.default_rng(6)
    for number, model in enumerate(family(out).values()):
        order = ORDERS[number % len(ORDERS)]
        for probe in exact_probes(out, 16, 1000, 64, 64, seed=number):
            run = partial(simulate, probe.Q, probe.K, probe.V, model, order=order, rng=rng)
            judgement = judge_probe(run(rounds_exp=True, **probe.options), probe, model)
            assert not judgement.refuted, (probe.name, judgement.sentence)


@pytest.mark.parametrize("out", ["bfloat16", "float16"])
def test_weights_are_numbers_of_the_format_relative_to_any_key_up_to_what_a_probe_says(
    out: str,
) -> None:
    for probe in exact_probes(out, 8, 100, 64, 4):
        assert probe.exact_weights is not None
        scores = probe.options["scale"] * (probe.Q.astype(np.float64) @ probe.K.T)
        for largest in scores.T:
            weights = np.exp(scores - largest[:, None])
            weights = weights[weights <= 1]
            off = np.abs(FORMATS[out].nearest(weights) / weights - 1)
            assert off.max() <= probe.exact_weights, probe.name


@pytest.mark.parametrize("fault", HIDDEN)
def test_a_fault_that_a_random_input_hides_is_refuted_by_a_probe(fault: str) -> None:
    found = [
        judge_probe(run_of(probe, fault), probe, MODEL).refuted
        for probe in exact_probes("bfloat16", 16, 512, 64, 16)
    ]
    assert any(found)


def run_of(probe: Probe, fault: str) -> Any:
    """Return what the kernel with a fault makes of a probe."""
    return kernel(probe.Q, probe.K, probe.V, fault=fault, **probe.options)


def test_weights_that_rounding_need_not_give_back_are_bounded_as_any_others() -> None:
    probe = list(exact_probes("bfloat16", 4, 64, 64, 4))[-1]
    coarse = RoundingModel(out="bfloat16", weights="bfloat16", exp_error=2.0**16)
    found = judge_probe(run_of(probe, ""), probe, coarse)
    plain = judge_probe(run_of(probe, ""), Probe(**{**vars(probe), "exact_weights": None}), coarse)
    np.testing.assert_array_equal(found.tolerance.bound, plain.tolerance.bound)
