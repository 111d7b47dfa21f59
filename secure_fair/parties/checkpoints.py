"""The state that a party keeps of a run at each whole epoch, in a folder that is gone when the run has ended.

The newest two epochs are kept: parties may be one apart when one of them is killed. A file has a salt, so that its
digest, which the other parties are told, says nothing of it; no file has a key, or anything that a mask was made from.
Between them an auditor keeps its shares after the newest two steps of adversaries whose noise was paid for, each before
the step's value is opened: whatever the developer was told, the auditors can go on from.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from secure_fair.errors import DamagedFile, Refusal, UsageError
from secure_fair.files import is_there, private_folder, write_bytes
from secure_fair.parties.config import FINGERPRINTS, RESUMED
from secure_fair.privacy.chain import head_line
from secure_fair.privacy.ledger import Ledger

RUNS = "runs"
CHANGEABLE = (RESUMED, FINGERPRINTS)  # of an agreement: a certificate may be a new one
_BEGUN = "begun.json"
_LEDGER = "ledger.json"
_ANSWERS = "answers"
_CONCLUDED = "concluded.json"
ENDED = "ended.json"
_NEWEST = 2
_SALT_BYTES = 32


class Place(NamedTuple):
    """Where in a run: after so many whole epochs, and so many steps of adversaries since."""

    epoch: int = 0
    step: int = 0

    def told(self, epochs: int) -> str:
        """The place in words, of so many ``epochs``."""
        steps = f" and {self.step} steps of its adversaries" if self.step else ""
        return f"{self.epoch} of {epochs} epochs{steps}"


BEGINNING = Place()


@dataclass(frozen=True)
class Checkpoints:
    """One run's folder in a party's state."""

    folder: Path
    ledger: Ledger

    @classmethod
    def begin(cls, state: Path, run: str, agreement: Mapping[str, str], ledger: Ledger) -> Checkpoints:
        """Begin to keep a new run's state; UsageError where one of this name was begun before, or has ended."""
        folder = state / RUNS / run
        if folder.exists():
            raise UsageError(f"run {run} was begun here before: go on with it (--resume), or begin another one")
        if was_started(ledger, run):
            raise UsageError(f"run {run} was begun here before, and has ended: begin one of another name")
        private_folder(state / RUNS)
        private_folder(folder)
        kept = cls(folder, ledger)
        kept.note_ledger()
        write_bytes(folder / _BEGUN, json.dumps(dict(agreement), indent=2).encode())
        return kept

    @classmethod
    def reopen(cls, state: Path, run: str, agreement: Mapping[str, str], ledger: Ledger) -> Checkpoints:
        """Go on with a run, with the same scenario and program (UsageError else). One that the party never heard of
        begins here; Refusal for one that it knows and has nothing of."""
        folder = state / RUNS / run
        if not (folder / _BEGUN).is_file():
            if was_started(ledger, run):
                raise Refusal(
                    f"{ledger.owner} keeps nothing of run {run}: it has ended there, or the folder of it in --state is "
                    "lost; that folder is restored there, or all parties begin a new run, without --resume (what was "
                    "spent stays spent)"
                )
            shutil.rmtree(folder, ignore_errors=True)
            return cls.begin(state, run, agreement, ledger)
        begun = _note(folder / _BEGUN)
        for key in sorted({*begun, *agreement} - {*CHANGEABLE}):
            if begun.get(key) != agreement.get(key):
                raise UsageError(
                    f"run {run} was begun with another {key}: {begun.get(key)} then, {agreement.get(key)} now; go on "
                    "with the same one, or begin a new run"
                )
        (folder / _CONCLUDED).unlink(missing_ok=True)
        return cls(folder, ledger)

    @classmethod
    def of(cls, state: Path, run: str, ledger: Ledger) -> Checkpoints | None:
        """A run's folder as it is; None where nothing is kept of the run."""
        folder = state / RUNS / run
        if is_there(folder / _BEGUN, state):
            return cls(folder, ledger)
        if folder.is_dir():  # a removal was cut short
            cls(folder, ledger).remove()
        return None

    @property
    def run(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def answers(self) -> Path:
        """The folder of the answers that the developer was given in this run."""
        return self.folder / _ANSWERS

    def note_ledger(self) -> None:
        """Write down how far the ledger has come, so that an older copy of it is noticed (``check_ledger``)."""
        end = self.ledger.end
        write_bytes(self.folder / _LEDGER, head_line(end.entries, end.hash))

    # whole epochs

    def keep(self, epoch: int, tree: Mapping[str, Any]) -> str:
        """Write down the state after so many whole epochs; returns its digest. It counts once it is agreed on."""
        self.note_ledger()
        head = {"run": self.run, "epoch": epoch, "salt": secrets.token_bytes(_SALT_BYTES)}
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

    def newest(self) -> int:
        """The newest whole epoch; 0 where there is none."""
        return max(self._epochs(), default=0)

    def agreed(self, epoch: int) -> dict[str, str]:
        """Digests of the others' state of this epoch, by party, as they named them then."""
        return dict(self._marked(epoch)["others"])

    def load(self, epoch: int, digest: str) -> dict[str, Any]:
        """The state of this epoch, from the very bytes that have this ``digest``."""
        content = self._read(epoch)
        if hashlib.sha256(content).hexdigest() != digest:
            raise DamagedFile(f"{self._file(epoch)}: was changed while the parties agreed on it")
        tree = unpacked(content)
        if (tree["run"], tree["epoch"]) != (self.run, epoch):
            raise DamagedFile(f"{self._file(epoch)}: is of epoch {tree['epoch']} of run {tree['run']}")
        return dict(tree["state"])

    # between them

    def keep_step(self, place: Place, shares: Mapping[str, Tensor]) -> None:
        """Write down this party's shares of the adversaries as they stand after a step."""
        content = packed({"run": self.run, "place": tuple(place), "adversaries": dict(shares)})
        write_bytes(self._step(place), hashlib.sha256(content).digest() + content)
        for older in self.steps()[:-_NEWEST]:
            self._step(older).unlink()

    def steps(self) -> list[Place]:
        """The places whose shares are kept, in order."""
        names = (path.stem.split("-") for path in self.folder.glob("step-*.pt"))
        return sorted(Place(int(epoch), int(step)) for _, epoch, step in names)

    def load_step(self, place: Place) -> dict[str, Tensor]:
        """The shares of a place; DamagedFile where the file was changed."""
        content = self._step(place).read_bytes()
        digest, content = content[: hashlib.sha256().digest_size], content[hashlib.sha256().digest_size :]
        tree = unpacked(content) if hashlib.sha256(content).digest() == digest else {}
        if (tree.get("run"), tree.get("place")) != (self.run, tuple(place)):
            raise DamagedFile(
                f"{self._step(place)}: was changed since it was written; remove it, and the run is gone on with from "
                f"the last whole epoch"
            )
        return dict(tree["adversaries"])

    # beside them

    def keep_value(self, kind: str, name: str, tree: Mapping[str, Any]) -> None:
        """Keep something of a kind that is made once in a run; ``name``: a digest, hex."""
        write_bytes(self._value(kind, name), packed(tree))

    def value(self, kind: str, name: str) -> dict[str, Any] | None:
        """It, or None where there is none."""
        file = self._value(kind, name)
        return unpacked(file.read_bytes()) if is_there(file, self.folder) else None

    def values_of(self, kind: str) -> set[str]:
        """The names of all of this kind."""
        return {path.stem.split("-")[-1] for path in self.folder.glob(self._value(kind, "*").name)}

    # the end

    def conclude(self, out: Path) -> None:
        """Note that this party has written its results of the run, in ``out``, and is about to say so."""
        write_bytes(self.folder / _CONCLUDED, json.dumps({"out": str(out.absolute())}).encode())

    @property
    def concluded(self) -> str:
        """Where it has; empty where it has not, or has gone on since."""
        mark = self.folder / _CONCLUDED
        return _text(mark, "out") if is_there(mark, self.folder) else ""

    def remove(self) -> None:
        """The run has ended: nothing of its state is kept. What says that there is one goes first."""
        (self.folder / _BEGUN).unlink(missing_ok=True)
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):  # other runs' are there
            self.folder.parent.rmdir()

    def _read(self, epoch: int) -> bytes:
        if not is_there(self._file(epoch), self.folder):
            raise DamagedFile(f"{self._file(epoch)}: is missing; restore it, or remove epoch-{epoch}.* beside it")
        return self._file(epoch).read_bytes()

    def _marked(self, epoch: int) -> dict[str, Any]:
        return _note(self._mark(epoch))

    def _epochs(self) -> Iterator[int]:
        return (int(path.stem.removeprefix("epoch-")) for path in self.folder.glob("epoch-*.json"))

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.pt"

    def _mark(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.json"

    def _step(self, place: Place) -> Path:
        return self.folder / f"step-{place.epoch}-{place.step}.pt"

    def _value(self, kind: str, name: str) -> Path:
        return self.folder / f"value-{hashlib.sha256(kind.encode()).hexdigest()[:32]}-{name}.pt"


class RunEnd(NamedTuple):
    """The developer's note of a run that has ended: its name, where its results are, what the parties had agreed on,
    and whether all have been told so since."""

    run: str
    out: str
    agreement: dict[str, str]
    told: bool = False

    def keep(self, state: Path) -> None:
        """Write it down, in place of an earlier one: whatever happens from here on, nobody goes on with that run."""
        write_bytes(state / ENDED, json.dumps(self._asdict()).encode())
        descriptor = os.open(state, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # others remove their state once they hear of it
        finally:
            os.close(descriptor)

    @classmethod
    def noted(cls, state: Path) -> RunEnd | None:
        """The note that there is; None where there is none."""
        file = state / ENDED
        if not is_there(file, state):
            return None
        noted = _note(file)
        agreement = {str(key): str(value) for key, value in dict(noted.get("agreement") or {}).items()}
        return cls(_text(file, "run"), _text(file, "out"), agreement, noted.get("told") is True)

    def is_of(self, agreement: Mapping[str, str]) -> bool:
        """Whether the parties have agreed on the same then, but for what may change while a run is gone on with."""
        keys = {*self.agreement, *agreement} - {*CHANGEABLE}
        return all(self.agreement.get(key) == agreement.get(key) for key in keys)


def forget_end(state: Path, ledger: Ledger) -> None:
    """A new run begins: what was kept of the one that has ended is removed, and the note with it."""
    ended = RunEnd.noted(state)
    if ended is not None:
        kept = Checkpoints.of(state, ended.run, ledger)
        if kept is not None:
            kept.remove()
        (state / ENDED).unlink()


def check_ledger(state: Path, ledger: Ledger) -> None:
    """UsageError where the ledger is older than what is kept of any run in ``state``: it has forgotten what was spent.

    Nothing that a peer says enters into it, and it comes before anything is answered: a run may be asked for by another
    name, or from another epoch, than the one that would tell.
    """
    for folder in sorted(path.parent for path in (state / RUNS).glob(f"*/{_BEGUN}")):
        entries, newest = _ledgers_end(folder / _LEDGER)
        if ledger.hash_of(entries) != newest:
            raise UsageError(
                f"{ledger.directory}: is older than run {folder.name}, which is kept beside it: it lacks entry "
                f"{entries}, which was there by then; bring back the newest ledger, for what was spent counts. If that "
                f"is lost for good, remove {folder}, and have the policy leave less by what the run may have spent"
            )


def newest_run(state: Path) -> Path | None:
    """The folder of the run of which something was kept last, whatever a clock says: at the ledger's latest entry."""
    ends = {}
    for folder in sorted(file.parent for file in (state / RUNS).glob(f"*/{_BEGUN}")):
        with contextlib.suppress(DamagedFile):
            ends[folder] = _ledgers_end(folder / _LEDGER)[0]
    return max(ends, key=lambda folder: ends[folder], default=None)


def _ledgers_end(file: Path) -> tuple[int, str]:
    """The number and hash of the ledger's entry that was the newest when something of a run was last kept."""
    try:
        noted = json.loads(file.read_bytes())
        return int(noted["entries"]), str(noted["hash"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise DamagedFile(
            f"{file}: is missing or damaged; restore it from a backup, or remove its folder, and begin a new run"
        ) from None


def was_started(ledger: Ledger, run: str) -> bool:
    """Whether the ledger knows of the run."""
    return any(entry["kind"] == "start" for entry in ledger.entries(run))


def unfinished(state: Path, ledger: Ledger) -> str:
    """The name of the run that was begun last and of which a state is kept; Refusal where there is none."""
    ended = RunEnd.noted(state)
    kept = unfinished_runs(state, ledger, but=ended.run if ended else "")
    if not kept:
        raise Refusal(
            f"{ledger.owner} has no run in --state that was begun and has not ended: all parties begin a new one, "
            "without --resume; or that party names the state in which the run was begun"
        )
    return kept[-1]


def unfinished_runs(state: Path, ledger: Ledger, *, but: str = "") -> list[str]:
    """The runs that were begun, in their order, and of which a state is kept, ``but`` one."""
    begun = [str(entry["run"]) for entry in ledger.entries() if entry["kind"] == "start"]
    return [run for run in begun if run != but and (state / RUNS / run / _BEGUN).is_file()]


def _text(file: Path, key: str) -> str:
    text = _note(file).get(key)
    if not isinstance(text, str):
        raise DamagedFile(f"{file}: is damaged ({key} is missing); restore it from a backup, or begin a new run")
    return text


def _note(file: Path) -> dict[str, Any]:
    """A note beside a state; DamagedFile where it is none."""
    try:
        return dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise DamagedFile(f"{file}: is damaged; restore it from a backup, or begin a new run") from error


def packed(tree: Mapping[str, Any]) -> bytes:
    """A tree of dictionaries, lists, tensors, numbers, texts and bytes as a file has it."""
    file = io.BytesIO()
    torch.save(dict(tree), file)
    return file.getvalue()


def unpacked(content: bytes) -> dict[str, Any]:
    """It again; nothing else than such a tree is ever made of the bytes."""
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
