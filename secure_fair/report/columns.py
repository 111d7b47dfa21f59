"""Files and columns of a sweep's folder: one row of text cells per run and attribute."""

from __future__ import annotations

from collections.abc import Mapping

RunRow = dict[str, str]

RUNS = "runs.csv"
CHECKS = "checks.csv"

# the columns of runs.csv that say what was run; runs that differ in none of them belong together
SETTING_COLUMNS = (
    *("scenario", "dataset", "target", "method", "release", "strength", "components", "asked_epsilon", "delta"),
    *("training_records", "test_records", "epochs", "mode", "settings"),
)
UTILITY = ("accuracy", "balanced_accuracy", "auroc")
GAPS = (
    "demographic_parity_difference",
    "equalized_odds_difference",
    "true_positive_rate_difference",
    "false_positive_rate_difference",
    "worst_group_accuracy",
)
# what a gap would be if the attribute were dealt out at random; lines of older sweeps do not have them
FLOORS = {GAPS[0]: "demographic_parity_by_chance", GAPS[1]: "equalized_odds_by_chance"}
LATER = (*FLOORS.values(), "groups")  # columns that a CSV may lack
METRICS = (*UTILITY, *GAPS)
SHORT = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    GAPS[0]: "DPD",
    GAPS[1]: "EOD",
    GAPS[3]: "FPR",
    GAPS[4]: "worst group",
}
# those of checks.csv
CHECKED = ("accuracy", *GAPS[:2])
CHECKED_COLUMNS = (
    *("run", *SETTING_COLUMNS, "seed", "attribute", "releases", "same_predictions"),
    *(f"{side}_{name}" for name in CHECKED for side in ("plain", "spread", "secure")),
    *("verdict", "seconds"),
)
OWN_COLUMN = ("release ", "strength ", "epsilon ", "epochs ")  # first words of settings that have one in tables


def independent_task(row: Mapping[str, str]) -> str:
    """The task that a row counts for: attributes and scenarios of one data set and target share people and labels.

    Their models without an attribute are all but the same, and so are their test records: they are one task.
    """
    return f"{row['dataset']} {row['target']}"


def one_run(row: Mapping[str, str]) -> tuple[str, ...]:
    """Scenario, attribute, seed and epochs: rows that agree in them differ in the method and its privacy alone."""
    return tuple(row[name] for name in ("scenario", "attribute", "seed", "epochs"))


def method_label(row: Mapping[str, str]) -> str:
    """The method of a row, with its release and those settings that have no column of their own."""
    if not row["release"]:
        return row["method"]
    words = [word for word in row["settings"].split(", ") if word not in ("", row["method"])]
    return f"{row['method']} ({', '.join([row['release'], *(w for w in words if not w.startswith(OWN_COLUMN))])})"
