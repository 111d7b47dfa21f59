"""The auditor's column of the protocol: admit a request, go through the operation, release through the gate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from parties import messages
from parties.config import Endpoint, Folders, RunConfig
from parties.lockstep import Lockstep, Turn
from parties.messages import Ask, Attributes, Enrol, Finished, Granted, Held, Opened, Proceed, Train
from parties.progress import Progress
from parties.reports import leave, write_party_report
from secure_fair.data.store import AuditorStore, OwnRecords
from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal
from secure_fair.learning.auditors import Adapter, as_matrices, flatten_adapter
from secure_fair.learning.releases import added_up, evaluation_releases, training_releases
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.privacy import requests
from secure_fair.privacy.gate import Gate, Grant
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SystemNoise
from secure_fair.privacy.plan import Plan, PlannedRelease, make_plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import Responses
from secure_fair.randomness import PRG, KeySource

from crypten.mpc import MPCTensor  # isort: skip

if TYPE_CHECKING:
    from secure_fair.learning.plain import OwnTraining
    from secure_fair.learning.sensitive import Sensitive
    from secure_fair.learning.train import TrainSettings

NEED_ADAPTERS = ("orth", "unl")
BOUNDED = (
    "moment",
    "group_counts",
    "evaluation_counts",
    "adversary_rows",
    "entropy_rows",
)  # the noise is made for rows within 1
INTERSECTION = 4  # groups, or more: what a plan needs to know is that each has its column
NOT_SHARED = ("sensitive_adapter", "randomised_attributes")


@dataclass(frozen=True)
class SharedOpening:
    """Shares that the gate may open to one party, by sending this party's share to it alone."""

    session: Session
    shared: MPCTensor
    scale: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.shared.size())

    def open_to(self, receiver: str, noise: Tensor | None) -> None:
        """Send this party's share, noise (int64, ring units) added; nothing is learned here."""
        self.session.reveal_to(receiver, self.shared, noise=noise)


class UpdateNoise:
    """An update that stays on shares: the gate's noise for it, to be added before it is used. Nothing is opened."""

    def __init__(self, shape: tuple[int, ...], scale: int) -> None:
        self.shape = shape
        self.scale = scale
        self.noise: Tensor | None = None

    def open_to(self, receiver: str, noise: Tensor | None) -> None:
        """Keep the noise (int64, ring units)."""
        self.noise = noise


@dataclass(frozen=True)
class SentOpening:
    """A value of the auditor's own, float64, that is not on shares: sent as it is."""

    network: Network
    values: Tensor
    scale: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def open_to(self, receiver: str, noise: Tensor | None) -> None:
        """Send the values, noise added, to the receiver."""
        integers = torch.round(self.values * self.scale)  # on the ring's grid, as what is opened from shares
        noised = (integers if noise is None else integers + noise) / self.scale
        messages.send(self.network, receiver, Opened(), noised.numpy().astype("<f8").tobytes())


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, policy: Policy, progress: Progress) -> None:
    """Serve one run: connect, check the developer's table, train an adapter where the method needs it, answer."""
    store = AuditorStore.open(folders.store)
    network = Network(endpoint.credentials, endpoint.listen, timeout=endpoint.timeout, link=endpoint.link)
    ledger = Ledger(folders.state / "ledger", network.name, simulated=endpoint.simulated)
    try:
        network.connect(endpoint.peers, endpoint.agreement)
        session = Session.open(
            network, parties=config.compute_parties, dealer=config.dealer, precision_bits=config.precision_bits
        )
        enrol, raw = messages.expect(network, config.developer, Enrol)
        try:
            ids = messages.unpack_ids(raw, 0 if config.method.own_records else enrol.training + enrol.test)
            gate = make_gate(config, network.name, enrol.run, ids, enrol.training, store, policy, ledger)
        except (Refusal, ProtocolError) as error:
            messages.refuse(network, config.developer, error)
            raise
        held = {name: (held_codes(store, name, ids), store.groups[name]) for name in store.attributes}
        sensitive = train_adapters(config, store, folders.store, gate, progress)
        own = own_trainings(config, store, folders.store, gate, progress)
        service = AuditorService(config, network, session, gate, held, sensitive, own, open_responses(folders.state))
        service.serve(len(ids))
        session.close()
        write_party_report(folders.out, network.name, session.meter, network, gate)
        ledger.extract(enrol.run, folders.out / "ledger.jsonl")
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
        ledger.close()


def make_gate(
    config: RunConfig,
    auditor: str,
    run: str,
    ids: Sequence[str],
    training: int,
    store: AuditorStore,
    policy: Policy,
    ledger: Ledger,
) -> Gate:
    """The gate of one run: the enrolled ``ids``, ``training`` of them first, are checked against the store's.

    Where the scenario says that this auditor holds a part of the people, others are allowed in the table.
    """
    return Gate(
        auditor=auditor,
        run=run,
        ids=ids,
        known=store.ids,
        plans={name: plan_for(config, name, len(store.groups[name]), training) for name in store.attributes},
        policy=policy,
        ledger=ledger,
        noise=SystemNoise(),
        part=auditor in config.parted,
    )


def held_codes(store: AuditorStore, attribute: str, ids: Sequence[str]) -> np.ndarray:
    """Group codes, int64, of the enrolled ``ids``; -1 for people whom another auditor holds."""
    known = set(store.ids)
    codes = np.full(len(ids), -1, dtype=np.int64)
    here = [place for place, name in enumerate(ids) if name in known]
    codes[here] = store.codes(attribute, [ids[place] for place in here])
    return codes


def open_responses(state: Path) -> Responses:
    """The randomised responses that this auditor's people have given so far."""
    return Responses(state / "responses", PRG(KeySource.fresh().derive("randomised responses")))


def plan_for(config: RunConfig, attribute: str, groups: int, training: int) -> Plan:
    """The plan of one attribute: every release of the run and its noise, made alike by every party.

    A release about an intersection is one about each of its attributes.
    """
    privacy = config.privacy
    sizes = {name: groups if name == attribute else INTERSECTION for name in about(config, attribute)}

    def training_of(name: str) -> list[PlannedRelease]:
        return training_releases(
            config.method, sizes[name], training, config.training.epochs, config.training.batch_size
        )

    return make_plan(
        attribute,
        added_up(training_of(name) for name in sizes if name in config.penalised),
        epsilon=privacy.epsilon if privacy else None,
        delta=privacy.delta if privacy else 1e-5,
        evaluation=added_up(evaluation_releases(size) for size in sizes.values()) if config.evaluated else (),
        evaluation_epsilon=privacy.evaluation_epsilon if privacy else None,
        reserve_releases=privacy.reserve_releases if privacy else 0,
    )


def about(config: RunConfig, attribute: str) -> list[str]:
    """The attribute and every intersection that it belongs to."""
    return [name for name in config.audited if attribute in config.components(name)]


def train_adapters(
    config: RunConfig, store: AuditorStore, folder: Path, gate: Gate, progress: Progress
) -> dict[str, Sensitive]:
    """Where the method needs it: a sensitive adapter for every attribute held here, from the auditor's own pictures."""
    if config.method.name not in NEED_ADAPTERS:
        return {}
    # an auditor that trains nothing is spared the seconds that these take to import
    from secure_fair.learning.sensitive import digest, train_sensitive, train_sensitive_privately

    own = store.own()
    settings, tokens = _own_tokens(config, own, folder, progress)
    trained = {}
    for attribute in store.attributes:
        codes = torch.from_numpy(own.codes[attribute])
        groups = len(store.groups[attribute])
        if config.privacy is None or config.privacy.epsilon is None:
            trained[attribute] = train_sensitive(config.model, tokens, codes, groups, settings)
            gate.account_training(attribute, own.ids, epsilon=None, delta=0.0)
            continue
        target = (config.privacy.epsilon, config.privacy.delta)
        trained[attribute], done = train_sensitive_privately(config.model, tokens, codes, groups, settings, target)
        gate.account_training(
            attribute, own.ids, epsilon=done.epsilon, delta=done.delta, adapter=digest(trained[attribute].adapter)
        )
    return trained


def own_trainings(
    config: RunConfig, store: AuditorStore, folder: Path, gate: Gate, progress: Progress
) -> dict[str, OwnTraining]:
    """Where the method needs it: for every attribute held here, what trains an adversary on the auditor's own pictures.

    The scenario's epsilon and delta are shared evenly among the trainings that it has; each is accounted for before its
    result is used, and one more than planned is refused.
    """
    planned = config.method.own_trainings(config.training.epochs)
    if not planned:
        return {}
    from secure_fair.learning.adversary import OwnAdversary

    own = store.own()
    settings, tokens = _own_tokens(config, own, folder, progress)
    target = None
    if config.privacy is not None and config.privacy.epsilon is not None:
        target = (config.privacy.epsilon / planned, config.privacy.delta / planned)

    def training(attribute: str) -> OwnTraining:
        codes = torch.from_numpy(own.codes[attribute])
        adversary = OwnAdversary(config.model, tokens, codes, len(store.groups[attribute]), settings)
        left = iter(range(planned))

        def train(adapter: Adapter | None) -> Tensor:
            if next(left, None) is None:
                raise Refusal(f"{attribute}: the adversary was trained {planned} times, as planned; plan more epochs")
            weights, done = adversary.train(adapter, target)
            epsilon, delta = (None, 0.0) if done is None else (done.epsilon, done.delta)
            gate.account_training(attribute, own.ids, epsilon=epsilon, delta=delta)
            return weights

        return train

    return {attribute: training(attribute) for attribute in store.attributes}


def _own_tokens(config: RunConfig, own: OwnRecords, folder: Path, progress: Progress) -> tuple[TrainSettings, Tensor]:
    """The training's settings on this machine, and the tokens (m, T, d) of the auditor's own pictures."""
    from parties.training import settings_of
    from secure_fair.learning.model import cached_tokens

    settings = settings_of(config)
    tokens = cached_tokens(
        config.model,
        own.pictures,
        folder / "cache",
        settings.dtype,
        settings.device,
        lambda done, total: progress.progress("backbone", done, total),
    )
    return settings, tokens


class AuditorService:
    """Answers one developer until it is finished."""

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        session: Session,
        gate: Gate,
        held: Mapping[str, tuple[np.ndarray, tuple[str, ...]]],
        sensitive: Mapping[str, Sensitive],
        own: Mapping[str, OwnTraining],
        responses: Responses,
    ) -> None:
        """``held``: group codes of every enrolled record, and the groups' names, of each attribute held here."""
        self.config = config
        self.network = network
        self.session = session
        self.gate = gate
        self.held = held
        self.sensitive = sensitive
        self.own = own
        self.responses = responses

    def serve(self, enrolled: int) -> None:
        """Say what is held, share it, answer requests about the ``enrolled`` records until the developer is done."""
        developer, config = self.config.developer, self.config
        shapes = {
            name: {
                module: ((a.shape[0], a.shape[1]), (b.shape[0], b.shape[1])) for module, (a, b) in found.adapter.items()
            }
            for name, found in self.sensitive.items()
        }
        groups = {name: list(names) for name, (_, names) in self.held.items()}
        part = messages.pack_part(self.gate.held) if self.network.name in config.parted else b""
        messages.send(self.network, developer, Held(attributes=groups, adapters=shapes), part)
        everybodys, raw = messages.expect(self.network, developer, Attributes)
        self._check(everybodys, groups)
        self._check_parts(messages.unpack_parts(raw, config.parted, enrolled))
        lockstep = Lockstep(
            config, self.session, {name: tuple(names) for name, names in everybodys.groups.items()}, enrolled
        )
        if enrolled:
            for attribute in config.holders:
                lockstep.share_memberships(attribute, self.held[attribute][0] if attribute in self.held else None)
            lockstep.intersect()
        if self.config.method.release == "gradient":
            for attribute, modules in everybodys.adapters.items():
                mine = as_matrices(self.sensitive[attribute].adapter) if attribute in self.sensitive else None
                lockstep.share_sensitive(attribute, mine, [a for a, _ in modules.values()])
        while True:
            message, raw = messages.receive(self.network, developer)
            match message:
                case Finished():
                    return
                case Ask():
                    self._answer(lockstep, message, messages.unpack_records(raw))
                case Train():
                    self._train(lockstep, message, raw)
                case _:
                    raise ProtocolError(f"{developer} is out of step: sent {message.kind!r}")

    def _check_parts(self, parts: Mapping[str, np.ndarray]) -> None:
        """Everybody's parts as the developer passes them on: mine as I said, and a record of each attribute once."""
        mine = parts.get(self.network.name)
        if mine is not None and not np.array_equal(mine, self.gate.held):
            raise ProtocolError(f"{self.config.developer} announced another part of the people than is held here")
        messages.check_parts(parts, self.config.holders)

    def _check(self, everybodys: Attributes, mine: dict[str, list[str]]) -> None:
        if everybodys.groups.keys() != self.config.holders.keys():
            raise ProtocolError(
                f"{self.config.developer} announced the attributes {', '.join(everybodys.groups)}; the scenario has "
                f"{', '.join(self.config.holders)}"
            )
        for attribute, names in mine.items():
            if everybodys.groups.get(attribute) != names:
                raise ProtocolError(
                    f"{self.config.developer} announced groups {everybodys.groups.get(attribute)} of {attribute}, "
                    f"which is held here with groups {names}"
                )

    def _answer(self, lockstep: Lockstep, ask: Ask, records: np.ndarray) -> None:
        """All holders admit, then all go through it. A request beyond the budget leaves the run going.

        Of an intersection this party admits, and pays for, every attribute that it holds.
        """
        developer = self.config.developer
        mine = [attribute for attribute in self.config.components(ask.attribute) if attribute in self.held]
        grants: list[Grant] = []
        try:
            wanted = lockstep.requests(ask, records)
            grants = self.gate.admit_together(
                [requests.charged_on(request, attribute) for request in wanted for attribute in mine]
            )
        except BudgetExceeded as error:
            messages.refuse(self.network, developer, error)
        except Refusal as error:
            messages.refuse(self.network, developer, error)
            raise
        updates, openings = grants[: -len(mine)], grants[-len(mine) :]
        noised = any(grant.receipt.sigma for grant in grants)
        check = ask.operation in BOUNDED and noised and self.gate.policy.clip == "check"
        if grants:
            messages.send(self.network, developer, Granted(receipts=[grant.receipt for grant in grants], check=check))
        proceed, _ = messages.expect(self.network, developer, Proceed)
        if proceed.go and not mine:
            self._assist(lockstep, ask, records, proceed)
        if not proceed.go or not grants:
            return
        if ask.operation in NOT_SHARED:
            self._send(ask, records, grants[-1])
            return
        step_noise = None
        if updates:
            self._check_step(updates, proceed.step_sigma)
            update = UpdateNoise(updates[0].request.shape, self.session.scale**2)
            self.gate.release_together(updates, update)
            step_noise = update.noise

        def opening(shared: MPCTensor, bound: float) -> None:
            self.gate.release_together(openings, SharedOpening(self.session, shared, int(shared.encoder.scale)))

        def within_bound(within: bool | None) -> None:
            if not check:
                return  # that is between the checkers and the developer
            if not within:
                error = Refusal(f"{ask.operation}: a row is longer than 1, the bound that the noise is made for")
                self.gate.note_refusal(ask.operation, ask.attribute, str(error))
                messages.refuse(self.network, developer, error)
                raise error
            messages.send(self.network, developer, Proceed(go=True))

        lockstep.run(
            Turn(
                ask,
                records,
                opening,
                checkers=self._checkers(proceed, check),
                check=within_bound,
                step_sigma=proceed.step_sigma if updates else 0.0,
                step_noise=step_noise,
            )
        )
        lockstep.ask_ahead()

    def _checkers(self, proceed: Proceed, check: bool) -> list[str]:
        """Who checks the rows, in everybody's order. Whether this party does is not for the developer to say."""
        named = {name for name in proceed.checkers if name != self.network.name}
        return [name for name in self.config.auditors if name in named or (check and name == self.network.name)]

    def _check_step(self, updates: Sequence[Grant], told: float) -> None:
        """The adversary's step is limited by all noise on it: at least this party's, and no other where it is alone."""
        own = math.hypot(*(grant.receipt.sigma or 0.0 for grant in updates))
        alone = self.config.answering(updates[0].request.of or updates[0].request.attribute) == (self.network.name,)
        if told < own * (1 - 1e-9) or (alone and told > own * (1 + 1e-9)):
            raise ProtocolError(
                f"{self.config.developer} says that the update's noise has sigma {told:g}: it is "
                f"{'' if alone else 'at least '}{own:g}"
            )

    def _assist(self, lockstep: Lockstep, ask: Ask, records: np.ndarray, proceed: Proceed) -> None:
        """Take part in what others have admitted. This party's share tells nothing without those of the holders,
        each of which leaves through its holder's gate alone and with its holder's noise."""
        if ask.operation in NOT_SHARED:
            return

        def opening(shared: MPCTensor, bound: float) -> None:
            self.session.reveal_to(self.config.developer, shared)

        checkers = self._checkers(proceed, check=False)
        lockstep.run(Turn(ask, records, opening, checkers=checkers, step_sigma=proceed.step_sigma))
        lockstep.ask_ahead()

    def _train(self, lockstep: Lockstep, ask: Train, raw: bytes) -> None:
        """The attribute's holder trains on its own pictures and shares the adversary; everybody has a share."""
        if not self.config.method.own_trainings(self.config.training.epochs) or ask.attribute not in lockstep.groups:
            raise Refusal(f"an adversary of {ask.attribute!r} on own pictures is not in the scenario")
        weights = None
        if ask.attribute in self.own:
            weights = self.own[ask.attribute](messages.unpack_adapter(raw, ask.shapes))
            if len(weights) != ask.width:
                raise Refusal(f"the adversary has {len(weights)} features, the developer asks for {ask.width}")
        lockstep.share_adversary(ask.attribute, weights, ask.width)

    def _send(self, ask: Ask, records: np.ndarray, grant: Grant) -> None:
        """What the attribute's holder sends as it is, having made it private itself; nobody else takes part.

        Answers have a place for everybody in the request, and say 0 for whom another auditor holds.
        """
        if ask.operation == "sensitive_adapter":
            values, scale = flatten_adapter(self.sensitive[ask.attribute].adapter), 2**self.config.precision_bits
        else:
            codes, names = self.held[ask.attribute]
            here = self.gate.held[records]
            ids = [self.gate.ids[record] for record in records[here]]
            answers = np.zeros(len(records), dtype=np.int64)
            answers[here] = self.responses.answer(grant, ids, codes[records[here]], len(names))
            values, scale = torch.from_numpy(answers).double(), 1
        self.gate.release(grant, SentOpening(self.network, values, scale))
