"""The policy of an auditor, from its own file: the operations, batch sizes and budgets that it permits."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from secure_fair import toml_text
from secure_fair.defaults import DELTA
from secure_fair.errors import UsageError
from secure_fair.sections import Count, Section, listed, near, problems_of, show

Limit = Annotated[float, Field(gt=0, le=1000)]
Claim = Annotated[str, Field(pattern=r"^[a-z][a-z ]* by .+ (>=|<=) [0-9]+(\.[0-9]+)?$", max_length=200)]


class Policy(Section):
    """One auditor's rules. Every rule is decided from public data, so that a refusal tells nothing about an attribute.

    ``epsilon`` and ``total_epsilon`` hold for life, not for one run. A file must have ``epsilon``, or say with
    ``allow_exact`` that there is no limit.
    """

    epsilon: Limit | None = None
    """For life, of each attribute of a record (adjacency: substitution of that attribute). A file has it, or
    allow_exact = true."""
    total_epsilon: Limit | None = None
    """For life, of all attributes of a record together. Without it two columns that say the same of a person (male, and
    sex) have a budget each."""
    delta: Annotated[float, Field(gt=0, lt=0.1)] = DELTA
    """The delta of both."""
    allow_exact: bool | None = None
    """Whether releases without noise are let out, from which attributes can be computed; without it they are not. It
    cannot stand beside epsilon or total_epsilon. Only the [policy] of a simulated scenario has it implied, where
    neither privacy.epsilon nor a limit here is given."""
    # TOML knows lists only
    operations: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """The operations that may be asked for; without it every one that has a rule."""
    minimum_batch: Count = 32
    """Persons that a release must be about; records where the store does not say whose they are. It protects
    nobody by itself: a query can be zero but for one row."""
    max_releases: Count | None = None
    """Releases of one attribute in one run, which the developer may follow by another; without it there is no such
    limit."""
    max_records_per_person: Count | None = None
    """Records of one person in one release. Without it there is no such limit; each of them costs the person, m of them
    as much as m^2 releases of one."""
    developer: Literal["may deviate", "follows the protocol"] = "may deviate"
    """How far the developer is trusted. Noised adversaries on shares (adv, ent by rows, on aligned records) and
    intersections of which no auditor holds all attributes protect attributes only from one that follows the protocol,
    and are refused unless this says so."""
    auditors: Literal["may deviate", "follow the protocol"] = "may deviate"
    """How far the other auditors are trusted. Where there are others, the same releases protect attributes only from
    those that follow the protocol, for each can shift what is computed on its share, and the developer then reads what
    was shifted; they are refused unless this says so too."""
    row_bounds: Literal["check", "trust"] = "check"
    """Whether the developer must prove the bound of its rows, for which noise is made, or is taken on its word.
    "trust" needs developer = "follows the protocol"."""
    answer: Literal["counts", "verdict"] = "counts"
    """In an audit: whether tables of counts and rates are shown, or nothing but whether the claims hold. The developer
    has the released counts in any case."""
    claims: Annotated[tuple[Claim, ...], Field(strict=False)] = ()
    """In an audit: what is to be decided, METRIC by ATTRIBUTE >= (or <=) NUMBER. The parties agree on the digest of
    this file before anything is counted."""
    smallest_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """In an audit: groups that are a smaller part of the records are counted, and left out of ratios and
    differences."""
    sample: Count | None = None
    """In an audit: so many records are drawn by this auditor from all that the developer offers, which does not learn
    which, and only they are counted. Each attribute has a group more, and two groups then have the noise of three."""
    coverage: Annotated[float, Field(ge=0, le=1)] = 0.0
    """In an audit with a sample: the part of this auditor's records that the developer has to offer, so that it cannot
    leave out whom it likes."""

    @classmethod
    def load(cls, path: Path, known: Collection[str]) -> Policy:
        """Read an auditor's file, keys at the top or in a table ``[policy]``; UsageError with all problems at once.

        ``known``: the operations that have a rule.
        """
        values = toml_text.read(path, "correct the path, or write one with `secure-fair policy init FILE`")
        if set(values) == {"policy"} and isinstance(values["policy"], dict):
            values = values["policy"]
        problems = _unknown(values.get("operations"), known, path.name)
        try:
            policy = cls.model_validate(values)
        except ValidationError as error:
            raise UsageError([*problems_of(error, cls, path.name), *problems]) from None
        problems += policy.contradictions(path.name)
        if policy.coverage and policy.sample is None:
            problems.append(
                f"{path.name}.coverage: is of what a sample is drawn from; give sample too, or leave it out"
            )
        if policy.epsilon is None and not policy.allow_exact:
            problems.append(
                f"{path.name}: gives neither epsilon nor allow_exact = true; set epsilon, the most that an attribute "
                "of a record, or of a person where the store has them, may cost in all runs together"
            )
        if problems:
            raise UsageError(problems)
        return policy

    @property
    def suspects(self) -> bool:
        """Whether the developer may send what it likes."""
        return self.developer == "may deviate"

    def doubts(self, *, alone: bool) -> list[str]:
        """Whom a release needs to follow the protocol, where no proof binds them, and the policy does not trust:
        "developer", and "auditors" unless this one is ``alone``."""
        others = not alone and self.auditors == "may deviate"
        return ["developer"] * self.suspects + ["auditors"] * others

    def contradictions(self, where: str = "policy") -> Iterator[str]:
        """Name each limit for life that stands beside ``allow_exact = true``, which it makes void."""
        if self.suspects and self.row_bounds == "trust":
            yield (
                f'{where}.row_bounds: "trust" takes the developer at its word, and developer = "may deviate" does not; '
                'set row_bounds = "check", or developer = "follows the protocol"'
            )
        for key in ("epsilon", "total_epsilon"):
            limit = getattr(self, key)
            if self.allow_exact and limit is not None:
                yield (
                    f"{where}.allow_exact: true stands beside {key} = {limit:g}, into which no exact release fits; "
                    "leave one of the two out"
                )

    def permits(self, operation: str) -> bool:
        """True if the policy has the operation, or all of them."""
        return self.operations is None or operation in self.operations

    def unknown_operations(self, known: Collection[str], where: str = "policy") -> list[str]:
        """Name each operation of the policy that is not ``known``; ``where`` names the policy in the messages."""
        return _unknown(self.operations, known, where)

    def as_mapping(self) -> dict[str, Any]:
        """The policy as JSON-ready values."""
        return self.model_dump(mode="json")


def _unknown(operations: object, known: Collection[str], where: str) -> list[str]:
    """Problems of the names alone; whatever else is wrong with ``operations`` is found in its validation."""
    if not isinstance(operations, list | tuple):
        return []
    names = sorted(known)
    return [
        f"{where}.operations.{place}: {show(name)} is no operation; known: {listed(names)}{near(name, names)}"
        for place, name in enumerate(operations)
        if isinstance(name, str) and name not in names
    ]
