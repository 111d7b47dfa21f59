"""The pages' templates, which lie beside the code and share their style and their tables."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str) -> Template:
    """A template by its file's name. What it is given is escaped."""
    from jinja2 import Environment, FunctionLoader

    loader = FunctionLoader(lambda file: (files("secure_fair.report") / file).read_text(encoding="utf-8"))
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template(name)
