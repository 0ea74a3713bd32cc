"""The figures of the gallery: each computed from what ships, in seconds, certified beside observed."""

from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import fastpath
import reference
from proofs.judging.heads import shipped_heads, shipped_matrices
from specs.ledger import ledger

mpl.rcParams.update(
    {
        "svg.hashsalt": "attest",  # the same figure, the same file
        "svg.fonttype": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, on white, so that it can be read on a dark page too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, facecolor="white", bbox_inches="tight")


def axes(x: str, y: str, *, width: float = 7.0, **scales: str) -> tuple[Figure, Any]:
    """Return a figure of one panel with named axes."""
    figure = Figure(figsize=(width, 3.8), layout="constrained")
    panel = figure.subplots()
    panel.set(xlabel=x, ylabel=y, **scales)
    return figure, panel


def _observed(head: Any, output: Any) -> float:
    """Return the largest error of every sixteenth row, decided by enclosures."""
    exact = reference.attention(head.Q[::16], head.K, head.V)
    return float(exact.distance(output[::16].astype(float)).largest()[1])


def certified_beside_observed() -> Figure:
    """Compare certified with observed errors, a head.

    Attention of the real heads with 256 tokens, in float32 and from a cache of 8 bits. What is
    certified is a theorem's; what is observed, of every sixteenth row, is decided by enclosures of the
    exact answer.
    """
    figure, panel = axes("", "error of an entry / largest |V|", yscale="log")
    heads = [head for head in shipped_heads() if head.name.endswith("n256")]
    answers = {
        "float32": lambda head: fastpath.attention(*head.matrices),
        "int8 cache": lambda head: fastpath.QuantisedCache(head.K, head.V).attention(head.Q),
    }
    for colour, (name, answer) in zip(("C0", "C1"), answers.items(), strict=True):
        found = [answer(head) for head in heads]
        largest = [np.abs(head.V).max() for head in heads]
        bounds = [x.error_bound[::16].max() / v for x, v in zip(found, largest, strict=True)]
        errors = [
            _observed(head, x.output) / v for head, x, v in zip(heads, found, largest, strict=True)
        ]
        places = np.arange(len(heads)) + (0.12 if name == "float32" else -0.12)
        panel.vlines(places, errors, bounds, color=colour, alpha=0.4)
        panel.plot(places, bounds, "v", color=colour, label=f"{name}, certified")
        panel.plot(places, errors, "o", color=colour, label=f"{name}, observed")
    names = [head.name.removesuffix("_n256") for head in heads]
    panel.set_xticks(range(len(heads)), names, rotation=20)
    figure.legend(ncols=4, loc="outside upper center")
    return figure


def formats_of_a_cache() -> Figure:
    """Weigh what a cache takes against what it certifies.

    Keys and values of the real heads with 256 tokens in five formats: memory, certificates and scales
    included, against the certified error of an answer and the observed one (medians over queries of
    seven heads).
    """
    figure, panel = axes("memory / float32's", "error of an answer / largest |V|", yscale="log")
    formats: dict[str, tuple[Any, Any]] = {
        "bfloat16": ("bfloat16", "bfloat16"),
        "int8": (8, 8),
        "fp8": ("fp8", "fp8"),
        "int8 keys, int4 values": (8, 4),
        "int4": (4, 4),
    }
    heads = [head for head in shipped_heads() if head.name.endswith("n256")]
    for name, (key_bits, value_bits) in formats.items():
        memory, bounds, errors = [], [], []
        for head in heads:
            cache = fastpath.QuantisedCache(
                head.K, head.V, key_bits=key_bits, value_bits=value_bits
            )
            found, exact = (
                cache.attention(head.Q[::4]),
                fastpath.attention(head.Q[::4], head.K, head.V),
            )
            largest = np.abs(head.V).max()
            memory.append(cache.nbytes / (head.K.nbytes + head.V.nbytes))
            bounds += (found.error_bound.max(axis=1) / largest).tolist()
            errors += (np.abs(found.output - exact.output).max(axis=1) / largest).tolist()
        place = float(np.mean(memory))
        panel.plot(place, np.median(bounds), "v", color="C0")
        panel.plot(place, np.median(errors), "o", color="C1")
        panel.annotate(name, (place, np.median(bounds)), (6, 4), textcoords="offset points")
    panel.plot([], [], "v", color="C0", label="certified")
    panel.plot([], [], "o", color="C1", label="observed")
    panel.axhline(1, color="grey", linewidth=0.8)
    panel.set_xlim(right=0.62)
    panel.legend(loc="lower left")
    return figure


def reach_of_polynomials() -> Figure:
    """See how far polynomials reach.

    `polynomial_attention` to 1e-3 of the largest |V| in the first four columns of a real head, its
    queries scaled so that logits reach so far. The degree grows with the logits, and with it the
    features: at the head's own size, and at full width, exact attention is the way.
    """
    figure, panel = axes("largest |logit|", "error / largest |V|", yscale="log")
    panel.set_xscale("log", base=2)
    right = panel.twinx()
    right.set(ylabel="features", yscale="log")
    (head,) = (head for head in shipped_heads() if head.name == "minilm_L4H2_n256")
    Q, K, V = (x[:, :4].astype(float) for x in head.matrices)
    K -= (K.max(axis=0) + K.min(axis=0)) / 2
    reach, bounds, errors, features = [], [], [], []
    for size in 2.0 ** np.arange(-3, 4):
        queries = Q * size / np.abs(Q @ K.T).max()
        try:
            found = fastpath.polynomial_attention(queries, K, V, tolerance=1e-3)
        except fastpath.ExpansionError:
            break
        exact = fastpath.attention(queries, K, V)
        reach.append(size)
        bounds.append(found.error_bound.max() / np.abs(V).max())
        errors.append((np.abs(found.output - exact.output)).max() / np.abs(V).max())
        features.append(found.expansion.features)
    panel.plot(reach, bounds, "v-", label="certified")
    panel.plot(reach, errors, "o-", label="observed")
    right.plot(reach, features, "s:", color="C2", label="features")
    figure.legend(ncols=3, loc="outside upper center")
    return figure


def an_audited_stream() -> Figure:
    """Follow what audits say of a stream.

    Of 20,000 answers 0.5 % are wrong, which nobody knows; one of ten is audited. `AuditLedger` says at
    every step how many of all can have erred, and the statement fails at any time with probability 1e-6
    at most.
    """
    figure, panel = axes("answers", "fraction of answers that err", xscale="log", yscale="log")
    rng = np.random.default_rng(0)
    ledger_of_answers = fastpath.AuditLedger(0.01, 1e-6, 1.0, audit_probability=0.1)
    wrong, said = 0, []
    for step in range(1, 20_001):
        error = 2.0 if rng.random() < 0.005 else 0.5
        wrong += error > 1
        if ledger_of_answers.audit(rng):
            ledger_of_answers.record(error)
        if step >= 100 and (step % 50 == 0):
            said.append((step, ledger_of_answers.bound().uncovered, wrong / step))
    steps, bounds, truth = zip(*said, strict=True)
    panel.plot(steps, bounds, label="at most, says the ledger")
    panel.plot(steps, truth, label="in truth")
    panel.legend()
    return figure


def columns_and_epsilon() -> Figure:
    """Count columns against what they certify.

    So many weighted columns of a real matrix of 32 activations of 1,536 features, chosen by barriers
    (BSS) and by leverage: the epsilon that two factorisations prove. Any Y may be asked for instead,
    and then 32 columns have none.
    """
    figure, panel = axes("columns kept, of 1,536", "epsilon, proved", yscale="log")
    X = next(x for x in shipped_matrices() if x.name.startswith("ffn")).X.astype(float)
    for method in ("bss", "leverage"):
        points = []
        for width in (64, 96, 128, 192, 256, 384, 512):
            try:
                found = fastpath.sparsify(
                    X, guarantee="columns", method=method, width=width, rng=np.random.default_rng(0)
                )
            except (RuntimeError, ValueError):
                continue  # so few columns certify nothing
            points.append((found.Y.shape[1], found.epsilon))
        panel.plot(*zip(*points, strict=True), "o-", label=method)
    panel.axhline(1, color="grey", linewidth=0.8)
    panel.legend()
    return figure


def a_bound_that_is_attained() -> Figure:
    """Attain a bound.

    Logits that move by at most eta move softmax weights by at most tanh(eta/2) in total variation
    (S.tv, proved in Coq). Random moves stay far below; one that lifts half of the weight and lowers the
    other half attains it, so that no smaller bound is true.
    """
    figure, panel = axes("eta", "total variation")
    etas = np.linspace(0, 4, 33)
    rng = np.random.default_rng(0)

    def softmax(x: Any) -> Any:
        weights = np.exp(x - x.max())
        return weights / weights.sum()

    def variation(x: Any, move: Any) -> float:
        return float(np.abs(softmax(x + move) - softmax(x)).sum() / 2)

    for label, marker, n in (
        ("8 logits, random moves", ".", 8),
        ("100 logits, random moves", "x", 100),
    ):
        moved = [variation(rng.standard_normal(n), rng.uniform(-eta, eta, n)) for eta in etas]
        panel.plot(etas, moved, marker, alpha=0.6, label=label)
    extreme = [variation(np.array([-eta, eta]) / 2, np.array([eta, -eta])) for eta in etas]
    panel.plot(etas, extreme, "o", fillstyle="none", label="half up, half down")
    panel.plot(etas, np.tanh(etas / 2), "k", label="the bound tanh(eta/2)")
    panel.legend()
    return figure


def verdicts() -> Figure:
    """Count verdicts on the claims.

    What the audit finds of every claim of the ledger, by the paper that makes it; S, K, FP, L, R and Q
    are ours, Q.witcert excepted.
    """
    figure, panel = axes("claims", "")
    groups: dict[str, Counter[str]] = {}
    for record in ledger().records.values():
        groups.setdefault(record.id.split(".")[0], Counter())[str(record.verdict)] += 1
    kinds = [kind for kind, _ in sum(groups.values(), Counter()).most_common()]
    names = [*groups][::-1]
    left = np.zeros(len(names))
    for kind in kinds:
        counts = np.array([groups[name][kind] for name in names])
        panel.barh(names, counts, left=left, label=kind)
        left += counts
    figure.legend(loc="outside right upper")
    return figure


#: In the order of the page.
FIGURES = (
    certified_beside_observed,
    formats_of_a_cache,
    reach_of_polynomials,
    an_audited_stream,
    columns_and_epsilon,
    a_bound_that_is_attained,
    verdicts,
)
