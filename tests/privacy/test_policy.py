"""An auditor's policy file is read whole, and every mistake in it is named at once."""

from pathlib import Path

import pytest

from secure_fair.errors import UsageError
from secure_fair.privacy.policy import OPERATIONS, Policy

GOOD = """
operations = ["moment", "group_counts", "evaluation_counts"]
minimum_batch = 64
max_releases = 20
epsilon = 1.5
total_epsilon = 2
delta = 1e-6
clip = "trust"

[verdict]
demographic_parity_difference = 0.1
"""


@pytest.mark.parametrize("wrap", [str, lambda text: "[policy]\n" + text.replace("[verdict]", "[policy.verdict]")])
def test_a_file_is_read_with_or_without_its_table(tmp_path: Path, wrap) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(wrap(GOOD))
    policy = Policy.load(path)
    assert policy.operations == ("moment", "group_counts", "evaluation_counts")
    assert (policy.minimum_batch, policy.max_releases, policy.clip) == (64, 20, "trust")
    assert (policy.epsilon, policy.total_epsilon, policy.delta) == (1.5, 2, 1e-6)
    assert policy.verdict == {"demographic_parity_difference": 0.1}
    assert Policy.from_mapping(policy.as_mapping()) == policy


def test_defaults() -> None:
    policy = Policy.from_mapping({})
    assert policy == Policy()
    assert policy.operations == OPERATIONS
    assert policy.epsilon is None
    assert policy.clip == "check"


def test_every_problem_is_listed_with_its_place() -> None:
    wrong = {
        "operation": ["moment"],
        "operations": ["moments"],
        "minimum_batch": 0,
        "max_releases": True,
        "epsilon": -1.0,
        "total_epsilon": float("inf"),
        "delta": 2,
        "clip": "maybe",
        "verdict": {"gap": 7},
    }
    with pytest.raises(UsageError) as error:
        Policy.from_mapping(wrong, where="mine.toml")
    places = [problem.split(" ")[0].rstrip(":") for problem in error.value.problems]
    assert sorted(places) == sorted(
        ["mine.toml.verdict.gap", *(f"mine.toml.{key}" for key in wrong if key != "verdict")]
    )
    assert any("moments" in problem and "group_counts" in problem for problem in error.value.problems)


@pytest.mark.parametrize("value", ["moment", [1, 2], 3])
def test_operations_must_be_names(value: object) -> None:
    with pytest.raises(UsageError, match="operations"):
        Policy.from_mapping({"operations": value})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such policy file"):
        Policy.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("epsilon = = 1")
    with pytest.raises(UsageError, match="not a TOML file"):
        Policy.load(broken)


def test_the_constructor_checks_too() -> None:
    with pytest.raises(UsageError, match="delta"):
        Policy(delta=0.0)
