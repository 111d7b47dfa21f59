"""The draw of an audit's sample: by an auditor, from everybody that the developer offers, and neither side can choose.

 1. The auditor draws a seed and commits to it, before it has been offered anything.
 2. The developer sends the records that take part, and a nonce of its own.
 3. The sample are the records with the smallest HMACs under the seed, of nonce and id.

The developer knows nothing of the seed: who is not drawn takes part as a group "not drawn", and whether somebody is in
it is as secret as any attribute. So it can neither choose its records by the sample nor decide otherwise about those
who are in it; nor what table it says later that it had, for it commits to that beforehand. The auditor is committed to
its seed before it sees the nonce. Whoever doubts that has the auditor open its seed, which it keeps (``secure-fair
certificate dispute``). That it counts those who were drawn rests on its word until then, as its attributes do.

A sample is worth what it is drawn from: ``coverage`` of the policy is how much of its own records the auditor wants to
see offered.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.errors import ProtocolError, Refusal
from secure_fair.files import private_folder, write_bytes
from secure_fair.ids import Ids
from secure_fair.parties.config import Promise, RunConfig
from secure_fair.parties.messages import Committed

NOT_DRAWN = "not drawn"
DRAW = "draw.json"
BYTES = 32
_DOMAIN = b"secure-fair draw 1 "


def new_nonce() -> str:
    """A random text of either side, hex."""
    return secrets.token_hex(BYTES)


def commitment_to(seed: str) -> str:
    """The commitment to a seed, SHA-256 in hex: the seed has 256 bits that nobody else knows."""
    return hashlib.sha256(_DOMAIN + bytes.fromhex(seed)).hexdigest()


def sample(seed: str, nonce: str, ids: Ids, size: int) -> np.ndarray:
    """Who of these is drawn, bool (n,), ``size`` of them."""
    key, prefix = bytes.fromhex(seed), _DOMAIN + bytes.fromhex(nonce)
    marks = [hmac.digest(key, prefix + name, "sha256") for name in ids.tolist()]
    drawn = np.zeros(len(ids), dtype=bool)
    drawn[sorted(range(len(ids)), key=marks.__getitem__)[:size]] = True
    return drawn


@dataclass(frozen=True)
class Draw:
    """An auditor's draw from ``of`` records."""

    seed: str
    nonce: str
    drawn: np.ndarray  # bool (of,)

    @classmethod
    def of(cls, promise: Promise, seed: str, nonce: str, ids: Ids, held: int) -> Draw:
        """Draw from the ``ids`` that take part; ``held``: all records that this auditor has. Refusal where it wanted
        to see more of them."""
        if len(nonce) != 2 * BYTES:
            raise ProtocolError("a sample is drawn, and the developer has sent no nonce for it")
        if len(ids) < promise.coverage * held:
            raise Refusal(
                f"{len(ids)} of this auditor's {held} records take part, {100 * len(ids) / held:.1f} %; its policy has "
                f"coverage = {promise.coverage:g}: offer everybody about whom there are decisions"
            )
        return cls(seed, nonce, sample(seed, nonce, ids, promise.sample or len(ids)))

    @property
    def facts(self) -> dict[str, Any]:
        """Everything of it that all may know."""
        return draw_facts(commitment_to(self.seed), self.nonce, int(self.drawn.sum()), len(self.drawn))

    def codes(self, codes: np.ndarray, groups: int) -> np.ndarray:
        """An attribute's codes with a group behind its ``groups`` for who was not drawn."""
        return np.where(self.drawn, codes, groups)

    def keep(self, out: Path) -> None:
        """Keep the seed, to open it."""
        private_folder(out)
        write_bytes(out / DRAW, (json.dumps({"seed": self.seed, **self.facts}, indent=2) + "\n").encode())


def draw_facts(coin: str, nonce: str, drawn: int, of: int) -> dict[str, Any]:
    """A draw as report and certificate have it."""
    return {"drawn": drawn, "of": of, "commitment": coin, "nonce": nonce}


def draws_of(config: RunConfig, heard: Mapping[str, Committed], nonce: str, of: int) -> dict[str, dict[str, Any]]:
    """The same of every auditor that draws, as the developer knows it from what it has ``heard``."""
    return {
        name: draw_facts(heard[name].coin, nonce, min(promise.sample, of), of)
        for name, promise in config.promises.items()
        if promise.sample is not None
    }
