"""How a run tells its user where it stands: on a terminal, as plain lines, or as JSON lines; always on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from secure_fair.parties.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from secure_fair.parties.health import Pulse


class Reporter(Progress, Protocol):
    """A reporter as the launcher calls it."""

    def close(self) -> None:
        """Nothing more comes: leave the terminal tidy."""


def epoch_line(
    method: str, epoch: int, epochs: int, loss: float, accuracy: float, gaps: Mapping[str, float | None], seconds: float
) -> str:
    """One epoch in words."""
    shown = "".join(f", {name} gap {gap:.3f}" for name, gap in gaps.items() if gap is not None)
    return f"{method}: epoch {epoch}/{epochs}: loss {loss:.4f}, accuracy {accuracy:.3f}{shown} ({seconds:.1f} s)"


class TerminalReporter:
    """Bars with the time left, and lines above them, by rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._console = Console(stderr=True, highlight=False)
        self._bars: Bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def stage(self, name: str) -> None:
        self._console.print(name, style="bold", markup=False)

    def progress(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(name))

    def epoch(
        self,
        method: str,
        epoch: int,
        epochs: int,
        loss: float,
        accuracy: float,
        gaps: Mapping[str, float | None],
        seconds: float,
    ) -> None:
        self._console.print("  " + epoch_line(method, epoch, epochs, loss, accuracy, gaps, seconds), markup=False)

    def outlook(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        for line in lines:
            self._console.print("  " + line, markup=False)

    def done(self, text: str, facts: Mapping[str, Any]) -> None:
        self._console.print(text, style="bold", markup=False)

    def warn(self, text: str) -> None:
        self._console.print(f"warning: {text}", style="yellow", markup=False)

    def close(self) -> None:
        self._bars.stop()


class LineReporter:
    """Plain lines for a log file or a pipe; a piece of work says how far it is every ten seconds at most."""

    interval = 10.0  # seconds

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._work: dict[str, tuple[float, float]] = {}  # name -> (when it began, when it last said something)

    def stage(self, name: str) -> None:
        self._line(name)

    def progress(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        began, spoke = self._work.setdefault(name, (now, now))
        if done >= total:
            del self._work[name]
        elif now - spoke >= self.interval and done:
            left = (now - began) / done * (total - done)
            self._line(f"  {name}: {done}/{total}, about {left:.0f} s left")
            self._work[name] = (began, now)

    def epoch(
        self,
        method: str,
        epoch: int,
        epochs: int,
        loss: float,
        accuracy: float,
        gaps: Mapping[str, float | None],
        seconds: float,
    ) -> None:
        self._line("  " + epoch_line(method, epoch, epochs, loss, accuracy, gaps, seconds))

    def outlook(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        for line in lines:
            self._line("  " + line)

    def done(self, text: str, facts: Mapping[str, Any]) -> None:
        self._line(text)

    def warn(self, text: str) -> None:
        self._line(f"warning: {text}")

    def close(self) -> None:
        self._stream.flush()

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class JsonReporter:
    """One JSON object a line, each with an ``event``, for programs that follow a run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def stage(self, name: str) -> None:
        self._event("stage", name=name)

    def progress(self, name: str, done: int, total: int) -> None:
        self._event("progress", name=name, done=done, total=total)

    def epoch(
        self,
        method: str,
        epoch: int,
        epochs: int,
        loss: float,
        accuracy: float,
        gaps: Mapping[str, float | None],
        seconds: float,
    ) -> None:
        self._event(
            "epoch",
            method=method,
            epoch=epoch,
            epochs=epochs,
            loss=loss,
            accuracy=accuracy,
            gaps=dict(gaps),
            seconds=seconds,
        )

    def outlook(self, lines: Sequence[str], facts: Mapping[str, Any]) -> None:
        self._event("outlook", **facts)

    def done(self, text: str, facts: Mapping[str, Any]) -> None:
        self._event("done", **facts)

    def warn(self, text: str) -> None:
        self._event("warning", text=text)

    def close(self) -> None:
        self._stream.flush()

    def _event(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), file=self._stream, flush=True)


class WatchedReporter:
    """Another reporter, of whose stages a party's pulse takes note."""

    def __init__(self, report: Reporter, pulse: Pulse) -> None:
        self._report, self._pulse = report, pulse
        self.progress, self.epoch, self.outlook = report.progress, report.epoch, report.outlook
        self.done, self.warn, self.close = report.done, report.warn, report.close

    def stage(self, name: str) -> None:
        self._pulse.note_stage(name)
        self._report.stage(name)


def reporter(output: str) -> Reporter:
    """The reporter for ``--format``: JSON lines for "json"; else bars on a terminal and lines elsewhere."""
    if output == "json":
        return JsonReporter()
    return TerminalReporter() if sys.stderr.isatty() else LineReporter()
