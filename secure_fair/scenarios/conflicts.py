"""Conflicts between the keys of a scenario, each named with its path, its value and the remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from secure_fair.learning.method import Extent
from secure_fair.learning.methods import METHODS, settings_for, unused_keys
from secure_fair.learning.settings import (
    EMBEDDED_BACKBONE,
    EMBEDDED_DEPTH,
    EMBEDDED_PATCH,
    IDENTITY_BACKBONE,
    Backbone,
    Lora,
    MethodSettings,
    TrainingLoop,
)
from secure_fair.operations import OPERATIONS, RULES
from secure_fair.privacy.fit import small
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.target import Privacy
from secure_fair.scenarios import data_conflicts
from secure_fair.scenarios.models import PARTS_TOLERANCE, Auditor, Data, Secure
from secure_fair.sections import listed, near, show

RESERVED_NAMES = ("developer", "dealer")


def find(sections: dict[str, Any]) -> list[str]:
    """List every conflict between keys among the sections that are valid by themselves.

    Methods to compare run on the same sections, with the keys of the main method that they use.
    """
    problems = _found(sections)
    if {"compare", "method"} <= sections.keys():
        method = sections["method"]
        problems += _compare_conflicts(sections["compare"], method)
        for name in dict.fromkeys(sections["compare"]):
            compared = _found({**sections, "method": settings_for(name, method)})
            problems += [f"compare: {name}: {problem}" for problem in compared if problem not in problems]
    return problems


def _found(sections: dict[str, Any]) -> list[str]:
    checks = [
        (data_conflicts.whole, ("data",)),
        (data_conflicts.separate, ("data",)),
        (_backbone_conflicts, ("backbone", "lora", "data")),
        (_method_conflicts, ("method", "data", "privacy")),
        (_validation_conflicts, ("method", "train")),
        (_privacy_conflicts, ("privacy", "data")),
        (_auditor_conflicts, ("secure", "data")),
        (_part_conflicts, ("secure", "method", "data")),
        (_claim_conflicts, ("secure", "data", "privacy")),
        (_policy_conflicts, ("policy", "method", "train", "data", "privacy")),
    ]
    problems: list[str] = []
    for check, needed in checks:
        if all(key in sections for key in needed):
            problems += check(*(sections[key] for key in needed))  # type: ignore[operator]
    return problems


def resolved(method: MethodSettings, data: Data, privacy: Privacy | None) -> MethodSettings:
    """The method's settings with its defaults, as they are for these data and this privacy.

    They do not depend on the policy, which is each auditor's own business.
    """
    noised, own = privacy is not None and privacy.epsilon is not None, data.auditor_records == "own"
    return METHODS[method.name].resolved(method, noised=noised, own_records=own)


def _backbone_conflicts(backbone: Backbone, lora: Lora, data: Data) -> Iterator[str]:
    identity = backbone.name == IDENTITY_BACKBONE
    if data.dataset == "table":
        # a name that nobody gave is not wrong: the scenario's defaults are not filled in where it has other faults
        if "name" in backbone.model_fields_set and not identity:
            yield (
                f"backbone.name: {show(backbone.name)} takes pictures, and the features of a table are its columns; "
                f"leave it out, or name {show(IDENTITY_BACKBONE)}"
            )
        if backbone.weights != Backbone().weights:
            yield f"backbone.weights: {show(backbone.weights)} has no use with a table; leave it out"
        if lora != Lora():
            yield "lora: has no use with a table, of which only the linear head is trained; leave it out"
        return
    if identity:
        yield (
            f'backbone.name: {show(IDENTITY_BACKBONE)} is for dataset "table" alone, whose columns are the features; '
            f"name a vision transformer, such as {show(EMBEDDED_BACKBONE)}"
        )
        return
    embedded = backbone.name == EMBEDDED_BACKBONE
    if backbone.weights == "embedded" and not embedded:
        yield (
            f'backbone.weights: "embedded" exists for {show(EMBEDDED_BACKBONE)} alone, and backbone.name is '
            f'{show(backbone.name)}; name a file of weights, or "timm" to download them'
        )
    if embedded and data.image_size % EMBEDDED_PATCH:
        yield (
            f"data.image_size: {data.image_size} is not a multiple of {EMBEDDED_PATCH}, the side of "
            f"{show(EMBEDDED_BACKBONE)}'s patches; take {data.image_size // EMBEDDED_PATCH * EMBEDDED_PATCH}"
        )
    if embedded and (lora.last_blocks or 0) > EMBEDDED_DEPTH:
        yield (
            f"lora.last_blocks: {lora.last_blocks} is more than the {EMBEDDED_DEPTH} blocks of "
            f"{show(EMBEDDED_BACKBONE)}; lower it"
        )
    if embedded and backbone.weights == "timm":
        yield f'backbone.weights: {show(EMBEDDED_BACKBONE)} is not among timm\'s models; use "embedded"'


def _method_conflicts(method: MethodSettings, data: Data, privacy: Privacy | None) -> Iterator[str]:
    chosen = METHODS[method.name]
    method = resolved(method, data, privacy)
    release, own = method.release, data.auditor_records == "own"
    if release is not None and release not in chosen.releases:
        remedy = f"allowed: {listed(chosen.releases)}" if chosen.releases else "it releases nothing"
        yield (
            f"method.release: {show(release)} is not a release of {method.name}; {remedy}"
            f"{near(release, chosen.releases)} (-o method.release= takes the default)"
        )
        return
    yield from _penalised_conflicts(method, data)
    if data.dataset == "table" and chosen.moves_features:
        others = [name for name, other in METHODS.items() if not other.moves_features]
        yield (
            f"method.name: {method.name} works by moving the features, and those of a table are its columns, which "
            f"nothing moves: only the linear head is trained; use a method of {listed(others)}"
        )
        return
    if own and not chosen.own_records:
        others = [name for name, other in METHODS.items() if other.own_records]
        yield (
            f"data.auditor_records: {method.name} by {release} needs the attributes of the developer's records, "
            f'and with "own" no auditor has them; use "aligned", or a method of {listed(others)}'
        )
    nobody = data.split is not None and data.split.auditor == 0 and data.auditor is None
    if release in chosen.adapter_releases and nobody:
        yield f"data.split.auditor: is 0; {method.name} needs pictures of the auditor's own"
    yield from chosen.conflicts(method, own)


def _validation_conflicts(method: MethodSettings, train: TrainingLoop) -> Iterator[str]:
    """An accuracy is given up by records that were not trained on, or it is not known."""
    if method.accuracy_loss is not None and not train.validation:
        yield (
            f"method.accuracy_loss: {show(method.accuracy_loss)} is measured on validation records, and there are "
            "none; set train.validation = 0.2"
        )


def _penalised_conflicts(method: MethodSettings, data: Data) -> Iterator[str]:
    allowed = (*data.sensitive, *data.joint_attributes)
    names = method.attributes or ()
    if len(set(names)) < len(names):
        yield f"method.attributes: {show(names)} names one twice; name each once"
    for name in dict.fromkeys(names):
        if name not in allowed:
            yield (
                f"method.attributes: {show(name)} is neither in data.sensitive nor an intersection "
                f"(allowed: {listed(allowed)}){near(name, allowed)}"
            )
        elif name in data.joint_attributes and method.release in METHODS[method.name].adapter_releases:
            yield (
                f"method.attributes: {method.name} by {method.release} cannot be fair to {show(name)}: an "
                f"adapter is trained for one auditor's attribute; name those ({listed(data.joint_attributes[name])}), "
                "or use parity"
            )


def _compare_conflicts(compare: Sequence[str], method: MethodSettings) -> Iterator[str]:
    if len(set(compare)) < len(compare):
        yield f"compare: {show(compare)} names a method twice"
    if method.name in compare:
        yield f"compare: {show(method.name)} is method.name already; leave it out"
    methods = dict.fromkeys((method.name, *compare))
    for key in unused_keys(methods):
        value = getattr(method, key)
        if value != MethodSettings.model_fields[key].default:
            users = [name for name, other in METHODS.items() if key in other.keys]
            yield (
                f"method.{key}: {show(value)} has no use with {', '.join(methods)}; it is for {', '.join(users)}: "
                f"leave it out (-o method.{key}=)"
            )


def _privacy_conflicts(privacy: Privacy | None, data: Data) -> Iterator[str]:
    if privacy is not None and privacy.evaluation_epsilon is not None and data.auditor_records == "own":
        yield (
            f"privacy.evaluation_epsilon: {privacy.evaluation_epsilon:g} has no use: nobody holds attributes of the "
            'test records with data.auditor_records "own"; leave it out'
        )
    if privacy is not None and privacy.epsilon is None and privacy.evaluation_epsilon is None:
        yield "privacy: gives neither epsilon nor evaluation_epsilon; leave [privacy] out for exact releases"
    if privacy is not None and privacy.records_per_person is not None and not data.persons_given:
        yield (
            f"privacy.records_per_person: {privacy.records_per_person} has no use: the data do not say whose each "
            "record is; set data.person_column (manifest, huggingface, table) or data.identities = true (celeba), or "
            "leave it out"
        )


def _auditor_conflicts(secure: Secure, data: Data) -> Iterator[str]:
    if not secure.auditors:
        return
    names = [auditor.name for auditor in secure.auditors]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"secure.auditors: {show(name)} stands there {names.count(name)} times; names must differ"
        if name in RESERVED_NAMES:
            yield f"secure.auditors: {show(name)} is another party's name; choose another"
    held: dict[str, list[Auditor]] = {attribute: [] for attribute in data.sensitive}
    for index, auditor in enumerate(secure.auditors):
        if len(set(auditor.attributes)) < len(auditor.attributes):
            yield f"secure.auditors.{index}.attributes: {show(auditor.attributes)} names an attribute twice"
        for attribute in dict.fromkeys(auditor.attributes):
            if attribute not in held:
                yield (
                    f"secure.auditors.{index}.attributes: {show(attribute)} is not among data.sensitive "
                    f"(allowed: {listed(data.sensitive)})"
                )
            else:
                held[attribute].append(auditor)
    for attribute, holders in held.items():
        if not holders:
            yield f"secure.auditors: no auditor holds {show(attribute)} of data.sensitive; give it to one"
        else:
            yield from _holder_conflicts(attribute, holders)


def _holder_conflicts(attribute: str, holders: Sequence[Auditor]) -> Iterator[str]:
    """Whether an attribute's holders have everybody among them, and nobody twice."""
    names = listed(holder.name for holder in holders)
    whole = [holder.name for holder in holders if holder.records is None]
    total = sum(holder.records or 0.0 for holder in holders)
    if len(holders) > 1 and whole:
        yield (
            f"secure.auditors: {show(attribute)} is held by {names}, and {listed(whole)} of everybody; give it to one "
            "of them, or each a part of the people (records = 0.5)"
        )
    elif not whole and not math.isclose(total, 1.0, abs_tol=PARTS_TOLERANCE):
        yield (
            f"secure.auditors: the parts (records) of the holders of {show(attribute)}, {names}, sum to {total:g}; "
            "they must sum to 1"
        )


def _part_conflicts(secure: Secure, method: MethodSettings, data: Data) -> Iterator[str]:
    taken: dict[str, float] = {}
    for index, auditor in enumerate(secure.auditors):
        begins = {attribute: taken.get(attribute, 0.0) for attribute in auditor.attributes}
        if not math.isclose(min(begins.values()), max(begins.values()), abs_tol=PARTS_TOLERANCE):
            before = ", ".join(f"{begin:g} of {show(attribute)}" for attribute, begin in begins.items())
            yield (
                f"secure.auditors.{index}.records: {show(auditor.name)} has one part of the people for all its "
                f"attributes, and those before it have {before}; order the auditors, or choose the parts, so that "
                "these are alike"
            )
        for attribute in begins:
            taken[attribute] = max(begins.values()) + (1.0 if auditor.records is None else auditor.records)
    parted = [auditor.name for auditor in secure.auditors if auditor.records is not None]
    if parted and data.auditor_records == "own":
        yield (
            f"secure.auditors: {listed(parted)} hold parts of the people (records), and with data.auditor_records "
            '"own" nobody holds any of the developer\'s people; leave records out'
        )
        return
    if parted and METHODS[method.name].adapter_releases:
        yield (
            f"secure.auditors: {listed(parted)} hold parts of the people (records), and {method.name} needs one "
            "auditor that trains an adapter for everybody; leave records out, or use another method"
        )


def _claim_conflicts(secure: Secure, data: Data, privacy: Privacy | None) -> Iterator[str]:
    """Whether what is to be certified can be decided, and by whom."""
    if not secure.claims:
        return
    from secure_fair.fairness.claims import Claim  # which takes scipy

    if secure.mode == "plain":
        yield 'secure.claims: are signed by all parties, and secure.mode "plain" has none; leave one of the two out'
    if data.auditor_records == "own":
        yield 'secure.claims: with data.auditor_records "own" nobody holds attributes of test records; leave them out'
    if privacy is not None and privacy.evaluation_epsilon is None:
        yield "secure.claims: are decided from counts of test records; set privacy.evaluation_epsilon"
    audited = [*data.sensitive, *data.joint_attributes]
    for place, text in enumerate(secure.claims):
        try:
            attribute = Claim.parse(text).attribute
        except ValueError as error:
            yield f"secure.claims.{place}: {error}"
            continue
        if attribute not in audited:
            yield (
                f"secure.claims.{place}: {show(attribute)} is not audited; there are {listed(audited)}"
                f"{near(attribute, audited)}"
            )


def _policy_conflicts(
    policy: Policy, method: MethodSettings, train: TrainingLoop, data: Data, privacy: Privacy | None
) -> Iterator[str]:
    yield from policy.unknown_operations(OPERATIONS)
    yield from policy.contradictions()
    method = resolved(method, data, privacy)
    extent = Extent(groups=2, epochs=train.epochs, steps=1, own_records=False)
    kinds = METHODS[method.name].planned(method, extent) if method.release in METHODS[method.name].releases else []
    operations = [kind.operation for kind in kinds]
    yield from (reason for _, reason in small(policy, operations, RULES, train.batch_size))
