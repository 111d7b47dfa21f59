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
