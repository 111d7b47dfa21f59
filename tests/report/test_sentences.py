"""The sentences of a report say what the numbers say: before and after, better and worse, and what is chance."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from secure_fair.report import sentences
from secure_fair.report.html import write_report

Summary = dict[str, Any]


def test_the_headline_has_the_gap_before_and_after_and_accuracy(summary: Summary) -> None:
    gender, race = sentences.headline(summary)
    after = summary["fairness"]["gender"]["demographic_parity_difference"]
    before = summary["compare"][0]["fairness"]["gender"]["demographic_parity_difference"]
    assert gender.startswith("old <50 (faces) by gender: parity (moments) at epsilon 0.99 brings the gap")
    assert f"from {before:.3f}, which erm has, to {after:.3f}" in gender
    assert "accuracy from 0.770 to 0.792." in gender
    assert "by race: parity (moments) by exact releases brings" in race


def test_the_headline_has_the_price_and_whose_it_is(summary: Summary) -> None:
    """Of groups of its own attribute; whoever only gained is not in it."""
    for run in (summary, *summary["compare"]):
        for rates in run["fairness"]["gender"]["groups"].values():
            rates |= {"accuracy": 0.8, "true_positive_rate": 0.7, "false_positive_rate": 0.2}
    gender, race = sentences.headline(summary)
    assert gender.endswith("No group lost a point or more of any rate.")
    summary["fairness"]["gender"]["groups"]["female"] |= {"true_positive_rate": 0.65, "false_positive_rate": 0.1}
    summary["fairness"]["gender"]["groups"]["male"] |= {"false_positive_rate": 0.26}
    told = "The price: false positive rate of male 0.200 → 0.260; true positive rate of female 0.700 → 0.650."
    assert sentences.headline(summary)[0].endswith(told)
    assert sentences.headline(summary)[1] == race


def test_without_a_comparison_there_is_no_before(summary: Summary) -> None:
    del summary["compare"]
    assert "brings" not in sentences.headline(summary)[0]
    assert sentences.changes(summary) == ([], [])
    assert sentences.baseline_of(summary) is None


def test_erm_is_the_baseline_wherever_it_stands(summary: Summary) -> None:
    other = {**copy.deepcopy(summary["compare"][0]), "method": "rr"}
    assert sentences.baseline_of({**summary, "compare": [other, *summary["compare"]]})["method"] == "erm"  # type: ignore[index]
    assert sentences.baseline_of({**summary, "compare": [other]})["method"] == "rr"  # type: ignore[index]


def test_what_got_worse_is_told_as_what_got_better_is(summary: Summary) -> None:
    """Exchanging the two runs exchanges the lists."""
    better, worse = sentences.changes(summary)
    assert any(text.startswith("the gap between selection rates by gender") for text in better)
    erm = summary["compare"][0]
    turned = {**erm, "compare": [{key: value for key, value in summary.items() if key != "compare"}]}
    turned["compare"][0]["method"] = "erm"
    forth = [text.split(" 0")[0] for text in (*better, *worse)]
    back = sentences.changes(turned)
    assert sorted(forth) == sorted(text.split(" 0")[0] for text in (*back[1], *back[0]))
    assert [text.split(" 0")[0] for text in back[0]] == [text.split(" 0")[0] for text in worse]


def test_a_group_that_lost_is_named_with_what_it_lost(summary: Summary) -> None:
    group = summary["compare"][0]["fairness"]["gender"]["groups"]["female"]
    summary["fairness"]["gender"]["groups"]["female"] = {
        **group,
        "true_positive_rate": group["true_positive_rate"] - 0.6,
    }
    was = group["true_positive_rate"]
    assert sentences.changes(summary)[1][0] == f"true positive rate of female {was:.3f} → {was - 0.6:.3f}"


def test_a_change_of_less_than_a_point_is_not_told(summary: Summary) -> None:
    summary["fairness"] = copy.deepcopy(summary["compare"][0]["fairness"])
    summary["utility"] = {"accuracy": summary["compare"][0]["utility"]["accuracy"] + 0.009, "balanced_accuracy": 0.79}
    assert sentences.changes(summary) == ([], [])


def test_a_gap_within_its_floor_is_warned_of(summary: Summary, tmp_path: Path) -> None:
    for run in (summary, *summary["compare"]):
        for name in ("gender", "race"):
            run["fairness"][name]["null_floor"] = dict.fromkeys(sentences.GAPS, 0.0)
    assert sentences.cautions(summary) == []
    gap = summary["fairness"]["gender"]["demographic_parity_difference"]
    summary["fairness"]["gender"]["null_floor"]["demographic_parity_difference"] = gap + 0.001
    (told,) = sentences.cautions(summary)
    assert told.startswith(f"parity (moments): the gap between selection rates by gender is {gap:.3f}")
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert "so few test records cannot tell it from none" in write_report(tmp_path).read_text()


def test_the_page_says_what_got_worse_beside_what_got_better(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    page = write_report(tmp_path).read_text()
    assert page.index("Better than erm") < page.index("Worse than erm") < page.index("<h2>Result")
    assert "old &lt;50: parity (moments)" in page


def test_a_page_shows_the_largest_changes_and_folds_the_others(summary: Summary, tmp_path: Path) -> None:
    groups = {f"g{number}": {"accuracy": 0.9} for number in range(12)}
    worse = {name: {"accuracy": 0.8 - 0.01 * number} for number, name in enumerate(groups)}
    for run, held in ((summary, worse), (summary["compare"][0], groups)):
        run["fairness"] = {"gender": {**run["fairness"]["gender"], "groups": held}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    page = write_report(tmp_path).read_text()
    shown, folded = page[page.index("Worse than") :].split("<summary>", 1)
    assert "accuracy of g11 0.900 → 0.690" in shown
    assert "accuracy of g0 0.900 → 0.800" not in shown
    assert folded.index("accuracy of g0 0.900") < folded.index("</details>")
