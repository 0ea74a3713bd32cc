"""Check the Coq proofs: no gap, no axiom beyond the allowed, no statement that changed unseen.

``python -m proofs.evidence.coq_checker`` works on a copy of ``proofs/coq`` in a temporary directory and

1. reads the sources (:mod:`proofs.evidence.coq_sources`): every file is listed in ``_CoqProject``, and
   no command is used but a few that can neither leave a gap nor change how Coq reads a statement;
2. compiles them from clean, independent files side by side (:mod:`proofs.evidence.coq_questions`), and
   compares the sentences that Coq read with those that were judged;
3. compares every ``Theorem``'s statement, as Coq prints it, every definition that it is made of and
   the bounds that it concludes with the snapshot ``proofs/coq/statements.json`` (``--snapshot``
   rewrites it);
4. compares the axioms that every theorem rests on with ``proofs/axioms.toml``;
5. lets ``coqchk``, an independent checker, check the compiled files: none of the project's
   constants may lack a proof, whatever command declared it;
6. prints a table, and what it did not run.

The convention that it relies on: a ``Theorem`` is a result that a claim may name; a ``Lemma`` is a
step towards one.  Definitions in ``Bounds.v`` are not in the snapshot, as they are generated.  How
long anything takes decides nothing.

Exit status: 0 if everything passed, 1 if something failed, 2 if Coq could not be run.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proofs.evidence.coq_questions import CoqMissingError, Printed, ask, compiling
from proofs.evidence.coq_sources import BOUNDS, GENERATED, Project, Source, read_project

__all__ = [
    "BOUNDS",
    "CoqMissingError",
    "Report",
    "Theorem",
    "axioms",
    "check",
    "conclusions",
    "confirmed",
    "statements",
]

PROOFS = Path(__file__).resolve().parents[1]
SOURCES = PROOFS / "coq"
SNAPSHOT = "statements.json"
AXIOMS = "axioms.toml"


@dataclass(frozen=True)
class Theorem:
    """What was found out about one theorem.

    Attributes
    ----------
    name
        Its name in Coq.
    file
        The source that declares it.
    statement
        Its statement as Coq prints it, on one line; empty where Coq did not get so far.
    concludes
        The bounds that it concludes, each with its relations to what it bounds, such as "at most".
    axioms
        The axioms that it and the other theorems of its file rest on.
    problems
        What is wrong, as full sentences; empty if it passed.
    """

    name: str
    file: str
    statement: str = ""
    concludes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    axioms: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    Attributes
    ----------
    coq
        The version that ran.
    seconds
        The compile time of each file, in the order in which they were done.
    theorems
        One entry per theorem.
    definitions
        What each definition that the statements use unfolds to, as Coq prints it.
    problems
        What is wrong beyond the single theorems, as full sentences.
    not_run
        What this check did not do, as full sentences.
    """

    coq: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    theorems: tuple[Theorem, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()

    def all_problems(self) -> tuple[str, ...]:
        """Return every problem, those of single theorems included."""
        return self.problems + tuple(p for t in self.theorems for p in t.problems)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.all_problems()


# --------------------------------------------------------------------------- what callers ask


def statements() -> dict[str, str]:
    """Return every theorem's statement from the snapshot, without running Coq."""
    return {name: entry["statement"] for name, entry in _snapshot(SOURCES)["theorems"].items()}


def axioms() -> dict[str, str]:
    """Return the axioms that a theorem may rest on, each with the reason why it may be trusted."""
    return _allowed_axioms(SOURCES)


def conclusions() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the bounds that every theorem of the snapshot concludes, each with its relations."""
    return {
        name: {bound: tuple(relations) for bound, relations in entry["concludes"].items()}
        for name, entry in _snapshot(SOURCES)["theorems"].items()
    }


def confirmed(directory: Path | None = None) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the theorems of the snapshot whose sources are as they were checked, without Coq.

    Returns
    -------
    names
        Theorems whose file, and every file that it requires, reads as when the snapshot was taken;
        comments and spacing apart.
    changed
        A sentence for every file that does not.
    """
    directory = SOURCES if directory is None else directory
    snapshot = _snapshot(directory)
    checked = snapshot["sources"]
    project = read_project(directory)
    changed = {s.file for s in project.sources if checked.get(s.file) != s.digest}
    names = frozenset(
        name
        for source in project.sources
        if source.theorems
        and not changed & {needed.file for needed in project.needed(source.theorems)}
        for name in source.theorems
        if name in snapshot["theorems"]
    )
    return names, tuple(
        f"proofs/coq/{file} is not what Coq checked when the snapshot was taken; "
        "python -m proofs.evidence.coq_checker --snapshot checks it."
        for file in sorted(changed)
    )


def check(directory: Path | None = None, *, only: Collection[str] = ()) -> Report:
    """Compile the proofs from clean and compare them with what is on record.

    Parameters
    ----------
    directory
        Sources to check in place of ``proofs/coq``; it holds ``_CoqProject`` and the snapshot too,
        and ``axioms.toml`` lies beside it.
    only
        Names of theorems: compile no more than they need, and check no others.  For tests.

    Returns
    -------
    Report

    Raises
    ------
    CoqMissingError
        If ``coqc`` or ``coqchk`` is not installed.

    Notes
    -----
    Cost: about two minutes of processor time, much of it Coq loading its libraries.
    """
    return _run(SOURCES if directory is None else directory, only)[0]


# ------------------------------------------------------------------------------ the steps


def _run(
    directory: Path, only: Collection[str], *, renew: bool = False
) -> tuple[Report, dict[str, Any]]:
    """Return the report and a new snapshot, which is empty if Coq did not get so far.

    What Coq says is compared with the snapshot on record, or with the new one, to ``renew`` it.
    """
    project = read_project(directory)
    if project.problems:
        reason = "Nothing was compiled, as the sources were refused."
        return Report(problems=project.problems, not_run=(reason,)), {}
    sources = project.needed(only)
    with compiling(project, sources) as compiled:
        if compiled.failure:
            reason = "Statements, axioms and coqchk were not looked at, as a file did not compile."
            problems = (compiled.failure, *compiled.problems)
            report = Report(compiled.coq, compiled.seconds, problems=problems, not_run=(reason,))
            return report, {}
        try:
            printed = ask(project, sources, only, compiled)
        except RuntimeError as error:
            problems = (str(error), *compiled.problems)
            reason = "Statements and axioms were not looked at, as Coq did not answer."
            report = Report(compiled.coq, compiled.seconds, problems=problems, not_run=(reason,))
            return report, {}
    taken = _taken(project, printed)
    wrong = [*compiled.problems, *printed.problems]
    recorded = taken if renew else _snapshot(directory)
    allowed = _allowed_axioms(directory)
    theorems = [
        Theorem(
            name,
            source.file,
            printed.statements[name],
            printed.concludes[name],
            printed.axioms[name],
            (
                *_axiom_problems(name, printed.axioms[name], allowed),
                *_statement_problems(name, taken["theorems"][name], recorded["theorems"]),
            ),
        )
        for source in sources
        for name in source.theorems
        if name in printed.statements
    ]
    for name, entry in taken["definitions"].items():
        if recorded["definitions"].get(name) != entry:
            text = entry["definition"]
            wrong.append(f"Definition {name} is {text!r}, which is not what {SNAPSHOT} has.")
    if only:
        wrong += [f"No source declares theorem {n}." for n in set(only) - printed.axioms.keys()]
    else:
        missing = recorded["theorems"].keys() - printed.statements.keys()
        wrong += [f"Theorem {n} is in {SNAPSHOT}, and no source declares it." for n in missing]
        unused = allowed.keys() - {a for t in theorems for a in t.axioms}
        wrong += [f"{AXIOMS} allows {a}, and no theorem uses it." for a in sorted(unused)]
        if recorded["sources"] != taken["sources"]:
            wrong.append(f"{SNAPSHOT} was taken from other sources; take it with --snapshot.")
    definitions = {n: entry["definition"] for n, entry in taken["definitions"].items()}
    report = Report(
        compiled.coq,
        compiled.seconds,
        tuple(theorems),
        definitions,
        tuple(wrong),
        tuple(_not_run(sources, only)),
    )
    return report, taken


def _taken(project: Project, printed: Printed) -> dict[str, Any]:
    """Return the snapshot of what Coq printed; what it prints in full stands there as a digest."""
    return {
        "sources": {source.file: source.digest for source in project.sources},
        "theorems": {
            name: {
                "statement": statement,
                "concludes": {b: list(r) for b, r in printed.concludes[name].items()},
                "exact": _digest(printed.exact[name]),
            }
            for name, statement in sorted(printed.statements.items())
        },
        "definitions": {
            name: {"definition": text, "exact": _digest(exact)}
            for name, (text, exact) in sorted(printed.definitions.items())
        },
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _snapshot(directory: Path) -> dict[str, Any]:
    path = directory / SNAPSHOT
    if not path.exists():
        return {"sources": {}, "theorems": {}, "definitions": {}}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _allowed_axioms(directory: Path) -> dict[str, str]:
    rows = tomllib.loads((directory.parent / AXIOMS).read_text(encoding="utf-8"))["axiom"]
    return {row["name"]: row["why"] for row in rows}


def _axiom_problems(
    name: str, axioms: tuple[str, ...], allowed: Mapping[str, str]
) -> Iterator[str]:
    for axiom in axioms:
        if axiom not in allowed:
            yield (
                f"Theorem {name}, or another of its file, rests on {axiom}, which {AXIOMS} does not "
                "allow."
            )


def _statement_problems(
    name: str, found: Mapping[str, Any], recorded: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    if name not in recorded:
        yield f"Theorem {name} is not in {SNAPSHOT}; add it with --snapshot."
    elif recorded[name] != found:
        before, now = recorded[name], found
        if before["statement"] != now["statement"]:
            shown = f"states {now['statement']!r}, and {SNAPSHOT} has {before['statement']!r}"
        elif before["concludes"] != now["concludes"]:
            shown = f"concludes {now['concludes']}, and {SNAPSHOT} has {before['concludes']}"
        else:
            shown = f"means something else than when {SNAPSHOT} was taken, though it reads the same"
        yield f"Theorem {name} {shown}."


def _not_run(sources: tuple[Source, ...], only: Collection[str]) -> Iterator[str]:
    yield (
        "coqchk checked the project's own files and trusted the libraries that they import "
        "(Coq's reals, Coquelicot, Flocq, Interval)."
    )
    absent = GENERATED - {source.path.name for source in sources}
    for name in sorted(absent):
        yield f"{name} was not compiled."
    if only:
        yield f"Only these theorems were looked at: {', '.join(sorted(only))}."


# ----------------------------------------------------------------------------- the command line


def table(report: Report) -> str:
    """Return the report as plain text."""
    lines = []
    for file, seconds in report.seconds.items():
        lines.append(f"{file:22} {seconds:5.1f} s")
    if report.theorems:
        width = max(len(t.name) for t in report.theorems)
        lines += ["", f"{'theorem':{width}}  {'file':18}  axioms  verdict"]
        for t in report.theorems:
            verdict = "FAILED" if t.problems else "passed"
            lines.append(f"{t.name:{width}}  {t.file:18}  {len(t.axioms):6}  {verdict}")
        lines += ["", _axioms_used(report)]
    if report.all_problems():
        lines += ["", "Problems:"] + [f"  {problem}" for problem in report.all_problems()]
    compared = "That Bounds.v is what the claims say: attest audit compares them."
    lines += ["", "Not run:"] + [f"  {sentence}" for sentence in (*report.not_run, compared)]
    verdict = "passed" if report.passed else "FAILED"
    total = sum(report.seconds.values())
    lines += [
        "",
        f"{len(report.theorems)} theorems in {len(report.seconds)} files, Coq {report.coq}, "
        f"compiled in {total:.0f} s: {verdict}",
    ]
    return "\n".join(lines)


def _axioms_used(report: Report) -> str:
    axioms = sorted({axiom for t in report.theorems for axiom in t.axioms})
    heading = "Axioms used (proofs/axioms.toml says why each is allowed):"
    return "\n  ".join([heading, *axioms])


def write_snapshot(directory: Path) -> str:
    """Rewrite the snapshot from what Coq says now; return the difference and the axioms used.

    Raises
    ------
    RuntimeError
        If anything is wrong but that statements or definitions are not those of the old snapshot.
    """
    report, taken = _run(directory, (), renew=True)
    if not report.passed:
        raise RuntimeError("no snapshot was written: " + " ".join(report.all_problems()))
    path = directory / SNAPSHOT
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = json.dumps(taken, indent=1, ensure_ascii=False) + "\n"
    path.write_text(after, encoding="utf-8")
    changes = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", n=0, lineterm=""
    )
    difference = "\n".join(changes) or f"{SNAPSHOT} is unchanged."
    return f"{difference}\n\n{_axioms_used(report)}"


def main(arguments: list[str] | None = None) -> int:
    """Check the proofs, or rewrite the snapshot, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="proofs.evidence.coq_checker", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--snapshot",
        action="store_true",
        help=f"rewrite {SNAPSHOT} from the sources and print the difference",
    )
    wanted = parser.parse_args(arguments)
    try:
        if wanted.snapshot:
            print(write_snapshot(SOURCES))
            return 0
        report = check()
    except (CoqMissingError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(report))
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
