"""The documentation as a site: it is built without a warning, has every page, and asks nothing of other hosts."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tools.website import PLACES, indented, linked

ROOT = Path(__file__).parent.parent
PAGES = [*(ROOT / name for name in PLACES if name.endswith(".md")), *sorted((ROOT / "docs").glob("*.md"))]


class Said(logging.Handler):
    """What mkdocs warns of."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The site, and what mkdocs said; it logs pages that the navigation lacks, and ends at the first warning."""
    folder, said = tmp_path_factory.mktemp("site"), Said()
    logger = logging.getLogger("mkdocs")
    logger.addHandler(said)
    level = logger.level
    logger.setLevel(logging.INFO)
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    logger.removeHandler(said)
    logger.setLevel(level)
    return folder, said.texts


def test_every_page_is_there_and_in_the_navigation(site: tuple[Path, list[str]]) -> None:
    folder, said = site
    names = {PLACES.get(page.name, page.name).replace(".md", ".html") for page in PAGES}
    assert names <= {file.name for file in folder.glob("*.html")}
    assert [text for text in said if "not included" in text] == []


def test_it_asks_nothing_of_other_hosts(site: tuple[Path, list[str]]) -> None:
    """Links that a reader may follow lead elsewhere; scripts, styles, fonts and pictures do not."""
    found = [
        (file.name, asked)
        for file in site[0].rglob("*.html")
        for asked in re.findall(
            r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]*", file.read_text()
        )
    ]
    styles = [
        file.name
        for file in site[0].rglob("*.css")
        if re.search(r"(url\(|@import)\W{0,2}(https?:)?//", file.read_text())
    ]
    assert found == []
    assert styles == []


def test_the_interface_is_described(site: tuple[Path, list[str]]) -> None:
    text = re.sub(r"<[^>]+>", "", (site[0] / "api.html").read_text())
    for name in ("run(", "plan(", "load(", "load_model(", "UsageError", "balanced_accuracy", "probabilities"):
        assert name in text


def test_links_between_pages_work_in_the_repository_too() -> None:
    broken = [
        (page.name, place)
        for page in PAGES
        for place in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
        if not (page.parent / place).exists()
    ]
    assert broken == []


def test_links_and_lists_are_turned() -> None:
    assert linked("[a](docs/faq.md#words) [b](../README.md) [c](https://d.e/README.md)") == (
        "[a](faq.md#words) [b](index.md) [c](https://d.e/README.md)"
    )
    assert indented("1. a\n   b\n\n       code\n\nend") == "1. a\n    b\n\n        code\n\nend\n"
