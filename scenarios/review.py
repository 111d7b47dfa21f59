"""The review of a scenario: the library's attacks, at what it asks for, without its data."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from parties.plans import training_releases
from parties.rehearsal import meet, rehearse
from scenarios import assemble
from scenarios.progress import Reporter
from scenarios.schema import Scenario
from secure_fair.attacks import ATTACKS, finding
from secure_fair.attacks.common.attack import Context, Terms
from secure_fair.errors import ClaimFails, UsageError
from secure_fair.sections import listed, near

DEMO = ("mask_recovery", "reconstruction", "packing", "dealer_and_developer")
GROUPS = 2  # of the attribute that is attacked


def terms_of(scenario: Scenario) -> Terms:
    """The promise of a scenario about one attribute by itself; UsageError where it is exact and promises nothing."""
    privacy, config = scenario.privacy, assemble.run_config(scenario)
    if privacy is None or privacy.epsilon is None:
        raise UsageError(
            f"privacy.epsilon: {scenario.name} has none, and exact releases promise nothing that an attack could "
            "refute; give one, for instance -o privacy.epsilon=1"
        )
    releases = training_releases(config, GROUPS, scenario.train.batch_size)
    return Terms(
        epsilon=privacy.epsilon,
        evaluation_epsilon=privacy.evaluation_epsilon or privacy.epsilon,
        delta=privacy.delta,
        participations=max((kind.participations for kind in releases if kind.sensitivity > 0), default=1),
        reserve=privacy.reserve_releases,
        precision_bits=scenario.secure.precision_bits,
    )


def chosen(only: Sequence[str]) -> list[str]:
    """The attacks of these names, all without any; UsageError for one that there is not."""
    problems = [
        f"--only {name}: is no attack; known: {listed(list(ATTACKS))}{near(name, list(ATTACKS))}"
        for name in only
        if name not in ATTACKS
    ]
    if problems:
        raise UsageError(problems)
    return [name for name in ATTACKS if name in only or not only]


def review(scenario: Scenario, attacks: Sequence[str], follow: Reporter, *, seed: int) -> dict[str, Any]:
    """Run these attacks one after the other; what they found, JSON-ready."""
    terms, began = terms_of(scenario), time.monotonic()
    context, findings = Context(terms, rehearse, meet, seed=seed), []
    for done, name in enumerate(attacks):
        follow.stage(f"{name}: {ATTACKS[name].claim}")
        follow.progress("attacks", done, len(attacks))
        findings.append(finding(name, context).tree())
    follow.progress("attacks", len(attacks), len(attacks))
    return {
        "scenario": scenario.name,
        "hash": scenario.hash(),
        "version": importlib.metadata.version("secure-fair"),
        "seed": seed,
        "terms": asdict(terms),
        "seconds": time.monotonic() - began,
        "findings": findings,
    }


def check(found: Mapping[str, Any], fail_on: str) -> None:
    """ClaimFails where a claim fails, for ``fail_on`` "blind" also where an attack shows nothing; "never" is none."""
    bad = {"fails": ("FAILS",), "blind": ("FAILS", "blind"), "never": ()}[fail_on]
    named = [f"{one['name']} {one['verdict']} ({one['claim']})" for one in found["findings"] if one["verdict"] in bad]
    if named:
        raise ClaimFails("; ".join(named))
