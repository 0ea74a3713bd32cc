"""Attention kernels of a declared arithmetic: the cases that judge them, and what each case shows.

Cases are those of the conformance suite, one for every fault of ``proofs/data/kernel_faults.toml``, and
probes of four lengths, all in numbers of the format that a kernel returns, so that reading them rounds
nothing.  What a kernel of a rounding
model may return is claim FP.kernel; an entry outside proves that the kernel is not of that arithmetic.
"""

from __future__ import annotations

import importlib
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.evidence.cases import Case
from proofs.evidence.conformance import cases, missing_options

__all__ = [
    "Fault",
    "KernelOutcome",
    "case_names",
    "faults",
    "judge_kernel",
    "kernel_case",
    "kernel_cases",
    "repeat",
]

Array = NDArray[Any]

FAULTS = Path(__file__).parents[1] / "data" / "kernel_faults.toml"

#: Where a judgement begins to say how it is repeated; that of a case is shorter.
REPEATS = " These two lines repeat it:"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault that kernels have had in public: what went wrong, where that was reported, what shows it."""

    name: str
    kind: str
    what: str
    reported: tuple[str, ...]
    input: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KernelOutcome:
    """What one case showed of a kernel.

    ``ratio`` is the largest distance from attention over what the model allows, None where nothing could be
    judged; ``findings`` say what is wrong, each in a sentence; ``missing`` are options that the kernel does
    not take, for which it was not run.
    """

    case: Case
    ratio: float | None = None
    entries: int = 0
    unjudged: int = 0
    findings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


#: In how many keys the probes come that tell what a random input hides, and of what shape else.
LENGTHS, QUERIES, COLUMNS, VALUES = (128, 512, 2048, 4096), 16, 64, 16


@dataclass(frozen=True)
class ProbeCase(Case):
    """A case of which the weights are numbers of the format, relatively, but for this."""

    exact_weights: float | None = None


@cache
def faults() -> tuple[Fault, ...]:
    """Return the public faults, in the order of the file."""
    records = tomllib.loads(FAULTS.read_text("utf-8"))["fault"]
    return tuple(Fault(**{**record, "reported": tuple(record["reported"])}) for record in records)


def kernel_cases(out: str) -> Iterator[Case]:
    """Yield the cases for kernels that return a format, but those with numbers beyond it."""
    name = "float64" if out == "float64" else "float32"
    for case in cases():
        if f" in {name}" in case.name:
            made = _rounded(replace(case, name=case.name.replace(f" in {name}", "")), out)
            if made is not None:
                yield made
    for fault in faults():
        made = _rounded(_case_of(fault), out)
        if made is not None:
            yield made
    for keys in LENGTHS:
        yield from _probes(out, keys)


def kernel_case(name: str, out: str) -> Case:
    """Return the case of that name for kernels that return a format.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = _named(out).get(name)
    if found is None:
        raise ValueError(f"name must be that of a case for kernels in {out}, got {name!r}.")
    return found


@cache
def case_names() -> tuple[str, ...]:
    """Return the names of the cases, those of the widest formats, which hold all numbers."""
    return tuple({name: None for out in ("float32", "float64") for name in _named(out)})


@cache
def _named(out: str) -> dict[str, Case]:
    return {case.name: case for case in kernel_cases(out)}


def options(case: Case) -> dict[str, Any]:
    """Return all options of attention that a case has."""
    causal = {} if case.causal is False else {"causal": case.causal}
    return {**causal, **case.semantics}


def judge_kernel(kernel: Callable[..., Any], case: Case, model: Any) -> KernelOutcome:
    """Run a kernel on a case and judge what it returns; whatever is wrong is a finding."""
    kernels = importlib.import_module("fastpath.kernels")
    asked = options(case)
    missing = missing_options(kernel, replace(case, semantics=asked), by_keyword=True)
    if missing:
        return KernelOutcome(case=case, missing=missing)
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        run = kernels.run_kernel(kernel, case.Q, case.K, case.V, **asked)
    if run.output is None:
        return KernelOutcome(case=case, findings=run.findings)
    try:
        if isinstance(case, ProbeCase):
            judge = importlib.import_module("fastpath.kernels.fingerprint").judge_probe
            found = judge(run.output, _probe_of(case), model)
        else:
            found = kernels.judge_attention(run.output, case.Q, case.K, case.V, model, **asked)
    except ValueError as refusal:
        # The model is of so many roundings that nothing follows from it here.
        return KernelOutcome(case=case, findings=(*run.findings, str(refusal)))
    findings = run.findings
    if found.refuted:
        findings = (*findings, f"{found.sentence.partition(REPEATS)[0]} {_repeated(case, model)}")
    return KernelOutcome(
        case=case,
        ratio=found.ratio,
        entries=found.entries,
        unjudged=found.unjudged,
        findings=findings,
    )


def _probes(out: str, keys: int) -> Iterator[Case]:
    probes = importlib.import_module("fastpath.kernels.probes")
    for probe in probes.exact_probes(out, QUERIES, keys, COLUMNS, VALUES):
        options = dict(probe.options)
        causal = options.pop("causal", False)
        arrays = probe.Q, probe.K, probe.V
        if out == "float64":
            arrays = tuple(x.astype(np.float64) for x in arrays)
        yield ProbeCase(
            probe.name, probe.reveals, *arrays, causal, options, exact_weights=probe.exact_weights
        )


def _probe_of(case: ProbeCase) -> Any:
    """Return the probe that a case was made of."""
    return importlib.import_module("fastpath.kernels.probes").Probe(
        name=case.name,
        reveals=case.catches,
        Q=case.Q,
        K=case.K,
        V=case.V,
        options=options(case),
        exact_weights=case.exact_weights,
    )


def repeat(kernel: Callable[..., Any], name: str, model: Any) -> None:
    """Run a kernel on the case of that name once more.

    Raises
    ------
    AssertionError
        If anything is wrong, with all that is.
    """
    found = judge_kernel(kernel, kernel_case(name, model.out), model)
    if found.findings:
        raise AssertionError(" ".join(found.findings))


def _repeated(case: Case, model: Any) -> str:
    return (
        "These two lines repeat it:\n"
        "    from fastpath.kernels import RoundingModel; from proofs.evidence.kernel_cases import repeat\n"
        f"    repeat(kernel, {case.name!r}, {model})"
    )


def _rounded(case: Case, out: str) -> Case | None:
    """Return a case in numbers of a format, or None where one is beyond it."""
    fmt = importlib.import_module("fastpath.kernels").FORMATS[out]
    dtype = np.float64 if out == "float64" else np.float32

    def numbers(x: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            found: Array = fmt.nearest(x).astype(dtype)
        found = np.where(np.isneginf(x), x, found).astype(dtype)
        # As it lies in memory, which is what some cases are about.
        kept = np.empty_like(x, dtype=dtype)
        kept[...] = found
        return kept

    with np.errstate(over="ignore", invalid="ignore"):
        arrays = [numbers(x) for x in (case.Q, case.K, case.V)]
        given = {
            name: numbers(value) if name in ("bias", "sinks") else value
            for name, value in case.semantics.items()
        }
    if not all(np.isfinite(x).all() for x in arrays):
        return None
    Q, K, V = arrays
    return replace(case, Q=Q, K=K, V=V, semantics=given)


def _case_of(fault: Fault) -> Case:
    """Build the input of a fault."""
    given = fault.input
    n_q, n_k, d = given["queries"], given["keys"], given["columns"]
    query_heads, key_heads = given.get("heads", (None, None))
    rng = np.random.default_rng(16)
    front: list[tuple[int, ...]] = [(), (), ()]
    if query_heads is not None:
        front = [(query_heads,), (key_heads,), (key_heads,)]
    sizes = [(*h, n, d) for h, n in zip(front, (n_q, n_k, n_k), strict=True)]
    Q, K, V = (rng.standard_normal(size) for size in sizes)
    Q, K = Q * given.get("size", 1.0), K * given.get("size", 1.0)
    position = np.arange(n_k)
    match given["logits"]:
        case "equal":
            K, V = 0 * K, 1 + np.abs(V) % 1
        case "low":
            steps = position * 37 % 64 / 16 - 2
            root = 2.0 ** (int(given["level"]).bit_length() // 2)
            Q = np.column_stack([np.full(n_q, -given["level"] / root), 1 + np.arange(n_q) % 2])
            K = np.column_stack([np.full(n_k, root), steps])
            V = np.where(steps > 1, 1.0, -1.0)[:, None] * np.ones((1, d))
        case "tail":
            Q = np.ones((n_q, 1))
            K = (-3 - position % 8 / 16)[:, None]
            V = np.where(position % 8 < 4, 1.0, 0.5)[:, None]
        case "rising":
            Q, K = np.ones((n_q, 1)), (1024.0 * position)[:, None] / 1
            V = (np.where(position % 2, 1.0, -1.0) * (1 + position % 5))[:, None]
    asked = dict(given.get("options", {}))
    causal = asked.pop("causal", False)
    if "window" in asked:
        asked["window"] = tuple(asked["window"])
    if "sinks" in asked:
        asked["sinks"] = np.array(asked["sinks"])
    if "mask" in given:
        asked["mask"] = _mask(given["mask"], n_q, n_k)
    if given.get("layout") == "permuted":
        Q, K, V = (np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2) for x in (Q, K, V))
    return Case(fault.name, f"{fault.kind}: {fault.what}", Q, K, V, causal, asked)


def _mask(name: str, n_q: int, n_k: int) -> NDArray[np.bool_]:
    seen = np.ones((n_q, n_k), bool)
    if name == "empty row":
        seen[n_q // 2] = False
    else:
        seen[:, : n_k - n_k // 5] = False
    return seen
