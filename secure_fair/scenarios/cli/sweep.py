"""`secure-fair sweep`: a grid of settings over scenarios and seeds, as tables and figures."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.errors import UsageError
from secure_fair.scenarios.cli.options import Output, override_option, shared_options


@click.command()
@click.argument("source", metavar="FILE")
@override_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder.  [default: runs/sweep-NAME]")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that run at a time.")
@click.option(
    "--cluster", "cluster_at", metavar="ADDRESS", help="Dask scheduler whose workers run it, tls://HOST:PORT."
)
@click.option("--secure-check", "checks", type=click.IntRange(0), default=0, help="Repeat so many runs in secure mode.")
@click.option("--attack", is_flag=True, help="Also attack what each run released: attacks.csv.")
@click.option("--report-only", is_flag=True, help="Run nothing: make table and figures from runs.csv.")
@shared_options
def sweep(
    source: str,
    overrides: tuple[str, ...],
    out: Path | None,
    jobs: int,
    cluster_at: str | None,
    checks: int,
    attack: bool,
    report_only: bool,
    output: Output,
) -> None:
    """Run the grid of FILE (a file, or a name of the library) in plain mode, with the same gate and noise as on shares.

    Started again, it goes on where it was stopped: finished runs are lines of runs.csv. A grid's list is an axis:

    \b
      name = "mine"
      base = ["quickstart"]        # scenarios: files, or names of the library
      seeds = [0, 1, 2]
      set.train.epochs = 2         # keys for all runs
      [[grid]]
      method.name = ["parity", "odds"]
      privacy.epsilon = [0.3, 1.0, inf]   # inf: exact releases

    --attack has whoever knows everybody else's attribute guess each person's from what was released, the strongest
    attacker there is: area under its curve and hit rates, beside the most that epsilon allows.

    A sweep that outgrows this machine, by Dask (pip install "secure-fair[cluster]"): start `dask scheduler`, then on
    each machine `dask worker ADDRESS --nthreads 1`, in a folder below which data and weights have the paths that the
    scenarios name; then give --cluster ADDRESS here.
    """
    from secure_fair.report.sweep import write_sweep_report
    from secure_fair.scenarios import grid
    from secure_fair.scenarios.progress import reporter

    if cluster_at is not None and jobs > 1:
        raise UsageError(f"--jobs {jobs}: with --cluster its workers say how many run at a time; leave one of them out")
    loaded = grid.load(source)
    folder = out or Path("runs") / f"sweep-{loaded.name}"
    if not report_only:
        runs = grid.runs_of(loaded, overrides)
        folder.mkdir(parents=True, exist_ok=True)

        from secure_fair.scenarios import spot_check
        from secure_fair.scenarios.sweep import sweep as run_all

        follow = reporter(output.format)
        try:
            run_all(runs, folder, follow, jobs=jobs, cluster_at=cluster_at, attack=attack)
            if checks:
                spot_check.check(runs, folder, follow, count=checks)
        finally:
            follow.close()
    written = write_sweep_report(folder)
    output.result(written.tree(), f"{written.text()}\n\nSweep folder: {folder}")
