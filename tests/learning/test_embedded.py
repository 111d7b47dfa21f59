"""The backbone that ships with the package: it is there, says where it comes from, and its features are of use."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from secure_fair.data import faces
from secure_fair.learning.backbone import EMBEDDED_NAME, EMBEDDED_PATH, load_backbone
from secure_fair.learning.lora import adapt, features
from secure_fair.learning.prefix import fast_dtype, first_block, frozen_prefix, suffix


@pytest.fixture(scope="module")
def portraits() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Portraits of a scenario's kind of seed: none that the backbone was trained on."""
    return faces.draw(1800, 0)


@pytest.fixture(scope="module")
def pooled(portraits: tuple[np.ndarray, dict[str, np.ndarray]]) -> np.ndarray:
    """Features (1800, 128) of the portraits, without any adapter."""
    vit = load_backbone(EMBEDDED_NAME, "embedded", 64)
    tokens = frozen_prefix(vit, portraits[0], 1, compute=fast_dtype("cpu"))
    with torch.inference_mode():
        return suffix(vit, tokens, first_block(vit, 1)).numpy()


def test_the_file_is_small_and_says_how_it_was_made() -> None:
    assert EMBEDDED_PATH.stat().st_size <= 6 * 2**20
    with safe_open(EMBEDDED_PATH, "pt") as file:
        metadata = file.metadata()
    assert metadata["name"] == EMBEDDED_NAME
    assert not set(json.loads(metadata["tasks"])) & {"male", "smiling", "wavy_hair"}
    scores = json.loads(metadata["held_out_scores"])
    assert min(scores[task] for task in ("eyeglasses", "hat", "skin_tone", "blond_hair")) > 0.8


@pytest.mark.parametrize("size", [64, 32, 96])
def test_it_loads_at_several_sizes(size: int) -> None:
    vit = load_backbone(EMBEDDED_NAME, "embedded", size)
    pictures, _ = faces.draw(2, 0, size=size)
    tokens = frozen_prefix(vit, pictures, 2)
    assert tokens.shape == (2, (size // 8) ** 2, 128)
    assert suffix(vit, tokens, 4).shape == (2, vit.num_features)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attribute", "least"), [("male", 0.95), ("eyeglasses", 0.92), ("wavy_hair", 0.92), ("smiling", 0.9)]
)
def test_features_tell_attributes_linearly(
    portraits: tuple[np.ndarray, dict[str, np.ndarray]], pooled: np.ndarray, attribute: str, least: float
) -> None:
    """As those of any backbone trained on pictures: this is what a user may protect or predict."""
    codes = portraits[1][attribute]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))
    probe.fit(pooled[:1200], codes[:1200])
    assert roc_auc_score(codes[1200:], probe.predict_proba(pooled[1200:])[:, 1]) > least


@pytest.mark.slow
def test_light_fine_tuning_learns_a_task_it_was_not_made_for(
    portraits: tuple[np.ndarray, dict[str, np.ndarray]],
) -> None:
    pictures, codes = portraits
    labels = torch.from_numpy(codes["wavy_hair"])
    vit = load_backbone(EMBEDDED_NAME, "embedded", 64)
    dtype = fast_dtype("cpu")
    tokens = frozen_prefix(vit, pictures, 2, dtype=dtype)
    torch.manual_seed(0)
    model, head = adapt(vit, 8, 16, last_blocks=2), torch.nn.Linear(128, 2)
    trainable = [p for p in [*model.parameters(), *head.parameters()] if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=1e-3)

    def logits(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found = features(model, tokens[batch])
        return head(found.float())

    for _ in range(3):
        for batch in torch.randperm(1200).split(50):
            loss = functional.cross_entropy(logits(batch), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.inference_mode():
        accuracy = (logits(torch.arange(1200, 1800)).argmax(1) == labels[1200:]).float().mean()
    assert accuracy > 0.85  # the larger class has 0.58
