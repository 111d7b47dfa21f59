"""The developer's noised answers in one run: a process that goes on with it is not told anew, and nobody pays twice."""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secure_fair.files import private_folder, write_bytes
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask, Release
from secure_fair.privacy.entries import Receipt


@dataclass(frozen=True)
class Answer:
    """An opened value with the receipts of who let it out."""

    release: Release
    receipts: tuple[Receipt, ...]


class KeptAnswers:
    """A folder with a file for each answer, in order; what earlier processes were told is given again, each once.

    Where the same question was answered several times, the answers come in their order. Those of epochs that the
    process does not go through again are left out, but for the first ones, which methods are started with.
    """

    def __init__(self, folder: Path, epoch: int = 0) -> None:
        """``epoch``: the whole epochs that this process goes on from."""
        private_folder(folder)
        self.epoch = epoch
        self._folder = folder
        self._left: dict[str, deque[Path]] = {}
        self._count = 0
        for path in sorted(folder.glob("*.npz")):
            number, asked, question = path.stem.split("-")
            self._count = int(number)
            if int(asked) == 0 or int(asked) >= epoch:
                self._left.setdefault(question, deque()).append(path)

    def recall(self, question: str) -> Release | None:
        """The next answer of an earlier process to this question."""
        left = self._left.get(question)
        if not left:
            return None
        return _read(left.popleft()).release

    @property
    def receipts(self) -> list[Receipt]:
        """Those of all answers that are kept."""
        return [receipt for path in sorted(self._folder.glob("*.npz")) for receipt in _read(path).receipts]

    def keep(self, question: str, release: Release, receipts: Iterable[Receipt]) -> None:
        """Write one down; it is on disk when this returns."""
        self._count += 1
        content = io.BytesIO()
        told = json.dumps([asdict(receipt) for receipt in receipts]).encode()
        np.savez(
            content,
            values=release.values.detach().cpu().double().numpy(),
            sigma=np.float64(release.sigma),
            receipts=np.frombuffer(told, dtype=np.uint8),
        )
        write_bytes(self._folder / f"{self._count:06d}-{self.epoch}-{question}.npz", content.getvalue())


def _read(path: Path) -> Answer:
    with np.load(path, allow_pickle=False) as found:
        receipts = json.loads(bytes(found["receipts"]))
        return Answer(
            Release(torch.from_numpy(found["values"]), float(found["sigma"])),
            tuple(Receipt(**{**one, "shape": tuple(one["shape"])}) for one in receipts),
        )


def is_kept(ask: Ask) -> bool:
    """Whether an answer can be given again: not where asking moves an adversary, which would stay behind.

    Counts for an evaluation are kept beyond the run (``secure_fair.privacy.release_cache``).
    """
    operation = OPERATIONS.get(ask.operation)  # of one that is unknown the auditor says so
    return not ask.query and operation is not None and not operation.accounts


def question_of(ask: Ask, records: np.ndarray, private: Sequence[Tensor]) -> str:
    """SHA-256 (hex) of everything that is asked, the private input included: for the developer's own folder alone."""
    digest = hashlib.sha256(ask.model_dump_json(exclude={"query"}).encode())
    for part in (records.astype("<i8"), *(values.detach().cpu().double().numpy() for values in private)):
        digest.update(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
