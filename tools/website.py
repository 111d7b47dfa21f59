"""Hooks of mkdocs: the repository's own pages are on the site too, and links lead there from either place.

In the repository a page of docs/ links to ``../README.md`` and the README to ``docs/faq.md``; on the site all pages lie
beside each other.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# SECURITY.md has another name, for some file systems take it for security.md
PLACES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "CITATION.cff",
}
_LINK = re.compile(r"\]\((?!https?:)(?:\.\./|docs/)?(?P<place>[^)#\s]+)(?P<anchor>#[^)]*)?\)")
_ITEM = re.compile(r"\d+\. |- ")


def on_files(files: Files, config: Any) -> Files:
    """Put the pages of the repository's root beside those of docs/."""
    for name, place in PLACES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with links and lists as mkdocs wants them."""
    return indented(linked(markdown))


def linked(markdown: str) -> str:
    """Links to pages as they lie on the site."""

    def place(link: re.Match[str]) -> str:
        return f"]({PLACES.get(link['place'], link['place'])}{link['anchor'] or ''})"

    return _LINK.sub(place, markdown)


def indented(markdown: str) -> str:
    """Move what belongs to an item of a list in by four spaces; in the repository it is in by the width of its mark."""
    lines, width = [], 0
    for line in markdown.splitlines():
        item = _ITEM.match(line)
        if item is not None:
            width = item.end()
        elif line and not line.startswith(" " * width):
            width = 0
        inside = width and item is None and line
        lines.append(" " * (4 - width) + line if inside else line)
    return "\n".join(lines) + "\n"
