"""What an auditor permits: operations, batch sizes, budgets and thresholds, from its own file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from secure_fair.errors import UsageError

OPERATIONS = (
    "moment",
    "group_counts",
    "evaluation_counts",
    "penalty_rows",
    "adversary_step",
    "adversary_rows",
    "entropy_rows",
    "orthogonality",
    "sensitive_adapter",
    "randomised_attributes",
    "verdict",
)


@dataclass(frozen=True)
class Policy:
    """One auditor's rules. Every rule is decided from public data, so that a refusal tells nothing about an attribute.

    ``epsilon`` and ``total_epsilon`` hold for life, not for one run: the first for each attribute of a person
    (adjacency: substitution of that attribute), the second for all attributes of a person together. ``None`` is no
    limit, and only then are exact releases possible. ``max_releases`` counts the releases of one attribute in one
    run.
    """

    operations: tuple[str, ...] = OPERATIONS
    minimum_batch: int = 32
    max_releases: int | None = None
    epsilon: float | None = None
    total_epsilon: float | None = None
    delta: float = 1e-5
    clip: Literal["check", "trust"] = "check"
    verdict: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = _problems(self, "policy")
        if problems:
            raise UsageError(problems)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "policy") -> Policy:
        """A policy from the keys of a table; ``where`` names the table in messages. All problems are listed at once."""
        known = {item.name for item in fields(cls)}
        unknown = [
            f"{where}.{key}: unknown key; known are {', '.join(sorted(known))}" for key in values if key not in known
        ]
        usable = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in known
        }
        draft = object.__new__(cls)
        for item in fields(cls):
            default = {} if item.name == "verdict" else item.default
            object.__setattr__(draft, item.name, usable.get(item.name, default))
        problems = unknown + _problems(draft, where)
        if problems:
            raise UsageError(problems)
        return draft

    @classmethod
    def load(cls, path: Path) -> Policy:
        """A policy from a TOML file: its keys at the top, or in a table ``[policy]``."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"{path}: no such policy file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not a TOML file: {error}") from None
        if set(values) == {"policy"} and isinstance(values["policy"], dict):
            values = values["policy"]
        return cls.from_mapping(values, where=path.name)

    def as_mapping(self) -> dict[str, Any]:
        """The policy as JSON-ready values."""
        values = asdict(self)
        return {**values, "operations": list(self.operations), "verdict": dict(self.verdict)}


def _problems(policy: Policy, where: str) -> list[str]:
    """Every rule that the values break, each with its place, value and bound."""
    found: list[str] = []

    def demand(key: str, holds: bool, bound: str) -> None:
        if not holds:
            found.append(f"{where}.{key} = {getattr(policy, key)!r}: must be {bound}")

    operations = policy.operations
    if isinstance(operations, tuple) and all(isinstance(name, str) for name in operations):
        unknown = [name for name in operations if name not in OPERATIONS]
        if unknown:
            found.append(f"{where}.operations: unknown {', '.join(unknown)}; known are {', '.join(OPERATIONS)}")
    else:
        demand("operations", False, "a list of operation names")
    demand("minimum_batch", _is_count(policy.minimum_batch), "a whole number of records, at least 1")
    demand("max_releases", policy.max_releases is None or _is_count(policy.max_releases), "a whole number, at least 1")
    demand("epsilon", policy.epsilon is None or _is_positive(policy.epsilon), "a finite number above 0")
    demand(
        "total_epsilon", policy.total_epsilon is None or _is_positive(policy.total_epsilon), "a finite number above 0"
    )
    demand("delta", _is_positive(policy.delta) and policy.delta < 1, "between 0 and 1")
    demand("clip", policy.clip in ("check", "trust"), '"check" or "trust"')
    if not isinstance(policy.verdict, Mapping):
        demand("verdict", False, "a table of metric = threshold")
    else:
        found += [
            f"{where}.verdict.{metric} = {bound!r}: must be a threshold between 0 and 1"
            for metric, bound in policy.verdict.items()
            if not (_is_positive(bound) and bound <= 1)
        ]
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
