"""The computations on shares of a run with their public sizes, before anything runs: what it costs follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from secure_fair.learning.memberships.regression import MOST_COLUMNS, affordable_columns
from secure_fair.learning.settings import batches_per_epoch
from secure_fair.operations import OPERATIONS, RULES
from secure_fair.operations.common.adapters import AdapterShapes
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.sizes import RunSizes
from secure_fair.operations.evaluation_counts import NAME as EVALUATION
from secure_fair.parties.auditors import planned_noise
from secure_fair.parties.config import RunConfig
from secure_fair.parties.plans import method_of, plan_for, shares_adapter, training_releases

ENROL, INTERSECT, ADAPTER = "share_attributes", "intersection", "share_adapter"  # as the meter calls them
QUERY = "moment"  # whose noise decides how many columns a method asks about


@dataclass(frozen=True)
class Sizes:
    """Public sizes of a run: records by part, groups' names by attribute, classes of the task.

    ``checked``: whether the auditors have rows proved. ``features``: numbers of a feature row; ``adapters``: shapes of
    an adapter's matrices by module. Both are needed by few methods, and not known without the backbone.
    """

    training: int
    test: int
    groups: Mapping[str, tuple[str, ...]]
    classes: int = 2
    checked: bool = True
    features: int = 0
    adapters: AdapterShapes | None = None

    @property
    def enrolled(self) -> int:
        """Records that memberships are shared of."""
        return self.training + self.test


@dataclass(frozen=True)
class Asked:
    """One kind of computation: ``times`` that it is done, on so many ``records`` each time.

    ``operation``: an operation's name, or ENROL, INTERSECT, ADAPTER. ``verifiers``: auditors that the developer proves
    its rows to; ``holders``: the auditors whose own the attribute is, each a part of the people where it is ``parted``.
    ``batch``: the records are rows picked here and there, not a range.
    """

    operation: str
    attribute: str
    times: int
    records: int
    groups: int
    ask: Ask | None = None
    verifiers: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    batch: bool = False
    parted: bool = False


def asked(config: RunConfig, sizes: Sizes) -> list[Asked]:
    """Every computation on shares of the run, in about the order in which they come; nothing else goes on shares."""
    return [*_enrolled(config, sizes), *_released(config, sizes)]


def needs_backbone(config: RunConfig) -> bool:
    """Whether sizes of feature rows or adapters decide what the run costs."""
    kinds = training_releases(config, 2, config.train.batch_size)
    return any(RULES[kind.operation].on_shares and _differs(kind.operation) for kind in kinds)


def _differs(operation: str) -> bool:
    """Whether what is asked differs where feature rows and adapters do."""
    ask, one = Ask(operation=operation, attribute=""), RunSizes(1, 1, 1, features=1)
    other = replace(one, features=2, adapter=((1, 1),))
    return OPERATIONS[operation].foreseen(ask, one) != OPERATIONS[operation].foreseen(ask, other)


def group_count(config: RunConfig, sizes: Sizes, name: str) -> int:
    """How many groups an attribute or intersection has."""
    return prod(len(sizes.groups[component]) for component in config.components(name))


def _enrolled(config: RunConfig, sizes: Sizes) -> Iterator[Asked]:
    """The values that are shared at the beginning and stay."""
    if not config.own_records:
        for name in (*config.holders, *config.computed_intersections):
            holder = config.joint_holder(name)
            holders = config.holders.get(name, () if holder is None else (holder,))
            operation = ENROL if holders else INTERSECT
            yield Asked(operation, name, 1, sizes.enrolled, group_count(config, sizes, name), holders=holders)
    if shares_adapter(config):
        for name in config.penalised:
            yield Asked(ADAPTER, name, 1, 0, group_count(config, sizes, name), holders=config.holders[name])


def _released(config: RunConfig, sizes: Sizes) -> Iterator[Asked]:
    """The releases, training's first."""
    for name in config.penalised:
        for kind in training_releases(config, group_count(config, sizes, name), sizes.training):
            if RULES[kind.operation].on_shares and RULES[kind.operation].opened:
                yield _release(config, sizes, name, kind.operation, kind.count)
    if config.evaluated:
        for name in config.audited:
            yield _release(config, sizes, name, EVALUATION, 1)


def _release(config: RunConfig, sizes: Sizes, name: str, operation: str, count: int) -> Asked:
    bare = Ask(operation=operation, attribute=name)
    ask, records = OPERATIONS[operation].foreseen(bare, run_sizes(config, sizes))
    batch = RULES[operation].row_per_record
    groups, answering = group_count(config, sizes, name), config.answering(name)
    proved = sizes.checked and RULES[operation].bounded_rows and _noised(config, sizes, name, operation)
    parted = len(config.holders.get(name, ())) > 1
    return Asked(operation, name, count, records, groups, ask, answering if proved else (), answering, batch, parted)


def run_sizes(config: RunConfig, sizes: Sizes) -> RunSizes:
    """The sizes as operations ask for them."""
    strata = sizes.classes if method_of(config).by_class else 1
    columns = config.method.components or _affordable(config, sizes, sizes.training // strata)
    return RunSizes(
        training=sizes.training,
        test=sizes.test,
        batch=round(sizes.training / batches_per_epoch(sizes.training, config.train.batch_size)),
        classes=sizes.classes,
        strata=strata,
        query=strata * columns,
        features=sizes.features,
        adapter=tuple(rows for rows, _ in (sizes.adapters or {}).values()),
    )


def _affordable(config: RunConfig, sizes: Sizes, records: int) -> int:
    """Columns of a query that stand out from the planned noise, as the method will find them."""
    groups = {name: len(names) for name, names in sizes.groups.items()}
    found = []
    for name in config.penalised:
        sigma = planned_noise(config, groups, QUERY, name, sizes.training)
        found.append(affordable_columns(records, group_count(config, sizes, name), sigma))
    return min(found, default=MOST_COLUMNS)


def _noised(config: RunConfig, sizes: Sizes, name: str, operation: str) -> bool:
    """Whether any of its holders adds noise."""
    plans = (plan_for(config, one, len(sizes.groups[one]), sizes.training) for one in config.components(name))
    return any(plan.noised(operation) for plan in plans)
