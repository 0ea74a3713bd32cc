"""What ``attest falsify`` prints, and what the other commands print of claims from outside the project."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from proofs.algebra.falsify import BUDGET, Find, falsify
from proofs.evidence.audit import find
from proofs.evidence.outside import GROUP, claims_of, installed
from proofs.judging.heads import InputError
from specs import CLAIMS
from specs.claim import Claim, Status, by_id, members
from specs.ledger import Record, ledger

#: The processor's seconds for each bound, unless others are asked for.
SECONDS = 60.0

#: What stands for claims in a command.
IDS = "claim ids, such as S.tv, or groups of them, such as S"


def add_command(commands: Any) -> None:
    """Add the sub-command to the parser's."""
    says = "search each claim's hypotheses for an instance that breaks a bound"
    parser = commands.add_parser(
        "falsify",
        help=says,
        description=f"{says[0].upper()}{says[1:]}, from a cold start, and say how near the search came, "
        "where the cheapest answer meets the bound and where a rival pays less.",
        epilog="Exit status: 1 if a bound is broken, the cheapest answer meets it elsewhere than is said, a "
        "rival does not dominate where that is said, or no instance satisfies the hypotheses.",
    )
    parser.add_argument("claims", metavar="CLAIM", nargs="+", help=IDS)
    parser.add_argument(
        "--budget", type=int, default=BUDGET, help=f"instances for each bound (default: {BUDGET})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"of the processor for each bound (default: {SECONDS:g})",
    )
    add_source(parser)
    parser.set_defaults(run=_falsify)


def add_source(parser: argparse.ArgumentParser) -> None:
    """Let a command take claims from outside the project."""
    parser.add_argument(
        "--claims",
        dest="source",
        metavar="MODULE",
        help="a Python file or an importable module whose CLAIMS to take instead of this project's "
        f"(installed ones, entry points of the group {GROUP}, are found by their ids)",
    )


def outsiders(source: str | None, ids: list[str]) -> list[Claim[Any]]:
    """Return the claims from outside that a command is about; none if it is about this project's.

    Raises
    ------
    InputError
        If the module cannot be used, or the ids are both this project's and others', or nobody's.
    """
    try:
        if source is not None:
            offered = claims_of(source)
            return [by_id(offered)(id_) for id_ in members(ids, offered)] or [*offered.values()]
        ours = ledger().records.keys() | CLAIMS.keys()
        if not ids or all(id_ in ours for id_ in members(ids, ours)):
            return []
        offered = installed()
        named = members(ids, offered)
        if not any(id_ in offered for id_ in named):
            return []  # the command itself says what it knows
        return [by_id(offered)(id_) for id_ in named]
    except ValueError as error:
        raise InputError(str(error)) from None


def audit_outsiders(claims: list[Claim[Any]], *, json: bool) -> int:
    """Print what the audit finds of claims that no ledger speaks of; 1 if anything is wrong with them."""
    from proofs.command.claims_report import findings_as_json, print_findings

    # No Coq source of theirs is known: what they name as theorems is reported as not checked.
    try:
        findings = {c.id: find(c, lambda theorem, bound, relation: False) for c in claims}
    except Exception as error:
        raise InputError(
            f"a function of the claims raised {type(error).__name__}: {error}."
        ) from None
    if json:
        print(findings_as_json(findings))
    else:
        print_findings(findings)
    return int(any(f.faults or f.verdict is Status.REFUTED for f in findings.values()))


def show_outsiders(claims: list[Claim[Any]]) -> int:
    """Print claims from outside."""
    from proofs.command.claims_report import print_outsider

    for claim in claims:
        print_outsider(claim)
    return 0


def _falsify(arguments: argparse.Namespace) -> int:
    try:
        claims = outsiders(arguments.source, arguments.claims) or [
            by_id(CLAIMS)(id_) for id_ in members(arguments.claims, CLAIMS)
        ]
        found = [
            falsify(claim, seed=arguments.seed, budget=arguments.budget, seconds=arguments.seconds)
            for claim in claims
        ]
    except ValueError as error:
        raise InputError(str(error)) from None
    again = f"--seed {arguments.seed} --budget {arguments.budget}"
    if arguments.source is not None:
        again += f" --claims {arguments.source}"
    records = ledger().records
    said = [
        sentences(one, claim, records, again)
        for claim, finds in zip(claims, found, strict=True)
        for one in finds
    ]
    for lines, _ in said:
        print("\n  ".join(lines))
    return int(any(wrong for _, wrong in said))


def sentences(
    found: Find, claim: Claim[Any], records: Mapping[str, Record], again: str
) -> tuple[list[str], bool]:
    """Return what was found about a bound, in lines, and whether anything is wrong."""
    name, record = f"{found.claim} {found.bound}", records.get(found.claim)
    looked = f"{found.spent} instances, {found.tried} of which satisfy the hypotheses"
    if found.stopped:
        looked += f"; stopped after {found.spent} instances, as the processor's time was up"
    if found.broken:
        return [
            f"{name}: BROKEN after {looked}",
            f"quantity / bound = {found.sharpness:.6g}, decided by enclosures",
            f"at {found.shown}",
            f"again: attest falsify {found.claim} {again}",
        ], True
    if not found.tried:
        return [f"{name}: no instance that satisfies the hypotheses was found; {looked}"], True
    lines, wrong = [f"{name}: not broken; {looked}"], False
    ledgers = (record.sharpness or {}).get(found.bound) if record is not None else None
    lines.append(
        f"sharpest: {found.sharpness:.4f} of the bound from a cold start"
        + (f"; the ledger says {ledgers}" if ledgers is not None else "")
    )
    lines.append(f"the cheapest answer meets it on {found.trivial} of {found.tried}")
    if found.trivial == found.tried:
        lines[-1] += ": nothing that was seen keeps the bound from being vacuous"
    if found.misplaced:
        lines.append(f"FOUND: the cheapest answer, {found.misplaced}")
        wrong = True
    if claim.rival is not None:
        lines.append(f"{claim.rival.claim} pays less on {found.cheaper} of {found.tried}")
        if (
            record is not None
            and record.verdict is Status.DOMINATED
            and found.cheaper != found.tried
        ):
            lines[-1] = f"FOUND: {lines[-1]}, though the ledger says that it dominates"
            wrong = True
    return lines, wrong
