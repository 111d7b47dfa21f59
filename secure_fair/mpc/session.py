"""One compute party's session: sharing inputs, opening results to one receiver, counting the cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import ProtocolError, UsageError
from secure_fair.mpc import keys, numbers
from secure_fair.mpc.communicator import Masks, NetworkCommunicator, install
from secure_fair.mpc.cost import Meter, OperationCost
from secure_fair.mpc.dealer import CHANNEL as DEALER_CHANNEL
from secure_fair.mpc.menu import Item, renumbered
from secure_fair.mpc.provider import Provider
from secure_fair.mpc.shares import Owned, from_share
from secure_fair.mpc.transcript import BYTES, Transcript
from secure_fair.mpc.transport import Network
from secure_fair.randomness import KeySource

from crypten.mpc import MPCTensor  # isort: skip

OPENING_CHANNEL = "opening"

Call = tuple[str, tuple[tuple[int, ...], ...]]  # an operation's name and the shapes that decide what it takes
Schedule = tuple[tuple[Item, ...], int, int, int]
"""What an operation took, the first mask's number, how many it drew, and the first one's of the outermost operation.

Masks from there on are new with every call: an operation may use what one before it, in the same outer one, has masked.
"""


class Session:
    """Shares among ``parties`` (rank = index), correlated randomness from ``dealer``; all parties call alike, in step.

    ``private`` is False where some party or the dealer draws its keys from a seed: such a run protects nothing.
    """

    def __init__(
        self,
        network: Network,
        communicator: NetworkCommunicator,
        provider: Provider,
        masks: Masks,
        transcript: Transcript,
        *,
        precision_bits: int,
        dealer: str,
        private: bool,
    ) -> None:
        """Use ``open``."""
        self.name = network.name
        self.parties = communicator.parties
        self.rank = communicator.rank
        self.precision_bits = precision_bits
        self.scale = 1 << precision_bits
        self.private = private
        self.communicator = communicator
        self.provider = provider
        self.meter = Meter(self._cost_so_far)
        self._network = network
        self.engine = communicator, provider, masks
        self._masks = masks
        self._transcript = transcript
        self._dealer = dealer
        self._openings = 0
        self._ahead: deque[Call] = deque()  # what the dealer was asked for, in the order in which it was
        self.called: list[Call] = []  # operations with a schedule, since the list was last cleared
        self._schedules: dict[Call, Schedule] = {}
        self._scheduling = False
        self._outermost: int | None = None  # the number of the first mask of the outermost operation

    @classmethod
    def open(
        cls,
        network: Network,
        *,
        parties: Sequence[str],
        dealer: str,
        precision_bits: int = 16,
        source: KeySource | None = None,
    ) -> Session:
        """Agree on keys with every party and the dealer, over a connected ``network``, and set CrypTen up on them.

        ``source``: where this party's keys come from; None is the operating system, a seeded one makes the session NOT
        PRIVATE. UsageError for less than two parties or without a dealer that is none of them: no party can play the
        dealer's part, since it would know all masks.
        """
        numbers.check_precision(precision_bits)
        if len(parties) < 2 or len(set(parties)) != len(parties) or network.name not in parties:
            raise UsageError(
                f"compute parties {list(parties)}: name two or more, once each, this one ({network.name}) too"
            )
        if not dealer or dealer in parties:
            raise UsageError(
                f"dealer {dealer!r}: name a party that is not a compute party; one that made the masks itself would "
                "know every value"
            )
        if NetworkCommunicator.is_initialized():
            raise UsageError("a session is open in this process already; CrypTen has room for one: close it first")
        source = source or KeySource.fresh()
        peers = [party for party in parties if party != network.name]
        shared, private = keys.agree(network, [*peers, dealer], source)
        communicator = NetworkCommunicator(network, parties)
        transcript = Transcript()
        provider = Provider(network, dealer, parties, shared.pop(dealer), transcript)
        masks = Masks(shared, communicator.rank, parties, source)
        install(communicator, provider, masks, precision_bits)
        return cls(
            network,
            communicator,
            provider,
            masks,
            transcript,
            precision_bits=precision_bits,
            dealer=dealer,
            private=private,
        )

    def close(self) -> None:
        """Say goodbye to the dealer and leave CrypTen without a communicator. The network stays open."""
        self.provider.goodbye()
        NetworkCommunicator.shutdown()

    # inputs

    def share(self, owner: str, values: Tensor | None, shape: Sequence[int], *, bound: float) -> MPCTensor:
        """Share real ``values`` of size at most ``bound``; all but the ``owner`` pass None. Nothing is sent.

        The owner's share is its value plus its part of a sharing of zero. Entries are rounded to 2^-precision_bits.
        """
        ring = None if values is None else numbers.encode(values, self.precision_bits, bound=bound)
        return self._share(owner, ring, shape, self.scale)

    def share_integers(self, owner: str, values: Tensor | None, shape: Sequence[int], *, bound: int) -> MPCTensor:
        """Share integers of size at most ``bound`` at scale 1: products with them need no truncation."""
        ring = None if values is None else numbers.encode_integers(values, bound=bound)
        return self._share(owner, ring, shape, 1)

    def share_ring(self, owner: str, ring: Tensor | None, shape: Sequence[int]) -> MPCTensor:
        """Share elements of the ring, int64, as they are: they have no bound."""
        return self._share(owner, ring, shape, 1)

    def own(
        self, owner: str, values: Tensor | None, shape: Sequence[int], *, bound: float, told: Sequence[str] = ()
    ) -> Owned:
        """As ``share``, for what enters products alone: its mask is the owner's, who opens the difference alone, to
        those that are ``told``, all where nobody is named."""
        ring = None if values is None else numbers.encode(values, self.precision_bits, bound=bound)
        return self._own(owner, ring, shape, self.scale, told)

    def own_ring(self, owner: str, ring: Tensor | None, shape: Sequence[int]) -> Owned:
        """As ``own``, elements of the ring, int64, as they are."""
        return self._own(owner, ring, shape, 1)

    def _own(
        self, owner: str, ring: Tensor | None, shape: Sequence[int], scale: int, told: Sequence[str] = ()
    ) -> Owned:
        self._check_passed(owner, ring, shape)
        ranks = tuple(sorted(self.parties.index(name) for name in told))
        self._transcript.note("own", owner, tuple(shape), scale, ranks)
        return Owned(self.parties.index(owner), ring, tuple(shape), scale, ranks)

    def _share(self, owner: str, ring: Tensor | None, shape: Sequence[int], scale: int) -> MPCTensor:
        self._check_passed(owner, ring, shape)
        self._transcript.note("share", owner, tuple(shape), scale)
        share = self._masks.zero(shape)
        return from_share(share if ring is None else share + ring, scale)

    def _check_passed(self, owner: str, ring: Tensor | None, shape: Sequence[int]) -> None:
        if owner not in self.parties:
            raise UsageError(f"{owner!r} is not a compute party ({', '.join(self.parties)}): it cannot share an input")
        if (ring is not None) != (owner == self.name):
            raise UsageError(f"the owner {owner!r}, and nobody else, passes values; this is {self.name!r}")
        if ring is not None and tuple(ring.shape) != tuple(shape):
            raise UsageError(f"values of shape {tuple(ring.shape)} were to be shared as {tuple(shape)}")

    # openings

    def reveal_to(self, receiver: str, shared: MPCTensor, *, noise: Tensor | None = None) -> None:
        """Open ``shared`` to ``receiver`` alone: what every other party does.

        ``noise`` (int64 ring units, the shape of ``shared``) is added to this party's share. Shares are randomised
        anew first, so that the receiver learns their sum and nothing of how it came about.
        """
        if receiver == self.name or receiver not in self.parties:
            raise UsageError(f"{self.name!r} cannot open a value to {receiver!r}: name another compute party")
        size = shared.share.shape
        if noise is not None and (noise.dtype != torch.int64 or noise.shape != size):
            raise UsageError(f"noise is int64 of shape {tuple(size)}, not {noise.dtype} of {tuple(noise.shape)}")
        self._transcript.note("open", receiver, tuple(size), shared.encoder.scale)
        share = shared.share + self._masks.zero(size)
        if noise is not None:
            share += noise
        self._network.send(receiver, OPENING_CHANNEL, self._transcript.digest(), share.contiguous().numpy().data)
        self._openings += 1

    def receive_opening(self, shared: MPCTensor, *, bound: float) -> Tensor:
        """The receiver's side of an opening: the value as float64, ring / scale; ProtocolError beyond ``bound``."""
        return numbers.decode(self.receive_ring(shared), shared.encoder.scale, bound=bound)

    def receive_ring(self, shared: MPCTensor) -> Tensor:
        """The same as an element of the ring, int64: of a value that has no bound, for it is padded."""
        size = 8 * prod(shared.share.shape)
        self._transcript.note("open", self.name, tuple(shared.share.shape), shared.encoder.scale)
        total = (shared.share + self._masks.zero(shared.share.shape)).contiguous().numpy()
        for peer in self.communicator.peers:
            message = self._network.receive(peer, OPENING_CHANNEL, limit=BYTES + size)
            if len(message) != BYTES + size or message[:BYTES] != self._transcript.digest():
                raise ProtocolError(
                    f"{peer} is out of step: it opened {len(message) - BYTES} bytes where {size} were due, or has "
                    "shared, masked or opened other things before than this party"
                )
            total = total + np.frombuffer(message, dtype="<i8", offset=BYTES).reshape(total.shape)
        self._openings += 1
        return torch.from_numpy(np.asarray(total))

    def note(self, *facts: object) -> None:
        """Take public facts into the transcript: parties that were told others notice at the next step."""
        self._transcript.note("fact", *facts)

    # cost, and the dealer's schedule

    @contextmanager
    def operation(self, name: str, *shapes: Sequence[int]) -> Iterator[None]:
        """Everything in this block is one operation of the meter; one inside another is part of the outer one.

        With the public ``shapes`` that decide what it takes from the dealer, its correlated randomness is noted the
        first time and asked for in one message from then on.
        """
        with self.meter.operation(name), self._outermost_of(self.provider.next_mask) as outermost:
            if not shapes or self._scheduling:
                yield
                return
            key = (name, tuple(tuple(shape) for shape in shapes))
            self._transcript.note("operation", *key)
            self.called.append(key)
            if not (self._ahead and self._ahead.popleft() == key and self.provider.waiting()):
                self.provider.discard()  # what was asked for another operation than the one that came
                self.prefetch(name, *shapes)
                self._ahead.clear()
            since = self.provider.start_record()
            self._scheduling = True
            try:
                yield
            finally:
                self._scheduling = False
                drawn = self.provider.next_mask - since
                self._schedules[key] = (self.provider.end_record(), since, drawn, outermost)

    @contextmanager
    def _outermost_of(self, mask: int) -> Iterator[int]:
        """The number of the outermost operation's first mask: ``mask`` where that is the one that begins."""
        if self._outermost is not None:
            yield self._outermost
            return
        self._outermost = mask
        try:
            yield mask
        finally:
            self._outermost = None

    def prefetch(self, name: str, *shapes: Sequence[int]) -> bool:
        """Ask the dealer now for what the next call of this operation will take; False where that is not known yet.

        Between calls, and once for every call to come: what is asked for is queued, in the order of the calls.
        """
        key = (name, tuple(tuple(shape) for shape in shapes))
        items, since, drawn, outermost = self._schedules.get(key, ((), 0, 0, 0))
        if items:
            self._ahead.append(key)
            by = self.provider.next_mask + self.provider.masks_ahead - since
            self.provider.ask([renumbered(item, outermost, by) for item in items], masks=drawn)
        return bool(items)

    def foresees(self, name: str, *shapes: Sequence[int]) -> bool:
        """Whether the next call of this operation is asked for in one message, or with what is around it."""
        return self._scheduling or (name, tuple(tuple(shape) for shape in shapes)) in self._schedules

    def go_on_from(self, other: Session) -> None:
        """Number masks from where another session stands, within its outermost operation."""
        self.provider.number_from(other.provider.next_mask)
        self._outermost = other._outermost

    def learn_from(self, other: Session, name: str, *shapes: Sequence[int]) -> None:
        """Take over what another session, which went on from this one, has noted of an operation."""
        key = (name, tuple(tuple(shape) for shape in shapes))
        self._schedules[key] = other._schedules[key]

    def _cost_so_far(self) -> OperationCost:
        online, dealt = [0, 0], [0, 0]
        for (_, channel), traffic in self._network.traffic().items():
            totals = dealt if channel == DEALER_CHANNEL else online
            totals[0] += traffic.bytes_sent
            totals[1] += traffic.bytes_received
        return OperationCost(
            rounds=self.communicator.rounds + self._openings,
            bytes_sent=online[0],
            bytes_received=online[1],
            seconds=perf_counter(),
            dealer_messages=self.provider.messages,
            dealer_bytes_sent=dealt[0],
            dealer_bytes_received=dealt[1],
            dealer_seconds=self.provider.seconds,
        )
