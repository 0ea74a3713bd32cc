"""Whatever the input: an answer of numbers or a refusal in a sentence, and nothing that was given changes."""

import dataclasses
import re
import traceback
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpath
from proofs.attack.registry import ATTACKS
from proofs.attack.search import BrokenError
from tests.states import STATES, after

#: Where formats end, and what is no number.
SPECIAL = (
    *(0.0, -0.0, 1.0, -1.0, 5e-324, 1e-45, 1e-38, 2.0**-126, 65504.0, 3e38),
    *(1e155, 1.7e308, -1e300, np.inf, -np.inf, np.nan),
)

#: What may be made of an array: another shape, order, type or owner.
FORMS: dict[str, Any] = {
    "as it is": lambda x: x,
    "empty": lambda x: x[:0],
    "transposed": lambda x: x.T,
    "one row": lambda x: x[:1],
    "one column": lambda x: x[..., :1],
    "an axis more": lambda x: x[None],
    "Fortran": np.asfortranarray,
    "backwards": lambda x: x[::-1],
    "strided": lambda x: np.repeat(x, 2, axis=0)[::2],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "half": lambda x: x.astype(np.float16),
    "integers": lambda x: np.nan_to_num(np.clip(x, -9, 9)).astype(np.int64),
    "complex": lambda x: x.astype(complex),
    "text": lambda x: x.astype(str),
    "objects": lambda x: x.astype(object),
    "a list": lambda x: x.tolist(),
    "masked": lambda x: np.ma.masked_array(x, x > 0),
    "nothing": lambda x: None,
}


SENTENCE = re.compile(r"[\w|].{10,}\.", re.DOTALL)


def _edited(draw: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = value.copy()
        for _ in range(draw(st.integers(0, 2))):
            place = draw(st.integers(0, value.size - 1))
            with np.errstate(all="ignore"):
                value.flat[place] = draw(st.sampled_from(SPECIAL) | st.floats(width=32))
        with np.errstate(all="ignore"):
            value = FORMS[draw(st.sampled_from([*FORMS]))](value)
        if isinstance(value, np.ndarray) and draw(st.integers(0, 3)) == 0:
            value.flags.writeable = False
        return value
    if isinstance(value, bool | np.ndarray):
        return value
    if isinstance(value, float):
        return draw(st.sampled_from(SPECIAL) | st.floats())
    return draw(st.integers(0, 300))


def _refused_by_the_attack(error: BaseException) -> bool:
    """Whether what was raised comes from the attack, which counts on arrays that fit each other."""
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = [
        name for name in frames if "fastpath" in name or "proofs" in name or "reference" in name
    ]
    return not any("fastpath" in name for name in frames) or "fastpath" not in ours[-1]


def _bytes(instance: Any) -> dict[str, Any]:
    held = {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)}
    return {
        name: (x.tobytes() if isinstance(x, np.ndarray) else repr(x)) for name, x in held.items()
    }


def meets(name: str, data: st.DataObject) -> None:
    """Ask a function about an instance that was drawn and then changed."""
    attack, draw = ATTACKS[name], data.draw
    instance = attack.sample(np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    fields = [f.name for f in dataclasses.fields(instance)]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=2, unique=True))
    changed = {field: _edited(draw, getattr(instance, field)) for field in chosen}
    instance = dataclasses.replace(instance, **changed)
    before = _bytes(instance)
    try:
        with np.errstate(all="ignore"):
            for statement in attack.statements(fastpath, instance):
                assert not np.isnan(np.asarray(statement.bound, float)).any(), statement.what
    except (ValueError, TypeError) as error:
        if not (_refused_by_the_attack(error) or SENTENCE.fullmatch(str(error))):
            raise AssertionError("refused without a sentence") from error
    except BrokenError as error:
        raise AssertionError(f"{error}") from error
    except AssertionError:
        raise
    except Exception as error:
        if not _refused_by_the_attack(error):
            raise
    assert _bytes(instance) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
@given(data=st.data())
def test_any_input_is_answered_in_numbers_or_refused_in_a_sentence(
    name: str, data: st.DataObject
) -> None:
    meets(name, data)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=2000, derandomize=False)
@given(data=st.data())
def test_much_input_is_answered_in_numbers_or_refused_in_a_sentence(
    name: str, data: st.DataObject
) -> None:
    meets(name, data)


@pytest.mark.parametrize("name", ["attention", "QuantisedCache", "gram", "AuditLedger"])
@given(data=st.data())
def test_a_few_inputs_are_answered_in_numbers_or_refused_in_a_sentence(
    name: str, data: st.DataObject
) -> None:
    meets(name, data)


ONES = np.ones((2, 4), np.float32)
NAN, WIDE, COMPLEX = np.full((2, 2), np.nan), np.ones((2, 99)), np.ones((2, 2), complex)

#: Calls that every state refuses: the class, the method, and its arguments.
REFUSED: dict[str, list[tuple[str, tuple[Any, ...]]]] = {
    "QuantisedCache": [
        ("append", (NAN, np.ones((2, 2)))),
        ("append", (np.ones((2, 4)), np.full((2, 2), np.inf))),
        ("append", (np.ones((2, 4)), np.ones((3, 2)))),
        ("append", (np.full((2, 4), 1e300), np.ones((2, 2)))),
        ("append", (COMPLEX, COMPLEX)),
        ("append", (None, None)),
        ("evict", (10**9,)),
        ("evict", (0.5,)),
        ("evict", (None,)),
        ("attention", (NAN,)),
        ("attention", (WIDE,)),
        ("variation", (WIDE,)),
    ],
    "KeyIndex": [
        ("append", (NAN, np.ones((2, 2), np.float32))),
        ("append", (ONES, np.full((2, 2), np.inf, np.float32))),
        ("append", (ONES, np.ones((3, 2), np.float32))),
        ("append", (np.ones((2, 4)), np.ones((2, 2)))),
        ("append", (COMPLEX, COMPLEX)),
        ("append", (None, None)),
        ("attend", (np.full(4, np.nan, np.float32), 0.5)),
        ("attend", (WIDE, 0.5)),
        ("attend", (ONES, 0.0)),
        ("attend", (ONES, np.nan)),
    ],
    "BalancedCoreset": [
        ("absorb", (NAN, np.ones((2, 2), np.float32))),
        ("absorb", (ONES, np.full((2, 2), np.inf, np.float32))),
        ("absorb", (ONES, np.ones((3, 2), np.float32))),
        ("absorb", (np.ones((2, 4)), np.ones((2, 2)))),
        ("absorb", (COMPLEX, COMPLEX)),
        ("absorb", (None, None)),
        ("attend", (NAN,)),
        ("attend", (WIDE,)),
        ("attend", (np.ones((2, 3), np.float32),)),
        ("attend", (np.full((1, 4), 3e38, np.float32),)),
        ("merge", (None,)),
    ],
    "AuditLedger": [
        ("audit", (None,)),
        ("record", (-1.0,)),
        ("record", (np.nan,)),
        ("record", ("1",)),
        ("split", (2,)),
        ("merge", (None,)),
    ],
    "MomentState": [
        ("update", (NAN, np.ones((2, 3)))),
        ("update", (np.ones((2, 2)), np.full((2, 3), np.inf))),
        ("update", (np.ones((2, 2)), np.ones((3, 3)))),
        ("update", (np.full((2, 2), 1.7e308), np.ones((2, 3)))),
        ("update", (COMPLEX, np.ones((2, 3)))),
        ("merge", (None,)),
        ("merge", (fastpath.MomentState(2, 3, 5),)),
        ("query", (NAN,)),
        ("query", (WIDE,)),
        ("recentred", ([np.nan, 0.0],)),
    ],
    "StreamingAttention": [
        ("absorb", (NAN, np.ones((2, 3)))),
        ("absorb", (np.ones((2, 2)), np.ones((2, 3)))),
        ("attend", (NAN,)),
        ("attend", (np.full((1, 2), 1e6),)),
        ("attend", (WIDE,)),
        ("merge", (None,)),
    ],
}


@pytest.mark.parametrize("name", STATES)
def test_a_refused_call_leaves_a_state_bit_for_bit(name: str, tmp_path: Any) -> None:
    state = after(name, 4)
    state.save(tmp_path / "before")
    for method, arguments in REFUSED[name.partition(",")[0]]:
        with pytest.raises(
            (ValueError, TypeError, RuntimeError, IndexError), match=r"^\w.{10,}\.$"
        ):
            getattr(state, method)(*arguments)
        state.save(tmp_path / "after")
        assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes(), method
