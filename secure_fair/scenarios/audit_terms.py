"""The terms of an audit, which all parties agree on: who holds what, what is asked, and every auditor's promise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import Field, ValidationError

from secure_fair import toml_text
from secure_fair.defaults import DELTA
from secure_fair.errors import Refusal, UsageError
from secure_fair.fairness.calibration import FEWEST, MOST
from secure_fair.fairness.claims import Claim
from secure_fair.learning.settings import IDENTITY_BACKBONE, Backbone, Lora, MethodSettings, ModelSettings, TrainingLoop
from secure_fair.mpc.link import LinkSettings
from secure_fair.parties.config import Promise, RunConfig
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.target import Privacy
from secure_fair.scenarios.assemble import DEALER, DEVELOPER
from secure_fair.scenarios.models import PartyName
from secure_fair.scenarios.policies import load as load_policy
from secure_fair.sections import Positive, Section, listed, near, problems_of

PRECISION_BITS = 16
PROMISED = ("answer", "claims", "smallest_share", "sample", "coverage")
Texts = Annotated[tuple[str, ...], Field(strict=False)]


class AuditorTerms(Section):
    """An auditor of an audit: what it holds, and what its policy says of audits."""

    name: PartyName
    """The party's name."""
    attributes: Annotated[Texts, Field(min_length=1)]
    """The attributes that it holds."""
    policy: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of its policy file: it refuses to serve with another one."""
    answer: str
    """Its policy's answer, "counts" or "verdict"."""
    claims: Texts = ()
    """Its policy's claims."""
    smallest_share: float
    """Its policy's smallest_share."""
    sample: int | None = None
    """Its policy's sample."""
    coverage: float = 0.0
    """Its policy's coverage."""

    @classmethod
    def of(cls, name: str, attributes: tuple[str, ...], file: Path) -> AuditorTerms:
        """The terms of an auditor with this policy file; UsageError where the two are none."""
        policy = load_policy(file)
        promised = {key: getattr(policy, key) for key in PROMISED}
        try:
            return cls(name=name, attributes=attributes, policy=digest_of(file), **promised)
        except ValidationError as error:
            raise UsageError(problems_of(error, cls)) from None


class AuditTerms(Section):
    """Everything that the parties of an audit have in common."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
    """The audit's name."""
    auditors: Annotated[tuple[AuditorTerms, ...], Field(strict=False, min_length=1)]
    """Those who hold attributes."""
    intersections: Annotated[tuple[Texts, ...], Field(strict=False)] = ()
    """Attributes whose combinations are groups too."""
    epsilon: Positive | None = None
    """Of all counts of one attribute together; without it they are exact."""
    delta: Annotated[float, Field(gt=0, lt=0.1)] = DELTA
    """The delta of epsilon."""
    certificate: bool = True
    """Whether what the developer was told is confirmed, and the answer signed by all."""
    bins: Annotated[int, Field(ge=FEWEST, le=MOST, multiple_of=2)] | None = None
    """Of scores with labels: how well they are calibrated, in so many bins."""
    matched: bool = False
    """Whether ids were matched by private set intersection; else they are by a key that all sides have."""
    link: LinkSettings = LinkSettings()

    @classmethod
    def load(cls, file: Path) -> AuditTerms:
        """The terms in a file; UsageError with every problem."""
        tree = toml_text.read(file)
        try:
            terms = cls.model_validate(tree)
        except ValidationError as error:
            raise UsageError(problems_of(error, cls, file.name)) from None
        terms.check()
        return terms

    def check(self) -> None:
        """UsageError with every claim and intersection that is about nothing, and every attribute held twice."""
        for problems in (self._name_problems, self._claim_problems, self._sample_problems):  # of the latter some follow
            found = list(problems())
            if found:
                raise UsageError(found)

    def _name_problems(self) -> Iterator[str]:
        names = [auditor.name for auditor in self.auditors]
        for name in sorted({name for name in names if names.count(name) > 1 or name in (DEVELOPER, DEALER)}):
            yield f"auditor {name}: the name is taken; give NAME=FILE:ATTRIBUTES"
        held = [attribute for auditor in self.auditors for attribute in auditor.attributes]
        for attribute in sorted({one for one in held if held.count(one) > 1}):
            yield f"attribute {attribute!r}: is there twice; name it once, with one auditor"
        for attributes in self.intersections:
            unknown = [one for one in attributes if one not in held]
            if unknown or len(set(attributes)) < 2 or len(set(attributes)) < len(attributes):
                yield (
                    f"intersection {' x '.join(attributes)!r}: name two or more different attributes of "
                    f"{listed(held)}{near(unknown[0], held) if unknown else ''}"
                )

    def _sample_problems(self) -> Iterator[str]:
        drawing = {auditor.name for auditor in self.auditors if auditor.sample is not None}
        holder = {attribute: auditor.name for auditor in self.auditors for attribute in auditor.attributes}
        for attributes in self.intersections:
            holders = {holder[attribute] for attribute in attributes}
            if len(holders) > 1 and holders & drawing:
                yield (
                    f"intersection {' x '.join(attributes)!r}: {min(holders & drawing)} draws a sample of its own; "
                    "leave the intersection out, or audit without a sample"
                )

    def _claim_problems(self) -> Iterator[str]:
        audited = [*self.holders, *(" x ".join(names) for names in self.intersections)]
        for auditor, text in ((one, text) for one in self.auditors for text in one.claims):
            try:
                claim = Claim.parse(text)
            except ValueError as error:
                yield f"claims of {auditor.name}: {error}"
                continue
            whole = claim.attribute in auditor.attributes
            parts = {claim.attribute} if whole else set(claim.attribute.split(" x "))
            said = f"claims of {auditor.name}: {text!r}"
            if claim.attribute not in audited:
                yield f"{said}: audited are {listed(audited)}{near(claim.attribute, audited)}"
            elif not parts & set(auditor.attributes):
                yield f"{said}: it holds {listed(auditor.attributes)}, and claims of those alone"

    def to_toml(self) -> str:
        """The text of a file of these terms."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def hash(self) -> str:
        """SHA-256 (hex) of the terms, policies' digests included."""
        tree = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(tree.encode()).hexdigest()

    @property
    def holders(self) -> dict[str, tuple[str, ...]]:
        """The auditor of each attribute."""
        return {attribute: (auditor.name,) for auditor in self.auditors for attribute in auditor.attributes}

    def run_config(self) -> RunConfig:
        """The values that the parties work with: a run that trains nothing, in which everybody is a test record.

        No release is held in reserve: an audit makes each of them once, and one that was interrupted is spent.
        """
        privacy = Privacy(delta=self.delta, evaluation_epsilon=self.epsilon, reserve_releases=0)
        return RunConfig(
            seed=0,
            developer=DEVELOPER,
            dealer=DEALER,
            auditors=tuple(auditor.name for auditor in self.auditors),
            holders=self.holders,
            model=ModelSettings(Backbone(name=IDENTITY_BACKBONE), Lora(), image_size=16),
            train=TrainingLoop(),
            method=MethodSettings(name="erm"),
            precision_bits=PRECISION_BITS,
            privacy=None if self.epsilon is None else privacy,
            intersections={" x ".join(names): names for names in self.intersections},
            certified=self.certificate,
            matched=self.matched,
            bins=self.bins,
            promises={one.name: promise_of(one) for one in self.auditors},
        )

    def policy(self, auditor: str, file: Path | None) -> Policy:
        """An auditor's own policy; Refusal where it is not the one that was agreed on beforehand."""
        if file is None:
            raise UsageError("--policy FILE: is missing; what an auditor lets out is for its own file to say")
        agreed = next(one for one in self.auditors if one.name == auditor)
        found = AuditorTerms.of(auditor, agreed.attributes, file)
        if found != agreed:
            raise Refusal(
                f"--policy {file}: has the digest {found.policy[:12]}, and the parties agreed on {agreed.policy[:12]}: "
                "use the file of then, or agree anew"
            )
        return load_policy(file)


def promise_of(auditor: AuditorTerms) -> Promise:
    """The same as the parties take it."""
    return Promise(auditor.policy, **{key: getattr(auditor, key) for key in PROMISED})


def digest_of(file: Path) -> str:
    """SHA-256 (hex) of a file, as `sha256sum` has it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
