"""Files of an auditor and of a developer that others on the same machine can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from secure_fair.attacks.common.attack import AUDITOR, Attack, Context, Outcome, balanced
from secure_fair.attacks.common.auditor import ATTRIBUTE, EVALUATION, isolating, opened, training_plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.release_cache import Question, ReleaseCache

PEOPLE = 64


class OpenFiles(Attack):
    """With a umask that forbids nothing: whoever writes a file must say itself who may read it."""

    claim = "ledgers, kept answers and what they are made of are their owner's alone"
    view = "outsider"
    needs = "an account on the machine of a party"
    twin = "the same files, written as files are by default"

    def run(self, context: Context) -> Outcome:
        """Everything that a run of moments, one of responses and the developer's memory write."""
        with TemporaryDirectory(prefix="secure-fair-review-") as folder, _no_umask():
            ours, twin = Path(folder) / "ours", Path(folder) / "twin"
            _fill(ours, context)
            _copy(ours, twin)
            written = list(ours.rglob("*"))
            return Outcome.counted(_readable(ours), _readable(twin), len(written), most=0.0)


@contextmanager
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def _fill(folder: Path, context: Context) -> None:
    everybody, bits = np.arange(PEOPLE, dtype=np.int64), context.terms.precision_bits
    for name, query in (("moment", isolating(PEOPLE)), ("randomised_attributes", None)):
        with opened(
            folder / name, balanced(PEOPLE), training_plan(name, context.terms, exact=False), Policy()
        ) as asked:
            asked.ask(name, everybody, query, bits)
    ids = [f"{number:032x}" for number in range(PEOPLE)]
    question = Question(EVALUATION, ATTRIBUTE, AUDITOR, ids, torch.zeros(PEOPLE, dtype=torch.int64), 1)
    ReleaseCache(folder / "answers", "terms").recall(question, lambda name: (torch.zeros(1, 1), 0.0))


def _copy(source: Path, target: Path) -> None:
    for path in (source, *sorted(source.rglob("*"))):
        copied = target / path.relative_to(source)
        if path.is_dir():
            copied.mkdir()
        else:
            copied.write_bytes(path.read_bytes())


def _readable(folder: Path) -> int:
    """How many files and folders grant anything to anybody but their owner."""
    return sum(bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)) for path in folder.rglob("*"))


ATTACK = OpenFiles()
