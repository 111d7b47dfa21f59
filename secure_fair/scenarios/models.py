"""The sections of a scenario that are about data and parties; all others are defined where they are used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from secure_fair.data.kinds import KEYS
from secure_fair.privacy.policy import Claim as ClaimText
from secure_fair.sections import NotNegative, Section

PartyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]

PARTS_TOLERANCE = 1e-4  # three thirds may be written 0.3333; whoever is last has the rest


class Split(Section):
    """Fractions of the records; they sum to 1."""

    developer: NotNegative = 0.5
    """The developer trains on these."""
    auditor: NotNegative = 0.25
    """The auditors' own."""
    test: NotNegative = 0.25
    """The result is tested on these."""


class DataSet(Section):
    """One data set: where it is, what it is asked for, and the keys of its kind."""

    dataset: Literal["faces", "utkface", "celeba", "manifest", "huggingface", "table"]
    """Drawn portraits, UTKFace, CelebA, any CSV of paths and columns, a Hugging Face data set of pictures
    (save_to_disk, or Parquet as the hub has it), or any CSV whose columns are the features."""
    root: str | None = None
    """The folder that holds it; none for drawn portraits."""
    sensitive: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1)]
    """The sensitive attributes: columns, columns compared with a number ("age > 35"), or cut at numbers ("age cut at 30
    and 60")."""
    limit: Annotated[int, Field(ge=16)] | None = None
    """Use so many records at most."""
    on_bad: Literal["refuse", "skip"] = "refuse"
    """Broken pictures and odd labels stop the run, or are left out."""
    # faces
    records: Annotated[int, Field(ge=16, le=10_000_000)] | None = None
    """faces: how many are drawn."""
    # celeba
    identities: bool | None = None
    """celeba: count persons, as its own list of identities has them, instead of records."""
    # manifest, huggingface and table
    file: str | None = None
    """manifest, table: the CSV or Parquet file, below root; huggingface: a folder below it, or the beginning of
    shards' names."""
    path_column: str | None = None
    """manifest: the column of picture paths; huggingface: that of pictures, where there are several."""
    id_column: str | None = None
    """manifest, huggingface, table: the column of record ids. Without it the ids of a table's rows follow from all
    that they say."""
    person_column: str | None = None
    """manifest, huggingface, table: the column that says whose record it is. Privacy is then a person's, with all
    records; without it a record's."""
    classes: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] | None = None
    """manifest, huggingface, table: by column, the values in their order."""

    @property
    def persons_given(self) -> bool:
        """Whether the data set says which records are one person's."""
        return self.person_column is not None or self.identities is True

    @property
    def asked(self) -> dict[str, Any]:
        """The records asked for, as ``load_attributes`` and ``count_records`` take them."""
        root = None if self.root is None else Path(self.root)
        wanted = {"dataset": self.dataset, "root": root, "sensitive": self.sensitive, "limit": self.limit}
        return {**wanted, **self.dataset_options}

    @property
    def dataset_options(self) -> dict[str, Any]:
        """The settings of this data set alone that the scenario gives, as ``load_table`` takes them."""
        values = {key: getattr(self, key, None) for key in KEYS[self.dataset]}
        return {key: value for key, value in values.items() if value is not None}

    def foreign_keys(self) -> Iterator[tuple[str, list[str]]]:
        """Keys that are given here and belong to other data sets, each with the names of those that may stand here."""
        possible = get_args(type(self).model_fields["dataset"].annotation)
        for key in dict.fromkeys(key for keys in KEYS.values() for key in keys):
            if key not in KEYS[self.dataset] and getattr(self, key, None) is not None:
                yield key, [dataset for dataset in possible if key in KEYS[dataset]]


class AuditorData(DataSet):
    """The auditors' own people, where they come from another data set than the developer's: its sensitive attributes
    stand for those of data.sensitive, in their order."""

    dataset: Literal["faces", "utkface", "celeba", "manifest", "huggingface"]
    """Drawn portraits, UTKFace, CelebA, any CSV of paths and columns, or a Hugging Face data set; no table, which
    has no pictures."""
    groups: dict[str, dict[str, Annotated[tuple[str, ...], Field(strict=False)]]] = Field(default_factory=dict)
    """By attribute of data.sensitive and by its group: the groups of this data set that it is made of; needed where
    their names are not the same."""


class LabelBias(Section):
    """Labels of the past: in the training records a group was overlooked, in the test records everybody is labelled
    truly. For simulations of what fairness repairs."""

    attribute: Annotated[str, Field(min_length=1)]
    """The sensitive attribute of the group."""
    group: Annotated[str, Field(min_length=1)]
    """Whose labels are wrong."""
    missed: Annotated[float, Field(gt=0, lt=1)]
    """The share of the group's training records of class 1 that are labelled 0, drawn at random."""


class Data(DataSet):
    """The pictures or rows, the task and the sensitive attributes."""

    target: Annotated[str, Field(min_length=1)]
    """The task: a column in the same form."""
    groups: dict[str, dict[str, Annotated[tuple[str, ...], Field(strict=False, min_length=1)]]] | None = None
    """By attribute (or the target) and by group: the values that it is made of, every value in one group. Without it
    each value is a group."""
    intersections: Annotated[tuple[Annotated[tuple[str, ...], Field(strict=False)], ...], Field(strict=False)] = ()
    """Lists of two or more of the sensitive attributes, whose combinations are groups as well."""
    auditor_records: Literal["aligned", "own"] = "aligned"
    """"aligned": auditors hold attributes of the developer's records; "own": of pictures of their own alone."""
    auditor: AuditorData | None = None
    """With auditor_records "own": the other data set that the auditors' own people come from."""
    split: Split | None = None
    """Who gets which records, where the data set does not say; of a table the auditors get none by default."""
    image_size: Annotated[int, Field(ge=16, le=1024)] = 112
    """Side of the square pictures, in pixels."""
    label_bias: LabelBias | None = None
    """Training labels that disfavour a group, put there on purpose; without it labels are as the data set has them."""
    # faces
    correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    """faces: between the task and the first sensitive attribute."""
    base_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """faces: share of the task's class 1."""
    # celeba
    partition: bool | None = None
    """celeba: split as its own list says."""
    # manifest and table
    split_column: str | None = None
    """manifest, huggingface, table: the column that says developer, auditor or test; of shards that are called by
    splits the column part does."""
    # table
    evaluation_file: str | None = None
    """table: another CSV of these columns, below root: its rows are the test's, and those of file the developer's."""
    features: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """table: the columns that are features; without it all but target, sensitive attributes, ids, parts and persons.
    Columns of numbers are standardised, others become a feature for each value, a missing value another."""
    categories: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """table: columns whose numbers are names of categories."""

    @property
    def joint_attributes(self) -> dict[str, tuple[str, ...]]:
        """The attributes of each intersection by its name, such as "gender x race"."""
        return {" x ".join(attributes): attributes for attributes in self.intersections}

    @property
    def split_given(self) -> bool:
        """Whether the data set itself says who gets which record."""
        return self.split_column is not None or self.evaluation_file is not None or self.partition is True

    @property
    def default_split(self) -> Split:
        """The split where nobody says one: nothing for auditors of a table, or whose people come from another data
        set."""
        if self.dataset == "table":
            return Split(developer=0.75, auditor=0.0)
        return Split() if self.auditor is None else Split(developer=0.6, auditor=0.0, test=0.4)

    @property
    def fractions(self) -> dict[str, float]:
        """The split as ``secure_fair.data.split.split`` takes it."""
        return (self.split or self.default_split).model_dump()

    @property
    def asked(self) -> dict[str, Any]:
        """The same with the task, as ``load_table``, ``count_records`` and ``check`` take it."""
        unions = {"unions": self.groups} if self.groups else {}
        return {**super().asked, "target": self.target, **unions}


class Auditor(Section):
    """One holder of attributes: of all people, or of a random part of them."""

    name: PartyName
    """The party's name, which its certificate bears."""
    attributes: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    """The attributes that it holds."""
    records: Annotated[float, Field(gt=0, le=1)] | None = None
    """The fraction of the people that it holds; without it everybody."""


class Secure(Section):
    """Whether the parties compute on shares, and who holds what."""

    mode: Literal["secure", "plain"] = "secure"
    """On shares between processes, or in the clear in one: for upper bounds and sweeps."""
    precision_bits: Annotated[int, Field(ge=8, le=24)] = 16
    """Fractional bits of fixed-point numbers."""
    auditors: Annotated[tuple[Auditor, ...], Field(strict=False)] = ()
    """Without it one auditor holds every attribute."""
    claims: Annotated[tuple[ClaimText, ...], Field(strict=False)] = ()
    """Decided from the counts of test records, METRIC by ATTRIBUTE >= (or <=) NUMBER, and certified with the model by
    all parties; without it nothing is."""

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
