"""The command line: what goes to stdout and stderr, exit codes, and that errors are messages."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from secure_fair import errors, stopping
from secure_fair.scenarios.cli import main
from secure_fair.scenarios.cli.options import Output, complete_scenario, shared_options
from secure_fair.scenarios.folders import run_folder
from secure_fair.scenarios.schema import Scenario


def invoke(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def failing(error: BaseException) -> click.Command:
    """A command that raises ``error``, made like every other command."""

    @click.command()
    @shared_options
    def command(output: Output) -> None:
        raise error

    return command


# --- errors -----------------------------------------------------------------------------------------------------------

ENDS = [
    (errors.UsageError("seed: is odd"), 2, ["seed: is odd"]),
    (errors.UsageError(["a: is missing", "b: is missing"]), 2, ["a: is missing", "b: is missing"]),
    (errors.BudgetExceeded("epsilon 1.2 above 1"), 3, ["epsilon 1.2 above 1"]),
    (errors.Refusal("batch of 3 below 32"), 4, ["batch of 3 below 32"]),
    (errors.ProtocolError("frame 3 out of step"), 4, ["frame 3 out of step"]),
    (errors.PartyLost("auditor", "no heartbeat"), 5, ["lost auditor: no heartbeat"]),
    (KeyboardInterrupt(), 130, ["interrupted"]),
]


@pytest.mark.parametrize(("error", "code", "texts"), ENDS)
def test_every_error_has_its_exit_code_and_a_message_on_stderr(error, code, texts):
    result = CliRunner().invoke(failing(error))
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert all(text in result.stderr for text in texts)


@pytest.mark.parametrize(("error", "code", "texts"), ENDS)
def test_errors_are_json_where_asked_for(error, code, texts):
    result = CliRunner().invoke(failing(error), ["--format", "json"])
    assert result.exit_code == code
    assert json.loads(result.stderr)["problems"] == texts


def test_an_unexpected_error_is_one_line_and_a_log():
    result = CliRunner().invoke(failing(ZeroDivisionError("by zero")))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "unexpected ZeroDivisionError: by zero" in line
    log = Path(line.rpartition("traceback in ")[2].rstrip(")"))
    assert "Traceback (most recent call last)" in log.read_text()
    log.unlink()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "a file of this command's: cannot be read or written (No space",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "out/x"),
            "out/x: cannot be read or written (Read-only file sys",
        ),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "out/y"), "out/y: cannot be read or written (Not a dir"),
    ],
)
def test_a_disk_that_is_full_or_away_is_no_error_of_the_program(error, said):
    result = CliRunner().invoke(failing(error))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {said}")
    assert "see that its folder is there, has room and may be written to" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_told_to_end_ends_with_130_whatever_a_library_makes_of_it(number, monkeypatch):
    """Without the memory of it the library's own error is told, with 1."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background

    @click.command()
    @shared_options
    def command(output: Output) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        except KeyboardInterrupt:
            raise ValueError("could not determine the shape") from None

    try:
        result = CliRunner().invoke(command)
        assert (result.exit_code, result.stderr) == (130, "error: interrupted\n")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert CliRunner().invoke(failing(errors.Refusal("no"))).exit_code == 4  # it was for that command alone
        monkeypatch.setattr(stopping, "_asked", Forgetful())
        forgotten = CliRunner().invoke(command)
        assert forgotten.exit_code == 1
        Path(forgotten.stderr.rpartition("traceback in ")[2].strip().rstrip(")")).unlink()
    finally:
        signal.signal(signal.SIGINT, before)


class Forgetful(threading.Event):
    """A memory of stops that has none."""

    def is_set(self) -> bool:
        return False


def test_an_unexpected_error_shows_its_traceback_with_v():
    result = CliRunner().invoke(failing(ZeroDivisionError("by zero")), ["-v"])
    assert "Traceback (most recent call last)" in result.stderr
    Path(result.stderr.splitlines()[-1].rpartition("traceback in ")[2].rstrip(")")).unlink()


# --- help -------------------------------------------------------------------------------------------------------------


def every_command(command: click.Command, path: tuple[str, ...] = ()):
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from every_command(inner, (*path, name))


def test_every_command_has_help_and_every_option_says_what_it_does():
    for path, command in every_command(main):
        result = invoke(*path, "--help")
        assert result.exit_code == 0
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, (path, parameter.name)


def test_help_lists_the_exit_codes():
    text = invoke("--help").stdout
    assert all(f"  {code} " in text for code in (0, 1, 2, 3, 4, 5, 130))


def test_help_loads_nothing_heavy():
    code = "import sys, secure_fair.scenarios.cli; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "secure_fair.scenarios.cli.run" in modules
    assert not {"torch", "numpy", "pydantic", "crypten", "matplotlib", "grpc", "rich"} & set(modules)


@pytest.mark.parametrize(
    "words",
    [
        "scenario list",
        "policy init new.toml",
        "policy check policy.toml",
        "policy show policy.toml",
        "policy reference",
    ],
)
def test_what_reads_or_writes_a_small_file_does_not_wait_for_torch(words, tmp_path):
    (tmp_path / "policy.toml").write_text('epsilon = 1.0\noperations = ["moment"]\n')
    start = "import sys; from secure_fair.scenarios.cli import main; main(standalone_mode=False)"
    code = f"{start}; print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, *words.split()]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "secure_fair.scenarios.cli.policy" in result.stderr.split()
    assert not {"torch", "crypten", "scipy"} & set(result.stderr.split())


def test_the_module_is_the_program():
    result = subprocess.run([sys.executable, "-m", "secure_fair", "--version"], capture_output=True, text=True)
    assert result.stdout.startswith("secure-fair, version ") or "secure-fair" in result.stderr


# --- scenario ---------------------------------------------------------------------------------------------------------


def test_scenario_list_names_the_library():
    assert "quickstart" in invoke("scenario", "list").stdout
    assert "quickstart" in json.loads(invoke("scenario", "list", "--format", "json").stdout)


def test_scenario_show_prints_a_scenario_that_can_be_loaded(tmp_path):
    shown = invoke("scenario", "show", "quickstart", "-o", "method.strength=4").stdout
    assert tomllib.loads(shown)["method"]["strength"] == 4
    file = tmp_path / "mine.toml"
    file.write_text(shown)
    assert invoke("scenario", "validate", str(file)).exit_code == 0
    assert Scenario.load(file) == Scenario.load("quickstart", ["method.strength=4"])


def test_scenario_validate_lists_all_problems():
    result = invoke("scenario", "validate", "quickstart", "-o", "lora.rank=0", "-o", "method.nme=adv")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "lora.rank: 0 is not allowed" in result.stderr
    assert 'did you mean "name"?' in result.stderr


def test_scenario_validate_reads_the_tables_of_a_data_set_that_is_here(tmp_path):
    lines = ('name = "mine"', "[data]", 'dataset = "manifest"', f'root = "{tmp_path / "people"}"', 'target = "hat"')
    file = tmp_path / "mine.toml"
    file.write_text("\n".join([*lines, 'sensitive = ["gander"]']))
    elsewhere = invoke("scenario", "validate", str(file))
    assert elsewhere.exit_code == 0
    assert "people is not here; whether the data set fits was not checked" in elsewhere.stderr
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "manifest.csv").write_text("path,hat,gender\na.png,yes,f\n")
    result = invoke("scenario", "validate", str(file))
    assert result.exit_code == 2
    assert "no single column 'gander'" in result.stderr


# --- run --------------------------------------------------------------------------------------------------------------


def test_run_folders_are_numbered_and_never_reused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = Scenario.load("quickstart", ["seed=7"])
    made = [run_folder(scenario, None) for _ in range(3)]
    assert [str(folder) for folder in made] == [f"runs/quickstart-7{end}" for end in ("", "-2", "-3")]
    assert run_folder(scenario, tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_run_names_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UsageError, match="cannot be made: Not a directory"):
        run_folder(Scenario.load("quickstart"), tmp_path / "file" / "run")


# --- data, identity, ledger, report -----------------------------------------------------------------------------------


def test_data_check_counts_classes_and_groups():
    result = invoke(
        "data", "check", "quickstart", "-o", "data.records=40", "-o", "data.image_size=32", "--format", "json"
    )
    assert result.exit_code == 0, result.stderr
    counted = json.loads(result.stdout)
    assert counted["records"] == 40
    classes = counted["target"]["classes"].values()
    groups = counted["sensitive"]["male"]["groups"].values()
    assert sum(entry["records"] for entry in classes) == sum(entry["records"] for entry in groups) == 40


def test_data_prepare_gives_each_party_its_own_store(tmp_path):
    from secure_fair.data.store import AuditorStore, DeveloperStore

    out = tmp_path / "stores"
    small = ("-o", "data.records=40", "-o", "data.image_size=32", "-o", "train.batch_size=16", "--out", str(out))
    assert invoke("data", "prepare", "together", "quickstart", *small).exit_code == 0
    developer, auditor = DeveloperStore.open(out / "developer"), AuditorStore.open(out / "auditor")
    assert set(developer.ids) == set(auditor.ids)
    again = invoke("data", "prepare", "together", "quickstart", *small)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_ledger_verify_compares_the_two_sides(tmp_path):
    from dataclasses import replace

    import numpy as np

    from secure_fair.privacy.entries import Charge, Receipt
    from secure_fair.privacy.ledger import Ledger

    receipt = Receipt("run-1", 1, "auditor", "moment", "male", "hash", 40, (16, 1), 3.0)
    for name, given in (("right", receipt), ("wrong", replace(receipt, sigma=1.0))):
        developer = Ledger(tmp_path / name, "developer")
        developer.start("run-1")
        developer.received(given)
        developer.extract("run-1", tmp_path / f"{name}.jsonl")
        developer.close()
    auditor = Ledger(tmp_path / "auditor", "auditor")
    auditor.start("run-1", auditor="auditor")
    table = auditor.enrol([f"{i:032x}" for i in range(40)])
    auditor.plan(receipt, Charge(mu2=0.1), table, np.arange(40))
    auditor.opened(receipt)
    auditor.extract("run-1", tmp_path / "auditor.jsonl")
    auditor.close()
    agree = invoke("ledger", "verify", str(tmp_path / "right.jsonl"), str(tmp_path / "auditor.jsonl"))
    assert agree.exit_code == 0, agree.stderr
    differ = invoke("ledger", "verify", str(tmp_path / "wrong.jsonl"), str(tmp_path / "auditor.jsonl"))
    assert differ.exit_code == 4
    assert "sigma" in differ.stderr


def test_identity_makes_an_authority_and_certificates_that_describe_themselves(tmp_path):
    assert invoke("identity", "init", str(tmp_path)).exit_code == 0
    asked = invoke("identity", "request", str(tmp_path / "own"), "auditor", "--format", "json")
    assert asked.exit_code == 0, asked.stderr
    folder, request = (json.loads(asked.stdout)[key] for key in ("folder", "request"))
    signed = invoke("identity", "sign", str(tmp_path), "auditor", request, "--days", "3", "--format", "json")
    assert signed.exit_code == 0, signed.stderr
    accepted = invoke("identity", "accept", folder, json.loads(signed.stdout)["signed"], "--format", "json")
    assert accepted.exit_code == 0, accepted.stderr
    assert json.loads(accepted.stdout)["fingerprint"] == json.loads(signed.stdout)["fingerprint"]
    agreed = invoke("identity", "agree", folder, "--out", str(tmp_path / "parties.toml"), "--format", "json")
    assert json.loads(agreed.stdout)["parties"] == {"auditor": json.loads(signed.stdout)["fingerprint"]}
    shown = json.loads(invoke("identity", "show", folder, "--format", "json").stdout)
    assert shown["name"] == "auditor"
    assert shown["problems"] == []
    again = invoke("identity", "init", str(tmp_path))
    assert again.exit_code == 2


def test_ledger_verify_counts_entries_and_finds_a_change(tmp_path):
    from secure_fair.privacy.ledger import Ledger

    ledger = Ledger(tmp_path, "auditor")
    ledger.start("run-1")
    ledger.start("run-2")
    ledger.close()
    intact = invoke("ledger", "verify", str(tmp_path), "--format", "json")
    assert intact.exit_code == 0, intact.stderr
    assert json.loads(intact.stdout)["entries"] >= 2
    (file,) = (path for path in tmp_path.iterdir() if path.is_file() and "run-1" in path.read_text(errors="ignore"))
    file.write_text(file.read_text().replace("run-1", "run-9"))
    assert invoke("ledger", "verify", str(tmp_path)).exit_code == 4


def test_the_page_of_all_keys_is_current() -> None:
    """Every key has a meaning, and docs/scenario.md is what ``scenario reference`` prints."""
    from secure_fair.scenarios.reference import page
    from secure_fair.scenarios.schema import Scenario
    from secure_fair.sections import section_of

    sections, unexplained = [Scenario], []
    while sections:
        section = sections.pop()
        for key, field in section.model_fields.items():
            inside = section_of(field.annotation)
            if inside is not None:
                sections.append(inside)
            elif not field.description:
                unexplained.append(f"{section.__name__}.{key}")
    assert unexplained == []
    assert (Path(__file__).parents[2] / "docs" / "scenario.md").read_text() == page()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_before_anything_is_done(tmp_path):
    result = invoke("run", "quickstart", "-o", "train.device=cuda", "--out", str(tmp_path / "run"))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert 'train.device: "cuda" is not there' in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_scenario_comes_from_standard_input():
    text = invoke("scenario", "show", "quickstart").stdout
    assert re.search(r"^# moment +4 +24 ", text, re.MULTILINE)  # what it will cost: four of them, six rounds each
    text = text[text.index("name = ") :]
    result = CliRunner().invoke(main, ["scenario", "validate", "-"], input=text)
    assert result.exit_code == 0, result.output
    assert result.stdout == invoke("scenario", "validate", "quickstart").stdout


def test_schemas_are_json_schemas_of_what_is_read():
    scenario = json.loads(invoke("scenario", "schema").stdout)
    assert set(scenario["properties"]) == set(Scenario.model_fields)
    assert scenario["$defs"]["LabelBias"]["properties"]["missed"]["exclusiveMaximum"] == 1
    policy = json.loads(invoke("policy", "schema").stdout)
    assert "epsilon" in policy["properties"]
    assert policy["additionalProperties"] is False


def test_names_of_the_library_are_completed():
    begun = {item.value for item in complete_scenario(None, None, "utkface-age")}
    assert {"utkface-age-gender", "utkface-age-race"} <= begun
    assert "quickstart" not in begun


def test_the_cache_is_shown_and_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv("SECURE_FAIR_CACHE", str(tmp_path / "cache"))
    assert "empty" in invoke("cache", "show").stdout
    (tmp_path / "cache").mkdir()
    mine = [tmp_path / "cache" / name for name in ("a.npy", "thesis.json", "0" * 32)]  # whoever named this folder
    for file in (*mine, tmp_path / "cache" / f"{'0' * 32}.npy", tmp_path / "cache" / f"{'0' * 32}-{'f' * 16}.npy"):
        file.write_bytes(b"12345")
    (tmp_path / "cache" / "trainings").mkdir()
    mine.append(tmp_path / "cache" / "trainings" / "model.safetensors")
    for file in (mine[-1], tmp_path / "cache" / "trainings" / "training-0.pt"):
        file.write_bytes(b"12345")
    shown = json.loads(invoke("cache", "show", "--format", "json").stdout)
    assert (shown["files"], shown["bytes"]) == (3, 15)
    assert "3 files, 15 B deleted" in invoke("cache", "clear").stdout
    assert sorted(file for file in (tmp_path / "cache").rglob("*") if file.is_file()) == sorted(mine)
