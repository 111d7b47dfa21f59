"""What ``init`` cannot make a scenario of."""

from __future__ import annotations

from collections.abc import Mapping

from tests.refusals.case import Case, case

HAIR = ("--target", "hair", "--sensitive", "gender")


def asked(
    *words: str, said: str, problems: int = 1, listed: int = 0, files: Mapping[str, str | bytes] | None = None
) -> Case:
    """The command for a new folder."""
    return case(["init", "mine", *words], said, problems=problems, listed=listed, files=files)


ALBUM = ("--pictures", "@/album")
CASES = {
    "nothing named": asked(said="--pictures and --table: name the folder"),
    "no folder": asked("--pictures", "nowhere", *HAIR, said="--pictures nowhere: no such folder"),
    "a file for a folder": asked("--pictures", "@/policy.toml", *HAIR, said="no such folder"),
    "no table": asked(*ALBUM, "--table", "no.csv", *HAIR, said="--table no.csv: no such file"),
    "a folder for a table": asked("--table", "@/album", *HAIR, said="no such file"),
    "an empty table": asked("--table", "t.csv", *HAIR, said="the file is empty", files={"t.csv": ""}),
    "a table in UTF-16": asked(
        "--table", "t.csv", *HAIR, said="not UTF-8 text", files={"t.csv": "a,b".encode("utf-16")}
    ),
    "another column of paths": asked(*ALBUM, "--path-column", "pic", *HAIR, said='(did you mean "picture"?)'),
    "another target": asked(*ALBUM, "--target", "hat", "--sensitive", "gender", said="no single column 'hat'"),
    "another attribute": asked(*ALBUM, "--target", "hair", "--sensitive", "sex", said="no single column 'sex'"),
    "the target as attribute": asked(*ALBUM, "--target", "hair", "--sensitive", "hair", said="is among data.sensitive"),
    "a comparison of words": asked(
        *ALBUM, "--target", "hair > 3", "--sensitive", "gender", said="neither a number", problems=23
    ),
    "an epsilon of 0": asked(*ALBUM, *HAIR, "--epsilon", "0", said="privacy.epsilon: 0 is not allowed", problems=2),
    "an epsilon that is none": asked(*ALBUM, *HAIR, "--epsilon", "small", said="'small' is not a valid float"),
    "no CSV": asked(
        "--pictures", "deep/empty", *HAIR, said="there is no CSV in it or beside it", files={"deep/empty/a": ""}
    ),
    "two CSVs": asked("--pictures", "p", *HAIR, said="name the CSV", files={"p/a.csv": "a\n", "p/b.csv": "a\n"}),
    "a CSV elsewhere": asked(
        *ALBUM,
        "--table",
        "deep/t.csv",
        *HAIR,
        said="put the CSV into the folder",
        files={"deep/t.csv": "picture,hair\na,b\n"},
    ),
    "groups of one": asked(*ALBUM, *HAIR, "--groups", "gender=Female", said="expected ATTRIBUTE=GROUP,GROUP"),
    "groups of values that nobody has": asked(
        *ALBUM, *HAIR, "--groups", "gender=Female,Man", said="Man: no value of 'gender'", problems=2
    ),
    "groups of nothing": asked(*ALBUM, *HAIR, "--groups", "sex=a,b", said='"sex" is neither target nor sensitive'),
    "no such weights": asked(*ALBUM, *HAIR, "--weights", "w.safetensors", said="w.safetensors' does not exist"),
    "weights that are none": asked(
        *ALBUM,
        *HAIR,
        "--weights",
        "w.safetensors",
        said="is not a whole safetensors file",
        files={"w.safetensors": "hi"},
    ),
    "a backbone that is none": asked(*ALBUM, *HAIR, "--weights", "timm", "--backbone", "resnet18", said="is a ResNet"),
    "a backbone that nobody has": asked(*ALBUM, *HAIR, "--weights", "timm", "--backbone", "vit_huge", said="vit_huge"),
    "another column of ids": asked(*ALBUM, *HAIR, "--id-column", "who", said="no single column 'who'"),
    "another column of persons": asked(*ALBUM, *HAIR, "--person-column", "who", said="no single column 'who'"),
    "too few records": asked(
        "--table",
        "t.csv",
        "--target",
        "b",
        "--sensitive",
        "a",
        said="training records",
        files={"t.csv": "a,b,c\n1,2,3\n2,1,4\n"},
    ),
    "one that is there": case(
        ["init", "mine", *ALBUM, *HAIR], "scenario.toml: exists already", files={"mine/scenario.toml": "mine"}
    ),
    "nothing asked for": asked(*ALBUM, said="--target and --sensitive: missing", listed=2),
}
