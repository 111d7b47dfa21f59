"""The recipes of CONTRIBUTING.md, followed in a copy of the program: one file each, and everything else knows of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from secure_fair.data.records import YES_NO
from tests.drawn import write_manifest

ROOT = Path(__file__).parents[1]

ENGINE = '''"""Squares of shared values."""

from secure_fair.mpc.products import mask, multiply, rescale


def squared(session, value):
    """x * x of each element, at the session's precision."""
    (masked,) = mask(session, value)
    return rescale(session, multiply(session, "mul", masked, masked))[0]
'''

OPERATION = '''"""The energy of a query by group: (F * F)^T A."""

from secure_fair.groups import columns, row_change
from secure_fair.mpc.squares import squared
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Operation
from secure_fair.operations.moment import moment_on_shares, plain_moment
from secure_fair.privacy.rules import Rule


def energy(auditors, attribute, records, query):
    """Have (F * F)^T A opened for the query F (n, k), rows of norm at most 1."""
    ask = Ask(operation="energy", attribute=attribute, width=query.shape[1])
    return auditors.release(ask, records, [query])


class Energy(Operation):
    """The squares of a row of norm 1 have a norm of at most 1: so far does one attribute move the sum.

    Not binding: the squares are masked anew, and what the developer opens of them carries no proof.
    """

    rule = Rule(row_change, bounded_rows=True, on_intersections=True)

    def shape(self, ask, records, facts):
        return ask.width, columns(facts.groups[ask.attribute])

    def bound(self, ask, records, facts):
        return float(len(records))

    def compute(self, state, ask, records, inputs, update):
        rows = squared(state.session, inputs[0])
        return moment_on_shares(state.session, rows, state.members(ask.attribute, records))

    def plain(self, state, ask, records, private, update):
        return plain_moment(private[0] ** 2, state.members(ask.attribute, records))


OPERATION = Energy()
'''

METHOD = '''"""Calm: the energy of the features is the same in all groups."""

import torch

from secure_fair.learning.method import Method
from secure_fair.operations import planned
from secure_fair.operations.energy import energy


class Calm(Method):
    """Asks for the energy of every epoch's features, and leans on the features by as much as it differs."""

    releases = ("energy",)

    @classmethod
    def planned(cls, settings, extent):
        return [planned("energy", extent.groups, extent.epochs, extent.epochs)]

    def start(self, training):
        self.training = training

    def start_epoch(self, epoch):
        features, _ = self.training.evaluate()
        rows = 0.9 * torch.nn.functional.normalize(features.double(), dim=1)
        released = [energy(self.training.auditors, name, self.training.records, rows)
                    for name in self.training.auditors.attributes]
        self.weights = torch.stack([value.values.mean(1) for value in released]).mean(0) / len(rows)

    def penalty(self, batch, progress):
        return self.settings.strength * (batch.features.float() ** 2 * self.weights.to(batch.features).float()).mean()


METHOD = Calm
'''

DATA_SET = '''"""Lists: a folder of pictures, and lists.txt with NAME yes|no old|young, a line each."""

from secure_fair.data.records import YES_NO, Listing, Problem, Record, require_folder

GROUPS = {"smiling": YES_NO, "age": ("young", "old")}


def list_records(root, expressions):
    """Every line, in its order."""
    folder = require_folder("lists", root)
    records, problems = [], []
    for line, text in enumerate((folder / "lists.txt").read_text().splitlines(), 1):
        name, *values = text.split()
        told, place = dict(zip(GROUPS, values, strict=False)), f"lists.txt:{line}"
        if any(told.get(column) not in GROUPS[column] for column in GROUPS):
            problems.append(Problem(place, "unknown value", text))
            continue
        codes = tuple(GROUPS[e.column].index(told[e.column]) for e in expressions)
        records.append(Record(name, folder / name, place, codes))
    return Listing(records, [GROUPS[e.column] for e in expressions], problems)
'''

ATTACK = '''"""A moment of one batch, from which a bystander guesses somebody who is not in it."""

import numpy as np
import torch

from secure_fair.attacks.common.attack import ScoredAttack, balanced, blocks
from secure_fair.attacks.common.auditor import EXACT, auditor, training_plan
from secure_fair.attacks.common.statistics import Scores
from secure_fair.privacy.policy import Policy


class FirstOfBatch(ScoredAttack):
    """The whole batch asked as one column; whoever comes first is guessed."""

    claim = "a batch's sum tells of its first person no more than epsilon allows"
    view = "developer"
    needs = "one query"
    twin = "the same batch without noise, all others being known"

    def scores(self, context, *, protected):
        batches = blocks(160 * 32, 32)
        attributes = balanced(160)
        everybody = context.generator("first").integers(0, 2, 160 * 32)
        everybody[::32] = attributes
        rest = np.array([everybody[batch[1:]].sum() for batch in batches])
        query = torch.ones(32, 1, dtype=torch.float64)
        plan = training_plan("moment", context.terms, exact=not protected)
        with auditor(everybody, plan, Policy() if protected else EXACT) as asked:
            sums = [asked.ask("moment", batch, query, context.terms.precision_bits)[0, 0] for batch in batches]
        return Scores.of(np.array(sums) - rest, attributes, context.generator("first_of_batch"))


ATTACK = FirstOfBatch()
'''


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with what the four recipes say."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "secure_fair", folder / "secure_fair")
    (folder / "secure_fair" / "mpc" / "squares.py").write_text(ENGINE)
    (folder / "secure_fair" / "operations" / "energy.py").write_text(OPERATION)
    (folder / "secure_fair" / "learning" / "methods" / "calm.py").write_text(METHOD)
    (folder / "secure_fair" / "attacks" / "first_of_batch.py").write_text(ATTACK)
    data = folder / "secure_fair" / "data"
    (data / "lists.py").write_text(DATA_SET)
    replaced(data / "kinds.py", '    "utkface": (),\n', '    "utkface": (),\n    "lists": (),\n')
    listed = '    "utkface": utkface.list_records,\n'
    replaced(data / "table.py", listed, listed + '    "lists": lists.list_records,\n')
    replaced(data / "table.py", "faces, huggingface,", "faces, huggingface, lists,")
    replaced(folder / "secure_fair" / "scenarios" / "models.py", '"utkface", ', '"utkface", "lists", ')
    return folder


SMALL = ("data.records=400", "data.image_size=16", "train.epochs=1", "compare=[]")
SMALL += ('policy.developer="follows the protocol"',)


def secure_fair(folder: Path, *arguments: str, overrides: tuple[str, ...] = ()) -> str:
    """The copy's own command line; what it prints."""
    options = [
        word for override in (*SMALL, "method.name=calm", "method.release=", *overrides) for word in ("-o", override)
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "secure_fair", *arguments, *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_scenario_validate_and_the_plan_know_both(copy: Path) -> None:
    assert "quickstart is valid" in secure_fair(copy, "scenario", "validate", "quickstart")
    shown = secure_fair(copy, "scenario", "show", "quickstart", overrides=('policy.operations=["energy"]',))
    assert "# energy             1         1           1" in shown
    forecast = shown[shown.index("on shares, at the developer") :]
    assert any(
        line.split()[:3] == ["#", "energy", "1"] for line in forecast.splitlines()
    )  # foreseen without a further edit


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param("plain", marks=pytest.mark.long), "secure"])
def test_runs_and_reports_know_both(copy: Path, tmp_path: Path, mode: str) -> None:
    weights = ("backbone.weights=embedded", f"secure.mode={mode}")
    out = tmp_path / "run"
    secure_fair(copy, "run", "quickstart", "--out", str(out), overrides=weights)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["method"], summary["release"]) == ("calm", "energy")
    to_developer = [line["operation"] for line in summary["openings"] if line["receiver"] == "developer"]
    assert to_developer == ["energy", "evaluation_counts"]
    assert "energy" in (out / "report.html").read_text()
    assert 0 < summary["privacy"]["attributes"]["male"]["epsilon"] <= 2.0
    if mode == "secure":
        foreseen = summary["forecast"]["operations"]["energy"]
        spent = summary["cost"]["energy"]
        assert foreseen["traffic"] == pytest.approx(spent["bytes_sent"] + spent["bytes_received"], rel=0.02)


@pytest.mark.slow
def test_a_data_set_is_read_and_its_faults_are_named(copy: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, 60, {"smiling": ("smiling", YES_NO), "age": ("young", ("old", "young"))})
    lines = (tmp_path / "people.csv").read_text().replace(",", " ").splitlines()[1:]
    (tmp_path / "lists.txt").write_text("\n".join(lines))
    here = ["data.dataset=lists", f'data.root="{tmp_path}"', "data.target=smiling"]
    here += ['data.sensitive=["age"]', "data.records=", "data.correlation=", "data.base_rate=", "data.label_bias="]
    assert "60 records" in secure_fair(copy, "data", "check", "quickstart", overrides=tuple(here))
    (tmp_path / "lists.txt").write_text("\n".join([*lines, "nobody.png perhaps old"]))
    told = secure_fair(copy, "data", "check", "quickstart", overrides=(*here, "data.on_bad=skip"))
    assert "1 left out" in told
    assert "lists.txt:61" in told


@pytest.mark.slow
def test_an_attack_is_run_by_a_review(copy: Path, tmp_path: Path) -> None:
    arguments = ["review", "quickstart", "--only", "first_of_batch", "--out", str(tmp_path / "review")]
    told = secure_fair(copy, *arguments, overrides=("privacy.epsilon=1",))
    assert "first_of_batch" in told
    assert "holds" in told
