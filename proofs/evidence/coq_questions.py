"""Ask Coq: compile the sources, let ``coqchk`` check them, and put questions to what was compiled.

The questions are a file of their own that requires the project's modules and imports none of them:
no notation, scope or short name of theirs reaches it, and it calls everything by its full name.
What a theorem concludes is decided by Coq's own matching on the statement, not on its print.

No answer depends on how long Coq takes: nothing here is stopped by a clock.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from proofs.evidence.coq_sources import BOUNDS, COMMANDS, DEFINING, LIBRARIES, Project, Source

__all__ = ["Compiled", "CoqMissingError", "Printed", "ask", "compiling"]

LOGGER = logging.getLogger(__name__)

INSTALL = "apt-get install coq libcoq-interval"

_TIMED = re.compile(r"^Chars (\d+) - (\d+) \[(.*?)\] ", re.MULTILINE)
_HEADER = re.compile(r"(?:#\[[^]]*\]\s*)*([A-Z]\w*)?", re.ASCII)
_QUALIFIED = re.compile(r"[A-Za-z_][\w']*(?:\.[A-Za-z_][\w']*)+", re.ASCII)


class CoqMissingError(RuntimeError):
    """Coq is not installed; the message says how to install it."""


@dataclass(frozen=True)
class Compiled:
    """What compiling left behind: the directory, and what is wrong.

    Attributes
    ----------
    directory
        Where the compiled files are.
    coq
        The version that ran.
    seconds
        The compile time of each file, in the order in which they were done.
    failure
        Why not everything was compiled; empty if it was.
    problems
        Where Coq read something else than :mod:`proofs.evidence.coq_sources`, as full sentences.
    """

    directory: Path
    coq: str
    seconds: Mapping[str, float]
    failure: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Printed:
    """What Coq says of the theorems asked about.

    Attributes
    ----------
    statements
        The statement of each theorem, on one line.
    exact
        The same without any notation, coercion or implicit argument.
    concludes
        For each theorem the bounds that it concludes, with the relations: ``("at most",)`` where
        the head of a conclusion is ``quantity <= bound``.
    axioms
        What each theorem rests on.
    definitions
        Every constant of the project that the statements are made of, by full name: how Coq prints
        it, and how without notations.  The bounds are left out.
    problems
        What ``coqchk`` and Coq's list of loaded libraries object to, as full sentences.
    """

    statements: Mapping[str, str] = field(default_factory=dict)
    exact: Mapping[str, str] = field(default_factory=dict)
    concludes: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    axioms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    definitions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


# ------------------------------------------------------------------------------- compiling


@contextmanager
def compiling(project: Project, sources: Sequence[Source]) -> Iterator[Compiled]:
    """Compile sources from clean in a temporary directory, independent ones side by side.

    Raises
    ------
    CoqMissingError
        If ``coqc`` or ``coqchk`` is not installed.
    """
    coqc = _tool("coqc")
    _tool("coqchk")
    version = " ".join(_call([coqc, "--print-version"], project.directory)[1].split())
    with tempfile.TemporaryDirectory(prefix="attest-coq-") as temporary:
        work = Path(temporary)
        for source in sources:
            copy = work / source.file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path, copy)
        command = [coqc, "-q", "-time", *project.options]
        yield _compile(command, project, sources, work, version)


def _compile(
    command: list[str], project: Project, sources: Sequence[Source], work: Path, version: str
) -> Compiled:
    order = TopologicalSorter(
        {s.file: [r.file for r in project.required(s) if r in sources] for s in sources}
    )
    by_file = {source.file: source for source in sources}
    seconds: dict[str, float] = {}
    problems: list[str] = []
    failures: list[str] = []
    try:
        order.prepare()
    except CycleError as error:
        circle = " requires ".join(reversed(error.args[1]))
        return Compiled(work, version, {}, f"No order of compilation exists: {circle}.", ())

    def run(file: str) -> tuple[str, float, int, str, str]:
        start = time.monotonic()
        status, output, errors = _call([*command, file], work)
        return file, time.monotonic() - start, status, output, errors

    with ThreadPoolExecutor(_processors()) as pool:
        running: set[Future[tuple[str, float, int, str, str]]] = set()
        while order.is_active():
            if not failures:
                running |= {pool.submit(run, file) for file in order.get_ready()}
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for file, spent, status, output, errors in (future.result() for future in done):
                seconds[file] = spent
                order.done(file)
                LOGGER.info(
                    "%d of %d: Coq read %s in %.0f s", len(seconds), len(sources), file, spent
                )
                if status:
                    failures.append(f"{file} does not compile: {_one_line(errors)}")
                else:
                    problems += _read_differently(by_file[file], output)
    return Compiled(work, version, seconds, " ".join(failures), tuple(problems))


def _read_differently(source: Source, output: str) -> Iterator[str]:
    """Yield a sentence if Coq's own list of the file's sentences is not the one that was judged."""
    read = [(int(start), int(end)) for start, end, _ in _TIMED.findall(output)]
    if read != [(s.start, s.end) for s in source.sentences]:
        yield f"Coq did not split {source.file} into the sentences that were looked at."
        return
    for sentence, (_, _, header) in zip(source.sentences, _TIMED.findall(output), strict=True):
        command = _command(header)
        if command and (command not in COMMANDS or command != sentence.command):
            yield f"Coq read {sentence.text[:60]!r} in {source.file} as the command {command}."


def _command(header: str) -> str:
    match = _HEADER.match(header.replace("~", " "))
    return (match.group(1) or "") if match else ""


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise CoqMissingError(
            f"{name} was not found, so no proof was checked. Coq 8.16 or later with the interval "
            f"library is needed; on Debian and Ubuntu: {INSTALL}"
        )
    return path


def _call(command: list[str], directory: Path) -> tuple[int, str, str]:
    done = subprocess.run(command, cwd=directory, capture_output=True, check=False)
    return (
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]


# ------------------------------------------------------------------------------- questions


def ask(
    project: Project, sources: Sequence[Source], only: Collection[str], compiled: Compiled
) -> Printed:
    """Return what Coq, and ``coqchk``, say of the compiled theorems.

    Parameters
    ----------
    project, sources, compiled
        What was compiled, and where it is.
    only
        Names of theorems; none means all.
    """
    names = {
        f"{source.module}.{name}": name
        for source in sources
        for name in source.theorems
        if not only or name in only
    }
    groups = {
        source.module: [full for n in source.theorems if (full := f"{source.module}.{n}") in names]
        for source in sources
    }
    groups = {module: group for module, group in groups.items() if group}
    expected = sorted(
        f"{source.stem}.{name}"
        for source in sources
        for kind, name in source.declared
        if kind in DEFINING and name.startswith("b_") == (source.stem == BOUNDS)
    )
    questions = _Questions(project, sources, compiled.directory)
    with ThreadPoolExecutor(1) as pool:
        rejected = pool.submit(lambda: [*_coqchk(project, sources, compiled.directory)])
        answers = questions.answers(
            [
                *(query for full in names for query in _theorem_queries(full)),
                *(_axiom_query(module, group) for module, group in groups.items()),
                *(query for name in expected for query in _definition_queries(name)),
                ("libraries", "Print Libraries."),
            ]
        )
        exact = {n: _statement(answers[f"{full} exact"]) for full, n in names.items()}
        definitions = _read_definitions(questions, exact.values(), answers)
        problems = rejected.result()
    problems += _strangers(project, sources, answers["libraries"])
    problems += [
        f"Coq does not know {full} as a constant of its module."
        for full in names
        if f"Expands to: Constant {full}\n" not in answers[f"{full} found"]
    ]
    return Printed(
        {n: _statement(answers[f"{full} plain"]) for full, n in names.items()},
        exact,
        {n: _concluded(answers[f"{full} concludes"]) for full, n in names.items()},
        {
            names[full]: _axioms(answers[f"{module} axioms"])
            for module, group in groups.items()
            for full in group
        },
        definitions,
        tuple(problems),
    )


class _Questions:
    """Puts questions to Coq, about modules that are required and not imported."""

    def __init__(self, project: Project, sources: Sequence[Source], compiled: Path) -> None:
        self._options = ["-q", "-w", "none", "-R", str(compiled), project.prefix]
        self.prefix = project.prefix
        bounds = [source for source in sources if source.stem == BOUNDS]
        self.bounds = [source.module for source in bounds]
        self._head = [
            "From Coq Require Import Reals.",
            *(f"Require {source.module}." for source in sources),
            "Open Scope R_scope.",
            "Set Printing Width 1000000.",
            "Set Printing Depth 1000000.",
            _matching(bounds),
        ]

    def answers(self, queries: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return Coq's answer to each command, by label."""
        # What a project prints cannot be taken for an answer: it does not know the marker.
        marker = f"answer-{secrets.token_hex(16)}:"
        lines = list(self._head)
        for label, query in queries:
            lines.append(f'Goal True. idtac "{marker} {label}". Abort.')
            lines.append(query)
        with tempfile.TemporaryDirectory(prefix="attest-coq-") as temporary:
            work = Path(temporary)
            (work / "Questions.v").write_text("\n".join(lines) + "\n", encoding="utf-8")
            status, output, errors = _call([_tool("coqc"), *self._options, "Questions.v"], work)
        if status:
            raise RuntimeError(
                f"Coq did not answer questions about the proofs: {_one_line(errors)}"
            )
        blocks = re.split(rf"^{marker} (.*)$", output, flags=re.MULTILINE)
        return dict(zip(blocks[1::2], blocks[2::2], strict=True))


def _exactly(query: str) -> str:
    return f"Set Printing All.\n{query}\nUnset Printing All."


def _statement(answer: str) -> str:
    return " ".join(answer.partition(":")[2].split())


def _strangers(project: Project, sources: Sequence[Source], answer: str) -> Iterator[str]:
    """Yield a sentence for every loaded library that is neither the project's nor a trusted one."""
    own = {source.module for source in sources}
    for name in re.findall(r"^\s+(\S+)$", answer, re.MULTILINE):
        if name not in own and name.partition(".")[0] not in LIBRARIES:
            yield f"The proofs load {name}, which is neither theirs nor of a library they may use."


def _theorem_queries(full: str) -> Iterator[tuple[str, str]]:
    yield f"{full} plain", f"Check @{full}."
    yield f"{full} exact", _exactly(f"Check @{full}.")
    yield f"{full} concludes", _conclusion(full)
    yield f"{full} found", f"About {full}."


def _definition_queries(name: str) -> Iterator[tuple[str, str]]:
    yield f"{name} is", f"Locate Term {name}."
    yield f"{name} plain", f"Print {name}."
    yield f"{name} exact", _exactly(f"Print {name}.")


def _read_definitions(
    questions: _Questions, statements: Iterable[str], answers: dict[str, str]
) -> dict[str, tuple[str, str]]:
    """Return every constant of the project that the statements, and in turn these, are made of.

    Coq is asked about those names that the answers do not have.
    """
    definitions: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    texts = list(statements)
    prefix = f"{questions.prefix}."
    while wanted := sorted({n for text in texts for n in _QUALIFIED.findall(text)} - seen):
        seen |= set(wanted)
        if missing := [name for name in wanted if f"{name} is" not in answers]:
            answers |= questions.answers(q for name in missing for q in _definition_queries(name))
        texts = []
        for name in wanted:
            full = answers[f"{name} is"].split()[1]
            if full.startswith(prefix) and full.rpartition(".")[0] not in questions.bounds:
                printed = (
                    _definition(answers[f"{name} plain"]),
                    _definition(answers[f"{name} exact"]),
                )
                definitions[full] = printed
                texts.append(printed[1])
    return definitions


def _definition(answer: str) -> str:
    """Return a definition without the lines on implicit arguments and scopes that follow it."""
    return " ".join(re.split(r"\n\s*\n|\nArguments ", answer.strip())[0].split())


# ------------------------------------------------------- what the statement of a theorem concludes

#: Matching on statements, by Coq.  Premises become hypotheses, a conjunction its parts, an existence
#: its property, and a definition of the project what it stands for.  What is left concludes a bound
#: if it compares the bound with a quantity that has a variable in it; the bound stands nowhere else
#: in it, and no premise speaks of the bound and of that quantity.  ``relative``: the bound is a
#: factor of its side; ``term``, ``equal_term``: it is in a term of what is no less, or equal.
_MATCHING = """
Inductive relation := at_most | at_least | equals | relative | term | equal_term.
Ltac says relation h := lazymatch h with BOUNDS _ => idtac end.
Ltac head_of t := lazymatch t with ?f _ => head_of f | _ => t end.
Ltac mentions_variable t :=
  match goal with x : _ |- _ => lazymatch t with context [x] => idtac end end.
Ltac is_premise h quantity :=
  match goal with
  | _ : ?T |- _ =>
      lazymatch T with context [h] => lazymatch T with context [quantity] => idtac end end
  end.
Ltac compares relation quantity others side :=
  lazymatch side with
  | Rplus ?a ?b =>
      lazymatch relation with
      | at_least => idtac
      | equals => in_both equal_term quantity others a b
      | equal_term => in_both equal_term quantity others a b
      | _ => in_both term quantity others a b
      end
  | Rmult ?a ?b =>
      lazymatch relation with
      | at_least => idtac
      | equals => idtac
      | at_most => in_both relative quantity others a b
      | _ => in_both relation quantity others a b
      end
  | pow ?a _ =>
      lazymatch relation with
      | at_most => compares relative quantity others a
      | relative => compares relative quantity others a
      | term => compares term quantity others a
      | _ => idtac
      end
  | _ =>
      let h := head_of side in
      lazymatch others with
      | context [h] => idtac
      | _ => tryif mentions_variable quantity
             then tryif is_premise h quantity then idtac else says relation h
             else idtac
      end
  end
with in_both relation quantity others a b :=
  let rest := constr:(Rplus others b) in compares relation quantity rest a;
  let rest := constr:(Rplus others a) in compares relation quantity rest b.
Ltac at_most_of l r := compares at_most l l r; compares at_least r r l.
Ltac conclusion :=
  intros;
  lazymatch goal with
  | |- and _ _ => split; conclusion
  | |- @ex ?A ?P => assert (forall x : A, P x); [ intro; cbv beta; conclusion | idtac ]
  | |- @sig ?A ?P => assert (forall x : A, P x); [ intro; cbv beta; conclusion | idtac ]
  | |- Rle ?l ?r => at_most_of l r
  | |- Rlt ?l ?r => at_most_of l r
  | |- Rge ?l ?r => at_most_of r l
  | |- Rgt ?l ?r => at_most_of r l
  | |- @eq R ?l ?r => compares equals l l r; compares equals r r l
  | |- ?G => let h := head_of G in try (progress unfold h; conclusion)
  end.
"""


def _matching(bounds: Iterable[Source]) -> str:
    """Return the tactic that prints what a goal concludes, for the bounds that these modules hold."""
    branches = "".join(
        f'| @{source.module}.{name} => idtac relation "{name.removeprefix("b_")}" '
        for source in bounds
        for kind, name in source.declared
        if kind == "Definition" and name.startswith("b_")
    )
    return _MATCHING.replace("BOUNDS", f"{branches}|")


def _conclusion(theorem: str) -> str:
    return f"Goal True. let T := type of (@{theorem}) in assert T; [ conclusion | idtac ]. Abort."


def _concluded(answer: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in answer.splitlines():
        relation, _, bound = line.partition(" ")
        if bound:
            kinds = {*found.get(bound, ()), relation.replace("_", " ")}
            found[bound] = tuple(sorted(kinds))
    return dict(sorted(found.items()))


# ------------------------------------------------------------------------- axioms and coqchk


def _axiom_query(module: str, theorems: Sequence[str]) -> tuple[str, str]:
    """Ask what the theorems of a file rest on.

    Print Assumptions walks through the library each time, for most of a second, so they are asked
    about together: each then counts as resting on what all of them rest on.
    """
    name = f"theorems_of_{module.replace('.', '_')}"
    together = ", ".join(f"@{full}" for full in theorems)
    return f"{module} axioms", f"Definition {name} := ({together}).\nPrint Assumptions {name}."


def _axioms(answer: str) -> tuple[str, ...]:
    """Return the names that Print Assumptions lists; an unknown heading counts as a name."""
    lines = [line for line in answer.splitlines() if line and not line[0].isspace()]
    if lines == ["Closed under the global context"]:
        return ()
    return tuple(sorted(line.split()[0] for line in lines if line != "Axioms:"))


def _coqchk(project: Project, sources: Sequence[Source], compiled: Path) -> Iterator[str]:
    """Yield what ``coqchk`` objects to; the libraries that the project imports are trusted.

    It also lists every constant without a proof and everything that a check was switched off for:
    none may be the project's own, whatever command brought it about.
    """
    command = [_tool("coqchk"), "-silent", "-o", "-R", ".", project.prefix]
    command += [word for s in sources for word in ("-norec", s.module)]
    status, output, errors = _call(command, compiled)
    output += errors  # the summary is written to the one or the other
    if status:
        yield f"coqchk rejects the compiled proofs: {_one_line(errors)}"
        return
    headings = re.split(r"^\* ", output.partition("CONTEXT SUMMARY")[2], flags=re.MULTILINE)[1:]
    if [h.partition(":")[0] for h in headings[:2]] != ["Theory", "Axioms"]:
        yield f"coqchk ended without its summary: {_one_line(output)}"
    for heading in headings:
        title, _, listed = heading.partition(":")
        if title == "Theory" and listed.split() != ["Set", "is", "predicative"]:
            yield f"coqchk says of the theory:{_one_line(listed)}"
        for name in listed.split():
            if name.startswith(f"{project.prefix}."):
                yield f"{name} is listed by coqchk under {title}."
