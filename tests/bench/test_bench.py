"""`secure-fair bench` at a tiny size: every row is there and right, and ours waits for a third of the messages."""

from __future__ import annotations

import json
from functools import partial

import pytest
from click.testing import CliRunner

from bench.cases import cases
from bench.measure import MODES, Engine, measure
from bench.moments import measure_moments
from bench.report import BenchReport
from bench.work import answer
from scenarios.cli import main
from secure_fair.errors import ProcessFailed


@pytest.fixture(scope="module")
def report() -> BenchReport:
    rows = measure(parties=2, batch=8, dim=12, repeat=1)
    return BenchReport(2, 8, 12, 1, rows, None, measure_moments([64, 5_000], lambda title: None))


@pytest.mark.slow
def test_every_operation_is_measured_in_every_mode(report):
    assert [(row.operation, row.mode) for row in report.rows] == [
        (name, mode) for name in cases(8, 12) for mode in MODES
    ]
    for row in report.rows:
        assert row.milliseconds > 0
        assert row.bytes > 0
        assert row.error < 1e-2


def test_ours_is_accurate(report):
    assert all(row.error < 1e-3 for row in report.rows if row.mode != "stock")


def test_three_times_fewer_messages_follow_one_another(report):
    rounds = {(row.operation, row.mode): row.rounds for row in report.rows}
    for name in cases(8, 12):
        assert rounds[name, "stock"] >= 3 * rounds[name, "ahead"]
        assert rounds[name, "stock"] >= rounds[name, "scheduled"]


def test_rounds_are_those_that_the_protocols_have(report):
    counted = {(row.operation, row.mode): (row.online, row.waits) for row in report.rows}
    # one triple: an opening, and a request to the third party
    assert counted["product", "stock"] == counted["product", "first"] == (1, 1)
    assert counted["orthogonality", "stock"] == (2, 2)
    assert counted["moment", "ahead"] == (1, 0)
    for name in cases(8, 12):
        online, _ = counted[name, "first"]
        assert counted[name, "scheduled"] == (online, 1)
        assert counted[name, "ahead"] == (online, 0)


def test_bytes_are_those_that_the_shapes_ask_for(report):
    by_key = {(row.operation, row.mode): row.bytes for row in report.rows}
    opened, dealt = 2 * 8 * (8 * 12 + 12), 8 * 8  # both parties send both differences; the dealer one correction
    for mode in MODES:
        assert opened + dealt <= by_key["product", mode] < opened + dealt + 1000  # and headers, and the request


def test_a_proof_costs_what_its_protocol_has(report):
    """A message for the query, and four with the one auditor; of the dealer its tags and keys."""
    bare, proved, *large = report.moments
    assert [(row.rows, row.proved) for row in report.moments] == [(n, p) for n in (64, 5_000) for p in (False, True)]
    assert (bare.online, proved.online) == (2, 6)  # the query masked and opened, or committed to and proved; the answer
    for without, with_proof in ((bare, proved), large):
        entries = without.rows * 16
        assert 2 * 8 * entries < without.bytes < 2 * 8 * entries + 20 * without.rows + 5_000  # both send a difference
        assert (
            with_proof.bytes > 2 * 8 * entries + 2 * 8 * 3 * with_proof.rows
        )  # difference and key; three slacks a row
        assert min(without.milliseconds, with_proof.milliseconds) > 0
        assert set(with_proof.memory) == {"developer", "auditor", "dealer"}
    assert large[1].memory["auditor"] > 8 * 5_000 * 16  # the differences alone


def test_text_page_and_tree_say_the_same(report):
    tree = report.tree()
    assert len(tree["rows"]) == len(report.rows)
    for part in (report.text(), report.page()):
        for row, written in zip(report.rows, tree["rows"], strict=True):
            assert row.title in part
            assert MODES[row.mode] in part
            assert written["rounds"] == row.online + 2 * row.waits
    page = report.page().splitlines()
    lines = len(report.rows) + len(cases(8, 12)) + len(report.moments)
    assert len([line for line in page if line.startswith("| ")]) == lines + 6
    assert " --batch 8 --dim 12 --rows 64 --rows 5000 " in page[2]
    assert [(row["rows"], row["proved"]) for row in tree["moments"]] == [(r.rows, r.proved) for r in report.moments]


def test_what_falls_short_is_said(report):
    slow = next(row for row in report.rows if row.mode == "ahead")
    worse = [
        type(row)(**{**vars(row), "milliseconds": 1e6, "online": 100.0}) if row is slow else row for row in report.rows
    ]
    text = BenchReport(2, 8, 12, 1, worse, None).page()
    assert f"Less than three times fewer rounds: {slow.title}" in text
    assert f"Slower than CrypTen in this measurement: {slow.title}" in text


def test_a_process_that_fails_says_how():
    broken = partial(answer, main=partial(json.loads, "{"))
    engine = Engine([broken, broken])
    try:
        with pytest.raises(ProcessFailed, match="JSONDecodeError"):
            engine.receive(0)
    finally:
        engine.end()
    assert not any(process.is_alive() for process in engine.processes)


@pytest.mark.parametrize("out", ["bench.txt", "missing/bench.md"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, out):
    result = CliRunner().invoke(main, ["bench", "--out", str(tmp_path / out)])
    assert result.exit_code == 2
    assert "name a file that ends in .md or .json" in result.stderr
    assert "measuring" not in result.stderr


@pytest.mark.slow
def test_the_command_writes_what_it_prints(tmp_path):
    out = tmp_path / "bench.json"
    arguments = [
        "bench",
        "--batch",
        "2",
        "--dim",
        "3",
        "--repeat",
        "1",
        "--rows",
        "9",
        "--out",
        str(out),
        "--format",
        "json",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == json.loads(out.read_text())
