"""The plan of each attribute: every release of a run and its noise, made alike by every party."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from secure_fair.learning.method import Extent, Method
from secure_fair.learning.methods import METHODS
from secure_fair.learning.settings import batches_per_epoch
from secure_fair.operations import OPERATIONS, RULES, planned
from secure_fair.parties.config import RunConfig
from secure_fair.privacy.plan import Plan, PlannedRelease, make_plan
from secure_fair.privacy.target import Privacy

INTERSECTION = 4  # groups, or more: what a plan needs to know is that each has its column


def method_of(config: RunConfig) -> type[Method]:
    """The run's method, as it declares itself."""
    return METHODS[config.method.name]


def trains_adapter(config: RunConfig) -> bool:
    """Whether every auditor trains an adapter on pictures of its own."""
    return config.method.release in method_of(config).adapter_releases


def own_trainings(config: RunConfig) -> int:
    """How often an auditor trains an adversary on pictures of its own."""
    return method_of(config).own_trainings(config.method, config.train.epochs) if config.own_records else 0


def training_target(config: RunConfig) -> tuple[float, float] | None:
    """Epsilon and delta of each training of an adversary, an even share; None where it is exact.

    Rounding must not lift the sum of these deltas above the whole: the last training would be refused.
    """
    count, privacy = own_trainings(config), config.privacy
    if privacy is None or privacy.epsilon is None:
        return None
    return privacy.epsilon / count, privacy.delta / count * (1 - 1e-10)


def trained_on_own(config: RunConfig, auditor: str) -> list[str]:
    """The attributes for which this auditor trains something on its own records."""
    held = [attribute for attribute, holders in config.holders.items() if auditor in holders]
    trains = trains_adapter(config) or own_trainings(config)
    return [attribute for attribute in held if trains and attribute in config.penalised]


def shares_adapter(config: RunConfig) -> bool:
    """Whether a release of the method is computed from the sensitive adapter on shares."""
    return any(OPERATIONS[kind.operation].on_adapter for kind in training_releases(config, INTERSECTION, 1))


def training_releases(config: RunConfig, groups: int, training: int) -> list[PlannedRelease]:
    """Every kind of release of one attribute of so many ``groups``, with ``training`` records."""
    steps = config.train.epochs * batches_per_epoch(training, config.train.batch_size)
    extent = Extent(groups, config.train.epochs, steps, config.own_records)
    return method_of(config).planned(config.method, extent)


def plan_for(config: RunConfig, attribute: str, groups: int, training: int) -> Plan:
    """The plan of one attribute. A release about an intersection is one about each of its attributes."""
    privacy = config.privacy or Privacy(reserve_releases=0)  # without: exact
    sizes = {name: groups if name == attribute else INTERSECTION for name in about(config, attribute)}
    penalised = [size for name, size in sizes.items() if name in config.penalised]
    evaluation = [[planned("evaluation_counts", size, 1, 1)] for size in sizes.values() if config.evaluated]
    return make_plan(
        attribute,
        added_up(training_releases(config, size, training) for size in penalised),
        rules=RULES,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        evaluation=added_up(evaluation),
        evaluation_epsilon=privacy.evaluation_epsilon,
        reserve_releases=privacy.reserve_releases,
        records_per_person=privacy.records_per_person,
    )


def most_releases(config: RunConfig, auditor: str, training: int) -> int:
    """The releases that one process of a run may ask of an auditor: all of its plans, with what is in reserve."""
    held = [attribute for attribute, holders in config.holders.items() if auditor in holders]
    plans = [plan_for(config, attribute, INTERSECTION, training) for attribute in held]
    kinds = [kind for plan in plans for kind in (*plan.releases, *plan.evaluation)]
    return sum(kind.count for kind in kinds) + sum(plan.reserve_releases for plan in plans)


def about(config: RunConfig, attribute: str) -> list[str]:
    """The attribute and every intersection that it belongs to."""
    return [name for name in config.audited if attribute in config.components(name)]


def added_up(plans: Iterable[Sequence[PlannedRelease]]) -> list[PlannedRelease]:
    """One attribute's part by itself and in every intersection that it belongs to, a line for each kind.

    A randomised response is given once for all of them.
    """
    found: dict[str, PlannedRelease] = {}
    for release in (release for plan in plans for release in plan):
        known = found.get(release.operation)
        if known is None:
            found[release.operation] = release
        elif not RULES[release.operation].responds_at_random:
            found[release.operation] = replace(
                known,
                count=known.count + release.count,
                participations=known.participations + release.participations,
                sensitivity=max(known.sensitivity, release.sensitivity),
            )
    return list(found.values())
