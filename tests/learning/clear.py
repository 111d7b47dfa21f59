"""An auditor in the clear behind a real gate, and a tiny model, for the tests of methods and training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from secure_fair.ids import as_ids
from secure_fair.learning.lora import adapt
from secure_fair.learning.methods import METHODS
from secure_fair.learning.sensitive import Sensitive
from secure_fair.learning.settings import Backbone, Lora, MethodSettings, ModelSettings, TrainingLoop
from secure_fair.learning.train import Classifier, TrainSettings
from secure_fair.operations import RULES
from secure_fair.parties.config import RunConfig
from secure_fair.parties.enrolment import Enrolment
from secure_fair.parties.holdings import Holdings
from secure_fair.parties.plain_auditors import PlainAuditors
from secure_fair.parties.plans import plan_for
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SeededNoise
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.release_cache import ReleaseCache
from secure_fair.privacy.target import Privacy
from secure_fair.randomness import PRG

from timm.models.vision_transformer import VisionTransformer  # isort: skip

BITS = 16
WIDTH = 16  # of the tiny model's features
BLOCKS = 2
TOKENS = 5
NOBODY = MethodSettings(name="erm")


@dataclass(frozen=True)
class People:
    """An auditor that answers for everybody, and the ledger that it writes."""

    auditors: PlainAuditors
    ledger: Ledger

    def opened(self) -> list[str]:
        """The operations of all releases so far, in order."""
        return [entry["operation"] for entry in self.ledger.entries() if entry["kind"] == "planned"]


def people(
    folder: Path,
    method: MethodSettings,
    codes: Mapping[str, np.ndarray],
    groups: Mapping[str, int],
    *,
    epochs: int = 1,
    batch_size: int = 32,
    minimum_batch: int = 2,
    epsilon: float | None = None,
    evaluation_epsilon: float | None = None,
    sensitive: Mapping[str, Sensitive] | None = None,
    test: int = 0,
) -> People:
    """``codes`` (n,) and the number of groups by attribute, the last ``test`` of them of test records.

    The plan is that of ``method``.
    """
    records = len(next(iter(codes.values())))
    ids = [f"{number:032x}" for number in range(records)]
    config = RunConfig(
        seed=0,
        developer="developer",
        dealer="dealer",
        auditors=("auditor",),
        holders=dict.fromkeys(codes, ("auditor",)),
        model=ModelSettings(Backbone(), Lora(), 16),
        train=TrainingLoop(epochs=epochs, batch_size=batch_size),
        method=METHODS[method.name].resolved(method),
        precision_bits=BITS,
        privacy=None if epsilon is None else Privacy(epsilon=epsilon, evaluation_epsilon=evaluation_epsilon),
        penalised=tuple(codes),
    )
    ledger = Ledger(folder / "ledger", "auditor", simulated=True)
    gate = Gate(
        auditor="auditor",
        run="test",
        ids=ids,
        training=records - test,
        known=ids,
        plans={name: plan_for(config, name, groups[name], records) for name in codes},
        rules=RULES,
        policy=Policy(
            developer="follows the protocol",
            auditors="follow the protocol",
            minimum_batch=minimum_batch,
            allow_exact=epsilon is None,
        ),
        ledger=ledger,
        noise=SeededNoise(1),  # the same in every run of the tests
    )
    for name in sensitive or {}:
        gate.account_training(name, ["own record"], operation="sensitive_training", epsilon=None, delta=0.0)
    responses = Responses(folder / "responses", PRG(bytes(32)))
    named = {name: tuple(f"group {code}" for code in range(groups[name])) for name in codes}
    adapters = {name: trained.adapter for name, trained in (sensitive or {}).items()}
    holder = Holdings(config, gate, named, codes, responses, adapters)
    enrolment = Enrolment(as_ids(ids), named, holder.adapter_shapes, {})
    cache = ReleaseCache(folder / "told", terms=f"{evaluation_epsilon}")
    return People(PlainAuditors(config, {"auditor": holder}, enrolment, cache), ledger)


def classifier(classes: int = 2, seed: int = 0, rank: int = 2) -> Classifier:
    """A transformer of width 16 with random weights, always the same, adapted in both of its blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        vit = VisionTransformer(img_size=16, patch_size=8, embed_dim=WIDTH, depth=BLOCKS, num_heads=2, num_classes=0)
    vit.eval().requires_grad_(False)
    return Classifier(adapt(vit, rank, 2.0 * rank, seed=seed), WIDTH, classes, seed)


def settings(**changes: object) -> TrainSettings:
    """Two epochs of batches of 32 in float32."""
    values = {
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "weight_decay": 0.01,
        "warmup": 0.1,
        "seed": 0,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
    }
    return TrainSettings(**{**values, **changes})  # type: ignore[arg-type]
