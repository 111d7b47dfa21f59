"""A measurement as text, as a page and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.cases import QUERY
from bench.measure import CALLS, MODES, BenchRow
from bench.moments import CALLS_IN_A_ROW, NAMES, SIZES, TURNS, MomentRow
from bench.ours import DEALER
from secure_fair.report.tables import Table

PAGE = """# The secure engine beside stock CrypTen

Made by `secure-fair bench{options} --out docs/bench.md`; run it again to measure your machine.

Both engines ran in the same minutes on one machine:
{machine}.
Every party is a process of its own with one thread. *Ours* is a `Session` over gRPC with mutual TLS 1.3 and its dealer;
*CrypTen 0.4.1* is as released, with its trusted third party, over gloo in the clear.
{parties} compute parties, {batch} records, {dim} features.

{ratios}

The ratios are CrypTen's numbers divided by ours where the dealer was asked ahead: more is better for us.
The moment is the bare product; what the proof of its query adds stands
[below](#a-moment-and-the-proof-of-its-query).{verdict}

{costs}

- **rounds**: messages that follow one another. An opening between the compute parties is one; waiting for the dealer is
  two, its request and its answer, for both engines alike. CrypTen's own statistics count three for the latter.
- **online**: the openings alone.
- **kB**: what all parties and the dealer send, as each engine counts it; ours with its framing, both without TLS and
  TCP. For more than two parties CrypTen's count supposes a ring, while ours send to each other: one message's delay.
- **ms**: median of {repeat} times {calls} calls in a row, the rows of an operation taking turns. Other work on the
  machine meets all of them alike{load}.
- **max error**: largest difference from float64. CrypTen's is decoded exactly here; its own `get_plain_text` is off by
  one for some negative numbers. Its gradients are of the mean loss and are multiplied by the number of records in the
  clear.
- **first use**: nobody has called the operation with these shapes before, and every item is asked for by itself.
  **known schedule**: from the second call on, one request at the start of the call; its answer travels while the first
  opening does, and still counts as two messages here. **asked ahead**: `Session.prefetch`, so early that the answer is
  there when the call begins. All requests and all of the dealer's work are in the milliseconds.
- CrypTen is given its cheapest way: batched products, gradients with `skip_forward`, which leaves the loss's value out.
  Our adversary step does more than CrypTen's: it also keeps the weights in their ball.

## A moment and the proof of its query

A noised moment is proved wherever an auditor checks rows (the default). Both kinds in one run: developer, auditor and
dealer, {columns} columns, one attribute of two groups, whose memberships were committed to beforehand.

{moments}

- **rounds**, **MB** sent by all, **ms**: of one release as the parties make it, what the next takes from the dealer
  being asked for meanwhile; median of {moment_turns} times {moment_calls} releases in a row, either kind in
  turns{load}.
- **memory**: by how much each process grew at its peak since it was connected, memberships and query included.
- An earlier check, by comparisons on shares and no longer in the program, took 1,859 MB and 16.7 s for 100,000 rows,
  and .41 s for 2,400, on the same kind of machine.
"""


@dataclass(frozen=True)
class BenchReport:
    """The rows of one measurement and how it was made."""

    parties: int
    batch: int
    dim: int
    repeat: int
    rows: Sequence[BenchRow]
    load: float | None  # runnable processes on the machine, averaged over the last minutes
    moments: Sequence[MomentRow] = ()

    def tree(self) -> dict[str, Any]:
        """The measurement as a tree for JSON."""
        return {
            "parties": self.parties,
            "batch": self.batch,
            "dim": self.dim,
            "repeat": self.repeat,
            "machine": machine(),
            "load": self.load,
            "rows": [row.tree() for row in self.rows],
            "moments": [row.tree() for row in self.moments],
        }

    def costs(self) -> Table:
        """One line for each operation and mode."""
        return Table(
            ("operation", "engine", "rounds", "online", "kB", "ms", "max error"),
            tuple(
                (
                    *(row.title, MODES[row.mode], f"{row.rounds:g}", f"{row.online:g}"),
                    *(f"{row.bytes / 1000:.0f}", f"{row.milliseconds:.1f}", f"{row.error:.0e}" if row.error else "0"),
                )
                for row in self.rows
            ),
        )

    def ratios(self) -> Table:
        """One line for each operation: CrypTen's numbers divided by ours where the dealer was asked ahead."""
        return Table(
            ("operation", "rounds", "ms", "kB"),
            tuple(
                (
                    theirs.title,
                    f"{theirs.rounds / own.rounds:.1f}x",
                    f"{theirs.milliseconds / own.milliseconds:.1f}x",
                    f"{theirs.bytes / own.bytes:.1f}x",
                )
                for theirs, own in self._pairs()
            ),
        )

    def proofs(self) -> Table:
        """One line for each number of rows, without a proof and with it."""
        return Table(
            ("rows", "query", "rounds", "MB", "ms", *(f"memory of {name}, MB" for name in (*NAMES, DEALER))),
            tuple(
                (
                    *(f"{row.rows:,}", "proved" if row.proved else "unproved", f"{row.rounds:g}"),
                    *(f"{row.bytes / 1e6:.1f}", f"{row.milliseconds:.0f}"),
                    *(f"{row.memory[name] / 1e6:.0f}" for name in (*NAMES, DEALER)),
                )
                for row in self.moments
            ),
        )

    def text(self) -> str:
        """Text for the terminal."""
        head = f"{machine()}; {self.parties} compute parties, {self.batch} records, {self.dim} features"
        ratios = f"CrypTen's numbers divided by ours, asked ahead (more is better):\n{self.ratios().text()}"
        proofs = f"a moment, its query unproved and proved:\n{self.proofs().text()}"
        return "\n\n".join([head, self.costs().text(), ratios + self._verdict(), proofs])

    def page(self) -> str:
        """The measurement as a page in Markdown."""
        given = {"parties": (self.parties, 2), "batch": (self.batch, 128), "dim": (self.dim, 192)}
        options = "".join(f" --{name} {value}" for name, (value, default) in given.items() if value != default)
        sizes = list(dict.fromkeys(row.rows for row in self.moments))
        options += "".join(f" --rows {size}" for size in sizes if sizes != list(SIZES))
        load = "" if self.load is None else f" (load average at the end: {self.load:.1f})"
        return PAGE.format(
            options=options,
            machine=machine(),
            parties=self.parties,
            batch=self.batch,
            dim=self.dim,
            repeat=self.repeat,
            calls="{} to {}".format(*CALLS),
            load=load,
            ratios=self.ratios().markdown(),
            costs=self.costs().markdown(),
            verdict=self._verdict(),
            moments=self.proofs().markdown(),
            columns=QUERY,
            moment_turns=TURNS,
            moment_calls=CALLS_IN_A_ROW,
        )

    def _pairs(self) -> list[tuple[BenchRow, BenchRow]]:
        by_key = {(row.operation, row.mode): row for row in self.rows}
        return [
            (by_key[name, "stock"], by_key[name, "ahead"]) for name in dict.fromkeys(r.operation for r in self.rows)
        ]

    def _verdict(self) -> str:
        """Operations that fall short of three times fewer rounds, or are slower."""
        short = [own.title for theirs, own in self._pairs() if theirs.rounds < 3 * own.rounds]
        slow = [own.title for theirs, own in self._pairs() if theirs.milliseconds < own.milliseconds]
        sentences = []
        if short:
            sentences.append(f"Less than three times fewer rounds: {'; '.join(short)}.")
        if slow:
            sentences.append(f"Slower than CrypTen in this measurement: {'; '.join(slow)}.")
        return "".join(f"\n{sentence}" for sentence in sentences)


def machine() -> str:
    """The kind of machine, without its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} CPU cores ({platform.machine()}), no GPU used, "
        f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}"
    )
