"""A model that was trained elsewhere, audited from its predictions alone: the example of docs/audit.md, end to end."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from sklearn.linear_model import LogisticRegression

from secure_fair.data import faces
from secure_fair.data.decisions import Columns
from secure_fair.fairness.metrics import confusion_counts, demographic_parity_difference
from secure_fair.report.audit import write_audit
from secure_fair.scenarios.audit import AuditorFile, AuditRequest
from tests.scenarios.audits import audited

RECORDS = 3000


def trained(folder: Path) -> dict[str, np.ndarray]:
    """A classifier of scikit-learn's, on features that say something of sex; writes both sides' files."""
    draw = np.random.default_rng(7)
    sex = draw.integers(0, 2, 2 * RECORDS)
    label = (draw.random(2 * RECORDS) < np.where(sex, 0.6, 0.35)).astype(int)
    features = np.c_[label + draw.normal(0, 1, 2 * RECORDS), 2 * sex + draw.normal(0, 1, 2 * RECORDS)]
    model = LogisticRegression().fit(features[:RECORDS], label[:RECORDS])
    decisions = model.predict(features[RECORDS:])
    ids = [f"candidate-{number}" for number in range(RECORDS)]
    lines = zip(ids, decisions, label[RECORDS:], strict=True)
    (folder / "predictions.csv").write_text(rows(("id", "decision", "label"), lines))
    order = draw.permutation(RECORDS)
    held = ((ids[i], ("female", "male")[sex[RECORDS + i]]) for i in order)
    (folder / "city.csv").write_text(rows(("id", "sex"), held))
    return {"sex": sex[RECORDS:], "label": label[RECORDS:], "decision": decisions}


def rows(header: tuple[str, ...], lines: Any) -> str:
    return "\n".join(",".join(map(str, line)) for line in (header, *lines)) + "\n"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("example")
    truth = trained(folder)
    city = AuditorFile.parse(f"{folder / 'city.csv'}:sex")
    answer = audited(folder / "out", AuditRequest(folder / "predictions.csv", Columns(), [city]))
    (folder / "out" / "audit.json").write_text(json.dumps(answer))
    write_audit(folder / "out")
    return folder / "out", answer, truth


def test_a_model_of_scikit_learns_is_audited_at_epsilon_1(
    example: tuple[Path, dict[str, Any], dict[str, np.ndarray]],
) -> None:
    """The gap is where its interval says, and four fifths are refuted, though nobody had both files."""
    _, answer, truth = example
    counts = confusion_counts(truth["label"], truth["decision"], truth["sex"], (2, 2))
    gap = demographic_parity_difference(counts)
    found = answer["attributes"]["sex"]["metrics"]["selection rate difference"]
    low, high = found["these_people"]
    assert high - low < 0.1
    assert low - (high - low) <= gap <= high + (high - low)  # the interval alone would miss it once in twenty times
    assert answer["privacy"]["epsilon"] == 1.0
    assert [(one["claim"], one["verdict"]) for one in answer["verdicts"]] == [("impact ratio by sex >= 0.8", "fail")]
    assert answer["privacy"]["attributes"]["sex"]["epsilon"] == pytest.approx(1.0, rel=1e-6)


def test_the_page_says_what_was_found_and_needs_nothing_from_outside(
    example: tuple[Path, dict[str, Any], dict[str, np.ndarray]],
) -> None:
    page = (example[0] / "audit.html").read_text()
    for text in (
        "impact ratio by sex &gt;= 0.8",
        "What was opened to whom",
        "evaluation_counts",
        "<svg",
        "epsilon 1 for",
    ):
        assert text in page
    assert "<script" not in page
    assert "src=" not in page
    assert "candidate-" not in page


def test_the_csv_has_the_numbers_of_the_answer(example: tuple[Path, dict[str, Any], dict[str, np.ndarray]]) -> None:
    folder, answer, _ = example
    with (folder / "audit.csv").open(newline="") as file:
        lines = {(row["group"], row["metric"]): row for row in csv.DictReader(file)}
    row = answer["attributes"]["sex"]["groups"][1]
    line = lines["male", "selection rate"]
    assert [float(line[key]) for key in ("value", "low", "high")] == [
        row["selection rate"]["value"],
        *row["selection rate"]["interval"],
    ]
    assert float(lines["", "impact ratio"]["value"]) == answer["attributes"]["sex"]["metrics"]["impact ratio"]["value"]


def test_scores_of_a_timm_model_are_audited(tmp_path: Path) -> None:
    """Any model's: its scores by the names of the pictures, as docs/audit.md has them, are all that is taken."""
    pictures, codes = faces.draw(400, 3, "smiling", "male", size=32)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=2).eval()
    tokens = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        features = model.forward_head(model.forward_features(tokens), pre_logits=True)
        probe = LogisticRegression(max_iter=200).fit(features, codes["smiling"])
        model.head.weight.copy_(torch.from_numpy(np.concatenate([0 * probe.coef_, probe.coef_])))
        model.head.bias.copy_(torch.tensor([0.0, *probe.intercept_]))
        scores = model(tokens).softmax(1)[:, 1].double().numpy()
    names = [f"{number:04}.jpg" for number in range(len(scores))]
    lines = zip(names, scores, codes["smiling"], strict=True)
    (tmp_path / "predictions.csv").write_text(rows(("id", "score", "label"), lines))
    held = ((name, ("female", "male")[code]) for name, code in zip(names, codes["male"], strict=True))
    (tmp_path / "city.csv").write_text(rows(("id", "sex"), held))
    city = AuditorFile.parse(f"{tmp_path / 'city.csv'}:sex")
    columns = Columns(score="score", threshold=0.5)
    answer = audited(tmp_path / "out", AuditRequest(tmp_path / "predictions.csv", columns, [city], epsilon=100.0))
    counts = confusion_counts(codes["smiling"], (scores >= 0.5).astype(int), codes["male"], (2, 2))
    found = answer["attributes"]["sex"]["metrics"]["selection rate difference"]
    assert found["value"] == pytest.approx(demographic_parity_difference(counts), abs=0.01)  # hardly any noise


@pytest.mark.long
def test_the_command_does_all_of_it(tmp_path: Path) -> None:
    """As a user runs it, with every party a process of its own; exit code 6 where the claim fails."""
    trained(tmp_path)
    command = [sys.executable, "-m", "secure_fair", "audit", str(tmp_path / "predictions.csv")]
    command += ["--auditor", f"{tmp_path / 'city.csv'}:sex", "--output", str(tmp_path / "out"), "--fail-on", "fail"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 6, done.stderr
    assert "impact ratio by sex >= 0.8: fail" in done.stderr
    names = {"audit.json", "audit.csv", "audit.html", "audit.toml", "certificate.json", "parties.toml", "policies"}
    assert {path.name for path in (tmp_path / "out").iterdir()} >= names
    verify = [*command[:3], "certificate", "verify", str(tmp_path / "out" / "certificate.json")]
    checked = subprocess.run(
        [*verify, "--parties", str(tmp_path / "out" / "parties.toml")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "impact ratio by sex >= 0.8: does not hold (confirmed by city)" in checked.stdout
