"""The list of a data set before any picture is opened: records with codes, and every problem with its place."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from secure_fair.errors import UsageError

YES_NO = ("no", "yes")
SPLITS = ("developer", "auditor", "test")
PROBLEMS_SHOWN = 20

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much is done, and how much there is."""


@dataclass(frozen=True)
class Problem:
    """One record that cannot be used, or one file that belongs to none.

    ``place`` is the file, with the line where it is a table; ``kind`` is for counting; ``text`` names value and remedy.
    """

    place: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}: {self.text}"


class File(Protocol):
    """A file, or what can be read like one."""

    @property
    def name(self) -> str:
        """Its own, without folders."""

    def stat(self) -> os.stat_result:
        """Size and times."""

    def read_bytes(self) -> bytes:
        """All that is in it."""


@dataclass(frozen=True)
class Record:
    """One picture, or row, and its codes: first the target's, then the sensitive attributes' in the order of asking."""

    name: str  # path below the data set's folder; a row's has the line as well
    file: File  # of the picture, or the table
    place: str
    codes: tuple[int, ...]
    split: str | None = None
    person: str | None = None  # whose record it is, where the data set says so
    own_id: str | None = None  # in the column of ids, where the data set has one


@dataclass(frozen=True)
class Listing:
    """All records of a data set; ``groups`` has the names behind the codes, one tuple per code; ``notes`` what was
    taken for something else than it says."""

    records: list[Record]
    groups: list[tuple[str, ...]]
    problems: list[Problem]
    notes: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass
class Attribute:
    """A column of a table: ``codes`` int64 (N,), each an index into ``groups``."""

    name: str
    codes: np.ndarray
    groups: tuple[str, ...]


# --- what is asked for ------------------------------------------------------------------------------------------------

_COMPARISON = re.compile(r"(?P<column>[^<>=]*?)\s*(?P<sign><=|>=|<|>)\s*(?P<number>[-+]?(\d+(\.\d*)?|\.\d+))")
_CUTS = re.compile(r"(?P<column>[^<>=]+?)\s+cut at\s+(?P<numbers>[-+]?[\d.]+(\s+and\s+[-+]?[\d.]+)*)")
_SIGNED_NAME = re.compile(r"[<>]=?(?![-+]?(\d+(\.\d*)?|\.\d+)$)[^<>=\s][^<>=]*")
_COMPLEMENT = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


@dataclass(frozen=True)
class Expression:
    """A column; a column compared with a number: code 1 where the comparison holds; or one cut at numbers, ascending:
    its code is how many of them a value has reached."""

    text: str
    column: str
    sign: str | None = None
    number: str | None = None
    cuts: tuple[str, ...] = ()

    @property
    def numeric(self) -> bool:
        """Whether the column is one of numbers."""
        return self.sign is not None or bool(self.cuts)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the sides of a comparison, code 0 and code 1, or of the ranges between the cuts, ascending."""
        assert self.numeric
        if self.sign is not None:
            return f"{self.column} {_COMPLEMENT[self.sign]} {self.number}", f"{self.column} {self.sign} {self.number}"
        inner = [f"{low} <= {self.column} < {high}" for low, high in itertools.pairwise(self.cuts)]
        return (f"{self.column} < {self.cuts[0]}", *inner, f"{self.column} >= {self.cuts[-1]}")

    def code(self, value: float) -> int:
        """The place in ``groups`` of a number."""
        assert self.numeric
        if self.sign is None:
            return sum(value >= float(cut) for cut in self.cuts)
        assert self.number is not None
        bound = float(self.number)
        return int({">": value > bound, ">=": value >= bound, "<": value < bound, "<=": value <= bound}[self.sign])


def parse_expression(text: str) -> Expression:
    """Read ``column``, ``column > number``, the same with >=, < or <=, or ``column cut at number and number ...``.

    Raises UsageError for anything else.

    A column may be called ``>50K``, as UCI's Adult has it: a sign right before what is no number begins a name.
    """
    text = text.strip()
    match = _COMPARISON.fullmatch(text)
    if match and match["column"]:
        return Expression(text, match["column"], match["sign"], match["number"])
    cut = _CUTS.fullmatch(text)
    if cut:
        return Expression(text, cut["column"], cuts=_ascending(text, cut["numbers"].split(" and ")))
    if not text or (re.search(r"[<>=]", text) and not _SIGNED_NAME.fullmatch(text)):
        raise UsageError(f'cannot read {text!r}: write a column, or a column compared with a number, as in "age > 35"')
    return Expression(text, text)


def _ascending(text: str, numbers: Sequence[str]) -> tuple[str, ...]:
    cuts = tuple(number.strip() for number in numbers)
    try:
        values = [float(cut) for cut in cuts]
    except ValueError:
        values = []
    if not values or any(low >= high for low, high in itertools.pairwise(values)):
        raise UsageError(f'cannot read {text!r}: cut at numbers that ascend, as in "age cut at 30 and 60"')
    return cuts


def parse_request(target: str, sensitive: Sequence[str]) -> list[Expression]:
    """The target's expression and then the sensitive attributes'; all different, at least one sensitive."""
    if not sensitive:
        raise UsageError("no sensitive attribute is named: name at least one")
    return parse_columns((target, *sensitive))


def parse_columns(texts: Sequence[str]) -> list[Expression]:
    """The expressions of these texts, all different."""
    expressions = [parse_expression(text) for text in texts]
    repeated = [text for text, count in Counter(e.text for e in expressions).items() if count > 1]
    if repeated:
        raise UsageError(f"asked for twice among target and sensitive attributes: {', '.join(repeated)}")
    return expressions


# --- what is told -----------------------------------------------------------------------------------------------------


def describe_problems(problems: Sequence[Problem]) -> list[str]:
    """The first problems as lines, then how many of each kind there are."""
    lines = [str(problem) for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        lines.append(f"... and {len(problems) - PROBLEMS_SHOWN} more")
    kinds = Counter(problem.kind for problem in problems)
    lines.append(f"{len(problems)} bad records: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    return lines


def require_folder(dataset: str, root: Path | None) -> Path:
    """The data set's folder, or UsageError where none is named or none is there."""
    if root is None:
        raise UsageError(f"{dataset} needs a folder with its files: set data.root")
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; set data.root to the folder of {dataset}")
    return root
