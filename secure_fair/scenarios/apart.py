"""One party's store from that party's own files: nobody needs to see pictures and attributes together.

Where the auditors' people are the developer's (the records are shared), both sides know them by ids of their own, which
become record ids by a join key or are matched already. Where they are another data set's (``[data.auditor]``), nothing
is shared, and the key is each party's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from secure_fair.data.decisions import digest_of
from secure_fair.data.holder import read_holder
from secure_fair.data.links import held_by_all, write_held
from secure_fair.data.matching import matched
from secure_fair.data.records import parse_expression
from secure_fair.data.split import derived_training, given_split
from secure_fair.data.store import AuditorStore, DeveloperStore, ids_of, person_ids
from secure_fair.data.table import AttributeTable, Dataset, load_attributes, load_labels, load_table
from secure_fair.data.unions import united_columns
from secure_fair.errors import UsageError
from secure_fair.files import atomic_write
from secure_fair.parties.plans import trains_adapter
from secure_fair.scenarios import assemble
from secure_fair.scenarios.models import AuditorData, Data
from secure_fair.scenarios.people import NAMES, names_of, parts_of, reading, write_names
from secure_fair.scenarios.plans import check_sizes
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.schema import Scenario
from secure_fair.sections import listed

HELD = "held.csv"  # beside an auditor's store: the ids in it, for the developer
NOT_MATCHED, LACKING = "not matched", "matched, but not usable here"
TOGETHER = "prepare all stores together (secure-fair data prepare together)"

AnyTable = TypeVar("AnyTable", bound=AttributeTable)


@dataclass(frozen=True)
class IdLink:
    """How ids of a party's own become record ids: by a join key, or as ``matched`` says. With both, the key is an
    auditor's own, by which its budgets outlive a match."""

    key: bytes | None
    matched: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.key is None and self.matched is None:
            raise UsageError("--join-key FILE or --matched FILE: is missing; one of them makes the ids of the records")

    def linked(self, table: AnyTable) -> tuple[AnyTable, np.ndarray]:
        """The table with record ids of its own ids, and the rows that have one."""
        own = own_ids(table)
        table = replace(table, own_ids=own)
        if self.matched is None:
            return replace(table, digests=[digest_of(name) for name in own]), np.arange(len(table))
        given = [self.matched.get(name, "") for name in own]
        if not any(given):
            raise UsageError(
                f"--matched: none of its {len(self.matched)} ids is in this party's table, whose first is {own[0]!r}: "
                "name the column of ids that was matched"
            )
        return replace(table, record_ids=given), np.array([i for i, name in enumerate(given) if name], dtype=np.int64)

    def lacking(self, table: AttributeTable) -> int:
        """How many matched ids are not in the table: those of rows that were left out, for instance."""
        return 0 if self.matched is None else len(self.matched.keys() - set(own_ids(table)))

    def secret(self) -> bytes:
        """The key; no key makes an id where they are all matched."""
        return self.key or b""


@dataclass(frozen=True)
class Store:
    """A store that was written, and what is said of it. ``left_out``: how many records, by reason; ``training``, where
    it is known which records are to train on."""

    folder: Path
    records: int
    training: int | None
    left_out: Mapping[str, int]
    beside: Mapping[str, Path] = field(default_factory=dict)


# --- the developer's --------------------------------------------------------------------------------------------------


def prepare_developer(
    scenario: Scenario, folder: Path, link: IdLink, held: Mapping[str, set[str]], report: Reporter
) -> Store:
    """Write the developer's store, and the names of its records, below ``folder``; ``held``: ids by auditor."""
    data = scenario.data
    if data.label_bias is not None:
        raise UsageError(
            "data.label_bias: needs the attribute of every record, which a developer that prepares alone has not; "
            f"leave it out, or {TOGETHER}"
        )
    left_out: dict[str, int] = {}
    if data.auditor is not None:
        _check_separate(link, held)
        table = developers_table(data, scenario, report)
        parts = parts_of(scenario, table)
    else:
        _check_shared(scenario)
        table, rows = link.linked(developers_table(data, scenario, report))
        left_out[NOT_MATCHED] = len(table) - len(rows)
        left_out[LACKING] = link.lacking(table)
        rows, left_out["not held by every auditor"] = _held_rows(scenario, table, rows, link, held)
        parts = _parts(scenario, table, rows, link)
        left_out["of the part of the auditor"] = len(rows) - len(parts["developer"]) - len(parts["test"])
    left_out["bad or repeated"] = len(table.skipped)
    sizes = {part: len(rows) for part, rows in parts.items()}
    check_sizes(scenario, sizes | {"auditor": 1})  # how many records auditors have of their own is not known here
    table, key = table.encoded(parts["developer"]), link.secret()
    with _filled(folder) as new:
        DeveloperStore.write(
            new / assemble.DEVELOPER,
            table,
            training=parts["developer"],
            test=parts["test"],
            join_key=key,
            seed=scenario.seed,
        )
        write_names(new / NAMES, names_of(table, {"train": parts["developer"], "test": parts["test"]}, key))
    training = len(parts["developer"])
    beside = {"names": folder / NAMES}
    return Store(folder / assemble.DEVELOPER, training + len(parts["test"]), training, _counted(left_out), beside)


def developers_table(data: Data, scenario: Scenario, report: Reporter) -> Dataset:
    """Pictures and labels, or rows and labels; the table needs no column of an attribute."""
    how = reading(scenario, data, report)
    if data.dataset == "faces":  # are drawn by their attributes
        return load_table(**data.asked, **how)
    asked = {key: value for key, value in data.asked.items() if key != "sensitive"}
    if "classes" in asked:
        column = parse_expression(data.target).column
        asked["classes"] = {name: values for name, values in asked["classes"].items() if name == column}
    return load_labels(**asked, **how)


def _held_rows(
    scenario: Scenario, table: AttributeTable, rows: np.ndarray, link: IdLink, held: Mapping[str, set[str]]
) -> tuple[np.ndarray, int]:
    """Those rows that every attribute has a holder for, and how many have none; all of them where nobody has said."""
    unknown = sorted(held.keys() - {auditor.name for auditor in scenario.secure.auditors})
    if unknown:
        auditors = listed(auditor.name for auditor in scenario.secure.auditors)
        raise UsageError([f"--held {name}=FILE: the auditors of the scenario are {auditors}" for name in unknown])
    if not held:
        return rows, 0
    common = held_by_all(held, assemble.run_config(scenario).holders)
    ids = ids_of(table, rows, link.secret())
    kept = rows[np.array([name in common for name in ids], dtype=bool)]
    if not len(kept):
        raise UsageError(
            f"--held: none of the {len(rows)} records here is among those that the auditors hold: compare the "
            "fingerprints of the join key, and the columns of ids"
        )
    return kept, len(rows) - len(kept)


# --- an auditor's -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnTable:
    """An auditor's CSV of ids and attributes, and its columns of ids and of persons."""

    file: Path
    id_column: str | None = None
    person_column: str | None = None


def prepare_auditor(
    scenario: Scenario, name: str | None, folder: Path, link: IdLink, own: OwnTable | None, report: Reporter
) -> Store:
    """Write an auditor's store below ``folder``, and where records are shared the list of them for the developer."""
    auditors = {auditor.name: auditor for auditor in scenario.secure.auditors}
    if name is None and len(auditors) > 1:
        raise UsageError(f"--name NAME: is missing; the auditors of the scenario are {listed(auditors)}")
    name = name or next(iter(auditors))
    if name not in auditors:
        raise UsageError(f"--name {name}: is no auditor of the scenario, which has {listed(auditors)}")
    attributes = auditors[name].attributes
    if scenario.data.auditor is not None:
        return _prepare_separate(scenario, scenario.data.auditor, name, folder, link, own, report)
    _check_shared(scenario)
    if own is None:
        raise UsageError("--table FILE: is missing; name the CSV that has this auditor's ids and attributes")
    table, rows = link.linked(_holders_table(scenario.data, attributes, own, link))
    training = None if scenario.data.split_given else _parts(scenario, table, rows, link)["developer"]
    key = link.secret()
    with _filled(folder) as new:
        AuditorStore.write(
            new / name,
            table,
            attributes=attributes,
            aligned=rows,
            own=rows[:0],
            join_key=key,
            seed=scenario.seed,
            training=training,
        )
        write_held(new / HELD, ids_of(table, rows, key))
    left_out = {NOT_MATCHED: len(table) - len(rows), LACKING: link.lacking(table), "bad": len(table.skipped)}
    known = None if training is None else len(training)
    return Store(folder / name, len(rows), known, _counted(left_out), {"held": folder / HELD})


def _holders_table(data: Data, attributes: Sequence[str], own: OwnTable, link: IdLink) -> AttributeTable:
    person = own.person_column or data.person_column
    if link.key is None:
        raise UsageError(
            "--join-key FILE: is missing; with --matched it is this auditor's own, and budgets are kept under names "
            "that it makes of the auditor's own ids or persons, whatever record ids the next match gives"
        )
    if data.persons_given and person is None:
        raise UsageError(
            "--person COLUMN: is missing; the scenario splits by persons (data.identities), which both sides must know"
        )
    table = read_holder(
        own.file,
        attributes,
        id_column=own.id_column or data.id_column or "id",
        person_column=person,
        classes=data.classes,
        on_bad=data.on_bad,
    )
    table = replace(table, sensitive=united_columns(table.sensitive, data.groups or {}))
    if link.matched is not None and table.persons is None:
        return replace(table, persons=table.digests)
    return table


def _prepare_separate(
    scenario: Scenario,
    data: AuditorData,
    name: str,
    folder: Path,
    link: IdLink,
    own: OwnTable | None,
    report: Reporter,
) -> Store:
    """The store of an auditor whose people are another data set's, with their pictures."""
    _check_separate(link, {})
    if own is not None:
        raise UsageError(
            f"--table {own.file}: has no use, for the scenario's auditors have people of their own, with pictures, in "
            "[data.auditor]; leave it out"
        )
    table = auditors_table(scenario, data, report)
    auditor = next(one for one in scenario.secure.auditors if one.name == name)
    with _filled(folder) as new:
        AuditorStore.write(
            new / name,
            table,
            attributes=auditor.attributes,
            aligned=np.empty(0, dtype=np.int64),
            own=np.arange(len(table)),
            join_key=link.secret(),
            seed=scenario.seed,
        )
    return Store(folder / name, len(table), None, _counted({"bad or repeated": len(table.skipped)}))


def auditors_table(scenario: Scenario, own: AuditorData, report: Reporter) -> AttributeTable:
    """The auditors' people in the groups that ``data.auditor.groups`` has, else in those of their own data set."""
    table = load_attributes(**own.asked, **reading(scenario, own, report))
    pairs = zip(scenario.data.sensitive, own.sensitive, strict=True)
    groups = {name: tuple(own.groups.get(name, table.sensitive[column].groups)) for name, column in pairs}
    return matched(table, own.sensitive, groups, given=own.groups)


# --- both -------------------------------------------------------------------------------------------------------------


def own_ids(table: AttributeTable) -> list[str]:
    """The ids by which the other side knows the records: a column's, or names of the pictures' files."""
    if table.own_ids is not None:
        return table.own_ids
    if table.columns:
        raise UsageError(
            "data.id_column: is missing; rows of a table have no name by which the other side knows them: name the "
            "column (-o data.id_column=COLUMN)"
        )
    names = [Path(name).name for name in table.names]
    seen: set[str] = set()
    twice = next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
    if twice is not None:
        raise UsageError(
            f"data.id_column: is missing, and two pictures are called {twice!r}: name a column of ids "
            "(-o data.id_column=COLUMN)"
        )
    return names


def _parts(scenario: Scenario, table: AttributeTable, rows: np.ndarray, link: IdLink) -> dict[str, np.ndarray]:
    """Rows to train and to test on. They follow from the ids, or the persons', and the scenario, so that both sides
    have the same; or they are as the data set of the developer says."""
    data = scenario.data
    if table.given_split is not None:
        return {part: np.intersect1d(given, rows) for part, given in given_split(table.given_split).items()}
    if data.persons_given and link.matched is not None:
        raise UsageError(
            "--matched: persons are not matched, and the scenario splits by them (data.person_column, "
            "data.identities): leave that out of the scenario, an auditor names its own column with --person; or use a "
            "join key"
        )
    if data.persons_given and table.persons is not None:
        units = person_ids(link.secret(), (table.persons[row] for row in rows))
    else:
        units = ids_of(table, rows, link.secret())
    shares = data.fractions
    training = derived_training(units, shares["developer"] / (shares["developer"] + shares["test"]), scenario.seed)
    return {"developer": rows[training], "test": rows[~training]}


def check_apart(scenario: Scenario) -> None:
    """UsageError where the stores cannot be prepared apart."""
    if scenario.data.auditor is None:
        _check_shared(scenario)


def _check_shared(scenario: Scenario) -> None:
    """The same where the parties share records."""
    problems = list(_together_only(scenario))
    if problems:
        raise UsageError(problems)


def _together_only(scenario: Scenario) -> Iterator[str]:
    data = scenario.data
    if data.dataset == "faces":
        yield f'data.dataset: "faces" draws its portraits by their attributes, and nobody has them apart; {TOGETHER}'
    own = data.auditor_records == "own"
    if own or trains_adapter(assemble.run_config(scenario)):
        what = 'data.auditor_records: "own"' if own else f"method.name: {scenario.method.name!r}"
        yield (
            f"{what} has auditors train on pictures, and a store that is prepared apart has none of the developer's: "
            f"name another data set of theirs in [data.auditor], or {TOGETHER}"
        )


def _check_separate(link: IdLink, held: Mapping[str, set[str]]) -> None:
    """UsageError for what is about shared records."""
    if link.matched is not None or held:
        option = "--matched" if link.matched is not None else "--held"
        raise UsageError(
            f"{option}: has no use with [data.auditor], whose people are not the developer's; leave it out"
        )


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name once it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder) as new:
        new.mkdir(mode=0o700)
        yield new


def _counted(left_out: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in left_out.items() if count}
