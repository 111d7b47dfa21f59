"""The grid of a sweep: from its file to the scenarios that it runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from secure_fair import toml_text
from secure_fair.errors import UsageError
from secure_fair.learning.methods import unused_keys
from secure_fair.scenarios import files, switch
from secure_fair.scenarios.schema import Scenario, Section
from secure_fair.sections import problems_of, show


class SweepFile(Section):
    """A sweep as its file gives it.

    ``base`` names scenarios (files or library names), ``set`` holds keys for every run, and each ``grid`` keys of its
    own: a list is an axis, and all combinations are run, for every base and seed; it may name ``base`` anew.
    ``privacy.epsilon = inf`` is exact releases; the text "" takes a key out. Every run with noise is done
    ``noise_draws`` times for each seed; tables take the mean of a seed's.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
    description: str = ""
    base: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(strict=False, min_length=1)]
    noise_draws: Annotated[int, Field(ge=1, le=1000)] = 1
    set: dict[str, Any] = Field(default_factory=dict)
    grid: Annotated[tuple[dict[str, Any], ...], Field(strict=False, min_length=1)]


@dataclass(frozen=True)
class GridRun:
    """One scenario to run, and the settings of its grid point in words; ``draw``: which of several draws of noise."""

    scenario: Scenario
    settings: str
    draw: int = 0

    @property
    def key(self) -> str:
        """Tells runs apart wherever data and weights lie. A key that the schema gains changes none, at its default."""
        tree = self.scenario.model_dump(mode="json", exclude_defaults=True, exclude={"description", "policy"})
        for data in (tree["data"], tree["data"].get("auditor", {})):
            data.pop("root", None)
        if self.scenario.method.release is None:  # then the privacy of training does not matter
            tree.pop("privacy", None)
        if "weights" in tree.get("backbone", {}):
            tree["backbone"]["weights"] = Path(tree["backbone"]["weights"]).name
        if self.draw:
            tree["draw"] = self.draw
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The run in a progress line."""
        draw = f", draw {self.draw + 1} of noise" if self.draw else ""
        return f"{self.scenario.name}, {self.settings}, seed {self.scenario.seed}{draw}"

    @property
    def noised(self) -> bool:
        """Whether two runs of it have different noise."""
        privacy = self.scenario.privacy
        return self.scenario.method.release is not None and privacy is not None and privacy.epsilon is not None


def load(source: str | Path) -> SweepFile:
    """The sweep in a file, or of that name in the library; ``UsageError`` lists every problem."""
    where, text = files.find(source, "sweep")
    try:
        return SweepFile.model_validate(toml_text.parse(text, where))
    except ValidationError as error:
        raise UsageError([f"{where}: {problem}" for problem in problems_of(error, SweepFile)]) from None


def runs_of(sweep: SweepFile, overrides: Sequence[str] = ()) -> list[GridRun]:
    """Every run of the sweep, grid by grid, seed by seed, so that an unfinished sweep has whole grids to show.

    ``overrides`` (``section.key=value``) are set last, in every run. A grid that names a method without its release
    takes the method's default, whatever the base has. A run has those keys of the method that it uses; a key that is
    set and used by none is a problem. Raises ``UsageError`` with all problems of all points.
    """
    problems: dict[str, str] = {}
    found: dict[str, GridRun] = {}
    for grid, seed in itertools.product(sweep.grid, sweep.seeds):
        axes = {key: value for key, value in grid.items() if key != "base"}
        for name, point in itertools.product(bases_of(grid.get("base", sweep.base)), points(axes)):
            base = toml_text.parse(files.find(name)[1], name)
            words = describe_point(point)
            fixed = {"seed": seed, "compare": [], "secure": {"mode": "plain"}}
            release = {"method": {"release": ""}} if "method.name" in point else {}
            tree = files.override(merge(base, fixed, release, sweep.set, nested(point)), overrides)
            for key in switch.unused(tree):
                del tree["method"][key]
            try:
                run = GridRun(Scenario.parse(tree), words)
            except UsageError as error:
                for problem in error.problems:
                    problems.setdefault(problem, f"{name} with {words or 'no settings'}: {problem}")
            else:
                again = (replace(run, draw=draw) for draw in range(sweep.noise_draws if run.noised else 1))
                found |= {one.key: found.get(one.key, one) for one in again}
    if problems:
        raise UsageError(list(problems.values()))
    given = {key for table in (sweep.set, *sweep.grid) for key, _ in leaves(table)}
    given |= {assignment.partition("=")[0].strip() for assignment in overrides}
    unused = [f"method.{key}" for key in unused_keys({run.scenario.method.name for run in found.values()})]
    if given & set(unused):
        raise UsageError([f"{key}: no method of the sweep uses it; leave it out" for key in unused if key in given])
    return list(found.values())


def bases_of(named: Any) -> Sequence[str]:
    """The scenarios that ``base`` names."""
    bases = [named] if isinstance(named, str) else named
    if not isinstance(bases, list | tuple) or not all(isinstance(name, str) for name in bases):
        raise UsageError(f"grid.base: {show(named)} is not allowed; it must be a scenario's name, or a list of names")
    return bases


def points(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All combinations of a grid's axes, as dotted keys: a list is an axis, anything else stands for itself."""
    axes = {key: value if isinstance(value, list) else [value] for key, value in leaves(grid)}
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested tables, in order."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def nested(point: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables from dotted keys."""
    tree: dict[str, Any] = {}
    for key, value in point.items():
        *path, last = key.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise UsageError(f"{key}: {part} is a value beside it, not a section; leave one of the two out")
        branch[last] = value
    return tree


def merge(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Tables over tables, the later ones winning; "" takes a key out, and an infinite epsilon all of [privacy]."""
    result = _over(*trees)
    privacy = result.get("privacy")
    if isinstance(privacy, Mapping) and privacy.get("epsilon") == math.inf:
        del result["privacy"]
    return result


def _over(*trees: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            if isinstance(value, Mapping):
                held = result.get(key)
                result[key] = _over(held if isinstance(held, dict) else {}, value)
            elif value == "":
                result.pop(key, None)
            else:
                result[key] = value
    return result


def describe_point(point: Mapping[str, Any]) -> str:
    """A grid point in words, for instance ``parity, release moments, epsilon 0.3``."""
    words = []
    for key, value in point.items():
        name = key.rpartition(".")[2]
        text = "+".join(map(str, value)) if isinstance(value, list | tuple) else cell(value)
        words.append(text if key == "method.name" else f"{name} {text}")
    return ", ".join(words)


def cell(value: Any) -> str:
    """A value as text for a CSV cell, the shortest that reads back equal; "" for None."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
