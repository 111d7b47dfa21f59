"""The commands of README and docs: each is one that the program has, and each is run, here or elsewhere, or it is said
why not."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest
import timm
from click.testing import CliRunner
from safetensors.torch import save_file

from secure_fair.scenarios import files, grid
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.schema import Scenario
from tests.commands import ROOT, TOLD, Told, problem_of
from tests.refusals.world import RECORDS

HERE = "here"
RUN_HERE = (
    r"init mine",
    r"(policy|identity|ledger) ",
    r"scenario (list|show|validate|schema|reference)",
    r"data (check|prepare|decisions|attributes)(?!.*--matched)",
    r"cache show",
    r"(predict|export) (?!.*--strength)",
    r"report ",
    r"deploy init",
    r"review --list",
    r"review RUN",
)
ELSEWHERE = {
    r"run quickstart": "tests/scenarios/test_launch.py",
    r"run mine/scenario.toml": "tests/scenarios/test_init.py",
    r"audit ": "tests/scenarios/test_audit_example.py",
    r"party auditor --audit": "tests/parties/test_audit_parties.py",
    r"certificate verify": "tests/parties/test_certificate.py",
    r"certificate ": "tests/scenarios/test_dispute.py",
    r"export .*--strength": "tests/scenarios/test_path.py",
    r"match |data .*--matched": "tests/scenarios/test_match.py",
    r"party ": "tests/parties/test_two_hosts.py",
    r"review (--demo|quickstart)": "tests/scenarios/test_review.py",
    r"run (celeba-wavy|utkface-age)-gender": "tests/scenarios/test_real_faces.py",
    r"sweep ": "tests/scenarios/test_sweep.py",
    r"peers ": "tests/scenarios/test_peers.py",
    r"page ": "tests/report/test_pages.py",
}
NOT_RUN = {r"bench ": "minutes, and its figures are the machine's"}

# --- what the program has ---------------------------------------------------------------------------------------------


def test_the_commands_are_found() -> None:
    assert sum(told.whole for told in TOLD) >= 35
    assert len(TOLD) >= 90
    assert {"README.md", "deploy.md", "audit.md", "policy.md"} <= {told.page for told in TOLD}


def test_every_command_is_one_that_the_program_has() -> None:
    found = [(told.page, told.text, problem_of(told)) for told in TOLD]
    assert [one for one in found if one[2] is not None] == []


@pytest.mark.parametrize(
    "text",
    [
        "secure-fair runn quickstart",
        "secure-fair run quickstart --ouput x",
        "secure-fair review --only",
        "secure-fair bench --parties 9",
        "secure-fair predict RUN",
        "secure-fair scenario list quickstart",
    ],
)
def test_a_command_that_it_has_not_is_found_out(text: str) -> None:
    assert problem_of(Told("planted", text, whole=True))


def test_every_scenario_is_there_and_takes_its_changes() -> None:
    seen = set()
    for told in TOLD:
        words = told.words
        named = [word for word in words[1:] if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)]
        changes = [value for flag, value in itertools.pairwise(words) if flag == "-o"]
        changes = [change for change in changes if not re.search(r"(KEY|=SEED)", change)]
        if words[:1] in (["run"], ["peers"]) and named:
            seen.add(Scenario.load(named[0], changes).name)
        elif words[:1] == ["sweep"] and named:
            assert grid.load(named[0]).name in files.library("sweep")
    assert {"quickstart", "celeba-wavy-gender", "adult-income-sex"} <= seen


# --- what is run ------------------------------------------------------------------------------------------------------


def where(told: Told) -> str | None:
    """How a command is tried: here, in another test's file, or not, for a reason."""
    text = told.text.removeprefix("secure-fair ")
    if any(re.match(pattern, text) for pattern in RUN_HERE):
        return HERE
    return next((how for pattern, how in {**ELSEWHERE, **NOT_RUN}.items() if re.match(pattern, text)), None)


def test_every_command_of_a_block_is_run_or_has_a_reason() -> None:
    whole = [told for told in TOLD if told.whole]
    assert [(told.page, told.text) for told in whole if where(told) is None] == []
    assert all((ROOT / file).is_file() for file in ELSEWHERE.values())
    unused = [
        pattern
        for pattern in (*RUN_HERE, *ELSEWHERE, *NOT_RUN)
        if not any(re.match(pattern, told.text.removeprefix("secure-fair ")) for told in TOLD)
    ]
    assert unused == []


PAGES = sorted({told.page for told in TOLD if where(told) == HERE})
SMALL = ["data.records=80", "data.image_size=16", "train.batch_size=32"]
# of what is named in a sentence: what needs no file, or RUN
NAMED = r"(scenario (list|schema|reference|show quickstart$)|policy reference|cache show|review --list|report )"
SENT = {"developer-request.pem": "ids/developer/request.pem", "developer.pem": "ids/authority/signed/developer.pem"}


@pytest.fixture(scope="module")
def deit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the backbone that the README's examples name, untrained."""
    file = tmp_path_factory.mktemp("deit") / "deit_tiny_patch16_224.safetensors"
    save_file(timm.create_model("deit_tiny_patch16_224", num_classes=0).state_dict(), file)
    return file


@pytest.fixture
def desk(world: Path, deit: Path, tmp_path: Path) -> Path:
    """A folder with what the documents' commands name: a run, pictures and tables of one's own, both sides' ledgers."""
    for name in ("RUN", "runs/one"):
        shutil.copytree(world / "album-run", tmp_path / name)
    for name in ("photos", "pictures", "my-pictures/pictures"):
        shutil.copytree(world / "album" / "pictures", tmp_path / name)
    shutil.copy(world / "album" / "people.csv", tmp_path)
    shutil.copytree(world / "ledger" / "state", tmp_path / "state" / "ledger")
    (tmp_path / "out").mkdir()
    shutil.copy(world / "ledger" / "developer.jsonl", tmp_path / "out" / "ledger.jsonl")
    shutil.copy(world / "ledger" / "auditor.jsonl", tmp_path / "ledger-of-the-other.jsonl")
    ages = [f"pictures/{i}.png,{('20-29', '30-39')[i % 2]},{'ABC'[i % 3]}" for i in range(RECORDS)]
    (tmp_path / "my-pictures" / "people.csv").write_text("\n".join(["picture,age,race", *ages]) + "\n")
    (tmp_path / deit.name).symlink_to(deit)
    (tmp_path / "scenario.toml").write_text(Scenario.load("quickstart", SMALL).to_toml())
    others = [
        "data.auditor.dataset=faces",
        "data.auditor.records=80",
        'data.auditor.sensitive=["male"]',
        "data.auditor_records=own",
    ]
    apart = [*SMALL, *others, "method.name=orth", "data.label_bias=", "data.split=", "privacy.evaluation_epsilon="]
    (tmp_path / "s.toml").write_text(Scenario.load("quickstart", apart).to_toml())
    return tmp_path


def decided(folder: Path) -> None:
    """Write the two sides' files of an audit."""
    people = [f"p{i},{i % 2},{'fm'[i % 2]},{'ab'[i // 2 % 2]}" for i in range(RECORDS)]
    for name in ("predictions.csv", "city.csv"):
        (folder / name).write_text("\n".join(["id,decision,sex,race", *people]) + "\n")


def typed(told: Told, number: int) -> list[str]:
    """The words as a shell would give them: a folder for each DIR and store, files where the parties' mail put them."""
    words = [re.sub(r"^(DIR|store)$", rf"\1-{number}", SENT.get(word, word)) for word in told.words]
    return [name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


@pytest.mark.parametrize("page", PAGES)
def test_what_takes_seconds_does_what_it_says(page: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    if page == "audit.md":
        decided(desk)
        assert CliRunner().invoke(main, ["policy", "init", "policy.toml"]).exit_code == 0
    here = [
        told
        for told in TOLD
        if told.page == page and where(told) == HERE and (told.whole or re.search(NAMED, told.text))
    ]
    for number, told in enumerate(here):
        result = CliRunner().invoke(main, typed(told, number))
        assert result.exit_code == 0, (told.text, result.output, result.exception)
