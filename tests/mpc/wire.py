"""One party of a measurement on a real interface, in a process of its own: ``python -m tests.mpc.wire``.

Arguments: the party's name, the folder of its certificate, every party's address as JSON, and an interface. A compute
party prints, as JSON, its meter and what the interface has counted meanwhile.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from secure_fair.mpc import dealer
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.operations.moment import moment_on_shares
from secure_fair.parties.identity import load
from tests.mpc.values import AUDITOR, DEVELOPER, memberships, share, share_integers, unit_rows

DEALER = "dealer"
RECORDS, NUMBERS, CALLS = 50_000, 16, 3  # of a moment: 6.8 MB each way a call


def main(name: str, folder: str, addresses: dict[str, str], interface: str) -> None:
    torch.set_num_threads(1)
    network = Network(load(Path(folder)), addresses[name])
    network.connect({peer: address for peer, address in addresses.items() if peer != name}, {"engine": "1"})
    if name == DEALER:
        dealer.serve(network, [DEVELOPER, AUDITOR])
    else:
        session = Session.open(network, parties=[DEVELOPER, AUDITOR], dealer=DEALER)
        query = share(session, DEVELOPER, unit_rows(RECORDS, NUMBERS, 1))
        attributes = share_integers(session, AUDITOR, memberships(RECORDS, 1, 2))
        session.communicator.barrier()
        before = counters(interface)
        with session.meter.operation("bulk"):
            for _ in range(CALLS):
                moment_on_shares(session, query, attributes)
        session.communicator.barrier()
        time.sleep(0.5)  # the last acknowledgements
        after = counters(interface)
        print(json.dumps({"meter": vars(session.meter.summary()["bulk"]), "before": before, "after": after}))
        session.close()
    network.close()


def counters(interface: str) -> dict[str, int]:
    """Bytes that the kernel has sent and received through an interface of this namespace."""
    folder = Path("/sys/class/net") / interface / "statistics"
    return {way: int((folder / f"{way}_bytes").read_text()) for way in ("tx", "rx")}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4])
