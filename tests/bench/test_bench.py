"""`secure-fair bench` at a tiny size: every row is there and right, and ours waits for a third of the messages."""

from __future__ import annotations

import json
from functools import partial

import pytest
from click.testing import CliRunner

from bench.cases import cases
from bench.measure import MODES, Engine, measure
from bench.report import BenchReport
from bench.work import answer
from scenarios.cli import main
from secure_fair.errors import ProcessFailed


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return BenchReport(2, 8, 12, 1, measure(parties=2, batch=8, dim=12, repeat=1), None)


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


def test_text_page_and_tree_say_the_same(report):
    tree = report.tree()
    assert len(tree["rows"]) == len(report.rows)
    for part in (report.text(), report.page()):
        for row, written in zip(report.rows, tree["rows"], strict=True):
            assert row.title in part
            assert MODES[row.mode] in part
            assert written["rounds"] == row.online + 2 * row.waits
    page = report.page().splitlines()
    assert len([line for line in page if line.startswith("| ")]) == len(report.rows) + len(cases(8, 12)) + 4
    assert " --batch 8 --dim 12 " in page[2]


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


def test_the_command_writes_what_it_prints(tmp_path):
    out = tmp_path / "bench.json"
    arguments = ["bench", "--batch", "2", "--dim", "3", "--repeat", "1", "--out", str(out), "--format", "json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == json.loads(out.read_text())
