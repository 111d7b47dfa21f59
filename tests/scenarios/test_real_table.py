"""On UCI Adult: secure parity by moments at epsilon 1 is no worse than what is published for a trusted curator."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secure_fair.scenarios.launch import run
from secure_fair.scenarios.progress import LineReporter
from secure_fair.scenarios.schema import Scenario

DATA = Path(os.environ.get("SECURE_FAIR_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
# error and demographic-parity gap at epsilon 1: DP-FERMI (arXiv 2210.08781), two points of its curve
PUBLISHED = ((0.176, 0.046), (0.187, 0.010))

pytestmark = pytest.mark.real


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("strength", "published"), [(10.0, PUBLISHED[0]), (30.0, PUBLISHED[1])])
def test_adult(strength: float, published: tuple[float, float], tmp_path: Path) -> None:
    if not (DATA / "adult").is_dir():
        pytest.skip("needs adult below SECURE_FAIR_DATA")
    overrides = [f'data.root="{DATA / "adult"}"', f"method.strength={strength}"]
    summary = run(Scenario.load("adult-income-sex", overrides), tmp_path, LineReporter())
    (erm,) = summary["compare"]
    assert summary["mode"] == "secure"
    assert summary["records"] == {"training": 32_561, "test": 16_281}
    assert erm["utility"]["accuracy"] == pytest.approx(0.853, abs=0.005)
    assert erm["fairness"]["sex"]["demographic_parity_difference"] == pytest.approx(0.17, abs=0.02)
    assert summary["privacy"]["attributes"]["sex"]["epsilon"] <= 1.0
    error, gap = published
    assert 1 - summary["utility"]["accuracy"] <= error
    assert summary["fairness"]["sex"]["demographic_parity_difference"] <= gap + 0.01
