"""Commitments to what each party puts in, made before it hears anything that it could choose its input by.

The order is what binds:

 1. Every auditor sends its commitments: to its table, and to the seed of its sample if it draws one. It has seen
    nothing of the developer's, neither ids nor a commitment.
 2. Only when it has those of all auditors does the developer send anything that depends on its records: its ids, with
    the commitment to its table. It has not heard yet whom anybody holds, and never hears who is drawn.

So an auditor cannot choose attributes by the people that it is offered, nor a developer decisions by whom the auditors
know. The statement at the end has these very commitments (``secure_fair.parties.sealing``). They are hashes: that what
is computed with is what was committed to is seen when both are opened (``secure_fair.parties.dispute``).
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from secure_fair.errors import ProtocolError, Refusal
from secure_fair.files import atomic_write, private_folder, write_bytes
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.config import RunConfig
from secure_fair.parties.draw import commitment_to, new_nonce
from secure_fair.parties.messages import Committed

SALT_BYTES = 32
_PART = 1 << 20  # bytes of a file that are hashed at a time
COMMITMENT = "commitment.json"
COMMITTED = "committed"  # beside it: the files that it is to
HEARD = "heard.json"  # at the developer: what the auditors were committed to, whatever becomes of the run


def commit_to(folder: Path, names: Sequence[str], out: Path) -> str:
    """A salted commitment to the files of a party's store; they and the salt are kept in ``out``, to open it."""
    salt = secrets.token_bytes(SALT_BYTES)
    private_folder(out / COMMITTED)
    for name in names:
        with atomic_write(out / COMMITTED / name) as copy:
            shutil.copyfile(folder / name, copy)
    digest = commitment(salt, [out / COMMITTED / name for name in names])
    of = f"SHA-256 of the salt and of {names[0]}"
    if len(names) > 1:
        of = f"SHA-256 of the salt and of the SHA-256 of each of {', '.join(names)}"
    opened = {"commitment": digest, "salt": salt.hex(), "of": of, "files": list(names)}
    write_bytes(out / COMMITMENT, (json.dumps(opened, indent=2) + "\n").encode())
    return digest


def commitment(salt: bytes, files: Sequence[Path]) -> str:
    """SHA-256, hex, of a salt and one file, or of a salt and the digests of several; they may be large."""
    if len(files) == 1:
        return _hashed(files[0], salt).hex()
    return hashlib.sha256(salt + b"".join(_hashed(file) for file in files)).hexdigest()


def _hashed(file: Path, before: bytes = b"") -> bytes:
    digest = hashlib.sha256(before)
    with file.open("rb") as opened:
        while part := opened.read(_PART):
            digest.update(part)
    return digest.digest()


def salt_in(file: Path) -> bytes:
    """The salt in a party's ``COMMITMENT``; ValueError for one of another length: it could have in it the beginning of
    what was committed to, so that the rest, a file of its own perhaps, is opened by it too."""
    salt = bytes.fromhex(json.loads(file.read_bytes())["salt"])
    if len(salt) != SALT_BYTES:
        raise ValueError(f"{file.name} has a salt of {len(salt)} bytes, and a salt has {SALT_BYTES}")
    return salt


def committed_again(folder: Path, names: Sequence[str], out: Path) -> str:
    """The commitment of a run that is gone on with, as it was made when the run began; Refusal where the files are not
    those of then. One that has made none begins here."""
    if not (out / COMMITMENT).is_file():
        return commit_to(folder, names, out)
    kept = json.loads((out / COMMITMENT).read_bytes())
    if commitment(salt_in(out / COMMITMENT), [folder / name for name in names]) != kept["commitment"]:
        raise Refusal(f"the store of this party is not the one that it was committed to when the run began ({out})")
    return str(kept["commitment"])


def say_committed(config: RunConfig, network: Network, table: str, policy: str = "") -> str:
    """An auditor's first word: the commitment to its ``table``, if the answer is to be certified, and to the seed of
    its sample, and the digest of its ``policy``; returns that seed, empty where it draws none."""
    seed = new_nonce() if draws_sample(config, network.name) else ""
    coin = commitment_to(seed) if seed else ""
    messages.send(network, config.developer, Committed(table=table, coin=coin, policy=policy))
    return seed


def hear_committed(config: RunConfig, network: Network, out: Path, *, resumed: bool = False) -> dict[str, Committed]:
    """The developer's side: every auditor's commitments, kept in ``out``, before anything of its own is sent.

    In a run that is gone on with they are those of its beginning: ProtocolError for another.
    """
    heard = {}
    for auditor in config.auditors:
        heard[auditor], _ = messages.expect(network, auditor, Committed)
        if bool(heard[auditor].coin) != draws_sample(config, auditor):
            raise ProtocolError(f"{auditor}: its terms and its word differ on whether it draws a sample")
        if bool(heard[auditor].table) != config.certified:
            raise ProtocolError(f"{auditor}: commits to {'no' if config.certified else 'a'} table of attributes")
    before = json.loads((out / HEARD).read_bytes()) if resumed and (out / HEARD).is_file() else tree_of(heard)
    changed = [name for name, told in tree_of(heard).items() if before.get(name) != told]
    if changed:
        raise ProtocolError(f"{', '.join(changed)}: committed to another table than when the run began")
    write_bytes(out / HEARD, (json.dumps(tree_of(heard), indent=2) + "\n").encode())
    return heard


def tree_of(heard: Mapping[str, Committed]) -> dict[str, dict[str, str]]:
    """The same, JSON-ready."""
    return {name: {"table": one.table, "coin": one.coin} for name, one in heard.items()}


def draws_sample(config: RunConfig, auditor: str) -> bool:
    """Whether this auditor draws who is counted."""
    return auditor in config.promises and config.promises[auditor].sample is not None
