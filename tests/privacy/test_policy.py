"""An auditor's policy file is read whole, and every mistake in it is named at once."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from rules import RULES

from secure_fair.defaults import DELTA
from secure_fair.errors import UsageError
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.target import Privacy

GOOD = """
operations = ["moment", "group_counts", "evaluation_counts"]
minimum_batch = 64
max_releases = 20
epsilon = 1.5
total_epsilon = 2
delta = 1e-6
developer = "follows the protocol"
row_bounds = "trust"
"""


def load(folder: Path, text: str) -> Policy:
    path = folder / "mine.toml"
    path.write_text(text)
    return Policy.load(path, RULES)


@pytest.mark.parametrize("wrap", [str, lambda text: "[policy]\n" + text])
def test_a_file_is_read_with_or_without_its_table(tmp_path: Path, wrap) -> None:
    policy = load(tmp_path, wrap(GOOD))
    assert policy.operations == ("moment", "group_counts", "evaluation_counts")
    assert (policy.minimum_batch, policy.max_releases, policy.row_bounds) == (64, 20, "trust")
    assert (policy.epsilon, policy.total_epsilon, policy.delta) == (1.5, 2, 1e-6)
    assert Policy.model_validate(json.loads(json.dumps(policy.as_mapping()))) == policy


def test_defaults(tmp_path: Path) -> None:
    policy = load(tmp_path, "epsilon = 1")
    assert policy == Policy(epsilon=1)
    assert not policy.allow_exact
    assert all(policy.permits(name) for name in RULES)
    assert policy.unknown_operations([]) == []
    assert (policy.epsilon, Policy().epsilon) == (1, None)
    assert policy.delta == DELTA
    assert policy.row_bounds == "check"


@pytest.mark.parametrize("text", ["", "allow_exact = false", "total_epsilon = 2"])
def test_a_file_without_a_limit_for_life_says_that_there_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"mine\.toml: gives neither epsilon nor allow_exact = true; set epsilon"):
        load(tmp_path, text)
    assert load(tmp_path, "allow_exact = true").allow_exact


@pytest.mark.parametrize("key", ["epsilon", "total_epsilon"])
def test_no_limit_stands_beside_exact_releases(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match=rf"mine\.toml\.allow_exact: true stands beside {key} = 2"):
        load(tmp_path, f"allow_exact = true\n{key} = 2")


def test_a_policy_with_operations_permits_no_other() -> None:
    policy = Policy(operations=("moment",))
    assert policy.permits("moment")
    assert not policy.permits("group_counts")
    assert not Policy(operations=()).permits("moment")


def test_every_problem_is_listed_with_its_place(tmp_path: Path) -> None:
    wrong = """
operation = ["moment"]
operations = ["moments", "moment"]
minimum_batch = 0
max_releases = true
epsilon = -1.0
total_epsilon = inf
delta = 2
row_bounds = "maybe"
verdict = { gap = 7 }
clip = "check"
"""
    with pytest.raises(UsageError) as error:
        load(tmp_path, wrong)
    places = [problem.split(" ")[0].rstrip(":") for problem in error.value.problems]
    keys = [line.split(" = ")[0] for line in wrong.split("\n") if line]
    assert sorted(places) == sorted(f"mine.toml.{key}{'.0' if key == 'operations' else ''}" for key in keys)
    assert any("moments" in problem and "group_counts" in problem for problem in error.value.problems)
    assert any('"moments"' in problem and 'did you mean "moment"?' in problem for problem in error.value.problems)


def test_operations_without_a_rule_are_named_in_every_way(tmp_path: Path) -> None:
    """In a file of its own, and in a table of a scenario's."""
    with pytest.raises(UsageError, match=r"mine\.toml\.operations\.1: \"momentum\" is no operation; known: "):
        load(tmp_path, 'operations = ["moment", "momentum"]')
    problems = Policy(operations=("momentum", "moment", "verdict")).unknown_operations(RULES, "auditors.0.policy")
    assert [problem.split(" ")[0] for problem in problems] == [
        "auditors.0.policy.operations.0:",
        "auditors.0.policy.operations.2:",
    ]


@pytest.mark.parametrize("value", ['"moment"', "[1, 2]", "3"])
def test_operations_must_be_names(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="operations"):
        load(tmp_path, f"operations = {value}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=rf"{path}: cannot be read \({reason}\); correct the path, or"):
            Policy.load(path, RULES)
    with pytest.raises(UsageError, match="is not valid TOML"):
        load(tmp_path, "epsilon = = 1")


@pytest.mark.parametrize(
    ("key", "value"), [("delta", 0.0), ("delta", 0.1), ("epsilon", 1001), ("total_epsilon", 1001), ("epsilon", 0)]
)
def test_the_constructor_checks_too(key: str, value: float) -> None:
    """With a delta of one half or an epsilon of thousands a limit would stand there and limit nothing."""
    with pytest.raises(ValidationError, match=key):
        Policy(**{key: value})


def test_a_target_without_settings_is_exact_and_keeps_one_release_in_reserve() -> None:
    target = Privacy()
    assert (target.epsilon, target.evaluation_epsilon) == (None, None)
    assert (target.delta, target.reserve_releases) == (DELTA, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0},
        {"epsilon": float("inf")},
        {"epsilon": "1"},
        {"delta": 0.0},
        {"delta": 0.1},
        {"evaluation_epsilon": -1.0},
        {"reserve_releases": -1},
        {"reserve_releases": 1001},
    ],
)
def test_wrong_targets_are_named(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Privacy(**wrong)
