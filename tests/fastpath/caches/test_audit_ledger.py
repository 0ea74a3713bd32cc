"""The ledger of audits: its exact worst case, adversaries, files, shares and refusals."""

from copy import deepcopy
from fractions import Fraction
from math import comb, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastpath import AuditLedger
from fastpath.caches.audit_ledger import most_errors
from fastpath.core.directed import up
from tests.judging import most_failures


def worst_case(rate: float, failure: float, steps: int) -> float:
    """Return the probability of ever being wrong if every step errs, which is the worst stream.

    Counts are what decides: of K errors so far, how many were audited.
    """
    limits = np.full(steps + 1, steps)
    for audited in range(steps + 1):
        limits[audited] = min(most_errors(audited, rate, failure), steps)
        if limits[audited] == steps:
            break
    chances = np.zeros(steps + 2)
    chances[0], wrong = 1.0, 0.0
    for errors in range(1, steps + 1):
        chances[1:] = chances[1:] * (1 - rate) + chances[:-1] * rate
        chances[0] *= 1 - rate
        over = np.flatnonzero(limits < errors)
        over = over[over <= errors]
        wrong += chances[over].sum()
        chances[over] = 0
    return wrong


@pytest.mark.parametrize(
    ("rate", "failure", "steps"),
    [(0.05, 0.05, 1500), (0.2, 1e-6, 600), (0.5, 0.3, 300), (0.02, 1e-3, 1500), (0.9, 1e-9, 100)],
)
def test_the_exact_worst_case_is_within_the_failure_probability(
    rate: float, failure: float, steps: int
) -> None:
    found = worst_case(rate, failure, steps)
    assert 0 < found <= failure


@pytest.mark.parametrize("rate", [2.0**-6, 2.0**-4, 0.3125, 0.875])
@pytest.mark.parametrize("audited", [0, 1, 5, 12, 13, 30])
def test_a_limit_is_where_the_binomial_tail_falls_below_its_share(
    rate: float, audited: int
) -> None:
    limit = most_errors(audited, rate, 1e-3)
    share = Fraction(1e-3) * (
        Fraction(9, 10) if not audited else Fraction(1, 10 * audited * (audited + 1))
    )
    exact = sum(
        comb(limit + 1, i) * Fraction(rate) ** i * (1 - Fraction(rate)) ** (limit + 1 - i)
        for i in range(audited + 1)
    )
    assert exact <= share * (1 + Fraction(1, 2**40))


def test_audits_without_error_are_within_6_percent_of_those_at_one_time() -> None:
    for uncovered, failure in ((0.01, 1e-6), (0.001, 1e-9), (0.05, 1e-3)):
        at_one_time = log(failure) / log(1 - uncovered)
        assert most_errors(0, uncovered, failure) + 1 <= 1.06 * at_one_time


def stream(ledger: AuditLedger, rng: np.random.Generator, kind: str, steps: int) -> bool:
    """Give a ledger a stream of answers, and return whether it was ever wrong."""
    errors = 0
    audited_last = False
    for step in range(steps):
        wrong = {
            "every step": True,
            "a late burst": step > steps // 2,
            "in turn": step % 2 == 0,
            "after each miss": not audited_last,
        }[kind]
        errors += wrong
        audited_last = ledger.audit(rng)
        if audited_last:
            ledger.record(1.0 if wrong else 0.0)
        if errors > ledger.bound().most_errors:
            return True
    return False


@pytest.mark.parametrize("kind", ["every step", "a late burst", "in turn", "after each miss"])
def test_adversaries_fool_the_ledger_no_more_often_than_it_says(kind: str) -> None:
    rng = np.random.default_rng(4)
    failure, trials = 0.2, 60
    wrong = sum(stream(AuditLedger(0.2, failure, 0.5), rng, kind, 60) for _ in range(trials))
    assert wrong <= most_failures(trials, failure)


def test_the_coin_falls_at_its_rate_and_cannot_be_tossed_twice() -> None:
    rng = np.random.default_rng(5)
    ledger = AuditLedger(0.01, 1e-3, 0.0, audit_probability=0.3)
    for _ in range(2000):
        if ledger.audit(rng):
            with pytest.raises(RuntimeError, match="last audit's error first"):
                ledger.audit(rng)
            ledger.record(0.0)
    audits = ledger.bound().audits
    assert 2000 - audits <= most_failures(2000, 0.7)
    assert audits <= most_failures(2000, 0.3)


def test_an_error_is_what_exceeds_the_tolerance() -> None:
    ledger = AuditLedger(0.1, 1e-3, 0.25, audit_probability=1.0)
    for error in (0.25, 0.2500001, np.inf, 0):
        assert ledger.audit(np.random.default_rng(0))
        ledger.record(error)
    found = ledger.bound()
    assert (found.steps, found.audits, found.errors, found.most_errors) == (4, 4, 2, 2)
    assert found.uncovered == up(0.5)


def test_an_answer_that_waits_for_its_audit_may_have_erred() -> None:
    ledger = AuditLedger(0.1, 1e-3, 0.25, audit_probability=1.0)
    assert ledger.bound().most_errors == 0
    ledger.audit(np.random.default_rng(0))
    assert AuditLedger(0.5, 1e-3, 0.0).bound().steps == 0
    assert ledger.bound().most_errors == 0  # with rate 1 every error is audited before the next
    slow = AuditLedger(0.1, 1e-3, 0.25)
    rng = np.random.default_rng(1)
    slow.audit(rng)
    assert slow.bound().most_errors == 1


def test_a_file_holds_the_ledger_and_an_audit_that_waits(tmp_path: Path) -> None:
    ledger = AuditLedger(0.1, 1e-3, 0.25, audit_probability=1.0)
    ledger.audit(np.random.default_rng(0))
    ledger.save(tmp_path / "ledger")
    again = AuditLedger.load(tmp_path / "ledger")
    with pytest.raises(RuntimeError, match="last audit's error first"):
        again.audit(np.random.default_rng(0))
    for other in (ledger, again):
        other.record(1.0)
    assert again.bound() == ledger.bound()
    content = (tmp_path / "ledger").read_bytes()
    (tmp_path / "ledger").write_bytes(content[:-1])
    with pytest.raises(ValueError, match="digest is wrong"):
        AuditLedger.load(tmp_path / "ledger")


def test_workers_share_the_failure_probability_and_their_statements_add_up() -> None:
    rng = np.random.default_rng(6)
    whole = AuditLedger(0.1, 1e-3, 0.25)
    parts = whole.split(3)
    for part in parts:
        for _ in range(200):
            if part.audit(rng):
                part.record(0.0)
    found = parts[0].merge(*parts[1:])
    bounds = [part.bound() for part in parts]
    assert found.failure_probability <= 1e-3 * (1 + 1e-12)
    assert found.steps == 600
    assert found.most_errors == sum(b.most_errors for b in bounds)


def state(ledger: AuditLedger) -> dict[str, Any]:
    return {k: v for k, v in vars(ledger).items() if not k.endswith("_lock")}


def test_what_is_refused_leaves_the_ledger_as_it_was() -> None:
    ledger = AuditLedger(0.1, 1e-3, 0.25)
    before = deepcopy(state(ledger))
    for call, error, says in (
        (lambda: ledger.record(0.0), RuntimeError, "record must follow an audit"),
        (lambda: ledger.record(-1.0), ValueError, "error must be at least 0, got -1.0"),
        (lambda: ledger.record(np.nan), ValueError, "error must be at least 0, got nan"),
        (lambda: ledger.audit(7), TypeError, "rng must be a numpy.random.Generator, got 7"),  # type: ignore[arg-type]
        (lambda: ledger.split(0), ValueError, "workers must be at least 1, got 0"),
        (lambda: ledger.merge(ledger), ValueError, "different ledgers"),
        (lambda: ledger.merge(AuditLedger(0.1, 0.1, 0.5)), ValueError, "this ledger's tolerance"),
    ):
        with pytest.raises(error, match=says):
            call()
        assert state(ledger) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 0.1, 0.1), r"uncovered must be in \(0, 1\), got 0"),
        ((0.1, 1, 0.1), r"failure_probability must be in \(0, 1\), got 1"),
        ((0.1, 0.1, -0.1), "tolerance must be at least 0"),
        ((0.1, 0.1, np.inf), "tolerance must be finite"),
        ((0.1, 0.1, "1"), "tolerance must be a number"),
    ],
)
def test_a_ledger_that_means_nothing_is_refused(arguments: Any, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        AuditLedger(*arguments)
    for rate in (0, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="audit_probability must be"):
            AuditLedger(0.1, 0.1, 0.1, audit_probability=rate)


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 2.0**-70, 1 - 2.0**-53])
@pytest.mark.parametrize("failure", [5e-324, 1e-300, 0.5])
def test_any_rate_and_any_probability_of_failure_has_a_statement(
    rate: float, failure: float
) -> None:
    """Catches: a count of errors that no float holds."""
    ledger, rng = AuditLedger(0.5, failure, 1.0, audit_probability=rate), np.random.default_rng(0)
    for _ in range(20):
        if ledger.audit(rng):
            ledger.record(2.0)
    stated = ledger.bound()
    assert stated.errors <= stated.most_errors <= stated.steps
    assert rate > 0.5 or stated.most_errors == stated.steps
