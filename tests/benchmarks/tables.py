"""Which figures of which benchmarks BENCHMARKS.md shows, and which of them are measured in five minutes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Figure(Enum):
    """What a number says."""

    #: A peer's time over ours: below 1 is a loss.
    SPEED = "speed"
    #: Ours over a peer's, as a benchmark recorded it; shown as the other way round.
    SLOWNESS = "slowness"
    #: Anything else, shown as it is.
    VALUE = "value"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of BENCHMARKS.md and its plot.

    Attributes
    ----------
    name
        What the template calls it.
    test
        The benchmark, as ``file.py::function``.
    heading
        Of the first column.
    rows
        By the ids of the benchmark's parameters: what a row is called.
    columns
        By their headings: what the benchmark records the figure as, and what that says.
    quick
        The ids of the reduced set.
    grows
        Whether the rows are sizes, so that speeds are drawn as lines over them, not as bars.
    """

    name: str
    test: str
    heading: str
    rows: Mapping[str, str]
    columns: Mapping[str, tuple[str, Figure]]
    quick: tuple[str, ...]
    grows: bool = False


SPEED, SLOWNESS, VALUE = Figure.SPEED, Figure.SLOWNESS, Figure.VALUE

TABLES = (
    Table(
        name="exact",
        test="test_attention.py::test_attention_4096_by_64_float32",
        heading="4,096 queries and keys, d = 64, float32",
        rows={
            "logits need no shift": "logits bounded by 40",
            "logits need a shift": "larger logits",
            "causal": "causal (numpy's masks nothing)",
        },
        columns={
            "torch's SDPA": ("fastpath / torch", SLOWNESS),
            "three lines of numpy": ("fastpath / numpy three lines", SLOWNESS),
        },
        quick=("logits need no shift", "logits need a shift", "causal"),
    ),
    Table(
        name="one query",
        test="test_attention.py::test_one_query",
        heading="keys that one query reads, d = 64",
        rows={"2000": "2,000", "20000": "20,000", "200000": "200,000"},
        columns={
            "numpy's three lines / `Prepared`": ("prepared / numpy", SLOWNESS),
            "numpy's three lines / K and V": ("not prepared / numpy", SLOWNESS),
        },
        quick=("2000", "20000", "200000"),
        grows=True,
    ),
    Table(
        name="threads",
        test="test_attention.py::test_eight_heads",
        heading="8 heads, n = 4,096, d = 64, as many threads for torch",
        rows={"1": "one thread", "2": "two threads, by the clock on the wall"},
        columns={"SDPA, all keys": ("full", SLOWNESS), "SDPA, causal": ("causal", SLOWNESS)},
        quick=(),
    ),
    Table(
        name="gradient",
        test="test_attention.py::test_gradient_n_by_64_float32",
        heading="n, d = 64, float32",
        rows={
            "2048-False": "2,048",
            "2048-True": "2,048, causal",
            "4096-False": "4,096",
            "4096-True": "4,096, causal",
        },
        columns={"torch's way back alone": ("fastpath / torch, backward alone", SLOWNESS)},
        quick=("2048-False", "2048-True"),
    ),
    Table(
        name="polynomial",
        test="test_polynomial.py::test_polynomial_attention_of_262144_keys_in_float32",
        heading="d, logits within, tolerance / max\\|V\\|",
        rows={
            "2-1.0-0.001-False": "2, 1, 1e-3",
            "4-1.0-0.001-False": "4, 1, 1e-3",
            "4-2.0-0.001-False": "4, 2, 1e-3",
            "4-8.0-0.01-False": "4, 8, 1e-2",
            "8-1.0-0.001-False": "8, 1, 1e-3",
            "8-2.0-0.001-False": "8, 2, 1e-3",
            "4-1.0-0.001-True": "4, 1, 1e-3, causal",
        },
        columns={
            "torch's SDPA": ("torch, extrapolated / fastpath", SPEED),
            "blocked numpy": ("numpy, extrapolated / fastpath", SPEED),
            "degree": ("degree", VALUE),
            "certified": ("certified error / max|V|", VALUE),
            "observed": ("observed error / max|V|", VALUE),
        },
        quick=("4-1.0-0.001-False", "4-2.0-0.001-False", "4-1.0-0.001-True"),
    ),
    Table(
        name="growth",
        test="test_polynomial.py::test_time_against_n",
        heading="n, d = 4, logits within 1, 1e-3",
        rows={str(2**k): f"{2**k:,}" for k in range(7, 15)},
        columns={
            "torch's SDPA": ("torch / fastpath", SPEED),
            "`attention`, certified": ("attention / fastpath", SPEED),
            "ours, ms": ("fastpath, ms", VALUE),
        },
        quick=tuple(str(2**k) for k in range(7, 15)),
        grows=True,
    ),
    Table(
        name="dynamic",
        test="test_dynamic.py::test_rows",
        heading="n, d, changes : reads",
        rows={
            "4096-64-1-1-False": "4096, 64, 1:1",
            "4096-128-1-1-False": "4096, 128, 1:1",
            "2048-2048-1-1-False": "2048, 2048, 1:1",
            "4096-64-1-10-False": "4096, 64, 1:10",
            "8192-64-1-10-False": "8192, 64, 1:10",
            "4096-64-10-1-True": "4096, 64, 10:1, 32 hot tokens",
        },
        columns={
            "recomputing the row": ("row / auto", SPEED),
            "numpy, eagerly": ("numpy / auto", SPEED),
            "scipy's `dger`, eagerly": ("dger / auto", SPEED),
        },
        quick=("4096-64-1-1-False", "4096-64-1-10-False", "4096-64-10-1-True"),
    ),
    Table(
        name="gram",
        test="test_sparsification.py::test_gram_of_512_sparse_rows",
        heading="512 rows: columns, density, layout",
        rows={
            f"{d}-{density}-{layout}": f"{d:,}, {density}, {layout.upper()}"
            for layout in ("csr", "csc")
            for d, density in (
                (1_000_000, 0.001),
                (1_000_000, 0.01),
                (100_000, 0.001),
                (100_000, 0.01),
                (100_000, 0.03),
                (100_000, 0.1),
                (30_000, 0.3),
                (20_000, 0.6),
                (20_000, 1.0),
            )
        },
        columns={
            "scipy's X @ X.T": ("scipy X @ X.T / fastpath", SPEED),
            "densified product": ("densified GEMM / fastpath", SPEED),
        },
        quick=(
            "100000-0.001-csr",
            "100000-0.01-csr",
            "100000-0.1-csr",
            "100000-0.01-csc",
            "20000-0.6-csr",
        ),
    ),
    Table(
        name="solvers",
        test="test_regression.py::test_solvers_from_a_tenth_away",
        heading="n, d",
        rows={"256-8": "256, 8", "256-16": "256, 16", "1024-8": "1024, 8"},
        columns={
            "ours, ms": ("varpro (ms)", VALUE),
            "L-BFGS-B": ("L-BFGS-B / varpro", SPEED),
            "the same, Y by least squares": ("L-BFGS-B projected / varpro", SPEED),
            "trust-krylov": ("trust-krylov / varpro", SPEED),
            "`least_squares`": ("least_squares / varpro", SPEED),
        },
        quick=("256-8",),
    ),
    Table(
        name="cache",
        test="test_caches.py::test_cost_of_a_certificate",
        heading="65,536 keys, d = 32, 1,024 queries",
        rows={"": "int8, with its certificate"},
        columns={
            "attention in float32, certified": ("certified / float32", SLOWNESS),
            "the cache read, without its certificate": (
                "certificate / attention on what is read",
                SLOWNESS,
            ),
            "memory / float32's": ("memory / float32", VALUE),
            "bound / the hull's": ("bound / hull", VALUE),
        },
        quick=("",),
    ),
    Table(
        name="coverage",
        test="test_caches.py::test_coverage_on_real_heads",
        heading="percent certified, 420 answers of seven heads",
        rows={x: x for x in ("int8", "fp8", "int4 values", "int4", "bfloat16")},
        columns={
            "total variation: relaxed": ("TV relaxed", VALUE),
            "closed": ("TV closed", VALUE),
            "S.tv": ("TV S.tv", VALUE),
            "WitCert's e-form": ("TV WitCert's e-form", VALUE),
            "its tanh": ("TV WitCert's tanh", VALUE),
            "output: hull": ("hull", VALUE),
            "augmented": ("augmented", VALUE),
        },
        quick=("int8", "fp8", "int4"),
    ),
    Table(
        name="real heads",
        test="test_real_heads.py::test_certified_attention_against_exact",
        heading="65,536 real keys: head, tolerance / max\\|V\\|, rows",
        rows={
            "minilm_L2H2_n65536-0.06-quantile": "diffuse, 0.06, 99 %",
            "minilm_L2H2_n65536-0.02-quantile": "diffuse, 0.02, 99 %",
            "minilm_L0H2_n65536-0.1-quantile": "sharp, 0.1, 99 %",
            "minilm_L0H2_n65536-0.001-all": "sharp, 1e-3, every row",
            "minilm_L2H2_n65536-0.02-all": "diffuse, 0.02, every row",
        },
        columns={
            "torch's SDPA": ("torch / ours", SPEED),
            "blocked numpy": ("numpy / ours", SPEED),
            "certified": ("certified", VALUE),
            "99 % error": ("99 % error of ours", VALUE),
        },
        quick=(),
    ),
)
