"""Simulates a scenario on this machine: prepares each party's store, runs the parties, joins what they left.

The launcher is the experimenter: it sees the whole data set, and writes the exact fairness figures that no party has.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import secrets
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_fair.data.store import KEY_BYTES
from secure_fair.errors import UsageError
from secure_fair.files import private_folder, write_bytes
from secure_fair.parties.predictions import PREDICTION, PREDICTIONS, RECORD, probability_of
from secure_fair.parties.tables import check_classes
from secure_fair.scenarios import assemble
from secure_fair.scenarios.certified import keep_certificate
from secure_fair.scenarios.failure import FAILED, note_failed_run
from secure_fair.scenarios.forecast import forecast_of, forecast_text, forecast_tree
from secure_fair.scenarios.nursery import TRAINING, Nursery
from secure_fair.scenarios.people import People, load
from secure_fair.scenarios.plans import plans_text
from secure_fair.scenarios.processes import job_of, run_parties
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.summary import summarise
from secure_fair.scenarios.temporary import temporary_folder
from secure_fair.scenarios.threads import threads
from secure_fair.scenarios.together import spent_together
from secure_fair.stopping import cause

SCENARIO = "scenario.toml"
SUMMARY = "summary.json"
JOIN_KEY = "join.key"  # of the records' ids, until the run has ended

if TYPE_CHECKING:
    from secure_fair.attacks.common.strongest import Strongest


def run(scenario: Scenario, out: Path, report: Reporter) -> dict[str, Any]:
    """Run the methods to compare and the main one below ``out``; returns the summary, which is also written there."""
    private_folder(out)
    (out / "README.txt").write_text(folder_text(scenario))
    (out / SCENARIO).write_text(scenario.to_toml())
    write_bytes(out / JOIN_KEY, secrets.token_bytes(KEY_BYTES))
    (out / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
    return run_all(scenario, out, report)


def resume(out: Path, report: Reporter) -> dict[str, Any]:
    """Go on with a run in its folder; UsageError where it has ended well, or is none."""
    if not (out / SCENARIO).is_file():
        raise UsageError(f"{out}: is no run's folder; name the one that `secure-fair run` has told")
    if not (out / JOIN_KEY).is_file():
        raise UsageError(f"{out}: this run has ended, and there is nothing to go on with")
    return run_all(Scenario.load(out / SCENARIO), out, report)


def run_all(scenario: Scenario, out: Path, report: Reporter) -> dict[str, Any]:
    """Run what has not ended yet; a failure is noted in the folder, with the command that goes on."""
    began, method, place = time.perf_counter(), "", out
    (out / FAILED).unlink(missing_ok=True)
    compared, folders = [], []
    with _nursery(scenario) as nursery:  # it imports while stores are made, and all methods' parties come from it
        try:
            people = People(scenario, load(scenario, report), (out / JOIN_KEY).read_bytes())
            check_classes(assemble.run_config(scenario), people.table.target.groups)
            with temporary_folder("stores") as stores:
                report.stage("preparing each party's store: pictures and labels apart from attributes")
                people.write_stores(stores)
                for other in (*scenario.compared, scenario):
                    method, place = (
                        other.method.name,
                        out / "compare" / other.method.name if other is not scenario else out,
                    )
                    folders.append(place)
                    compared.append(ended_before(place) or run_method(other, stores, place, people, report, nursery))
        except BaseException as error:
            note_failed_run(out, method, place, cause(error))
            raise
    summary = compared.pop()
    summary["compare"] = compared
    summary["pictures"] = people.pictures()
    if compared:
        alone = [one["privacy"] for one in (*compared, summary)]
        summary["privacy"]["with_compared"] = spent_together(folders, alone)
    summary["total_seconds"] = time.perf_counter() - began
    (out / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
    (out / JOIN_KEY).unlink()
    return summary


def _nursery(scenario: Scenario) -> AbstractContextManager[Nursery | None]:
    """Where parties are forked from; none in plain mode, which has none."""
    return Nursery(TRAINING) if scenario.secure.mode == "secure" else nullcontext()


def ended_before(place: Path) -> dict[str, Any] | None:
    """The summary of a method that has ended before the run has failed."""
    file = place / SUMMARY
    return json.loads(file.read_text()) if file.is_file() else None


def folder_text(scenario: Scenario) -> str:
    """Whose the run folder is, and what of it each party would hold."""
    parties = [assemble.DEVELOPER, *(f"auditor-{auditor.name}" for auditor in scenario.secure.auditors)]
    parties += [assemble.DEALER] if scenario.secure.mode == "secure" else []
    lines = [
        "This folder as a whole is the experimenter's alone: who simulates all parties sees what none of them may.",
        "",
        "summary.json and report.html have exact rates, computed from everybody's attributes; predictions.csv has the",
        "data set's own names of the test records, which may tell attributes.",
        "A party would hold the folder of its name, and nothing else of this:",
        "",
        *(f"    {name}/" for name in parties),
    ]
    if scenario.compare:
        lines += ["", f"So it is with each folder in compare/: {', '.join(scenario.compare)}."]
    return "\n".join([*lines, ""])


def run_method(
    scenario: Scenario,
    stores: Path,
    out: Path,
    people: People,
    report: Reporter,
    nursery: Nursery | None = None,
    *,
    attack: bool = False,
) -> dict[str, Any]:
    """Run one method in the scenario's mode and write its summary; its parties come from the ``nursery``, or one of
    its own.

    ``attack``: in plain mode, what the strongest attacker wins from what was released is part of it.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / SCENARIO).write_text(scenario.to_toml())
    if scenario.method.name != "erm":
        report.stage(f"plan of {scenario.method.name}'s releases\n{plans_text(scenario)}")
    expected = forecast_of(scenario)
    if expected:
        report.stage(f"forecast\n{forecast_text(scenario, expected)}")
    began = time.perf_counter()
    attacker = None
    if scenario.secure.mode == "secure":
        with nullcontext(nursery) if nursery is not None else Nursery(TRAINING) as forking:
            run_parties(job_of(scenario, stores, out), report, forking)
        if scenario.secure.claims:
            keep_certificate(out)
    else:
        attacker = run_plain(scenario, stores, out, report, attack=attack)
    join_names(out, people)
    summary = summarise(scenario, out, people, time.perf_counter() - began)
    if expected:
        summary["forecast"] = forecast_tree(scenario, expected)
    if attacker is not None:
        from secure_fair.scenarios import attacked  # all attacks, with what they need of statistics

        summary["attack"] = attacked.won(scenario, attacker, summary["records"]["training"])
    write_bytes(out / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def run_plain(
    scenario: Scenario, stores: Path, out: Path, report: Reporter, *, attack: bool = False
) -> Strongest | None:
    """All parties in this process, attributes in the clear: for parity tests, upper bounds and sweeps."""
    import torch

    from secure_fair.parties.plain import run_in_the_clear

    torch.set_num_threads(threads())
    with temporary_folder("state") as state:
        return run_in_the_clear(
            assemble.run_config(scenario),
            stores,
            out,
            state,
            assemble.policy(scenario, None, simulated=True),
            run_name(scenario),
            report,
            attack=attack,
        )


def join_names(out: Path, people: People) -> None:
    """Write the developer's predictions again under the data set's own names, and with the names of the classes.

    Into the folder as a whole, the experimenter's: a name may tell an attribute, so that no party's folder has any.
    """
    names = {record: (file or own, part) for own, file, record, part in people.names()}
    classes = people.table.target.groups
    source, joined = out / assemble.DEVELOPER / PREDICTIONS, out / PREDICTIONS
    with source.open(newline="") as file, joined.open("w", newline="", encoding="utf-8") as written:
        rows = csv.DictReader(file)
        lines = csv.writer(written, lineterminator="\n")
        lines.writerow([RECORD, "split", "label", PREDICTION, *map(probability_of, classes), "id"])
        for row in rows:
            name, part = names[row["id"]]
            told = (classes[int(row[column])] for column in ("label", "prediction"))
            lines.writerow([name, part, *told, *(row[probability_of(one)] for one in classes), row["id"]])


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
        "threads_per_party": threads(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }
