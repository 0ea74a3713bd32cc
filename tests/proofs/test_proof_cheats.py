"""Every way to cheat the proof checker that anybody thought of, on a project of two short files.

Most are caught by what their sources say, before Coq runs; then the sources are let pass, and what
Coq and coqchk say of the compiled files has to catch them too.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from proofs.evidence import coq_questions as check_coq
from proofs.evidence.coq_checker import (
    AXIOMS,
    PROOFS,
    SNAPSHOT,
    Report,
    check,
    confirmed,
    write_snapshot,
)
from proofs.evidence.coq_sources import PROJECT, read_project

BOUNDS = """\
Require Import Reals.
Open Scope R_scope.
Definition b_half (r : R) : R := r / 2.
Definition b_sum (r : R) : R := 2 * r.
"""

PROOF = "Proof. intros H. rewrite halved. unfold small, b_half in *. lra. Qed."
STATEMENT = "Theorem x_half x r : small x r -> Rabs (x / 2) <= b_half r."

HALVING = f"""\
Require Import Reals Lra Bounds.
Open Scope R_scope.

(** A file may say Axiom, or Admitted, or "Parameter (*", in a comment. *)
Definition small (x r : R) : Prop := Rabs x <= r.

Lemma halved x : Rabs (x / 2) = Rabs x / 2.
Proof. unfold Rdiv. rewrite Rabs_mult, (Rabs_pos_eq (/ 2)); lra. Qed.

Theorem x_half_attained r : 0 <= r -> small r r /\\ Rabs (r / 2) = b_half r.
Proof.
  intros H. unfold small, b_half. rewrite halved, (Rabs_pos_eq r H).
  split; lra.
Qed.

(** The theorem of the claim. *)
{STATEMENT}
{PROOF}

Theorem x_sum x y r : small x r -> small y r -> Rabs (x + y) <= b_sum r /\\ b_sum r = r + r.
Proof.
  unfold small, b_sum. intros H H'. pose proof (Rabs_triang x y). split; [lra |]. ring.
Qed.
"""

#: What a project's author would have to believe in: the axioms that the two files use.
USED = ("ClassicalDedekindReals.sig_forall_dec", "functional_extensionality_dep")

NOT_CONCLUDED = "x_half does not conclude b_half"
WIDER = "Definition b_half (r : R) : R := r / 2 + 1000."
FALSEHOOD = "Proof. destruct cheat. Qed."


@dataclass(frozen=True)
class Cheat:
    """A way to have a claim called proved that is not.

    Attributes
    ----------
    name
        What is done, in a sentence.
    edits
        Files, what they say, and what they are made to say; an empty text: the file is new.
    says
        What is objected when the sources are read; empty if they read well.
    coq
        What is objected when Coq was asked; empty if a compiled file would not show it.
    """

    name: str
    edits: tuple[tuple[str, str, str], ...]
    says: str = ""
    coq: str = ""


def before(line: str) -> tuple[tuple[str, str, str], ...]:
    """Insert a line before the claim's theorem."""
    return (("Halving.v", STATEMENT, f"{line}\n{STATEMENT}"),)


def instead(statement: str, proof: str = PROOF) -> tuple[tuple[str, str, str], ...]:
    """Put another theorem in place of the claim's."""
    return (("Halving.v", f"{STATEMENT}\n{PROOF}", f"{statement}\n{proof}"),)


def assuming(line: str) -> tuple[tuple[str, str, str], ...]:
    """Assume a falsehood called cheat, and prove the claim from it."""
    return instead(f"{line}\n{STATEMENT}", FALSEHOOD)


COMMAND = "that command is not one of those that a proof may use"
KEPT = "a name that is kept for the bounds"
LISTED = "is listed by coqchk under"

CHEATS = (
    # ------------------------------------------------------------------ those of the review
    Cheat(
        "a proof is left out",
        instead(STATEMENT, "Admitted."),
        COMMAND,
        f"Attest.Halving.x_half {LISTED} Axioms",
    ),
    Cheat("the bound is shadowed on its own line", before(WIDER), KEPT, NOT_CONCLUDED),
    Cheat(
        "the bound is shadowed in mid-line",
        (("Halving.v", STATEMENT, f"Open Scope R_scope. {WIDER}\n{STATEMENT}"),),
        KEPT,
        NOT_CONCLUDED,
    ),
    Cheat(
        "the bound is shadowed with an attribute",
        before(f"#[universes(polymorphic=no)] {WIDER}"),
        COMMAND,
        NOT_CONCLUDED,
    ),
    Cheat(
        "a hypothesis with an attribute stands outside a section",
        assuming("#[universes(polymorphic=no)] Hypothesis cheat : False."),
        COMMAND,
        f"Attest.Halving.cheat {LISTED} Axioms",
    ),
    Cheat(
        "an axiom comes with a library",
        (
            ("Halving.v", "Require Import Reals", "Require Import ProofIrrelevance Reals"),
            *instead(
                STATEMENT,
                "Proof. pose proof (proof_irrelevance True I I) as unused.\n" + PROOF[7:],
            ),
        ),
        coq="rests on ProofIrrelevance.proof_irrelevance, which axioms.toml does not allow",
    ),
    Cheat(
        "a section with a hypothesis is left open",
        assuming("Section Cheating.\nHypothesis cheat : False."),
        coq="Halving.v does not compile",
    ),
    Cheat(
        "a hypothesis is left in a section that is closed",
        (
            *assuming("Section Cheating.\nHypothesis cheat : False."),
            ("Halving.v", FALSEHOOD, f"{FALSEHOOD}\nEnd Cheating."),
        ),
        coq="Theorem x_half states",
    ),
    Cheat(
        "<= is another relation",
        instead(
            f'Notation "x <= y" := (Rle x y \\/ True) : R_scope.\n{STATEMENT}',
            "Proof. intros _. right. exact I. Qed.",
        ),
        COMMAND,
        NOT_CONCLUDED,
    ),
    Cheat(
        "a file is not listed",
        (("Extra.v", "", "Lemma extra : True. Proof. exact I. Qed.\n"),),
        "Extra.v is not listed in _CoqProject",
    ),
    Cheat(
        "a file in a folder is not listed",
        (("Deep/Extra.v", "", "Lemma extra : True. Proof. exact I. Qed.\n"),),
        "Deep/Extra.v is not listed in _CoqProject",
    ),
    Cheat(
        "the universes are not checked",
        ((PROJECT, "-arg -w", "-arg -type-in-type -arg -w"),),
        "_CoqProject contains -arg; only",
    ),
    Cheat(
        "the statement is weakened",
        instead(
            STATEMENT.replace(": small x r", ": r <= 0 -> small x r"),
            PROOF.replace("intros H.", "intros _ H."),
        ),
        coq="Theorem x_half states",
    ),
    Cheat(
        "a definition of the statement is another",
        (("Halving.v", "Rabs x <= r.", "Rabs x <= 1 * r."),),
        coq="Definition Attest.Halving.small is",
    ),
    Cheat(
        "a variable is named like the bound",
        instead(
            "Theorem x_half (b_half : R -> R) x r : small x r -> r / 2 <= b_half r ->\n"
            "  Rabs (x / 2) <= b_half r.",
            "Proof. intros H H'. rewrite halved. unfold small in H. lra. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the statement is over a definition in mid-line",
        instead(
            "Open Scope R_scope. Definition quantity (x : R) : R := Rabs (x / 2) - 1.\n"
            "Theorem x_half x r : small x r -> quantity x <= b_half r.",
            "Proof. intros H. unfold quantity. rewrite halved. unfold small, b_half in *. lra. Qed.",
        ),
        coq="Definition Attest.Halving.quantity is",
    ),
    Cheat(
        "the bound is on the wrong side",
        instead(
            "Theorem x_half x r : small x r -> b_half r <= 2 * r - Rabs (x / 2).",
            "Proof. intros H. rewrite halved. unfold small, b_half in *. pose proof (Rabs_pos x). lra. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    # --------------------------------------------------------------------------- our own
    Cheat(
        "a module inside the file is called Bounds",
        instead(
            f"Module Bounds. {WIDER} End Bounds.\n{STATEMENT.replace('b_half', 'Bounds.b_half')}",
            PROOF.replace("b_half", "Bounds.b_half"),
        ),
        COMMAND,
        NOT_CONCLUDED,
    ),
    Cheat(
        "a module inside the file has the bound's full name",
        instead(
            f"Module Attest. Module Bounds. {WIDER} End Bounds. End Attest.\n"
            + STATEMENT.replace("b_half", "Attest.Bounds.b_half"),
            PROOF.replace("b_half", "Attest.Bounds.b_half"),
        ),
        # Coq keeps a full name for what has it first, so nothing is left of this one.
        COMMAND,
    ),
    Cheat(
        "the bound is a Let of a section",
        (
            *before(f"Section Cheating. Let{WIDER[10:]}"),
            ("Halving.v", PROOF, f"{PROOF}\nEnd Cheating."),
        ),
        KEPT,
        NOT_CONCLUDED,
    ),
    Cheat(
        "the statement lets the bound's name be something else",
        instead(
            STATEMENT.replace(": small", ": let b_half := fun r => r + Rabs r in small"),
            "Proof. intros b H. rewrite halved. unfold small, b in *.\n"
            "  pose proof (Rabs_pos x). pose proof (Rle_abs r). lra. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "an obligation is admitted",
        assuming("Program Definition cheat : False := _. Admit Obligations."),
        COMMAND,
        "under Axioms",
    ),
    Cheat(
        "an axiom is declared by the type of a module",
        instead(
            "Module Type Cheating. Parameter cheat : False. End Cheating.\n"
            f"Declare Module Cheat : Cheating.\n{STATEMENT}",
            "Proof. destruct Cheat.cheat. Qed.",
        ),
        COMMAND,
        f"Attest.Halving.Cheat.cheat {LISTED} Axioms",
    ),
    Cheat(
        "an axiom is the type of a functor's argument",
        instead(
            "Module Type Cheating. Parameter cheat : False. End Cheating.\n"
            "Module Proved (Cheat : Cheating).\n"
            f"{STATEMENT}",
            "Proof. destruct Cheat.cheat. Qed.\nEnd Proved.",
        ),
        COMMAND,
        "Coq did not answer",
    ),
    Cheat(
        "an axiom is timed",
        assuming("Time Axiom cheat : False."),
        COMMAND,
        f"cheat {LISTED} Axioms",
    ),
    Cheat(
        "an axiom stands in a proof",
        instead(STATEMENT, "Proof. Axiom cheat : False. destruct cheat. Qed."),
        COMMAND,
        f"cheat {LISTED} Axioms",
    ),
    Cheat(
        "an axiom stands between strings that look like comments",
        (
            ("Halving.v", "Require Import Reals", "Require Import String Reals"),
            *assuming('Check "(*"%string. Axiom cheat : False. Check "*)"%string.'),
        ),
        COMMAND,
        f"cheat {LISTED} Axioms",
    ),
    Cheat(
        "an axiom follows a comment that hides its own end",
        assuming('(* " (* " *) Axiom cheat : False.'),
        COMMAND,
        f"cheat {LISTED} Axioms",
    ),
    Cheat(
        "an assumption is an instance that is found",
        assuming("Class Cheating := cheat : False. Context {chosen : Cheating}."),
        COMMAND,
        f"Attest.Halving.chosen {LISTED} Axioms",
    ),
    Cheat(
        "a recursion never ends",
        assuming(
            "Unset Guard Checking. Fixpoint endless (n : nat) : False := endless n.\n"
            "Definition cheat := endless 0."
        ),
        COMMAND,
        f"Attest.Halving.endless {LISTED} Constants/Inductives relying on unsafe",
    ),
    Cheat(
        "a type is inductive where it may not be",
        assuming(
            "Unset Positivity Checking. Inductive odd : Set := Odd : (odd -> False) -> odd.\n"
            "Definition no (o : odd) : False := match o with Odd f => f o end.\n"
            "Definition cheat : False := no (Odd no)."
        ),
        COMMAND,
        f"Attest.Halving.odd {LISTED} Inductives whose positivity is assumed",
    ),
    Cheat(
        "a universe is in itself",
        before(
            "Unset Universe Checking. Definition itself : Type := Type. Definition loop : "
            "(fun T : Type => T) Type := itself."
        ),
        COMMAND,
    ),
    Cheat(
        "a letter of the bound is Cyrillic",
        instead(
            f"{WIDER}\n{STATEMENT}".replace("b_half", "b_h\u0430lf"),
            PROOF.replace("b_half", "b_h\u0430lf"),
        ),
        "outside a comment",
        "Coq did not answer",
    ),
    Cheat(
        "a file is called like one of Coq's",
        (
            (PROJECT, "Bounds.v\n", "Reals.v\nBounds.v\n"),
            (
                "Reals.v",
                "",
                "From Coq Require Export Reals.\nDefinition Rle (x y : R) : Prop := True.\n",
            ),
            *instead(
                "Theorem x_half x r : small x r -> Rle (Rabs (x / 2)) (b_half r).",
                "Proof. intros _. exact I. Qed.",
            ),
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the relation is a definition of the file",
        instead(
            "Definition within (x y : R) : Prop := x <= y \\/ True.\n"
            "Theorem x_half x r : small x r -> within (Rabs (x / 2)) (b_half r).",
            "Proof. intros _. right. exact I. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the conclusion is a premise",
        instead(
            STATEMENT.replace("small x r ->", "Rabs (x / 2) <= b_half r ->"),
            "Proof. intros H. exact H. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the quantity is a number",
        instead(
            STATEMENT.replace("Rabs (x / 2)", "0"),
            "Proof. unfold small, b_half. pose proof (Rabs_pos x). lra. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the quantity is the bound",
        instead(STATEMENT.replace("Rabs (x / 2)", "b_half r"), "Proof. intros _. lra. Qed."),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the bound is divided by itself",
        instead(
            "Theorem x_half x r : 0 < r -> small x r -> Rabs (x / 2) <= b_half r * (r / b_half r).",
            "Proof. intros P H. rewrite halved. unfold small, b_half in *.\n"
            "  replace (r / 2 * (r / (r / 2))) with r by (field; lra). "
            "pose proof (Rabs_pos x). lra. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the bound is multiplied",
        instead(
            STATEMENT.replace("b_half r", "b_half r * 7"),
            "Proof. intros H. rewrite halved. unfold small, b_half in *.\n"
            "  pose proof (Rabs_pos x). lra. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "the conclusion is one of two",
        instead(
            STATEMENT.replace("b_half r.", "b_half r \\/ True."),
            "Proof. intros _. right. exact I. Qed.",
        ),
        coq=NOT_CONCLUDED,
    ),
    Cheat(
        "a theorem is removed",
        instead(STATEMENT.replace("Theorem", "Lemma")),
        coq=f"Theorem x_half is in {SNAPSHOT}, and no source declares it",
    ),
    Cheat("a plugin is loaded", before('Declare ML Module "ring_plugin".'), COMMAND),
    Cheat("a file is loaded", before('Load "Bounds".'), COMMAND),
    Cheat("a path is added", before('Add LoadPath "/tmp" as Cheating.'), COMMAND),
    Cheat(
        "an option is set for whoever requires the file",
        before("#[global] Set Printing All."),
        COMMAND,
    ),
    Cheat(
        "the modules are called Coq's",
        ((PROJECT, "-R . Attest", "-R . Coq"),),
        "which is the name of a library",
    ),
    Cheat(
        "a file is outside the folder",
        ((PROJECT, "Bounds.v\n", "Bounds.v\n../Cheat.v\n"),),
        "_CoqProject contains ../Cheat.v; only",
    ),
    Cheat(
        "a bound is declared twice",
        (("Bounds.v", BOUNDS, f"{BOUNDS}Section Cheating. {WIDER} End Cheating.\n"),),
        "Bounds.v declares b_half twice",
    ),
)


def write_project(directory: Path) -> None:
    """Write a project that passes, and the axioms that it may use beside it; not its snapshot."""
    directory.mkdir()
    (directory / PROJECT).write_text("-R . Attest\n-arg -w -arg -all\n\nBounds.v\nHalving.v\n")
    (directory / "Bounds.v").write_text(BOUNDS)
    (directory / "Halving.v").write_text(HALVING)
    rows = (PROOFS / AXIOMS).read_text(encoding="utf-8").split("[[axiom]]")
    used = [row for row in rows[1:] if any(name in row for name in USED)]
    (directory.parent / AXIOMS).write_text("[[axiom]]".join(["", *used]), encoding="utf-8")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that passes, with its snapshot."""
    directory = tmp_path_factory.mktemp("honest") / "coq"
    write_project(directory)
    write_snapshot(directory)
    return directory


@pytest.fixture
def project(honest: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may break."""
    shutil.copyfile(honest.parent / AXIOMS, tmp_path / AXIOMS)
    return Path(shutil.copytree(honest, tmp_path / "coq"))


def edit(project: Path, edits: tuple[tuple[str, str, str], ...]) -> None:
    for name, old, new in edits:
        file = project / name
        file.parent.mkdir(exist_ok=True)
        text = file.read_text(encoding="utf-8") if old else ""
        assert old in text, f"{name} does not contain {old!r}"
        file.write_text(text.replace(old, new, 1) if old else new, encoding="utf-8")


def objections(report: Report) -> str:
    """Return what a report objects to; so does a claim whose theorem does not conclude its bound."""
    found = [*report.all_problems()]
    for theorem in report.theorems:
        if theorem.name == "x_half" and "at most" not in theorem.concludes.get("half", ()):
            found.append(NOT_CONCLUDED)
    return "\n".join(found)


@pytest.mark.proofs
def test_an_honest_project_passes(project: Path) -> None:
    report = check(project)
    assert objections(report) == ""
    assert {t.name: dict(t.concludes) for t in report.theorems} == {
        "x_half": {"half": ("at most",)},
        "x_half_attained": {"half": ("equals",)},
        "x_sum": {"sum": ("at most", "equals")},
    }
    assert confirmed(project) == (frozenset({"x_half", "x_half_attained", "x_sum"}), ())


@pytest.mark.proofs
def test_an_honest_project_in_folders_passes(project: Path) -> None:
    for folder, name in (("Foundations", "Bounds.v"), ("Deep/Halves", "Halving.v")):
        (project / folder).mkdir(parents=True)
        (project / name).rename(project / folder / name)
    lines = "Foundations/Bounds.v\nDeep/Halves/Halving.v\n"
    edit(project, ((PROJECT, "Bounds.v\nHalving.v\n", lines),))
    write_snapshot(project)
    report = check(project)
    assert objections(report) == ""
    assert set(report.seconds) == {"Foundations/Bounds.v", "Deep/Halves/Halving.v"}
    assert set(report.definitions) == {"Attest.Deep.Halves.Halving.small"}


def test_every_cheat_is_to_be_caught() -> None:
    assert all(cheat.says or cheat.coq for cheat in CHEATS)


@pytest.mark.parametrize("cheat", [c for c in CHEATS if c.says], ids=lambda cheat: cheat.name)
def test_a_cheat_is_caught_by_what_the_sources_say(cheat: Cheat, tmp_path: Path) -> None:
    write_project(tmp_path / "coq")
    assert read_project(tmp_path / "coq").problems == ()
    edit(tmp_path / "coq", cheat.edits)
    report = check(tmp_path / "coq")
    assert cheat.says in objections(report)
    assert report.not_run == ("Nothing was compiled, as the sources were refused.",)


@pytest.mark.proofs
@pytest.mark.parametrize("cheat", [c for c in CHEATS if c.coq], ids=lambda cheat: cheat.name)
def test_a_cheat_is_caught_by_coq_whatever_the_sources_say(
    cheat: Cheat, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(project, cheat.edits)
    if cheat.says:
        monkeypatch.setattr(
            "proofs.evidence.coq_checker.read_project",
            lambda d: replace(read_project(d), problems=()),
        )
        monkeypatch.setattr(check_coq, "_read_differently", lambda source, output: iter(()))
    assert cheat.coq in objections(check(project))


@pytest.mark.proofs
def test_a_compiled_file_that_lies_beside_its_source_is_not_used(project: Path) -> None:
    for name in ("Bounds.v", "Halving.v"):
        subprocess.run(["coqc", "-q", "-R", ".", "Attest", name], cwd=project, check=True)
    edit(project, instead(STATEMENT, "Proof. intros H. lra. Qed."))
    assert (project / "Halving.vo").exists()
    assert "Halving.v does not compile" in objections(check(project))


@pytest.mark.proofs
def test_a_sentence_that_coq_splits_otherwise_is_found(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_project(project)
    last = whole.sources[-1]
    joined = replace(last, sentences=last.sentences[:-1])
    monkeypatch.setattr(
        "proofs.evidence.coq_checker.read_project",
        lambda d: replace(whole, sources=(whole.sources[0], joined)),
    )
    assert "Coq did not split Halving.v into the sentences" in objections(check(project))


@pytest.mark.proofs
def test_only_the_files_that_a_theorem_needs_are_compiled(project: Path) -> None:
    edit(project, (("Apart.v", "", "Theorem apart : True.\nProof. exact I. Qed.\n"),))
    edit(project, ((PROJECT, "Halving.v\n", "Halving.v\nApart.v\n"),))
    assert set(check(project, only=["apart"]).seconds) == {"Apart.v"}


@pytest.mark.proofs
@pytest.mark.parametrize(
    ("edits", "lost"),
    [
        (instead(STATEMENT, "Admitted."), {"x_half", "x_half_attained", "x_sum"}),
        ((("Bounds.v", "r / 2", "r / 3"),), {"x_half", "x_half_attained", "x_sum"}),
        ((("Halving.v", "(** The theorem", "(** A theorem"),), set()),
        ((("Halving.v", "  split; lra.", "split;\n    lra."),), set()),
        ((("Halving.v", "  split; lra.", "split; nra."),), {"x_half", "x_half_attained", "x_sum"}),
    ],
)
def test_without_coq_a_theorem_counts_only_as_it_was_checked(
    edits: tuple[tuple[str, str, str], ...], lost: set[str], project: Path
) -> None:
    edit(project, edits)
    names, changed = confirmed(project)
    assert {"x_half", "x_half_attained", "x_sum"} - names == lost
    assert bool(changed) == bool(lost)


@pytest.mark.proofs
@pytest.mark.parametrize(
    "change", ["statement", "concludes", "exact", "sources"], ids=lambda part: part
)
def test_a_snapshot_that_says_something_else_is_found(change: str, project: Path) -> None:
    file = project / SNAPSHOT
    content = json.loads(file.read_text(encoding="utf-8"))
    if change == "sources":
        content["sources"]["Halving.v"] = ""
    else:
        content["theorems"]["x_half"][change] = (
            {"half": ["equals"]} if change == "concludes" else ""
        )
    file.write_text(json.dumps(content), encoding="utf-8")
    said = objections(check(project))
    assert (f"{SNAPSHOT} was taken from other sources" if change == "sources" else "x_half") in said
