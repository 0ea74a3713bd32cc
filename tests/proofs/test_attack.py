"""The standing attack: every public bound has an attacker, which finds planted faults and no others."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastpath
from proofs.__main__ import main
from proofs.attack.instances import Matrices, matrices, short
from proofs.attack.registry import ATTACKS, WITHOUT, kept, public
from proofs.attack.search import (
    Attack,
    BrokenError,
    Found,
    Statement,
    UndecidedError,
    judged,
    search,
    usable,
)
from reference import Enclosure

KEPT = kept()


def attacked(name: str, instances: int, seed: int = 0, module: Any = fastpath) -> Found:
    found = search(ATTACKS[name], module, instances=instances, seed=seed)
    assert not found.violations, f"{found.sentence}\n{found.written}"
    return found


def test_every_public_name_is_attacked_or_says_why_not() -> None:
    """A function that returns a bound, made public without an attacker, makes this fail."""
    names = set(public(fastpath))
    assert names == ATTACKS.keys() | WITHOUT.keys()
    assert not ATTACKS.keys() & WITHOUT.keys()


QUICK = ("attention", "QuantisedCache", "DynamicAttention", "gram")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ATTACKS],
)
def test_no_bound_is_broken_by_a_few(name: str) -> None:
    found = attacked(name, 6)
    assert found.tried == 6


@pytest.mark.nightly
@pytest.mark.parametrize("name", ATTACKS)
def test_no_bound_is_broken(name: str) -> None:
    # An index of few keys reads them all, and one of many takes long to judge.
    count = 10 if name == "KeyIndex" else 60
    found = attacked(name, count, seed=2)
    assert found.refused + found.undecided < count / 2
    # Of what is that far from its bounds a search that looks in the wrong place could not be told.
    assert found.ratio > 1 / 1024


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3, 6))
@pytest.mark.parametrize("name", ATTACKS)
def test_no_bound_is_broken_by_many(name: str, seed: int) -> None:
    attacked(name, 100 if name == "KeyIndex" else 1500, seed=seed)


@pytest.mark.parametrize("place", range(len(KEPT)), ids=lambda p: f"{KEPT[p][0].function}, {p}")
def test_what_was_found_is_within_its_bounds(place: int) -> None:
    attack, _, instance = KEPT[place]
    judged(attack, fastpath, instance)


def test_the_same_seed_finds_the_same() -> None:
    one, again, other = (attacked("attention", 40, seed=s) for s in (7, 7, 8))
    assert (one.ratio, one.what, one.written) == (again.ratio, again.what, again.written)
    assert one.written != other.written


def test_a_search_that_is_out_of_time_says_so() -> None:
    found = search(ATTACKS["gram"], fastpath, instances=10**6, seconds=1e-9)
    assert found.stopped
    assert found.tried == 0


#: One attack for each way of drawing input.
DRAWN = {attack.sample: attack for attack in ATTACKS.values()}

#: Generators from which queries were drawn that no float32 holds: their keys were next to nothing.
NEXT_TO_NOTHING = (743, 122217, 430950007)


@pytest.mark.parametrize("attack", DRAWN.values(), ids=[sample.__name__ for sample in DRAWN])
def test_what_is_drawn_are_numbers_and_nothing_overflows(attack: Attack) -> None:
    for seed in (*range(300), *NEXT_TO_NOTHING):
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            instance = attack.sample(np.random.default_rng(seed))
        assert usable(instance)


def test_scores_of_keys_next_to_nothing_are_small_and_are_not_0() -> None:
    for seed in NEXT_TO_NOTHING:
        drawn = short(np.random.default_rng(seed))
        scores = drawn.Q.astype(float) @ drawn.K.astype(float).T
        assert 0 < np.abs(scores).max() < 4


#: The function and a whole number of its input; an index of few keys is dear to make.
WHOLE = [
    pytest.param(name, field, marks=pytest.mark.slow if name == "KeyIndex" else ())
    for name, attack in ATTACKS.items()
    for field, value in vars(attack.sample(np.random.default_rng(0))).items()
    if isinstance(value, int)
]


@pytest.mark.parametrize(("name", "field"), WHOLE)
def test_whole_numbers_below_0_are_answered_or_refused_in_a_sentence(name: str, field: str) -> None:
    """Moves lead there from 0: an attack seeds generators with one, and counts answers by another."""
    drawn = ATTACKS[name].sample(np.random.default_rng(5))
    with contextlib.suppress(ValueError, TypeError):
        judged(ATTACKS[name], fastpath, replace(drawn, **{field: -1}))


def _smaller(function: Callable[..., Any], part: float) -> Callable[..., Any]:
    def faulty(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        return replace(found, error_bound=found.error_bound * part)

    return faulty


#: Faults of an implementation, and by what they are found.
FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a bound that is a fiftieth": ("attention", lambda f: _smaller(f, 0.02)),
    "a bound that is negative": ("attention", lambda f: _smaller(f, -1.0)),
    "a bound that is NaN": ("attention", lambda f: _smaller(f, np.nan)),
    "an error of 2^-20": (
        "polynomial_attention",
        lambda f: (
            lambda *a, **o: replace(
                found := f(*a, **o), output=found.output + abs(found.output).max() * 2.0**-20
            )
        ),
    ),
    "an argument that is changed": (
        "gram",
        lambda f: lambda X, **o: (f(X, **o), X.__setitem__((0, 0), X[0, 0] + 1))[0],
    ),
    "a refusal without a sentence": (
        "gram",
        lambda f: lambda X, **o: [][0] if len(X) > 9 else int("x"),
    ),
    "an exception that is no refusal": ("gram", lambda f: lambda X, **o: 1 // 0),
    "a bound on entries that is 0": ("entrywise_error", lambda f: lambda X, Y: 0.0),
    "a proof of anything": ("certify_loewner", lambda f: lambda X, Y, epsilon, slack=0: True),
    "scores that are halved": (
        "heavy_keys",
        lambda f: (
            lambda *a, **o: replace(
                found := f(*a, **o), scores=found.scores * 0.49, keys=found.keys
            )
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    name, plant = FAULTS[fault]
    module = SimpleNamespace(**vars(fastpath) | {name: plant(getattr(fastpath, name))})
    found = search(ATTACKS[name], module, instances=60)
    assert found.violations
    assert found.sentence


def _states(quantity: Any, bound: Any) -> Attack:
    return Attack(
        function="anything",
        sample=matrices,
        statements=lambda module, x: [
            Statement(what="it", quantity=lambda bits: quantity, bound=bound)
        ],
    )


def test_enclosures_decide_and_say_where_they_cannot() -> None:
    x = matrices(np.random.default_rng(0))
    third = Enclosure(np.array(1, object), 1, 2)  # 0 to 1/2
    assert judged(_states(Enclosure.exact(0.75), 1.0), fastpath, x) == (0.75, "it")
    assert judged(_states(Fraction(1, 4), 1.0), fastpath, x) == (0.25, "it")
    assert judged(_states(Enclosure.exact(9.0), np.inf), fastpath, x) == (0.0, "it")
    assert judged(_states(Enclosure.exact(0.0), 0.0), fastpath, x) == (0.0, "it")
    with pytest.raises(UndecidedError):
        judged(_states(third, 0.25), fastpath, x)
    for quantity, bound in ((Enclosure.exact(0.75), 0.5), (Fraction(1), 0.5), (third, -1.0)):
        with pytest.raises(BrokenError, match="it is at least"):
            judged(_states(quantity, bound), fastpath, x)
    with pytest.raises(BrokenError, match="NaN"):
        judged(_states(third, np.nan), fastpath, x)


def test_an_argument_that_is_changed_is_a_fault_though_the_answer_is_right() -> None:
    def statements(module: Any, x: Any) -> list[Statement]:
        x.X.fill(9)
        return []

    attack = Attack(function="anything", sample=matrices, statements=statements)
    with pytest.raises(BrokenError, match=r"the argument X was changed\."):
        judged(attack, fastpath, matrices(np.random.default_rng(0)))


def test_the_command_says_what_it_found(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    file = tmp_path / "kept.json"
    assert main(["attack", "gram", "merge", "--instances", "12", "--keep", str(file)]) == 0
    said = capsys.readouterr().out
    assert "gram: 12 inputs, 0 refused, 0 violations; largest error / bound 0." in said
    assert said.endswith("2 functions, 24 inputs, 0 violations.\n")
    assert '"function": "gram"' in file.read_text()
    assert main(["attack", "gram", "--budget", "0.2", "--verbose"]) == 0
    assert "at Matrices(X=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "FUNCTION must be one of attention, "),
        (["gram", "--instances", "0"], "instances must be at least 1, got 0"),
        (["gram", "--seed", "-1"], "seed must be at least 0, got -1"),
        (["gram", "--budget", "0"], "--budget must be more than 0, got 0"),
        (["gram", "--budget", "nan"], "--budget must be more than 0, got nan"),
        (
            ["gram", "--instances", "2", "--keep", "/no/such/folder/x"],
            "--keep /no/such/folder/x cannot",
        ),
        (["gram", "--impl", "no_such_module"], "--impl must name an importable module"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attack", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_kept_instances_are_of_the_attacks_types() -> None:
    assert any(isinstance(instance, Matrices) for _, _, instance in KEPT)
    assert {attack.function for attack, _, _ in KEPT} == ATTACKS.keys()
