"""The container's file, without building it: what it names is there, it runs as no root, nothing secret is in it."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
LINES = [line.split(" ", 1) for line in TEXT.splitlines() if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def of(kind: str) -> list[str]:
    """What the lines of a kind say, in their order."""
    return [rest for word, rest in LINES if word == kind]


def copied() -> list[str]:
    """What is copied from the repository."""
    return [name for line in of("COPY") if "--from" not in line for name in line.split()[:-1]]


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    assert IGNORED[0] == "*"
    allowed = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    assert set(copied()) == allowed
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_all_that_the_installation_is_made_of_is_copied() -> None:
    """Every package that is shipped, and every file that pyproject.toml names."""
    patterns = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    shipped = {name for name in folders if any(fnmatch(name, pattern) for pattern in patterns)}
    assert shipped <= set(copied())
    assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= set(copied())


def test_versions_are_those_of_the_constraints_and_python_is_new_enough() -> None:
    assert any("pip install" in line and "-c constraints.txt" in line for line in of("RUN"))
    versions = [re.match(r"python:(\d+)\.(\d+)", line) for line in of("FROM")]
    lowest = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["project"]["requires-python"])
    assert lowest is not None
    assert len(versions) == 2
    for version in versions:
        assert version is not None
        assert tuple(map(int, version.groups())) >= tuple(map(int, lowest.groups()))


def test_it_starts_the_program() -> None:
    (entry,) = of("ENTRYPOINT")
    (program,) = json.loads(entry)
    folder, _, name = program.rpartition("/bin/")
    assert name in PROJECT["project"]["scripts"]
    assert any(f"python -m venv {folder}" in line for line in of("RUN"))
    assert any(line == f"--from=build {folder} {folder}" for line in of("COPY"))


def test_who_runs_it_is_no_root() -> None:
    words = [word for word, _ in LINES]
    (user,) = of("USER")
    assert int(user) > 0
    assert f"--uid {user}" in TEXT
    last = len(words) - 1 - words[::-1].index("FROM")
    assert last < words.index("USER") < words.index("ENTRYPOINT")
    assert not {"RUN", "COPY", "ADD"} & set(words[words.index("USER") :])


def test_nothing_secret_is_in_it() -> None:
    assert of("ADD") == []
    assert re.search(r"(?i)password|token|secret(?!_fair|-fair)|\.key|\.pem", TEXT.replace("secure", "")) is None
    assert not any(name in copied() for name in (".", "shared", "runs", "tests"))
