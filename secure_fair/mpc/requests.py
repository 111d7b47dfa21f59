"""Requests to the dealer on the wire: JSON lists, so that one can be read, compared byte by byte, and is only data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from typing import Any

from secure_fair.errors import ProtocolError, UsageError
from secure_fair.mpc.menu import (
    MAX_DIMENSIONS,
    MAX_ELEMENTS,
    MAX_FACTORS,
    And,
    Bit,
    Conjunctions,
    Digits,
    Fresh,
    Item,
    Keys,
    Operand,
    Product,
    Reused,
    Rows,
    Shape,
    Square,
    Wraps,
    closed,
    count_rows,
    result_shape,
)
from secure_fair.mpc.planes import words

MAX_ITEMS = 4096  # in one message
MAX_TOTAL = 1 << 29  # ring elements that one message may ask for
MAX_MESSAGE_BYTES = 16 << 20
MAX_RANK = 63


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
        case Digits(count):
            return ["digits", count]
        case Conjunctions(size, factors, sets):
            return ["conjunctions", size, factors, sets]
        case Keys(mask, shape, owner, verifiers, ring):
            return ["keys", mask, shape, owner, verifiers, ring]


def _plain_operand(operand: Operand) -> list[Any]:
    if isinstance(operand, Fresh):
        return ["fresh", operand.shape]
    plain = ["mask", operand.mask, operand.whole, operand.rows, operand.transposed]
    owned = [operand.owners, operand.committed] if operand.owners else []
    return [*plain, *owned, operand.sizes] if operand.sizes else [*plain, *owned]


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


def check(items: Sequence[Item]) -> None:
    """UsageError for a request that ``decode`` would not take, before it is sent, and ends the dealer's session."""
    if len(items) > MAX_ITEMS:
        raise UsageError(f"{len(items)} items of the dealer at once: ask for at most {MAX_ITEMS} in one message")
    total = 0
    for item in items:
        try:
            shapes = [*_sides(item), result_shape(item)]
        except ValueError as error:
            raise UsageError(f"operands of a product do not fit: {error}") from error
        for shape in shapes:
            if len(shape) > MAX_DIMENSIONS or prod(shape) > MAX_ELEMENTS:
                raise UsageError(
                    f"a shared tensor of shape {shape}: at most {MAX_DIMENSIONS} dimensions and {MAX_ELEMENTS} "
                    "elements enter one product; cut it into parts"
                )
        total += _elements(item)
    if total > MAX_TOTAL:
        raise UsageError(f"{total} ring elements of the dealer at once: at most {MAX_TOTAL}; cut the work into parts")


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
            case ["digits", count]:
                item = Digits(*_shape([count]))
            case ["conjunctions", size, int(factors), sets] if _are_sets(factors, sets):
                item = Conjunctions(_bytes(size, factors), factors, tuple(sets))
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
            picked = None if rows is None else _rows(rows, whole)
            held = Reused(mask, _shape(whole), picked, transposed, *_owned(owned, whole))
            if transposed and len(held.whole) < 2:
                raise ProtocolError(f"only matrices are transposed, not a tensor of shape {held.whole}")
            return held
    raise ProtocolError(f"not an operand on the dealer's menu: {entry!r:.200}")


def _owned(entry: list[Any], whole: Any) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    """The owners of a mask, whether they are committed to its value, and how many rows each has, where it has any.

    Several have rows of their own each: nobody adds anything to another's.
    """
    match entry:
        case []:
            return (), False, ()
        case [[rank], bool(committed)]:
            return _ranks([rank]), committed, ()
        case [owners, bool(committed), list(sizes)] if _ranks(owners) and len(sizes) == len(owners) and _shape(whole):
            if all(type(size) is int and size > 0 for size in sizes) and sum(sizes) <= whole[0]:
                return _ranks(owners), committed, tuple(sizes)
    raise ProtocolError(f"not owners of a mask on the dealer's menu: {entry!r:.200}")


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


def _are_sets(factors: int, entry: Any) -> bool:
    """Whether they are sets of some of so many factors, each made of those before it."""
    few = type(factors) is int and 0 < factors <= MAX_FACTORS and isinstance(entry, list)
    return few and all(type(chosen) is int for chosen in entry) and closed(factors, entry)


def _bytes(entry: Any, factors: int) -> int:
    """Bytes of a factor of which so many can be had."""
    if type(entry) is int and entry >= 0 and entry * factors <= 8 * MAX_ELEMENTS:
        return entry
    raise ProtocolError(f"not a size of {factors} masks in {MAX_ELEMENTS} ring elements: {entry!r:.200}")


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


def _sides(item: Item) -> tuple[Shape, ...]:
    """Shapes of what is drawn for an item."""
    match item:
        case Product(_, left, right):
            return tuple(o.whole if isinstance(o, Reused) else o.shape for o in (left, right))
        case And(left, right):
            return left, right
        case Square(shape) | Wraps(shape) | Bit(shape):
            return (shape,)
        case Digits(count):
            return ((count,),)
        case Conjunctions(size, factors, _):
            return ((words(factors * size),),)
        case Keys(_, shape, _, verifiers, _):
            return (shape,) * len(verifiers)


def _elements(item: Item) -> int:
    return prod(result_shape(item)) + sum(prod(side) for side in _sides(item))
