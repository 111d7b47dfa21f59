"""The dealer: makes correlated randomness for the compute parties and sees no data."""

from __future__ import annotations

from parties.config import Endpoint, Folders, RunConfig
from parties.progress import Progress
from parties.reports import REPORT, leave, write_party_report
from parties.sealing import View, countersign
from parties.statement import Facts
from secure_fair.mpc.dealer import serve
from secure_fair.mpc.transport import Network


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, progress: Progress) -> None:
    """Serve the compute parties of one run until they have all said goodbye."""
    network = Network(
        endpoint.credentials, endpoint.listen, timeout=endpoint.timeout, link=endpoint.link, wait=endpoint.wait
    )
    try:
        progress.stage("connecting")
        network.connect(endpoint.peers, endpoint.agreement, endpoint.fingerprints)
        progress.stage(f"dealing to {', '.join(config.compute_parties)}")
        dealt = serve(network, config.compute_parties)
        if config.certified:
            countersign(config, endpoint, network, Facts(), View(config))
        write_party_report(folders.out, network.name, None, network, None)
        progress.done(f"done: {dealt} items dealt; costs are in {folders.out / REPORT}", {"items": dealt})
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
