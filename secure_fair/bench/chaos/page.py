"""The page of the accidents, as Markdown: by kind how many struck and what came of them, then every run that failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from secure_fair.bench.chaos.accidents import ENDING, KINDS, LONG, MENDED, SOON
from secure_fair.bench.chaos.company import WAIT
from secure_fair.bench.chaos.runs import SHAPES

Run = dict[str, Any]  # a line of the file

TEXT = """# Reliability

Made by `python -m secure_fair.bench.chaos --events {struck} --seed SEED --log FILE --out docs/reliability.md`, from
what was really run, with the seeds {seeds}, each up to where it was stopped; it goes on from there. Three parties of
`secure-fair party`, not simulated, each a process of one machine, with a relay on each of the six lines; 100 records,
parity by moments, every second run with noise. Accidents are at random, and so is when they strike, some of them before
the parties of a run that is gone on with have met.

**{well} of {runs} runs were as they should be, with {struck} accidents that struck in {starts} starts and {hours:.1f}
hours.**

In {mended} runs lines may come back (`link.reconnect = {reconnect:g}`, `--timeout {timeout:g}`; {far:g} for the long
cuts): they must go on by themselves, whatever happens.

| accident | struck | in runs |
| --- | --- | --- |
{going_on}

In {ending} runs no line may come back (`--timeout {short:g}`, `--wait {wait:g}`). Each accident must end all parties
within the silence that is borne (or, where they have not met, the time for all to come) and {soon:g} s; everyone with
the exit code of the case and one message that names a party of the accident, without a traceback or a process that is
left over. Then all are started again with `--resume`, up to the next accident.

| accident | struck | its own exit code | the others' |
| --- | --- | --- | --- |
{ends}

At every end: both ledgers' chains hold, the auditor's begins with all that it had before, every release that was
received is in it, none twice. At the end of a run: with exact releases head and adapter are, bit by bit, those of a run
that nobody disturbed; with noise no fewer moments were paid for than epochs, and no more than epochs and starts.

{failed}

**What accidents have shown so far, and was mended**: a goodbye that was given up when the line broke under it
(`test_a_goodbye_is_waited_for_where_the_line_breaks_under_it`); a run that ended though an auditor could not write
its results (`test_a_run_does_not_end_before_the_auditors_have_written_their_results`); a disk that is full or away,
told as an error of the program (`test_a_disk_that_is_full_or_away_is_no_error_of_the_program`); a byte changed on its
way, told as a lost party (`test_a_byte_that_was_changed_on_the_way_ends_the_run_of_all_alike`); who is told to end
while a library reads a file, and ended with 1 for the error that the library made of the interrupt
(`test_who_is_told_to_end_ends_with_130_whatever_a_library_makes_of_it`); attempts of a long cut that called on when
they had failed, and together took all places at the peer as soon as the line was there, so that a cut of 60 s did not
come back within 75, and does after 60.6 (`test_a_line_that_was_away_is_used_again_at_once_and_by_one_connection`); a
party that left while both of its lines to another were broken, and was taken for lost though all had ended well
(`both` of the first test here); a changed byte of which whoever saw it told after the others had given up the line,
so that one run ended with 4 and 5 (`test_who_sees_a_changed_byte_is_heard_before_it_is_given_up`; its words are
waited for, for half of `--timeout` and no longer:
`test_who_does_not_say_why_its_connection_has_ended_is_given_up_itself`); a folder that was away, told as a file of it
that is missing, with 4 in place of 2 (`test_a_folder_that_is_away_is_no_damage`). A run above may be from before. A
party that had all it needed said goodbye over a line that was dead, which nobody had seen yet, and left before the
other could call again, which took it for lost: it stays now, for `--timeout` at most
(`test_a_goodbye_is_waited_for_where_the_line_is_dead_and_nobody_sees_it`); a byte changed behind a goodbye, told as
if something were still due (`test_a_byte_that_was_changed_behind_a_goodbye_is_of_no_consequence`); a disk that was
full when all was done and written, told as an error of a run that nobody could go on with
(`test_closing_writes_nothing_that_is_on_disk_already`); an auditor whose line broke when the developer had ended,
told to go on with nobody there to go on with (`test_whoever_is_killed_at_the_end_all_come_to_the_same_one` has a kill
there; since the last words of a run were changed 259 accidents in 39 runs, seeds 31 and 32, were all borne as they
should be). A party with another clock is no fork and imports everything; on a busy machine that took longer than the
others waited, who wait longer now. Counted as wrong at first and right: a party that is told to end before it has
begun ends by the signal (-15), the command line's own message of a folder begins with `Error:`, and a run that has
ended at developer and auditor is not gone on with for a dealer that was frozen then.

Another clock is one that a party is started with, by libfaketime where that is installed: within the days of its
certificate it is to change nothing; beyond them the party is to end with 2 before it has met anybody, and to go on once
the clock is right (`test_a_clock_beyond_the_certificates_keeps_a_party_from_going_on_until_it_is_set` has that without
chance). A clock before the certificates' days, of which they have five minutes here, is in
`tests/parties/test_clocks.py`, from ten years back to ten ahead; one that is set while a process runs is not tried.

**What it does not show**: machines that lose their disks, parties that lie
(`tests/parties/test_resume.py`), several auditors, other methods (`tests/learning/test_carried.py` has all, in one
process), and speed: the machine was busy. A full disk is a limit on the size of the party's files; a folder that is
gone has a file in its place.
"""


def page(runs: Sequence[Run]) -> str:
    """The page of these runs."""
    struck = [event for run in runs for event in run["events"] if event["struck"]]
    failed = [run for run in runs if run["wrong"]]
    told = [f"| {run['seed']}-{run['number']} | {run['shape']} | {_cell(run['wrong'])} |" for run in failed]
    table = [
        "Runs that were not as they should be:",
        "",
        "| seed and run | lines | what was wrong |",
        "| --- | --- | --- |",
        *told,
    ]
    return TEXT.format(
        seeds=", ".join(str(seed) for seed in sorted({run["seed"] for run in runs})),
        struck=len(struck),
        runs=len(runs),
        well=len(runs) - len(failed),
        starts=sum(run["starts"] for run in runs),
        hours=sum(run["seconds"] for run in runs) / 3600,
        mended=sum(run["shape"] != "ending" for run in runs),
        ending=sum(run["shape"] == "ending" for run in runs),
        reconnect=SHAPES["mended"].reconnect,
        timeout=SHAPES["mended"].timeout,
        far=SHAPES["long"].reconnect,
        short=SHAPES["ending"].timeout,
        wait=WAIT,
        soon=SOON,
        going_on="\n".join(_went_on(name, runs) for name in {**MENDED, **LONG}),
        ends="\n".join(_ended(name, runs) for name in ENDING),
        failed="\n".join(table) if failed else "No run failed.",
    )


def _cell(wrong: Sequence[str]) -> str:
    """The faults of a run without the places of a machine: how each begins, and the messages in it."""
    said = [part.strip() for one in wrong for part in re.findall(r"^[^:{]+|error: [^\\\n'(]+", one)]
    return "; ".join(said)[:300].replace("|", "/")


def _count(kind: str, runs: Sequence[Run]) -> tuple[int, int]:
    """How many accidents of a kind struck, and in how many runs."""
    of_runs = [sum(event["kind"] == kind and bool(event["struck"]) for event in run["events"]) for run in runs]
    return sum(of_runs), sum(map(bool, of_runs))


def _went_on(kind: str, runs: Sequence[Run]) -> str:
    struck, of = _count(kind, runs)
    least, most = KINDS[kind].lasts
    lasts = "" if not most or least == most else f", {least:g} to {most:g} s"
    if KINDS[kind].at_start:
        lasts = ", {:g} to {:g} days ahead".format(*KINDS[kind].days)
    return f"| {kind}{lasts} | {struck} | {of} |"


def _ended(kind: str, runs: Sequence[Run]) -> str:
    codes = [", ".join(map(_code, sorted(found))) or "as the others" for found in (KINDS[kind].own, KINDS[kind].codes)]
    return f"| {kind} | {_count(kind, runs)[0]} | {codes[0]} | {codes[1]} |"


def _code(code: int) -> str:
    return "killed" if code < 0 else str(code)
