"""Each party's store holds what that party may know and nothing else, and is read back as it was written."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secure_fair.data.records import Attribute
from secure_fair.data.store import FORMAT, AuditorStore, DeveloperStore, record_ids
from secure_fair.data.table import Dataset, load_table
from secure_fair.errors import Refusal, UsageError

KEY = bytes(range(32))
TRAINING, TEST, OWN = np.arange(0, 30), np.arange(30, 42), np.arange(42, 60)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty portraits, sorted by their attribute as UTKFace's names are: the order of the table tells everything."""
    cache = tmp_path_factory.mktemp("cache")
    drawn = load_table(
        "faces", target="smiling", sensitive=["male", "skin_tone"], image_size=16, cache=cache, records=60
    )
    order = np.argsort(drawn.sensitive["male"].codes, kind="stable")

    def sort(attribute: Attribute) -> Attribute:
        return replace(attribute, codes=attribute.codes[order])

    return Dataset(
        drawn.inputs[order],
        [drawn.digests[i] for i in order],
        {name: sort(attribute) for name, attribute in drawn.sensitive.items()},
        target=sort(drawn.target),
    )


def write(table: Dataset, folder: Path, key: bytes = KEY, seed: int = 0) -> tuple[Path, Path]:
    DeveloperStore.write(folder / "developer", table, training=TRAINING, test=TEST, join_key=key, seed=seed)
    AuditorStore.write(
        folder / "auditor",
        table,
        attributes=["male", "skin_tone"],
        aligned=np.concatenate([TRAINING, TEST]),
        own=OWN,
        join_key=key,
        seed=seed,
    )
    return folder / "developer", folder / "auditor"


@pytest.fixture
def folders(table: Dataset, tmp_path: Path) -> tuple[Path, Path]:
    return write(table, tmp_path)


def rows_of(table: Dataset, pictures: np.ndarray) -> list[int]:
    found = {picture.tobytes(): i for i, picture in enumerate(table.inputs)}
    return [found[picture.tobytes()] for picture in pictures]


def test_round_trip_and_join(table: Dataset, folders: tuple[Path, Path]) -> None:
    developer, auditor = DeveloperStore.open(folders[0]), AuditorStore.open(folders[1])
    rows = rows_of(table, developer.inputs)
    assert sorted(rows) == list(range(42))
    np.testing.assert_array_equal(developer.labels, table.target.codes[rows])
    assert developer.classes == ("no", "yes")
    assert developer.inputs.shape[1:] == (16, 16, 3)
    assert sorted(rows[i] for i in developer.training) == TRAINING.tolist()
    assert sorted(rows[i] for i in developer.test) == TEST.tolist()
    assert auditor.attributes == ("male", "skin_tone")
    assert auditor.groups["male"] == ("female", "male")
    assert sorted(developer.ids) == auditor.ids
    for name, attribute in table.sensitive.items():
        np.testing.assert_array_equal(auditor.codes(name, developer.ids), attribute.codes[rows])
    own = auditor.own()
    own_rows = rows_of(table, own.inputs)
    assert sorted(own_rows) == OWN.tolist()
    for name, attribute in table.sensitive.items():
        np.testing.assert_array_equal(own.codes[name], attribute.codes[own_rows])
    assert not set(own.ids) & set(developer.ids)


def test_developers_store_does_not_depend_on_any_attribute(
    table: Dataset, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The same people with other attributes give the same bytes in every file: nothing of them is in the store."""
    other = replace(table, sensitive={"secret": Attribute("secret", 1 - table.sensitive["male"].codes, ("a", "b"))})
    DeveloperStore.write(tmp_path / "other", other, training=TRAINING, test=TEST, join_key=KEY, seed=0)
    names = sorted(file.name for file in folders[0].iterdir())
    assert names == ["meta.json", "pictures.npy", "records.csv"]
    for name in names:
        assert (folders[0] / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_order_does_not_depend_on_the_order_of_the_table(
    table: Dataset, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    flip = np.arange(60)[::-1]
    flipped = replace(
        table,
        inputs=table.inputs[flip],
        digests=[table.digests[i] for i in flip],
        target=replace(table.target, codes=table.target.codes[flip]),
    )
    DeveloperStore.write(tmp_path / "flipped", flipped, training=59 - TRAINING, test=59 - TEST, join_key=KEY, seed=0)
    for name in ("records.csv", "pictures.npy"):
        assert (folders[0] / name).read_bytes() == (tmp_path / "flipped" / name).read_bytes()


def test_another_seed_is_another_order(table: Dataset, folders: tuple[Path, Path], tmp_path: Path) -> None:
    write(table, tmp_path / "again", seed=1)
    one, two = DeveloperStore.open(folders[0]), DeveloperStore.open(tmp_path / "again" / "developer")
    assert one.ids != two.ids
    assert sorted(one.ids) == sorted(two.ids)


def test_ids_need_the_join_key(table: Dataset, folders: tuple[Path, Path], tmp_path: Path) -> None:
    write(table, tmp_path / "other", key=bytes(32))
    ids = set(DeveloperStore.open(folders[0]).ids)
    assert not ids & set(DeveloperStore.open(tmp_path / "other" / "developer").ids)
    text = (folders[0] / "records.csv").read_text() + (folders[1] / "attributes.csv").read_text()
    assert not any(digest[:16] in text for digest in table.digests)
    with pytest.raises(UsageError, match="16 bytes: it must have 32"):
        record_ids(bytes(16), ["00"])


def test_auditors_store_has_no_picture_or_label_of_the_developers(table: Dataset, folders: tuple[Path, Path]) -> None:
    content = b"".join(file.read_bytes() for file in folders[1].iterdir())
    assert not any(table.inputs[row].tobytes() in content for row in (*TRAINING, *TEST))
    assert any(table.inputs[row].tobytes() in content for row in OWN)
    with (folders[1] / "attributes.csv").open() as file:
        assert next(csv.reader(file)) == ["id", "male", "skin_tone"]


def test_auditor_gets_only_its_columns_and_perhaps_no_pictures(table: Dataset, tmp_path: Path) -> None:
    none = np.zeros(0, dtype=np.int64)
    AuditorStore.write(tmp_path / "a", table, attributes=["male"], aligned=TRAINING, own=none, join_key=KEY, seed=0)
    store = AuditorStore.open(tmp_path / "a")
    assert store.attributes == ("male",)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["attributes.csv", "meta.json"]
    assert "skin" not in (tmp_path / "a" / "meta.json").read_text()
    with pytest.raises(UsageError, match="no pictures of the auditor's own"):
        store.own()


def test_unknown_ids_are_refused(folders: tuple[Path, Path]) -> None:
    store = AuditorStore.open(folders[1])
    with pytest.raises(Refusal, match="1 of 2 records are not held"):
        store.codes("male", [store.ids[0], "0" * 32])


def test_no_record_is_two_parties(table: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="different indices"):
        DeveloperStore.write(tmp_path / "d", table, training=TRAINING, test=np.array([3]), join_key=KEY, seed=0)
    with pytest.raises(UsageError, match="different indices"):
        AuditorStore.write(
            tmp_path / "a", table, attributes=["male"], aligned=TRAINING, own=TRAINING, join_key=KEY, seed=0
        )
    with pytest.raises(UsageError, match="an auditor cannot get smiling"):
        AuditorStore.write(
            tmp_path / "a", table, attributes=["smiling"], aligned=TRAINING, own=OWN, join_key=KEY, seed=0
        )
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_written_whole_or_not_at_all(table: Dataset, folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        write(table, tmp_path)
    broken = replace(table, target=replace(table.target, codes=table.target.codes[:5]))
    with pytest.raises(IndexError):
        DeveloperStore.write(tmp_path / "new", broken, training=TRAINING, test=TEST, join_key=KEY, seed=0)
    assert {entry.name for entry in tmp_path.iterdir()} == {"developer", "auditor"}


def edit(file: Path, line: int, old: str, new: str) -> None:
    lines = file.read_text().splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    file.write_text("\n".join(lines) + "\n")


def test_open_finds_what_does_not_belong(folders: tuple[Path, Path], tmp_path: Path) -> None:
    def refused(says: str, change: object) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(folders[0], copy)
        change(copy)  # type: ignore[operator]
        with pytest.raises(UsageError, match=says):
            DeveloperStore.open(copy)
        shutil.rmtree(copy)

    records = (folders[0] / "records.csv").read_text().splitlines()
    refused("has also attributes.csv", lambda c: shutil.copy(folders[1] / "attributes.csv", c))
    refused("lacks pictures.npy", lambda c: (c / "pictures.npy").unlink())
    refused("columns must be id, label, split", lambda c: edit(c / "records.csv", 1, "split", "split,male"))
    refused(r"records\.csv:3: code '7'", lambda c: edit(c / "records.csv", 3, records[2][32:35], ",7,"))
    refused(r"records\.csv:3: id .* repeated", lambda c: edit(c / "records.csv", 3, records[2][:32], records[1][:32]))
    refused(r"records\.csv:2: id 'xyz'", lambda c: edit(c / "records.csv", 2, records[1][:32], "xyz"))
    refused(r"records\.csv:2: split", lambda c: edit(c / "records.csv", 2, "t", "T"))
    refused("not JSON", lambda c: (c / "meta.json").write_text("{"))
    refused("expected format", lambda c: (c / "meta.json").write_text(json.dumps({"format": FORMAT, "male": [0]})))
    later = "is of format 9, and this version of the program reads 2: prepare the store again with the same join key"
    refused(later, lambda c: edit(c / "meta.json", 2, "2", "9"))
    refused("instead of uint8", lambda c: np.save(c / "pictures.npy", np.zeros((3, 16, 16, 3), np.uint8)))
    refused("not a whole array", lambda c: (c / "pictures.npy").write_bytes(b"\x93NUMPY"))
    with pytest.raises(UsageError, match="no such folder"):
        DeveloperStore.open(tmp_path / "nowhere")
    (folders[0] / "cache").mkdir()
    DeveloperStore.open(folders[0])


def test_auditors_open_checks_too(folders: tuple[Path, Path]) -> None:
    file = folders[1] / "attributes.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    with pytest.raises(UsageError, match="ascending order"):
        AuditorStore.open(folders[1])
    file.write_text("\n".join(lines).replace(lines[1][32:], ",2,0", 1) + "\n")
    with pytest.raises(UsageError, match=r"attributes\.csv:2: code '2' is not in 0 \.\. 1"):
        AuditorStore.open(folders[1])
