"""Run a kernel and say what is wrong with it; tell which arithmetics it is not of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastpath.core.arithmetic import standard_arithmetic
from fastpath.core.inputs import Array, exact_floats
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.judge import Judgement, Violation, judged, returned
from fastpath.kernels.model import PRESETS, RoundingModel
from fastpath.kernels.probes import Probe, probes
from fastpath.kernels.tolerance import prepare

Kernel = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a kernel returned once, or a sentence on why that cannot be judged.

    Attributes
    ----------
    output : float64 array, or None
    findings : tuple of str
        What is wrong whatever the arithmetic: it raises, returns another shape or type, NaN or infinity where
        the truth is finite, changes its inputs, or returns something else the second time.
    """

    output: Array | None
    findings: tuple[str, ...]


def run_kernel(kernel: Kernel, Q: Any, K: Any, V: Any, **semantics: Any) -> Run:
    """Call ``kernel(Q, K, V, **semantics)`` twice, and look at what it does besides.

    The kernel gets copies, so that it may not change what its caller holds.
    """
    given = [np.array(x) for x in (Q, K, V)]
    shape = (*given[0].shape[:-1], given[2].shape[-1])
    outputs: list[Array] = []
    findings: list[str] = []
    for _ in range(2):
        copies = [x.copy(order="K") for x in given]
        try:
            output = kernel(*copies, **semantics)
        except (Exception, SystemExit) as error:  # whatever it is, it is a finding
            kind = type(error).__name__
            said = str(error).splitlines()[0] if str(error) else ""
            return Run(output=None, findings=(f"The kernel raises {kind}: {said}.",))
        for name, before, after in zip("QKV", given, copies, strict=True):
            if not np.array_equal(before, after, equal_nan=True):
                findings.append(f"The kernel changes {name}, which is its caller's.")
        try:
            array = exact_floats("output", output).astype(np.float64)
        except (TypeError, ValueError) as error:
            return Run(output=None, findings=(f"The kernel returns no array of floats: {error}",))
        if array.shape != shape:
            finding = f"The kernel returns shape {array.shape} where the output has shape {shape}."
            return Run(output=None, findings=(finding,))
        outputs.append(array)
    first, second = outputs
    if not np.array_equal(first, second, equal_nan=True):
        at = np.argwhere(~((first == second) | (np.isnan(first) & np.isnan(second))))[0]
        place = tuple(int(i) for i in at)
        once, again = float(first[place]), float(second[place])
        findings.append(
            f"The kernel is not deterministic: output{list(place)} is {once!r}, then {again!r}, of "
            "the same input."
        )
    return Run(output=first, findings=tuple(dict.fromkeys(findings)))


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Which rounding models a kernel is not of.

    Attributes
    ----------
    out : str
        The format of its output.
    refuted : dict
        For each model by its name: the probe and the entry of it that refutes it, furthest out, or None where
        nothing does.  That nothing refutes a model does not prove it.
    ratios : dict
        For each model, the largest distance from attention over what it allows.
    findings : tuple of str
        What else is wrong, each in a sentence.
    """

    out: str
    refuted: dict[str, tuple[str, Violation] | None]
    ratios: dict[str, float]
    findings: tuple[str, ...]

    @property
    def strongest(self) -> str | None:
        """The first model, in the order in which they were given, that is not refuted."""
        return next((name for name, by in self.refuted.items() if by is None), None)

    def __str__(self) -> str:
        """Return a line a model."""
        lines = []
        for name, by in self.refuted.items():
            if by is None:
                lines.append(f"{name}: not refuted ({self.ratios[name]:.2f} of what it allows)")
                continue
            probe, violation = by
            lines.append(
                f"{name}: refuted by output{list(violation.entry)} of '{probe}', "
                f"{violation.excess:.3g} times as far from attention as it allows"
            )
        return "\n".join((*lines, *self.findings))


@standard_arithmetic
def fingerprint(
    kernel: Kernel,
    out: str = "bfloat16",
    models: Mapping[str, RoundingModel] | None = None,
) -> Fingerprint:
    """Run a kernel on inputs that tell arithmetics apart, and say which models it refutes.

    Parameters
    ----------
    kernel : callable
        ``kernel(Q, K, V, *, scale=1.0, causal=False) -> array``.  It gets float32 arrays of two dimensions
        that hold numbers of the format, which it turns into its own type without rounding.
    out : str
        The format of inputs and output.
    models : mapping of str to RoundingModel, optional
        By default those that have a name, from the strongest on.

    Returns
    -------
    Fingerprint

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed.

    Notes
    -----
    What a kernel does wrong whatever its arithmetic is a finding, and the run goes on with the next probe.
    """
    if not callable(kernel):
        raise TypeError(f"kernel must be callable, got {kernel!r}.")
    if not isinstance(out, str) or out not in FORMATS:
        raise ValueError(f"out must be one of {', '.join(FORMATS)}, got {out!r}.")
    chosen = {name: make(out) for name, make in PRESETS.items()} if models is None else dict(models)
    for name, model in chosen.items():
        if not isinstance(model, RoundingModel):
            raise TypeError(f"models must map names to RoundingModels, got {model!r} for {name!r}.")
    refuted: dict[str, tuple[str, Violation] | None] = dict.fromkeys(chosen)
    ratios = dict.fromkeys(chosen, 0.0)
    findings: list[str] = []
    for probe in probes(out):
        run = run_kernel(kernel, probe.Q, probe.K, probe.V, **probe.options)
        findings += (f"{probe.name}: {finding}" for finding in run.findings)
        if run.output is None:
            continue
        for name, model in chosen.items():
            judgement = judge_probe(run.output, probe, model)
            ratios[name] = max(ratios[name], judgement.ratio)
            worst, known = judgement.worst, refuted[name]
            if worst is not None and (known is None or worst.excess > known[1].excess):
                refuted[name] = probe.name, worst
    return Fingerprint(out=out, refuted=refuted, ratios=ratios, findings=tuple(findings))


def judge_probe(output: ArrayLike, probe: Probe, model: RoundingModel) -> Judgement:
    """Judge a probe's output; where rounding must give a weight's very number, by that."""
    task = prepare(probe.Q, probe.K, probe.V, model, **probe.options)
    got = returned(output, (*task.q.shape[:-1], task.v.shape[-1]))
    plain = model.logits is None and model.inputs is None and model.exponentials is None
    weights, out = model.format("weights"), FORMATS[model.out]
    holds = weights is None or weights.precision >= out.precision
    if probe.exact_weights is None or model.denominator == "normalised" or not plain or not holds:
        return judged(got, task, probe.options)
    return judged(got, replace(task, exact_weights=probe.exact_weights), probe.options)
