"""The set of files is the registry: what has no file, or no rule, is let through nowhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import secure_fair.operations
from secure_fair.errors import Refusal, UsageError
from secure_fair.operations import OPERATIONS, RULES, planned, requests
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.common.state import PublicFacts
from secure_fair.privacy.policy import Policy

ROOT = Path(__file__).parents[2]
FACTS = PublicFacts("developer", {"male": 2, "male x tone": 6}, {"male x tone": ("male", "tone")}, 100, False, {})
EVERYBODY = np.arange(100, dtype=np.int64)


def test_every_file_is_an_operation_with_a_rule() -> None:
    files = {path.stem for path in Path(secure_fair.operations.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(OPERATIONS) == set(RULES) == files


@pytest.mark.parametrize(
    "source", ["", "OPERATION = object()\n", "from .common.operation import Operation\nOPERATION = Operation()\n"]
)
def test_a_file_without_a_rule_does_not_load(tmp_path: Path, source: str) -> None:
    shutil.copytree(ROOT / "secure_fair", tmp_path / "secure_fair", ignore=shutil.ignore_patterns("weights"))
    (tmp_path / "secure_fair" / "operations" / "unruly.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", "import secure_fair.operations"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "operations/unruly.py defines no OPERATION with a rule" in done.stderr


def test_an_operation_without_a_file_is_refused(tmp_path: Path) -> None:
    """By what makes the requests, by a plan, and by a policy; the gate's own refusal is tested beside the gate."""
    with pytest.raises(Refusal, match="operation 'attributes' is unknown"):
        requests(Ask(operation="attributes", attribute="male", width=2), EVERYBODY, FACTS)
    with pytest.raises(KeyError):
        planned("attributes", 2, 1, 1)
    (tmp_path / "policy.toml").write_text('operations = ["moment", "attributes"]\nepsilon = 1\n')
    with pytest.raises(UsageError, match='"attributes"'):
        Policy.load(tmp_path / "policy.toml", known=OPERATIONS)


@pytest.mark.parametrize(
    "shapes", [[(2, 6), (2, 9)], [(2, 6), (2, 9), (2, 7)], [(2, 6), (2, 9), (3, 6)]], ids=["fewer", "wider", "higher"]
)
def test_matrices_that_do_not_fit_to_the_sensitive_adapter_are_refused(shapes: list[tuple[int, int]]) -> None:
    """Equal matrices of it are one stack, and so are those that they are multiplied by."""
    held = {"a": ((4, 6), (5, 4)), "b": ((4, 9), (5, 4)), "c": ((4, 6), (5, 4))}
    facts = PublicFacts("developer", {"male": 2}, {}, 100, False, {"male": held})
    check = OPERATIONS["orthogonality"].check
    with pytest.raises(Refusal, match=r"do not fit to the adapter's widths \[6, 9, 6\]"):
        check(Ask(operation="orthogonality", attribute="male", shapes=shapes), EVERYBODY[:0], facts)
    check(Ask(operation="orthogonality", attribute="male", shapes=[(2, 6), (3, 9), (2, 6)]), EVERYBODY[:0], facts)


@pytest.mark.parametrize("operation", sorted(name for name, rule in RULES.items() if not rule.opened))
def test_nothing_that_is_not_opened_is_asked_for_by_itself(operation: str) -> None:
    with pytest.raises(Refusal, match="is not asked for by itself"):
        requests(Ask(operation=operation, attribute="male", width=2), EVERYBODY, FACTS)


@pytest.mark.parametrize("operation", sorted(name for name, rule in RULES.items() if rule.opened))
def test_an_intersection_is_asked_for_where_the_rule_says_so(operation: str) -> None:
    ask = Ask(operation=operation, attribute="male x tone", width=2, shapes=[(100, 2)])
    if RULES[operation].on_intersections:
        assert requests(ask, EVERYBODY, FACTS)[-1].operation == operation
    else:
        with pytest.raises(Refusal, match="ask for each of its attributes"):
            requests(ask, EVERYBODY, FACTS)


OF_SHARES = sorted(name for name, rule in RULES.items() if rule.opened and rule.on_shares)


@pytest.mark.parametrize("operation", OF_SHARES)
def test_what_is_foreseen_of_an_operation_may_be_asked(operation: str) -> None:
    """The request that a run's cost is forecast from is one that the parties would admit, in the room's own words."""
    adapters = {"male": {"block": ((4, 24), (24, 4))}}
    facts = PublicFacts("developer", {"male": 2}, {}, 100, False, adapters)
    sizes = RunSizes(80, 20, 40, classes=3, strata=3, query=9, features=24, adapter=((4, 24),))
    ask, records = OPERATIONS[operation].foreseen(Ask(operation=operation, attribute="male"), sizes)
    assert requests(ask, np.arange(records, dtype=np.int64), facts)[-1].operation == operation
    brought = {
        "moment": [(80, 9)],
        "group_counts": [(80, 3)],
        "evaluation_counts": [(20, 9)],
        "penalty_rows": [],
        "adversary_rows": [(40, 24)],
        "entropy_rows": [(40, 24)],
        "orthogonality": [(4, 24)],
    }
    assert OPERATIONS[operation].inputs(ask, np.arange(records)) == brought[operation]


def test_the_noise_of_rows_is_made_for_what_one_person_moves() -> None:
    """Sensitivities, to the digit: 1 for a column that holds two groups, sqrt 2 between one-hot rows."""
    root = 2**0.5
    expected = {"moment": (1, root), "group_counts": (1, root), "evaluation_counts": (1, root)}
    expected |= {"penalty_rows": (1, root), "adversary_step": (1, root), "adversary_rows": (8, 8 * root)}
    expected |= {"randomised_attributes": (1, root), "sensitive_training": (1, root)}
    found = {name: (rule.moves(2), rule.moves(3)) for name, rule in RULES.items() if not rule.post_processing}
    assert found == {name: pytest.approx(pair) for name, pair in expected.items()}
    assert {name for name, rule in RULES.items() if rule.post_processing} == {
        "entropy_rows",
        "orthogonality",
        "sensitive_adapter",
    }
