"""Secure and plain mode agree: the same seed, exact releases, and only fixed-point arithmetic between them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.learning.backbone import load_backbone, normalisation
from secure_fair.learning.lora import adapter_state
from secure_fair.learning.model import make_classifier
from secure_fair.operations import RULES
from secure_fair.privacy.chain import read_extract, verify
from secure_fair.privacy.comparison import compare, entries_about
from secure_fair.scenarios import assemble
from secure_fair.scenarios.launch import run_plain
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario
from tests.drawn import GENDERS, write_manifest
from tests.parties.company import Company, tiny, write_stores

TOLERANCE = 0.01  # relative distance of the updates
METHODS: dict[str, Mapping[str, Any]] = {
    "adv": {"name": "adv", "release": "rows", "strength": 0.5},
    "adv-moments": {"name": "adv", "release": "moments", "strength": 4.0},
    "ent": {"name": "ent", "release": "rows", "strength": 2.0},
    "ent-moments": {"name": "ent", "release": "moments", "strength": 8.0},
    "erase": {"name": "erase", "strength": 1.0, "components": 8},
    "erase-rows": {"name": "erase", "release": "rows", "strength": 1.0, "components": 8},
    "erase-responses": {"name": "erase", "release": "attributes", "strength": 1.0, "components": 8},
    "orth-active": {"name": "orth", "orthogonality": "weights", "sensitive_scale": 1.0, "strength": 0.5},
    "orth-rows": {"name": "orth", "orthogonality": "rows", "strength": 2.0},
    "orth-columns": {"name": "orth", "orthogonality": "columns", "strength": 2.0},
    "orth-subspace": {"name": "orth", "orthogonality": "subspace", "strength": 2.0},
    "orth-predictions": {"name": "orth", "strength": 20.0},
    "orth-gradient": {"name": "orth", "release": "gradient", "strength": 4.0},
    "parity-moments": {"name": "parity", "release": "moments", "strength": 20.0},
    "parity-histogram": {"name": "parity", "release": "histogram", "strength": 20.0},
    "parity-rows": {"name": "parity", "release": "rows", "strength": 20.0},
    "odds-moments": {"name": "odds", "release": "moments", "components": 8, "strength": 20.0},
    "odds-histogram": {"name": "odds", "release": "histogram", "components": 8, "strength": 20.0},
    "odds-rows": {"name": "odds", "release": "rows", "strength": 20.0},
    "odds-responses": {"name": "odds", "release": "attributes", "strength": 20.0},
    "posthoc": {"name": "posthoc", "strength": 20.0},
    "posthoc-histogram": {"name": "posthoc", "release": "histogram", "strength": 20.0},
    "rr": {"name": "rr", "strength": 20.0},
    "steered": {"name": "parity", "release": "moments", "target_gap": 0.001, "strength": 20.0},
    "unl": {"name": "unl"},
}
SLOW = ("odds-histogram", "posthoc-histogram")  # ways of a method that has another among the quick ones
OWN_METHODS: dict[str, Mapping[str, Any]] = {
    "ent-frozen": {"name": "ent", "strength": 2.0},
    "ent-disclosed": {"name": "ent", "strength": 2.0, "adversary_features": "disclosed"},
    "orth-predictions": METHODS["orth-predictions"],
    "orth-gradient": METHODS["orth-gradient"],
    "unl": METHODS["unl"],
}


def run_both(scenario: Scenario, stores: Path, folder: Path, seconds: float = 100.0) -> tuple[Path, Path]:
    """The developer's folder of a plain run and of a secure run, of so many seconds at most, over the same stores."""
    run_plain(scenario, stores, folder / "plain", LineReporter())
    with Company(scenario, stores, folder / "secure") as company:
        company.succeed(seconds)
    return folder / "plain" / "developer", company.out("developer")


def predictions(folder: Path) -> tuple[list[str], Tensor]:
    """Ids and probabilities (n, C) of the test records."""
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = [[float(value) for key, value in row.items() if key.startswith("probability_")] for row in rows]
    return [row["id"] for row in rows], torch.tensor(values, dtype=torch.float64)


def updates(scenario: Scenario, folder: Path) -> dict[str, Tensor]:
    """How far training has moved A, B and the head, each as one vector."""
    config = assemble.run_config(scenario)
    start = make_classifier(config.model, 2, config.seed, torch.device("cpu"))
    begun = adapter_state(start.backbone)
    ended = load_file(folder / "adapter" / "adapter_model.safetensors")
    head = load_file(folder / "head.safetensors")

    def moved(part: str, index: int) -> Tensor:
        ends = {name: ended[f"base_model.model.{name}.lora_{part}.weight"] for name in begun}
        differences = []
        for name, matrices in begun.items():
            task = ends[name].narrow(index, 0, matrices[index].shape[index])  # a negated adapter is further ranks
            differences.append((task - matrices[index]).flatten())
        return torch.cat(differences)

    return {
        "A": moved("A", 0),
        "B": moved("B", 1),
        "head": torch.cat([(head[key] - value).flatten() for key, value in start.head.state_dict().items()]),
    }


def distance(first: Tensor, second: Tensor) -> float:
    """Relative to the second."""
    return float((first - second).norm() / second.norm())


def assert_agree(scenario: Scenario, plain: Path, secure: Path) -> None:
    """Updates within one percent, predictions but for one in a hundred, the same released metrics."""
    expected, found = updates(scenario, plain), updates(scenario, secure)
    for part, moved in expected.items():
        assert float(moved.norm()) > 1e-3, part
        assert distance(found[part], moved) < TOLERANCE, part
    ids, probabilities = predictions(plain)
    secure_ids, secure_probabilities = predictions(secure)
    assert secure_ids == ids
    assert float((secure_probabilities.argmax(1) == probabilities.argmax(1)).double().mean()) >= 0.99
    released = [json.loads((folder / "result.json").read_text())["fairness_released"] for folder in (plain, secure)]
    assert released[0] == released[1]
    aligned = scenario.data.auditor_records == "aligned"
    judged_by = {*scenario.data.sensitive, *scenario.data.joint_attributes}
    assert released[0].keys() == (judged_by if aligned else set())


def assert_predicts_the_same_outside(scenario: Scenario, stores: Path, out: Path) -> None:
    """The adapter on a plain timm model by peft alone, and the head, give the predictions that were written."""
    config = assemble.run_config(scenario)
    vit = load_backbone(config.model.backbone.name, config.model.backbone.weights, config.model.image_size)
    mean, deviation = (values.view(1, 3, 1, 1) for values in normalisation(vit))
    model = peft.PeftModel.from_pretrained(vit, str(out / "adapter")).eval()
    head = load_file(out / "head.safetensors")
    store = DeveloperStore.open(stores / "developer")
    pictures = torch.from_numpy(np.array(store.inputs[store.test])).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        features = model((pictures - mean) / deviation)
    found = (features @ head["weight"].T + head["bias"]).softmax(1).double()
    ids, written = predictions(out)
    assert ids == [store.ids[row] for row in store.test]
    torch.testing.assert_close(found, written, atol=2e-6, rtol=0)


def assert_ledgers_agree(scenario: Scenario, folder: Path) -> None:
    """Both sides have written down the same releases, in ledgers that are whole; there is at least one release."""
    assert verify(folder / "states" / "developer" / "ledger").entries > 1
    developers = read_extract(folder / "developer" / "ledger.jsonl")
    for auditor in scenario.secure.auditors:
        assert verify(folder / "states" / auditor.name / "ledger").entries > 1
        own = read_extract(folder / f"auditor-{auditor.name}" / "ledger.jsonl")
        about = entries_about(developers, auditor.name)
        assert any(entry["kind"] == "received" for entry in about)
        assert compare(about, own) == []


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory, weights: Path, stores: Path) -> dict[str, Tensor]:
    """The updates without any method."""
    folder = tmp_path_factory.mktemp("erm")
    scenario = tiny(weights, method={"name": "erm"})
    run_plain(scenario, stores, folder, LineReporter())
    return updates(scenario, folder / "developer")


@pytest.mark.parametrize(
    "method",
    [pytest.param(way, id=name, marks=pytest.mark.slow if name in SLOW else ()) for name, way in METHODS.items()],
)
def test_secure_and_plain_agree(
    tmp_path: Path, weights: Path, stores: Path, method: Mapping[str, Any], baseline: dict[str, Tensor]
) -> None:
    scenario = tiny(weights, method=method)
    plain, secure = run_both(scenario, stores, tmp_path)
    assert_agree(scenario, plain, secure)
    assert_predicts_the_same_outside(scenario, stores, plain)
    assert_ledgers_agree(scenario, tmp_path / "secure")
    # the method has moved what it works on by more than the two may differ: agreement is not that of two baselines
    part = "head" if method["name"] == "posthoc" else "A"
    assert distance(updates(scenario, plain)[part], baseline[part]) > TOLERANCE


@pytest.mark.parametrize("method", OWN_METHODS.values(), ids=OWN_METHODS)
def test_secure_and_plain_agree_where_the_auditor_has_nothing_of_the_developer_s(
    tmp_path: Path, weights: Path, method: Mapping[str, Any], baseline: dict[str, Tensor]
) -> None:
    scenario = tiny(weights, method=method, data={"auditor_records": "own"})
    people = write_stores(scenario, tmp_path / "stores")
    assert AuditorStore.open(tmp_path / "stores" / "auditor").ids == []
    assert len(people.own)
    plain, secure = run_both(scenario, tmp_path / "stores", tmp_path)
    assert_agree(scenario, plain, secure)
    assert_predicts_the_same_outside(scenario, tmp_path / "stores", plain)
    assert_ledgers_agree(scenario, tmp_path / "secure")
    assert distance(updates(scenario, plain)["A"], baseline["A"]) > TOLERANCE
    for side in ("developer", "auditor-auditor"):
        entries = read_extract(tmp_path / "secure" / side / "ledger.jsonl")
        disclosed = [entry for entry in entries if entry["kind"] == "disclosed"]
        assert len(disclosed) == (scenario.train.epochs if method.get("adversary_features") == "disclosed" else 0)


@pytest.mark.parametrize(
    "method",
    [
        "ent-disclosed",
        "orth-gradient",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("ent-frozen", "orth-predictions", "unl")),
    ],
)
def test_secure_and_plain_agree_where_the_auditor_has_another_data_set(
    tmp_path: Path, weights: Path, method: str, baseline: dict[str, Tensor]
) -> None:
    own = write_manifest(tmp_path / "data", 100, GENDERS) | {"sensitive": ["gender"]}
    data = {"auditor_records": "own", "auditor": own}
    scenario = tiny(weights, method=OWN_METHODS[method], data=data)
    write_stores(scenario, tmp_path / "stores")
    plain, secure = run_both(scenario, tmp_path / "stores", tmp_path)
    assert_agree(scenario, plain, secure)
    assert_ledgers_agree(scenario, tmp_path / "secure")
    assert distance(updates(scenario, plain)["A"], baseline["A"]) > TOLERANCE


def test_without_a_method_they_are_equal(tmp_path: Path, weights: Path, stores: Path) -> None:
    scenario = tiny(weights, method={"name": "erm"})
    plain, secure = run_both(scenario, stores, tmp_path)
    expected, found = updates(scenario, plain), updates(scenario, secure)
    assert all(torch.equal(found[part], moved) for part, moved in expected.items())


HOLDERS = {"registry": "male", "clinic": "skin_tone", "archive": "young"}  # of two, three and two groups
QUICK = ("parity-moments", 3)


@pytest.mark.parametrize(
    ("method", "parties"),
    [
        pytest.param(name, parties, marks=() if (name, parties) == QUICK else pytest.mark.long)
        for name in METHODS
        for parties in (3, 4)
    ],
)
def test_three_and_four_compute_parties_and_three_groups(
    tmp_path: Path, weights: Path, method: str, parties: int
) -> None:
    held = list(HOLDERS.items())[: parties - 1]
    auditors = [{"name": name, "attributes": [attribute]} for name, attribute in held]
    data = {"sensitive": [attribute for _, attribute in held]}
    scenario = tiny(weights, method=METHODS[method], data=data, secure={"auditors": auditors})
    write_stores(scenario, tmp_path / "stores")
    plain, secure = run_both(scenario, tmp_path / "stores", tmp_path)
    assert_agree(scenario, plain, secure)
    assert_ledgers_agree(scenario, tmp_path / "secure")


HELD_APART = [{"name": "registry", "attributes": ["male"]}, {"name": "clinic", "attributes": ["young"]}]
BOTH = {"sensitive": ["male", "young"], "intersections": [["male", "young"]]}
HALVES = [{"name": name, "attributes": ["male"], "records": 0.5} for name in ("north", "south")]
PEOPLE: dict[str, tuple[Mapping[str, Any], list[dict[str, Any]]]] = {
    "intersection": (BOTH, HELD_APART),
    "parts": ({}, HALVES),
    "intersection of parts": (BOTH, [*HALVES, {"name": "clinic", "attributes": ["young"]}]),
}


@pytest.mark.parametrize(
    ("people", "method"),
    [
        ("intersection", "parity-moments"),
        ("parts", "parity-moments"),
        pytest.param("intersection of parts", "parity-moments", marks=pytest.mark.long),
        pytest.param("intersection of parts", "parity-rows", marks=pytest.mark.long),
        pytest.param("intersection of parts", "adv", marks=pytest.mark.long),
        pytest.param("intersection of parts", "ent", marks=pytest.mark.long),
    ],
)
def test_several_holders(tmp_path: Path, weights: Path, people: str, method: str) -> None:
    data, auditors = PEOPLE[people]
    scenario = tiny(weights, method=METHODS[method], data=data, secure={"auditors": auditors})
    write_stores(scenario, tmp_path / "stores")
    plain, secure = run_both(scenario, tmp_path / "stores", tmp_path)
    assert_agree(scenario, plain, secure)
    assert_ledgers_agree(scenario, tmp_path / "secure")


TRUSTED = {"developer": "follows the protocol", "auditors": "follow the protocol"}
NOISED = {
    "adv": METHODS["adv"],
    "adv-moments": METHODS["adv-moments"],
    "ent-by-default": {"name": "ent"},
    "parity-moments": METHODS["parity-moments"],
    "rr": {"name": "rr"},
}


@pytest.mark.parametrize("method", NOISED.values(), ids=NOISED)
def test_with_noise_every_release_has_it_and_is_charged(
    tmp_path: Path, weights: Path, method: Mapping[str, Any]
) -> None:
    auditors = [{"name": "registry", "attributes": ["male"]}, {"name": "clinic", "attributes": ["skin_tone"]}]
    data = {"sensitive": ["male", "skin_tone"]}
    privacy = {"epsilon": 2.0, "evaluation_epsilon": 1.0}
    policy = TRUSTED if method == METHODS["adv"] else {}  # an adversary on shares asks for it, and nothing else
    scenario = tiny(weights, method=method, data=data, secure={"auditors": auditors}, privacy=privacy, policy=policy)
    write_stores(scenario, tmp_path / "stores")
    with Company(scenario, tmp_path / "stores", tmp_path / "secure") as company:
        company.succeed()
    assert_ledgers_agree(scenario, company.folder)
    for auditor in scenario.secure.auditors:
        entries = read_extract(company.out(auditor.name) / "ledger.jsonl")
        planned = [entry for entry in entries if entry["kind"] == "planned" and entry["shape"]]
        assert {entry["attribute"] for entry in planned} == set(auditor.attributes)  # nobody answers for another
        of_records = [entry for entry in planned if not RULES[entry["operation"]].post_processing]
        assert all(entry["sigma"] or entry["operation"] == "randomised_attributes" for entry in of_records)
        bounded = [entry["number"] for entry in planned if RULES[entry["operation"]].bounded_rows]
        verdicts = [entry for entry in entries if entry["kind"] == "verdict"]
        assert all(entry["within"] and entry["receiver"] == auditor.name for entry in verdicts)
        assert {entry["number"] for entry in verdicts} <= {entry["number"] for entry in planned}
        assert len(verdicts) >= (len(bounded) > 0)
        left = json.loads((company.out(auditor.name) / "party.json").read_text())
        for spent in left["privacy"].values():
            assert not spent["exact"]
            assert 0 < spent["epsilon"] <= 3.0 + 1e-6


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_at_the_length_of_the_quickstart(tmp_path: Path, method: Mapping[str, Any]) -> None:
    tree = Scenario.load("faces-wavy-gender").model_dump(exclude_none=True, exclude={"privacy", "compare"})
    tree["train"] |= {"precision": "fp32", "device": "cpu"}
    tree["method"] = dict(method)
    scenario = Scenario.parse(tree)
    write_stores(scenario, tmp_path / "stores")
    plain, secure = run_both(scenario, tmp_path / "stores", tmp_path, seconds=900)
    assert_agree(scenario, plain, secure)
