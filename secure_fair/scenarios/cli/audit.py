"""`secure-fair audit`: rates of decisions by group, where decisions and attributes stay with those who have them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_fair.defaults import DELTA
from secure_fair.scenarios.cli.options import Output, column_options, shared_options

if TYPE_CHECKING:
    from secure_fair.scenarios.audit import AuditRequest

existing = click.Path(path_type=Path)


@click.command()
@click.argument("decisions", metavar="DECISIONS", type=existing)
@click.option(
    "--auditor",
    "auditors",
    multiple=True,
    required=True,
    metavar="[NAME=]FILE:COLUMN,...",
    help='An auditor\'s CSV or Parquet file and attributes in it, such as city.csv:sex,race or "clinic.csv:age > 40".',
)
@click.option(
    "--intersections", multiple=True, metavar='"A x B"', help="Count the combinations of these attributes as well."
)
@click.option(
    "--epsilon",
    type=float,
    help="Of all counts of one attribute together.  [default: 1; exact if every policy has allow_exact = true]",
)
@click.option("--delta", type=float, default=DELTA, show_default=True, help="The delta of epsilon.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="[NAME=]FILE",
    help="The auditors' policy, or that of one of them.  [default: this audit once, and four fifths claimed]",
)
@column_options
@click.option(
    "--bins",
    type=click.IntRange(4, 20),
    help="Compare scores with labels in so many bins, an even number: are scores calibrated in every group?",
)
@click.option("--output", "out", type=existing, help="Folder of the answer.  [default: audits/NAME]")
@click.option(
    "--matched",
    type=existing,
    help="Folder of secure-fair match simulate: ids matched by private set intersection, in place of keyed ids.",
)
@click.option("--state", type=existing, help="Folder in which budgets and answers are kept from audit to audit.")
@click.option(
    "--certificate/--no-certificate",
    default=True,
    help="Have auditors confirm what the developer is told, and all sign it.  [default: --certificate]",
)
@click.option(
    "--fail-on",
    type=click.Choice(["fail", "not-decidable"]),
    help="Exit code 6 where a claim fails; or where one fails or is not decidable.",
)
@shared_options
def audit(decisions: Path, out: Path | None, fail_on: str | None, output: Output, **given: Any) -> None:
    """Audit DECISIONS, a CSV or Parquet file of decisions or scores by id, by attributes that auditors hold.

    Developer, auditors and dealer run as processes of their own, as in `secure-fair run`; what is opened passes the
    auditors' gates. Records are matched by id under a key, so that an auditor can tell whose ids it is offered if it
    can guess them; with --matched it learns of nobody whom it does not have. The developer learns which of its records
    the auditors have.
    """
    from secure_fair.report.audit import text, write_audit
    from secure_fair.scenarios.audit import prepare, run_audit
    from secure_fair.scenarios.folders import new_folder
    from secure_fair.scenarios.progress import reporter

    prepared = prepare(wanted(decisions, **given))
    folder = new_folder(out, Path("audits") / prepared.terms.name, option="--output")
    follow = reporter(output.format)
    try:
        summary = run_audit(prepared, folder, follow)
        follow.stage("report")
        write_audit(folder)
    except BaseException:
        shutil.rmtree(folder)  # an audit without an answer leaves nothing
        raise
    finally:
        follow.close()
    output.result(summary, f"{text(summary)}\nAnswer: {folder}")
    check_claims(summary["verdicts"], fail_on)


def check_claims(verdicts: Sequence[Mapping[str, Any]], fail_on: str | None) -> None:
    """ClaimFails where a verdict is among those that the command is to fail on."""
    from secure_fair.errors import ClaimFails
    from secure_fair.fairness.claims import FAIL, OPEN

    worst = {None: (), "fail": (FAIL,), "not-decidable": (FAIL, OPEN)}[fail_on]
    found = [f"{one['claim']}: {one['verdict']}" for one in verdicts if one["verdict"] in worst]
    if found:
        raise ClaimFails("; ".join(found))


def wanted(
    decisions: Path,
    *,
    auditors: tuple[str, ...],
    intersections: tuple[str, ...],
    epsilon: float | None,
    delta: float,
    policies: tuple[str, ...],
    bins: int | None,
    matched: Path | None,
    state: Path | None,
    certificate: bool,
    **columns: Any,
) -> AuditRequest:
    """The audit that the command line asks for."""
    from secure_fair.data.decisions import Columns
    from secure_fair.scenarios.audit import AuditorFile, AuditRequest

    return AuditRequest(
        decisions,
        Columns(**columns),
        [AuditorFile.parse(text) for text in auditors],
        policy_files(policies),
        [tuple(part.strip() for part in text.split(" x ")) for text in intersections],
        epsilon,
        delta,
        state,
        certificate,
        bins,
        matched,
    )


def policy_files(given: tuple[str, ...]) -> dict[str, Path]:
    """[NAME=]FILE options as a mapping from auditor to file, "" being all others."""
    from secure_fair.errors import UsageError

    found: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        key = name if equals else ""
        if key in found:
            raise UsageError(f"--policy {text}: {'all auditors have' if not key else f'{key} has'} a file already")
        found[key] = Path(file if equals else text)
    return found
