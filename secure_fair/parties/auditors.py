"""The auditors as a developer's training sees them, whoever computes: what is known of them without asking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from secure_fair.groups import joint_groups
from secure_fair.ids import Ids
from secure_fair.operations import RULES
from secure_fair.parties.config import RunConfig
from secure_fair.parties.enrolment import Enrolment
from secure_fair.parties.plans import plan_for
from secure_fair.privacy.release_cache import ReleaseCache


class KnownAuditors:
    """The part of ``secure_fair.operations.common.ask.Auditors`` that needs no message."""

    def __init__(self, config: RunConfig, enrolment: Enrolment, cache: ReleaseCache) -> None:
        self.config = config
        self.enrolment = enrolment
        self.cache = cache
        self.attributes = config.penalised
        self.audited = config.audited
        self.evaluated = config.evaluated
        self.own_records = config.own_records
        self.epsilon = config.privacy.epsilon if config.privacy else None
        self.adapters = dict(enrolment.adapters)

    def groups(self, attribute: str) -> tuple[str, ...]:
        """Names of the groups of an attribute or intersection."""
        held, components = self.enrolment.groups, self.components(attribute)
        return held[attribute] if attribute in held else joint_groups({name: held[name] for name in components})

    def components(self, name: str) -> tuple[str, ...]:
        """The attributes of an intersection; an attribute is its own."""
        return self.config.components(name)

    def answering(self, name: str) -> tuple[str, ...]:
        """The auditors that admit and pay for what is asked about it."""
        return self.config.answering(name)

    def noise(self, operation: str, attribute: str, records: int) -> float:
        """The noise that is planned on an operation's answer about an attribute, by all whose noise is in it."""
        held = {name: len(names) for name, names in self.enrolment.groups.items()}
        return planned_noise(self.config, held, operation, attribute, records)

    def people(self, records: np.ndarray) -> Ids:
        """Ids of enrolled records."""
        return self.enrolment.ids[records]

    def joined(self, sent: Iterable[tuple[str, np.ndarray]], records: np.ndarray) -> np.ndarray:
        """The holders' own values, by name; where each has a place for everybody, those of its own people."""
        joined: np.ndarray | None = None
        for holder, values in sent:
            joined = values.copy() if joined is None else joined
            if holder in self.enrolment.parts:
                theirs = self.enrolment.parts[holder][records]
                joined[theirs] = values[theirs]
        assert joined is not None  # somebody holds the attribute
        return joined


def planned_noise(config: RunConfig, groups: Mapping[str, int], operation: str, attribute: str, records: int) -> float:
    """Standard deviation of the mean of all answers about an attribute or intersection, before anything is asked.

    ``groups``: how many each attribute has.
    """
    components = config.components(attribute)
    sensitivity, variance = RULES[operation].moves(math.prod(groups[name] for name in components)), 0.0
    for component in components:
        deviation = plan_for(config, component, groups[component], records).of_mean(operation) * sensitivity
        variance += len(config.holders[component]) * deviation**2
    return math.sqrt(variance)
