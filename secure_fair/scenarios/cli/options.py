"""Options and errors of every command: --format, -v, clean error messages and the exit codes."""

from __future__ import annotations

import errno
import functools
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from secure_fair.errors import SecureFairError, UsageError
from secure_fair.stopping import stops_heeded

INTERRUPTED = 130
UNEXPECTED = 1
STORAGE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
    | {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ESTALE}
)
"""What is wrong with a disk or a folder, not with the program."""

EXIT_CODES = """\b
Exit codes:
  0    done
  1    an error in the program itself
  2    wrong usage or a faulty scenario, every problem is listed; or a disk that is full or away
  3    a privacy budget would be exceeded
  4    a refusal by policy, or a protocol abort
  5    a party was lost
  6    a claim fails: of a review, or of an audit with --fail-on
  130  interrupted
"""


@dataclass(frozen=True)
class Output:
    """How a command talks: ``format`` is "text" or "json"."""

    format: str
    verbose: bool

    def result(self, tree: Any, text: str) -> None:
        """Write the command's result to stdout: ``tree`` as JSON, or ``text``."""
        click.echo(json.dumps(tree, indent=2) if self.format == "json" else text)

    def note(self, line: str) -> None:
        """Say on stderr what the user may not expect."""
        click.echo(json.dumps({"event": "note", "text": line}) if self.format == "json" else f"note: {line}", err=True)


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """--format and -v, handed to the command as ``output: Output``, and its errors turned into messages."""

    @click.option(
        "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the result."
    )
    @click.option("-v", "--verbose", is_flag=True, help="Say more: log lines, and tracebacks of unexpected errors.")
    @functools.wraps(command)
    def wrapped(*args: Any, format_: str, verbose: bool, **kwargs: Any) -> None:
        output = Output(format_, verbose)
        with clean_errors(output):
            _set_up_logging(verbose)
            command(*args, output=output, **kwargs)

    return wrapped


def complete_scenario(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The library's names that begin so, for the shell; and files."""
    from secure_fair.scenarios.files import library

    names = [CompletionItem(name) for name in library() if name.startswith(begun)]
    return [*names, CompletionItem(begun, type="file")]


scenario_argument = click.argument("source", metavar="SCENARIO", shell_complete=complete_scenario)

override_option = click.option(
    "-o",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a key of the scenario, for instance -o method.strength=4; KEY= takes it out. May be repeated.",
)


def column_options(command: Callable[..., None]) -> Callable[..., None]:
    """The columns of a file of decisions, handed to the command under the names of ``Columns``."""
    for option in reversed(COLUMN_OPTIONS):
        command = option(command)
    return command


COLUMN_OPTIONS = [
    click.option("--id", "id", default="id", show_default=True, help="Column of record ids, in every file."),
    click.option("--decision", help="Column of decisions, 0 or 1.  [default: decision]"),
    click.option("--score", help="Column of scores, 0 to 1.  [default: score, if there is no decision]"),
    click.option("--label", help="Column of true labels, empty where unknown.  [default: label, if there is one]"),
    click.option("--selected", metavar="VALUE", help="The favourable value of decision and label.  [default: 1]"),
    click.option("--threshold", type=float, help="Scores of at least this are decisions."),
]


@contextmanager
def clean_errors(output: Output) -> Iterator[None]:
    """Turn every exception into a message on stderr and an exit code; a user never meets a bare traceback.

    Whoever is told to end, by Ctrl-C or TERM, tidies up and ends with 130.
    """
    try:
        with stops_heeded():
            yield
    except SecureFairError as error:
        _complain(output, type(error).__name__, error.problems if isinstance(error, UsageError) else [str(error)])
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _complain(output, "Interrupted", ["interrupted"])
        sys.exit(INTERRUPTED)
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise  # click's own business
    except Exception as error:
        if output.verbose:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in STORAGE:
            _complain(output, "Storage", [_storage_problem(error)])
            sys.exit(UsageError.exit_code)
        text = f"unexpected {type(error).__name__}: {error}".splitlines()[0]
        _complain(output, "Unexpected", [f"{text} (traceback {_write_traceback()})"])
        sys.exit(UNEXPECTED)


def _storage_problem(error: OSError) -> str:
    """The message for a file that cannot be read or written; a write that has no room names no file."""
    place = error.filename or "a file of this command's"
    return (
        f"{place}: cannot be read or written ({error.strerror}); see that its folder is there, has room and may be "
        "written to, and start again"
    )


def _complain(output: Output, kind: str, problems: list[str]) -> None:
    if output.format == "json":
        click.echo(json.dumps({"error": kind, "problems": problems}), err=True)
    elif len(problems) == 1:
        click.echo(f"error: {_harmless(problems[0])}", err=True)
    else:
        click.echo(f"error: {len(problems)} problems", err=True)
        for problem in problems:
            click.echo(f"  {_harmless(problem)}", err=True)


def _harmless(problem: str) -> str:
    """Lines of text without the characters that move a terminal's cursor: names and paths may come from anybody."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in problem)


def _write_traceback() -> str:
    """Write it to a temporary file; says where it is, or that it could not be written."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="secure-fair-", suffix=".log", delete=False, encoding="utf-8"
        ) as log:
            log.write(traceback.format_exc())
    except OSError as error:
        return f"not written: {error.strerror}; -v shows it"
    return f"in {log.name}"


def _set_up_logging(verbose: bool) -> None:
    """Log lines with -v; without it Python's own last resort prints warnings that nobody else handles."""
    if verbose:
        import logging

        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
