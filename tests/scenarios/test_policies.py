"""`secure-fair policy`: a first file is safe, its keys are documented, and whether a plan fits is known beforehand."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from secure_fair.errors import UsageError
from secure_fair.operations import OPERATIONS
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.policy import Policy
from secure_fair.scenarios import assemble, policies
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.fit import fit, plans_of
from secure_fair.scenarios.progress import JsonReporter, LineReporter
from secure_fair.scenarios.schema import Scenario


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def write(folder: Path, text: str) -> str:
    file = folder / "policy.toml"
    file.write_text(text)
    return str(file)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_first_file_is_safe_and_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    made = invoke("policy", "init", str(file))
    assert made.exit_code == 0, made.stderr
    policy = policies.load(file)
    assert (policy.epsilon, policy.allow_exact, policy.row_bounds, policy.minimum_batch) == (1.0, False, "check", 32)
    assert policy.total_epsilon == 2.0  # columns that say the same would have a budget each
    assert all(key in file.read_text() for key in Policy.model_fields)
    file.write_text("epsilon = 7")
    again = invoke("policy", "init", str(file))
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert file.read_text() == "epsilon = 7"


def test_every_key_has_a_meaning_and_an_example_that_is_read() -> None:
    for key, field in Policy.model_fields.items():
        assert field.description, key
        Policy.model_validate(tomllib.loads(policies.example(key)))
    assert set(policies.EXAMPLES["operations"]) <= set(OPERATIONS)
    assert tuple(OPERATIONS) == policies.OPERATION_NAMES


def test_the_page_of_all_keys_is_current() -> None:
    """docs/policy.md is what ``policy reference`` prints."""
    assert (Path(__file__).parents[2] / "docs" / "policy.md").read_text() == policies.page()


def test_a_file_is_shown_as_the_gate_takes_it(tmp_path: Path) -> None:
    file = write(tmp_path, 'epsilon = 2\noperations = ["moment"]')
    shown = invoke("policy", "show", file)
    assert shown.exit_code == 0, shown.stderr
    assert Policy.model_validate(tomllib.loads(shown.stdout)) == policies.load(Path(file))
    assert json.loads(invoke("policy", "show", file, "--format", "json").stdout)["operations"] == ["moment"]


# --- whether a plan fits ----------------------------------------------------------------------------------------------

OWN_ADAPTER = ["method.name=unl", "method.release="]
FITS = [
    ("epsilon = 1", [], 0, "the plan fits"),
    ("epsilon = 0.5", [], 3, "from epsilon 0 to 0.8872 at delta 1e-05, and the policy's epsilon for life is 0.5"),
    ("epsilon = 9\ntotal_epsilon = 0.5", [], 3, "the policy's total_epsilon for life is 0.5"),
    ("epsilon = 1", ["privacy="], 4, "exact releases are planned (group_counts, moment, evaluation_counts of male)"),
    ("allow_exact = true", ["privacy="], 0, "moment: 4 releases, 4 of a record at most, EXACT"),
    ('epsilon = 1\noperations = ["moment"]', [], 4, "operation 'group_counts' is planned and not in the policy's"),
    ("epsilon = 1\nmax_releases = 5", [], 4, "6 releases of male are planned, the policy's max_releases is 5"),
    (
        "epsilon = 1\nminimum_batch = 65",
        ["method.release=rows"],
        4,
        "train.batch_size: 64 is below the policy's minimum_batch 65, and penalty_rows opens every batch",
    ),
    ("epsilon = 1", ["method.name=rr", "method.release="], 0, "randomised_attributes: 1 release"),
    ("epsilon = 0.9", ["method.name=rr", "method.release="], 3, "from epsilon 0 to 1 at delta"),
    ("epsilon = 1", OWN_ADAPTER, 0, "sensitive_training: 1 release"),
    ("epsilon = 0.9", OWN_ADAPTER, 3, "from epsilon 0 to 1 at delta"),
    ("epsilon = 1", ["method.name=adv", "method.release="], 0, "moment: 4 releases, 4 of a record at most"),
    ("epsilon = 1", ["method.name=ent", "method.release=rows"], 4, 'give the scenario method.release = "moments"'),
    (
        "epsilon = 1",
        ["method.name=unl", "method.release=", "privacy="],
        4,
        "sensitive_training of male",
    ),
]


@pytest.mark.parametrize(("text", "changes", "code", "said"), FITS)
def test_a_plan_is_held_against_the_policy(tmp_path: Path, text: str, changes: list[str], code: int, said: str) -> None:
    overrides = [word for change in changes for word in ("-o", change)]
    result = invoke("policy", "check", write(tmp_path, text), "quickstart", *overrides)
    assert result.exit_code == code, result.output
    assert said in result.stdout + result.stderr


def test_without_the_data_set_the_number_of_records_is_asked_for(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    arguments = ("policy", "check", write(tmp_path, "epsilon = 5"), "celeba-wavy-gender", "-o", f"data.root={missing}")
    assert "--records N" in invoke(*arguments).stderr
    found = invoke(*arguments, "--records", "1500", "--format", "json")
    assert found.exit_code == 0, found.stderr
    assert (
        json.loads(found.stdout)["spent"]
        == [
            {"attribute": json.loads(found.stdout)["releases"][0]["attribute"], "spent": 0.0, "limit": 5.0, "room": 5.0}
        ]
        or json.loads(found.stdout)["fits"]
    )


# --- whose word counts ------------------------------------------------------------------------------------------------


def test_a_scenario_stands_for_the_file_in_a_simulation_alone(tmp_path: Path) -> None:
    scenario = Scenario.load("quickstart", ["policy.minimum_batch=1"])
    assert assemble.policy(scenario, None, simulated=True).minimum_batch == 1
    with pytest.raises(UsageError, match="secure-fair policy init FILE"):
        assemble.policy(scenario, None, simulated=False)
    file = Path(write(tmp_path, "epsilon = 1"))
    for simulated in (True, False):
        assert assemble.policy(scenario, file, simulated=simulated).minimum_batch == 32


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ([], None),
        (["privacy="], True),
        (["privacy.epsilon="], True),
        (["privacy=", "policy.allow_exact=false"], False),
        (["privacy=", "policy.epsilon=2"], None),
        (["privacy=", "policy.total_epsilon=2"], None),
    ],
)
def test_exact_releases_are_implied_where_nothing_says_otherwise(changes: list[str], allowed: bool | None) -> None:
    scenario = Scenario.load("quickstart", changes)
    assert scenario.policy.allow_exact is allowed
    assert Scenario.parse(tomllib.loads(scenario.to_toml())).policy == scenario.policy


def test_a_scenario_contradicts_itself_no_more_than_a_file() -> None:
    with pytest.raises(UsageError, match=r"policy\.allow_exact: true stands beside epsilon = 2"):
        Scenario.load("quickstart", ["policy.allow_exact=true", "policy.epsilon=2"])


@pytest.mark.parametrize("new", [False, True])
def test_a_state_is_new_if_and_only_if_it_is_said_to_be(tmp_path: Path, new: bool) -> None:
    known, unknown = tmp_path / "known", tmp_path / "unknown"
    ledger = Ledger(known / "ledger", "auditor")
    ledger.start("run")
    ledger.close()
    assemble.check_state(unknown if new else known, new=new)
    with pytest.raises(UsageError, match="holds a ledger already" if new else "holds no ledger.*--new-state"):
        assemble.check_state(known if new else unknown, new=new)


@pytest.mark.parametrize("new", [False, True])
def test_a_state_that_was_only_created_may_be_begun_again(tmp_path: Path, new: bool) -> None:
    """A first run that ended before it began, for want of a peer: whoever repeats its command line loses nothing."""
    Ledger(tmp_path / "ledger", "auditor").close()
    assemble.check_state(tmp_path, new=new)


def test_the_outlook_is_lines_or_one_event(capsys: pytest.CaptureFixture[str]) -> None:
    scenario = Scenario.load("quickstart")
    outlook = fit(Policy(epsilon=2.0), scenario, plans_of(scenario, None, None))
    LineReporter().outlook(outlook.lines(), outlook.facts())
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["  male", "group_counts"],
        ["  male", "moment"],
        ["  male", "evaluation_counts"],
        ["  male", "spent for life so far"],
    ]
    JsonReporter().outlook(outlook.lines(), outlook.facts())
    event = json.loads(capsys.readouterr().err)
    assert event["event"] == "outlook"
    assert [use["operation"] for use in event["releases"]] == ["group_counts", "moment", "evaluation_counts"]
    assert event["spent"] == [{"attribute": "male", "spent": 0.0, "limit": 2.0, "room": pytest.approx(2.0)}]
