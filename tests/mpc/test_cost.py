"""The meter's bytes are those that the kernel counts on the wire."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secure_fair.parties import identity
from tests.mpc.values import AUDITOR, DEVELOPER
from tests.mpc.wire import CALLS, DEALER, NUMBERS, RECORDS

ROOT = Path(__file__).parents[2]
HERE, THERE = "10.231.7.1", "10.231.7.2"
ADDRESSES = {DEVELOPER: f"{HERE}:7701", AUDITOR: f"{THERE}:7702", DEALER: f"{THERE}:7703"}


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def namespaces() -> Iterator[dict[str, str]]:
    """A network namespace for the developer and one for the others, and nothing but a virtual cable between them."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs the ip command, and root: it makes network namespaces")
    near, far = f"sf{os.getpid()}a", f"sf{os.getpid()}b"
    with contextlib.ExitStack() as stack:
        for name in (near, far):
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
            stack.callback(ip, "netns", "del", name)
        ip("link", "add", "cable", "netns", near, "type", "veth", "peer", "name", "cable", "netns", far)
        for name, address in ((near, HERE), (far, THERE)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield {DEVELOPER: near, AUDITOR: far, DEALER: far}


def run_parties(namespaces: dict[str, str], folder: Path) -> dict[str, Any]:
    """What the developer has measured."""
    identity.create_authority(folder)
    running = {}
    try:
        for name, namespace in namespaces.items():
            command = [sys.executable, "-m", "tests.mpc.wire", name, str(identity.issue_for_simulation(folder, name))]
            running[name] = subprocess.Popen(
                ["ip", "netns", "exec", namespace, *command, json.dumps(ADDRESSES), "cable"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        outcomes = {name: process.communicate(timeout=120) for name, process in running.items()}
        for name, process in running.items():
            assert process.returncode == 0, f"{name}: {outcomes[name][1]}"
        return json.loads(outcomes[DEVELOPER][0])
    finally:
        for process in running.values():
            process.kill()


@pytest.mark.slow
def test_the_meter_agrees_with_the_interface(namespaces, tmp_path):
    measured = run_parties(namespaces, tmp_path)
    meter = measured["meter"]
    on_the_wire = {way: measured["after"][way] - measured["before"][way] for way in ("tx", "rx")}
    payload = 8 * CALLS * RECORDS * (NUMBERS + 1)  # both differences of every call, in both directions
    assert meter["rounds"] == CALLS
    for way, online, dealt in (
        ("tx", meter["bytes_sent"], meter["dealer_bytes_sent"]),
        ("rx", meter["bytes_received"], meter["dealer_bytes_received"]),
    ):
        assert payload <= online < 1.001 * payload
        assert online + dealt <= on_the_wire[way] < 1.1 * (online + dealt)  # TLS, HTTP/2, TCP and acknowledgements
