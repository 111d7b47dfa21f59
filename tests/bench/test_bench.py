"""`secure-fair bench` at a tiny size: every row is there and right, and ours waits for a third of the messages."""

from __future__ import annotations

import json
import sys
from functools import partial

import pytest
from click.testing import CliRunner

from secure_fair.bench.cases import cases
from secure_fair.bench.figure import moments_svg
from secure_fair.bench.measure import MODES, BenchRow, Engine, measure
from secure_fair.bench.moments import MomentRow, growth, measure_moments
from secure_fair.bench.report import BenchReport
from secure_fair.bench.semi2k import SpuRow, measure_spu
from secure_fair.bench.sizes import MPYC, NUMBERS, SizeRow, has_mpyc, measure_sizes
from secure_fair.bench.work import answer
from secure_fair.errors import ProcessFailed
from secure_fair.scenarios.cli import main

pytestmark = pytest.mark.slow
SPU = SpuRow("comparison", "z > 0, 8 numbers", "0.9", 1.0, 0.0, own=2.0)


@pytest.fixture(scope="module")
def report() -> BenchReport:
    rows = measure(parties=2, batch=8, dim=12, repeat=1)
    moments = measure_moments([64, 5_000], lambda title: None)
    sizes = measure_sizes([64], lambda title: None)
    return BenchReport(2, 8, 12, 1, rows, None, moments, sizes=sizes, spu=[SPU])


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
        assert rounds[name, "stock"] >= rounds[name, "first"]


def test_rounds_are_those_that_the_protocols_have(report):
    counted = {(row.operation, row.mode): (row.online, row.waits) for row in report.rows}
    # one triple: an opening, and a request to the third party
    assert counted["product", "stock"] == (1, 1)
    assert counted["orthogonality", "stock"] == (2, 2)
    assert counted["moment", "ahead"] == (1, 0)
    for name in cases(8, 12):
        online, waits = counted[name, "first"]
        assert waits == 1  # however many items it takes
        assert counted[name, "ahead"] == (online, 0)


def test_bytes_are_those_that_the_shapes_ask_for(report):
    by_key = {(row.operation, row.mode): row.bytes for row in report.rows}
    opened, dealt = 2 * 8 * (8 * 12 + 12), 8 * 8  # both parties send both differences; the dealer one correction
    for mode in MODES:
        assert opened + dealt <= by_key["product", mode] < opened + dealt + 1000  # and headers, and the request


def test_a_proof_costs_what_its_protocol_has(report):
    """A message for the query, and four with the one auditor; of the dealer its tags and keys."""
    kinds = ("unproved", "proved", "CrypTen")
    assert [(row.rows, row.kind) for row in report.moments] == [(n, kind) for n in (64, 5_000) for kind in kinds]
    bare, proved, *large = (row for row in report.moments if not row.stock)
    assert (bare.online, proved.online) == (2, 6)  # the query masked and opened, or committed to and proved; the answer
    for without, with_proof in ((bare, proved), large):
        entries = without.rows * 16
        assert 8 * entries < without.bytes < 8 * entries + 20 * without.rows + 5_000  # the owner sends a difference
        assert (
            with_proof.bytes > 2 * 8 * entries + 2 * 8 * 3 * with_proof.rows
        )  # difference and key; three slacks a row
        assert min(without.milliseconds, with_proof.milliseconds) > 0
        assert set(with_proof.memory) == {"developer", "auditor", "dealer"}
    assert large[1].memory["auditor"] > 8 * 5_000 * 16  # the differences alone
    assert all(row.cpu > 0 for row in report.moments)
    drawn = moments_svg(report.moments)
    assert all(text in drawn for text in ("measured, proved", "measured, CrypTen", "least at 50 ms"))


def test_growth_is_the_power_of_the_rows():
    rows = [MomentRow(n, True, 2, 0, 1, 1, {}, cpu=cpu) for n, cpu in ((10, 5.0), (100, 50.0), (1000, 50_000.0))]
    assert growth(rows[:2], "proved") == pytest.approx(1)
    assert growth(rows, "proved") == pytest.approx(2)
    assert growth(rows, "unproved") is None


def test_text_page_and_tree_say_the_same(report):
    tree = report.tree()
    assert len(tree["rows"]) == len(report.rows)
    for part in (report.text(), report.page()):
        for row, written in zip(report.rows, tree["rows"], strict=True):
            assert row.title in part
            assert MODES[row.mode] in part
            assert written["rounds"] == row.online + 2 * row.waits
    page = report.page().splitlines()
    lines = len(report.rows) + len(cases(8, 12)) + len(report.moments) + len(report.sizes) + len(report.spu)
    assert len([line for line in page if line.startswith("| ")]) == lines + 8
    assert " --batch 8 --dim 12 --spu PYTHON --rows 64 --rows 5000 " in page[2]
    assert [(row["rows"], row["proved"]) for row in tree["moments"]] == [(r.rows, r.proved) for r in report.moments]


def test_many_records_are_measured_by_every_engine_that_is_there(report):
    """MPyC where it is installed, by three parties, and for what its program computes; it checks the result itself."""
    found = {(row.operation, row.engine): row for row in report.sizes}
    engines = [MODES["stock"], MODES["ahead"]]
    by_mpyc = [(name, MPYC) for name in ("counts", "moment") if has_mpyc()]
    assert set(found) == {(name, engine) for name in NUMBERS for engine in engines} | set(by_mpyc)
    for row in found.values():
        assert row.rows == 64
        assert row.milliseconds > 0
        assert row.bytes > 8 * 64  # what one party opens masked
    assert ("MPyC is left out" in report.page()) != has_mpyc()


def test_what_is_slower_than_others_or_left_out_is_said():
    def timed(engine, milliseconds):
        return SizeRow("counts", 10**6, engine, 1.0, 1e6, milliseconds)

    moments = [MomentRow(10**6, True, 2, 0, 1, 1, {})]
    rows = [BenchRow("comparison", SPU.title, mode, 1, 1, 1, 2e-6, 0) for mode in MODES]
    sizes = [timed(MODES["stock"], 10.0), timed(MODES["ahead"], 25.0)]
    page = BenchReport(2, 8, 12, 1, rows, None, moments, sizes=sizes, spu=[SPU]).page()
    assert "Slower than CrypTen in this measurement: counts of 1,000,000 (2.50 times)." in page
    assert "Left out for memory: moment of 1,000,000; adversary of 1,000,000." in page
    assert "Its milliseconds and ours:\n  z > 0, 8 numbers 1.0 and 2.0 (0.5 times)." in page
    better = [timed(MODES["stock"], 10.0), timed(MODES["ahead"], 5.0)]
    assert "Ours is the faster in each." in BenchReport(2, 8, 12, 1, rows, None, moments, sizes=better).page()


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


@pytest.mark.parametrize(
    ("python", "message"), [("missing", "name the Python of an environment"), (sys.executable, "cannot import spu")]
)
def test_an_interpreter_without_spu_is_refused_before_anything_is_measured(python, message):
    result = CliRunner().invoke(main, ["bench", "--spu", python])
    assert result.exit_code == 2
    assert f"--spu {python}" in result.stderr
    assert message in result.stderr
    assert "measuring" not in result.stderr


PEER = """#!{python}
import json, sys
settings = json.loads(sys.argv[2])
print("a word of a library")
print(json.dumps({{"version": "0", "errors": dict.fromkeys(("adversary", "no ball", "comparison"), 0.0)}}), flush=True)
for line in sys.stdin:
    if {ends}:
        sys.exit("out of memory")
    print(0.001 * settings["calls"], flush=True)
"""


def peer(folder, ends):
    """An interpreter that answers as SPU's program does, whatever it is to run."""
    file = folder / "python"
    file.write_text(PEER.format(python=sys.executable, ends=ends))
    file.chmod(0o700)
    return file


def test_spu_is_asked_in_turns_with_ours(tmp_path):
    found = measure_spu(peer(tmp_path, False), 8, 12, 2)
    assert [row.operation for row in found] == ["adversary", "adversary", "comparison"]
    assert [row.title.endswith(", no ball") for row in found] == [False, True, False]
    for row in found:
        assert (row.version, row.milliseconds) == ("0", pytest.approx(5.0))
        assert row.own > 0


def test_why_spu_has_ended_is_said(tmp_path):
    with pytest.raises(ProcessFailed, match=r"SPU: it has ended\. out of memory"):
        measure_spu(peer(tmp_path, True), 8, 12, 1)


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
