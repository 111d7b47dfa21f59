"""A million records at the gate: no slower by record than ten thousand, and within memory."""

from __future__ import annotations

import secrets
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from secure_fair.ids import Ids, find, order
from secure_fair.operations import RULES
from secure_fair.privacy.chain import verify
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SystemNoise
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.plan import PlannedRelease, make_plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.release_cache import Question, ReleaseCache
from secure_fair.privacy.request import Request

MOST_BYTES_A_RECORD = 700
MOST_SECONDS = 1e-5  # of processor time a record
ONE = PlannedRelease("evaluation_counts", 1, 1, 2.0**0.5)


def some_ids(count: int) -> Ids:
    """As stores have them: 32 hex digits, ascending."""
    ids = np.frombuffer(secrets.token_bytes(16 * count).hex().encode(), dtype="S32")
    return ids[order(ids)]


def audited(folder: Path, known: Ids) -> None:
    """An auditor's part of an audit, and the developer's question, but for the counting itself."""
    offered = np.concatenate([known[::2], some_ids(len(known) // 2)])
    offered = offered[order(offered)]
    ids = offered[find(offered, known) >= 0]
    ledger = Ledger(folder / "ledger", "auditor", simulated=True)
    plan = make_plan("sex", [], evaluation=[ONE], rules=RULES, epsilon=1.0, evaluation_epsilon=1.0, delta=1e-5)
    policy = Policy(epsilon=1.0)
    gate = Gate(
        auditor="auditor",
        run="run",
        ids=ids,
        training=0,
        known=known,
        plans={"sex": plan},
        policy=policy,
        rules=RULES,
        ledger=ledger,
        noise=SystemNoise(),
    )
    strata = torch.arange(len(ids)) % 2

    def ask(query: str) -> tuple[torch.Tensor, float]:
        records = np.arange(len(ids), dtype=np.int64)
        grant = gate.admit(Request("evaluation_counts", "sex", records, "developer", (2, 3), 3, query))
        value = gate.release(grant, PlainOpening(torch.zeros(2, 3, dtype=torch.float64), 2**16))
        assert value is not None
        return value, grant.receipt.sigma or 0.0

    ReleaseCache(folder / "answers", "terms").recall(Question("counts", "sex", "auditor", ids, strata, 2), ask)
    gate.summary()
    ledger.close()
    assert verify(folder / "ledger").entries > 4


def seconds_of(folder: Path, count: int) -> float:
    known = some_ids(count)
    began = time.process_time()
    audited(folder, known)
    return time.process_time() - began


@pytest.mark.long
def test_a_million_records(tmp_path: Path) -> None:
    """Half of them known to both sides."""
    few, many = (min(seconds_of(tmp_path / f"{count}-{n}", count) for n in range(2)) for count in (100_000, 1_000_000))
    assert many < 15 * few
    assert many < MOST_SECONDS * 1_000_000
    tracemalloc.start()
    try:
        audited(tmp_path / "traced", some_ids(1_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES_A_RECORD * 1_000_000
