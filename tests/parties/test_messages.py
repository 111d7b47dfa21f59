"""Messages survive the way through bytes, and what is not well formed is an error of the protocol."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from secure_fair.errors import ProtocolError
from secure_fair.ids import as_text
from secure_fair.parties.messages import (
    LIST,
    MOST_RECORDS,
    RANGE,
    Ask,
    Enrol,
    Granted,
    Held,
    Proceed,
    pack_ids,
    pack_records,
    unpack_ids,
    unpack_records,
)


@given(st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=20))
def test_ids_come_back_in_order(ids: list[str]) -> None:
    assert as_text(unpack_ids(pack_ids(ids), len(ids))) == ids


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_records_come_back_in_order(records: list[int]) -> None:
    assert unpack_records(pack_records(np.array(records, dtype=np.int64))).tolist() == records


@pytest.mark.parametrize(("raw", "count"), [(b"", 1), (b"a", 0), (b"a\nb", 1), (b"a\nb", 3), (b"a\n", 1)])
def test_another_number_of_ids_than_announced(raw: bytes, count: int) -> None:
    with pytest.raises(ProtocolError, match=f"{count} record ids was announced"):
        unpack_ids(raw, count)


@pytest.mark.parametrize("length", [1, 7, 9])
def test_half_a_record(length: int) -> None:
    with pytest.raises(ProtocolError, match="no multiple of 8"):
        unpack_records(LIST + b"\0" * length)


@pytest.mark.parametrize(("start", "end"), [(0, MOST_RECORDS + 1), (-1, MOST_RECORDS), (5, 4), (2**62, 2**63 - 1)])
def test_a_range_that_no_table_has(start: int, end: int) -> None:
    """Refused before an array is made of it, which could be as large as memory; of a small one the gate says why."""
    with pytest.raises(ProtocolError, match="a table has at most"):
        unpack_records(RANGE + struct.pack("<qq", start, end))


@pytest.mark.parametrize("raw", [b"", b"\2" + bytes(8), RANGE + bytes(8), RANGE + bytes(24)])
def test_records_of_no_kind(raw: bytes) -> None:
    with pytest.raises(ProtocolError, match="or no kind"):
        unpack_records(raw)


def test_a_range_takes_no_room() -> None:
    assert len(pack_records(np.arange(7, 100_000))) == 17
    assert unpack_records(pack_records(np.arange(7, 100_000))).tolist() == list(range(7, 100_000))


@pytest.mark.parametrize("raw", [b"a\0\nb", b"a" * 300 + b"\nb", b"a\n" + b"b" * 300])
def test_ids_that_would_not_be_told_apart_or_have_no_room(raw: bytes) -> None:
    """One long line among a million would make an array of a million such lines."""
    with pytest.raises(ProtocolError, match="that is none"):
        unpack_ids(raw, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Enrol(run="../../etc", training=1, test=1),
        lambda: Enrol(run="run", training=-1, test=1),
        lambda: Enrol(run="run", training=1, test=10**9),
        lambda: Ask(operation="x" * 41, attribute="a"),
        lambda: Ask(operation="moment", attribute="a", width=-1),
        lambda: Ask(operation="moment", attribute="a", width=10**7),
        lambda: Ask(operation="moment", attribute="a", sigma=0.0),  # type: ignore[call-arg]  # noise is not asked for
        lambda: Granted(receipts=[]),
        lambda: Proceed(go=True, step_sigma=-1.0),
        lambda: Proceed(go=True, step_sigma=float("inf")),
        lambda: Held(attributes={"a": [1]}),  # type: ignore[list-item]
    ],
)
def test_values_out_of_range_are_no_messages(make: object) -> None:
    with pytest.raises(ValidationError):
        make()  # type: ignore[operator]
