"""`secure-fair certificate`: checking, without any party, what the parties of an audit have signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scenarios.cli.options import Output, shared_options

existing_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def certificate() -> None:
    """Check certificates of audits."""


@certificate.command()
@click.argument("file", metavar="CERTIFICATE", type=existing_file)
@click.option(
    "--parties",
    "roster",
    type=existing_file,
    required=True,
    help="Fingerprints of the parties, as you have them of them.",
)
@click.option("--policy", type=existing_file, help="An auditor's policy: was it agreed on beforehand?")
@shared_options
def verify(file: Path, roster: Path, policy: Path | None, output: Output) -> None:
    """Check that every party has signed CERTIFICATE as it is, and print what it claims and what not.

    Exit code 4 where a byte was changed, a signature is missing, or a key is another one than --parties has.
    """
    from parties.roster import Roster
    from parties.statement import is_simulated
    from parties.statement import verify as verify_statement
    from scenarios.audit_terms import digest_of
    from secure_fair.errors import ProtocolError

    content = file.read_bytes()
    tree = verify_statement(content, Roster.load(roster).fingerprints)
    told = tree["predicate"]
    if policy is not None and digest_of(policy) not in told["policies"].values():
        raise ProtocolError(f"--policy {policy}: has the digest {digest_of(policy)}, on which no auditor agreed")
    simulated = is_simulated(content)
    if simulated:
        output.note("simulated: one machine made the keys of all parties, and could have signed anything")
    output.result({"genuine": True, "simulated": simulated, "statement": tree}, text(told))


def text(told: dict[str, Any]) -> str:
    """A certificate's content for people."""
    privacy = told["privacy"]
    budget = "exact counts" if privacy["epsilon"] is None else f"epsilon {privacy['epsilon']}, delta {privacy['delta']}"
    lines = [f"genuine: signed by {', '.join(sorted(told['parties']))}", ""]
    lines += [f"{told['records']} records, {told['measured']}; {budget} for the counts of each attribute"]
    lines += [f"{name} drew {one['drawn']} of {one['of']} records" for name, one in told["draws"].items()]
    lines += [""]
    for one in told["claims"]:
        claim = f"{one['metric']} by {one['attribute']} {one['comparator']} {one['threshold']}"
        outcome = {True: "holds", False: "does not hold", None: "not decidable"}[one["passed"]]
        by = f"confirmed by {one['confirmed_by']}" if one["confirmed_by"] else "by the developer's word alone"
        lines.append(f"{claim}: {outcome} ({by})")
    policies = [f"policy of {name}: {digest}" for name, digest in told["policies"].items()]
    return "\n".join([*lines, "", *policies, "", "Not claimed:", *(f"  {one}" for one in told["not claimed"])])
