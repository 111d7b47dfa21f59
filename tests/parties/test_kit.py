"""The kit of a deployment, followed word for word by two companies and a dealer, each with its own files alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from secure_fair.mpc.addresses import held_addresses
from secure_fair.scenarios.cli import main
from tests.companies import COMMON, Companies, found, read
from tests.parties.company import _go, tiny
from tests.parties.hosts import HOSTS, Hosts, enter, namespaces_missing
from tests.parties.planted import found_in

_context = multiprocessing.get_context("forkserver")
PATIENCE = 100.0
PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"


@dataclass(frozen=True)
class Part:
    """One party's part of a step, as its README has it."""

    title: str
    commands: list[str]
    received: list[str]
    sent: list[tuple[str, str, str]]  # file, to whom, under which name


def parts_of(readme: Path) -> dict[int, Part]:
    found: dict[int, Part] = {}
    for section in readme.read_text().split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        number, dot, title = heading.partition(". ")
        if dot and number.isdigit():
            commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
            received = re.findall(r"^Receive `(.+)` from ", text, re.MULTILINE)
            sent = re.findall(r"^Send `(.+)` to (.+), which keeps it as `(.+)`\.", text, re.MULTILINE)
            found[int(number)] = Part(title, commands, received, sent)
    return found


@contextmanager
def machines() -> Iterator[tuple[dict[str, str], Mapping[str, str]]]:
    """Addresses of the parties, and their namespaces, none where the machine permits none: then it is this one."""
    if namespaces_missing():
        with held_addresses(len(HOSTS)) as free:
            yield dict(zip(HOSTS, free, strict=True)), {}
        return
    with Hosts() as hosts:
        yield {party: f"{address}:7700" for party, address in HOSTS.items()}, hosts.names


class Followed:
    """The parties of a kit, each with its folder, who do what their READMEs say."""

    def __init__(self, kit: Path, namespaces: Mapping[str, str]) -> None:
        self.kit = kit
        self.namespaces = namespaces
        self.parts = {folder.name: parts_of(folder / "README.md") for folder in sorted(kit.iterdir())}
        self.bin = kit.parent / "bin"
        self.bin.mkdir(exist_ok=True)
        shim = self.bin / "secure-fair"
        shim.write_text('#!/bin/sh\nprintf \'%s\\0\' "$@" > "$SPOKEN"\n')
        shim.chmod(0o755)

    def words(self, party: str, command: str) -> list[str]:
        """What the program is given where a shell runs the command in the party's folder."""
        spoken = self.bin / "spoken"
        environment = {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "SPOKEN": str(spoken)}
        subprocess.run(["sh", "-c", command], cwd=self.kit / party, env=environment, check=True)
        return spoken.read_text().split("\0")[:-1]

    def together(self, commands: Mapping[str, str]) -> dict[str, tuple[int, str]]:
        """Exit code of each party's command, and what it said; all run at the same time."""
        started = {}
        for party, command in commands.items():
            log = self.kit.parent / f"{party}.log"
            log.unlink(missing_ok=True)
            place = (str(self.kit / party), self.namespaces.get(party), self.words(party, command), str(log))
            started[party] = (_context.Process(target=at_party, args=place, daemon=True), log)
        for process, _ in started.values():
            process.start()
        deadline = time.monotonic() + PATIENCE
        for process, _ in started.values():
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join()
        return {party: (int(process.exitcode or 0), log.read_text()) for party, (process, log) in started.items()}

    def follow(self) -> None:
        """Every step in its order; the files that are sent are all that goes from one to another."""
        for number in sorted({number for parts in self.parts.values() for number in parts}):
            mine = {party: parts[number] for party, parts in self.parts.items() if number in parts}
            for party, part in mine.items():
                assert [name for name in part.received if not (self.kit / party / name).is_file()] == []
            for turn in range(max(len(part.commands) for part in mine.values())):
                ended = self.together({p: part.commands[turn] for p, part in mine.items() if turn < len(part.commands)})
                assert {party: code for party, (code, _) in ended.items() if code} == {}, (number, ended)
            for party, part in mine.items():
                for file, to, name in part.sent:
                    shutil.copy(self.kit / party / file, self.kit / to / name)


def at_party(folder: str, namespace: str | None, arguments: list[str], log: str) -> None:
    if namespace is not None:
        enter(namespace)
    os.chdir(folder)
    from tests.parties.company import program

    _go(program, arguments, log)


def make_kit(folder: Path, weights: Path, companies: Companies, addresses: Mapping[str, str], **sections: Any) -> Path:
    """The kit, with everybody's own files where the READMEs want them."""
    sections = {"data": companies.data, "train": {"epochs": 1, "batch_size": 20}} | sections
    scenario = tiny(weights, lora={"last_blocks": 1}, privacy={"epsilon": 1.0}, **sections)
    (folder / "s.toml").write_text(scenario.to_toml())
    (command,) = re.findall(r"^    secure-fair (deploy init .*)$", PAGE.read_text(), re.MULTILINE)
    for name, address in addresses.items():
        assert f"{name}=HOST:7700" in command
        command = command.replace(f"{name}=HOST:7700", f"{name}={address}")
    words = command.replace(" kit ", f" {folder / 'kit'} ").replace(" s.toml ", f" {folder / 's.toml'} ").split()
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    own = folder / "kit" / "developer" / "own"
    own.rmdir()
    shutil.copytree(companies.developer, own)
    shutil.copy(weights, own)
    shutil.copy(companies.table, folder / "kit" / "auditor" / "own" / "table.csv")
    return folder / "kit"


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Companies:
    return found(tmp_path_factory.mktemp("companies"))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, weights: Path, companies: Companies) -> Iterator[Followed]:
    folder = tmp_path_factory.mktemp("deployment")
    with machines() as (addresses, namespaces):
        print("network namespaces" if namespaces else f"loopback addresses: {namespaces_missing()}")
        company = Followed(make_kit(folder, weights, companies, addresses), namespaces)
        company.follow()
        yield company


def test_two_companies_follow_the_kit(followed: Followed, companies: Companies) -> None:
    """They train, and what is one company's own has not come to anybody else."""
    developer, auditor, dealer = (followed.kit / name for name in ("developer", "auditor", "dealer"))
    told = read(developer / "predictions.csv")
    own = {row["number"]: row for row in read(companies.developer / "customers.csv")}
    assert 0 < len(told) < COMMON
    assert all(own[row["id"]]["hair"] == row["label"] for row in told)
    entries = [json.loads(line) for line in (auditor / "out" / "ledger.jsonl").read_text().splitlines()]
    assert "moment" in {entry.get("operation") for entry in entries}
    assert found_in(companies.attributes, developer, dealer) == []
    assert found_in(companies.labels, auditor, dealer) == []
    assert found_in(companies.numbers, dealer) == []
    assert found_in(companies.attributes, auditor) != []  # the search finds what is there
    assert found_in(companies.labels, developer) != []
    assert not (dealer / "join.key").exists()


def test_a_developer_with_another_split_is_refused_at_the_start(followed: Followed) -> None:
    """Its second run would test on a record that the first one was trained on; nothing is spent."""
    records, ledger = (followed.kit / name for name in ("developer/data/developer/records.csv", "auditor/state/ledger"))
    before = (ledger / "ledger.jsonl").read_text()
    text = records.read_text()
    records.write_text(text.replace(",train", ",t-", 1).replace(",test", ",train", 1).replace(",t-", ",test", 1))
    try:
        ended = followed.together(dict.fromkeys(HOSTS, "sh run.sh --out again"))
    finally:
        records.write_text(text)
    assert (ended["developer"][0], ended["auditor"][0]) == (4, 4), ended
    for party in ("developer", "auditor"):
        assert "2 of 200 records are in another part, training or test" in ended[party][1]
    added = (ledger / "ledger.jsonl").read_text().removeprefix(before)
    assert '"planned"' in before
    assert '"planned"' not in added
    assert '"opened"' not in added


def test_the_kit_s_files_are_what_their_readers_take(followed: Followed) -> None:
    for party in HOSTS:
        folder = followed.kit / party
        subprocess.run(["sh", "-n", "run.sh"], cwd=folder, check=True)
        service = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["party"]
        assert service["cap_drop"] == ["ALL"]
        place = service["command"][service["command"].index("--health") + 1]
        assert service["healthcheck"]["test"] == ["CMD", "secure-fair", "party", "health", place]
        assert place.startswith("127.0.0.1:")  # of the container alone
        kept_out, *let_in = [line for line in (folder / ".dockerignore").read_text().splitlines() if line[0] != "#"]
        assert (kept_out, let_in) == ("*", ["!constraints.txt", "!secure_fair-*.whl"])  # no key, id or ledger
        unit = (folder / f"secure-fair-{party}.service").read_text()
        assert "--new-state" not in unit + (folder / "run.sh").read_text()  # no restart ever begins budgets anew
        if shutil.which("systemd-analyze"):
            checked = subprocess.run(
                ["systemd-analyze", "verify", f"secure-fair-{party}.service"],
                cwd=folder,
                capture_output=True,
                text=True,
            )
            assert checked.returncode == 0, checked.stderr


def test_by_a_relay_everybody_needs_its_token_and_nobody_an_address(
    tmp_path: Path, weights: Path, companies: Companies
) -> None:
    """What the commands then do is in test_relayed.py."""
    (tmp_path / "s.toml").write_text(tiny(weights, data=companies.data, privacy={"epsilon": 1.0}).to_toml())
    words = [
        "deploy",
        "init",
        str(tmp_path / "kit"),
        "--scenario",
        str(tmp_path / "s.toml"),
        "--relay",
        "10.97.0.5:7800",
    ]
    assert CliRunner().invoke(main, words).exit_code == 0
    company = Followed(tmp_path / "kit", {})
    started = {party: company.words(party, "sh run.sh") for party in company.parts}
    assert started.pop("relay") == ["party", "relay", "--listen", "0.0.0.0:7800", "--token", "relay.token"]
    assert started.keys() == HOSTS.keys()
    for party, line in started.items():
        assert line[line.index("--relay") :][:4] == ["--relay", "10.97.0.5:7800", "--relay-token", "relay.token"]
        assert not {"--peer", "--listen"} & set(line)
        assert "relay.token" in {name for part in company.parts[party].values() for name in part.received}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--party", "developer=a:1"), "--party auditor=HOST:PORT: is missing"),
        (("--party", "clinic=a:1"), 'the parties of this scenario are "developer", "auditor", "dealer", each once'),
        (("--party", "auditor=a;reboot:1"), "expected NAME=HOST:PORT"),
        (("--party", "auditor=a:70000"), "expected NAME=HOST:PORT"),
        (("--relay", "a:1", "--party", "developer=a:1"), "--party and --relay"),
        (("--relay", "nowhere"), "--relay nowhere: expected HOST:PORT"),
        (("--authority", "notary"), "--authority notary: the parties of this scenario are"),
        (("-o", "data.dataset=faces"), "draws its portraits by their attributes"),
    ],
)
def test_a_kit_that_cannot_be_is_refused(
    tmp_path: Path, weights: Path, companies: Companies, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "s.toml").write_text(tiny(weights, data=companies.data).to_toml())
    scenario = "quickstart" if words[0] == "-o" else str(tmp_path / "s.toml")
    result = CliRunner().invoke(main, ["deploy", "init", str(tmp_path / "kit"), "--scenario", scenario, *words])
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not (tmp_path / "kit").exists()
