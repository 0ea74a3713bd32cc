"""What the choice among ways costs on heads that it was not set on: never much above exact attention.

    OPENBLAS_NUM_THREADS=1 ATTEST_LONG_HEADS=folder python -m tests.benchmarks.chooser [--half fit|check|all]
        [--lengths n ...] [--rows quantile all] [--draw] [--json FILE]

The folder's ``.npz`` files are those of ``tests.benchmarks.many_heads``, and made-up heads join them.  Of
each kind every second head is of the half that constants are set on, the others of the half that they are
checked on.  Every head is cut to each length, causal and not, and asked for each tolerance, in turn with
exact attention, in this process's time; every certificate is compared with all rows.  ``--draw`` writes the
distribution to ``docs/benchmarks/chooser.svg``.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastpath
from tests.benchmarks.interleaved import seconds

LENGTHS, TOLERANCES = (8192, 16384, 32768), (0.15, 0.06, 0.02)

#: What no case may take, of exact attention's time.
MOST = 1.15

PLOT = Path(__file__).parents[2] / "docs" / "benchmarks" / "chooser.svg"


# ------------------------------------------------------------------------------------------ heads


def _diffuse(rng: np.random.Generator, n: int, d: int) -> Any:
    centres = rng.standard_normal((2, 20, d))
    Q, K = (c[rng.integers(0, 20, n)] + rng.standard_normal((n, d)) / 4 for c in centres)
    return 0.4 * Q, K, rng.standard_normal((n, d)) + K[:, :1]


def _sharp(rng: np.random.Generator, n: int, d: int) -> Any:
    K, V = rng.standard_normal((2, n, d))
    return 3 * K[rng.integers(0, 200, n)] + rng.standard_normal((n, d)) / 20, K, V


def _recent(rng: np.random.Generator, n: int, d: int) -> Any:
    """Weights that fall off with the distance in time."""
    angle = np.arange(n)[:, None] / 10 ** rng.uniform(0, 4, d // 2)
    turned = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return turned * 4 / np.sqrt(d), turned, rng.standard_normal((n, d))


def _sink(rng: np.random.Generator, n: int, d: int) -> Any:
    """The first keys take most of the weight."""
    Q, K, V = rng.standard_normal((3, n, d))
    Q[:, 0], K[:4, 0] = 3, 4
    return Q / 3, K, V


def _blocks(rng: np.random.Generator, n: int, d: int) -> Any:
    """Each run of rows looks at its own run of keys."""
    topics = rng.standard_normal((64, d))[np.arange(n) * 64 // n]
    Q, K = (topics + rng.standard_normal((n, d)) / 2 for _ in range(2))
    return Q / np.sqrt(d / 2), K, topics + rng.standard_normal((n, d))


def _low_rank(rng: np.random.Generator, n: int, d: int) -> Any:
    basis = rng.standard_normal((3, d)) / np.sqrt(d)
    Q, K = (rng.standard_normal((n, 3)) @ basis for _ in range(2))
    return 2 * Q, K, np.cos(K @ rng.standard_normal((d, d)))


def _outlying(rng: np.random.Generator, n: int, d: int) -> Any:
    """Most queries are diffuse; one of some hundred is so sharp that no sample serves it."""
    Q, K, V = _diffuse(rng, n, d)
    some = rng.permutation(n)[: n // rng.integers(60, 400)]
    Q[some] = 4 * K[rng.integers(0, n, len(some))]
    return Q, K, V


def _heavy(rng: np.random.Generator, n: int, d: int) -> Any:
    """A few values are a hundred times the others."""
    Q, K, V = _diffuse(rng, n, d)
    V[rng.permutation(n)[:20]] *= 100
    return Q, K, V


FAMILIES = {
    family.__name__.strip("_"): family
    for family in (_diffuse, _sharp, _recent, _sink, _blocks, _low_rank, _outlying, _heavy)
}


def made_up(n: int) -> Iterator[tuple[str, Any]]:
    """Yield two heads of every family."""
    for number, (name, family) in enumerate(FAMILIES.items()):
        for seed in (0, 1):
            made = family(np.random.default_rng([number, seed]), n, (32, 64)[seed])
            yield f"{name} {seed}", tuple(np.ascontiguousarray(x, np.float32) for x in made)


def real() -> Iterator[tuple[str, Any]]:
    """Yield every head of the folder."""
    folder = os.environ.get("ATTEST_LONG_HEADS")
    if not folder:
        sys.exit("ATTEST_LONG_HEADS must name the folder of the long heads.")
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            yield (
                path.stem.partition("_n")[0],
                tuple(
                    np.ascontiguousarray(file[f"{path.stem}/{x}"].astype(np.float32)) for x in "QKV"
                ),
            )


def halves(heads: Iterator[tuple[str, Any]], half: str) -> Iterator[tuple[str, Any]]:
    """Yield the heads of a half, one after another: they are large."""
    for number, head in enumerate(heads):
        if half == "all" or number % 2 == (half == "check"):
            yield head


# ------------------------------------------------------------------------------------------ cases


def cases(head: Any, n: int, causal: bool, kinds: list[str], seed: int) -> Iterator[dict[str, Any]]:
    """Measure every tolerance of a head, between two calls of exact attention."""
    exact: list[Any] = []

    def run_exact() -> None:
        exact[:] = [fastpath.attention(*head, causal=causal, workers=1)]

    # The first call waits for memory that later ones have.
    _asked(head, TOLERANCES[0], kinds[0], causal, seed, [])()
    before = seconds(run_exact)
    found = []
    for rows in kinds:
        for tolerance in TOLERANCES if rows == "quantile" else TOLERANCES[1:]:
            answer: list[Any] = []
            call = _asked(head, tolerance, rows, causal, seed, answer)
            taken = seconds(call)
            again = seconds(run_exact)
            found.append((tolerance, rows, taken, (before + again) / 2, answer[0]))
            before = again
    for tolerance, rows, taken, exactly, answer in found:
        # A row is outside for certain if it is by more than exact attention itself may err.
        off = np.abs(answer.output - exact[0].output) > answer.error_bound + exact[0].error_bound
        outside = float(off.any(axis=1).mean())
        yield {
            "n": n,
            "causal": causal,
            "tolerance": tolerance,
            "rows": rows,
            "method": answer.method,
            "ratio": taken / exactly,
            "predicted": answer.predicted_cost,
            "outside": outside,
            "violated": outside > answer.uncovered,
            "reason": answer.reason,
        }


def _asked(
    head: Any, tolerance: float, rows: str, causal: bool, seed: int, answer: list[Any]
) -> Callable[[], None]:
    def call() -> None:
        answer[:] = [
            fastpath.certified_attention(
                *head,
                tolerance=tolerance,
                rows=rows,  # type: ignore[arg-type]
                causal=causal,
                rng=np.random.default_rng(seed),
                workers=1,
            )
        ]

    return call


def told(found: list[dict[str, Any]]) -> str:
    """Return what a reader of the table wants to know."""
    ratios = np.array([case["ratio"] for case in found])
    quantiles = np.quantile(ratios, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1])
    methods = Counter(case["method"] for case in found)
    return (
        f"{len(found)} cases: {sum(case['violated'] for case in found)} certificates violated, at most "
        f"{max(case['outside'] for case in found):.2%} of the rows outside; time relative to exact "
        f"attention, quantiles 0, 10, 25, 50, 75, 90, 99, 100 %: {', '.join(f'{x:.2f}' for x in quantiles)}; "
        f"{(ratios > MOST).sum()} above {MOST}; predicted at most "
        f"{max(case['predicted'] for case in found):.2f}; {dict(methods.most_common())}"
    )


def draw(found: list[dict[str, Any]]) -> None:
    """Draw every case's time, by rising time."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "attest", "svg.fonttype": "none"})
    drawing = Figure(figsize=(7.5, 3), layout="constrained")
    axes = drawing.subplots()
    ordered = sorted(found, key=lambda case: case["ratio"])
    for colour, method in enumerate(sorted({case["method"] for case in found})):
        places = [
            (place / len(found) * 100, case["ratio"])
            for place, case in enumerate(ordered, 1)
            if case["method"] == method
        ]
        axes.plot(*zip(*places, strict=True), ".", ms=4, color=f"C{colour}", label=method)
    axes.axhline(1, color="black", linewidth=1)
    axes.axhline(MOST, color="black", linewidth=1, linestyle="--")
    axes.set(yscale="log", xlabel="% of the cases", ylabel="time / exact attention's")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    drawing.savefig(PLOT, metadata={"Date": None}, facecolor="white")


def main() -> None:
    """Measure, and say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--half", choices=["fit", "check", "all"], default="check")
    parser.add_argument("--lengths", type=int, nargs="+", default=[*LENGTHS])
    parser.add_argument("--rows", nargs="+", default=["quantile"], choices=["quantile", "all"])
    parser.add_argument("--kinds", nargs="+", default=["real", "made up"])
    parser.add_argument("--only", default="")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for kind in options.kinds:
        given = real() if kind == "real" else made_up(max(options.lengths))
        of_kind = []
        for name, head in halves(given, options.half):
            if options.only not in name:
                continue
            for n in options.lengths:
                if n > len(head[0]):
                    continue
                cut = tuple(x[:n] for x in head)
                for causal in (False, True):
                    for case in cases(cut, n, causal, options.rows, len(found)):
                        of_kind.append({"head": name, **case})
                        if case["ratio"] > MOST or case["violated"]:
                            print("LOOK:", json.dumps(of_kind[-1]), flush=True)
        if of_kind:
            print(f"{kind}, {options.half}: {told(of_kind)}", flush=True)
        found += of_kind
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), "utf-8")
    if options.draw:
        draw(found)


if __name__ == "__main__":
    main()
