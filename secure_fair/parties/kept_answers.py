"""The developer's noised answers in one run: a process that goes on with it is not told anew, and nobody pays twice."""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from secure_fair.files import private_folder, write_bytes
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask, Release
from secure_fair.parties.checkpoints import BEGINNING, Place, packed, unpacked
from secure_fair.privacy.entries import Receipt


@dataclass(frozen=True)
class KeptAnswer:
    """An opened value with the receipts of who let it out; of one that came with a step of the adversaries, the
    developer's shares of them after it."""

    release: Release
    receipts: tuple[Receipt, ...]
    shares: Mapping[str, Tensor]


class _Name(NamedTuple):
    """The parts of a file's name: its number, the place where it came, and the question. An answer that came with no
    step of adversaries has step 0."""

    number: int
    place: Place
    question: str

    @classmethod
    def of(cls, path: Path) -> _Name:
        number, epoch, step, question = path.stem.split("-")
        return cls(int(number), Place(int(epoch), int(step)), question)


class KeptAnswers:
    """A folder with a file for each answer, in order; what earlier processes were told is given again, each once.

    Where the same question was answered several times, the answers come in their order. Those of epochs that the
    process does not go through again are left out, but for the first ones, which methods are started with. Answers that
    came with a step of the adversaries count up to the place from which the parties go on, and no others: with them the
    adversaries would stay behind.
    """

    def __init__(self, folder: Path, place: Place = BEGINNING) -> None:
        """``place``: where this process goes on from; answers with later steps are removed."""
        private_folder(folder)
        self.place = place
        self.shares: Mapping[str, Tensor] = {}  # of the adversaries after the step that is gone on from
        self._folder = folder
        self._left: dict[str, deque[Path]] = {}
        self._count = 0
        for path in sorted(folder.glob("*.npz")):
            name = _Name.of(path)
            self._count = name.number
            if name.place.step and name.place > place:
                path.unlink()
            elif name.place.epoch in (0, place.epoch) or name.place.epoch > place.epoch:
                self._take_up(path, name)

    def _take_up(self, path: Path, name: _Name) -> None:
        if name.place.step and name.place.epoch != self.place.epoch:
            return
        self._left.setdefault(name.question, deque()).append(path)
        if name.place.step and name.place == self.place:
            self.shares = _read(path).shares

    def whole(self, epoch: int) -> None:
        """So many epochs are whole; answers with steps of before the last two are removed, as those states are."""
        self.place = Place(epoch)
        for path in self._folder.glob("*.npz"):
            asked = _Name.of(path).place
            if asked.step and asked.epoch < epoch - 1:
                path.unlink()

    def recall(self, question: str) -> Release | None:
        """The next answer of an earlier process to this question."""
        left = self._left.get(question)
        if not left:
            return None
        return _read(left.popleft()).release

    def keep(
        self, question: str, release: Release, receipts: Iterable[Receipt], moved: Mapping[str, Tensor] | None = None
    ) -> None:
        """Write one down; it is on disk when this returns. ``moved``: the developer's shares of the adversaries, where
        they have taken a step."""
        if moved is not None:
            self.place = Place(self.place.epoch, self.place.step + 1)
        self._count += 1
        content = io.BytesIO()
        told = json.dumps([asdict(receipt) for receipt in receipts]).encode()
        np.savez(
            content,
            values=release.values.detach().cpu().double().numpy(),
            sigma=np.float64(release.sigma),
            receipts=np.frombuffer(told, dtype=np.uint8),
            shares=np.frombuffer(packed(moved or {}), dtype=np.uint8),
        )
        step = 0 if moved is None else self.place.step
        write_bytes(self._folder / f"{self._count:06d}-{self.place.epoch}-{step}-{question}.npz", content.getvalue())


def receipts_in(folder: Path) -> list[Receipt]:
    """Those of all answers that are kept."""
    return [receipt for path in sorted(folder.glob("*.npz")) for receipt in _read(path).receipts]


def last_step(folder: Path, epoch: int) -> Place:
    """The place after this epoch's last step whose answer is kept."""
    places = (_Name.of(path).place for path in folder.glob("*.npz"))
    return max((place for place in places if place.epoch == epoch), default=Place(epoch))


def _read(path: Path) -> KeptAnswer:
    with np.load(path, allow_pickle=False) as found:
        receipts = json.loads(bytes(found["receipts"]))
        return KeptAnswer(
            Release(torch.from_numpy(found["values"]), float(found["sigma"])),
            tuple(Receipt(**{**one, "shape": tuple(one["shape"])}) for one in receipts),
            unpacked(bytes(found["shares"])),
        )


def is_kept(ask: Ask) -> bool:
    """Whether an answer can be given again.

    Counts for an evaluation are kept beyond the run (``secure_fair.privacy.release_cache``).
    """
    return not ask.query and ask.operation in OPERATIONS  # of one that is unknown the auditor says so


def question_of(ask: Ask, records: np.ndarray, private: Sequence[Tensor]) -> str:
    """SHA-256 (hex) of everything that is asked, the private input included: for the developer's own folder alone."""
    digest = hashlib.sha256(ask.model_dump_json(exclude={"query"}).encode())
    for part in (records.astype("<i8"), *(values.detach().cpu().double().numpy() for values in private)):
        digest.update(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
