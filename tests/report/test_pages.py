"""Generated blocks of pages: the committed page is what the command makes of the committed lines."""

from __future__ import annotations

import csv
import xml.etree.ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner

from secure_fair.errors import UsageError
from secure_fair.report.columns import LATER
from secure_fair.report.pages import Page
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.sweep import COLUMNS
from tests.report.rows import row

ROOT = Path(__file__).parents[2]


def words(svg: str) -> list[str]:
    return sorted(
        "".join(element.itertext()) for element in xml.etree.ElementTree.fromstring(svg).iter() if element.text
    )


def test_the_committed_results_are_what_the_command_makes() -> None:
    """`secure-fair page docs/results.md` makes them anew."""
    file = ROOT / "docs" / "results.md"
    page = Page.of(file)
    assert page.text == file.read_text()
    assert set(page.figures) == set((ROOT / "docs" / "results").glob("*.svg"))
    for path, svg in page.figures.items():  # strokes may differ by the fonts of a machine, words may not
        assert words(path.read_text()) == words(svg), path.name


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with a table and a figure of a small sweep, written before columns were added."""
    rows = [row("erm", 0, 0.3)] + [row("parity", 0, 0.1, asked_epsilon=epsilon) for epsilon in ("0.3", "1")]
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in COLUMNS if name not in LATER], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    blocks = (
        "<!-- table: runs.csv differences -->\nold\n<!-- end -->\n\n<!-- figure: runs.csv gap-epsilon -->\n<!-- end -->"
    )
    (tmp_path / "page.md").write_text(f"# Title\n\nBefore.\n\n{blocks}\n\nAfter.\n")
    return tmp_path / "page.md"


def test_blocks_are_replaced_and_all_else_is_left_alone(page: Path) -> None:
    result = CliRunner().invoke(main, ["page", str(page)])
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text.startswith("# Title\n\nBefore.\n\n<!-- table: runs.csv differences -->\n")
    assert text.endswith("<!-- end -->\n\nAfter.\n")
    assert "old" not in text
    assert "| parity (moments) | 3 | 0.3 |" in text
    assert "(runs-gap-epsilon.svg)" in text
    assert (page.parent / "runs-gap-epsilon.svg").read_text().startswith("<svg")
    assert Page.of(page).text == text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("<!-- table: runs.csv everything -->\n<!-- end -->", "'everything' is no table; allowed: settings"),
        ("<!-- figure: runs.csv settings -->\n<!-- end -->", "'settings' is no figure; allowed: gap-epsilon"),
        ("<!-- table: runs.csv settings -->", "has no end; write <!-- end -->"),
        ("<!-- table: none.csv settings -->\n<!-- end -->", "none.csv: has no runs"),
        ("<!-- table: runs.csv responses -->\n<!-- end -->", "has no runs for the table 'responses'"),
    ],
)
def test_a_block_that_cannot_be_made_is_refused_by_its_line(page: Path, line: str, said: str) -> None:
    page.write_text(f"# Title\n\n{line}\n")
    with pytest.raises(UsageError, match=said):
        Page.of(page)
