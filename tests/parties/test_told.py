"""What a party says to the others when it stops is made of public data: no place of its files, and no opened value."""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from secure_fair import stopping
from secure_fair.errors import DamagedFile, ProtocolError, printable
from secure_fair.mpc import numbers
from secure_fair.mpc.transport import Credentials, Network
from secure_fair.parties import messages
from secure_fair.parties.reports import leave
from tests.mpc.test_transport import credentials, identities, mesh, together  # noqa: F401
from tests.parties.company import Company, Entry, program, tiny


def outspoken(arguments: list[str]) -> None:
    """An auditor that quotes every error to its peers."""
    messages.told = str  # type: ignore[assignment]
    program(arguments)


@pytest.mark.parametrize("auditor", [program, outspoken])
def test_the_place_of_a_damaged_file_is_not_told(tmp_path: Path, weights: Path, stores: Path, auditor: Entry) -> None:
    damaged = tmp_path / "states" / "auditor" / "responses" / "male.jsonl"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("damaged\n")
    scenario = tiny(weights, method={"name": "rr"}, privacy={"epsilon": 1.0, "evaluation_epsilon": 1.0})
    with Company(scenario, stores, tmp_path, timeout=6.0, entries={"auditor": auditor}) as company:
        ended = company.wait(60)
    assert ended["auditor"].code == 4
    assert ended["developer"].code != 0
    assert f"{damaged}: damaged; restore it from a backup" in ended["auditor"].said
    assert (str(damaged) in ended["developer"].said) == (auditor is outspoken)
    assert ("stopped by DamagedFile" in ended["developer"].said) == (auditor is program)


SHIFT = 600


def shifting_auditor(arguments: list[str]) -> None:
    """Adds to the first number of a moment that it opens, beyond its bound, and knows its noise."""
    from secure_fair.parties.service import RememberedOpening

    honest = RememberedOpening.open_to

    def open_to(self: RememberedOpening, receiver: str, noise: torch.Tensor | None) -> None:
        shifted = torch.zeros(self.shape, dtype=torch.int64) if noise is None else noise.clone()
        if self.shape[0] > 2:
            shifted[0, 0] += SHIFT * self.scale
        honest(self, receiver, shifted)

    RememberedOpening.open_to = open_to  # type: ignore[method-assign]
    program(arguments)


def noting_developer(outspoken: bool, arguments: list[str]) -> None:
    """Prints the value that went beyond its bound, and tells its size or not."""
    from secure_fair.mpc.session import Session

    honest = Session.receive_ring

    def receive_ring(self: Session, shared: torch.Tensor) -> torch.Tensor:
        value = honest(self, shared)
        print(f"was opened {float(value.flatten()[0]) / shared.encoder.scale}")
        return value

    Session.receive_ring = receive_ring  # type: ignore[method-assign]
    if outspoken:
        numbers.OutOfBound = ProtocolError  # type: ignore[assignment, misc]
    program(arguments)


@pytest.mark.parametrize("outspoken", [False, True])
def test_the_size_of_an_opened_value_is_not_told(tmp_path: Path, weights: Path, stores: Path, outspoken: bool) -> None:
    """An auditor that shifts what it opens beyond the bound, and hears the size knows the value."""
    scenario = tiny(weights, privacy={"epsilon": 1.0, "evaluation_epsilon": 1.0})
    entries: dict[str, Entry] = {"auditor": shifting_auditor, "developer": partial(noting_developer, outspoken)}
    with Company(scenario, stores, tmp_path, entries=entries) as company:
        ended = company.wait(80)
    assert ended["developer"].code == 4
    assert "an opened value is" in ended["developer"].said  # its own user is told
    heard = re.findall(r"an opened value is ([0-9.]+) in size", ended["auditor"].said)
    assert bool(heard) == outspoken
    assert ("a value left its public bound" in ended["auditor"].said) is not outspoken
    if outspoken:
        opened = float(re.findall(r"was opened (\S+)", ended["developer"].said)[-1])
        assert float(heard[0]) == pytest.approx(opened, abs=0.01)  # and the auditor knows its shift and its noise


def test_a_peers_words_do_not_move_the_cursor() -> None:
    assert printable("\x1b[2Jdone\r\n\x1b]0;owned\x07") == " [2Jdone   ]0;owned "
    assert len(printable("x" * 10_000)) < 5_000


@pytest.mark.parametrize("field", ["male\x1b[2J", "x" * 300])
def test_names_that_are_no_names_are_not_read(field: str) -> None:
    held = messages.Held.model_construct(kind="held", attributes={field: ["a", "b"]}, adapters={})
    data = held.model_dump_json().encode()
    with pytest.raises(ProtocolError, match="not well formed") as refused:
        messages.decode("auditor", len(data).to_bytes(4, "little") + data)
    assert str(refused.value).isprintable()


def test_a_head_without_end_is_not_parsed() -> None:
    data = b'{"kind": "resumed", "opened": [' + b"1," * (1 << 20) + b"1]}"
    with pytest.raises(ProtocolError, match="at most 1048576"):
        messages.decode("auditor", len(data).to_bytes(4, "little") + data)


def read_and_leave(network: Network, asked: bool) -> None:
    """Leave for the error that a library makes of a stop; or that it finds itself."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    except KeyboardInterrupt:
        error = DamagedFile("epoch-3.pt: was torn")
        if not asked:
            stopping._asked.clear()
        leave(network, error)
        raise error from None


@pytest.mark.parametrize("asked", [True, False])
def test_who_is_told_to_end_says_so_whatever_a_library_makes_of_it(
    credentials: dict[str, Credentials],  # noqa: F811
    asked: bool,
) -> None:
    """Else the library's error would be told to the others, as a refusal for instance."""
    with mesh(credentials, "alice", "bob") as (alice, bob):
        with pytest.raises(KeyboardInterrupt if asked else DamagedFile), stopping.stops_heeded():
            read_and_leave(alice, asked)
        (heard,) = together(lambda: bob.receive("alice", "talk", limit=1))
    assert (heard.exit_code, "it was told to end" in str(heard)) == ((5, True) if asked else (4, False)), heard
