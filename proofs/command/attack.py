"""What ``attest attack`` prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from proofs.attack.registry import ATTACKS
from proofs.attack.search import Found, search
from proofs.evidence.finds import encoded
from proofs.judging.heads import InputError
from proofs.judging.implementation import implementation

#: Inputs for each function, unless a number or seconds are asked for.
INSTANCES = 200


def add_command(commands: Any) -> None:
    """Add the sub-command to the parser's."""
    says = "search for input on which a function errs by more than the bound that it returns"
    parser = commands.add_parser(
        "attack",
        help=says,
        description=f"{says[0].upper()}{says[1:]}: structure first, then steps that raise error / bound; "
        "enclosures decide.  For each function: how many inputs, how many it refused, the largest error / "
        "bound, and where.",
        epilog="Exit status: 1 if a bound is broken, an answer is no number, an argument was changed or a "
        "refusal is no sentence.",
    )
    parser.add_argument(
        "functions", metavar="FUNCTION", nargs="*", help="default: every one that returns a bound"
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--instances",
        type=int,
        default=INSTANCES,
        help=f"inputs for each function (default: {INSTANCES})",
    )
    budget.add_argument(
        "--budget",
        metavar="SECONDS",
        type=float,
        help="of the processor for all functions together, instead",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument(
        "--impl", default="fastpath", help="the module to attack (default: fastpath)"
    )
    parser.add_argument("--verbose", action="store_true", help="print the nearest instances too")
    parser.add_argument(
        "--keep", metavar="FILE", type=Path, help="write the instances to this JSON file"
    )
    parser.set_defaults(run=_attack)


def _attack(arguments: argparse.Namespace) -> int:
    names = arguments.functions or [*ATTACKS]
    for name in names:
        if name not in ATTACKS:
            raise InputError(f"FUNCTION must be one of {', '.join(ATTACKS)}, got {name!r}.")
    module = implementation(arguments.impl, *(name.partition(".")[0] for name in names))
    seconds = arguments.budget
    if seconds is not None and not seconds > 0:
        raise InputError(f"--budget must be more than 0, got {seconds:g}.")
    found = []
    for name in names:
        try:
            one = search(
                ATTACKS[name],
                module,
                # More than any budget lets it try.
                instances=10**9 if seconds is not None else arguments.instances,
                seed=arguments.seed,
                seconds=None if seconds is None else seconds / len(names),
            )
        except ValueError as error:
            raise InputError(str(error)) from None
        found.append(one)
        print("\n  ".join(_lines(one, arguments.verbose)), flush=True)
    broken = sum(one.violations for one in found)
    functions = "1 function" if len(found) == 1 else f"{len(found)} functions"
    print(f"{functions}, {sum(f.tried for f in found)} inputs, {broken} violations.")
    if arguments.keep is not None:
        entries = [
            {
                "function": one.function,
                "catches": one.sentence or f"{one.ratio:.4f} of the bound: {one.what}",
                "instance": encoded(one.instance),
            }
            for one in found
            if one.instance is not None
        ]
        try:
            arguments.keep.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"--keep {arguments.keep} cannot be written: {error}.") from None
    return int(broken > 0)


def _lines(found: Found, verbose: bool) -> list[str]:
    asked = f"{found.tried} inputs, {found.refused} refused, {found.violations} violations"
    if found.undecided:
        asked += f", {found.undecided} undecided"
    lines = [f"{found.function}: {asked}; largest error / bound {found.ratio:.4f} ({found.what})"]
    if found.sentence:
        lines += [f"BROKEN: {found.sentence}", f"at {found.written}"]
    elif verbose and found.instance is not None:
        lines.append(f"at {found.written}")
    return lines
