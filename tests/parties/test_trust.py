"""Releases that hold only against a developer that follows the protocol: refused unless the auditor says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from secure_fair.attacks.common.lies import lie_about_bits
from secure_fair.data.store import AuditorStore
from secure_fair.ids import as_text
from secure_fair.mpc.shares import from_share
from secure_fair.operations.common.ask import Ask
from secure_fair.parties.secure_auditors import SecureAuditors
from tests import asks
from tests.parties.company import APART, BOTH, Company, ended_company, program, tiny, with_policy
from tests.parties.test_misbehaviour import rogue

TRUST = {"developer": "follows the protocol"}
TRUST_ALL = {**TRUST, "auditors": "follow the protocol"}
PRIVACY = {"epsilon": 1.0, "evaluation_epsilon": 1.0}
PEOPLE = np.arange(200, dtype=np.int64)


def steer_the_adversary(auditors: SecureAuditors) -> None:
    """Give the adversary a weight where no feature is: rows are then (p - a) times as much as the noise is made for.

    The developer adds to its own share of the start alone; its features are within their bound, and proved to be.
    """
    session, state = auditors.session, auditors.state
    start = torch.tensor([[0], [session.scale << 14]], dtype=torch.int64)
    state.adversaries["male"] = from_share(start, session.scale)
    session.receive_opening = partial(_without_bound, session.receive_opening)  # type: ignore[method-assign]
    _guess(auditors)


def curious(auditors: SecureAuditors) -> None:
    """Keep to the protocol, with features within their bound, and look at what is opened."""
    auditors.session.receive_opening = partial(_without_bound, auditors.session.receive_opening)  # type: ignore[method-assign]
    _guess(auditors)


def shifting_auditor(arguments: list[str]) -> None:
    """Adds to its own share of the adversary of an attribute that another auditor holds."""
    from secure_fair.operations.common.state import SharedState

    honest = SharedState.adversary

    def adversary(self: SharedState, attribute: str, width: int) -> Any:
        shift = torch.tensor([[0], [self.session.scale << 14]])
        return from_share(honest(self, attribute, width).share + shift, self.session.scale)

    SharedState.adversary = adversary  # type: ignore[method-assign]
    program(arguments)


def _guess(auditors: SecureAuditors) -> None:
    features = torch.tensor([[0.9, 0.0]], dtype=torch.float64).repeat(len(PEOPLE), 1)
    rows = asks.adversary_rows(auditors, "male", PEOPLE, features)
    guesses = (rows.values[:, 1] < 0).long().tolist()
    raise SystemExit(f"guessed {json.dumps(dict(zip(as_text(auditors.people(PEOPLE)), guesses, strict=True)))}")


def rightly_guessed(said: str, holder: Path) -> float:
    """The part of the guesses that a developer printed which the holder's store agrees with."""
    guessed = json.loads(said[said.index("guessed ") + len("guessed ") :].splitlines()[0])
    truth = AuditorStore.open(holder).codes("male", list(guessed))
    return float(np.mean(truth == np.array(list(guessed.values()))))


def _without_bound(receive: Any, shared: Any, *, bound: float) -> Any:
    return receive(shared, bound=2.0**30)


@pytest.mark.parametrize("policy", [TRUST, {}], ids=["trusted", "by default"])
def test_a_lying_developer_reads_attributes_out_of_a_noised_adversary(
    tmp_path: Path, weights: Path, stores: Path, policy: Mapping[str, Any]
) -> None:
    """With trust the attack succeeds at epsilon 1; by default nothing of the kind is let out."""
    scenario = tiny(weights, method={"name": "adv", "release": "rows"}, privacy=PRIVACY, policy=policy)
    entries = {"developer": partial(rogue, steer_the_adversary)}
    with Company(scenario, stores, tmp_path, entries=entries) as company:
        ended = company.wait(100)
    said = ended["developer"].said
    if policy:
        assert rightly_guessed(said, stores / "auditor") > 0.99
        return
    assert (ended["auditor"].code, ended["developer"].code) == (4, 4)
    assert "adversary_step: protects attributes only from a developer that follows the protocol" in said
    assert 'give the scenario method.release = "moments"' in said
    lines = (tmp_path / "states" / "auditor" / "ledger" / "ledger.jsonl").read_text().splitlines()
    kinds = [(entry["kind"], entry.get("operation")) for entry in map(json.loads, lines)]
    assert ("refused", "adversary_step") in kinds
    assert not [kind for kind, _ in kinds if kind == "planned"]


@pytest.mark.parametrize("trusting", [("registry", "clinic"), ("registry",)], ids=["both", "one of two"])
def test_an_intersection_needs_the_word_of_every_holder(
    tmp_path: Path, weights: Path, trusting: tuple[str, ...]
) -> None:
    scenario = tiny(
        weights, data=BOTH, secure={"auditors": APART}, privacy=PRIVACY, policy=TRUST_ALL, train={"epochs": 1}
    )
    entries = {} if len(trusting) == 2 else {"clinic": partial(with_policy, "epsilon = 50\n")}
    _, ended = ended_company(scenario, tmp_path, entries)
    if len(trusting) == 2:
        assert {name: end.code for name, end in ended.items()} == dict.fromkeys(ended, 0)
        return
    assert ended["clinic"].code == 4
    assert "the intersection male x young: protects attributes only from" in ended["clinic"].said
    assert ended["developer"].code == 4


@pytest.mark.parametrize("policy", [TRUST_ALL, TRUST], ids=["all trusted", "the developer alone"])
def test_another_auditor_gives_the_developer_the_attributes_of_this_one(
    tmp_path: Path, weights: Path, policy: Mapping[str, Any]
) -> None:
    """By a shift of its own share of the adversary, at epsilon 1, with a developer that keeps to the protocol."""
    scenario = tiny(
        weights,
        data={"sensitive": ["male", "young"]},
        secure={"auditors": APART},
        method={"name": "adv", "release": "rows"},
        privacy=PRIVACY,
        policy=policy,
    )
    company, ended = ended_company(
        scenario, tmp_path, {"developer": partial(rogue, curious), "clinic": shifting_auditor}
    )
    if policy == TRUST_ALL:
        assert rightly_guessed(ended["developer"].said, company.stores / "registry") > 0.99
        return
    assert (ended["registry"].code, ended["developer"].code) == (4, 4)
    assert (
        "adversary_step: protects attributes only from other auditors that follow the protocol"
        in ended["registry"].said
    )


def multiplying_auditor(arguments: list[str]) -> None:
    """Commits to 2^8 for each of its people, to read another's attribute out of the intersection."""
    from secure_fair.operations.common import state

    honest = state.membership_matrix
    state.membership_matrix = lambda codes, groups, dtype: honest(codes, groups) << 8  # type: ignore[assignment]
    lie_about_bits()
    program(arguments)


def test_memberships_that_are_none_are_refused(tmp_path: Path, weights: Path) -> None:
    scenario = tiny(weights, data=BOTH, secure={"auditors": APART}, privacy=PRIVACY, policy=TRUST_ALL)
    entries = {"clinic": multiplying_auditor}
    company, ended = ended_company(scenario, tmp_path, entries)
    assert 4 in (ended["registry"].code, ended["developer"].code)
    assert "clinic has not proved that its input keeps to its bound" in ended["registry"].said + ended["developer"].said
    lines = (company.folder / "states" / "registry" / "ledger" / "ledger.jsonl").read_text().splitlines()
    assert [line for line in lines if json.loads(line)["kind"] == "planned"] == []


def count_people_twice(auditors: SecureAuditors) -> None:
    """Strata of which a record is in two, one of them a hundred times."""
    lie_about_bits()
    indicators = torch.zeros(len(PEOPLE), 2, dtype=torch.float64)
    indicators[:, 0], indicators[0, 1] = 1, 100
    auditors.release(Ask(operation="group_counts", attribute="male", width=2), PEOPLE, [indicators])


def test_counts_of_what_is_no_stratum_are_refused(tmp_path: Path, weights: Path, stores: Path) -> None:
    entries = {"developer": partial(rogue, count_people_twice)}
    with Company(tiny(weights, privacy=PRIVACY), stores, tmp_path, entries=entries) as company:
        ended = company.wait(100)
    assert (ended["auditor"].code, ended["developer"].code) == (4, 4)
    assert "developer has not proved" in ended["auditor"].said
