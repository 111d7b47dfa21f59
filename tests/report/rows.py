"""Lines of a sweep, made by hand."""

from __future__ import annotations

from secure_fair.report.columns import GAPS, RunRow
from secure_fair.scenarios.sweep import COLUMNS


def row(method: str, seed: int, gap: float, *, task: str = "s", **values: str) -> RunRow:
    """A line of this method and gap, of parity by moments without noise unless it is erm; the rest as given."""
    given = {"scenario": task, "dataset": "d", "target": task, "attribute": "a", "method": method, "seed": str(seed)}
    given |= {"epochs": "4", "accuracy": "0.8", "balanced_accuracy": "0.8", "status": "ok"}
    if method != "erm":
        release = "attributes" if method == "rr" else "moments"
        given |= {"release": release, "strength": "3", "asked_epsilon": "inf", "delta": "1e-05"}
    return dict.fromkeys(COLUMNS, "") | given | {GAPS[0]: str(gap)} | values
