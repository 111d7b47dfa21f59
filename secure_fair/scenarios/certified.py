"""The certificate of a simulation, beside its answer: who reads that looks for both in one folder."""

from __future__ import annotations

import json
from pathlib import Path

from secure_fair.files import write_bytes
from secure_fair.parties import envelope
from secure_fair.parties.roster import Roster
from secure_fair.parties.sealing import CERTIFICATE
from secure_fair.scenarios import assemble


def keep_certificate(out: Path) -> None:
    """Put the certificate, and the fingerprints of this simulation's parties, where they are looked for."""
    content = (out / assemble.DEVELOPER / CERTIFICATE).read_bytes()
    payload, _ = envelope.read(content)
    write_bytes(out / CERTIFICATE, content)
    Roster("this simulation", json.loads(payload)["predicate"]["parties"]).write(out / "parties.toml")
