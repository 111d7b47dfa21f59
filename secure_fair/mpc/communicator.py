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
from secure_fair.mpc.provider import Provider
from secure_fair.mpc.transport import Network
from secure_fair.randomness import PRG, KeySource, derive

import crypten  # isort: skip
import crypten.communicator  # isort: skip
import crypten.mpc  # isort: skip
from crypten.common import rng  # isort: skip
from crypten.mpc.primitives import ArithmeticSharedTensor, BinarySharedTensor  # isort: skip

CHANNEL = "compute"


class NetworkCommunicator(crypten.communicator.Communicator):
    """Collectives among the compute parties; a party's rank is its place in ``parties``. Each is one round."""

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
        self._network.send(peer, CHANNEL, *(np.ascontiguousarray(tensor.numpy()).data for tensor in tensors))

    def _receive(self, peer: str, like: Sequence[Tensor]) -> list[np.ndarray]:
        """The tensors that ``peer`` sends at this step, which have the shapes of ``like``."""
        sizes = [tensor.numel() for tensor in like]
        message = self._network.receive(peer, CHANNEL, limit=8 * sum(sizes))
        if len(message) != 8 * sum(sizes):
            raise ProtocolError(f"{peer} is out of step: it sent {len(message)} bytes where {8 * sum(sizes)} were due")
        pieces = np.split(np.frombuffer(message, dtype="<i8"), np.cumsum(sizes)[:-1])
        return [piece.reshape(tuple(tensor.shape)) for piece, tensor in zip(pieces, like, strict=True)]

    # collectives

    def all_reduce(self, input: Any, op: Any = ReduceOp.SUM, batched: bool = False) -> Any:
        """Sum (or XOR) over all parties of one tensor, or of a list of them: send to all, then receive from all."""
        tensors = list(input) if batched else [input]
        for peer in self.peers:
            self._send(peer, tensors)
        totals = self._total(tensors, op)
        self.rounds += 1
        return totals if batched else totals[0]

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
        return [tensor if party == self.parties[dst] else self._copy(party, tensor) for party in self.parties]

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Everybody's tensor, in rank order."""
        self.rounds += 1
        for peer in self.peers:
            self._send(peer, [tensor])
        return [tensor if party == self.get_name() else self._copy(party, tensor) for party in self.parties]

    def broadcast(self, input: Tensor, src: int) -> Tensor:
        """The tensor of the party ``src``; the others pass one of its shape."""
        self.rounds += 1
        if src != self.rank:
            return self._copy(self.parties[src], input)
        for peer in self.peers:
            self._send(peer, [input])
        return input

    def _copy(self, peer: str, like: Tensor) -> Tensor:
        return torch.from_numpy(self._receive(peer, [like])[0].copy())

    def barrier(self) -> None:
        """Returns once every party has come here."""
        self.all_reduce(torch.zeros(1, dtype=torch.int64))

    def send_obj(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ProtocolError("objects are not sent: they would travel as pickles")

    recv_obj = broadcast_obj = send_obj


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
    _replace_generators(masks)
    NetworkCommunicator.instance = communicator
    crypten.communicator.DistributedCommunicator = NetworkCommunicator
    vars(crypten.mpc)["__SUPPORTED_PROVIDERS"].clear()
    crypten.mpc.get_default_provider = lambda: provider
    settings: Any = OmegaConf.to_container(crypten.cfg.config)
    # CrypTen reads a setting at every access to a tensor: plain attributes halve its processor time. Nothing that
    # overrides settings for a while (its own exp, log and reciprocal) works on them, and nothing here uses it.
    crypten.cfg.set_config(SimpleNamespace(**{part: SimpleNamespace(**values) for part, values in settings.items()}))
    crypten.cfg.config.encoder.precision_bits = precision_bits


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
