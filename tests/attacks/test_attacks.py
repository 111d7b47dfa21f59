"""Every attack wins on its unprotected twin and no more than was promised here; builds with a flaw are found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parties.rehearsal import rehearse
from secure_fair import attacks
from secure_fair.attacks import ATTACKS, finding
from secure_fair.attacks.common.attack import Attack, Ceiling, Context, Finding, Outcome, Terms, Won
from secure_fair.mpc.authenticated import VerifiersCheck
from secure_fair.privacy import ledger
from secure_fair.privacy.budgets import Budgets
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.noise import SystemNoise
from secure_fair.privacy.randomised_response import Responses, respond
from secure_fair.privacy.request import Grant
from secure_fair.randomness import PRG

TERMS = Terms(epsilon=1.0, evaluation_epsilon=1.0, delta=1e-5, participations=4)
CONTEXT = Context(TERMS, rehearse)
Patch = pytest.MonkeyPatch


def test_every_file_is_an_attack() -> None:
    files = {file.stem for file in Path(attacks.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(ATTACKS) == files
    assert len(files) >= 11


@pytest.mark.parametrize("name", ATTACKS)
def test_it_wins_on_its_twin_and_no_more_than_was_promised_here(name: str) -> None:
    found = finding(name, CONTEXT)
    assert found.twin.beyond(found.ceiling)
    assert not found.ours.beyond(found.ceiling)
    assert found.verdict == "holds"


@pytest.mark.parametrize("name", ["moment_neighbours", "count_neighbours"])
def test_worst_case_neighbours_prove_half_of_what_is_claimed(name: str) -> None:
    found = finding(name, replace(CONTEXT, trials=40_000))
    assert 0.5 * found.ceiling.mu < found.ours.mu <= found.ceiling.mu


# builds with a flaw


def halved_noise(patch: Patch) -> None:
    drawn = SystemNoise.gaussian
    patch.setattr(SystemNoise, "gaussian", lambda self, sigma, count: drawn(self, max(sigma // 2, 1), count))


def no_heed_of_the_proof(patch: Patch) -> None:
    patch.setattr(VerifiersCheck, "holds", lambda *_: True)


def no_proof_asked_for(patch: Patch) -> None:
    patch.setattr(Gate, "checks_rows", lambda *_: False)


def no_budget(patch: Patch) -> None:
    patch.setattr(Budgets, "check", lambda *_: None)


def no_memory_of_answers(patch: Patch) -> None:
    def answer(self: Responses, grant: Grant, ids: Any, places: Any, codes: np.ndarray, groups: int) -> np.ndarray:
        return respond(codes, groups, grant.charge.epsilon or TERMS.epsilon, self._source)

    patch.setattr(Responses, "answer", answer)


def masks_of_torch(patch: Patch) -> None:
    patch.setattr(PRG, "ring", lambda self, size: torch.randint(-(2**63), 2**63 - 1, tuple(size), dtype=torch.long))


def no_look_at_hashes(patch: Patch) -> None:
    patch.setattr(ledger, "_verified_end", lambda directory: (0, ""))


FLAWS: list[tuple[Callable[[Patch], None], str]] = [
    (halved_noise, "moment_neighbours"),
    (halved_noise, "count_neighbours"),
    (halved_noise, "averaging"),
    (no_heed_of_the_proof, "packing"),
    (no_proof_asked_for, "packing"),
    (no_memory_of_answers, "responses"),
    (masks_of_torch, "mask_recovery"),
    (no_look_at_hashes, "ledger_changes"),
]


@pytest.mark.parametrize(("flaw", "name"), FLAWS, ids=[f"{flaw.__name__}-{name}" for flaw, name in FLAWS])
def test_a_flaw_is_found_out(monkeypatch: Patch, flaw: Callable[[Patch], None], name: str) -> None:
    flaw(monkeypatch)
    assert finding(name, CONTEXT).verdict == "FAILS"


def test_a_budget_that_nobody_checks_is_found_out(monkeypatch: Patch) -> None:
    no_budget(monkeypatch)
    terms = replace(TERMS, epsilon=3.0)  # which takes fewer trials
    assert finding("averaging", replace(CONTEXT, terms=terms, trials=1600)).verdict == "FAILS"


def test_halved_noise_is_found_out_at_epsilon_3(monkeypatch: Patch) -> None:
    halved_noise(monkeypatch)
    terms = replace(TERMS, epsilon=3.0, evaluation_epsilon=3.0)
    assert finding("moment_neighbours", replace(CONTEXT, terms=terms)).verdict == "FAILS"


# the verdict


class Fixed(Attack):
    """An attack whose yield is known."""

    claim, view, needs, twin = "a claim", "developer", "nothing", "a twin"


@pytest.mark.parametrize(
    ("ours", "twin", "verdict"), [(0, 100, "holds"), (1, 100, "FAILS"), (0, 0, "blind"), (100, 0, "FAILS")]
)
def test_the_verdict_goes_by_both_halves(ours: int, twin: int, verdict: str) -> None:
    assert Finding.of("fixed", Fixed(), Outcome.counted(ours, twin, 100, most=0.0)).verdict == verdict


def test_a_share_that_chance_explains_is_not_beyond_the_ceiling() -> None:
    ceiling = Ceiling(0.5)
    assert not Won.counted(540, 1000).beyond(ceiling)
    assert Won.counted(600, 1000).beyond(ceiling)


def test_what_a_finding_says_is_ready_for_json() -> None:
    tree = finding("mask_recovery", CONTEXT).tree()
    assert json.loads(json.dumps(tree)) == tree
    assert tree["twin"]["share"] == 1.0
