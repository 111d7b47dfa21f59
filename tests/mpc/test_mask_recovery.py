"""Who multiplies with the stock engine reads the other party's secret; who multiplies with this one does not.

The attack is passive: a party knows its own operand, so the opened difference tells it the whole mask of that operand,
and its own part of the mask the other party's part. Masks from torch's generator then tell that party's other masks.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
import torch

from secure_fair.attacks.common import mersenne
from secure_fair.mpc.products import fix, mask
from secure_fair.mpc.session import Session
from secure_fair.mpc.transcript import BYTES
from tests.mpc.harness import Settings, run, run_fresh
from tests.mpc.values import AUDITOR, DEVELOPER, share

SIZE = 20  # 400 elements, 312 of which hold the generator's state
STOLEN = 50


def secret(rank: int) -> torch.Tensor:
    return torch.randint(-1000, 1000, (SIZE, SIZE), generator=torch.Generator().manual_seed(rank)).double() / 64


def others_part(rank: int, own: torch.Tensor, opened: list[torch.Tensor], parts: list[torch.Tensor]) -> torch.Tensor:
    """The other party's part of the mask of this party's ``own`` operand (ring): left for rank 0, right for rank 1.

    ``opened``: the differences of the left and the right operand; ``parts``: this party's parts of their masks.
    """
    return own - opened[rank] - parts[rank]


def recover(rank: int, own: torch.Tensor, opened: list[torch.Tensor], parts: list[torch.Tensor]) -> torch.Tensor:
    """The other party's operand, if masks come from torch's generator."""
    known = others_part(rank, own, opened, parts).reshape(-1).numpy()
    predicted = mersenne.after(known, own.numel()) if rank == 0 else mersenne.before(known, own.numel())
    other = 1 - rank
    return opened[other] + parts[other] + torch.from_numpy(predicted).reshape(SIZE, SIZE)


# the stock engine, with its trusted third party


def stock(rank: int, rendezvous: str, pipe: Connection, steal: bool) -> None:
    import crypten
    import crypten.communicator as comm
    from crypten.mpc import provider

    os.environ.update({"WORLD_SIZE": "2", "RANK": str(rank), "RENDEZVOUS": rendezvous, "DISTRIBUTED_BACKEND": "gloo"})
    crypten.cfg.mpc.provider = "TTP"
    if rank == 2:
        provider.TTPServer()
        return
    crypten.init()
    if steal:
        pipe.send_bytes(pickle.dumps(stock_theft(rank, comm, provider)))
    else:
        pipe.send_bytes(pickle.dumps(stock_product(rank, comm, provider)))
    comm.get().barrier()
    crypten.uninit()


def stock_product(rank: int, comm: Any, provider: Any) -> torch.Tensor:
    """The other's operand as this party reads it out of one matrix product."""
    import crypten

    seen: dict[str, list[torch.Tensor]] = {}
    third_party, communicator = provider.TrustedThirdParty, type(comm.get())
    make, reduce = third_party.generate_additive_triple, communicator.all_reduce

    def watch_triple(self: Any, *arguments: Any, **options: Any) -> Any:
        triple = make(self, *arguments, **options)
        seen["parts"] = [triple[0].share.clone(), triple[1].share.clone()]
        return triple

    def watch_opening(self: Any, *arguments: Any, **options: Any) -> Any:
        seen["opened"] = reduce(self, *arguments, **options)
        return seen["opened"]

    third_party.generate_additive_triple, communicator.all_reduce = watch_triple, watch_opening
    x, y = crypten.cryptensor(secret(0), src=0), crypten.cryptensor(secret(1), src=1)
    x.matmul(y)
    own = (secret(rank) * 65536).long()
    return recover(rank, own, seen["opened"], seen["parts"]).double() / 65536


def stock_theft(rank: int, comm: Any, provider: Any) -> torch.Tensor:
    """Rank 0 calls a method of the server by name and is sent the other party's next mask; rank 1 draws that mask."""
    client = provider.ttp_provider.TTPClient.get()
    if rank == 0:
        return client.ttp_request("_get_additive_PRSS", "cpu", torch.Size([STOLEN]), remove_rank=True)
    from crypten.common.rng import generate_random_ring_element

    return generate_random_ring_element(torch.Size([STOLEN]), generator=client.get_generator(device="cpu"))


def run_stock(steal: bool) -> list[torch.Tensor]:
    context = multiprocessing.get_context("forkserver")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe() for _ in range(3)]
        processes = [
            context.Process(target=stock, args=(rank, f"file://{folder}/rendezvous", pipes[rank][1], steal))
            for rank in range(3)
        ]
        try:
            for process in processes:
                process.start()
            assert all(pipe.poll(60) for pipe, _ in pipes[:2])
            return [pickle.loads(pipe.recv_bytes()) for pipe, _ in pipes[:2]]
        finally:
            for process in processes:
                process.join(20)
                if process.is_alive():
                    process.kill()


def test_either_party_reads_the_others_operand_out_of_one_product_of_the_stock_engine() -> None:
    by_first, by_second = run_stock(steal=False)
    assert torch.equal(by_first, secret(1))
    assert torch.equal(by_second, secret(0))


def test_the_stock_server_hands_out_masks_by_name() -> None:
    stolen, masks = run_stock(steal=True)
    assert torch.equal(stolen, masks)


# this engine


def watched_product(session: Session) -> dict[str, Any]:
    """What the attack has: the other's part of a mask, and the other's operand; beside this party's true parts."""
    x, y = share(session, DEVELOPER, secret(0)), share(session, AUDITOR, secret(1))
    left, right = mask(session, x, y)
    view = (session.rank, (secret(session.rank) * 65536).long(), [left.difference, right.difference])
    parts = [left.mask_share, right.mask_share]
    return {"parts": parts, "known": others_part(*view, parts), "operand": recover(*view, parts).double() / 65536}


def test_neither_party_reads_anything_out_of_a_product_of_this_engine() -> None:
    first, second = run(watched_product)
    assert torch.equal(first["known"], second["parts"][0])  # the attack gets as far as with the stock engine ...
    assert torch.equal(second["known"], first["parts"][1])
    assert not torch.isin(first["operand"], secret(1)).any()  # ... and no further
    assert not torch.isin(second["operand"], secret(0)).any()


def test_masks_do_not_follow_torchs_seed() -> None:
    first = run_fresh(seeded_masks, settings=Settings())[0]
    again = run_fresh(seeded_masks, settings=Settings())[0]
    assert not torch.isin(first, again).any()


def seeded_masks(session: Session) -> torch.Tensor:
    torch.manual_seed(0)
    return fix(session, share(session, DEVELOPER, secret(0))).mask_share


def asks_by_name(session: Session, message: bytes) -> None:
    session._network.send("dealer", "dealer", bytes(BYTES), message)
    session._network.receive("dealer", "dealer", limit=8 * STOLEN)


@pytest.mark.parametrize("name", ["_get_additive_PRSS", "additive", "terminate", "__init__"])
def test_the_dealer_refuses_what_is_not_on_its_menu(name: str) -> None:
    message = f'[["{name}",[{STOLEN}],true]]'.encode()
    *parties, dealer = run_fresh(asks_by_name, message)
    assert dealer.kind == "ProtocolError"
    assert "not on the dealer's menu" in str(dealer)
    assert all(party.kind in ("ProtocolError", "PartyLost") for party in parties)


# the attack itself


def test_the_generators_elements_are_told_both_ways() -> None:
    generator = torch.Generator().manual_seed(1234)
    drawn = torch.randint(-(2**63), 2**63 - 1, (1000,), generator=generator, dtype=torch.long).numpy()
    assert np.array_equal(mersenne.before(drawn[500:], 500), drawn[:500])
    assert np.array_equal(mersenne.after(drawn[:400], 600), drawn[400:])


def test_fewer_elements_do_not_hold_the_state() -> None:
    with pytest.raises(ValueError, match="312"):
        mersenne.before(np.zeros(311, dtype=np.int64), 1)
