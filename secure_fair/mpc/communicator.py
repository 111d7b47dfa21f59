"""CrypTen's communicator on the project's network: raw ring tensors, no pickles, one exchange per round.

Installing it also replaces every generator of CrypTen's by the streams of ``randomness`` and takes its own providers
away: nothing is masked with torch's generator, whose state a peer recovers from 312 outputs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.distributed import ReduceOp

import secure_fair.compat  # noqa: F401
from secure_fair.errors import ProtocolError
from secure_fair.mpc import comparison
from secure_fair.mpc.offered import COUNTS, MESSAGES, OBJECTS, not_offered, refuse_the_rest
from secure_fair.mpc.provider import Provider
from secure_fair.mpc.transport import Network
from secure_fair.randomness import PRG, KeySource, derive

import crypten  # isort: skip
import crypten.communicator  # isort: skip
import crypten.mpc  # isort: skip
from crypten.common import rng  # isort: skip
from crypten.mpc.primitives import ArithmeticSharedTensor, BinarySharedTensor  # isort: skip

CHANNEL = "compute"
MOST_DIRECT = 3
"""So many parties send what they open to each other; more of them by one, who adds up: 2 (n - 1) messages in 2 rounds
in place of n (n - 1) in 1. An opened value is the sum of all parties' parts either way, and any party that lies can
move it, for one receiver or for all; whoever adds up gets the parts that everybody would get."""


class NetworkCommunicator(crypten.communicator.Communicator):
    """Collectives among the compute parties; a party's rank is its place in ``parties``. Each is one round, and sums of
    many parties two (``MOST_DIRECT``)."""

    BYTES_PER_ELEMENT = 8
    instance: NetworkCommunicator | None = None

    def __init__(self, network: Network, parties: Sequence[str]) -> None:
        self._network = network
        self.parties = tuple(parties)
        self.rank = self.parties.index(network.name)
        self.peers = tuple(party for party in self.parties if party != network.name)
        self.rounds = 0
        self.reset_communication_stats()

    @classmethod
    def is_initialized(cls) -> bool:
        return cls.instance is not None

    @classmethod
    def get(cls) -> NetworkCommunicator | None:
        return cls.instance

    @classmethod
    def initialize(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise ProtocolError("CrypTen's own start-up draws weak seeds: use secure_fair.mpc.session.Session.open")

    @classmethod
    def shutdown(cls) -> None:
        cls.instance = None

    def get_world_size(self) -> int:
        return len(self.parties)

    def get_rank(self) -> int:
        return self.rank

    def get_name(self) -> str:
        return self._network.name

    # messages

    def _send(self, peer: str, tensors: Sequence[Tensor]) -> None:
        self._network.send(peer, CHANNEL, *(np.ascontiguousarray(tensor.detach().numpy()).data for tensor in tensors))

    def _receive(self, peer: str, like: Sequence[Tensor]) -> list[np.ndarray]:
        """The tensors that ``peer`` sends at this step, which have the shapes of ``like``."""
        sizes = [tensor.nbytes for tensor in like]
        message = self._network.receive(peer, CHANNEL, limit=sum(sizes))
        if len(message) != sum(sizes):
            raise ProtocolError(f"{peer} is out of step: it sent {len(message)} bytes where {sum(sizes)} were due")
        starts = np.cumsum([0, *sizes])
        return [
            np.frombuffer(message, tensor.detach().numpy().dtype, tensor.numel(), offset=int(start)).reshape(
                tuple(tensor.shape)
            )
            for tensor, start in zip(like, starts, strict=False)
        ]

    # collectives

    def all_reduce(self, input: Any, op: Any = ReduceOp.SUM, batched: bool = False) -> Any:
        """Sum (or XOR) over all parties of one tensor, or of a list of them."""
        tensors = list(input) if batched else [input]
        if len(self.parties) > MOST_DIRECT:
            totals = self._total_by_first(tensors, op)
            self.rounds += 2
        else:
            for peer in self.peers:
                self._send(peer, tensors)
            totals = self._total(tensors, op)
            self.rounds += 1
        return totals if batched else totals[0]

    def open_parts(
        self, parts: Sequence[Tensor], owners: Sequence[int | None], told: Sequence[tuple[int, ...]] = ()
    ) -> list[Tensor]:
        """The sum of all parties' parts, int64, of each value, or where it has an owner (rank) that one's part alone.

        Everybody passes a part of the right shape; what another owns is not sent. An owner's part goes from it to all,
        for nobody else is to have a hand in it; sums of more than three parties go by the first (``all_reduce``). Where
        ``told`` (ranks, of each value) names some, what has an owner goes to them alone: who is not has its own part.
        """
        by_first = len(self.parties) > MOST_DIRECT and None in owners
        direct = [*range(len(self.parties)), *([] if by_first else [None])]
        totals = self._open_direct(parts, owners, direct, told or [()] * len(parts))
        if by_first:
            summed = [i for i, owner in enumerate(owners) if owner is None]
            for i, total in zip(summed, self._total_by_first([parts[i] for i in summed], ReduceOp.SUM), strict=True):
                totals[i] = total
            self.rounds += 2
        return [part if total is None else total for part, total in zip(parts, totals, strict=True)]

    def _open_direct(
        self,
        parts: Sequence[Tensor],
        owners: Sequence[int | None],
        wanted: Sequence[int | None],
        told: Sequence[tuple[int, ...]],
    ) -> list[Tensor | None]:
        """Those whose owner is ``wanted`` (None: nobody alone), from each to all that are told; None for the others and
        one's own."""
        if not set(wanted) & set(owners):
            return [None] * len(parts)

        def due(sender: int, receiver: int) -> list[int]:
            sent = [i for i, owner in enumerate(owners) if owner in wanted and owner in (None, sender)]
            return [i for i in sent if not told[i] or receiver in told[i]]

        for peer in self.peers:
            mine = due(self.rank, self.parties.index(peer))
            if mine:
                self._send(peer, [parts[i] for i in mine])
        totals = [part if owner is None and None in wanted else None for part, owner in zip(parts, owners, strict=True)]
        for peer in self.peers:
            theirs = due(self.parties.index(peer), self.rank)
            received = self._receive(peer, [parts[i] for i in theirs]) if theirs else []
            for i, part in zip(theirs, received, strict=True):
                before = totals[i]
                totals[i] = torch.from_numpy(part.copy() if before is None else before.numpy() + part)
        self.rounds += 1
        return totals

    def _total_by_first(self, tensors: Sequence[Tensor], op: Any) -> list[Tensor]:
        """The totals by the first party, which adds up and tells all."""
        if self.rank:
            self._send(self.parties[0], tensors)
            return [torch.from_numpy(total.copy()) for total in self._receive(self.parties[0], tensors)]
        totals = self._total(tensors, op)
        for peer in self.peers:
            self._send(peer, totals)
        return totals

    def reduce(self, input: Any, dst: int, op: Any = ReduceOp.SUM, batched: bool = False) -> Any:
        """As all_reduce, but only the party ``dst`` gets the result; the others get None."""
        tensors = list(input) if batched else [input]
        self.rounds += 1
        if dst != self.rank:
            self._send(self.parties[dst], tensors)
            return None
        totals = self._total(tensors, op)
        return totals if batched else totals[0]

    def _total(self, tensors: Sequence[Tensor], op: Any) -> list[Tensor]:
        if op not in (ReduceOp.SUM, ReduceOp.BXOR):
            raise ProtocolError(f"shares are opened by sum or by XOR, not by {op}")
        add = np.add if op == ReduceOp.SUM else np.bitwise_xor
        totals = [tensor.numpy() for tensor in tensors]
        for peer in self.peers:
            totals = [add(total, part) for total, part in zip(totals, self._receive(peer, tensors), strict=True)]
        return [torch.from_numpy(np.asarray(total)) for total in totals]

    def gather(self, tensor: Tensor, dst: int) -> list[Tensor | None]:
        """Everybody's tensor at the party ``dst``, in rank order; [None] elsewhere."""
        self.rounds += 1
        if dst != self.rank:
            self._send(self.parties[dst], [tensor])
            return [None]
        return [*self._everybodys(tensor)]

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Everybody's tensor, in rank order."""
        self.rounds += 1
        for peer in self.peers:
            self._send(peer, [tensor])
        return self._everybodys(tensor)

    def _everybodys(self, tensor: Tensor) -> list[Tensor]:
        """This party's tensor and its peers', in rank order, none of which changes with another."""
        return [
            tensor.clone() if party == self.get_name() else self._copies(party, [tensor])[0] for party in self.parties
        ]

    def broadcast(self, input: Any, src: int, batched: bool = False) -> Any:
        """The tensor of the party ``src``, or a list of them; the others pass what has its shape and type."""
        tensors = list(input) if batched else [input]
        self.rounds += 1
        if src != self.rank:
            received = self._copies(self.parties[src], tensors)
            return received if batched else received[0]
        for peer in self.peers:
            self._send(peer, tensors)
        return input

    def _copies(self, peer: str, like: Sequence[Tensor]) -> list[Tensor]:
        return [torch.from_numpy(part.copy()) for part in self._receive(peer, like)]

    def barrier(self) -> None:
        """Returns once every party has come here."""
        self.all_reduce(torch.zeros(1, dtype=torch.int64))

    send_obj = recv_obj = broadcast_obj = not_offered("sending an object", OBJECTS)
    send = recv = isend = irecv = scatter = not_offered("a message to one party", MESSAGES)
    set_name = not_offered("another name", "a party is called as its certificate says")
    get_communication_stats = print_communication_stats = not_offered("a count of CrypTen's", COUNTS)


class Masks:
    """The streams that one compute party masks with: one per peer and purpose, and one of its own."""

    def __init__(self, keys: Mapping[str, bytes], rank: int, parties: Sequence[str], source: KeySource) -> None:
        self._additive = [
            (1 if rank < other else -1, PRG(derive(keys[party], "zero sharing", "additive")))
            for other, party in enumerate(parties)
            if other != rank
        ]
        self._binary = [PRG(derive(keys[party], "zero sharing", "binary")) for party in keys]
        self.local = PRG(source.derive("local masks", parties[rank]))

    def zero(self, size: Sequence[int]) -> Tensor:
        """This party's share of zero. Every pair has a stream of its own, so that all parties but two may collude."""
        total = torch.zeros(tuple(size), dtype=torch.int64)
        for sign, stream in self._additive:
            total.add_(stream.ring(size), alpha=sign)
        return total

    def binary_zero(self, size: Sequence[int]) -> Tensor:
        """This party's share of zero under XOR."""
        total = torch.zeros(tuple(size), dtype=torch.int64)
        for stream in self._binary:
            total ^= stream.ring(size)
        return total


def install(communicator: NetworkCommunicator, provider: Provider, masks: Masks, precision_bits: int) -> None:
    """Makes CrypTen use this communicator, this provider and these masks, and nothing of its own in their place."""
    refuse_the_rest()
    comparison.install()
    crypten.communicator.DistributedCommunicator = NetworkCommunicator
    vars(crypten.mpc)["__SUPPORTED_PROVIDERS"].clear()
    change_to(communicator, provider, masks)
    settings: Any = OmegaConf.to_container(crypten.cfg.config)
    # CrypTen reads a setting at every access to a tensor: plain attributes halve its processor time
    crypten.cfg.set_config(_attributes(settings))
    crypten.cfg.config.encoder.precision_bits = precision_bits


def change_to(communicator: NetworkCommunicator, provider: Provider, masks: Masks) -> None:
    """Has CrypTen, which is set up, send, ask and mask by these from here on."""
    _replace_generators(masks)
    NetworkCommunicator.instance = communicator
    crypten.mpc.get_default_provider = lambda: provider


def _attributes(settings: Any) -> Any:
    """Nested dictionaries as plain attributes."""
    if not isinstance(settings, dict):
        return settings
    return SimpleNamespace(**{name: _attributes(value) for name, value in settings.items()})


def _replace_generators(masks: Masks) -> None:
    def ring_element(size: Sequence[int], ring_size: int = 2**64, generator: Any = None, **kwargs: Any) -> Tensor:
        if generator is not None or ring_size != 2**64:
            raise ProtocolError("masks come from this party's streams over the whole ring, from no other generator")
        return masks.local.ring(size)

    def kbit(size: Sequence[int], bitlength: int | None = None, generator: Any = None, **kwargs: Any) -> Tensor:
        if generator is not None:
            raise ProtocolError("masks come from this party's streams, from no other generator")
        return masks.local.bits(size, bitlength or 64)

    def flat(size: tuple[Any, ...]) -> tuple[int, ...]:
        return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size

    def additive_zero(*size: Any, device: Any = None) -> ArithmeticSharedTensor:
        return ArithmeticSharedTensor.from_shares(masks.zero(flat(size)), precision=0)

    def binary_zero(*size: Any, device: Any = None) -> BinarySharedTensor:
        return BinarySharedTensor.from_shares(masks.binary_zero(flat(size)), precision=0)

    originals = {"generate_random_ring_element": ring_element, "generate_kbit_random_tensor": kbit}
    for name, replacement in originals.items():
        stock = getattr(rng, name)
        for module in [m for n, m in sys.modules.items() if n.partition(".")[0] == "crypten" and m is not None]:
            if getattr(module, name, None) is stock:
                setattr(module, name, replacement)
    for generators in crypten.generators.values():
        generators.clear()  # whatever still asks for one fails at once
    ArithmeticSharedTensor.PRZS = staticmethod(additive_zero)
    BinarySharedTensor.PRZS = staticmethod(binary_zero)
