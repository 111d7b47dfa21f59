"""Messages between the developer and the auditors beside the shares: typed, bounded, no pickle."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from secure_fair.errors import (
    MOST_WORDS,
    BudgetExceeded,
    OwnMatter,
    PartyLost,
    ProtocolError,
    Refusal,
    RunRefused,
    SecureFairError,
    printable,
)
from secure_fair.ids import Ids, Names, as_ids, lines_by_part, of_lines
from secure_fair.mpc.transport import Network
from secure_fair.operations.common.adapters import Adapter, AdapterShapes, unflatten_adapter
from secure_fair.operations.common.ask import Ask, Size, with_room
from secure_fair.privacy.entries import Receipt

CHANNEL = "control"
MOST_RECORDS = 10_000_000
MOST_ENTRIES = 2**53
MOST_RELEASES = 100_000  # in one run, by the numbers that a head has room for
HASH = "^[0-9a-f]{64}$"
MESSAGE_LIMIT = 2**30
HEAD_LIMIT = 2**20  # of the JSON before the raw part
MOST_ATTRIBUTES, MOST_GROUPS = 256, 64
LIST, RANGE = b"\0", b"\1"  # of record indices
RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ReleaseNumber = Annotated[int, Field(ge=1, le=2**31)]


Matrix = tuple[Size, Size]


def _fit_to_print(name: str) -> str:
    if not name.isprintable():
        raise ValueError(f"{printable(name)!r} has characters that cannot be printed")
    return name


def _with_room(shapes: AdapterShapes) -> AdapterShapes:
    with_room([matrix for pair in shapes.values() for matrix in pair])
    return shapes


Name = Annotated[str, Field(max_length=200), AfterValidator(_fit_to_print)]
Shapes = Annotated[dict[Name, tuple[Matrix, Matrix]], Field(max_length=10_000), AfterValidator(_with_room)]
GroupNames = Annotated[list[Name], Field(max_length=MOST_GROUPS)]
Groups = Annotated[dict[Name, GroupNames], Field(max_length=MOST_ATTRIBUTES)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Enrol(_Message):
    """Developer: my record ids follow as the raw part, training records first; later requests count in that order.

    ``offered``: the raw part has a bit for each id of my offer in their place, which says whether it is in the table.
    ``epoch``, ``step``: the whole epochs of this run that we go on from, and the adversaries' steps after them;
    ``nonce``: my part of the coin by which auditors draw samples, in an audit.
    """

    kind: Literal["enrol"] = "enrol"
    run: str = Field(pattern=RUN_NAME)
    epoch: int = Field(default=0, ge=0)
    step: int = Field(default=0, ge=0)
    training: int = Field(ge=0, le=MOST_RECORDS)
    test: int = Field(ge=0, le=MOST_RECORDS)
    offered: bool = False
    nonce: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Resume(_Message):
    """Developer: we go on with this run; my states after whole epochs have these digests."""

    kind: Literal["resume"] = "resume"
    run: str = Field(pattern=RUN_NAME)
    epochs: dict[int, Digest] = Field(max_length=8)


class Resumed(_Message):
    """Auditor: and mine have these; in this run I have let out the releases of these numbers. I have my shares of the
    adversaries as they stood after these epochs and ``steps``."""

    kind: Literal["resumed"] = "resumed"
    opened: list[ReleaseNumber] = Field(max_length=MOST_RELEASES)
    epochs: dict[int, Digest] = Field(max_length=8)
    steps: list[tuple[int, int]] = Field(default=[], max_length=8)


class Whole(_Message):
    """Developer: so many epochs are whole, and my state of them has this digest; keep yours."""

    kind: Literal["whole"] = "whole"
    epoch: int = Field(ge=1)
    digest: Digest


class Kept(_Message):
    """Auditor: I have, and it has this digest."""

    kind: Literal["kept"] = "kept"
    epoch: int = Field(ge=1)
    digest: Digest


class Committed(_Message):
    """Auditor: before I have seen anything of yours, I am committed to this table of attributes, and to this seed by
    which I draw my sample, and this is the digest of my policy; each empty where there is none."""

    kind: Literal["committed"] = "committed"
    table: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    policy: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    coin: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Offer(_Message):
    """Developer: ids of all that I have decided about follow as the raw part; which of them do you have?

    ``commitment``: to my table, where the answer is to be certified.
    """

    kind: Literal["offer"] = "offer"
    count: int = Field(ge=1, le=MOST_RECORDS)
    commitment: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class Known(_Message):
    """Auditor: the raw part says of which I have attributes, a bit for each; so many others of mine are not there."""

    kind: Literal["known"] = "known"
    others: int = Field(ge=0, le=MOST_RECORDS)


class Newest(_Message):
    """Either: so many entries has my ledger, and this is the hash of the last."""

    kind: Literal["newest"] = "newest"
    entries: int = Field(ge=1, le=MOST_ENTRIES)
    hash: str = Field(pattern=HASH)


class Remember(_Message):
    """Either: of your ledger I know so many entries (0: none); show the hash of the last of them."""

    kind: Literal["remember"] = "remember"
    entries: int = Field(ge=0, le=MOST_ENTRIES)


class Shown(_Message):
    """Either: the hash of my ledger's entry that you know; empty where there is none."""

    kind: Literal["shown"] = "shown"
    hash: str = Field(pattern=rf"({HASH})|^$")


class Judged(_Message):
    """Either: whether your ledger goes on from what I know of it."""

    kind: Literal["judged"] = "judged"
    goes_on: bool


class Fits(_Message):
    """Auditor: the whole plan fits my policy and what my people have left; nothing is spent yet."""

    kind: Literal["fits"] = "fits"
    newest: Newest


class Begin(_Message):
    """Developer: it fits at all auditors; begin."""

    kind: Literal["begin"] = "begin"
    newest: Newest


class Held(_Message):
    """Auditor: the attributes that I hold with the names of their groups, and the shapes of my adapters' matrices.

    Where I hold a part of the people, the raw part says of which enrolled records, a bit for each.
    """

    kind: Literal["held"] = "held"
    attributes: Groups
    adapters: dict[Name, Shapes] = {}


class Granted(_Message):
    """Auditor: admitted; what both sides write down, whether I check the rows, and how far my ledger has come.

    A receipt for each attribute of mine that the request tells of; before them as many of an adversary's update.
    """

    kind: Literal["granted"] = "granted"
    receipts: list[Receipt] = Field(min_length=1, max_length=64)
    check: bool = False
    newest: Newest | None = None


class Proceed(_Message):
    """Developer: all holders have answered; begin, or leave it. The rest is their word, for all: who of them checks the
    rows, and the standard deviation of all noise on an adversary's update."""

    kind: Literal["proceed"] = "proceed"
    go: bool
    checkers: list[Name] = Field(default=[], max_length=64)
    step_sigma: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Refused(_Message):
    """Auditor: not admitted, for a reason made of public data only."""

    kind: Literal["refused"] = "refused"
    reason: str = Field(max_length=MOST_WORDS)
    budget: bool


class Attributes(_Message):
    """Developer: all attributes of this run with their groups; everybody's shares are laid out by it.

    The raw part has the bits of every auditor that holds a part of the people, in their order.
    """

    kind: Literal["attributes"] = "attributes"
    groups: Groups
    adapters: dict[Name, Shapes] = {}


class Train(_Message):
    """Developer: train your adversary of this attribute on your own pictures, as so many features.

    Where the scenario has my adapter disclosed, it follows as the raw part, float64; ``shapes`` are its matrices'.
    """

    kind: Literal["train"] = "train"
    attribute: Name
    width: int = Field(ge=1, le=1_000_000)
    shapes: Shapes = {}


class Own(_Message):
    """Party of an audit that is certified: my part of the statement, beside what I was committed to before."""

    kind: Literal["own"] = "own"
    ledger: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")


class Seal(_Message):
    """Developer: the statement follows as the raw part; sign it, or say why not."""

    kind: Literal["seal"] = "seal"


class Sealed(_Message):
    """Party: my certificate; my signature follows as the raw part."""

    kind: Literal["sealed"] = "sealed"
    certificate: str = Field(max_length=20_000)


class Bound(_Message):
    """Developer of a training that is certified: here I am committed to my predictions of the test records, and these
    are the digests of the model's files, by name; what I ask to be counted from here on is of them."""

    kind: Literal["bound"] = "bound"
    commitment: Digest
    model: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=200)], Digest] = Field(
        min_length=1, max_length=100
    )


class Opened(_Message):
    """Auditor: a value that was not computed on shares follows as the raw part (float64)."""

    kind: Literal["opened"] = "opened"


class Finished(_Message):
    """Developer: nothing more will be asked; so far has my ledger come."""

    kind: Literal["finished"] = "finished"
    newest: Newest | None = None


class Ended(_Message):
    """Developer: this run has ended here; end it. Nobody goes on with it."""

    kind: Literal["ended"] = "ended"
    run: str = Field(pattern=RUN_NAME)


Message = (
    Enrol
    | Resume
    | Resumed
    | Whole
    | Kept
    | Committed
    | Offer
    | Known
    | Newest
    | Remember
    | Shown
    | Judged
    | Fits
    | Begin
    | Held
    | Attributes
    | Ask
    | Granted
    | Proceed
    | Refused
    | Train
    | Bound
    | Opened
    | Own
    | Seal
    | Sealed
    | Finished
    | Ended
)
Kind = TypeVar(
    "Kind",
    Enrol,
    Resume,
    Resumed,
    Whole,
    Kept,
    Committed,
    Offer,
    Known,
    Newest,
    Remember,
    Shown,
    Judged,
    Fits,
    Begin,
    Held,
    Attributes,
    Ask,
    Granted,
    Proceed,
    Refused,
    Train,
    Bound,
    Opened,
    Own,
    Seal,
    Sealed,
    Finished,
    Ended,
)
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def send(network: Network, peer: str, message: Message, raw: bytes = b"") -> None:
    """Send a message with an optional raw part."""
    head = message.model_dump_json().encode()
    network.send(peer, CHANNEL, struct.pack("<I", len(head)), head, raw)


def receive(network: Network, peer: str) -> tuple[Message, bytes]:
    """The peer's next message and its raw part; ProtocolError if it is not well formed."""
    return decode(peer, network.receive(peer, CHANNEL, limit=MESSAGE_LIMIT))


def decode(peer: str, data: bytes) -> tuple[Message, bytes]:
    """A message of the peer's and its raw part, from bytes; ProtocolError if it is not well formed."""
    try:
        (length,) = struct.unpack_from("<I", data)
        if length > HEAD_LIMIT:
            raise ProtocolError(f"{peer} sent a message whose head has {length} bytes: at most {HEAD_LIMIT}")
        return _ADAPTER.validate_json(data[4 : 4 + length]), data[4 + length :]
    except (struct.error, ValidationError) as error:
        raise ProtocolError(f"{peer} sent a message that is not well formed: {printable(_shortly(error))}") from error


def _shortly(error: struct.error | ValidationError) -> str:
    """The first thing that is wrong, without the peer's own words at full length."""
    if not isinstance(error, ValidationError):
        return "it has no length"
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))[:100]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg'][:200]}{more}"


def expect(network: Network, peer: str, kind: type[Kind]) -> tuple[Kind, bytes]:
    """The peer's next message, which must be of this kind; a refusal is raised as such."""
    message, raw = receive(network, peer)
    if isinstance(message, Refused) and kind is not Refused:
        raise (BudgetExceeded if message.budget else Refusal)(f"{peer} refused: {printable(message.reason)}")
    if not isinstance(message, kind):
        raise ProtocolError(f"{peer} is out of step: sent {message.kind!r} where {kind.__name__.lower()!r} was due")
    return message, raw


def refuse(network: Network, peer: str, error: SecureFairError) -> None:
    """Tell the developer why."""
    send(network, peer, Refused(reason=told(error), budget=isinstance(error, BudgetExceeded)))


def told(error: BaseException) -> str:
    """Say of an error what peers may know: its message where that is made of public data alone."""
    if isinstance(error, KeyboardInterrupt):
        return "it was told to end"
    if isinstance(error, OwnMatter):
        return error.to_peers
    public = isinstance(error, BudgetExceeded | Refusal | RunRefused | ProtocolError | PartyLost)
    return printable(str(error)) if public else f"stopped by {type(error).__name__}"


def pack_ids(ids: Names) -> bytes:
    """Record ids, one a line."""
    return b"".join(lines_by_part(as_ids(ids)))


def unpack_ids(raw: bytes, count: int) -> Ids:
    """The ids of ``pack_ids``; ProtocolError unless there are ``count`` of them."""
    try:
        ids = of_lines(raw)
    except ValueError as error:
        raise ProtocolError(f"a table of record ids came that is none: {error}") from error
    if len(ids) != count:
        raise ProtocolError(f"a table of {count} record ids was announced, {len(ids)} came")
    return ids


def unpack_adapter(raw: bytes, shapes: AdapterShapes) -> Adapter | None:
    """The adapter of these shapes from its float64 numbers; None where there are none of either."""
    numbers = unpack_numbers(raw, sum(rows * columns for pair in shapes.values() for rows, columns in pair))
    return unflatten_adapter(torch.from_numpy(numbers.copy()), shapes) if shapes else None


def unpack_numbers(raw: bytes, count: int) -> np.ndarray:
    """Float64 (count,), each a finite number; ProtocolError otherwise."""
    if len(raw) != 8 * count:
        raise ProtocolError(f"{len(raw)} bytes came where {count} numbers of 8 bytes were due")
    numbers = np.frombuffer(raw, dtype="<f8")
    if not np.isfinite(numbers).all():
        raise ProtocolError(f"{int((~np.isfinite(numbers)).sum())} of {count} numbers that came are not finite")
    return numbers


def pack_part(held: np.ndarray) -> bytes:
    """A bit for each enrolled record: whether it is held. ``held``: bool (n,)."""
    return np.packbits(held).tobytes()


def unpack_parts(raw: bytes, auditors: Sequence[str], enrolled: int) -> dict[str, np.ndarray]:
    """The bits of ``pack_part`` of each of these auditors, bool (enrolled,); ProtocolError unless there are as many."""
    size = -(-enrolled // 8)
    if len(raw) != size * len(auditors):
        raise ProtocolError(
            f"{len(raw)} bytes came that say who holds which record: {len(auditors)} auditors have {size} each"
        )
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(len(auditors), size)
    return {
        auditor: np.unpackbits(row, count=enrolled).astype(bool) for auditor, row in zip(auditors, rows, strict=True)
    }


def check_parts(parts: Mapping[str, np.ndarray], holders: Mapping[str, Sequence[str]]) -> None:
    """ProtocolError unless of every attribute each enrolled record is held by exactly one auditor."""
    for attribute, names in holders.items():
        if not any(name in parts for name in names):
            continue
        times = np.sum([parts[name] for name in names], axis=0)
        for wrong, what in ((times == 0, "no auditor holds"), (times > 1, "more than one auditor holds")):
            if wrong.any():
                raise ProtocolError(
                    f"{attribute}: {what} {int(wrong.sum())} of {len(times)} enrolled records, number "
                    f"{int(np.flatnonzero(wrong)[0])} first; {', '.join(names)} must have a part each of the same data"
                )


def pack_records(records: np.ndarray) -> bytes:
    """Indices: a byte 0 and all of them as little-endian int64, or a byte 1 and both ends of a range."""
    if len(records) > 2 and (records[1:] - records[:-1] == 1).all():
        return RANGE + struct.pack("<qq", int(records[0]), int(records[-1]) + 1)
    return LIST + np.ascontiguousarray(records, dtype="<i8").tobytes()


def unpack_records(raw: bytes) -> np.ndarray:
    """The indices of ``pack_records``; ProtocolError for anything else, and for a range beyond all tables."""
    kind, rest = raw[:1], raw[1:]
    if kind not in (LIST, RANGE) or len(rest) % 8 or (kind == RANGE and len(rest) != 16):
        raise ProtocolError(f"a list of record indices has {len(rest)} bytes, which is no multiple of 8, or no kind")
    if kind == LIST:
        return np.frombuffer(rest, dtype="<i8")
    start, end = struct.unpack("<qq", rest)
    if not 0 <= end - start <= MOST_RECORDS:  # before anything is made of it; the gate knows which there are
        raise ProtocolError(f"records {start} to {end} were asked for: a table has at most {MOST_RECORDS}")
    return np.arange(start, end, dtype=np.int64)
