"""Whose record is whose in a simulation: the data sets as read, their people, and every party's store of its part."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.data.label_bias import recorded_labels
from secure_fair.data.matching import matched
from secure_fair.data.pictures import colours
from secure_fair.data.split import given_split, part_of, split
from secure_fair.data.store import KEY_BYTES, AuditorStore, DeveloperStore, ids_of, record_ids
from secure_fair.data.table import Attribute, AttributeTable, Dataset, load_attributes, load_table
from secure_fair.errors import UsageError
from secure_fair.files import write_bytes
from secure_fair.groups import joint_codes, joint_groups
from secure_fair.scenarios import assemble
from secure_fair.scenarios.models import DataSet
from secure_fair.scenarios.plans import check_sizes
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.schema import Scenario

NAMES = "records.csv"  # beside the stores: whose record is whose, for whoever prepares them
NAMES_HEADER = ("id", "file", "record", "split")
OTHER_PORTRAITS = 2**32  # added to the seed of portraits drawn for auditors: no scenario draws its own from such a seed


@dataclass(frozen=True)
class Tables:
    """The data sets of a scenario: the developer's, and the auditors' where it is another, under the attributes that
    fairness is measured by."""

    table: Dataset
    separate: AttributeTable | None = None


def load(scenario: Scenario, report: Reporter) -> Tables:
    """The scenario's data sets, decoded once and cached. UsageError where a picture is in both."""
    data = scenario.data
    table = load_table(**data.asked, **reading(scenario, data, report))
    if data.auditor is None:
        return Tables(table)
    own = load_attributes(**data.auditor.asked, **reading(scenario, data.auditor, report))
    common = len(set(own.digests) & set(table.digests))
    if common:
        raise UsageError(
            f"data.auditor: {common} of its {len(own)} pictures are in the developer's data set too, and the auditors "
            "are to know nobody of it; take them out of one of the two"
        )
    measured = {name: attribute.groups for name, attribute in table.sensitive.items()}
    return Tables(table, matched(own, data.auditor.sensitive, measured, data.auditor.groups))


def reading(scenario: Scenario, data: DataSet, report: Reporter) -> dict[str, Any]:
    """How one of the scenario's data sets is read, as ``load_table`` and its kin take it."""
    return {
        "image_size": scenario.data.image_size,
        "cache": cache_folder(),
        "on_bad": data.on_bad,
        "progress": report.progress,
        "seed": scenario.seed + (OTHER_PORTRAITS if data is scenario.data.auditor else 0),
    }


def parts_of(scenario: Scenario, table: Dataset) -> dict[str, np.ndarray]:
    """Rows of the developer's table by part: developer, auditor and test."""
    if table.given_split is not None:
        return given_split(table.given_split)
    return split(len(table), scenario.data.fractions, scenario.seed, table.persons)


def names_of(table: Dataset, parts: Mapping[str, np.ndarray], join_key: bytes) -> list[tuple[str, str, str, str]]:
    """The data set's own id and file, the record's id and the part, of the records at these places.

    Where the data set has no ids, the record's name there is its own id; rows of a table have no file.
    """
    found = []
    for part, rows in parts.items():
        for row, record in zip(rows, ids_of(table, rows, join_key), strict=True):
            own = table.names[row] if table.own_ids is None else table.own_ids[row]
            found.append((own, "" if table.columns else table.names[row], record, part))
    return found


def write_names(file: Path, names: Iterable[tuple[str, str, str, str]]) -> None:
    """Write own ids, files, record ids and parts as CSV, for their owner alone."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([NAMES_HEADER, *names])
    write_bytes(file, text.getvalue().encode())


def cache_folder() -> Path:
    """Where decoded pictures are kept: SECURE_FAIR_CACHE, else the user's cache folder."""
    given = os.environ.get("SECURE_FAIR_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "secure-fair"


class People:
    """Who of the data sets is whose record, under which id; known to the launcher alone.

    ``training`` and ``test`` are rows of ``table``, the developer's; ``own``, the auditors' own people, of
    ``own_table``: the same one unless they come from another data set. The labels of ``table`` are true; ``recorded``
    are those of the past, int64 (N,), where the scenario has a bias of labels.
    """

    def __init__(self, scenario: Scenario, tables: Tables, join_key: bytes | None = None) -> None:
        """Draw a new ``join_key`` where none is given: then no other preparation has the same ids."""
        self.scenario = scenario
        parts = parts_of(scenario, tables.table)
        self.table = tables.table.encoded(parts["developer"])
        self.own_table: AttributeTable = self.table
        if tables.separate is not None:  # what the split gives to auditors is then nobody's
            self.own_table = tables.separate
            parts["auditor"] = np.arange(len(tables.separate))
        check_sizes(scenario, {name: len(rows) for name, rows in parts.items()})  # broken pictures make them fewer
        self.training, self.test, self.own = parts["developer"], parts["test"], parts["auditor"]
        bias = scenario.data.label_bias
        self.recorded = None if bias is None else recorded_labels(self.table, **bias.model_dump(), seed=scenario.seed)
        self.join_key = join_key or secrets.token_bytes(KEY_BYTES)

    def sensitive(self) -> dict[str, Attribute]:
        """Every sensitive attribute, and every intersection of them as another."""
        found = dict(self.table.sensitive)
        for name, attributes in self.scenario.data.joint_attributes.items():
            held = [self.table.sensitive[attribute] for attribute in attributes]
            codes = joint_codes([one.codes for one in held], [len(one.groups) for one in held])
            found[name] = Attribute(name, codes, joint_groups({one.name: one.groups for one in held}))
        return found

    def positions(self) -> dict[str, int]:
        """Places in the table by record id, of the test records."""
        ids = record_ids(self.join_key, [self.table.digests[place] for place in self.test])
        return {record: int(place) for record, place in zip(ids, self.test, strict=True)}

    def names(self) -> list[tuple[str, str, str, str]]:
        """The data set's own id and file, record id and part, "train" or "test", of each of the developer's records.

        For whoever prepares the stores, and no party: names may tell attributes.
        """
        return names_of(self.table, {"train": self.training, "test": self.test}, self.join_key)

    def pictures(self) -> dict[str, dict[str, Any]]:
        """The developer's and the auditors' pictures, where they come from two data sets: how many from which, mean and
        deviation of red, green and blue in [0, 1].

        Both are decoded in the same way, and normalised with the backbone's own mean and deviation, not with theirs.
        """
        data = self.scenario.data
        if data.auditor is None:
            return {}
        of = {
            "developer": (data.dataset, self.table, np.concatenate([self.training, self.test])),
            "auditors": (data.auditor.dataset, self.own_table, self.own),
        }
        found = {}
        for name, (dataset, table, rows) in of.items():
            mean, deviation = colours(table.inputs, rows)
            found[name] = {"dataset": dataset, "records": len(rows), "mean": mean, "deviation": deviation}
        return found

    def labelled(self) -> Dataset:
        """The developer's table with the labels that it gets: of the past for training, true for tests."""
        if self.recorded is None:
            return self.table
        labels = self.table.target.codes.copy()
        labels[self.training] = self.recorded[self.training]
        return replace(self.table, target=replace(self.table.target, codes=labels))

    def write_stores(self, folder: Path) -> None:
        """One folder for each party with only what that party may know."""
        DeveloperStore.write(
            folder / assemble.DEVELOPER,
            self.labelled(),
            training=self.training,
            test=self.test,
            join_key=self.join_key,
            seed=self.scenario.seed,
        )
        for auditor in self.scenario.secure.auditors:
            aligned, own = self.part_of(auditor.name)
            AuditorStore.write(
                folder / auditor.name,
                self.own_table,
                attributes=auditor.attributes,
                aligned=aligned,
                own=own,
                join_key=self.join_key,
                seed=self.scenario.seed,
            )

    def part_of(self, auditor: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``own_table``: the developer's records of which this auditor holds attributes, and its own."""
        part, seed = self.scenario.secure.parts[auditor], self.scenario.seed
        own = part_of(self.own, part, seed, self.own_table.persons)
        if self.scenario.data.auditor_records == "own":
            return np.empty(0, dtype=np.int64), own
        known = [part_of(rows, part, seed, self.table.persons) for rows in (self.training, self.test)]
        return np.concatenate(known), own
