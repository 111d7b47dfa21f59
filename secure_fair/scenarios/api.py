"""The program from Python: plan, run and read scenarios, use their models, audit others (docs/python.md)."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from secure_fair.data.decisions import Columns
from secure_fair.defaults import DELTA
from secure_fair.errors import UsageError
from secure_fair.parties.predictions import PREDICTIONS, Predictions
from secure_fair.parties.rows import RowModel
from secure_fair.privacy.plan import Plan
from secure_fair.report.audit import LINES, write_audit
from secure_fair.report.html import read_summary, write_report
from secure_fair.scenarios import finished, switch
from secure_fair.scenarios.audit import AuditorFile, AuditRequest, prepare, run_audit
from secure_fair.scenarios.export import ExportParts, export
from secure_fair.scenarios.fit import admit
from secure_fair.scenarios.folders import new_folder, run_folder
from secure_fair.scenarios.launch import run as launch
from secure_fair.scenarios.plans import plans
from secure_fair.scenarios.progress import LineReporter, Reporter
from secure_fair.scenarios.schema import Scenario

if TYPE_CHECKING:
    from secure_fair.parties.pictures import PictureModel

Source = str | Path | Mapping[str, Any]
NUMBERS = ("value", "low", "high", "low_these_people", "high_these_people")


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

    def model(self, weights: str | Path | None = None, *, strength: float | None = None) -> Model:
        """The classifier; ``weights``: where the backbone's file is now, if it was moved.

        ``strength``: another of posthoc's path, which the same release tells of (``developer/result.json``, "path").
        """
        return load_model(self.folder, weights, strength=strength)

    def export(
        self,
        folder: str | Path,
        *,
        merged: bool = False,
        onnx: bool = False,
        copy_weights: bool | None = None,
        weights: str | Path | None = None,
        strength: float | None = None,
    ) -> Path:
        """Write the model as a folder that needs nothing of this program, as ``secure-fair export`` does."""
        place = None if weights is None else Path(weights)
        wanted = ExportParts(merged, onnx, copy_weights, strength)
        export(self.folder, Path(folder), wanted, _reporter(False), weights=place)
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


@dataclass(frozen=True)
class Audit:
    """An audit's answer. ``verdicts`` are the outcomes of the policies' claims; ``summary`` is all of audit.json."""

    folder: Path
    verdicts: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any] = field(repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each metric of an attribute or of a group of it: its value with both intervals; None is
        undefined, or left out for the reason in ``note``."""
        claims = {one["claim"] for one in self.verdicts}
        with (self.folder / LINES).open(newline="", encoding="utf-8") as opened:
            return [
                {key: _number(cell) if key in NUMBERS else cell for key, cell in row.items()}
                for row in csv.DictReader(opened)
                if row["metric"] not in claims
            ]


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


def audit(
    decisions: str | Path,
    auditors: Mapping[str, Sequence[str]],
    *,
    out: str | Path | None = None,
    intersections: Sequence[Sequence[str]] = (),
    epsilon: float | None = None,
    delta: float = DELTA,
    policies: Mapping[str, str | Path] | None = None,
    bins: int | None = None,
    certificate: bool = True,
    columns: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Audit:
    """Audit decisions by id, a CSV or Parquet file, by attributes that auditors hold; as ``secure-fair audit``.

    ``auditors``: by file the columns that its auditor holds, as in ``{"city.csv": ["sex", "race"]}``.
    ``intersections``: attributes whose combinations are counted too. ``epsilon``: of all counts of one attribute; None
    is 1, or exact where every policy allows it. ``policies``: files by auditor's name, "" for all others. ``columns``:
    names that are not the usual ones (``id``, ``decision``, ``score``, ``label``, ``selected``, ``threshold``).
    ``out``: an empty or new folder, by default a new one below audits/. Raises the errors of ``secure_fair.errors``; an
    audit without an answer leaves nothing.
    """
    wanted = AuditRequest(
        Path(decisions),
        Columns(**(columns or {})),
        [AuditorFile.parse(f"{file}:{','.join(names)}") for file, names in auditors.items()],
        {name: Path(file) for name, file in (policies or {}).items()},
        [tuple(names) for names in intersections],
        epsilon,
        delta,
        certificate=certificate,
        bins=bins,
    )
    prepared = prepare(wanted)
    folder = new_folder(None if out is None else Path(out), Path("audits") / prepared.terms.name, option="out")
    try:
        summary = run_audit(prepared, folder, _reporter(progress))
        write_audit(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return Audit(folder.absolute(), tuple(summary["verdicts"]), summary)


def load(folder: str | Path) -> Run:
    """The results in the folder of a run that has ended. UsageError for any other folder."""
    place = Path(folder).absolute()  # results outlive a change of the working folder
    summary = read_summary(place)
    compared = tuple(
        Result(**Result.facts(place / "compare" / one["method"], one)) for one in summary.get("compare", ())
    )
    return Run(**Result.facts(place, summary), compared=compared, summary=summary)


def load_model(folder: str | Path, weights: str | Path | None = None, *, strength: float | None = None) -> Model:
    """The classifier in a run's folder, or in what a developer between machines wrote with --out.

    ``weights`` and ``strength`` as of ``Result.model``.
    """
    held = finished.load_model(Path(folder), None if weights is None else Path(weights), strength)
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


def _number(cell: str) -> float | None:
    """A cell of numbers; None where it is empty."""
    return float(cell) if cell else None


def _reporter(shown: bool) -> Reporter:
    return LineReporter(None if shown else io.StringIO())
