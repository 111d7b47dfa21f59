"""Generated blocks of a Markdown page: tables and figures that are made again from the CSVs that the page names.

A block stands between two comments; what is between them is replaced, the rest of the page is left alone:

    <!-- table: results/methods.csv differences -->
    <!-- end -->
    <!-- figure: results/methods.csv front -->
    <!-- end -->

Paths are relative to the page. A figure is written beside its CSV, as ``methods-front.svg``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secure_fair.errors import UsageError
from secure_fair.report import attacks
from secure_fair.report.figures import svg
from secure_fair.report.parts import FIGURES, TABLES, figures_of, tables_of
from secure_fair.report.sweep import read_runs

BEGIN = re.compile(r"^<!-- (table|figure): (\S+) (\S+) -->$")
END = "<!-- end -->"
ATTACKS = "attacks"
ALLOWED = {"table": (*TABLES, ATTACKS), "figure": FIGURES}
ALT = {
    "gap-epsilon": "demographic-parity gap by epsilon",
    "accuracy-epsilon": "accuracy by epsilon",
    "front": "balanced accuracy over the gap, with the front",
}


@dataclass(frozen=True)
class Page:
    """A page as it is to be: its text, and the text of the SVGs that belong to it, by file."""

    text: str
    figures: Mapping[Path, str]

    @classmethod
    def of(cls, file: Path) -> Page:
        """The page of this file with all its blocks made again. Raises ``UsageError`` for a block that cannot be."""
        lines: list[str] = []
        figures: dict[Path, str] = {}
        source = iter(enumerate(file.read_text(encoding="utf-8").splitlines(), start=1))
        for number, line in source:
            lines.append(line)
            begin = BEGIN.match(line)
            if begin is None:
                continue
            where = f"{file}:{number}"
            if all(later != END for _, later in source):
                raise UsageError(f"{where}: {line!r} has no end; write {END} on a line below it")
            block, drawn = _block(where, file.parent, *begin.groups())
            figures |= drawn
            lines += [block, END]
        return cls("\n".join(lines) + "\n", figures)

    def write(self, file: Path) -> list[Path]:
        """Write the page and its figures; returns the files."""
        file.write_text(self.text, encoding="utf-8")
        for figure, text in self.figures.items():
            figure.write_text(text, encoding="utf-8")
        return [file, *self.figures]


def _block(where: str, folder: Path, kind: str, source: str, name: str) -> tuple[str, dict[Path, str]]:
    """The text between the comments of a block, and its figure by file."""
    if name not in ALLOWED[kind]:
        raise UsageError(f"{where}: {name!r} is no {kind}; allowed: {', '.join(ALLOWED[kind])}")
    if name == ATTACKS:
        return f"\n{attacks.table(attacks.read(folder / source)).markdown()}\n", {}
    rows = read_runs(folder / source)
    if kind == "table":
        part = tables_of(rows, (name,)).get(name)
        if part is None:
            raise UsageError(f"{where}: {source} has no runs for the table {name!r}; take the block out")
        return f"\n{part.markdown()}\n", {}
    figure = figures_of(rows, (name,)).get(name)
    if figure is None:
        raise UsageError(f"{where}: {source} has no runs for the figure {name!r}; take the block out")
    target = f"{source.removesuffix('.csv')}-{name}.svg"
    return f"\n![{ALT[name]}]({target})\n", {folder / target: svg(figure, name)}
