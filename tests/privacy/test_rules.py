"""The gate knows an operation by its rule alone."""

import ast
from pathlib import Path

import pytest
from rules import RULES

import secure_fair.privacy
from secure_fair.privacy.rules import Rule

SOURCES = sorted(Path(secure_fair.privacy.__file__).parent.glob("*.py"))


def test_a_rule_has_a_sensitivity_or_is_paid_for() -> None:
    for wrong in ({"sensitivity": None}, {"sensitivity": lambda groups: 1.0, "paid_by": ("moment",)}):
        with pytest.raises(ValueError, match="one of the two"):
            Rule(**wrong)
    assert Rule(None, paid_by=("moment",)).moves(3) == 0.0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_operation_is_named_in_the_package(path: Path) -> None:
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert [name for name in RULES if name in texts] == []
    assert [name for name in RULES if "_" in name and name in path.read_text()] == []
