"""Training by this program beside the same without it: every engine trains, and the page tells what it took."""

from __future__ import annotations

import pytest

from secure_fair.bench.report import BenchReport
from secure_fair.bench.training import OWN, PEERS, measure_training

pytestmark = pytest.mark.slow


def test_every_engine_trains_on_the_same_pictures_and_learns() -> None:
    heard: list[str] = []
    rows = measure_training(heard.append, records=320)
    assert [row.engine for row in rows] == heard == [*PEERS.values(), *(engine for engine, _ in OWN.values())]
    assert all(0 < row.epoch < row.whole for row in rows)
    assert all(row.accuracy > 0.75 for row in rows), rows
    page = BenchReport(2, 8, 12, 1, [], None, training=rows).page()
    assert " --training --out docs/bench.md" in page
    assert all(f"| {row.engine} | {row.epoch:.1f} |" in page for row in rows)
    assert "## Training" not in BenchReport(2, 8, 12, 1, [], None).page()
