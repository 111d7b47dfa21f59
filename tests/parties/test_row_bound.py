"""A developer that sends rows longer than the noise is made for: it cannot prove them, and the ledger says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import Tensor

from secure_fair.attacks.common.lies import lie_about_rows
from tests.parties.company import Company, program, tiny


def stretching_developer(arguments: list[str]) -> None:
    """The developer's program with queries whose entries are within 1 and whose rows are not."""
    from secure_fair.learning.memberships import source
    from secure_fair.learning.memberships.regression import query_matrix

    def stretched(features: Tensor, predicted: Tensor, strata: Tensor, count: int, components: int) -> Tensor:
        honest = query_matrix(features, predicted, strata, count, components)
        return 0.0 * honest + 0.9  # every row: 16 times 0.9, a norm of 3.6

    source.query_matrix = stretched
    lie_about_rows()
    program(arguments)


@pytest.mark.parametrize("row_bounds", ["check", "trust"])
def test_long_rows_are_refused_where_they_are_checked(
    tmp_path: Path, weights: Path, stores: Path, row_bounds: str
) -> None:
    policy = {"row_bounds": row_bounds}
    if row_bounds == "trust":
        policy["developer"] = "follows the protocol"
    scenario = tiny(weights, privacy={"epsilon": 1.0}, policy=policy)
    with Company(scenario, stores, tmp_path, entries={"developer": stretching_developer}) as company:
        ended = company.wait(100)
    entries = [
        json.loads(line)
        for line in (company.folder / "states" / "auditor" / "ledger" / "ledger.jsonl").read_text().splitlines()
    ]
    moments = [entry for entry in entries if entry["kind"] == "planned" and entry["operation"] == "moment"]
    refused = [entry for entry in entries if entry["kind"] == "refused"]
    if row_bounds == "trust":  # the attack succeeds: a row counts 3.6 times as much as the noise is made for
        assert ended["developer"].code == 0
        assert moments
        assert not refused
        return
    assert ended["auditor"].code == 4
    assert ended["developer"].code == 4
    assert "developer has not proved that its input keeps to its bound" in ended["auditor"].said
    assert "has not proved" in ended["developer"].said
    assert [entry["operation"] for entry in refused] == ["moment"]
    assert not moments  # nothing was opened or spent
