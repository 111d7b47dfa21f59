"""Samples of audits: neither side chooses who is counted, and a developer that offers its own choice is found out."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secure_fair.errors import ProtocolError, Refusal, UsageError
from secure_fair.ids import as_ids
from secure_fair.parties.config import Promise
from secure_fair.parties.draw import Draw, commitment_to, new_nonce, sample
from secure_fair.scenarios.audit import AuditorFile, prepare
from secure_fair.scenarios.policies import load
from tests.scenarios.audits import in_the_clear, people, wanted

CLAIM = "claims = ['impact ratio by sex >= 0.8']\n"
EXACT = f"allow_exact = true\nminimum_batch = 1\n{CLAIM}"
IDS = as_ids([hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(300)])


def promise(size: int, coverage: float = 0.0) -> Promise:
    return Promise("d" * 64, "counts", (), 0.02, size, coverage)


# --- the coin ---------------------------------------------------------------------------------------------------------


def test_everybody_is_drawn_as_often() -> None:
    times = sum(sample(new_nonce(), new_nonce(), IDS, 100).astype(int) for _ in range(300))
    assert times.sum() == 300 * 100
    spread = (300 * (1 / 3) * (2 / 3)) ** 0.5
    assert abs(times - 300 / 3).max() < 7 * spread  # of 300 people one in a billion times


def test_the_coin_is_of_both_sides() -> None:
    """The same seed under another nonce, or the same nonce under another seed, draws other people."""
    seed, nonce = new_nonce(), new_nonce()
    first = sample(seed, nonce, IDS, 100)
    assert np.array_equal(first, sample(seed, nonce, IDS, 100))
    for other in (sample(seed, new_nonce(), IDS, 100), sample(new_nonce(), nonce, IDS, 100)):
        assert 10 < (first & other).sum() < 60  # a third, as by chance
    assert commitment_to(seed) != commitment_to(new_nonce())


def test_an_auditor_that_saw_the_nonce_first_would_choose() -> None:
    """Why it is committed before: of many seeds one has nearly whom it wants. Bound to one it has what comes."""
    nonce, wish = "0" * 64, np.arange(300) < 30
    found = [int((sample(f"{number:064x}", nonce, IDS, 30) & wish).sum()) for number in range(300)]
    assert max(found) >= 7
    assert abs(np.mean(found) - 3) < 0.5


def test_who_abandons_a_draw_unseen_wins_nothing() -> None:
    """A developer that begins again as it likes, for what it knows before anything is opened (its nonce, the
    commitment, its ids), has a sample like any other; one that has seen the result and shows the best of ten has not.
    That is why each try is paid for."""
    unlucky = np.arange(300) < 60  # of the 300 offered, those whom its model treats badly

    def tries(count: int) -> list[tuple[str, int]]:
        seeds = [new_nonce() for _ in range(count)]
        return [(commitment_to(seed), int((sample(seed, new_nonce(), IDS, 100) & unlucky).sum())) for seed in seeds]

    runs = [tries(10) for _ in range(120)]
    unseen = [min(run)[1] for run in runs]  # the smallest commitment: any rule of what it knows
    seen = [min(found for _, found in run) for run in runs]
    deviation = (100 * 0.2 * 0.8 * 200 / 299) ** 0.5  # hypergeometric
    assert abs(np.mean(unseen) - 20) < 5.6 * deviation / 120**0.5
    assert np.mean(seen) < 20 - deviation


def test_a_sample_without_a_nonce_is_none() -> None:
    with pytest.raises(ProtocolError, match="no nonce"):
        Draw.of(promise(10), new_nonce(), "", IDS, 300)


# --- who chooses ------------------------------------------------------------------------------------------------------


def biased() -> dict[str, np.ndarray]:
    """People of whom men are selected three times as often: any 200 of them show it."""
    columns = people(600)
    draw = np.random.default_rng(1)
    sex = draw.choice(("female", "male"), 600)
    return columns | {"sex": sex, "decision": (draw.random(600) < np.where(sex == "male", 0.6, 0.2)).astype(int)}


def flattering(columns: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """As many selected women as men: whom a developer offers that knows, or guesses, who they are."""
    rows = [
        np.flatnonzero((columns["sex"] == sex) & (columns["decision"] == decision))[: size // 4]
        for sex in ("female", "male")
        for decision in (0, 1)
    ]
    chosen = np.sort(np.concatenate(rows))
    return {name: values[chosen] if name in ("id", "decision", "label") else values for name, values in columns.items()}


def answer(folder: Path, offered: dict[str, np.ndarray], everybody: dict[str, np.ndarray], text: str) -> dict:
    """The auditor has everybody, and the developer offers these."""
    folder.mkdir()
    asked = wanted(folder, everybody)
    lines = zip(offered["id"], offered["decision"], offered["label"], strict=True)
    asked.decisions.write_text("id,decision,label\n" + "".join(",".join(map(str, line)) + "\n" for line in lines))
    (folder / "policy.toml").write_text(text)
    prepared = prepare(replace(asked, policies={"": folder / "policy.toml"}))
    return in_the_clear(prepared, folder / "states", "run")


def test_a_developer_that_chooses_its_own_sample_passes_and_by_the_draw_it_fails(tmp_path: Path) -> None:
    columns = biased()
    own = answer(tmp_path / "own", flattering(columns, 200), columns, EXACT)
    assert own["verdicts"][0]["verdict"] == "pass"  # nobody has drawn
    drawn = f"{EXACT}sample = 200\ncoverage = 0.95\n"
    with pytest.raises(Refusal, match=r"of this auditor's 599 records take part.*coverage = 0.95"):
        answer(tmp_path / "refused", flattering(columns, 200), columns, drawn)
    found = answer(tmp_path / "drawn", columns, columns, drawn)
    assert found["verdicts"][0]["verdict"] == "fail"
    groups = found["attributes"]["sex"]["groups"]
    assert [row["group"] for row in groups] == ["female", "male"]
    assert sum(row["records"] for row in groups) == 200
    assert sum(row["share"] for row in groups) == pytest.approx(1)


def test_noise_of_a_drawn_pair_is_that_of_three_groups(tmp_path: Path) -> None:
    columns = biased()
    sigmas = {}
    for name, more in (("all", ""), ("drawn", "sample = 300\n")):
        found = answer(tmp_path / name, columns, columns, f"epsilon = 1\n{more}")
        sigmas[name] = found["attributes"]["sex"]["sigma"]
    assert sigmas["drawn"] == pytest.approx(2**0.5 * sigmas["all"], rel=0.01)


def test_intersections_of_two_auditors_have_no_common_draw(tmp_path: Path) -> None:
    asked = wanted(tmp_path, people(100))
    city, clinic = (AuditorFile(name, asked.auditors[0].file, (held,)) for name, held in (("a", "sex"), ("b", "race")))
    (tmp_path / "policy.toml").write_text("epsilon = 1\nsample = 50\n")
    policies = {"": tmp_path / "policy.toml"}
    asked = replace(asked, auditors=[city, clinic], intersections=[("sex", "race")], policies=policies)
    with pytest.raises(UsageError, match="draws a sample of its own"):
        prepare(asked)


def test_coverage_without_a_sample_is_said(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("epsilon = 1\ncoverage = 0.5\n")
    with pytest.raises(UsageError, match="give sample too"):
        load(tmp_path / "policy.toml")
