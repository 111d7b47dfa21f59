"""Labels of the past, put into a data set on purpose: a group's records of class 1 of which some are labelled 0.

This is the label bias of Blum and Stangl, "Recovering from biased data" (FORC 2020): what is true of a person does not
depend on the group, what was written down does. A model that learns from such labels disfavours the group; one that is
made fair to it can come nearer to the truth.
"""

from __future__ import annotations

import numpy as np

from secure_fair.data.table import Dataset
from secure_fair.errors import UsageError

_DRAW = 3  # beside the seed: no other draw of a scenario is from this pair


def recorded_labels(table: Dataset, attribute: str, group: str, missed: float, seed: int) -> np.ndarray:
    """Labels, int64 (N,), as the past would have written them: of the group's records of class 1, each is labelled 0
    with probability ``missed``; all others are as in ``table``.

    Raises UsageError for an unknown group, and for a task of more than two classes.
    """
    held = table.sensitive[attribute]
    if group not in held.groups:
        raise UsageError(
            f"data.label_bias.group: {attribute} has no group {group!r}; choose from {', '.join(held.groups)}"
        )
    if len(table.target.groups) != 2:
        raise UsageError(
            f"data.label_bias: {table.target.name} has {len(table.target.groups)} classes, and labels are biased for a "
            "task of two; leave it out"
        )
    whose = held.codes == held.groups.index(group)
    lost = np.random.default_rng([seed, _DRAW]).random(len(table)) < missed
    return np.where(whose & (table.target.codes == 1) & lost, 0, table.target.codes).astype(np.int64)
