"""This project's engine under measurement: a session over TLS, and its dealer, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from secure_fair.bench.cases import BALL, RATE, Case, Input, cases
from secure_fair.bench.work import BenchOutcome, BenchTask, Cost, answer, serve
from secure_fair.mpc import dealer
from secure_fair.mpc.products import fix, mask, multiply, rescale
from secure_fair.mpc.schedule import scheduled
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Credentials, Network
from secure_fair.operations.adversary_step import adversary
from secure_fair.operations.moment import moment_on_shares
from secure_fair.operations.orthogonality import orthogonality_on_shares

DEALER = "dealer"
MODES = {"first": "ours, first use", "ahead": "ours, asked ahead"}
AHEAD = 2  # calls: what a call takes was asked for before the call before it began
BOUND = 2.0**20


def main(
    batch: int, dim: int, names: Sequence[str], name: str, parties: Sequence[str], own: Credentials, pipe: Connection
) -> None:
    """One process: the dealer, or one compute party."""
    answer(pipe, lambda: _run(cases(batch, dim, names), name, parties, own, pipe))


def _run(given: dict[str, Case], name: str, parties: Sequence[str], own: Credentials, pipe: Connection) -> None:
    torch.set_num_threads(1)
    network = Network(own)
    pipe.send(network.address)
    network.connect(pipe.recv(), {"bench": " ".join(case.title for case in given.values())})
    if name == DEALER:
        dealer.serve(network, parties)
    else:
        session = Session.open(network, parties=parties, dealer=DEALER)
        serve(pipe, OwnParty(session, given).perform)
        session.close()
    network.close()


class OwnParty:
    """One compute party and its shares of all inputs."""

    def __init__(self, session: Session, given: dict[str, Case]) -> None:
        self.session = session
        self.cases = given
        self.inputs: dict[str, list[Any]] = {
            name: [self._share(each) for each in case.inputs] for name, case in self.cases.items()
        }
        if "orthogonality" in self.inputs:  # as in training: the sensitive adapters stay, so they are masked once
            task, sensitive = self.inputs["orthogonality"]
            self.inputs["orthogonality"] = [task, fix(session, sensitive)]
        self.fresh = 0  # operations that nobody has called before

    def _share(self, each: Input) -> Any:
        session, owner = self.session, self.session.parties[each.owner]
        values = each.values if session.name == owner else None
        if each.integer:
            return session.share_integers(owner, values, each.values.shape, bound=1)
        return session.share(owner, values, each.values.shape, bound=BOUND)

    def perform(self, task: BenchTask) -> BenchOutcome:
        """The calls of one task, after a round in which the parties meet."""
        session, shapes = self.session, [each.values.shape for each in self.cases[task.case].inputs]
        if task.mode != "first" and not session.prefetch(task.case, *shapes):
            self._call(task.case, task.case, shapes)  # the schedule becomes known
        session.provider.discard()
        session.communicator.barrier()
        outcome = self._time(task, shapes) if task.timed else self._count(task, shapes)
        session.provider.discard()
        return outcome

    def _time(self, task: BenchTask, shapes: Sequence[Sequence[int]]) -> BenchOutcome:
        self._ask_ahead(task, shapes, AHEAD)
        started = perf_counter()
        for _ in range(task.calls):
            self._call(task.case, self._name(task), shapes)
            self._ask_ahead(task, shapes, 1)
        return BenchOutcome(seconds=(perf_counter() - started) / task.calls)

    def _count(self, task: BenchTask, shapes: Sequence[Sequence[int]]) -> BenchOutcome:
        session, label = self.session, f"count {self.fresh}"
        self.fresh += 1
        waits = 0
        with session.meter.operation(label):
            self._ask_ahead(task, shapes, task.calls)
            for _ in range(task.calls):
                before = session.provider.messages
                results = self._call(task.case, self._name(task), shapes)
                waits += session.provider.messages - before
        spent = session.meter.summary()[label]
        sent = spent.bytes_sent + spent.dealer_bytes_sent + spent.dealer_bytes_received
        cost = Cost(spent.rounds / task.calls, waits / task.calls, sent / task.calls)
        return BenchOutcome(cost=cost, result=self._open(results))

    def _name(self, task: BenchTask) -> str:
        """The operation's name: a new one has no known schedule."""
        if task.mode != "first":
            return task.case
        self.fresh += 1
        return f"{task.case} {self.fresh}"

    def _ask_ahead(self, task: BenchTask, shapes: Sequence[Sequence[int]], calls: int) -> None:
        if task.mode == "ahead":
            for _ in range(calls):
                self.session.prefetch(task.case, *shapes)

    def _call(self, case: str, operation: str, shapes: Sequence[Sequence[int]]) -> list[Any]:
        return scheduled(self.session, operation, shapes, OPERATIONS[case], *self.inputs[case])

    def _open(self, results: list[Any]) -> Tensor | None:
        """The result at the first party, None elsewhere."""
        receiver = self.session.parties[0]
        if self.session.name != receiver:
            for shared in results:
                self.session.reveal_to(receiver, shared)
            return None
        opened = [self.session.receive_opening(shared, bound=BOUND) for shared in results]
        return opened[0] if len(opened) == 1 else torch.stack(opened)


def product(session: Session, x: Any, w: Any) -> list[Any]:
    left, right = mask(session, x, w)
    return rescale(session, multiply(session, "matmul", left, right))


def moment(session: Session, query: Any, attributes: Any) -> list[Any]:
    return [moment_on_shares(session, query, attributes)]


def adversary_gradient(session: Session, features: Any, attributes: Any, weights: Any) -> list[Any]:
    return [adversary(session, features, attributes, weights, learning_rate=RATE, ball=BALL)[0]]


def orthogonality(session: Session, task: Any, sensitive: Any) -> list[Any]:
    return orthogonality_on_shares(session, [task], [sensitive])


def comparison(session: Session, z: Any) -> list[Any]:
    return [z > 0]


OPERATIONS: dict[str, Callable[..., list[Any]]] = {
    "product": product,
    "moment": moment,
    "counts": moment,
    "adversary": adversary_gradient,
    "adversary-5": adversary_gradient,
    "orthogonality": orthogonality,
    "comparison": comparison,
}
