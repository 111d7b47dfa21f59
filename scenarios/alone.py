"""One party's store from its own data set, where the auditors' is another: nobody needs to see both."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenarios import assemble
from scenarios.models import AuditorData
from scenarios.people import NAMES, names_of, parts_of, reading, write_names
from scenarios.progress import Reporter
from scenarios.schema import Scenario
from secure_fair.data.matching import matched
from secure_fair.data.store import AuditorStore, DeveloperStore, read_join_key
from secure_fair.data.table import AttributeTable, load_attributes, load_labels, load_table
from secure_fair.errors import UsageError
from secure_fair.sections import listed


def write_store(scenario: Scenario, party: str, folder: Path, key_file: Path, report: Reporter) -> None:
    """Write the store of this party alone below ``folder``; no other party's data set is looked at.

    The key of its ids, in ``key_file``, is this party's own, for it shares no record with anybody; it is made once the
    data set has been read. Raises UsageError where the scenario has
    no such party, or its auditors' people are the developer's data set's.
    """
    own, auditors = scenario.data.auditor, {one.name: one for one in scenario.secure.auditors}
    if own is None:
        raise UsageError(
            f"--party {party}: the scenario has no [data.auditor], and stores that share records are prepared "
            "together; leave --party out"
        )
    if party not in (assemble.DEVELOPER, *auditors):
        raise UsageError(f"--party {party}: has no store; the parties that have are {listed(['developer', *auditors])}")
    if party == assemble.DEVELOPER:
        write_developers(scenario, folder, key_file, report)
        return
    table = auditors_table(scenario, own, report)
    AuditorStore.write(
        folder / party,
        table,
        attributes=auditors[party].attributes,
        aligned=np.empty(0, dtype=np.int64),
        own=np.arange(len(table)),
        join_key=read_join_key(key_file),
        seed=scenario.seed,
    )


def write_developers(scenario: Scenario, folder: Path, key_file: Path, report: Reporter) -> None:
    """The developer's store, from pictures and labels, and beside it the names of its records; a table needs no column
    of an attribute."""
    data = scenario.data
    if data.label_bias is not None:
        raise UsageError(
            "data.label_bias: needs the attribute of every record, which a developer that prepares alone has not; "
            "leave it out, or prepare all stores together"
        )
    how = reading(scenario, data, report)
    if data.dataset == "faces":  # are drawn by their attributes
        table = load_table(**data.asked, **how)
    else:
        table = load_labels(**{key: value for key, value in data.asked.items() if key != "sensitive"}, **how)
    parts = parts_of(scenario, table)
    join_key = read_join_key(key_file)
    DeveloperStore.write(
        folder / assemble.DEVELOPER,
        table,
        training=parts["developer"],
        test=parts["test"],
        join_key=join_key,
        seed=scenario.seed,
    )
    write_names(folder / NAMES, names_of(table, {"train": parts["developer"], "test": parts["test"]}, join_key))


def auditors_table(scenario: Scenario, own: AuditorData, report: Reporter) -> AttributeTable:
    """The auditors' people in the groups that ``data.auditor.groups`` has, else in those of their own data set."""
    table = load_attributes(**own.asked, **reading(scenario, own, report))
    pairs = zip(scenario.data.sensitive, own.sensitive, strict=True)
    groups = {name: tuple(own.groups.get(name, table.sensitive[column].groups)) for name, column in pairs}
    return matched(table, own.sensitive, groups, given=own.groups)
