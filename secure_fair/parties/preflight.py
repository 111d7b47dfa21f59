"""Before a run spends anything: every auditor says that the whole plan fits, and only then does anybody begin.

After that each side tells the other how far its ledger has come (``secure_fair.parties.continuity``).
"""

from __future__ import annotations

from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.config import RunConfig
from secure_fair.parties.continuity import Memory
from secure_fair.parties.messages import Begin, Fits


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
