"""The dealer: makes correlated randomness for the compute parties and sees no data."""

from __future__ import annotations

from secure_fair.mpc.dealer import serve
from secure_fair.parties.config import Endpoint, Folders, RunConfig
from secure_fair.parties.progress import Progress
from secure_fair.parties.reports import REPORT, leave, write_party_report
from secure_fair.parties.sealing import View, countersign
from secure_fair.parties.statement import Facts


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, progress: Progress) -> None:
    """Serve the compute parties of one run until they have all said goodbye."""
    network = endpoint.network()
    try:
        progress.stage("connecting")
        network.connect(endpoint.peers, endpoint.agreement, endpoint.fingerprints)
        progress.stage(f"dealing to {', '.join(config.compute_parties)}")
        dealt = serve(network, config.compute_parties)
        if config.certified:
            countersign(config, endpoint, network, Facts(), View(config))
        if endpoint.resumed and not dealt and (folders.out / REPORT).is_file():
            progress.done("done: nothing was left to deal, the run has ended before", {"items": dealt})
            return
        write_party_report(folders.out, network.name, None, network, None)
        progress.done(f"done: {dealt} items dealt; costs are in {folders.out / REPORT}", {"items": dealt})
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
