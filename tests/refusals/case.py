"""A command that is to be refused: its files, its words, and what the one message has to say."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from secure_fair.scenarios.cli import main

WORLD = "@"  # in words and files: the folder of what is as it should be
LONGEST = 900  # characters of one problem: the longest list of columns is in it


@dataclass(frozen=True)
class Case:
    """``problems``: how many are told of; ``listed``: lines of what there is instead.

    ``copies``: parts of the world for ``change`` to spoil in the case's folder.
    """

    words: tuple[str, ...]
    said: tuple[str, ...]
    code: int = 2
    problems: int = 1
    listed: int = 0
    files: Mapping[str, str | bytes] | None = None
    copies: tuple[str, ...] = ()
    change: Callable[[Path], object] | None = None
    input: str | None = None

    def set_up(self, folder: Path, world: Path) -> None:
        """Put the case's files into its own folder."""
        for name, content in (self.files or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            text = content if isinstance(content, bytes) else content.replace(WORLD, str(world)).encode()
            (folder / name).write_bytes(text)
        for name in self.copies:
            if (world / name).is_dir():
                shutil.copytree(world / name, folder / name)
            else:
                shutil.copy(world / name, folder / name)
        if self.change is not None:
            self.change(folder)

    def invoke(self, world: Path) -> Result:
        """The command, in the present folder."""
        words = [word.replace(WORLD, str(world)) for word in self.words]
        return CliRunner().invoke(main, words, input=self.input)

    def check(self, result: Result) -> None:
        """One message of the right exit code that says what is wrong, and nothing that the user cannot read."""
        told = result.stderr
        assert result.exit_code == self.code, (result.output, result.exception)
        assert "Traceback" not in result.output
        assert "error: unexpected" not in told, told
        lines = told.splitlines()
        (start,) = [place for place, line in enumerate(lines) if line.lower().startswith("error: ")]
        message = lines[start:]
        if self.problems > 1:
            assert message[0] == f"error: {self.problems} problems", told
            message = message[1:]
        assert len(message) == self.problems + self.listed, told
        assert max(map(len, message)) <= LONGEST, told
        assert all(text in told for text in self.said), told


def case(
    words: str | Sequence[str],
    *said: str,
    code: int = 2,
    problems: int = 1,
    listed: int = 0,
    files: Mapping[str, str | bytes] | None = None,
    copies: tuple[str, ...] = (),
    change: Callable[[Path], object] | None = None,
    input: str | None = None,
) -> Case:
    """A case; ``words`` as they are typed, or as a list."""
    split = tuple(shlex.split(words) if isinstance(words, str) else words)
    return Case(split, said, code, problems, listed, files, copies, change, input)


def inside(folder: Path) -> dict[str, bytes]:
    """Everything below a folder; folders as empty."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def swap(file: str, old: str, new: str) -> Callable[[Path], object]:
    """A change: one piece of a file replaced."""

    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return change


def cut(file: str, kept: int) -> Callable[[Path], object]:
    """A change: a file of which the end is missing."""
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:kept])


def overwrite(file: str, content: str | bytes) -> Callable[[Path], object]:
    """A change: a file that holds something else."""
    return lambda folder: (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def remove(file: str) -> Callable[[Path], object]:
    """A change: a file that is gone."""
    return lambda folder: (folder / file).unlink()
