"""Every attack, and every public name that states no bound of its own, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from types import ModuleType
from typing import Any

import numpy as np

from proofs.attack import exact, matrices, states
from proofs.attack.search import Attack
from proofs.evidence.finds import decoded

ATTACKS: dict[str, Attack] = {
    attack.function: attack for attack in (*exact.ATTACKS, *states.ATTACKS, *matrices.ATTACKS)
}

_RECORD = "a record: what fills it is attacked"

#: Public names that no attack is named after.
WITHOUT = {
    **dict.fromkeys(
        (
            "Audited",
            "Certified",
            "CertifiedBits",
            "CertifiedExpansion",
            "CertifiedHead",
            "CertifiedRows",
            "Closeness",
            "Decoded",
            "Expansion",
            "Gradient",
            "Gram",
            "HeavyKeys",
            "KeyGram",
            "Recalled",
            "Sparsified",
            "kernels.Fingerprint",
            "kernels.Format",
            "kernels.Judgement",
            "kernels.RoundingModel",
            "kernels.Run",
            "kernels.Tolerance",
            "kernels.Violation",
        ),
        _RECORD,
    ),
    "Codes": "its radii are attacked as arguments of certify_quantised",
    "ExpansionError": "what is raised states no bound",
    "kernels": "a module, whose names are listed here one by one",
    "kernels.FORMATS": "a table",
    "kernels.PRESETS": "a table",
    "kernels.assert_attention": "raises where judge_attention refutes",
    "kernels.assert_attention_backward": "raises where judge_attention_backward refutes",
    "kernels.fingerprint": "says which models an output refutes; judge_attention is attacked",
    "kernels.run_kernel": "hands over what somebody's kernel returned",
    **dict.fromkeys(
        (
            "kernels.flash_attention_2",
            "kernels.float32_throughout",
            "kernels.naive_low_precision",
            "kernels.onnx_function",
            "kernels.torch_flash_cpu",
            "kernels.torch_sdpa_math",
        ),
        "a model: what is allowed of a kernel is its argument",
    ),
}


def public(module: ModuleType) -> Iterator[str]:
    """Return the public names of an implementation, those of its kernels with a dot."""
    yield from module.__all__
    yield from (f"kernels.{name}" for name in module.kernels.__all__)


def kept() -> list[tuple[Attack, str, Any]]:
    """Return the instances that a search found: the attack, what each catches, and the instance."""
    text = files("proofs").joinpath("data/attacks.json").read_text(encoding="utf-8")
    like = {name: attack.sample(np.random.default_rng(0)) for name, attack in ATTACKS.items()}
    return [
        (
            ATTACKS[entry["function"]],
            entry["catches"],
            decoded(entry["instance"], like[entry["function"]]),
        )
        for entry in json.loads(text)
    ]
