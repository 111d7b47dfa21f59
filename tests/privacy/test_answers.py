"""The developer is told once: the same question in any order is answered from its own memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from people import ask, plan_for, value

from secure_fair.errors import Refusal
from secure_fair.privacy.answers import Answers

RECORDS = np.arange(50)
QUERY = torch.eye(4)[torch.arange(50) % 4]


def test_answers_outlive_the_process(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    digest = answers.digest("evaluation_counts", "gender", RECORDS, QUERY)
    assert answers.get(digest) is None
    answers.keep(digest, torch.tensor([1.5, -2.0], dtype=torch.float64))
    again = Answers(tmp_path)
    order = np.random.default_rng(0).permutation(50)
    same = again.digest("evaluation_counts", "gender", RECORDS[order], QUERY[order])
    assert same == digest
    kept = again.get(same)
    assert kept is not None
    assert kept.dtype == torch.float64
    assert kept.tolist() == [1.5, -2.0]


def test_any_other_question_has_another_digest(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "a")
    changed = QUERY.clone()
    changed[7] = changed[7].roll(1)
    digests = {
        answers.digest("evaluation_counts", "gender", RECORDS, QUERY),
        answers.digest("group_counts", "gender", RECORDS, QUERY),
        answers.digest("evaluation_counts", "race", RECORDS, QUERY),
        answers.digest("evaluation_counts", "gender", RECORDS + 1, QUERY),
        answers.digest("evaluation_counts", "gender", RECORDS, changed),
        answers.digest("evaluation_counts", "gender", RECORDS, QUERY.double()),
        Answers(tmp_path / "b").digest("evaluation_counts", "gender", RECORDS, QUERY),  # another developer's key
    }
    assert len(digests) == 7


def test_a_repeat_costs_nothing_and_a_lie_about_it_gets_nothing(open_gate, tmp_path: Path) -> None:
    """Asked again, the developer has its answer; calling another question by the same digest is refused at the gate."""
    gate, answers = open_gate([plan_for(reserve_releases=2)]), Answers(tmp_path / "answers")
    digest = answers.digest("evaluation_counts", "gender", RECORDS, QUERY)
    request = ask("evaluation_counts", records=RECORDS, query=digest)
    told = gate.release(gate.admit(request), value(4, 1))
    answers.keep(digest, told)
    spent = gate.summary()["gender"]["epsilon"]
    assert torch.equal(answers.get(digest), told)
    with pytest.raises(Refusal, match="answered already"):
        gate.admit(ask("evaluation_counts", records=RECORDS + 1, query=digest))
    assert gate.summary()["gender"]["epsilon"] == spent
