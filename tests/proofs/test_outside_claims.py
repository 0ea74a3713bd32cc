"""Claims from outside the project are audited, searched and shown, or refused in a sentence."""

from pathlib import Path

import pytest

from proofs.__main__ import main

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
SOURCE = TUTORIAL.read_text("utf-8").split('"""')[1]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.py"
    path.write_text(SOURCE)
    return path


def test_an_outside_claim_is_shown_with_the_file_that_it_is_in(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "T.popoviciu", "--claims", str(theirs)]) == 0
    told = capsys.readouterr().out
    assert "A standard deviation is at most half the spread." in told
    assert str(theirs) in told


def test_an_installed_package_offers_claims_by_an_entry_point(
    theirs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs.rename(theirs.with_name("popoviciu_claims.py"))
    installed = theirs.parent / "popoviciu-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: popoviciu\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[attest.claims]\nmine = popoviciu_claims\n")
    monkeypatch.syspath_prepend(str(theirs.parent))
    assert main(["audit", "T.popoviciu"]) == 0
    assert "holds" in capsys.readouterr().out
    assert main(["falsify", "T.popoviciu", "S.tv", "--budget", "5"]) == 2
    assert "no executable claim is called 'S.tv'" in capsys.readouterr().err


def test_a_witness_that_breaks_the_hypothesis_is_a_fault(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs.write_text(SOURCE.replace("len(i.x) > 0", "len(i.x) > 99"))
    assert main(["audit", "--claims", str(theirs)]) == 1
    assert "the witness breaks the hypothesis: there is a number." in capsys.readouterr().out
    assert main(["falsify", "T.popoviciu", "--claims", str(theirs), "--budget", "20"]) == 1
    assert "no instance that satisfies the hypotheses was found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("expression=spread / 2", "expression=spread / n", "has the free symbol n"),
        ("T.popoviciu", "S.tv", "S.tv of"),
        ("(POPOVICIU,)", "()", "must have CLAIMS"),
        ("(POPOVICIU,)", "(POPOVICIU, POPOVICIU)", "is the id of another claim"),
        ("(POPOVICIU,)", "(3,)", "has int among its CLAIMS"),
        ("import sympy", "import sympathy", "No module named 'sympathy'"),
    ],
)
def test_what_is_no_claim_is_refused(
    theirs: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    theirs.write_text(
        SOURCE.replace(old, new).replace("@dataclass", "n = sympy.Symbol('n')\n\n\n@dataclass")
    )
    assert main(["audit", "--claims", str(theirs)]) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert not told.out
