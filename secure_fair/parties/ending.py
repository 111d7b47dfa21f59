"""The end of a training run: when it has ended at one party it has ended at all, or all can go on.

``Finished`` from the developer; ``Newest`` from every auditor once it has written its results; a note at the developer
that the run has ended; ``Ended`` to every auditor, which removes its state of the run then. Who is killed or loses a
line before its last word has come keeps its state, and all are started with ``--resume``, as after any failure: where
the developer has its note, ``Ended`` takes the place of ``Resume``. An auditor that has not written its results refuses
it; a developer that says so falsely has lost a run of its own and learned nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from secure_fair.errors import ProtocolError, Refusal
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.checkpoints import Checkpoints, RunEnd, unfinished_runs, was_started
from secure_fair.parties.config import Folders, RunConfig
from secure_fair.parties.continuity import Memory
from secure_fair.parties.messages import Ended, Finished, Newest, Own
from secure_fair.parties.progress import Progress
from secure_fair.privacy.ledger import Ledger

# the developer's side


def finish(config: RunConfig, network: Network, memory: Memory, run: str) -> None:
    """Nothing more is asked, and each ledger's last entry is told."""
    newest = memory.own()
    for auditor in config.auditors:
        messages.send(network, auditor, Finished(newest=newest))
    _hear_newest(config, network, memory, run)


def end(config: RunConfig, network: Network, folders: Folders, run: str, agreement: Mapping[str, str]) -> None:
    """Note that the run has ended, and let every auditor end it."""
    RunEnd(run, str(folders.out.absolute()), dict(agreement)).keep(folders.state)
    for auditor in config.auditors:
        messages.send(network, auditor, Ended(run=run))


def ended_before(state: Path, ledger: Ledger, agreement: Mapping[str, str]) -> RunEnd | None:
    """The note of the newest run, where it has ended here under the same agreement; None where a run is to be gone on
    with: another one, or an older one once all have been told of the end."""
    ended = RunEnd.noted(state)
    begun = [entry["run"] for entry in ledger.entries() if entry["kind"] == "start"]
    if ended is None or not begun or begun[-1] != ended.run or not ended.is_of(agreement):
        return None
    return None if ended.told and unfinished_runs(state, ledger, but=ended.run) else ended


def tell_ended(
    config: RunConfig,
    network: Network,
    session: Session,
    memory: Memory,
    ended: RunEnd,
    state: Path,
    progress: Progress,
) -> None:
    """Tell everybody of a run that has ended here, of which nothing is kept any more; each auditor says how far its
    ledger has come."""
    kept = Checkpoints.of(state, ended.run, memory.ledger)
    if kept is not None:
        kept.remove()
    progress.stage(f"run {ended.run} has ended here, with its results in {ended.out}; whoever has not seen it is told")
    for auditor in config.auditors:
        messages.send(network, auditor, Ended(run=ended.run))
    _hear_newest(config, network, memory, ended.run)
    session.close()
    if config.certified:  # the dealer is about to sign what has been sealed
        messages.expect(network, config.dealer, Own)
        messages.send(network, config.dealer, Ended(run=ended.run))
    ended._replace(told=True).keep(state)


def _hear_newest(config: RunConfig, network: Network, memory: Memory, run: str) -> None:
    for auditor in config.auditors:
        told, _ = messages.expect(network, auditor, Newest)
        memory.keep(run, auditor, told)


# an auditor's side


def conclude(
    config: RunConfig, network: Network, memory: Memory, run: str, finished: Finished, write: Callable[[], None]
) -> None:
    """``write`` the results, and then let the developer end the run: where they cannot be written, the run is gone on
    with by all."""
    if finished.newest is not None:
        memory.keep(run, config.developer, finished.newest)
    write()
    messages.send(network, config.developer, memory.own())


def wait_for_end(config: RunConfig, network: Network, run: str) -> None:
    """Wait until the developer has ended the run; ProtocolError where it names another."""
    ended, _ = messages.expect(network, config.developer, Ended)
    if ended.run != run:
        raise ProtocolError(f"{config.developer} is out of step: it has ended run {ended.run}, and this is {run}")


def end_after(config: RunConfig, state: Path, memory: Memory, ended: Ended, progress: Progress) -> None:
    """End a run that has ended at the developer; Refusal where this auditor's results of it were never written.

    One that was begun here, and of which nothing is kept, has ended here as well.
    """
    network = memory.network
    if not was_started(memory.ledger, ended.run):
        raise Refusal(f"{config.developer} says that run {ended.run} has ended; {network.name} knows no such run")
    kept = Checkpoints.of(state, ended.run, memory.ledger)
    if kept is not None:
        out = kept.concluded
        if not out:
            raise Refusal(
                f"{config.developer} says that run {ended.run} has ended; {network.name} has not written its results "
                "of it: one of the two has an older --state than it had and restores the newest, or all parties begin "
                "a new run, without --resume"
            )
        kept.remove()
        progress.stage(f"run {ended.run} has ended, with this party's results in {out}")
    messages.send(network, config.developer, memory.own())
