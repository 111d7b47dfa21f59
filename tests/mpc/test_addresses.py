"""Addresses that parties on one machine are given: nobody else gets them, before, while and after they listen."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from secure_fair.mpc.addresses import held_addresses
from secure_fair.mpc.tls import grpc  # set up before it is loaded


def place_of(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def reached(address: str) -> bool:
    try:
        socket.create_connection(place_of(address), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def taken(address: str) -> bool:
    """Whether somebody who looks for a free address passes this one by."""
    with socket.socket() as one:
        try:
            one.bind(place_of(address))
        except OSError:
            return True
    return False


def test_what_is_held_is_given_to_nobody_else() -> None:
    with held_addresses(3) as mine:
        assert len(set(mine)) == 3
        assert [taken(address) for address in mine] == [True] * 3
    assert [taken(address) for address in mine] == [False] * 3


def test_what_is_held_is_where_a_party_may_listen_once_and_again() -> None:
    with held_addresses(1) as (mine,):
        assert not reached(mine)
        for _ in range(2):  # as a party's network does
            server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
            server.add_insecure_port(mine)
            server.start()
            assert reached(mine)
            with pytest.raises(RuntimeError):
                grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)]).add_insecure_port(mine)
            server.stop(0).wait()
            assert not reached(mine)
            assert taken(mine)
        with socket.create_server(place_of(mine)):  # as a relay does
            assert reached(mine)


def test_where_no_server_is_let_in_an_address_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_server", lambda place: (_ for _ in ()).throw(OSError("in use")))
    with held_addresses(2) as mine:
        assert [taken(address) for address in mine] == [False] * 2
