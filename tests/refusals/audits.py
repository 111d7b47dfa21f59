"""Audits of files that are not as they should be, or by options and policies that cannot be."""

from __future__ import annotations

from collections.abc import Callable

from tests.refusals.case import Case, case

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


class Asked:
    """Files as they should be, but for what is changed, and the options of the command line."""

    def __init__(self, *said: str, code: int = 2, options: tuple[str, ...] = (), **files: str | bytes | Change) -> None:
        self.said, self.code, self.options, self.files = said, code, options, files

    def case(self) -> Case:
        """The command in a folder with these files."""
        files: dict[str, str | bytes] = {}
        given = {"decisions": DECISIONS, "city": CITY, "clinic": CLINIC}
        for name, change in ({name: lambda text: text for name in given} | self.files).items():
            content = change(given.get(name, "")) if callable(change) else change
            if content != DELETED:
                files[f"{name}.{'toml' if name == 'policy' else 'csv'}"] = content
        options = list(self.options)
        decisions = options.pop(0) if options and not options[0].startswith("--") else "decisions.csv"
        output = [] if "--output" in options else ["--output", "out"]
        words = ["audit", decisions, "--auditor", "city.csv:sex,race", *options, *output]
        return case(words, *self.said, code=self.code, files=files)


NUMBERED = rows("id,sex,race", *(f"{i},{'fm'[i % 2]},{'ABC'[i % 3]}" for i in range(RECORDS)))
POLICY = "epsilon = 1\n"
DELETED = b"deleted"

ASKED = {
    # the developer's file
    "no such file": Asked("nothing.csv: no such file", options=("nothing.csv",)),
    "a folder": Asked("no such file; name a CSV", options=(".",)),
    "an empty file": Asked("decisions.csv: the file is empty", decisions=""),
    "a header alone": Asked("decisions.csv: no rows", decisions="id,decision\n"),
    "UTF-16": Asked("not UTF-8 text", decisions=DECISIONS.encode("utf-16")),
    "Latin-1": Asked("not UTF-8 text", decisions=DECISIONS.replace("p3,", "pé,").encode("latin-1")),
    "a quote that never ends": Asked("decisions.csv:", "not CSV", decisions='id,decision\n"p1,1\n'),
    "semicolons": Asked("neither a column 'decision' nor 'score'", decisions=lambda text: text.replace(",", ";")),
    "no id": Asked("no single column 'id'; it has name", decisions=swap("id,", "name,")),
    "two id columns": Asked("no single column 'id'", decisions=swap("label", "id")),
    "no decision": Asked("neither a column 'decision' nor 'score'", decisions=swap("decision", "hired")),
    "another decision column": Asked("no single column 'hired'", options=("--decision", "hired")),
    "another label column": Asked("no single column 'truth'", options=("--label", "truth")),
    "decision and score": Asked("audit one of the two", options=("--decision", "decision", "--score", "label")),
    "a short row": Asked("decisions.csv:3: 2 fields instead of 3", decisions=swap("p1,1,0", "p1,1")),
    "an id twice": Asked("decisions.csv:4: id 'p1' is on line 3 already", decisions=swap("p2,", "p1,")),
    "an empty id": Asked("decisions.csv:3: id is ''", decisions=swap("p1,", ",")),
    "an id of blanks": Asked("decisions.csv:3: id is ''", decisions=swap("p1,", "  ,")),
    "NaN for an id": Asked("decisions.csv:3: id is 'NaN'", decisions=swap("p1,", "NaN,")),
    "a decision of 2": Asked("decisions.csv:2: decision is '2'", decisions=swap("p0,0", "p0,2")),
    "an empty decision": Asked("decision is ''; it must be 0 or 1", decisions=swap("p0,0", "p0,")),
    "NaN for a decision": Asked("decision is 'nan'", decisions=swap("p0,0", "p0,nan")),
    "words for decisions": Asked("name the favourable value with --selected", decisions=swap("p0,0", "p0,yes")),
    "a favourable value that nobody has": Asked("no decision in", "there are 0, 1", options=("--selected", "yes")),
    "a missing word": Asked(
        "every record needs a decision", decisions=swap("p0,0", "p0,"), options=("--selected", "1")
    ),
    "a label of 3": Asked("decisions.csv:2: label is '3'", decisions=swap("p0,0,0", "p0,0,3")),
    # scores
    "a score above 1": Asked("score is '1.5'; a score is a number between 0 and 1", decisions="id,score\np1,1.5\n"),
    "a score below 0": Asked("score is '-0.1'", decisions="id,score\np1,-0.1\n"),
    "NaN for a score": Asked("score is 'nan'", decisions="id,score\np1,nan\n"),
    "an infinite score": Asked("score is 'inf'", decisions="id,score\np1,inf\n"),
    "a word for a score": Asked("score is 'high'", decisions="id,score\np1,high\n"),
    "a decimal comma": Asked("decisions.csv:2: 3 fields instead of 2", decisions="id,score\np1,0,5\n"),
    "a threshold for decisions": Asked("--threshold 0.5: is for scores", options=("--threshold", "0.5")),
    "a threshold of 2": Asked("must be between 0 and 1", decisions=SCORES, options=("--threshold", "2")),
    "a favourable score": Asked("--selected 1: is for decisions", decisions=SCORES, options=("--selected", "1")),
    # the auditor's file
    "an auditor without a file": Asked("city.csv: no such file", city=DELETED),
    "an auditor without columns": Asked("expected [NAME=]FILE:ATTRIBUTE", options=("--auditor", "clinic.csv")),
    "an auditor with no column": Asked("expected [NAME=]FILE:ATTRIBUTE", options=("--auditor", "clinic.csv:")),
    "an attribute that is not there": Asked("no single column 'colour'", options=("--auditor", "clinic.csv:colour")),
    "an attribute twice": Asked("asked for twice", options=("--auditor", "clinic.csv:age > 40,age > 40")),
    "an attribute with two auditors": Asked(
        "attribute 'sex': is there twice", options=("--auditor", "other=city.csv:sex")
    ),
    "an auditor twice": Asked("auditor city: the name is taken", options=("--auditor", "city=clinic.csv:age > 40")),
    "an auditor called dealer": Asked("dealer: the name is taken", options=("--auditor", "dealer=clinic.csv:age > 40")),
    "a file whose name is none": Asked("cannot be a party's name", options=("--auditor", "42.csv:age")),
    "too many groups": Asked("100 distinct values", "age > 40", options=("--auditor", "clinic.csv:age"), clinic=rows(
        "id,age", *(f"p{i},{i}" for i in range(100)))),
    "one group": Asked("column 'sex' has 1 distinct values", city=lambda text: text.replace(",m,", ",f,")),
    "nobody known": Asked("has 0 distinct values", city=rows("id,sex,race", *(f"p{i},,A" for i in range(40)))),
    "a word to compare": Asked(
        "age is 'old', not a number", options=("--auditor", "clinic.csv:age > 40"), clinic=swap("p1,21", "p1,old")
    ),
    "a date of a spreadsheet": Asked("a spreadsheet took '3-9' for a date", city=swap("p1,m,", "p1,03-Sep,")),
    "an auditor's id twice": Asked("city.csv:4: id 'p1' is on line 3", city=swap("p2,", "p1,")),
    "no record in common": Asked("compare the two columns", city=lambda text: text.replace("\np", "\nq")),
    "numbers for words": Asked("compare the two columns", city=NUMBERED),
    "ids with leading zeros": Asked(
        "write them alike", city=NUMBERED, decisions=rows("id,decision", *(f"{i:03},{i % 2}" for i in range(RECORDS)))
    ),
    "ids in upper case": Asked("'p0' here is 'P0' there", city=lambda text: text.replace("\np", "\nP")),
    "nobody known to all": Asked(
        "none that all have",
        options=("--auditor", "clinic.csv:age > 40"),
        city=rows("id,sex,race", *(f"p{i},{'fm'[i % 2]},A" for i in range(20)), "p0x,f,B"),
        clinic=rows("id,age", *(f"p{i},{20 + i}" for i in range(20, 40))),
    ),
    # what is asked
    "an intersection of one": Asked("name two or more", options=("--intersections", "sex")),
    "an unknown intersection": Asked('did you mean "race"?', options=("--intersections", "sex x rage")),
    "an intersection with itself": Asked("name two or more different", options=("--intersections", "sex x sex")),
    "an intersection too large": Asked("100 groups, at most 64", options=("--intersections", "sex x race"), city=rows(
        "id,sex,race", *(f"p{i},{i % 10},{i // 10 % 10}x" for i in range(100)))),
    "an epsilon of 0": Asked("--epsilon 0: must be above 0", options=("--epsilon", "0")),
    "a negative epsilon": Asked("must be above 0", options=("--epsilon", "-1")),
    "NaN for epsilon": Asked("--epsilon nan: must be", options=("--epsilon", "nan")),
    "a delta of 1": Asked("--delta 1: must be", options=("--delta", "1")),
    "an output that is there": Asked("is not an empty folder", options=("--output", ".")),
    # policies
    "no such policy": Asked("none.toml: cannot be read", options=("--policy", "none.toml")),
    "a policy of somebody else": Asked("is no auditor of this audit", options=("--policy", "clinic=policy.toml")),
    "two policies of one": Asked("have a file already", options=("--policy", "policy.toml", "--policy", "policy.toml")),
    "a policy with a typo": Asked('did you mean "epsilon"?', options=("--policy", "policy.toml"), policy="epsilom = 1"),
    "a claim that is none": Asked("claims.0", options=("--policy", "policy.toml"), policy=POLICY + "claims = ['fair']"),
    "a claim of no metric": Asked(
        "is no metric", options=("--policy", "policy.toml"), policy=POLICY + "claims = ['goodness by sex >= 1']"
    ),
    "a claim of no attribute": Asked(
        'did you mean "race"?',
        options=("--policy", "policy.toml"),
        policy=POLICY + "claims = ['impact ratio by rice >= 0.8']",
    ),
    "a claim that needs labels": Asked(
        "needs labels",
        options=("--policy", "policy.toml"),
        decisions=lambda text: "\n".join(line.rpartition(",")[0] for line in text.splitlines()),
        policy=POLICY + "claims = ['accuracy difference by sex <= 0.1']",
    ),
    "a budget that is too small": Asked("policy's epsilon for life is 0.5", code=3, options=("--policy", "policy.toml"),
        policy="epsilon = 0.5"),
    "a batch that is too small": Asked("minimum_batch = 50", code=4, options=("--policy", "policy.toml"),
        policy=POLICY + "minimum_batch = 50"),
    "an operation that is forbidden": Asked("not in the policy's op", code=4, options=("--policy", "policy.toml"),
        policy=POLICY + "operations = ['moment']"),
    "a product for a policy that suspects": Asked("protects attributes only from a developer", code=4,
        options=("--auditor", "clinic.csv:age > 40", "--intersections", "sex x age > 40")),
}  # fmt: skip


CASES = {
    "no auditor": case("audit decisions.csv", "Missing option '--auditor'", files={"decisions.csv": DECISIONS}),
    **{name: asked.case() for name, asked in ASKED.items()},
}
