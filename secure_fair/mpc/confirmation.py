"""Confirmed sums: who holds the memberships learns that the sums its query's owner tells are those that were computed.

An opened value has one receiver, and nobody else sees it: the owner could tell others any number. Here the holder of
the memberships A (n, c) checks what the owner P of a committed query F (n, k) tells of v = scale F^T A + noise, and of
the sizes F^T 1. All in step, in the ring Z / 2^64:

 1. The holder V draws an odd factor alpha and a pad (k, c + 1), uniform. It sends alpha (A | 1), masked.
 2. All compute F^T alpha (A | 1) on shares, as a sum over parts of the rows, with the commitment to F that v was made
    of, and open it to P alone, with V's pad added: T, uniform for P.
 3. P sends v, the sizes, and a hash of T, both and a nonce.
 4. V takes its noise off v, has the counts C, and sends T' = alpha (C | sizes) + pad.
 5. P compares T' with T, and sends the nonce where they are the same. V compares the hash.

**P lies.** Whatever it does on the way changes v and T by amounts that it knows: V's masks are V's, F is fixed by the
commitment, and alpha enters no other message. So it is committed to T before it sees T', and another value, off by
delta != 0 in C, needs a T that is off by alpha delta: of |delta| < 2^32 it is right with probability 2^-31 at most.
Until then V decides from v, n and public bounds alone: an abort tells nothing of A. T' says to an honest P what it has
already, and to another one alpha delta.

**V lies.** It may share another matrix in place of alpha (A | 1), and then tells from whether P goes on whether F^T of
it is what V has guessed: one bit, and where the guess was wrong P ends the session, naming V. An honest V learns v and
the sizes; and who knows its own noise knows the counts.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import NotProved, ProtocolError
from secure_fair.mpc.products import Masked, fix, multiply
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
from secure_fair.randomness import KEY_BYTES, PRG

from crypten.mpc import MPCTensor  # isort: skip

CHANNEL = "confirmation"
RING_BITS = 64
HASH_BYTES = 32
PART_ELEMENTS = 1 << 20  # of alpha (A | 1) that are shared in one round


@dataclass(frozen=True)
class Told:
    """The opened value in ring units, int64 (k, c), and the sizes, int64 (k,)."""

    values: Tensor
    sizes: Tensor

    def content(self) -> bytes:
        """Both as bytes."""
        return _bytes(self.values) + _bytes(self.sizes)


def confirm(
    session: Session, query: Masked, owner: str, memberships: Tensor, noise: Tensor | None, scale: int, bound: float
) -> Told:
    """The holder's side: what the owner tells, once it is confirmed; NotProved where it is not.

    ``memberships``: integers (n, c); ``noise``: int64 (k, c), ring units at ``scale``; ``bound``: public, of the value.
    """
    n, c = memberships.shape
    k = query.shape[1]
    alpha = (secrets.randbits(RING_BITS) | 1) - (1 << RING_BITS - 1)
    pad = PRG(secrets.token_bytes(KEY_BYTES)).ring((k, c + 1))
    with session.operation("confirmation"):
        session.reveal_to(owner, _product(session, query, session.name, c + 1, (alpha, memberships)), noise=pad)
        told, commitment = _receive_told(session, owner, (k, c), n, bound * scale)
        counts = told.values if noise is None else told.values - noise
        if (counts % scale != 0).any():
            raise NotProved(f"{owner} tells counts that are none: nothing is confirmed")
        expected = alpha * torch.cat([counts // scale, told.sizes[:, None]], dim=1) + pad
        session._network.send(owner, CHANNEL, _bytes(expected))
        nonce = session._network.receive(owner, CHANNEL, limit=HASH_BYTES)
        if _commitment(nonce, expected, told) != commitment:
            raise NotProved(f"{owner} tells other counts than were computed: nothing is confirmed")
    return told


def prove(session: Session, query: Masked, holder: str, told: Told) -> None:
    """The owner's side; ProtocolError where the holder's check is not of what was computed."""
    k, c = told.values.shape
    with session.operation("confirmation"):
        opened = session.receive_ring(_product(session, query, holder, c + 1))
        nonce = secrets.token_bytes(HASH_BYTES)
        session._network.send(holder, CHANNEL, _commitment(nonce, opened, told), told.content())
        expected = session._network.receive(holder, CHANNEL, limit=8 * k * (c + 1))
        if expected != _bytes(opened):
            raise ProtocolError(f"{holder} checks other counts than were computed: nothing is told it any more")
        session._network.send(holder, CHANNEL, nonce)


def stand_by(session: Session, query: Masked, owner: str, holder: str, columns: int) -> None:
    """Everybody else's side."""
    with session.operation("confirmation"):
        session.reveal_to(owner, _product(session, query, holder, columns + 1))


def _product(
    session: Session, query: Masked, holder: str, columns: int, secret: tuple[int, Tensor] | None = None
) -> MPCTensor:
    """F^T alpha (A | 1), (k, columns), on shares, as integers. ``secret``: alpha and A, at the holder alone.

    So many rows at a time, each part masked for itself, that memory does not grow with their number.
    """
    n = query.shape[0]
    step = max(1, PART_ELEMENTS // columns)
    total = torch.zeros(query.shape[1], columns, dtype=torch.int64)
    for start in range(0, n, step):
        rows = torch.arange(start, min(start + step, n))
        extended = None
        if secret is not None:
            alpha, memberships = secret
            ones = torch.ones(len(rows), 1, dtype=torch.int64)
            extended = alpha * torch.cat([memberships[start : start + step], ones], dim=1)
        owned = session.own_ring(holder, extended, (len(rows), columns))
        total += multiply(session, "matmul", query.rows(rows).T, fix(session, owned)).share
    return from_share(total, 1)


def _receive_told(session: Session, owner: str, shape: tuple[int, int], n: int, bound: float) -> tuple[Told, bytes]:
    """The owner's numbers and its commitment; ProtocolError for what cannot be, from public values alone."""
    size = HASH_BYTES + 8 * (prod(shape) + shape[0])
    message = session._network.receive(owner, CHANNEL, limit=size)
    if len(message) != size:
        raise ProtocolError(f"{owner} told {len(message)} bytes of its counts where {size} were due")
    numbers = torch.from_numpy(np.frombuffer(message, dtype="<i8", offset=HASH_BYTES).copy())
    told = Told(numbers[: prod(shape)].reshape(shape), numbers[prod(shape) :])
    if (told.values > bound).any() or (told.values < -bound).any():
        raise ProtocolError(f"{owner} told a count beyond its bound")
    if (told.sizes < 0).any() or (told.sizes > n).any() or int(told.sizes.sum()) != n:
        raise ProtocolError(f"{owner} told sizes that are not those of {n} records")
    return told, message[:HASH_BYTES]


def _commitment(nonce: bytes, opened: Tensor, told: Told) -> bytes:
    return hashlib.sha256(nonce + _bytes(opened) + told.content()).digest()


def _bytes(numbers: Tensor) -> bytes:
    return numbers.contiguous().numpy().astype("<i8").tobytes()
