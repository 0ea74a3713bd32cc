"""What pyproject.toml cannot say: the README as package indexes show it, where no relative link works."""

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md").read_text("utf-8")
RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)[^)]*\)")

setup(
    long_description=RELATIVE_LINK.sub(r"\1", README),
    long_description_content_type="text/markdown",
)
