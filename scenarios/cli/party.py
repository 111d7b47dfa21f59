"""`secure-fair party`: one party on this machine, for deployments between machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from scenarios.cli.options import Output, shared_options

existing_file = click.Path(path_type=Path, exists=True, dir_okay=False)
existing_folder = click.Path(path_type=Path, exists=True, file_okay=False)


def network_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every party needs: the scenario, who it is, where it listens and where the others are."""
    options = [
        click.option("--scenario", "source", required=True, metavar="FILE", help="The agreed scenario."),
        click.option("--identity", type=existing_folder, required=True, help="Folder of this party's certificate."),
        click.option("--listen", default="0.0.0.0:7700", show_default=True, metavar="HOST:PORT", help="Own address."),
        click.option(
            "--peer", "peers", multiple=True, required=True, metavar="NAME=HOST:PORT", help="Another party's address."
        ),
        click.option(
            "--out", type=click.Path(path_type=Path), required=True, help="Folder for what this party writes."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return shared_options(command)


def peer_addresses(given: tuple[str, ...]) -> dict[str, str]:
    """NAME=HOST:PORT options as a mapping from party to address."""
    from secure_fair.errors import UsageError

    peers: dict[str, str] = {}
    problems = []
    for text in given:
        name, equals, address = text.partition("=")
        host, colon, port = address.rpartition(":")
        if not (name and equals and host and colon and port.isdigit() and 0 < int(port) < 65536):
            problems.append(f"--peer {text}: expected NAME=HOST:PORT, for instance auditor=10.0.0.2:7700")
        elif name in peers:
            problems.append(f"--peer {text}: {name} has an address already ({peers[name]})")
        else:
            peers[name] = address
    if problems:
        raise UsageError(problems)
    return peers


@click.group()
def party() -> None:
    """Run one party of a deployment between machines."""


@party.command()
@network_options
@click.option("--store", type=existing_folder, required=True, help="Pictures and labels.")
def developer(source: str, peers: tuple[str, ...], output: Output, **folders: Any) -> None:
    """Train: this party holds the pictures and the model, and learns no attribute."""
    from parties.developer import main

    _start(main, source, peers, output, folders)


@party.command()
@network_options
@click.option("--store", type=existing_folder, required=True, help="The attributes.")
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Ledger and budgets, kept across runs.")
@click.option("--policy", type=existing_file, help="What this auditor permits; wins over the scenario's [policy].")
def auditor(source: str, peers: tuple[str, ...], output: Output, **folders: Any) -> None:
    """Hold the sensitive attributes, and let out what the policy and the budget permit."""
    from parties.auditor import main

    _start(main, source, peers, output, folders)


@party.command()
@network_options
def dealer(source: str, peers: tuple[str, ...], output: Output, **folders: Any) -> None:
    """Deal correlated randomness. This party sees no data and must not collude with any other."""
    from parties.dealer import main

    _start(main, source, peers, output, folders)


def _start(
    main: Callable[..., dict[str, Any]], source: str, peers: tuple[str, ...], output: Output, folders: dict[str, Any]
) -> None:
    """Validate what is given, run the party to its end, and print what it says of itself."""
    from scenarios.progress import reporter
    from scenarios.schema import Scenario

    scenario, addresses = Scenario.load(source), peer_addresses(peers)
    follow = reporter(output.format)
    try:
        summary = main(scenario=scenario, peers=addresses, reporter=follow, **folders)
    finally:
        follow.close()
    output.result(summary, "\n".join(f"{key}: {value}" for key, value in summary.items()))
