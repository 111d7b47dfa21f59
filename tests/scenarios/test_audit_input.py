"""An audit whose parties fail leaves nothing; what is wrong before they start is among ``tests/refusals``."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_fair.errors import ProcessFailed
from secure_fair.scenarios import audit
from tests.refusals.audits import Asked
from tests.refusals.case import inside


def test_an_audit_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise ProcessFailed("lost city", 5)

    case = Asked("lost city", code=5).case()
    case.set_up(tmp_path, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audit, "run_parties", lost)
    before = inside(tmp_path)
    case.check(case.invoke(tmp_path))
    assert inside(tmp_path) == before
