"""The dealer's menu: every item is what it claims to be, and nothing else can be asked for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secure_fair.errors import ProtocolError
from secure_fair.mpc import comparison, menu, planes, requests
from secure_fair.mpc.menu import (
    And,
    Bit,
    Conjunctions,
    Digits,
    Fresh,
    Item,
    Product,
    Reused,
    SharedKeySource,
    Square,
    Wraps,
)
from secure_fair.randomness import derive

ITEMS: list[Item] = [
    Product("matmul", Fresh((3, 4)), Fresh((4, 2))),
    Product("matmul", Fresh((5, 3, 4)), Fresh((4, 2))),
    Product("mul", Fresh((3, 1)), Fresh((4,))),
    Product("matmul", Fresh((3,)), Fresh((3,))),
    Product("matmul", Fresh((3,)), Fresh((5, 3, 2))),
    Product("matmul", Fresh((5, 2, 3)), Fresh((3,))),
    Product("mul", Fresh(()), Fresh((2, 2))),
    Product("matmul", Reused(0, (4, 3), transposed=True), Fresh((4, 2))),
    Product("matmul", Reused(1, (6, 3), rows=(5, 0, 0, 2), transposed=True), Reused(2, (4, 2))),
    Product("matmul", Reused(1, (6, 3), rows=(5, (0, 4), 2), transposed=True), Reused(2, (6, 2))),
    Product("matmul", Reused(1, (6, 3), transposed=True), Reused(2, (6, 2))),
    Product("matmul", Reused(1, (6, 3), rows=((1, 4),), transposed=True), Reused(2, (6, 2), rows=((3, 6),))),
    Product(
        "matmul",
        Reused(1, (6, 3), rows=((1, 5),), transposed=True, owners=(0,), committed=True),
        Reused(2, (4, 2), owners=(1,)),
    ),
    Product("matmul", Reused(1, (5, 2, 3)), Reused(2, (5, 4, 3), transposed=True, owners=(1,))),
    Product("matmul", Reused(1, (5, 3, 4), transposed=True), Reused(2, (3, 2))),
    Product("matmul", Reused(1, (5, 3, 4), rows=(3, (0, 2)), transposed=True), Reused(2, (3, 3, 2))),
    Product("mul", Reused(3, (3, 3)), Reused(3, (3, 3))),
    Square((7,)),
    And((2, 3), (3,)),
    Wraps((50,)),
    Bit((9, 2)),
    Digits(1),
    Digits(100),
    Conjunctions(5, 3, (3, 5, 6, 7)),
    *comparison.items(50, order=True)[1:3],
    *comparison.items(50, order=False)[1:3],
]


def deal(item: Item, parties: int, number: int = 5) -> tuple[list[tuple[torch.Tensor, ...]], list[torch.Tensor]]:
    """Masks and results of every party, drawn as the parties and the dealer draw them."""
    sources = [SharedKeySource(derive(bytes(32), "party", rank), rank) for rank in range(parties)]
    masks, results = [], []
    for rank, source in enumerate(sources):
        stream = source.item(number)
        masks.append(menu.draw_masks(item, source, stream))
        if rank < parties - 1:
            results.append(menu.draw_result(item, stream))
    return masks, [*results, menu.correction(item, sources, number)]


def xor(tensors: list[torch.Tensor]) -> torch.Tensor:
    total = torch.zeros_like(tensors[0])
    for tensor in tensors:
        total = total ^ tensor
    return total


@pytest.mark.parametrize("parties", [2, 3, 5])
@pytest.mark.parametrize("item", ITEMS, ids=repr)
def test_the_result_is_the_relation_of_the_masks(item: Item, parties: int) -> None:
    masks, results = deal(item, parties)
    assert all(tuple(result.shape) == menu.result_shape(item) for result in results)
    match item:
        case Product(op, _, _):
            left, right = (sum(mask[side] for mask in masks) for side in (0, 1))
            assert torch.equal(sum(results), torch.matmul(left, right) if op == "matmul" else left * right)
        case Square(_):
            assert torch.equal(sum(results), sum(mask[0] for mask in masks) ** 2)
        case And(_, _):
            assert torch.equal(xor(results), xor([m[0] for m in masks]) & xor([m[1] for m in masks]))
        case Wraps(_):
            exact = [sum(int(mask[0][i]) for mask in masks) for i in range(50)]
            wrapped = sum(mask[0] for mask in masks)
            assert sum(results).tolist() == [(e - int(w)) >> 64 for e, w in zip(exact, wrapped, strict=True)]
        case Bit(_):
            bits = xor([mask[0] for mask in masks])
            assert torch.equal(sum(results), bits)
            assert set(bits.reshape(-1).tolist()) <= {0, 1}
        case Digits(count):
            whole = sum(mask[0] for mask in masks)
            made = planes.of_ring(xor(results), 15, 16, -(-count // 8))
            for chosen, group in [(1, 0), (8, 15), (5, 3), (15, 15), (6, 7)]:
                digits = [whole >> 4 * group + i & 1 for i in range(4) if chosen >> i & 1]
                assert torch.equal(planes.unpack(made[chosen - 1, group], count), torch.stack(digits).amin(0))
        case Conjunctions(size, factors, sets):
            given = planes.of_ring(xor([mask[0] for mask in masks]), factors, size)
            for chosen, found in zip(sets, planes.of_ring(xor(results), len(sets), size), strict=True):
                assert (found == np.bitwise_and.reduce([given[i] for i in range(factors) if chosen >> i & 1])).all()


@pytest.mark.parametrize("elements", [1, 4, 100])
def test_a_sum_over_rows_is_the_same_however_many_are_drawn_at_a_time(
    elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [deal(item, 3)[1][-1] for item in ITEMS]
    monkeypatch.setattr(menu, "PART_ELEMENTS", elements)
    assert all(torch.equal(deal(item, 3)[1][-1], result) for item, result in zip(ITEMS, whole, strict=True))


@pytest.mark.parametrize("item", ITEMS, ids=repr)
def test_items_survive_the_wire(item: Item) -> None:
    assert requests.decode(requests.encode([item, item])) == [item, item]


def test_parts_are_fresh_with_every_number_and_masks_with_every_value() -> None:
    item = Product("mul", Fresh((100,)), Reused(4, (100,)))
    (first, _), (again, _), (later, _) = deal(item, 2, 5), deal(item, 2, 5), deal(item, 2, 6)
    assert torch.equal(first[0][0], again[0][0])
    assert not torch.isin(first[0][0], later[0][0]).any()
    assert torch.equal(first[0][1], later[0][1])  # the mask of value 4 stays
    source = SharedKeySource(bytes(32))
    other_value, other_shape = source.mask(Reused(5, (100,))), source.mask(Reused(4, (10, 10)))
    assert not torch.isin(source.mask(Reused(4, (100,))), other_value).any()
    assert not torch.isin(source.mask(Reused(4, (100,))), other_shape.reshape(-1)).any()


NOT_ON_THE_MENU: list[Any] = [
    ["_get_additive_PRSS", [3], True],
    ["additive", [3], [3], "mul"],
    ["__class__", [3]],
    ["square"],
    ["square", [3], [3]],
    ["square", "3"],
    ["square", [3.0]],
    ["square", [True]],
    ["square", [-1]],
    ["square", [1 << 28]],
    ["square", [1 << 14, 1 << 14]],
    ["square", [1] * 7],
    ["mul", [3], [3]],
    ["mul", ["fresh", [3]], ["fresh", [4]]],
    ["matmul", ["fresh", [3]], ["fresh", [4]]],
    ["matmul", ["fresh", []], ["fresh", [3]]],
    ["matmul", ["fresh", [2, 3]], ["fresh", [2]]],
    ["matmul", ["fresh", [1 << 20, 1]], ["fresh", [1, 1 << 20]]],
    ["matmul", ["fresh", [3, 2]], ["mask", 0, [3, 2], None]],
    ["matmul", ["fresh", [3, 2]], ["mask", -1, [2, 2], None, False]],
    ["matmul", ["fresh", [3, 2]], ["mask", 0, [2, 2], [2], False]],
    ["matmul", ["fresh", [3, 2]], ["mask", 0, [2, 2], [-1], False]],
    ["matmul", ["fresh", [3, 2]], ["mask", 0, [2, 2], [0.5], False]],
    ["mul", ["fresh", [2]], ["mask", 0, [2], None, True]],
    ["mul", ["fresh", [2]], ["mask", 0, [2], None, 1]],
    ["digits", [3]],
    ["digits", -1],
    ["digits", True],
    ["digits", 1 << 27],
    ["conjunctions", 3, 2, 3],
    ["conjunctions", 3, 2, [1]],
    ["conjunctions", 3, 2, [3, 3]],
    ["conjunctions", 3, 2, [5]],
    ["conjunctions", 3, 3, [7, 6]],
    ["conjunctions", 3, 2, [-1]],
    ["conjunctions", 3, 2, [0]],
    ["conjunctions", 3, True, [3]],
    ["conjunctions", -1, 2, [3]],
    ["conjunctions", 3.0, 2, [3]],
    ["conjunctions", 1 << 30, 2, [3]],
    ["conjunctions", 3, 9, [3]],
    ["conjunctions", 1 << 28, 4, [3, 5, 6, 9, 10, 12]],
    [],
    {"kind": "square"},
    None,
    7,
]


@pytest.mark.parametrize("entry", NOT_ON_THE_MENU, ids=repr)
def test_nothing_else_can_be_asked_for(entry: Any) -> None:
    with pytest.raises(ProtocolError):
        requests.decode(json.dumps([entry]).encode())


@pytest.mark.parametrize("message", [b"{", b"7", b"{}", b"\xff\xfe", b"[" * 100_000, b"[1]" * 3])
def test_what_is_no_list_of_items_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        requests.decode(message)


def test_a_message_has_bounds_of_its_own() -> None:
    with pytest.raises(ProtocolError, match="at most 4096"):
        requests.decode(requests.encode([Square((1,))] * 4097))
    with pytest.raises(ProtocolError, match="ring elements"):
        requests.decode(requests.encode([Square((1 << 26,))] * 5))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=20))
def test_arbitrary_json_is_an_item_or_a_protocol_error(entry: Any) -> None:
    try:
        items = requests.decode(json.dumps([entry]).encode())
    except ProtocolError:
        return
    assert len(items) == 1


def test_renumbering_moves_only_what_an_operation_masked_itself() -> None:
    item = Product("matmul", Reused(7, (2, 2)), Reused(3, (2, 2)))
    assert menu.renumbered(item, since=5, by=10) == Product("matmul", Reused(17, (2, 2)), Reused(3, (2, 2)))
    assert menu.renumbered(Square((2,)), since=0, by=1) == Square((2,))


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(0, 20), st.integers(0, 20))
def test_rows_come_back_as_they_were_picked(some: list[int], start: int, length: int) -> None:
    rows = torch.tensor([*some, *range(start, start + length), *some], dtype=torch.int64)
    packed = menu.pack_rows(rows)
    assert menu.count_rows(packed) == len(rows)
    whole = torch.arange(100).reshape(50, 2)
    assert torch.equal(menu.pick_rows(whole, packed), whole[rows])


def test_a_range_of_rows_takes_no_room() -> None:
    rows = menu.pack_rows(torch.arange(100_000, 900_000))
    assert rows == ((100_000, 900_000),)
    request = requests.encode([Product("matmul", Reused(1, (1_000_000, 2), rows, True), Fresh((800_000, 1)))])
    assert len(request) < 100
    assert requests.decode(request)[0] == Product("matmul", Reused(1, (1_000_000, 2), rows, True), Fresh((800_000, 1)))


@pytest.mark.parametrize(
    "rows",
    ["[[0,7]]", "[[2,2]]", "[[3,1]]", "[[-1,2]]", "[[0,true]]", "[[0,1,2]]", "[[]]", "[[0,1.5]]", "[[[0,1],2]]"],
)
def test_ranges_that_are_not_rows(rows: str) -> None:
    with pytest.raises(ProtocolError, match="not rows of a tensor"):
        requests.decode(f'[["mul",["mask",0,[6],{rows},false],["fresh",[1]]]]'.encode())


def test_few_bytes_that_name_more_rows_than_memory_has() -> None:
    """A million times the same range is a request of 16 MB; the dealer would make 10^13 rows of it."""
    many = ",".join(["[0,10000000]"] * 20)
    with pytest.raises(ProtocolError, match="not rows of a tensor"):
        requests.decode(f'[["matmul",["mask",0,[10000000,1],[{many}],true],["fresh",[10000000,1]]]]'.encode())
