"""From the releases that a method needs and a target epsilon to one noise multiplier per kind, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from secure_fair.errors import UsageError
from secure_fair.privacy.accounting import attack_auc_ceiling, gaussian_epsilon, gaussian_mu
from secure_fair.privacy.rules import Rules

_HEAD = ("operation", "releases", "per record", "sensitivity", "sigma/sens.", "mu", "best AUC")


@dataclass(frozen=True)
class PlannedRelease:
    """One kind of release in a plan.

    ``count`` releases in all, in each record at most ``participations`` of them, each with L2 ``sensitivity`` to the
    substitution of one person's attribute (typical value, for the table: each request brings its own, and sigma
    follows it). ``weight`` is the part of mu^2 that one participation gets, relative to the other kinds.
    """

    operation: str
    count: int
    participations: int
    sensitivity: float
    weight: float = 1.0


@dataclass(frozen=True)
class Plan:
    """The releases of one attribute that one run may ask for, made by ``make_plan``; ``epsilon`` None is exact.

    The budget is a pool of mu^2 for training and another for evaluation: the gate lets each record take
    part in releases of the planned kinds until the pool is empty. ``multipliers``: sigma / sensitivity by operation;
    None is exact. ``responds_at_random``: training has answers at random in place of noised releases.
    ``records_per_person``: the pools are persons', with up to so many records each; None: they are records'.
    """

    attribute: str
    epsilon: float | None
    evaluation_epsilon: float | None
    delta: float
    releases: tuple[PlannedRelease, ...]
    evaluation: tuple[PlannedRelease, ...]
    reserve_releases: int
    multipliers: dict[str, float | None]
    responds_at_random: bool = False
    records_per_person: int | None = None

    @property
    def exact(self) -> bool:
        """True if any release of the plan is without noise though it has a sensitivity."""
        return None in self.multipliers.values()

    def noised(self, operation: str) -> bool:
        """Whether releases of this operation are noised; what is free is as exact as what it is made from."""
        multiplier = self.multipliers.get(operation)
        return multiplier is not None and (multiplier > 0 or not self.exact)

    def allows(self, operation: str) -> bool:
        """True if the plan has releases of this kind."""
        return operation in self.multipliers

    @property
    def touches_records(self) -> bool:
        """True if any release is made from attributes of enrolled records."""
        return any(kind.sensitivity > 0 for kind in (*self.releases, *self.evaluation))

    def own_training(self, rules: Rules) -> str | None:
        """The training on the auditor's own records that the plan rests on: what pays for its post-processing."""
        for kind in self.releases:
            rule = rules[kind.operation]
            if rule.post_processing and not any(self.allows(operation) for operation in rule.paid_by):
                return next((name for name in rule.paid_by if name in rules and not rules[name].on_shares), None)
        return None

    def operations(self, rules: Rules) -> list[str]:
        """Every operation of the plan, and the training that it rests on."""
        training = self.own_training(rules)
        return [*self.multipliers, *([] if training is None else [training])]

    def exact_operations(self, rules: Rules) -> list[str]:
        """Those of its operations that tell of an attribute without noise."""
        training = self.own_training(rules) if self.epsilon is None else None
        exact = [operation for operation, multiplier in self.multipliers.items() if multiplier is None]
        return [*exact, *([] if training is None else [training])]

    def of_mean(self, operation: str) -> float:
        """Sigma of the mean of all answers that one record is planned to be in, in units of one's sensitivity; 0 where
        they are exact, or none."""
        for kind in (*self.releases, *self.evaluation):
            if kind.operation == operation:
                return (self.multipliers[operation] or 0.0) / math.sqrt(kind.participations)
        return 0.0

    def is_evaluation(self, operation: str) -> bool:
        """True if the operation draws on the evaluation's budget."""
        return any(kind.operation == operation for kind in self.evaluation)

    def mu2_cap(self, operation: str) -> float:
        """The pool of mu^2 per record that the operation draws on; infinite where it is exact."""
        target = self.evaluation_epsilon if self.is_evaluation(operation) else self.epsilon
        return math.inf if target is None else gaussian_mu(target, self.delta) ** 2

    def mu2(self, kind: PlannedRelease) -> float:
        """The part of mu^2 that one kind takes of a budget at most; infinite where it is exact."""
        multiplier = self.multipliers[kind.operation]
        if kind.sensitivity == 0 or self._responds(kind):
            return 0.0
        most = self.records_per_person or 1
        return math.inf if multiplier is None else most**2 * kind.participations / multiplier**2

    def _responds(self, kind: PlannedRelease) -> bool:
        return self.responds_at_random and not self.is_evaluation(kind.operation)

    def planned_epsilon(self) -> float | None:
        """Training's epsilon if no release is interrupted, so that the reserve stays unused; None where it is exact."""
        if self.epsilon is None:
            return None
        if self.responds_at_random:
            return self.epsilon
        return gaussian_epsilon(math.sqrt(sum(self.mu2(kind) for kind in self.releases)), self.delta)

    def table(self) -> str:
        """The plan as a table for the terminal."""
        lines = [_HEAD, *(self._cells(kind) for kind in (*self.releases, *self.evaluation))]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        rows = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([self._headline(), *rows])

    def _cells(self, kind: PlannedRelease) -> tuple[str, ...]:
        """The table's line about one kind."""
        multiplier = self.multipliers[kind.operation]
        if self._responds(kind):
            noise, mu, ceiling = "response", "-", "-"
        elif kind.sensitivity == 0:
            noise, mu, ceiling = "none needed", "0", "0.500"
        elif multiplier is None:
            noise, mu, ceiling = "EXACT", "inf", "1.000"
        else:
            spent = math.sqrt(self.mu2(kind))
            noise, mu, ceiling = f"{multiplier:.2f}", f"{spent:.3f}", f"{attack_auc_ceiling(spent):.3f}"
        sensitivity = f"{kind.sensitivity:.3g}"
        return (kind.operation, str(kind.count), str(kind.participations), sensitivity, noise, mu, ceiling)

    def _headline(self) -> str:
        """The guarantee in one sentence."""
        if not self.touches_records:
            return self._headline_without_records()
        text = f"{self.attribute}: {_guarantee(self.epsilon)}"
        if self.evaluation:
            text += f", evaluation {_guarantee(self.evaluation_epsilon)}"
        if self.epsilon is not None or self.evaluation_epsilon is not None:
            text += f", delta {self.delta:g}, adjacency: substitution of one {self._unit()}'s {self.attribute}"
            if self.records_per_person:
                text += f", of up to {self.records_per_person} records each in training and test"
        planned = self.planned_epsilon()
        if planned is not None and self.reserve_releases:
            several = "" if self.reserve_releases == 1 else "s"
            text += f"; {self.reserve_releases} release{several} in reserve (epsilon {planned:.3g} if unused)"
        return text

    def _unit(self) -> str:
        return "person" if self.records_per_person else "record"

    def _headline_without_records(self) -> str:
        text = f"{self.attribute}: nothing released depends on the {self.attribute} of an enrolled record"
        if self.releases:  # of what was trained on the auditor's own records
            text += f"; for the auditor's own records {_guarantee(self.epsilon)}"
            if self.epsilon is not None:
                text += f", delta {self.delta:g}, adjacency: adding or removing one record (DP-SGD)"
        return text


def make_plan(
    attribute: str,
    releases: Sequence[PlannedRelease],
    *,
    rules: Rules,
    epsilon: float | None,
    delta: float,
    evaluation: Sequence[PlannedRelease] = (),
    evaluation_epsilon: float | None = None,
    reserve_releases: int = 1,
    records_per_person: int | None = None,
) -> Plan:
    """Noise for every kind of release, so that training stays within (epsilon, delta) and evaluation within its own.

    mu^2 of the target is shared among all participations of one record in proportion to their weights; the reserve
    pays for as many interrupted releases of the dearest kind. Priors counted for training belong into ``releases``.
    Answers at random take all of ``epsilon`` and stand alone. Noise for persons of m records is m times as large (group
    privacy; see ``Charge.times``). All problems are raised at once as UsageError.
    """
    problems = [
        *_target_problems(epsilon, evaluation_epsilon, delta, reserve_releases),
        *_list_problems(attribute, releases, evaluation, rules, epsilon, evaluation_epsilon),
        *(problem for kind in (*releases, *evaluation) for problem in _kind_problems(attribute, kind, rules)),
    ]
    if problems:
        raise UsageError(problems)
    multipliers = {
        **_multipliers(releases, rules, epsilon, delta, reserve_releases, records_per_person or 1),
        **_multipliers(evaluation, rules, evaluation_epsilon, delta, reserve_releases, records_per_person or 1),
    }
    return Plan(
        attribute=attribute,
        epsilon=epsilon,
        evaluation_epsilon=evaluation_epsilon,
        delta=delta,
        releases=tuple(releases),
        evaluation=tuple(evaluation),
        reserve_releases=reserve_releases,
        multipliers=multipliers,
        responds_at_random=any(rules[kind.operation].responds_at_random for kind in releases),
        records_per_person=records_per_person,
    )


def _guarantee(epsilon: float | None) -> str:
    return "EXACT (no privacy)" if epsilon is None else f"epsilon {epsilon:g}"


def _multipliers(
    kinds: Sequence[PlannedRelease], rules: Rules, epsilon: float | None, delta: float, reserve: int, most: int
) -> dict[str, float | None]:
    noisy = [kind for kind in kinds if kind.sensitivity > 0]
    result: dict[str, float | None] = {kind.operation: 0.0 for kind in kinds if kind.sensitivity == 0}
    if epsilon is None:
        return {**result, **{kind.operation: None for kind in noisy}}
    responding = [kind.operation for kind in kinds if rules[kind.operation].responds_at_random]
    if responding:
        return {**result, **dict.fromkeys(responding, 0.0)}
    shares = sum(kind.participations * kind.weight for kind in noisy)
    shares += reserve * max((kind.weight for kind in noisy), default=0.0)
    mu = gaussian_mu(epsilon, delta) * (1 - 1e-10)  # rounding must not lift the sum above the target
    return {**result, **{kind.operation: most * math.sqrt(shares / kind.weight) / mu for kind in noisy}}


def _target_problems(epsilon: float | None, evaluation_epsilon: float | None, delta: float, reserve: int) -> list[str]:
    found = []
    if not 0 < delta < 1:
        found.append(f"privacy.delta = {delta}: must be between 0 and 1")
    for key, value in (("epsilon", epsilon), ("evaluation_epsilon", evaluation_epsilon)):
        if value is not None and not (math.isfinite(value) and value > 0):
            found.append(f"privacy.{key} = {value}: must be a finite number above 0")
    if reserve < 0:
        found.append(f"privacy.reserve_releases = {reserve}: must be 0 or more")
    return found


def _list_problems(
    attribute: str,
    releases: Sequence[PlannedRelease],
    evaluation: Sequence[PlannedRelease],
    rules: Rules,
    epsilon: float | None,
    evaluation_epsilon: float | None,
) -> list[str]:
    """Problems of kinds with each other."""
    found = []
    if evaluation and epsilon is not None and evaluation_epsilon is None:
        found.append(
            f"privacy.evaluation_epsilon: evaluation of {attribute} would be exact beside noised training; set it"
        )
    names = [kind.operation for kind in (*releases, *evaluation)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.append(f"plan for {attribute}: {name} appears twice; make one line of it")
    ruled = [(name, rules[name]) for name in names if name in rules]
    if epsilon is not None:
        found += [
            f"plan for {attribute}: {name} carries everybody's attribute through what {needed} makes; plan {needed}, "
            "which is noised, beside it"
            for name, rule in ruled
            for needed in rule.needs
            if needed not in names
        ]
    if any(rule.responds_at_random for _, rule in ruled) and len(releases) > 1:
        found.append(f"plan for {attribute}: answers at random take the whole epsilon and stand alone in training")
    return found


def _kind_problems(attribute: str, kind: PlannedRelease, rules: Rules) -> list[str]:
    found = []
    place = f"plan for {attribute}, {kind.operation}"
    if kind.operation not in rules:
        found.append(f"{place}: no rule for this operation; known are {', '.join(sorted(rules))}")
    if kind.count < 1 or kind.participations < 1:
        found.append(f"{place}: count {kind.count}, participations {kind.participations}: both must be at least 1")
    if not (math.isfinite(kind.sensitivity) and kind.sensitivity >= 0):
        found.append(f"{place}: sensitivity {kind.sensitivity}: must be finite, 0 or more")
    elif kind.operation in rules and (kind.sensitivity == 0) != rules[kind.operation].post_processing:
        found.append(f"{place}: sensitivity {kind.sensitivity}: 0 is for post-processing, and for that alone")
    if not (math.isfinite(kind.weight) and kind.weight > 0):
        found.append(f"{place}: weight {kind.weight}: must be above 0")
    return found
