"""`attest check` replays token replacements and convicts a `DynamicAttention` whose numbers lie."""

import json
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastpath
from proofs import __main__ as command
from proofs.judging.dynamic import MODES, examine
from proofs.judging.heads import Head, Replacements, shipped_heads, shipped_replacements
from reference import Verdict, attention
from tests.proofs.checking import install, run_check

Array = NDArray[Any]

SHIPPED = shipped_replacements()

RUNS = [(mode, dtype) for mode in MODES for dtype in ("float32", "float64")]


def _first(tokens: int, replacements: int) -> Replacements:
    """Return the first replacements that ship, in as many tokens of their head."""
    head = Head("small", *(x[:tokens] for x in SHIPPED.head.matrices))
    replaced = SHIPPED.tokens[:replacements] % tokens
    Q, K, V = (x[:replacements] for x in SHIPPED.rows)
    return Replacements(name="small, replaced", head=head, tokens=replaced, rows=(Q, K, V))


#: Six replacements in seven tokens; some tokens are never replaced.
SMALL = _first(7, 6)
NEVER = next(iter(set(range(7)) - set(SMALL.tokens.tolist())))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command have no other data than the small replacements."""
    monkeypatch.setattr(command, "shipped_heads", lambda: ())
    monkeypatch.setattr(command, "shipped_matrices", lambda: ())
    monkeypatch.setattr(command, "shipped_replacements", lambda: SMALL)


# ---------------------------------------------------------------------------- an honest answer


def test_the_replacements_that_ship_are_those_of_the_archive() -> None:
    (head,) = (head for head in shipped_heads() if head.name == "minilm_L0H11_n256")
    for shipped, matrix in zip(SHIPPED.head.matrices, head.matrices, strict=True):
        np.testing.assert_array_equal(shipped, matrix)
    path = Path(command.__file__).parent / "data" / "extras.npz"
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(SHIPPED.tokens, arrays["upd_pos"])
        for role, rows in zip("QKV", SHIPPED.rows, strict=True):
            np.testing.assert_array_equal(rows, arrays[f"upd_{role}_rows"])
    assert len(SHIPPED.tokens) == 64


@pytest.mark.usefixtures("small")
def test_an_honest_implementation_passes_and_json_says_what_the_table_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = run_check(capsys, "--verbose")
    assert (status, err) == (0, "")
    document = json.loads(run_check(capsys, "--json")[1])
    assert document["passed"]
    (history,) = document["replacements"]
    assert (history["n"], history["d"], history["replacements"]) == (7, 32, 6)
    rows = [line.split() for line in out.splitlines() if line.startswith(MODES)]
    assert [(run["mode"], run["dtype"]) for run in history["runs"]] == RUNS
    for run, row in zip(history["runs"], rows, strict=True):
        mode, dtype, replaced, checked, *figures, verdict = row
        assert (mode, dtype, verdict) == (run["mode"], run["dtype"], run["verdict"])
        assert (replaced, checked) == ("6", str(run["rows_checked"]))
        shown = [run["error_upper"], run["bound"], run["largest_bound"]]
        assert all(map(_rounds_up_to, shown, figures[:3]))
        assert run["error_lower"] <= run["error_upper"] <= run["bound"] <= run["largest_bound"]
        assert figures[3:] == [str(count) for count in run["operations"].values()]
        assert run["failure"] == ""
    assert document["summary"] in " ".join(out.split())
    assert "every error is inside its certificate" in document["summary"]


def _rounds_up_to(value: float, shown: str) -> bool:
    """Whether ``shown`` is the least three-digit number that is at least ``value``."""
    number = Decimal(shown)
    unit = Decimal(1).scaleb(number.adjusted() - 2)
    return number - unit < Decimal(value) <= number


def test_the_replaced_row_and_others_are_read_each_time_and_all_rows_at_the_end() -> None:
    for run in examine(SMALL, fastpath.DynamicAttention).judgements:
        for made, token in enumerate(SMALL.tokens.tolist(), start=1):
            rows = [read.row for read in run.reads if read.replaced == made]
            assert len(rows) == len(set(rows)) == (4 if made < 6 else 7)
            assert token in rows


class _Recorded(fastpath.DynamicAttention):
    """Keeps what it answered: a row that is read again may differ in its last bits."""

    def __init__(self, *matrices: Array, **choices: Any) -> None:
        super().__init__(*matrices, **choices)
        self.rows: list[Array] = []
        self.bounds: list[float] = []

    def query_row(self, i: int) -> Array:
        self.rows.append(super().query_row(i))
        return self.rows[-1]

    def error_bound(self, i: int) -> float:
        self.bounds.append(super().error_bound(i))
        return self.bounds[-1]


def test_the_errors_and_counts_are_those_of_the_object() -> None:
    def dynamic(*matrices: Array, mode: str) -> Any:
        states.append(_Recorded(*matrices, mode=mode))
        return states[-1]

    states: list[_Recorded] = []
    found = examine(SMALL, dynamic)
    assert found.passed
    Q, K, V = (x.copy() for x in SMALL.head.matrices)
    for token, *new in zip(SMALL.tokens, *SMALL.rows, strict=True):
        Q[token], K[token], V[token] = new
    exact = attention(Q, K, V)
    for run, state in zip(found.judgements, states, strict=True):
        assert [read.bound for read in run.reads] == state.bounds
        for read, row in zip(run.reads[-7:], state.rows[-7:], strict=True):
            lower, upper = exact[read.row].distance(row).largest()
            assert Fraction(read.error[0]) <= upper
            assert lower <= Fraction(read.error[1])
        assert run.operations == state.stats


@pytest.mark.parametrize("tokens", [1, 2])
def test_a_head_of_very_few_tokens_is_read_in_full(tokens: int) -> None:
    found = examine(_first(tokens, 3), fastpath.DynamicAttention)
    assert found.passed
    assert {len(run.reads) for run in found.judgements} == {3 * tokens}


# ------------------------------------------------------------------------------ an answer that lies


class _StaleRow(fastpath.DynamicAttention):
    """Reads one row as it was at first, with the bound of the row as it is."""

    def __init__(self, *matrices: Array, **choices: Any) -> None:
        super().__init__(*matrices, **choices)
        self._stale = super().query_row(NEVER)

    def query_row(self, i: int) -> Array:
        return self._stale if i == NEVER else super().query_row(i)


class _StaleQuery(fastpath.DynamicAttention):
    def set_query(self, i: int, row: Any) -> None:
        pass


class _StaleOnce(fastpath.DynamicAttention):
    """Is wrong after the third replacement only, in the replaced token's row only."""

    _made = 0

    def set_value(self, i: int, row: Any) -> None:
        super().set_value(i, row)
        self._made, self._last = self._made + 1, i

    def query_row(self, i: int) -> Array:
        wrong = self._made == 3 and i == self._last
        return super().query_row(i) + (1 if wrong else 0)


class _NoBound(fastpath.DynamicAttention):
    def error_bound(self, i: int) -> float:
        return 0.0


class _Nothing(fastpath.DynamicAttention):
    """Answers with zeros, and a bound within which they are."""

    def query_row(self, i: int) -> Array:
        return 0 * super().query_row(i)

    def error_bound(self, i: int | None = None) -> float:
        return 100.0


def test_zeros_within_an_honest_bound_do_not_pass() -> None:
    found = examine(SMALL, _Nothing)
    assert not found.passed
    assert all(
        "which an answer errs that looks at no query" in run.failure for run in found.judgements
    )


class _TightBound(fastpath.DynamicAttention):
    """Bounds every row by a tenth of a unit of rounding of its largest entry."""

    def error_bound(self, i: int) -> float:
        row = self.query_row(i)
        return float(np.spacing(np.abs(row).max())) / 10


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("liar", [_StaleRow, _StaleQuery, _StaleOnce, _NoBound, _TightBound])
def test_an_error_above_its_bound_gives_exit_1(
    liar: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, DynamicAttention=liar)
    status, out, _ = run_check(capsys, "--impl", "liar", "--json")
    document = json.loads(out)
    assert (status, document["passed"]) == (1, False)
    assert "not every error is inside its certificate, see small, replaced" in document["summary"]
    status, out, _ = run_check(capsys, "--impl", "liar", "--verbose")
    told = " ".join(out.split())
    assert status == 1
    for run in document["replacements"][0]["runs"]:
        assert run["verdict"] == "OUTSIDE"
        assert f"{run['mode']} in {run['dtype']}: OUTSIDE. {run['failure']}" in told
        assert f"mode='{run['mode']}'" in run["failure"]


def test_a_failure_says_where_and_how_to_see_it() -> None:
    for run in examine(SMALL, _StaleOnce).judgements:
        assert [(x.replaced, x.row) for x in run.reads if x.verdict is Verdict.OUTSIDE] == [
            (3, SMALL.tokens[2])
        ]
        assert run.failure.startswith("1 of 27 rows is not within the bound;")
        for words in (
            f"the error of row {SMALL.tokens[2]} after 3 replacements exceeds its bound most: 1 against",
            f"DynamicAttention(*(arrays[f'small/{{x}}'].astype('{run.dtype}') for x in 'QKV')",
            f"the first 3 replacements of upd_*, and query_row({SMALL.tokens[2]})",
        ):
            assert words in run.sentences


def test_a_mode_that_lies_does_not_spoil_the_others() -> None:
    def dynamic(*matrices: Array, mode: str) -> Any:
        kind = _StaleRow if mode == "dirty" else fastpath.DynamicAttention
        return kind(*matrices, mode=mode)

    found = examine(SMALL, dynamic)
    assert not found.passed
    wrong = {(run.mode, run.dtype) for run in found.judgements if run.verdict is not Verdict.WITHIN}
    assert wrong == {("dirty", "float32"), ("dirty", "float64")}


def test_a_bound_is_judged_to_its_last_bit() -> None:
    """A row's own error, rounded up, is a bound; the float64 below its error is none."""
    honest = {
        (run.mode, run.dtype): [read.error for read in run.reads]
        for run in examine(SMALL, fastpath.DynamicAttention).judgements
    }

    def claims(end: Callable[[tuple[float, float]], float]) -> Any:
        class Claims(fastpath.DynamicAttention):
            def __init__(self, *matrices: Array, mode: Any) -> None:
                super().__init__(*matrices, mode=mode)
                self._errors = iter(honest[mode, matrices[0].dtype.name])

            def error_bound(self, i: int) -> float:
                return end(next(self._errors))

        return Claims

    assert examine(SMALL, claims(lambda error: error[1])).passed
    for run in examine(SMALL, claims(lambda error: float(np.nextafter(error[0], 0)))).judgements:
        assert {read.verdict for read in run.reads if read.error[0]} == {Verdict.OUTSIDE}


# ------------------------------------------------------------------- an answer that is none


class _Raises(fastpath.DynamicAttention):
    _keys = 0

    def set_key(self, i: int, row: Any) -> None:
        self._keys += 1
        if self._keys == 4:
            raise RuntimeError("out of luck")
        super().set_key(i, row)


def _rows(change: Callable[[Array], Any]) -> Any:
    class Rows(fastpath.DynamicAttention):
        def query_row(self, i: int) -> Any:
            return change(super().query_row(i))

    return Rows


def _bounds(bound: Any) -> Any:
    class Bounds(fastpath.DynamicAttention):
        def error_bound(self, i: int) -> Any:
            return bound

    return Bounds


class _CountsNothing(fastpath.DynamicAttention):
    stats = {}  # type: ignore[assignment]  # noqa: RUF012


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("liar", "says"),
    [
        (
            _Raises,
            "DynamicAttention raised RuntimeError when 3 replacements had been answered: out",
        ),
        (lambda Q, K, V: None, "DynamicAttention raised TypeError when 0 replacements"),
        (lambda Q, K, V, mode: None, "DynamicAttention raised AttributeError"),
        (_CountsNothing, "DynamicAttention raised KeyError"),
        (_bounds(None), "DynamicAttention raised TypeError"),
        (_rows(lambda row: row[:3]), "1 replacements: query_row must have shape (32,), got (3,)"),
        (_rows(lambda row: row.astype(int)), "query_row must hold float32 or float64, got int64"),
        (_rows(lambda row: row * np.nan), "query_row holds 32 NaN or infinite entries"),
        (_bounds(np.nan), "error_bound must be finite and at least 0, got nan"),
        (_bounds(np.inf), "error_bound must be finite and at least 0, got inf"),
        (_bounds(-1.0), "error_bound must be finite and at least 0, got -1.0"),
    ],
)
def test_an_answer_that_cannot_be_judged_gives_exit_1(
    liar: Any, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, DynamicAttention=liar)
    status, out, err = run_check(capsys, "--impl", "liar", "--json")
    assert (status, err) == (1, "")
    for run in json.loads(out)["replacements"][0]["runs"]:
        assert run["verdict"] == "NO ANSWER"
        assert says in run["failure"]
    status, out, err = run_check(capsys, "--impl", "liar", "--verbose")
    assert (status, err) == (1, "")
    assert "auto in float64: NO ANSWER. " in " ".join(out.split())


def test_an_implementation_cannot_move_the_truth() -> None:
    class Overwrites(fastpath.DynamicAttention):
        """Does everything well, then spoils what it was given, warns, and reuses what it returned."""

        def __init__(self, Q: Array, K: Array, V: Array, *, mode: Any) -> None:
            super().__init__(Q, K, V, mode=mode)
            Q[:] = K[:] = V[:] = 0
            self._row = np.zeros(V.shape[1], V.dtype)

        def set_key(self, i: int, row: Any) -> None:
            super().set_key(i, row)
            row[:] = 0
            warnings.warn("all is lost", stacklevel=2)

        def query_row(self, i: int) -> Array:
            self._row[:] = super().query_row(i)
            return self._row

    before = [x.copy() for x in (*SMALL.head.matrices, *SMALL.rows)]
    assert examine(SMALL, Overwrites).passed
    for kept, now in zip(before, (*SMALL.head.matrices, *SMALL.rows), strict=True):
        np.testing.assert_array_equal(kept, now)


@pytest.mark.usefixtures("small")
def test_a_module_without_dynamic_attention_is_said_to_be_unchecked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = Head("h", *(x[:4] for x in SHIPPED.head.matrices))
    monkeypatch.setattr(command, "shipped_heads", lambda: (head,))
    install(monkeypatch, attention=fastpath.attention)
    status, out, _ = run_check(capsys, "--impl", "liar", "--json")
    document = json.loads(out)
    said = "liar has no function DynamicAttention: small, replaced not checked."
    assert (status, "replacements" in document) == (0, False)
    assert said in document["summary"]
    assert said in run_check(capsys, "--impl", "liar", "--verbose")[1]
