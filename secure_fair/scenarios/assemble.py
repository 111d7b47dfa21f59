"""From a scenario to the values that the parties work with."""

from __future__ import annotations

import importlib.metadata
from itertools import islice
from pathlib import Path
from typing import Protocol

from secure_fair.errors import UsageError
from secure_fair.learning.settings import ModelSettings
from secure_fair.mpc.link import LinkSettings
from secure_fair.mpc.transport import Credentials
from secure_fair.operations import OPERATIONS
from secure_fair.parties.config import FINGERPRINTS, RESUMED, Endpoint, RunConfig
from secure_fair.parties.roster import Roster
from secure_fair.privacy.policy import Policy
from secure_fair.scenarios.schema import Scenario

DEVELOPER = "developer"
DEALER = "dealer"
LEDGER = "ledger"  # in a state folder
AGREED_VERSIONS = ("secure-fair", "torch", "crypten")


def run_config(scenario: Scenario) -> RunConfig:
    """The values that all parties of the scenario must have in common."""
    auditors = scenario.secure.auditors
    return RunConfig(
        seed=scenario.seed,
        developer=DEVELOPER,
        dealer=DEALER,
        auditors=tuple(auditor.name for auditor in auditors),
        holders={
            attribute: tuple(auditor.name for auditor in auditors if attribute in auditor.attributes)
            for attribute in scenario.data.sensitive
        },
        model=ModelSettings(scenario.backbone, scenario.lora, scenario.data.image_size),
        train=scenario.train,
        method=scenario.method,
        precision_bits=scenario.secure.precision_bits,
        privacy=scenario.privacy,
        own_records=scenario.data.auditor_records == "own",
        parted=tuple(auditor.name for auditor in auditors if auditor.records is not None),
        intersections=scenario.data.joint_attributes,
        penalised=scenario.penalised,
        claims=scenario.secure.claims,
        certified=bool(scenario.secure.claims),
    )


def policy(scenario: Scenario, file: Path | None, *, simulated: bool) -> Policy:
    """The auditor's rules: its own file. In a simulation alone the scenario's ``[policy]`` may stand for one."""
    if file is not None:
        return Policy.load(file, known=OPERATIONS)
    if not simulated:
        raise UsageError(
            "--policy FILE: is missing; what an auditor lets out is for its own file to say, never for the scenario: "
            "write one with `secure-fair policy init FILE`, and read it"
        )
    return scenario.policy


def check_state(folder: Path, *, new: bool) -> None:
    """UsageError unless a state folder that holds no ledger is a ``new`` one, and one that holds more than a begun one
    is not."""
    ledger = folder / LEDGER / "ledger.jsonl"
    if not ledger.exists() and not new:
        raise UsageError(
            f"--state {folder}: holds no ledger, and without one every budget begins at zero; correct the path, or "
            "give --new-state if this is the first run of all about these people"
        )
    if new and _entries(ledger) > 1:
        raise UsageError(f"--state {folder}: holds a ledger already; leave --new-state out, so that it is gone on with")


def _entries(ledger: Path) -> int:
    """The number of a ledger's entries, counted to 2: the first is its creation."""
    if not ledger.exists():
        return 0
    with ledger.open("rb") as lines:
        return sum(1 for _ in islice(lines, 2))


class Agreed(Protocol):
    """Terms that all parties have, and compare by their hash: a scenario, or those of an audit."""

    @property
    def link(self) -> LinkSettings:
        """The timing of their connections."""

    def hash(self) -> str:
        """SHA-256, hex."""


def agreement(scenario: Agreed) -> dict[str, str]:
    """The facts that every pair of parties compares before anything else."""
    versions = {f"version of {name}": importlib.metadata.version(name).split("+")[0] for name in AGREED_VERSIONS}
    return {"scenario": scenario.hash(), **versions}


def endpoint(
    scenario: Agreed,
    credentials: Credentials,
    listen: str,
    peers: dict[str, str],
    *,
    timeout: float,
    simulated: bool,
    roster: Roster | None = None,
    resumed: bool = False,
    wait: float | None = None,
) -> Endpoint:
    """Where a party stands in this scenario, and whom it takes for its peers."""
    agreed = {**agreement(scenario), RESUMED: "given" if resumed else "not given"}
    if roster is not None:
        agreed[FINGERPRINTS] = roster.digest
    return Endpoint(
        credentials,
        listen,
        peers,
        agreed,
        fingerprints=None if roster is None else dict(roster.fingerprints),
        timeout=timeout,
        link=scenario.link,
        simulated=simulated,
        resumed=resumed,
        wait=wait,
    )
