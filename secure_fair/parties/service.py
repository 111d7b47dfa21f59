"""An auditor's service: request after request, each from its admission to what leaves through the gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import BudgetExceeded, NotProved, ProtocolError, Refusal
from secure_fair.groups import columns, membership_matrix
from secure_fair.mpc.confirmation import confirm, stand_by
from secure_fair.mpc.opening import SharedOpening
from secure_fair.mpc.schedule import Forecast
from secure_fair.mpc.transport import Network
from secure_fair.operations import operation_of, requests
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Operation, Update
from secure_fair.operations.common.state import SharedState
from secure_fair.parties import messages
from secure_fair.parties.bound import check_due, under
from secure_fair.parties.checkpoints import BEGINNING, Checkpoints, Place
from secure_fair.parties.config import RunConfig
from secure_fair.parties.holdings import Holdings
from secure_fair.parties.messages import Bound, Finished, Granted, Newest, Opened, Proceed, Train, Whole
from secure_fair.parties.plans import own_trainings
from secure_fair.parties.progress import Progress
from secure_fair.parties.resuming import keep_own, shares_of
from secure_fair.privacy.openings import KeptNoise
from secure_fair.privacy.request import Grant, charged_on

CONFIRMED_MARGIN = (
    12.0  # standard deviations that a told number may be beyond its bound: more than the developer allows
)


class AuditorService:
    """Answers one developer until it is finished."""

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        state: SharedState,
        holdings: Holdings,
        progress: Progress,
        kept: Checkpoints | None = None,
        place: Place = BEGINNING,
    ) -> None:
        self.place = place
        self.progress = progress
        self.made = 0  # releases
        self.asked_to_train = 0
        self.config = config
        self.kept = kept
        self.network = network
        self.session = state.session
        self.state = state
        self.holdings = holdings
        self.gate = holdings.gate
        self.forecast = Forecast(state.session)
        self.bound: Bound | None = None  # the model that a training's counts are of

    def serve(self) -> Finished:
        """Take request after request, to the last message."""
        developer = self.config.developer
        while True:
            message, raw = messages.receive(self.network, developer)
            match message:
                case Finished():
                    return message
                case Ask():
                    self._answer(message, messages.unpack_records(raw))
                    self.progress.progress("releases", self.made, max(self.holdings.planned, self.made + 1))
                case Train():
                    self._train(message, raw)
                case Bound() if self.config.claims and self.bound is None:
                    self.bound = message
                    self.holdings.confirmed = under(self.holdings.confirmed, message)
                case Whole() if self.kept is not None and message.epoch <= self.config.train.epochs:
                    keep_own(self.network, self.kept, self.state, message, developer)
                    self.place = Place(message.epoch)
                case _:
                    raise ProtocolError(f"{developer} is out of step: sent {message.kind!r}")

    # a request, from admission to the opening

    def _answer(self, ask: Ask, records: np.ndarray) -> None:
        """All holders admit, then all go through it. A request beyond the budget leaves the run going."""
        check_due(self.config, ask.operation, self.bound)
        grants = self._admit(ask, records)
        proceed, _ = messages.expect(self.network, self.config.developer, Proceed)
        holder = bool(self._mine(ask))
        if not proceed.go or (holder and not grants):
            return
        operation = operation_of(ask)
        if not operation.rule.on_shares:
            if holder:
                self._send(operation, ask, records, grants[-1])
                self.made += 1
            return
        self._compute(operation, ask, records, grants, proceed)
        self.made += holder
        self.forecast.ask_ahead()

    def _mine(self, ask: Ask) -> list[str]:
        """The attributes held here that the request tells of."""
        return [name for name in self.config.components(ask.attribute) if name in self.holdings.attributes]

    def _admit(self, ask: Ask, records: np.ndarray) -> list[Grant]:
        """Admit the request on every attribute held here, or tell the developer why not; none where a budget is spent.

        Updates that stay on shares come first, what is opened last.
        """
        developer, grants = self.config.developer, []
        try:
            wanted = requests(ask, records, self.state.facts)
            mine = self._mine(ask)
            grants = self.gate.admit_together([charged_on(request, name) for request in wanted for name in mine])
        except BudgetExceeded as error:
            messages.refuse(self.network, developer, error)
        except Refusal as error:
            messages.refuse(self.network, developer, error)
            raise
        if grants:
            receipts = [grant.receipt for grant in grants]
            on_disk = self.gate.written
            newest = Newest(entries=on_disk.entries, hash=on_disk.hash)
            granted = Granted(receipts=receipts, check=self._checks(ask, grants), newest=newest)
            messages.send(self.network, developer, granted)
        return grants

    def _compute(
        self, operation: Operation, ask: Ask, records: np.ndarray, grants: Sequence[Grant], proceed: Proceed
    ) -> None:
        """Go through the operation with all parties, and open this party's share of the value.

        Who holds nothing of what is asked takes part in what others have admitted: its share tells nothing without
        those of the holders, each of which leaves through its holder's gate alone and with its holder's noise.
        """
        opened = len(self._mine(ask))
        updates, openings = grants[: len(grants) - opened], grants[len(grants) - opened :]
        update = self._noise_update(updates, proceed.step_sigma)
        check = self._checks(ask, grants)
        opening = None
        with self.forecast.request(ask.alike(records)), self.session.operation(ask.operation):
            try:
                inputs = operation.share(self.state, ask, records, (), self._checkers(proceed, check))
            except ProtocolError as error:
                self.gate.note_refusal(ask.operation, ask.attribute, str(error))
                if check and isinstance(error, NotProved):
                    self.gate.note_verdict(grants[-1], ask.operation, ask.attribute, False)
                    messages.refuse(self.network, self.config.developer, error)
                raise
            if check:
                self.gate.note_verdict(grants[-1], ask.operation, ask.attribute, True)
                messages.send(self.network, self.config.developer, Proceed(go=True))
            value = operation.compute(self.state, ask, records, inputs, update)
            if proceed.step_sigma:
                self._keep_step()
            if openings:
                opening = RememberedOpening(self.session, value)
                self.gate.release_together(openings, opening)
            else:
                self.session.reveal_to(self.config.developer, value)
        self._confirm(ask, records, inputs, openings, opening)

    def _keep_step(self) -> None:
        """Keep the shares of adversaries that have moved, before what came with it is opened: who is told it can have
        the run gone on with from there."""
        self.place = Place(self.place.epoch, self.place.step + 1)
        if self.kept is not None:
            self.kept.keep_step(self.place, shares_of(self.state))

    def _checks(self, ask: Ask, grants: Sequence[Grant]) -> bool:
        """Whether the developer must prove its rows: for the noise, or so that what is confirmed here are counts."""
        confirms = self.config.confirms(ask.operation, ask.attribute) == self.network.name
        return self.gate.checks_rows(grants) or (confirms and bool(grants))

    def _confirm(
        self,
        ask: Ask,
        records: np.ndarray,
        inputs: Sequence[Any],
        openings: Sequence[Grant],
        opening: RememberedOpening | None,
    ) -> None:
        """Have confirmed what the developer was told, where this auditor is to sign for it; else take part in that."""
        holder, developer = self.config.confirms(ask.operation, ask.attribute), self.config.developer
        if holder is None:
            return
        groups = self.state.facts.groups[ask.attribute]
        if holder != self.network.name or opening is None:
            stand_by(self.session, inputs[0], developer, holder, columns(groups))
            return
        codes = {**self.holdings.codes, **self.holdings.joint_codes}[ask.attribute][records]
        sigma = math.hypot(*(grant.receipt.sigma or 0.0 for grant in openings))
        bound = len(records) + CONFIRMED_MARGIN * sigma
        members = membership_matrix(codes, groups, torch.int8)
        told = confirm(self.session, inputs[0], developer, members, opening.noise, opening.scale, bound)
        self.holdings.confirmed.keep(ask.query, ask.attribute, records, told, sigma, opening.scale)

    def _noise_update(self, updates: Sequence[Grant], told: float) -> Update:
        """Spend what an adversary's update costs, and draw this party's noise for it.

        The step is limited by all noise on it, of which the developer tells: at least this party's, and no other where
        it is alone.
        """
        if not updates:
            return Update(told)
        own = math.hypot(*(grant.receipt.sigma or 0.0 for grant in updates))
        request = updates[0].request
        alone = self.config.answering(request.of or request.attribute) == (self.network.name,)
        if told < own * (1 - 1e-9) or (alone and told > own * (1 + 1e-9)):
            raise ProtocolError(
                f"{self.config.developer} says that the update's noise has sigma {told:g}: it is "
                f"{'' if alone else 'at least '}{own:g}"
            )
        kept = KeptNoise(request.shape, self.session.scale**2)
        self.gate.release_together(updates, kept)
        return Update(told, kept.noise)

    def _checkers(self, proceed: Proceed, check: bool) -> list[str]:
        """Who checks the rows, in everybody's order. Whether this party does is not for the developer to say."""
        named = {name for name in proceed.checkers if name != self.network.name}
        return [name for name in self.config.auditors if name in named or (check and name == self.network.name)]

    def _send(self, operation: Operation, ask: Ask, records: np.ndarray, grant: Grant) -> None:
        """Send a value of this auditor's own, which it made private itself; nobody else takes part."""
        values, scale = operation.send(self.holdings, ask, records, grant)
        self.gate.release(grant, SentOpening(self.network, values, scale))

    # what is not a release

    def _train(self, ask: Train, raw: bytes) -> None:
        """The attribute's holder trains on its own pictures and shares the adversary; everybody has a share."""
        if not own_trainings(self.config) or ask.attribute not in self.state.facts.groups:
            raise Refusal(f"an adversary of {ask.attribute!r} on own pictures is not in the scenario")
        self.asked_to_train += 1
        most = own_trainings(self.config) * len(self.state.facts.groups)
        if self.asked_to_train > most:
            raise Refusal(f"a training was asked for {self.asked_to_train} times, planned are {most} of all attributes")
        if raw:
            self.gate.note_disclosed("adapter", len(raw) // 8)
        weights = None
        if ask.attribute in self.holdings.trainings:
            weights = self.holdings.trainings[ask.attribute](messages.unpack_adapter(raw, ask.shapes))
            if len(weights) != ask.width:
                raise Refusal(f"the adversary has {len(weights)} features, the developer asks for {ask.width}")
        (holder,) = self.config.holders[ask.attribute]
        self.state.share_adversary(ask.attribute, holder, weights, ask.width)


@dataclass
class RememberedOpening(SharedOpening):
    """One whose noise this auditor remembers, for as long as it confirms what was opened."""

    noise: Tensor | None = None

    def open_to(self, receiver: str, noise: Tensor | None) -> None:
        """Send this party's share, and remember the noise."""
        self.noise = noise
        super().open_to(receiver, noise)


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
