"""The root command: it only registers the others."""

from __future__ import annotations

import click

from secure_fair.scenarios.cli import (
    audit,
    bench,
    cache,
    certificate,
    data,
    deploy,
    export,
    identity,
    init,
    ledger,
    match,
    page,
    party,
    peers,
    policy,
    predict,
    report,
    resume,
    review,
    run,
    scenario,
    sweep,
)
from secure_fair.scenarios.cli.options import EXIT_CODES
from secure_fair.scenarios.threads import use_huge_pages


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="secure-fair", prog_name="secure-fair")
def main() -> None:
    """Train fair vision transformers while the sensitive attributes stay with the auditor who holds them."""
    use_huge_pages()


main.add_command(init.init)
main.add_command(run.run)
main.add_command(resume.resume)
main.add_command(audit.audit)
main.add_command(certificate.certificate)
main.add_command(scenario.scenario)
main.add_command(data.data)
main.add_command(deploy.deploy)
main.add_command(export.export)
main.add_command(identity.identity)
main.add_command(ledger.ledger)
main.add_command(match.match)
main.add_command(page.page)
main.add_command(party.party)
main.add_command(policy.policy)
main.add_command(predict.predict)
main.add_command(report.report)
main.add_command(review.review)
main.add_command(sweep.sweep)
main.add_command(bench.bench)
main.add_command(cache.cache)
main.add_command(peers.peers)
