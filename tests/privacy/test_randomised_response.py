"""One answer per person for ever, lies at the promised rate, and the correction makes sums of answers unbiased."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from people import IDS, ask, plan_for, value
from scipy.stats import binomtest

from secure_fair.attacks.common.statistics import HitRates
from secure_fair.errors import BudgetExceeded, DamagedFile, ProtocolError, Refusal, UsageError
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.plan import PlannedRelease
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import Responses, confusion, debias, respond
from secure_fair.randomness import PRG


@pytest.fixture
def source() -> PRG:
    """The same draws for a test whatever has run before it."""
    return PRG(bytes(range(32)))


PLAN = plan_for(releases=[PlannedRelease("randomised_attributes", 1, 1, 1.0)])


@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_answers_have_the_promised_distribution(groups: int, epsilon: float, source: PRG) -> None:
    expected = confusion(groups, epsilon)
    assert np.allclose(expected.sum(axis=1), 1)
    assert np.log(expected.max() / expected.min()) == pytest.approx(epsilon)
    for truth in range(groups):
        answers = respond(np.full(40_000, truth), groups, epsilon, source)
        counts = np.bincount(answers, minlength=groups)
        for answer in range(groups):
            assert binomtest(int(counts[answer]), 40_000, expected[truth, answer]).pvalue > 1e-5


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("epsilon", [0.3, 2.0])
def test_corrected_sums_are_unbiased(groups: int, epsilon: float, source: PRG) -> None:
    assert np.allclose(confusion(groups, epsilon) @ debias(groups, epsilon), np.eye(groups))
    codes = np.random.default_rng(0).choice(groups, 100_000, p=np.arange(1, groups + 1) / np.arange(groups + 1).sum())
    weights = np.random.default_rng(1).normal(size=len(codes))
    truth = weights @ np.eye(groups)[codes]
    corrected = weights @ np.eye(groups)[respond(codes, groups, epsilon, source)] @ debias(groups, epsilon)
    noise = np.sqrt(len(codes)) * np.linalg.norm(debias(groups, epsilon), axis=1).max()
    assert np.abs(corrected - truth).max() < 5 * noise


def test_no_information_cannot_be_corrected() -> None:
    with pytest.raises(UsageError, match="raise epsilon"):
        debias(2, 0.0)


def test_an_attack_reaches_the_lower_bound_and_not_more(source: PRG) -> None:
    """The likeliest guess distinguishes at a rate that certifies almost all of epsilon, and never more than it."""
    epsilon, trials = 1.0, 100_000
    hits = int(respond(np.ones(trials, dtype=np.int64), 2, epsilon, source).sum())
    alarms = int(respond(np.zeros(trials, dtype=np.int64), 2, epsilon, source).sum())
    bound = HitRates(hits, trials, alarms, trials).epsilon(0.0, 0.999)
    assert 0.95 < bound <= 1.0


# -- for ever --


def test_a_person_answers_once_for_ever(tmp_path: Path) -> None:
    codes = np.arange(200) % 2
    first = Responses(tmp_path, PRG(bytes(32))).draw("gender", IDS, codes, 2, 1.0)
    assert 20 < (first != codes).sum() < 100
    order = np.random.default_rng(0).permutation(200)
    again = Responses(tmp_path, PRG(bytes(range(32))))  # another process, other randomness
    assert np.array_equal(again.draw("gender", [IDS[i] for i in order], codes[order], 2, 1.0), first[order])
    assert np.array_equal(again.draw("gender", [*IDS, "new"], np.append(codes, 1), 2, 1.0)[:200], first)


def test_attributes_are_drawn_apart(tmp_path: Path, source: PRG) -> None:
    responses = Responses(tmp_path, source)
    codes = np.zeros(200, dtype=np.int64)
    drawn = {name: responses.draw(name, IDS, codes, 2, 0.1) for name in ("a/b", "a_b", "a.b")}
    assert len({answers.tobytes() for answers in drawn.values()}) == 3
    assert all(path.parent == tmp_path for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(("groups", "epsilon"), [(2, 2.0), (3, 1.0)])
def test_a_second_draw_in_other_words_is_refused(tmp_path: Path, groups: int, epsilon: float, source: PRG) -> None:
    responses = Responses(tmp_path, source)
    responses.draw("gender", IDS, np.zeros(200, dtype=np.int64), 2, 1.0)
    with pytest.raises(Refusal, match="answered before"):
        responses.draw("gender", [*IDS[:1], "new"], np.zeros(2, dtype=np.int64), groups, epsilon)
    with pytest.raises(Refusal):  # and the stranger of the refused request has answered nothing
        responses.draw("gender", IDS, np.zeros(200, dtype=np.int64), groups, epsilon)


def test_torn_and_damaged_files(tmp_path: Path, source: PRG) -> None:
    codes = np.zeros(200, dtype=np.int64)
    first = Responses(tmp_path, source).draw("gender", IDS, codes, 2, 1.0)
    path = tmp_path / "gender.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'["torn", 1,')
    assert np.array_equal(Responses(tmp_path, source).draw("gender", IDS, codes, 2, 1.0), first)
    path.write_bytes(b"{" + whole[1:])
    with pytest.raises(ProtocolError, match="do not draw answers again"):
        Responses(tmp_path, source).draw("gender", IDS, codes, 2, 1.0)


def test_codes_must_be_groups(tmp_path: Path, source: PRG) -> None:
    with pytest.raises(UsageError, match="below 2"):
        Responses(tmp_path, source).draw("gender", IDS[:2], np.array([0, 2]), 2, 1.0)


# -- at the gate --


def request():
    return ask("randomised_attributes", shape=(200,))


def test_an_answer_is_charged_once_for_ever(open_gate) -> None:
    policy = Policy(epsilon=1.5)
    for run in ("first", "second", "second"):
        gate: Gate = open_gate([PLAN], run=run, policy=policy)
        gate.release(gate.admit(request()), value(200))
        assert gate.summary()["gender"]["epsilon"] == 1.0
    spent = gate._ledger.spending.of("gender", gate.rows[:200])[1]
    assert np.array_equal(spent, np.ones(200))


def test_only_strangers_pay_for_a_larger_table(open_gate) -> None:
    policy = Policy(epsilon=1.0)
    first = open_gate([PLAN], run="first", policy=policy, ids=IDS[:100])
    first.release(first.admit(ask("randomised_attributes", records=np.arange(100), shape=(100,))), value(100))
    second = open_gate([PLAN], run="second", policy=policy)
    second.release(second.admit(request()), value(200))
    assert np.array_equal(second._ledger.spending.of("gender", second.rows[:200])[1], np.ones(200))


def test_answers_and_moments_add_up(open_gate) -> None:
    first = open_gate([PLAN], run="answers", policy=Policy(epsilon=1.7))
    first.release(first.admit(request()), value(200))
    second = open_gate(run="moments", policy=Policy(epsilon=1.7))
    second.release(second.admit(ask()), value(4, 1))
    with pytest.raises(BudgetExceeded):
        second.admit(ask())


@pytest.mark.parametrize("limit", ["epsilon", "total_epsilon"])
def test_an_answer_at_random_does_not_pay_for_the_truth(open_gate, limit: str) -> None:
    gate: Gate = open_gate([PLAN])
    gate.release(gate.admit(request()), value(200))
    exact = plan_for(epsilon=None, releases=PLAN.releases)
    for policy in (Policy(**{limit: 50.0}), Policy(**{limit: 50.0}, allow_exact=True)):
        with pytest.raises((BudgetExceeded, Refusal), match="exact release"):
            open_gate([exact], run="exact", policy=policy).admit(request())
    gate = open_gate([exact], run="exact")
    gate.release(gate.admit(request()), value(200))
    assert np.isinf(gate._ledger.spending.of("gender", gate.rows[:200])[1]).all()


def test_a_draw_whose_process_died_is_neither_lost_nor_free(open_gate, tmp_path: Path, source: PRG) -> None:
    """Drawn and on disk, then killed before the ledger: the next process gives the same answers and charges them."""
    codes = np.zeros(200, dtype=np.int64)
    child = os.fork()
    if not child:
        drawn = Responses(tmp_path / "answers", source).draw("gender", IDS, codes, 2, 1.0)
        (tmp_path / "drawn").write_text(str(drawn.tolist()))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    gate = open_gate([PLAN])
    answers = Responses(tmp_path / "answers", source).draw("gender", IDS, codes, 2, 1.0)
    gate.release(gate.admit(request()), value(200))
    assert str(answers.tolist()) == (tmp_path / "drawn").read_text()
    assert gate._ledger.spending.of("gender", gate.rows[:200])[1].tolist() == [1.0] * 200


def test_lost_answers_are_not_drawn_again(open_gate, tmp_path: Path, source: PRG) -> None:
    """The ledger says that they were paid for; second ones would be given away for nothing."""
    codes, places = np.zeros(200, dtype=np.int64), np.arange(200)
    for run in ("first", "second"):  # the answers are kept
        gate = open_gate([PLAN], run=run)
        grant = gate.admit(request())
        Responses(tmp_path / "answers", source).answer(grant, IDS, places, codes, 2)
        gate.release(grant, value(200))
    (path,) = (tmp_path / "answers").iterdir()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:150]))
    gate = open_gate([PLAN], run="third")
    with pytest.raises(DamagedFile, match="lacks the answers of 50 people who paid for them; restore it"):
        Responses(tmp_path / "answers", source).answer(gate.admit(request()), IDS, places, codes, 2)
