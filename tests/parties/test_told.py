"""What a party says to the others when it stops is made of public data: no place in its file system is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from parties import messages
from tests.parties.company import Company, Entry, secure_fair, tiny


def outspoken(arguments: list[str]) -> None:
    """An auditor that quotes every error to its peers."""
    messages.told = str  # type: ignore[assignment]
    secure_fair(arguments)


@pytest.mark.parametrize("auditor", [secure_fair, outspoken])
def test_the_place_of_a_damaged_file_is_not_told(tmp_path: Path, weights: Path, stores: Path, auditor: Entry) -> None:
    damaged = tmp_path / "states" / "auditor" / "responses" / "male.jsonl"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("damaged\n")
    scenario = tiny(weights, method={"name": "rr"}, privacy={"epsilon": 1.0, "evaluation_epsilon": 1.0})
    with Company(scenario, stores, tmp_path, timeout=6.0, entries={"auditor": auditor}) as company:
        ended = company.wait(60)
    assert ended["auditor"].code == 4
    assert ended["developer"].code != 0
    assert f"{damaged}: damaged; restore it from a backup" in ended["auditor"].said
    assert (str(damaged) in ended["developer"].said) == (auditor is outspoken)
    assert ("stopped by DamagedFile" in ended["developer"].said) == (auditor is secure_fair)
