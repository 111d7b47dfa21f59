"""An auditor's trainings on pictures of its own in one run: each is made and paid once, whatever crashes between."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from secure_fair.errors import DamagedFile, Refusal
from secure_fair.operations.common.adapters import Adapter, flatten_adapter
from secure_fair.parties.checkpoints import Checkpoints
from secure_fair.privacy.entries import is_training
from secure_fair.privacy.ledger import Ledger

Made = Mapping[str, Any]  # a training's result, with its epsilon and delta


@dataclass(frozen=True)
class Trainings:
    """Trainings that were made, in the run's folder where there is one, and which were ``paid`` for: the digests of
    their names, by attribute."""

    kept: Checkpoints | None = None
    paid: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _made: dict[tuple[str, str], Made] = field(default_factory=dict)  # where there is no folder

    @classmethod
    def of(cls, kept: Checkpoints | None, ledger: Ledger, run: str) -> Trainings:
        """Those of a run that may be gone on with: the ledger says what was paid."""
        made = cls(kept)
        for entry in filter(is_training, ledger.entries(run)):
            made.paid[entry["attribute"]].add(entry["query"])
        return made

    def once(
        self, attribute: str, name: str, most: int, train: Callable[[], Made], account: Callable[[Made, str], None]
    ) -> Made:
        """The result of ``train``, or that of an earlier process under the same ``name``; Refusal where ``most`` others
        were made for the attribute.

        It is on disk before it is paid for, and paid for before it is returned: a crash between them costs nothing. By
        the digest of its name, which ``account`` is given, the ledger tells one that was paid from one that was not.
        """
        key = hashlib.sha256(name.encode()).hexdigest()
        made = self._recall(attribute, key)
        if made is None:
            self._check_room(attribute, key, most)
            made = train()
            self._keep(attribute, key, made)
        if key not in self.paid[attribute]:
            account(made, key)
            self.paid[attribute].add(key)
        return made

    def _check_room(self, attribute: str, key: str, most: int) -> None:
        """Count what was made, whether or not it was paid for: a result that is never paid for is never used."""
        if key in self.paid[attribute]:
            raise DamagedFile(f"{attribute}: a training that was paid for is kept no more; restore the run's state")
        made = self.paid[attribute] | self._names(attribute)
        if len(made) >= most:
            raise Refusal(f"{attribute}: {len(made)} trainings on own records were made, as planned; plan more epochs")

    def _names(self, attribute: str) -> set[str]:
        """Digests of the names of all that were made for an attribute."""
        if self.kept is not None:
            return self.kept.values_of(attribute)
        return {key for kind, key in self._made if kind == attribute}

    def _recall(self, attribute: str, key: str) -> Made | None:
        return self._made.get((attribute, key)) if self.kept is None else self.kept.value(attribute, key)

    def _keep(self, attribute: str, key: str, made: Made) -> None:
        if self.kept is None:
            self._made[attribute, key] = made
        else:
            self.kept.keep_value(attribute, key, made)


def adversary_of(adapter: Adapter | None) -> str:
    """The name of an adversary's training on the features of this adapter; None: of the frozen backbone."""
    content = b"" if adapter is None else flatten_adapter(adapter).numpy().astype("<f8").tobytes()
    return f"adversary {hashlib.sha256(content).hexdigest()}"
