"""Labels of the past: whose are changed, how many, and that nobody else's are."""

from __future__ import annotations

import numpy as np
import pytest

from secure_fair.data.label_bias import recorded_labels
from secure_fair.data.table import Attribute, Dataset
from secure_fair.errors import UsageError

N = 4000


def table(classes: tuple[str, ...] = ("no", "yes")) -> Dataset:
    generator = np.random.default_rng(1)
    sex = Attribute("sex", generator.integers(0, 2, N), ("female", "male"))
    target = Attribute("hired", generator.integers(0, len(classes), N), classes)
    return Dataset(np.zeros((N, 1)), [str(i) for i in range(N)], {"sex": sex}, target=target)


def test_a_share_of_the_group_s_records_of_class_1_is_labelled_0_and_no_other() -> None:
    people = table()
    recorded = recorded_labels(people, "sex", "female", 0.3, seed=0)
    women = people.sensitive["sex"].codes == 0
    able = women & (people.target.codes == 1)
    assert recorded.dtype == np.int64
    assert np.array_equal(recorded[~able], people.target.codes[~able])
    assert (recorded[able] == 0).mean() == pytest.approx(0.3, abs=0.05)


def test_the_draw_follows_from_the_seed() -> None:
    people = table()
    one, again, other = (recorded_labels(people, "sex", "male", 0.5, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_what_cannot_be_biased_is_refused() -> None:
    with pytest.raises(UsageError, match="sex has no group 'men'; choose from female, male"):
        recorded_labels(table(), "sex", "men", 0.5, seed=0)
    with pytest.raises(UsageError, match="hired has 3 classes"):
        recorded_labels(table(("no", "perhaps", "yes")), "sex", "male", 0.5, seed=0)
