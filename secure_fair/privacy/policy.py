"""An auditor's permissions: operations, batch sizes, budgets and row bounds, from its own file."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from secure_fair.errors import UsageError
from secure_fair.privacy.target import DEFAULT_DELTA
from secure_fair.sections import Count, Positive, Section, describe, listed, near, show


class Policy(Section):
    """One auditor's rules. Every rule is decided from public data, so that a refusal tells nothing about an attribute.

    ``epsilon`` and ``total_epsilon`` hold for life, not for one run. None is no limit, and only then are exact releases
    possible.
    """

    operations: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """The operations that may be asked for; without it every one that has a rule."""
    minimum_batch: Count = 32
    """Records that a release must be about. It protects nobody by itself: a query can be zero but for one row."""
    max_releases: Count | None = None
    """Releases of one attribute in one run."""
    epsilon: Positive | None = None
    """For life, of each attribute of a record (adjacency: substitution of that attribute)."""
    total_epsilon: Positive | None = None
    """For life, of all attributes of a record together."""
    delta: Annotated[float, Field(gt=0, lt=1)] = DEFAULT_DELTA
    """Of both."""
    row_bounds: Literal["check", "trust"] = "check"
    """Whether rows of the developer's, for which the noise is made, are checked on shares, or taken on its word."""

    @classmethod
    def load(cls, path: Path, known: Collection[str]) -> Policy:
        """A policy from a TOML file: its keys at the top, or in a table ``[policy]``; ``known`` operations.

        Raises UsageError with all problems at once.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"{path}: no such policy file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not a TOML file: {error}") from None
        if set(values) == {"policy"} and isinstance(values["policy"], dict):
            values = values["policy"]
        try:
            policy = cls.model_validate(values)
        except ValidationError as error:
            raise UsageError([describe(detail, cls, path.name) for detail in error.errors()]) from None
        problems = policy.unknown_operations(known, path.name)
        if problems:
            raise UsageError(problems)
        return policy

    def permits(self, operation: str) -> bool:
        """Whether the operation may be asked for at all."""
        return self.operations is None or operation in self.operations

    def unknown_operations(self, known: Collection[str], where: str = "policy") -> list[str]:
        """Name every operation that has no rule, and so can never be asked for."""
        return [
            f"{where}.operations: {show(name)} is unknown; known: {listed(known)}{near(name, known)}"
            for name in self.operations or ()
            if name not in known
        ]

    def as_mapping(self) -> dict[str, Any]:
        """The policy as JSON-ready values."""
        return self.model_dump(mode="json")
