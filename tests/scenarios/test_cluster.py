"""Sweeps on a Dask cluster: the same table as in one process, whoever dies; never in the clear between machines."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from click.testing import CliRunner
from distributed import LocalCluster, Security

from secure_fair.errors import UsageError
from secure_fair.scenarios import cluster
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.grid import load, runs_of
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.sweep import sweep

SWEEP = """
name = "small"
base = "quickstart"
seeds = [0, 1]
set.data.records = 160
set.data.split = { developer = 0.5, auditor = 0.2, test = 0.3 }
set.train.epochs = 1
set.train.batch_size = 32
set.privacy.evaluation_epsilon = ""
[[grid]]
method.name = "erm"
[[grid]]
method.name = "parity"
privacy.epsilon = inf
"""


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as started:
        yield started


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECURE_FAIR_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "small.toml"
    file.write_text(SWEEP)
    return file


def lines(folder: Path) -> dict[str, dict[str, str]]:
    """The lines of a sweep's table by run, without their times."""
    with (folder / "runs.csv").open(newline="") as file:
        return {row["run"]: row | {"seconds": ""} for row in csv.DictReader(file)}


@pytest.mark.slow
def test_two_workers_give_the_table_of_one_process_though_one_is_killed(
    tmp_path: Path, source: Path, two_workers: Any
) -> None:
    runs = runs_of(load(source))
    alone, there = tmp_path / "alone", tmp_path / "there"
    alone.mkdir()
    sweep(runs, alone, LineReporter(), jobs=1)

    class Killing(LineReporter):
        """Ends a worker as the first run is done, while the others are at work."""

        killed = 0

        def progress(self, name: str, done: int, total: int) -> None:
            if name == "runs" and not self.killed:
                Killing.killed = two_workers.workers[0].pid
                psutil.Process(self.killed).kill()

    there.mkdir()
    sweep(runs, there, Killing(), jobs=1, cluster_at=two_workers.scheduler_address)
    assert Killing.killed
    assert lines(there) == lines(alone)
    assert len(lines(there)) == len(runs) == 4


@pytest.mark.slow
def test_the_command_goes_on_on_a_cluster(tmp_path: Path, source: Path, two_workers: Any) -> None:
    out = tmp_path / "out"
    command = ["sweep", str(source), "--out", str(out), "--cluster", two_workers.scheduler_address]
    found = CliRunner().invoke(main, command)
    assert found.exit_code == 0, found.output
    before = (out / "runs.csv").read_bytes()
    found = CliRunner().invoke(main, command)
    assert found.exit_code == 0, found.output
    assert "4 runs, 4 of them done already" in found.output
    assert (out / "runs.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("tcp://10.0.0.5:8786", "without TLS anybody on the way can have any code run by the workers"),
        ("tcp://somewhere:8786", "without TLS"),
        ("tls://somewhere", r"must be tls://HOST:PORT"),
        ("http://127.0.0.1:8786", r"must be tls://HOST:PORT"),
        ("tcp://127.0.0.1:99999", r"must be tls://HOST:PORT"),
    ],
)
def test_addresses_that_are_refused(address: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        cluster.check_address(address)


def test_a_scheduler_that_is_not_there_is_one_message(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", "1 s")
    command = ["sweep", str(source), "--out", str(tmp_path / "out"), "--cluster", "tcp://127.0.0.1:9"]
    found = CliRunner().invoke(main, command)
    assert found.exit_code == 2
    assert "--cluster tcp://127.0.0.1:9: no scheduler answers" in found.output
    assert "Traceback" not in found.output


def test_two_ways_of_running_at_a_time_are_refused(source: Path) -> None:
    found = CliRunner().invoke(main, ["sweep", str(source), "--jobs", "2", "--cluster", "tcp://127.0.0.1:9"])
    assert found.exit_code == 2
    assert "with --cluster its workers say how many run at a time" in found.output


def test_by_tls_with_dasks_own_settings_and_not_without_a_certificate(tmp_path: Path) -> None:
    keys = Security.temporary()
    files = {"ca-file": keys.tls_ca_file, "client.cert": keys.tls_client_cert, "client.key": keys.tls_client_key}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    settings = {f"distributed.comm.tls.{name}": str(tmp_path / name) for name in files}
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None, "protocol": "tls"}
    with LocalCluster(n_workers=1, security=keys, **options) as started:
        address = started.scheduler_address
        assert address.startswith("tls://")
        with dask.config.set(settings), cluster.workers(address) as client:
            assert client.submit(sum, [1, 2]).result() == 3
        with pytest.raises(UsageError, match="no scheduler answers"), cluster.workers(address):
            pass
