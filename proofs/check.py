"""Check the Coq proofs: no gap, no axiom beyond the allowed, no statement that changed unseen.

``python proofs/check.py`` works on a copy of ``proofs/coq`` in a temporary directory and

1. reads the sources: every file is listed in ``_CoqProject``, no theorem is declared twice, and no
   command is used that could leave a gap (``Admitted``, ``Axiom``, ``Parameter``, ...);
2. compiles them from clean, in the order of ``_CoqProject``;
3. compares every ``Theorem``'s statement, as Coq prints it, and every definition that it is made of
   with the snapshot ``proofs/coq/statements.json`` (``--snapshot`` rewrites it);
4. compares the axioms that every theorem rests on with ``proofs/axioms.toml``;
5. lets ``coqchk``, an independent checker, check the compiled files;
6. prints a table, and what it did not run.

The convention that it relies on: a ``Theorem`` is a result that a claim may name; a ``Lemma`` is a
step towards one.  Definitions in ``Bounds.v`` are not in the snapshot, as they are generated.

Exit status: 0 if everything passed, 1 if something failed, 2 if Coq could not be run.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CoqMissingError", "Report", "Theorem", "check", "declared", "statements"]

PROOFS = Path(__file__).resolve().parent
SOURCES = PROOFS / "coq"
SNAPSHOT = "statements.json"
PROJECT = "_CoqProject"

INSTALL = "apt-get install coq libcoq-interval"

#: Files that specs/codegen.py writes; a test of their own compares them with the claims.
GENERATED = frozenset({"Bounds.v", "BoundsCheck.v"})

#: A single file that takes longer than this has automation that searches; the style forbids it.
SECONDS_PER_FILE = 120

#: Commands that can leave a gap in a proof, or that run unverified code.
_GAPS = (
    *("Admitted", "Admit", "admit", "give_up", "Abort", "unsafe", "native_cast_no_check"),
    *("Axiom", "Axioms", "Parameter", "Parameters", "Conjecture", "Conjectures", "Primitive"),
    *("Declare", "Register", "Extraction", "Redirect", "Load", "Drop", "bypass_check"),
    "native_compute",
)

#: Commands that change how a statement reads, so that its printed form would prove nothing.
_DISGUISES = ("Notation", "Infix", "Coercion", "Canonical")

#: Local assumptions: harmless in a section, axioms outside one.
_ASSUMPTIONS = ("Variable", "Variables", "Hypothesis", "Hypotheses", "Context")

_DECLARES = re.compile(
    r"^\s*(?:(?:Local|Global|Program|Polymorphic)\s+)*"
    r"(Theorem|Lemma|Corollary|Fact|Remark|Proposition|Definition|Fixpoint|Inductive|Record|"
    r"CoFixpoint|CoInductive|Example)\s+([A-Za-z_][\w']*)",
    re.MULTILINE,
)
_WORD = re.compile(r"[A-Za-z_][\w']*")
_DEFINING = ("Definition", "Fixpoint", "Inductive", "Record", "CoFixpoint", "CoInductive")


class CoqMissingError(RuntimeError):
    """Coq is not installed; the message says how to install it."""


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
    axioms
        The axioms that it rests on; where all are allowed, those of its file's theorems together.
    problems
        What is wrong, as full sentences; empty if it passed.
    """

    name: str
    file: str
    statement: str = ""
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
        The compile time of each file, in the order of compilation.
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
    return _read_snapshot(SOURCES)[0]


def declared() -> frozenset[str]:
    """Return the names of the theorems that the Coq sources declare, without running Coq."""
    return frozenset(name for source in _read_sources(SOURCES) for name in source.declared)


def check(directory: Path | None = None, *, only: Collection[str] = ()) -> Report:
    """Compile the proofs from clean and compare them with what is on record.

    Parameters
    ----------
    directory
        Sources to check in place of ``proofs/coq``; it holds ``_CoqProject`` and the snapshot too.
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
    Cost: about a minute and a half on one core, much of it Coq loading its libraries.
    """
    return _run(SOURCES if directory is None else directory, only)[0]


# ------------------------------------------------------------------------------ 1. the sources


@dataclass(frozen=True)
class _Source:
    """A file, its code without comments and strings, and the kind of each name it declares."""

    path: Path
    code: str
    declared: Mapping[str, str]
    problems: tuple[str, ...]

    @property
    def module(self) -> str:
        return self.path.stem

    def theorems(self) -> list[str]:
        return [name for name, kind in self.declared.items() if kind == "Theorem"]

    def imports(self) -> set[str]:
        """Return every word of the file's Require commands."""
        commands = re.findall(r"\bRequire\b([^.]*)\.(?=\s|$)", self.code)
        return {word for command in commands for word in _WORD.findall(command)}


def _read_sources(directory: Path) -> list[_Source]:
    return [_read_source(directory / name) for name in _project(directory)[1]]


def _project(directory: Path) -> tuple[list[str], list[str]]:
    """Return the compiler arguments and the existing files that ``_CoqProject`` lists, in order."""
    options: list[str] = []
    files: list[str] = []
    words = iter((directory / PROJECT).read_text(encoding="utf-8").split())
    for word in words:
        if word.endswith(".v"):
            if word not in GENERATED or (directory / word).exists():
                files.append(word)
        else:
            options.append(next(words) if word == "-arg" else word)
    return options, files


def _read_source(path: Path) -> _Source:
    code = _strip(path.read_text(encoding="utf-8"))
    declared: dict[str, str] = {}
    problems: list[str] = []
    for kind, name in _DECLARES.findall(code):
        if name in declared:
            problems.append(f"{path.name} declares {name} twice.")
        declared[name] = kind
    problems += _gaps(path.name, code)
    return _Source(path, code, declared, tuple(problems))


def _strip(text: str) -> str:
    """Remove comments, which nest, and the contents of strings."""
    kept: list[str] = []
    depth = 0
    for token in re.split(r'(\(\*|\*\)|"[^"]*")', text):
        if token == "(*":
            depth += 1
        elif token == "*)" and depth:
            depth -= 1
        elif depth == 0:
            kept.append('""' if token.startswith('"') else token)
    return "".join(kept)


def _gaps(file: str, code: str) -> Iterator[str]:
    """Yield a sentence for every command that could leave a proof incomplete."""
    for word in _GAPS:
        if re.search(rf"(?<![\w'.]){word}(?![\w'])", code):
            yield f"{file} contains the word {word}, which can leave a gap in a proof."
    for word in _DISGUISES:
        if re.search(rf"(?<!Tactic )\b{word}\b", code):
            yield f"{file} contains the word {word}, which can change what a statement says."
    if match := re.search(r"\bUnset\s+(?:Guard|Positivity|Universe)\s+Checking\b", code):
        yield f"{file} switches off a check of Coq's kernel: {match.group()}."
    open_sections: list[tuple[str, str]] = []
    for sentence in re.split(r"\.(?=\s|$)", code):
        words = _WORD.findall(sentence)
        if not words:
            continue
        if words[0] in ("Section", "Module") and len(words) > 1:
            open_sections.append((words[0], words[1]))
        elif words[0] == "End" and open_sections:
            open_sections.pop()
        else:
            local = [w for w in words[:2] if w in _ASSUMPTIONS]
            if local and not any(kind == "Section" for kind, _ in open_sections):
                yield f"{file} uses {local[0]} outside a section, where it is an axiom."


def _source_problems(directory: Path, sources: list[_Source]) -> Iterator[str]:
    for source in sources:
        yield from source.problems
    listed = {source.path.name for source in sources}
    for path in sorted(directory.glob("*.v")):
        if path.name not in listed:
            yield f"{path.name} is not listed in {PROJECT}, so nothing would check it."
    seen: dict[str, str] = {}
    for source in sources:
        for theorem in source.theorems():
            if theorem in seen:
                yield f"Theorem {theorem} is declared in {seen[theorem]} and in {source.path.name}."
            seen[theorem] = source.path.name


def _needed(sources: list[_Source], only: Collection[str]) -> list[_Source]:
    """Return the files that the given theorems live in and what those import, in order."""
    if not only:
        return sources
    by_module = {source.module: source for source in sources}
    wanted = [s.module for s in sources if set(only) & set(s.theorems())]
    needed: set[str] = set()
    while wanted:
        module = wanted.pop()
        if module not in needed:
            needed.add(module)
            wanted += by_module[module].imports() & by_module.keys()
    return [source for source in sources if source.module in needed]


# ------------------------------------------------------------------------------- 2. compiling


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise CoqMissingError(
            f"{name} was not found, so no proof was checked. Coq 8.16 or later with the interval "
            f"library is needed; on Debian and Ubuntu: {INSTALL}"
        )
    return path


def _call(command: list[str], directory: Path) -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=SECONDS_PER_FILE
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"it took more than {SECONDS_PER_FILE} seconds"
    return done.returncode, done.stdout, done.stderr


def _run(directory: Path, only: Collection[str]) -> tuple[Report, dict[str, str]]:
    """Return the report and the statements that Coq printed."""
    missing = [n for n in _project(directory)[1] if not (directory / n).exists()]
    if missing:
        problems = tuple(f"{n} is listed in {PROJECT} and does not exist." for n in missing)
        return Report(problems=problems, not_run=("Nothing was compiled.",)), {}
    sources = _read_sources(directory)
    refused = tuple(_source_problems(directory, sources))
    if refused:
        reason = "Nothing was compiled, as the sources were refused."
        return Report(problems=refused, not_run=(reason,)), {}
    coqc, coqchk = _tool("coqc"), _tool("coqchk")
    version = " ".join(_call([coqc, "--print-version"], directory)[1].split())
    options = _project(directory)[0]
    sources = _needed(sources, only)
    with tempfile.TemporaryDirectory(prefix="attest-coq-") as temporary:
        work = Path(temporary)
        for source in sources:
            shutil.copy(source.path, work)
        seconds, failure = _compile([coqc, "-q", *options], sources, work)
        if failure:
            reason = "Statements, axioms and coqchk were not looked at, as a file did not compile."
            return Report(version, seconds, problems=(failure,), not_run=(reason,)), {}
        printed = _ask([coqc, "-q", *options], sources, only, work)
        rejected = _coqchk(coqchk, options, sources, work)
    return _compare(directory, sources, only, printed, version, seconds, rejected)


def _compile(
    command: list[str], sources: list[_Source], work: Path
) -> tuple[dict[str, float], str]:
    seconds: dict[str, float] = {}
    for source in sources:
        start = time.monotonic()
        status, _, errors = _call([*command, source.path.name], work)
        seconds[source.path.name] = time.monotonic() - start
        if status:
            return seconds, f"{source.path.name} does not compile: {_one_line(errors)}"
    return seconds, ""


def _coqchk(coqchk: str, options: list[str], sources: list[_Source], work: Path) -> list[str]:
    """Check the project's compiled files; the libraries that they import are trusted."""
    prefix = options[options.index("-R") + 2]
    paths = ["-R", ".", prefix]
    modules = [word for s in sources for word in ("-norec", f"{prefix}.{s.module}")]
    status, _, errors = _call([coqchk, "-silent", *paths, *modules], work)
    return [f"coqchk rejects the compiled proofs: {_one_line(errors)}"] if status else []


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]


# --------------------------------------------------------------- 3. and 4. what Coq has to say


@dataclass(frozen=True)
class _Printed:
    """What Coq prints of each theorem and of the definitions that their statements use."""

    statements: Mapping[str, str]
    axioms: Mapping[str, tuple[str, ...]]
    definitions: Mapping[str, str]


def _ask(command: list[str], sources: list[_Source], only: Collection[str], work: Path) -> _Printed:
    names = [n for s in sources for n in s.theorems() if not only or n in only]
    answers = _query(command, sources, [(n, f"Check @{n}.") for n in names], work)
    found = {n: _normal(answers[n].partition(":")[2]) for n in names}

    defined = {
        name
        for source in sources
        for name, kind in source.declared.items()
        if kind in _DEFINING and not (source.path.name in GENERATED and name.startswith("b_"))
    }
    definitions: dict[str, str] = {}
    texts = list(found.values())
    while wanted := _mentioned(texts, defined) - definitions.keys():
        answers = _query(command, sources, [(n, f"Print {n}.") for n in sorted(wanted)], work)
        definitions |= {n: _definition(answers[n]) for n in sorted(wanted)}
        texts = [definitions[n] for n in wanted]
    return _Printed(found, _ask_axioms(command, sources, names, work), definitions)


def _ask_axioms(
    command: list[str], sources: list[_Source], names: list[str], work: Path
) -> dict[str, tuple[str, ...]]:
    """Return what each theorem rests on; one by one only in files where something is not allowed.

    Print Assumptions walks through the library each time, for most of a second, so the theorems of
    a file are asked about together.
    """
    groups = {s.module: [n for n in s.theorems() if n in names] for s in sources}
    groups = {module: group for module, group in groups.items() if group}
    queries = [
        (
            module,
            f"Definition of_{module} := ({', '.join(f'@{n}' for n in group)}).\n"
            f"Print Assumptions of_{module}.",
        )
        for module, group in groups.items()
    ]
    answers = _query(command, sources, queries, work)
    allowed = _allowed_axioms().keys()
    axioms: dict[str, tuple[str, ...]] = {}
    for module, group in groups.items():
        together = _axioms(answers[module])
        if set(together) <= allowed:
            axioms |= dict.fromkeys(group, together)
        else:
            each = _query(command, sources, [(n, f"Print Assumptions {n}.") for n in group], work)
            axioms |= {n: _axioms(each[n]) for n in group}
    return axioms


def _mentioned(texts: Iterable[str], names: set[str]) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text)} & names


def _query(
    command: list[str], sources: list[_Source], queries: list[tuple[str, str]], work: Path
) -> dict[str, str]:
    """Return Coq's answer to each command, by label."""
    marker = "answer to:"
    lines = [f"Require Import Reals {' '.join(s.module for s in sources)}.", "Open Scope R_scope."]
    lines += ["Set Printing Width 1000000.", "Set Printing Depth 1000000."]
    for label, query in queries:
        lines.append(f'Goal True. idtac "{marker} {label}". Abort.')
        lines.append(query)
    (work / "Questions.v").write_text("\n".join(lines) + "\n", encoding="utf-8")
    status, output, errors = _call([*command, "Questions.v"], work)
    if status:
        raise RuntimeError(f"Coq did not answer questions about the proofs: {_one_line(errors)}")
    blocks = re.split(rf"^{marker} (.*)$", output, flags=re.MULTILINE)
    return dict(zip(blocks[1::2], blocks[2::2], strict=True))


def _normal(text: str) -> str:
    return " ".join(text.split())


def _definition(answer: str) -> str:
    """Return a definition without the lines on implicit arguments and scopes that follow it."""
    return _normal(re.split(r"\n\s*\n|\nArguments ", answer.strip())[0])


def _axioms(answer: str) -> tuple[str, ...]:
    """Return the names that Print Assumptions lists; an unknown heading counts as a name."""
    lines = [line for line in answer.splitlines() if line and not line[0].isspace()]
    if lines == ["Closed under the global context"]:
        return ()
    return tuple(sorted(line.split()[0] for line in lines if line != "Axioms:"))


def _read_snapshot(directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    path = directory / SNAPSHOT
    if not path.exists():
        return {}, {}
    snapshot = json.loads(path.read_text(encoding="utf-8"))
    return dict(snapshot["theorems"]), dict(snapshot["definitions"])


def _allowed_axioms() -> dict[str, str]:
    rows = tomllib.loads((PROOFS / "axioms.toml").read_text(encoding="utf-8"))["axiom"]
    return {row["name"]: row["why"] for row in rows}


def _compare(
    directory: Path,
    sources: list[_Source],
    only: Collection[str],
    printed: _Printed,
    version: str,
    seconds: dict[str, float],
    rejected: list[str],
) -> tuple[Report, dict[str, str]]:
    recorded, recorded_definitions = _read_snapshot(directory)
    allowed = _allowed_axioms()
    problems = list(rejected)
    theorems = []
    for source in sources:
        for name in source.theorems():
            if name not in printed.statements:
                continue
            statement, axioms = printed.statements[name], printed.axioms[name]
            found = [
                f"Theorem {name} rests on {axiom}, which axioms.toml does not allow."
                for axiom in axioms
                if axiom not in allowed
            ]
            if name not in recorded:
                found.append(f"Theorem {name} is not in {SNAPSHOT}; add it with --snapshot.")
            elif recorded[name] != statement:
                found.append(
                    f"Theorem {name} states {statement!r}, and {SNAPSHOT} has {recorded[name]!r}."
                )
            theorems.append(Theorem(name, source.path.name, statement, axioms, tuple(found)))
    for name, text in printed.definitions.items():
        if recorded_definitions.get(name) != text:
            problems.append(f"Definition {name} is {text!r}, which is not what {SNAPSHOT} has.")
    if only:
        problems += [f"No source declares theorem {n}." for n in set(only) - printed.axioms.keys()]
    else:
        missing = recorded.keys() - printed.statements.keys()
        problems += [f"Theorem {n} is in {SNAPSHOT}, and no source declares it." for n in missing]
        unused = allowed.keys() - {a for t in theorems for a in t.axioms}
        problems += [f"axioms.toml allows {a}, and no theorem uses it." for a in sorted(unused)]
    report = Report(
        version,
        seconds,
        tuple(theorems),
        printed.definitions,
        tuple(problems),
        tuple(_not_run(sources, only)),
    )
    return report, dict(printed.statements)


def _not_run(sources: list[_Source], only: Collection[str]) -> Iterator[str]:
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
    """Rewrite the snapshot from what Coq prints now; return the difference and the axioms used."""
    every = [n for source in _read_sources(directory) for n in source.theorems()]
    report, printed = _run(directory, every)
    if not printed:
        raise RuntimeError("no snapshot was written: " + " ".join(report.all_problems()))
    content = {
        "theorems": dict(sorted(printed.items())),
        "definitions": dict(sorted(report.definitions.items())),
    }
    path = directory / SNAPSHOT
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    path.write_text(after, encoding="utf-8")
    changes = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", n=0, lineterm=""
    )
    difference = "\n".join(changes) or f"{SNAPSHOT} is unchanged."
    return f"{difference}\n\n{_axioms_used(report)}"


def main(arguments: list[str] | None = None) -> int:
    """Check the proofs, or rewrite the snapshot, and return the exit status."""
    parser = argparse.ArgumentParser(prog="check.py", description=(__doc__ or "").split("\n")[0])
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
