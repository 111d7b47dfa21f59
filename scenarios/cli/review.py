"""`secure-fair review`: the program attacks its own protocol."""

from __future__ import annotations

from pathlib import Path

import click

from scenarios.cli.options import Output, override_option, shared_options


@click.command()
@click.argument("source", metavar="[SCENARIO]", default="quickstart")
@override_option
@click.option("--list", "listing", is_flag=True, help="Name the attacks and what each tests; run nothing.")
@click.option("--only", multiple=True, metavar="NAME", help="Run this attack alone. May be repeated.")
@click.option("--demo", is_flag=True, help="Four attacks, a line each; writes nothing.")
@click.option(
    "--fail-on",
    type=click.Choice(["fails", "blind", "never"]),
    default="fails",
    show_default=True,
    help="End with exit code 6 where a claim fails; where an attack is blind too; or never.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the attacks, not of the noise.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: runs/review-NAME]")
@shared_options
def review(
    source: str,
    overrides: tuple[str, ...],
    listing: bool,
    only: tuple[str, ...],
    demo: bool,
    fail_on: str,
    seed: int,
    out: Path | None,
    output: Output,
) -> None:
    """Attack the protocol at what SCENARIO promises (quickstart, unless named), without data.

    Every attack runs twice: against the program's own code, where it may win no more than the guarantee allows, and
    against a twin without the protection, where it must win. Verdicts: holds; FAILS, with exit code 6; blind where it
    won too little on its twin to show anything. Writes review.json and review.html.
    """
    from secure_fair.report.tables import Table

    if listing:
        from secure_fair.attacks import ATTACKS

        about = {name: {"view": one.view, "claim": one.claim, "twin": one.twin} for name, one in ATTACKS.items()}
        rows = tuple((name, one["view"], one["claim"]) for name, one in about.items())
        output.result(about, Table(("attack", "view", "claim"), rows).text())
        return

    from scenarios import review as reviews
    from scenarios.progress import reporter
    from scenarios.schema import Scenario
    from secure_fair.report.review import LEGEND, demo_text, overview, write_review

    attacks = reviews.chosen(only or (reviews.DEMO if demo else ()))
    scenario = Scenario.load(source, overrides, output.note)
    follow = reporter(output.format)
    try:
        found = reviews.review(scenario, attacks, follow, seed=seed)
    finally:
        follow.close()
    if demo:
        output.result(found, demo_text(found))
    else:
        written = write_review(out or Path("runs") / f"review-{scenario.name}", found)
        output.result(found, f"{overview(found).text()}\n({LEGEND})\n\nReview: {written[-1]}")
    reviews.check(found, fail_on)
