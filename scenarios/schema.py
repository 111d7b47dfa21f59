"""The scenario: what is run, on which data, by which method, under which protection; validated before any work."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from scenarios import files
from scenarios.methods import ADAPTER_RELEASES, METHODS, OWN_METHODS, RELEASES, STEERED
from secure_fair.errors import UsageError


def _among(allowed: Sequence[str]) -> AfterValidator:
    """Like a Literal of values that a table elsewhere lists."""

    def check(value: str) -> str:
        if value not in allowed:
            raise PydanticCustomError("not_among", "not allowed", {"allowed": list(allowed)})
        return value

    return AfterValidator(check)


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
MethodName = Annotated[str, _among(tuple(METHODS))]
Release = Annotated[str, _among(RELEASES)]
PartyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]

PARTS_TOLERANCE = 1e-4  # three thirds may be written 0.3333; whoever is last has the rest
RESERVED_NAMES = ("developer", "dealer")
EMBEDDED_BACKBONE = "secure_fair_faces"
DATASET_KEYS: dict[str, tuple[str, ...]] = {
    "faces": ("records", "correlation", "base_rate"),
    "utkface": (),
    "celeba": ("partition",),
    "manifest": ("file", "path_column", "id_column", "split_column", "classes"),
}


class Section(BaseModel):
    """A table of the scenario. Strict: a number in quotes is an error, as is an unknown key, an infinity or a NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Split(Section):
    """Fractions of the records that the developer trains on, that are the auditor's own, and that test the result."""

    developer: NotNegative = 0.5
    auditor: NotNegative = 0.25
    test: NotNegative = 0.25


class Data(Section):
    """The pictures, the task and the sensitive attributes.

    ``target`` and ``sensitive`` are columns, or a column compared with a number ("age > 35"). ``intersections``: lists
    of two or more of the sensitive attributes, whose combinations are groups as well.
    """

    dataset: Literal["faces", "utkface", "celeba", "manifest"]
    root: str | None = None
    target: Annotated[str, Field(min_length=1)]
    sensitive: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1)]
    intersections: Annotated[tuple[Annotated[tuple[str, ...], Field(strict=False)], ...], Field(strict=False)] = ()
    auditor_records: Literal["aligned", "own"] = "aligned"
    split: Split | None = None
    image_size: Annotated[int, Field(ge=16, le=1024)] = 112
    limit: Annotated[int, Field(ge=16)] | None = None
    on_bad: Literal["refuse", "skip"] = "refuse"
    # faces
    records: Annotated[int, Field(ge=16)] | None = None
    correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    base_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    # celeba
    partition: bool | None = None
    # manifest
    file: str | None = None
    path_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    classes: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] | None = None

    @property
    def joint_attributes(self) -> dict[str, tuple[str, ...]]:
        """The attributes of each intersection by its name, such as "gender x race"."""
        return {" x ".join(attributes): attributes for attributes in self.intersections}

    @property
    def split_given(self) -> bool:
        """Whether the data set itself says who gets which record."""
        return self.split_column is not None or self.partition is True

    @property
    def fractions(self) -> dict[str, float]:
        """The split as ``secure_fair.data.split.split`` takes it."""
        return (self.split or Split()).model_dump()

    @property
    def dataset_options(self) -> dict[str, Any]:
        """The settings of this data set alone that the scenario gives, as ``load_table`` takes them."""
        values = {key: getattr(self, key) for key in DATASET_KEYS[self.dataset]}
        return {key: value for key, value in values.items() if value is not None}


class Backbone(Section):
    """The vision transformer under the adapter; ``weights`` is "embedded", "timm" (a download) or a file."""

    name: Annotated[str, Field(min_length=1)] = EMBEDDED_BACKBONE
    weights: Annotated[str, Field(min_length=1)] = "embedded"


class Lora(Section):
    """The low-rank adapter; without ``last_blocks`` every block is adapted."""

    rank: Annotated[int, Field(ge=1, le=256)] = 8
    alpha: Positive = 16.0
    targets: Annotated[
        tuple[Literal["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"], ...], Field(strict=False, min_length=1)
    ] = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    last_blocks: Count | None = None


class Train(Section):
    """The developer's training loop; ``warmup`` is the fraction of all steps over which the learning rate rises."""

    epochs: Count = 4
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Method(Section):
    """How the attribute enters the training.

    ``ramp`` is the number of epochs over which the strength rises from 0, ``components`` the number of columns of a
    moment's query. ``target_gap``: the strength is adjusted during training until the released gap is about this one.
    ``attributes``: sensitive attributes and intersections, by name, that the method is to be fair to; without it all.
    orth: ``orthogonality`` says of what, ``sensitive_scale`` is the scale at which the sensitive adapter is active.
    ent with the auditor's own records: ``adversary_features`` of which the auditor trains its adversary; "disclosed"
    gives the auditor the developer's adapter at the start of every epoch.
    """

    name: MethodName = "parity"
    release: Release | None = None
    strength: NotNegative = 2.0
    components: Annotated[int, Field(ge=1, le=4096)] = 16
    ramp: NotNegative = 1.0
    target_gap: Annotated[float, Field(gt=0, lt=1)] | None = None
    sensitive_scale: NotNegative = 0.0
    orthogonality: Literal["predictions", "weights"] | None = None
    adversary_features: Literal["frozen", "disclosed"] = "frozen"
    attributes: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None


class Auditor(Section):
    """One holder of attributes: of all people, or of a random part of them, the fraction ``records``."""

    name: PartyName
    attributes: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    records: Annotated[float, Field(gt=0, le=1)] | None = None


class Secure(Section):
    """Whether the parties compute on shares, and who holds what; without ``auditors`` one holds every attribute."""

    mode: Literal["secure", "plain"] = "secure"
    precision_bits: Annotated[int, Field(ge=8, le=24)] = 16
    auditors: Annotated[tuple[Auditor, ...], Field(strict=False)] = ()

    @property
    def parts(self) -> dict[str, tuple[float, float]]:
        """Each auditor's people, as a range of the people in random order: who holds an attribute after others has
        those after theirs. (0, 1) is everybody."""
        taken: dict[str, float] = {}
        found = {}
        for auditor in self.auditors:
            begin = max(taken.get(attribute, 0.0) for attribute in auditor.attributes)
            end = round(begin + (1.0 if auditor.records is None else auditor.records), 9)
            end = 1.0 if math.isclose(end, 1.0, abs_tol=PARTS_TOLERANCE) else end
            taken.update(dict.fromkeys(auditor.attributes, end))
            found[auditor.name] = (begin, end)
        return found


class Privacy(Section):
    """The differential privacy asked for: ``epsilon`` for training, ``evaluation_epsilon`` for the released audit."""

    epsilon: Positive | None = None
    delta: Annotated[float, Field(gt=0, lt=0.1)] = 1e-5
    evaluation_epsilon: Positive | None = None
    reserve_releases: Annotated[int, Field(ge=0, le=1000)] = 1


class Policy(Section):
    """What the auditors permit; an auditor's own policy file wins over it. Not part of the scenario's hash."""

    minimum_batch: Count = 32
    clip: Literal["check", "trust"] = "check"


class Link(Section):
    """A simulated link between the parties; 0 is unlimited."""

    latency_ms: NotNegative = 0.0
    bandwidth_mbps: NotNegative = 0.0


class Scenario(Section):
    """Everything a run needs. ``compare`` names methods to run before the main one, on the same data and seed."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    compare: Annotated[tuple[MethodName, ...], Field(strict=False)] = ()
    data: Data
    backbone: Backbone = Backbone()
    lora: Lora = Lora()
    train: Train = Train()
    method: Method = Method()
    secure: Secure = Secure()
    privacy: Privacy | None = None
    policy: Policy = Policy()
    link: Link = Link()

    @classmethod
    def load(cls, source: str | Path, overrides: Iterable[str] = ()) -> Scenario:
        """The scenario in a file, or of that name in the library, with ``section.key=value`` overrides applied.

        Raises ``UsageError`` listing every problem found, each with the path of its key.
        """
        where, text = files.find(source)
        return cls.parse(files.override(files.parse(text, where), overrides))

    @classmethod
    def parse(cls, tree: dict[str, Any]) -> Scenario:
        """The scenario in nested dictionaries, every key checked against its type and against the others."""
        problems: list[str] = []
        sections: dict[str, Any] = {}
        try:
            scenario = cls.model_validate(tree)
        except ValidationError as error:
            problems += [_describe(detail, tree) for detail in error.errors()]
            sections = _valid_sections(tree)
        else:
            scenario = scenario._resolved()
            sections = {key: getattr(scenario, key) for key in cls.model_fields}
        problems += _conflicts(sections)
        if problems:
            raise UsageError(problems)
        return scenario

    def _resolved(self) -> Scenario:
        """The same with the defaults that depend on other keys filled in."""
        changes: dict[str, Any] = {}
        releases = METHODS[self.method.name]
        if self.method.release is None and releases:
            changes["method"] = self.method.model_copy(update={"release": releases[0]})
        if self.method.name == "orth" and self.method.orthogonality is None:
            method = changes.get("method", self.method)
            form = "weights" if method.release == "gradient" else "predictions"
            changes["method"] = method.model_copy(update={"orthogonality": form})
        if self.data.split is None and not self.data.split_given:
            changes["data"] = self.data.model_copy(update={"split": Split()})
        if not self.secure.auditors:
            only = Auditor(name="auditor", attributes=self.data.sensitive)
            changes["secure"] = self.secure.model_copy(update={"auditors": (only,)})
        return self.model_copy(update=changes)

    def with_method(self, name: str) -> Scenario:
        """This scenario with another method at its default release, and nothing further to compare."""
        tree = self.model_dump(exclude_none=True, exclude={"compare"})
        for key in ("release", "target_gap", "orthogonality", "adversary_features"):  # of one method alone
            tree["method"].pop(key, None)
        tree["method"]["name"] = name
        return Scenario.parse(tree)

    @property
    def penalised(self) -> tuple[str, ...]:
        """The attributes and intersections that the method is to be fair to.

        A sensitive adapter is trained for an attribute, not for an intersection: methods by adapters leave those out.
        """
        if self.method.attributes is not None:
            return self.method.attributes
        by_adapter = self.method.release in ADAPTER_RELEASES
        return self.data.sensitive if by_adapter else (*self.data.sensitive, *self.data.joint_attributes)

    @property
    def compared(self) -> tuple[Scenario, ...]:
        """The scenarios of the methods to compare with, in order, without the main one."""
        return tuple(self.with_method(name) for name in self.compare)

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
    models: dict[str, type[Section]] = {
        "data": Data,
        "backbone": Backbone,
        "train": Train,
        "method": Method,
        "secure": Secure,
        "policy": Policy,
    }
    sections: dict[str, Any] = {}
    for key, model in models.items():
        with contextlib.suppress(ValidationError):  # reported already, with the whole
            sections[key] = model.model_validate(tree.get(key, {}))
    with contextlib.suppress(ValidationError):
        sections["privacy"] = Privacy.model_validate(tree["privacy"]) if "privacy" in tree else None
    return sections


# --- conflicts between keys -------------------------------------------------------------------------------------------


def _conflicts(sections: dict[str, Any]) -> list[str]:
    """Every conflict between keys among the sections that are valid by themselves."""
    checks = [
        (_data_conflicts, ("data",)),
        (_backbone_conflicts, ("backbone", "data")),
        (_method_conflicts, ("method", "data")),
        (_compare_conflicts, ("compare", "method", "data")),
        (_privacy_conflicts, ("privacy", "data")),
        (_auditor_conflicts, ("secure", "data")),
        (_part_conflicts, ("secure", "method", "compare", "data")),
        (_policy_conflicts, ("policy", "method", "train")),
    ]
    problems: list[str] = []
    for check, needed in checks:
        if all(key in sections for key in needed):
            problems += check(*(sections[key] for key in needed))  # type: ignore[operator]
    return problems


def _data_conflicts(data: Data) -> Iterator[str]:
    if data.dataset != "faces" and data.root is None:
        yield f"data.root: is missing; name the folder that holds {data.dataset} (-o data.root=FOLDER)"
    if data.dataset == "faces" and data.root is not None:
        yield f'data.root: "{data.root}" has no use with dataset "faces", which draws its pictures; leave it out'
    for dataset, keys in DATASET_KEYS.items():
        for key in keys:
            if dataset != data.dataset and getattr(data, key) is not None:
                yield f'data.{key}: belongs to dataset "{dataset}", and this one is "{data.dataset}"; leave it out'
    yield from _attribute_conflicts(data)
    yield from _intersection_conflicts(data)
    if len(set(data.sensitive)) < len(data.sensitive):
        yield f"data.sensitive: {_show(data.sensitive)} names an attribute twice"
    if data.target in data.sensitive:
        yield f"data.target: {_show(data.target)} is among data.sensitive; the task must be another attribute"
    if data.split_given and data.split is not None:
        key = "split_column" if data.split_column is not None else "partition"
        yield f"data.split: data.{key} says who gets which record; leave one of the two out"
    if data.split is not None:
        total = data.split.developer + data.split.auditor + data.split.test
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            yield f"data.split: the fractions sum to {total:g}; developer + auditor + test must be 1"
        for part in ("developer", "test"):
            if getattr(data.split, part) == 0:
                yield f"data.split.{part}: is 0; it needs records"
        if data.auditor_records == "own" and data.split.auditor == 0:
            yield 'data.split.auditor: is 0; with data.auditor_records "own" the auditor needs records of its own'


def _attribute_conflicts(data: Data) -> Iterator[str]:
    """Whether the data set can have such columns; those of tables are known when the table is read."""
    from secure_fair.data import faces, utkface
    from secure_fair.data.records import parse_expression

    for key, text in (("target", data.target), *((f"sensitive.{i}", text) for i, text in enumerate(data.sensitive))):
        try:
            column, compared = parse_expression(text).column, parse_expression(text).sign is not None
        except UsageError as error:
            yield f"data.{key}: {error}"
            continue
        if data.dataset == "faces" and text not in faces.ATTRIBUTES:
            yield f"data.{key}: faces have no {_show(text)}; allowed: {_list(faces.ATTRIBUTES)}"
        elif data.dataset == "utkface" and column not in utkface.COLUMNS:
            yield f"data.{key}: utkface has no {_show(column)}; allowed: {_list(utkface.COLUMNS)}"
        elif data.dataset == "utkface" and compared != (column == "age"):
            yield f'data.{key}: {_show(text)} is not allowed; age must be compared, as in "age > 35", and no other'


def _intersection_conflicts(data: Data) -> Iterator[str]:
    seen: dict[frozenset[str], int] = {}
    for index, attributes in enumerate(data.intersections):
        key = f"data.intersections.{index}"
        if len(attributes) < 2:
            yield f"{key}: {_show(attributes)} is not an intersection; name two or more of {_list(data.sensitive)}"
        if len(set(attributes)) < len(attributes):
            yield f"{key}: {_show(attributes)} names an attribute twice; name each once"
        for attribute in dict.fromkeys(attributes):
            if attribute not in data.sensitive:
                yield (
                    f"{key}: {_show(attribute)} is not among data.sensitive (allowed: {_list(data.sensitive)})"
                    f"{_near(attribute, data.sensitive)}"
                )
        if frozenset(attributes) in seen:
            yield f"{key}: {_show(attributes)} stands there already, at {seen[frozenset(attributes)]}; leave one out"
        seen.setdefault(frozenset(attributes), index)
    if data.intersections and data.auditor_records == "own":
        yield (
            "data.intersections: are made of what auditors hold of the same people, and with data.auditor_records "
            '"own" they hold nothing of the developer\'s; leave them out'
        )
    for name, attributes in data.joint_attributes.items():
        if len(attributes) > 1 and name in (*data.sensitive, data.target):
            yield f"data.intersections: {_show(name)} is the name of a column too; rename the column"


def _backbone_conflicts(backbone: Backbone, data: Data) -> Iterator[str]:
    embedded = backbone.name == EMBEDDED_BACKBONE
    if backbone.weights == "embedded" and not embedded:
        yield (
            f'backbone.weights: "embedded" exists for {_show(EMBEDDED_BACKBONE)} alone, and backbone.name is '
            f'{_show(backbone.name)}; name a file of weights, or "timm" to download them'
        )
    if embedded and backbone.weights == "timm":
        yield f'backbone.weights: {_show(EMBEDDED_BACKBONE)} is not among timm\'s models; use "embedded"'


def _method_conflicts(method: Method, data: Data) -> Iterator[str]:
    allowed = METHODS[method.name]
    if method.release is not None and method.release not in allowed:
        remedy = f"allowed: {_list(allowed)}" if allowed else "it releases nothing"
        yield (
            f"method.release: {_show(method.release)} is not a release of {method.name}; {remedy} "
            "(-o method.release= takes the default)"
        )
        return
    release = method.release or (allowed[0] if allowed else None)
    yield from _penalised_conflicts(method, release, data)
    own = data.auditor_records == "own"
    if own and method.name not in OWN_METHODS:
        yield (
            f"data.auditor_records: {method.name} by {release} needs the attributes of the developer's records, "
            f'and with "own" no auditor has them; use "aligned", or a method of {_list(OWN_METHODS)}'
        )
    if method.adversary_features == "disclosed" and not (own and method.name == "ent"):
        yield (
            'method.adversary_features: "disclosed" is for method ent with data.auditor_records "own" alone, where '
            "the auditor trains on features of its own pictures; leave it out"
        )
    if method.target_gap is not None and method.name not in STEERED:
        yield (
            f"method.target_gap: {method.name} releases nothing that tells a gap; set method.strength, or take a "
            f"method of {_list(STEERED)}"
        )
    if method.orthogonality == "predictions" and release == "gradient":
        yield (
            'method.orthogonality: "predictions" needs the sensitive adapter itself, and release "gradient" opens '
            'none; use release "adapter", or orthogonality "weights"'
        )
    if release in ADAPTER_RELEASES and data.split is not None and data.split.auditor == 0:
        yield f"data.split.auditor: is 0; {method.name} needs pictures of the auditor's own"


def _penalised_conflicts(method: Method, release: str | None, data: Data) -> Iterator[str]:
    allowed = (*data.sensitive, *data.joint_attributes)
    names = method.attributes or ()
    if len(set(names)) < len(names):
        yield f"method.attributes: {_show(names)} names one twice; name each once"
    for name in dict.fromkeys(names):
        if name not in allowed:
            yield (
                f"method.attributes: {_show(name)} is neither in data.sensitive nor an intersection "
                f"(allowed: {_list(allowed)}){_near(name, allowed)}"
            )
        elif name in data.joint_attributes and release in ADAPTER_RELEASES:
            yield (
                f"method.attributes: {method.name} by {release} cannot be fair to {_show(name)}: an adapter is trained "
                f"for one auditor's attribute; name those ({_list(data.joint_attributes[name])}), or use parity"
            )


def _compare_conflicts(compare: Sequence[str], method: Method, data: Data) -> Iterator[str]:
    if len(set(compare)) < len(compare):
        yield f"compare: {_show(compare)} names a method twice"
    for name in dict.fromkeys(compare):
        if name == method.name:
            yield f"compare: {_show(name)} is method.name already; leave it out"
            continue
        other = Method.model_validate({"name": name, "attributes": method.attributes})
        for problem in _method_conflicts(other, data):
            yield f"compare: {name}: {problem}"


def _privacy_conflicts(privacy: Privacy | None, data: Data) -> Iterator[str]:
    if privacy is not None and privacy.evaluation_epsilon is not None and data.auditor_records == "own":
        yield (
            f"privacy.evaluation_epsilon: {privacy.evaluation_epsilon:g} has no use: nobody holds attributes of the "
            'test records with data.auditor_records "own"; leave it out'
        )
    if privacy is not None and privacy.epsilon is None and privacy.evaluation_epsilon is None:
        yield "privacy: gives neither epsilon nor evaluation_epsilon; leave [privacy] out for exact releases"


def _auditor_conflicts(secure: Secure, data: Data) -> Iterator[str]:
    if not secure.auditors:
        return
    names = [auditor.name for auditor in secure.auditors]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"secure.auditors: {_show(name)} stands there {names.count(name)} times; names must differ"
        if name in RESERVED_NAMES:
            yield f"secure.auditors: {_show(name)} is another party's name; choose another"
    held: dict[str, list[Auditor]] = {attribute: [] for attribute in data.sensitive}
    for index, auditor in enumerate(secure.auditors):
        if len(set(auditor.attributes)) < len(auditor.attributes):
            yield f"secure.auditors.{index}.attributes: {_show(auditor.attributes)} names an attribute twice"
        for attribute in dict.fromkeys(auditor.attributes):
            if attribute not in held:
                yield (
                    f"secure.auditors.{index}.attributes: {_show(attribute)} is not among data.sensitive "
                    f"(allowed: {_list(data.sensitive)})"
                )
            else:
                held[attribute].append(auditor)
    for attribute, holders in held.items():
        if not holders:
            yield f"secure.auditors: no auditor holds {_show(attribute)} of data.sensitive; give it to one"
        else:
            yield from _holder_conflicts(attribute, holders)


def _holder_conflicts(attribute: str, holders: Sequence[Auditor]) -> Iterator[str]:
    """Whether an attribute's holders have everybody among them, and nobody twice."""
    names = _list(holder.name for holder in holders)
    whole = [holder.name for holder in holders if holder.records is None]
    total = sum(holder.records or 0.0 for holder in holders)
    if len(holders) > 1 and whole:
        yield (
            f"secure.auditors: {_show(attribute)} is held by {names}, and {_list(whole)} of everybody; give it to one "
            "of them, or each a part of the people (records = 0.5)"
        )
    elif not whole and not math.isclose(total, 1.0, abs_tol=PARTS_TOLERANCE):
        yield (
            f"secure.auditors: the parts (records) of the holders of {_show(attribute)}, {names}, sum to {total:g}; "
            "they must sum to 1"
        )


def _part_conflicts(secure: Secure, method: Method, compare: Sequence[str], data: Data) -> Iterator[str]:
    taken: dict[str, float] = {}
    for index, auditor in enumerate(secure.auditors):
        begins = {attribute: taken.get(attribute, 0.0) for attribute in auditor.attributes}
        if not math.isclose(min(begins.values()), max(begins.values()), abs_tol=PARTS_TOLERANCE):
            before = ", ".join(f"{begin:g} of {_show(attribute)}" for attribute, begin in begins.items())
            yield (
                f"secure.auditors.{index}.records: {_show(auditor.name)} has one part of the people for all its "
                f"attributes, and those before it have {before}; order the auditors, or choose the parts, so that "
                "these are alike"
            )
        for attribute in begins:
            taken[attribute] = max(begins.values()) + (1.0 if auditor.records is None else auditor.records)
    parted = [auditor.name for auditor in secure.auditors if auditor.records is not None]
    if parted and data.auditor_records == "own":
        yield (
            f"secure.auditors: {_list(parted)} hold parts of the people (records), and with data.auditor_records "
            '"own" nobody holds any of the developer\'s people; leave records out'
        )
        return
    for name in dict.fromkeys((method.name, *compare)):
        if parted and any(release in ADAPTER_RELEASES for release in METHODS[name]):
            yield (
                f"secure.auditors: {_list(parted)} hold parts of the people (records), and {name} needs one auditor "
                "that trains an adapter for everybody; leave records out, or use another method"
            )


def _policy_conflicts(policy: Policy, method: Method, train: Train) -> Iterator[str]:
    if method.release == "rows" and train.batch_size < policy.minimum_batch:
        yield (
            f"train.batch_size: {train.batch_size} is below policy.minimum_batch {policy.minimum_batch}, and "
            "release rows opens every batch; raise the one or lower the other"
        )


# --- messages ---------------------------------------------------------------------------------------------------------


def _describe(detail: ErrorDetails, tree: dict[str, Any]) -> str:
    """One problem that pydantic found as ``path: value; what is allowed``."""
    location = detail["loc"]
    path = ".".join(str(part) for part in location) or "scenario"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return f"{path}: is missing"
    value = _show(detail["input"])
    if kind == "extra_forbidden":
        return f"{path}: unknown key (value {value}){_known_keys(location)}"
    if kind in ("literal_error", "not_among"):
        allowed = context.get("allowed") or re.findall(r"'([^']*)'", context["expected"])
        return f"{path}: {value} is not allowed; allowed: {_list(allowed)}{_near(detail['input'], allowed)}"
    message = detail["msg"].removeprefix("Input should be ")
    if kind in ("model_type", "model_attributes_type"):
        message = "a table of keys"
    elif kind == "string_pattern_mismatch":
        message = f"text that matches {context['pattern']}"
    elif kind == "too_short":
        message = f"a list of at least {context['min_length']}"
    elif kind in ("tuple_type", "list_type"):
        message = "a list"
    return f"{path}: {value} is not allowed; it must be {message}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    """What the table of an unknown key does know, with the nearest name where there is one."""
    model: Any = Scenario
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        model = _model_of(model.model_fields[part].annotation)
        if model is None:
            return ""
    known = list(model.model_fields)
    return f"; known: {', '.join(known)}{_near(location[-1], known)}"


def _model_of(annotation: Any) -> Any:
    """The section inside an annotation such as ``Split | None`` or ``tuple[Auditor, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_of(argument)
        if found is not None:
            return found
    return None


def _near(given: object, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(str(given), known, n=1)
    return f" (did you mean {_show(matches[0])}?)" if matches else ""


def _list(values: Iterable[str]) -> str:
    return ", ".join(_show(value) for value in values)


def _show(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."
