"""A compute party's side of the dealer: asks for correlated randomness and hands it to CrypTen's protocols."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

import secure_fair.compat  # noqa: F401
from secure_fair.errors import ProtocolError
from secure_fair.mpc import field as fields
from secure_fair.mpc import menu, requests
from secure_fair.mpc.dealer import CHANNEL, GOODBYE
from secure_fair.mpc.menu import Item
from secure_fair.mpc.transcript import Transcript
from secure_fair.mpc.transport import Network
from secure_fair.randomness import PRG

from crypten.mpc.primitives import ArithmeticSharedTensor, BinarySharedTensor  # isort: skip


@dataclass
class DealerRequest:
    """Items that were asked for in one message, the first of them with number ``start``.

    The call that they are for draws ``masks`` masks of its own.
    """

    items: deque[Item]
    start: int
    masks: int = 0
    corrections: deque[Tensor] = field(default_factory=deque)
    keys: deque[fields.Field] = field(default_factory=deque)  # of the items that make this party a verifier
    answered: bool = False

    def __post_init__(self) -> None:
        self.sizes = [prod(menu.result_shape(item)) for item in self.items]


class Provider:
    """Correlated randomness from the dealer, one item or one known schedule of items per message.

    It has the methods that CrypTen asks of a provider. Only the last party waits for the dealer, and only when it needs
    the first item of an answer.
    """

    def __init__(
        self, network: Network, dealer: str, parties: Sequence[str], key: bytes, transcript: Transcript
    ) -> None:
        self._network = network
        self._dealer = dealer
        self._last = parties[-1] == network.name
        self._rank = list(parties).index(network.name)
        self._source = menu.SharedKeySource(key, self._rank)
        self._transcript = transcript
        self._requested: deque[DealerRequest] = deque()
        self._number = 0
        self._masks = 0
        self._unread = 0  # answers of nothing that were not waited for
        self._records: list[list[Item]] = []
        self.messages = 0
        self.seconds = 0.0  # spent waiting for the dealer

    # asking

    def ask(self, items: Sequence[Item], *, masks: int = 0) -> None:
        """Asks for these items, to be taken in this order by a call that draws so many ``masks``.

        UsageError for what is not on the menu or beyond its bounds: nothing is sent then.
        """
        requests.check(items)
        self._network.send(self._dealer, CHANNEL, self._transcript.digest(), requests.encode(items))
        self._requested.append(DealerRequest(deque(items), self._number, masks))
        self._number += len(items)
        self.messages += 1

    def expect(self, items: Sequence[Item]) -> None:
        """Asks for these items, to be taken next, in one message, unless more than them was asked for before."""
        if not self._requested:
            self.ask(items)

    def waiting(self) -> bool:
        """Whether something that was asked for has not been taken."""
        return bool(self._requested)

    def discard(self) -> None:
        """Drops what was asked for and not taken; its masks are never used. All parties do so at the same step."""
        while self._requested:
            self._receive(self._requested.popleft())

    def take(self, item: Item) -> tuple[tuple[Tensor, ...], Tensor]:
        """This party's parts of the item's masks and of its result."""
        batch, stream = self._next(item)
        masks = menu.draw_masks(item, self._source, stream)
        return masks, self._result(batch, item, stream)

    def take_product(self, item: menu.Product) -> Tensor:
        """This party's part of a product of two masks that it holds already: nothing else is drawn for it."""
        if not (isinstance(item.left, menu.Reused) and isinstance(item.right, menu.Reused)):
            raise ValueError(f"{item}: an operand's mask is drawn with the product; take both")
        batch, stream = self._next(item)
        return self._result(batch, item, stream)

    def take_keys(self, item: menu.Keys) -> fields.Field | None:
        """This verifier's keys, of the item's shape; None at everybody else."""
        batch, stream = self._next(item)
        self._result(batch, item, stream)
        return batch.keys.popleft().reshape(item.shape) if self._rank in item.verifiers else None

    def _next(self, item: Item) -> tuple[DealerRequest, PRG]:
        for record in self._records:
            record.append(item)
        if self._requested and self._requested[0].items[0] != item:
            self.discard()
        if not self._requested:
            self.ask([item])
        batch = self._requested[0]
        self._receive(batch)
        return batch, self._source.item(batch.start)

    def _result(self, batch: DealerRequest, item: Item, stream: PRG) -> Tensor:
        part = batch.corrections.popleft() if self._last else menu.draw_result(item, stream)
        batch.items.popleft()
        batch.start += 1
        if not batch.items:
            self._requested.popleft()
        return part

    def new_mask(self, shape: Sequence[int]) -> tuple[menu.Reused, Tensor]:
        """A mask for one immutable value of this shape, and this party's part of it."""
        self._transcript.note("mask", tuple(shape))
        operand = menu.Reused(self._masks, tuple(shape))
        self._masks += 1
        return operand, self._source.mask(operand)

    def new_committed_mask(
        self, shape: Sequence[int], owners: tuple[int, ...], sizes: tuple[int, ...] = ()
    ) -> tuple[menu.Reused, Tensor]:
        """A mask for what the ``owners`` (ranks) commit themselves to, and this party's part; 0 where it owns none.

        ``sizes``: how many rows each has, where they are several or have not all.
        """
        self._transcript.note("committed mask", tuple(shape), owners, sizes)
        operand = menu.Reused(self._masks, tuple(shape), owners=owners, committed=True, sizes=sizes)
        self._masks += 1
        return operand, self._source.mask(operand)

    def new_owned_mask(self, shape: Sequence[int], owner: int) -> tuple[menu.Reused, Tensor]:
        """A mask of the whole ring for one value that the ``owner`` (rank) has in the clear; 0 at everybody else."""
        self._transcript.note("owned mask", tuple(shape), owner)
        operand = menu.Reused(self._masks, tuple(shape), owners=(owner,))
        self._masks += 1
        return operand, self._source.mask(operand)

    def new_field_mask(self, shape: Sequence[int], owner: int) -> tuple[int, fields.Field | None]:
        """The number of a mask over the whole field, and the mask itself where this party is its owner."""
        self._transcript.note("field mask", tuple(shape), owner)
        number = self._masks
        self._masks += 1
        if owner != self._rank:
            return number, None
        return number, fields.draw(self._source.committed(number, tuple(shape), ring=False), shape)

    def tags(self, item: menu.Keys, verifier: int) -> PRG:
        """The stream of this owner's tags for a verifier (rank), in the order of the item's mask."""
        return self._source.tags(item, verifier)

    @property
    def delta(self) -> fields.Field:
        """This verifier's secret factor, (1,)."""
        return self._source.delta

    def goodbye(self) -> None:
        """Tells the dealer that this party needs nothing more."""
        self.discard()
        self._read_empty()
        self._network.send(self._dealer, CHANNEL, GOODBYE)

    def _receive(self, batch: DealerRequest) -> None:
        if batch.answered:
            return
        batch.answered = True
        started = perf_counter()
        for item in batch.items:
            if isinstance(item, menu.Keys) and self._rank in item.verifiers:
                self._read_empty()
                batch.keys.append(self._receive_keys(item))
        if self._last:
            self._receive_corrections(batch)
        self.seconds += perf_counter() - started

    def _receive_corrections(self, batch: DealerRequest) -> None:
        """The last party's parts of the results. For an answer of nothing, behind others' keys, it does not wait."""
        size = 8 * sum(batch.sizes)
        if size:
            self._read_empty()
            answer = self._answer(size)
        else:
            self._unread += 1
            answer = b""
        elements = torch.from_numpy(np.frombuffer(answer, dtype="<i8").copy())
        shapes = [menu.result_shape(item) for item in batch.items]
        pieces = elements.split(batch.sizes)
        batch.corrections.extend(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True))

    def _read_empty(self) -> None:
        """Take in the answers of nothing that were not waited for."""
        while self._unread:
            self._answer(0)
            self._unread -= 1

    def _answer(self, size: int) -> bytes:
        """The dealer's next answer, of so many bytes."""
        answer = self._network.receive(self._dealer, CHANNEL, limit=size)
        if len(answer) != size:
            raise ProtocolError(f"{self._dealer} answered with {len(answer)} bytes; {size} were asked for")
        return answer

    def _receive_keys(self, item: menu.Keys) -> fields.Field:
        keys, at = np.empty(prod(item.shape), dtype=np.uint64), 0
        for count in menu.key_messages(item):
            part = fields.of_bytes(self._network.receive(self._dealer, CHANNEL, limit=8 * count), (count,))
            if part is None:
                raise ProtocolError(f"{self._dealer} sent something other than the {count} keys that were asked for")
            keys[at : at + count] = part
            at += count
        return keys

    # known schedules

    def start_record(self) -> int:
        """Notes all items taken from now on; returns the number of the next mask."""
        self._records.append([])
        return self._masks

    def end_record(self) -> tuple[Item, ...]:
        """The items taken since the innermost record was started."""
        return tuple(self._records.pop())

    def number_from(self, mask: int) -> None:
        """Give the next new mask this number; for a provider that has not drawn any."""
        if self._masks:
            raise ValueError(f"{self._masks} masks are drawn already, and their numbers would come again")
        self._masks = mask

    @property
    def masks_ahead(self) -> int:
        """How many masks the calls that have been asked for and are to come will draw."""
        return sum(batch.masks for batch in self._requested)

    @property
    def next_mask(self) -> int:
        """The number that the next new mask will have."""
        return self._masks

    # what CrypTen asks of a provider

    def generate_additive_triple(
        self, size0: Sequence[int], size1: Sequence[int], op: str, device: Any = None
    ) -> tuple[ArithmeticSharedTensor, ...]:
        """Parts of a, b and op(a, b); "mul" and "matmul" only."""
        return self._arithmetic(menu.Product(op, menu.Fresh(tuple(size0)), menu.Fresh(tuple(size1))))

    def square(self, size: Sequence[int], device: Any = None) -> tuple[ArithmeticSharedTensor, ...]:
        """Parts of r and r * r."""
        return self._arithmetic(menu.Square(tuple(size)))

    def wrap_rng(self, size: Sequence[int], device: Any = None) -> tuple[ArithmeticSharedTensor, ...]:
        """Parts of r and of the number of its wraps."""
        return self._arithmetic(menu.Wraps(tuple(size)))

    def generate_binary_triple(
        self, size0: Sequence[int], size1: Sequence[int], device: Any = None
    ) -> tuple[BinarySharedTensor, ...]:
        """Parts of a, b and a & b."""
        masks, part = self.take(menu.And(tuple(size0), tuple(size1)))
        return tuple(BinarySharedTensor.from_shares(share) for share in (*masks, part))

    def B2A_rng(self, size: Sequence[int], device: Any = None) -> tuple[ArithmeticSharedTensor, BinarySharedTensor]:
        """The same random bit, shared by addition and by XOR."""
        (bit,), part = self.take(menu.Bit(tuple(size)))
        return ArithmeticSharedTensor.from_shares(part, precision=0), BinarySharedTensor.from_shares(bit)

    def _arithmetic(self, item: Item) -> tuple[ArithmeticSharedTensor, ...]:
        masks, part = self.take(item)
        return tuple(ArithmeticSharedTensor.from_shares(share, precision=0) for share in (*masks, part))
