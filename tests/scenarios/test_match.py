"""`secure-fair match`: files that sides send each other, what is refused, and audits of whom they have matched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from secure_fair.data.links import read_matched
from secure_fair.errors import BudgetExceeded
from secure_fair.scenarios.audit import PreparedAudit, prepare
from secure_fair.scenarios.cli import main
from tests.scenarios.audits import in_the_clear, people, wanted, write

ALL = people(60)


def command(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A developer's, a city's and a clinic's file, a request, and both answers."""
    folder = tmp_path_factory.mktemp("match")
    write(folder / "decisions.csv", ALL, "id", "decision", rows=slice(0, 40))
    write(folder / "city.csv", ALL, "id", "sex", rows=slice(10, 50))
    write(folder / "clinic.csv", ALL, "id", "race", rows=slice(20, 60))
    command("match", "ask", folder / "decisions.csv", "--keep", folder / "mine", "--out", folder / "request.match")
    for name in ("city", "clinic"):
        files = (folder / "request.match", folder / f"{name}.csv")
        command("match", "answer", *files, "--keep", folder / name, "--out", folder / f"{name}.match")
    return folder


def test_three_sides_match_by_files(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "mine"
    kept.mkdir()
    for file in (folder / "mine").iterdir():
        (kept / file.name).write_bytes(file.read_bytes())
    answers = [folder / "city.match", folder / "clinic.match"]
    done = command("match", "assign", *answers, "--keep", kept, "--out", tmp_path / "out")
    assert "20 ids that all have" in done.stdout
    mine = read_matched(tmp_path / "out" / "matched.csv")
    assert set(mine) == {f"p{number}" for number in range(20, 40)}
    for name in ("city", "clinic"):
        records = tmp_path / "out" / f"{name}-records.match"
        command("match", "accept", records, "--keep", folder / name, "--out", tmp_path / f"{name}.csv")
        assert read_matched(tmp_path / f"{name}.csv") == mine
    # the secret is forgotten: a second answer to the same request would try other ids
    assert not list(kept.iterdir())
    again = command("match", "assign", *answers, "--keep", kept, "--out", tmp_path / "two", code=2)
    assert "nothing is kept there" in again.stderr
    assert not (tmp_path / "two").exists()


def test_no_file_that_is_sent_has_an_id(folder: Path) -> None:
    for file in folder.glob("*.match"):
        assert not any(f'"{name}"' in file.read_text() for name in ALL["id"])
    assert {file.stat().st_mode & 0o077 for kept in ("mine", "city") for file in (folder / kept).iterdir()} == {0}


def enumerating(tmp_path: Path, number: int) -> Path:
    """A developer's request about ids that it has guessed."""
    file = tmp_path / f"guesses-{number}.csv"
    file.write_text("id\n" + "".join(f"p{n}\n" for n in range(number)))
    command("match", "ask", file, "--keep", tmp_path / "liar", "--out", tmp_path / f"{number}.match")
    return tmp_path / f"{number}.match"


def test_who_asks_about_guessed_ids_is_refused_beyond_the_bound(folder: Path, tmp_path: Path) -> None:
    """And learns everybody of the auditor's where the auditor expects as many."""
    request, keep = enumerating(tmp_path, 200), ("--keep", tmp_path / "city")
    give = ("match", "answer", request, folder / "city.csv", *keep, "--out", tmp_path / "given.match")
    refused = command(*give, code=4)
    assert "the request is about 200 ids, and 40 are expected" in refused.stderr
    assert not (tmp_path / "given.match").exists()
    command(*give, "--at-most", 200)
    command("match", "assign", tmp_path / "given.match", "--keep", tmp_path / "liar", "--out", tmp_path / "out", code=0)
    assert set(read_matched(tmp_path / "out" / "matched.csv")) == {f"p{number}" for number in range(10, 50)}


def test_requests_are_counted_together(folder: Path, tmp_path: Path) -> None:
    keep = ("--keep", tmp_path / "city")
    for number, code in ((30, 0), (20, 4)):
        request = enumerating(tmp_path, number)
        out = ("--out", tmp_path / f"answer-{number}.match")
        done = command("match", "answer", request, folder / "city.csv", *keep, *out, code=code)
    assert "beside 30 of earlier requests, is about 50 ids" in done.stderr
    again = command(
        "match", "answer", tmp_path / "30.match", folder / "city.csv", *keep, "--out", tmp_path / "b", code=4
    )
    assert "answered before" in again.stderr


def test_an_answer_of_guessed_ids_is_refused_beyond_the_bound(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "guesses.csv"
    file.write_text("id\n" + "".join(f"p{n}\n" for n in range(100)))
    give = ("match", "answer", folder / "request.match", file, "--keep", tmp_path / "liar")
    command(*give, "--out", tmp_path / "liar.match")
    take = ("match", "assign", tmp_path / "liar.match", "--keep", folder / "mine", "--out", tmp_path / "out")
    assert "liar: the answer is of 100 ids, and 40 are expected" in command(*take, code=4).stderr
    assert not (tmp_path / "out").exists()


def test_nobody_in_common_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n01\n")
    (tmp_path / "b.csv").write_text("id\n1\n")
    said = command("match", "simulate", tmp_path / "a.csv", "--auditor", tmp_path / "b.csv", "--out", "x", code=4)
    assert "leading zeros" in said.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "no file of a matching"),
        (lambda text: "[]", "no file of a matching"),
        (lambda text: text.replace('"request"', '"answer"', 1), "it is for secure-fair match assign"),
        (lambda text: text.replace('"elements"', '"element"'), "not as a matching writes it"),
        (lambda text: text[:-20] + '"}', "not as a matching writes it"),
        (lambda text: json.dumps(json.loads(text) | {"elements": ""}), "0 bytes of points"),
        (lambda text: json.dumps(json.loads(text) | {"elements": "////" * 16}), "bytes of points"),
        (lambda text: json.dumps(json.loads(text) | {"more": 1}), "not as a matching writes it"),
    ],
)
def test_a_request_that_is_none_is_refused(folder: Path, tmp_path: Path, change, said: str) -> None:
    (tmp_path / "request.match").write_text(change((folder / "request.match").read_text()))
    give = ("match", "answer", tmp_path / "request.match", folder / "city.csv", "--keep", tmp_path / "keep")
    done = command(*give, "--out", tmp_path / "out", code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


# --- audits of matched ids --------------------------------------------------------------------------------------------


def matched_audit(tmp_path: Path, name: str, **settings: object) -> PreparedAudit:
    """An audit of people that were matched anew."""
    asked = wanted(tmp_path, people(60), **settings)
    city = asked.auditors[0].file
    command("match", "simulate", asked.decisions, "--auditor", city, "--out", tmp_path / name)
    return prepare(replace(asked, matched=tmp_path / name))


def test_an_audit_of_matched_ids_counts_the_same(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("allow_exact = true\n")
    exact = {"policies": {"": tmp_path / "policy.toml"}}
    prepared = matched_audit(tmp_path, "matched", **exact)
    answer = in_the_clear(prepared, tmp_path / "state", "matched")
    keyed = in_the_clear(prepare(wanted(tmp_path, people(60), **exact)), tmp_path / "clear", "keyed")
    assert answer["attributes"] == keyed["attributes"]
    assert (answer["records"]["developer"], answer["records"]["matched"]) == (60, 58)


def test_budgets_outlive_a_matching(tmp_path: Path) -> None:
    """The policy has one audit for life. The twin knows people by record ids alone, and those are new."""
    (tmp_path / "policy.toml").write_text("epsilon = 1\n")
    once, state = {"policies": {"": tmp_path / "policy.toml"}}, tmp_path / "state"
    in_the_clear(matched_audit(tmp_path, "first", **once), state, "first")
    second = matched_audit(tmp_path, "second", **once)
    with pytest.raises(BudgetExceeded):
        in_the_clear(second, state, "second")
    nameless = {name: replace(table, persons=None) for name, table in second.tables.items()}
    in_the_clear(replace(second, tables=nameless), tmp_path / "other", "first")
    third = matched_audit(tmp_path, "third", **once)
    nameless = {name: replace(table, persons=None) for name, table in third.tables.items()}
    in_the_clear(replace(third, tables=nameless), tmp_path / "other", "second")


def test_stores_of_matched_ids_meet(tmp_path: Path) -> None:
    """Made by each side from its own file, with a key that the auditor alone has."""
    asked = wanted(tmp_path, people(50))
    city = asked.auditors[0].file
    command("match", "simulate", asked.decisions, "--auditor", city, "--out", tmp_path / "m")
    out = ("--out", tmp_path / "developer", "--matched", tmp_path / "m" / "developer.csv")
    command("data", "decisions", asked.decisions, *out)
    given = ("data", "attributes", f"{city}:sex,race", "--out", tmp_path / "city", "--matched", tmp_path / "m/city.csv")
    assert "--join-key FILE: is missing" in command(*given, code=2).stderr
    command(*given, "--join-key", tmp_path / "own.key")
    ids = [
        [line.split(",")[0] for line in (tmp_path / file).read_text().splitlines()[1:]]
        for file in ("developer/decisions.csv", "city/attributes.csv")
    ]
    assert len(set(ids[0]) & set(ids[1])) == 48
    assert (
        "give one of the two" in command("data", "decisions", asked.decisions, "--out", tmp_path / "x", code=2).stderr
    )
