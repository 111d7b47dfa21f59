"""Machines for the parties: network namespaces of this one, on one switch, where they are permitted."""

from __future__ import annotations

import ctypes
import functools
import os
import secrets
import shutil
import subprocess

HOSTS = {"developer": "10.97.0.2", "auditor": "10.97.0.3", "dealer": "10.97.0.4"}
CLONE_NEWNET = 0x40000000


class Hosts:
    """A namespace for each party and one for the switch between them.

    ``between``: one more machine, of this name and address, which alone is reached by all: the parties do not reach
    each other.
    """

    def __init__(self, between: tuple[str, str] | None = None) -> None:
        self.addresses = HOSTS | (dict([between]) if between else {})
        self.apart = set(HOSTS) if between else set()
        tag = secrets.token_hex(3)
        self.switch = f"sf{tag}switch"
        self.names = {party: f"sf{tag}{party}" for party in self.addresses}
        self.ports = {party: f"port{number}" for number, party in enumerate(self.addresses)}

    def __enter__(self) -> Hosts:
        for name in (self.switch, *self.names.values()):
            ip("netns", "add", name)
        ip("-n", self.switch, "link", "add", "bridge0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge0", "up")
        for party, address in self.addresses.items():
            host, port = self.names[party], self.ports[party]
            ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "cable", "netns", host)
            ip("-n", self.switch, "link", "set", port, "master", "bridge0", "up")
            if party in self.apart:
                ip("-n", self.switch, "link", "set", port, "type", "bridge_slave", "isolated", "on")
            ip("-n", host, "addr", "add", f"{address}/24", "dev", "cable")
            ip("-n", host, "link", "set", "cable", "up")
            ip("-n", host, "link", "set", "lo", "up")
        return self

    def __exit__(self, *error: object) -> None:
        for name in (self.switch, *self.names.values()):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def enter(namespace: str) -> None:
    """Move this process into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


@functools.cache
def namespaces_missing() -> str:
    """Why there can be no namespaces here; nothing where there can."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return "network namespaces need root and ip"
    try:
        with Hosts():
            return ""
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted here: {error.stderr.strip()}"
