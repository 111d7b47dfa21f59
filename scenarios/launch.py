"""Simulates a scenario on this machine: prepares each party's store, runs the parties, joins what they left.

The launcher is the experimenter: it sees the whole data set, and writes the exact fairness figures that no party has.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scenarios import assemble
from scenarios.people import People, load
from scenarios.plans import plans_text
from scenarios.processes import job_of, run_parties
from scenarios.progress import Reporter
from scenarios.schema import Scenario
from scenarios.together import entries_of, spent_together
from secure_fair.fairness.metrics import at_chance, confusion_counts, fairness, null_floor, worst_gap
from secure_fair.files import private_folder
from secure_fair.operations import RULES

# what auditors are told or given of the developer's own, by kind of entry: the line's name, and its protection
TO_AUDITORS = {"verdict": "row check of", "disclosed": "disclosed"}
SAYS = {"verdict": "whether rows are within 1", "disclosed": "none: as it is"}
SMALLEST_CELL = 10  # test records: a rate of fewer is left out of an intersection's gaps, which it would make by chance


def run(scenario: Scenario, out: Path, report: Reporter) -> dict[str, Any]:
    """Run the methods to compare and the main one below ``out``; returns the summary, which is also written there."""
    began = time.perf_counter()
    private_folder(out)
    (out / "README.txt").write_text(folder_text(scenario))
    people = People(scenario, load(scenario, report))
    (out / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
    with tempfile.TemporaryDirectory(prefix="secure-fair-stores-") as folder:
        stores = Path(folder)
        report.stage("preparing each party's store")
        people.write_stores(stores)
        compared, folders = [], []
        for other in scenario.compared:
            folders.append(out / "compare" / other.method.name)
            compared.append(run_method(other, stores, folders[-1], people, report))
        summary = run_method(scenario, stores, out, people, report)
    summary["compare"] = compared
    summary["pictures"] = people.pictures()
    if compared:
        alone = [one["privacy"] for one in (*compared, summary)]
        summary["privacy"]["with_compared"] = spent_together([*folders, out], alone)
    summary["total_seconds"] = time.perf_counter() - began
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def folder_text(scenario: Scenario) -> str:
    """Whose the run folder is, and what of it each party would hold."""
    parties = [assemble.DEVELOPER, *(f"auditor-{auditor.name}" for auditor in scenario.secure.auditors)]
    parties += [assemble.DEALER] if scenario.secure.mode == "secure" else []
    lines = [
        "This folder as a whole is the experimenter's alone: who simulates all parties sees what none of them may.",
        "",
        "summary.json and report.html have exact rates, computed from everybody's attributes.",
        "A party would hold the folder of its name, and nothing else of this:",
        "",
        *(f"    {name}/" for name in parties),
    ]
    if scenario.compare:
        lines += ["", f"So it is with each folder in compare/: {', '.join(scenario.compare)}."]
    return "\n".join([*lines, ""])


def run_method(scenario: Scenario, stores: Path, out: Path, people: People, report: Reporter) -> dict[str, Any]:
    """Run one method in the scenario's mode and write its summary."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "scenario.toml").write_text(scenario.to_toml())
    if scenario.method.name != "erm":
        report.stage(f"plan of {scenario.method.name}'s releases\n{plans_text(scenario)}")
    began = time.perf_counter()
    if scenario.secure.mode == "secure":
        run_parties(job_of(scenario, stores, out), report)
    else:
        run_plain(scenario, stores, out, report)
    summary = summarise(scenario, out, people, time.perf_counter() - began)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def run_plain(scenario: Scenario, stores: Path, out: Path, report: Reporter) -> None:
    """All parties in this process, attributes in the clear: for parity tests, upper bounds and sweeps."""
    from parties.plain import run_in_the_clear

    state = Path(tempfile.mkdtemp(prefix="secure-fair-state-"))
    try:
        run_in_the_clear(
            assemble.run_config(scenario),
            stores,
            out,
            state,
            assemble.policy(scenario, None, simulated=True),
            run_name(scenario),
            report,
        )
    finally:
        shutil.rmtree(state, ignore_errors=True)


def run_name(scenario: Scenario) -> str:
    """A name that no other run has: ledgers tell runs apart by it."""
    return f"{scenario.name}-{scenario.method.name}-{secrets.token_hex(8)}"


def environment() -> dict[str, Any]:
    """Versions and machine, without names or paths of it."""
    import importlib.metadata

    packages = ("secure-fair", "torch", "timm", "peft", "crypten", "opacus", "grpcio", "cryptography", "numpy")
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads_per_party": os.environ.get("OMP_NUM_THREADS"),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


# --- the summary ---


def summarise(scenario: Scenario, out: Path, people: People, seconds: float) -> dict[str, Any]:
    """Join what the parties left with the experimenter's exact view of fairness on the test records."""
    result = json.loads((out / "developer" / "result.json").read_text())
    reports = {file.parent.name: json.loads(file.read_text()) for file in sorted(out.glob("*/party.json"))}
    cost = reports.get("developer", {}).get("cost", {})
    secure_seconds = sum(entry["seconds"] for entry in cost.values())
    ledger = entries_of(sorted(out.glob("auditor-*/ledger.jsonl")))
    privacy: dict[str, dict[str, Any]] = {"attributes": {}, "records": {}}
    for name, report in reports.items():
        for attribute, spent in report["privacy"].items():
            privacy["attributes"][attribute] = worse(spent, privacy["attributes"].get(attribute))
        if report["records"]:
            privacy["records"][name.removeprefix("auditor-")] = report["records"]
    releases = released(ledger)
    exact = exact_fairness(out, people)
    return {
        "status": "collapsed" if collapsed(result["utility"], len(people.table.target.groups)) else "ok",
        "scenario": scenario.name,
        "method": scenario.method.name,
        "release": scenario.method.release,
        "mode": scenario.secure.mode,
        "seed": scenario.seed,
        "records": {"training": result["training_records"], "test": result["test_records"]},
        "utility": result["utility"],
        "intersections": {name: list(held) for name, held in scenario.data.joint_attributes.items()},
        "fairness": exact,
        "fairness_released": result["fairness_released"],
        "path": result["path"],
        "warnings": result["warnings"],
        "worst_intersectional_gap": worst_gap(exact, tuple(scenario.data.joint_attributes)),
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


def exact_fairness(out: Path, people: People) -> dict[str, Any]:
    """Metrics per attribute from the developer's predictions and the launcher's own table."""
    with (out / "developer" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    position = people.positions()
    where = np.array([position[row["id"]] for row in rows])
    labels = np.array([int(row["label"]) for row in rows])
    predictions = np.array([int(row["prediction"]) for row in rows])
    classes = len(people.table.target.groups)
    intersections = people.scenario.data.joint_attributes
    found = {}
    for name, held in people.sensitive().items():
        counts = confusion_counts(labels, predictions, held.codes[where], (classes, len(held.groups)))
        smallest = SMALLEST_CELL if name in intersections else 0
        found[name] = fairness(counts, held.groups, smallest) | {"null_floor": null_floor(counts, smallest)}
    return found


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
        if entry["kind"] != "planned" or not entry["shape"]:
            continue
        key = (entry["auditor"], entry["operation"], entry["attribute"], entry.get("of", ""))
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
    return list(lines.values())


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
    if secure and trusted and not scenario.policy.suspects:
        warnings.append(
            f"releases that protect attributes only from a developer that follows the protocol: "
            f"{', '.join(sorted(trusted))} (policy.developer)"
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
