"""The ledger is closed: every sentence accounted for, every record well formed."""

from importlib.resources import files

import pytest

from specs.ledger import ledger, parse_ledger

TEXT = files("specs").joinpath("papers.toml").read_text(encoding="utf-8")


def test_the_four_papers_are_there_with_every_sentence() -> None:
    assert {p.id: len(p.sentences) for p in ledger().papers} == {
        "P1": 12,
        "P2": 12,
        "P3": 17,
        "P4": 11,
    }


def test_a_repeated_id_is_refused() -> None:
    record = '\n[[claim]]\nid = "S.tv"\nwhere = "ours"\nquote = ""\nverdict = "open"\nassurance = "none"\n'
    with pytest.raises(ValueError, match=r"S\.tv appears twice"):
        parse_ledger(TEXT + record)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="certainty"):
        parse_ledger(TEXT.replace("assurance =", "certainty = 1\nassurance =", 1))


def test_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(ValueError, match="probably"):
        parse_ledger(TEXT.replace('verdict = "holds"', 'verdict = "probably"', 1))
