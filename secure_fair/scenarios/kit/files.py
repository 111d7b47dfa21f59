"""The files of a deployment's kit, written below one folder: a folder for each party, to be handed to it as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from secure_fair.errors import UsageError
from secure_fair.files import atomic_write
from secure_fair.scenarios import assemble
from secure_fair.scenarios.apart import check_apart
from secure_fair.scenarios.kit import steps as kit_steps
from secure_fair.scenarios.kit.steps import OWN, POLICY, RELAY, RUN, SCENARIO, Deployment, Step, run_command, steps
from secure_fair.scenarios.policies import template as policy_template
from secure_fair.scenarios.schema import Scenario
from secure_fair.sections import listed

if TYPE_CHECKING:
    from jinja2 import Template

_ADDRESS = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\]):(\d{1,5})")  # it goes into scripts
README, SERVICE = "README.md", "secure-fair-{party}.service"


def deployment(
    scenario: Scenario, given: tuple[str, ...], authority: str | None, relay: str | None = None
) -> Deployment:
    """The deployment of a scenario with NAME=HOST:PORT for each party, or with a relay's HOST:PORT in their place;
    UsageError with everything that is wrong."""
    check_apart(scenario)
    kit = Deployment(own_places(scenario), {}, authority or assemble.DEVELOPER, relay)
    problems: list[str] = []
    if relay is None:
        kit.addresses.update(_addresses(given, kit.parties, problems))
    elif given:
        problems.append("--party and --relay: with a relay nobody needs the parties' addresses; leave one of them out")
    elif not _is_address(relay):
        problems.append(f"--relay {relay}: expected HOST:PORT, for instance relay.example.org:7800")
    if kit.authority not in kit.parties:
        problems.append(f"--authority {kit.authority}: the parties of this scenario are {listed(kit.parties)}")
    if RELAY in kit.auditors and relay is not None:
        problems.append(f"secure.auditors: {RELAY!r} is the relay's folder; name the auditor otherwise")
    if problems:
        raise UsageError(problems)
    return kit


def _addresses(given: tuple[str, ...], names: tuple[str, ...], problems: list[str]) -> dict[str, str]:
    """HOST:PORT by party, in the order of ``names``; what is wrong goes to ``problems``."""
    found: dict[str, str] = {}
    for text in given:
        name, _, address = text.partition("=")
        if not _is_address(address):
            problems.append(f"--party {text}: expected NAME=HOST:PORT, for instance auditor=auditor.example.org:7700")
        elif name not in names or name in found:
            problems.append(f"--party {text}: the parties of this scenario are {listed(names)}, each once")
        else:
            found[name] = address
    if not problems:
        problems += [f"--party {name}=HOST:PORT: is missing" for name in names if name not in found]
    return {name: found[name] for name in names if name in found}


def _is_address(address: str) -> bool:
    match = _ADDRESS.fullmatch(address)
    return match is not None and 0 < int(match[2]) < 65536


def own_places(scenario: Scenario) -> Scenario:
    """The same with every file of a party's below its folder ``own``: paths are part of what all agree on."""
    data = scenario.data
    if data.root is not None:
        data = data.model_copy(update={"root": OWN})
    if data.auditor is not None and data.auditor.root is not None:
        data = data.model_copy(update={"auditor": data.auditor.model_copy(update={"root": OWN})})
    backbone = scenario.backbone
    if backbone.weights is not None and "/" in backbone.weights:
        backbone = backbone.model_copy(update={"weights": f"{OWN}/{Path(backbone.weights).name}"})
    return scenario.model_copy(update={"data": data, "backbone": backbone, "compare": ()})


def write_kit(kit: Deployment, folder: Path) -> dict[str, Path]:
    """Write everybody's folder below ``folder``, which must not exist; returns them by party."""
    if folder.exists():
        raise UsageError(f"{folder}: exists already; name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    folders = kit.parties if kit.relay is None else (*kit.parties, RELAY)
    with atomic_write(folder) as new:
        for party in folders:
            (new / party).mkdir(parents=True)
            if party in kit.holders:
                (new / party / OWN).mkdir()
            for name, text in texts(kit, party).items():
                (new / party / name).write_text(text, encoding="utf-8")
    return {party: folder / party for party in folders}


def texts(kit: Deployment, party: str) -> Mapping[str, str]:
    """The files of one party by their names."""
    everybody = steps(kit)
    own = [step for step in everybody if step.party == party]
    facts = {
        "party": party,
        "kit": kit,
        "port": kit.port(party),
        "steps": own,
        "received": {step.number: received(everybody, step, party) for step in own},
        "command": run_command(kit, party),
        "names": kit_steps,
        "start": next(step for step in own if any(RUN in command for command in step.commands)),
    }
    written = {
        README: "README.md",
        RUN: "run.sh",
        "Dockerfile": "Dockerfile",
        ".dockerignore": "dockerignore",
        "compose.yaml": "compose.yaml",
        SERVICE.format(party=party): "party.service",
    }
    found = {name: _template(source).render(facts) for name, source in written.items()}
    if party != RELAY:
        found[SCENARIO] = kit.scenario.to_toml()
    if party in kit.auditors:
        found[POLICY] = policy_template()
    return found


def received(everybody: list[Step], step: Step, party: str) -> list[tuple[str, str]]:
    """Name and sender of each file that the party was sent since its step before, and needs for this one."""
    before = max((one.number for one in everybody if one.party == party and one.number < step.number), default=0)
    return [
        (send.name, one.party)
        for one in everybody
        for send in one.sends
        if send.to == party and before <= one.number < step.number
    ]


def _template(name: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    source = (files("secure_fair.scenarios.kit") / f"{name}.jinja").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(source)
