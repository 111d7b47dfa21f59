"""`secure-fair data`: looking at a data set before it is used, and handing each party its part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scenarios.cli.options import Output, column_options, override_option, scenario_argument, shared_options


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
    from scenarios.people import reading
    from scenarios.progress import reporter
    from scenarios.schema import Scenario
    from secure_fair.data.check import check as check_data
    from secure_fair.data.check import check_attributes
    from secure_fair.errors import UsageError

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


@data.command()
@scenario_argument
@override_option
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the stores; must not exist yet."
)
@click.option(
    "--join-key",
    type=click.Path(path_type=Path),
    help="File with the key of the ids, made if it does not exist; join.key beside the folder of --out by default.",
)
@click.option("--party", help="Write this party's store alone, from its own data set: for scenarios of [data.auditor].")
@shared_options
def prepare(
    source: str, overrides: tuple[str, ...], out: Path, join_key: Path | None, party: str | None, output: Output
) -> None:
    """Write each party's store from the data of SCENARIO: one folder a party, with what that party may know.

    Records and persons get ids that say nothing, by a key that stays with whoever prepares. Keep it, and use it again:
    auditors keep budgets by these ids, and under another key everybody's would begin anew.
    """
    from scenarios.alone import write_store
    from scenarios.people import NAMES, People, load, write_names
    from scenarios.progress import reporter
    from scenarios.schema import Scenario
    from secure_fair.data.store import read_join_key
    from secure_fair.errors import UsageError

    scenario = Scenario.load(source, overrides, output.note)
    if out.exists():
        raise UsageError(f"--out {out}: exists already; name another folder")
    key_file = join_key or out.parent / "join.key"
    known = key_file.exists()
    key = read_join_key(key_file)
    follow = reporter(output.format)
    try:
        if party is not None:
            write_store(scenario, party, out, key, follow)
        else:
            people = People(scenario, load(scenario, follow), key)
            people.write_stores(out)
            write_names(out / NAMES, people.names())
    finally:
        follow.close()
    folders = {folder.name: str(folder) for folder in sorted(out.iterdir()) if folder.is_dir()}
    lines = [f"{name}: {folder}" for name, folder in folders.items()]
    names = out / NAMES
    if names.is_file():
        lines.append(f"names: {names}: which id is which of your records; for you alone, as names may tell attributes")
        folders["names"] = str(names)
    lines.append(f"join key: {key_file} ({'as before' if known else 'new'}): keep it for the next call, show it nobody")
    output.result({**folders, "join_key": str(key_file)}, "\n".join(lines))


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
    from secure_fair.data.matched import MATCHED_KEY, read_matched, renamed_decisions
    from secure_fair.data.store import read_join_key
    from secure_fair.errors import UsageError

    if (join_key is None) == (matched is None):
        raise UsageError("--join-key, --matched: give one of the two; ids are by a common key, or matched")
    found = read_decisions(file, Columns(**columns))
    if matched is not None:
        found = renamed_decisions(found, read_matched(matched), matched)
    write_decisions(out, found, MATCHED_KEY if join_key is None else read_join_key(join_key))
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
    from scenarios.audit import AuditorFile, write_attributes
    from secure_fair.data.decisions import read_attributes
    from secure_fair.data.matched import MATCHED_KEY, names_of, read_matched, renamed_attributes, under_own_key
    from secure_fair.data.store import read_join_key
    from secure_fair.errors import UsageError

    if join_key is None:
        own = "this auditor's own, for" if matched is not None else "which all sides of the audit have:"
        raise UsageError(f"--join-key FILE: is missing; a key of ids, {own} its budgets are kept by it")
    given = AuditorFile.parse(f"auditor={source}")
    ids, table = read_attributes(given.file, given.attributes, id_column)
    key = read_join_key(join_key)
    if matched is not None:
        pairs = read_matched(matched)
        table = under_own_key(renamed_attributes(table, names_of(ids, pairs, matched)), key)
        key = MATCHED_KEY
    write_attributes(out, table, key)
    output.result({"store": str(out), "records": len(ids)}, f"{out}: {len(ids)} records")
