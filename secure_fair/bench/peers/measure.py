"""Every peer at every setting of its path, on the same records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from secure_fair.bench.peers import fairlearn, fairret, oxonfair, plain
from secure_fair.bench.peers.parts import Parts, Score
from secure_fair.bench.peers.peer import Peer
from secure_fair.bench.peers.rows import PeerRow
from secure_fair.errors import UsageError

PEERS: tuple[Peer, ...] = (
    plain.LogisticPeer(),
    fairlearn.Reductions(),
    fairlearn.Thresholds(),
    fairlearn.AdversarialDebiasing(),
    oxonfair.KnownGroups(),
    oxonfair.Inferred(),
    fairret.NormViolation(),
    fairret.SmoothViolation(),
    plain.Leace(),
)


def require(peers: Sequence[Peer] = PEERS) -> None:
    """UsageError naming every package of the peers that is not installed."""
    missing = sorted({peer.package for peer in peers if not peer.installed})
    if missing:
        raise UsageError(
            f"the peers' packages {', '.join(missing)} are not installed: pip install 'secure-fair[peers]'"
        )


def measure(parts: Parts, seed: int, follow: Callable[[str], None], peers: Sequence[Peer] = PEERS) -> Iterator[PeerRow]:
    """A row per peer and setting; ``follow`` is told of each peer before it begins."""
    assert parts.inverse_penalty  # chosen before anybody's time is taken
    for peer in peers:
        follow(peer.name)
        for value in peer.path:
            began = time.perf_counter()
            rule = peer.fit(parts, value, seed)
            seconds = time.perf_counter() - began
            validated, tested = (
                Score.of(part.labels, rule(part), part.groups, parts.group_count)
                for part in (parts.validation, parts.test)
            )
            yield PeerRow(
                method=peer.name,
                setting=peer.setting(value),
                seed=seed,
                epsilon=None,
                mu=None,
                attribute_given=peer.attribute_given,
                accuracy=validated.accuracy,
                gap=validated.demographic_parity,
                told=validated.demographic_parity,
                test=tested,
                seconds=seconds,
            )
