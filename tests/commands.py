"""The commands that the documents tell: found in their code, and read as the command line reads them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from secure_fair.scenarios.cli import main

ROOT = Path(__file__).parent.parent
AT_THE_ROOT = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in AT_THE_ROOT), *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = "secure-fair"


@dataclass(frozen=True)
class Told:
    """A command of a page; ``whole``: a line of a block of code, to be typed, not only named in a sentence."""

    page: str
    text: str
    whole: bool

    @property
    def words(self) -> list[str]:
        """What is typed after the program's name; a remark or a pipe behind it left out."""
        return shlex.split(re.split(r" > ", self.text)[0], comments=True)[1:]


def told_in(page: Path) -> Iterator[Told]:
    """Every command of a page: lines of indented or fenced blocks, and code in sentences."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    fenced = [line for block in blocks for line in block.splitlines()]
    for line in [*re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE), *fenced]:
        if line.startswith(f"{PROGRAM} "):
            yield Told(page.name, " ".join(line.split()), whole=True)
    for code in re.findall(rf"`({PROGRAM} [^`]+)`", text):
        yield Told(page.name, " ".join(code.split()), whole=False)


TOLD = [told for page in PAGES for told in told_in(page)]


def problem_of(told: Told) -> str | None:
    """What the command line has against it: files may be missing, everything else is held against options and types."""
    command, words = command_of(told.words)
    if isinstance(command, click.Group):
        stands_for_another = not told.whole and words and (words[0].isupper() or words[0].startswith(("-", "...")))
        return f"no such command: {words[0]}" if words and not stands_for_another else None
    open_end = not told.whole or "..." in words
    context = click.Context(command, resilient_parsing=open_end)
    try:
        given, rest, _ = command.make_parser(context).parse_args(args=[word for word in words if word != "..."])
    except click.UsageError as error:
        return error.format_message()
    if rest:
        return f"too many words: {rest}"
    found = (_wrong(context, one, given.get(one.name or ""), open_end) for one in command.params)
    return next(filter(None, found), None)


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the other words."""
    command: click.Command = main
    while words and isinstance(command, click.Group) and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def _wrong(context: click.Context, parameter: click.Parameter, value: object, open_end: bool) -> str | None:
    if value is None or value == () or not isinstance(value, str | int | float | bool | list | tuple):
        return f"lacks {parameter.name}" if parameter.required and not open_end else None
    if isinstance(parameter.type, click.Path):  # which need not be here
        return None
    try:
        parameter.type_cast_value(context, value)
    except click.UsageError as error:
        return error.format_message()
    return None
