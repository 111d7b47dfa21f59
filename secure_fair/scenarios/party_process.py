"""One party of a scenario on this machine, from its command line to its end."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from secure_fair.errors import UsageError
from secure_fair.mpc.addresses import held_addresses
from secure_fair.mpc.tunnel import Tunnel
from secure_fair.parties import identity as identities
from secure_fair.parties.config import Endpoint, Folders, RunConfig
from secure_fair.parties.health import HealthServer
from secure_fair.parties.reports import excused
from secure_fair.parties.roster import Roster
from secure_fair.scenarios import assemble
from secure_fair.scenarios.audit_terms import AuditTerms, digest_of
from secure_fair.scenarios.failure import check_place, note_failed_party
from secure_fair.scenarios.progress import Reporter, WatchedReporter, reporter
from secure_fair.scenarios.relay import host_and_port, read_token
from secure_fair.scenarios.schema import Scenario
from secure_fair.stopping import cause

STDIN = 0
LISTEN = "0.0.0.0:7700"
PATIENCE = 3.0  # seconds for leaving in good order


@dataclass(frozen=True, kw_only=True)
class PartyOptions:
    """The options of a party's command line, by their names there but ``source`` (--scenario), ``roster`` (--parties),
    ``peers`` (--peer) and ``lost`` (--ledger-lost)."""

    source: str | None = None
    audit: Path | None = None
    identity: Path
    roster: Path | None = None
    listen: str | None
    peers: tuple[str, ...]
    relay: str | None = None
    relay_token: Path | None = None
    out: Path
    timeout: float  # seconds
    wait: float | None = None  # seconds
    health: str | None = None
    resume: bool = False
    simulated: bool
    store: Path | None = None
    state: Path | None = None
    new_state: bool = False
    lost: tuple[str, ...] = ()
    policy: Path | None = None


class PartyProcess:
    """A party with what its command line gave it, checked; a context that closes its progress display."""

    def __init__(self, output_format: str, role: str, given: PartyOptions) -> None:
        self.agreed = agreed(given.source, given.audit)
        self.config = run_config_of(self.agreed)
        self.folders = Folders(store=given.store or given.out, out=given.out, state=given.state or given.out)
        self._policy_file = given.policy
        self._ways = ExitStack()
        self.endpoint = self._endpoint(role, given)
        if given.state is not None and not given.simulated:
            with excused(self.endpoint):
                assemble.check_state(given.state, new=given.new_state)
        if isinstance(self.agreed, Scenario):
            check_place(given.out, resumed=given.resume)
        given.out.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.endpoint.pulse.role = role
        if given.health is not None:
            self._ways.enter_context(HealthServer(given.health, self.endpoint.pulse))
        self.report: Reporter = WatchedReporter(reporter(output_format), self.endpoint.pulse)
        if given.relay is not None:
            self._dig(given.relay, given.relay_token)
        if given.simulated and stat.S_ISFIFO(os.fstat(STDIN).st_mode):
            threading.Thread(target=_end_with_launcher, daemon=True).start()

    def _endpoint(self, role: str, given: PartyOptions) -> Endpoint:
        """Who this party is, and where all are; UsageError where options and certificate do not fit what was agreed."""
        credentials = identities.load(given.identity)
        parties = {assemble.DEALER, *self.config.compute_parties}
        if credentials.name not in parties:
            raise UsageError(
                f"--identity {given.identity}: is {credentials.name!r}'s, who is no party of this run "
                f"({', '.join(sorted(parties))})"
            )
        check_role(role, credentials.name, given.identity)
        if given.resume and isinstance(self.agreed, AuditTerms):
            raise UsageError("--resume: is for a training; an audit that is made again is answered from what was told")
        addresses = peer_addresses(given.peers, parties - {credentials.name}, relayed=given.relay is not None)
        listen = given.listen
        if not listen:  # nobody but this machine reaches a party that has a relay
            listen = LISTEN if given.relay is None else self._ways.enter_context(held_addresses(1))[0]
        if given.relay is not None:
            check_relay(given.relay, given.relay_token)
        endpoint = assemble.endpoint(
            self.agreed,
            credentials,
            listen,
            addresses,
            timeout=given.timeout,
            simulated=given.simulated,
            roster=agreed_roster(given.roster, given.identity, parties, simulated=given.simulated),
            resumed=given.resume,
            wait=given.wait,
        )
        return replace(endpoint, lost=lost_ledgers(given.lost, self.config))

    def _dig(self, relay: str, token: Path | None) -> None:
        """Reach by the relay whoever has no address of its own."""
        own, addresses = self.endpoint.credentials.name, self.endpoint.peers
        missing = {assemble.DEALER, *self.config.compute_parties} - {own} - addresses.keys()
        tunnel = self._ways.enter_context(Tunnel(relay, check_relay(relay, token), own, self.endpoint.listen, missing))
        self.endpoint = replace(self.endpoint, peers={**addresses, **tunnel.addresses})

    def __enter__(self) -> PartyProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ways.close()
        self.report.close()
        if error is None or self.endpoint.simulated or not isinstance(self.agreed, Scenario):
            return
        state = None if self.folders.state == self.folders.out else self.folders.state
        command = note_failed_party(self.folders.out, self.endpoint.credentials.name, state, cause(error))
        if command:
            self.report.warn(f"once all parties are back, go on with: {command}")

    def developer(self) -> None:
        """Run as the developer."""
        if isinstance(self.agreed, AuditTerms):
            from secure_fair.parties.audit import main
        else:
            from secure_fair.parties.developer import main
        main(self.config, self.endpoint, self.folders, run_name(self.agreed), self.report)
        if isinstance(self.agreed, AuditTerms) and not self.endpoint.simulated:
            from secure_fair.report.audit import write_audit

            write_audit(self.folders.out)

    def auditor(self) -> None:
        """Run as an auditor."""
        from secure_fair.parties.auditor import main

        with excused(self.endpoint):
            if isinstance(self.agreed, AuditTerms):
                policy = self.agreed.policy(self.endpoint.credentials.name, self._policy_file)
            else:
                policy = assemble.policy(self.agreed, self._policy_file, simulated=self.endpoint.simulated)
        digest = digest_of(self._policy_file) if self._policy_file is not None else ""
        main(self.config, self.endpoint, self.folders, policy, self.report, digest)

    def dealer(self) -> None:
        """Run as the dealer."""
        from secure_fair.parties.dealer import main

        main(self.config, self.endpoint, self.folders, self.report)


def _end_with_launcher() -> None:
    """A simulated party has its launcher at the other end of its stdin; when that is gone, so is the simulation."""
    os.read(STDIN, 1)
    os.kill(os.getpid(), signal.SIGTERM)  # a Ctrl-C is ignored in a shell's background
    time.sleep(PATIENCE)
    os._exit(1)


def agreed(source: str | None, audit: Path | None) -> Scenario | AuditTerms:
    """The agreed scenario, or the terms of an audit; UsageError unless one of the two is given."""
    if (source is None) == (audit is None):
        raise UsageError("--scenario FILE or --audit FILE: give one of the two, which all parties have agreed on")
    return AuditTerms.load(audit) if audit is not None else Scenario.load(str(source))


def run_config_of(agreed: Scenario | AuditTerms) -> RunConfig:
    """The values that all parties have in common."""
    return agreed.run_config() if isinstance(agreed, AuditTerms) else assemble.run_config(agreed)


def check_role(role: str, name: str, identity: Path) -> None:
    """UsageError unless the certificate's name is one of the role: it is what the others know the party by."""
    named = name if name in (assemble.DEVELOPER, assemble.DEALER) else "auditor"
    if named != role:
        raise UsageError(
            f"--identity {identity}: is {name!r}'s, and this is `secure-fair party {role}`; name the folder of a "
            f"{role}, or start `secure-fair party {named}`"
        )


def lost_ledgers(given: tuple[str, ...], config: RunConfig) -> frozenset[str]:
    """The parties whose ledgers are said to be lost; UsageError for a name that keeps none."""
    unknown = [name for name in given if name not in config.compute_parties]
    if unknown:
        keep = ", ".join(config.compute_parties)
        raise UsageError([f"--ledger-lost {name}: keeps no ledger in this run; {keep} do" for name in unknown])
    return frozenset(given)


def run_name(agreed: Scenario | AuditTerms) -> str:
    """A name that no other run has."""
    what = "audit" if isinstance(agreed, AuditTerms) else agreed.method.name
    return f"{agreed.name}-{what}-{secrets.token_hex(8)}"


def agreed_roster(file: Path | None, own: Path, parties: set[str], *, simulated: bool) -> Roster | None:
    """The fingerprints that this party accepts; None for a simulated one that was given none.

    UsageError where they are missing, are not those of exactly these parties, or have another certificate for the party
    in the folder ``own``; and where the key in that folder was made by the authority, which could pose as this party.
    """
    described = identities.describe(own)
    if described.simulated and not simulated:
        raise UsageError(
            f"--identity {own}: its key was made by the authority, for a simulation, and the authority could pose as "
            f"{described.name}; make a key with `secure-fair identity request` and have it signed"
        )
    if file is None:
        if not simulated:
            raise UsageError(
                "--parties FILE: is missing; without it whoever the authority signs for could pose as any party: "
                "make it with `secure-fair identity agree`"
            )
        return None
    roster = Roster.load(file)
    roster.check(parties)
    roster.check_own(described.name, described.fingerprint)
    return roster


def check_relay(relay: str, file: Path | None) -> bytes:
    """The relay's token; UsageError without one, or where the relay is no address."""
    host_and_port("--relay", relay)
    if file is None:
        raise UsageError(f"--relay-token FILE: is missing; it is what the relay at {relay} was started with (--token)")
    return read_token(file)


def peer_addresses(given: tuple[str, ...], expected: set[str], *, relayed: bool = False) -> dict[str, str]:
    """NAME=HOST:PORT options as a mapping from party to address; exactly the ``expected`` parties, or some of them
    where the others are ``relayed``."""
    peers: dict[str, str] = {}
    problems = []
    for text in given:
        name, equals, address = text.partition("=")
        host, colon, port = address.rpartition(":")
        if not (name and equals and host and colon and port.isdigit() and 0 < int(port) < 65536):
            problems.append(f"--peer {text}: expected NAME=HOST:PORT, for instance auditor=10.0.0.2:7700")
        elif name in peers:
            problems.append(f"--peer {text}: {name} has an address already ({peers[name]})")
        elif name not in expected:
            problems.append(f"--peer {text}: the other parties of this scenario are {', '.join(sorted(expected))}")
        else:
            peers[name] = address
    if not relayed and not problems:
        problems += [f"--peer {name}=HOST:PORT: is missing" for name in sorted(expected - peers.keys())]
    if problems:
        raise UsageError(problems)
    return peers
