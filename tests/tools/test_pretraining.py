"""The training of the shipped backbone: it comes out the same every time, and the shipped file names its settings."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from secure_fair.learning.backbone import EMBEDDED_NAME, EMBEDDED_PATH, load_backbone
from tools import embedded


def test_the_shipped_file_was_made_with_these_settings() -> None:
    with safe_open(EMBEDDED_PATH, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["settings"]) == vars(embedded.Pretraining())


@pytest.mark.long
def test_pretraining_is_reproducible_and_leaves_a_plain_backbone() -> None:
    settings = embedded.Pretraining(portraits=64, held_out=32, teacher_epochs=1, epochs=1, batch_size=32)
    one, scores = embedded.pretrain(settings)
    other, _ = embedded.pretrain(settings)
    assert all(torch.equal(one.state_dict()[key], value) for key, value in other.state_dict().items())
    shipped = load_backbone(EMBEDDED_NAME, "embedded", 64).state_dict()
    assert {key: value.shape for key, value in one.state_dict().items()} == {
        key: value.shape for key, value in shipped.items()
    }
    assert set(embedded.TASKS) <= scores.keys()
