"""The steps of each party of a deployment, command by command, and which file goes to whom in between.

Steps have one order for all parties. Every party's commands are run in that party's own folder, where the files that it
is sent are put under the names given here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from secure_fair.scenarios import assemble
from secure_fair.scenarios.people import NAMES
from secure_fair.scenarios.schema import Scenario

OWN = "own"  # the folder of a party's own files, which nobody else sees
SCENARIO, ROSTER, KEY, POLICY, RUN = "scenario.toml", "parties.toml", "join.key", "policy.toml", "run.sh"
RELAY, TOKEN = "relay", "relay.token"
TIMEOUT = 300  # seconds: people start the parties
HEALTH = "127.0.0.1:7701"  # where a party tells its health, in a container of its own
ID_COLUMN = "id"


@dataclass(frozen=True)
class Send:
    """A file that goes to another party, which keeps it under another name."""

    file: str
    to: str
    name: str


@dataclass(frozen=True)
class Step:
    """One party's part of a step: what it runs, what it then sends, and what it should know of it."""

    title: str
    party: str
    commands: tuple[str, ...]
    sends: tuple[Send, ...] = ()
    note: str = ""
    number: int = 0


@dataclass(frozen=True)
class Deployment:
    """A scenario and where its parties are: HOST:PORT by name, or ``relay``, by which all of them reach each other.
    ``authority``: who signs the names."""

    scenario: Scenario
    addresses: dict[str, str]
    authority: str
    relay: str | None = None

    @cached_property
    def auditors(self) -> tuple[str, ...]:
        """Names of the auditors."""
        return tuple(auditor.name for auditor in self.scenario.secure.auditors)

    @property
    def holders(self) -> tuple[str, ...]:
        """Everybody who holds data: not the dealer."""
        return (assemble.DEVELOPER, *self.auditors)

    @property
    def parties(self) -> tuple[str, ...]:
        """Names of all parties."""
        return (*self.holders, assemble.DEALER)

    @property
    def shared(self) -> bool:
        """Whether the auditors' people are the developer's."""
        return self.scenario.data.auditor is None

    def port(self, party: str) -> str | None:
        """Where a party is reached; None where it is reached by the relay."""
        address = self.relay if party == RELAY else self.addresses.get(party)
        return None if address is None else address.rpartition(":")[2]


def steps(kit: Deployment) -> list[Step]:
    """All steps, numbered; parties whose numbers are equal need not wait for each other."""
    groups = [*_identities(kit), *_stores(kit), *_run(kit)]
    return [replace(step, number=number) for number, group in enumerate(groups, 1) for step in group]


def _identities(kit: Deployment) -> Iterator[Sequence[Step]]:
    who, parties = kit.authority, kit.parties

    def request_of(name: str) -> str:
        return f"ids/{name}/request.pem" if name == who else f"{name}-request.pem"

    def signed(name: str) -> str:
        return f"ids/authority/signed/{name}.pem"

    yield [
        Step(
            "Make a key of your own, which never leaves this machine",
            name,
            (*(["secure-fair identity init ids"] if name == who else []), f"secure-fair identity request ids {name}"),
            () if name == who else (Send(f"ids/{name}/request.pem", who, request_of(name)),),
        )
        for name in parties
    ]
    yield [
        Step(
            "Sign the requests, having made sure who sent each",
            who,
            tuple(f"secure-fair identity sign ids {name} {request_of(name)}" for name in parties),
            tuple(Send(signed(name), name, f"{name}.pem") for name in parties if name != who),
        )
    ]
    yield [
        Step(
            "Accept the signed certificate",
            name,
            (f"secure-fair identity accept ids/{name} {signed(name) if name == who else f'{name}.pem'}",),
        )
        for name in parties
    ]
    yield [
        Step(
            "Write down everybody's fingerprint",
            who,
            (f"secure-fair identity agree ids/authority/signed/*.pem --out {ROSTER}",),
            tuple(Send(ROSTER, name, ROSTER) for name in parties if name != who),
        )
    ]
    yield [
        Step(
            "Compare the fingerprints",
            name,
            (f"secure-fair identity show ids/{name}",),
            note=f"Read this fingerprint to the others, by telephone for instance, and compare every line of {ROSTER} "
            "with what that party itself says: nobody can then pose as one of you, the authority neither.",
        )
        for name in parties
    ]


def _stores(kit: Deployment) -> Iterator[Sequence[Step]]:
    maker = kit.auditors[0]
    if kit.shared:
        yield [
            Step(
                "Make the join key, now that all have the same scenario",
                maker,
                (f"secure-fair data join-key {KEY}",),
                tuple(Send(KEY, name, KEY) for name in kit.holders if name != maker),
                note="By a way that nobody else can read, and never to the dealer: it makes the ids of the records.",
            )
        ]
    else:
        title = "Make a key for the ids of your own records, for yourself alone"
        yield [Step(title, name, (f"secure-fair data join-key {KEY}",)) for name in kit.holders]
    yield [_auditors_store(kit, name) for name in kit.auditors]
    held = "".join(f" --held {name}=held-{name}.csv" for name in kit.auditors) if kit.shared else ""
    yield [
        Step(
            "Prepare the store",
            assemble.DEVELOPER,
            (f"secure-fair data prepare developer {SCENARIO} --join-key {KEY}{held} --out data",),
            note=_developers_files(kit),
        )
    ]
    yield [
        Step(
            "Read your policy, and change it",
            name,
            (f"secure-fair policy check {POLICY}",),
            note=f"{POLICY} says what this auditor lets out, whatever the scenario asks for: `epsilon` is what a "
            f"person may cost for life. With `{SCENARIO} --records N` behind it the command says whether its plan "
            "fits, N being the number of records to train on.",
        )
        for name in kit.auditors
    ]


def _auditors_store(kit: Deployment, name: str) -> Step:
    several = f" --name {name}" if len(kit.auditors) > 1 else ""
    command = f"secure-fair data prepare auditor {SCENARIO} --join-key {KEY}{several}"
    if not kit.shared:
        note = f"Your data set, with pictures, is in `{OWN}` (a link will do).{_weights(kit)}"
        return Step("Prepare the store", name, (f"{command} --out data",), note=note)
    attributes = next(one.attributes for one in kit.scenario.secure.auditors if one.name == name)
    column = kit.scenario.data.id_column or ID_COLUMN
    return Step(
        "Prepare the store",
        name,
        (f"{command} --table {OWN}/table.csv --id {shlex.quote(column)} --out data",),
        (Send("data/held.csv", assemble.DEVELOPER, f"held-{name}.csv"),),
        f"Your table is `{OWN}/table.csv`: a column `{column}` of the ids that the developer knows too, and the "
        f"columns of {', '.join(f'`{attribute}`' for attribute in attributes)}. The join key's fingerprint, which is "
        "printed, must be the others' as well.",
    )


def _developers_files(kit: Deployment) -> str:
    data = kit.scenario.data
    what = f"`{OWN}/{data.file}`" if data.file is not None else f"`{OWN}`"
    read = "no column of an attribute is read"
    return f"Your data set ({data.dataset}) is in {what} (a link will do); {read}.{_weights(kit)}"


def _weights(kit: Deployment) -> str:
    weights = kit.scenario.backbone.weights
    return f" The backbone's weights are `{weights}`." if weights is not None and weights.startswith(OWN) else ""


def _run(kit: Deployment) -> Iterator[Sequence[Step]]:
    if kit.relay is not None:
        yield [
            Step(
                "Start the relay, and leave it running",
                RELAY,
                (f"sh {RUN}",),
                tuple(Send(TOKEN, name, TOKEN) for name in kit.parties),
                f"The first start makes `{TOKEN}`.",
            )
        ]
    yield [
        Step(
            "Start, all within five minutes of each other",
            name,
            (f"sh {RUN}{' --new-state' if name in kit.holders else ''}",),
            note="`--new-state` begins the ledger, in the first run of all and in no other."
            if name in kit.holders
            else "",
        )
        for name in kit.parties
    ]
    developer = assemble.DEVELOPER
    exchange: dict[str, tuple[Send, ...]] = {
        name: (Send("out/ledger.jsonl", developer, f"ledger-{name}.jsonl"),) for name in kit.auditors
    }
    exchange[developer] = tuple(Send("out/ledger.jsonl", name, f"ledger-{developer}.jsonl") for name in kit.auditors)
    yield [
        Step("Look through your ledger", name, ("secure-fair ledger verify state/ledger",), exchange[name])
        for name in kit.holders
    ]
    others = dict.fromkeys(kit.auditors, (developer,)) | {developer: kit.auditors}
    yield [
        Step(
            "Compare it with the other side's",
            name,
            tuple(f"secure-fair ledger verify out/ledger.jsonl ledger-{other}.jsonl" for other in others[name]),
        )
        for name in kit.holders
    ]
    yield [
        Step(
            "Read the predictions under your own names",
            developer,
            (f"secure-fair data predictions out --names data/{NAMES} --output predictions.csv",),
        )
    ]


def run_command(kit: Deployment, party: str) -> list[str]:
    """The command that starts a party, in lines of which every one but the last goes on."""
    if party == RELAY:
        return [f"secure-fair party relay --listen 0.0.0.0:{kit.port(party)} --token {TOKEN}"]
    role = party if party in (assemble.DEVELOPER, assemble.DEALER) else "auditor"
    lines = [
        f"secure-fair party {role} --scenario {SCENARIO} --identity ids/{party} --parties {ROSTER}",
        f"--timeout {TIMEOUT} --out out",
    ]
    if kit.relay is None:
        lines.append(f"--listen 0.0.0.0:{kit.port(party)}")
        lines += [f"--peer {name}={address}" for name, address in kit.addresses.items() if name != party]
    else:
        lines.append(f"--relay {kit.relay} --relay-token {TOKEN}")
    if party in kit.holders:
        lines.append(f"--store data/{party} --state state")
    if role == "auditor":
        lines.append(f"--policy {POLICY}")
    return lines
