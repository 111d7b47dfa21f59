"""The dealer's menu: a fixed set of typed, bounded items, and how each is drawn from the parties' keys.

An item is a relation between masks and a result. Every compute party derives its part of the masks from the key that it
shares with the dealer, and all but the last derive their part of the result from it too. The dealer, who holds all the
keys, sums the masks up, computes the result and sends the last party its part: the correction.

``Keys`` differ: they authenticate a mask that one party knows, its owner, to verifiers, who each receive their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import ProtocolError
from secure_fair.mpc import field
from secure_fair.randomness import PRG, derive

MAX_ITEMS = 4096  # in one message
MAX_ELEMENTS = 1 << 27  # ring elements of one tensor
MAX_TOTAL = 1 << 29  # ring elements that one message may ask for
MAX_MESSAGE_BYTES = 16 << 20
MAX_DIMENSIONS = 6
MAX_RANK = 63
COMMITTED_BITS = 60
"""Of a mask that a commitment in the ring is made with; see ``commitment``."""
KEYS_IN_MESSAGE = 1 << 16

Shape = tuple[int, ...]
Rows = tuple[int | tuple[int, int], ...]
"""Rows in their order: single ones, and ranges by their start and end."""
_SHORTEST_RANGE = 3


def pack_rows(indices: Tensor) -> Rows:
    """The rows of a 1-dimensional int64 tensor, with ranges where they follow one another: the same at every party."""
    held = indices.numpy()
    if not len(held):
        return ()
    ends = np.flatnonzero(np.diff(held) != 1) + 1
    starts, ends = np.concatenate([[0], ends]), np.concatenate([ends, [len(held)]])
    if len(starts) == len(held):
        return tuple(held.tolist())
    packed: list[int | tuple[int, int]] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        first = int(held[start])
        long = end - start >= _SHORTEST_RANGE
        packed += [(first, first + end - start)] if long else range(first, first + end - start)
    return tuple(packed)


def count_rows(rows: Rows) -> int:
    """How many rows there are."""
    return sum(1 if isinstance(row, int) else row[1] - row[0] for row in rows)


def pick_rows(whole: Tensor, rows: Rows) -> Tensor:
    """These rows of a tensor; a view of it where they are one range."""
    if len(rows) == 1 and not isinstance(rows[0], int):
        return whole[rows[0][0] : rows[0][1]]
    parts = [np.array([row]) if isinstance(row, int) else np.arange(*row) for row in rows]
    return whole[torch.from_numpy(np.concatenate([np.empty(0, dtype=np.int64), *parts]))]


@dataclass(frozen=True)
class Fresh:
    """An operand of a product that is masked for this product only."""

    shape: Shape


@dataclass(frozen=True)
class Reused:
    """An operand whose mask, number ``mask``, was drawn once for one immutable value of shape ``whole``.

    ``rows`` picks rows of it (None: all), as ``pack_rows`` has them; ``transposed`` swaps its two dimensions
    afterwards. With ``owners`` (ranks) the value is what these are committed to: each owns a part of the mask, of 60
    bits, and the others none.
    """

    mask: int
    whole: Shape
    rows: Rows | None = None
    transposed: bool = False
    owners: tuple[int, ...] = ()

    @property
    def shape(self) -> Shape:
        picked = self.whole if self.rows is None else (count_rows(self.rows), *self.whole[1:])
        return picked[::-1] if self.transposed else picked

    def of(self, whole: Tensor) -> Tensor:
        """The part of ``whole`` (the value, or any share of it or of its mask) that this operand is."""
        picked = whole if self.rows is None else pick_rows(whole, self.rows)
        return picked.T if self.transposed else picked


Operand = Fresh | Reused


@dataclass(frozen=True)
class Product:
    """Masks a, b and the result a * b: ``op`` is "mul" (by element, broadcasting) or "matmul" (batched as torch's)."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True)
class Square:
    """A mask r and the result r * r, by element."""

    shape: Shape


@dataclass(frozen=True)
class And:
    """Masks a, b shared by XOR and the result a & b, by bit."""

    left: Shape
    right: Shape


@dataclass(frozen=True)
class Wraps:
    """A mask r and the number of times that the sum of its parts wraps around the ring."""

    shape: Shape


@dataclass(frozen=True)
class Bit:
    """A random bit shared by XOR and the same bit shared by addition."""

    shape: Shape


@dataclass(frozen=True)
class Keys:
    """Keys of each of the ``verifiers`` (ranks) to the mask with number ``mask`` of the ``owner`` (rank): no result.

    For a mask r the owner has a tag and a verifier the key = tag - Delta r modulo p, for its own secret Delta.
    ``ring``: r has 60 bits and is the owner's part of the operand with this number and shape; otherwise r is of the
    whole field.
    """

    mask: int
    shape: Shape
    owner: int
    verifiers: tuple[int, ...]
    ring: bool


Item = Product | Square | And | Wraps | Bit | Keys


class Source:
    """Everything that one compute party, of this ``rank``, and the dealer derive from the key that they share."""

    def __init__(self, key: bytes, rank: int = 0) -> None:
        self._key = key
        self._rank = rank

    def item(self, number: int) -> PRG:
        """The stream of the item with this number; items are numbered as they are asked for."""
        return PRG(derive(self._key, "item", number))

    def mask(self, operand: Reused) -> Tensor:
        """This party's part of the operand's mask, of the shape of the whole value."""
        if operand.owners:
            if self._rank not in operand.owners:
                return torch.zeros((), dtype=torch.int64).expand(operand.whole)
            return self.committed(operand.mask, operand.whole, ring=True).bits(operand.whole, COMMITTED_BITS)
        return PRG(derive(self._key, "mask", operand.mask, *operand.whole)).ring(operand.whole)

    def committed(self, mask: int, shape: Shape, *, ring: bool) -> PRG:
        """The stream of a mask that this party owns."""
        return PRG(derive(self._key, "committed in the ring" if ring else "committed in the field", mask, *shape))

    def tags(self, item: Keys, verifier: int) -> PRG:
        """The stream of this owner's tags for one verifier."""
        return PRG(derive(self._key, "tags", verifier, int(item.ring), item.mask, *item.shape))

    @property
    def delta(self) -> field.Field:
        """This verifier's secret factor, (1,): one for the session, so that all its keys fit together."""
        return field.draw(PRG(derive(self._key, "delta")), (1,))


@lru_cache(maxsize=1024)
def _product_shape(op: str, left: Shape, right: Shape) -> Shape:
    """Shape of the product; ValueError where the operands do not fit."""
    if op == "mul":
        return tuple(np.broadcast_shapes(left, right))
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        raise ValueError(f"no matrix product of shapes {left} and {right}")
    return (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])


def result_shape(item: Item) -> Shape:
    """Shape of an item's result."""
    match item:
        case Product(op, left, right):
            return _product_shape(op, left.shape, right.shape)
        case And(left, right):
            return _product_shape("mul", left, right)
        case Square(shape) | Wraps(shape) | Bit(shape):
            return shape
        case Keys():
            return (0,)


def draw_masks(item: Item, source: Source, stream: PRG) -> tuple[Tensor, ...]:
    """One party's part of the item's masks; what is fresh is read from ``stream``."""
    match item:
        case Product(_, left, right):
            return tuple(
                operand.of(source.mask(operand)) if isinstance(operand, Reused) else stream.ring(operand.shape)
                for operand in (left, right)
            )
        case And(left, right):
            return stream.ring(left), stream.ring(right)
        case Square(shape) | Wraps(shape):
            return (stream.ring(shape),)
        case Bit(shape):
            return (stream.bits(shape),)
        case Keys():
            return ()


def draw_result(item: Item, stream: PRG) -> Tensor:
    """The part of the item's result that a party other than the last derives, after its masks."""
    return stream.ring(result_shape(item))


def correction(item: Item, sources: Sequence[Source], number: int) -> Tensor:
    """The dealer's work: what the last party's part of the result must be."""
    streams = [source.item(number) for source in sources]
    masks = [draw_masks(item, source, stream) for source, stream in zip(sources, streams, strict=True)]
    parts = [draw_result(item, stream) for stream in streams[:-1]]
    if isinstance(item, Keys):
        return torch.empty(0, dtype=torch.int64)  # they go out by themselves
    if isinstance(item, And):
        left, right = (_xor([mask[side] for mask in masks]) for side in (0, 1))
        return _xor([left & right, *parts])
    return _result(item, masks) - torch.stack(parts).sum(0)


def keys(item: Keys, sources: Sequence[Source]) -> Iterator[tuple[int, field.Field]]:
    """The dealer's work for ``Keys``: pairs of a verifier's rank and its next keys, for a message each."""
    owner = sources[item.owner]
    masks = owner.committed(item.mask, item.shape, ring=item.ring)
    tags = [owner.tags(item, verifier) for verifier in item.verifiers]
    for count in key_messages(item):
        mask = field.encode(masks.bits((count,), COMMITTED_BITS).numpy()) if item.ring else field.draw(masks, (count,))
        for verifier, stream in zip(item.verifiers, tags, strict=True):
            shift = field.multiply(sources[verifier].delta, mask)
            yield verifier, field.subtract(field.draw(stream, (count,)), shift)


def key_messages(item: Keys) -> list[int]:
    """How many keys each message to a verifier holds."""
    total = prod(item.shape)
    return [min(KEYS_IN_MESSAGE, total - start) for start in range(0, total, KEYS_IN_MESSAGE)]


def _result(item: Product | Square | Wraps | Bit, masks: Sequence[tuple[Tensor, ...]]) -> Tensor:
    match item:
        case Product(op, _, _):
            left, right = (_sum([mask[side] for mask in masks]) for side in (0, 1))
            return torch.matmul(left, right) if op == "matmul" else left * right
        case Square():
            return torch.stack([mask[0] for mask in masks]).sum(0).square()
        case Wraps():
            return count_wraps([mask[0] for mask in masks])
        case Bit():
            return _xor([mask[0] for mask in masks])


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    result = tensors[0].clone(memory_format=torch.contiguous_format)
    for tensor in tensors[1:]:
        result += tensor
    return result


def _xor(tensors: Sequence[Tensor]) -> Tensor:
    result = tensors[0].clone()
    for tensor in tensors[1:]:
        result ^= tensor
    return result


def count_wraps(parts: Sequence[Tensor]) -> Tensor:
    """How often adding up int64 ``parts`` one by one leaves [-2^63, 2^63): upwards less downwards."""
    total, wraps = parts[0], torch.zeros_like(parts[0])
    for part in parts[1:]:
        following = total + part
        wraps += ((total >= 0) & (part >= 0) & (following < 0)).long()
        wraps -= ((total < 0) & (part < 0) & (following >= 0)).long()
        total = following
    return wraps


def renumbered(item: Item, since: int, by: int) -> Item:
    """The item with every mask number from ``since`` on moved ``by``: the same step of a later run of an operation."""
    if isinstance(item, Keys):
        return replace(item, mask=item.mask + by) if item.mask >= since else item
    if not isinstance(item, Product):
        return item

    def moved(operand: Operand) -> Operand:
        if isinstance(operand, Reused) and operand.mask >= since:
            return replace(operand, mask=operand.mask + by)
        return operand

    return replace(item, left=moved(item.left), right=moved(item.right))


# On the wire: JSON lists, so that a request can be read, compared byte by byte, and is nothing but data.


def encode(items: Sequence[Item]) -> bytes:
    """A request for these items, in this order."""
    return json.dumps([_plain(item) for item in items], separators=(",", ":")).encode()


def _plain(item: Item) -> list[Any]:
    match item:
        case Product(op, left, right):
            return [op, _plain_operand(left), _plain_operand(right)]
        case And(left, right):
            return ["and", left, right]
        case Square(shape):
            return ["square", shape]
        case Wraps(shape):
            return ["wraps", shape]
        case Bit(shape):
            return ["bit", shape]
        case Keys(mask, shape, owner, verifiers, ring):
            return ["keys", mask, shape, owner, verifiers, ring]


def _plain_operand(operand: Operand) -> list[Any]:
    if isinstance(operand, Fresh):
        return ["fresh", operand.shape]
    plain = ["mask", operand.mask, operand.whole, operand.rows, operand.transposed]
    return [*plain, operand.owners] if operand.owners else plain


def decode(message: bytes) -> list[Item]:
    """The items of a request; ProtocolError for anything that is not on the menu or beyond its bounds."""
    try:
        entries = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a request to the dealer is not JSON: {error}") from error
    if not isinstance(entries, list) or len(entries) > MAX_ITEMS:
        raise ProtocolError(f"a request to the dealer is a list of at most {MAX_ITEMS} items")
    items = [_item(entry) for entry in entries]
    total = sum(_elements(item) for item in items)
    if total > MAX_TOTAL:
        raise ProtocolError(f"a request to the dealer for {total} ring elements; at most {MAX_TOTAL} in one message")
    return items


def _item(entry: Any) -> Item:
    if isinstance(entry, list) and len(entry) >= 2:
        item: Item | None = None
        match entry:
            case ["mul" | "matmul" as op, left, right]:
                item = Product(op, _operand(left), _operand(right))
            case ["and", left, right]:
                item = And(_shape(left), _shape(right))
            case ["square", shape]:
                item = Square(_shape(shape))
            case ["wraps", shape]:
                item = Wraps(_shape(shape))
            case ["bit", shape]:
                item = Bit(_shape(shape))
            case ["keys", int(mask), shape, owner, verifiers, bool(ring)] if type(mask) is int and mask >= 0:
                item = Keys(mask, _shape(shape), _ranks([owner])[0], _ranks(verifiers), ring)
        if item is not None:
            try:
                shape = result_shape(item)
            except ValueError as error:
                raise ProtocolError(
                    f"the shapes of a product asked of the dealer do not fit: {entry!r:.200}"
                ) from error
            if prod(shape) <= MAX_ELEMENTS:
                return item
    raise ProtocolError(f"not on the dealer's menu: {entry!r:.200}")


def _operand(entry: Any) -> Operand:
    match entry:
        case ["fresh", shape]:
            return Fresh(_shape(shape))
        case ["mask", int(mask), whole, rows, bool(transposed), *owned] if type(mask) is int and mask >= 0:
            owners = _ranks(owned[0]) if owned else ()
            if len(owned) > 1 or (owned and not owners):
                raise ProtocolError(f"not an operand on the dealer's menu: {entry!r:.200}")
            held = Reused(mask, _shape(whole), None if rows is None else _rows(rows, whole), transposed, owners)
            if transposed and len(held.whole) != 2:
                raise ProtocolError(f"only a matrix is transposed, not a tensor of shape {held.whole}")
            return held
    raise ProtocolError(f"not an operand on the dealer's menu: {entry!r:.200}")


def _shape(entry: Any) -> Shape:
    if (
        isinstance(entry, list)
        and len(entry) <= MAX_DIMENSIONS
        and all(type(size) is int and 0 <= size <= MAX_ELEMENTS for size in entry)
        and prod(entry) <= MAX_ELEMENTS
    ):
        return tuple(entry)
    raise ProtocolError(
        f"not a shape of at most {MAX_DIMENSIONS} dimensions and {MAX_ELEMENTS} elements: {entry!r:.200}"
    )


def _ranks(entry: Any) -> tuple[int, ...]:
    """Different ranks, in order; whether there are such parties is for the dealer to see."""
    if isinstance(entry, list) and all(type(rank) is int and 0 <= rank <= MAX_RANK for rank in entry):
        ranks = tuple(entry)
        if list(ranks) == sorted(set(ranks)):
            return ranks
    raise ProtocolError(f"not ranks of parties: {entry!r:.200}")


def _rows(entry: Any, whole: Any) -> Rows:
    shape = _shape(whole)
    if isinstance(entry, list) and shape:
        rows = tuple(tuple(row) if isinstance(row, list) else row for row in entry)
        # few bytes can name many rows: what is picked has a bound of its own
        if all(_is_row(row, shape[0]) for row in rows) and count_rows(rows) * prod(shape[1:]) <= MAX_ELEMENTS:
            return rows
    raise ProtocolError(f"not rows of a tensor of shape {shape}: {entry!r:.200}")


def _is_row(row: Any, size: int) -> bool:
    if isinstance(row, tuple):
        return len(row) == 2 and all(type(end) is int for end in row) and 0 <= row[0] < row[1] <= size
    return type(row) is int and 0 <= row < size


def _elements(item: Item) -> int:
    sides: tuple[Shape, ...]
    match item:
        case Product(_, left, right):
            sides = tuple(o.whole if isinstance(o, Reused) else o.shape for o in (left, right))
        case And(left, right):
            sides = (left, right)
        case Square(shape) | Wraps(shape) | Bit(shape):
            sides = (shape,)
        case Keys(_, shape, _, verifiers, _):
            sides = (shape,) * len(verifiers)
    return prod(result_shape(item)) + sum(prod(side) for side in sides)
