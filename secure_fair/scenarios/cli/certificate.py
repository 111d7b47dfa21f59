"""`secure-fair certificate`: checking what the parties of an audit have signed, and what they put in, without them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_fair.scenarios.cli.options import Output, shared_options

if TYPE_CHECKING:
    from secure_fair.parties.config import RunConfig

existing_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def certificate() -> None:
    """Check certificates of audits and of training runs."""


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
@click.option(
    "--run",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a training run, or its developer's: is that the model, and are those the predictions?",
)
@shared_options
def verify(file: Path, roster: Path, policy: Path | None, run: Path | None, output: Output) -> None:
    """Check that every party has signed CERTIFICATE as it is, and print what it claims and what not.

    Exit code 4 where a byte was changed, a signature is missing, a key is another one than --parties has, or a model or
    its predictions are not those that it is about.
    """
    from secure_fair.errors import ProtocolError
    from secure_fair.parties.bound import check_run
    from secure_fair.parties.roster import Roster
    from secure_fair.parties.statement import is_simulated
    from secure_fair.parties.statement import verify as verify_statement
    from secure_fair.scenarios.audit_terms import digest_of

    content = file.read_bytes()
    tree = verify_statement(content, Roster.load(roster).fingerprints)
    told = tree["predicate"]
    if policy is not None and digest_of(policy) not in told["policies"].values():
        raise ProtocolError(f"--policy {policy}: has the digest {digest_of(policy)}, on which no auditor agreed")
    if run is not None:
        check_run(tree, run)
        output.note(f"{run}: the model and the predictions are those of the certificate")
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
    policies += [f"{name}: {digest}" for name, digest in told["model"].items()]
    return "\n".join([*lines, "", *policies, "", "Not claimed:", *(f"  {one}" for one in told["not claimed"])])


@certificate.command("open")
@click.argument("party", metavar="FOLDER", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to hand over; must not exist yet.")
@shared_options
def open_(party: Path, out: Path, output: Output) -> None:
    """Copy what opens a party's inputs from FOLDER, which it wrote in a certified audit, for `certificate dispute`.

    It has every decision, or every attribute, of that party: give it to nobody but who is to judge.
    """
    from secure_fair.parties.dispute import open_inputs

    names = open_inputs(party, out)
    said = f"{out}: {', '.join(names)}; everybody's data in it, for who is to judge alone"
    output.result({"folder": str(out), "files": names}, said)


@certificate.command()
@click.argument("file", metavar="CERTIFICATE", type=existing_file)
@click.option("--parties", "roster", type=existing_file, required=True, help="Fingerprints of the parties.")
@click.option("--audit", "terms_file", type=existing_file, help="The terms that all agreed on.")
@click.option("--scenario", type=existing_file, help="Of a training: the scenario that all agreed on.")
@click.option(
    "--opened", multiple=True, required=True, metavar="NAME=FOLDER", help="A party's opening (certificate open)."
)
@shared_options
def dispute(
    file: Path, roster: Path, terms_file: Path | None, scenario: Path | None, opened: tuple[str, ...], output: Output
) -> None:
    """Hold CERTIFICATE against what parties have opened: is it what they committed to, and does it say the same?

    One party's opening shows that its inputs are those of then. Once developer and all auditors have opened, the counts
    behind every claim are made again. Exit code 4 where an opening is another than was committed to, 6 where a claim
    does not follow from the inputs.
    """
    from secure_fair.errors import ClaimFails, UsageError
    from secure_fair.parties.dispute import CONTRADICTED, DISPROVED, OUTCOMES, OpenedCounts, opening
    from secure_fair.parties.roster import Roster
    from secure_fair.parties.statement import verify as verify_statement

    told = verify_statement(file.read_bytes(), Roster.load(roster).fingerprints)["predicate"]
    config = agreed_on(told, terms_file, scenario)
    pairs = [text.partition("=") for text in opened]
    if not all(equals for _, equals, _ in pairs) or len({name for name, _, _ in pairs}) != len(pairs):
        raise UsageError(f"--opened: give NAME=FOLDER, once for a party; {', '.join(told['commitments'])} can open")
    openings = {name: opening(told, name, Path(folder), config.developer) for name, _, folder in pairs}
    findings = list(OpenedCounts(config, told, openings).findings())
    lines = [f"{name}: the inputs are those that it committed to" for name in openings]
    lines += [
        f"{one.claim}: certified as {one.certified}{recounted(one.recounted)}: {one.found}, {OUTCOMES[one.found]}"
        for one in findings
    ]
    output.result({"opened": sorted(openings), "claims": [one.tree for one in findings]}, "\n".join(lines))
    wrong = [f"{one.claim}: {one.found}" for one in findings if one.found in (DISPROVED, CONTRADICTED)]
    if wrong:
        raise ClaimFails("; ".join(wrong))


def agreed_on(told: dict[str, Any], terms: Path | None, scenario: Path | None) -> RunConfig:
    """Return what all parties agreed on: the terms of an audit, or a training's scenario; ProtocolError where the
    certificate has another hash."""
    from secure_fair.errors import ProtocolError, UsageError
    from secure_fair.scenarios import assemble
    from secure_fair.scenarios.audit_terms import AuditTerms
    from secure_fair.scenarios.schema import Scenario

    if (terms is None) == (scenario is None):
        raise UsageError("give what all agreed on, once: --audit FILE of an audit, --scenario FILE of a training")
    if scenario is not None:
        found = Scenario.load(scenario)
        if found.hash() != told["terms"]:
            raise ProtocolError(f"--scenario {scenario}: is not the one of the certificate, whose hash is another one")
        return assemble.run_config(found)
    assert terms is not None  # one of the two
    agreed = AuditTerms.load(terms)
    if agreed.hash() != told["terms"]:
        raise ProtocolError(f"--audit {terms}: are not the terms of the certificate, whose hash is another one")
    return agreed.run_config()


def recounted(estimate: dict[str, Any] | None) -> str:
    """Words for what was counted again; none where nothing was."""
    if estimate is None:
        return ""
    return ", recounted undefined" if estimate["value"] is None else f", recounted {estimate['value']:.4g}"
