"""The developer's memory of what it was told: a question asked again is answered from here, not drawn and paid anew."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import numpy as np
import torch


class Answers:
    """Opened values by the digest of their question, kept on disk so that a resumed run has them too.

    They live at the developer, for the auditor never sees them; and the auditor must not draw the same noise for a
    question that is said to be the same: were it another one, the difference of the two answers would be exact.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        path = directory / "key"
        if not path.exists():
            draft = directory / "key.draft"
            draft.write_bytes(secrets.token_bytes(32))
            os.replace(draft, path)
        self._key = path.read_bytes()

    def digest(self, operation: str, attribute: str, records: np.ndarray, query: torch.Tensor) -> str:
        """The name of a question (``Request.query``): HMAC-SHA256 under a key of the developer's, so it tells nothing.

        ``records``: int64 (n,); ``query``: what is asked of them, (n, ...), row by row; their joint order does not
        matter.
        """
        order = np.argsort(records, kind="stable")
        rows = query.detach().cpu().numpy()[order]
        head = f"{operation}\n{attribute}\n{rows.dtype}\n{rows.shape}\n".encode()
        content = head + records[order].astype("<i8").tobytes() + rows.tobytes()
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

    def get(self, digest: str) -> torch.Tensor | None:
        """The answer, float64, if the question was asked before."""
        path = self._directory / f"{digest}.npy"
        return torch.from_numpy(np.load(path, allow_pickle=False)) if path.exists() else None

    def keep(self, digest: str, value: torch.Tensor) -> None:
        """Remember an answer; on disk when this returns."""
        draft = self._directory / f"{digest}.draft"
        with draft.open("wb") as file:
            np.save(file, value.detach().cpu().numpy(), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self._directory / f"{digest}.npy")
