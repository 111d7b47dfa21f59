"""`secure-fair review`: the program attacks its own protocol."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, override_option, shared_options


@click.command()
@click.argument("source", metavar="[SCENARIO | RUN]", default="quickstart")
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
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder.  [default: runs/review-NAME; RUN/review of a run]",
)
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
    """Attack the protocol at what SCENARIO promises (quickstart, unless named), or look at a finished RUN.

    Of a SCENARIO, without its data: every attack runs twice, against the program's own code, where it may win no more
    than the guarantee allows, and against a twin without the protection, where it must win. Verdicts: holds; FAILS,
    with exit code 6; blind where it won too little on its twin to show anything. What an attack has found is kept in
    the folder, and taken from there by the next review with the same program, terms and seed.

    Of a RUN: who learned what by both sides' ledgers, whether these agree, whether what was spent, counted again from
    the noise, is what is claimed, and whether a file has what its party must not have. Exit code 6 where a check fails.

    Writes review.json and review.html.
    """
    from secure_fair.report.tables import Table

    if listing:
        from secure_fair.attacks import ATTACKS

        about = {name: {"view": one.view, "claim": one.claim, "twin": one.twin} for name, one in ATTACKS.items()}
        rows = tuple((name, one["view"], one["claim"]) for name, one in about.items())
        output.result(about, Table(("attack", "view", "claim"), rows).text())
        return

    from secure_fair.scenarios import run_review

    if run_review.is_run(source):
        _review_run(
            Path(source), out, output, unused=[*overrides, *only, *(["--demo"] if demo else [])], fail_on=fail_on
        )
        return

    from secure_fair.report.review import LEGEND, demo_text, overview, write_review
    from secure_fair.scenarios import review as reviews
    from secure_fair.scenarios.progress import reporter
    from secure_fair.scenarios.schema import Scenario

    attacks = reviews.chosen(only or (reviews.DEMO if demo else ()))
    scenario = Scenario.load(source, overrides, output.note)
    follow = reporter(output.format)
    out = out or Path("runs") / f"review-{scenario.name}"
    try:
        found = reviews.review(scenario, attacks, follow, seed=seed, kept=None if demo else out / "findings")
    finally:
        follow.close()
    if demo:
        output.result(found, demo_text(found))
    else:
        written = write_review(out, found)
        output.result(found, f"{overview(found).text()}\n({LEGEND})\n\nReview: {written[-1]}")
    reviews.check(found, fail_on)


def _review_run(folder: Path, out: Path | None, output: Output, *, unused: list[str], fail_on: str) -> None:
    from secure_fair.errors import ClaimFails, UsageError
    from secure_fair.report.run_review import text, write_run_review
    from secure_fair.scenarios.run_review import failed, review_run

    if unused:
        raise UsageError(f"{', '.join(unused)}: attacks are chosen for a scenario; {folder} is a finished run")
    found = review_run(folder)
    written = write_run_review(out or folder / "review", found)
    output.result(found, f"{text(found)}\n\nReview: {written[-1]}")
    if failed(found) and fail_on != "never":
        raise ClaimFails("; ".join(failed(found)))
