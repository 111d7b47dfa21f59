"""The developer is told once: a question asked again is answered from its own memory, and what differs is paid for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people import EVALUATION, IDS, SCALE, ask, plan_for
from sklearn.metrics import roc_auc_score

from secure_fair.errors import BudgetExceeded, Refusal
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.openings import PlainOpening
from secure_fair.privacy.release_cache import Question, ReleaseCache

ATTRIBUTE = torch.from_numpy(np.random.default_rng(5).integers(0, 2, len(IDS)))  # the secret: who is in group 1
PREDICTIONS = torch.from_numpy(np.random.default_rng(6).integers(0, 2, len(IDS)))
QUESTION = Question("evaluation_counts", "gender", "auditor", IDS, PREDICTIONS, 2)


class Auditor:
    """Counts its people by prediction and group 1, behind a gate; counts how often it was asked."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.asked: list[str] = []

    def counts(self, predictions: torch.Tensor) -> Callable[[str], tuple[torch.Tensor, float]]:
        """The developer's question, under the name that it gives the question."""

        def answer(query: str) -> tuple[torch.Tensor, float]:
            self.asked.append(query)
            grant = self.gate.admit(ask("evaluation_counts", shape=(2, 1), query=query))
            strata = torch.nn.functional.one_hot(predictions, 2).double()
            opened = self.gate.release(grant, PlainOpening(strata.T @ ATTRIBUTE[:, None].double(), SCALE))
            assert opened is not None
            return opened, grant.receipt.sigma or 0.0

        return answer

    def tell(self, answers: ReleaseCache, predictions: torch.Tensor) -> torch.Tensor:
        """The developer's question about these predictions."""
        return answers.recall(replace(QUESTION, strata=predictions), self.counts(predictions))[0]


def test_a_repeat_is_the_same_answer_and_costs_nothing(open_gate, tmp_path: Path) -> None:
    auditor, answers = Auditor(open_gate()), ReleaseCache(tmp_path / "answers", "epsilon 1")
    told, sigma, _ = answers.recall(QUESTION, auditor.counts(PREDICTIONS))
    assert sigma > 1
    spent = auditor.gate.summary()["gender"]
    order = np.random.default_rng(0).permutation(len(IDS))
    shuffled = replace(QUESTION, records=[IDS[place] for place in order], strata=PREDICTIONS[order])
    for question in (QUESTION, shuffled):
        again = answers.recall(question, auditor.counts(PREDICTIONS))
        assert torch.equal(again[0], told)
        assert again[0].dtype == torch.float64
        assert again[1] == sigma
    assert len(auditor.asked) == 1
    assert auditor.gate.summary()["gender"] == spent


def test_answers_outlive_process_and_run(open_gate, tmp_path: Path) -> None:
    told = Auditor(open_gate()).tell(ReleaseCache(tmp_path / "answers", "terms"), PREDICTIONS)
    another = Auditor(open_gate(run="another"))
    assert torch.equal(another.tell(ReleaseCache(tmp_path / "answers", "terms"), PREDICTIONS), told)
    assert another.asked == []


def test_whatever_differs_is_another_question(tmp_path: Path) -> None:
    changed = PREDICTIONS.clone()
    changed[7] = 1 - changed[7]
    newcomer = "f" * 32
    questions = [
        QUESTION,
        replace(QUESTION, operation="group_counts"),
        replace(QUESTION, attribute="race"),
        replace(QUESTION, auditor="hospital"),
        replace(QUESTION, records=[newcomer, *IDS[1:]]),
        replace(QUESTION, records=IDS[:-1], strata=PREDICTIONS[:-1]),
        replace(QUESTION, strata=changed),
        replace(QUESTION, count=3),
    ]
    asked: list[str] = []

    def answer(query: str) -> tuple[torch.Tensor, float]:
        asked.append(query)
        return torch.tensor([float(len(asked))]), 0.0

    places = [ReleaseCache(tmp_path / "a", "epsilon 1")] * len(questions)
    places += [ReleaseCache(tmp_path / "a", "epsilon 2"), ReleaseCache(tmp_path / "b", "epsilon 1")]
    questions += [QUESTION, QUESTION]  # other terms; another developer, with a key of its own
    for number, (answers, question) in enumerate(zip(places, questions, strict=True), 1):
        assert answers.recall(question, answer)[0].tolist() == [number]
    assert len(set(asked)) == len(questions)
    assert places[0].recall(QUESTION, answer)[0].tolist() == [1]


def test_an_answer_lost_on_the_way_is_asked_for_and_paid_again(open_gate, tmp_path: Path) -> None:
    """The auditor has answered, the developer died before it could keep it: the reserve pays for another."""
    gate = open_gate([plan_for(reserve_releases=1)])
    auditor = Auditor(gate)

    def dies(query: str) -> tuple[torch.Tensor, float]:
        auditor.counts(PREDICTIONS)(query)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ReleaseCache(tmp_path / "answers", "terms").recall(QUESTION, dies)
    spent = gate.summary()["gender"]["epsilon"]
    told = auditor.tell(ReleaseCache(tmp_path / "answers", "terms"), PREDICTIONS)
    assert len(set(auditor.asked)) == 2
    assert gate.summary()["gender"]["epsilon"] > spent
    assert torch.equal(auditor.tell(ReleaseCache(tmp_path / "answers", "terms"), PREDICTIONS), told)


def test_a_name_is_good_for_one_answer(open_gate) -> None:
    """Calling another question by a name that was answered gets nothing."""
    auditor = Auditor(open_gate([plan_for(reserve_releases=2)]))
    auditor.counts(PREDICTIONS)("name")
    with pytest.raises(Refusal, match="answered already"):
        auditor.counts(1 - PREDICTIONS)("name")


# -- the attack: ask for the counts with one prediction changed, and subtract --


def differences(auditor: Auditor, answers: ReleaseCache) -> list[float]:
    """A guess for every person, near 1 where it is in group 1: the counts with and without its prediction, compared."""
    before = auditor.tell(answers, PREDICTIONS)
    found = []
    for person in range(len(IDS)):
        changed = PREDICTIONS.clone()
        changed[person] = 1 - changed[person]
        moved = auditor.tell(answers, changed) - before
        left, came = int(PREDICTIONS[person]), int(changed[person])
        found.append(float(moved[came, 0] - moved[left, 0]) / 2)
    return found


def unlimited(epsilon: float | None) -> list:
    """A plan that lets every person be evaluated with each other's prediction changed."""
    often = replace(EVALUATION, count=len(IDS) + 1, participations=len(IDS) + 1)
    return [plan_for(evaluation=[often], evaluation_epsilon=epsilon, epsilon=epsilon)]


def test_without_limit_and_noise_one_changed_prediction_tells_an_attribute(open_gate, tmp_path: Path) -> None:
    """The unprotected twin of the next tests: everybody's attribute, without an error."""
    found = differences(Auditor(open_gate(unlimited(None))), ReleaseCache(tmp_path / "answers", "exact"))
    assert found == ATTRIBUTE.tolist()


def test_exact_counts_are_told_once(open_gate, tmp_path: Path) -> None:
    """A reserve, which is for interrupted releases, does not help."""
    auditor = Auditor(open_gate([plan_for(epsilon=None, reserve_releases=3)]))
    with pytest.raises(Refusal, match="evaluated 1 times, as planned"):
        differences(auditor, ReleaseCache(tmp_path / "answers", "exact"))


def test_noised_counts_are_told_until_the_budget_ends(open_gate, tmp_path: Path) -> None:
    auditor = Auditor(open_gate())
    with pytest.raises(BudgetExceeded):
        differences(auditor, ReleaseCache(tmp_path / "answers", "epsilon 1"))
    assert len(auditor.asked) == 2


def test_noised_as_planned_the_differences_tell_nearly_nothing(open_gate, tmp_path: Path) -> None:
    """The same number of questions as the attack that gets everything, within epsilon 1 together."""
    auditor = Auditor(open_gate(unlimited(1.0)))
    found = differences(auditor, ReleaseCache(tmp_path / "answers", "epsilon 1"))
    assert len(auditor.asked) == len(IDS) + 1
    # one difference of two counts, each with sigma near 53; 4 standard errors of an AUC of 200 people above one half
    assert roc_auc_score(ATTRIBUTE, found) < 0.5 + 4 * 0.041


def test_forgetting_the_answer_does_not_buy_a_second_one(open_gate, tmp_path: Path) -> None:
    """A developer that throws its memory away to average the noise out is stopped by the budget."""
    auditor = Auditor(open_gate())
    auditor.tell(ReleaseCache(tmp_path / "first", "terms"), PREDICTIONS)
    with pytest.raises(BudgetExceeded):
        auditor.tell(ReleaseCache(tmp_path / "second", "terms"), PREDICTIONS)
