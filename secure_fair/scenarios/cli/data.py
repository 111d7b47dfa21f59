"""`secure-fair data`: looking at a data set before it is used, and handing each party its part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from secure_fair.scenarios.cli.options import Output, column_options, override_option, scenario_argument, shared_options
from secure_fair.scenarios.cli.prepare import prepare


@click.group()
def data() -> None:
    """Look at data sets, and divide them among the parties."""


@data.command()
@scenario_argument
@override_option
@shared_options
def check(source: str, overrides: tuple[str, ...], output: Output) -> None:
    """Read the data of SCENARIO: list every bad file, and count the records of each class and group.

    Ends with exit code 2 where a run would refuse the data: bad records under data.on_bad = "refuse".

    This is the view of whoever simulates all parties: it opens pictures and attributes alike.
    """
    from secure_fair.data.check import check as check_data
    from secure_fair.data.check import check_attributes
    from secure_fair.errors import UsageError
    from secure_fair.scenarios.people import reading
    from secure_fair.scenarios.progress import reporter
    from secure_fair.scenarios.schema import Scenario

    scenario = Scenario.load(source, overrides, output.note)
    data, own = scenario.data, scenario.data.auditor
    follow = reporter(output.format)
    try:
        found = check_data(**data.asked, **reading(scenario, data, follow))
        theirs = None if own is None else check_attributes(**own.asked, **reading(scenario, own, follow))
    finally:
        follow.close()
    if theirs is None:
        output.result(found.tree(), found.text())
    else:
        text = f"{found.text()}\n\nthe auditors' own people\n{theirs.text()}"
        output.result({**found.tree(), "auditor": theirs.tree()}, text)
    refused = [
        f"{where}.on_bad: {len(one.bad)} records are bad, and a run refuses them; repair them, or set it to "
        f'"skip" (-o {where}.on_bad=skip)'
        for where, asked, one in (("data", data, found), ("data.auditor", own, theirs))
        if asked is not None and one is not None and asked.on_bad == "refuse" and one.bad
    ]
    if refused:
        raise UsageError(refused)


data.add_command(prepare)


@data.command("join-key")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@shared_options
def join_key(file: Path, output: Output) -> None:
    """Make the key by which parties come to the same ids, or print the fingerprint of one that is there.

    One party makes it, and hands FILE to the others that hold data, by a way that nobody else can read; never to the
    dealer. All of them then compare the fingerprint, by telephone for instance.
    """
    from secure_fair.data.links import key_fingerprint, lasting_join_key

    known = file.exists()
    fingerprint = key_fingerprint(lasting_join_key(file))
    text = f"{file}: {'the join key as before' if known else 'a new join key'}, fingerprint {fingerprint}"
    output.result({"file": str(file), "new": not known, "fingerprint": fingerprint}, text)


@data.command()
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--names",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The records.csv that `data prepare developer` has written beside the store.",
)
@click.option(
    "--output", "file", type=click.Path(path_type=Path), required=True, help="CSV to write; must not exist yet."
)
@shared_options
def predictions(out: Path, names: Path, file: Path, output: Output) -> None:
    """Write what the model in OUT, the developer's --out, said of each test record under the developer's own names.

    The columns are id, file, label, prediction, score and split; with more than two classes a score for each.
    """
    from secure_fair.scenarios.own_names import write_predictions

    count = write_predictions(out, names, file)
    output.result({"file": str(file), "records": count}, f"{file}: {count} records, for the developer alone")


out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the store; must not exist yet."
)
key_option = click.option(
    "--join-key",
    type=click.Path(path_type=Path),
    help="File with the key of the ids, the same for all sides of an audit; made if it does not exist.",
)
matched_option = click.option(
    "--matched",
    type=click.Path(path_type=Path),
    help="CSV of matched ids (secure-fair match), in place of ids by a common key.",
)


@data.command()
@click.argument("file", metavar="DECISIONS", type=click.Path(path_type=Path))
@out_option
@key_option
@matched_option
@column_options
@shared_options
def decisions(
    file: Path, out: Path, join_key: Path | None, matched: Path | None, output: Output, **columns: Any
) -> None:
    """Write a developer's store for an audit between machines (secure-fair party developer --audit).

    Its ids are those of --join-key, a file that all sides have, or those of --matched, which say nothing by themselves.
    """
    from secure_fair.data.decision_store import write_decisions
    from secure_fair.data.decisions import Columns, read_decisions
    from secure_fair.data.links import lasting_join_key, read_matched
    from secure_fair.data.matched import renamed_decisions
    from secure_fair.errors import UsageError

    _require_new(out)
    if (join_key is None) == (matched is None):
        raise UsageError("--join-key, --matched: give one of the two; ids are by a common key, or matched")
    found = read_decisions(file, Columns(**columns))
    if matched is not None:
        found = renamed_decisions(found, read_matched(matched), matched)
    write_decisions(out, found, None if join_key is None else lasting_join_key(join_key))
    output.result({"store": str(out), "records": len(found.ids)}, f"{out}: {len(found.ids)} records")


@data.command()
@click.argument("source", metavar="FILE:COLUMN,...")
@out_option
@key_option
@matched_option
@click.option("--id", "id_column", default="id", show_default=True, help="Column of record ids.")
@shared_options
def attributes(
    source: str, out: Path, join_key: Path | None, matched: Path | None, id_column: str, output: Output
) -> None:
    """Write an auditor's store for an audit between machines (secure-fair party auditor --audit).

    With --matched the --join-key is this auditor's own, and no other side's: budgets are kept by names that it makes of
    its own ids, whatever record ids the next matching gives them. Keep it, and use it again.
    """
    from secure_fair.data.decisions import read_attributes
    from secure_fair.data.links import lasting_join_key, read_matched
    from secure_fair.data.matched import names_of, renamed_attributes
    from secure_fair.errors import UsageError
    from secure_fair.scenarios.audit import held_columns, write_attributes

    if join_key is None:
        own = "this auditor's own, for" if matched is not None else "which all sides of the audit have:"
        raise UsageError(f"--join-key FILE: is missing; a key of ids, {own} its budgets are kept by it")
    _require_new(out)
    held = held_columns(source)
    if held is None:
        raise UsageError(f"{source}: expected FILE:COLUMN,..., for instance city.csv:sex,race")
    ids, table = read_attributes(*held, id_column)
    if matched is not None:
        table = renamed_attributes(table, names_of(ids, read_matched(matched), matched))
    write_attributes(out, table, lasting_join_key(join_key))
    output.result({"store": str(out), "records": len(ids)}, f"{out}: {len(ids)} records")


def _require_new(out: Path) -> None:
    """UsageError where the folder holds something, before a key is made for it."""
    from secure_fair.errors import UsageError

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: exists already; name another folder")
