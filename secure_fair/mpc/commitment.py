"""Inputs that are committed to once and proved to be bounded: queries with rows of norm at most 1, and memberships.

The commitment is the public difference D = F - R from a mask R that the dealer made for its owner. It fixes F, it is
what is proved, and it is what products use: a committed value is a ``Masked`` one (``products``), R its mask. So

    F^T A = D^T A + R^T (A - B) + R^T B        (``products.multiply``; A - B is public, B the mask of memberships A)

where D^T A is linear in the shares of A, the owner knows R and thus the second term, and the dealer, who knows both
masks, deals shares of the third. After the commitment a product takes no message, and what the other parties answer is
a function of D, of their shares and of the dealer's: whatever else the owner does changes its own result by an amount
that it knows. The answer's sensitivity is that of rows within the bound, if the proof was accepted.

Protocol. P: an owner, with integers F (n, k); V: each of its verifiers, with its secret factor Delta; all in step.

 1. The dealer deals: to P a mask R of 60 bits for every entry and a tag of it for every V (P derives them from its key
    with the dealer), to each V the keys (sent: 8 bytes an entry); the same for the auxiliary numbers of the proof.
 2. P sends D = F - R to all other parties, or to some alone (``told``). They refuse an entry outside
    (-2^60 - b, b], b being the bound of |F|.
 3. All receivers compare digests of D, two by two: it is the same for all.
 4. Rows only (``commit_rows``): P sends each V the differences of its slacks. Then V sends the seed of 64 random
    subsets of every block of rows, and P the differences of the binary digits of its sums over them.
 5. V sends the seed of the weights, P two numbers; V accepts, or raises NotProved (``authenticated``).

V's function returns only once V has accepted: nothing is answered before.

**Proved of rows.** F has 8 fractional bits, |F_ij| <= 2^8. For every row P finds slacks a, b, c with

    sum_j F_j^2 + a^2 + b^2 + c^2 + c = 2^16

(every integer >= 0 is a^2 + b^2 + c^2 + c, and c^2 + c >= 0 for every integer c). If this holds of integers, the row's
norm is at most 2^8. It is proved modulo p; it holds of the integers if all of them are below 2^t in size, with
(k + 3) 2^(2t) + 2^t + 2^16 < p (``bounds.Blocks``). For that, sums over random subsets (as in PINE, arXiv 2311.10237):
if a number x of a block, taken modulo p as closest to 0, is not below 2^t in size, then of a sum with x and the same
sum without it at most one is in [-2^(t-1), 2^(t-1)). So a random subset's sum is there with probability at most 1/2,
and 64 of them with at most 2^-64. Sums of an honest P always are: a row's sizes add up to at most sqrt(k + 3) 2^8.
P proves that they are, by t digits each, x^2 - x = 0 of every digit.

**Proved of memberships** (``commit_bits``): x^2 - x = 0 of every entry, and a rule for the sums of rows.

**Several owners** of one matrix have rows of their own each, one owner's below the other's. Each is P for its rows
alone, with a mask of so many rows, and proves them to all others; a message of more rows or fewer is refused. So an
owner has no number in another's rows that it could say anything about, and no part of a mask there. What is put
together is public: the differences, one below the other, are those of the whole matrix from the mask whose rows the
dealer derives from the key of each row's owner. That is one operand, of which every party has checked all rows but its
own: nothing is summed that could hide what one owner has put in. Rows behind those of all owners are zeros, under no
mask. Parties that were told of other owners or sizes are out of step.

**From the field to the ring.** R is in [0, 2^60) and D as in step 2, so that the integer F = D + R is in
(-2^60 - b, 2^60 + b). It is equal modulo p to the x that was proved, |x| < 2^t <= 2^28, and |F - x| < 2^60 + 2^29 < p.
So F = x, modulo 2^64 too, where the products are.

**Soundness.** A false F is accepted by V with probability at most 2^-64 + 2^-60 + 2^-59 < 2^-58: subsets, weights,
Delta. Seeds come from V's operating system and are sent after everything that they test has arrived. A party that does
not verify relies on those that do.

**Hiding.** The D of two values that differ by s are at a statistical distance of s / 2^60: 2^-51 an entry of rows,
2^-60 an entry of memberships, summed up over the entries; 2^-27 for a query of a million rows of 16. Slacks and digits
have masks of the whole field, at most 2^-61 from uniform. Besides, V learns one bit: that the proof holds. A V that
deviates learns no more: whatever seeds it sends, an honest P's sums are in range and its equations hold, so that its
answer is a uniform number and one that follows from it and from what V has. P learns of Delta only that V has accepted.

**What this does not give.** The dealer must collude with nobody. A committed value that enters anything but a product
with a shared one is from there on as good as its shares, which are not authenticated. Any party can stop the session.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from secure_fair.errors import NotProved, ProtocolError, UsageError
from secure_fair.mpc import bounds, field
from secure_fair.mpc.authenticated import Check, CommittedValues, Integers, OwnersCheck, VerifiersCheck
from secure_fair.mpc.bounds import Blocks, RowSum
from secure_fair.mpc.field import SUBSETS, Field, Subsets
from secure_fair.mpc.menu import COMMITTED_BITS, Keys
from secure_fair.mpc.products import Masked, masked
from secure_fair.mpc.session import Session
from secure_fair.randomness import KEY_BYTES, PRG, derive

CHANNEL = "commitment"
DIGEST_BYTES = 32
MESSAGE_ELEMENTS = 1 << 16
BIT_ROWS = 4096  # of memberships that are checked at a time

Equations = Callable[[Check, PRG], None]  # adds them to one side of a check


def commit_rows(
    session: Session,
    owner: str,
    values: Tensor | None,
    shape: Sequence[int],
    *,
    verifiers: Sequence[str] | None = None,
    told: Sequence[str] | None = None,
) -> Masked:
    """Commit the ``owner`` to real ``values`` (n, k) whose rows have norm at most 1, and prove it to every verifier.

    All others pass None. ``verifiers``: all compute parties but the owner, unless named; ``told``: who is sent the
    commitment, the verifiers among them, all unless named (``products.Masked``). Entries are rounded to 8 fractional
    bits; the result's scale is 2^8. UsageError at the owner for longer rows, NotProved naming the owner at whoever is
    not convinced. 1 round (2 where more than one is told), and 4 with each verifier in turn.
    """
    n, k = _check_shape(shape)
    roles = Roles.of(session, owner, verifiers, told)
    _check_passed(session, [owner], values)
    own = None if values is None else bounds.encode_rows(values, (n, k))
    blocks = Blocks.of(n, k)
    with session.operation("commit_rows", (n, k), (roles.owner,), roles.verifiers, roles.told):
        operand, mask_share = session.provider.new_committed_mask((n, k), (roles.owner,))
        of_rows = Keys(operand.mask, (n, k), roles.owner, roles.verifiers, ring=True)
        sums = (blocks.count * SUBSETS, blocks.digits)
        each = [(v,) for v in roles.verifiers]
        sizes = [((n, 3), roles.verifiers), *((sums, one) for one in each), *(((1, 1), one) for one in each)]
        ((keys, (of_slacks, *others)),) = _deal(session, [(of_rows, sizes)])
        of_digits, blinds = others[: len(each)], others[len(each) :]
        differences = _exchange_differences(session, roles, (n, k), own, mask_share, bound=bounds.SCALE)
        _compare_digests(session, [(roles, differences)])
        rows = CommittedValues(of_rows, differences, own, keys)
        slacks = of_slacks.commit(session, roles, None if own is None else bounds.find_slacks(own))
        for verifier, of_digit, blind in zip(roles.verifiers, of_digits, blinds, strict=True):
            if session.rank in (roles.owner, verifier):
                _prove_rows(session, roles, verifier, blocks, rows, slacks, of_digit, blind)
        session.communicator.rounds += roles.rounds + 4 * len(roles.verifiers)
    return masked(session, operand, torch.from_numpy(differences), mask_share, bounds.SCALE, roles.alone(session))


def commit_bits(
    session: Session,
    owners: Sequence[str],
    values: Tensor | None,
    shape: Sequence[int],
    *,
    rule: RowSum,
    sizes: Mapping[str, int] | None = None,
    verifiers: Sequence[str] | None = None,
    told: Sequence[str] | None = None,
) -> Masked:
    """Commit the ``owners`` to a matrix of bits (n, c), each to rows of its own, and prove them to every verifier.

    Every owner passes its rows, integers 0 and 1, all others None. ``sizes``, public, name how many each has; they are
    one owner's below the other's, in the parties' order, and rows behind them all are zeros. Several owners have to
    name theirs, a single one has all rows if it names none. UsageError at the owner for other rows, NotProved naming
    the owner at whoever is not convinced. ``told`` as for ``commit_rows``, of a single owner's alone. Rounds as there,
    but 2 for each owner and verifier in turn.
    """
    n, c = _check_shape(shape)
    counts = bounds.check_sizes(owners, sizes or {}, n)
    _check_passed(session, owners, values)
    if told is not None and len(owners) > 1:
        raise UsageError(f"what {', '.join(owners)} are committed to is for all: one owner alone may name who is told")
    own = None if values is None else bounds.encode_bits(values, (counts[session.name], c), rule)
    parts = _parts(session, counts, verifiers, told)
    ranks, hearing = tuple(part.roles.owner for part in parts), parts[0].roles.alone(session)
    proved_to = [part.roles.verifiers for part in parts]
    named = () if tuple(counts.values()) == (n,) else tuple(part.rows for part in parts)
    session._transcript.note("commit_bits", rule.value)
    with session.operation("commit_bits", (n, c), ranks, named, hearing, *proved_to):
        operand, mask_share = session.provider.new_committed_mask((n, c), ranks, named)
        items = [part.keys(operand.mask, c) for part in parts]
        dealt = _deal(session, [(item, [((1, 1), (v,)) for v in item.verifiers]) for item in items])
        differences, sent = _exchange_parts(session, parts, (n, c), own, mask_share)
        for part, item, (keys, blinds) in zip(parts, items, dealt, strict=True):
            mine = session.rank == part.roles.owner
            bits = CommittedValues(item, sent[part.owner], own if mine else None, keys)
            for verifier, blind in zip(item.verifiers, blinds, strict=True):
                if mine or session.rank == verifier:
                    _prove_bits(session, part.roles, verifier, bits, rule, blind)
        session.communicator.rounds += parts[0].roles.rounds + 2 * sum(map(len, proved_to))
    return masked(session, operand, torch.from_numpy(differences), mask_share, 1, hearing)


@dataclass(frozen=True)
class Roles:
    """The ranks of one owner, of those that it proves to, and of all that are told of its commitment."""

    owner: int
    verifiers: tuple[int, ...]
    told: tuple[int, ...]

    @classmethod
    def of(
        cls, session: Session, owner: str, verifiers: Sequence[str] | None, told: Sequence[str] | None = None
    ) -> Roles:
        """UsageError for names that are no compute parties, or where nobody verifies, or one who is not told."""
        hearing = session.parties if told is None else told
        named = hearing if verifiers is None else verifiers
        if not {owner, *named, *hearing} <= set(session.parties):
            raise UsageError(f"owner {owner!r}, verifiers {list(named)}: compute parties are {list(session.parties)}")
        itself = session.parties.index(owner)
        ranks, heard = ({session.parties.index(name) for name in names} - {itself} for names in (named, hearing))
        if not ranks:
            raise UsageError(f"nobody verifies what {owner!r} is committed to: name another compute party")
        if not ranks <= heard:
            raise UsageError(
                f"verifiers {list(named)}: of what {owner!r} is committed to {list(hearing)} are told alone"
            )
        return cls(itself, tuple(sorted(ranks)), tuple(sorted(heard)))

    @property
    def rounds(self) -> int:
        """The rounds of steps 2 and 3: one receiver has nobody to compare digests with."""
        return 1 if len(self.told) == 1 else 2

    def alone(self, session: Session) -> tuple[int, ...]:
        """Those that are told, where they are not all."""
        return self.told if len(self.told) < len(session.communicator.peers) else ()


@dataclass(frozen=True)
class OwnerRows:
    """One owner's rows of a matrix: so many ``rows``, behind so many others."""

    owner: str
    roles: Roles
    start: int
    rows: int

    def keys(self, mask: int, columns: int) -> Keys:
        """Keys to its rows of the operand with this number."""
        return Keys(mask, (self.rows, columns), self.roles.owner, self.roles.verifiers, ring=True)


def _parts(
    session: Session, counts: Mapping[str, int], verifiers: Sequence[str] | None, told: Sequence[str] | None
) -> list[OwnerRows]:
    """Everybody's rows, in the parties' order."""
    found, start = list[OwnerRows](), 0
    for owner in sorted(counts, key=session.parties.index):
        found.append(OwnerRows(owner, Roles.of(session, owner, verifiers, told), start, counts[owner]))
        start += counts[owner]
    return found


def _check_shape(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise UsageError(f"shape {tuple(shape)}: a commitment is to a matrix of one row and column at least")
    return shape[0], shape[1]


def _check_passed(session: Session, owners: Sequence[str], values: Tensor | None) -> None:
    if (values is not None) != (session.name in owners):
        raise UsageError(f"{', '.join(owners)}, and nobody else, pass values; this is {session.name!r}")


# what is sent


@dataclass(frozen=True)
class FieldMask:
    """A mask over the whole field, authenticated to verifiers, at one party: for auxiliary numbers of a proof."""

    item: Keys
    mask: Field | None  # at the owner
    keys: Field | None  # at a verifier

    def commit(self, session: Session, roles: Roles, values: Integers | None) -> CommittedValues:
        """The owner's ``values`` bound to this mask: it sends their differences to those who have keys."""
        differences = np.zeros(self.item.shape, dtype=np.uint64)
        step = max(1, MESSAGE_ELEMENTS // self.item.shape[1])
        for part in (slice(start, start + step) for start in range(0, len(differences), step)):
            if values is not None and self.mask is not None:
                differences[part] = field.subtract(field.encode(values[part]), self.mask[part])
                for verifier in self.item.verifiers:
                    session._network.send(session.parties[verifier], CHANNEL, differences[part].data)
            elif self.keys is not None:
                differences[part] = _receive_elements(session, roles, differences[part].shape)
        return CommittedValues(self.item, differences, values, self.keys)

    @property
    def itself(self) -> CommittedValues:
        """The mask as a value: nothing is sent."""
        values = None if self.mask is None else self.mask.astype(np.int64)
        return CommittedValues(self.item, np.zeros(self.item.shape, dtype=np.uint64), values, self.keys)


Sizes = Sequence[tuple[tuple[int, int], tuple[int, ...]]]  # shapes, and who verifies


def _deal(session: Session, wanted: Sequence[tuple[Keys, Sizes]]) -> list[tuple[Field | None, list[FieldMask]]]:
    """For each owner keys to its committed values, and for each size and its verifiers a new mask over the field: all
    in one request."""
    provider = session.provider
    drawn = []
    for of_values, sizes in wanted:
        masks = [(provider.new_field_mask(shape, of_values.owner), shape, verifiers) for shape, verifiers in sizes]
        items = [Keys(number, shape, of_values.owner, verifiers, ring=False) for (number, _), shape, verifiers in masks]
        drawn.append((of_values, [(item, mask) for item, ((_, mask), *_) in zip(items, masks, strict=True)]))
    provider.expect([item for of_values, others in drawn for item in [of_values, *(item for item, _ in others)]])
    return [
        (provider.take_keys(of_values), [FieldMask(item, mask, provider.take_keys(item)) for item, mask in others])
        for of_values, others in drawn
    ]


def _receive_elements(session: Session, roles: Roles, shape: Sequence[int]) -> Field:
    owner = session.parties[roles.owner]
    elements = field.of_bytes(session._network.receive(owner, CHANNEL, limit=8 * prod(shape)), shape)
    if elements is None:
        raise ProtocolError(f"{owner} sent something other than {prod(shape)} elements of the field for its proof")
    return elements


def _exchange_differences(
    session: Session,
    roles: Roles,
    shape: tuple[int, int],
    values: Integers | None,
    mask_share: Tensor,
    *,
    bound: int,
) -> Integers:
    """The owner's ``values`` less its mask, sent to all that are told; zeros at all others. Step 2 of the protocol."""
    if session.rank not in (roles.owner, *roles.told):
        return np.zeros(shape, dtype=np.int64)
    differences = np.empty(shape, dtype=np.int64)
    step = max(1, MESSAGE_ELEMENTS // shape[1])
    for part in (slice(start, start + step) for start in range(0, shape[0], step)):
        if values is not None:
            differences[part] = values[part] - mask_share[part].numpy()
            for receiver in roles.told:
                session._network.send(session.parties[receiver], CHANNEL, differences[part].data)
        else:
            differences[part] = _receive_differences(session, roles, differences[part].shape, bound)
    return differences


def _exchange_parts(
    session: Session, parts: Sequence[OwnerRows], shape: tuple[int, int], own: Integers | None, mask_share: Tensor
) -> tuple[Integers, dict[str, Integers]]:
    """Steps 2 and 3 with every owner's rows: the differences of the whole matrix, and by owner those of its rows.

    Each sends its own first, so that nobody waits for another's.
    """
    sent = {}
    for part in sorted(parts, key=lambda part: part.roles.owner != session.rank):
        rows = slice(part.start, part.start + part.rows)
        mine = own if part.roles.owner == session.rank else None
        sent[part.owner] = _exchange_differences(
            session, part.roles, (part.rows, shape[1]), mine, mask_share[rows], bound=1
        )
    _compare_digests(session, [(part.roles, sent[part.owner]) for part in parts])
    if len(parts) == 1 and parts[0].rows == shape[0]:
        return sent[parts[0].owner], sent
    differences = np.zeros(shape, dtype=np.int64)
    for part in parts:
        differences[part.start : part.start + part.rows] = sent[part.owner]
    return differences, sent


def _receive_differences(session: Session, roles: Roles, shape: tuple[int, ...], bound: int) -> Integers:
    owner = session.parties[roles.owner]
    message = session._network.receive(owner, CHANNEL, limit=8 * prod(shape))
    if len(message) != 8 * prod(shape):
        raise ProtocolError(f"{owner} sent {len(message)} bytes of its commitment where {8 * prod(shape)} were due")
    numbers = np.frombuffer(message, dtype="<i8").reshape(shape)
    if ((numbers > bound) | (numbers <= -(1 << COMMITTED_BITS) - bound)).any():
        raise NotProved(f"{owner} sent a number outside the range of a commitment to values up to {bound}")
    return numbers


def _compare_digests(session: Session, sent: Sequence[tuple[Roles, Integers]]) -> None:
    """Step 3, of all owners' differences at once: with each peer those that both have from another."""
    digests = {
        roles.owner: hashlib.blake2b(differences.data, digest_size=DIGEST_BYTES).digest()
        for roles, differences in sent
        if session.rank in roles.told and len(roles.told) > 1
    }
    alike = {
        rank: [roles.owner for roles, _ in sent if roles.owner in digests and rank in roles.told]
        for rank in range(len(session.parties))
        if rank != session.rank
    }
    for rank in (rank for rank, owners in alike.items() if owners):
        session._network.send(session.parties[rank], CHANNEL, b"".join(digests[owner] for owner in alike[rank]))
    for rank, owners in alike.items():
        peer, size = session.parties[rank], DIGEST_BYTES * len(owners)
        theirs = session._network.receive(peer, CHANNEL, limit=size) if owners else b""
        for place, owner in enumerate(owners):
            if theirs[place * DIGEST_BYTES :][:DIGEST_BYTES] != digests[owner]:
                raise ProtocolError(
                    f"{session.parties[owner]} sent {peer} another commitment than this party, or {peer} says so: "
                    "nothing is answered"
                )


# what is proved


def _prove_rows(
    session: Session,
    roles: Roles,
    verifier: int,
    blocks: Blocks,
    rows: CommittedValues,
    slacks: CommittedValues,
    of_digits: FieldMask,
    blind: FieldMask,
) -> None:
    """Steps 4 and 5 for rows, at the owner or at this verifier."""
    provider = session.provider
    seed = _challenge(session, roles, verifier)
    digits = of_digits.commit(session, roles, _digits(seed, blocks, rows.values, slacks.values))

    def equations(check: Check, stream: PRG) -> None:
        tables = zip(
            rows.blocks(provider, verifier, blocks.rows),
            slacks.blocks(provider, verifier, blocks.rows),
            digits.blocks(provider, verifier, SUBSETS),
            strict=True,
        )
        for number, (row, slack, digit) in enumerate(tables):
            subsets = _subsets(seed, number, row.codes.size + slack.codes.size)
            bounds.add_norms(check, stream, row, slack)
            bounds.add_ranges(check, stream, subsets, row, slack, digit)

    _conclude(session, roles, verifier, blind, equations)


def _subsets(seed: bytes, block: int, count: int) -> Subsets:
    return field.draw_subsets(PRG(derive(seed, "subsets", block)), count)


def _digits(seed: bytes, blocks: Blocks, rows: Integers | None, slacks: Integers | None) -> Integers | None:
    """The owner's digits of all sums over subsets, (64 blocks, digits)."""
    if rows is None or slacks is None:
        return None
    found = []
    for number in range(blocks.count):
        part = slice(number * blocks.rows, (number + 1) * blocks.rows)
        subsets = _subsets(seed, number, rows[part].size + slacks[part].size)
        found.append(bounds.digits_of(bounds.sum_over_subsets(subsets, rows[part], slacks[part]), blocks.digits))
    return np.concatenate(found)


def _prove_bits(
    session: Session,
    roles: Roles,
    verifier: int,
    bits: CommittedValues,
    rule: RowSum,
    blind: FieldMask,
) -> None:
    """Step 5 for memberships, at the owner or at this verifier."""

    def equations(check: Check, stream: PRG) -> None:
        for table in bits.blocks(session.provider, verifier, BIT_ROWS):
            bounds.add_bits(check, stream, table)
            bounds.add_row_sums(check, stream, table, rule)

    _conclude(session, roles, verifier, blind, equations)


def _challenge(session: Session, roles: Roles, verifier: int) -> bytes:
    """A seed that the verifier has drawn and sent to the owner."""
    if session.rank == verifier:
        seed = secrets.token_bytes(KEY_BYTES)
        session._network.send(session.parties[roles.owner], CHANNEL, seed)
        return seed
    seed = session._network.receive(session.parties[verifier], CHANNEL, limit=KEY_BYTES)
    if len(seed) != KEY_BYTES:
        raise ProtocolError(f"{session.parties[verifier]} sent {len(seed)} bytes as a challenge, not {KEY_BYTES}")
    return seed


def _conclude(session: Session, roles: Roles, verifier: int, blind: FieldMask, equations: Equations) -> None:
    """Step 5: all ``equations`` in one check, with weights from the verifier."""
    stream = PRG(derive(_challenge(session, roles, verifier), "weights"))
    (hidden,) = blind.itself.blocks(session.provider, verifier, 1)
    if session.rank == roles.owner:
        prover = OwnersCheck()
        equations(prover, stream)
        session._network.send(session.parties[verifier], CHANNEL, prover.answer(hidden).data)
    else:
        check = VerifiersCheck(session.provider.delta)
        equations(check, stream)
        if not check.holds(hidden, _receive_elements(session, roles, (2,))):
            raise NotProved(
                f"{session.parties[roles.owner]} has not proved that its input keeps to its bound: nothing is answered"
            )
