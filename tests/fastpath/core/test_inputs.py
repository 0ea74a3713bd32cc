"""What array arguments may be: numbers that floats hold exactly, and nothing that numpy would drop unsaid."""

import array
import collections
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis.extra.numpy as arrays
import ml_dtypes
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import fastpath
from fastpath.core.inputs import NARROW, exact_floats, open_unit, plain_array


class Quantity(np.ndarray[Any, Any]):
    """A subclass, as units are attached by."""


class WithUnits:
    """No subclass, but what its type says beside its entries is lost."""

    units = "metre"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ones((2, 2))


class MaskedInside:
    """A container, as of a chunked array, that hands out masked ones."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ma.masked_less(np.ones((2, 2)), 2)


class Table:
    """Columns of two types, which numpy mixes into floats."""

    def __init__(self, *dtypes: str) -> None:
        self.dtypes = dtypes

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ones((2, 2))


class Traced:
    """What gradients run through, as in a tensor."""

    requires_grad = True

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self) -> Any:
        return np.eye(2)


class Exported:
    """What hands out its memory as DLPack alone."""

    def __dlpack__(self, **options: Any) -> Any:
        return np.eye(2).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return np.eye(2).__dlpack_device__()


class Unreadable:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("lies on another device")


MASKED = np.ma.masked_less(np.eye(2), 1)

NO_NUMBERS: dict[str, tuple[Any, str]] = {
    "a masked array": (MASKED, "plain array, got numpy.ma.MaskedArray"),
    "rows of which one is masked": ([np.eye(2)[0], MASKED[1]], r"K\[1\] must be a plain array"),
    "an entry that is masked": ([[1.0, np.ma.masked]], r"K\[0\]\[1\] must be a plain array"),
    "a container of masked arrays": (MaskedInside(), "plain array, got numpy.ma.MaskedArray"),
    "a subclass of arrays": (np.eye(2).view(Quantity), "plain array, got .*Quantity"),
    "rows of a subclass": (list(np.eye(2).view(Quantity)), r"K\[0\] must be a plain array"),
    "a record array": (np.eye(2).view(np.recarray), "plain array, got numpy.rec.recarray"),
    "numbers with units": (WithUnits(), "plain array, got .*WithUnits"),
    "a table of two types": (Table("int64", "float64"), "columns of one type.* float64, int64"),
    "a sparse array": (sp.eye_array(2).tocsr(), "csr_array, which is no dense array"),
    "what cannot be read": (Unreadable(), "readable as an array.* lies on another device"),
    "objects": (np.eye(2).astype(object), "got object"),
    "fractions": ([[Fraction(1, 3), 1.0]], "got object"),
    "decimal numbers": ([[Decimal(1)]], "got object"),
    "an integer beyond 64 bits": ([[2**64 + 1]], "got object"),
    "nothing": (None, "got NoneType"),
    "a set": ({1.0}, "got set"),
    "complex numbers": (np.eye(2) * 1j, "got complex128"),
    "booleans": (np.eye(2, dtype=bool), "got bool"),
    "a boolean beside floats": ([[True, 0.5]], r"K\[0\]\[0\] must hold .* got bool"),
    "strings": ([["1", "2"]], "got <U1"),
    "times": (np.eye(2).astype("m8[s]"), "got timedelta64"),
    "records": (np.zeros(2, [("a", "f8")]), "must hold"),
    "long doubles": (np.eye(2, dtype=np.longdouble), "got float"),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_more_or_else_than_floats_is_refused_in_a_sentence(name: str) -> None:
    value, message = NO_NUMBERS[name]
    with pytest.raises(TypeError, match=message):
        exact_floats("K", value)


EYE = np.eye(2)
NUMBERS: dict[str, tuple[Any, Any]] = {
    "big-endian float64": (EYE.astype(">f8"), EYE),
    "big-endian float32": (EYE.astype(">f4"), EYE.astype(np.float32)),
    "big-endian integers": (EYE.astype(">i8"), EYE),
    "bytes": (EYE.astype(np.int8), EYE),
    "a matrix": (np.matrix(EYE), EYE),
    "nested lists": (EYE.tolist(), EYE),
    "integers beside floats": ([[1, 0.5]], np.array([[1.0, 0.5]])),
    "signed beside unsigned integers": ([[2**63, -1]], np.array([[2.0**63, -1.0]])),
    "rows that are arrays": (list(EYE.astype(np.float32)), EYE.astype(np.float32)),
    "another kind of sequence": (collections.deque([[1.0], [2.0]]), np.array([[1.0], [2.0]])),
    "a buffer": (memoryview(EYE), EYE),
    "a machine array": (array.array("f", [1.0, 2.0]), np.array([1, 2], np.float32)),
    "a tensor with gradients": (Traced(), EYE),
    "rows of tensors with gradients": ([Traced(), Traced()], np.stack([EYE, EYE])),
    "what exports its memory": (Exported(), EYE),
    "half floats": (np.eye(2, dtype=">f2"), EYE.astype(np.float32)),
    **{
        name: (EYE.astype(getattr(ml_dtypes, name)), EYE.astype(np.float32))
        for name in NARROW
        if name != "float16"
    },
    "a table of one type": (Table("float64", "float64"), np.ones((2, 2))),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_read_as_they_are(name: str) -> None:
    value, expected = NUMBERS[name]
    found = exact_floats("K", value)
    assert type(found) is np.ndarray
    assert found.dtype == expected.dtype
    assert found.dtype.isnative
    assert (found == expected).all()


def test_half_floats_are_kept_where_they_are_asked_for() -> None:
    halves = np.eye(2, dtype=">f2")
    assert exact_floats("output", halves, halves=True).dtype == np.float16


@pytest.mark.parametrize(
    ("value", "entry"),
    [
        ([[0, 2**53 + 1]], r"K\[0, 1\] = 9007199254740993"),
        ([[0.5, 2**53 + 1]], r"K\[0\]\[1\] = 9007199254740993"),
        (np.array([[3], [-(2**63) + 1]]), r"K\[1, 0\] = -9223372036854775807"),
        (np.array([2**64 - 1], np.uint64), r"K\[0\] = 18446744073709551615"),
        (np.array(2**53 + 1, ">i8"), r"K = 9007199254740993"),
    ],
)
def test_an_integer_that_float64_rounds_is_refused_by_name(value: Any, entry: str) -> None:
    with pytest.raises(ValueError, match=entry):
        exact_floats("K", value)


def test_sequences_of_different_lengths_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="K must have items of one shape"):
        exact_floats("K", [[1.0, 2.0], [3.0]])


#: Near every power of two, where what float64 holds changes, and anywhere.
INTEGERS = st.one_of(
    st.builds(
        lambda sign, power, offset: sign * ((1 << power) + offset),
        st.sampled_from([-1, 1]),
        st.integers(0, 62),
        st.integers(-3, 3),
    ),
    st.integers(-(2**63), 2**63 - 1),
)


@given(arrays.arrays(np.int64, st.integers(1, 4), elements=INTEGERS))
def test_integers_are_held_exactly_or_refused(x: Any) -> None:
    held = all(int(float(int(entry))) == int(entry) for entry in x)
    for given_as in (x, x.astype(">i8"), x.tolist(), [x.tolist(), [0.5] * len(x)]):
        try:
            found = exact_floats("K", given_as)
        except ValueError:
            assert not held
        else:
            assert held
            flat = np.ravel(found)[: len(x)]
            assert [int(entry) for entry in flat] == x.tolist()


@given(
    st.lists(
        st.lists(
            st.one_of(
                INTEGERS, st.integers(0, 2**64), st.floats(allow_nan=False, allow_infinity=False)
            ),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_nested_numbers_are_held_exactly_or_refused(rows: list[list[float]]) -> None:
    try:
        found = exact_floats("K", rows)
    except (TypeError, ValueError):
        assert any(
            type(x) is int and (x >= 2**64 or int(float(x)) != x) for row in rows for x in row
        )
    else:
        assert [[Fraction(x) for x in row] for row in found] == [
            [Fraction(x) for x in row] for row in rows
        ]


def test_other_types_are_read_without_being_stripped_too() -> None:
    assert plain_array("P", [[True, False]]).dtype == bool
    with pytest.raises(TypeError, match="P must be a plain array"):
        plain_array("P", np.ma.masked_equal(np.eye(2, dtype=bool), True))


def _polynomial(x: Any) -> Any:
    return fastpath.polynomial_attention(np.eye(2), x, np.eye(2), tolerance=0.1)


def _certified(x: Any) -> Any:
    return fastpath.certified_attention(np.eye(2), x, np.eye(2), tolerance=0.1)


TAKING_KEYS: dict[str, Callable[[Any], Any]] = {
    "attention": lambda x: fastpath.attention(np.eye(2), x, np.eye(2)),
    "values of attention": lambda x: fastpath.attention(np.eye(2), np.eye(2), x),
    "Prepared": lambda x: fastpath.Prepared(x, np.eye(2)),
    "values appended": lambda x: fastpath.Prepared(np.eye(2), np.eye(2)).append(np.eye(2), x),
    "polynomial_attention": _polynomial,
    "certified_attention": _certified,
    "DynamicAttention": lambda x: fastpath.DynamicAttention(np.eye(2), x, np.eye(2)),
    "MomentState": lambda x: fastpath.MomentState(2, 2, 2).update(x, np.eye(2)),
    "AttentionRegression": lambda x: fastpath.AttentionRegression(
        x, np.eye(2), np.eye(2), np.eye(2)
    ),
}


@pytest.mark.parametrize(
    ("centre", "error"),
    [
        (np.ma.masked_less([1.0, 0.0], 1), TypeError),
        ([True, False], TypeError),
        (["1", "2"], TypeError),
        ([2**53 + 1, 0], ValueError),
    ],
)
def test_a_centre_is_read_as_keys_are(centre: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="centre"):
        fastpath.MomentState(2, 2, 2, centre=centre)


@pytest.mark.parametrize("name", TAKING_KEYS)
def test_every_door_asks_the_same(name: str) -> None:
    takes = TAKING_KEYS[name]
    takes(np.eye(2).astype(">f8"))
    with pytest.raises(TypeError, match="must be a plain array"):
        takes(MASKED)
    with pytest.raises(ValueError, match="9007199254740993"):
        takes(np.array([[2**53 + 1, 0], [0, 1]]))
    takes(Traced())
    takes(np.eye(2).astype(ml_dtypes.bfloat16))


@pytest.mark.slow
def test_tensors_are_taken_or_refused_in_a_sentence() -> None:
    torch = pytest.importorskip("torch")
    eye = torch.eye(2)
    for tensor in (
        *(eye.to(dtype) for dtype in (torch.float32, torch.float64, torch.int64, torch.float16)),
        *(eye.to(dtype) for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)),
        torch.eye(2, requires_grad=True),
        torch.nn.Parameter(eye.bfloat16()),
        torch.eye(4)[::2, ::2].T,
        (-1j * eye).conj().imag,
    ):
        assert (exact_floats("K", tensor) == np.eye(2)).all()
    assert exact_floats("K", [torch.ones(2), torch.zeros(2)]).dtype == np.float32
    for tensor in (torch.eye(2, device="meta"), eye.to_sparse(), eye.to(torch.complex64)):
        with pytest.raises((TypeError, ValueError), match=r"^K must "):
            exact_floats("K", tensor)


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        pytest.param(10**400, id="an integer that overflows"),
        pytest.param(Fraction(1, 10**400), id="a fraction that is 0 as a float"),
        pytest.param(1 - Fraction(1, 10**20), id="a fraction that is 1 as a float"),
        np.nan,
        np.float32(1),
    ],
)
def test_a_probability_or_tolerance_outside_of_0_to_1_is_refused_in_a_sentence(value: Any) -> None:
    with pytest.raises(ValueError, match=r"tolerance must be in \(0, 1\)"):
        open_unit("tolerance", value)
    assert open_unit("tolerance", Fraction(1, 4)) == 0.25
