"""`secure-fair data prepare`: the parties' stores, each from its own files, or all by somebody who is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_fair.scenarios.cli.options import Output, override_option, scenario_argument, shared_options

if TYPE_CHECKING:
    from secure_fair.scenarios.apart import IdLink, Store

_path = click.Path(path_type=Path)
_existing = click.Path(path_type=Path, exists=True, dir_okay=False)

out_option = click.option("--out", type=_path, required=True, help="Folder for the store; must not exist yet.")
key_option = click.option("--join-key", type=_existing, help="The key of all sides (secure-fair data join-key).")
matched_option = click.option("--matched", type=_existing, help="CSV of own ids and record ids that a match has made.")

KEYED = (
    "the ids are keyed hashes: without the key they say nothing; whoever has it can test whether a record whose id it "
    "can guess is among them. So no dealer gets it, and each side learns that much of the other's ids, no attribute"
)


@click.group()
def prepare() -> None:
    """Write the parties' stores: `developer` and `auditor` each from that party's own files, which nobody else sees.

    Both sides know the people by an id: a customer number, or the names of the pictures' files. A join key makes record
    ids of them that say nothing to anybody else, and the same ones at both sides (or --matched has them already). Which
    records are to train on and which to test on follows from record ids and scenario. Keep the key, and use it again:
    auditors keep budgets by these ids, and under another key everybody's would begin anew.
    """


@prepare.command()
@scenario_argument
@override_option
@out_option
@key_option
@matched_option
@click.option(
    "--held", multiple=True, metavar="NAME=FILE", help="The held.csv of an auditor: others are left out. For each one."
)
@shared_options
def developer(
    source: str,
    overrides: tuple[str, ...],
    out: Path,
    join_key: Path | None,
    matched: Path | None,
    held: tuple[str, ...],
    output: Output,
) -> None:
    """Write the developer's store from its pictures, or rows, and labels; no column of an attribute is read.

    Ids are those of data.id_column, else the names of the pictures' files. Beside the store, records.csv says which
    record is which of yours.
    """
    from secure_fair.scenarios.apart import prepare_developer
    from secure_fair.scenarios.progress import reporter
    from secure_fair.scenarios.schema import Scenario

    scenario = Scenario.load(source, overrides, output.note)
    _check_new(out)
    if matched is not None and join_key is not None:
        from secure_fair.errors import UsageError

        raise UsageError("--join-key and --matched: a developer needs one of them; leave the other out")
    link, lists = _link(join_key, matched), _held(held)
    follow = reporter(output.format)
    try:
        store = prepare_developer(scenario, out, link, lists, follow)
    finally:
        follow.close()
    shared = scenario.data.auditor is None
    if shared and not held:
        output.note("without --held a run is refused if an auditor lacks one of these records; ask it for its held.csv")
    if shared and scenario.data.split_given:
        output.note("the split is this data set's own: an auditor takes the developer's word for it")
    _tell(output, store, link, keyed=shared)


@prepare.command()
@scenario_argument
@override_option
@out_option
@key_option
@matched_option
@click.option("--name", help="Which auditor, where the scenario has several.")
@click.option("--table", type=_existing, help="CSV with this auditor's ids and attributes.")
@click.option("--id", "id_column", help="Its column of ids.  [default: data.id_column, else id]")
@click.option("--person", "person_column", help="Its column of persons.  [default: data.person_column]")
@shared_options
def auditor(
    source: str,
    overrides: tuple[str, ...],
    out: Path,
    join_key: Path | None,
    matched: Path | None,
    name: str | None,
    table: Path | None,
    id_column: str | None,
    person_column: str | None,
    output: Output,
) -> None:
    """Write an auditor's store from its own table of ids and attributes; no picture and no label is read.

    Its columns are called as in data.sensitive. Beside the store, held.csv has the ids in it, and is for the developer,
    which then leaves out everybody else. Of a scenario with [data.auditor] the people are that data set's, with
    pictures, and there is no --table. With --matched the key is this auditor's own, by which budgets outlive a match.
    """
    from secure_fair.scenarios.apart import OwnTable, prepare_auditor
    from secure_fair.scenarios.progress import reporter
    from secure_fair.scenarios.schema import Scenario

    scenario = Scenario.load(source, overrides, output.note)
    _check_new(out)
    link = _link(join_key, matched)
    own = None if table is None else OwnTable(table, id_column, person_column)
    follow = reporter(output.format)
    try:
        store = prepare_auditor(scenario, name, out, link, own, follow)
    finally:
        follow.close()
    if matched is not None:
        output.note("matched record ids are the developer's drawing: which of them train and which test is so, too")
    _tell(output, store, link, keyed=scenario.data.auditor is None)


@prepare.command()
@scenario_argument
@override_option
@click.option("--out", type=_path, required=True, help="Folder for the stores; must not exist yet.")
@click.option("--join-key", type=_path, help="Its key, made if it is not there.  [default: join.key beside --out]")
@shared_options
def together(source: str, overrides: tuple[str, ...], out: Path, join_key: Path | None, output: Output) -> None:
    """Write all parties' stores from the data of SCENARIO, by somebody who sees pictures and attributes together.

    For whoever is trusted by all sides, and for simulations. The key stays with who prepares.
    """
    from secure_fair.data.links import lasting_join_key
    from secure_fair.scenarios.people import NAMES, People, load, write_names
    from secure_fair.scenarios.progress import reporter
    from secure_fair.scenarios.schema import Scenario

    scenario = Scenario.load(source, overrides, output.note)
    _check_new(out)
    key_file = join_key or out.parent / "join.key"
    known = key_file.exists()
    follow = reporter(output.format)
    try:
        tables = load(scenario, follow)
        people = People(scenario, tables, lasting_join_key(key_file))
        people.write_stores(out)
        write_names(out / NAMES, people.names())
    finally:
        follow.close()
    folders = {folder.name: str(folder) for folder in sorted(out.iterdir()) if folder.is_dir()}
    names = str(out / NAMES)
    lines = [
        *(f"{name}: {folder}" for name, folder in folders.items()),
        f"names: {names}: which id is which of your records; for you alone, as names may tell attributes",
        f"join key: {key_file} ({'as before' if known else 'new'}): keep it for the next call, show it nobody",
    ]
    output.result({**folders, "names": names, "join_key": str(key_file)}, "\n".join(lines))


def _check_new(out: Path) -> None:
    from secure_fair.errors import UsageError

    if out.exists():
        raise UsageError(f"--out {out}: exists already; name another folder")


def _link(join_key: Path | None, matched: Path | None) -> IdLink:
    from secure_fair.data.links import read_join_key, read_matched
    from secure_fair.scenarios.apart import IdLink

    return IdLink(
        None if join_key is None else read_join_key(join_key), None if matched is None else read_matched(matched)
    )


def _held(given: tuple[str, ...]) -> dict[str, set[str]]:
    """NAME=FILE options as ids by auditor."""
    from secure_fair.data.links import read_held
    from secure_fair.errors import UsageError

    found: dict[str, set[str]] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and file) or name in found:
            raise UsageError(f"--held {text}: expected NAME=FILE, once for each auditor, as in auditor=held.csv")
        found[name] = read_held(Path(file))
    return found


BESIDE = {
    "names": "which record is which of yours; for you alone",
    "held": "the ids in the store, for the developer (--held)",
}


def _tell(output: Output, store: Store, link: IdLink, *, keyed: bool) -> None:
    """Say what was written, how many records are in it, and how many are not and why."""
    from secure_fair.data.links import key_fingerprint

    training = store.training
    parts = "" if training is None else f", {training} to train and {store.records - training} to test"
    lines = [f"store: {store.folder}: {store.records} records{parts}"]
    lines += [f"left out: {count} {reason}" for reason, count in store.left_out.items()]
    lines += [f"{what}: {file}: {BESIDE[what]}" for what, file in store.beside.items()]
    fingerprint = None if link.key is None else key_fingerprint(link.key)
    if fingerprint is not None:
        lines.append(f"join key: fingerprint {fingerprint}")
    if keyed and link.matched is None:
        lines.append(KEYED)
    tree = {
        "store": str(store.folder),
        "records": store.records,
        "training": training,
        "left_out": dict(store.left_out),
        "fingerprint": fingerprint,
        **{what: str(file) for what, file in store.beside.items()},
    }
    output.result(tree, "\n".join(lines))
