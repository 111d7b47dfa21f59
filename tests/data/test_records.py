"""What can be asked for: columns and comparisons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_fair.data.records import parse_expression, parse_request
from secure_fair.errors import UsageError


@pytest.mark.parametrize(
    ("text", "column", "sign", "number"),
    [
        ("Wavy_Hair", "Wavy_Hair", None, None),
        ("age > 35", "age", ">", "35"),
        ("age>=35", "age", ">=", "35"),
        (" body mass < -1.5 ", "body mass", "<", "-1.5"),
        ("x <= .5", "x", "<=", ".5"),
        (">50K", ">50K", None, None),
        ("<=50K or so", "<=50K or so", None, None),
    ],
)
def test_grammar(text: str, column: str, sign: str | None, number: str | None) -> None:
    e = parse_expression(text)
    assert (e.column, e.sign, e.number) == (column, sign, number)


@pytest.mark.parametrize(
    "text",
    ["", "  ", "> 3", ">3", "> x", ">50K > 3", "age >", "age > x", "age > 3 > 4", "age == 3", "age = 3", "age => 3"],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        parse_expression(text)


@given(st.sampled_from([">", ">=", "<", "<="]), st.integers(-5, 5), st.integers(-5, 5))
def test_comparison_means_what_it_says(sign: str, bound: int, value: int) -> None:
    e = parse_expression(f"v {sign} {bound}")
    assert e.code(value) == eval(f"{value} {sign} {bound}")
    assert e.groups[1] == f"v {sign} {bound}"
    # the other group's name says the opposite
    assert parse_expression(e.groups[0]).code(value) != e.code(value)


def test_request_needs_an_attribute_and_no_repeats() -> None:
    with pytest.raises(UsageError, match="at least one"):
        parse_request("a", [])
    with pytest.raises(UsageError, match=r"asked for twice.*: b"):
        parse_request("a", ["b", "b"])
    with pytest.raises(UsageError, match=r"asked for twice.*: a"):
        parse_request("a", [" a"])


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=5, unique=True).map(sorted), st.integers(-60, 60))
def test_a_cut_column_s_groups_are_ranges_that_say_who_is_in_them(cuts: list[int], value: int) -> None:
    e = parse_expression(f"v cut at {' and '.join(map(str, cuts))}")
    assert len(e.groups) == len(cuts) + 1
    assert [eval(name, {"v": value}) for name in e.groups] == [place == e.code(value) for place in range(len(e.groups))]


@pytest.mark.parametrize("text", ["age cut at 30 and 30", "age cut at 60 and 30", "age cut at 3.3.3"])
def test_cuts_that_do_not_ascend_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cut at numbers that ascend"):
        parse_expression(text)
