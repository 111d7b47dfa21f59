"""Several holders: each admits, pays and adds noise for what is told of its attribute and of its people, and no other.

In the clear, behind the gates and plans that the parties of a secure run have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from secure_fair.errors import BudgetExceeded, Refusal
from secure_fair.groups import joint_codes, joint_groups, membership_matrix
from secure_fair.ids import as_ids
from secure_fair.learning.memberships.responses import ResponseSource
from secure_fair.learning.method import Training
from secure_fair.operations import RULES
from secure_fair.operations.randomised_attributes import corrected
from secure_fair.parties.config import RunConfig
from secure_fair.parties.enrolment import Enrolment
from secure_fair.parties.holdings import Holdings
from secure_fair.parties.plain_auditors import PlainAuditors
from secure_fair.parties.plans import plan_for
from secure_fair.privacy.accounting import gaussian_epsilon
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SystemNoise
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import Responses, confusion
from secure_fair.privacy.release_cache import ReleaseCache
from secure_fair.randomness import PRG, KeySource
from secure_fair.scenarios import assemble
from secure_fair.scenarios.schema import Scenario
from tests import asks

N = 240
EVERYBODY = np.arange(N, dtype=np.int64)  # the training records
TABLE = np.arange(N + 120, dtype=np.int64)
TESTED = TABLE[N:]
IDS = [f"{number:032x}" for number in TABLE]
GROUPS = {"male": ("female", "male"), "skin_tone": ("light", "medium", "dark")}
CODES = {"male": TABLE % 2, "skin_tone": TABLE // 5 % 3}
JOINT = "male x skin_tone"
APART = [{"name": "registry", "attributes": ["male"]}, {"name": "clinic", "attributes": ["skin_tone"]}]
PARTS = [
    {"name": "north", "attributes": ["male"], "records": 0.25},
    {"name": "south", "attributes": ["male"], "records": 0.75},
    {"name": "clinic", "attributes": ["skin_tone"]},
]
TRUST = {
    "developer": "follows the protocol",
    "auditors": "follow the protocol",
}  # adversaries and intersections ask for it
PEOPLE = {"north": TABLE[TABLE % 4 == 0], "south": TABLE[TABLE % 4 > 0]}  # of the holders of a part
STRATA = torch.from_numpy(EVERYBODY % 2)


@dataclass
class Holders:
    """Everybody behind one developer."""

    config: RunConfig
    auditors: PlainAuditors
    gates: dict[str, Gate]
    ledgers: dict[str, Ledger]

    def planned(self, name: str) -> list[tuple[str, str, str]]:
        """Operation, attribute and intersection of everything that an auditor has let out."""
        return [
            (entry["operation"], entry["attribute"], entry["of"])
            for entry in self.ledgers[name].entries()
            if entry["kind"] == "planned"
        ]

    def epsilon(self, name: str, attribute: str) -> float:
        return self.gates[name].summary()[attribute]["epsilon"]


def holders(
    folder: Path, auditors: list[dict[str, Any]], policies: dict[str, Policy] | None = None, **sections: Any
) -> Holders:
    tree: dict[str, Any] = {
        "name": "holders",
        "data": {
            "dataset": "faces",
            "target": "wavy_hair",
            "sensitive": list(GROUPS),
            "intersections": [list(GROUPS)],
        },
        "train": {"epochs": 3, "batch_size": 40},
        "secure": {"auditors": auditors},
        "privacy": {"epsilon": 1.0, "evaluation_epsilon": 0.5},
        **sections,
    }
    config = assemble.run_config(Scenario.parse(tree))
    gates, ledgers, held = {}, {}, {}
    for auditor in auditors:
        name = auditor["name"]
        known = {IDS[person] for person in PEOPLE.get(name, TABLE)}
        ledgers[name] = Ledger(folder / name, name, simulated=True)
        gates[name] = Gate(
            auditor=name,
            run="test",
            ids=IDS,
            training=N,
            known=known,
            plans={held: plan_for(config, held, len(GROUPS[held]), N) for held in auditor["attributes"]},
            rules=RULES,
            policy=(policies or {}).get(name, Policy(allow_exact=True)).model_copy(update=TRUST),
            ledger=ledgers[name],
            noise=SystemNoise(),
            part=name in config.parted,
        )
        mine = gates[name].held
        held[name] = Holdings(
            config,
            gates[name],
            {attribute: GROUPS[attribute] for attribute in auditor["attributes"]},
            {attribute: np.where(mine, CODES[attribute], -1) for attribute in auditor["attributes"]},
            Responses(folder / name / "responses", PRG(KeySource.fresh().derive(name))),
        )
    enrolment = Enrolment(as_ids(IDS), GROUPS, {}, {name: gates[name].held for name in config.parted})
    clear = PlainAuditors(config, held, enrolment, ReleaseCache(folder / "told", terms="1.0"))
    return Holders(config, clear, gates, ledgers)


def spend_everything(everybody: Holders) -> None:
    """All that a training by moments of three epochs asks for, and the audit."""
    for attribute in everybody.auditors.attributes:
        asks.group_counts(everybody.auditors, attribute, EVERYBODY, STRATA, 2)
        for _ in range(3):
            asks.moment(everybody.auditors, attribute, EVERYBODY, torch.full((N, 2), 0.5))
    for attribute in everybody.auditors.audited:
        asks.evaluation_counts(everybody.auditors, attribute, TESTED, STRATA[: len(TESTED)], 2)


def test_groups_and_codes_of_an_intersection() -> None:
    assert joint_groups(GROUPS)[:4] == ("female & light", "female & medium", "female & dark", "male & light")
    assert joint_groups({"young": ("no", "yes"), "bald": ("no", "yes")}) == (
        "not young & not bald",
        "not young & bald",
        "young & not bald",
        "young & bald",
    )
    codes = joint_codes(list(CODES.values()), [2, 3])
    assert np.array_equal(codes, CODES["male"] * 3 + CODES["skin_tone"])


def test_somebody_else_s_record_is_a_row_of_zeros() -> None:
    codes = np.array([1, -1, 0])
    assert membership_matrix(codes, 2).tolist() == [[1], [0], [0]]
    assert membership_matrix(codes, 3).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_answers_about_an_intersection_are_the_truth_where_they_are_exact(tmp_path: Path) -> None:
    everybody = holders(tmp_path, APART, privacy={"evaluation_epsilon": 1.0})
    one_hot = np.eye(6)[CODES["male"] * 3 + CODES["skin_tone"]][:N]
    counts = asks.group_counts(everybody.auditors, JOINT, EVERYBODY, STRATA, 2)
    assert counts.sigma == 0
    assert np.array_equal(counts.values.numpy(), np.stack([one_hot[stratum::2].sum(0) for stratum in (0, 1)]))
    assert everybody.auditors.groups(JOINT) == joint_groups(GROUPS)


@pytest.mark.parametrize("auditors", [APART, PARTS], ids=["apart", "parts"])
def test_totals_are_those_of_the_plan_for_every_holder(tmp_path: Path, auditors: list[dict[str, Any]]) -> None:
    everybody = holders(tmp_path, auditors)
    spend_everything(everybody)
    for auditor in auditors:
        name, (attribute,) = auditor["name"], auditor["attributes"]
        made = everybody.planned(name)
        for of in ("", JOINT):  # by itself, and as a part of the intersection
            assert made.count(("moment", attribute, of)) == 3
            assert made.count(("group_counts", attribute, of)) == 1
            assert made.count(("evaluation_counts", attribute, of)) == 1
        assert len(made) == 10
        plan = plan_for(everybody.config, attribute, len(GROUPS[attribute]), N)
        spent = max(sum(plan.mu2(kind) for kind in kinds) for kinds in (plan.releases, plan.evaluation))
        assert everybody.epsilon(name, attribute) == pytest.approx(gaussian_epsilon(math.sqrt(spent), plan.delta))
        assert plan.planned_epsilon() < 1.0  # the rest is the reserve
        pool = everybody.gates[name]._sums.pool(attribute, False)
        theirs = PEOPLE.get(name, TABLE)
        trained = theirs[theirs < N]
        assert (pool[trained] > 0).all()
        assert np.count_nonzero(pool) == len(trained)  # nobody else pays here
        rows = everybody.ledgers[name].spending.rows(IDS)
        assert np.count_nonzero(everybody.ledgers[name].spending.of(attribute, rows)[0]) == len(theirs)


def test_every_holder_adds_its_own_noise(tmp_path: Path) -> None:
    everybody = holders(tmp_path, PARTS)
    query = torch.zeros(N, 300, dtype=torch.float64)
    released = asks.moment(everybody.auditors, JOINT, EVERYBODY, query)
    sigmas = [entry["sigma"] for ledger in everybody.ledgers.values() for entry in ledger.entries() if "sigma" in entry]
    assert len(sigmas) == 3
    assert released.sigma == pytest.approx(math.hypot(*sigmas))
    assert all(released.sigma > 1.5 * sigma for sigma in sigmas)  # of any two, not one is enough to take it away
    # 1800 draws: their standard deviation is within six of its own standard errors, a tenth; one holder less is a fifth
    assert float(released.values.std()) == pytest.approx(released.sigma, rel=6 / math.sqrt(2 * 1800))


def test_who_holds_both_attributes_pays_for_both(tmp_path: Path) -> None:
    everybody = holders(tmp_path, [{"name": "registry", "attributes": list(GROUPS)}])
    released = asks.moment(everybody.auditors, JOINT, EVERYBODY, torch.zeros(N, 2))
    assert sorted(everybody.planned("registry")) == [("moment", "male", JOINT), ("moment", "skin_tone", JOINT)]
    entries = [entry for entry in everybody.ledgers["registry"].entries() if entry["kind"] == "planned"]
    assert released.sigma == pytest.approx(math.hypot(*(entry["sigma"] for entry in entries)))
    assert [entry["number"] for entry in entries] == [1, 2]


def ask_for_ever(everybody: Holders) -> None:
    while True:
        asks.moment(everybody.auditors, JOINT, EVERYBODY, torch.zeros(N, 2))


@pytest.mark.parametrize(("stingy", "generous"), [("registry", "clinic"), ("clinic", "registry")])
def test_a_budget_that_ends_at_one_holder_stops_all_and_spends_nothing(
    tmp_path: Path, stingy: str, generous: str
) -> None:
    everybody = holders(tmp_path, APART, {stingy: Policy(epsilon=0.6)})
    asks.moment(everybody.auditors, JOINT, EVERYBODY, torch.zeros(N, 2))
    with pytest.raises(BudgetExceeded, match=r"policy's epsilon = 0\.6"):
        ask_for_ever(everybody)
    made = [everybody.planned(name) for name in (stingy, generous)]
    assert len(made[0]) == len(made[1]) < 8
    alone = "skin_tone" if generous == "clinic" else "male"
    asks.moment(everybody.auditors, alone, EVERYBODY, torch.zeros(N, 2))  # which is the other one's own affair


def test_a_lifetime_s_total_must_have_room_for_both_at_once(tmp_path: Path) -> None:
    """Neither is paid where only one of two attributes of the same holder could be."""
    both = [{"name": "registry", "attributes": list(GROUPS)}]
    one = holders(tmp_path / "one", both)
    asks.moment(one.auditors, "male", EVERYBODY, torch.zeros(N, 2))
    enough_for_one = Policy(total_epsilon=one.epsilon("registry", "male") * 1.1)
    everybody = holders(tmp_path / "both", both, {"registry": enough_for_one})
    with pytest.raises(BudgetExceeded, match="total_epsilon"):
        asks.moment(everybody.auditors, JOINT, EVERYBODY, torch.zeros(N, 2))
    assert everybody.planned("registry") == []
    asks.moment(everybody.auditors, "male", EVERYBODY, torch.zeros(N, 2))


def test_what_is_refused_by_one_is_opened_by_none(tmp_path: Path) -> None:
    everybody = holders(tmp_path, APART, {"clinic": Policy(operations=("group_counts", "evaluation_counts"))})
    with pytest.raises(Refusal, match="not in the policy of clinic"):
        asks.moment(everybody.auditors, JOINT, EVERYBODY, torch.zeros(N, 2))
    assert everybody.planned("registry") == everybody.planned("clinic") == []


def test_an_adversary_of_an_intersection_is_paid_for_by_every_holder(tmp_path: Path) -> None:
    everybody = holders(tmp_path, APART, method={"name": "adv", "release": "rows"})
    rows = asks.adversary_rows(everybody.auditors, JOINT, EVERYBODY, torch.full((N, 4), 0.5))
    assert rows.values.shape == (N, 4)
    for name, attribute in (("registry", "male"), ("clinic", "skin_tone")):
        assert everybody.planned(name) == [
            ("adversary_step", attribute, JOINT),
            ("adversary_rows", attribute, JOINT),
        ]


def responses_of(everybody: Holders) -> ResponseSource:
    """Memberships as the method rr has them."""
    y = torch.zeros(N, dtype=torch.int64)
    nothing: Any = None  # model and head have no part in it
    return ResponseSource(Training(y, 2, nothing, everybody.auditors, lambda: (y, y), nothing), y, 1)


@pytest.mark.parametrize("auditors", [APART, PARTS], ids=["apart", "parts"])
def test_randomised_answers_about_an_intersection_are_right_on_average(
    tmp_path: Path, auditors: list[dict[str, Any]]
) -> None:
    everybody = holders(tmp_path, auditors, method={"name": "rr"}, privacy={"epsilon": 8.0, "evaluation_epsilon": 1.0})
    assert everybody.auditors.attributes == ("male", "skin_tone", JOINT)
    source = responses_of(everybody)
    separate = [source.answers[name].numpy() for name in GROUPS]
    codes, correction = corrected([source.answers[name] for name in GROUPS], [2, 3], [8.0, 8.0])
    assert np.array_equal(codes.numpy(), joint_codes(separate, [2, 3]))
    expected = torch.nn.functional.one_hot(codes, 6).double() @ correction
    found = source.memberships[JOINT] + source.priors[JOINT][0]
    torch.testing.assert_close(found, expected)  # nobody is asked again
    for auditor in auditors:
        (attribute,) = auditor["attributes"]
        assert everybody.planned(auditor["name"]) == [("randomised_attributes", attribute, "")]
    truth = (CODES["male"] * 3 + CODES["skin_tone"])[:N]
    assert np.mean(codes.numpy() == truth) > 0.95  # at such an epsilon nearly all say the truth, in its place
    assert torch.allclose(correction.sum(1), torch.ones(6, dtype=torch.float64))
    again = responses_of(everybody)
    assert all(torch.equal(again.answers[name], source.answers[name]) for name in GROUPS)


def test_a_corrected_answer_is_unbiased() -> None:
    """The matrix takes away what two independent lies do, exactly."""
    _, correction = corrected([torch.zeros(1, dtype=torch.int64)] * 2, [2, 3], [0.7, 0.7])
    lies = np.kron(confusion(2, 0.7), confusion(3, 0.7))
    assert lies @ correction.numpy() == pytest.approx(np.eye(6), abs=1e-12)
