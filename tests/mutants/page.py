"""The page: what keeps its numbers those of the document, and its words what was found, left out."""

from tests.mutants.runner import Mutant

PAGE = "tests/proofs/test_page.py::"

MUTANTS = (
    Mutant(
        file="proofs/page/pages.py",
        before="rounding=ROUND_CEILING",
        after='rounding="ROUND_FLOOR"',
        tests=PAGE + "test_every_number_is_that_of_the_document",
        catches="that bounds are shown rounded upward",
        needs="matplotlib",
    ),
    Mutant(
        file="proofs/page/pages.py",
        before="        autoescape=True,\n",
        after="        autoescape=False,\n",
        tests=PAGE + "test_nothing_that_is_named_is_markup",
        catches="that a name is no markup",
        needs="matplotlib",
    ),
    Mutant(
        file="proofs/page/pages.py",
        before="    if failed:\n",
        after="    if False:\n",
        tests=PAGE + "test_an_error_beyond_its_bound_is_the_verdict",
        catches="a verdict that says what failed",
        needs="matplotlib",
    ),
    Mutant(
        file="proofs/page/answers.py",
        before='        return "refused" if self.found["verdict"] == "REFUSED" else "within"\n',
        after='        return "within"\n',
        tests=PAGE + "test_what_was_refused_is_told_as_such",
        catches="that a refusal is no certificate",
        needs="matplotlib",
    ),
    Mutant(
        file="proofs/page/figures.py",
        before="    faster = [n for n in lengths if typical[n][0] < typical[n][1]]\n",
        after="    faster = lengths\n",
        tests=PAGE + "test_a_crossover_is_told_where_it_was_measured_only",
        catches="that a crossover is one that was measured",
        needs="matplotlib",
    ),
    Mutant(
        file="proofs/page/figures.py",
        before='    "text.parse_math": False,',
        after='    "text.parse_math": True,',
        tests=PAGE + "test_every_number_is_that_of_the_document",
        catches="that a head may be called anything",
        needs="matplotlib",
    ),
    Mutant(
        file="proofs/page/formulas.py",
        before="if letter.isalpha() else escape(letter)",
        after="if letter.isalpha() else Markup(letter)",
        tests=PAGE + "test_no_tex_is_left_of_what_the_papers_say",
        catches="that a formula is no markup",
        needs="matplotlib",
    ),
    Mutant(
        file="proofs/__main__.py",
        before="        check_path(arguments.html)\n    items:",
        after="    items:",
        tests=PAGE + "test_a_page_that_cannot_be_written_is_refused_first",
        catches="that a path is looked at before all else",
        needs="matplotlib",
    ),
)
