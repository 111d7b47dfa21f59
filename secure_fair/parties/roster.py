"""The roster: the fingerprint of every party's certificate, in a file that all parties have, word for word.

A party accepts no other certificate from its peers, whoever has signed it::

    [parties]
    auditor = "SHA-256 of its certificate, 64 hex digits"
    dealer = "..."
    developer = "..."
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from secure_fair import toml_text
from secure_fair.errors import UsageError
from secure_fair.files import atomic_write
from secure_fair.mpc.transport import check_party_name
from secure_fair.parties import identity

_TABLE = "parties"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_REMEDY = "make it with `secure-fair identity agree`"
_OWN_KEY = "have every party make its own with `secure-fair identity request`"
_HEADER = """\
# The SHA-256 of every party's certificate. All parties need the same file. Before the first run each party compares
# the others' lines with what these say themselves of their certificates, by telephone for instance.
"""


@dataclass(frozen=True)
class Roster:
    """The fingerprints of all parties, by name; ``place`` is where they come from, for messages."""

    place: str
    fingerprints: Mapping[str, str]

    @staticmethod
    def collect(shown: Sequence[Path]) -> Roster:
        """The roster of the certificates in these files or folders; UsageError listing what cannot be agreed on."""
        fingerprints: dict[str, str] = {}
        problems: list[str] = []
        for path in shown:
            described = identity.describe_shown(path)
            problems += described.problems
            if described.simulated:
                problems.append(f"{path}: its key was made by the authority, for a simulation; {_OWN_KEY}")
            if described.name in fingerprints:
                problems.append(f"{path}: a second certificate of {described.name!r}; give one for each party")
            fingerprints[described.name] = described.fingerprint
        if problems:
            raise UsageError(problems)
        return Roster("the certificates given", dict(sorted(fingerprints.items())))

    @staticmethod
    def load(path: Path) -> Roster:
        """The roster in a file; UsageError listing everything that is wrong with it."""
        tree = toml_text.read(path, _REMEDY)
        table = tree.get(_TABLE)
        if set(tree) != {_TABLE} or not isinstance(table, dict):
            raise UsageError(f"{path}: expected one table, [{_TABLE}], and nothing else; {_REMEDY}")
        problems = [f"{path}: {problem}" for name, text in table.items() for problem in _problems(name, text)]
        if problems:
            raise UsageError(problems)
        return Roster(str(path), dict(sorted(table.items())))

    def write(self, path: Path) -> None:
        """Write it for ``load``; UsageError where the file exists, for others may have it already."""
        if path.exists():
            raise UsageError(
                f"{path}: exists already; delete it, or write to another file and give that to all parties"
            )
        lines = [f'{name} = "{fingerprint}"\n' for name, fingerprint in self.fingerprints.items()]
        with atomic_write(path) as partial:
            partial.write_text(f"{_HEADER}[{_TABLE}]\n{''.join(lines)}", encoding="utf-8")

    @property
    def digest(self) -> str:
        """The SHA-256 of what it says, however the file is laid out, for the parties to compare."""
        lines = [f"{name} {fingerprint}\n" for name, fingerprint in sorted(self.fingerprints.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def check(self, parties: set[str]) -> None:
        """UsageError unless it has exactly these parties."""
        named = set(self.fingerprints)
        lacking, beyond = (", ".join(sorted(names)) for names in (parties - named, named - parties))
        problems = []
        if lacking:
            problems.append(f"{self.place}: lacks {lacking}, of this scenario; {_REMEDY} from all certificates")
        if beyond:
            problems.append(f"{self.place}: has {beyond}, not of this scenario; {_REMEDY} from its parties' alone")
        if problems:
            raise UsageError(problems)

    def check_own(self, name: str, fingerprint: str) -> None:
        """UsageError unless a party's own certificate is the one in it: the others would refuse any other."""
        agreed = self.fingerprints[name]
        if fingerprint != agreed:
            raise UsageError(
                f"{self.place}: has the fingerprint {agreed} for {name}, and this party's own certificate has "
                f"{fingerprint}; use the folder of the agreed certificate, or have all parties agree anew"
            )


def _problems(name: str, text: object) -> list[str]:
    try:
        check_party_name(name)
    except UsageError as error:
        return [str(error)]
    if not isinstance(text, str) or not _FINGERPRINT.fullmatch(text):
        return [f"{name} = {text!r}: expected a fingerprint, 64 digits of 0-9 and a-f, as `identity show` prints it"]
    return []
