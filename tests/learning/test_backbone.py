"""Backbones: which models and files are accepted, what loading guarantees, and what a refusal says."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import secure_fair.compat  # noqa: F401
from secure_fair.errors import UsageError
from secure_fair.learning.backbone import EMBEDDED_NAME, digest_of, load_backbone, normalisation, read_weights

import timm  # isort: skip

WEIGHTS = Path(os.environ.get("SECURE_FAIR_WEIGHTS", Path(__file__).parents[3] / "shared" / "weights"))
DEIT_TINY = WEIGHTS / "deit_tiny_patch16_224.safetensors"


@pytest.fixture
def source() -> torch.nn.Module:
    """A ViT of 0.3 million parameters at its own 160 pixels, with a classifier of 1000 classes."""
    torch.manual_seed(0)
    return timm.create_model("test_vit", pretrained=False)


def test_every_tensor_but_the_head_arrives(source: torch.nn.Module, tmp_path: Path) -> None:
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    vit = load_backbone("test_vit", tmp_path / "weights.safetensors", 160)
    expected = {key: value for key, value in source.state_dict().items() if not key.startswith("head.")}
    assert vit.state_dict().keys() == expected.keys()
    assert all(torch.equal(vit.state_dict()[key], value) for key, value in expected.items())
    assert not vit.training
    assert not any(parameter.requires_grad for parameter in vit.parameters())


@pytest.mark.parametrize("nest", [(), ("model",), ("state_dict",), ("model", "state_dict")])
@pytest.mark.parametrize("ending", [".pth", ".pt", ".bin"])
def test_pytorch_files_may_nest_the_weights(
    source: torch.nn.Module, tmp_path: Path, nest: tuple[str, ...], ending: str
) -> None:
    content: dict[str, object] = dict(source.state_dict())
    for key in reversed(nest):
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / f"weights{ending}")
    vit = load_backbone("test_vit", str(tmp_path / f"weights{ending}"), 160)
    assert torch.equal(vit.state_dict()["blocks.2.mlp.fc1.weight"], source.state_dict()["blocks.2.mlp.fc1.weight"])


def test_half_precision_files_become_float32(source: torch.nn.Module, tmp_path: Path) -> None:
    save_file({key: value.half() for key, value in source.state_dict().items()}, tmp_path / "half.safetensors")
    vit = load_backbone("test_vit", tmp_path / "half.safetensors", 96)
    assert {parameter.dtype for parameter in vit.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "name", ["test_vit", "test_vit2", "deit_tiny_distilled_patch16_224", "vit_wee_patch16_reg1_gap_256"]
)
def test_position_embeddings_are_resampled_as_timm_does(name: str, tmp_path: Path) -> None:
    """With class, register and distillation tokens in front, and with embeddings of patches alone."""
    torch.manual_seed(1)
    other = timm.create_model(name, pretrained=False, num_classes=0)
    save_file(other.state_dict(), tmp_path / "weights.safetensors")
    vit = load_backbone(name, tmp_path / "weights.safetensors", 96)
    other.set_input_size((96, 96))
    assert torch.equal(vit.pos_embed, other.pos_embed)
    assert vit(torch.zeros(1, 3, 96, 96)).shape == (1, vit.num_features)


def test_loading_leaves_the_global_generator_alone(source: torch.nn.Module, tmp_path: Path) -> None:
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_backbone("test_vit", tmp_path / "weights.safetensors", 160)
    assert torch.equal(torch.rand(3), expected)


def test_normalisation_is_the_models_own(tmp_path: Path) -> None:
    model = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    mean, deviation = normalisation(
        load_backbone("deit_tiny_distilled_patch16_224", tmp_path / "weights.safetensors", 32)
    )
    assert mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert deviation.tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_all_mismatches_are_listed_at_once(source: torch.nn.Module, tmp_path: Path) -> None:
    state = source.state_dict()
    for index in range(5):
        del state[f"blocks.{index}.norm1.bias"]
    state["adapter.weight"] = torch.zeros(2)
    state["norm.weight"] = torch.zeros(7)
    state["norm.bias"][0] = torch.nan
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError) as caught:
        load_backbone("test_vit", tmp_path / "weights.safetensors", 160)
    message = str(caught.value)
    assert "5 missing (blocks.0.norm1.bias, blocks.1.norm1.bias, blocks.2.norm1.bias ...)" in message
    assert "1 unexpected (adapter.weight)" in message
    assert "1 of another shape (norm.weight (7,) for (64,))" in message
    assert "1 not finite (norm.bias)" in message


def test_weights_of_another_model_are_refused(source: torch.nn.Module, tmp_path: Path) -> None:
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="of another shape"):
        load_backbone("vit_tiny_patch16_224", tmp_path / "weights.safetensors", 160)


class _Payload:
    """Writes a file if it is ever unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_code_in_a_weights_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"model": _Payload(tmp_path / "ran")}, tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="more than tensors"):
        load_backbone("test_vit", tmp_path / "weights.pth", 160)
    assert not (tmp_path / "ran").exists()
    with (tmp_path / "plain.pth").open("wb") as file:
        pickle.dump(_Payload(tmp_path / "ran"), file, protocol=2)
    with pytest.raises(UsageError):
        load_backbone("test_vit", tmp_path / "plain.pth", 160)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "weights.pth", weights_only=False)  # the same file on an unsafe reader: the payload is real
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("kept", [0, 100, 100_000])
def test_truncated_files_are_refused(source: torch.nn.Module, tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(source.state_dict(), path)
    else:
        save_file(source.state_dict(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UsageError, match=name):
        read_weights(path)


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_weights(tmp_path / "none.safetensors")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="no state_dict"):
        read_weights(tmp_path / "list.pth")
    (tmp_path / "weights.onnx").touch()
    with pytest.raises(UsageError, match=r"must be \.safetensors"):
        read_weights(tmp_path / "weights.onnx")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18", "is a ResNet"),
        ("swin_tiny_patch4_window7_224", "is a SwinTransformer"),
        ("eva02_tiny_patch14_224", "is a Eva"),
        ("vit_base_r50_s16_224", "not a plain vision transformer"),  # patches of a ResNet's features
        ("vit_small_patch16_18x2_224", "not a plain vision transformer"),  # two attentions beside each other
        ("no_such_vit", "neither 'secure_fair_faces' nor a model of timm"),
    ],
)
def test_only_plain_vision_transformers(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        load_backbone(name, tmp_path / "unused.safetensors", 224)


@pytest.mark.parametrize("size", [0, -16, 8, 100, 161])
def test_image_size_must_be_a_multiple_of_the_patch_size(size: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"image size {size} is not a positive multiple of test_vit's patch size 16"):
        load_backbone("test_vit", tmp_path / "unused.safetensors", size)


def test_embedded_weights_belong_to_the_embedded_backbone() -> None:
    with pytest.raises(UsageError, match="belong to the backbone 'secure_fair_faces'"):
        load_backbone("test_vit", "embedded", 160)
    with pytest.raises(UsageError, match='set weights to "embedded"'):
        load_backbone("secure_fair_faces", "timm", 64)


def test_no_network_is_said_clearly(tmp_path: Path) -> None:
    program = (
        "from secure_fair.errors import UsageError\n"
        "from secure_fair.learning.backbone import load_backbone\n"
        "try:\n    load_backbone('test_vit', 'timm', 160)\n"
        "except UsageError as error:\n    print(error)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert "could not get weights for 'test_vit'" in result.stdout
    assert "give a local weights file" in result.stdout


@pytest.mark.real
@pytest.mark.skipif(not DEIT_TINY.is_file(), reason=f"no {DEIT_TINY.name} in SECURE_FAIR_WEIGHTS ({WEIGHTS})")
def test_real_weights_load_at_their_own_and_another_size() -> None:
    for size in (224, 112):
        vit = load_backbone("deit_tiny_patch16_224", DEIT_TINY, size)
        with torch.inference_mode():
            features = vit(torch.zeros(1, 3, size, size))
        assert features.shape == (1, 192)
        assert bool(features.isfinite().all())


def test_a_digest_is_of_names_shapes_and_values_and_not_of_the_file(random_weights: Path, tmp_path: Path) -> None:
    state = load_backbone(EMBEDDED_NAME, random_weights, 64).state_dict()
    torch.save({"model": dict(reversed(state.items()))}, tmp_path / "same.pth")
    digest = digest_of(state)
    assert digest_of(load_backbone(EMBEDDED_NAME, tmp_path / "same.pth", 64).state_dict()) == digest
    values = state["norm.weight"] if "norm.weight" in state else state["fc_norm.weight"]
    found = {digest, digest_of({"x": values}), digest_of({"y": values}), digest_of({"x": values.reshape(2, -1)})}
    found.add(digest_of({"x": torch.nextafter(values, values + 1)}))
    assert len(found) == 5
