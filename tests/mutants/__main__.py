"""``python -m tests.mutants [STEM ...]``: plant every fault, and say which no test would miss."""

import sys

from tests.mutants.runner import Outcome, control, judged, mutants, stems


def main(chosen: list[str]) -> int:
    """Judge the mutants of some stems, or of all; 1 if any is not red."""
    missed = total = 0
    for stem in chosen or stems():
        green, said = control(stem)
        if green is not Outcome.SURVIVED:
            print(f"{stem}: the tests are {green.value} with nothing planted.\n{said}")
            return 1
        listed = [mutant for mutant in mutants(stem) if mutant.can_be_judged]
        if left := len(mutants(stem)) - len(listed):
            print(f"{stem}: {left} left out, whose tests need what is not installed.")
        for mutant, outcome, _ in judged(listed):
            total += 1
            if outcome not in (Outcome.KILLED, Outcome.ENDLESS):
                missed += 1
            print(f"{outcome.value:9}{stem}: {mutant.file}: {mutant.catches}", flush=True)
    print(f"{total} mutants, {total - missed} red, {missed} not.")
    return int(missed > 0)


sys.exit(main(sys.argv[1:]))
