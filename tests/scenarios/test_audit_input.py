"""What is wrong with files, options or policies of an audit is said in one message, before a process is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scenarios import audit
from scenarios.cli import main
from secure_fair.errors import ProcessFailed

RECORDS = 40
Change = Callable[[str], str]


def rows(*lines: str) -> str:
    return "\n".join(lines) + "\n"


DECISIONS = rows("id,decision,label", *(f"p{i},{i % 2},{i // 2 % 2}" for i in range(RECORDS)))
SCORES = rows("id,score", *(f"p{i},{i / RECORDS}" for i in range(RECORDS)))
CITY = rows("id,sex,race", *(f"p{i},{('f', 'm')[i % 2]},{'ABC'[i % 3]}" for i in range(RECORDS)))
CLINIC = rows("id,age", *(f"p{i},{20 + i}" for i in range(RECORDS)))


def swap(old: str, new: str) -> Change:
    """The text with one piece replaced."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


class Case:
    """Files as they should be, but for what is changed, and the command line."""

    def __init__(self, *said: str, code: int = 2, options: tuple[str, ...] = (), **files: str | bytes | Change) -> None:
        self.said, self.code, self.options, self.files = said, code, options, files


NUMBERED = rows("id,sex,race", *(f"{i},{'fm'[i % 2]},{'ABC'[i % 3]}" for i in range(RECORDS)))
POLICY = "epsilon = 1\n"
DELETED = b"deleted"

CASES = {
    # the developer's file
    "no such file": Case("nothing.csv: no such file", options=("nothing.csv",)),
    "a folder": Case("no such file; name a CSV", options=(".",)),
    "an empty file": Case("decisions.csv: the file is empty", decisions=""),
    "a header alone": Case("decisions.csv: no rows", decisions="id,decision\n"),
    "UTF-16": Case("not UTF-8 text", decisions=DECISIONS.encode("utf-16")),
    "Latin-1": Case("not UTF-8 text", decisions=DECISIONS.replace("p3,", "pé,").encode("latin-1")),
    "a quote that never ends": Case("decisions.csv:", "not CSV", decisions='id,decision\n"p1,1\n'),
    "semicolons": Case("neither a column 'decision' nor 'score'", decisions=lambda text: text.replace(",", ";")),
    "no id": Case("no single column 'id'; it has name", decisions=swap("id,", "name,")),
    "two id columns": Case("no single column 'id'", decisions=swap("label", "id")),
    "no decision": Case("neither a column 'decision' nor 'score'", decisions=swap("decision", "hired")),
    "another decision column": Case("no single column 'hired'", options=("--decision", "hired")),
    "another label column": Case("no single column 'truth'", options=("--label", "truth")),
    "decision and score": Case("audit one of the two", options=("--decision", "decision", "--score", "label")),
    "a short row": Case("decisions.csv:3: 2 fields instead of 3", decisions=swap("p1,1,0", "p1,1")),
    "an id twice": Case("decisions.csv:4: id 'p1' is on line 3 already", decisions=swap("p2,", "p1,")),
    "an empty id": Case("decisions.csv:3: id is ''", decisions=swap("p1,", ",")),
    "an id of blanks": Case("decisions.csv:3: id is ''", decisions=swap("p1,", "  ,")),
    "NaN for an id": Case("decisions.csv:3: id is 'NaN'", decisions=swap("p1,", "NaN,")),
    "a decision of 2": Case("decisions.csv:2: decision is '2'", decisions=swap("p0,0", "p0,2")),
    "an empty decision": Case("decision is ''; it must be 0 or 1", decisions=swap("p0,0", "p0,")),
    "NaN for a decision": Case("decision is 'nan'", decisions=swap("p0,0", "p0,nan")),
    "words for decisions": Case("name the favourable value with --selected", decisions=swap("p0,0", "p0,yes")),
    "a favourable value that nobody has": Case("no decision in", "there are 0, 1", options=("--selected", "yes")),
    "a missing word": Case(
        "every record needs a decision", decisions=swap("p0,0", "p0,"), options=("--selected", "1")
    ),
    "a label of 3": Case("decisions.csv:2: label is '3'", decisions=swap("p0,0,0", "p0,0,3")),
    # scores
    "a score above 1": Case("score is '1.5'; a score is a number between 0 and 1", decisions="id,score\np1,1.5\n"),
    "a score below 0": Case("score is '-0.1'", decisions="id,score\np1,-0.1\n"),
    "NaN for a score": Case("score is 'nan'", decisions="id,score\np1,nan\n"),
    "an infinite score": Case("score is 'inf'", decisions="id,score\np1,inf\n"),
    "a word for a score": Case("score is 'high'", decisions="id,score\np1,high\n"),
    "a decimal comma": Case("decisions.csv:2: 3 fields instead of 2", decisions="id,score\np1,0,5\n"),
    "a threshold for decisions": Case("--threshold 0.5: is for scores", options=("--threshold", "0.5")),
    "a threshold of 2": Case("must be between 0 and 1", decisions=SCORES, options=("--threshold", "2")),
    "a favourable score": Case("--selected 1: is for decisions", decisions=SCORES, options=("--selected", "1")),
    # the auditor's file
    "an auditor without a file": Case("city.csv: no such file", city=DELETED),
    "an auditor without columns": Case("expected [NAME=]FILE:ATTRIBUTE", options=("--auditor", "clinic.csv")),
    "an auditor with no column": Case("expected [NAME=]FILE:ATTRIBUTE", options=("--auditor", "clinic.csv:")),
    "an attribute that is not there": Case("no single column 'colour'", options=("--auditor", "clinic.csv:colour")),
    "an attribute twice": Case("asked for twice", options=("--auditor", "clinic.csv:age > 40,age > 40")),
    "an attribute with two auditors": Case(
        "attribute 'sex': is there twice", options=("--auditor", "other=city.csv:sex")
    ),
    "an auditor twice": Case("auditor city: the name is taken", options=("--auditor", "city=clinic.csv:age > 40")),
    "an auditor called dealer": Case("dealer: the name is taken", options=("--auditor", "dealer=clinic.csv:age > 40")),
    "a file whose name is none": Case("cannot be a party's name", options=("--auditor", "42.csv:age")),
    "too many groups": Case("100 distinct values", "age > 40", options=("--auditor", "clinic.csv:age"), clinic=rows(
        "id,age", *(f"p{i},{i}" for i in range(100)))),
    "one group": Case("column 'sex' has 1 distinct values", city=lambda text: text.replace(",m,", ",f,")),
    "nobody known": Case("has 0 distinct values", city=rows("id,sex,race", *(f"p{i},,A" for i in range(40)))),
    "a word to compare": Case(
        "age is 'old', not a number", options=("--auditor", "clinic.csv:age > 40"), clinic=swap("p1,21", "p1,old")
    ),
    "a date of a spreadsheet": Case("a spreadsheet took '3-9' for a date", city=swap("p1,m,", "p1,03-Sep,")),
    "an auditor's id twice": Case("city.csv:4: id 'p1' is on line 3", city=swap("p2,", "p1,")),
    "no record in common": Case("compare the two columns", city=lambda text: text.replace("\np", "\nq")),
    "numbers for words": Case("compare the two columns", city=NUMBERED),
    "ids with leading zeros": Case(
        "write them alike", city=NUMBERED, decisions=rows("id,decision", *(f"{i:03},{i % 2}" for i in range(RECORDS)))
    ),
    "ids in upper case": Case("'p0' here is 'P0' there", city=lambda text: text.replace("\np", "\nP")),
    "nobody known to all": Case(
        "none that all have",
        options=("--auditor", "clinic.csv:age > 40"),
        city=rows("id,sex,race", *(f"p{i},{'fm'[i % 2]},A" for i in range(20)), "p0x,f,B"),
        clinic=rows("id,age", *(f"p{i},{20 + i}" for i in range(20, 40))),
    ),
    # what is asked
    "an intersection of one": Case("name two or more", options=("--intersections", "sex")),
    "an unknown intersection": Case('did you mean "race"?', options=("--intersections", "sex x rage")),
    "an intersection with itself": Case("name two or more different", options=("--intersections", "sex x sex")),
    "an intersection too large": Case("100 groups, at most 64", options=("--intersections", "sex x race"), city=rows(
        "id,sex,race", *(f"p{i},{i % 10},{i // 10 % 10}x" for i in range(100)))),
    "an epsilon of 0": Case("--epsilon 0: must be above 0", options=("--epsilon", "0")),
    "a negative epsilon": Case("must be above 0", options=("--epsilon", "-1")),
    "NaN for epsilon": Case("--epsilon nan: must be", options=("--epsilon", "nan")),
    "a delta of 1": Case("--delta 1: must be", options=("--delta", "1")),
    "an output that is there": Case("is not an empty folder", options=("--output", ".")),
    # policies
    "no such policy": Case("the policy cannot be read", options=("--policy", "none.toml")),
    "a policy of somebody else": Case("is no auditor of this audit", options=("--policy", "clinic=policy.toml")),
    "two policies of one": Case("have a file already", options=("--policy", "policy.toml", "--policy", "policy.toml")),
    "a policy with a typo": Case('did you mean "epsilon"?', options=("--policy", "policy.toml"), policy="epsilom = 1"),
    "a claim that is none": Case("claims.0", options=("--policy", "policy.toml"), policy=POLICY + "claims = ['fair']"),
    "a claim of no metric": Case(
        "is no metric", options=("--policy", "policy.toml"), policy=POLICY + "claims = ['goodness by sex >= 1']"
    ),
    "a claim of no attribute": Case(
        'did you mean "race"?',
        options=("--policy", "policy.toml"),
        policy=POLICY + "claims = ['impact ratio by rice >= 0.8']",
    ),
    "a claim that needs labels": Case(
        "needs labels",
        options=("--policy", "policy.toml"),
        decisions=lambda text: "\n".join(line.rpartition(",")[0] for line in text.splitlines()),
        policy=POLICY + "claims = ['accuracy difference by sex <= 0.1']",
    ),
    "a budget that is too small": Case("policy's epsilon for life is 0.5", code=3, options=("--policy", "policy.toml"),
        policy="epsilon = 0.5"),
    "a batch that is too small": Case("minimum_batch = 50", code=4, options=("--policy", "policy.toml"),
        policy=POLICY + "minimum_batch = 50"),
    "an operation that is forbidden": Case("not in the policy's op", code=4, options=("--policy", "policy.toml"),
        policy=POLICY + "operations = ['moment']"),
    "a product for a policy that suspects": Case("protects attributes only from a developer", code=4,
        options=("--auditor", "clinic.csv:age > 40", "--intersections", "sex x age > 40")),
}  # fmt: skip


def start(*_: object) -> None:
    pytest.fail("a process was started")


def asked(folder: Path, case: Case, monkeypatch: pytest.MonkeyPatch, started: Callable[..., None] = start) -> Result:
    """The command in a folder with these files; ``started`` in place of the parties' processes."""
    monkeypatch.chdir(folder)
    files = {"decisions": DECISIONS, "city": CITY, "clinic": CLINIC}
    for name, change in ({name: lambda text: text for name in files} | case.files).items():
        content = change(files.get(name, "")) if callable(change) else change
        raw = content.encode() if isinstance(content, str) else content
        suffix = "toml" if name == "policy" else "csv"
        if raw != DELETED:
            (folder / f"{name}.{suffix}").write_bytes(raw)
    monkeypatch.setattr(audit, "run_parties", started)
    options = list(case.options)
    decisions = options.pop(0) if options and not options[0].startswith("--") else "decisions.csv"
    auditor = ["--auditor", "city.csv:sex,race"]
    if "--output" not in options:
        options += ["--output", "out"]
    return CliRunner().invoke(main, ["audit", decisions, *auditor, *options])


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_one_clear_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    result = asked(tmp_path, case, monkeypatch)
    assert result.exit_code == case.code, (result.output, result.exception)
    assert all(text in result.stderr for text in case.said), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_without_an_auditor_there_is_no_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["audit", "decisions.csv"])
    assert result.exit_code == 2
    assert "--auditor" in result.stderr


def test_an_audit_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise ProcessFailed("lost city", 5)

    case = Case()
    result = asked(tmp_path, case, monkeypatch, lost)
    assert result.exit_code == 5
    assert "lost city" in result.stderr
    assert not (tmp_path / "out").exists()
