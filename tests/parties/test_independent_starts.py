"""The auditor's adapter and the developer's begin apart, though both follow from the scenario's one seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from parties.holdings import Holdings
from parties.progress import Progress
from scenarios import assemble
from scenarios.progress import LineReporter
from secure_fair.data.store import AuditorStore
from secure_fair.learning.lora import adapter_state
from secure_fair.learning.model import make_classifier
from secure_fair.privacy.ledger import Ledger
from tests.parties.company import tiny


def overlap(one: Tensor, other: Tensor) -> float:
    """The part of a row space (r, d) that lies in another: r / d for spaces drawn apart, 1 for the same one."""
    first, second = (torch.linalg.qr(rows.double().T)[0] for rows in (one, other))
    return float((first.T @ second).square().sum() / first.shape[1])


@pytest.mark.parametrize("shared", [False, True], ids=["as it is", "the auditor's seed is the developer's"])
def test_row_spaces_of_the_adapters_are_apart(
    tmp_path: Path, weights: Path, stores: Path, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = tiny(weights, method={"name": "orth"})
    config = assemble.run_config(scenario)
    if shared:
        monkeypatch.setattr(Holdings, "_own_seed", lambda self, attribute: config.seed)
    ledger = Ledger(tmp_path / "ledger", "auditor", simulated=True)
    progress: Progress = LineReporter()
    store, state = stores / "auditor", tmp_path / "state"
    ids = AuditorStore.open(store).ids
    held = Holdings.open(
        config, "auditor", store, state, ledger, scenario.policy, run="r", ids=ids, training=200, progress=progress
    )
    started = make_classifier(config.model, 2, config.seed, torch.device("cpu"))
    task = adapter_state(started.backbone)
    found = [overlap(held.adapters["male"][name][0], a) for name, (a, _) in task.items()]
    chance = [a.shape[0] / a.shape[1] for a, _ in task.values()]
    if shared:
        assert np.mean(found) > 0.8  # the attack on the method: it could only shrink what both begin with
    else:
        assert np.mean(found) < np.mean(chance) + 0.1
