"""A sweep: a grid of settings over scenarios and seeds, a line of a CSV per finished run, resumable at any moment.

Every run is what ``secure-fair run`` does for that scenario and seed: the same split, stores, gate and noise. They run
in plain mode unless the sweep says otherwise: it computes the same up to rounding, without shares. ``spot_check`` tests
that claim.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from secure_fair.data.store import AuditorStore, DeveloperStore, record_ids
from secure_fair.data.table import AttributeTable
from secure_fair.errors import Diverged, UsageError
from secure_fair.files import atomic_write, private_folder
from secure_fair.learning.kept import TRAININGS
from secure_fair.learning.model import cached_tokens, keep_tokens, tokens_file, train_settings
from secure_fair.report.attacks import COLUMNS as ATTACK_COLUMNS
from secure_fair.report.attacks import FILE as ATTACKS
from secure_fair.report.columns import FLOORS, GAPS, LATER, RUNS, SETTING_COLUMNS, UTILITY, RunRow
from secure_fair.report.tables import duration
from secure_fair.scenarios import assemble, cluster, launch
from secure_fair.scenarios.fit import admit
from secure_fair.scenarios.grid import GridRun, cell
from secure_fair.scenarios.people import People, Tables, cache_folder, load
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.scenarios.summary import judged_by
from secure_fair.scenarios.temporary import temporary_folder

# what a run comes out as: raised with every change of the program after which the same run has other results
REVISION = "3"
COLUMNS = (
    *("run", *SETTING_COLUMNS, "seed", "attribute", *UTILITY, *GAPS, *LATER),
    *("epsilon", "status", "seconds", "revision"),
)

Work = Callable[[GridRun, Path, Reporter], list[RunRow]]


def sweep(
    runs: Sequence[GridRun],
    out: Path,
    report: Reporter,
    *,
    jobs: int,
    cluster_at: str | None = None,
    attack: bool = False,
) -> None:
    """Run what ``out/runs.csv`` does not have yet; a line per run and attribute is appended to it.

    ``cluster_at``: the address of a Dask scheduler, whose workers do them. ``attack``: what was released is attacked
    too, a line per run in ``out/attacks.csv``; UsageError where runs were made without.
    """
    table, attacks = Lines(out / RUNS, COLUMNS), Lines(out / ATTACKS, ATTACK_COLUMNS)
    missing = still_to_do(table, runs, "runs", report)
    if attack:
        attacked = {row["run"] for row in attacks.rows()}
        if bare := [run.label for run in runs if run not in missing and run.key not in attacked]:
            raise UsageError(f"--attack: {len(bare)} runs in {out} were made without it; name another --out")

    def finished(run: GridRun, rows: list[RunRow]) -> None:
        if attack:  # first: a run that is in the table is not done again
            attacks.append([dict.fromkeys(ATTACK_COLUMNS, "") | row for row in rows])
        table.append(rows)
        report.stage(f"  {run.label}: {outcome(rows)}")

    work_off(missing, partial(run_once, attack=attack), finished, report, jobs=jobs, cluster_at=cluster_at)


def still_to_do(table: Lines, runs: Sequence[GridRun], what: str, report: Reporter) -> list[GridRun]:
    """The runs that the table does not have. Lines of another revision leave it: their runs are done again."""
    rows = table.rows()
    current = [row for row in rows if row["revision"] == REVISION]
    if len(current) < len(rows):
        table.replace(current)
    done, before = {row["run"] for row in current}, {row["run"] for row in rows}
    missing = [run for run in runs if run.key not in done]
    again = sum(run.key in before for run in missing)
    told = f", {again} are done again: the program gives other results now" if again else ""
    report.stage(f"{len(runs)} {what}, {len(runs) - len(missing)} of them done already{told}")
    return missing


def work_off(
    runs: Sequence[GridRun],
    work: Work,
    finished: Callable[[GridRun, list[RunRow]], None],
    report: Reporter,
    *,
    jobs: int,
    cluster_at: str | None = None,
) -> None:
    """Do ``work`` for every run: in this process, in ``jobs`` others, which find the tokens computed, or on a cluster,
    where every worker computes those that it does not have."""
    admit(run.scenario for run in runs)
    began = time.monotonic()
    with closing(_results(runs, work, report, jobs, cluster_at)) as results:
        for done, (run, rows) in enumerate(results, start=1):
            finished(run, rows)
            left = (time.monotonic() - began) / done * (len(runs) - done)
            report.progress("runs", done, len(runs))
            report.stage(f"  {done} of {len(runs)} runs done, about {duration(left)} left")


def _results(
    runs: Sequence[GridRun], work: Work, report: Reporter, jobs: int, cluster_at: str | None
) -> Generator[tuple[GridRun, list[RunRow]]]:
    """Every run with its lines, as they come."""
    if cluster_at is not None:
        with cluster.workers(cluster_at) as client:
            yield from cluster.results(client, partial(_quietly, work), runs)
        return
    for run in {token_facts(run.scenario): run for run in runs if not is_table(run.scenario)}.values():
        load_with_tokens(run.scenario, report)
    with temporary_folder("sweep") as folder:
        if jobs > 1:
            yield from _in_processes(runs, work, Path(folder), jobs)
            return
        for run in runs:
            yield run, work(run, Path(folder), Quiet(report))
        PreparedStores.forget()


def _quietly(work: Work, run: GridRun, folder: Path) -> list[RunRow]:
    return work(run, folder, Quiet(None))


def _in_processes(
    runs: Sequence[GridRun], work: Work, folder: Path, jobs: int
) -> Iterator[tuple[GridRun, list[RunRow]]]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers', which start with this environment
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_die_with, initargs=(os.getpid(),)) as pool:
        pending: dict[Future[list[RunRow]], GridRun] = {
            pool.submit(work, run, folder, Quiet(None)): run for run in runs
        }
        try:
            while pending:
                ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in ready:
                    yield pending.pop(future), future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _die_with(parent: int) -> None:
    """End this worker once its parent has gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_once(run: GridRun, folder: Path, report: Reporter, *, attack: bool = False) -> list[RunRow]:
    """Run it in its mode, working below ``folder``; its lines for the CSV."""
    prepared = PreparedStores.of(run.scenario, folder, report)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        return rows_of(run, prepared, Path(out), report, attack=attack)


def rows_of(
    run: GridRun, prepared: PreparedStores, out: Path, report: Reporter, *, attack: bool = False
) -> list[RunRow]:
    """One line per attribute of the run, whose folder is ``out``; that a training diverged is a result too."""
    began = time.perf_counter()
    try:
        summary = launch.run_method(run.scenario, prepared.stores, out, prepared.people, report, attack=attack)
    except Diverged:
        seconds = cell(round(time.perf_counter() - began, 1))
        common = setting_columns(run) | {"status": "diverged", "seconds": seconds}
        return [common | {"attribute": name} for name in judged_by(run.scenario)]
    common = setting_columns(run) | {
        "training_records": cell(summary["records"]["training"]),
        "test_records": cell(summary["records"]["test"]),
        "status": summary["status"],
        "seconds": cell(round(time.perf_counter() - began, 1)),
    }
    common |= {name: number(summary["utility"][name]) for name in UTILITY}
    common |= {name: cell(value) for name, value in summary.get("attack", {}).items()}
    return [
        common
        | {"attribute": attribute, "groups": cell(len(values["groups"])), "epsilon": epsilon_of(summary, attribute)}
        | {name: number(values[name]) for name in GAPS}
        | {floor: number(values["null_floor"][name]) for name, floor in FLOORS.items()}
        for attribute, values in summary["fairness"].items()
    ]


def setting_columns(run: GridRun) -> RunRow:
    """The settings of a run as columns, without the numbers of records, which only its end tells."""
    scenario, method, privacy = run.scenario, run.scenario.method, run.scenario.privacy
    row = {
        "run": run.key,
        "revision": REVISION,
        "scenario": scenario.name,
        "dataset": scenario.data.dataset,
        "target": scenario.data.target,
        "method": method.name,
        "epochs": cell(scenario.train.epochs),
        "mode": scenario.secure.mode,
        "settings": run.settings,
        "seed": cell(scenario.seed),
    }
    if method.release is None:  # nothing is asked for: neither strength nor epsilon matters
        return row
    exact = privacy is None or privacy.epsilon is None
    return row | {
        "release": method.release,
        "strength": cell(method.strength),
        "components": cell(method.components) if method.release in ("moments", "histogram") else "",
        "asked_epsilon": "inf" if exact else cell(privacy.epsilon if privacy else None),
        "delta": cell(privacy.delta if privacy else None),
    }


def number(value: float | None) -> str:
    """A metric to six places; "" where it is undefined."""
    return "" if value is None else f"{value:.6f}"


def epsilon_of(summary: Mapping[str, Any], attribute: str) -> str:
    """The epsilon that the training's releases of the attribute come to: 0 without any, inf for exact ones.

    For an intersection it is that of the attribute of it that has come to most, for each of them is accounted.
    For an adapter that the auditor trained it is the epsilon of the auditor's own records, whose adjacency is another,
    and to which the trainings for its other attributes add up.
    """
    components = summary.get("intersections", {}).get(attribute)
    if components:
        return max((epsilon_of(summary, component) for component in components), key=float)
    released = [line for line in summary["openings"] if not line.get("says")]
    operations = {line["operation"] for line in released if line["attribute"] == attribute}
    operations.discard("evaluation_counts")
    if not operations:
        return "0"
    privacy = summary["privacy"]
    accounts = [account for held in privacy["records"].values() for account in held.values()]
    own = [account for account in accounts if attribute in account["attributes"]]
    entry = own[0] if own else privacy["attributes"][attribute]
    return "inf" if entry.get("epsilon") is None else f"{entry['epsilon']:.4g}"


def outcome(rows: Sequence[RunRow]) -> str:
    """A finished run in words."""
    first = rows[0]
    if first["status"] == "diverged":
        return f"diverged ({first['seconds']} s)"
    gaps = ", ".join(f"{row['attribute']} gap {float(row[GAPS[0]] or 'nan'):.3f}" for row in rows)
    status = "" if first["status"] == "ok" else f", {first['status']}"
    return f"accuracy {float(first['accuracy']):.3f}, {gaps}{status} ({first['seconds']} s)"


class Quiet:
    """A reporter that passes warnings on, if there is anybody to pass them to."""

    def __init__(self, report: Reporter | None) -> None:
        self.report = report

    def stage(self, name: str) -> None:
        """Tell nobody."""

    def progress(self, name: str, done: int, total: int) -> None:
        """Tell nobody."""

    def epoch(
        self,
        method: str,
        epoch: int,
        epochs: int,
        loss: float,
        accuracy: float,
        gaps: Mapping[str, float | None],
        seconds: float,
    ) -> None:
        """Tell nobody."""

    def outlook(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Tell nobody."""

    def done(self, text: str, facts: Mapping[str, Any]) -> None:
        """Tell nobody."""

    def warn(self, text: str) -> None:
        """Pass it on."""
        if self.report is not None:
            self.report.warn(text)

    def close(self) -> None:
        """Close nothing."""


# --- data and tokens --------------------------------------------------------------------------------------------------


def token_facts(scenario: Scenario) -> str:
    """Scenarios with equal facts have the same pictures, and the same tokens of them."""
    data, config = scenario.data, assemble.run_config(scenario)
    drawn = (scenario.seed, data.target, data.sensitive) if data.dataset == "faces" else ()
    pictures = (data.dataset, data.root, data.limit, data.on_bad, data.image_size, data.dataset_options, drawn)
    own = (data.auditor, scenario.seed if data.auditor is not None and data.auditor.dataset == "faces" else None)
    backbone = (config.model.backbone, config.model.lora.last_blocks)
    return repr((pictures, own, backbone, config.train.precision, config.train.device))


def is_table(scenario: Scenario) -> bool:
    """Whether the inputs are features already, so that there are no tokens to compute or to keep."""
    return assemble.run_config(scenario).model.identity


def load_with_tokens(scenario: Scenario, report: Reporter) -> tuple[Tables, list[Tensor]]:
    """The scenario's tables, the developer's first, and the tokens (N, T, d) of all pictures of each, which the user's
    cache keeps for any split."""
    tables = load(scenario, report)
    every = (tables.table,) if tables.separate is None else (tables.table, tables.separate)
    return tables, [tokens_of(scenario, table, report) for table in every]


def tokens_of(scenario: Scenario, table: AttributeTable, report: Reporter) -> Tensor:
    """The tokens (N, T, d) of all pictures of a table, from the user's cache where they are there."""
    config = assemble.run_config(scenario)
    settings = train_settings(config.train, config.seed)
    return cached_tokens(
        config.model,
        table.inputs,
        cache_folder() / "tokens",
        settings.dtype,
        settings.device,
        lambda done, total: report.progress("backbone", done, total),
    )


@dataclass(frozen=True)
class PreparedStores:
    """Every party's store for one data set, split and seed, with the tokens of its pictures; a process keeps one."""

    facts: str
    stores: Path
    people: People

    @classmethod
    def of(cls, scenario: Scenario, folder: Path, report: Reporter) -> PreparedStores:
        """The last run's where they fit, else new ones below ``folder``."""
        global _kept
        facts = repr((scenario.data, scenario.secure.auditors, scenario.seed, token_facts(scenario)))
        if _kept is None or _kept.facts != facts:
            cls.forget()
            stores = Path(tempfile.mkdtemp(prefix="stores-", dir=folder))
            if is_table(scenario):
                people = People(scenario, load(scenario, report))
                people.write_stores(stores)
            else:
                tables, tokens = load_with_tokens(scenario, report)
                people = People(scenario, tables)
                people.write_stores(stores)
                place_tokens(scenario, people, stores, tokens)
            _kept = cls(facts, stores, people)
        return _kept

    @staticmethod
    def forget() -> None:
        """Remove the stores."""
        global _kept
        if _kept is not None:
            shutil.rmtree(_kept.stores, ignore_errors=True)
            _kept = None


_kept: PreparedStores | None = None


def place_tokens(scenario: Scenario, people: People, stores: Path, tokens: Sequence[Tensor]) -> None:
    """Put the tokens (N, T, d) of the developer's table, and of the auditors' if that is another, where each party
    would keep its own, in the order of its store."""
    config = assemble.run_config(scenario)
    dtype = train_settings(config.train, config.seed).dtype
    private_folder(cache_folder() / TRAININGS)
    for party in (assemble.DEVELOPER, *(auditor.name for auditor in scenario.secure.auditors)):
        (stores / party / "cache").mkdir(exist_ok=True)
        (stores / party / "cache" / TRAININGS).symlink_to((cache_folder() / TRAININGS).absolute())

    def place(table: AttributeTable, of_table: Tensor, folder: Path, pictures: np.ndarray, ids: Sequence[str]) -> None:
        row_of = {id_: row for row, id_ in enumerate(record_ids(people.join_key, table.digests))}
        rows = [row_of[id_] for id_ in ids]
        keep_tokens(of_table[rows], tokens_file(config.model, pictures, folder / "cache", dtype))

    developer = DeveloperStore.open(stores / assemble.DEVELOPER)
    place(people.table, tokens[0], stores / assemble.DEVELOPER, developer.inputs, developer.ids)
    if len(people.own):
        for auditor in scenario.secure.auditors:
            own = AuditorStore.open(stores / auditor.name).own()
            place(people.own_table, tokens[-1], stores / auditor.name, own.inputs, own.ids)


# --- the CSV ----------------------------------------------------------------------------------------------------------


class Lines:
    """A CSV that rows are appended to, whole or not at all."""

    def __init__(self, file: Path, columns: Sequence[str]) -> None:
        self.file, self.columns = file, tuple(columns)

    def rows(self) -> list[RunRow]:
        """All rows. Raises ``UsageError`` for a file with other columns, or of something else."""
        try:
            reader = csv.DictReader(io.StringIO(self._whole().decode(), newline=""))
            if reader.fieldnames is not None and tuple(reader.fieldnames) != self.columns:
                raise UsageError(f"{self.file}: was written by another version, its columns differ; name another --out")
            return list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"{self.file}: is no CSV of a sweep ({error}); name another --out") from None

    def append(self, rows: Sequence[RunRow]) -> None:
        """Add rows in one write that has reached the disk on return; half a line of an earlier one is cut off."""
        whole = self._whole()
        text = self._text(rows, header=not whole)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, len(whole))
            os.lseek(descriptor, 0, os.SEEK_END)
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, rows: Sequence[RunRow]) -> None:
        """Have these rows in place of all."""
        with atomic_write(self.file) as partial:
            partial.write_text(self._text(rows, header=True), encoding="utf-8")

    def _text(self, rows: Sequence[RunRow], *, header: bool) -> str:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _whole(self) -> bytes:
        """The file up to the end of its last whole line."""
        data = self.file.read_bytes() if self.file.is_file() else b""
        return data[: data.rfind(b"\n") + 1]
