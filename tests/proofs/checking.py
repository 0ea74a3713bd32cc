"""Run `attest check` as a user does: on a file, on an implementation, with what it prints."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from proofs import __main__ as command
from proofs.judging.heads import Head


def run_check(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    """Return the exit status of `attest check`, what it printed, and what it said of errors."""
    status = command.main(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def install(monkeypatch: pytest.MonkeyPatch, name: str = "liar", **functions: Any) -> None:
    """Let a module of this name hold these functions, for ``--impl``."""
    module = ModuleType(name)
    module.__dict__.update(functions)
    monkeypatch.setitem(sys.modules, name, module)


def write_heads(path: Path, *heads: Head) -> Path:
    """Write heads as `attest check` reads them, and return the path."""
    arrays = {f"{h.name}/{r}": x for h in heads for r, x in zip("QKV", h.matrices, strict=True)}
    if path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
    else:
        save_file({name: x.copy() for name, x in arrays.items()}, path)
    return path
