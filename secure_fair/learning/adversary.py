"""The auditor's adversary where it has only pictures of its own: a linear map from features to the attribute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secure_fair.learning.adversaries import unit_rows
from secure_fair.learning.lora import adapted, load_adapter_state
from secure_fair.learning.model import make_classifier
from secure_fair.learning.settings import ModelSettings
from secure_fair.learning.train import Labelled, TrainSettings, predict
from secure_fair.operations.common.adapters import Adapter
from secure_fair.operations.common.state import ADVERSARY_BALL
from secure_fair.privacy.dpsgd import PrivateSettings, PrivateTraining, Randomness, train_privately

WEIGHT_DECAY = 1e-3
# few steps of large secret batches: a linear map of unit rows needs no more
PRIVATE_EPOCHS = 10
PRIVATE_SAMPLE_RATE = 0.25
PRIVATE_LEARNING_RATE = 0.3


@dataclass(frozen=True)
class OwnAdversary:
    """Pictures of the auditor's own as tokens (m, T, d), and their group codes (m,)."""

    model: ModelSettings
    tokens: Tensor
    codes: Tensor
    groups: int
    settings: TrainSettings

    def train(
        self, adapter: Adapter | None, target: tuple[float, float] | None
    ) -> tuple[Tensor, PrivateTraining | None]:
        """Weights (width, 1 or G) in the adversary's ball, float64.

        ``adapter`` is the developer's, None for the frozen backbone; ``target``: (epsilon, delta) for adding or
        removing one picture, by DP-SGD, None for none.
        """
        classifier = make_classifier(self.model, self.groups, self.settings.seed, self.settings.device)
        if adapter is not None:
            load_adapter_state(adapted(classifier.backbone), adapter)
        features, _ = predict(classifier, Labelled(self.tokens, self.codes), self.settings)
        return train_linear(unit_rows(features), self.codes, self.groups, target)


def train_linear(
    rows: Tensor, codes: Tensor, groups: int, target: tuple[float, float] | None
) -> tuple[Tensor, PrivateTraining | None]:
    """Logistic regression of ``codes`` (m,) on unit ``rows`` (m, d), as ``OwnAdversary.train`` returns it.

    A row must depend on its own picture alone, or DP-SGD would not cover what others do to it: hence no centring.
    """
    linear = nn.Linear(rows.shape[1], groups, bias=False)
    nn.init.zeros_(linear.weight)
    done = None
    if target is None:
        optimiser = torch.optim.LBFGS(linear.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = nn.functional.cross_entropy(linear(rows), codes) + WEIGHT_DECAY * linear.weight.square().sum()
            value.backward()
            return value

        optimiser.step(loss)
    else:
        epsilon, delta = target
        private = PrivateSettings(
            epsilon=epsilon,
            delta=delta,
            epochs=PRIVATE_EPOCHS,
            sample_rate=PRIVATE_SAMPLE_RATE,
            learning_rate=PRIVATE_LEARNING_RATE,
        )
        done = train_privately(linear, linear, rows, codes, private, Randomness.from_system())
    weights = linear.weight.detach().double().T
    columns = weights[:, 1:] - weights[:, :1] if groups == 2 else weights
    return columns * min(1.0, 0.99 * ADVERSARY_BALL / max(float(columns.norm()), 1e-9)), done
