"""Judge the attention of a running torch model, call by call, by the arithmetic that it is said to be of.

Nothing here imports torch before :func:`watch` is called.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.core.directed import up
from fastpath.core.inputs import Array, integer
from fastpath.core.semantics import semantics as checked_semantics
from fastpath.kernels.formats import FORMATS
from fastpath.kernels.judge import judge_attention, outside, ratios
from fastpath.kernels.model import RoundingModel
from fastpath.kernels.sampled import Found, Scratch, Sums, found_of, sampled_sums
from fastpath.kernels.tolerance import Tolerance

#: Options of attention that may accompany a call of transformers' interface and change no result.
HARMLESS = {
    "position_ids",
    "cache_position",
    "output_attentions",
    "use_cache",
    "cu_seq_lens_q",
    "cu_seq_lens_k",
    "max_length_q",
    "max_length_k",
    "num_items_in_batch",
    "return_dict",
    "output_hidden_states",
}

#: With fewer products of weights and values than that one thread judges a call.
FEW_PRODUCTS = 2**26

#: Bytes of sums that are held before they are made into reports.
MOST_HELD = 2**26

Model = RoundingModel | Callable[[str], RoundingModel]


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """What was found of one head of one call.

    Attributes
    ----------
    layer : str
        The innermost module that made the call, by its name.
    call : int
        Which call of the run it was, counted from 0.
    head : tuple of int
        Its index: batch, head.
    model : RoundingModel
    rows : int
        How many of its rows were judged.
    error : float
        No entry of these is further from attention of the given numbers: certified, rounding included.
    ratio : float
        The largest distance from attention over what the model allows.
    violations : int
        How many entries lie outside what the model allows.
    worst : tuple of int
        Row and column of the entry of the largest ratio.
    value, lower, upper : float
        What was returned there, and what may be.
    """

    layer: str
    call: int
    head: tuple[int, ...]
    model: RoundingModel
    rows: int
    error: float
    ratio: float
    violations: int
    worst: tuple[int, int]
    value: float
    lower: float
    upper: float

    @property
    def refuted(self) -> bool:
        """Whether this head proves that the kernel is not of the model's arithmetic."""
        return self.violations > 0


class Watch:
    """What was seen while a model ran.

    Attributes
    ----------
    findings : list of str
        A sentence for every call that could not be judged, or whose model an entry refutes.
    calls : int
        How many calls were seen.
    """

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.calls = 0
        self._judged: list[_Judged] = []
        self._waiting: list[_Judged] = []
        self._held = 0
        self._lock = threading.RLock()

    @property
    def heads(self) -> list[HeadReport]:
        """One report for every head of every call that was judged, in order."""
        with self._lock:
            self._settle()
            return [report for call in self._judged for report in call.told()]

    def _add(self, call: _Judged, findings: list[str]) -> None:
        """Add a call; of heads that nothing refutes bounds are computed later, of many calls together."""
        with self._lock:
            self._judged.append(call)
            self.findings += findings
            if call.sums is not None:
                self._waiting.append(call)
                self._held += call.sums.nbytes
                if self._held > MOST_HELD:
                    self._settle()

    def _settle(self) -> None:
        """Compute what was put off."""
        with self._lock:
            waiting, self._waiting, self._held = self._waiting, [], 0
            try:
                found = found_of([call.sums for call in waiting if call.sums is not None])
            except Exception as error:  # what cannot be judged must not stop the model
                for call in waiting:
                    call.sums, call.reports = None, list(call.given.values())
                    self.findings.append(
                        f"{call.layer}: call {call.call} is not judged: {error or type(error).__name__}"
                    )
                return
            for call, each in zip(waiting, found, strict=True):
                call.settle(each)

    @property
    def refuted(self) -> bool:
        """Whether any head is refuted."""
        return any(report.refuted for report in self.heads)

    def table(self) -> list[HeadReport]:
        """Return for every layer and head, batches and calls together, the report of the largest ratio.

        Its rows and violations are those of all calls, and its error is the largest.
        """
        merged: dict[tuple[str, int], list[HeadReport]] = {}
        for report in self.heads:
            merged.setdefault((report.layer, report.head[-1] if report.head else 0), []).append(
                report
            )
        return [_together(reports) for reports in merged.values()]

    def __str__(self) -> str:
        """Return a line for every layer and head."""
        lines = [
            f"{'layer':30} {'head':>4} {'rows':>6} {'error':>9} {'of the tolerance':>16}  model"
        ]
        for found in self.table():
            said = "not refuted"
            if found.refuted:
                row, column = found.worst
                said = (
                    f"REFUTED by {found.violations} entries; output{[*found.head, row, column]} of call "
                    f"{found.call} = {found.value!r} lies outside [{found.lower!r}, {found.upper!r}]"
                )
            head = found.head[-1] if found.head else 0
            lines.append(
                f"{found.layer:30} {head:4} {found.rows:6} {found.error:9.2e} {found.ratio:16.3g}  {said}"
            )
        if not self.calls:
            lines.append("No call of scaled_dot_product_attention was seen.")
        return "\n".join((*lines, *(f for f in self.findings if "refutes" not in f)))


@dataclass(kw_only=True)
class _Judged:
    """One call that was judged: reports of its heads, or the sums from which they follow.

    ``output`` is what the kernel returned of the sampled rows, ``given`` reports of heads that were looked at
    more closely, by their index.
    """

    layer: str
    call: int
    model: RoundingModel
    rows: NDArray[np.int64]
    shape: tuple[int, ...] = ()
    output: NDArray[np.float32] | None = None
    sums: Sums | None = None
    found: Found | None = None
    given: dict[int, HeadReport] = field(default_factory=dict)
    reports: list[HeadReport] = field(default_factory=list)

    def settle(self, found: Found) -> None:
        """Keep what was found of each head, and no more of the sums."""
        assert self.output is not None
        self.found, self.sums = found, None
        self.output = self.output[np.arange(len(self.output)), found.row, found.column]

    def told(self) -> list[HeadReport]:
        """Tell what was found head by head."""
        found, self.found = self.found, None
        if found is None:
            return self.reports
        assert self.output is not None
        for index, head in enumerate(np.ndindex(self.shape)):
            if index in self.given:
                self.reports.append(self.given[index])
                continue
            row, column = int(found.row[index]), int(found.column[index])
            self.reports.append(
                HeadReport(
                    layer=self.layer,
                    call=self.call,
                    head=head,
                    model=self.model,
                    rows=len(self.rows),
                    error=float(found.error[index]),
                    ratio=float(found.ratio[index]),
                    violations=0,
                    worst=(int(self.rows[row]), column),
                    value=float(self.output[index]),
                    lower=float(found.lower[index]),
                    upper=float(found.upper[index]),
                )
            )
        return self.reports


def _together(reports: list[HeadReport]) -> HeadReport:
    worst = max(reports, key=lambda report: (report.refuted, report.ratio))
    fields = {name: getattr(worst, name) for name in worst.__dataclass_fields__}
    fields["rows"] = sum(report.rows for report in reports)
    fields["violations"] = sum(report.violations for report in reports)
    fields["error"] = max(report.error for report in reports)
    return HeadReport(**fields)


@contextmanager
def watch(module: Any, model: Model, *, rows: int = 64, seed: int = 0) -> Iterator[Watch]:
    """Follow every call of scaled dot-product attention that a torch module makes, and judge sampled rows.

    Parameters
    ----------
    module : torch.nn.Module or None
        Calls outside its forward pass are not followed; None follows all calls of the process.
    model : RoundingModel, or callable
        The arithmetic of the kernel, or what returns it for a format, as ``torch_flash_cpu`` does.
    rows : int
        How many queries of a call are judged, drawn at random, the same of all heads.
    seed : int
        Of that draw.

    Yields
    ------
    Watch
        Filled while the block runs.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed.

    Notes
    -----
    Inside the block ``torch.nn.functional.scaled_dot_product_attention`` is replaced, and so are the
    functions of transformers' ``AttentionInterface`` if that is loaded; both are as they were after it,
    whatever the block raises, and what the model computes is not changed.  Calls by a name that was bound
    before the block (``from torch.nn.functional import ...``), from C++ or in compiled code are not seen;
    where torch's own modules take their fused path, that is a finding.
    Nothing is raised for a call that cannot be judged: that is a finding.

    The heads of a call are judged at once while it runs, so that what is written to its tensors later changes
    nothing; sums of the sampled rows are kept, 64 MiB of them at most, and what bounds make of these is
    computed of many calls together, when the block ends at the latest.  Outputs of fewer than 24 bits are
    held against attention in float32, whose own error, certified, is part of ``error`` and of what is
    allowed; heads of which an entry comes near what is allowed, and so all that refute, are judged again as
    :func:`fastpath.kernels.judge_attention` does, and so are calls with a bias, a cap or sinks, and models of
    low logits or inputs.

    Claims: as :func:`fastpath.kernels.assert_attention` without a failure probability.
    """
    import torch

    if module is not None and not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module or None, got {module!r}.")
    if not isinstance(model, RoundingModel) and not callable(model):
        raise TypeError(
            f"model must be a RoundingModel, or a function from a format to one, got {model!r}."
        )
    watcher = _Watcher(
        model, integer("rows", rows, 1), np.random.default_rng(integer("seed", seed, 0))
    )
    with ExitStack() as stack:
        if module is not None:
            fused = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)
            watcher.follow(module, stack, fused)
        _PATCH.enter(watcher, torch)
        stack.callback(watcher.seen._settle)
        stack.callback(_PATCH.leave, watcher)
        yield watcher.seen


class _Watcher:
    """One block of :func:`watch`: where its modules are in their forward pass, and what was found."""

    def __init__(self, model: Model, rows: int, rng: np.random.Generator) -> None:
        self.model, self.rows, self.rng = model, rows, rng
        self.seen = Watch()
        self.everywhere = True
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._scratch = Scratch()

    @property
    def names(self) -> list[str]:
        """The modules of this thread's forward pass, innermost last."""
        if not hasattr(self._inside, "names"):
            self._inside.names = []
        found: list[str] = self._inside.names
        return found

    def follow(self, module: Any, stack: ExitStack, fused: tuple[type, ...]) -> None:
        """Learn of the forward passes of a module and of all that it holds, until the stack is left.

        Modules of a ``fused`` class may compute attention without a call, which is then a finding.
        """
        self.everywhere = False
        for name, part in module.named_modules():
            told = name or type(part).__name__
            starts = isinstance(part, fused)

            def before(*_: Any, told: str = told) -> None:
                self.names.append(told)
                self._told.append(0)

            def after(
                _: Any, given: Any, output: Any, told: str = told, starts: bool = starts
            ) -> None:
                if not self.names:
                    return
                self.names.pop()
                seen = self._told.pop()
                if starts and not seen and output is not None:
                    seen = 1
                    with self._lock:
                        self.seen.findings.append(
                            f"{told}: its attention is not judged: it was computed without a call of "
                            "scaled_dot_product_attention, as torch's fused path does, which "
                            "torch.backends.mha.set_fastpath_enabled(False) turns off."
                        )
                if self._told:
                    self._told[-1] += seen

            stack.callback(part.register_forward_pre_hook(before).remove)
            stack.callback(part.register_forward_hook(after, always_call=True).remove)

    @property
    def _told(self) -> list[int]:
        """For each of ``names``, how many calls inside it were seen or told of."""
        if not hasattr(self._inside, "told"):
            self._inside.told = []
        found: list[int] = self._inside.told
        return found

    def judge(self, arguments: Callable[[], Mapping[str, Any]], output: Any) -> None:
        """Judge a call of this thread, if it is one of the module's; never raise."""
        if not self.everywhere and not self.names:
            return
        with self._lock:
            number = self.seen.calls
            self.seen.calls += 1
            draw = self.rng.spawn(1)[0]
        if self._told:
            self._told[-1] += 1
        layer = self.names[-1] if self.names else f"call {number}"
        try:
            call, findings = _judged(
                arguments(), output, self.model, self.rows, draw, layer, number, self._scratch
            )
        except Exception as error:  # a call that cannot be judged must not stop the model
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            with self._lock:
                self.seen.findings.append(f"{layer}: call {number} is not judged: {said}")
            return
        self.seen._add(call, findings)


class _Patch:
    """The one replacement of torch's function, however many blocks watch."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watchers: list[_Watcher] = []
        self._undo = ExitStack()
        self._busy = threading.local()

    def enter(self, watcher: _Watcher, torch: Any) -> None:
        """Let a watcher see calls."""
        with self._lock:
            if not self._watchers:
                self._replace(torch.nn.functional)
                loaded = sys.modules.get("transformers.modeling_utils")
                interface = getattr(loaded, "ALL_ATTENTION_FUNCTIONS", None)
                if interface is not None:
                    self._replace_interface(interface)
            self._watchers.append(watcher)

    def leave(self, watcher: _Watcher) -> None:
        """Let a watcher see no more calls; after the last, all is as it was."""
        with self._lock:
            self._watchers.remove(watcher)
            if not self._watchers:
                self._undo.close()

    def _replace(self, functional: Any) -> None:
        original = functional.scaled_dot_product_attention

        def scaled_dot_product_attention(*given: Any, **named: Any) -> Any:
            return self._called(original, given, named, _arguments)

        functional.scaled_dot_product_attention = scaled_dot_product_attention

        def undo() -> None:
            # Whoever has replaced it since then has ours, which now only passes on.
            if functional.scaled_dot_product_attention is scaled_dot_product_attention:
                functional.scaled_dot_product_attention = original

        self._undo.callback(undo)

    def _replace_interface(self, interface: Any) -> None:
        for name, original in list(interface.items()):

            def called(*given: Any, original: Any = original, **named: Any) -> Any:
                return self._called(original, given, named, _interface_arguments)

            interface[name] = called

            def undo(name: str = name, original: Any = original, ours: Any = called) -> None:
                if interface.get(name) is not ours:
                    return
                del interface[name]  # of this instance; what is registered for all of them stands
                if interface.get(name) is not original:
                    interface[name] = original

            self._undo.callback(undo)

    def _called(
        self,
        original: Callable[..., Any],
        given: tuple[Any, ...],
        named: dict[str, Any],
        read: Callable[..., Mapping[str, Any]],
    ) -> Any:
        """Call what was replaced; judge it unless a call inside it was judged, or it is inside one itself."""
        before = getattr(self._busy, "count", 0)
        returned = original(*given, **named)
        if getattr(self._busy, "count", 0) > before or getattr(self._busy, "judging", False):
            return returned
        self._busy.count = before + 1
        self._busy.judging = True
        try:
            output = returned[0].transpose(-2, -3) if isinstance(returned, tuple) else returned
            with self._lock:
                watchers = list(self._watchers)
            for watcher in watchers:
                watcher.judge(lambda: read(*given, **named), output)
        finally:
            self._busy.judging = False
        return returned


_PATCH = _Patch()


def _arguments(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Mapping[str, Any]:
    """Return what a call of torch's function asked for."""
    return {
        "query": query,
        "key": key,
        "value": value,
        "mask": attn_mask,
        "dropout": dropout_p,
        "causal": "upper-left" if is_causal else False,
        "scale": scale,
    }


def _interface_arguments(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Any = None,
    **more: Any,
) -> Mapping[str, Any]:
    """Return what a call of a function of transformers' interface asked for."""
    unknown = [name for name, x in more.items() if x is not None and name not in HARMLESS]
    if unknown:
        raise ValueError(f"it has options of unknown meaning: {', '.join(unknown)}.")
    if attention_mask is not None and (
        not hasattr(attention_mask, "ndim") or attention_mask.ndim != 4
    ):
        raise ValueError("its attention_mask is none of four dimensions.")
    if attention_mask is not None:
        attention_mask = attention_mask[..., : key.shape[-2]]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    plain = attention_mask is None
    found = {
        "query": query,
        "key": key,
        "value": value,
        "mask": attention_mask,
        "dropout": dropout,
        # A mask says all of that already.
        "causal": "lower-right" if causal and plain and query.shape[-2] > 1 else False,
        "scale": scaling,
        "softcap": softcap,
        "sinks": s_aux,
    }
    if plain and sliding_window is not None:
        found["window"] = (sliding_window - 1, None if causal else sliding_window - 1)
    return found


def _judged(
    asked: Mapping[str, Any],
    output: Any,
    model: Model,
    count: int,
    rng: np.random.Generator,
    layer: str,
    number: int,
    scratch: Scratch,
) -> tuple[_Judged, list[str]]:
    """Judge one call."""
    out = str(output.dtype).removeprefix("torch.")
    if out not in FORMATS:
        raise ValueError(f"its output is of type {out}, which is no format of a RoundingModel.")
    declared = model if isinstance(model, RoundingModel) else model(out)
    if declared.out != out:
        raise ValueError(f"its output is of type {out} and the model's of {declared.out}.")
    if asked["dropout"]:
        raise ValueError(f"it drops weights at random, dropout_p={asked['dropout']!r}.")
    query, key, value = asked["query"], asked["key"], asked["value"]
    n_q = query.shape[-2]
    rows = np.sort(rng.choice(n_q, size=min(count, n_q), replace=False))
    semantics, rows = _semantics(asked, rows)
    if not rows.size:
        raise ValueError("every row that was drawn sees nothing but what its bias hides.")
    scale = asked["scale"]
    semantics["scale"] = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    call = _Judged(layer=layer, call=number, model=declared, rows=rows)
    picked = _at(output, rows)
    if _together_judged(call, picked, query, key, value, semantics, scratch):
        findings = _refuting(list(call.given.values()))
        return call, findings
    call.reports = _one_by_one(call, _numbers(picked), query, key, value, semantics)
    return call, _refuting(call.reports)


def _at(tensor: Any, rows: NDArray[np.int64]) -> Any:
    """Return a copy of some rows of a tensor."""
    index = sys.modules["torch"].from_numpy(rows).to(tensor.device)
    return tensor.detach().index_select(-2, index)


def _one_by_one(
    call: _Judged,
    returned: NDArray[Any],
    query: Any,
    key: Any,
    value: Any,
    semantics: dict[str, Any],
    head: tuple[int, ...] = (),
) -> list[HeadReport]:
    """Judge the heads of a call each for itself, as :func:`fastpath.kernels.judge_attention` does."""
    picked: dict[str, Any] = {}
    if semantics["causal"] or semantics.get("window") is not None:
        Q, picked["rows"] = _numbers(query), call.rows
    else:
        # Nothing depends on where a query stands, so that the others need not be looked at.
        Q = _numbers(_at(query, call.rows))
    K, V = _numbers(key), _numbers(value)
    # Threads cost more than they save where there is little to do.
    little = returned.size * K.shape[-2] < FEW_PRODUCTS
    judgement = judge_attention(
        returned, Q, K, V, call.model, workers=1 if little else None, **picked, **semantics
    )
    return _reports(
        returned.astype(np.float64),
        judgement.tolerance,
        call.model,
        call.rows,
        call.layer,
        call.call,
        head,
    )


def _together_judged(
    call: _Judged,
    picked: Any,
    query: Any,
    key: Any,
    value: Any,
    semantics: dict[str, Any],
    scratch: Scratch,
) -> bool:
    """Judge all heads of a call at once, where that is possible, but for those that it leaves in doubt."""
    torch = sys.modules["torch"]
    simple = all(semantics.get(name) is None for name in ("bias", "softcap", "sinks"))
    narrow = all(
        x.dtype in (torch.float32, torch.bfloat16, torch.float16) for x in (query, key, value)
    )
    fits = query.ndim == key.ndim == value.ndim and query.shape[:-3] == key.shape[:-3]
    fits = fits and query.ndim > 2 and key.shape[:-1] == value.shape[:-1]
    fits = fits and query.shape[-3] % key.shape[-3] == 0 and query.shape[-1] == key.shape[-1]
    fits = fits and tuple(picked.shape) == (*query.shape[:-2], len(call.rows), value.shape[-1])
    if not (simple and narrow and fits and picked.numel() and key.numel()):
        return False
    shape = tuple(query.shape[:-2])
    hidden = _hidden(shape, query.shape[-2], key.shape[-2], call.rows, semantics)
    Q, K, V, returned = (_singles(x) for x in (_at(query, call.rows), key, value, picked))
    found = sampled_sums(
        returned, Q, K, V, call.model, semantics["scale"], hidden, torch.get_num_threads(), scratch
    )
    if found is None:
        return False
    call.sums, near = found
    call.shape, call.output = shape, returned
    group = query.shape[-3] // key.shape[-3]
    for index in np.flatnonzero(near):
        head = tuple(int(i) for i in np.unravel_index(int(index), shape))
        shared = (*head[:-1], head[-1] // group)
        own = dict(semantics)
        if own.get("mask") is not None:
            rows_and_keys = own["mask"].shape[-2:]
            own["mask"] = np.broadcast_to(own["mask"], (*shape, *rows_and_keys))[head]
        (report,) = _one_by_one(
            call, returned[index], query[head], key[shared], value[shared], own, head
        )
        call.given[int(index)] = report
    return True


def _hidden(
    shape: tuple[int, ...],
    queries: int,
    keys: int,
    rows: NDArray[np.int64],
    semantics: dict[str, Any],
) -> NDArray[np.bool_] | None:
    """Return which keys the sampled queries do not see, of all heads alike or of each; None: all see all."""
    checked = checked_semantics(
        shape, queries, keys, causal=semantics["causal"], window=semantics.get("window")
    )
    found: Any = None
    ranges = checked.ranges(rows)
    if ranges is not None:
        key = np.arange(keys)
        first, stop = (x[:, None] for x in ranges)
        found = ((key < first) | (key >= stop))[None]
    if semantics.get("mask") is not None:
        mask = np.broadcast_to(semantics["mask"], (*shape, len(rows), keys))
        unseen = ~mask.reshape(-1, len(rows), keys)
        found = unseen if found is None else found | unseen
    return found if found is not None and found.any() else None


def _singles(tensor: Any) -> NDArray[np.float32]:
    """Return the numbers of a tensor of heads in float32, one head after the other."""
    found = tensor.detach().to(sys.modules["torch"].float32)
    array: NDArray[np.float32] = found.cpu().numpy()
    return array.reshape(-1, *array.shape[-2:])


def _refuting(reports: list[HeadReport]) -> list[str]:
    """Return the sentence on what refutes a call's model most, if anything does."""
    refuted = [r for r in reports if r.refuted]
    if not refuted:
        return []
    worst = max(refuted, key=lambda r: r.ratio)
    return [
        f"{worst.layer}: output{[*worst.head, *worst.worst]} of call {worst.call} refutes {worst.model}: "
        f"{worst.value!r} lies outside [{worst.lower!r}, {worst.upper!r}]."
    ]


def _reports(
    output: Array,
    allowed: Tolerance,
    model: RoundingModel,
    rows: NDArray[np.int64],
    layer: str,
    number: int,
    first: tuple[int, ...] = (),
) -> list[HeadReport]:
    """Tell the judgement of a call head by head, or of the one head of that index."""
    bad = outside(output, allowed.lower, allowed.upper)
    ratio = ratios(output, allowed, model)
    unknown = np.isinf(allowed.lower) & np.isinf(allowed.upper)
    ratio = np.where(unknown, 0, ratio)
    with np.errstate(invalid="ignore"):
        error = up(up(np.abs(output - allowed.centre)) + allowed.centre_bound)
    error = np.where(np.isnan(error), np.inf, error)
    reports = []
    for head in np.ndindex(output.shape[:-2]):
        order = np.where(bad[head], ratio[head] + 1, ratio[head])
        place = np.unravel_index(int(np.argmax(order)), order.shape)
        row, column = (int(i) for i in place)
        at = (*head, row, column)
        reports.append(
            HeadReport(
                layer=layer,
                call=number,
                head=(*first, *head),
                model=model,
                rows=len(rows),
                error=float(error[head].max()),
                ratio=float(ratio[head].max()),
                violations=int(np.count_nonzero(bad[head])),
                worst=(int(rows[row]), column),
                value=float(output[at]),
                lower=float(allowed.lower[at]),
                upper=float(allowed.upper[at]),
            )
        )
    return reports


def _semantics(
    asked: Mapping[str, Any], rows: NDArray[np.int64]
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return the options of attention, and the rows of which these say what torch computes."""
    found: dict[str, Any] = {"causal": asked["causal"], "empty_rows": "zeros"}
    for name in ("window", "softcap"):
        if asked.get(name) is not None:
            found[name] = asked[name]
    if asked.get("sinks") is not None:
        found["sinks"] = _numbers(asked["sinks"]).reshape(-1)
    mask = asked["mask"]
    if mask is None:
        return found, rows
    if found["causal"]:
        raise ValueError("it has a mask and is causal too.")
    whole = mask.shape[-2] == 1
    if str(mask.dtype) == "torch.bool":
        found["mask"] = _plain(mask if whole else mask[..., rows, :])
        return found, rows
    # A row in which the smallest number of a type stands for minus infinity throughout is one of which the
    # definition and torch differ: it absorbs every score.
    bias = _numbers(mask if whole else mask[..., rows, :])
    least = -FORMATS[str(mask.dtype).removeprefix("torch.")].largest / 2
    empty = (bias <= least).all(axis=-1) & np.isfinite(bias).any(axis=-1)
    if whole:
        found["bias"] = bias
        return found, rows[:0] if empty.any() else rows
    kept = ~empty.reshape(-1, len(rows)).any(axis=0)
    found["bias"] = bias[..., kept, :]
    return found, rows[kept]


def _numbers(tensor: Any) -> NDArray[Any]:
    """Return the very numbers of a tensor."""
    found = tensor.detach()
    if str(found.dtype) in ("torch.bfloat16", "torch.float16"):
        found = found.float()
    return _plain(found)


def _plain(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
