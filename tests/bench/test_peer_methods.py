"""Others' fair linear models on planted records, and how a setting is chosen of each."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest

from secure_fair.bench.peers import fairlearn, fairret
from secure_fair.bench.peers.measure import PEERS, measure, require
from secure_fair.bench.peers.parts import Parts, Sample, Score
from secure_fair.bench.peers.peer import Peer
from secure_fair.bench.peers.report import PeersReport
from secure_fair.bench.peers.rows import COLUMNS, PeerRow, chosen, front, to_csv
from secure_fair.errors import UsageError

FAIR = [peer for peer in PEERS if peer.name != "erm"]
FAIREST = {peer.name: peer.path[-1] if peer.knob in ("strength", "alpha") else peer.path[0] for peer in PEERS}


def drawn(records: int, seed: int) -> Sample:
    """Labels follow two features, of which the attribute moves one: without it three of four can be told."""
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 2, records)
    features = generator.normal(size=(records, 6))
    features[:, 0] += 1.5 * groups
    labels = features[:, 0] + features[:, 1] + 0.5 * generator.normal(size=records) > 0.75
    return Sample(features, labels.astype(np.int64), groups)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(drawn(1200, 0), drawn(400, 1), drawn(1000, 2), 2)


def only_installed(peer: Peer) -> Peer:
    if not peer.installed:
        pytest.skip(f"{peer.package} is not installed: pip install 'secure-fair[peers]'")
    return peer


def scored(peer: Peer, parts: Parts) -> Score:
    rule = peer.fit(parts, FAIREST[peer.name], 0)
    return Score.of(parts.test.labels, rule(parts.test), parts.test.groups, 2)


@pytest.mark.parametrize("peer", FAIR, ids=lambda peer: peer.name)
def test_every_peer_reduces_the_gap_and_still_tells_something(peer, parts):
    unfair = scored(PEERS[0], parts)
    fair = scored(only_installed(peer), parts)
    assert unfair.demographic_parity > 0.3
    assert fair.demographic_parity < 0.5 * unfair.demographic_parity
    assert fair.balanced_accuracy > 0.62


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_seed_determines_the_predictions(peer, parts, monkeypatch):
    monkeypatch.setattr(fairlearn, "STEPS", 20)
    monkeypatch.setattr(fairret, "STEPS", 20)
    only_installed(peer)
    first, again = (peer.fit(parts, peer.path[-1], 3)(parts.test) for _ in range(2))
    assert (first == again).all()
    assert set(np.unique(first)) <= {0, 1}


def test_another_seed_draws_otherwise_from_a_mixture(parts):
    one, other = (fairlearn.Reductions().fit(parts, 0.005, seed)(parts.test) for seed in (0, 1))
    assert (one != other).any()


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_who_is_judged_without_the_attribute_is_judged_alike_whatever_it_is(peer, parts):
    """A peer that says it needs the attribute does, and no other does."""
    rule = only_installed(peer).fit(parts, peer.path[0], 0)
    turned = replace(parts.test, groups=1 - parts.test.groups)
    assert (rule(parts.test) != rule(turned)).any() == peer.attribute_given


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_no_peer_sees_the_test_records_before_the_end(peer, parts, monkeypatch):
    monkeypatch.setattr(fairlearn, "STEPS", 20)
    monkeypatch.setattr(fairret, "STEPS", 20)
    only_installed(peer)
    other = replace(parts, test=drawn(50, 9))
    assert (peer.fit(parts, peer.path[0], 0)(parts.test) == peer.fit(other, peer.path[0], 0)(parts.test)).all()


def test_the_penalty_is_the_one_that_validates_best(parts):
    noise = np.random.default_rng(5).normal(size=(60, 200))
    labels = np.arange(60) % 2
    few = Sample(np.hstack([noise, labels[:, None] + noise[:, :1]]), labels, labels)
    assert replace(parts, fit=few, validation=few).inverse_penalty > 0.01
    chosen_for = parts.inverse_penalty
    right = {c: parts._validated(c) for c in (0.01, 0.1, 1.0, 10.0)}
    assert right[chosen_for] == max(right.values())


def test_a_missing_package_is_one_clear_message(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("oxonfair", "fairret") else object())
    with pytest.raises(UsageError) as caught:
        require()
    (problem,) = caught.value.problems
    assert "fairret, oxonfair are not installed" in problem
    assert "pip install 'secure-fair[peers]'" in problem


def test_a_row_says_what_the_part_says(parts):
    (row,) = measure(parts, 4, lambda name: None, PEERS[:1])
    rule = PEERS[0].fit(parts, 0.0, 4)
    assert row.test == Score.of(parts.test.labels, rule(parts.test), parts.test.groups, 2)
    assert row.accuracy == (rule(parts.validation) == parts.validation.labels).mean()
    assert row.gap == row.told != row.test.demographic_parity
    assert (row.seed, row.epsilon, row.mu) == (4, None, None)


def row(method: str, setting: str, accuracy: float, gap: float, **others: object) -> PeerRow:
    score = Score(accuracy - 0.01, accuracy - 0.02, gap + 0.01, gap + 0.02, 0.03)
    fields = {"seed": 0, "epsilon": None, "mu": None, "attribute_given": False, "told": gap, "test": score}
    return PeerRow(method=method, setting=setting, accuracy=accuracy, gap=gap, seconds=1.0, **(fields | others))


def test_the_most_accurate_setting_within_the_target_is_chosen():
    rows = [row("a", "1", 0.9, 0.2), row("a", "2", 0.8, 0.04), row("a", "3", 0.7, 0.01), row("b", "1", 0.9, 0.3)]
    rows += [row("b", "2", 0.6, 0.1), row("a", "1", 0.9, 0.05, seed=1)]
    assert [found.group for found in chosen(rows, 0.05)] == [("a", "2"), ("b", "2"), ("a", "1")]


def test_nothing_of_test_records_decides_a_setting():
    rows = [row("a", "1", 0.9, 0.2), row("a", "2", 0.8, 0.04), row("a", "3", 0.7, 0.01)]
    perfect = Score(1.0, 1.0, 0.0, 0.0, 0.0)
    changed = [replace(one, test=perfect) if one.setting != "2" else one for one in rows]
    assert [found.setting for found in chosen(changed, 0.05)] == ["2"]


def test_who_has_no_attributes_chooses_by_what_is_told():
    rows = [row("a", "1", 0.9, 0.2, told=0.03), row("a", "2", 0.8, 0.04, told=0.01)]
    assert [found.setting for found in chosen(rows, 0.05)] == ["2"]
    assert [found.setting for found in chosen(rows, 0.05, blindly=True)] == ["1"]


def test_the_front_has_what_nothing_is_better_than():
    assert front([(0.9, 0.2), (0.8, 0.1), (0.8, 0.15), (0.7, 0.1), (0.9, 0.2)]) == [True, True, False, False, True]


def test_the_csv_has_a_row_per_run():
    rows = [row("a", "1", 0.9, 0.04), row("ours", "1", 0.8, 0.2, epsilon=0.3, mu=0.089), row("ours", "2", 0.7, 0.1)]
    rows[2] = replace(rows[2], epsilon=math.inf, mu=math.inf)
    lines = list(csv.DictReader(io.StringIO(to_csv(rows, 0.05))))
    assert tuple(lines[0]) == COLUMNS
    assert [line["epsilon"] for line in lines] == ["", "0.3", "inf"]
    assert [line["chosen"] for line in lines] == ["yes", "no", "yes"]
    assert (lines[0]["accuracy"], lines[0]["demographic_parity"], lines[0]["by_chance"]) == (
        "0.8900",
        "0.0500",
        "0.0300",
    )
    assert lines[0]["validation_accuracy"] == "0.9000"


def test_the_page_has_means_over_the_seeds_and_the_front():
    rows = [row("a", "1", 0.9, 0.04, attribute_given=True), row("a", "1", 0.8, 0.04, seed=1, attribute_given=True)]
    rows += [row("ours", "1", 0.7, 0.04, epsilon=1.0, mu=0.268), row("c", "1", 0.6, 0.2)]
    report = PeersReport(rows, 0.05, ["x 1"])
    page = report.page()
    assert "| a | clear | yes | 1 | 0.840 ± 0.071 |" in page
    fronts = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in page.splitlines() if "1.0 |" in line}
    assert fronts == {"a": "all", "ours": "no attribute", "c": "-"}
    assert [line["method"] for line in report.tree()["chosen_blindly"]] == ["ours"]
