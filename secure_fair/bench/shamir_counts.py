"""The counts of an audit, or a moment, by MPyC, three parties with Shamir's shares, for comparison.

``python FILE RECORDS GROUPS COLUMNS counts -M3``: one party has the groups, another what was decided, of so many
columns, and the first learns how many of each group were decided upon how. With ``moment`` it has so many integers in
units of 2^-8 in place of a decision, and learns their sums by group. There is no noise, nothing is proved, nothing
confirmed or signed, and parties are honest but curious: that is what it is compared without. Prints seconds after the
input was made, bytes sent, and the largest resident size, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from mpyc.runtime import mpc

PRIME = 2**61 - 1
UNITS = 1 << 8


async def main(records: int, groups: int, columns: int, moment: bool) -> None:
    """Compute once; the party of number 0 says what it cost it."""
    draw = np.random.default_rng(0)
    codes, strata = draw.integers(0, groups, records), draw.integers(0, columns, records)
    query = draw.integers(-UNITS, UNITS + 1, (records, columns)) if moment else np.eye(columns, dtype=np.int64)[strata]
    held = np.eye(groups, dtype=np.int64)[codes][:, 1 if groups == 2 else 0 :]  # two groups are one column
    kind = mpc.SecFld(PRIME)
    members = kind.field.array(held.astype(object) * (mpc.pid == 1))
    rows = kind.field.array(query.astype(object) * (mpc.pid == 0))
    await mpc.start()
    began = time.perf_counter()
    theirs = mpc.input(kind.array(members), senders=1)
    own = mpc.input(kind.array(rows), senders=0)
    sums = await mpc.output(mpc.np_matmul(mpc.np_transpose(own), theirs), receivers=0)
    seconds = time.perf_counter() - began
    sent = sum(peer.protocol.nbytes_sent for peer in mpc.parties if peer.pid != mpc.pid)
    by_all = sum(await mpc.transfer(sent))
    await mpc.shutdown()
    if mpc.pid == 0:
        found = np.asarray(sums.signed_(), dtype=np.int64)
        assert (found == query.T @ held).all()
        lines = Path("/proc/self/status").read_text().splitlines()
        memory = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
        cost = {"seconds": seconds, "processor": time.process_time(), "sent": sent, "memory": memory}
        print(json.dumps({**cost, "by_all": by_all}))


if __name__ == "__main__":
    mpc.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "moment"))
