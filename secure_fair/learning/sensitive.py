"""The auditor's sensitive adapter: trained by the auditor on its own pictures to predict the attribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from secure_fair.learning.lora import adapted, adapter_state
from secure_fair.learning.method import Method
from secure_fair.learning.model import make_classifier
from secure_fair.learning.settings import MethodSettings, ModelSettings
from secure_fair.learning.train import Classifier, EpochRecord, Labelled, TrainSettings, predict, train
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
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> Sensitive:
    """Train adapter and head on tokens (n, T, d) and group codes (n,); the head is thrown away."""
    classifier = make_classifier(model, groups, settings.seed, settings.device)
    alone = Method(MethodSettings(name="erm"))
    labelled = Labelled(tokens, codes)
    history = train(classifier, labelled, alone, _Nobody(), settings, on_epoch=on_epoch)  # type: ignore[arg-type]
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
    epsilon, delta = target
    private = PrivateSettings(
        epsilon=epsilon,
        delta=delta,
        epochs=PRIVATE_EPOCHS,
        sample_rate=PRIVATE_SAMPLE_RATE,
        learning_rate=PRIVATE_LEARNING_RATE,
    )
    done = train_privately(
        classifier,
        lambda inputs: classifier(inputs)[1],
        tokens.float(),
        codes,
        private,
        Randomness.from_system(),
        on_step=on_step,
    )
    _, probabilities = predict(classifier, Labelled(tokens, codes), settings)
    accuracy = float((probabilities.argmax(1) == codes).double().mean())
    return Sensitive(_state(classifier), accuracy), done


def _state(classifier: Classifier) -> Adapter:
    return {
        name: (a.detach().float().cpu().clone(), b.detach().float().cpu().clone())
        for name, (a, b) in adapter_state(adapted(classifier.backbone)).items()
    }
