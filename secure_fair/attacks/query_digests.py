"""A dictionary for the names of questions: an auditor that hears one tries all predictions that may be behind it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from secure_fair.attacks.common.attack import AUDITOR, Attack, Context, Outcome
from secure_fair.attacks.common.auditor import ATTRIBUTE, EVALUATION
from secure_fair.files import write_bytes
from secure_fair.privacy.release_cache import Question, ReleaseCache

PEOPLE, DOUBTED = 64, 6  # predictions that the auditor does not know
TRIES = 40


class QueryDigests(Attack):
    """The auditor knows people, operation and terms, and all but a few predictions; it has the same program."""

    claim = "the name of a question tells an auditor nothing of predictions and labels"
    view = "auditor"
    needs = f"all predictions but {DOUBTED}"
    twin = "names that anybody can compute: a digest without a key of the developer's"

    def run(self, context: Context) -> Outcome:
        """Names of the first attempt at a question, as the auditor hears them."""
        generator = context.generator("query_digests")
        asked = generator.integers(0, 2, (TRIES, PEOPLE))
        ours, twin = (_found(asked, keyed) for keyed in (True, False))
        return Outcome.counted(ours, twin, TRIES, most=2.0**-DOUBTED)


def _found(asked: np.ndarray, keyed: bool) -> int:
    """How many of the predictions are found in the dictionary."""
    with TemporaryDirectory(prefix="secure-fair-review-") as folder:
        developer, own = (ReleaseCache(_state(Path(folder), name, keyed), "terms") for name in ("developer", "auditor"))
        return sum(_name(developer, strata) in _dictionary(own, strata) for strata in asked)


def _state(folder: Path, name: str, keyed: bool) -> Path:
    state = folder / name
    if not keyed:
        state.mkdir()
        write_bytes(state / "key", bytes(32))
    return state


def _dictionary(cache: ReleaseCache, strata: np.ndarray) -> set[str]:
    """The names of all questions that have these strata but for the doubted ones."""
    names = set()
    for guess in range(2**DOUBTED):
        tried = strata.copy()
        tried[:DOUBTED] = [guess >> bit & 1 for bit in range(DOUBTED)]
        names.add(_name(cache, tried))
    return names


def _name(cache: ReleaseCache, strata: np.ndarray) -> str:
    ids = [f"{number:032x}" for number in range(PEOPLE)]
    question = Question(EVALUATION, ATTRIBUTE, AUDITOR, ids, torch.from_numpy(strata), 2)
    return cache._keyed(f"{cache._name(question)} 1".encode())


ATTACK = QueryDigests()
