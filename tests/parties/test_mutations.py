"""Whatever a peer sends is read, or refused by an error of the program's own: never by an accident."""

from __future__ import annotations

import numpy as np
import pytest

from secure_fair.errors import ProtocolError
from secure_fair.parties import messages
from secure_fair.parties.messages import Granted, Opened, Train
from tests.parties.mutations import RECEIPT, fuzz, packed, read_message


@pytest.mark.parametrize(
    "count", [pytest.param(3_000, id="a few"), pytest.param(150_000, id="many", marks=pytest.mark.long)]
)
def test_mutated_messages_and_frames_give_typed_errors(count: int) -> None:
    outcomes, found = fuzz(count, seed=count)
    assert found == []
    assert outcomes["ProtocolError"] > count / 2
    assert outcomes["Refusal"] > 0
    assert outcomes["read"] < count / 3  # some change nothing that matters


@pytest.mark.parametrize("raw", [b"\0" * 7, b"", b"\0" * 33, *(np.full(4, bad).tobytes() for bad in (np.nan, np.inf))])
def test_a_sent_value_is_as_many_finite_numbers_as_were_asked_for(raw: bytes) -> None:
    message, sent = messages.decode("auditor", packed(Opened(), raw))
    assert isinstance(message, Opened)
    with pytest.raises(ProtocolError, match=r"were due|not finite"):
        messages.unpack_numbers(sent, 4)


@pytest.mark.parametrize("sigma", ["NaN", "Infinity", "-1.0"])
def test_noise_that_is_no_number_is_refused(sigma: str) -> None:
    good = packed(Granted(receipts=[RECEIPT]))
    head = good[4:].replace(b'"sigma":5.0', f'"sigma":{sigma}'.encode())
    with pytest.raises(ProtocolError, match=r"sigma|not well formed"):
        read_message(len(head).to_bytes(4, "little") + head)


@pytest.mark.parametrize("shape", ["[-2,3]", "[0,3]", "[1000001,1]", "[1.5,3]"])
def test_matrices_have_sizes(shape: str) -> None:
    good = packed(Train(attribute="sex", width=4, shapes={"block": ((2, 3), (3, 2))}))
    head = good[4:].replace(b"[2,3]", shape.encode())
    assert head != good[4:]
    with pytest.raises(ProtocolError, match="not well formed"):
        messages.decode("developer", len(head).to_bytes(4, "little") + head)
