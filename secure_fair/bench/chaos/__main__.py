"""The command line of the accidents: run some more of them, write what happened to a file, and make the page of it.

    python -m secure_fair.bench.chaos --events 1000 --seed 1 --log chaos.jsonl --out docs/reliability.md

It may be stopped and started again at any time: runs that the file has are not run again.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from secure_fair.bench.chaos.accidents import STRANGERS
from secure_fair.bench.chaos.clocks import LIBRARY
from secure_fair.bench.chaos.company import preload
from secure_fair.bench.chaos.page import Run, page
from secure_fair.bench.chaos.runs import Bench, planned

OPEN_FILES = 2 * STRANGERS + 1_000


def main() -> None:
    """Run until the file has so many accidents, or for so long, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100, help="accidents in all, with those of the file")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so many")
    parser.add_argument("--seed", type=int, default=1, help="of the accidents")
    parser.add_argument("--log", type=Path, required=True, help="a line for each run; added to")
    parser.add_argument("--keep", type=Path, help="where folders of runs with something wrong go")
    parser.add_argument("--out", type=Path, help="where the page goes")
    given = parser.parse_args()
    runs_on(given.log, given.events, given.minutes, given.seed, given.keep)
    if given.out is not None:
        given.out.write_text(page(read(given.log)))


def read(log: Path) -> list[Run]:
    """The runs of a file."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def runs_on(log: Path, events: int, minutes: float, seed: int, keep: Path | None) -> None:
    """Run the runs that the file lacks."""
    _make_room()
    preload()
    done = read(log)
    struck = sum(bool(event["struck"]) for run in done for event in run["events"])
    number = max((run["number"] for run in done), default=0)
    deadline = time.monotonic() + 60 * minutes
    if struck >= events or minutes <= 0:
        return
    if LIBRARY is None:
        print("libfaketime is not installed: no party is given another clock", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="secure-fair-chaos-") as folder:
        bench = Bench(Path(folder), keep)
        while struck < events and time.monotonic() < deadline:
            number += 1
            result = bench.run(planned(number, seed))
            with log.open("a") as file:
                file.write(result.line() + "\n")
            struck += sum(bool(event.struck) for event in result.events)
            said = f"run {number} ({result.shape}): {result.seconds:.0f} s, {struck} accidents"
            print(f"{said}; {'; '.join(result.wrong) or 'as it should be'}", file=sys.stderr, flush=True)


def _make_room() -> None:
    """Have room for the strangers' connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == "__main__":
    main()
