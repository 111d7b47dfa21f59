"""Join keys, matched ids and lists of held records: read as they were written, and nothing else is taken for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secure_fair.data.links import (
    held_by_all,
    key_fingerprint,
    lasting_join_key,
    make_join_key,
    read_held,
    read_join_key,
    read_matched,
    write_held,
)
from secure_fair.data.split import derived_training
from secure_fair.data.store import KEY_BYTES
from secure_fair.errors import UsageError

A, B = "a" * 32, "b" * 32


def test_a_join_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folders" / "join.key"
    key = lasting_join_key(file)
    assert len(key) == KEY_BYTES
    assert file.stat().st_mode & 0o777 == 0o600
    assert lasting_join_key(file) == read_join_key(file) == key
    assert key_fingerprint(make_join_key(tmp_path / "other.key")) != key_fingerprint(key)
    with pytest.raises(UsageError, match="exists already"):
        make_join_key(file)


def test_another_file_is_no_join_key(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"short")
    for file, said in (
        ("short", "5 bytes are no join key, which has 32"),
        ("missing", "secure-fair data join-key"),
        (".", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=said):
            read_join_key(tmp_path / file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"id,record\n1,{A}\n2,{A}\n", "stands there twice"),
        (f"id,record\n1,{A}\n1,{B}\n", "stands there twice"),
        ("id,record\n1,17\n", "'17' is not 32 hex digits"),
        (f"id,record\n1,{A},3\n", "3 fields instead of 2"),
        (f"number,record\n1,{A}\n", "no single column 'id'"),
        ("id,record\n", "no id is matched"),
    ],
)
def test_matched_ids_are_one_to_one(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "matched.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_matched(tmp_path / "matched.csv")
    (tmp_path / "matched.csv").write_text(f"record,id\n{A},1\n{B},2\n")
    assert read_matched(tmp_path / "matched.csv") == {"1": A, "2": B}


def test_a_list_of_held_records_has_nothing_else(tmp_path: Path) -> None:
    write_held(tmp_path / "held.csv", [B, A])
    assert (tmp_path / "held.csv").read_text() == f"record\n{A}\n{B}\n"
    assert read_held(tmp_path / "held.csv") == {A, B}
    (tmp_path / "held.csv").write_text(f"record,sex\n{A},1\n")
    with pytest.raises(UsageError, match="has record alone"):
        read_held(tmp_path / "held.csv")


def test_every_attribute_needs_a_holder() -> None:
    held = {"north": {"1"}, "south": {"2", "3"}, "clinic": {"1", "2"}}
    assert held_by_all(held, {"sex": ("north", "south"), "race": ("clinic",)}) == {"1", "2"}
    with pytest.raises(UsageError, match="--held south=FILE: is missing"):
        held_by_all({"north": {"1"}}, {"sex": ("north", "south")})


def test_the_derived_split_follows_from_id_seed_and_share_alone() -> None:
    units = [f"{i:032x}" for i in range(5000)]
    training = derived_training(units, 0.7, 3)
    assert abs(training.mean() - 0.7) < 4 * (0.21 / 5000) ** 0.5
    assert np.array_equal(derived_training(units[::-1], 0.7, 3), training[::-1])
    assert np.array_equal(derived_training(units[:100], 0.7, 3), training[:100])
    assert (derived_training(units, 0.7, 4) != training).mean() > 0.3
    assert not (training & ~derived_training(units, 0.8, 3)).any()  # a larger share only adds
