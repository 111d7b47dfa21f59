"""The developer's column of the protocol: ask, go through the operation with the private input, receive the value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from parties import messages
from parties.config import Endpoint, Folders, RunConfig
from parties.lockstep import Lockstep, Turn
from parties.messages import Ask, Attributes, Enrol, Finished, Granted, Held, Opened, Proceed, Train
from parties.progress import Progress
from parties.reports import leave, write_party_report
from parties.training import develop, prepare
from secure_fair.data.store import DeveloperStore
from secure_fair.errors import BudgetExceeded, ProtocolError
from secure_fair.groups import joint_groups
from secure_fair.learning.auditors import Adapter, Release, corrected, flatten_adapter, unflatten_adapter
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.privacy.ledger import Ledger, Receipt
from secure_fair.privacy.release_cache import Question, ReleaseCache

from crypten.mpc import MPCTensor  # isort: skip

NOISE_MARGIN = 10.0  # standard deviations that an opened number may be beyond its bound
NO_RECORDS = np.empty(0, dtype=np.int64)


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, run: str, progress: Progress) -> None:
    """Train once with the scenario's method: connect, enrol the records, train, say goodbye."""
    store = DeveloperStore.open(folders.store)
    network = Network(endpoint.credentials, endpoint.listen, timeout=endpoint.timeout, link=endpoint.link)
    ledger = Ledger(folders.state / "ledger", network.name, simulated=endpoint.simulated)
    try:
        progress.stage("connecting")
        network.connect(endpoint.peers, endpoint.agreement)
        session = Session.open(
            network, parties=config.compute_parties, dealer=config.dealer, precision_bits=config.precision_bits
        )
        ledger.start(run)
        rows = np.concatenate([store.training, store.test])
        ids = [] if config.method.own_records else [store.ids[row] for row in rows]
        enrol = Enrol(run=run, training=len(store.training), test=len(store.test))
        for auditor in config.auditors:
            messages.send(network, auditor, enrol, messages.pack_ids(ids))
        progress.stage("features")
        data = prepare(config, store, folders.store / "cache", progress)
        answers = ReleaseCache(folders.state / "answers", terms=str(config.privacy))
        auditors = SecureAuditors(config, network, session, ledger, answers, run, ids)
        progress.stage(f"training: {config.method.name}, {len(data.training)} records")
        develop(config, data, auditors, folders.out, progress)
        for auditor in config.auditors:
            messages.send(network, auditor, Finished())
        session.close()
        ledger.extract(run, folders.out / "ledger.jsonl")
        write_party_report(folders.out, network.name, session.meter, network, None)
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
        ledger.close()


class SecureAuditors:
    """The auditors behind the network, as a method sees them (``secure_fair.learning.auditors.Auditors``)."""

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        session: Session,
        ledger: Ledger,
        answers: ReleaseCache,
        run: str,
        ids: list[str],
    ) -> None:
        """Waits until every auditor has said what it holds, then takes its shares of it. ``ids``: enrolled records."""
        self.config = config
        self.network = network
        self.ledger = ledger
        self.answers = answers
        self.run = run
        self.ids = ids
        self._groups: dict[str, tuple[str, ...]] = {}
        self.adapters: dict[str, dict[str, tuple[tuple[int, int], tuple[int, int]]]] = {}
        bits = b""
        for auditor in config.auditors:
            held, raw = messages.expect(network, auditor, Held)
            self._take(auditor, held)
            bits += raw
        groups = {name: list(self._groups[name]) for name in config.holders}
        self.parts = messages.unpack_parts(bits, config.parted, len(ids))
        messages.check_parts(self.parts, config.holders)
        for auditor in config.auditors:
            messages.send(network, auditor, Attributes(groups=groups, adapters=self.adapters), bits)
        self.attributes = config.penalised
        self.audited = config.audited
        self.session = session
        self.lockstep = Lockstep(config, session, self._groups, len(ids))
        if ids:
            for attribute in config.holders:
                self.lockstep.share_memberships(attribute, None)
            self.lockstep.intersect()
        for name, components in config.intersections.items():
            self._groups[name] = joint_groups({component: self._groups[component] for component in components})
        self._responses: dict[tuple[str, bytes], np.ndarray] = {}
        if config.method.release == "gradient":
            for attribute, modules in self.adapters.items():
                self.lockstep.share_sensitive(attribute, None, [a for a, _ in modules.values()])

    def _take(self, auditor: str, held: Held) -> None:
        """What an auditor says that it holds, which must be what the scenario promises."""
        promised = {attribute for attribute, holders in self.config.holders.items() if auditor in holders}
        if held.attributes.keys() != promised:
            raise ProtocolError(
                f"{auditor} says that it holds {', '.join(sorted(held.attributes)) or 'nothing'}; the scenario "
                f"promises {', '.join(sorted(promised))}"
            )
        for attribute, names in held.attributes.items():
            if self._groups.setdefault(attribute, tuple(names)) != tuple(names):
                raise ProtocolError(
                    f"{attribute}: {auditor} has the groups {', '.join(names)}, another auditor "
                    f"{', '.join(self._groups[attribute])}: all stores must come from the same data"
                )
        self.adapters.update(held.adapters)

    def groups(self, attribute: str) -> tuple[str, ...]:
        """Names of the attribute's groups."""
        return self._groups[attribute]

    def group_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release:
        """Records per stratum and column."""
        indicator = torch.nn.functional.one_hot(strata, count).double()
        return self._released(Ask(operation="group_counts", attribute=attribute, width=count), records, [indicator])

    def evaluation_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release | None:
        """Test records per stratum and column, where the scenario has them released; asked once, then remembered."""
        if not self.config.evaluated:
            return None
        operation, holders = "evaluation_counts", ", ".join(self.config.answering(attribute))

        def ask(query: str) -> tuple[Tensor, float]:
            indicator = torch.nn.functional.one_hot(strata, count).double()
            wanted = Ask(operation=operation, attribute=attribute, width=count, query=query)
            released = self._released(wanted, records, [indicator])
            return released.values, released.sigma

        people = [self.ids[record] for record in records]
        return Release(*self.answers.recall(Question(operation, attribute, holders, people, strata, count), ask))

    def moment(self, attribute: str, records: np.ndarray, query: Tensor) -> Release:
        """F^T A."""
        return self._released(Ask(operation="moment", attribute=attribute, width=query.shape[1]), records, [query])

    def penalty_rows(self, attribute: str, records: np.ndarray) -> Release:
        """The membership columns of each record."""
        return self._released(Ask(operation="penalty_rows", attribute=attribute), records, [])

    def adversary_rows(self, attribute: str, records: np.ndarray, features: Tensor) -> Release:
        """Rows of the adversary's gradient; the adversary moves one step on shares."""
        ask = Ask(operation="adversary_rows", attribute=attribute, width=features.shape[1])
        return self._released(ask, records, [features])

    def entropy_rows(self, attribute: str, records: np.ndarray, features: Tensor) -> Release:
        """Rows of the entropy's gradient; an adversary of aligned records then moves one step on shares."""
        shape = (features.shape[0], features.shape[1])
        ask = Ask(operation="entropy_rows", attribute=attribute, width=shape[1], shapes=[shape])
        return self._released(ask, NO_RECORDS if self.config.method.own_records else records, [features])

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """The attribute's holder trains on its own pictures; an ``adapter`` is disclosed to it, and written down."""
        (holder,) = self.config.holders[attribute]
        shapes = {name: (_shape(a), _shape(b)) for name, (a, b) in (adapter or {}).items()}
        raw = b"" if adapter is None else flatten_adapter(adapter).numpy().astype("<f8").tobytes()
        if adapter is not None:
            self.ledger.disclosed(self.run, holder, "adapter", len(raw) // 8)
        for auditor in self.config.auditors:
            message = Train(attribute=attribute, width=width, shapes=shapes if auditor == holder else {})
            messages.send(self.network, auditor, message, raw if auditor == holder else b"")
        self.lockstep.share_adversary(attribute, None, width)

    def randomised_attributes(self, attribute: str, records: np.ndarray) -> tuple[Tensor, Tensor]:
        """Group codes by randomised response; an intersection's follow from the answers about its attributes."""
        components = self.config.components(attribute)
        epsilon = self.config.privacy.epsilon if self.config.privacy else None
        answers = [self._answered(component, records) for component in components]
        groups = [len(self._groups[component]) for component in components]
        return corrected(answers, groups, [epsilon] * len(components))

    def _answered(self, attribute: str, records: np.ndarray) -> np.ndarray:
        """The answers, asked for once; every holder gives those of its own people."""
        key = (attribute, records.tobytes())
        if key not in self._responses:
            codes = np.zeros(len(records), dtype=np.int64)
            ask = Ask(operation="randomised_attributes", attribute=attribute)
            for holder, values in self._sent(ask, records).items():
                theirs = self.parts[holder][records] if holder in self.parts else np.ones(len(records), dtype=bool)
                codes[theirs] = values.long().numpy()[theirs]
            self._responses[key] = codes
        return self._responses[key]

    def orthogonality(self, attribute: str, task: Sequence[Tensor]) -> list[Tensor]:
        """2 A_t A_s^T A_s of each module."""
        shapes = [(matrix.shape[0], matrix.shape[1]) for matrix in task]
        ask = Ask(operation="orthogonality", attribute=attribute, shapes=shapes)
        flat = self._released(ask, NO_RECORDS, list(task)).values
        parts = flat.split([matrix.numel() for matrix in task])
        return [part.reshape(matrix.shape) for part, matrix in zip(parts, task, strict=True)]

    def sensitive_adapter(self, attribute: str) -> Adapter:
        """The auditor's adapter."""
        modules = self.adapters[attribute]
        shapes = {name: (torch.Size(a), torch.Size(b)) for name, (a, b) in modules.items()}
        flat_shapes = [shape for pair in modules.values() for shape in pair]
        ask = Ask(operation="sensitive_adapter", attribute=attribute, shapes=flat_shapes)
        (values,) = self._sent(ask, NO_RECORDS).values()
        return unflatten_adapter(values, shapes)

    def _sent(self, ask: Ask, records: np.ndarray) -> dict[str, Tensor]:
        """The value of each holder that sends its own as it is."""
        found = {}
        for holder, granted in self._ask(ask, records).items():
            _, raw = messages.expect(self.network, holder, Opened)
            self.ledger.received(granted.receipts[-1])
            found[holder] = torch.from_numpy(np.frombuffer(raw, dtype="<f8").copy())
        return found

    def _released(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor]) -> Release:
        """Ask, compute together, receive, and write down what was received."""
        granted = self._ask(ask, records)
        receipts = [receipt for grant in granted.values() for receipt in grant.receipts]
        sigma = _sigma(receipt for receipt in receipts if receipt.operation == ask.operation)
        checkers = _checkers(granted)

        def opening(shared: MPCTensor, bound: float) -> Tensor:
            return self.session.receive_opening(shared, bound=bound + NOISE_MARGIN * sigma)

        def holders_word(within: bool | None) -> None:
            for checker in checkers:
                messages.expect(self.network, checker, Proceed)

        step_sigma = _step_sigma(granted, ask)
        values = self.lockstep.run(
            Turn(ask, records, opening, private=private, checkers=checkers, check=holders_word, step_sigma=step_sigma)
        )
        assert values is not None  # this is the receiver
        for receipt in receipts:
            self.ledger.received(receipt)
        self.lockstep.ask_ahead()
        return Release(values, sigma)

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
        self._proceed(Proceed(go=True, checkers=_checkers(granted), step_sigma=_step_sigma(granted, ask)))
        return granted

    def _proceed(self, proceed: Proceed) -> None:
        for auditor in self.config.auditors:
            messages.send(self.network, auditor, proceed)


def _shape(matrix: Tensor) -> tuple[int, int]:
    return matrix.shape[0], matrix.shape[1]


def _sigma(receipts: Iterable[Receipt]) -> float:
    """Of the noise of all of them together: each holder adds enough alone."""
    return math.hypot(*(receipt.sigma or 0.0 for receipt in receipts))


def _step_sigma(granted: Mapping[str, Granted], ask: Ask) -> float:
    """Of the noise on the adversary's update, where there is one."""
    receipts = (receipt for grant in granted.values() for receipt in grant.receipts)
    return _sigma(receipt for receipt in receipts if receipt.operation != ask.operation)


def _checkers(granted: Mapping[str, Granted]) -> list[str]:
    return [holder for holder, grant in granted.items() if grant.check]
