"""TOML that somebody wrote: read, or refused in one sentence that names the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from secure_fair.errors import UsageError

UNREADABLE = "is nested too deeply, or has a number of too many digits; no setting needs that"


def read(path: Path, remedy: str = "") -> dict[str, Any]:
    """The tables of a file; UsageError, with the ``remedy``, where it cannot be read or is no TOML."""
    end = f"; {remedy}" if remedy else ""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"not UTF-8 text, byte {error.start}"
        raise UsageError(f"{path}: cannot be read ({why}){end}") from error
    return parse(text, str(path), remedy)


def parse(text: str, where: str, remedy: str = "") -> dict[str, Any]:
    """The text as nested dictionaries; ``where`` names it in the error."""
    end = f"; {remedy}" if remedy else ""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: is not valid TOML: {error}{end}") from error
    except (RecursionError, ValueError) as error:  # tables within tables without end, a number of thousands of digits
        raise UsageError(f"{where}: {UNREADABLE}") from error
