"""One expression, four uses: write each claim's bound as Python, as Coq, and as a formula.

``python -m specs.printing`` writes

- ``fastpath/core/bounds/<stem>.py``: every bound that the fast path calls, as a function, rounded upward;
- ``proofs/coq/Bounds.v``: all bounds as Coq definitions, the subject of the hand-written proofs;
- ``proofs/coq/BoundsCheck.v``: Coq's value of every bound, and of the integer exp kernel, pinned at
  points where the printer computed it, so that a wrong printer or a wrong mirror is caught;
- ``CLAIMS.md`` and ``docs/claims/<stem>.md``: what the ledger says of every claim, and their formulas.

A test prints all of them again and compares.
"""

from __future__ import annotations

from pathlib import Path

from specs.printing.catalogue import ROOT, STEMS
from specs.printing.coq import coq_bounds, coq_checks
from specs.printing.markdown import index, page, stated_in
from specs.printing.python import called, stem_source


def outputs() -> dict[Path, str]:
    """Return every generated file's path and text."""
    names = called(ROOT / "fastpath")
    theorems = stated_in(ROOT / "proofs" / "coq")
    bounds = ROOT / "fastpath" / "core" / "bounds"
    return {
        **{bounds / f"{stem}.py": stem_source(stem, names) for stem in STEMS},
        ROOT / "proofs" / "coq" / "Bounds.v": coq_bounds(),
        ROOT / "proofs" / "coq" / "BoundsCheck.v": coq_checks(),
        ROOT / "CLAIMS.md": index(),
        **{ROOT / "docs" / "claims" / f"{stem}.md": page(stem, theorems, names) for stem in STEMS},
    }


if __name__ == "__main__":
    for path, text in outputs().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
