"""Groups of two data sets: what is the same by name, what has to be said, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from secure_fair.data.matching import matched, places
from secure_fair.data.records import Attribute
from secure_fair.data.table import AttributeTable
from secure_fair.errors import UsageError

FIVE = ("White", "Black", "Asian", "Indian", "Other")
SEVEN = ("Black", "East Asian", "Indian", "Latino", "Middle Eastern", "Southeast Asian", "White")
MADE_OF = {
    "White": ["White"],
    "Black": ["Black"],
    "Asian": ["East Asian", "Southeast Asian"],
    "Indian": ["Indian"],
    "Other": ["Latino", "Middle Eastern"],
}


def problems(name: str, groups: tuple[str, ...], own: str, own_groups: tuple[str, ...], given: dict) -> list[str]:
    with pytest.raises(UsageError) as caught:
        places(name, groups, own, own_groups, given)
    return caught.value.problems


def test_names_tell_groups_in_any_case_and_order() -> None:
    assert places("Male", ("female", "male"), "gender", ("Male", "Female"), {}) == (1, 0)
    assert places("age > 35", ("age <= 35", "age > 35"), "age > 35", ("age <= 35", "age > 35"), {}) == (0, 1)
    assert places("Young", ("no", "yes"), "young", ("yes", "no"), {}) == (1, 0)


def test_what_is_given_goes_before_names() -> None:
    assert places("race", FIVE, "race", SEVEN, {"race": MADE_OF}) == (1, 2, 3, 4, 4, 2, 0)
    told = {"Male": {"yes": ["Male"], "no": ["Female"]}}
    assert places("Male", ("no", "yes"), "gender", ("Male", "Female"), told) == (1, 0)


@pytest.mark.parametrize(
    ("name", "groups", "own", "own_groups"),
    [
        ("Male", ("no", "yes"), "gender", ("Female", "Male")),  # other names
        ("race", FIVE, "race", SEVEN),  # other numbers
        ("age > 35", ("age <= 35", "age > 35"), "age > 30", ("age <= 30", "age > 30")),
        ("kind", ("a", "A"), "kind", ("A", "a")),  # the same but for the case, and nobody knows which
    ],
)
def test_other_names_are_refused_with_the_remedy(
    name: str, groups: tuple[str, ...], own: str, own_groups: tuple[str, ...]
) -> None:
    (problem,) = problems(name, groups, own, own_groups, {})
    assert f"the groups of {own!r} in the auditors' data set" in problem
    assert repr(own_groups[0]) in problem
    assert "have other names" in problem
    key = name if " " not in name else f'"{name}"'
    assert f"data.auditor.groups.{key} = {{ " in problem


def test_yes_and_no_of_two_attributes_are_not_the_same() -> None:
    (problem,) = problems("Young", ("no", "yes"), "Smiling", ("no", "yes"), {})
    assert "say nothing of what they are about" in problem
    assert "data.auditor.groups.Young = { no = [...], yes = [...] }" in problem


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Other": ["Latino"]}, "'Middle Eastern' of the auditors' data set stands there nowhere"),
        ({"White": ["White", "Latino"]}, "'Latino' of the auditors' data set stands there 2 times"),
        ({"Indian": ["Indian", "Tamil"]}, "race.Indian: 'Tamil' is not a group of the auditors' data set"),
        ({"Others": []}, "'Others' is not a group of 'race' (allowed: 'White', 'Black'"),
        (
            {"Indian": [], "Other": ["Latino", "Middle Eastern", "Indian"]},
            "nobody of the auditors' data set is 'Indian'",
        ),
    ],
)
def test_every_group_stands_in_one_place(change: dict[str, list[str]], said: str) -> None:
    (problem,) = problems("race", FIVE, "race", SEVEN, {"race": MADE_OF | change})
    assert said in problem
    assert problem.startswith("data.auditor.groups.race")


def test_a_table_takes_the_measured_names_and_codes() -> None:
    codes = np.array([0, 1, 2, 3, 4, 5, 6])
    table = AttributeTable(
        np.zeros((7, 16, 16, 3), np.uint8), list("abcdefg"), {"ethnicity": Attribute("e", codes, SEVEN)}
    )
    found = matched(table, ["ethnicity"], {"race": FIVE}, {"race": MADE_OF})
    assert list(found.sensitive) == ["race"]
    assert found.sensitive["race"].groups == FIVE
    assert [FIVE[code] for code in found.sensitive["race"].codes] == [
        *("Black", "Asian", "Indian", "Other", "Other", "Asian", "White")
    ]
