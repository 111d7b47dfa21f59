"""A ledger's standing as tables of text cells, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from secure_fair.privacy.standing import OpeningTally, Received, RunStanding, Spent, Standing
from secure_fair.report.tables import Table

SHOWN_LEVELS = 5


def standing_text(found: Standing) -> str:
    """All of it: a line about the ledger, then a table of each kind that has anything in it."""
    return "\n\n".join([_about(found), *_tables(found)])


def _about(found: Standing) -> str:
    simulated = " (simulated)" if found.simulated else ""
    enrolled = f", {found.enrolled} {found.unit}s enrolled" if found.enrolled else ""
    line = f"ledger of {found.owner}{simulated}: {found.entries} entries{enrolled}; epsilon at delta {found.delta:g}"
    if found.torn:
        line += f"\na torn line of {found.torn} bytes behind them: a write was cut short (`secure-fair ledger repair`)"
    return line


def _tables(found: Standing) -> Iterator[str]:
    spent = ("spent for life on", f"{found.unit}s", "most", "median", "how many at what", "limit", "left")
    received = ("told by", "about", "releases", "epsilon of whoever was in all", "beside")
    missed = ("let out by", "in the run", "releases said to have been missed: count them as told")
    openings = ("auditor", "attribute", "operation", "releases", "numbers", "exact")
    runs = ("run", "began", "last entry", "starts", "releases", "opened", "refused")
    tables = (
        Table(spent, tuple(map(_spent_row, found.spent))),
        Table(received, tuple(map(_received_row, found.received))),
        Table(missed, tuple((one.auditor, one.run, str(one.releases)) for one in found.missed)),
        Table(openings, tuple(map(_opened_row, found.openings))),
        Table(runs, tuple(map(_run_row, found.runs))),
    )
    return (table.text() for table in tables if table.rows)


def _spent_row(one: Spent) -> tuple[str, ...]:
    name = one.attribute or "all attributes together"
    levels = [f"{level.people} at {_epsilon(level.epsilon)}" for level in one.levels[:SHOWN_LEVELS]]
    if len(one.levels) > SHOWN_LEVELS:
        levels.append(f"{sum(level.people for level in one.levels[SHOWN_LEVELS:])} below")
    limits = ("none", "-") if one.limit is None else (f"{one.limit:g}", _rounded_down(one.left or 0.0))
    return name, str(one.people), _epsilon(one.most), _epsilon(one.median), ", ".join(levels), *limits


def _received_row(one: Received) -> tuple[str, ...]:
    return one.auditor, one.attribute, str(one.releases), _epsilon(one.most), ", ".join(one.beyond) or "-"


def _opened_row(one: OpeningTally) -> tuple[str, ...]:
    return one.auditor, one.attribute, one.operation, str(one.releases), str(one.numbers), str(one.exact)


def _run_row(one: RunStanding) -> tuple[str, ...]:
    times = (time[:19].replace("T", " ") for time in (one.began, one.last))
    return one.run, *times, str(one.starts), str(one.releases), str(one.opened), str(one.refused)


def _epsilon(value: float | None) -> str:
    return "EXACT" if value is None else f"{value:.3g}"


def _rounded_down(value: float) -> str:
    """Three decimals, never more than there is."""
    return f"{math.floor(value * 1000) / 1000:.3f}"
