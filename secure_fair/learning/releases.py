"""Which releases a method makes of an attribute in a run of so many records and epochs: what the plan is made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from secure_fair.groups import row_change
from secure_fair.learning.settings import ADVERSARY_BALL, MethodSettings, batches_per_epoch
from secure_fair.privacy.plan import PlannedRelease

COUNTS_WEIGHT = 0.1  # of the budget that another release gets: shares of groups are known well enough with it


def training_releases(
    method: MethodSettings, groups: int, records: int, epochs: int, batch_size: int
) -> list[PlannedRelease]:
    """Every kind of release that the method makes of one attribute of ``groups`` groups."""
    change = row_change(groups)
    steps = epochs * batches_per_epoch(records, batch_size)
    match method.name, method.release:
        case "erm", _:
            return []
        case (("parity" | "odds"), "moments"):
            return [
                PlannedRelease("group_counts", 1, 1, change, COUNTS_WEIGHT),
                PlannedRelease("moment", epochs, epochs, change),
            ]
        case (("parity" | "odds"), "rows"):
            return [
                PlannedRelease("group_counts", 1, 1, change, COUNTS_WEIGHT),
                PlannedRelease("penalty_rows", steps, epochs, change),
            ]
        case "adv", _:
            return [
                PlannedRelease("adversary_step", steps, epochs, change),
                PlannedRelease("adversary_rows", steps, epochs, change * ADVERSARY_BALL),
            ]
        case "ent", _ if method.own_records:
            return [PlannedRelease("entropy_rows", steps, 1, 0.0)]
        case "ent", _:
            return [
                PlannedRelease("adversary_step", steps, epochs, change),
                PlannedRelease("entropy_rows", steps, epochs, 0.0),
            ]
        case "rr", _:
            return [PlannedRelease("randomised_attributes", 1, 1, change)]
        case "erase", _:
            return [
                PlannedRelease("group_counts", 1, 1, change, COUNTS_WEIGHT),
                PlannedRelease("moment", epochs, epochs, change),
            ]
        case (("orth" | "unl"), "adapter"):
            return [PlannedRelease("sensitive_adapter", 1, 1, 0.0)]
        case "orth", "gradient":
            return [PlannedRelease("orthogonality", steps, 1, 0.0)]
    raise ValueError(f"no releases known for {method.name} by {method.release}")


def evaluation_releases(groups: int) -> list[PlannedRelease]:
    """The counts of test records that a released audit is made from."""
    return [PlannedRelease("evaluation_counts", 1, 1, row_change(groups))]


def added_up(plans: Iterable[Sequence[PlannedRelease]]) -> list[PlannedRelease]:
    """What one attribute takes part in by itself and in every intersection that it belongs to, a line for each kind.

    A randomised response is given once for all of them.
    """
    found: dict[str, PlannedRelease] = {}
    for release in (release for plan in plans for release in plan):
        known = found.get(release.operation)
        if known is None:
            found[release.operation] = release
        elif release.operation != "randomised_attributes":
            found[release.operation] = replace(
                known,
                count=known.count + release.count,
                participations=known.participations + release.participations,
                sensitivity=max(known.sensitivity, release.sensitivity),
            )
    return list(found.values())
