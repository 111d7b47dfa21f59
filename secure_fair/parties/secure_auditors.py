"""The auditors as a method at the developer sees them: ask, compute with the private input, receive, write down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import BudgetExceeded, ProtocolError, Refusal
from secure_fair.mpc.confirmation import Told, prove
from secure_fair.mpc.schedule import Forecast
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.operations import OPERATIONS, requests
from secure_fair.operations.common.adapters import Adapter, flatten_adapter, shapes_of
from secure_fair.operations.common.ask import Ask, Release
from secure_fair.operations.common.operation import Update
from secure_fair.parties import messages
from secure_fair.parties.auditors import KnownAuditors
from secure_fair.parties.bound import bind, name_of
from secure_fair.parties.checkpoints import BEGINNING, Checkpoints
from secure_fair.parties.config import Folders, RunConfig
from secure_fair.parties.enrolment import Enrolment, share_holdings
from secure_fair.parties.kept_answers import KeptAnswers, is_kept, question_of
from secure_fair.parties.messages import Bound, Granted, Opened, Proceed, Train
from secure_fair.parties.resuming import keep_epoch, restore_shares, shares_of
from secure_fair.privacy.chain import ChainEnd
from secure_fair.privacy.entries import Receipt, records_hash, table_hash
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.release_cache import ReleaseCache
from secure_fair.privacy.request import Request, charged_on

NOISE_MARGIN = 10.0  # standard deviations that an opened number may be beyond its bound


class SecureAuditors(KnownAuditors):
    """The auditors behind the network, as a method sees them (``secure_fair.operations.common.ask.Auditors``)."""

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        session: Session,
        ledger: Ledger,
        cache: ReleaseCache,
        run: str,
        enrolment: Enrolment,
        told: KeptAnswers | None = None,
    ) -> None:
        """Take this party's shares of all that the auditors hold. ``told``: noised answers of the run's past."""
        super().__init__(config, enrolment, cache)
        self.network = network
        self.session = session
        self.ledger = ledger
        self.run = run
        self.table = table_hash(enrolment.ids)
        self.state = share_holdings(config, session, enrolment, run=run, place=told.place if told else BEGINNING)
        self.forecast = Forecast(session)
        self.told = told

    # whole epochs

    def take_up(self, kept: Checkpoints, told: KeptAnswers) -> dict[str, Any] | None:
        """The training's state after the whole epochs that are gone on from, with the shares of that place restored;
        None at the beginning."""
        epoch, step = told.place
        state = kept.load(epoch, kept.offers()[epoch]) if epoch else {"training": None, "adversaries": {}}
        restore_shares(self.state, told.shares if step else state["adversaries"])
        return state["training"] and dict(state["training"])

    def keep(self, kept: Checkpoints, epoch: int, state: Callable[[], dict[str, Any]]) -> None:
        """Have all parties keep their state of a whole epoch."""
        keep_epoch(self.config, self.network, kept, self.state, epoch, state())
        if self.told is not None:
            self.told.whole(epoch)

    def bind(self, folders: Folders) -> list[Bound]:
        """Where the run is certified, be committed to the model before anything of it is counted; what was answered
        about another model is not remembered."""
        if not self.config.certified:
            return []
        bound = bind(self.config, self.network, folders.out)
        self.cache = ReleaseCache(folders.state / "answers", terms=f"{self.config.privacy} {name_of(bound.model)}")
        return [bound]

    # a release, from the question to the opened value

    def release(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor] = ()) -> Release:
        """Ask; once all holders have admitted it compute together, or take what they send; write down and return.

        An answer that an earlier process of this run was given is returned again, and nobody is asked.
        """
        question = question_of(ask, records, private) if self.told is not None and is_kept(ask) else ""
        answer = self.told.recall(question) if self.told is not None and question else None
        if answer is not None:
            return answer
        granted = self._ask(ask, records)
        if not OPERATIONS[ask.operation].rule.on_shares:
            return self._take_sent(granted, records)
        release = Release(*self._compute(ask, records, private, granted))
        moved = shares_of(self.state) if _step_sigma(granted, ask) else None
        if self.told is not None and question and (release.sigma or moved):  # what is exact costs nothing a second time
            self.told.keep(question, release, list(_receipts(granted)), moved)
        for grant in granted.values():
            for receipt in grant.receipts:
                self.ledger.received(receipt, _newest(grant))
        self.forecast.ask_ahead()
        return release

    def _ask(self, ask: Ask, records: np.ndarray) -> dict[str, Granted]:
        """Every holder of the attribute, or of one of an intersection's, must admit the request; only then is everybody
        told to begin. Where one's budget is spent nobody does, and nothing is spent."""
        for auditor in self.config.auditors:
            messages.send(self.network, auditor, ask, messages.pack_records(records))
        granted: dict[str, Granted] = {}
        exceeded: BudgetExceeded | None = None
        for holder in self.config.answering(ask.attribute):
            try:
                granted[holder], _ = messages.expect(self.network, holder, Granted)
            except BudgetExceeded as error:
                exceeded = exceeded or error
        if exceeded:
            self._proceed(Proceed(go=False))
            raise exceeded
        self._check_receipts(granted, requests(ask, records, self.state.facts))
        self._proceed(Proceed(go=True, checkers=_checkers(granted), step_sigma=_step_sigma(granted, ask)))
        return granted

    def _check_receipts(self, granted: Mapping[str, Granted], wanted: Sequence[Request]) -> None:
        """Check that what each holder has admitted is what was wanted, of every attribute that it holds of it."""
        for holder, grant in granted.items():
            held = [name for name in self.components(wanted[0].attribute) if holder in self.config.holders[name]]
            due = [charged_on(request, name) for request in wanted for name in held]
            check_receipts(grant.receipts, due, run=self.run, auditor=holder, table=self.table)
        check_noise(granted)

    def _proceed(self, proceed: Proceed) -> None:
        for auditor in self.config.auditors:
            messages.send(self.network, auditor, proceed)

    def _compute(
        self, ask: Ask, records: np.ndarray, private: Sequence[Tensor], granted: Mapping[str, Granted]
    ) -> tuple[Tensor, float]:
        """Share the private input, prove its bound to those who ask for it, compute, receive the value."""
        operation, sigma, checkers = OPERATIONS[ask.operation], _opened_sigma(granted, ask), _checkers(granted)
        with self.forecast.request(ask.alike(records)), self.session.operation(ask.operation):
            inputs = self._share(ask, records, private, {name: granted[name].receipts[-1] for name in checkers})
            update = Update(_step_sigma(granted, ask))
            value = operation.compute(self.state, ask, records, inputs, update)
            bound = operation.bound(ask, records, self.state.facts) + NOISE_MARGIN * sigma
            opened = self.session.receive_opening(value, bound=bound)
        holder = self.config.confirms(ask.operation, ask.attribute)
        if holder is not None:
            told = Told(torch.round(opened * self.session.scale).long(), private[0].sum(dim=0).long())
            prove(self.session, inputs[0], holder, told)
        return opened, sigma

    def _share(
        self, ask: Ask, records: np.ndarray, private: Sequence[Tensor], verifiers: Mapping[str, Receipt]
    ) -> list[Any]:
        """Share the input; wait for every verifier's word, and write down what it has learned, by its receipt.

        One that refuses, or is lost, ends the run; what the others have learned is then written down as not told.
        """
        heard: dict[str, bool | None] = dict.fromkeys(verifiers)
        try:
            inputs = OPERATIONS[ask.operation].share(self.state, ask, records, private, list(verifiers))
            for verifier in verifiers:
                try:
                    messages.expect(self.network, verifier, Proceed)
                    heard[verifier] = True
                except Refusal:
                    heard[verifier] = False
                    raise
            return inputs
        finally:
            for verifier, holds in heard.items():
                number = verifiers[verifier].number
                self.ledger.verdict(self.run, number, verifier, ask.operation, ask.attribute, holds)

    def _take_sent(self, granted: Mapping[str, Granted], records: np.ndarray) -> Release:
        """The holders' own values."""
        sent = []
        for holder, grant in granted.items():
            _, raw = messages.expect(self.network, holder, Opened)
            self.ledger.received(grant.receipts[-1], _newest(grant))  # whatever it is that came
            sent.append((holder, messages.unpack_numbers(raw, math.prod(grant.receipts[-1].shape))))
        return Release(torch.from_numpy(self.joined(sent, records)))

    # what is not a release

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """The attribute's holder trains on its own pictures; an ``adapter`` is disclosed to it, and written down."""
        (holder,) = self.config.holders[attribute]
        raw = b"" if adapter is None else flatten_adapter(adapter).numpy().astype("<f8").tobytes()
        if adapter is not None:
            self.ledger.disclosed(self.run, holder, "adapter", len(raw) // 8)
        for auditor in self.config.auditors:
            mine = auditor == holder
            message = Train(attribute=attribute, width=width, shapes=shapes_of(adapter or {}) if mine else {})
            messages.send(self.network, auditor, message, raw if mine else b"")
        self.state.share_adversary(attribute, holder, None, width)


def check_receipts(
    receipts: Sequence[Receipt], wanted: Sequence[Request], *, run: str, auditor: str, table: str
) -> None:
    """ProtocolError unless an auditor's receipts are of what was wanted of it; ``table``: the enrolled one's name."""
    if len(receipts) != len(wanted):
        raise ProtocolError(f"{auditor} gave {len(receipts)} receipts for {len(wanted)} releases")
    for receipt, request in zip(receipts, wanted, strict=True):
        due = Receipt(
            run=run,
            number=receipt.number,
            auditor=auditor,
            operation=request.operation,
            attribute=request.attribute,
            records=records_hash(table, request.records),
            count=len(request.records),
            shape=tuple(request.shape),
            sigma=receipt.sigma,
            of=request.of,
        )
        if receipt != due:
            raise ProtocolError(f"{auditor} gave a receipt of something else: {receipt}, wanted was {due}")
        if receipt.sigma is not None and not 0 <= receipt.sigma < math.inf:
            raise ProtocolError(f"{auditor} gave a receipt with sigma {receipt.sigma}: it is finite, 0 or more")


def check_noise(granted: Mapping[str, Granted]) -> None:
    """ProtocolError where the noise of all receipts together is not finite: it is passed on to all."""
    sigma = math.hypot(*(receipt.sigma or 0.0 for receipt in _receipts(granted)))
    if not math.isfinite(sigma):
        raise ProtocolError(f"the receipts of {', '.join(granted)} have noise of sigma {sigma} together")


def _receipts(granted: Mapping[str, Granted]) -> Iterable[Receipt]:
    return (receipt for grant in granted.values() for receipt in grant.receipts)


def _newest(grant: Granted) -> ChainEnd | None:
    """How far the auditor's ledger had come when it granted."""
    return ChainEnd(grant.newest.entries, grant.newest.hash) if grant.newest else None


def _opened_sigma(granted: Mapping[str, Granted], ask: Ask) -> float:
    """The sigma of all noise on the opened value: each holder adds enough alone."""
    return math.hypot(*(r.sigma or 0.0 for r in _receipts(granted) if r.operation == ask.operation))


def _step_sigma(granted: Mapping[str, Granted], ask: Ask) -> float:
    """The sigma of all noise on the adversary's update, where there is one."""
    return math.hypot(*(r.sigma or 0.0 for r in _receipts(granted) if r.operation != ask.operation))


def _checkers(granted: Mapping[str, Granted]) -> list[str]:
    return [holder for holder, grant in granted.items() if grant.check]
