"""The developer's column of the protocol: ask, go through the operation with the private input, receive the value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from parties import messages
from parties.lockstep import Lockstep, Turn
from parties.messages import Ask, Attributes, Enrol, Finished, Granted, Held, Opened, Proceed, Train
from parties.progress import Progress
from parties.reports import leave, write_party_report
from parties.settings import Folders, Joint, Post
from parties.training import develop, prepare
from secure_fair.data.store import DeveloperStore
from secure_fair.errors import BudgetExceeded, ProtocolError
from secure_fair.learning.auditors import Adapter, Release, flatten_adapter, unflatten_adapter
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.privacy.answers import Answers, Question
from secure_fair.privacy.ledger import Ledger

from crypten.mpc import MPCTensor  # isort: skip

NOISE_MARGIN = 10.0  # standard deviations that an opened number may be beyond its bound
NO_RECORDS = np.empty(0, dtype=np.int64)


def main(joint: Joint, post: Post, folders: Folders, run: str, progress: Progress) -> None:
    """Train once with the scenario's method: connect, enrol the records, train, say goodbye."""
    store = DeveloperStore.open(folders.store)
    network = Network(post.credentials, post.listen, timeout=post.timeout, link=post.link)
    ledger = Ledger(folders.state / "ledger", network.name, simulated=post.simulated)
    try:
        progress.stage("connecting")
        network.connect(post.peers, post.agreement)
        session = Session.open(
            network, parties=joint.compute_parties, dealer=joint.dealer, precision_bits=joint.precision_bits
        )
        ledger.start(run)
        rows = np.concatenate([store.training, store.test])
        ids = [] if joint.method.own_records else [store.ids[row] for row in rows]
        enrol = Enrol(run=run, training=len(store.training), test=len(store.test))
        for auditor in joint.auditors:
            messages.send(network, auditor, enrol, messages.pack_ids(ids))
        progress.stage("features")
        data = prepare(joint, store, folders.store / "cache", progress)
        answers = Answers(folders.state / "answers", terms=str(joint.privacy))
        auditors = SecureAuditors(joint, network, session, ledger, answers, run, ids)
        progress.stage(f"training: {joint.method.name}, {len(data.training)} records")
        develop(joint, data, auditors, folders.out, progress)
        for auditor in joint.auditors:
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
        joint: Joint,
        network: Network,
        session: Session,
        ledger: Ledger,
        answers: Answers,
        run: str,
        ids: list[str],
    ) -> None:
        """Waits until every auditor has said what it holds, then takes its shares of it. ``ids``: enrolled records."""
        self.joint = joint
        self.network = network
        self.ledger = ledger
        self.answers = answers
        self.run = run
        self.ids = ids
        self._groups: dict[str, tuple[str, ...]] = {}
        self.adapters: dict[str, dict[str, tuple[tuple[int, int], tuple[int, int]]]] = {}
        for auditor in joint.auditors:
            held, _ = messages.expect(network, auditor, Held)
            for attribute, names in held.attributes.items():
                if joint.holders.get(attribute) != auditor:
                    raise ProtocolError(f"{auditor} says that it holds {attribute}, which is not in the scenario")
                self._groups[attribute] = tuple(names)
            self.adapters.update(held.adapters)
        missing = sorted(set(joint.holders) - set(self._groups))
        if missing:
            raise ProtocolError(f"no auditor holds {', '.join(missing)}; the scenario promises them")
        self.attributes = tuple(joint.holders)
        groups = {name: list(self._groups[name]) for name in self.attributes}
        for auditor in joint.auditors:
            messages.send(network, auditor, Attributes(groups=groups, adapters=self.adapters))
        self.session = session
        self.lockstep = Lockstep(joint, session, self._groups, len(ids))
        if ids:
            for attribute in self.attributes:
                self.lockstep.share_memberships(attribute, None)
        if joint.method.release == "gradient":
            for attribute, modules in self.adapters.items():
                self.lockstep.share_sensitive(attribute, None, [a for a, _ in modules.values()])

    def groups(self, attribute: str) -> tuple[str, ...]:
        """Names of the attribute's groups."""
        return self._groups[attribute]

    def group_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release:
        """Records per stratum and column."""
        indicator = torch.nn.functional.one_hot(strata, count).double()
        return self._released(Ask(operation="group_counts", attribute=attribute, width=count), records, [indicator])

    def evaluation_counts(self, attribute: str, records: np.ndarray, strata: Tensor, count: int) -> Release | None:
        """Test records per stratum and column, where the scenario has them released; asked once, then remembered."""
        if not self.joint.evaluated:
            return None
        operation, holder = "evaluation_counts", self.joint.holders[attribute]

        def ask(query: str) -> tuple[Tensor, float]:
            indicator = torch.nn.functional.one_hot(strata, count).double()
            wanted = Ask(operation=operation, attribute=attribute, width=count, query=query)
            released = self._released(wanted, records, [indicator])
            return released.values, released.sigma

        people = [self.ids[record] for record in records]
        return Release(*self.answers.once(Question(operation, attribute, holder, people, strata, count), ask))

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
        return self._released(ask, NO_RECORDS if self.joint.method.own_records else records, [features])

    def train_adversary(self, attribute: str, width: int, adapter: Adapter | None) -> None:
        """The attribute's holder trains on its own pictures; an ``adapter`` is disclosed to it, and written down."""
        holder = self.joint.holders[attribute]
        shapes = {name: (_shape(a), _shape(b)) for name, (a, b) in (adapter or {}).items()}
        raw = b"" if adapter is None else flatten_adapter(adapter).numpy().astype("<f8").tobytes()
        if adapter is not None:
            self.ledger.disclosed(self.run, holder, "adapter", len(raw) // 8)
        for auditor in self.joint.auditors:
            message = Train(attribute=attribute, width=width, shapes=shapes if auditor == holder else {})
            messages.send(self.network, auditor, message, raw if auditor == holder else b"")
        self.lockstep.share_adversary(attribute, None, width)

    def randomised_attributes(self, attribute: str, records: np.ndarray) -> tuple[Tensor, float | None]:
        """Group codes by randomised response."""
        ask = Ask(operation="randomised_attributes", attribute=attribute)
        codes = self._sent(attribute, ask, records).long()
        return codes, self.joint.privacy.epsilon if self.joint.privacy else None

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
        return unflatten_adapter(self._sent(attribute, ask, NO_RECORDS), shapes)

    def _sent(self, attribute: str, ask: Ask, records: np.ndarray) -> Tensor:
        """A value that its auditor sends as it is."""
        granted = self._ask(ask, records)
        _, raw = messages.expect(self.network, self.joint.holders[attribute], Opened)
        self.ledger.received(granted.receipts[-1])
        return torch.from_numpy(np.frombuffer(raw, dtype="<f8").copy())

    def _released(self, ask: Ask, records: np.ndarray, private: Sequence[Tensor]) -> Release:
        """Ask, compute together, receive, and write down what was received."""
        granted = self._ask(ask, records)
        sigma = granted.receipts[-1].sigma or 0.0

        def opening(shared: MPCTensor, bound: float) -> Tensor:
            return self.session.receive_opening(shared, bound=bound + NOISE_MARGIN * sigma)

        def holders_word(within: bool | None) -> None:
            messages.expect(self.network, self.joint.holders[ask.attribute], Proceed)

        check = holders_word if granted.check else None
        values = self.lockstep.run(
            Turn(ask, records, opening, private=private, check=check, step_sigma=_step_sigma(granted))
        )
        assert values is not None  # this is the receiver
        for receipt in granted.receipts:
            self.ledger.received(receipt)
        self.lockstep.ask_ahead()
        return Release(values, sigma)

    def _ask(self, ask: Ask, records: np.ndarray) -> Granted:
        """The attribute's holder must admit the request; then everybody is told to begin."""
        for auditor in self.joint.auditors:
            messages.send(self.network, auditor, ask, messages.pack_records(records))
        try:
            granted, _ = messages.expect(self.network, self.joint.holders[ask.attribute], Granted)
        except BudgetExceeded:
            self._proceed(Proceed(go=False))
            raise
        self._proceed(Proceed(go=True, check=granted.check, step_sigma=_step_sigma(granted)))
        return granted

    def _proceed(self, proceed: Proceed) -> None:
        for auditor in self.joint.auditors:
            messages.send(self.network, auditor, proceed)


def _shape(matrix: Tensor) -> tuple[int, int]:
    return matrix.shape[0], matrix.shape[1]


def _step_sigma(granted: Granted) -> float:
    """Of the noise on the adversary's update, where there is one."""
    return granted.receipts[0].sigma or 0.0 if len(granted.receipts) > 1 else 0.0
