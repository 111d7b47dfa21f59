"""Stops in the middle of things: put off while a library would break for good, and never for long."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secure_fair import stopping
from secure_fair.stopping import cause, stops_heeded, stops_put_off

SENDS = """
import contextlib, inspect, os, signal, sys, threading, time
from pathlib import Path
from secure_fair.mpc import link
from secure_fair.mpc.transport import Network
import grpc._server
from secure_fair.parties import identity
from secure_fair.stopping import stops_heeded

if sys.argv[2] == "twin":
    link.stops_put_off = contextlib.nullcontext
folder = Path(sys.argv[1])
identity.create_authority(folder)
known = [identity.load(identity.issue_for_simulation(folder, name)) for name in ("alice", "bob")]
alice, bob = (Network(one, timeout=20) for one in known)
waiting = threading.Thread(target=bob.connect, args=({"alice": alice.address}, {}))
waiting.start()
alice.connect({"bob": bob.address}, {})
waiting.join()
lines, first = inspect.getsourcelines(grpc._server._send_response)
place = first + next(number for number, line in enumerate(lines) if "due.add(token)" in line)


def watch(frame, event, argument):
    if frame.f_code.co_name not in ("_send_response", "send_response", "_hand_over", "send", "<lambda>", "deliver"):
        return None
    if event == "line" and frame.f_code.co_name == "_send_response" and frame.f_lineno == place:
        sys.settrace(None)
        signal.raise_signal(signal.SIGTERM)
    return watch


with contextlib.suppress(KeyboardInterrupt), stops_heeded():
    sys.settrace(watch)
    try:
        alice.send("bob", "c", b"word")
    finally:
        sys.settrace(None)
    print("was not interrupted")
print("closing", flush=True)
if sys.argv[2] == "twin":  # would wait for ever
    time.sleep(2)
    os._exit(1)
alice.close()
bob.close()
print("closed", flush=True)
"""


def stop() -> None:
    """Come from outside."""
    signal.raise_signal(signal.SIGTERM)


def test_a_stop_is_put_off_to_the_end_of_the_block() -> None:
    """However deep the blocks lie in each other; and nothing comes afterwards."""
    done = []

    def work() -> None:
        with stops_put_off():
            with stops_put_off():
                stop()
                done.append("inner")
            done.append("outer")
        done.append("after")

    with stops_heeded():
        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == ["inner", "outer"]
        assert isinstance(cause(ValueError()), KeyboardInterrupt)
        time.sleep(1.5 * stopping.PUT_OFF_SECONDS)


@pytest.mark.parametrize("twice", [False, True])
def test_a_block_that_goes_on_is_interrupted_all_the_same(monkeypatch: pytest.MonkeyPatch, twice: bool) -> None:
    monkeypatch.setattr(stopping, "PUT_OFF_SECONDS", 5.0 if twice else 0.2)

    def work() -> None:
        with stops_put_off():
            for _ in range(2 if twice else 1):
                stop()
            time.sleep(4)

    began = time.monotonic()
    with stops_heeded(), pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - began < 3
    with stops_heeded(), stops_put_off():
        pass  # nothing is left of it


def test_outside_of_such_a_block_nothing_is_put_off() -> None:
    with stops_heeded():
        with stops_put_off():
            pass
        with pytest.raises(KeyboardInterrupt):
            stop()


@pytest.mark.parametrize("build", ["ours", "twin"])
def test_a_stop_in_the_middle_of_a_send_leaves_grpc_whole(tmp_path: Path, build: str) -> None:
    """Just when gRPC has begun to send, and has not noted that; without the block its own thread dies of it."""
    command = [sys.executable, "-c", SENDS, str(tmp_path), build]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    said, problems = ended.stdout, ended.stderr
    assert "closing" in said, problems
    assert "was not interrupted" not in said
    if build == "ours":
        assert said.endswith("closed\n"), problems
        assert ended.returncode == 0
        assert "KeyError" not in problems
    else:
        assert "KeyError: 'send_message'" in problems
