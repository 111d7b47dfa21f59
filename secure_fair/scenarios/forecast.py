"""The cost of a scenario's run, before it begins: for the terminal, the summary and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from secure_fair.data.table import Census
from secure_fair.errors import ProcessFailed
from secure_fair.operations import OPERATIONS
from secure_fair.parties.asked import Sizes, needs_backbone
from secure_fair.report.tables import Table, duration, size
from secure_fair.scenarios import assemble
from secure_fair.scenarios.plans import census, sizes
from secure_fair.scenarios.schema import Scenario

if TYPE_CHECKING:
    from secure_fair.bench.forecast import ForecastLine


def forecast_of(scenario: Scenario, counted: Census | None = None) -> list[ForecastLine]:
    """A line for each operation, for the scenario's link and this machine; reads the data set's tables, no picture.

    Nothing in plain mode. UsageError where something is larger than the engine can take, with the
    bound.
    """
    if scenario.secure.mode != "secure":
        return []
    from secure_fair.bench.forecast import forecast
    from secure_fair.bench.pace import pace

    known = sizes_of(scenario, counted or census(scenario))
    try:
        measured = pace(scenario.link)
    except (OSError, ProcessFailed):  # nobody can listen here, or nothing can be forked
        measured = None
    return forecast(assemble.run_config(scenario), known, scenario.link, measured)


def sizes_of(scenario: Scenario, counted: Census) -> Sizes:
    """The public sizes of a run."""
    parts, config = sizes(scenario, counted), assemble.run_config(scenario)
    features, adapters = 0, None
    if needs_backbone(config):
        from secure_fair.learning import dimensions

        features, adapters = dimensions.feature_width(config.model), dimensions.adapter_shapes(config.model)
    return Sizes(
        training=parts["developer"],
        test=parts["test"],
        groups=counted.groups,
        classes=counted.classes,
        checked=scenario.policy.row_bounds == "check",
        features=features,
        adapters=adapters,
    )


def check_forecast(scenario: Scenario, counted: Census) -> None:
    """UsageError where something is larger than the engine can take."""
    if scenario.secure.mode == "secure":
        from secure_fair.bench.forecast import check

        check(assemble.run_config(scenario), sizes_of(scenario, counted))


def forecast_text(scenario: Scenario, lines: Sequence[ForecastLine]) -> str:
    """The forecast as a table for the terminal."""
    from secure_fair.bench.forecast import TO_ASK, total

    if not lines:
        return "nothing is computed on shares"
    rows = tuple(_cells(line) for line in (*lines, total(lines)))
    header = ("operation", "times", "rounds", "traffic", "dealer traffic", "memory", "time")
    asks = sum(line.calls for line in lines if line.operation in OPERATIONS)
    waiting = duration(asks * TO_ASK * scenario.link.latency_ms / 1000)
    return "\n".join(
        [
            f"on shares, at the developer, {_link(scenario)}:",
            Table(header, rows).text(),
            f"besides: training, and {asks * TO_ASK} messages to ask for {asks} releases ({waiting} of latency)",
        ]
    )


def forecast_tree(scenario: Scenario, lines: Sequence[ForecastLine]) -> dict[str, Any]:
    """The forecast for the summary."""
    link = {"latency_ms": scenario.link.latency_ms, "bandwidth_mbps": scenario.link.bandwidth_mbps}
    return {"link": link, "operations": {line.operation: line.tree() for line in lines}}


def _cells(line: ForecastLine) -> tuple[str, ...]:
    traffic = (size(line.traffic), size(line.dealer_traffic), f"~{size(line.memory)}")
    return (line.operation, str(line.calls), str(line.rounds), *traffic, duration(line.seconds))


def _link(scenario: Scenario) -> str:
    """The link in words."""
    latency, bandwidth = scenario.link.latency_ms, scenario.link.bandwidth_mbps
    if not latency and not bandwidth:
        return "all parties on this machine (for another link set link.latency_ms and link.bandwidth_mbps)"
    speed = f"{bandwidth:g} Mbit/s" if bandwidth else "no limit of bandwidth"
    return f"at this machine's pace over a link of {latency:g} ms each way and {speed}"
