"""How the parties keep a run's state at whole epochs, each its own, and go on from the last one that all have.

After an epoch: ``Whole`` from the developer with the digest of its state, ``Kept`` from every auditor with that of its
own. In another process: ``Resume`` from the developer with the digests of what it has, ``Resumed`` from every auditor,
then ``Enrol`` with the place. A state whose digest is not the one that was named at its epoch is refused. A digest
binds a party to what it loads, not to what it does: a developer that lies about it could have lied in the run as well,
and pays for whatever it asks. Keys and masks are the new session's, and what was spent is in the ledgers, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from secure_fair.errors import ProtocolError, Refusal
from secure_fair.mpc.session import Session
from secure_fair.mpc.shares import from_share
from secure_fair.mpc.transport import Network
from secure_fair.operations.common.state import SharedState
from secure_fair.parties import messages
from secure_fair.parties.checkpoints import Checkpoints, Place
from secure_fair.parties.config import Folders, RunConfig
from secure_fair.parties.continuity import Memory
from secure_fair.parties.ending import end_after
from secure_fair.parties.kept_answers import last_step
from secure_fair.parties.messages import Ended, Enrol, Kept, Resume, Resumed, Whole
from secure_fair.parties.plans import most_releases
from secure_fair.parties.progress import Progress
from secure_fair.privacy.entries import Receipt, missed_numbers
from secure_fair.privacy.ledger import Ledger

# the developer's side


def agree_on_place(
    config: RunConfig, network: Network, kept: Checkpoints, training: int
) -> tuple[Place, dict[str, list[int]]]:
    """The last whole epoch that all parties have a state of, with the steps since whose answers are kept and after
    which every auditor has its shares; and the numbers of every auditor's releases so far.

    Epoch 0: the run begins again, under its name. ProtocolError where an auditor has another state of an epoch than it
    named then, or says that it has let out more than can have been asked of it for so many ``training`` records.
    """
    mine = kept.offers()
    for auditor in config.auditors:
        messages.send(network, auditor, Resume(run=kept.run, epochs=mine))
    common, opened, steps = set(mine), {}, []
    for auditor in config.auditors:
        answer, _ = messages.expect(network, auditor, Resumed)
        for epoch in common & answer.epochs.keys():
            _check_digest(epoch, auditor, kept.agreed(epoch)[auditor], answer.epochs[epoch])
        common &= answer.epochs.keys()
        check_opened(kept, auditor, answer.opened, most_releases(config, auditor, training))
        opened[auditor] = answer.opened
        steps.append(answer.steps)
    epoch = max(common, default=0)
    place = last_step(kept.answers, epoch)
    return place if all(place in held for held in steps) else Place(epoch), opened


def check_opened(kept: Checkpoints, auditor: str, opened: Sequence[int], most: int) -> None:
    """ProtocolError where an auditor says that it has let out more than every process so far has asked for, ``most``
    each: what it says is written down for ever."""
    processes = sum(entry["kind"] == "start" for entry in kept.ledger.entries(kept.run))
    if len(opened) > processes * most:
        raise ProtocolError(
            f"{auditor} says that it has let out {len(opened)} releases of run {kept.run}: by the plan it was "
            f"asked for {processes * most} at most"
        )


def note_missed(ledger: Ledger, run: str, opened: Mapping[str, Sequence[int]], receipts: Iterable[Receipt]) -> None:
    """Write down the ``receipts`` of kept answers that the ledger lacks, and which releases never came here: a process
    died between the two. An auditor's ledger has them as opened; what a developer that lies says here is seen there."""
    known = {(one["auditor"], one["number"]) for one in ledger.entries(run) if one["kind"] == "received"}
    for receipt in receipts:
        if (receipt.auditor, receipt.number) not in known:
            ledger.received(receipt)
            known.add((receipt.auditor, receipt.number))
    for entry in ledger.entries(run):
        if entry["kind"] == "missed":
            known |= {(entry["auditor"], number) for number in missed_numbers(entry)}
    for auditor, numbers in opened.items():
        lost = sorted({*numbers} - {at for name, at in known if name == auditor})
        if lost:
            ledger.missed(run, auditor, lost)


def keep_epoch(
    config: RunConfig, network: Network, kept: Checkpoints, shared: SharedState, epoch: int, state: dict[str, Any]
) -> None:
    """Write down the developer's state of a whole epoch, and have every auditor do the same with its own."""
    digest = kept.keep(epoch, {"training": state, "adversaries": shares_of(shared)})
    for auditor in config.auditors:
        messages.send(network, auditor, Whole(epoch=epoch, digest=digest))
    others = {}
    for auditor in config.auditors:
        answer, _ = messages.expect(network, auditor, Kept)
        if answer.epoch != epoch:
            raise ProtocolError(f"{auditor} has kept its state of epoch {answer.epoch}, not of {epoch}")
        others[auditor] = answer.digest
    kept.agree(epoch, others)


# an auditor's side


def answer_resume(config: RunConfig, folders: Folders, memory: Memory, progress: Progress) -> Checkpoints | None:
    """Say which epochs of the developer's run are kept here; None where the run has ended, here as well then.

    Refusal where the developer has another state than it named then.
    """
    network, ledger = memory.network, memory.ledger
    asked, _ = messages.receive(network, config.developer)
    if isinstance(asked, Ended):
        end_after(config, folders.state, memory, asked, progress)
        return None
    if not isinstance(asked, Resume):
        raise ProtocolError(f"{config.developer} is out of step: sent {asked.kind!r} where 'resume' was due")
    kept = Checkpoints.reopen(folders.state, asked.run, memory.endpoint.agreement, ledger)
    mine = kept.offers()
    for epoch in mine.keys() & asked.epochs.keys():
        _check_digest(epoch, config.developer, kept.agreed(epoch)[config.developer], asked.epochs[epoch])
    opened = [entry["number"] for entry in ledger.entries(asked.run) if entry["kind"] == "opened"]
    messages.send(
        network,
        config.developer,
        Resumed(epochs=mine, opened=opened, steps=[(at.epoch, at.step) for at in kept.steps()]),
    )
    return kept


def check_epoch(enrol: Enrol, kept: Checkpoints | None) -> None:
    """Refusal unless the developer goes on with the run that it named, from an epoch that is ``kept`` here; None: with
    none, from the beginning."""
    if kept is None:
        if enrol.epoch or enrol.step:
            raise Refusal(f"run {enrol.run} from epoch {enrol.epoch}: it is not gone on with (--resume), but begun")
    elif enrol.run != kept.run or enrol.epoch not in {0, *kept.offers()}:
        raise Refusal(f"run {enrol.run} from epoch {enrol.epoch}: is not kept here, run {kept.run} is")
    elif enrol.step and Place(enrol.epoch, enrol.step) not in kept.steps():
        raise Refusal(f"run {enrol.run} from step {enrol.step} after epoch {enrol.epoch}: is not kept here")


def shares_at(kept: Checkpoints, enrol: Enrol) -> dict[str, Tensor]:
    """This auditor's shares of the adversaries where the run is gone on from; none at its beginning."""
    if enrol.step:
        return kept.load_step(Place(enrol.epoch, enrol.step))
    return dict(kept.load(enrol.epoch, kept.offers()[enrol.epoch])["adversaries"]) if enrol.epoch else {}


def keep_own(network: Network, kept: Checkpoints, shared: SharedState, message: Whole, developer: str) -> None:
    """Write down an auditor's state of a whole epoch, with the developer's digest of its own."""
    digest = kept.keep(message.epoch, {"adversaries": shares_of(shared)})
    kept.agree(message.epoch, {developer: message.digest})
    messages.send(network, developer, Kept(epoch=message.epoch, digest=digest))


# everybody's


def _check_digest(epoch: int, party: str, named: str, shown: str) -> None:
    if named != shown:
        raise ProtocolError(
            f"the state that {party} has kept of epoch {epoch} is not the one that it named then: its digest is "
            f"{shown[:16]}, named was {named[:16]}; it restores the right file, or the parties begin a new run"
        )


def shares_of(shared: SharedState) -> dict[str, Tensor]:
    """This party's shares of all adversaries, int64 (d, columns): with all other parties' they are the weights."""
    return {name: weights.share for name, weights in shared.adversaries.items()}


def restore_shares(shared: SharedState, kept: Mapping[str, Tensor]) -> None:
    """Go on from the parties' kept shares, in step. They are shared anew, so that no kept share is used as it is."""
    session = shared.session
    for name in sorted(kept):
        shared.adversaries[name] = shared_anew(session, kept[name])


def shared_anew(session: Session, share: Tensor) -> Any:
    """The sum of all parties' ``share``, int64, under fresh masks, at the session's scale."""
    parts = [session.share_ring(name, share if name == session.name else None, share.shape) for name in session.parties]
    return from_share(torch.stack([part.share for part in parts]).sum(0), session.scale)
