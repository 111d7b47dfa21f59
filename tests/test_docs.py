"""The documents: every test that they name is there, and the figures on security are those of the accounting."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from scipy.special import ndtr

from secure_fair.attacks import ATTACKS
from secure_fair.privacy import accounting

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
DELTA = 1e-5


def functions() -> set[str]:
    """Names of all test functions."""
    trees = (ast.parse(file.read_text()) for file in (ROOT / "tests").rglob("test_*.py"))
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def named(page: str) -> list[str]:
    """Everything in backticks that is called like a test, or a file of tests."""
    return re.findall(r"`((?:tests/[\w/]*)?test_\w+(?:\.py)?)`", page)


def test_every_test_that_is_named_exists() -> None:
    known = functions() | {str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")}
    assert len(named(PAGE)) > 20
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    missing = [(page.name, name) for page in pages for name in named(page.read_text()) if name not in known]
    assert missing == []


def test_every_attack_of_the_review_has_its_claim() -> None:
    section = PAGE.split("## Attacks of the review")[1].split("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(ATTACKS)


def row(title: str) -> list[str]:
    """The cells of the table's line of this title."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("| ").split("|")[1:]]


def test_mu_and_the_attackers_advantage_are_those_of_the_accounting() -> None:
    epsilons = [float(cell) for cell in row("epsilon")]
    mus = [accounting.gaussian_mu(epsilon, DELTA) for epsilon in epsilons]
    assert len(epsilons) == 5
    assert [float(cell) for cell in row("mu of Gaussian DP")] == [round(mu, 3) for mu in mus]
    assert [float(cell) for cell in row("right, at most")] == [round(float(ndtr(mu / 2)), 3) for mu in mus]
    told = row("right, randomised response of the same epsilon")
    for cell, epsilon in zip(told, epsilons, strict=True):
        truth = accounting.truth_probability(epsilon, 2)
        assert float(cell) == pytest.approx(truth, abs=0.6 * 10.0 ** -(len(cell) - 1))


def test_three_runs_come_to_what_it_says() -> None:
    together = accounting.gaussian_epsilon(3**0.5 * accounting.gaussian_mu(1.0, DELTA), DELTA)
    assert f"three at epsilon 1 on the same people come to {together:.2f}" in " ".join(PAGE.split())


def test_the_unit_is_spoken_of_in_its_own_section() -> None:
    """Whoever changes it has one place to look at."""
    sections = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
    assert "record" in sections.pop("Unit of privacy")
    assert not [title for title, text in sections.items() if "unit" in text.lower()]
