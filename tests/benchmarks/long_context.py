"""Long heads, causal and not: certified attention, SDPA, exact attention, and peers that certify nothing.

    OPENBLAS_NUM_THREADS=1 ATTEST_LONG_HEADS=folder python -m tests.benchmarks.long_context [part ...]

Parts, all by default: ``causal``, ``plain``, ``peers``, ``grouped``, ``workers``, ``violations``.  The folder
holds ``.npz`` files as ``tests/benchmarks/test_real_heads.py`` says: two are named there, and ``violations``
takes every file.  One thread is timed by this process's time, calls in turn, medians; two by the clock on the
wall: take a quiet machine for those.  Certificates are part of what is timed.

Peers are re-stated from their ideas (``tests.benchmarks.peer_rules``).  Each is given the smallest of a few
sizes whose 99 % error is that of ours, and the search for it is not timed.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fastpath
from tests.benchmarks.interleaved import medians
from tests.benchmarks.peer_rules import RULES
from tests.benchmarks.test_real_heads import DIFFUSE, ROWS, SHARP

ROUNDS = 3

SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384)


def long_heads() -> dict[str, Any]:
    """Read every head of the folder."""
    folder = os.environ.get("ATTEST_LONG_HEADS")
    if not folder:
        sys.exit("ATTEST_LONG_HEADS must name the folder of the long heads.")
    found = {}
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            name = path.stem
            found[name] = tuple(
                np.ascontiguousarray(file[f"{name}/{x}"].astype(np.float32)) for x in "QKV"
            )
    return found


def sdpa(head: Any, causal: bool) -> Callable[[], Any]:
    tensors = [torch.from_numpy(x)[None, None] for x in head]
    attend = torch.nn.functional.scaled_dot_product_attention
    return lambda: attend(*tensors, scale=1.0, is_causal=causal)


def certified(head: Any, tolerance: float, rows: str, causal: bool, **options: Any) -> Any:
    results: list[Any] = []

    def ours() -> Any:
        results.append(
            fastpath.certified_attention(
                *head,
                tolerance=tolerance,
                rows=rows,
                causal=causal,
                rng=np.random.default_rng(len(results)),
                **{"workers": 1, **options},
            )
        )
        return results[-1]

    return ours


def against_sdpa(head: Any, name: str, cases: list[tuple[float, str]], causal: bool) -> None:
    ours = {case: certified(head, *case, causal) for case in cases}
    exact = {"exact": lambda: fastpath.attention(*head, causal=causal, workers=1)}
    times = medians({"sdpa": sdpa(head, causal), **exact, **ours}, ROUNDS)
    mask = "causal" if causal else "no mask"
    for tolerance, rows in cases:
        last, taken = ours[tolerance, rows](), times[tolerance, rows]
        print(
            f"{name}, {len(head[0])} keys, {mask}, {tolerance:g} of {rows} rows, one thread: "
            f"{times['sdpa'] / taken:.2f} x SDPA ({times['sdpa']:.2f} s), "
            f"{times['exact'] / taken:.2f} x exact; {last.method}, certified "
            f"{float(np.max(last.error_bound)) / float(np.abs(head[2]).max()):.4f}, "
            f"predicted {last.predicted_cost:.2f} of exact, measured {taken / times['exact']:.2f}"
        )


def causal(heads: dict[str, Any]) -> None:
    """The two heads, and longer ones that stand beside them as ``minilm_L2H2_n131072`` and so on."""
    for name, head in heads.items():
        if name.startswith(DIFFUSE.rpartition("_")[0]):
            against_sdpa(head, name, [(0.15, "quantile"), (0.06, "quantile")], True)
        if name.startswith(SHARP.rpartition("_")[0]):
            against_sdpa(head, name, [(1e-3, "all")], True)


def plain(heads: dict[str, Any]) -> None:
    cases = [(tolerance, "quantile") for tolerance in (0.15, 0.06, 0.02)]
    against_sdpa(heads[DIFFUSE], DIFFUSE, cases, False)
    against_sdpa(heads[SHARP], SHARP, [(0.1, "quantile"), (1e-3, "all")], False)


# ------------------------------------------------------------------------------------------ peers


def peers(heads: dict[str, Any]) -> None:
    for name, tolerance in ((DIFFUSE, 0.15), (DIFFUSE, 0.06), (SHARP, 0.1)):
        Q, K, V = heads[name]
        rows = np.random.default_rng(99).integers(0, len(Q), ROWS)
        exact = fastpath.attention(Q[rows], K, V, workers=1).output

        def quantile(output: Any, exact: Any = exact, V: Any = V) -> float:
            errors = np.abs(output - exact).max(axis=1)
            return float(np.quantile(errors, 0.99) / np.abs(V).max())

        ours = certified((Q, K, V), tolerance, "quantile", False)
        target = quantile(ours().output[rows])
        timed: dict[str, Callable[[], Any]] = {"ours": ours}
        reached = {"ours": f"{target:.4f}, certified"}
        for peer, rule in RULES.items():
            function = rule.rule
            for size in SIZES[:3] if peer == "WildCat-like" else SIZES:
                error = quantile(function(Q[rows], K, V, size, np.random.default_rng(0)))
                if error <= target:
                    break
            reached[peer] = f"{error:.4f} with {size} keys"
            timed[peer] = lambda f=function, s=size, h=(Q, K, V): f(*h, s, np.random.default_rng(1))
        times = medians(timed, 1)
        for peer, error_of in reached.items():
            print(
                f"{name}, tolerance {tolerance:g}: {peer} {times[peer]:.2f} s, "
                f"{times[peer] / times['ours']:.2f} of ours, 99 % error {error_of}"
            )


# --------------------------------------------------------------------------------- heads and cores


def grouped(heads: dict[str, Any]) -> None:
    """Query heads that share keys, against each by itself."""
    Q, K, V = (x[:32768] for x in heads[DIFFUSE])
    rng = np.random.default_rng(0)
    group = np.stack([Q, Q[rng.permutation(len(Q))]])
    for mask in (False, True):
        together = certified((group, K[None], V[None]), 0.06, "quantile", mask)
        alone = [certified((q, K, V), 0.06, "quantile", mask) for q in group]
        times = medians({"together": together, "alone": lambda a=alone: [f() for f in a]}, ROUNDS)
        print(
            f"two heads that share 32768 keys, causal {mask}: {times['together'] / 2:.2f} s a head, "
            f"{times['alone'] / 2:.2f} s alone, {times['alone'] / times['together']:.2f} times as fast; "
            f"{together().method}"
        )


def workers(heads: dict[str, Any]) -> None:
    """The clock on the wall, one worker and two.

    Beside it what two quiet cores would give: the time of all threads with one worker, over that of the
    calling thread with two, which the others wait for, and half of the rest.
    """
    for name, tolerance, rows, mask in (
        (DIFFUSE, 0.02, "quantile", False),
        (DIFFUSE, 0.06, "quantile", True),
        (SHARP, 1e-3, "all", False),
        (SHARP, 1e-3, "all", True),
    ):
        clocks = (time.perf_counter, time.process_time, time.thread_time)
        taken: dict[int, list[list[float]]] = {1: [], 2: []}
        outputs: dict[int, Any] = {}
        for _ in range(ROUNDS):
            for count, times in taken.items():
                call = certified(heads[name], tolerance, rows, mask, workers=count)
                starts = [clock() for clock in clocks]
                outputs[count] = call()
                times.append([clock() - x for clock, x in zip(clocks, starts, strict=True)])
        one, two = (np.median(times, axis=0) for times in taken.values())
        least_one, least_two = (np.min(times, axis=0) for times in taken.values())
        quiet = one[1] / (two[2] + (two[1] - two[2]) / 2)
        same = all(
            np.array_equal(getattr(outputs[1], x), getattr(outputs[2], x))
            for x in ("output", "error_bound")
        )
        print(
            f"{name}, {tolerance:g} of {rows} rows, causal {mask}: two workers {one[0] / two[0]:.2f} x "
            f"(of least times {least_one[0] / least_two[0]:.2f} x), by the shares of the threads "
            f"{quiet:.2f} x; bits the same: {same}"
        )


# -------------------------------------------------------------------------------------- violations


def cases(heads: dict[str, Any]) -> Iterator[tuple[str, Any, float, str, bool]]:
    for name, head in heads.items():
        for n in (8192, 16384, 32768):
            for tolerance in (0.15, 0.06, 0.02):
                for rows in ("quantile", "all"):
                    for mask in (False, True):
                        yield f"{name}[:{n}]", tuple(x[:n] for x in head), tolerance, rows, mask


def violations(heads: dict[str, Any]) -> None:
    """Compare every certificate with all rows, and the time of each with exact attention's."""
    ratios, violated, methods = [], 0, []
    for name, head, tolerance, rows, mask in cases(heads):
        exact = fastpath.attention(*head, causal=mask, workers=1)
        ours = certified(head, tolerance, rows, mask)
        times = medians(
            {
                "ours": ours,
                "exact": lambda h=head, m=mask: fastpath.attention(*h, causal=m, workers=1),
            },
            1,
        )
        found = ours()
        # A row is outside for certain if it is by more than exact attention itself may err.
        off = np.abs(found.output - exact.output) > found.error_bound + exact.error_bound
        violated += bool(off.any(axis=1).mean() > found.uncovered)
        ratios.append(times["ours"] / times["exact"])
        methods.append(found.method)
        if ratios[-1] > 1.15:
            print(
                f"slow: {name} {tolerance:g} {rows} causal {mask}: {ratios[-1]:.2f} of exact's time"
            )
    quantiles = np.quantile(ratios, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
    counts = {method: methods.count(method) for method in sorted(set(methods))}
    print(
        f"{len(ratios)} heads, lengths, tolerances and masks: {violated} certificates violated; time "
        f"relative to exact attention, quantiles 0, 10, 25, 50, 75, 90, 100 %: "
        f"{', '.join(f'{x:.2f}' for x in quantiles)}; {counts}"
    )


PARTS = {part.__name__: part for part in (causal, plain, peers, grouped, workers, violations)}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    heads = long_heads()
    for name in names or PARTS:
        PARTS[name](heads)
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
