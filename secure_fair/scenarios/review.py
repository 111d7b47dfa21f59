"""The review of a scenario: the library's attacks, at what it asks for, without its data."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import secure_fair
from secure_fair.attacks import ATTACKS, finding
from secure_fair.attacks.common.attack import AttackTerms, Context
from secure_fair.errors import ClaimFails, UsageError
from secure_fair.files import private_folder, write_bytes
from secure_fair.parties.plans import training_releases
from secure_fair.parties.rehearsal import meet, rehearse
from secure_fair.scenarios import assemble
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.sections import near

DEMO = ("mask_recovery", "reconstruction", "packing", "dealer_and_developer")
GROUPS = 2  # of the attribute that is attacked


def terms_of(scenario: Scenario) -> AttackTerms:
    """The promise of a scenario about one attribute by itself; UsageError where it is exact and promises nothing."""
    privacy, config = scenario.privacy, assemble.run_config(scenario)
    if privacy is None or privacy.epsilon is None:
        raise UsageError(
            f"privacy.epsilon: {scenario.name} has none, and exact releases promise nothing that an attack could "
            "refute; give one, for instance -o privacy.epsilon=1"
        )
    releases = training_releases(config, GROUPS, scenario.train.batch_size)
    return AttackTerms(
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
        f"--only {name}: is none of the {len(ATTACKS)} attacks that secure-fair review --list has{near(name, ATTACKS)}"
        for name in only
        if name not in ATTACKS
    ]
    if problems:
        raise UsageError(problems)
    return [name for name in ATTACKS if name in only or not only]


def review(
    scenario: Scenario, attacks: Sequence[str], follow: Reporter, *, seed: int, kept: Path | None = None
) -> dict[str, Any]:
    """Run these attacks one after the other; what they found, JSON-ready.

    ``kept``: a folder where each finding is kept as soon as it is there; what a review with the same program, terms and
    seed has left there is taken from it.
    """
    terms, began = terms_of(scenario), time.monotonic()
    context, findings = Context(terms, rehearse, meet, seed=seed), []
    for done, name in enumerate(attacks):
        follow.stage(f"{name}: {ATTACKS[name].claim}")
        follow.progress("attacks", done, len(attacks))
        findings.append(_kept_or_found(name, context, kept))
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


def _kept_or_found(name: str, context: Context, folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return finding(name, context).tree()
    about = json.dumps([name, asdict(context.terms), context.seed, program()])
    file = folder / f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"
    if file.is_file():
        try:
            return {**json.loads(file.read_bytes()), "kept": True}
        except ValueError:  # not written by this program, which leaves whole files
            file.unlink()
    found = {**finding(name, context).tree(), "kept": False}
    private_folder(folder)
    for left in folder.glob(f"{name}-*.json"):
        left.unlink()
    write_bytes(file, json.dumps(found).encode())
    return found


@cache
def program() -> str:
    """A digest of the program that is attacked: every source file of the protocol and of the attacks."""
    digest = hashlib.sha256(f"{sys.version} {torch.__version__} {np.__version__}".encode())
    root = Path(secure_fair.__path__[0])
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)} {len(file.read_bytes())}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def check(found: Mapping[str, Any], fail_on: str) -> None:
    """ClaimFails where a claim fails, for ``fail_on`` "blind" also where an attack shows nothing; "never" is none."""
    bad = {"fails": ("FAILS",), "blind": ("FAILS", "blind"), "never": ()}[fail_on]
    named = [f"{one['name']} {one['verdict']} ({one['claim']})" for one in found["findings"] if one["verdict"] in bad]
    if named:
        raise ClaimFails("; ".join(named))
