"""Whether a run's plans fit a policy: decided from public data alone, before the run is served."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.rules import Rules


@dataclass(frozen=True)
class Misfit:
    """One operation on one attribute that a run plans and the policy forbids."""

    attribute: str
    operation: str
    reason: str


def misfits(
    policy: Policy,
    plans: Mapping[str, Plan],
    rules: Rules,
    batch_size: int,
    intersections: Collection[str] = (),
    *,
    alone: bool = False,
) -> list[Misfit]:
    """Everything that the policy will refuse of these plans; ``batch_size``: records of a batch in training.

    ``intersections``: those whose memberships the run computes; ``alone``: there is no other auditor.
    """
    return [
        *_exact(policy, plans, rules),
        *_unbound(plans, rules, intersections, policy.doubts(alone=alone)),
        *_forbidden(policy, plans, rules),
        *_small(policy, plans, rules, batch_size),
        *_many(policy, plans),
    ]


def reasons(found: Sequence[Misfit]) -> list[str]:
    """Each reason once."""
    return list(dict.fromkeys(misfit.reason for misfit in found))


def exactness(policy: Policy, plans: Mapping[str, Plan], rules: Rules) -> str:
    """One message about all exact releases that the policy does not allow; empty where there are none."""
    if policy.allow_exact:
        return ""
    exact = {attribute: plan.exact_operations(rules) for attribute, plan in plans.items()}
    named = [f"{', '.join(operations)} of {attribute}" for attribute, operations in exact.items() if operations]
    if not named:
        return ""
    return (
        f"exact releases are planned ({'; '.join(named)}) and the policy has no allow_exact = true: give the scenario "
        "privacy.epsilon and privacy.evaluation_epsilon, or, if attributes may be given away, the policy allow_exact"
    )


def _exact(policy: Policy, plans: Mapping[str, Plan], rules: Rules) -> Iterator[Misfit]:
    reason = exactness(policy, plans, rules)
    if reason:
        for attribute, plan in plans.items():
            yield from (Misfit(attribute, operation, reason) for operation in plan.exact_operations(rules))


TRUSTED = {  # in words, and as a policy has it
    "developer": ("a developer that follows the protocol", 'developer = "follows the protocol"'),
    "auditors": ("other auditors that follow the protocol", 'auditors = "follow the protocol"'),
}


def unbound(what: str, doubts: Sequence[str], *, intersection: bool) -> str:
    """Why a policy with these ``doubts`` refuses a release of an adversary, or of an ``intersection``."""
    remedy = (
        "leave it out, or have one auditor hold all of its attributes"
        if intersection
        else 'give the scenario method.release = "moments"'
    )
    whom, lines = (" and ".join(TRUSTED[doubted][place] for doubted in doubts) for place in (0, 1))
    may = "they" if doubts[-1] == "auditors" else "it"
    return (
        f"{what}: protects attributes only from {whom}, and the policy says that {may} may deviate: {remedy}, or set "
        f"{lines} in the policy"
    )


def _unbound(
    plans: Mapping[str, Plan], rules: Rules, intersections: Collection[str], doubts: Sequence[str]
) -> Iterator[Misfit]:
    if not doubts:
        return
    for attribute, plan in plans.items():
        for operation in plan.operations(rules):
            if plan.noised(operation) and not rules[operation].binding:
                yield Misfit(attribute, operation, unbound(operation, doubts, intersection=False))
        if intersections and any(plan.multipliers.values()):
            what = f"the intersection {', '.join(intersections)}"
            yield Misfit(attribute, "intersection", unbound(what, doubts, intersection=True))


def _forbidden(policy: Policy, plans: Mapping[str, Plan], rules: Rules) -> Iterator[Misfit]:
    for attribute, plan in plans.items():
        for operation in plan.operations(rules):
            if not policy.permits(operation):
                permitted = ", ".join(policy.operations or ()) or "none"
                yield Misfit(
                    attribute,
                    operation,
                    f"operation {operation!r} is planned and not in the policy's operations ({permitted}): add it "
                    "there, or use a method without it",
                )


def small(policy: Policy, operations: Iterable[str], rules: Rules, batch_size: int) -> Iterator[tuple[str, str]]:
    """Operations by which every batch is opened, where the policy wants larger ones; each with the reason."""
    for operation in operations:
        rule = rules[operation]
        if batch_size < policy.minimum_batch and rule.row_per_record and rule.on_shares:
            yield (
                operation,
                f"train.batch_size: {batch_size} is below the policy's minimum_batch {policy.minimum_batch}, and "
                f"{operation} opens every batch; raise the one or lower the other",
            )


def _small(policy: Policy, plans: Mapping[str, Plan], rules: Rules, batch_size: int) -> Iterator[Misfit]:
    for attribute, plan in plans.items():
        operations = (kind.operation for kind in plan.releases)
        yield from (Misfit(attribute, *found) for found in small(policy, operations, rules, batch_size))


def _many(policy: Policy, plans: Mapping[str, Plan]) -> Iterator[Misfit]:
    for attribute, plan in plans.items():
        kinds = (*plan.releases, *plan.evaluation)
        count = sum(kind.count for kind in kinds)
        if policy.max_releases is not None and count > policy.max_releases:
            yield Misfit(
                attribute,
                max(kinds, key=lambda kind: kind.count).operation,
                f"{count} releases of {attribute} are planned, the policy's max_releases is {policy.max_releases}: "
                "train for fewer epochs, or raise it",
            )
