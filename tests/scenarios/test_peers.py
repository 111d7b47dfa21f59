"""`secure-fair peers`: the same records for everybody, ours through their own gate, and the files that it leaves."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from secure_fair.bench.peers import fairlearn, fairret
from secure_fair.bench.peers.measure import PEERS
from secure_fair.learning.backbone import load_backbone, normalisation
from secure_fair.learning.methods.posthoc import STRENGTHS
from secure_fair.learning.model import pooled_features
from secure_fair.learning.settings import Backbone, Lora, ModelSettings
from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.scenarios import peers
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.peers import Runs, features_of
from secure_fair.scenarios.people import load, parts_of
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.sweep import Quiet

RECORDS = 1600


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose task follows two columns, of which the attribute moves one."""
    folder = tmp_path_factory.mktemp("table")
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 2, RECORDS)
    features = generator.normal(size=(RECORDS, 5))
    features[:, 0] += 1.5 * groups
    labels = features[:, 0] + features[:, 1] + 0.5 * generator.normal(size=RECORDS) > 0.75
    with (folder / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["granted", "sex", *(f"x{place}" for place in range(5))])
        for label, group, values in zip(labels, groups, features, strict=True):
            rows.writerow([("no", "yes")[int(label)], ("f", "m")[int(group)], *(f"{value:.4f}" for value in values)])
    return folder


def tree(folder: Path) -> dict:
    return {
        "name": "planted",
        "data": {
            "dataset": "table",
            "root": str(folder),
            "file": "table.csv",
            "target": "granted",
            "sensitive": ["sex"],
        },
        "train": {"epochs": 8, "batch_size": 64},
        "privacy": {"epsilon": 1.0, "delta": 1e-6},
    }


@pytest.fixture(scope="module")
def found(table: Path) -> peers.FeaturePeople:
    return features_of(Scenario.parse(tree(table)), table, LineReporter())


@pytest.fixture(scope="module")
def runs(found: peers.FeaturePeople, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    found.people.write_stores(folder / "stores")
    return Runs(found, folder / "stores", folder, Quiet(None))


def test_everybody_has_the_same_records_and_those_of_a_run(found, table):
    scenario = Scenario.parse(tree(table))
    parts = parts_of(scenario, load(scenario, LineReporter()).table)
    assert set(found.test) == set(parts["test"])
    assert set(found.people.training) | set(found.validation) == set(parts["developer"])
    assert not set(found.people.training) & set(found.validation)
    assert len(found.validation) == round(0.2 * len(parts["developer"]))
    assert set(found.people.test) == set(found.validation) | set(found.test)
    assert (found.parts().test.labels == found.people.table.target.codes[found.test]).all()


def test_features_are_standardised_by_the_records_that_are_fitted_to(found):
    parts = found.parts()
    assert np.abs(parts.fit.features.mean(0)).max() < 1e-5
    assert np.abs(parts.validation.features.mean(0)).max() > 1e-3


@pytest.mark.parametrize("method", ["parity", "posthoc"])
def test_ours_reduce_the_gap_and_spend_what_they_say(method, runs):
    weak, strong = (runs.row(name=method, release="moments", strength=s, epsilon=1.0) for s in (0.01, 30.0))
    assert weak.test.demographic_parity > 0.3
    assert strong.test.demographic_parity < 0.5 * weak.test.demographic_parity
    assert strong.told < weak.told
    assert strong.test.balanced_accuracy > 0.62
    for row in (weak, strong):
        assert 0.99 < row.epsilon <= 1.0
        assert row.mu == pytest.approx(gaussian_mu(row.epsilon, 1e-6))
        assert not row.attribute_given


def test_exact_releases_are_called_so_and_are_the_same_again(runs):
    one, other = (runs.row(name="posthoc", release="moments", strength=10.0) for _ in range(2))
    assert one.epsilon == one.mu == float("inf")
    assert one.test == other.test


def test_an_attribute_too_many_is_refused(table, tmp_path):
    faulty = tmp_path / "two.toml"
    faulty.write_text(
        f'name = "two"\n[data]\ndataset = "table"\nroot = "{table}"\nfile = "table.csv"\ntarget = "granted"\n'
        'sensitive = ["sex", "x0 > 0"]\n'
    )
    result = CliRunner().invoke(main, ["peers", str(faulty), "--out", str(tmp_path / "out")])
    if not all(peer.installed for peer in PEERS):
        pytest.skip("not all peers are installed: pip install 'secure-fair[peers]'")
    assert result.exit_code == 2
    assert "sex, x0 > 0 are 2 attributes" in result.stderr
    assert "-o 'data.sensitive=[\"sex\"]'" in result.stderr


def test_a_missing_package_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "oxonfair" else object())
    result = CliRunner().invoke(main, ["peers", "quickstart", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the peers' packages oxonfair are not installed: pip install")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_leaves_a_row_for_each_method_setting_and_seed(table, tmp_path, monkeypatch):
    if not all(peer.installed for peer in PEERS):
        pytest.skip("not all peers are installed: pip install 'secure-fair[peers]'")
    for module in (fairlearn, fairret):
        monkeypatch.setattr(module, "STEPS", 10)
    for peer in PEERS:
        monkeypatch.setattr(type(peer), "path", peer.path[-1:])
    monkeypatch.setattr(peers, "STRENGTHS", (3.0,))
    file = tmp_path / "planted.toml"
    file.write_text(Scenario.parse(tree(table)).to_toml())
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["peers", str(file), "--out", str(out), "--seeds", "2", "-o", "train.epochs=1"])
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader((out / "peers.csv").open()))
    assert {row["seed"] for row in rows} == {"0", "1"}
    path = [strength for strength in STRENGTHS if strength]  # posthoc's: a row for each, from one run
    assert len(rows) == 2 * (len(PEERS) + 3 + 3 * len(path))
    exact = [row for row in rows if row["method"] == "ours: posthoc, exact releases" and row["seed"] == "0"]
    assert [row["setting"] for row in exact] == [f"strength {strength:g}" for strength in path]
    assert [float(row["told_gap"]) for row in exact] == sorted((float(row["told_gap"]) for row in exact), reverse=True)
    spent = {row["method"]: row["epsilon"] for row in rows if row["method"].startswith("ours")}
    assert spent["ours: posthoc, epsilon 0.3"] == "0.3"
    assert spent["ours: parity, exact releases"] == "inf"
    assert all(not row["epsilon"] for row in rows if not row["method"].startswith("ours"))
    assert "ThresholdOptimizer" in (out / "peers.md").read_text()
    assert "ThresholdOptimizer" in result.stdout


def test_pooled_features_are_the_backbones_and_are_kept(random_weights, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    settings = ModelSettings(Backbone(weights=str(random_weights)), Lora(), 64)
    steps: list[int] = []
    made, kept = (
        pooled_features(settings, pictures, tmp_path, torch.device("cpu"), lambda done, total: steps.append(done))
        for _ in range(2)
    )
    assert steps == [5]
    vit = load_backbone(settings.backbone.name, random_weights, 64)
    mean, deviation = (values.view(1, 3, 1, 1) for values in normalisation(vit))
    pixels = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - mean) / deviation
    with torch.no_grad():
        torch.testing.assert_close(made, vit(pixels), rtol=1e-4, atol=1e-4)
    assert torch.equal(made, kept)
