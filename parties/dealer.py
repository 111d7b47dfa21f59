"""The dealer: makes correlated randomness for the compute parties and sees no data."""

from __future__ import annotations

from parties.progress import Progress
from parties.reports import leave, write_party_report
from parties.settings import Folders, Joint, Post
from secure_fair.mpc.dealer import serve
from secure_fair.mpc.transport import Network


def main(joint: Joint, post: Post, folders: Folders, progress: Progress) -> None:
    """Serve the compute parties of one run until they have all said goodbye."""
    network = Network(post.credentials, post.listen, timeout=post.timeout, link=post.link)
    try:
        network.connect(post.peers, post.agreement)
        serve(network, joint.compute_parties)
        write_party_report(folders.out, network.name, None, network, None)
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
