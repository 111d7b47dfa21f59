"""`secure-fair party`: one party on this machine, for deployments between machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_fair.defaults import TIMEOUT
from secure_fair.scenarios.cli.options import Output, shared_options

if TYPE_CHECKING:
    from secure_fair.scenarios.party_process import PartyProcess

existing_file = click.Path(path_type=Path, exists=True, dir_okay=False)
existing_folder = click.Path(path_type=Path, exists=True, file_okay=False)
folder = click.Path(path_type=Path, file_okay=False)

OPTIONS = [
    click.option("--scenario", "source", metavar="FILE", help="The agreed scenario."),
    click.option("--audit", type=existing_file, help="The agreed terms of an audit, in place of a scenario."),
    click.option("--identity", type=existing_folder, required=True, help="Folder of this party's certificate."),
    click.option("--parties", "roster", type=existing_file, help="The agreed fingerprints of all parties. Required."),
    click.option(
        "--listen",
        metavar="HOST:PORT",
        help="Own address.  [default: 0.0.0.0:7700; with --relay one of this machine alone]",
    ),
    click.option("--peer", "peers", multiple=True, metavar="NAME=HOST:PORT", help="Another party's address."),
    click.option("--relay", metavar="HOST:PORT", help="Where a relay is, by which peers without --peer are reached."),
    click.option("--relay-token", type=existing_file, help="The relay's token (secure-fair party relay)."),
    click.option("--out", type=folder, required=True, help="Folder for what this party writes."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=1),
        default=TIMEOUT,
        show_default=True,
        help="Seconds a peer may be silent.",
    ),
    click.option(
        "--wait", type=click.FloatRange(min=1), help="Seconds to wait for all parties to come.  [default: --timeout]"
    ),
    click.option(
        "--health",
        metavar="[HOST:]PORT",
        help="Tell there, to whoever asks (GET /health), how far this party is and who of its partners is silent; of "
        "this machine alone unless a HOST is given.  [default: nowhere]",
    ),
    click.option("--resume", is_flag=True, help="Go on with the run that was begun last and has not ended; all do."),
    click.option("--simulated", is_flag=True, hidden=True),
]
store_option = click.option("--store", type=existing_folder, required=True, help="This party's records.")
STATE_OPTIONS = [
    click.option("--state", type=folder, required=True, help="Ledger and budgets, kept across runs."),
    click.option("--new-state", is_flag=True, help="Begin --state: it holds no entry, and nothing was ever released."),
    click.option(
        "--ledger-lost",
        "lost",
        multiple=True,
        metavar="NAME",
        help="The ledger of this party, or of a peer, is lost for good or from an older copy: go on with it as it is, "
        "which is written down. Both sides must say so.",
    ),
]


def network_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that every party needs: the scenario, who it is, where it listens and where the others are."""
    for option in reversed(OPTIONS):
        command = option(command)
    return shared_options(command)


def state_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of a party that keeps a ledger; beginning one is said, so that no mistyped path begins it."""
    for option in reversed(STATE_OPTIONS):
        command = option(command)
    return command


@click.group()
def party() -> None:
    """Run one party of a deployment between machines.

    \b
    Beforehand each party needs:
      the same scenario file (compared by hash at the start), and the same versions of the program
      an identity folder: a key of its own, and a certificate signed by the common authority (secure-fair identity)
      the same file of all parties' fingerprints (secure-fair identity agree; compared by hash at the start)
      an address that the other parties reach, and theirs
    and the developer a store of pictures and labels, each auditor a store of attributes
    and a policy of its own (secure-fair policy init).
    """


@party.command()
@network_options
@store_option
@state_options
def developer(output: Output, **given: Any) -> None:
    """Train: this party holds the pictures and the model, and learns of attributes what gates release."""
    with _place(output, "developer", given) as place:
        place.developer()


@party.command()
@network_options
@store_option
@state_options
@click.option("--policy", type=existing_file, help="What this auditor permits (secure-fair policy init); required.")
def auditor(output: Output, **given: Any) -> None:
    """Hold the sensitive attributes, and let out what the policy and the budget permit.

    Says on stderr what the run may take and what has been spent before it serves anything, then a line for each stage,
    how many releases are made, and where its files are (--format json: an event each, named stage, outlook, progress,
    warning or done). A run that the policy or a budget for life forbids is refused before anything is spent.
    """
    with _place(output, "auditor", given) as place:
        place.auditor()


@party.command()
@network_options
def dealer(output: Output, **given: Any) -> None:
    """Deal correlated randomness. This party sees no data and must not collude with any other."""
    with _place(output, "dealer", given) as place:
        place.dealer()


@party.command()
@click.option("--listen", default="0.0.0.0:7800", show_default=True, metavar="HOST:PORT", help="Own address.")
@click.option(
    "--token",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The token of those who may use it, made if it does not exist; every party needs the file (--relay-token).",
)
@shared_options
def relay(listen: str, token: Path, output: Output) -> None:
    """Carry bytes between parties that can only dial out, until interrupted.

    It has no party's key, and the parties' own TLS passes through it: it sees who is connected with whom, when, and how
    much they send, and can cut them off. The token keeps strangers out. It belongs to no party of a run, and may stand
    anywhere that all of them reach.
    """
    from secure_fair.scenarios.relay import read_token, serve

    serve(listen, read_token(token, new=True), lambda line: output.result({"relay": listen}, line))


@party.command()
@click.argument("place", metavar="[HOST:]PORT")
@shared_options
def health(place: str, output: Output) -> None:
    """Ask a party that was started with --health how it is; exit code 5 where it is lost, or nobody answers.

    For a container's or a service's own check.
    """
    from secure_fair.errors import PartyLost
    from secure_fair.parties.health import ask, in_words

    told = ask(place)
    output.result(told, in_words(told))
    if told["health"] != "healthy":
        raise PartyLost(str(told.get("role")), "its session has failed")


def _place(output: Output, role: str, given: dict[str, Any]) -> PartyProcess:
    from secure_fair.scenarios.party_process import PartyOptions, PartyProcess

    return PartyProcess(output.format, role, PartyOptions(**given))
