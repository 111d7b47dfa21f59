"""Before a run spends anything: every auditor says that the whole plan fits, and only then does anybody begin.

After that and at the end each side tells the other how far its ledger has come (``secure_fair.parties.continuity``).
"""

from __future__ import annotations

from collections.abc import Callable

from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.config import RunConfig
from secure_fair.parties.continuity import Memory
from secure_fair.parties.messages import Begin, Finished, Fits, Newest


def wait_for_all(config: RunConfig, network: Network, memory: Memory, run: str) -> None:
    """The developer's side: have every auditor's word, then tell all to begin.

    BudgetExceeded or Refusal where one refuses: then nobody was told, and nothing is spent anywhere.
    """
    for auditor in config.auditors:
        fits, _ = messages.expect(network, auditor, Fits)
        memory.keep(run, auditor, fits.newest)
    for auditor in config.auditors:
        messages.send(network, auditor, Begin(newest=memory.own()))


def say_it_fits(config: RunConfig, network: Network, memory: Memory, run: str) -> None:
    """An auditor's side: say that the plan fits, and wait until all others have."""
    messages.send(network, config.developer, Fits(newest=memory.own()))
    begin, _ = messages.expect(network, config.developer, Begin)
    memory.keep(run, config.developer, begin.newest)


def finish(config: RunConfig, network: Network, memory: Memory, run: str) -> None:
    """The developer's side of the end: nothing more is asked, and each ledger's last entry is told."""
    newest = memory.own()
    for auditor in config.auditors:
        messages.send(network, auditor, Finished(newest=newest))
    for auditor in config.auditors:
        told, _ = messages.expect(network, auditor, Newest)
        memory.keep(run, auditor, told)


def conclude(
    config: RunConfig, network: Network, memory: Memory, run: str, finished: Finished, write: Callable[[], None]
) -> None:
    """An auditor's side of it. It ``write``s its results, and then lets the developer end the run: where they cannot be
    written, the run is gone on with by all."""
    if finished.newest is not None:
        memory.keep(run, config.developer, finished.newest)
    write()
    messages.send(network, config.developer, memory.own())
