"""Tables of numbers and categories: what becomes a feature, by whose statistics, and every kind of bad cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_files import Load

from secure_fair.data import Attribute, check
from secure_fair.data.encoding import Column, Encoding
from secure_fair.data.store import KEY_BYTES, AuditorStore, DeveloperStore
from secure_fair.data.table import count_records
from secure_fair.errors import UsageError

KEY = bytes(KEY_BYTES)
HEADER = "who,age,city,income,sex,>50K,part"
ROWS = [
    "a,20,Rome,10,f,No,developer",
    "b,40,Oslo,30,m,Yes,developer",
    "c,30,?,,f,No,developer",
    "d,60,Rome,50,m,Yes,test",
    "e,20,Bern,10,f,No,test",
    "f,50,Oslo,90,m,No,auditor",
]
NONE = np.zeros(0, dtype=np.int64)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Six people in table.csv."""
    root = tmp_path / "people"
    root.mkdir()
    (root / "table.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    return root


def change(root: Path, number: int, text: str) -> None:
    """Have this text in a line, counted from 1."""
    lines = (root / "table.csv").read_text().splitlines()
    lines[number - 1] = text
    (root / "table.csv").write_text("\n".join(lines) + "\n")


NAMED = {"id_column": "who", "split_column": "part"}


def test_columns_are_numbers_or_categories(people: Path, load: Load) -> None:
    table = load("table", people, ">50K", ["sex"], **NAMED)
    assert [(c.name, c.values) for c in table.columns] == [
        ("age", None),
        ("city", ("Bern", "Oslo", "Rome")),
        ("income", None),
    ]
    np.testing.assert_array_equal(table.inputs[2], [30, np.nan, np.nan])
    assert table.target.groups == ("No", "Yes")
    assert table.sensitive["sex"].codes.tolist() == [0, 1, 0, 1, 0, 1]
    assert table.given_split is not None
    assert table.given_split.tolist() == ["developer"] * 3 + ["test"] * 2 + ["auditor"]
    named = load("table", people, ">50K", ["sex"], features=["age"], categories=["age"], **NAMED)
    assert [(c.name, c.values) for c in named.columns] == [("age", ("20", "30", "40", "50", "60"))]


def test_statistics_are_of_the_training_rows_alone(people: Path, load: Load) -> None:
    table = load("table", people, ">50K", ["sex"], **NAMED)
    encoded = table.encoded(np.array([0, 1, 2]))
    assert encoded.encoding is not None
    assert encoded.encoding.features == [
        *("age", "city = Oslo", "city = Rome", "city is missing", "income", "income is missing")
    ]
    spread = np.std([20, 40, 30])
    np.testing.assert_allclose(encoded.inputs[:, 0], (np.array([20, 40, 30, 60, 20, 50]) - 30) / spread, rtol=1e-6)
    # Bern is in no training row: no column is its own
    np.testing.assert_array_equal(encoded.inputs[4, 1:4], [0, 0, 0])
    np.testing.assert_array_equal(encoded.inputs[2], [0, 0, 0, 1, 0, 1])
    assert encoded.inputs.dtype == np.float32
    change(people, 5, "d,1000,Paris,999999,m,Yes,test")
    other = load("table", people, ">50K", ["sex"], **NAMED).encoded(np.array([0, 1, 2]))
    assert other.encoding == encoded.encoding
    np.testing.assert_array_equal(other.inputs[:3], encoded.inputs[:3])


def test_a_constant_or_empty_column_is_no_division_by_zero() -> None:
    columns = (Column("same", None), Column("none", None))
    rows = np.array([[3, np.nan], [3, np.nan]])
    encoded = Encoding.fit(columns, rows).encode(columns, rows)
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [0, 0, 1]])


def test_an_encoding_is_read_back_as_it_was(people: Path, load: Load) -> None:
    encoding = load("table", people, ">50K", ["sex"], **NAMED).encoded(np.array([0, 1, 2])).encoding
    assert encoding is not None
    assert Encoding.of_tree(encoding.tree(), "here") == encoding
    for wrong in ([], {"format": 1}, {"format": 9, "columns": []}, {"format": 1, "columns": [{"name": "x"}]}):
        with pytest.raises(UsageError, match="here: no encoding"):
            Encoding.of_tree(wrong, "here")


@pytest.mark.parametrize(
    ("row", "kind", "says"),
    [
        ("d,old,Rome,50,m,Yes,test", "not a number", "age is 'old', a column of numbers"),
        ("d,inf,Rome,50,m,Yes,test", "not a number", "age is 'inf'"),
        ("d,60,Rome,50,,Yes,test", "empty value", "sex is empty"),
        ("a,60,Rome,50,m,Yes,test", "duplicate id", "'a' is on line 2 of table.csv already"),
        ("d,60,Rome,50,m,Yes,training", "unknown value", "part is 'training'"),
        ("d,60,Rome,50,m,Yes", "wrong line", "6 fields instead of 7"),
    ],
)
def test_bad_rows_name_their_line(people: Path, load: Load, row: str, kind: str, says: str) -> None:
    change(people, 5, row)
    with pytest.raises(UsageError, match=rf"table\.csv:5: {kind}: {says}"):
        load("table", people, ">50K", ["sex"], **NAMED)
    table = load("table", people, ">50K", ["sex"], on_bad="skip", **NAMED)
    assert len(table) == 5
    assert [problem.kind for problem in table.skipped] == [kind]


def test_columns_that_are_not_there_or_cannot_be_features(people: Path, load: Load) -> None:
    with pytest.raises(UsageError, match=r"no single column 'wealth'; it has who, age"):
        load("table", people, ">50K", ["sex"], features=["age", "wealth"])
    with pytest.raises(UsageError, match=r"data\.features: sex cannot be a feature"):
        load("table", people, ">50K", ["sex"], features=["age", "sex"])
    with pytest.raises(UsageError, match=r"data\.features: age cannot be a feature"):
        load("table", people, ">50K", ["age > 35"], features=["age"])
    names = "\n".join(["name,sex,y", *(f"n{i},{'mf'[i % 2]},{i % 3 % 2}" for i in range(150))])
    (people / "table.csv").write_text(names)
    with pytest.raises(UsageError, match=r"column 'name' has 150 distinct values, .*at most 100 .*data\.features"):
        load("table", people, "y", ["sex"])


def test_a_compared_column_is_no_feature_by_default(people: Path, load: Load) -> None:
    table = load("table", people, ">50K", ["age > 35"], features=None, **NAMED)
    assert "age" not in [column.name for column in table.columns]


def test_a_second_file_is_the_tests(people: Path, load: Load) -> None:
    lines = [HEADER, *ROWS]
    (people / "train.csv").write_text("\n".join(lines[:4]))
    (people / "test.csv").write_text("\n".join([HEADER, *lines[4:]]))
    options = {"file": "train.csv", "evaluation_file": "test.csv", "features": ["age", "city"]}
    table = load("table", people, ">50K", ["sex"], **options)
    assert table.given_split is not None
    assert table.given_split.tolist() == ["developer"] * 3 + ["test"] * 3
    census = count_records("table", root=people, target=">50K", sensitive=["sex"], **options)
    assert census.given == {"developer": 3, "auditor": 0, "test": 3}
    (people / "test.csv").write_text("\n".join([HEADER.replace("city", "town"), *lines[4:]]))
    with pytest.raises(UsageError, match=r"test\.csv:1: no single column 'city'"):
        load("table", people, ">50K", ["sex"], **options)
    with pytest.raises(UsageError, match=r"'train\.csv' is data\.file too"):
        load("table", people, ">50K", ["sex"], file="train.csv", evaluation_file="train.csv")
    with pytest.raises(UsageError, match=r"set data\.evaluation_file"):
        load("table", people, ">50K", ["sex"], file="train.csv", evaluation_file="none.csv")


def test_equal_rows_are_different_people_with_ids_that_stay(people: Path, load: Load) -> None:
    (people / "table.csv").write_text("age,sex,y\n20,f,0\n20,f,0\n30,m,1\n")
    digests = load("table", people, "y", ["sex"]).digests
    assert len(set(digests)) == 3
    (people / "table.csv").write_text("age,sex,y\n30,m,1\n20,f,0\n20,f,0\n")
    assert load("table", people, "y", ["sex"]).digests == [digests[2], *digests[:2]]


def test_ids_stay_whatever_else_changes(people: Path, load: Load) -> None:
    digests = load("table", people, ">50K", ["sex"], **NAMED).digests
    change(people, 2, "a,21,Oslo,11,m,Yes,test")
    assert load("table", people, ">50K", ["sex"], **NAMED).digests == digests


def test_stores_of_rows(people: Path, load: Load, tmp_path: Path) -> None:
    table = load("table", people, ">50K", ["sex"], **NAMED).encoded(np.array([0, 1, 2]))
    training, test, own = np.array([0, 1, 2]), np.array([3, 4]), np.array([5])
    DeveloperStore.write(tmp_path / "dev", table, training=training, test=test, join_key=KEY, seed=0)
    store = DeveloperStore.open(tmp_path / "dev")
    assert store.encoding == table.encoding
    assert store.inputs.dtype == np.float32
    assert sorted(map(tuple, store.inputs[store.training].tolist())) == sorted(map(tuple, table.inputs[:3].tolist()))
    aligned = np.concatenate([training, test])
    AuditorStore.write(tmp_path / "aud", table, attributes=["sex"], aligned=aligned, own=own, join_key=KEY, seed=0)
    np.testing.assert_array_equal(AuditorStore.open(tmp_path / "aud").own().inputs, table.inputs[5:])
    (tmp_path / "dev" / "encoding.json").write_text('{"format": 1, "columns": []}')
    with pytest.raises(UsageError, match=r"encoding\.json: gives 0 features, the rows have 6"):
        DeveloperStore.open(tmp_path / "dev")


def test_the_developers_store_does_not_depend_on_the_sensitive_column(people: Path, load: Load, tmp_path: Path) -> None:
    """The same people with other attributes give the same bytes in every file, and no file names one."""
    text = (people / "table.csv").read_text()
    for folder, female, male in (("one", "ZQf", "ZQm"), ("two", "ZQm", "ZQf")):
        rows = text.replace(",f,", f",{female},").replace(",m,", f",{male},")
        (people / "table.csv").write_text(rows)
        table = load("table", people, ">50K", ["sex"], **NAMED).encoded(np.array([0, 1, 2]))
        assert isinstance(table.sensitive["sex"], Attribute)
        DeveloperStore.write(
            tmp_path / folder, table, training=np.array([0, 1, 2]), test=np.array([3, 4]), join_key=KEY, seed=0
        )
    names = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert names == ["encoding.json", "meta.json", "records.csv", "rows.npy"]
    for name in names:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert b"ZQ" not in content
        assert b"sex" not in content
    # and it does depend on a feature
    other = replace(table, inputs=table.inputs + 1)
    DeveloperStore.write(tmp_path / "three", other, training=np.array([0, 1, 2]), test=NONE, join_key=KEY, seed=0)
    assert (tmp_path / "one" / "rows.npy").read_bytes() != (tmp_path / "three" / "rows.npy").read_bytes()


def test_check_describes_the_columns(people: Path, tmp_path: Path) -> None:
    found = check(
        "table",
        root=people,
        target=">50K",
        sensitive=["sex"],
        image_size=16,
        cache=tmp_path,
        id_column="who",
        split_column="part",
    )
    assert found.tree()["columns"]["city"] == {"categories": ["Bern", "Oslo", "Rome"], "missing": 1}
    assert "6 records of 3 columns" in found.text()
    assert "income                   numbers, 1 missing" in found.text()
