"""The dealer's menu: a fixed set of typed, bounded items, and how each is drawn from the parties' keys.

An item is a relation between masks and a result. Every compute party derives its part of the masks from the key that it
shares with the dealer, and all but the last derive their part of the result from it too. The dealer, who holds all the
keys, sums the masks up, computes the result and sends the last party its part: the correction.

``Keys`` differ: they authenticate a mask that one party knows, its owner, to verifiers, who each receive their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from secure_fair.mpc import field, planes, ring
from secure_fair.mpc.planes import Planes
from secure_fair.randomness import PRG, derive

MAX_ELEMENTS = 1 << 27  # ring elements of one tensor
MAX_DIMENSIONS = 6
COMMITTED_BITS = 60
"""Of a mask that a commitment in the ring is made with; see ``commitment``."""
KEYS_IN_MESSAGE = 1 << 16
PART_ELEMENTS = 1 << 18
"""Of a mask that the dealer draws at a time, where a product sums over its rows."""
GROUP = 4
"""Binary digits of an element that are compared at once."""
GROUPS = planes.DIGITS // GROUP
MAX_FACTORS = 8
_ELEMENT = 8  # bytes

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

    ``rows`` picks rows of it (None: all), as ``pack_rows`` has them; ``transposed`` swaps its last two dimensions
    afterwards. With ``owners`` (ranks) these alone have parts of the mask: only owners know anything of the value. A
    single one has the whole mask unless ``sizes`` say how many rows each has, one owner's below the other's; a row
    behind them is nobody's, and masked by zeros. Where the value is what they are ``committed`` to, masks are of 60
    bits, else of the whole ring as all others.
    """

    mask: int
    whole: Shape
    rows: Rows | None = None
    transposed: bool = False
    owners: tuple[int, ...] = ()
    committed: bool = False
    sizes: tuple[int, ...] = ()

    def owned_by(self, rank: int) -> bool:
        """Whether this party has a part of the mask; all have where nobody is named."""
        return not self.owners or rank in self.owners

    def part_of(self, rank: int) -> tuple[int, Reused]:
        """The first of the rows that this owner has where there are ``sizes``, and all of its rows as an operand of
        its own, whose mask is the same."""
        place = self.owners.index(rank)
        whole = (self.sizes[place], *self.whole[1:])
        return sum(self.sizes[:place]), Reused(self.mask, whole, owners=(rank,), committed=self.committed)

    @property
    def shape(self) -> Shape:
        picked = self.whole if self.rows is None else (count_rows(self.rows), *self.whole[1:])
        return (*picked[:-2], picked[-1], picked[-2]) if self.transposed else picked

    def of(self, whole: Tensor) -> Tensor:
        """The part of ``whole`` (the value, or any share of it or of its mask) that this operand is."""
        picked = whole if self.rows is None else pick_rows(whole, self.rows)
        return picked.mT if self.transposed else picked


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
class Digits:
    """A mask r of so many elements, and planes (15, 16, width), shared by XOR, of its binary digits in groups of four.

    They are the conjunctions of all sets of a group's digits: that with number s, from 1 on, has the digit i of its
    group where the binary digit i of s is 1.
    """

    count: int


@dataclass(frozen=True)
class Conjunctions:
    """Masks shared by XOR, ``factors`` of ``size`` bytes each, and by bit the conjunction of each of the ``sets``.

    A set has the factor i where its binary digit i is 1.
    """

    size: int
    factors: int
    sets: tuple[int, ...]


@dataclass(frozen=True)
class Keys:
    """Keys of each of the ``verifiers`` (ranks) to the mask with number ``mask`` of the ``owner`` (rank): no result.

    For a mask r the owner has a tag and a verifier the key = tag - Delta r modulo p, for its own secret Delta.
    ``ring``: r has 60 bits and is the owner's mask of the operand with this number, the owner's rows in it having this
    shape; otherwise r is of the whole field.
    """

    mask: int
    shape: Shape
    owner: int
    verifiers: tuple[int, ...]
    ring: bool


Item = Product | Square | And | Wraps | Bit | Digits | Conjunctions | Keys


class SharedKeySource:
    """Everything that one compute party, of this ``rank``, and the dealer derive from the key that they share."""

    def __init__(self, key: bytes, rank: int = 0) -> None:
        self._key = key
        self.rank = rank

    def item(self, number: int) -> PRG:
        """The stream of the item with this number; items are numbered as they are asked for."""
        return PRG(derive(self._key, "item", number))

    def mask(self, operand: Reused, rows: tuple[int, int] | None = None) -> Tensor:
        """This party's part of the operand's mask: of the whole value, or of these of its rows."""
        first, end = rows or (0, operand.whole[0] if operand.whole else 0)
        shape = operand.whole if rows is None else (end - first, *operand.whole[1:])
        if not operand.owned_by(self.rank):
            return torch.zeros((), dtype=torch.int64).expand(shape)
        if operand.sizes:
            start, part = operand.part_of(self.rank)
            among = torch.zeros(shape, dtype=torch.int64)
            own = max(first, start), min(end, start + part.whole[0])
            if own[0] < own[1]:
                among[own[0] - first : own[1] - first] = self.mask(part, (own[0] - start, own[1] - start))
            return among
        start = _ELEMENT * first * prod(operand.whole[1:])
        if operand.committed:
            return self.committed(operand.mask, operand.whole, ring=True, start=start).bits(shape, COMMITTED_BITS)
        purpose = "owned mask" if operand.owners else "mask"
        return PRG(derive(self._key, purpose, operand.mask, *operand.whole), start).ring(shape)

    def committed(self, mask: int, shape: Shape, *, ring: bool, start: int = 0) -> PRG:
        """The stream of a mask that this party owns, from its byte ``start`` on."""
        purpose = "committed in the ring" if ring else "committed in the field"
        return PRG(derive(self._key, purpose, mask, *shape), start)

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
    # a vector is a row on the left and a column on the right, and its dimension is not one of the product's
    rows, columns = left[-2:-1], right[-1:] if len(right) > 1 else ()
    if not left or not right or left[-1] != right[-2:][0]:
        raise ValueError(f"no matrix product of shapes {left} and {right}")
    return (*np.broadcast_shapes(left[:-2], right[:-2]), *rows, *columns)


def result_shape(item: Item) -> Shape:
    """Shape of an item's result."""
    match item:
        case Product(op, left, right):
            return _product_shape(op, left.shape, right.shape)
        case And(left, right):
            return _product_shape("mul", left, right)
        case Square(shape) | Wraps(shape) | Bit(shape):
            return shape
        case Digits(count):
            return (planes.words(((1 << GROUP) - 1) * GROUPS * planes.width(count)),)
        case Conjunctions(size, _, sets):
            return (planes.words(len(sets) * size),)
        case Keys():
            return (0,)


def draw_masks(item: Item, source: SharedKeySource, stream: PRG) -> tuple[Tensor, ...]:
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
        case Digits(count):
            return (stream.ring((count,)),)
        case Conjunctions(size, factors, _):
            return (stream.ring((planes.words(factors * size),)),)
        case Keys():
            return ()


def draw_result(item: Item, stream: PRG) -> Tensor:
    """The part of the item's result that a party other than the last derives, after its masks."""
    return stream.ring(result_shape(item))


def correction(item: Item, sources: Sequence[SharedKeySource], number: int) -> Tensor:
    """The dealer's work: what the last party's part of the result must be."""
    streams = [source.item(number) for source in sources]
    if isinstance(item, Product) and _sums_over_rows(item):
        return _sum_over_rows(item, sources) - sum(draw_result(item, stream) for stream in streams[:-1])
    masks = [draw_masks(item, source, stream) for source, stream in zip(sources, streams, strict=True)]
    parts = [draw_result(item, stream) for stream in streams[:-1]]
    if isinstance(item, Keys):
        return torch.empty(0, dtype=torch.int64)  # they go out by themselves
    if isinstance(item, And | Digits | Conjunctions):
        return _xor([_conjunctions(item, masks), *parts])
    return _result(item, masks) - torch.stack(parts).sum(0)


def _conjunctions(item: And | Digits | Conjunctions, masks: Sequence[tuple[Tensor, ...]]) -> Tensor:
    match item:
        case And():
            left, right = (_xor([mask[side] for mask in masks]) for side in (0, 1))
            return left & right
        case Digits():
            whole = planes.digits_of(_sum([mask[0] for mask in masks]))
            digits = whole.reshape(GROUPS, GROUP, -1).swapaxes(0, 1)
            return planes.to_ring(conjunctions(digits, range(1, 1 << GROUP)))
        case Conjunctions(size, factors, sets):
            return planes.to_ring(conjunctions(planes.of_ring(_xor([mask[0] for mask in masks]), factors, size), sets))


def conjunctions(factors: Planes, sets: Sequence[int]) -> Planes:
    """The conjunction of each of the sets of ``factors`` (n, ...), in this order, which ``closed`` has found to do."""
    made = np.empty((len(sets), *factors.shape[1:]), dtype=np.uint8)
    known = {1 << i: factor for i, factor in enumerate(factors)}
    for chosen, into in zip(sets, made, strict=True):
        first, rest = chosen & -chosen, chosen & (chosen - 1)
        np.bitwise_and(known[first], known[rest or first], out=into)
        known[chosen] = into
    return made


def closed(factors: int, sets: Sequence[int]) -> bool:
    """Whether each set of two or more factors is, but for its first factor, one that comes before it, or a factor."""
    known = [1 << i for i in range(factors)]
    for chosen in sets:
        if chosen in known or chosen & (chosen - 1) not in known or chosen & -chosen not in known:
            return False
        known.append(chosen)
    return True


def keys(item: Keys, sources: Sequence[SharedKeySource]) -> Iterator[tuple[int, field.Field]]:
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


def _sums_over_rows(item: Product) -> bool:
    """Whether it is F^T A of two matrices that have masks already, of all rows or of one range of them."""
    left, right = item.left, item.right
    if item.op != "matmul" or not (isinstance(left, Reused) and isinstance(right, Reused)):
        return False
    ranges = all(one.rows is None or (len(one.rows) == 1 and not isinstance(one.rows[0], int)) for one in (left, right))
    matrices = len(left.whole) == len(right.whole) == 2
    return ranges and matrices and left.transposed and not right.transposed


def _sum_over_rows(item: Product, sources: Sequence[SharedKeySource]) -> Tensor:
    """The product of the masks, some rows at a time: as many as there may be, they take no more room."""
    left, right = item.left, item.right
    assert isinstance(left, Reused)  # as ``_sums_over_rows`` has found
    assert isinstance(right, Reused)
    total = torch.zeros(result_shape(item), dtype=torch.int64)
    step = max(1, PART_ELEMENTS // max(*left.whole[1:], *right.whole[1:], 1))
    for start in range(0, right.shape[0], step):
        rows = (start, min(start + step, right.shape[0]))
        f, a = (_mask_of(operand, sources, rows) for operand in (left, right))
        total += ring.matmul(f.T, a)
    return total


def _mask_of(operand: Reused, sources: Sequence[SharedKeySource], rows: tuple[int, int]) -> Tensor:
    """The whole mask of these rows of the operand."""
    first = 0 if operand.rows is None or isinstance(operand.rows[0], int) else operand.rows[0][0]
    owning = [source for source in sources if operand.owned_by(source.rank)]
    return _sum([source.mask(operand, (first + rows[0], first + rows[1])) for source in owning])


def _result(item: Product | Square | Wraps | Bit, masks: Sequence[tuple[Tensor, ...]]) -> Tensor:
    match item:
        case Product(op, of_left, of_right):
            left = _whole(of_left, [mask[0] for mask in masks])
            right = _whole(of_right, [mask[1] for mask in masks])
            return ring.matmul(left, right) if op == "matmul" else left * right
        case Square():
            return torch.stack([mask[0] for mask in masks]).sum(0).square()
        case Wraps():
            return count_wraps([mask[0] for mask in masks])
        case Bit():
            return _xor([mask[0] for mask in masks])


def _whole(operand: Operand, parts: Sequence[Tensor]) -> Tensor:
    """The sum of all parties' parts of a mask: those of parties that own nothing of it are zeros."""
    if not isinstance(operand, Reused):
        return _sum(parts)
    owned = [part for rank, part in enumerate(parts) if operand.owned_by(rank)]
    return owned[0] if len(owned) == 1 else _sum(owned)


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    if len(tensors) == 1:
        return tensors[0]
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
