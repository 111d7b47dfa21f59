"""The auditor's sensitive adapter: trained by the auditor on its own pictures to predict the attribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from secure_fair.learning.lora import adapted, adapter_state
from secure_fair.learning.methods import make_method
from secure_fair.learning.model import make_classifier
from secure_fair.learning.settings import MethodSettings, ModelSettings
from secure_fair.learning.train import Classifier, Labelled, TrainSettings, predict, train
from secure_fair.operations.common.adapters import Adapter
from secure_fair.privacy.dpsgd import PrivateSettings, PrivateTraining, Randomness, train_privately

# large secret batches and few steps: what DP-SGD of a small adapter wants
PRIVATE_EPOCHS = 10
PRIVATE_SAMPLE_RATE = 0.2
PRIVATE_LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Sensitive:
    """An adapter that predicts an attribute, and how well it does on the records that it was trained on."""

    adapter: Adapter
    accuracy: float


class _Nobody:
    """The sensitive adapter is trained without anybody's help."""

    attributes: tuple[str, ...] = ()


def train_sensitive(
    model: ModelSettings,
    tokens: Tensor,
    codes: Tensor,
    groups: int,
    settings: TrainSettings,
    kept: Path | None = None,
) -> Sensitive:
    """Train adapter and head on tokens (n, T, d) and group codes (n,); the head is thrown away.

    ``kept``: a folder in which ``train`` looks first.
    """
    classifier = make_classifier(model, groups, settings.seed, settings.device)
    alone = make_method(MethodSettings(name="erm"))
    history = train(classifier, Labelled(tokens, codes), alone, _Nobody(), settings, kept=kept)  # type: ignore[arg-type]
    return Sensitive(_state(classifier), history[-1].accuracy)


def train_sensitive_privately(
    model: ModelSettings,
    tokens: Tensor,
    codes: Tensor,
    groups: int,
    settings: TrainSettings,
    target: tuple[float, float],
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Sensitive, PrivateTraining]:
    """The same with DP-SGD, so that (epsilon, delta) = ``target`` holds for adding or removing one record."""
    classifier = make_classifier(model, groups, settings.seed, settings.device)
    done = train_privately(
        classifier,
        lambda inputs: classifier(inputs)[1],
        tokens.float(),
        codes,
        private_settings(*target),
        Randomness.from_system(),
        on_step=on_step,
    )
    _, probabilities = predict(classifier, Labelled(tokens, codes), settings)
    accuracy = float((probabilities.argmax(1) == codes).double().mean())
    return Sensitive(_state(classifier), accuracy), done


def private_settings(epsilon: float, delta: float) -> PrivateSettings:
    """DP-SGD of a sensitive adapter that spends this."""
    return PrivateSettings(
        epsilon=epsilon,
        delta=delta,
        epochs=PRIVATE_EPOCHS,
        sample_rate=PRIVATE_SAMPLE_RATE,
        learning_rate=PRIVATE_LEARNING_RATE,
    )


def _state(classifier: Classifier) -> Adapter:
    return {
        name: (a.detach().float().cpu().clone(), b.detach().float().cpu().clone())
        for name, (a, b) in adapter_state(adapted(classifier.backbone)).items()
    }
