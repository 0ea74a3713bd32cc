"""Sphinx's settings for the site, which ``build.py`` lays out and builds."""

import re
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "Attest"
author = "the Attest authors"
root_doc = "index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]

html_theme = "furo"
html_title = "Attest"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # the docstrings say types and shapes
autodoc_member_order = "bysource"
add_module_names = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

#: What stands between bars is a magnitude in our docstrings, where reStructuredText has substitutions.
BAR = re.compile(r"(``[^`]*``|:math:`[^`]*`)|(?<!\\)\|")


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Have bars mean themselves, in text that is neither code, nor a formula, nor a table."""
    formula = None
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if formula is not None and (not line.strip() or indent > formula):
            continue
        formula = indent if line.lstrip().startswith(".. math::") else None
        if not line.lstrip().startswith((">>>", "...")):
            lines[index] = BAR.sub(lambda found: found[1] or r"\|", line)


def visit_math(self: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers show without any script."""
    display = "block" if type(node).__name__ == "math_block" else "inline"
    # The converter does not know the old command for bold type that an abstract uses.
    latex = re.sub(r"\{\\bf\s+([^{}]*)\}", r"\\mathbf{\1}", node.astext())
    self.body.append(convert(latex, display=display))
    raise SkipNode


def setup(app: Any) -> None:
    """Register the two."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
