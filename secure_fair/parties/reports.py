"""A party's report of its own part of a run: costs, traffic, and what its gate let out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_fair.errors import (
    BudgetExceeded,
    PartyLost,
    ProtocolError,
    Refusal,
    RunRefused,
    SecureFairError,
    UsageError,
)
from secure_fair.files import atomic_write
from secure_fair.mpc.cost import Meter
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.config import Endpoint
from secure_fair.stopping import cause

if TYPE_CHECKING:
    from secure_fair.privacy.gate import Gate

REPORT = "party.json"
EXCUSE_SECONDS = 5.0


def write_party_report(out: Path, name: str, meter: Meter | None, network: Network | None, gate: Gate | None) -> None:
    """Write ``party.json``: cost per operation, bytes per peer, and an auditor's account of what it released."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    traffic = network.traffic() if network else {}
    report: dict[str, Any] = {
        "party": name,
        "cost": {operation: asdict(cost) for operation, cost in meter.summary().items()} if meter else {},
        "traffic": {f"{peer}/{channel}": asdict(counted) for (peer, channel), counted in traffic.items()},
        "privacy": gate.summary() if gate else {},
        "records": gate.records_summary() if gate else {},
    }
    with atomic_write(out / REPORT) as file:
        file.write_text(json.dumps(report, indent=2) + "\n")


@contextmanager
def excused(endpoint: Endpoint) -> Iterator[None]:
    """Tell the peers at once where this party cannot begin; else each of them waits for it until its time is over.

    Peers that are not there within ``EXCUSE_SECONDS`` are not waited for.
    """
    try:
        yield
    except UsageError as error:
        with suppress(SecureFairError):
            network = Network(endpoint.credentials, endpoint.listen, timeout=endpoint.timeout, link=endpoint.link)
            patience = threading.Timer(EXCUSE_SECONDS, network.close)
            patience.start()
            try:
                network.connect(endpoint.peers, endpoint.agreement, endpoint.fingerprints)
                leave(network, error)
            finally:
                patience.cancel()
                network.close()
        raise


def leave(network: Network, error: BaseException) -> None:
    """Tell the peers why this party goes, and whom it has lost; what one refuses ends the run of all as a refusal."""
    error = cause(error)
    culprit = error.party if isinstance(error, PartyLost) else None
    code = PartyLost.exit_code
    if isinstance(error, BudgetExceeded | Refusal | RunRefused | ProtocolError):
        code = error.exit_code
    network.abort(messages.told(error), culprit, code)
