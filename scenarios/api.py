"""The program from Python: plan and run a scenario, read what a run has left, use its model (docs/python.md)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from parties.predictions import PREDICTIONS, Predictions
from parties.rows import RowModel
from scenarios import finished, switch
from scenarios.export import Wanted, export
from scenarios.fit import admit
from scenarios.folders import run_folder
from scenarios.launch import run as launch
from scenarios.plans import plans
from scenarios.progress import LineReporter, Reporter
from scenarios.schema import Scenario
from secure_fair.errors import UsageError
from secure_fair.privacy.plan import Plan
from secure_fair.report.html import read_summary, write_report

if TYPE_CHECKING:
    from parties.pictures import PictureModel

Source = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Fairness:
    """Gaps between the groups of an attribute or intersection, and each group's rates by name.

    None is a gap or rate that is undefined, or of too few records. ``sigma`` is the noise on the counts that all of it
    was computed from, if it was released.
    """

    demographic_parity: float | None
    equalized_odds: float | None
    groups: Mapping[str, Mapping[str, float | None]]
    sigma: float | None = None

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Fairness:
        """The same of a summary."""
        gaps = (held["demographic_parity_difference"], held["equalized_odds_difference"])
        return cls(*gaps, held["groups"], held.get("sigma"))


@dataclass(frozen=True)
class Model:
    """A finished classifier; ``classes`` are in the order of its probabilities."""

    classes: tuple[str, ...]
    _held: RowModel | PictureModel = field(repr=False)

    def predict(
        self, places: str | Path | Sequence[str | Path], *, path_column: str | None = None, id_column: str | None = None
    ) -> Predictions:
        """Predictions for picture files, folders of them or a CSV with their paths; for a table's model, one CSV.

        UsageError with every file that is no whole picture, or row that cannot be read; then nothing is predicted.
        """
        named = [places] if isinstance(places, str | Path) else places
        report = _reporter(False)
        paths = [Path(place) for place in named]
        return finished.predict(self._held, paths, report, path_column=path_column, id_column=id_column)


@dataclass(frozen=True)
class Result:
    """The result of one method, on the test records.

    ``fairness`` is exact, from everybody's attributes, which only the experimenter of a simulation has; ``released`` is
    what the developer knows. ``epsilon``: spent on each attribute; None is exact.
    """

    folder: Path
    method: str
    release: str | None
    status: str
    accuracy: float
    balanced_accuracy: float
    fairness: Mapping[str, Fairness]
    released: Mapping[str, Fairness]
    epsilon: Mapping[str, float | None]
    warnings: tuple[str, ...]

    @classmethod
    def facts(cls, folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The fields, from a method's summary."""
        return {
            "folder": folder,
            **{key: summary[key] for key in ("method", "release", "status")},
            **{key: summary["utility"][key] for key in ("accuracy", "balanced_accuracy")},
            "fairness": {name: Fairness.of(held) for name, held in summary["fairness"].items()},
            "released": {name: Fairness.of(held) for name, held in summary["fairness_released"].items()},
            "epsilon": {name: held["epsilon"] for name, held in summary["privacy"]["attributes"].items()},
            "warnings": (*summary["warnings"], *summary["security"]["warnings"]),
        }

    def predictions(self) -> list[dict[str, Any]]:
        """A dictionary for each test record: its name in the data set, label, prediction, probabilities, id."""
        file = self.folder / PREDICTIONS
        if not file.is_file():
            raise UsageError(f"{file}: is missing; earlier versions wrote none: run the scenario again")
        with file.open(newline="", encoding="utf-8") as opened:
            return [
                {key: float(cell) if key.startswith("probability_") else cell for key, cell in row.items()}
                for row in csv.DictReader(opened)
            ]

    def model(self, weights: str | Path | None = None) -> Model:
        """The classifier; ``weights``: where the backbone's file is now, if it was moved."""
        return load_model(self.folder, weights)

    def export(
        self,
        folder: str | Path,
        *,
        merged: bool = False,
        onnx: bool = False,
        copy_weights: bool | None = None,
        weights: str | Path | None = None,
    ) -> Path:
        """Write the model as a folder that needs nothing of this program, as ``secure-fair export`` does."""
        place = None if weights is None else Path(weights)
        export(self.folder, Path(folder), Wanted(merged, onnx, copy_weights), _reporter(False), weights=place)
        return Path(folder)

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each attribute and intersection, of numbers alone."""
        return [
            {
                "method": self.method,
                "attribute": name,
                "accuracy": self.accuracy,
                "demographic_parity": held.demographic_parity,
                "equalized_odds": held.equalized_odds,
                "epsilon": self.epsilon.get(name),
            }
            for name, held in self.fairness.items()
        ]


@dataclass(frozen=True)
class Run(Result):
    """The same of a run's main method, with those that it was compared with; ``summary`` is all of summary.json."""

    compared: tuple[Result, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all methods, the main one's last."""
        return [*(row for one in self.compared for row in one.rows()), *super().rows()]


def plan(scenario: Source, **overrides: Any) -> dict[str, Plan]:
    """The releases of each sensitive attribute and the noise on them, before anything runs; see ``run``."""
    return plans(_scenario(scenario, overrides))


def run(scenario: Source, *, out: str | Path | None = None, progress: bool = True, **overrides: Any) -> Run:
    """Simulate a scenario with every party as its own process; the result, which ``load`` reads again.

    ``scenario``: a file, a name of the library, or nested dictionaries. ``overrides``: sections as dictionaries, and
    keys, as in ``seed=1, method={"strength": 4.0}``; None takes a key out. ``out``: an empty or new folder; by default
    a new one below runs/. ``progress``: lines on standard error. Raises the errors of ``secure_fair.errors``.
    """
    loaded = _scenario(scenario, overrides)
    admit((*loaded.compared, loaded))
    folder = run_folder(loaded, None if out is None else Path(out))
    launch(loaded, folder, _reporter(progress))
    write_report(folder)
    return load(folder)


def load(folder: str | Path) -> Run:
    """The results in the folder of a run that has ended. UsageError for any other folder."""
    place = Path(folder).absolute()  # results outlive a change of the working folder
    summary = read_summary(place)
    compared = tuple(
        Result(**Result.facts(place / "compare" / one["method"], one)) for one in summary.get("compare", ())
    )
    return Run(**Result.facts(place, summary), compared=compared, summary=summary)


def load_model(folder: str | Path, weights: str | Path | None = None) -> Model:
    """The classifier in a run's folder, or in what a developer between machines wrote with --out."""
    held = finished.load_model(Path(folder), None if weights is None else Path(weights))
    return Model(held.classes, held)


def _scenario(source: Source, overrides: Mapping[str, Any]) -> Scenario:
    assignments = list(_assignments(overrides))
    if isinstance(source, Mapping):
        return Scenario.parse(switch.override(source, assignments)[0])
    return Scenario.load(source, assignments)


def _assignments(tree: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Nested dictionaries as the command line's KEY=VALUE."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _assignments(value, f"{path}{key}.")
        elif value is None:
            yield f"{path}{key}="
        else:
            yield f"{path}{key}={tomli_w.dumps({'value': value}).removeprefix('value = ').strip()}"


def _reporter(shown: bool) -> Reporter:
    return LineReporter(None if shown else io.StringIO())
