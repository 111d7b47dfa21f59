"""An audit's answers: what a policy has shown, what is asked twice, and what one changed decision tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secure_fair.data.decisions import Columns
from secure_fair.errors import BudgetExceeded, ClaimFails, Refusal, UsageError
from secure_fair.fairness.claims import FAIL, OPEN, PASS
from secure_fair.report.audit import calibrated
from secure_fair.scenarios.audit import AuditorFile, AuditRequest, PreparedAudit, prepare
from secure_fair.scenarios.cli.audit import check_claims
from tests.scenarios.audits import in_the_clear, people, policy, wanted

EXACT = "allow_exact = true\n"


def prepared(
    folder: Path, columns: dict[str, np.ndarray], text: str | None = None, **settings: object
) -> PreparedAudit:
    """An audit under this policy; its default without one."""
    policies = {} if text is None else policy(folder, text)
    return prepare(wanted(folder, columns, policies=policies, **settings))


def flipped(columns: dict[str, np.ndarray], person: int) -> dict[str, np.ndarray]:
    """The same with one decision turned around."""
    decision = columns["decision"].copy()
    decision[person] = 1 - decision[person]
    return columns | {"decision": decision}


# --- closed by default ------------------------------------------------------------------------------------------------


def test_without_a_word_there_is_noise_and_it_keeps_its_epsilon(tmp_path: Path) -> None:
    asked = prepared(tmp_path, people(200))
    assert asked.terms.epsilon == 1.0
    answer = in_the_clear(asked, tmp_path / "states", "first")
    assert answer["attributes"]["sex"]["sigma"] > 3
    assert all("impact ratio by" in one["claim"] for one in answer["verdicts"])


@pytest.mark.parametrize(
    ("text", "epsilon", "found"), [(EXACT, None, None), (EXACT, 2.0, 2.0), ("epsilon = 3", None, 1)]
)
def test_exact_is_what_every_policy_allows_and_nobody_asked_otherwise(
    tmp_path: Path, text: str, epsilon: float | None, found: float | None
) -> None:
    assert prepared(tmp_path, people(100), text, epsilon=epsilon).terms.epsilon == found


def test_an_intersection_of_one_holder_needs_no_trust(tmp_path: Path) -> None:
    """Noised, under a policy that takes the developer for a liar; between two auditors it is refused."""
    asked = prepared(tmp_path, people(300), intersections=[("sex", "race")])
    answer = in_the_clear(asked, tmp_path / "states", "first")
    assert answer["attributes"]["sex x race"]["sigma"] > answer["attributes"]["sex"]["sigma"] > 3
    race = AuditorFile("bureau", asked.wanted.auditors[0].file, ("race",))
    apart = replace(asked.wanted, auditors=[replace(asked.wanted.auditors[0], attributes=("sex",)), race])
    with pytest.raises(Refusal, match="protects attributes only from a developer that follows the protocol"):
        prepare(apart)
    trusting = policy(
        tmp_path / "trusting", "epsilon = 1\ndeveloper = 'follows the protocol'\nauditors = 'follow the protocol'\n"
    )
    assert prepare(replace(apart, policies=trusting)).terms.run_config().products == ("sex x race",)


# --- the policy of before ---------------------------------------------------------------------------------------------


def test_another_policy_than_was_agreed_on_is_refused(tmp_path: Path) -> None:
    """A threshold that was moved afterwards, or a blank: the digest is that of the file."""
    asked = prepared(tmp_path, people(100), EXACT + "claims = ['impact ratio by sex >= 0.8']\n")
    file = tmp_path / "policy.toml"
    assert asked.terms.policy("city", file).claims == ("impact ratio by sex >= 0.8",)
    for moved in (file.read_text().replace("0.8", "0.7"), file.read_text() + " "):
        other = tmp_path / "moved.toml"
        other.write_text(moved)
        with pytest.raises(Refusal, match="the parties agreed on"):
            asked.terms.policy("city", other)


def test_a_verdict_alone_has_no_count_beside_it(tmp_path: Path) -> None:
    columns = people(400)
    text = EXACT + "answer = 'verdict'\nclaims = ['impact ratio by sex >= 0.8', 'impact ratio by race >= 0.1']\n"
    answer = in_the_clear(prepared(tmp_path, columns, text), tmp_path / "states", "first")
    assert [one["verdict"] for one in answer["verdicts"]] == [FAIL, PASS]
    assert answer["attributes"]["sex"].keys() == {"answer", "auditors", "sigma"}
    assert "rate" not in json.dumps(answer["attributes"])


def test_what_noise_leaves_open_is_decided_at_a_larger_epsilon(tmp_path: Path) -> None:
    """The ratio of these people is about a half, and at the first epsilon the noise is larger than their number."""
    columns, claims = people(600), "epsilon = 900\nclaims = ['impact ratio by sex >= 0.9']\n"
    first, second = (
        in_the_clear(prepared(tmp_path, columns, claims, epsilon=epsilon), tmp_path / str(epsilon), "first")["verdicts"]
        for epsilon in (0.01, 400.0)
    )
    assert [one["verdict"] for one in (*first, *second)] == [OPEN, FAIL]
    assert second[0]["deciding_epsilon"] is None
    assert first[0]["deciding_epsilon"] is None or first[0]["deciding_epsilon"] > 0.01


# --- asked again ------------------------------------------------------------------------------------------------------


def planned(states: Path) -> int:
    """The number of releases that city has paid for."""
    lines = (states / "city" / "ledger.jsonl").read_text().splitlines()
    return sum(json.loads(line)["kind"] == "planned" for line in lines)


def test_the_same_audit_is_answered_from_memory_and_one_that_differs_costs(tmp_path: Path) -> None:
    """The default policy has room for one audit for life; one decision turned around makes another."""
    columns, states = people(200), tmp_path / "states"
    asked = prepared(tmp_path, columns)
    first = in_the_clear(asked, states, "first")
    spent = planned(states)
    again = in_the_clear(asked, states, "again")
    assert again["attributes"] == first["attributes"]  # noise and all
    assert again["verdicts"] == first["verdicts"]
    near = prepared(tmp_path, flipped(columns, 7))
    with pytest.raises(BudgetExceeded):
        in_the_clear(near, states, "near")
    assert planned(states) == spent == 2


def test_where_there_is_room_one_that_differs_is_paid_for(tmp_path: Path) -> None:
    columns, states = people(200), tmp_path / "states"
    first, other = (
        in_the_clear(prepared(tmp_path, who, "epsilon = 5"), states, run)
        for who, run in ((columns, "first"), (flipped(columns, 7), "other"))
    )
    assert other["attributes"]["sex"]["groups"] != first["attributes"]["sex"]["groups"]
    assert planned(states) == 4


# --- the attack -------------------------------------------------------------------------------------------------------


def told(first: dict[str, object], second: dict[str, object]) -> str:
    """The sex of whom one decision was turned around: the group whose selected have changed most."""
    selected = [
        {
            row["group"]: (row["selection rate"]["value"] or 0) * row["records"]
            for row in one["attributes"]["sex"]["groups"]
        }
        for one in (first, second)
    ]  # type: ignore[index]
    return max(selected[0], key=lambda group: abs(selected[0][group] - selected[1][group]))


def test_one_changed_decision_tells_an_attribute_where_counts_are_exact(tmp_path: Path) -> None:
    """Ten people, each asked about by an audit of its own: all are told where policies allow exact counts."""
    columns = people(120, seed=3)
    states, right = tmp_path / "states", 0
    first = in_the_clear(prepared(tmp_path, columns, EXACT), tmp_path / "first", "first")
    for person in range(2, 12):
        second = in_the_clear(prepared(tmp_path, flipped(columns, person), EXACT), states / str(person), "second")
        right += told(first, second) == (columns["sex"][person] or "unknown")
    assert right == 10


def test_one_changed_decision_tells_next_to_nothing_under_noise(tmp_path: Path) -> None:
    """The same attack under a policy that has room for both audits, epsilon 2 for life.

    Who guesses the larger group is right in 58 of 120 cases; mu of both audits together lets nobody be right in more
    than .63 of a fair coin's.
    """
    columns, right, people_asked = people(120, seed=3), 0, range(2, 32)
    for person in people_asked:
        states = tmp_path / str(person)
        roomy = "epsilon = 2"
        first = in_the_clear(prepared(tmp_path, columns, roomy), states, "first")
        second = in_the_clear(prepared(tmp_path, flipped(columns, person), roomy), states, "second")
        right += told(first, second) == (columns["sex"][person] or "unknown")
    # by chance about .4, and 24 of 30 once in 40,000 times; ten of ten where counts are exact
    assert right / len(people_asked) < 0.8


# --- scores, and exit codes -------------------------------------------------------------------------------------------


def test_scores_are_counted_above_their_median(tmp_path: Path) -> None:
    columns = people(200)
    columns["score"] = np.round(np.random.default_rng(1).random(200) * np.where(columns["sex"] == "male", 1, 0.5), 3)
    asked = wanted(tmp_path, columns, policies=policy(tmp_path, EXACT))
    lines = [f"{name},{score}" for name, score in zip(columns["id"], columns["score"], strict=True)]
    asked.decisions.write_text("\n".join(["id,score", *lines]) + "\n")
    answer = in_the_clear(prepare(asked), tmp_path / "states", "first")
    kept, sex = columns["score"][2:], columns["sex"][2:]
    above = kept > np.median(kept)
    assert (answer["selection"], answer["median"]) == ("scoring rate", pytest.approx(np.median(kept)))
    for row in answer["attributes"]["sex"]["groups"][:2]:
        assert row["scoring rate"]["value"] == pytest.approx(above[sex == row["group"]].mean())


def test_a_threshold_makes_decisions_of_scores(tmp_path: Path) -> None:
    asked = wanted(tmp_path, people(100))
    asked.decisions.write_text("id,score,label\n" + "\n".join(f"p{i},{i / 100},{i % 2}" for i in range(100)) + "\n")
    columns = Columns(score="score", threshold=0.5)
    found = prepare(type(asked)(asked.decisions, columns, asked.auditors)).decisions
    assert found.selected is not None
    assert found.selected.sum() == 50
    assert found.labels is not None


@pytest.mark.parametrize(
    ("verdict", "fail_on", "fails"),
    [
        (FAIL, None, False),
        (FAIL, "fail", True),
        (OPEN, "fail", False),
        (OPEN, "not-decidable", True),
        (PASS, "fail", False),
    ],
)
def test_the_exit_code_is_asked_for(verdict: str, fail_on: str | None, fails: bool) -> None:
    verdicts = [{"claim": "impact ratio by sex >= 0.8", "verdict": verdict}]
    if not fails:
        check_claims(verdicts, fail_on)
        return
    with pytest.raises(ClaimFails, match="impact ratio by sex") as caught:
        check_claims(verdicts, fail_on)
    assert caught.value.exit_code == 6


# --- scores in bins ---------------------------------------------------------------------------------------------------


def scored(folder: Path, label: bool = True, **settings: object) -> AuditRequest:
    """An audit of scores that come true, with labels or without."""
    columns = people(400)
    draw = np.random.default_rng(3)
    scores = draw.random(400)
    label_column = (draw.random(400) < scores).astype(int)
    asked = wanted(folder, columns, **settings)
    lines = zip(columns["id"], scores, label_column, strict=True)
    header = "id,score,label\n" if label else "id,score,other\n"
    asked.decisions.write_text(header + "".join(",".join(map(str, line)) + "\n" for line in lines))
    return asked


def test_scores_are_compared_with_labels_in_bins(tmp_path: Path) -> None:
    exact = policy(tmp_path, EXACT)
    found = in_the_clear(prepare(scored(tmp_path, policies=exact, bins=4)), tmp_path / "states", "first")
    bins = found["attributes"]["sex"]["calibration"]
    assert sum(one["scores"]["records"] for one in bins) == found["records"]["with_label"] == 398
    assert [{group["group"] for group in one["groups"]} for one in bins] == [{"female", "male"}] * 4
    plain = in_the_clear(prepare(scored(tmp_path / "plain", policies=exact)), tmp_path / "other", "first")
    assert "calibration" not in plain["attributes"]["sex"]
    assert plain["records"]["with_label"] is None
    rates = [[row["scoring rate"]["value"] for row in one["attributes"]["sex"]["groups"]] for one in (found, plain)]
    assert rates[0] == rates[1]


def test_the_page_and_the_csv_have_the_bins(tmp_path: Path) -> None:
    asked = prepare(scored(tmp_path, policies=policy(tmp_path, EXACT), bins=4))
    found = in_the_clear(asked, tmp_path / "states", "first")["attributes"]["sex"]
    assert calibrated(found).header[:4] == ("scores", "mean", "records", "observed: female")
    assert len(calibrated(found).rows) == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bins": 5}, "must be even"),
        ({"bins": 4, "label": False}, "no labels"),
        ({"bins": 4, "columns": Columns(threshold=0.5)}, "no scores"),
    ],
)
def test_bins_need_scores_with_labels(tmp_path: Path, settings: dict, said: str) -> None:
    label, columns = settings.pop("label", True), settings.pop("columns", Columns())
    with pytest.raises(UsageError, match=said):
        prepare(replace(scored(tmp_path, label, **settings), columns=columns))
