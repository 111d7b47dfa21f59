"""A developer takes no auditor's word for what was released: a receipt of anything else ends the run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secure_fair.parties.secure_auditors
from secure_fair.errors import ProtocolError
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.messages import Granted, Message
from secure_fair.parties.secure_auditors import check_receipts
from secure_fair.privacy.entries import Receipt, records_hash
from secure_fair.privacy.request import Request
from tests.parties.company import Company, program, tiny

RECORDS = np.arange(40, dtype=np.int64)
WANTED = Request("moment", "male", RECORDS, "developer", (4, 1), 2)
HONEST = Receipt("run", 1, "auditor", "moment", "male", records_hash("table", RECORDS), 40, (4, 1), 2.5)


def check(*receipts: Receipt) -> None:
    check_receipts(receipts, [WANTED], run="run", auditor="auditor", table="table")


@pytest.mark.parametrize("sigma", [2.5, 0.0, None])
def test_a_receipt_of_what_was_wanted_is_taken(sigma: float | None) -> None:
    check(replace(HONEST, sigma=sigma))


@pytest.mark.parametrize(
    "lie",
    [
        {"run": "another"},
        {"auditor": "another"},
        {"operation": "group_counts"},
        {"attribute": "young"},
        {"of": "male x young"},
        {"records": records_hash("table", RECORDS[1:])},
        {"records": records_hash("another", RECORDS)},
        {"count": 39},
        {"shape": (4, 2)},
        {"sigma": -1.0},
        {"sigma": math.nan},
        {"sigma": math.inf},
    ],
    ids=str,
)
def test_a_receipt_of_anything_else_is_refused(lie: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="auditor gave a receipt"):
        check(replace(HONEST, **lie))


def test_there_is_one_for_each_release() -> None:
    for receipts in ((), (HONEST, replace(HONEST, number=2))):
        with pytest.raises(ProtocolError, match=f"gave {len(receipts)} receipts for 1 releases"):
            check(*receipts)


def false_receipts(arguments: list[str]) -> None:
    """An auditor that says that it has told of fewer people than it has."""
    send = messages.send

    def instead(network: Network, peer: str, message: Message, raw: bytes = b"") -> None:
        if isinstance(message, Granted):
            false = [replace(receipt, count=32) for receipt in message.receipts]
            message = message.model_copy(update={"receipts": false})
        send(network, peer, message, raw)

    messages.send = instead
    program(arguments)


def trusting(arguments: list[str]) -> None:
    """A developer that takes receipts on faith."""
    secure_fair.parties.secure_auditors.check_receipts = lambda *_, **__: None
    program(arguments)


@pytest.mark.parametrize("developer", [program, trusting])
def test_a_false_receipt_is_not_written_down(tmp_path: Path, weights: Path, stores: Path, developer: Any) -> None:
    entries = {"auditor": false_receipts, "developer": developer}
    with Company(tiny(weights), stores, tmp_path, timeout=6.0, entries=entries) as company:
        ended = company.wait(60)
    ledger = (tmp_path / "states" / "developer" / "ledger" / "ledger.jsonl").read_text()
    received = [json.loads(line) for line in ledger.splitlines() if '"received"' in line]
    if developer is trusting:
        assert {entry["count"] for entry in received} == {32}
        return
    assert ended["developer"].code == 4
    assert "auditor gave a receipt of something else" in ended["developer"].said
    assert received == []
