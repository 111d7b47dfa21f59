"""Cells of a table on a terminal: how wide the columns are that share its width, and where their cells are broken."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

GAPS = ("  ", " ")  # between columns; the narrow one where there is no room for the other


class _Words(textwrap.TextWrapper):
    """Breaks at blanks, and behind the underscores of a name."""

    wordsep_simple_re = re.compile(r"(\s+)|(?<=_)")


def fitted(
    header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], room: int | None
) -> tuple[list[int], str]:
    """The columns' widths, and what is between them: of their longest cells where ``room`` characters are enough (None:
    they are), else no column narrower than its longest word. Numbers stay in one line with their intervals if they can.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    if room is None:
        return widths, GAPS[0]
    words = [max(map(_longest_word, cells)) for cells in columns]
    whole = [
        max(_longest_word(cells[0]), *map(len, cells[1:])) if number else word
        for cells, number, word in zip(columns, numeric, words, strict=True)
    ]
    for least, gap in ((least, gap) for least in (whole, words) for gap in GAPS):
        spare = room - len(gap) * (len(columns) - 1)
        if sum(least) <= spare:
            return _shrunk(widths, least, spare), gap
    return words, GAPS[-1]


def _shrunk(widths: Sequence[int], least: Sequence[int], spare: int) -> list[int]:
    """The widths, the widest made narrower until they fit."""
    found = list(widths)
    while sum(found) > spare:
        found[max((place for place in range(len(found)) if found[place] > least[place]), key=found.__getitem__)] -= 1
    return found


def lines_of(cell: str, width: int) -> list[str]:
    """The lines of a cell of that width; a word that is longer stays whole."""
    wrapper = _Words(width, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(cell) if len(cell) > width else [cell]


def _longest_word(cell: str) -> int:
    return max(len(part) for part in re.split(r"\s+|(?<=_)", cell))
