"""Hypotheses of linked theorems, dropped at random: ``python -m tests.proofs.weakened --seed 1 --count 20``.

In place of a hypothesis stands ``True``, so that the proof meets as many premises as before; Coq must then
object to it.  One whose proof still goes through is idle: the theorem says less than it could.  Bounds that
are two percent smaller are tried one and all by tests/proofs/test_proofs.py.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proofs.evidence.coq_checker import SOURCES
from proofs.evidence.coq_sources import Sentence, Source, read_project
from specs import CLAIMS

#: Sentences that a proof may lean on and that are not exported with a module.
SETTINGS = {"From", "Require", "Import", "Open", "Close", "Ltac", "Tactic", "Notation", "Arguments"}

_TOKEN = re.compile(r"->|[(){}\[\],:]|\b(?:forall|exists|fun|let|in)\b|:=")


@dataclass(frozen=True)
class Weakening:
    """A theorem and one of its hypotheses."""

    source: Source
    theorem: Sentence
    start: int
    end: int

    @property
    def name(self) -> str:
        """The theorem's name."""
        return self.theorem.declares

    @property
    def hypothesis(self) -> str:
        """What is dropped."""
        return " ".join(self.theorem.text[self.start : self.end].split())

    def program(self, *, dropped: bool) -> str:
        """Return a source that proves the theorem once more, with or without the hypothesis."""
        text = self.theorem.text
        if dropped:
            text = f"{text[: self.start]}True{text[self.end :]}"
        text = re.sub(rf"\b{self.name}\b", f"{self.name}_weakened", text, count=1)
        at = self.source.sentences.index(self.theorem)
        before, after = self.source.sentences[:at], self.source.sentences[at + 1 :]
        ends = next(i for i, s in enumerate(after) if s.text in ("Qed.", "Defined."))
        sections = _open_sections(before)
        if sections:
            # What a section assumes is a hypothesis of all that it holds: repeat the file so far.
            head = [s.text for s in before]
        else:
            head = [s.text for s in before if s.command in SETTINGS]
            head.append(f"Require Import {self.source.module}.")
        closing = [f"End {name}." for name in reversed(sections)]
        return "\n".join([*head, text, *(s.text for s in after[: ends + 1]), *closing, ""])


def _open_sections(sentences: tuple[Sentence, ...]) -> list[str]:
    found: list[str] = []
    for sentence in sentences:
        if sentence.command in ("Section", "Module"):
            found.append(sentence.words[1])
        elif sentence.command == "End":
            found.pop()
    return found


def hypotheses(statement: str) -> list[tuple[int, int]]:
    """Return where the hypotheses of a theorem's sentence stand, what is bound between them left out."""
    depth, started, binding = 0, False, False
    start = 0
    found = []
    for token in _TOKEN.finditer(statement):
        text = token.group()
        if text in "([{":
            depth += 1
        elif text in ")]}":
            depth -= 1
        elif depth:
            continue
        elif text == ":" and not started:
            started, start = True, token.end()
        elif not started:
            continue
        elif text in ("forall", "let") and not statement[start : token.start()].strip():
            binding = True
        elif (text == "," or text == "in") and binding:
            binding, start = False, token.end()
        elif text in ("exists", "fun", "forall") and not binding:
            break  # the rest is this one's body
        elif text == "->" and not binding:
            found.append((start, token.start()))
            start = token.end()
    return [(b - len(statement[a:b].lstrip()), a + len(statement[a:b].rstrip())) for a, b in found]


def weakenings() -> list[Weakening]:
    """Return every hypothesis of every theorem that a claim names, in order."""
    linked = {
        name
        for claim in CLAIMS.values()
        for bound in claim.bounds
        for name in (bound.theorem, bound.attained, bound.approached)
        if name
    }
    return [
        Weakening(source, sentence, *place)
        for source in read_project(SOURCES).sources
        for sentence in source.sentences
        if sentence.declares in linked
        for place in hypotheses(sentence.text)
    ]


def judged(drawn: list[Weakening], compiled: Path) -> Iterator[tuple[Weakening, str]]:
    """Yield ``broken``, ``idle``, or ``unclear`` where even the theorem as it is could not be repeated."""
    for weakening in drawn:
        if _goes_through(weakening.program(dropped=True), compiled):
            yield weakening, "idle"
        elif _goes_through(weakening.program(dropped=False), compiled):
            yield weakening, "broken"
        else:
            yield weakening, "unclear"


def _goes_through(program: str, compiled: Path) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "Weakened.v")
        path.write_bytes(program.encode("latin-1"))
        command = ["coqc", "-q", "-R", str(compiled.absolute()), "Attest", "-w", "none", path.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        return not done.returncode


def main(arguments: list[str]) -> int:
    """Drop some hypotheses; 1 if Coq misses one, or none could be judged."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.weakened")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--compiled", type=Path, help="sources beside what they compile to")
    chosen = parser.parse_args(arguments)
    every = weakenings()
    drawn = random.Random(chosen.seed).sample(every, min(chosen.count, len(every)))
    counts = dict.fromkeys(("broken", "idle", "unclear"), 0)
    with tempfile.TemporaryDirectory() as folder:
        compiled = chosen.compiled or _compiled(Path(folder), drawn)
        for weakening, outcome in judged(drawn, compiled):
            counts[outcome] += 1
            print(f"{outcome:8}{weakening.name}: {weakening.hypothesis}", flush=True)
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    theorems = len({w.name for w in every})
    print(f"{len(drawn)} of {len(every)} hypotheses of {theorems} linked theorems dropped: {said}")
    return int(counts["idle"] > 0 or not counts["broken"])


def _compiled(folder: Path, drawn: list[Weakening]) -> Path:
    """Return a copy of the sources in which what is needed is compiled."""
    work = Path(shutil.copytree(SOURCES, folder / "coq"))
    for source in read_project(work).needed({w.name for w in drawn}):
        command = ["coqc", "-q", "-R", ".", "Attest", "-w", "none", source.file]
        subprocess.run(command, cwd=work, check=True)
    return work


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
