"""The developer's memory of what it was told: a question asked again is answered from here, not drawn and paid anew."""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from secure_fair.files import private_folder, write_bytes
from secure_fair.ids import Ids, Names, as_ids, order

_PART = 1 << 16  # records that are hashed at a time
Ask = Callable[[str], tuple[torch.Tensor, float]]  # the name to ask under -> the opened values and their sigma


@dataclass(frozen=True)
class Question:
    """Counts of records by stratum, as the developer asks for them.

    ``records``: ids of the people (n,), which mean the same in every run; ``strata``: int64 (n,) in [0, ``count``),
    where each of them is put. The joint order of the two does not matter.
    """

    operation: str
    attribute: str
    auditor: str
    records: Names
    strata: torch.Tensor
    count: int


class CachedRelease(NamedTuple):
    """Opened ``values``, float64, the standard deviation of their noise, and the name that the auditor heard."""

    values: torch.Tensor
    sigma: float
    query: str


class ReleaseCache:
    """Opened counts by their question, in the developer's own state: they outlive the process and the run.

    They outlive the run because people and budgets do: predictions that were evaluated before, on the same people and
    with the same noise, need no second release, whichever run they come from. Whatever differs makes another question:
    one prediction, one person, the attribute, its auditor, or ``terms``, what the run says about noise. So a run with
    a larger epsilon asks again, and an exact run is never answered with noised counts, nor the other way round.

    Nothing here protects anybody from the developer, who could forget its answers: that an auditor is asked once, or
    pays each time, is what its gate sees to.
    """

    def __init__(self, directory: Path, terms: str) -> None:
        """One process at a time may use a ``directory``."""
        private_folder(directory)
        self._directory = directory
        self._terms = terms
        path = directory / "key"
        if not path.exists():
            write_bytes(path, secrets.token_bytes(32))
        self._key = path.read_bytes()

    def recall(self, question: Question, ask: Ask) -> CachedRelease:
        """The kept answer; where there is none, that of ``ask``.

        ``ask`` is given the name that the auditor hears (``Request.query``). A question that was asked and whose
        answer was lost, for a crash came between, is asked under a new name: it is another release, with noise of its
        own and paid for, and the gate refuses to be asked twice under the same.
        """
        name = self._name(question)
        kept = self._directory / f"{name}.npz"
        if not kept.exists():
            values, sigma = ask(self._attempt(name))
            content = io.BytesIO()
            np.savez(content, values=values.detach().cpu().double().numpy(), sigma=np.float64(sigma))
            write_bytes(kept, content.getvalue())
        with np.load(kept, allow_pickle=False) as found:
            attempt = int((self._directory / f"{name}.asked").read_text())
            return CachedRelease(
                torch.from_numpy(found["values"]), float(found["sigma"]), self._asked_as(name, attempt)
            )

    def _name(self, question: Question) -> str:
        """HMAC-SHA256 under a key of the developer's: it tells an auditor nothing about predictions or labels."""
        strata = question.strata.detach().cpu().numpy()
        records = as_ids(question.records)
        if len(records) != len(strata):
            raise ValueError(f"{len(records)} records, {len(strata)} strata: need one for each")
        by_id = order(records)
        head = (question.operation, question.attribute, question.auditor, self._terms, str(question.count))
        keyed = hmac.new(self._key, len(strata).to_bytes(8, "little"), hashlib.sha256)
        # lengths before the texts: no two questions read alike
        for text in head:
            keyed.update(len(text.encode()).to_bytes(8, "little") + text.encode())
        parts = [by_id[start : start + _PART] for start in range(0, len(by_id), _PART)]
        for part in parts:
            keyed.update(_with_lengths(records[part]))
        for part in parts:
            keyed.update(strata[part].astype("<i8").tobytes())
        return keyed.hexdigest()

    def _attempt(self, name: str) -> str:
        """The name for the next attempt at a question, which is on disk as begun when this returns."""
        path = self._directory / f"{name}.asked"
        attempt = int(path.read_text()) + 1 if path.exists() else 1
        write_bytes(path, str(attempt).encode())
        return self._asked_as(name, attempt)

    def _asked_as(self, name: str, attempt: int) -> str:
        return self._keyed(f"{name} {attempt}".encode())

    def _keyed(self, content: bytes) -> str:
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()


def _with_lengths(ids: Ids) -> bytes:
    """Every id behind its length, 8 bytes."""
    width = ids.dtype.itemsize
    table = np.empty((len(ids), 8 + width), dtype=np.uint8)
    lengths = np.char.str_len(ids)
    table[:, :8] = lengths.astype("<i8").view(np.uint8).reshape(len(ids), 8)
    table[:, 8:] = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), width)
    written = np.ones(table.shape, dtype=bool)
    written[:, 8:] = np.arange(width) < lengths[:, None]
    return table.tobytes() if written.all() else table[written].tobytes()
