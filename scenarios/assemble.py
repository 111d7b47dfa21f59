"""From a scenario to the plain values that the parties work with."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from parties.config import Endpoint, PrivacyTarget, RunConfig, Training
from scenarios.schema import Scenario
from secure_fair.learning.settings import MethodSettings, ModelSettings
from secure_fair.mpc.transport import Credentials, LinkSettings
from secure_fair.privacy.policy import Policy

DEVELOPER = "developer"
DEALER = "dealer"
AGREED_VERSIONS = ("secure-fair", "torch", "crypten")


def run_config(scenario: Scenario) -> RunConfig:
    """What all parties of the scenario must have in common."""
    method, train, lora, privacy = scenario.method, scenario.train, scenario.lora, scenario.privacy
    return RunConfig(
        seed=scenario.seed,
        developer=DEVELOPER,
        dealer=DEALER,
        auditors=tuple(auditor.name for auditor in scenario.secure.auditors),
        holders={
            attribute: tuple(auditor.name for auditor in scenario.secure.auditors if attribute in auditor.attributes)
            for attribute in scenario.data.sensitive
        },
        model=ModelSettings(
            backbone=scenario.backbone.name,
            weights=scenario.backbone.weights,
            image_size=scenario.data.image_size,
            rank=lora.rank,
            alpha=lora.alpha,
            targets=tuple(lora.targets),
            last_blocks=lora.last_blocks,
        ),
        training=Training(
            epochs=train.epochs,
            batch_size=train.batch_size,
            learning_rate=train.learning_rate,
            weight_decay=train.weight_decay,
            warmup=train.warmup,
            precision=train.precision,
            device=train.device,
        ),
        method=MethodSettings(
            name=method.name,
            release=method.release,
            strength=method.strength,
            components=method.components,
            ramp_epochs=method.ramp,
            sensitive_scale=method.sensitive_scale,
            orthogonality=method.orthogonality or "weights",
            target_gap=method.target_gap,
            own_records=scenario.data.auditor_records == "own",
            adversary_features=method.adversary_features,
        ),
        precision_bits=scenario.secure.precision_bits,
        privacy=None
        if privacy is None
        else PrivacyTarget(privacy.epsilon, privacy.delta, privacy.evaluation_epsilon, privacy.reserve_releases),
        parted=tuple(auditor.name for auditor in scenario.secure.auditors if auditor.records is not None),
        intersections=scenario.data.joint_attributes,
        penalised=scenario.penalised,
    )


def policy(scenario: Scenario, file: Path | None) -> Policy:
    """The auditor's rules: its own file where it has one, else the scenario's ``[policy]``."""
    if file is not None:
        return Policy.load(file)
    return Policy(minimum_batch=scenario.policy.minimum_batch, clip=scenario.policy.clip)


def agreement(scenario: Scenario) -> dict[str, str]:
    """What every pair of parties compares before anything else."""
    versions = {f"version of {name}": importlib.metadata.version(name).split("+")[0] for name in AGREED_VERSIONS}
    return {"scenario": scenario.hash(), **versions}


def endpoint(
    scenario: Scenario, credentials: Credentials, listen: str, peers: dict[str, str], *, timeout: float, simulated: bool
) -> Endpoint:
    """Where a party stands in this scenario."""
    link = LinkSettings(scenario.link.latency_ms, scenario.link.bandwidth_mbps)
    return Endpoint(credentials, listen, peers, agreement(scenario), timeout=timeout, link=link, simulated=simulated)
