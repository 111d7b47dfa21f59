"""Reporters: what a user or a program sees of a run."""

from __future__ import annotations

import io
import json

from secure_fair.scenarios.progress import JsonReporter, LineReporter, TerminalReporter, reporter


def drive(follow) -> None:
    """Everything that a launcher may report."""
    follow.stage("training: erm")
    for done in range(4):
        follow.progress("training", done, 3)
    follow.progress("nothing to do", 0, 0)
    follow.epoch("erm", 1, 4, 0.61234, 0.75, {"gender": 0.25, "race": None}, 2.0)
    follow.warn("exact releases [moment]")
    follow.done("done: 3 releases", {"releases": 3})
    follow.close()


def test_lines():
    stream = io.StringIO()
    drive(LineReporter(stream))
    assert stream.getvalue().splitlines() == [
        "training: erm",
        "  erm: epoch 1/4: loss 0.6123, accuracy 0.750, gender gap 0.250 (2.0 s)",
        "warning: exact releases [moment]",
        "done: 3 releases",
    ]


def test_lines_tell_the_time_left_of_long_work(monkeypatch):
    stream = io.StringIO()
    follow = LineReporter(stream)
    clock = iter([0.0, 5.0, 20.0, 25.0, 40.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    for done in range(5):
        follow.progress("backbone", done, 4)
    assert stream.getvalue().splitlines() == ["  backbone: 2/4, about 20 s left"]


def test_json_lines():
    stream = io.StringIO()
    drive(JsonReporter(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["stage", *["progress"] * 5, "epoch", "warning", "done"]
    assert events[-3]["gaps"] == {"gender": 0.25, "race": None}
    assert events[-2]["text"] == "exact releases [moment]"
    assert events[-1] == {"event": "done", "releases": 3}


def test_the_terminal_shows_the_same_on_stderr(capsys):
    drive(TerminalReporter())
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("training: erm", "epoch 1/4: loss 0.6123", "warning: exact releases [moment]", "done: 3"):
        assert text in captured.err


def test_json_is_chosen_by_format_and_bars_never_for_a_pipe():
    assert isinstance(reporter("json"), JsonReporter)
    assert isinstance(reporter("text"), LineReporter)  # stderr is no terminal under pytest
