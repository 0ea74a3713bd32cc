"""What a check measured, drawn: nothing is drawn that the document does not hold.

Colours are those of the page, light or dark: matplotlib is given stand-ins, which become its variables.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from proofs.command.report import counted, ratio, up
from proofs.page.answers import Answer, Item

__all__ = ["Figure", "figures_of_check", "figures_of_claims"]

#: Stand-ins and the page's variables that they become.
COLOURS = {
    "#010101": "ink",
    "#020202": "quiet",
    "#030303": "rule",
    "#040404": "accent",
    "#050505": "second",
    "#060606": "third",
    "#070707": "good",
    "#080808": "bad",
}
INK, QUIET, RULE, ACCENT, SECOND, THIRD, GOOD, BAD = COLOURS

#: Inches; at 96 pixels each they leave text legible on a telephone.
WIDTH, HEIGHT = 4.4, 2.9

#: Heads that one drawing holds, and characters of their names.
MOST_HEADS, LONGEST_NAME = 40, 28

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "attest",
    "text.parse_math": False,  # a head may be called anything
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@dataclass(frozen=True)
class Figure:
    """A drawing, its title, and in sentences what is seen."""

    title: str
    caption: str
    svg: Markup


def figures_of_check(items: Sequence[Item]) -> list[Figure]:
    """Return the drawings that the answers of a check allow."""
    return _drawn(items, (_nearness, _functions, _lengths, _times, _coverage, _applicability))


def figures_of_claims(claims: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Return the drawing of how sharp the bounds of some claims are."""
    return _drawn(claims, (_sharpness,))


Draw = Callable[[Sequence[Any], Drawing], tuple[str, str] | None]


def _drawn(what: Sequence[Any], ways: Sequence[Draw]) -> list[Figure]:
    found = []
    # matplotlib warns of glyphs that it has not; the browser's fonts set the text.
    with mpl.rc_context(_STYLE), warnings.catch_warnings(action="ignore"):
        for k, draw in enumerate(ways, 1):
            drawing = Drawing(figsize=(WIDTH, HEIGHT), layout="constrained")
            if told := draw(what, drawing):
                title, caption = told
                found.append(Figure(title, caption, _svg(drawing, f"f{k}", title)))
    return found


def _svg(drawing: Drawing, prefix: str, title: str) -> Markup:
    """Return a drawing in the page's colours, whose ids are not another drawing's."""
    file = io.StringIO()
    drawing.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for part in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        text = re.sub(part, "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for stand_in, name in COLOURS.items():
        text = text.replace(stand_in, f"var(--{name})")
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    label = Markup('<svg role="img" aria-label="{}"').format(title)
    text = " ".join(text.split()).replace("> <", "><")
    return Markup(text.replace("<svg", label, 1))


# ------------------------------------------------------------------------------------ what is drawn


def _nearness(items: Sequence[Item], drawing: Drawing) -> tuple[str, str] | None:
    """Draw the error and the bound of each head."""
    heads = [
        (item.name, item.main, figures)
        for item in items
        if item.main and item.main.section == "heads" and (figures := _figures(item.main))
    ]
    heads.sort(key=lambda head: head[2][1] / head[2][0])
    shown = heads[:MOST_HEADS]
    if not shown:
        return None
    drawing.set_size_inches(WIDTH, 1.2 + 0.2 * max(4, len(shown)))
    axes = drawing.subplots()
    for row, (_, answer, (error, bound)) in enumerate(reversed(shown)):
        colour = ACCENT if answer.outcome == "within" else BAD
        axes.plot([error, bound], [row, row], color=RULE, linewidth=2, zorder=1)
        axes.plot(error, row, "o", color=colour, markersize=5, fillstyle="none", zorder=2)
        axes.plot(bound, row, "|", color=colour, markersize=11, markeredgewidth=2, zorder=2)
    axes.set_yticks(range(len(shown)), [_short(name) for name, _, _ in reversed(shown)])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.grid(visible=False, axis="y")
    _logarithmic(axes, "x")
    axes.set_xlabel("error of an entry, absolute")
    _legend(
        axes,
        Line2D([], [], color=ACCENT, marker="o", fillstyle="none", linestyle="", label="observed"),
        Line2D(
            [], [], color=ACCENT, marker="|", markeredgewidth=2, linestyle="", label="certified"
        ),
    )
    ratios = [bound / error for _, _, (error, bound) in shown]
    of_all = f" The {MOST_HEADS} of {len(heads)} nearest to their bounds." if heads != shown else ""
    told = f" The bound is {ratio(min(ratios))} to {ratio(max(ratios))} times the error."
    return (
        "Certified bound and observed error of each head",
        "Exact attention: the largest error that exact arithmetic found, and the largest that the "
        "certificate allows." + told + of_all,
    )


def _functions(items: Sequence[Item], drawing: Drawing) -> tuple[str, str] | None:
    """Draw the bound over the error of every answer, a row a function."""
    by_function: dict[str, list[float]] = {}
    for answer in _all(items):
        if (value := answer.found["bound_over_error"]) is not None:
            by_function.setdefault(answer.function, []).append(value)
    if not by_function:
        return None
    drawing.set_size_inches(WIDTH, 1.0 + 0.27 * max(3, len(by_function)))
    axes = drawing.subplots()
    for row, values in enumerate(reversed(by_function.values())):
        axes.plot(values, [row] * len(values), "|", color=ACCENT, markersize=9, alpha=0.75)
        axes.plot(median(values), row, "D", color=SECOND, markersize=4.5)
    axes.axvline(1, color=BAD, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(by_function)), [*reversed(by_function)])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(-0.6, len(by_function) - 0.4)
    axes.grid(visible=False, axis="y")
    _logarithmic(axes, "x")
    axes.set_xlabel("certified bound / observed error")
    medians = ", ".join(f"{name} {ratio(median(v))}" for name, v in by_function.items())
    return (
        "How generous the bounds are",
        "Every run, its bound over its error; left of the dashed line an error would exceed its bound. "
        f"Diamonds are medians: {medians}.",
    )


def _lengths(items: Sequence[Item], drawing: Drawing) -> tuple[str, str] | None:
    """Draw errors, bounds and bytes against the number of keys."""
    heads = [
        (item, figures)
        for item in items
        if item.main and "measurements" in item.found and (figures := _figures(item.main))
    ]
    lengths = [_keys(item) for item, _ in heads]
    if len(set(lengths)) < 2:
        return None
    drawing.set_size_inches(WIDTH, 4.6)
    above, below = drawing.subplots(2, 1, sharex=True)
    errors, bounds = zip(*(figures for _, figures in heads), strict=True)
    above.plot(lengths, bounds, "_", color=ACCENT, markersize=10, markeredgewidth=1.5)
    above.plot(lengths, errors, "o", color=ACCENT, markersize=4.5, fillstyle="none")
    _logarithmic(above, "y")
    above.set_ylabel("error")
    _legend(
        above,
        Line2D([], [], color=ACCENT, marker="_", linestyle="", label="certified"),
        Line2D([], [], color=ACCENT, marker="o", fillstyle="none", linestyle="", label="observed"),
    )
    kept = [(_keys(item), _bytes(item)) for item, _ in heads]
    below.plot(*zip(*kept, strict=True), "s", color=INK, markersize=5, fillstyle="none")
    moments = {
        outcome: [
            (_keys(item), a.found["expansion"]["bytes"])
            for item, _ in heads
            for a in item.answers
            if a.outcome == outcome and a.found.get("expansion")
        ]
        for outcome in ("within", "refused")
    }
    if moments["within"]:
        below.plot(*zip(*moments["within"], strict=True), "^", color=ACCENT, markersize=5)
    _logarithmic(below, "xy")
    below.set_xticks(sorted(set(lengths)), [str(n) for n in sorted(set(lengths))])
    below.set_xlabel("keys n")
    below.set_ylabel("bytes")
    _legend(
        below,
        Line2D([], [], color=INK, marker="s", fillstyle="none", linestyle="", label="K and V"),
        Line2D([], [], color=ACCENT, marker="^", linestyle="", label="moments"),
    )
    refused = [taken for _, taken in moments["refused"]]
    told = (
        f" Where it was refused they would take {up(min(refused))} bytes or more."
        if refused
        else ""
    )
    return (
        "Error and bytes against n",
        "Above, exact attention's largest error and its certificate, a pair a head. Below, what has to be "
        "kept: all keys and values, which grow with n, or the moments of P2's polynomial method, which do "
        f"not, where it certifies.{told}",
    )


def _times(items: Sequence[Item], drawing: Drawing) -> tuple[str, str] | None:
    """Draw times against the number of keys, exact attention's beside certified attention's."""
    timed = [
        (a.found["keys"], a.found["seconds"], a.found["exact_seconds"])
        for a in _all(items)
        if a.section == "real_heads" and a.found["seconds"]
    ]
    lengths = sorted({n for n, _, _ in timed})
    if len(lengths) < 2:
        return None
    axes = drawing.subplots()
    typical = {n: [median(row[k] for row in timed if row[0] == n) for k in (1, 2)] for n in lengths}
    handles = []
    for k, colour, marker, label in ((2, INK, "s", "exact"), (1, ACCENT, "o", "certified")):
        axes.plot(
            [row[0] for row in timed],
            [row[k] for row in timed],
            marker,
            color=colour,
            markersize=4.5,
            fillstyle="none",
        )
        axes.plot(lengths, [typical[n][k - 1] for n in lengths], color=colour)
        handles.append(Line2D([], [], color=colour, marker=marker, fillstyle="none", label=label))
    _logarithmic(axes, "xy")
    axes.set_xticks(lengths, [str(n) for n in lengths])
    axes.set_xlabel("keys n")
    axes.set_ylabel("seconds")
    _legend(axes, *handles)
    faster = [n for n in lengths if typical[n][0] < typical[n][1]]
    crossover = (
        f"From n = {faster[0]} on certified attention is the faster."
        if faster and faster == lengths[-len(faster) :]
        else f"Certified attention is the faster for n = {', '.join(map(str, faster))}."
        if faster
        else "No crossover among these lengths: exact attention is the faster throughout."
    )
    return (
        "Time against n",
        f"Exact and certified attention, run in turn on each head; lines join medians. {crossover}",
    )


def _coverage(items: Sequence[Item], drawing: Drawing) -> tuple[str, str] | None:
    """Draw which share of the answers is certified to a tolerance, and which was observed within it."""
    largest = {
        item.name: item.found["measurements"]["largest_entries"][2]
        for item in items
        if "measurements" in item.found
    }
    rows: dict[str, list[tuple[float, float]]] = {}
    for answer in _all(items):
        name = answer.found["name"]
        if answer.section not in ("heads", "polynomial", "caches") or not largest.get(name):
            continue
        if not (figures := _figures(answer)):
            continue
        detail = answer.found.get("format", "")
        if answer.section == "heads":
            detail = answer.found["dtype"]
        label = f"{answer.function} {detail}".rstrip()
        rows.setdefault(label, []).append(tuple(x / largest[name] for x in figures))
    if not rows:
        return None
    axes = drawing.subplots()
    drawing.set_size_inches(WIDTH, 3.6)
    colours = (ACCENT, GOOD, SECOND, THIRD, INK, QUIET)
    low = min(value for pairs in rows.values() for pair in pairs for value in pair) / 3
    high = max(value for pairs in rows.values() for pair in pairs for value in pair) * 3
    for (label, pairs), colour in zip(rows.items(), colours, strict=False):
        for k, style in ((1, "-"), (0, ":")):
            values = sorted(pair[k] for pair in pairs)
            steps = [0.0, *((j + 1) / len(values) for j in range(len(values))), 1.0]
            axes.step(
                [low, *values, high],
                steps,
                where="post",
                color=colour,
                linestyle=style,
                linewidth=1.4,
                label=label if k else None,
            )
    _logarithmic(axes, "x")
    axes.set_xlim(low, high)
    axes.set_xlabel("tolerance / max|V|")
    axes.set_ylabel("share of runs")
    drawing.legend(loc="outside upper left", ncols=2)
    return (
        "Coverage against tolerance",
        "The share of runs whose certified bound (line) and observed error (dots) are within a tolerance. "
        "Between the two lies what the certificates give away.",
    )


def _applicability(items: Sequence[Item], drawing: Drawing) -> tuple[str, str] | None:
    """Draw where P2's polynomial method is feasible: by columns and by the spread of the logits."""
    points = [
        (a.found["half_row_range"], a.found["columns_kept"], a.outcome)
        for a in _all(items)
        if a.section == "polynomial" and a.found.get("half_row_range") is not None
    ]
    if not points:
        return None
    axes = drawing.subplots()
    handles = []
    for outcome, colour, marker, label in (
        ("within", ACCENT, "o", "certified"),
        ("refused", BAD, "x", "refused"),
        ("failed", BAD, "s", "failed"),
    ):
        chosen = [(x, d) for x, d, found in points if found == outcome]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), marker, color=colour, markersize=5)
            handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=label))
    _logarithmic(axes, "y")
    columns = sorted({d for _, d, _ in points})
    axes.set_yticks(columns, [str(d) for d in columns])
    axes.set_ylim(columns[0] / 1.6, columns[-1] * 1.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("half row range of the logits")
    axes.set_ylabel("columns d")
    _legend(axes, *handles)
    refused = [a for a in _all(items) if a.section == "polynomial" and a.outcome == "refused"]
    needs = [a.found["expansion"]["features"] for a in refused if a.found.get("expansion")]
    least = f" The least that a refused one takes is {up(min(needs))} features." if needs else ""
    return (
        "Where polynomials apply",
        f"{counted(len(points), 'run')} of P2's method: it pays for few columns and small logits.{least}",
    )


def _sharpness(claims: Sequence[Mapping[str, Any]], drawing: Drawing) -> tuple[str, str] | None:
    """Draw how many bounds are attained, approached, or reached how nearly."""
    found = [value for claim in claims for value in claim["sharpness"].values()]
    if not found:
        return None
    rows = {"attained": 0, "approached": 0}
    least = (0.99, 0.9, 0.5, 0.1, 0.0)
    names = ["0.99 or more", "0.9 to 0.99", "0.5 to 0.9", "0.1 to 0.5", "below 0.1"]
    rows |= dict.fromkeys(names, 0)
    for value in found:
        if value not in rows:
            value = names[next(k for k, x in enumerate(least) if float(value) >= x)]
        rows[value] += 1
    drawing.set_size_inches(WIDTH, 2.6)
    axes = drawing.subplots()
    bars = axes.barh([*reversed(rows)], [*reversed(rows.values())], color=ACCENT, height=0.62)
    axes.bar_label(bars, padding=3, color=INK)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlabel("bounds")
    return (
        "How sharp the bounds are",
        f"Of {counted(len(found), 'bound')}: attained by an instance, approached as nearly as one likes, or "
        "the largest quantity / bound that was found.",
    )


# ------------------------------------------------------------------------------------------ helpers


def _all(items: Sequence[Item]) -> Iterator[Answer]:
    for item in items:
        yield from item.answers


def _figures(answer: Answer) -> tuple[float, float] | None:
    """Return the error and the bound of an answer where a logarithmic scale can show both."""
    error, bound = answer.found["error_upper"], answer.found["bound"]
    return (error, bound) if error and bound else None


def _short(name: str) -> str:
    """Return what can be drawn of a name, or of the ends of a long one."""
    half = LONGEST_NAME // 2
    short = name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half:]}"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in short)


def _keys(item: Item) -> int:
    return int(item.found["measurements"]["n_k"])


def _bytes(item: Item) -> int:
    """Return what the keys and values of a head take in its own type."""
    measured = item.found["measurements"]
    entry = {"float16": 2, "float32": 4}.get(item.found["dtype"], 8)
    return entry * int(measured["n_k"]) * int(measured["d"] + measured["d_v"])


def _logarithmic(axes: Axes, which: str) -> None:
    for name, set_scale, axis in (
        ("x", axes.set_xscale, axes.xaxis),
        ("y", axes.set_yscale, axes.yaxis),
    ):
        if name in which:
            set_scale("log")
            low, high = sorted(axis.get_view_interval())
            # Powers of ten alone may leave an axis without a number; side by side others would overlap.
            if high < (10 if name == "x" else 100) * low:
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(lambda value, _: _power(value))
            axis.set_minor_formatter(lambda value, _: "")


def _power(value: float) -> str:
    """Return a number of two digits at most times a power of ten as it is written."""
    if 1e-2 <= value < 1e4:
        return f"{value:g}"
    digits, _, exponent = f"{value:.1e}".partition("e")
    digits = digits.removesuffix(".0")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if digits == "1" else f"{digits}×{power}"


def _legend(axes: Axes, *handles: Line2D) -> None:
    """Put a legend above the axes, where it covers nothing."""
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=len(handles),
        borderaxespad=0,
        handletextpad=0.3,
        columnspacing=1.2,
    )
