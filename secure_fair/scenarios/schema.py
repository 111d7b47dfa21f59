"""The scenario: what is run, on which data, by which method, under which protection; validated before any work."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from secure_fair import toml_text
from secure_fair.errors import UsageError
from secure_fair.learning.methods import METHODS, settings_for
from secure_fair.learning.settings import IDENTITY_BACKBONE, Backbone, Lora, MethodName, MethodSettings, TrainingLoop
from secure_fair.mpc.link import LinkSettings
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.target import Privacy
from secure_fair.scenarios import conflicts, files, switch
from secure_fair.scenarios.models import Auditor, Data, Secure
from secure_fair.sections import Section, problems_of, section_of


class Scenario(Section):
    """Everything a run needs."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
    """The scenario's name; run folders begin with it."""
    description: str = ""
    """One line for lists."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of split, drawn portraits, starts and batches; never of masks or noise."""
    compare: Annotated[tuple[MethodName, ...], Field(strict=False)] = ()
    """Methods that run before the main one, on the same data and seed."""
    data: Data
    backbone: Backbone = Backbone()
    lora: Lora = Lora()
    train: TrainingLoop = TrainingLoop()
    method: MethodSettings = MethodSettings()
    secure: Secure = Secure()
    privacy: Privacy | None = None
    policy: Policy = Policy()
    """Stands for the auditors' files in a simulation, and for nothing between machines."""
    link: LinkSettings = LinkSettings()

    @classmethod
    def load(
        cls, source: str | Path, overrides: Iterable[str] = (), note: Callable[[str], None] = lambda line: None
    ) -> Scenario:
        """The scenario in a file, or of that name in the library, with ``section.key=value`` overrides applied.

        What an override of ``method.name`` leaves out is said to ``note``. Raises ``UsageError`` listing every problem
        found, each with the path of its key.
        """
        where, text = files.find(source)
        tree, left_out = switch.override(toml_text.parse(text, where), overrides)
        scenario = cls.parse(tree)
        if left_out:
            note(left_out)
        return scenario

    @classmethod
    def parse(cls, tree: dict[str, Any]) -> Scenario:
        """The scenario in nested dictionaries, every key checked against its type and against the others."""
        problems: list[str] = []
        try:
            scenario = cls.model_validate(tree)
        except ValidationError as error:
            problems += problems_of(error, cls)
            sections = _valid_sections(tree)
        else:
            scenario = scenario._resolved()
            sections = {key: getattr(scenario, key) for key in cls.model_fields}
        problems += conflicts.find(sections)
        if problems:
            raise UsageError(problems)
        return scenario

    def _resolved(self) -> Scenario:
        """The same with the defaults that depend on other keys filled in."""
        changes: dict[str, Any] = {"method": conflicts.resolved(self.method, self.data, self.privacy)}
        if self.data.split is None and not self.data.split_given:
            changes["data"] = self.data.model_copy(update={"split": self.data.default_split})
        if self.data.dataset == "table":
            if "name" not in self.backbone.model_fields_set:
                changes["backbone"] = self.backbone.model_copy(update={"name": IDENTITY_BACKBONE})
            if self.train.precision == "auto":  # a linear head is fast as it is
                changes["train"] = self.train.model_copy(update={"precision": "fp32"})
        if not self.secure.auditors:
            only = Auditor(name="auditor", attributes=self.data.sensitive)
            changes["secure"] = self.secure.model_copy(update={"auditors": (only,)})
        if self._exact_by_default:
            changes["policy"] = self.policy.model_copy(update={"allow_exact": True})
        return self.model_copy(update=changes)

    @property
    def _exact_by_default(self) -> bool:
        """Whether the auditors of a simulation let out exact releases though ``[policy]`` does not say so."""
        asked = self.privacy is not None and self.privacy.epsilon is not None
        limited = self.policy.epsilon is not None or self.policy.total_epsilon is not None
        return self.policy.allow_exact is None and not asked and not limited

    @property
    def penalised(self) -> tuple[str, ...]:
        """The attributes and intersections that the method is to be fair to.

        A sensitive adapter is trained for an attribute, not for an intersection: methods by adapters leave those out.
        """
        if "attributes" not in METHODS[self.method.name].keys:
            return ()
        if self.method.attributes is not None:
            return self.method.attributes
        by_adapter = self.method.release in METHODS[self.method.name].adapter_releases
        return self.data.sensitive if by_adapter else (*self.data.sensitive, *self.data.joint_attributes)

    @property
    def compared(self) -> tuple[Scenario, ...]:
        """The scenarios of the methods to compare with, in order: each has the method's keys that it uses, and its
        default release."""
        methods = [settings_for(name, self.method) for name in self.compare]
        return tuple(self.model_copy(update={"method": method, "compare": ()})._resolved() for method in methods)

    def to_toml(self) -> str:
        """The scenario as resolved: loading this text gives an equal scenario."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def hash(self) -> str:
        """SHA-256 (hex) of the resolved scenario without ``[policy]``, which is each auditor's own business."""
        tree = self.model_dump(mode="json", exclude={"policy"})
        return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _valid_sections(tree: dict[str, Any]) -> dict[str, Any]:
    """The sections of a faulty scenario that are right by themselves, so that conflicts between those show as well."""
    sections: dict[str, Any] = {}
    for key, field in Scenario.model_fields.items():
        model = section_of(field.annotation)
        if model is None:
            continue
        if key not in tree and not field.is_required():
            sections[key] = field.default
            continue
        with contextlib.suppress(ValidationError):  # reported already, with the whole
            sections[key] = model.model_validate(tree.get(key, {}))
    return sections
