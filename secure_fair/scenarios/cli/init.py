"""`secure-fair init`: a scenario for somebody's own data, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_fair.scenarios.cli.options import Output, shared_options

if TYPE_CHECKING:
    from secure_fair.scenarios.schema import Scenario
    from secure_fair.scenarios.starter import FoundDataSet, StarterRequest

SCENARIO = "scenario.toml"
_folder = click.Path(path_type=Path)


@click.command()
@click.argument("folder", metavar="DIR", type=_folder)
@click.option("--pictures", type=_folder, help="Folder of the pictures: anybody's with a CSV, CelebA's or UTKFace's.")
@click.option("--table", type=_folder, help="CSV about the pictures; without --pictures its columns are the features.")
@click.option("--target", help='The task: a column, or a comparison such as "age >= 30".')
@click.option("--sensitive", multiple=True, help="An attribute to be fair by, in the same form. May be repeated.")
@click.option(
    "--groups",
    multiple=True,
    metavar="ATTRIBUTE=A,B+C",
    help="Groups of an attribute, values that are one group joined by +.  [default: each value]",
)
@click.option("--path-column", help="Column of the pictures' paths.  [default: the one whose cells are files]")
@click.option("--id-column", help="Column of record ids.")
@click.option("--person-column", help="Column that says whose record it is.")
@click.option("--backbone", help="timm's name of a vision transformer.  [default: deit_tiny_patch16_224]")
@click.option("--weights", help='Its weights: a file, or "timm" to download.  [default: the small embedded backbone]')
@click.option("--epsilon", type=float, default=1.0, show_default=True, help="Of training, and of the audit.")
@shared_options
def init(folder: Path, output: Output, **wanted: Any) -> None:
    """Write DIR/scenario.toml for your own data, check the data, and say what to type next.

    \b
      secure-fair init mine --pictures faces --target "age >= 30" --sensitive race
      secure-fair run mine/scenario.toml

    What is not named is looked up in your files; at a terminal, the task and the attributes are asked for.
    """
    from secure_fair.errors import UsageError
    from secure_fair.files import write_bytes
    from secure_fair.scenarios.starter import StarterRequest, check_named, find_source, scenario_text

    asked = StarterRequest(**wanted)
    file = folder / SCENARIO
    if file.exists():
        raise UsageError(f"{file}: exists already; name another DIR, or change that file")
    source = find_source(asked)
    if output.format == "text" and sys.stdin.isatty():
        asked = _ask(source, asked)
    check_named(source, asked)
    name = folder.resolve().name
    text = scenario_text(name, source, asked)
    facts = _read(text, str(file), output)
    text = scenario_text(name, source, asked, records=facts.records)
    _admit(text, str(file))
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(file, text.encode())
    lines = [facts.text(), "", f"{file} is written. Next:"]
    command = f"secure-fair run {file}"
    if facts.bad:
        lines.append(f"repair what was left out ({len(facts.bad)}), or let runs leave it out as well:")
        command += " -o data.on_bad=skip"
    output.result({"scenario": str(file), "next": command, "data": facts.tree()}, "\n".join([*lines, f"  {command}"]))


def _ask(source: FoundDataSet, wanted: StarterRequest) -> StarterRequest:
    """The same with what the user answers at the terminal."""
    from dataclasses import replace

    if wanted.target is not None and wanted.sensitive:
        return wanted
    click.echo("\n".join(["columns:", *source.described()]))
    target = wanted.target or click.prompt('target (a column, or a comparison such as "age >= 30")')
    sensitive = wanted.sensitive or tuple(
        name.strip() for name in click.prompt("sensitive attributes, with commas between").split(",") if name.strip()
    )
    return replace(wanted, target=target, sensitive=sensitive)


def _read(text: str, where: str, output: Output) -> Any:
    """The report of the data: what is in it, and which records are bad."""
    from secure_fair.data.check import check
    from secure_fair.scenarios.people import reading
    from secure_fair.scenarios.progress import reporter

    scenario = _parsed(text, where)
    follow = reporter(output.format)
    try:
        return check(**scenario.data.asked, **reading(scenario, scenario.data, follow))
    finally:
        follow.close()


def _admit(text: str, where: str) -> None:
    """Refuse what a run of the scenario would be refused for, bad records apart."""
    from secure_fair.scenarios.fit import admit

    scenario = _parsed(text, where)
    admit((*scenario.compared, scenario))


def _parsed(text: str, where: str) -> Scenario:
    from secure_fair import toml_text
    from secure_fair.scenarios.schema import Scenario

    return Scenario.parse(toml_text.parse(text, where))
