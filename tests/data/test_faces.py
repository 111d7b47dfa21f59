"""Portraits follow from the seed, carry the correlation that was asked for, and show their attributes."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from secure_fair.data import faces
from secure_fair.data.face_traits import draw_traits
from secure_fair.data.portrait import draw_portrait
from secure_fair.errors import UsageError


def test_equal_seeds_draw_equal_portraits_in_any_process() -> None:
    pictures, codes = faces.draw(5, 7)
    program = (
        "import hashlib; from secure_fair.data import faces; p, c = faces.draw(5, 7); "
        "print(hashlib.sha256(p.tobytes()).hexdigest(), *c['male'])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert told == [hashlib.sha256(pictures.tobytes()).hexdigest(), *map(str, codes["male"])]


def test_a_longer_draw_continues_a_shorter_one() -> None:
    settings = {"target": "smiling", "sensitive": "male", "correlation": 0.3}
    short, short_codes = faces.draw(20, 3, **settings)
    long, long_codes = faces.draw(70, 3, **settings)
    np.testing.assert_array_equal(short, long[:20])
    for name in faces.ATTRIBUTES:
        np.testing.assert_array_equal(short_codes[name], long_codes[name][:20])


def test_other_seeds_draw_other_portraits_and_none_twice() -> None:
    pictures = np.concatenate([faces.draw(40, seed, size=32)[0] for seed in (0, 1)])
    assert len({picture.tobytes() for picture in pictures}) == 80


@pytest.mark.parametrize("size", [16, 33, 64, 112])
def test_any_size(size: int) -> None:
    pictures, codes = faces.draw(3, 0, size=size)
    assert pictures.shape == (3, size, size, 3)
    assert pictures.dtype == np.uint8
    assert all(values.dtype == np.int64 and values.shape == (3,) for values in codes.values())
    assert pictures.std() > 20


def draw_codes(target: str, sensitive: str, correlation: float, base_rate: float = 0.5) -> dict[str, np.ndarray]:
    return faces.draw_codes(20_000, 5, target, sensitive, correlation, base_rate)


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.25, 0.9])
@pytest.mark.parametrize(("target", "sensitive"), [("wavy_hair", "male"), ("smiling", "young"), ("bald", "male")])
def test_correlation_is_the_gap_of_the_labels(target: str, sensitive: str, correlation: float) -> None:
    codes = draw_codes(target, sensitive, correlation)
    rates = [codes[target][codes[sensitive] == group].mean() for group in (0, 1)]
    # 10,000 portraits per group: four standard errors of a rate are 0.02
    assert rates[0] == pytest.approx(0.5 - correlation / 2, abs=0.02)
    assert rates[1] == pytest.approx(0.5 + correlation / 2, abs=0.02)
    assert codes[sensitive].mean() == pytest.approx(0.5, abs=0.015)


def test_correlation_with_three_groups_is_even_and_base_rate_is_kept() -> None:
    codes = draw_codes("smiling", "skin_tone", 0.4, base_rate=0.3)
    rates = [codes["smiling"][codes["skin_tone"] == group].mean() for group in range(3)]
    assert rates == pytest.approx([0.1, 0.3, 0.5], abs=0.025)


def test_the_setting_changes_no_other_attribute_of_a_portrait() -> None:
    _, free = faces.draw(200, 1, "smiling", "male", 0.0, size=16)
    _, linked = faces.draw(200, 1, "smiling", "male", 0.8, size=16)
    changed = [name for name in faces.ATTRIBUTES if (free[name] != linked[name]).any()]
    assert changed == ["smiling"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "tall"}, "no attribute 'tall'"),
        ({"target": "male", "sensitive": "male"}, "both 'male'"),
        ({"target": "smiling", "sensitive": "male", "correlation": 0.9, "base_rate": 0.2}, "outside"),
        ({"target": "skin_tone", "sensitive": "male", "correlation": 0.1}, "two classes"),
        ({"target": "smiling", "correlation": 0.1}, "needs a sensitive attribute"),
        ({"size": 8}, "size 8"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        faces.draw(2, 0, **settings)


@pytest.mark.parametrize("attribute", list(faces.ATTRIBUTES))
def test_every_attribute_shows(attribute: str) -> None:
    """The same portraits with one attribute changed: at least 40 of 50 change by an eighth of the range somewhere."""
    _, codes = faces.draw(50, 9, size=16)
    drawn = []
    for code in (0, 1):
        traits = draw_traits(50, 9, {**codes, attribute: np.full(50, code)})
        portraits = [{name: float(values[i]) for name, values in traits.items()} for i in range(50)]
        drawn.append(np.stack([draw_portrait(t, 64) for t in portraits]).astype(int))
    largest = np.abs(drawn[1] - drawn[0]).reshape(50, -1).max(axis=1)
    assert (largest >= 32).sum() >= 40


@pytest.mark.parametrize("attribute", ["male", "young", "skin_tone", "blond_hair"])
def test_attributes_show_through_everything_else(attribute: str) -> None:
    """Ridge regression on the pixels of 900 portraits predicts 300 others: 4 standard errors above chance, unsure."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import roc_auc_score

    pictures, codes = faces.draw(1200, 2, size=32)
    pixels, present = pictures.reshape(1200, -1) / 127.5 - 1, codes[attribute] > 0
    model = Ridge(alpha=3000.0).fit(pixels[:900], present[:900])
    assert 0.63 < roc_auc_score(present[900:], model.predict(pixels[900:])) < 0.995
