"""`secure-fair data prepare`: companies come to the same ids and split, each from its own files alone."""

from __future__ import annotations

import csv
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secure_fair.data.decisions import digest_of
from secure_fair.data.links import key_fingerprint, make_join_key, read_join_key
from secure_fair.data.store import AuditorStore, DeveloperStore, record_ids
from secure_fair.errors import Refusal
from secure_fair.ids import as_text
from secure_fair.parties.holdings import check_parts
from secure_fair.scenarios.schema import Scenario
from tests.companies import AUDITORS, COMMON, DEVELOPERS, Companies, found, read, write
from tests.parties.company import tiny
from tests.parties.planted import found_in
from tests.scenarios.album import invoke


def done(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    return found(tmp_path_factory.mktemp("companies"))


def scenario_file(folder: Path, weights: Path, companies: Companies, **data: Any) -> Path:
    file = folder / "s.toml"
    file.write_text(tiny(weights, data=companies.data | data, train={"batch_size": 20}).to_toml())
    return file


def prepared(folder: Path, scenario: Path, companies: Companies, *options: object) -> tuple[str, str]:
    """Both stores below ``folder``, by one key, and what the two commands said."""
    key = folder / "join.key"
    done("data", "join-key", key)
    table = ("--table", companies.table, "--join-key", key, "--out", folder / "auditor", *options)
    theirs = done("data", "prepare", "auditor", scenario, *table)
    held = ("--held", f"auditor={folder / 'auditor' / 'held.csv'}")
    return done(
        "data", "prepare", "developer", scenario, "--join-key", key, *held, "--out", folder / "developer"
    ), theirs


def stores(folder: Path) -> tuple[DeveloperStore, AuditorStore]:
    return (
        DeveloperStore.open(folder / "developer" / "developer"),
        AuditorStore.open(folder / "auditor" / "auditor"),
    )


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, random_weights: Path, companies: Companies) -> Path:
    folder = tmp_path_factory.mktemp("apart")
    scenario = scenario_file(folder, random_weights, companies)
    ours, theirs = prepared(folder, scenario, companies)
    (folder / "said.txt").write_text(ours + "\n---\n" + theirs)
    return folder


def test_both_come_to_the_same_ids_and_attributes_join(apart: Path, companies: Companies) -> None:
    developer, auditor = stores(apart)
    assert len(developer.ids) == COMMON
    assert len(auditor.ids) == COMMON + AUDITORS
    own = {row["record"]: row["id"] for row in read(apart / "developer" / "records.csv")}
    expected = [companies.truth[own[record]] for record in developer.ids]
    told = auditor.codes("sex", developer.ids)
    assert len(set(expected)) == 2
    assert np.array_equal(told, expected) or np.array_equal(1 - told, expected)  # groups are sorted by their names


def test_what_is_left_out_is_counted_and_not_listed(apart: Path) -> None:
    ours, theirs = (apart / "said.txt").read_text().split("\n---\n")
    assert f"left out: {DEVELOPERS} not held by every auditor" in ours
    assert f"{COMMON + AUDITORS} records" in theirs
    fingerprint = key_fingerprint(read_join_key(apart / "join.key"))
    for said in (ours, theirs):
        assert f"fingerprint {fingerprint}" in said
        assert "whoever has it can test whether a record whose id it can guess is among them" in said
        assert "ZQ" not in said


def test_no_side_has_anything_of_the_other_s(apart: Path, companies: Companies) -> None:
    developer, auditor = apart / "developer", apart / "auditor"
    assert found_in(companies.attributes, developer) == []
    assert found_in([*companies.labels, *companies.numbers], auditor) == []
    assert found_in(companies.numbers, developer / "developer") == []
    assert found_in(companies.labels, developer) != []  # the search finds what is there


def test_both_sides_have_the_same_split(apart: Path) -> None:
    developer, auditor = stores(apart)
    ids = [developer.ids[row] for row in np.concatenate([developer.training, developer.test])]
    assert auditor.misplaced(ids, len(developer.training)) == 0
    share = len(developer.training) / COMMON
    assert abs(share - 0.6) < 4 * (0.24 / COMMON) ** 0.5
    assert auditor.misplaced([*ids, "0" * 32], len(developer.training)) == 0  # of nobody's that it does not hold


def test_a_developer_that_chooses_its_test_records_is_refused(apart: Path) -> None:
    """It begins with the record that it trains on best as a test record; a store that does not know the split takes its
    word for it."""
    developer, auditor = stores(apart)
    n = len(developer.training)
    ids = [developer.ids[row] for row in np.concatenate([developer.training, developer.test])]
    chosen = [*ids[1:n], ids[n], ids[0], *ids[n + 1 :]]
    check_parts(auditor, ids, n)
    with pytest.raises(Refusal, match=f"2 of {len(ids)} records are in another part, training or test"):
        check_parts(auditor, chosen, n)
    check_parts(replace(auditor, parts=None), chosen, n)


def test_without_the_key_a_guess_is_never_confirmed(apart: Path, companies: Companies) -> None:
    """Whoever has the key can test guesses of whom the other side holds, as the commands say; nobody else can."""
    held = {row["record"] for row in read(apart / "auditor" / "held.csv")}
    guesses = [digest_of(number) for number in companies.numbers]
    right = set(record_ids(read_join_key(apart / "join.key"), guesses))
    assert len(held & right) == COMMON + AUDITORS
    assert not held & set(record_ids(secrets.token_bytes(32), guesses))
    assert not held & {digest[:32] for digest in guesses}


def test_persons_have_ids_of_their_own_and_one_part(tmp_path: Path, random_weights: Path, companies: Companies) -> None:
    own = companies.developer / "with-houses.csv"
    rows = [tuple(row.values()) for row in read(companies.developer / "customers.csv")]
    write(
        own, ("number", "picture", "hair", "note", "family"), [(*row, f"house {i // 2}") for i, row in enumerate(rows)]
    )
    asked = {"file": own.name, "person_column": "family"}
    prepared(tmp_path, scenario_file(tmp_path, random_weights, companies, **asked), companies, "--person", "household")
    developer, auditor = stores(tmp_path)
    persons = auditor.persons_of(developer.ids)
    assert persons is not None
    parts = [{persons[row] for row in rows} for rows in (developer.training, developer.test)]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == COMMON // 2
    assert not (parts[0] | parts[1]) & set(developer.ids)
    assert auditor.misplaced([developer.ids[row] for row in developer.test], 0) == 0


def test_matched_ids_need_no_common_key(tmp_path: Path, random_weights: Path, companies: Companies) -> None:
    """The auditor has a key of its own, under which people keep their names whatever ids the next match gives them."""
    scenario = scenario_file(tmp_path, random_weights, companies)
    own = ("--table", companies.table, "--join-key", tmp_path / "own.key")
    done("data", "join-key", tmp_path / "own.key")
    names = []
    for match in ("first", "second"):
        matched = [(number, secrets.token_hex(16)) for number in companies.numbers[:COMMON]]
        write(tmp_path / f"{match}.csv", ("id", "record"), matched)
        given, folder = ("--matched", tmp_path / f"{match}.csv"), tmp_path / match
        ours = done("data", "prepare", "developer", scenario, *given, "--out", folder / "developer")
        theirs = done("data", "prepare", "auditor", scenario, *given, *own, "--out", folder / "auditor")
        developer, auditor = stores(folder)
        assert set(developer.ids) == set(auditor.ids) == {record for _, record in matched}
        ids = [developer.ids[row] for row in np.concatenate([developer.training, developer.test])]
        assert auditor.misplaced(ids, len(developer.training)) == 0
        assert f"left out: {DEVELOPERS} not matched" in ours
        assert f"left out: {AUDITORS} not matched" in theirs
        assert "keyed hashes" not in ours + theirs
        names.append(set(as_text(auditor.persons_of(ids))))
    assert names[0] == names[1]
    assert len(names[0]) == COMMON
    command = ("data", "prepare", "auditor", scenario, *given, *own[:2], "--out", tmp_path / "new")
    assert "--join-key FILE: is missing; with --matched it is this auditor's own" in refused(*command)


def test_file_names_and_known_data_sets_are_ids_too(tmp_path: Path, random_weights: Path, companies: Companies) -> None:
    """CelebA's own list is an auditor's table as it stands; a picture's file name is its id."""
    pictures = tmp_path / "celeba" / "img_align_celeba"
    pictures.mkdir(parents=True)
    names = [f"{i:06}.png" for i in range(60)]
    for i, name in enumerate(names):
        (pictures / name).write_bytes((companies.developer / "pictures" / f"{i}.png").read_bytes())
    lines = [(name, str(2 * (i % 2) - 1), str(2 * (i % 3 == 0) - 1)) for i, name in enumerate(names)]
    labels = [(name, hair) for name, hair, _ in lines]
    write(tmp_path / "celeba" / "list_attr_celeba.csv", ("image_id", "Wavy_Hair"), labels)
    write(tmp_path / "attributes.csv", ("image_id", "Male"), [(name, male) for name, _, male in lines])
    data = {"dataset": "celeba", "root": str(tmp_path / "celeba"), "target": "Wavy_Hair", "sensitive": ["Male"]}
    scenario = tmp_path / "s.toml"
    split = {"developer": 0.6, "auditor": 0.0, "test": 0.4}
    data |= {"image_size": 16, "split": split}
    scenario.write_text(tiny(random_weights, data=data, train={"batch_size": 16}).to_toml())
    key = ("--join-key", tmp_path / "k")
    done("data", "join-key", tmp_path / "k")
    done("data", "prepare", "developer", scenario, *key, "--out", tmp_path / "developer")
    table = ("--table", tmp_path / "attributes.csv", "--id", "image_id")
    done("data", "prepare", "auditor", scenario, *key, *table, "--out", tmp_path / "auditor")
    developer, auditor = stores(tmp_path)
    assert set(developer.ids) == set(auditor.ids)
    assert {row["id"] for row in read(tmp_path / "developer" / "records.csv")} == set(names)
    assert set(auditor.groups["Male"]) == {"-1", "1"}


def test_rows_of_a_table_are_shared_by_their_ids(tmp_path: Path) -> None:
    people = [(f"p{i}", str(i % 7), str(i % 2)) for i in range(80)]
    write(tmp_path / "loans.csv", ("number", "income", "repaid"), people)
    write(
        tmp_path / "register.csv", ("number", "sex"), [(name, "mf"[i % 3 > 0]) for i, (name, _, _) in enumerate(people)]
    )
    data = {"dataset": "table", "root": str(tmp_path), "file": "loans.csv", "target": "repaid", "sensitive": ["sex"]}
    scenario = Scenario.parse({"name": "loans", "data": data | {"id_column": "number"}, "train": {"batch_size": 8}})
    (tmp_path / "s.toml").write_text(scenario.to_toml())
    key = ("--join-key", tmp_path / "k")
    done("data", "join-key", tmp_path / "k")
    done("data", "prepare", "developer", tmp_path / "s.toml", *key, "--out", tmp_path / "developer")
    table = ("--table", tmp_path / "register.csv")
    done("data", "prepare", "auditor", tmp_path / "s.toml", *key, *table, "--out", tmp_path / "auditor")
    developer, auditor = stores(tmp_path)
    assert set(developer.ids) == set(auditor.ids)
    assert developer.inputs[developer.training].mean() == pytest.approx(0, abs=1e-6)  # standardised by training rows
    without = ("-o", "data.id_column=", "--out", tmp_path / "new")
    assert "data.id_column: is missing" in refused("data", "prepare", "developer", tmp_path / "s.toml", *key, *without)


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, random_weights: Path, companies: Companies, apart: Path
) -> None:
    scenario = scenario_file(tmp_path, random_weights, companies)
    other = tmp_path / "other.key"
    make_join_key(other)
    new, key = ("--out", tmp_path / "new"), ("--join-key", other)
    developer, auditor = ("data", "prepare", "developer", scenario), ("data", "prepare", "auditor", scenario)
    held = f"auditor={apart / 'auditor' / 'held.csv'}"
    clinics = f"clinic={apart / 'auditor' / 'held.csv'}"
    table = ("--table", companies.table)
    drawn = ("data", "prepare", "developer", "quickstart", "-o", "data.label_bias=")
    said = {
        "compare the fingerprints of the join key": (*developer, *key, "--held", held, *new),
        "--held clinic=FILE: the auditors of the scenario are": (*developer, *key, "--held", clinics, *new),
        "expected NAME=FILE": (*developer, *key, "--held", "auditor", *new),
        "--join-key FILE or --matched FILE: is missing": (*developer, *new),
        "a developer needs one of them": (*developer, *key, "--matched", companies.table, *new),
        "no single column 'id'": (*developer, "--matched", companies.table, *new),
        "--table FILE: is missing": (*auditor, *key, *new),
        "no single column 'nr'": (*auditor, *key, *table, "--id", "nr", *new),
        "--name clinic: is no auditor of the scenario": (*auditor, *key, *table, "--name", "clinic", *new),
        '"faces" draws its portraits': (*drawn, *key, *new),
        "has auditors train on pictures": (*auditor, "-o", "method.name=unl", "-o", "data.split=", *key, *table, *new),
    }
    for message, command in said.items():
        assert message in refused(*command), message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.key", "s.toml"]


def test_bad_rows_of_a_table_are_refused_or_counted(tmp_path: Path, random_weights: Path, companies: Companies) -> None:
    scenario = scenario_file(tmp_path, random_weights, companies)
    make_join_key(tmp_path / "k")
    rows = [(row["number"], row["sex"]) for row in read(companies.table)]
    write(tmp_path / "register.csv", ("number", "sex"), [*rows, ("another", ""), rows[0]])
    command = ("data", "prepare", "auditor", scenario, "--join-key", tmp_path / "k")
    command += ("--table", tmp_path / "register.csv", "--out", tmp_path / "auditor")
    told = refused(*command)
    assert "register.csv:232: empty value: sex is empty" in told
    assert "duplicate id" in told
    assert "left out: 2 bad" in done(*command, "-o", "data.on_bad=skip")


# --- predictions ------------------------------------------------------------------------------------------------------


def test_predictions_come_under_the_developer_s_own_names(apart: Path, companies: Companies, tmp_path: Path) -> None:
    developer, _ = stores(apart)
    classes = developer.classes
    lines = [
        (developer.ids[row], str(developer.labels[row]), str(int(row % 2)), "0.250000", "0.750000")
        for row in developer.test
    ]
    header = ("id", "label", "prediction", *(f"probability_{name}" for name in classes))
    write(tmp_path / "predictions.csv", header, lines)
    command = ("data", "predictions", tmp_path, "--names", apart / "developer" / "records.csv")
    done(*command, "--output", tmp_path / "own.csv")
    told = read(tmp_path / "own.csv")
    assert list(told[0]) == ["id", "file", "label", "prediction", "score", "split"]
    with (companies.developer / "customers.csv").open(newline="") as file:
        own = {row["number"]: row for row in csv.DictReader(file)}
    assert len(told) == len(developer.test)
    for row in told:
        assert (own[row["id"]]["picture"], own[row["id"]]["hair"]) == (row["file"], row["label"])
        assert row["prediction"] in classes
        assert (row["score"], row["split"]) == ("0.750000", "test")
    assert (tmp_path / "own.csv").stat().st_mode & 0o077 == 0
    assert "exists already" in refused(*command, "--output", tmp_path / "own.csv")
    write(tmp_path / "predictions.csv", header, [("0" * 32, *lines[0][1:])])
    assert "does not have 1 of the 1 records" in refused(*command, "--output", tmp_path / "new.csv")
