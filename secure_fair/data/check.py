"""A look at a data set before it is used: counts, base rates, the gap that its labels already have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from secure_fair.data.records import Attribute, Problem
from secure_fair.data.table import REPEATED, Dataset, load_attributes, load_table

FEW = 30  # below this many records, a cell's rate says little (binomial standard error above 9 points at one half)


@dataclass(frozen=True)
class AttributeReport:
    """One sensitive attribute against the target.

    ``counts`` int64 (groups, classes). ``gap`` is the demographic-parity difference of the labels themselves: the
    largest difference between two groups of P(class | group), the largest over the classes; a perfect classifier has
    it too. None where fewer than two groups have records.
    """

    name: str
    groups: tuple[str, ...]
    counts: np.ndarray
    gap: float | None

    @property
    def rates(self) -> np.ndarray:
        """P(class | group), float64 (groups, classes); NaN for a group without records."""
        sizes = self.counts.sum(axis=1, keepdims=True)
        return np.where(sizes > 0, self.counts / np.maximum(sizes, 1), np.nan)


@dataclass(frozen=True)
class ColumnReport:
    """One column of a table: its categories, none for numbers, and how many records lack it."""

    name: str
    categories: tuple[str, ...]
    missing: int


@dataclass(frozen=True)
class DataReport:
    """``class_counts`` int64 (classes,). ``problems`` are what was left out; ``warnings`` what deserves a look.

    ``image_size``: of pictures; ``columns``: of a table.
    """

    dataset: str
    records: int
    image_size: int | None
    columns: tuple[ColumnReport, ...]
    target: str
    classes: tuple[str, ...]
    class_counts: np.ndarray
    attributes: tuple[AttributeReport, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def bad(self) -> list[Problem]:
        """The problems for which a run refuses the data, unless it is to skip them."""
        return _bad(self.problems)

    def tree(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        pictures = {} if self.image_size is None else {"image_size": self.image_size}
        columns = {a.name: {"categories": list(a.categories), "missing": a.missing} for a in self.columns}
        return {
            "dataset": self.dataset,
            "records": self.records,
            **(pictures or {"columns": columns}),
            "target": {
                "name": self.target,
                "classes": {
                    name: {"records": int(count), "share": count / max(self.records, 1)}
                    for name, count in zip(self.classes, self.class_counts.tolist(), strict=True)
                },
            },
            "sensitive": {
                a.name: {
                    "gap": a.gap,
                    "groups": {
                        group: {
                            "records": int(a.counts[g].sum()),
                            "share": int(a.counts[g].sum()) / max(self.records, 1),
                            "classes": dict(zip(self.classes, a.counts[g].tolist(), strict=True)),
                        }
                        for g, group in enumerate(a.groups)
                    },
                }
                for a in self.attributes
            },
            "problems": _problems_tree(self.problems),
            "warnings": list(self.warnings),
        }

    def text(self) -> str:
        """The report for a terminal; every problem is listed."""
        size = f"{self.image_size} px" if self.image_size is not None else f"{len(self.columns)} columns"
        lines = [f"{self.dataset}: {self.records} records of {size}, {len(self.problems)} left out"]
        shares = zip(self.classes, self.class_counts.tolist(), strict=True)
        lines += ["", f"target {self.target}"]
        lines += [f"  {name:<24} {count:>8} {count / max(self.records, 1):>8.1%}" for name, count in shares]
        for a in self.attributes:
            gap = "not defined" if a.gap is None else f"{a.gap:.3f}"
            lines += ["", f"sensitive {a.name} (gap of the labels {gap})"]
            lines.append(f"  {'group':<24} {'records':>8} {'share':>8}  " + "  ".join(f"{c:>14}" for c in self.classes))
            for group, counts in zip(a.groups, a.counts.tolist(), strict=True):
                size = sum(counts)
                cells = "  ".join(f"{count:>6} {count / max(size, 1):>7.1%}" for count in counts)
                lines.append(f"  {group:<24} {size:>8} {size / max(self.records, 1):>8.1%}  {cells}")
        lines += ["", "features"] if self.columns else []
        for column in self.columns:
            kind = f"{len(column.categories)} categories" if column.categories else "numbers"
            lines.append(f"  {column.name:<24} {kind}" + (f", {column.missing} missing" if column.missing else ""))
        lines += ["", *(f"warning: {warning}" for warning in self.warnings)] if self.warnings else []
        lines += ["", *(f"left out: {problem}" for problem in self.problems)] if self.problems else []
        return "\n".join(lines)


@dataclass(frozen=True)
class AttributesReport:
    """A data set without a task: ``groups`` has the records of each group, by attribute."""

    dataset: str
    records: int
    image_size: int
    groups: dict[str, dict[str, int]]
    problems: tuple[Problem, ...]

    @property
    def bad(self) -> list[Problem]:
        """The problems for which a run refuses the data, unless it is to skip them."""
        return _bad(self.problems)

    def tree(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {
            "dataset": self.dataset,
            "records": self.records,
            "image_size": self.image_size,
            "sensitive": self.groups,
            "problems": _problems_tree(self.problems),
        }

    def text(self) -> str:
        """The report for a terminal; every problem is listed."""
        lines = [f"{self.dataset}: {self.records} records of {self.image_size} px, {len(self.problems)} left out"]
        for name, groups in self.groups.items():
            lines += ["", f"sensitive {name}"]
            lines += [
                f"  {group:<24} {count:>8} {count / max(self.records, 1):>8.1%}" for group, count in groups.items()
            ]
        return "\n".join([*lines, *(f"left out: {problem}" for problem in self.problems)])


def check(dataset: str, **how: Any) -> DataReport:
    """Load a data set as ``load_table`` does, leaving out what is bad, and describe it.

    Raises UsageError only for what leaves nothing to describe: no folder, no such column, no usable record.
    """
    return describe(dataset, load_table(dataset, **{**how, "on_bad": "skip"}))


def check_attributes(dataset: str, **how: Any) -> AttributesReport:
    """The same of a data set without a task, as ``load_attributes`` loads it."""
    table = load_attributes(dataset, **{**how, "on_bad": "skip"})
    counts = {name: np.bincount(one.codes, minlength=len(one.groups)) for name, one in table.sensitive.items()}
    return AttributesReport(
        dataset=dataset,
        records=len(table),
        image_size=int(table.inputs.shape[1]),
        groups={
            name: dict(zip(one.groups, counts[name].tolist(), strict=True)) for name, one in table.sensitive.items()
        },
        problems=tuple(table.skipped),
    )


def describe(dataset: str, table: Dataset) -> DataReport:
    """The report of a loaded table."""
    counts = np.bincount(table.target.codes, minlength=len(table.target.groups))
    attributes = tuple(_cross(table.target, attribute) for attribute in table.sensitive.values())
    return DataReport(
        dataset=dataset,
        records=len(table),
        image_size=None if table.columns else int(table.inputs.shape[1]),
        columns=tuple(
            ColumnReport(column.name, column.values or (), int(np.isnan(table.inputs[:, place]).sum()))
            for place, column in enumerate(table.columns)
        ),
        target=table.target.name,
        classes=table.target.groups,
        class_counts=counts,
        attributes=attributes,
        problems=tuple(table.skipped),
        warnings=(*table.notes, *_warnings(table.target, counts, attributes)),
    )


def _bad(problems: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.kind != REPEATED]


def _problems_tree(problems: Sequence[Problem]) -> dict[str, Any]:
    kinds = Counter(problem.kind for problem in problems)
    return {"count": len(problems), "kinds": dict(kinds), "all": [str(problem) for problem in problems]}


def _cross(target: Attribute, attribute: Attribute) -> AttributeReport:
    groups, classes = len(attribute.groups), len(target.groups)
    counts = np.bincount(attribute.codes * classes + target.codes, minlength=groups * classes).reshape(groups, classes)
    present = counts[counts.sum(axis=1) > 0]
    rates = present / present.sum(axis=1, keepdims=True)
    gap = float((rates.max(axis=0) - rates.min(axis=0)).max()) if len(present) > 1 else None
    return AttributeReport(attribute.name, attribute.groups, counts, gap)


def _warnings(target: Attribute, counts: np.ndarray, attributes: Sequence[AttributeReport]) -> list[str]:
    warnings = [
        f"no record has {target.name} = {name}" for name, count in zip(target.groups, counts, strict=True) if not count
    ]
    for a in attributes:
        for group, row in zip(a.groups, a.counts, strict=True):
            if not row.sum():
                warnings.append(f"no record has {a.name} = {group}")
                continue
            few = [f"{name} {count}" for name, count in zip(target.groups, row.tolist(), strict=True) if count < FEW]
            if few:
                warnings.append(f"fewer than {FEW} records of {a.name} = {group} in {', '.join(few)}: rates say little")
    return warnings
