"""The ``attest`` command: check real data, audit claims, show a claim, test an implementation, make data.

Exit status: 0 if everything held, 1 if something did not, 2 if the input could not be used; then one
sentence on stderr says why, and nothing else is written.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

from proofs.judging.heads import (
    SHIPPED_TOKENS,
    FeatureMatrix,
    Head,
    InputError,
    Replacements,
    read_file,
    shipped_heads,
    shipped_matrices,
    shipped_replacements,
)

#: Packages of the extra ``report``, which most commands do without.
REPORT_PACKAGES = ("safetensors", "jinja2", "matplotlib")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parsed = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold anything
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"attest: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in REPORT_PACKAGES:
            raise
        print(
            f'attest: {error.name} is not installed; run pip install "attest-attention[report]".',
            file=sys.stderr,
        )
    except BrokenPipeError:
        # The reader left (attest check | head); Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 2


def _check(arguments: argparse.Namespace) -> int:
    """Examine every head and feature matrix of a file, or all data that ship."""
    from proofs.command.check import check, scaled, selected
    from proofs.command.report import as_json, print_check

    if arguments.html is not None:
        from proofs.page import check_path, write_check

        check_path(arguments.html)
    items: list[Head | FeatureMatrix | Replacements]
    if arguments.file is None:
        if arguments.scale is not None:
            raise InputError("--scale needs FILE: the heads that ship are scaled.")
        items = [*shipped_heads(), *shipped_matrices(), shipped_replacements()]
        source = "the real data that ship"
        left_out = f"Not run: the heads that ship with more than {SHIPPED_TOKENS} tokens."
    else:
        heads, matrices = read_file(arguments.file, arguments.names)
        source, left_out = str(arguments.file), ""
        if arguments.scale is not None:
            heads = tuple(scaled(head, arguments.scale) for head in heads)
            source += f" with Q times {arguments.scale:g}"
        items = [*heads, *matrices]
    # What an implementation prints is not the report.
    with redirect_stdout(sys.stderr):
        found = check(
            arguments.impl,
            source,
            selected(items, arguments.head),
            left_out,
            functions=arguments.section,
            causal=arguments.causal,
            seed=arguments.seed,
        )
    if arguments.html is not None:
        write_check(arguments.html, found)
    if arguments.json:
        print(as_json(found))
    else:
        print_check(found, verbose=arguments.verbose, hypotheses=arguments.hypotheses)
    return 0 if found.passed else 1


def _audit(arguments: argparse.Namespace) -> int:
    """Recompute what is known of the claims and compare it with the ledger."""
    from proofs.command.claims_report import audit_as_json, print_audit
    from proofs.command.falsify import audit_outsiders, outsiders
    from proofs.command.layout import track
    from proofs.evidence.audit import audit
    from proofs.evidence.coq_checker import CoqMissingError
    from specs.claim import members
    from specs.ledger import ledger

    if claims := outsiders(arguments.source, arguments.claims):
        if arguments.proofs:
            raise InputError("--proofs runs this project's proofs; claims from outside have none.")
        if arguments.html is not None:
            raise InputError(
                "--html shows this project's ledger; of claims from outside it has none."
            )
        return audit_outsiders(claims, json=arguments.json)
    if arguments.html is not None:
        from proofs.page import check_path, write_audit

        check_path(arguments.html)
    if sys.stderr.isatty():
        logging.basicConfig(level=logging.INFO, format="%(message)s")  # what Coq has read
    ids = members(arguments.claims, ledger().records)
    try:
        report = audit(ids, proofs=arguments.proofs, each=lambda ids: track(ids, str))
    except (ValueError, CoqMissingError) as error:
        raise InputError(str(error)) from None
    if arguments.html is not None:
        write_audit(arguments.html, report)
    if arguments.json:
        print(audit_as_json(report))
    else:
        print_audit(report)
    return 0 if report.agrees else 1


def _show(arguments: argparse.Namespace) -> int:
    """Print what is claimed, what it rests on and where that is."""
    from proofs.command.claims_report import print_claim
    from proofs.command.falsify import outsiders, show_outsiders
    from specs.claim import hint, members
    from specs.ledger import ledger

    if claims := outsiders(arguments.source, arguments.claims):
        return show_outsiders(claims)
    records = ledger().records
    ids = members(arguments.claims, records)
    for id_ in ids:
        if id_ not in records:
            raise InputError(f"CLAIM must be the id of a claim, got {id_!r}; {hint(id_, records)}")
    for k, id_ in enumerate(ids):
        print("\n" * bool(k), end="")
        print_claim(records[id_])
    return 0


def _conform(arguments: argparse.Namespace) -> int:
    """Run the conformance suite against a module, or a bare function, of a declared arithmetic or not."""
    from proofs.command.claims_report import print_conformance
    from proofs.command.conformance_report import (
        passed,
        print_rows,
        rows_as_json,
        rows_of,
        write_junit,
    )
    from proofs.evidence.conformance import run, run_kernel
    from proofs.evidence.kernel_cases import judge_kernel, kernel_cases
    from proofs.judging.implementation import implementation, kernel, rounding_model

    model = None
    if arguments.model is not None and arguments.kernel is None:
        raise InputError("--model needs --kernel, the function that is said to be of that model.")
    # What an implementation prints is not the report.
    with redirect_stdout(sys.stderr):
        outcomes: Sequence[Any]
        name = arguments.kernel or arguments.impl
        if arguments.model is not None:
            model, function = rounding_model(arguments.model), kernel(arguments.kernel)
            outcomes = [judge_kernel(function, case, model) for case in kernel_cases(model.out)]
        elif arguments.kernel is not None:
            outcomes = run_kernel(kernel(arguments.kernel))
        else:
            outcomes = run(implementation(name, "attention", "certified_attention"))
    rows = rows_of(outcomes)
    if arguments.junit is not None:
        write_junit(arguments.junit, name, model, rows)
    if arguments.json:
        print(rows_as_json(name, model, rows))
    elif model is not None:
        print_rows(name, model, rows)
    else:
        print_conformance(name, outcomes)
    return 0 if passed(rows) else 1


def _fingerprint(arguments: argparse.Namespace) -> int:
    """Say which arithmetics a kernel is not of."""
    import importlib

    from proofs.command.conformance_report import fingerprint_as_json, print_fingerprint
    from proofs.judging.implementation import kernel

    kernels = importlib.import_module("fastpath.kernels")
    if arguments.out not in kernels.FORMATS:
        raise InputError(
            f"--out must be one of {', '.join(kernels.FORMATS)}, got {arguments.out!r}."
        )
    with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        found = kernels.fingerprint(kernel(arguments.kernel, "KERNEL"), arguments.out)
    if arguments.json:
        print(fingerprint_as_json(arguments.kernel, found))
    else:
        print_fingerprint(arguments.kernel, found)
    return 0 if found.strongest is not None and not found.findings else 1


def _long_heads(arguments: argparse.Namespace) -> int:
    """Write one head of an encoder over a long text to a file."""
    from proofs.command.layout import track
    from proofs.command.long_heads import (
        check_output,
        long_head,
        read_encoder,
        read_windows,
        write_head,
    )

    check_output(arguments.output)
    encoder = read_encoder(arguments.model)
    windows = read_windows(encoder, arguments.text, arguments.windows)
    tracked = track(windows, lambda window: window.name)
    matrices = long_head(encoder, tracked, arguments.layer, arguments.head)
    write_head(arguments.output, matrices)
    n, d = matrices["K"].shape
    print(f"{arguments.output}: one head of {n} real tokens, d = {d}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    from proofs.command import attack
    from proofs.command.algebra import add_commands
    from proofs.command.falsify import IDS, add_command, add_source

    parser = argparse.ArgumentParser(
        prog="attest",
        description="Fast attention with guarantees that anyone can check.",
        epilog="Exit status: 0 if everything held, 1 if something did not, 2 for bad input.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {version('attest-attention')}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser(
        "check",
        help="put an implementation's certified bounds beside its exact errors, on real data",
        description="For every head: the certified bound beside the enclosed error, in float32 and "
        "float64, and which hypotheses of the four papers hold, in numbers; what P2's polynomial method "
        "takes and, where that is feasible, its certified bound beside the enclosed error; what certified "
        "attention certifies of how many rows, by which method and how fast; and, cut to a few tokens and "
        "columns, what P4's regression proves of the point where it ends. For the head "
        "that ships with replacements of its tokens: the same after each of them, in every mode of P1. "
        "For every feature "
        "matrix X: whether P3's hypothesis holds, and at which scale it would; the method, columns and "
        "certified error of each guarantee, beside the enclosed errors and those of Y = 0.",
        epilog="Exit status: 1 if any error exceeds, or is not decided against, its bound.",
    )
    check.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help=".npz or .safetensors with arrays <name>/Q, <name>/K, <name>/V of a head or <name>/X of a "
        "feature matrix (narrow floats become float32; three or four axes hold heads); default: the real "
        "data that ship, heads of n <= 256",
    )
    check.add_argument(
        "--names",
        metavar="PATTERN",
        help="how arrays of a head are called, as in '{name}.self_attn.{role}_proj'",
    )
    check.add_argument(
        "--head",
        metavar="PATTERN",
        action="append",
        default=[],
        help="only heads and matrices of that name, with * and ? for any text; may be repeated",
    )
    check.add_argument(
        "--section",
        metavar="FUNCTION",
        action="append",
        default=[],
        help="only what this function answers; may be repeated",
    )
    check.add_argument(
        "--causal",
        action="store_true",
        help="ask for causal attention, of attention and certified_attention",
    )
    check.add_argument(
        "--seed",
        metavar="N",
        type=int,
        help="draw the rows that are checked by this seed, as an earlier run did; default: unforeseen",
    )
    check.add_argument(
        "--scale",
        metavar="X",
        type=float,
        help="take Q times X, rounded to its type, for Q: where scores are scaled, X is often 1/sqrt(d)",
    )
    how = check.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON document instead")
    how.add_argument("--verbose", action="store_true", help="print a table a section too")
    how.add_argument(
        "--hypotheses",
        action="store_true",
        help="print too which papers' hypotheses hold, a row a head",
    )
    _html(check)
    _implementation(
        check,
        "attention, polynomial_attention, certified_attention, DynamicAttention, AttentionRegression or "
        "sparsify",
    )
    check.set_defaults(run=_check)

    audit = commands.add_parser(
        "audit", help="recompute verdict, assurance and sharpness of each claim"
    )
    audit.add_argument("claims", metavar="CLAIM", nargs="*", help=f"{IDS}; default: every claim")
    audit.add_argument(
        "--proofs", action="store_true", help="run Coq too, on what the named claims need"
    )
    audit.add_argument("--json", action="store_true", help="print one JSON document instead")
    _html(audit)
    add_source(audit)
    audit.set_defaults(run=_audit)

    show = commands.add_parser("show", help="print a claim: statement, hypotheses, evidence")
    show.add_argument("claims", metavar="CLAIM", nargs="+", help=IDS)
    add_source(show)
    show.set_defaults(run=_show)

    conform = commands.add_parser("conform", help="run the conformance suite against a module")
    _implementation(conform, "attention or certified_attention")
    conform.add_argument(
        "--kernel",
        metavar="MODULE:FUNCTION",
        help="judge a bare function (Q, K, V, **options) -> array: no bound and no refusal is asked of it; "
        "path/to/file.py:FUNCTION names a file",
    )
    conform.add_argument(
        "--model",
        metavar="NAME",
        help="the kernel's arithmetic, by which its tolerance is proved: a preset of fastpath.kernels, as in "
        "torch_flash_cpu or torch_flash_cpu:float16, or MODULE:NAME of a RoundingModel",
    )
    conform.add_argument("--json", action="store_true", help="print one JSON document instead")
    conform.add_argument("--junit", metavar="FILE", type=Path, help="write a JUnit file too")
    conform.set_defaults(run=_conform)

    add_command(commands)
    attack.add_command(commands)
    add_commands(commands)
    fingerprint = commands.add_parser(
        "fingerprint",
        help="say which arithmetics an attention kernel is not of",
        description="Runs a kernel on inputs that tell arithmetics apart. Models that an output refutes are "
        "refuted for good; of one that none refutes nothing is proved.",
        epilog="Exit status: 1 if every model is refuted, or something else is wrong with the kernel.",
    )
    fingerprint.add_argument(
        "kernel", metavar="MODULE:FUNCTION", help="or path/to/file.py:FUNCTION"
    )
    fingerprint.add_argument(
        "--out",
        metavar="FORMAT",
        default="bfloat16",
        help="format of its inputs and output (default: bfloat16)",
    )
    fingerprint.add_argument("--json", action="store_true", help="print one JSON document instead")
    fingerprint.set_defaults(run=_fingerprint)

    long_heads = commands.add_parser(
        "long-heads",
        help="run an encoder over a long text and keep one head's Q, K and V",
        description="Writes real queries, keys and values by the ten thousand for `attest check`: those of "
        "one head of a BERT encoder over consecutive windows of a text, one below the other. That is a "
        "memory of real keys, not one forward pass.",
    )
    long_heads.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="directory with config.json, vocab.txt and model.safetensors",
    )
    long_heads.add_argument("text", metavar="TEXT", type=Path, help="UTF-8 text")
    long_heads.add_argument("output", metavar="OUTPUT", type=Path, help=".npz file to be written")
    long_heads.add_argument("--layer", type=int, required=True, help="counted from 0")
    long_heads.add_argument("--head", type=int, required=True, help="counted from 0")
    long_heads.add_argument(
        "--windows", type=int, default=128, help="how many to cut the text into (default: 128)"
    )
    long_heads.set_defaults(run=_long_heads)
    return parser


def _html(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=Path,
        help="write what was found to one HTML file too, which needs no network",
    )


def _implementation(parser: argparse.ArgumentParser, functions: str) -> None:
    parser.add_argument(
        "--impl",
        metavar="MODULE",
        default="fastpath",
        help=f"importable module, or path/to/file.py, whose function {functions} is tested "
        "(default: fastpath)",
    )


if __name__ == "__main__":
    sys.exit(main())
