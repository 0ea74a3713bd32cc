"""What rests on what: claims on theorems, theorems on files and axioms, programs on claims."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from html import escape

from proofs.evidence import coq_checker
from proofs.evidence.coq_sources import read_project
from specs import CLAIMS
from specs.printing.catalogue import ROOT


class Kind(StrEnum):
    """What a node is; the columns of the drawing, from left to right."""

    PROGRAM = "program"
    CLAIM = "claim"
    THEOREM = "theorem"
    FILE = "file"
    AXIOM = "axiom"


@dataclass(frozen=True)
class Node:
    """One thing that others rest on, or that rests on others."""

    kind: Kind
    name: str


Edge = tuple[Node, Node]


@cache
def edges() -> tuple[Edge, ...]:
    """Return every pair (what rests, on what), in order.

    A program rests on the claims that it names or whose bounds it calls, a claim on the theorems of its
    bounds, a theorem on its file, a file on those that it requires; those that require no other of ours
    stand for all axioms that are allowed, since Coq prints axioms for all theorems of a file together.
    """
    found = [*_programs(), *_claims(), *_files()]
    return tuple(dict.fromkeys(found))


def beneath(*names: str) -> tuple[Edge, ...]:
    """Return the part of the graph that the named claims or programs rest on.

    Raises
    ------
    ValueError
        If a name is neither.
    """
    every = edges()
    reached = {n for edge in every for n in edge if n.name in names}
    unknown = sorted(set(names) - {n.name for n in reached} - CLAIMS.keys())
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no claim and no program of the graph.")
    while True:
        more = {on for what, on in every if what in reached} - reached
        if not more:
            return tuple(edge for edge in every if edge[0] in reached)
        reached |= more


def text(part: tuple[Edge, ...]) -> str:
    """Return the graph as lines ``what -> on, on``, one for everything that rests on something."""
    below: dict[Node, list[str]] = {}
    for what, on in part:
        below.setdefault(what, []).append(on.name)
    return "\n".join(f"{node.kind} {node.name} -> {', '.join(on)}" for node, on in below.items())


def dot(part: tuple[Edge, ...]) -> str:
    """Return the graph in Graphviz's language."""
    nodes = {node: f"n{i}" for i, node in enumerate(dict.fromkeys(n for e in part for n in e))}
    shapes = {Kind.PROGRAM: "component", Kind.CLAIM: "box", Kind.AXIOM: "diamond"}
    lines = [
        f'  {key} [label="{node.name}", shape={shapes.get(node.kind, "ellipse")}];'
        for node, key in nodes.items()
    ]
    lines += [f"  {nodes[what]} -> {nodes[on]};" for what, on in part]
    return "\n".join(["digraph attest {", "  rankdir=LR;", *lines, "}"])


def svg(part: tuple[Edge, ...]) -> str:
    """Return the graph as a drawing: a column a kind, a line an edge."""
    nodes = list(dict.fromkeys(n for edge in part for n in edge))
    columns = [kind for kind in Kind if any(n.kind is kind for n in nodes)]
    width, height = 260, 22
    at, rows = {}, dict.fromkeys(columns, 0)
    for node in nodes:
        at[node] = columns.index(node.kind) * width + 10, rows[node.kind] * height + 40
        rows[node.kind] += 1
    size = f"{len(columns) * width} {max(rows.values(), default=0) * height + 50}"
    drawn = [
        f'<text x="{i * width + 10}" y="20" font-weight="bold">{kind}</text>'
        for i, kind in enumerate(columns)
    ]
    for what, on in part:
        (x, y), (u, v) = at[what], at[on]
        # Between files an edge would run along its own column: it bows to the right.
        reach = x + width * 0.7
        drawn.append(
            f'<path d="M{reach:.0f} {y - 4} C{reach + 50:.0f} {y - 4} {u - 40:.0f} {v - 4} {u} {v - 4}" '
            'fill="none" stroke="currentColor" stroke-opacity="0.25"/>'
        )
    drawn += [f'<text x="{x}" y="{y}">{escape(n.name)}</text>' for n, (x, y) in at.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" '
        f'font-size="11" fill="currentColor">\n' + "\n".join(drawn) + "\n</svg>"
    )


def _programs() -> list[Edge]:
    owners = {bound.name: claim.id for claim in CLAIMS.values() for bound in claim.bounds}
    found = []
    for path in sorted((ROOT / "fastpath").rglob("*.py")):
        if "bounds" in path.parts:
            continue
        program = Node(Kind.PROGRAM, str(path.relative_to(ROOT)))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            name = ""
            if isinstance(node, ast.Constant) and node.value in CLAIMS:
                name = node.value
            elif isinstance(node, ast.Attribute | ast.Name):
                name = owners.get(node.attr if isinstance(node, ast.Attribute) else node.id, "")
            if name:
                found.append((program, Node(Kind.CLAIM, name)))
    return found


def _claims() -> list[Edge]:
    return [
        (Node(Kind.CLAIM, claim.id), Node(Kind.THEOREM, theorem))
        for claim in CLAIMS.values()
        for bound in claim.bounds
        for theorem in (bound.theorem, bound.attained, bound.approached)
        if theorem
    ]


def _files() -> list[Edge]:
    project = read_project(coq_checker.SOURCES)
    text_ = (coq_checker.PROOFS / coq_checker.AXIOMS).read_text(encoding="utf-8")
    axioms = [Node(Kind.AXIOM, row["name"]) for row in tomllib.loads(text_)["axiom"]]
    found = []
    for source in project.sources:
        file = Node(Kind.FILE, source.file)
        found += [(Node(Kind.THEOREM, name), file) for name in source.theorems]
        required = [Node(Kind.FILE, other.file) for other in project.required(source)]
        found += [(file, other) for other in required] or [(file, axiom) for axiom in axioms]
    return found
