"""The certificate on every real head that ships, with how much larger than the error it is."""

from functools import cache
from statistics import median
from typing import Any

import numpy as np
import pytest

import fastpath
from proofs.judging.heads import Head, shipped_heads
from reference import Enclosure, Verdict, attention

HEADS = shipped_heads(largest=512)

#: What the project promises of the median of largest bound / largest error, a head at a time.
PROMISED_MEDIAN = 300


@cache
def _truth(name: str) -> Enclosure:
    """Enclose a head's output once: lifting float32 to float64 changes nothing."""
    head = next(h for h in HEADS if h.name == name)
    return attention(head.Q, head.K, head.V)


def _run(head: Head, dtype: type[Any]) -> fastpath.Certified:
    return fastpath.attention(*(x.astype(dtype) for x in (head.Q, head.K, head.V)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("head", HEADS, ids=lambda h: h.name)
def test_every_entry_of_a_real_head_is_within_its_certificate(head: Head, dtype: type[Any]) -> None:
    result = _run(head, dtype)
    verdicts = _truth(head.name).verdict(result.output, result.error_bound)
    assert all(v is Verdict.WITHIN for v in verdicts.flat)


@pytest.mark.slow
@pytest.mark.parametrize("errors", ["raise", "warn"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("head", HEADS, ids=lambda h: h.name)
def test_no_bit_of_a_real_head_depends_on_the_callers_error_state(
    head: Head, dtype: type[Any], errors: Any
) -> None:
    q, k, v = (x.astype(dtype) for x in (head.Q, head.K, head.V))
    for way in (
        lambda: fastpath.attention(q, k, v),
        lambda: fastpath.certified_attention(q, k, v, tolerance=0.03),
        lambda: fastpath.DynamicAttention(q, k, v).output(),
    ):
        expected = way()
        with np.errstate(all=errors):
            found = way()
        assert found.output.tobytes() == expected.output.tobytes()
        assert found.error_bound.tobytes() == expected.error_bound.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_median_certificate_is_at_most_the_promised_multiple_of_the_error(
    dtype: type[Any],
) -> None:
    ratios = []
    for head in HEADS:
        result = _run(head, dtype)
        error = _truth(head.name).distance(result.output).largest()[0]
        ratios.append(float(result.error_bound.max()) / float(error))
    assert median(ratios) <= PROMISED_MEDIAN
