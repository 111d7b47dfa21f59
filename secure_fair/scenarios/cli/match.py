"""`secure-fair match`: whom two or more sides both have, by files that they send each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, shared_options

any_path = click.Path(path_type=Path)
id_option = click.option("--id", "id_column", default="id", show_default=True, help="Column of record ids.")
keep_option = click.option(
    "--keep", type=any_path, required=True, help="This side's own folder for what is remembered until the end."
)
out_option = click.option("--out", type=any_path, required=True, help="File to write; must not exist yet.")
most_option = click.option(
    "--at-most",
    type=click.IntRange(min=1),
    help="Ids that the other side's file may be of.  [default: as many as there are here]",
)


@click.group()
def match() -> None:
    """Find out whom two or more sides both have, and give those people record ids that say nothing.

    No side learns an id of another's that it does not have itself, only how many there are; docs/match.md has who
    learns what, and what a side that lies could gain. A developer and its auditors send each other these files:

    \b
      developer  secure-fair match ask decisions.csv --keep mine --out request.match
      auditor    secure-fair match answer request.match city.csv --keep own --out city.match
      developer  secure-fair match assign city.match --keep mine --out matched
      auditor    secure-fair match accept matched/city-records.match --keep own --out matched.csv

    Both then have a CSV of their own ids with record ids (id,record), for `secure-fair data`.
    """


@match.command()
@click.argument("file", metavar="FILE", type=any_path)
@keep_option
@out_option
@id_option
@shared_options
def ask(file: Path, keep: Path, out: Path, id_column: str, output: Output) -> None:
    """Ask which ids of FILE (CSV) others have: writes the request that goes to each of them."""
    from secure_fair.data.decisions import read_ids
    from secure_fair.files import write_bytes
    from secure_fair.scenarios import match as matching

    _new(out)
    ids = read_ids(file, id_column)
    with _progress(output) as progress:
        content = matching.ask(ids, keep, progress)
    write_bytes(out, content)
    output.result({"request": str(out), "ids": len(ids)}, f"{out}: asks about {len(ids)} ids; send it to every auditor")


@match.command()
@click.argument("request", metavar="REQUEST", type=any_path)
@click.argument("file", metavar="FILE", type=any_path)
@keep_option
@out_option
@id_option
@most_option
@shared_options
def answer(
    request: Path, file: Path, keep: Path, out: Path, id_column: str, at_most: int | None, output: Output
) -> None:
    """Answer REQUEST for the ids of FILE (CSV).

    All requests that were answered with the same --keep together may be about --at-most ids: whoever asks about ids
    that it has guessed learns which of them are here.
    """
    from secure_fair.data.decisions import read_ids
    from secure_fair.files import write_bytes
    from secure_fair.scenarios import match as matching

    _new(out)
    ids = read_ids(file, id_column)
    with _progress(output) as progress:
        content = matching.answer(_content(request), ids, keep, at_most, progress)
    write_bytes(out, content)
    output.result({"answer": str(out), "ids": len(ids)}, f"{out}: answers for {len(ids)} ids; send it to who asked")


@match.command()
@click.argument("answers", metavar="ANSWER...", type=any_path, nargs=-1, required=True)
@keep_option
@click.option("--out", type=any_path, required=True, help="Folder of the results; must be new or empty.")
@most_option
@shared_options
def assign(answers: tuple[Path, ...], keep: Path, out: Path, at_most: int | None, output: Output) -> None:
    """Give record ids to whom all who ANSWER have: a CSV for this side, and a file for each of them."""
    from secure_fair.data.matched import write_matched
    from secure_fair.errors import UsageError
    from secure_fair.files import write_bytes
    from secure_fair.scenarios import match as matching
    from secure_fair.scenarios.folders import new_folder

    contents = {file.stem: _content(file) for file in answers}
    if len(contents) != len(answers):
        raise UsageError("two answers have the same file name; rename one, for the results are called after them")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: exists and is not an empty folder; name another")
    with _progress(output) as progress:
        mine, told = matching.assign(contents, keep, at_most, progress)
    folder = new_folder(out, out)
    write_matched(folder / "matched.csv", mine)
    sent = {name: folder / f"{name}-records.match" for name in told}
    for name, content in told.items():
        write_bytes(sent[name], content)
    matching.forget(contents, keep)
    lines = [f"{folder / 'matched.csv'}: {len(mine)} ids that all have"]
    lines += [f"{file}: send it to {name}" for name, file in sent.items()]
    tree = {"matched": str(folder / "matched.csv"), "ids": len(mine), "send": {k: str(v) for k, v in sent.items()}}
    output.result(tree, "\n".join(lines))


@match.command()
@click.argument("records", metavar="RECORDS", type=any_path)
@keep_option
@out_option
@shared_options
def accept(records: Path, keep: Path, out: Path, output: Output) -> None:
    """Write the CSV of own ids with their record ids, from the RECORDS that the asker has sent."""
    from secure_fair.data.matched import write_matched
    from secure_fair.scenarios import match as matching

    _new(out)
    found = matching.accept(_content(records), keep)
    write_matched(out, found)
    output.result({"matched": str(out), "ids": len(found)}, f"{out}: {len(found)} ids that all have")


@match.command()
@click.argument("decisions", metavar="DECISIONS", type=any_path)
@click.option(
    "--auditor", "auditors", multiple=True, required=True, metavar="[NAME=]FILE", help="An auditor's CSV with ids."
)
@click.option("--out", type=any_path, required=True, help="Folder of every side's CSV; must be new or empty.")
@id_option
@shared_options
def simulate(decisions: Path, auditors: tuple[str, ...], out: Path, id_column: str, output: Output) -> None:
    """Match DECISIONS and all auditors' files on this machine: a CSV for each, for `secure-fair audit --matched`."""
    from secure_fair.data.decisions import read_ids
    from secure_fair.data.matched import write_matched
    from secure_fair.errors import UsageError
    from secure_fair.scenarios import match as matching
    from secure_fair.scenarios.audit import AuditorFile
    from secure_fair.scenarios.folders import new_folder

    files = [AuditorFile.parse(f"{text}:{id_column}") for text in auditors]
    names = [one.name for one in files]
    if len(set(names)) != len(names) or "developer" in names:
        raise UsageError("--auditor: two sides have the same name; give NAME=FILE")
    ids, held = read_ids(decisions, id_column), {one.name: read_ids(one.file, id_column) for one in files}
    with _progress(output) as progress:
        mine, theirs = matching.simulate(ids, held, progress)
    folder = new_folder(out, out)
    for name, found in {"developer": mine, **theirs}.items():
        write_matched(folder / f"{name}.csv", found)
    tree = {"folder": str(folder), "ids": len(mine), "sides": ["developer", *names]}
    output.result(tree, f"{folder}: {len(mine)} ids that all have; audit with --matched {folder}")


def _new(out: Path) -> None:
    from secure_fair.errors import UsageError

    if out.exists():
        raise UsageError(f"--out {out}: exists already; name another file")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; make it first")


def _content(file: Path) -> bytes:
    from secure_fair.errors import UsageError

    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _progress(output: Output) -> Iterator[Callable[[int, int], None]]:
    """Progress of raising points, which takes minutes for a million ids."""
    from secure_fair.scenarios.progress import reporter

    follow = reporter(output.format)
    try:
        yield lambda done, total: follow.progress("matching", done, total)
    finally:
        follow.close()
