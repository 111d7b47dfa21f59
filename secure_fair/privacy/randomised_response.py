"""k-ary randomised response: one answer per person and attribute for ever, and how to correct what is made of it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from secure_fair.errors import DamagedFile, Refusal, UsageError
from secure_fair.files import open_private, private_folder
from secure_fair.privacy.accounting import truth_probability
from secure_fair.privacy.noise import Bytes, uniform_below
from secure_fair.privacy.request import Grant
from secure_fair.randomness import PRG


def respond(codes: np.ndarray, groups: int, epsilon: float, source: Bytes) -> np.ndarray:
    """One fresh answer for each code: the truth with probability e^eps / (e^eps + groups - 1), else another group.

    ``codes``: int64 (n,) below ``groups``. Warner 1965; k-ary: Kairouz, Oh and Viswanath 2016. The probability of a
    lie is rounded up to a multiple of 2^-63, which takes nothing away from the guarantee.
    """
    odds = (groups - 1) * math.exp(-epsilon)
    lie = odds / (1 + odds)
    threshold = math.ceil(lie * (1 + 1e-12) * 2**63)
    lies = uniform_below(2**63, len(codes), source) < threshold
    other = uniform_below(groups - 1, len(codes), source) if groups > 2 else np.zeros(len(codes), dtype=np.int64)
    other += other >= codes  # the groups without the true one
    return np.where(lies, other, codes)


def confusion(groups: int, epsilon: float) -> np.ndarray:
    """P[answer = column | truth = row], float64 (groups, groups)."""
    truth = truth_probability(epsilon, groups)
    lie = (1 - truth) / (groups - 1)
    return np.full((groups, groups), lie) + np.eye(groups) * (truth - lie)


def debias(groups: int, epsilon: float) -> np.ndarray:
    """The matrix that corrects one-hot answers: E[one_hot(answer) @ debias] = one_hot(truth); float64 (groups, groups).

    It is the inverse of ``confusion``, in closed form: ((1 - lie groups) I + lie 11^T)^-1.
    """
    truth = truth_probability(epsilon, groups)
    lie = (1 - truth) / (groups - 1)
    if truth - lie < 1e-9:
        raise UsageError(f"epsilon = {epsilon}: answers at random say nothing about {groups} groups; raise epsilon")
    return (np.eye(groups) - lie) / (truth - lie)


class Responses:
    """The answers of one auditor's people, drawn once and kept in the auditor's state directory.

    A second draw for the same person would halve the protection, so who answered at one epsilon is refused at any
    other. One file for each attribute: a JSON line for each person.
    """

    def __init__(self, directory: Path, source: PRG) -> None:
        """``source``: of the answers; keyed by the operating system, unless the run is marked NOT PRIVATE."""
        private_folder(directory)
        self._directory = directory
        self._source = source
        self._answers: dict[str, dict[str, tuple[int, int, float]]] = {}

    def answer(
        self, grant: Grant, ids: Sequence[str], places: np.ndarray, codes: np.ndarray, groups: int
    ) -> np.ndarray:
        """The answers to an admitted request, int64 (n,): the codes themselves where it is exact.

        ``places``: int64 (n,), of these people in the enrolled table. Who pays for no new answer must have a kept one;
        DamagedFile otherwise.
        """
        attribute, epsilon = grant.request.attribute, grant.epsilon
        if epsilon is None:
            return codes
        kept = self._held(attribute)
        paid = np.isin(places, grant.payers.places)
        missing = sum(name not in kept for name, pays in zip(ids, paid, strict=True) if not pays)
        if missing:
            raise DamagedFile(
                f"{self._path(attribute)}: lacks the answers of {missing} people who paid for them; restore it from a "
                "backup, do not draw answers again"
            )
        return self.draw(attribute, ids, codes, groups, epsilon)

    def draw(self, attribute: str, ids: Sequence[str], codes: np.ndarray, groups: int, epsilon: float) -> np.ndarray:
        """Answers, int64 (n,): kept ones where there are any, fresh ones, on disk when this returns, for the others."""
        if codes.shape != (len(ids),) or codes.min(initial=0) < 0 or codes.max(initial=0) >= groups:
            raise UsageError(f"{attribute}: one code below {groups} is needed for each of {len(ids)} ids")
        held = self._held(attribute)
        for name in ids:
            if name in held and held[name][1:] != (groups, epsilon):
                raise Refusal(
                    f"{attribute}: a person answered before, among {held[name][1]} groups at epsilon = "
                    f"{held[name][2]:g}; ask for that again, not for {groups} groups at {epsilon:g}"
                )
        fresh = [place for place, name in enumerate(ids) if name not in held]
        if fresh:
            answers = respond(codes[fresh], groups, epsilon, self._source)
            drawn = {ids[place]: (int(answer), groups, epsilon) for place, answer in zip(fresh, answers, strict=True)}
            self._append(attribute, drawn)
            held.update(drawn)
        return np.array([held[name][0] for name in ids], dtype=np.int64)

    def _held(self, attribute: str) -> dict[str, tuple[int, int, float]]:
        if attribute not in self._answers:
            answers: dict[str, tuple[int, int, float]] = {}
            path = self._path(attribute)
            if path.exists():
                content = path.read_bytes()
                whole = content.rfind(b"\n") + 1
                if whole < len(content):  # torn by a crash before anything of it was given away
                    os.truncate(path, whole)
                try:
                    for line in content[:whole].splitlines():
                        name, answer, groups, epsilon = json.loads(line)
                        answers.setdefault(name, (answer, groups, epsilon))
                except (ValueError, RecursionError):
                    raise DamagedFile(f"{path}: damaged; restore it from a backup, do not draw answers again") from None
            self._answers[attribute] = answers
        return self._answers[attribute]

    def _append(self, attribute: str, drawn: dict[str, tuple[int, int, float]]) -> None:
        text = "".join(json.dumps([name, *answer]) + "\n" for name, answer in drawn.items())
        with open_private(self._path(attribute), "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def _path(self, attribute: str) -> Path:
        safe = "".join(letter if letter.isalnum() or letter in "-_" else f"%{ord(letter):x}" for letter in attribute)
        return self._directory / f"{safe}.jsonl"
