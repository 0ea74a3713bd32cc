"""Faults drawn at random, which nobody chose: ``python -m tests.mutants.sampled --seed 1 --count 40``.

Of every room that is asked about, a number of edits is drawn from all that :mod:`tests.mutants.mutations`
finds in it, and each is judged by the tests that reach the block it stands in, those of the most
special files first, until one is red, and at last by the slow tests of files that name its module.
Which reach it is found once, by running the tests under
:mod:`tests.mutants.reached`, a quarter of an hour of one core, and kept in a file.  Generated modules are
left out: a test prints them again and would notice anything.
"""

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.mutants import reached
from tests.mutants.explained import EXPLAINED, Explained, Kind
from tests.mutants.mutations import Mutation, mutations
from tests.mutants.runner import ROOT, Outcome, planted

#: Rooms, with the share of faults that must be noticed.
WANTED = {
    "reference": 0.95,
    "specs": 0.95,
    "fastpath": 0.90,
    "proofs/judging": 0.90,
    "proofs/evidence": 0.90,
    "proofs/symbolic": 0.90,
}

#: What is run to find which tests enter what: the quick loop, but for what runs other processes only.
MAPPED = ("tests/reference", "tests/specs", "tests/fastpath", "tests/conformance", "tests/proofs")

QUICK = "not slow and not nightly and not proofs"

#: Seconds of tests at first, and for what survives them.
STAGES = (0.5, 4.0, 15.0)


#: The last tests, and the seconds that they may take: whole audits.
SLOW, LONGEST = "slow and not nightly and not proofs", 1200


def main(arguments: list[str]) -> int:
    """Draw and judge; 1 if a room has less than its share."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.sampled")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20, help="faults for each room")
    parser.add_argument("--folder", action="append", help="in place of the rooms; may be repeated")
    parser.add_argument("--reached", type=Path, default=ROOT / "build" / "reached.json")
    chosen = parser.parse_args(arguments)
    if not chosen.reached.exists():
        chosen.reached.parent.mkdir(exist_ok=True)
        reached.main(str(chosen.reached), [*MAPPED, "tests/mutants/test_bounds.py"])
    tests = Tests(reached.read(chosen.reached))
    short = False
    for room in chosen.folder or WANTED:
        counts: Counter[str] = Counter()
        drawn = random.Random(chosen.seed).sample(
            listed := sites(room), min(chosen.count, len(listed))
        )
        for file, mutation in sorted(drawn):
            outcome = judged(file, mutation, tests)
            counts[outcome] += 1
            print(f"{outcome:9}{told(file, mutation)}", flush=True)
        fair = sum(counts.values()) - counts["explained"]
        share = counts["killed"] / fair if fair else 1.0
        wanted = next((w for r, w in WANTED.items() if room.startswith(r)), 0.0)
        short |= share < wanted
        print(
            f"{room}: {counts['killed']} of {fair} killed ({share:.1%}, wanted {wanted:.0%}), "
            f"{counts['survived']} survived, {counts['explained']} explained; {len(listed)} sites",
            flush=True,
        )
    return int(short)


def sites(room: str) -> list[tuple[str, Mutation]]:
    """Return every fault of a room, or of a folder or file in it."""
    path = ROOT / room
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [
        (str(file.relative_to(ROOT)), mutation)
        for file in files
        if not str(file.relative_to(ROOT)).startswith("fastpath/core/bounds/")
        for mutation in mutations(file.read_text(encoding="utf-8"))
    ]


def told(file: str, mutation: Mutation) -> str:
    """Return one line that says what was planted where."""
    before, after = (" ".join(text.split()) for text in (mutation.before, mutation.after))
    return (
        f"{file}:{mutation.line} {mutation.function or '(module)'}: {before[:90]} -> {after[:90]}"
    )


def file_of(test: str) -> str:
    """Return the file of a test's id."""
    return test.partition("::")[0]


def _needs_a_peer(path: Path) -> bool:
    return path.exists() and 'importorskip("torch"' in path.read_text(encoding="utf-8")


class Tests:
    """Which tests to run for a fault, from what the tests reached."""

    def __init__(self, found: dict[str, dict[str, list[str]]]) -> None:
        self._seconds: dict[str, float] = found["seconds"]  # type: ignore[assignment]
        # What needs a large peer is not loaded for every fault.
        peers = {file for file in map(file_of, self._seconds) if _needs_a_peer(ROOT / file)}
        self._functions = {
            name: [test for test in those if file_of(test) not in peers]
            for name, those in found["functions"].items()
        }
        entered = Counter(
            (file_of(test), name) for name, those in self._functions.items() for test in those
        )
        self._breadth = Counter(file for file, _ in entered)

    def of(self, file: str, function: str, block: int = 0) -> Iterator[tuple[list[str], int]]:
        """Yield the tests of each stage, and how long they may take: some times what they take."""
        # A block that only runs while its module is loaded is seen by none.
        names = [reached.place(file, function, line) for line in (block, 0)] if function else []
        entering = next((set(self._functions[n]) for n in names if self._functions.get(n)), set())
        if not entering:
            # What is evaluated as the module is loaded may show wherever the module is used.
            entering = {
                test
                for name, those in self._functions.items()
                if name.startswith(f"{file}::")
                for test in those
            }
            if file.startswith("specs/"):
                entering |= {test for test in self._seconds if test.startswith("tests/specs/")}
        before: set[str] = set()
        for budget in STAGES:
            now, total = [], 0.0
            for test in sorted(entering - before, key=self._rank):
                if now and total + self._seconds[test] > budget:
                    continue
                total += self._seconds[test]
                now.append(test)
            before.update(now)
            if now:
                yield now, int(8 + 4 * total)

    def _rank(self, test: str) -> tuple[int, str, float, str]:
        """Order tests: those of files that enter few functions first, the quickest of a file first."""
        file = file_of(test)
        return self._breadth[file], file, self._seconds[test], test


def slow_files(module: str) -> list[str]:
    """Return the files of slow tests that import from a module, the shortest first."""
    names = re.compile(
        rf"^(from {re.escape(module)} import|import {re.escape(module)}\b|"
        rf"from {re.escape(module.rpartition('.')[0])} import .*\b{module.rpartition('.')[2]}\b)",
        re.MULTILINE,
    )
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if path.parent != Path(__file__).parent and not _needs_a_peer(path)
    }
    found = [p for p, text in texts.items() if "mark.slow" in text and names.search(text)]
    return [str(path.relative_to(ROOT)) for path in sorted(found, key=lambda p: len(texts[p]))]


def judged(file: str, mutation: Mutation, tests: Tests) -> str:
    """Return ``killed``, ``survived`` or ``explained``."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    source = (ROOT / file).read_text(encoding="utf-8")
    text = mutation.planted(source)
    for stage, longest in tests.of(file, mutation.function, mutation.block):
        outcome, said = planted(module, text, stage, marked=QUICK, longest=longest)
        if outcome is Outcome.BROKEN:
            # A module that cannot be loaded is noticed, if the tests are there without the fault.
            green, said = planted("", "", stage, marked=QUICK, longest=longest)
            assert green is Outcome.SURVIVED, said
        if outcome is not Outcome.SURVIVED:
            return "killed"
    # Most faults were noticed before, so that what few files hold is not mapped.
    for tests_of in slow_files(module):
        outcome, _ = planted(module, text, [tests_of], marked=SLOW, longest=LONGEST)
        if outcome in (Outcome.KILLED, Outcome.ENDLESS):
            return "killed"
    return (
        "explained" if any(explains(e, file, source, mutation) for e in EXPLAINED) else "survived"
    )


def explains(known: Explained, file: str, source: str, mutation: Mutation) -> bool:
    """Whether an explanation is of this fault."""
    line = source.splitlines()[mutation.line - 1].strip()
    if (known.file, known.function, known.line) != (file, mutation.function, line):
        return False
    anything = known.kind is Kind.CHOICE and not known.before
    return anything or (known.before, known.after) == (mutation.before, mutation.after)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
