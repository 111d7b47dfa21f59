"""A measurement as text, as a page and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from secure_fair.bench.cases import QUERY
from secure_fair.bench.links import LinkRow
from secure_fair.bench.measure import CALLS, MODES, BenchRow
from secure_fair.bench.moments import CALLS_IN_A_ROW, FULL, LARGE, NAMES, SIZES, TURNS, MomentRow, growth
from secure_fair.bench.ours import DEALER
from secure_fair.bench.semi2k import CALLS as IN_A_ROW
from secure_fair.bench.semi2k import SpuRow
from secure_fair.bench.sizes import MOST_NUMBERS, MPYC, MPYC_ROWS, NUMBERS, WIDTH, SizeRow, has_mpyc
from secure_fair.bench.training import EPOCHS, LORA, RECORDS, SIDE, TrainingRow
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
- **first use**: nobody has called the operation with these shapes before. What it takes from the dealer is found on
  zeros, with nobody at the other end, and asked for in one request at the start of the call; its answer travels while
  the first opening does, and still counts as two messages here. **asked ahead**: `Session.prefetch`, so early that the
  answer is there when the call begins. All requests and all of the dealer's work are in the milliseconds.
- CrypTen is given its cheapest way: batched products, gradients with `skip_forward`, which leaves the loss's value out.
  Our adversary step does more than CrypTen's: it also keeps the weights in their ball.{spu}
{sizes}
## A moment and the proof of its query

A noised moment is proved wherever an auditor checks rows (the default). Both kinds in one run: developer, auditor and
dealer, {columns} columns, one attribute of two groups, whose memberships were committed to beforehand. Beside
them the bare product by stock CrypTen, whose connections are in the clear, and which proves nothing.

{moments}{growth}{figure}

- **rounds**, **MB** sent by all, **ms**: of one release as the parties make it, what the next takes from the dealer
  being asked for meanwhile; median of {moment_turns} times {moment_calls} releases in a row, either kind in
  turns{load}; from {large:,} rows on one release is
  enough. **CPU ms**: of developer and auditor together.
- **memory**: by how much each process grew at its peak since it was connected, memberships and query included.
- An earlier check, by comparisons on shares and no longer in the program, took 1,859 MB and 16.7 s for 100,000 rows,
  and .41 s for 2,400, on the same kind of machine.
- The dashed lines of the figure are what a link makes the least of a proved moment: all bytes over its bandwidth, where
  the auditor, to whom nearly all go, has one line to the others; all rounds times its latency. Nothing was measured
  over such a link: the engine ran on one machine.

## What a run will cost

`secure-fair scenario show` and the report of a run have a forecast of each operation:

    seconds = rounds (pace + latency) + waits for the dealer + bytes / bandwidth + bytes at the machine's pace

- **Rounds and bytes** are counted by the program's own code in a session with nobody at its other end, as they are for
  up to 2,048 records; more follow from three counts, for they are affine in records and in blocks of a proof.
  `test_needs_are_what_a_session_counts` holds them to sessions of two and three parties: rounds exactly, bytes by 2 %.
  A run's parties also send each other words of some hundred bytes (a verifier's verdict), which are not in them.
- **The pace** is measured when it is asked for, in some seconds, by small and larger moments of both kinds, by counts
  and by an adversary's rows, medians of five, between three processes and over a simulated link if the run has one:
  whatever else the machine does then is in it, and what it does later is not. Another operation's work on a byte may be
  more or less. The first proof of a process takes about a tenth of a second more than is forecast; the first release
  after one of another kind waits for what was asked of the dealer in vain.
- **Memory** is 30 MB and 11 copies of an operation's numbers at 8 bytes, which was measured once, for a moment without
  a proof; it is about the most.
- An operation that has more numbers than the engine takes at a time (2^27) is refused before a run begins.
- The latency is of a message, one way (`link.latency_ms`), the bandwidth of each pair in either direction.
{links}{training}"""

SPU = """
- **SPU**'s two parties ran after the others, over TCP in the clear, with the first of them making all masks (SPU's
  default): that saves a dealer's messages, and hides nothing from that party. Its sigmoid is our polynomial, which it
  computes faster, and with less error, than its own. Its step is measured twice: all that
  ours computes, and without the polynomial that keeps the weights in their ball (ours has it in either comparison).
  Ours, asked ahead, took turns with it, {calls} calls in a row each, and differs from its row above by what the
  machine did meanwhile. Its milliseconds and ours:
  """

SIZES_PART = """
## More records

Counts of 4 strata, a moment of 16 columns, the adversary's step ({width} features, 1 column) and the comparison, by two
parties; ours was asked ahead. What takes more than {most:,} numbers is left out, for memory. Medians of five, each
of two or more calls in a row. As many bytes go over ours and over CrypTen's connections in counts and moments, and far
fewer over ours in comparisons: over ours under TLS, over CrypTen's in the clear.

{table}

{told}
"""

FORECASTS = """
Forecast and fact of one release, over simulated links, the pace measured over such a link just before (`--links`):

{table}

{told}
"""
TRAINING = """
## Training

{records:,} pictures of {side} pixels, the small backbone with an adapter of rank {rank} on its last {blocks} blocks,
{epochs} epochs, {threads} threads, one after the other (`--training`):

{table}

- **an epoch**: median of {epochs}. **whole**: the process from start to end; ours reads the files, does the blocks that
  are not trained once for all epochs, and has the releases, the test and the report in it.
- The first two are what a team would write without this program (`secure_fair/bench/plain_training.py`), at their best:
  pictures in memory before they begin, the same small start of the head, the same precision, attention not fused.
- **accuracy** over the last epoch's batches: all train the same model, from other starts of the adapter.
"""
NEAR = 0.3  # of a fact, by which a forecast may miss it


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
    links: Sequence[LinkRow] = ()
    sizes: Sequence[SizeRow] = ()
    spu: Sequence[SpuRow] = ()
    training: Sequence[TrainingRow] = ()

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
            "links": [row.tree() for row in self.links],
            "sizes": [row.tree() for row in self.sizes],
            "spu": [row.tree() for row in self.spu],
            "training": [row.tree() for row in self.training],
        }

    def costs(self) -> Table:
        """One line for each operation and mode; SPU's come last."""
        own = [
            (row.title, MODES[row.mode], f"{row.rounds:g}", f"{row.online:g}", f"{row.bytes / 1000:.0f}", *_timed(row))
            for row in self.rows
        ]
        spu = [(row.title, row.engine, "-", "-", "-", *_timed(row)) for row in self.spu]
        return Table(("operation", "engine", "rounds", "online", "kB", "ms", "max error"), (*own, *spu))

    def by_size(self) -> Table:
        """One line for each operation, number of rows and engine."""
        names = {"adversary": "adversary, 1 column", "comparison": "z > 0", "moment": "moment, 16 columns"}
        return Table(
            ("operation", "rows", "engine", "rounds", "MB", "ms"),
            tuple(
                (
                    *(names.get(row.operation, row.operation), f"{row.rows:,}", row.engine),
                    *("-" if row.rounds is None else f"{row.rounds:g}", f"{row.bytes / 1e6:.2f}"),
                    f"{row.milliseconds:.0f}",
                )
                for row in self.sizes
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
            ("rows", "query", "rounds", "MB", "ms", "CPU ms", *(f"memory of {name}, MB" for name in (*NAMES, DEALER))),
            tuple(
                (
                    *(f"{row.rows:,}", row.kind, f"{row.rounds:g}"),
                    *(f"{row.bytes / 1e6:.1f}", f"{row.milliseconds:.0f}", f"{row.cpu:.0f}"),
                    *(f"{row.memory[name] / 1e6:.0f}" if row.memory else "-" for name in (*NAMES, DEALER)),
                )
                for row in self.moments
            ),
        )

    def forecasts(self) -> Table:
        """One line for each release over a link: its time, and the forecast's."""
        return Table(
            ("operation", "records", "latency, ms", "seconds", "forecast", "forecast / fact"),
            tuple(
                (
                    *(row.operation, f"{row.records:,}", f"{row.latency_ms:g}"),
                    *(f"{row.seconds:.2f}", f"{row.forecast:.2f}", f"{row.ratio:.2f}"),
                )
                for row in self.links
            ),
        )

    def trainings(self) -> Table:
        """One line for each engine's training."""
        return Table(
            ("training", "an epoch, s", "the first, s", "whole, s", "accuracy"),
            tuple(
                (*(row.engine, f"{row.epoch:.1f}", f"{row.first_epoch:.1f}"), f"{row.whole:.0f}", f"{row.accuracy:.3f}")
                for row in self.training
            ),
        )

    def text(self) -> str:
        """Text for the terminal."""
        head = f"{machine()}; {self.parties} compute parties, {self.batch} records, {self.dim} features"
        ratios = f"CrypTen's numbers divided by ours, asked ahead (more is better):\n{self.ratios().text()}"
        proofs = f"a moment, its query unproved and proved:\n{self.proofs().text()}"
        parts = [head, self.costs().text(), ratios + self._verdict(), proofs]
        parts += [f"more records:\n{self.by_size().text()}\n{self._slower_by_size()}"] if self.sizes else []
        parts += [f"forecast and fact:\n{self.forecasts().text()}"] if self.links else []
        parts += [f"training:\n{self.trainings().text()}"] if self.training else []
        return "\n\n".join(parts)

    def page(self, figure: str = "") -> str:
        """The measurement as a page in Markdown, with the ``figure`` of this file beside it."""
        given = {"parties": (self.parties, 2), "batch": (self.batch, 128), "dim": (self.dim, 192)}
        options = "".join(f" --{name} {value}" for name, (value, default) in given.items() if value != default)
        sizes = list(dict.fromkeys(row.rows for row in self.moments))
        rows = "" if sizes == list(SIZES) else "".join(f" --rows {size}" for size in sizes)
        options += " --links" if self.links else ""
        options += " --spu PYTHON" if self.spu else ""
        options += " --training" if self.training else ""
        options += " --full" if sizes == list(FULL) else rows
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
            large=LARGE,
            links=self._links(),
            training=self._training(),
            spu=SPU.format(calls=IN_A_ROW) + self._beside_spu() if self.spu else "",
            sizes=self._sizes(),
            growth=self._growth(),
            figure=f"\n\n![time by rows]({figure})" if figure else "",
        )

    def _links(self) -> str:
        """Forecasts beside facts, with those that are further from them than ``NEAR``."""
        if not self.links:
            return ""
        far = [row for row in self.links if abs(row.ratio - 1) > NEAR]
        named = "; ".join(f"{r.operation} of {r.records:,} at {r.latency_ms:g} ms ({r.ratio:.2f})" for r in far)
        told = f"Further than {NEAR:.0%} from the fact: {named}." if far else f"All are within {NEAR:.0%} of the fact."
        return FORECASTS.format(table=self.forecasts().markdown(), told=told)

    def _training(self) -> str:
        if not self.training:
            return ""
        return TRAINING.format(
            records=RECORDS,
            side=SIDE,
            rank=LORA["rank"],
            blocks=LORA["last_blocks"],
            epochs=EPOCHS,
            threads=torch.get_num_threads(),
            table=self.trainings().markdown(),
        )

    def _beside_spu(self) -> str:
        """Each row's time beside ours in the same turns, and what multiple of it that is."""
        told = (
            f"{row.title} {row.milliseconds:.1f} and {row.own:.1f} ({row.milliseconds / row.own:.1f} times)"
            for row in self.spu
        )
        return ";\n  ".join(told) + "."

    def _sizes(self) -> str:
        """The operations on more records, with where ours is slower than CrypTen."""
        if not self.sizes:
            return ""
        return SIZES_PART.format(
            width=WIDTH, most=MOST_NUMBERS, table=self.by_size().markdown(), told=self._slower_by_size()
        )

    def _slower_by_size(self) -> str:
        """Where ours takes longer than CrypTen, where something was left out, and why."""
        ms = {(row.operation, row.rows, row.engine): row.milliseconds for row in self.sizes}
        stock, own = MODES["stock"], MODES["ahead"]
        slow = [
            f"{operation} of {rows:,} ({ms[operation, rows, own] / theirs:.2f} times)"
            for (operation, rows, engine), theirs in ms.items()
            if engine == stock and ms[operation, rows, own] > theirs
        ]
        told = [
            f"Slower than CrypTen in this measurement: {'; '.join(slow)}." if slow else "Ours is the faster in each."
        ]
        sizes = list(dict.fromkeys(row.rows for row in self.moments))
        left = [
            f"{name} of {rows:,}" for rows in sizes for name, width in NUMBERS.items() if rows * width > MOST_NUMBERS
        ]
        told += [f"Left out for memory: {'; '.join(left)}."] if left else []
        if any(row.engine == MPYC for row in self.sizes):
            told.append(
                "MPyC has three parties without a dealer, no two of whom may collude; its times are of one call\n"
                f"with the sharing of the inputs; up to {MPYC_ROWS:,} rows."
            )
        elif not has_mpyc():
            told.append("MPyC is left out: it is not installed (`pip install 'secure-fair[peers]'`).")
        return "\n".join(told)

    def _growth(self) -> str:
        """How time grows with the rows, in a sentence."""
        powers = {kind: growth(self.moments, kind) for kind in ("unproved", "proved", "CrypTen")}
        told = [f"{power:.2f} ({kind})" for kind, power in powers.items() if power is not None]
        cpu = {(row.rows, row.kind): row.cpu for row in self.moments}
        less = [n for n, kind in cpu if kind == "CrypTen" and cpu[n, kind] < cpu.get((n, "unproved"), 0.0)]
        beside = f"\nCrypTen takes less processor time than the unproved moment at {_rows(less)}." if less else ""
        grows = f"Processor time grows with the power {', '.join(told)} of the rows; 1 is linear." if told else ""
        return f"\n\n{grows}{beside}" if told or less else ""

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


def _timed(row: BenchRow | SpuRow) -> tuple[str, str]:
    """Milliseconds and the largest error, as cells."""
    return f"{row.milliseconds:.1f}", f"{row.error:.0e}" if row.error else "0"


def _rows(sizes: Sequence[int]) -> str:
    """Numbers of rows in words."""
    return f"{', '.join(f'{size:,}' for size in sizes)} rows"


def machine() -> str:
    """The kind of machine, without its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} CPU cores ({platform.machine()}), no GPU used, "
        f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}"
    )
