"""The summary of a run: what the parties left, joined with the experimenter's exact view of fairness."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.fairness.metrics import Counts, at_chance, confusion_counts, fairness, null_floor, worst_gap
from secure_fair.fairness.sampling import gap_intervals, group_intervals, utility_intervals
from secure_fair.operations import RULES
from secure_fair.privacy.entries import charge_of
from secure_fair.privacy.recount import groups_of, mu_of
from secure_fair.scenarios import assemble
from secure_fair.scenarios.people import People
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.together import entries_of

# what auditors are told or given of the developer's own, by kind of entry: the line's name, and its protection
TO_AUDITORS = {"verdict": "row check of", "disclosed": "disclosed"}
SAYS = {"verdict": "whether rows are within 1", "disclosed": "none: as it is"}
SMALLEST_CELL = 10  # test records: a rate of fewer is left out of an intersection's gaps, which it would make by chance


def summarise(scenario: Scenario, out: Path, people: People, seconds: float) -> dict[str, Any]:
    """Join what the parties left with the experimenter's exact view of fairness on the test records."""
    result = json.loads((out / "developer" / "result.json").read_text())
    reports = {file.parent.name: json.loads(file.read_text()) for file in sorted(out.glob("*/party.json"))}
    cost = reports.get("developer", {}).get("cost", {})
    secure_seconds = sum(entry["seconds"] for entry in cost.values())
    ledger = entries_of(sorted(out.glob("auditor-*/ledger.jsonl")))
    privacy: dict[str, dict[str, Any]] = {"attributes": {}, "records": {}, "asked": asked(scenario)}
    for name, report in reports.items():
        for attribute, spent in report["privacy"].items():
            privacy["attributes"][attribute] = worse(spent, privacy["attributes"].get(attribute))
        if report["records"]:
            privacy["records"][name.removeprefix("auditor-")] = report["records"]
    releases = released(ledger)
    counts = exact_counts(out, people)
    joint = tuple(scenario.data.joint_attributes)
    exact = {
        name: exact_fairness(counts[name], held.groups, name in joint) for name, held in people.sensitive().items()
    }
    return {
        "status": "collapsed" if collapsed(result["utility"], len(people.table.target.groups)) else "ok",
        "scenario": scenario.name,
        "method": scenario.method.name,
        "release": scenario.method.release,
        "mode": scenario.secure.mode,
        "seed": scenario.seed,
        "records": {"training": result["training_records"], "test": result["test_records"]},
        "task": task(scenario, people),
        "utility": result["utility"],
        "intervals": utility_intervals(counts[scenario.data.sensitive[0]]),
        "past": past(out, people),
        "intersections": {name: list(held) for name, held in scenario.data.joint_attributes.items()},
        "fairness": exact,
        "fairness_released": result["fairness_released"],
        "verdicts": result["verdicts"],
        "path": result["path"],
        "warnings": result["warnings"],
        "worst_intersectional_gap": worst_gap(exact, joint),
        "privacy": privacy,
        "cost": {
            **cost,
            "training_seconds": result["training_seconds"],
            "secure_seconds": secure_seconds,
            "run_seconds": seconds,
        },
        "dealer_cost": reports.get("dealer", {}).get("traffic", {}),
        "openings": [*releases, *opened_to_auditors(ledger)],
        "security": security(scenario, releases, reports),
    }


def judged_by(scenario: Scenario) -> tuple[str, ...]:
    """Names of all attributes and intersections that fairness is measured for."""
    return (*scenario.data.sensitive, *scenario.data.joint_attributes)


def predicted(out: Path, people: People) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The developer's predictions: rows of the launcher's table, labels and predictions, int64 (test records,) each."""
    with (out / "developer" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    position = people.positions()
    where = np.array([position[row["id"]] for row in rows])
    return where, np.array([int(row["label"]) for row in rows]), np.array([int(row["prediction"]) for row in rows])


def exact_counts(out: Path, people: People) -> dict[str, Counts]:
    """Test records by label, prediction and group, of every attribute and intersection."""
    where, labels, predictions = predicted(out, people)
    classes = len(people.table.target.groups)
    return {
        name: confusion_counts(labels, predictions, held.codes[where], (classes, len(held.groups)))
        for name, held in people.sensitive().items()
    }


def exact_fairness(counts: Counts, groups: tuple[str, ...], intersection: bool) -> dict[str, Any]:
    """The metrics of one attribute, their intervals, and the gaps that chance alone would show."""
    smallest = SMALLEST_CELL if intersection else 0
    further = {
        "null_floor": null_floor(counts, smallest),
        "intervals": gap_intervals(counts, smallest),
        "group_intervals": group_intervals(counts, groups, smallest),
    }
    return fairness(counts, groups, smallest) | further


def task(scenario: Scenario, people: People) -> dict[str, Any]:
    """The task: its data set, its target, and the classes, of which rates are of the second."""
    data, target = scenario.data, people.table.target
    return {"dataset": data.dataset, "target": data.target, "classes": list(target.groups)}


def past(out: Path, people: People) -> dict[str, Any] | None:
    """Both worlds of a scenario with a bias of labels: how many of each group are of class 1 by the labels of the past
    and in truth, among training records; and how often predictions of test records agree with what the past would have
    written of them."""
    bias = people.scenario.data.label_bias
    if bias is None or people.recorded is None:
        return None
    where, _, predictions = predicted(out, people)
    held, true = people.table.sensitive[bias.attribute], people.table.target.codes
    groups = {}
    for code, name in enumerate(held.groups):
        rows = people.training[held.codes[people.training] == code]
        of = {"recorded": people.recorded, "true": true}
        groups[name] = {"records": len(rows)} | {world: float(labels[rows].mean()) for world, labels in of.items()}
    agreement = float((people.recorded[where] == predictions).mean())
    return {**bias.model_dump(), "groups": groups, "accuracy_by_the_past": agreement}


def asked(scenario: Scenario) -> dict[str, float | None]:
    """The epsilons and the delta that the scenario asks for; {} where it has no privacy at all."""
    wanted = scenario.privacy
    if wanted is None:
        return {}
    names = ("epsilon", "evaluation_epsilon", "delta")
    return {name: getattr(wanted, name) for name in names}


def worse(one: dict[str, Any], other: dict[str, Any] | None) -> dict[str, Any]:
    """The worse protected of two accounts by holders of an attribute about their own people."""
    if other is None:
        return one
    return max(one, other, key=lambda spent: math.inf if spent["epsilon"] is None else spent["epsilon"])


def released(ledger: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per auditor, operation, attribute and intersection: how often the gate let it out, to whom, how many
    numbers, how noised."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    exact = {
        (entry["auditor"], entry["operation"], entry["attribute"])
        for entry in ledger
        if entry["kind"] == "planned" and entry["sigma"] is None
    }
    for entry in ledger:
        key = _kind_of(entry)
        if not key:
            continue
        line = lines.setdefault(
            key,
            {
                "auditor": key[0],
                "operation": key[1],
                "attribute": key[2],
                "of": key[3],
                "receiver": "developer" if RULES[entry["operation"]].opened else "nobody: stays on shares",
                "releases": 0,
                "numbers": 0,
                "exact": any((key[0], operation, key[2]) in exact for operation in (key[1], *RULES[key[1]].paid_by)),
                "sigma": entry["sigma"],
            },
        )
        line["releases"] += 1
        line["numbers"] += int(np.prod(entry["shape"]))
    planned = [dict(entry) for entry in ledger if _kind_of(entry)]
    for key, line in lines.items():
        alike = [entry for entry in planned if entry["attribute"] == key[2]]
        line |= told_by([entry for entry in planned if _kind_of(entry) == key], groups_of(alike, RULES))
    return list(lines.values())


def _kind_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    if entry["kind"] != "planned" or not entry["shape"]:
        return ()
    return entry["auditor"], entry["operation"], entry["attribute"], entry.get("of", "")


def told_by(entries: Sequence[dict[str, Any]], groups: int) -> dict[str, float]:
    """The mu of all releases of one kind to whoever is in most of them; of answers at random their epsilon; nothing of
    exact ones, nor of what follows from others."""
    mu, epsilon = mu_of(entries, RULES, groups), max(charge_of(entry).epsilon for entry in entries)
    told = {"mu": mu, "epsilon": epsilon}
    return {name: value for name, value in told.items() if 0 < value < math.inf}


def opened_to_auditors(ledger: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line per auditor, kind and request: what each was told or given of the developer's own."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in ledger:
        if entry["kind"] not in TO_AUDITORS:
            continue
        attribute = entry.get("attribute", "")
        operation = f"{TO_AUDITORS[entry['kind']]} {entry.get('operation', entry.get('what'))}"
        line = lines.setdefault(
            (entry["receiver"], operation, attribute),
            {
                "auditor": assemble.DEVELOPER,
                "operation": operation,
                "attribute": attribute,
                "of": "",
                "receiver": entry["receiver"],
                "releases": 0,
                "numbers": 0,
                "exact": False,
                "sigma": None,
                "says": SAYS[entry["kind"]],
            },
        )
        line["releases"] += 1
        line["numbers"] += entry.get("numbers", 1)
    return list(lines.values())


def collapsed(utility: Mapping[str, Any], classes: int) -> bool:
    """Whether the classifier says one thing of everybody: balanced accuracy at chance."""
    return at_chance(utility["balanced_accuracy"], classes)


def security(
    scenario: Scenario, releases: Sequence[Mapping[str, Any]], reports: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The protections of the run and of its ``releases``, and warnings about what was not protected."""
    secure = scenario.secure.mode == "secure"
    warnings = []
    if not secure:
        warnings.append("plain mode: one process saw every attribute; nothing was protected")
    trusted = {line["operation"] for line in releases if not line["exact"] and not RULES[line["operation"]].binding}
    products = assemble.run_config(scenario).products
    trusted |= {
        f"{line['operation']} of {line['of']}" for line in releases if line["of"] in products and not line["exact"]
    }
    alone = assemble.run_config(scenario).alone
    if secure and trusted and not scenario.policy.doubts(alone=alone):
        whom, keys = "a developer that follows", "policy.developer"
        if not alone:
            whom, keys = "a developer and other auditors that follow", "policy.developer, policy.auditors"
        warnings.append(
            f"releases that protect attributes only from {whom} the protocol: {', '.join(sorted(trusted))} ({keys})"
        )
    exact = sorted({line["operation"] for line in releases if line["exact"]})
    if exact:
        warnings.append(f"exact releases ({', '.join(exact)}): the developer can compute attributes from them")
    return {
        "engine": "CrypTen on shares" if secure else "none",
        "dealer": "separate process" if secure else "none",
        "transport": "gRPC, mutual TLS 1.3" if secure else "none",
        "randomness": "operating system",
        "ledger": "simulated",
        "row_bounds": scenario.policy.row_bounds,
        "warnings": warnings,
    }
