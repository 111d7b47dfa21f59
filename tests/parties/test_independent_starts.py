"""Adapters of the developer and of auditors begin apart from each other, though all follow from one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secure_fair.data.store import AuditorStore
from secure_fair.learning.lora import adapter_state
from secure_fair.learning.model import make_classifier
from secure_fair.operations.common.adapters import Adapter
from secure_fair.parties.holdings import Enrolled, Holdings
from secure_fair.privacy.ledger import Ledger
from secure_fair.scenarios import assemble
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import APART, tiny, write_stores


def overlap(one: Tensor, other: Tensor) -> float:
    """The part of a row space (r, d) that lies in another: r / d for spaces drawn apart, 1 for the same one."""
    first, second = (torch.linalg.qr(rows.double().T)[0] for rows in (one, other))
    return float((first.T @ second).square().sum() / first.shape[1])


def trained(scenario: Scenario, auditor: str, stores: Path, folder: Path) -> dict[str, Adapter]:
    """The adapters that an auditor trains before a run, by attribute."""
    ledger = Ledger(folder / auditor / "ledger", auditor, simulated=True)
    store, state, progress = AuditorStore.open(stores / auditor), folder / auditor / "state", LineReporter()
    ids, config = store.known, assemble.run_config(scenario)
    held = Holdings.open(config, auditor, store, state, ledger, scenario.policy, Enrolled("r", ids, 200), progress)
    held.train(stores / auditor, progress)
    return held.adapters


def assert_apart(one: Adapter, other: Adapter, *, shared: bool) -> None:
    """Their row spaces are as those drawn apart are; with a ``shared`` start they are not, or this tests nothing."""
    pairs = [(one[name][0], other[name][0]) for name in other]
    found = np.mean([overlap(first, second) for first, second in pairs])
    chance = np.mean([second.shape[0] / second.shape[1] for _, second in pairs])
    if shared:
        assert found > 0.8  # the attack on the method: it could only shrink what both begin with
    else:
        assert found < chance + 0.1


SHARED = pytest.mark.parametrize("shared", [False, True], ids=["as it is", "all starts are of the developer's seed"])


@SHARED
def test_row_spaces_of_the_adapters_are_apart(
    tmp_path: Path, weights: Path, stores: Path, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = tiny(weights, method={"name": "orth"})
    if shared:
        monkeypatch.setattr(Holdings, "_own_seed", lambda self, attribute: self.config.seed)
    config = assemble.run_config(scenario)
    started = make_classifier(config.model, 2, config.seed, torch.device("cpu"))
    theirs = trained(scenario, "auditor", stores, tmp_path)["male"]
    assert_apart(theirs, adapter_state(started.backbone), shared=shared)


@SHARED
@pytest.mark.parametrize("auditors", [APART, []], ids=["two auditors", "two attributes of one"])
def test_row_spaces_of_two_sensitive_adapters_are_apart(
    tmp_path: Path, weights: Path, auditors: list[Any], shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise what is kept clear of the one would be kept clear of the other, whatever that has learned."""
    scenario = tiny(
        weights, method={"name": "orth"}, data={"sensitive": ["male", "young"]}, secure={"auditors": auditors}
    )
    if shared:
        monkeypatch.setattr(Holdings, "_own_seed", lambda self, attribute: self.config.seed)
    write_stores(scenario, tmp_path / "stores")
    adapters: dict[str, Adapter] = {}
    for auditor in scenario.secure.auditors:
        adapters |= trained(scenario, auditor.name, tmp_path / "stores", tmp_path)
    assert_apart(adapters["male"], adapters["young"], shared=shared)
