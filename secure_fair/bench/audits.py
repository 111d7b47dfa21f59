"""The costs of an audit by the number of records, beside plain counting and MPyC.

``python -m secure_fair.bench.audits`` prints the table of docs/audit.md. Developer, auditor and dealer are processes
of ``secure-fair party``, with a certificate, on stores of made-up people of whom both sides have all. Plain is
fairlearn's ``MetricFrame`` on both columns together, MPyC three parties with shares that count and do nothing else
(``shamir_counts``; pip install mpyc).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secure_fair.data.decision_store import write_decisions
from secure_fair.data.decisions import Decisions
from secure_fair.data.records import Attribute
from secure_fair.data.store import KEY_BYTES, AuditorStore
from secure_fair.data.table import AttributeTable
from secure_fair.errors import ProcessFailed
from secure_fair.parties import identity
from secure_fair.report.tables import Table

SIZES = (10_000, 100_000, 1_000_000)
GROUPS = 10
NAMES = ("dealer", "city", "developer")
KIB, MB = 1024, 1e6
COUNTS = "shamir_counts.py"  # beside this file; it is a program of its own
POLICY = "epsilon = 1.0\nclaims = ['impact ratio by group >= 0.8']\n"
TERMS = """\
name = "bench"
epsilon = 1.0
[[auditors]]
name = "city"
attributes = ["group"]
policy = "{digest}"
answer = "counts"
claims = ["impact ratio by group >= 0.8"]
smallest_share = 0.02
"""


@dataclass(frozen=True)
class AuditTiming:
    """One way of counting so many ``records``, at one ``party``: seconds of the whole audit once stores were loaded and
    all connected, processor seconds of the party's process with its imports, bytes sent, largest resident size."""

    way: str
    records: int
    party: str
    seconds: float
    processor: float
    sent: float
    memory: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as a table has it."""
        numbers = (f"{self.seconds:.2f}", f"{self.processor:.1f}", f"{self.sent / MB:.1f}", f"{self.memory / MB:.0f}")
        return (self.way, f"{self.records:,}", self.party, *numbers)


# --- our own ----------------------------------------------------------------------------------------------------------


def drawn(records: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups and decisions, int64 (n,) each."""
    draw = np.random.default_rng(0)
    return draw.integers(0, GROUPS, records), draw.integers(0, 2, records)


def write_all(folder: Path, records: int) -> None:
    """Stores, identities, policy and terms of all parties."""
    codes, selected = drawn(records)
    names = [hashlib.sha256(b"%d" % number).hexdigest()[:32] for number in range(records)]
    write_decisions(folder / "developer-store", Decisions(names, selected, None, None), None)
    groups = {"group": Attribute("group", codes, tuple(f"group {number}" for number in range(GROUPS)))}
    table = AttributeTable(np.empty((records, 0)), names, groups, record_ids=names)
    everybody = np.arange(records)
    key = bytes(KEY_BYTES)  # of no record: all ids are given
    AuditorStore.write(
        folder / "city-store", table, attributes=("group",), aligned=everybody, own=everybody[:0], join_key=key, seed=0
    )
    (folder / "policy.toml").write_text(POLICY)
    (folder / "audit.toml").write_text(TERMS.format(digest=hashlib.sha256(POLICY.encode()).hexdigest()))
    identity.create_authority(folder)
    for name in NAMES:
        identity.issue_for_simulation(folder, name, days=2)


def command(folder: Path, name: str, addresses: Mapping[str, str]) -> list[str]:
    """A party's command line."""
    role = "auditor" if name == "city" else name
    line = [sys.executable, "-m", "secure_fair", "party", role, "--audit", str(folder / "audit.toml"), "--simulated"]
    line += ["--identity", str(folder / name), "--listen", addresses[name], "--out", str(folder / "out" / name)]
    line += ["--timeout", "600"]
    line += [word for peer in NAMES if peer != name for word in ("--peer", f"{peer}={addresses[peer]}")]
    if name != "dealer":
        line += ["--store", str(folder / f"{name}-store"), "--state", str(folder / "state" / name)]
    return [*line, "--policy", str(folder / "policy.toml")] if name == "city" else line


def audited(folder: Path, records: int, port: int) -> list[AuditTiming]:
    """The costs of one audit, of each party. ProcessFailed where one has failed."""
    alone(write_all, folder, records)
    addresses = {name: f"127.0.0.1:{port + place}" for place, name in enumerate(NAMES)}
    logs = {name: (folder / f"{name}.log").open("wb") for name in NAMES}
    running = {
        name: subprocess.Popen(command(folder, name, addresses), stderr=logs[name], stdout=logs[name]) for name in NAMES
    }
    used: dict[str, resource.struct_rusage] = {}
    for name, process in running.items():
        _, status, used[name] = os.wait4(process.pid, 0)
        if status:
            for other in running.values():
                other.kill()
            raise ProcessFailed(f"{name}: {(folder / f'{name}.log').read_text()[-500:]}", 5, name)
    seconds = float(json.loads((folder / "out" / "developer" / "audit.json").read_text())["seconds"])
    return [cost_of(folder, name, records, seconds, used[name]) for name in NAMES]


def alone(function: Callable[..., None], *arguments: object) -> None:
    """Call it in a process of its own: the largest size of a process begins at that of whoever has started it."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise ProcessFailed(f"{function.__name__} has failed", 5)


def cost_of(folder: Path, name: str, records: int, seconds: float, used: resource.struct_rusage) -> AuditTiming:
    """One party's part of it."""
    traffic = json.loads((folder / "out" / name / "party.json").read_text())["traffic"]
    sent = sum(one["bytes_sent"] for one in traffic.values())
    processor = used.ru_utime + used.ru_stime
    return AuditTiming("secure_fair", records, name, seconds, processor, sent, used.ru_maxrss * KIB)


# --- others -----------------------------------------------------------------------------------------------------------


def plainly(records: int, out: Path) -> None:
    """Rates by group where one party has both columns; the cost is written to ``out``."""
    from fairlearn.metrics import MetricFrame, count, selection_rate

    codes, selected = drawn(records)
    began, processor = time.perf_counter(), time.process_time()
    frame = MetricFrame(
        metrics={"rate": selection_rate, "records": count}, y_true=selected, y_pred=selected, sensitive_features=codes
    )
    assert len(frame.by_group) == GROUPS
    seconds, used = time.perf_counter() - began, time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    out.write_text(json.dumps({"seconds": seconds, "processor": used, "sent": 0, "memory": memory}))


def by_mpyc(records: int) -> AuditTiming:
    """Counts alone, by three parties; the first one's costs."""
    cost = cost_of_mpyc(records, GROUPS, 2, "counts")
    del cost["by_all"]
    return AuditTiming("MPyC, counts alone", records, "first of three", **cost)


def cost_of_mpyc(records: int, groups: int, columns: int, what: str) -> dict[str, float]:
    """The costs of "counts" or a "moment" at the first of three parties, and the bytes that all send (``by_all``)."""
    line = [sys.executable, str(Path(__file__).with_name(COUNTS)), *map(str, (records, groups, columns, what)), "-M3"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise ProcessFailed(f"MPyC: {done.stderr[-500:]}", 5)
    cost: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return cost


# --- the table --------------------------------------------------------------------------------------------------------


def table_of(rows: Sequence[AuditTiming]) -> Table:
    """All rows."""
    header = ("counted by", "records", "party", "seconds", "processor seconds", "MB sent", "memory, MB")
    return Table(header, tuple(row.cells for row in rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table as it grows, then whole."""
    parser = argparse.ArgumentParser(prog="python -m secure_fair.bench.audits", description=(__doc__ or "").strip())
    parser.add_argument("--records", type=int, nargs="+", default=list(SIZES), help="sizes of audits")
    parser.add_argument("--mpyc-up-to", type=int, default=100_000, help="records that MPyC counts at most; 0: none")
    parser.add_argument("--port", type=int, default=21_700, help="the first of three free ports for each size")
    given = parser.parse_args(arguments)
    rows: list[AuditTiming] = []
    for place, records in enumerate(given.records):
        with tempfile.TemporaryDirectory(prefix="secure-fair-audits-") as folder:
            found = audited(Path(folder), records, given.port + place * len(NAMES))
            alone(plainly, records, Path(folder) / "plain.json")
            cost = json.loads((Path(folder) / "plain.json").read_text())
            found.append(AuditTiming("fairlearn, in the clear", records, "one", **cost))
        if records <= given.mpyc_up_to and importlib.util.find_spec("mpyc"):
            found.append(by_mpyc(records))
        for row in found:
            print(*row.cells, sep="  ", file=sys.stderr, flush=True)
        rows += found
    print(table_of(rows).text())


if __name__ == "__main__":
    main()
