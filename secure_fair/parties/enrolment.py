"""Enrolment: the developer names its records, every auditor says what it holds of them, and all share it.

One after the other: ``Enrol`` from the developer to every auditor, ``Held`` from each of them, ``Attributes`` from the
developer with what all have said. From then on every party has the same public facts, and its share of all memberships.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from secure_fair.data.store import DeveloperStore
from secure_fair.errors import ProtocolError, Refusal
from secure_fair.groups import columns
from secure_fair.ids import Ids, as_ids
from secure_fair.mpc.menu import MAX_ELEMENTS
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.operations.common.adapters import AdapterShapes, row_matrices
from secure_fair.operations.common.state import PublicFacts, SharedState
from secure_fair.parties import messages
from secure_fair.parties.checkpoints import BEGINNING, Place
from secure_fair.parties.config import RunConfig
from secure_fair.parties.holdings import Holdings
from secure_fair.parties.messages import Attributes, Enrol, Held
from secure_fair.parties.plans import shares_adapter
from secure_fair.privacy.entries import table_hash


@dataclass(frozen=True)
class Enrolment:
    """The run's table and attributes, as all parties know them.

    ``ids``: of the enrolled records, training records first; none where the auditors hold nothing of them.
    ``groups``: names of each attribute's groups. ``parts``: by auditor that holds a part of the people, who they are.
    """

    ids: Ids
    groups: Mapping[str, tuple[str, ...]]
    adapters: Mapping[str, AdapterShapes]
    parts: Mapping[str, np.ndarray]


# the developer's side


def enrol(config: RunConfig, network: Network, store: DeveloperStore, run: str, place: Place) -> Ids:
    """Send every auditor the ids of all records, training records first; returns them. ``place``: gone on from."""
    ids = enrolled_ids(config, store)
    message = Enrol(run=run, epoch=place.epoch, step=place.step, training=len(store.training), test=len(store.test))
    for auditor in config.auditors:
        messages.send(network, auditor, message, messages.pack_ids(ids))
    return ids


def enrolled_ids(config: RunConfig, store: DeveloperStore) -> Ids:
    """Ids of training and test records, in this order; none where the auditors know nobody of them."""
    return as_ids([]) if config.own_records else as_ids(store.ids)[np.concatenate([store.training, store.test])]


def collect(config: RunConfig, network: Network, ids: Ids) -> Enrolment:
    """Wait for what every auditor holds, check it against the scenario, and tell everybody."""
    groups: dict[str, tuple[str, ...]] = {}
    adapters: dict[str, AdapterShapes] = {}
    bits = b""
    for auditor in config.auditors:
        held, raw = messages.expect(network, auditor, Held)
        _check_promise(config, auditor, held, groups)
        groups |= {attribute: tuple(names) for attribute, names in held.attributes.items()}
        adapters.update(held.adapters)
        bits += raw
    ordered = {name: groups[name] for name in config.holders}
    parts = messages.unpack_parts(bits, config.parted, len(ids))
    messages.check_parts(parts, config.holders)
    told = Attributes(groups={name: list(names) for name, names in ordered.items()}, adapters=adapters)
    for auditor in config.auditors:
        messages.send(network, auditor, told, bits)
    return Enrolment(ids, ordered, adapters, parts)


def _check_promise(config: RunConfig, auditor: str, held: Held, groups: Mapping[str, tuple[str, ...]]) -> None:
    """An auditor must hold what the scenario promises, in the groups that others have announced."""
    promised = {attribute for attribute, holders in config.holders.items() if auditor in holders}
    if held.attributes.keys() != promised:
        raise ProtocolError(
            f"{auditor} says that it holds {', '.join(sorted(held.attributes)) or 'nothing'}; the scenario "
            f"promises {', '.join(sorted(promised))}"
        )
    if not held.adapters.keys() <= promised:
        raise ProtocolError(
            f"{auditor} has adapters of {', '.join(sorted(held.adapters))}, and does not hold all of them"
        )
    for attribute, names in held.attributes.items():
        if groups.get(attribute, tuple(names)) != tuple(names):
            raise ProtocolError(
                f"{attribute}: {auditor} has the groups {', '.join(names)}, another auditor "
                f"{', '.join(groups[attribute])}: all stores must come from the same data"
            )


# an auditor's side


def receive_table(config: RunConfig, network: Network, offered: Ids | None = None) -> tuple[Enrol, Ids]:
    """The developer's table of records; ProtocolError unless there are as many as announced.

    ``offered``: in an audit, all ids that it has offered, of which the table is a part.
    """
    message, raw = messages.expect(network, config.developer, Enrol)
    count = 0 if config.own_records else message.training + message.test
    if message.offered != (offered is not None):
        raise ProtocolError(f"{config.developer} enrols a table by {'an' if message.offered else 'no'} offer")
    if offered is None:
        return message, messages.unpack_ids(raw, count)
    ids = offered[messages.unpack_parts(raw, [config.developer], len(offered))[config.developer]]
    if len(ids) != count:
        raise ProtocolError(f"a table of {count} offered records was announced, {len(ids)} came")
    return message, ids


def announce(config: RunConfig, network: Network, holdings: Holdings) -> Enrolment:
    """Say what is held here, and take what all hold; ProtocolError where the developer passes on something else."""
    auditor, developer = network.name, config.developer
    mine = {name: list(holdings.groups[name]) for name in holdings.attributes}
    part = messages.pack_part(holdings.held) if auditor in config.parted else b""
    messages.send(network, developer, Held(attributes=mine, adapters=holdings.adapter_shapes), part)
    everybodys, raw = messages.expect(network, developer, Attributes)
    if everybodys.groups.keys() != config.holders.keys():
        raise ProtocolError(
            f"{developer} announced the attributes {', '.join(everybodys.groups)}; the scenario has "
            f"{', '.join(config.holders)}"
        )
    if not everybodys.adapters.keys() <= config.holders.keys():
        raise ProtocolError(f"{developer} announced adapters of attributes that the scenario does not have")
    for attribute, names in mine.items():
        if everybodys.groups[attribute] != names:
            raise ProtocolError(
                f"{developer} announced groups {everybodys.groups[attribute]} of {attribute}, which is held here with "
                f"groups {names}"
            )
    parts = messages.unpack_parts(raw, config.parted, len(holdings.ids))
    if auditor in parts and not np.array_equal(parts[auditor], holdings.held):
        raise ProtocolError(f"{developer} announced another part of the people than is held here")
    messages.check_parts(parts, config.holders)
    groups = {name: tuple(names) for name, names in everybodys.groups.items()}
    return Enrolment(holdings.ids, groups, everybodys.adapters, parts)


# everybody's


def public_facts(config: RunConfig, enrolment: Enrolment) -> PublicFacts:
    """The facts from which every party makes the requests itself."""
    groups = {name: len(names) for name, names in enrolment.groups.items()}
    for name in config.computed_intersections:
        groups[name] = prod(groups[component] for component in config.components(name))
    return PublicFacts(
        developer=config.developer,
        groups=groups,
        intersections=config.intersections,
        enrolled=len(enrolment.ids),
        own_records=config.own_records,
        adapters=enrolment.adapters,
    )


def check_size(records: int, groups: Mapping[str, int]) -> None:
    """Refusal for more memberships than one tensor on shares may have; ``groups``: how many, by attribute."""
    for name, count in groups.items():
        if records * columns(count) > MAX_ELEMENTS:
            raise Refusal(
                f"{name}: {records} records in {count} groups: one attribute has room for "
                f"{MAX_ELEMENTS // columns(count)} records; leave some out, or merge groups"
            )


def note_public(session: Session, enrolment: Enrolment, run: str, place: Place) -> None:
    """Take into the session's steps all that the developer has named to this party: who is enrolled, in which order,
    and the groups of every attribute. Auditors to which it has named different people go no further together."""
    groups = [(name, *names) for name, names in sorted(enrolment.groups.items())]
    session.note("run", run, *place, table_hash(enrolment.ids), groups)


def share_holdings(
    config: RunConfig,
    session: Session,
    enrolment: Enrolment,
    holdings: Holdings | None = None,
    *,
    run: str = "",
    place: Place = BEGINNING,
) -> SharedState:
    """Share memberships, intersections and, where the method needs them, sensitive adapters; in step at all parties.

    ``holdings``: an auditor's own, which it puts in. ``run`` and ``place``: as the developer has named them to this
    party; all must have heard the same.
    """
    facts = public_facts(config, enrolment)
    check_size(facts.enrolled, facts.groups)
    note_public(session, enrolment, run, place)
    state = SharedState(session, facts)
    codes = {**holdings.codes, **holdings.joint_codes} if holdings else {}
    if len(enrolment.ids):
        for attribute, holders in config.holders.items():
            state.share_memberships(attribute, holders, codes.get(attribute), enrolment.parts)
        for name in config.computed_intersections:
            holder = config.joint_holder(name)
            if holder is None:
                state.intersect(name)
            else:
                state.share_memberships(name, (holder,), codes.get(name), {})
    if shares_adapter(config):
        own = holdings.adapters if holdings else {}
        for attribute in enrolment.adapters:
            (holder,) = config.holders[attribute]
            state.share_sensitive(attribute, holder, row_matrices(own[attribute]) if attribute in own else None)
    return state
