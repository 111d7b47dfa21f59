"""The note that a run which has failed leaves in its folder: where it failed, and how it is gone on with."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from secure_fair.errors import PartyLost, ProcessFailed, UsageError
from secure_fair.files import write_bytes
from secure_fair.parties.checkpoints import ENDED, newest_run
from secure_fair.parties.reports import REPORT

FAILED = "failed.json"
ROUNDS = "rounds.jsonl"


def note_failed_run(out: Path, method: str, folder: Path, error: BaseException) -> str:
    """Write the note of a simulated run's failure in a method whose folder is given; the command that goes on."""
    command = shlex.join(["secure-fair", "resume", str(out)])
    party = error.party if isinstance(error, ProcessFailed | PartyLost) else ""
    _write(out, error, command, method=method, party=party or "launcher", epochs=whole_epochs(folder / "developer"))
    return command


def note_failed_party(out: Path, party: str, state: Path | None, error: BaseException) -> str | None:
    """The same of one party's failure; None where nothing is kept from which it could be gone on with."""
    begun = newest_run(state) if state else None
    told = "--resume" in sys.argv and state is not None and (state / ENDED).is_file()  # was about to tell of an end
    command = resume_command(sys.argv[1:]) if begun or told or state is None else None
    epochs = [int(file.stem.removeprefix("epoch-")) for file in begun.glob("epoch-*.json")] if begun else []
    run = begun.name if begun else ""
    with suppress(OSError):  # the disk may be what has failed; who started the party is told all the same
        _write(out, error, command or "", party=party, run=run, epochs=max(epochs, default=0))
    return command


def resume_command(arguments: Sequence[str]) -> str:
    """The command line of a party that goes on where this one has failed."""
    kept = [word for word in arguments if word not in ("--new-state", "--resume")]
    return shlex.join(["secure-fair", *kept, "--resume"])


def check_place(out: Path, *, resumed: bool) -> None:
    """UsageError where a party's folder has another run's results, which would stand beside this one's."""
    if (out / REPORT).exists() and not resumed:
        raise UsageError(f"--out {out}: holds the results of an earlier run; name another folder, or remove it")
    (out / FAILED).unlink(missing_ok=True)


def whole_epochs(developer: Path) -> int:
    """The number of epochs that a developer's folder tells of."""
    rounds = developer / ROUNDS
    return len(rounds.read_text().splitlines()) if rounds.is_file() else 0


def _write(out: Path, error: BaseException, command: str, **where: Any) -> None:
    text = str(error) or ("interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
    tree = {"status": "failed", **where, "error": text, "resume": command}
    write_bytes(out / FAILED, (json.dumps(tree, indent=2) + "\n").encode())
