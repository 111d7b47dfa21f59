"""An auditor that is deployed, not simulated, lets out what its own file permits, whatever the scenario asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from secure_fair.privacy.accounting import gaussian_epsilon, gaussian_mu
from secure_fair.scenarios.schema import Scenario
from tests.parties.company import Company, Ended, Entry, program, tiny
from tests.parties.test_misbehaviour import ask, rogue
from tests.parties.test_row_bound import stretching_developer

LIMITED, EXACT = "epsilon = 3.0", "allow_exact = true"


WAITED_OUT = 10.0  # where one party does not even start, and the others have begun by then


@dataclass
class Deployment:
    """Runs one after the other on the same states."""

    stores: Path
    folder: Path
    policy: str
    developer: Entry = program
    auditor: Entry = program
    timeout: float = 30.0
    runs: int = field(default=0, init=False)

    @property
    def states(self) -> Path:
        return self.folder / "lasting"

    def run(self, scenario: Scenario) -> dict[str, Ended]:
        """How everybody ended."""
        self.runs += 1
        company = Company(
            scenario,
            self.stores,
            self.folder / f"run-{self.runs}",
            timeout=self.timeout,
            entries={"developer": self.developer, "auditor": self.auditor},
            simulated=False,
            policy=self.policy,
            states=self.states,
        )
        with company:
            return company.wait(100, without="dealer")

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """The auditor's ledger entries of one kind."""
        lines = (self.states / "auditor" / "ledger" / "ledger.jsonl").read_text().splitlines()
        return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


def codes(ended: dict[str, Ended]) -> tuple[int, int]:
    return ended["auditor"].code, ended["developer"].code


@pytest.mark.parametrize("policy", [LIMITED, EXACT])
def test_exact_releases_need_the_auditors_word(tmp_path: Path, weights: Path, stores: Path, policy: str) -> None:
    """The scenario's [policy] allows them, which is nothing to the auditor."""
    scenario = tiny(weights, train={"epochs": 1})
    assert scenario.policy.allow_exact
    deployment = Deployment(stores, tmp_path, policy)
    ended = deployment.run(scenario)
    planned = {entry["operation"] for entry in deployment.entries("planned")}
    if policy == EXACT:  # unprotected: everything comes
        assert codes(ended) == (0, 0), ended
        assert planned == {"group_counts", "moment", "evaluation_counts"}
        assert all(entry["sigma"] is None for entry in deployment.entries("planned"))
        assert "EXACT" in ended["auditor"].said
        return
    assert codes(ended) == (4, 4), ended
    assert planned == set()
    assert deployment.entries("opened") == []
    refused = deployment.entries("refused")
    assert [entry["operation"] for entry in refused] == ["group_counts", "moment", "evaluation_counts"]
    reason = "exact releases are planned (group_counts, moment, evaluation_counts of male)"
    for text in (*(entry["reason"] for entry in refused), ended["auditor"].said, ended["developer"].said):
        assert reason in text
        assert "allow_exact = true" in text
    assert "Traceback" not in ended["auditor"].said + ended["developer"].said


def test_an_exact_training_on_own_pictures_needs_it_too(tmp_path: Path, weights: Path, stores: Path) -> None:
    """What is opened is post-processing, and costs nothing: the training that it is made from is exact."""
    scenario = tiny(weights, method={"name": "unl"}, train={"epochs": 1})
    deployment = Deployment(stores, tmp_path, LIMITED)
    assert codes(deployment.run(scenario)) == (4, 4)
    assert "sensitive_training" in {entry["operation"] for entry in deployment.entries("refused")}
    assert deployment.entries("planned") == []


@pytest.mark.parametrize("policy", ["epsilon = 1.2", EXACT])
def test_runs_add_up_to_the_limit_for_life(tmp_path: Path, weights: Path, stores: Path, policy: str) -> None:
    privacy = {"epsilon": 1.0, "reserve_releases": 0}
    scenario = tiny(weights, privacy=privacy, train={"epochs": 1})
    deployment = Deployment(stores, tmp_path, policy)
    ends = [deployment.run(scenario) for _ in range(3 if policy == EXACT else 2)]
    costs = [entry["charge"]["mu2"] for entry in deployment.entries("planned")]
    spent = gaussian_epsilon(float(np.sqrt(sum(costs))), 1e-5)
    assert codes(ends[0]) == (0, 0), ends[0]
    assert "male: spent for life so far: epsilon 0" in ends[0]["auditor"].said
    if policy == EXACT:  # unprotected: each run keeps its own epsilon, and nobody adds them up
        assert [codes(ended) for ended in ends[1:]] == [(0, 0), (0, 0)]
        assert spent == pytest.approx(gaussian_epsilon(3**0.5 * gaussian_mu(1.0, 1e-5), 1e-5), rel=1e-6)
        assert spent == pytest.approx(1.83, abs=0.01)
        return
    assert codes(ends[1]) == (3, 3), ends[1]
    assert spent == pytest.approx(1.0, rel=1e-6)
    assert "male: spent for life so far: epsilon 1 of 1.2" in ends[1]["auditor"].said
    for party in ("auditor", "developer"):
        assert "from epsilon 1 to 1.4" in ends[1][party].said
        assert "the policy's epsilon for life is 1.2" in ends[1][party].said
    assert {entry["operation"] for entry in deployment.entries("refused")} == {"group_counts", "moment"}


def few(auditors: Any) -> None:
    """Ask about 40 records."""
    ask(auditors, np.arange(40, dtype=np.int64), torch.full((40, 2), 0.5))
    raise SystemExit(0)


@pytest.mark.parametrize("minimum", [64, 1])
def test_the_scenario_cannot_lower_the_minimum_batch(tmp_path: Path, weights: Path, stores: Path, minimum: int) -> None:
    scenario = tiny(weights, privacy={"epsilon": 1.0}, policy={"minimum_batch": 1})
    deployment = Deployment(stores, tmp_path, f"{LIMITED}\nminimum_batch = {minimum}", partial(rogue, few))
    ended = deployment.run(scenario)
    if minimum == 1:
        assert [entry["count"] for entry in deployment.entries("planned")] == [40]
        return
    assert codes(ended) == (4, 4)
    assert "40 records: the policy's minimum_batch is 64" in ended["developer"].said
    assert deployment.entries("planned") == []


TRUSTING = {"developer": "follows the protocol", "row_bounds": "trust"}


@pytest.mark.parametrize("bounds", ["check", "trust"])
def test_the_scenario_cannot_have_rows_trusted(tmp_path: Path, weights: Path, stores: Path, bounds: str) -> None:
    scenario = tiny(weights, privacy={"epsilon": 1.0}, policy=TRUSTING, train={"epochs": 1})
    word = 'developer = "follows the protocol"' if bounds == "trust" else ""
    policy = f'{LIMITED}\n{word}\nrow_bounds = "{bounds}"'
    deployment = Deployment(stores, tmp_path, policy, stretching_developer)
    ended = deployment.run(scenario)
    moments = [entry for entry in deployment.entries("planned") if entry["operation"] == "moment"]
    assert codes(ended) == ((0, 0) if bounds == "trust" else (4, 4)), ended
    assert bool(moments) == (bounds == "trust")


def test_an_operation_that_is_not_permitted_is_refused_before_anything_is_spent(
    tmp_path: Path, weights: Path, stores: Path
) -> None:
    scenario = tiny(weights, privacy={"epsilon": 1.0}, policy={"operations": ["group_counts", "moment"]})
    deployment = Deployment(stores, tmp_path, f'{LIMITED}\noperations = ["group_counts"]')
    ended = deployment.run(scenario)
    assert codes(ended) == (4, 4)
    assert "operation 'moment' is planned and not in the policy's operations (group_counts)" in ended["developer"].said
    assert [entry["operation"] for entry in deployment.entries("refused")] == ["moment"]
    assert deployment.entries("planned") == []


def test_an_auditor_without_a_policy_does_not_start(tmp_path: Path, weights: Path, stores: Path) -> None:
    ended = Deployment(stores, tmp_path, "", timeout=WAITED_OUT).run(tiny(weights, privacy={"epsilon": 1.0}))
    assert ended["auditor"].code == 2
    assert "--policy FILE: is missing" in ended["auditor"].said
    assert "secure-fair policy init FILE" in ended["auditor"].said
    assert "auditor: it has stopped: stopped by UsageError" in ended["developer"].said  # and not that it never came
    assert not (tmp_path / "lasting" / "auditor").exists()


def mistyped(arguments: list[str]) -> None:
    """A party whose state folder is not the one that it had."""
    arguments[arguments.index("--state") + 1] += "s"
    program([word for word in arguments if word != "--new-state"])


@pytest.mark.parametrize("party", ["auditor", "developer"])
def test_a_new_state_is_never_begun_by_a_wrong_path(tmp_path: Path, weights: Path, stores: Path, party: str) -> None:
    deployment = Deployment(stores, tmp_path, LIMITED, timeout=WAITED_OUT, **{party: mistyped})
    ended = deployment.run(tiny(weights, privacy={"epsilon": 1.0}))[party]
    assert ended.code == 2
    assert "holds no ledger" in ended.said
    assert "--new-state" in ended.said
    assert not (deployment.states / f"{party}s").exists()
