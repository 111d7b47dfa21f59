"""`secure-fair init`: from somebody's own files to a scenario that runs; what it cannot know it asks for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from secure_fair.data.faces import draw
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.schema import Scenario

BANDS = ("20-29", "30-39", "more than 70")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 drawn portraits as files with a CSV beside them: age in bands, and sex."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "pictures").mkdir()
    pictures, codes = draw(200, 5, size=24)
    lines = ["picture,age,sex"]
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / "pictures" / f"{i:03}.png")
        band = BANDS[i % 2 + (1 - codes["young"][i]) * (i % 2)]
        lines.append(f"pictures/{i:03}.png,{band},{'mf'[codes['male'][i]]}")
    (folder / "people.csv").write_text("\n".join(lines) + "\n")
    return folder


ASKED = ("--target", "age >= 30", "--sensitive", "sex")


def test_from_pictures_to_a_report_in_two_commands(people: Path, tmp_path: Path) -> None:
    made = invoke("init", str(tmp_path / "mine"), "--pictures", str(people / "pictures"), *ASKED)
    assert made.exit_code == 0, made.output
    assert "age >= 30" in made.stdout
    command = made.stdout.splitlines()[-1].split()
    assert command[:2] == ["secure-fair", "run"]
    # the same command, in one process and for one epoch, which takes seconds
    quick = ["-o", "secure.mode=plain", "-o", "train.epochs=1", "-o", "train.batch_size=32", "-o", "data.image_size=16"]
    done = invoke(*command[1:], *quick, "--out", str(tmp_path / "run"))
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["records"] == {"training": 140, "test": 60}  # everybody is used
    assert summary["privacy"]["attributes"]["sex"]["epsilon"] <= 2.0
    assert "age &gt;= 30" in (tmp_path / "run" / "report.html").read_text()


def test_the_scenario_is_safe_by_default_and_says_what_was_decided(people: Path, tmp_path: Path) -> None:
    assert invoke("init", str(tmp_path / "mine"), "--pictures", str(people), *ASKED).exit_code == 0
    scenario = Scenario.load(tmp_path / "mine" / "scenario.toml")
    assert scenario.secure.mode == "secure"
    assert scenario.privacy is not None
    assert (scenario.privacy.epsilon, scenario.privacy.evaluation_epsilon) == (1.0, 1.0)
    assert scenario.compare == ("erm",)
    assert scenario.data.path_column == "picture"
    assert sum(scenario.data.fractions.values()) == pytest.approx(1)
    assert scenario.data.fractions["auditor"] == 0
    text = (tmp_path / "mine" / "scenario.toml").read_text()
    assert "has seen drawn portraits alone" in text
    assert "every record counts as another person's" in text


def test_weights_bring_a_real_backbone(people: Path, tmp_path: Path) -> None:
    given = ("--weights", "timm", "--backbone", "vit_tiny_patch16_224")  # which a run would download
    assert invoke("init", str(tmp_path / "mine"), "--pictures", str(people), *ASKED, *given).exit_code == 0
    scenario = Scenario.load(tmp_path / "mine" / "scenario.toml")
    assert (scenario.backbone.name, scenario.backbone.weights) == ("vit_tiny_patch16_224", "timm")
    assert scenario.data.image_size == 112


def test_a_table_alone_is_one_of_features(tmp_path: Path) -> None:
    rows = [f"{20 + i % 50},{'ab'[i % 2]},{'no' if i % 3 else 'yes'}" for i in range(200)]
    (tmp_path / "loans.csv").write_text("\n".join(["age,group,paid", *rows]) + "\n")
    made = invoke(
        "init",
        str(tmp_path / "mine"),
        "--table",
        str(tmp_path / "loans.csv"),
        "--target",
        "paid",
        "--sensitive",
        "group",
    )
    assert made.exit_code == 0, made.output
    assert Scenario.load(tmp_path / "mine" / "scenario.toml").data.dataset == "table"


def test_groups_are_united_and_numbers_cut_as_it_is_told(people: Path, tmp_path: Path) -> None:
    given = ("--target", "sex", "--sensitive", "age", "--groups", "age=20-29,30-39+more than 70")
    made = invoke("init", str(tmp_path / "mine"), "--pictures", str(people), *given)
    assert made.exit_code == 0, made.output
    assert "30-39+more than 70" in made.stdout
    data = Scenario.load(tmp_path / "mine" / "scenario.toml").data
    assert data.groups == {"age": {"20-29": ("20-29",), "30-39+more than 70": ("30-39", "more than 70")}}
    cut = ("--target", "sex", "--sensitive", "age cut at 30 and 70")
    made = invoke("init", str(tmp_path / "cut"), "--pictures", str(people), *cut)
    assert made.exit_code == 0, made.output
    assert "30 <= age < 70" in made.stdout


def test_a_folder_of_pictures_with_their_metadata_is_a_data_set(people: Path, tmp_path: Path) -> None:
    """As Hugging Face's ImageFolder has it: metadata.csv among the pictures, file_name its column of paths."""
    shutil.copytree(people / "pictures", tmp_path / "train")
    rows = (people / "people.csv").read_text().replace("picture,", "file_name,", 1).replace("pictures/", "")
    (tmp_path / "train" / "metadata.csv").write_text(rows)
    made = invoke("init", str(tmp_path / "mine"), "--pictures", str(tmp_path / "train"), *ASKED)
    assert made.exit_code == 0, made.output
    data = Scenario.load(tmp_path / "mine" / "scenario.toml").data
    assert (data.file, data.path_column) == ("metadata.csv", "file_name")


def test_what_is_not_named_is_listed_with_what_there_is(people: Path, tmp_path: Path) -> None:
    result = invoke("init", str(tmp_path / "mine"), "--pictures", str(people))
    assert result.exit_code == 2
    assert "--target and --sensitive: missing" in result.stderr
    assert "3 values: 20-29, 30-39, more than 70" in result.stderr
    assert "picture " not in result.stderr  # the paths are no column to ask for
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("target", "said"), [("age >= 30", "sex is empty"), ("age >= 35", "on both sides of 'age >= 35'")]
)
def test_bad_records_are_told_with_the_command_that_leaves_them_out(
    people: Path, tmp_path: Path, target: str, said: str
) -> None:
    (people / "cut.csv").write_text((people / "people.csv").read_text().replace(",m\n", ",\n", 1))
    given = ("--pictures", str(people), "--table", str(people / "cut.csv"), "--target", target, "--sensitive", "sex")
    made = invoke("init", str(tmp_path / "mine"), *given)
    (people / "cut.csv").unlink()
    assert made.exit_code == 0, made.output
    assert said in made.stdout
    assert made.stdout.splitlines()[-1].endswith("-o data.on_bad=skip")


def test_data_check_fails_where_a_run_would(people: Path, tmp_path: Path) -> None:
    (people / "cut.csv").write_text((people / "people.csv").read_text().replace(",m\n", ",\n", 1))
    asked = ["dataset=manifest", f"root={people}", "file=cut.csv", "path_column=picture", "target=age >= 30"]
    given = [word for key in [*asked, 'sensitive=["sex"]'] for word in ("-o", f"data.{key}")]
    given += ["-o", "data.records=", "-o", "data.label_bias=", "-o", "data.image_size=16"]
    refused = invoke("data", "check", "quickstart", *given)
    skipped = invoke("data", "check", "quickstart", *given, "-o", "data.on_bad=skip")
    (people / "cut.csv").unlink()
    assert refused.exit_code == 2
    assert "data.on_bad: 1 records are bad" in refused.stderr
    assert skipped.exit_code == 0, skipped.output
    assert "sex is empty" in skipped.stdout
