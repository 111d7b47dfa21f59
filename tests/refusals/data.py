"""Data sets that are not as a scenario says, looked at by ``data check``: folders, tables, columns, rows, pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.refusals.case import Case, case, cut, overwrite, remove, swap

UTKFACE = """\
name = "faces"
[data]
dataset = "utkface"
root = "utkface"
target = "age > 35"
sensitive = ["gender"]
image_size = 16
"""
CELEBA = UTKFACE.replace('"utkface"', '"celeba"').replace("age > 35", "Smiling").replace('"gender"', '"Male"')
ALBUM = (
    UTKFACE.replace('"utkface"', '"album"', 2)
    .replace('dataset = "album"', 'dataset = "manifest"\nfile = "people.csv"\npath_column = "picture"')
    .replace("age > 35", "hair")
)
TABLE = (
    UTKFACE.replace('"utkface"', '"table"')
    .replace('target = "age > 35"', 'file = "people.csv"\ntarget = "hired"')
    .replace('"gender"', '"sex"')
    .replace("image_size = 16\n", "")
)
SCENARIOS = {"utkface": UTKFACE, "celeba": CELEBA, "album": ALBUM, "table": TABLE}
FIRST = "10_0_0_20170116174520000.jpg.chip.jpg"


def looked_at(
    which: str,
    *said: str,
    change: Callable[[Path], object] | None = None,
    overrides: Sequence[str] = (),
    problems: int = 1,
) -> Case:
    """``data check`` of a data set of the world, after a change to it."""
    given = [word for one in overrides for word in ("-o", one)]
    words = ["data", "check", "s.toml", *given]
    return case(words, *said, problems=problems, files={"s.toml": SCENARIOS[which]}, copies=(which,), change=change)


def row(which: str, said: str, old: str, new: str) -> Case:
    """One row of a table that a run would refuse: the check lists it, and ends as a run would."""
    return looked_at(which, "data.on_bad: 1 records are bad", change=swap(f"{which}/people.csv", old, new))


def renamed(old: str, new: str) -> Callable[[Path], object]:
    """A change: a file of another name."""
    return lambda folder: (folder / old).rename(folder / new)


def emptied(which: str) -> Callable[[Path], object]:
    """A change: a folder that nothing is left in."""
    return lambda folder: [path.unlink() for path in (folder / which).rglob("*") if path.is_file()]


PEOPLE = "album/people.csv"
ROWS = "table/people.csv"
LISTED = "celeba/list_attr_celeba.txt"

CASES = {
    "utkface, no folder": looked_at(
        "utkface", "nowhere: no such folder; set data.root", overrides=["data.root=nowhere"]
    ),
    "utkface, a file for a folder": looked_at("utkface", "no such folder", overrides=["data.root=s.toml"]),
    "utkface, nothing in it": looked_at("utkface", "no pictures (.jpg, .jpeg, .png)", change=emptied("utkface")),
    "utkface, an attribute it has not": looked_at(
        "utkface", 'utkface has no "hair"', 'allowed: "age", "gender", "race"', overrides=['data.sensitive=["hair"]']
    ),
    "utkface, no number compared": looked_at("utkface", "age must be compared", overrides=["data.target=age"]),
    "utkface, groups compared": looked_at("utkface", "age must be compared", overrides=["data.target=race > 2"]),
    "utkface, a name of three fields": looked_at(
        "utkface", "data.on_bad: 1 records are bad", change=renamed(f"utkface/{FIRST}", "utkface/39_1_20170116.jpg")
    ),
    "utkface, an age of 300": looked_at(
        "utkface", "1 records are bad", change=renamed(f"utkface/{FIRST}", "utkface/300_0_0_20170116174520000.jpg")
    ),
    "utkface, a race of 7": looked_at(
        "utkface", "1 records are bad", change=renamed(f"utkface/{FIRST}", "utkface/30_0_7_20170116174520000.jpg")
    ),
    "utkface, half a picture": looked_at("utkface", "1 records are bad", change=cut(f"utkface/{FIRST}", 300)),
    "utkface, an empty picture": looked_at("utkface", "1 records are bad", change=overwrite(f"utkface/{FIRST}", "")),
    "utkface, text for a picture": looked_at(
        "utkface", "1 records are bad", change=overwrite(f"utkface/{FIRST}", "hi")
    ),
    "utkface, nobody of a class": looked_at(
        "utkface", "'age > 99': all 8 records are 'age <= 99'", overrides=["data.target=age > 99"]
    ),
    "celeba, no tables": looked_at("celeba", "neither list_attr_celeba.txt nor", change=remove(LISTED)),
    "celeba, no pictures": looked_at(
        "celeba", "no folder img_align_celeba in it", change=renamed("celeba/img_align_celeba", "celeba/img")
    ),
    "celeba, an attribute it has not": looked_at("celeba", "no column 'Hat'", overrides=["data.target=Hat"]),
    "celeba, a comparison": looked_at("celeba", "attributes are 1 or -1", overrides=["data.target=Smiling > 0"]),
    "celeba, cut off": looked_at("celeba", "is it cut off?", change=swap(LISTED, "000006.jpg 1 1\n", "")),
    "celeba, no count": looked_at("celeba", "expected the number of pictures", change=swap(LISTED, "6\n", "six\n")),
    "celeba, an empty table": looked_at("celeba", "expected the number of pictures", change=overwrite(LISTED, "")),
    "celeba, UTF-16": looked_at("celeba", "not UTF-8 text", change=overwrite(LISTED, "6\nMale".encode("utf-16"))),
    "celeba, no partition": looked_at(
        "celeba", "neither list_eval_partition.txt nor", overrides=["data.partition=true"]
    ),
    "celeba, no identities": looked_at("celeba", "neither identity_CelebA.txt nor", overrides=["data.identities=true"]),
    "celeba, a value of 0": looked_at(
        "celeba", "1 records are bad", change=swap(LISTED, "000002.jpg 1", "000002.jpg 0")
    ),
    "celeba, a line cut": looked_at(
        "celeba", "1 records are bad", change=swap(LISTED, "000002.jpg 1 1", "000002.jpg 1")
    ),
    "album, no CSV": looked_at("album", "people.csv: no such file; set data.file", change=remove(PEOPLE)),
    "album, a folder for a CSV": looked_at("album", "no such file", overrides=["data.file=pictures"]),
    "album, an empty CSV": looked_at("album", "the file is empty", change=overwrite(PEOPLE, "")),
    "album, a header alone": looked_at(
        "album", "no usable record is left", change=overwrite(PEOPLE, "picture,hair,gender\n")
    ),
    "album, Latin-1": looked_at(
        "album",
        "not UTF-8 text",
        "save it as CSV in UTF-8",
        change=overwrite(PEOPLE, "picture,h\xe4r\n".encode("latin-1")),
    ),
    "album, a NUL": looked_at(
        "album", "people.csv:1: has a NUL character", change=overwrite(PEOPLE, "picture,\0hair\n")
    ),
    "album, a quote that never ends": looked_at(
        "album", "people.csv:2: not CSV", change=overwrite(PEOPLE, 'picture,hair\n"a,b\n')
    ),
    "album, semicolons": looked_at(
        "album", "no single column", problems=3, change=overwrite(PEOPLE, "picture;hair;gender\na;b;c\n")
    ),
    "album, a target that it has not": looked_at("album", "no single column 'hat'", overrides=["data.target=hat"]),
    "album, an attribute that it has not": looked_at(
        "album", "no single column 'sex'", overrides=['data.sensitive=["sex"]']
    ),
    "album, no column of paths": looked_at("album", "no single column 'path'", overrides=["data.path_column=path"]),
    "album, no column of ids": looked_at("album", "no single column 'who'", overrides=["data.id_column=who"]),
    "album, no column of persons": looked_at("album", "no single column 'who'", overrides=["data.person_column=who"]),
    "album, a column twice": looked_at(
        "album", "no single column 'hair'", change=swap(PEOPLE, "gender", "hair"), problems=2
    ),
    "album, a word compared": looked_at(
        "album", "neither a number nor a range", overrides=["data.target=hair > 3"], problems=23
    ),
    "album, one value": looked_at("album", "1 distinct values", change=lambda folder: one_value(folder / PEOPLE)),
    "album, too many values": looked_at(
        "album", "distinct values", overrides=["data.target=picture", "data.path_column=hair"]
    ),
    "album, classes that nobody has": looked_at(
        "album", "it must be one of long, short", overrides=["data.classes={hair=['long','short']}"], problems=23
    ),
    "album, every split the same": looked_at(
        "album", "is 'Female'; it must be one of", overrides=["data.split_column=gender"], problems=23
    ),
    **{
        f"album, {name}": row("album", "", old, new)
        for name, (old, new) in {
            "a picture that is not there": ("pictures/3.png", "pictures/300.png"),
            "a path that leaves the folder": ("pictures/3.png", "../s.toml"),
            "an absolute path": ("pictures/3.png", "/etc/hostname"),
            "a picture twice": ("pictures/3.png", "pictures/2.png"),
            "an empty path": ("pictures/3.png", ""),
            "a short row": ("pictures/3.png,", ""),
            "a long row": ("pictures/3.png,", "pictures/3.png,x,"),
            "a folder for a picture": ("pictures/3.png", "pictures"),
        }.items()
    },
    "album, half a picture": looked_at("album", "1 records are bad", change=cut("album/pictures/3.png", 200)),
    "album, an empty picture": looked_at("album", "1 records are bad", change=overwrite("album/pictures/3.png", "")),
    "table, no CSV": looked_at("table", "people.csv: no such file", change=remove(ROWS)),
    "table, none named": looked_at("table", "no such file; set data.file", overrides=["data.file="]),
    "table, a target that it has not": looked_at("table", "no single column 'hat'", overrides=["data.target=hat"]),
    "table, a feature that it has not": looked_at(
        "table", "no single column 'hat'", overrides=["data.features=['hat']"]
    ),
    "table, a sensitive feature": looked_at("table", "sex cannot be a feature", overrides=["data.features=['sex']"]),
    "table, the target as feature": looked_at(
        "table", "hired cannot be a feature", overrides=["data.features=['hired']"]
    ),
    "table, an id that is no feature": looked_at(
        "table", "number cannot be a feature", overrides=["data.id_column=number", "data.features=['number']"]
    ),
    "table, a category that it has not": looked_at("table", "hat", overrides=["data.categories=['hat']"]),
    "table, an evaluation file that is the same": looked_at(
        "table", "is data.file too", overrides=["data.evaluation_file=people.csv"]
    ),
    "table, no evaluation file": looked_at(
        "table", "test.csv: no such file", overrides=["data.evaluation_file=test.csv"]
    ),
    "table, an id twice": looked_at(
        "table", "1 records are bad", change=swap(ROWS, "n3,", "n2,"), overrides=["data.id_column=number"]
    ),
    "table, an empty label": row("table", "", "n3,23,Bath,m,yes", "n3,23,Bath,m,"),
    "table, a short row": row("table", "", "n3,23,Bath,m,yes", "n3,23,Bath,m"),
    "table, a sensitive value of nobody else": looked_at(
        "table",
        "1 records are bad",
        overrides=["data.classes={sex=['f','m']}"],
        change=swap(ROWS, ",m,", ",x,"),
    ),
    "prepare, a folder that is there": case(
        "data prepare together @/table.toml --out stores",
        "stores: exists already; name another folder",
        files={"stores/a": ""},
    ),
    "prepare, no folder": case("data prepare together @/table.toml", "Missing option '--out'"),
    "prepare, no table": case("data prepare auditor @/table.toml --out a --join-key @/key", "--table FILE: is missing"),
    "prepare, no key": case("data prepare developer @/table.toml --out d", "--join-key"),
    "prepare, an auditor that is none": case(
        "data prepare auditor @/table.toml --out a --join-key @/key --name city", "--name city: is no auditor of"
    ),
    "prepare, ids of nobody": case(
        "data prepare developer @/table.toml --out d --join-key @/key --held city", "expected NAME=FILE"
    ),
    "prepare, key and match": case(
        "data prepare developer @/table.toml --out d --join-key @/key --matched m.csv",
        "leave the other out",
        files={"m.csv": ""},
    ),
    "prepare, a key that is none": case(
        "data prepare together @/table.toml --out stores --join-key key", "key", files={"key": "hello"}
    ),
    "prepare, a key below a file": case(
        "data prepare together @/table.toml --out a/stores --join-key f/key",
        "the join key cannot be written",
        files={"f": ""},
    ),
    "decisions, none": case("data decisions d.csv --out store --join-key key", "d.csv: no such file"),
    "decisions, without a column": case(
        "data decisions d.csv --out store --join-key key",
        "neither a column 'decision' nor",
        files={"d.csv": "id,a\n1,2\n"},
    ),
    "decisions, into a folder that is there": case(
        "data decisions d.csv --out store --join-key key",
        "store",
        files={"d.csv": "id,decision\n1,1\n2,0\n", "store/a": ""},
    ),
    "attributes, without columns": case(
        "data attributes a.csv --out store --join-key key",
        "a.csv: expected FILE:COLUMN,..., for instance city.csv:sex,race",
    ),
    "attributes, none": case("data attributes a.csv:sex --out store --join-key key", "a.csv: no such file"),
    "attributes, without the column": case(
        "data attributes a.csv:sex --out store --join-key key",
        "no single column 'sex'",
        files={"a.csv": "id,age\n1,2\n"},
    ),
}


def one_value(file: Path) -> None:
    """Give everybody the same hair."""
    file.write_text(file.read_text().replace("wavy", "straight"))
