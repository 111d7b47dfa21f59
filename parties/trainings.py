"""An auditor's trainings on pictures of its own in one run: each is made and paid once, whatever crashes between."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parties.checkpoints import Checkpoints
from secure_fair.operations.common.adapters import Adapter, flatten_adapter
from secure_fair.privacy.entries import is_training
from secure_fair.privacy.ledger import Ledger


@dataclass(frozen=True)
class Trainings:
    """Trainings that were made, in the run's folder where there is one, and how often each was ``paid`` for."""

    kept: Checkpoints | None = None
    paid: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, kept: Checkpoints | None, ledger: Ledger, run: str) -> Trainings:
        """Those of a run that may be gone on with: the ledger says what was paid."""
        return cls(kept, Counter(entry["attribute"] for entry in ledger.entries(run) if is_training(entry)))

    def once(
        self,
        attribute: str,
        name: str,
        train: Callable[[], Mapping[str, Any]],
        account: Callable[[Mapping[str, Any]], None],
    ) -> Mapping[str, Any]:
        """The result of ``train``, or that of an earlier process under the same ``name``.

        It is on disk before it is paid for, and paid for before it is returned: a crash between them costs nothing.
        """
        made = None if self.kept is None else self.kept.value(f"{attribute}: {name}")
        if made is None:
            made = {**train(), "number": self.paid[attribute] + 1}
            if self.kept is not None:
                self.kept.keep_value(f"{attribute}: {name}", made)
        if self.paid[attribute] < made["number"]:
            account(made)
            self.paid[attribute] += 1
        return made


def adversary_of(adapter: Adapter | None) -> str:
    """The name of an adversary's training on the features of this adapter; None: of the frozen backbone."""
    content = b"" if adapter is None else flatten_adapter(adapter).numpy().astype("<f8").tobytes()
    return f"adversary {hashlib.sha256(content).hexdigest()}"
