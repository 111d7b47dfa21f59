"""Whom developer and auditors both have, in an audit: the developer offers its ids, every auditor says which it knows.

Before that all auditors have committed to their tables (``secure_fair.parties.commitments``), and with the offer the
developer commits to its own.

The developer so learns of each of its own records whether an auditor has it, and how many others that one has; an
auditor learns the keyed ids of all that the developer has decided about, which say whose they are to who has the
auditor's records or can guess their ids under the key.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secure_fair.data.store import AuditorStore
from secure_fair.errors import Refusal
from secure_fair.ids import Ids, find, repeated
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.config import RunConfig
from secure_fair.parties.messages import Known, Offer


@dataclass(frozen=True)
class Met:
    """The records that all have: ``rows`` of the developer's, int64. ``others``: by auditor, how many of its own the
    developer does not have; ``unknown``: by auditor, how many of the developer's it does not have."""

    rows: np.ndarray
    others: dict[str, int]
    unknown: dict[str, int]


@dataclass(frozen=True)
class Offered:
    """An auditor's part of the meeting: the ids that were offered, and the developer's commitment to its table; empty
    where there is none."""

    commitment: str = ""
    ids: Ids | None = None


def meet(config: RunConfig, network: Network, ids: Ids, commitment: str = "") -> Met:
    """The developer's side. ``commitment``: to its table. Refusal where nobody is known to all."""
    for auditor in config.auditors:
        messages.send(network, auditor, Offer(count=len(ids), commitment=commitment), messages.pack_ids(ids))
    common, others, unknown = np.ones(len(ids), dtype=bool), {}, {}
    for auditor in config.auditors:
        known, raw = messages.expect(network, auditor, Known)
        here = messages.unpack_parts(raw, [auditor], len(ids))[auditor]
        common &= here
        others[auditor], unknown[auditor] = known.others, int((~here).sum())
    if not common.any():
        raise Refusal("no record is known to the developer and every auditor: the ids, or the keys of ids, differ")
    return Met(np.flatnonzero(common), others, unknown)


def tell_known(config: RunConfig, network: Network, store: AuditorStore) -> Offered:
    """An auditor's side. Refusal where an id is offered twice."""
    offer, raw = messages.expect(network, config.developer, Offer)
    ids = messages.unpack_ids(raw, offer.count)
    if repeated(ids):
        raise Refusal("an id was offered twice: a record is decided about once")
    here = find(ids, store.known) >= 0
    known = Known(others=len(store.known) - int(here.sum()))
    messages.send(network, config.developer, known, messages.pack_part(here))
    return Offered(offer.commitment, ids)
