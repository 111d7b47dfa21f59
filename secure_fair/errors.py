"""The errors a user can meet, each with the exit code of its kind."""

from __future__ import annotations

from collections.abc import Sequence

MOST_WORDS = 4000
"""Characters of what a peer says that are looked at."""


def printable(words: str) -> str:
    """A peer's words, fit for a terminal and a log: no control characters, and not for ever."""
    return "".join(character if character.isprintable() else " " for character in words[:MOST_WORDS])


class SecureFairError(Exception):
    """Anything the program stops for on purpose; the message is one clear sentence for the user."""

    exit_code = 1


class UsageError(SecureFairError):
    """A wrong setting, file or argument. ``problems`` lists every one found, each naming its place."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class NotOffered(UsageError):
    """Something of CrypTen's that the engine has not on purpose; the message names it, and what to use instead."""


class Diverged(SecureFairError):
    """The training's loss is no longer a finite number."""


class BudgetExceeded(SecureFairError):
    """A release would take a record beyond its privacy budget."""

    exit_code = 3


class Refusal(SecureFairError):
    """A policy forbids what was asked for."""

    exit_code = 4


class ProtocolError(SecureFairError):
    """A peer is out of step, sent what it may not send, or a value left its public bound."""

    exit_code = 4


class NotProved(ProtocolError):
    """A party has not proved that what it is committed to keeps to its bound."""


class OwnMatter(ProtocolError):
    """Something of this party's own is wrong. The message is for its user, and peers are told ``to_peers`` alone."""

    to_peers = ""


class DamagedFile(OwnMatter):
    """A file of this party's own was changed or torn. The message names its place here."""

    to_peers = "stopped by DamagedFile"


class OutOfBound(OwnMatter):
    """A value that was opened to this party, or that it shares, is beyond its public bound. The message has its size:
    whoever has shifted an opened value could take the shift off again, and know it."""

    to_peers = "a value left its public bound"


class ClaimFails(SecureFairError):
    """An attack of a review has won more than the guarantee allows, or an audit's claim does not hold."""

    exit_code = 6


class ProcessFailed(SecureFairError):
    """A process that was started here ended with an error, or fell silent; the exit code tells which."""

    def __init__(self, message: str, exit_code: int, party: str = "") -> None:
        """``party``: the one of a run that has failed, where it is known."""
        self.exit_code = exit_code
        self.party = party
        super().__init__(message)


class RunRefused(SecureFairError):
    """A party has refused and gone, which ends the run of all; the exit code is that of its refusal.

    No ``Refusal`` and no ``BudgetExceeded``: those answer one request, and a party may go on after them.
    """

    def __init__(self, party: str, reason: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(f"{party}: {reason}")


class PartyLost(SecureFairError):
    """A party died or fell silent."""

    exit_code = 5

    def __init__(self, party: str, reason: str) -> None:
        self.party = party
        self.reason = reason
        super().__init__(f"lost {party}: {reason}")
