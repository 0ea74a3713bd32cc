"""Read the Coq sources before Coq does: what they list, declare and require, and what is refused.

Coq's language can change how it reads itself: a notation turns ``<=`` into something else, a plugin
runs code, an option switches off a check.  So the project is held to a short list of commands
(``COMMANDS``), and whatever is not on it is refused before anything is compiled.  Sentences are
split here as Coq splits them; the compiler prints where each one began and ended, and the two must
agree (:mod:`proofs.evidence.coq_questions`).  None of this is what a proof rests on: what was proved, and
from which axioms, is asked of the compiled files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = [
    "BOUNDS",
    "COMMANDS",
    "DEFINING",
    "LIBRARIES",
    "PROJECT",
    "Project",
    "Sentence",
    "Source",
    "read_project",
]

PROJECT = "_CoqProject"

#: The module of the bounds, which specs/printing writes.
BOUNDS = "Bounds"

#: Libraries that a proof may stand on; their axioms are still counted.
LIBRARIES = frozenset({"Coq", "Coquelicot", "Flocq", "Interval", "mathcomp", "Bignums"})

#: Files that specs/printing writes; a test of their own compares them with the claims.
GENERATED = frozenset({f"{BOUNDS}.v", f"{BOUNDS}Check.v"})

#: Commands that declare a constant, by what they declare.
THEOREM = "Theorem"
DEFINING = ("Definition", "Fixpoint", "Inductive", "Record")
DECLARING = (THEOREM, "Lemma", *DEFINING, "Let")

#: Local assumptions: harmless in a section, axioms outside one.
ASSUMPTIONS = ("Variable", "Variables", "Hypothesis", "Hypotheses", "Context")

#: Every command that a source may use, after an optional Local; a tactic begins with a small letter.
COMMANDS = frozenset(
    (
        *DECLARING,
        *ASSUMPTIONS,
        *("From", "Require", "Import", "Open", "Section", "End", "Goal", "Proof", "Qed", "Defined"),
        *("Arguments", "Existing", "Ltac", "Tactic"),
    )
)

#: Words that let a proof pass unchecked, or checked by a compiler; refused wherever they stand.
UNCHECKED = ("admit", "give_up", "native_compute", "native_cast_no_check", "bypass_check")

_TOKEN = re.compile(r'\(\*|\*\)|"(?:[^"]|"")*"|"|\.(?=\s|\Z)|\.\.+', re.ASCII)
_IN_COMMENT = re.compile(r'\(\*|\*\)|"(?:[^"]|"")*"|"', re.ASCII)
_FOCUS = re.compile(r"-+|\++|\*+|\{|\}|\d+\s*:\s*\{", re.ASCII)
_BLANK = re.compile(r"\s+", re.ASCII)
_QUALIFIED = re.compile(r"[A-Za-z_][\w']*(?:\.[A-Za-z_][\w']*)*", re.ASCII)


@dataclass(frozen=True)
class Sentence:
    """One sentence, or bullet: where it is in the file, in bytes, and its text without comments."""

    start: int
    end: int
    text: str

    @cached_property
    def words(self) -> list[str]:
        """Return the names in it, qualified ones whole, outside strings."""
        return _QUALIFIED.findall(re.sub(r'"[^"]*"', '""', self.text))

    @cached_property
    def command(self) -> str:
        """Return the command's word, without Local; empty for a tactic or a bullet."""
        word = self.words[0] if self.words and self.text.startswith(self.words[0]) else ""
        if word == "Local" and len(self.words) > 1:
            word = self.words[1]
        return word if word[:1].isupper() else ""

    @cached_property
    def declares(self) -> str:
        """Return the name that the sentence declares; empty if it declares none."""
        if self.command not in DECLARING:
            return ""
        names = self.words[self.words.index(self.command) + 1 :]
        return names[0] if names else ""


@dataclass(frozen=True)
class Source:
    """A file of the project."""

    path: Path
    #: Its path below the project, with forward slashes.
    file: str
    #: Its module's full name, such as ``Attest.Softmax``.
    module: str
    sentences: tuple[Sentence, ...]
    #: Why the file was not read to its end; empty if it was.
    unreadable: str = ""

    @cached_property
    def stem(self) -> str:
        """Return the last part of the module's name, by which others require it."""
        return self.path.stem

    @cached_property
    def declared(self) -> list[tuple[str, str]]:
        """Return the kind and the name of everything declared, in order."""
        return [(s.command, s.declares) for s in self.sentences if s.declares]

    @cached_property
    def theorems(self) -> tuple[str, ...]:
        """Return the names of the theorems: results that a claim may name, unlike lemmas."""
        return tuple(name for kind, name in self.declared if kind == THEOREM)

    @cached_property
    def requires(self) -> frozenset[str]:
        """Return the last part of the name of every module that a Require names.

        What stands before the word, as in ``From Attest.Softmax Require``, is where they are.
        """
        commands = (s.text for s in self.sentences if s.command in ("From", "Require"))
        named = (_QUALIFIED.findall(text.partition("Require")[2]) for text in commands)
        return frozenset(word.rpartition(".")[2] for words in named for word in words)

    @cached_property
    def digest(self) -> str:
        """Return a fingerprint of what Coq reads, which comments and spacing do not change."""
        text = "\n".join(" ".join(s.text.split()) for s in self.sentences)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Project:
    """The sources in the order of ``_CoqProject``, and how they are compiled."""

    directory: Path
    prefix: str
    options: tuple[str, ...]
    sources: tuple[Source, ...]
    problems: tuple[str, ...]

    @cached_property
    def theorems(self) -> Mapping[str, Source]:
        """Return the source of every theorem, by name."""
        return {name: source for source in self.sources for name in source.theorems}

    def needed(self, only: Collection[str]) -> tuple[Source, ...]:
        """Return the sources of the given theorems and what those require, in order; or all."""
        if not only:
            return self.sources
        needed: set[str] = set()
        wanted = [self.theorems[name] for name in only if name in self.theorems]
        while wanted:
            source = wanted.pop()
            if source.file not in needed:
                needed.add(source.file)
                wanted += self.required(source)
        return tuple(source for source in self.sources if source.file in needed)

    def required(self, source: Source) -> list[Source]:
        """Return the project's own sources that a source requires."""
        return [s for s in self.sources if s is not source and s.stem in source.requires]


def read_project(directory: Path) -> Project:
    """Read every source that ``_CoqProject`` lists, and find what is to be refused.

    Generated sources may be absent.
    """
    prefix, options, files, problems = _read_options(directory)
    sources = []
    for file in files:
        if not (directory / file).exists():
            if Path(file).name not in GENERATED:
                problems.append(f"{file} is listed in {PROJECT} and does not exist.")
            continue
        sources.append(_read_source(directory, file, prefix))
    for source in sources:
        problems += _refusals(source)
    problems += _repetitions(sources)
    listed = {source.file for source in sources}
    for path in sorted(directory.rglob("*.v")):
        if (file := path.relative_to(directory).as_posix()) not in listed:
            problems.append(f"{file} is not listed in {PROJECT}, so nothing would check it.")
    return Project(directory, prefix, tuple(options), tuple(sources), tuple(problems))


# ---------------------------------------------------------------------------- _CoqProject


def _read_options(directory: Path) -> tuple[str, list[str], list[str], list[str]]:
    """Return the prefix, the compiler's arguments, the files in order, and what is refused."""
    options: list[str] = []
    files: list[str] = []
    problems: list[str] = []
    prefix = ""
    words = (directory / PROJECT).read_text(encoding="utf-8").split()
    while words:
        if words[0] == "-R" and words[1:2] == ["."] and not prefix and len(words) > 2:
            prefix, words = words[2], words[3:]
            options += ["-R", ".", prefix]
        elif words[0:3] == ["-arg", "-w", "-arg"] and len(words) > 3:
            options += ["-w", words[3]]
            words = words[4:]
        else:
            word = words.pop(0)
            if re.fullmatch(r"(?:[A-Z]\w*/)*[A-Z]\w*\.v", word, re.ASCII):
                files.append(word)
            else:
                problems.append(
                    f"{PROJECT} contains {word}; only -R . NAME, -arg -w -arg WARNINGS and files "
                    "below it are allowed, as other options can change what a proof is checked for."
                )
    if not re.fullmatch(r"[A-Z]\w*", prefix, re.ASCII):
        problems.append(f"{PROJECT} must name the modules with -R . NAME, got {prefix!r}.")
    if prefix in LIBRARIES:
        problems.append(f"{PROJECT} calls the modules {prefix}, which is the name of a library.")
    return prefix, options, files, problems


# ------------------------------------------------------------------------------ sentences


def _read_source(directory: Path, file: str, prefix: str) -> Source:
    module = ".".join([prefix, *Path(file).with_suffix("").parts])
    # A byte is a character: Coq counts in bytes, and only comments may hold more than ASCII.
    text = (directory / file).read_bytes().decode("latin-1")
    sentences: list[Sentence] = []
    try:
        sentences += _split(text)
    except ValueError as error:
        return Source(directory / file, file, module, tuple(sentences), str(error))
    return Source(directory / file, file, module, tuple(sentences))


def _split(text: str) -> Iterator[Sentence]:
    """Yield the sentences as Coq's lexer finds them.

    Raises
    ------
    ValueError
        Where a comment, a string or a sentence has no end, or a dot is one of several.
    """
    at = 0
    while (at := _skip(text, at)) < len(text):
        start = at
        if match := _FOCUS.match(text, at):
            at = match.end()
            yield Sentence(start, at, match.group())
            continue
        code: list[str] = []
        while code[-1:] != ["."]:
            token = _TOKEN.search(text, at)
            if token is None:
                raise ValueError(f"its last sentence, {_shown(text[start:])}, has no end")
            code.append(text[at : token.start()])
            at = token.end()
            if token.group() == "(*":
                at = _after_comment(text, token.start())
                code.append(" ")
            elif token.group() in ("*)", '"') or token.group().startswith(".."):
                raise ValueError(f"{token.group()} stands alone in {_shown(text[start:])}")
            else:
                code.append(token.group())
        yield Sentence(start, at, "".join(code))


def _skip(text: str, at: int) -> int:
    """Return the place of the next sentence, past blanks and comments."""
    while True:
        if match := _BLANK.match(text, at):
            at = match.end()
        if not text.startswith("(*", at):
            return at
        at = _after_comment(text, at)


def _after_comment(text: str, start: int) -> int:
    """Return where a comment ends; in comments, as in code, a string hides what it contains."""
    depth, at = 0, start
    while True:
        token = _IN_COMMENT.search(text, at)
        if token is None or token.group() == '"':
            raise ValueError(f"the comment {_shown(text[start:])} has no end")
        depth += {"(*": 1, "*)": -1}.get(token.group(), 0)
        at = token.end()
        if depth == 0:
            return at


def _shown(text: str) -> str:
    return repr(" ".join(text[:60].split()))


# -------------------------------------------------------------------------------- refusals


def _refusals(source: Source) -> Iterator[str]:
    """Yield a sentence for everything in a source that could leave a gap or disguise one."""
    file = source.file
    if source.unreadable:
        yield f"{file} was not read to its end: {source.unreadable}."
    sections: list[str] = []
    names: set[str] = set()
    for sentence in source.sentences:
        shown = _shown(sentence.text)
        if odd := re.search(r"[^\x20-\x7e\n\t]", sentence.text):
            yield f"{file} has the character {odd.group()!r} outside a comment, in {shown}."
        for word in sentence.words:
            if word in UNCHECKED:
                yield f"{file} contains the word {word}, which can leave a gap in a proof."
        command = sentence.command
        if sentence.text.startswith("#") or (command and command not in COMMANDS):
            yield f"{file} says {shown}; that command is not one of those that a proof may use."
        if command == "Section":
            sections.append(sentence.words[1])
        elif command == "End" and sections:
            sections.pop()
        elif command in ASSUMPTIONS and not sections:
            yield f"{file} uses {command} outside a section, where it is an axiom: {shown}."
        if name := sentence.declares:
            if name in names and command != "Let":
                yield f"{file} declares {name} twice."
            names.add(name)
            if name.startswith("b_") and source.stem != BOUNDS:
                yield f"{file} declares {name}, a name that is kept for the bounds in {BOUNDS}.v."


def _repetitions(sources: Sequence[Source]) -> Iterator[str]:
    """Yield a sentence for every theorem and every module whose name is not its own."""
    modules: dict[str, str] = {}
    theorems: dict[str, str] = {}
    for source in sources:
        stem = source.stem
        if stem in modules:
            yield f"{modules[stem]} and {source.file} are modules of one name."
        modules[stem] = source.file
        for theorem in source.theorems:
            if theorem in theorems and theorems[theorem] != source.file:
                yield f"Theorem {theorem} is declared in {theorems[theorem]} and in {source.file}."
            theorems[theorem] = source.file
