"""`secure-fair peers`: ours beside others' fair linear models, on the same features and records."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, override_option, scenario_argument, shared_options


@click.command()
@scenario_argument
@override_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: runs/NAME-SEED]")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Seeds, from the scenario's on."
)
@click.option(
    "--target-gap",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Demographic-parity gap that settings are chosen for, by validation records.",
)
@shared_options
def peers(
    source: str, overrides: tuple[str, ...], out: Path | None, seeds: int, target_gap: float, output: Output
) -> None:
    """Train linear models on the features of SCENARIO by fairlearn, OxonFair, fairret, LEACE, and ours.

    Features are a table's columns, or pooled ones of the frozen backbone. Others have the attributes in the clear; ours
    have moments at epsilon 0.3, 1 and exact. Writes peers.csv, a row per method, setting and seed, and peers.md. Of the
    scenario it uses data, backbone, train and privacy.delta. Needs: pip install 'secure-fair[peers]'.
    """
    from secure_fair.scenarios.folders import run_folder
    from secure_fair.scenarios.progress import reporter
    from secure_fair.scenarios.schema import Scenario

    scenario = Scenario.load(source, overrides, output.note)

    from secure_fair.scenarios.peers import check, compare  # the libraries that it compares with take seconds to import

    check(scenario)
    folder = run_folder(scenario, out)
    follow = reporter(output.format)
    try:
        found = compare(scenario, folder, seeds, target_gap, follow)
    finally:
        follow.close()
    output.result(found.tree(), f"{found.text()}\n\nFolder: {folder}")
