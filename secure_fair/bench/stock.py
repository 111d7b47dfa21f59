"""CrypTen 0.4.1 as released, under measurement: its gloo communicator in the clear, its trusted third party.

It is given the cheapest way to each result that it has: batched products, gradients without the loss's value
(``skip_forward``), openings decoded exactly.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.bench.cases import RATE, Case, cases
from secure_fair.bench.work import BenchOutcome, BenchTask, Cost, answer, serve

import crypten  # isort: skip
import crypten.communicator as communicator  # isort: skip
from crypten.mpc.provider.ttp_provider import TTPClient, TTPServer  # isort: skip

MODES = {"stock": "CrypTen 0.4.1"}


def main(
    rank: int, parties: int, rendezvous: str, batch: int, dim: int, names: Sequence[str], pipe: Connection
) -> None:
    """One process: the compute party ``rank``, or the third party where rank is the number of parties."""
    answer(pipe, lambda: _run(rank, parties, rendezvous, cases(batch, dim, names), pipe))


def _run(rank: int, parties: int, rendezvous: str, given: dict[str, Case], pipe: Connection) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        DISTRIBUTED_BACKEND="gloo", RENDEZVOUS=f"file://{rendezvous}", WORLD_SIZE=str(parties), RANK=str(rank)
    )
    if "lo" in [name for _, name in socket.if_nameindex()]:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    crypten.cfg.mpc.provider = "TTP"
    if rank == parties:
        TTPServer()
        return
    crypten.init()
    serve(pipe, StockParty(given).perform)
    crypten.uninit()


class StockParty:
    """One compute party and its shares of all inputs."""

    def __init__(self, given: dict[str, Case]) -> None:
        self.inputs = {
            name: [crypten.cryptensor(each.values, src=each.owner) for each in case.inputs]
            for name, case in given.items()
        }

    def perform(self, task: BenchTask) -> BenchOutcome:
        """The calls of one task, after a barrier."""
        communicator.get().barrier()
        return self._time(task) if task.timed else self._count(task)

    def _time(self, task: BenchTask) -> BenchOutcome:
        started, worked = perf_counter(), process_time()
        for _ in range(task.calls):
            OPERATIONS[task.case](*self.inputs[task.case])
        seconds, cpu = perf_counter() - started, process_time() - worked
        return BenchOutcome(seconds=seconds / task.calls, cpu=cpu / task.calls)

    def _count(self, task: BenchTask) -> BenchOutcome:
        own, dealt = communicator.get(), Requests()
        crypten.cfg.communicator.verbose = True  # counts
        own.reset_communication_stats()
        with dealt:
            for _ in range(task.calls):
                result, factor = OPERATIONS[task.case](*self.inputs[task.case])
        spent = own.get_communication_stats()
        crypten.cfg.communicator.verbose = False
        # CrypTen counts what goes between compute parties at both ends
        counted = (spent["bytes"] - dealt.bytes) / 2 + dealt.bytes
        cost = Cost((spent["rounds"] - dealt.rounds) / task.calls, dealt.count / task.calls, counted / task.calls)
        return BenchOutcome(cost=cost, result=_decode(result) * factor)


class Requests:
    """Counts what the client of the third party asks for: requests, and CrypTen's own counts of their messages."""

    def __init__(self) -> None:
        self.count = self.rounds = 0
        self.bytes = 0.0

    def __enter__(self) -> None:
        client: Any = TTPClient.get()
        ask = client.ttp_request

        def counted(*arguments: Any, **named: Any) -> Any:
            before = communicator.get().get_communication_stats()
            result = ask(*arguments, **named)
            after = communicator.get().get_communication_stats()
            self.count += 1
            self.rounds += after["rounds"] - before["rounds"]
            self.bytes += after["bytes"] - before["bytes"]
            return result

        client.ttp_request = counted

    def __exit__(self, *error: object) -> None:
        del TTPClient.get().ttp_request


def _decode(shared: Any) -> Tensor:
    """The opened value; CrypTen's own decoding is off by one for some negative numbers."""
    return shared.reveal().double() / shared.encoder.scale


# Each returns the shared result, and the number that it is then multiplied by in the clear.


def product(x: Any, w: Any) -> tuple[Any, float]:
    with crypten.no_grad():
        return x.matmul(w), 1.0


def moment(query: Any, attributes: Any) -> tuple[Any, float]:
    with crypten.no_grad():
        return query.t().matmul(attributes), 1.0


def adversary(features: Any, attributes: Any, weights: Any) -> tuple[Any, float]:
    """Gradient rows of the mean loss, and one step of the weights; nothing keeps the weights in a ball."""
    z, w = features.detach(), weights.detach()
    z.requires_grad = w.requires_grad = True
    logits = z.matmul(w)
    if weights.size(1) == 1:
        loss = logits.binary_cross_entropy_with_logits(attributes, skip_forward=True)
    else:
        loss = logits.cross_entropy(attributes, skip_forward=True)
    loss.backward()
    batch = features.size(0)
    with crypten.no_grad():
        w.sub(w.grad.mul(RATE * batch))
    return z.grad, float(batch)


def orthogonality(task: Any, sensitive: Any) -> tuple[Any, float]:
    with crypten.no_grad():
        return task.matmul(sensitive.transpose(1, 2)).matmul(sensitive).mul(2), 1.0


def comparison(z: Any) -> tuple[Any, float]:
    with crypten.no_grad():
        return z > 0, 1.0


OPERATIONS: dict[str, Callable[..., tuple[Any, float]]] = {
    "product": product,
    "moment": moment,
    "counts": moment,
    "adversary": adversary,
    "adversary-5": adversary,
    "orthogonality": orthogonality,
    "comparison": comparison,
}
