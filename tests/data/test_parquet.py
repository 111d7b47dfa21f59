"""Parquet in place of CSV: the same table gives the same rows, stores and data sets, and errors are alike."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from secure_fair.data import manifest, parquet_rows, tabular
from secure_fair.data.csv_rows import read_rows
from secure_fair.data.decision_store import RECORDS, write_decisions
from secure_fair.data.decisions import Columns, read_attributes, read_decisions
from secure_fair.data.records import parse_columns
from secure_fair.data.store import ATTRIBUTES, AuditorStore
from secure_fair.errors import UsageError

KEY = b"k" * 32


def write(folder: Path, name: str, columns: dict[str, pa.Array]) -> tuple[Path, Path]:
    """The columns as Parquet, in small row groups, and as the CSV that pyarrow makes of them; true is 1."""
    file, other = folder / f"{name}.parquet", folder / f"{name}.csv"
    parquet.write_table(pa.table(columns), file, row_group_size=3)
    plain = {key: values.cast(pa.int8()) if values.type == pa.bool_() else values for key, values in columns.items()}
    csv.write_csv(pa.table(plain), other)
    return file, other


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1, 20, None]), ["1", "20", ""]),
        (pa.array([7, 2**64 - 1], pa.uint64()), ["7", str(2**64 - 1)]),
        (pa.array([True, False, None]), ["1", "0", ""]),
        (pa.array([1.0, -3.0, 0.1, float("nan"), None, 1e300]), ["1", "-3", "0.1", "", "", "1e+300"]),
        (pa.array([0.1, 2.0], pa.float32()), ["0.1", "2"]),
        (pa.array([np.float16(0.1)], pa.float16()), ["0.1"]),
        (pa.array([float("inf")]), ["inf"]),
        (pa.array(["a, b", "", None, 'é "'], pa.large_string()), ["a, b", "", "", 'é "']),
        (pa.array(["f", "m", "f"]).dictionary_encode(), ["f", "m", "f"]),
        (pa.array([datetime.date(2026, 1, 31), None]), ["2026-01-31", ""]),
        (pa.array([datetime.datetime(2026, 1, 31, 5, 6)], pa.timestamp("s")), ["2026-01-31 05:06:00"]),
        (pa.array([Decimal("1.50"), Decimal("1000.00")]), ["1.50", "1000.00"]),
        (pa.nulls(2), ["", ""]),
    ],
    ids=str,
)
def test_cells_are_what_a_csv_would_have(tmp_path: Path, values: pa.Array, texts: list[str]) -> None:
    parquet.write_table(pa.table({" c ": values}), tmp_path / "table")
    header, rows = read_rows(tmp_path / "table")  # known by its first bytes
    assert header == ["c"]
    assert rows == [(line, [text]) for line, text in enumerate(texts, 2)]


def test_many_rows_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "BATCH", 4)
    file, other = write(tmp_path, "t", {"id": pa.array(range(11)), "x": pa.array(["a b"] * 11)})
    assert read_rows(file) == read_rows(other)


def test_an_audit_has_the_same_stores(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    ids = pa.array(range(20))
    scores = pa.array(draw.random(20))
    labels = pa.array([None if one == 2 else float(one) for one in draw.integers(0, 3, 20)])
    decided = write(tmp_path, "d", {"id": ids, "decision": pa.array(draw.random(20) < 0.5), "label": labels})
    scored = write(tmp_path, "s", {"id": ids, "score": scores})
    sexes = pa.array(["f", "m", None, "NA"] * 5)
    held = write(tmp_path, "city", {"id": ids, "sex": sexes, "age": pa.array(range(30, 50))})
    for number, files in enumerate((decided, scored)):
        stores = [tmp_path / f"{file.suffix[1:]}-{number}" for file in files]
        for file, store in zip(files, stores, strict=True):
            write_decisions(store, read_decisions(file, Columns()), KEY)
        assert (stores[0] / RECORDS).read_bytes() == (stores[1] / RECORDS).read_bytes()
    for file in held:
        names, table = read_attributes(file, ["sex", "age > 40"])
        assert names == [str(number) for number in range(20)]
        everybody = np.arange(20)
        AuditorStore.write(
            tmp_path / file.suffix,
            table,
            attributes=("sex", "age > 40"),
            aligned=everybody,
            own=everybody[:0],
            join_key=KEY,
            seed=0,
        )
    left, right = ((tmp_path / suffix / ATTRIBUTES).read_bytes() for suffix in (".csv", ".parquet"))
    assert left == right


def test_a_table_and_a_manifest_are_the_same(tmp_path: Path) -> None:
    columns = {
        "income": pa.array([10, 60, None, 70, 20, 90]),
        "work": pa.array(["a", "b", "a", None, "b", "a"]),
        "rich": pa.array([False, True, False, True, False, True]),
        "sex": pa.array(["f", "m"] * 3),
    }
    write(tmp_path, "table", columns)
    found = [
        tabular.list_records(tmp_path, parse_columns(["rich", "sex"]), file=f"table.{ending}")
        for ending in ("csv", "parquet")
    ]
    assert found[0].groups == found[1].groups == [("0", "1"), ("f", "m")]
    assert found[0].columns == found[1].columns
    assert np.array_equal(found[0].inputs, found[1].inputs, equal_nan=True)
    assert found[0].digests == found[1].digests
    write(tmp_path, "manifest", {"path": pa.array(["a.png", "../b.png", "c.png"]), "sex": pa.array(["f", "m", "m"])})
    listings = [
        manifest.list_records(tmp_path, parse_columns(["sex"]), file=f"manifest.{ending}")
        for ending in ("csv", "parquet")
    ]
    problems = [[(one.place.partition(":")[2], one.kind) for one in listing.problems] for listing in listings]
    assert problems[0] == problems[1] == [("3", "path outside")]


def test_what_is_wrong_with_a_cell_has_its_line(tmp_path: Path) -> None:
    file, _ = write(tmp_path, "d", {"id": pa.array(["a", "b", "a"]), "decision": pa.array([0, 1, 1])})
    with pytest.raises(UsageError, match=r"d\.parquet:4: id 'a' is on line 2 already"):
        read_decisions(file, Columns())
    file, _ = write(tmp_path, "e", {"id": pa.array(["a", "b"]), "decision": pa.array([0, 2])})
    with pytest.raises(UsageError, match=r"e\.parquet:3: decision is '2'"):
        read_decisions(file, Columns())


@pytest.mark.parametrize(
    "change", [lambda raw: b"", lambda raw: raw[:-9], lambda raw: b"id\n1\n", lambda raw: raw[:40]]
)
def test_a_broken_file_is_one_message(tmp_path: Path, change) -> None:
    file, _ = write(tmp_path, "d", {"id": pa.array(["a", "b"])})
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(UsageError, match=r"d\.parquet: not a whole Parquet file"):
        read_rows(file)


def test_what_is_no_plain_cell_is_refused(tmp_path: Path) -> None:
    columns = {"id": pa.array([1]), "picture": pa.array([b"x"]), "tokens": pa.array([[1.0]])}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(UsageError) as caught:
        read_rows(tmp_path / "t.parquet")
    assert [problem.split(" is of ")[0].split("column ")[1] for problem in caught.value.problems] == [
        "'picture'",
        "'tokens'",
    ]
    parquet.write_table(pa.table({"id": pa.array(["a\0"])}), tmp_path / "n.parquet")
    with pytest.raises(UsageError, match=r"n\.parquet:2: has a NUL"):
        read_rows(tmp_path / "n.parquet")


def test_without_pyarrow_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = write(tmp_path, "d", {"id": pa.array(["a"])})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"secure-fair\[parquet\]"):
        read_rows(file)
