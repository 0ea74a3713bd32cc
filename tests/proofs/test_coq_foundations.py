"""In the Coq sources what several files need is proved once, and no file asks for what it does not use."""

import re
from collections import defaultdict

import pytest

from proofs.evidence.coq_checker import SOURCES
from proofs.evidence.coq_sources import GENERATED, Source, read_project

PROJECT = read_project(SOURCES)
WRITTEN = [source for source in PROJECT.sources if source.path.name not in GENERATED]

_WORD = re.compile(r"[A-Za-z_][\w']*")

#: Names that a definition brings beside its own: constructors and fields.
_INSIDE = re.compile(r"(?:\||:=|[{;])\s*([A-Za-z_]\w*)")

#: What modules of Coq's library are required for, where that can be read off the text.
LIBRARY = {
    "Lra": {"lra", "nra"},
    "Lia": {"lia", "nia"},
    "Psatz": {"psatz"},
    "FunctionalExtensionality": {"functional_extensionality"},
}


def offers(source: Source) -> set[str]:
    """Return every name that a file gives to those that require it, tactics included."""
    names = {name for _, name in source.declared}
    for sentence in source.sentences:
        if sentence.command in ("Inductive", "Record"):
            names |= set(_INSIDE.findall(sentence.text))
        elif sentence.command == "Tactic":
            names |= set(re.findall(r'"(\w+)"', sentence.text))
        elif sentence.command == "Ltac":
            names.add(sentence.words[1])
    return names


def uses(source: Source) -> set[str]:
    """Return every word of a file but those of its Requires."""
    sentences = (s for s in source.sentences if s.command not in ("From", "Require"))
    return {word for s in sentences for word in _WORD.findall(s.text)}


@pytest.mark.parametrize("source", WRITTEN, ids=lambda source: source.file)
def test_a_file_requires_only_what_it_uses(source: Source) -> None:
    words = uses(source)
    for required in PROJECT.required(source):
        assert offers(required) & words, (
            f"{source.file} requires {required.file} and uses no name of it"
        )
    for module, names in LIBRARY.items():
        needless = module in source.requires and not names & words
        assert not needless, f"{source.file} requires {module} and uses no name of it"


@pytest.mark.parametrize("source", WRITTEN, ids=lambda source: source.file)
def test_a_file_says_in_which_folder_stands_what_it_requires(source: Source) -> None:
    modules = {s.path.stem for s in PROJECT.sources}
    for sentence in source.sentences:
        if sentence.command == "Require":
            bare = modules & set(sentence.words)
            assert not bare, f"{source.file} requires {', '.join(bare)} by no more than a name"


def test_nothing_else_bears_the_name_of_a_lemma() -> None:
    files, kinds = defaultdict(set), defaultdict(set)
    for source in PROJECT.sources:
        for kind, name in source.declared:
            if kind != "Let":
                files[name].add(source.file)
                kinds[name].add(kind)
    twice = {
        name: sorted(where)
        for name, where in files.items()
        if len(where) > 1 and kinds[name] & {"Lemma", "Theorem"}
    }
    assert not twice


def test_no_lemma_is_proved_twice() -> None:
    """Two lemmas of one statement, but for the names of what they quantify over."""
    statements = defaultdict(list)
    for source in WRITTEN:
        for sentence in source.sentences:
            # Theorems may have the same hypotheses, and then the same witness of them.
            witness = sentence.declares.endswith("_satisfiable")
            if sentence.command in ("Lemma", "Theorem") and not witness:
                statements[_nameless(sentence.text)].append(sentence.declares)
    twice = [names for names in statements.values() if len(names) > 1]
    assert not twice


def _nameless(statement: str) -> str:
    """Return a statement without its name, its variables numbered in the order of their use."""
    _, _, rest = " ".join(statement.split()).partition(" ")
    binders, _, body = re.sub(r"(?<=[({])([^(){}:]*):[^(){}]*(?=[)}])", r"\1", rest).partition(" :")
    bound = set(_WORD.findall(binders)[1:])
    for names in re.findall(r"\b(?:fun|forall|exists) \(?([\w' ]+)", body):
        bound |= set(names.split())
    numbers: dict[str, str] = {}
    return _WORD.sub(
        lambda word: (
            numbers.setdefault(word[0], f"_{len(numbers)}") if word[0] in bound else word[0]
        ),
        body,
    )
