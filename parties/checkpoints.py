"""The state that a party keeps of a run at each whole epoch, in a folder that is gone when the run has ended.

The newest two epochs are kept: parties may be one apart when one of them is killed. A file has a salt, so that its
digest, which the other parties are told, says nothing of it; no file has a key, or anything that a mask was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from parties.config import FINGERPRINTS, RESUMED
from secure_fair.errors import DamagedFile, UsageError
from secure_fair.files import private_folder, write_bytes
from secure_fair.privacy.ledger import Ledger

RUNS = "runs"
CHANGEABLE = (RESUMED, FINGERPRINTS)  # of an agreement: a certificate may be a new one
_BEGUN = "begun.json"
_ANSWERS = "answers"
_NEWEST = 2
_SALT_BYTES = 32


@dataclass(frozen=True)
class Checkpoints:
    """One run's folder in a party's state."""

    folder: Path
    ledger: Ledger

    @classmethod
    def begin(cls, state: Path, run: str, agreement: Mapping[str, str], ledger: Ledger) -> Checkpoints:
        """Begin to keep a new run's state; UsageError where one of this name was begun before."""
        folder = state / RUNS / run
        if folder.exists():
            raise UsageError(f"run {run} was begun here before: go on with it (--resume), or begin another one")
        private_folder(state / RUNS)
        private_folder(folder)
        write_bytes(folder / _BEGUN, json.dumps(dict(agreement), indent=2).encode())
        return cls(folder, ledger)

    @classmethod
    def reopen(cls, state: Path, run: str, agreement: Mapping[str, str], ledger: Ledger) -> Checkpoints:
        """Go on with a run: with the same scenario and program. One that the party never heard of begins here."""
        folder = state / RUNS / run
        if not (folder / _BEGUN).is_file():
            if any(entry["kind"] == "start" for entry in ledger.entries(run)):
                raise UsageError(f"run {run} has ended here, and nothing of it is kept: there is nothing to go on with")
            shutil.rmtree(folder, ignore_errors=True)
            return cls.begin(state, run, agreement, ledger)
        begun = json.loads((folder / _BEGUN).read_text())
        for key in sorted({*begun, *agreement} - {*CHANGEABLE}):
            if begun.get(key) != agreement.get(key):
                raise UsageError(
                    f"run {run} was begun with another {key}: {begun.get(key)} then, {agreement.get(key)} now; go on "
                    "with the same one, or begin a new run"
                )
        return cls(folder, ledger)

    @property
    def run(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def answers(self) -> Path:
        """The folder of the answers that the developer was given in this run."""
        return self.folder / _ANSWERS

    # whole epochs

    def keep(self, epoch: int, tree: Mapping[str, Any]) -> str:
        """Write down the state after so many whole epochs; returns its digest. It counts once it is agreed on."""
        head = {"run": self.run, "epoch": epoch, "ledger": self.ledger.head, "salt": secrets.token_bytes(_SALT_BYTES)}
        content = packed({**head, "state": dict(tree)})
        write_bytes(self._file(epoch), content)
        return hashlib.sha256(content).hexdigest()

    def agree(self, epoch: int, others: Mapping[str, str]) -> None:
        """Remember by whose digests the others know their state of this epoch, which counts from here on."""
        own = self.digest(epoch)
        write_bytes(self._mark(epoch), json.dumps({"own": own, "others": dict(others)}).encode())
        for older in sorted(self._epochs())[:-_NEWEST]:
            self._mark(older).unlink()
            self._file(older).unlink(missing_ok=True)

    def digest(self, epoch: int) -> str:
        """SHA-256 (hex) of the file as it is now."""
        return hashlib.sha256(self._read(epoch)).hexdigest()

    def offers(self) -> dict[int, str]:
        """Digests of the epochs that this party can go on from; DamagedFile where a file was changed."""
        found = {}
        for epoch in sorted(self._epochs()):
            found[epoch] = self.digest(epoch)
            if found[epoch] != self._marked(epoch)["own"]:
                raise DamagedFile(
                    f"{self._file(epoch)}: was changed since it was written; restore it from a backup, or remove "
                    f"epoch-{epoch}.* there to go on from an earlier epoch"
                )
        return found

    def agreed(self, epoch: int) -> dict[str, str]:
        """Digests of the others' state of this epoch, by party, as they named them then."""
        return dict(self._marked(epoch)["others"])

    def load(self, epoch: int, digest: str) -> dict[str, Any]:
        """The state of this epoch, from the very bytes that have this ``digest``.

        UsageError where the ledger is older than it: what was spent since would be forgotten.
        """
        content = self._read(epoch)
        if hashlib.sha256(content).hexdigest() != digest:
            raise DamagedFile(f"{self._file(epoch)}: was changed while the parties agreed on it")
        tree = unpacked(content)
        if (tree["run"], tree["epoch"]) != (self.run, epoch):
            raise DamagedFile(f"{self._file(epoch)}: is of epoch {tree['epoch']} of run {tree['run']}")
        if all(entry["hash"] != tree["ledger"] for entry in self.ledger.entries()):
            raise UsageError(
                f"{self.ledger.directory}: lacks an entry that was there when epoch {epoch} of run {self.run} was "
                "whole; bring back the newest ledger, for what was spent counts"
            )
        return dict(tree["state"])

    # beside them

    def keep_value(self, name: str, tree: Mapping[str, Any]) -> None:
        """Keep something that is made once in a run."""
        write_bytes(self._value(name), packed(tree))

    def value(self, name: str) -> dict[str, Any] | None:
        """It, or None where there is none."""
        return unpacked(self._value(name).read_bytes()) if self._value(name).is_file() else None

    def remove(self) -> None:
        """The run has ended: nothing of its state is kept."""
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):  # other runs' are there
            self.folder.parent.rmdir()

    def _read(self, epoch: int) -> bytes:
        if not self._file(epoch).is_file():
            raise DamagedFile(f"{self._file(epoch)}: is missing; restore it, or remove epoch-{epoch}.* beside it")
        return self._file(epoch).read_bytes()

    def _marked(self, epoch: int) -> dict[str, Any]:
        return dict(json.loads(self._mark(epoch).read_text()))

    def _epochs(self) -> Iterator[int]:
        return (int(path.stem.removeprefix("epoch-")) for path in self.folder.glob("epoch-*.json"))

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.pt"

    def _mark(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.json"

    def _value(self, name: str) -> Path:
        return self.folder / f"value-{hashlib.sha256(name.encode()).hexdigest()[:32]}.pt"


def unfinished(state: Path, ledger: Ledger) -> str:
    """The name of the run that was begun last and of which a state is kept; UsageError where there is none."""
    begun = [entry["run"] for entry in ledger.entries() if entry["kind"] == "start"]
    kept = [run for run in begun if (state / RUNS / run / _BEGUN).is_file()]
    if not kept:
        raise UsageError(f"--state {state}: has no run that was begun and has not ended: leave out --resume")
    return str(kept[-1])


def packed(tree: Mapping[str, Any]) -> bytes:
    """A tree of dictionaries, lists, tensors, numbers, texts and bytes as a file has it."""
    file = io.BytesIO()
    torch.save(dict(tree), file)
    return file.getvalue()


def unpacked(content: bytes) -> dict[str, Any]:
    """It again; nothing else than such a tree is ever made of the bytes."""
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
