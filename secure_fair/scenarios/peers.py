"""Ours beside others' fair linear models: the same features, the same records, and who can see which attributes.

Pictures become the pooled features of the frozen backbone, and these a table; what is trained is a linear model alone.
Ours run as every run of the program does, in plain mode: with their stores, gate, noise and ledger.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.bench.peers.measure import PEERS, measure, require
from secure_fair.bench.peers.parts import Parts, Sample, Score
from secure_fair.bench.peers.report import PeersReport
from secure_fair.bench.peers.rows import PeerRow, to_csv
from secure_fair.data.encoding import Column
from secure_fair.data.table import Dataset
from secure_fair.errors import UsageError
from secure_fair.learning.model import choose_device, pooled_features
from secure_fair.learning.settings import ModelSettings
from secure_fair.parties.rows import RowModel
from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.scenarios import assemble, launch
from secure_fair.scenarios.people import People, Tables, cache_folder, load, parts_of
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.sweep import Quiet
from secure_fair.scenarios.temporary import temporary_folder

VALIDATION = 0.2  # of the developer's records: settings are chosen by them, and nothing is fitted to them
STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # of parity; posthoc has its whole path
EPSILONS = (0.3, 1.0, math.inf)
RELEASE = "moments"
RATES = (1e-3, 3e-3, 1e-2)  # of learning: that of the most accurate model without a penalty is ours'
TRAINED = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "device")
TABLE, PAGE = "peers.csv", "peers.md"


def compare(scenario: Scenario, out: Path, seeds: int, target: float, report: Reporter) -> PeersReport:
    """Run everybody for so many seeds, from the scenario's on; writes ``peers.csv`` and ``peers.md`` into ``out``.

    Settings are chosen for the gap ``target``. UsageError for what is no task of two classes and one attribute, and
    where a peer's package is not installed.
    """
    check(scenario)
    rows: list[PeerRow] = []
    for seed in range(scenario.seed, scenario.seed + seeds):
        report.stage(f"seed {seed}")
        people = features_of(scenario.model_copy(update={"seed": seed}), out, report)
        rows += measure(people.parts(), seed, lambda name: report.stage(f"  {name}"))
        rows += ours(people, report)
        (out / TABLE).write_text(to_csv(rows, target))
    versions = sorted({peer.version for peer in PEERS})
    found = PeersReport(rows, target, versions)
    (out / PAGE).write_text(found.page(), encoding="utf-8")
    return found


def check(scenario: Scenario) -> None:
    """UsageError with everything that the scenario asks for and the peers cannot do."""
    require()
    problems = []
    if len(scenario.data.sensitive) > 1:
        names = ", ".join(scenario.data.sensitive)
        problems.append(
            f"data.sensitive: {names} are {len(scenario.data.sensitive)} attributes, and peers are compared by one; "
            f"give one with -o 'data.sensitive=[\"{scenario.data.sensitive[0]}\"]'"
        )
    if scenario.data.auditor_records == "own":
        problems.append(
            'data.auditor_records: is "own"; the peers need the attributes of the records that they train on: '
            "-o data.auditor_records=aligned"
        )
    if problems:
        raise UsageError(problems)


@dataclass(frozen=True)
class FeaturePeople:
    """A comparison's records: a table of features whose training part is fitted to, and whose test part is the
    validation records and then those of the test."""

    scenario: Scenario
    people: People
    validation: np.ndarray  # places in the table, ascending
    test: np.ndarray

    @property
    def attribute(self) -> str:
        """The sensitive attribute."""
        return self.scenario.data.sensitive[0]

    def parts(self) -> Parts:
        """The records as the peers take them."""
        groups = self.people.table.sensitive[self.attribute].groups
        fit, validation, test = (self._part(rows) for rows in (self.people.training, self.validation, self.test))
        return Parts(fit, validation, test, len(groups))

    def _part(self, rows: np.ndarray) -> Sample:
        table = self.people.table
        return Sample(
            table.inputs[rows].astype(np.float64),
            table.target.codes[rows],
            table.sensitive[self.attribute].codes[rows],
        )


def features_of(scenario: Scenario, out: Path, report: Reporter) -> FeaturePeople:
    """The scenario's records as a table of features, a part of the developer's kept for validation."""
    table = load(scenario, report).table
    classes = table.target.groups
    if len(classes) != 2:
        raise UsageError(f"data.target: has {len(classes)} classes, and the peers know two; compare it with a number")
    parts = parts_of(scenario, table)
    shuffled = np.random.default_rng((scenario.seed, 2)).permutation(parts["developer"])
    validation = np.sort(shuffled[: round(VALIDATION * len(shuffled))])
    given = np.full(len(table), "auditor", dtype=object)
    given[parts["developer"]] = "developer"
    given[parts["test"]] = given[validation] = "test"
    made = replace(_table(scenario, table, report), given_split=given)
    return FeaturePeople(scenario, People(linear_scenario(scenario, out), Tables(made)), validation, parts["test"])


def _table(scenario: Scenario, table: Dataset, report: Reporter) -> Dataset:
    """A table as it is; pictures as a table of their pooled features, which are numbers as a table's are."""
    if table.columns:
        return table
    features = pooled_features(
        ModelSettings(scenario.backbone, scenario.lora, scenario.data.image_size),
        table.inputs,
        cache_folder() / "features",
        choose_device(scenario.train.device),
        lambda done, total: report.progress("backbone", done, total),
    ).numpy()
    columns = tuple(Column(f"feature {place}", None) for place in range(features.shape[1]))
    return replace(table, inputs=features.astype(np.float64), columns=columns)


def linear_scenario(
    scenario: Scenario, out: Path, *, rate: float | None = None, epsilon: float = math.inf, **method: Any
) -> Scenario:
    """The scenario of a linear model on the features, in plain mode; ``rate`` of learning, keys of ``[method]``."""
    privacy: dict[str, Any] = {"epsilon": epsilon, "reserve_releases": 0}
    if scenario.privacy is not None:
        privacy["delta"] = scenario.privacy.delta
    trained = scenario.train.model_dump(include=set(TRAINED)) | ({} if rate is None else {"learning_rate": rate})
    return Scenario.parse(
        {
            "name": f"{scenario.name}-peers"[:80],
            "seed": scenario.seed,
            "data": {
                "dataset": "table",
                "root": str(out),
                "target": scenario.data.target,
                "sensitive": list(scenario.data.sensitive),
            },
            "train": trained,
            "method": method or {"name": "erm"},
            "secure": {"mode": "plain"},
            **({"privacy": privacy} if math.isfinite(epsilon) else {}),
        }
    )


def ours(found: FeaturePeople, report: Reporter) -> Iterator[PeerRow]:
    """A row per method, epsilon and strength: ``parity`` has a run for each, with releases and noise of its own;
    ``posthoc`` one for all of them, whose one release tells of a whole path."""
    with temporary_folder("peers") as folder:
        stores = Path(folder) / "stores"
        found.people.write_stores(stores)
        runs = Runs(found, stores, Path(folder), Quiet(report))
        for epsilon in EPSILONS:
            report.stage(f"  ours: parity, {_words(epsilon)}")
            for strength in STRENGTHS:
                yield runs.row(name="parity", release=RELEASE, strength=strength, epsilon=epsilon)
        for epsilon in EPSILONS:
            report.stage(f"  ours: posthoc, {_words(epsilon)}")
            yield from runs.path(name="posthoc", release=RELEASE, epsilon=epsilon)


class Runs:
    """Runs of ours on the same stores, at the learning rate that suits them."""

    def __init__(self, found: FeaturePeople, stores: Path, folder: Path, report: Reporter) -> None:
        """Try the rates without a penalty, which asks for nothing of anybody; working below ``folder``."""
        self.found, self.stores, self.folder, self.report = found, stores, folder, report
        labels = found.people.table.target.codes[found.validation]
        right: dict[float, float] = {}
        for rate in RATES:
            self.rate = rate
            with self._run(name="erm") as (_, out):
                right[rate] = float((_predictions(found, out)[found.validation] == labels).mean())
        self.rate = max(right, key=lambda rate: right[rate])

    def row(self, **method: Any) -> PeerRow:
        """The row of one run."""
        with self._run(**method) as (scenario, out):
            return _row(self.found, scenario, out, scenario.method.strength, _predictions(self.found, out))

    def path(self, **method: Any) -> Iterator[PeerRow]:
        """A row for every strength that one run's release tells of."""
        with self._run(**method) as (scenario, out):
            for step in _result(out)["path"][1:]:  # the first is of strength 0: no correction
                yield _row(self.found, scenario, out, step["strength"], _by_head(self.found, out, step["strength"]))

    @contextmanager
    def _run(self, **method: Any) -> Iterator[tuple[Scenario, Path]]:
        """The run's scenario and folder, which goes with the context."""
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            scenario = linear_scenario(self.found.scenario, Path(out), rate=self.rate, **method)
            launch.run_plain(scenario, self.stores, Path(out), self.report)
            yield scenario, Path(out)


def _words(epsilon: float) -> str:
    return f"epsilon {epsilon:g}" if math.isfinite(epsilon) else "exact releases"


def _result(out: Path) -> dict[str, Any]:
    """The developer's own result of a run."""
    return dict(json.loads((out / assemble.DEVELOPER / "result.json").read_text()))


def _row(found: FeaturePeople, scenario: Scenario, out: Path, strength: float, predictions: np.ndarray) -> PeerRow:
    """The row of a finished run at one ``strength``, by what it predicts at that."""
    result = _result(out)
    (account,) = (json.loads(file.read_text()) for file in out.glob("auditor-*/party.json"))
    spent = account["privacy"][found.attribute]
    table = found.people.table
    held = table.sensitive[found.attribute]
    validated, tested = (
        Score.of(table.target.codes[rows], predictions[rows], held.codes[rows], len(held.groups))
        for rows in (found.validation, found.test)
    )
    exact = spent["epsilon"] is None
    asked = math.inf if scenario.privacy is None else scenario.privacy.epsilon or math.inf
    return PeerRow(
        method=f"ours: {scenario.method.name}, {_words(asked)}",
        setting=f"strength {strength:g}",
        seed=scenario.seed,
        epsilon=math.inf if exact else spent["epsilon"],
        mu=math.inf if exact else gaussian_mu(spent["epsilon"], spent["delta"]),
        attribute_given=False,
        accuracy=validated.accuracy,
        gap=validated.demographic_parity,
        told=_told_gap(strength, result, out),
        test=tested,
        seconds=result["training_seconds"],
    )


def _predictions(found: FeaturePeople, out: Path) -> np.ndarray:
    """Predicted classes by place in the table, -1 of records that were trained on."""
    file = out / assemble.DEVELOPER / "predictions.csv"
    places = found.people.positions()
    predictions = np.full(len(found.people.table), -1)
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            predictions[places[row["id"]]] = int(row["prediction"])
    return predictions


def _by_head(found: FeaturePeople, out: Path, strength: float) -> np.ndarray:
    """Classes of all records by the head of a strength on the run's path."""
    model, table = RowModel.load(out / assemble.DEVELOPER, strength), found.people.table
    return model.probabilities(model.encoding.encode(table.columns, table.inputs)).argmax(1)


def _told_gap(strength: float, result: dict[str, Any], out: Path) -> float:
    """The gap that the developer knows of at this strength, from the releases alone."""
    if result["path"]:
        (gaps,) = (step["gaps"] for step in result["path"] if step["strength"] == strength)
    else:
        gaps = json.loads((out / assemble.DEVELOPER / "rounds.jsonl").read_text().splitlines()[-1])["gaps"]
    return float(max(gaps.values()))
