"""A search of a finished run's files for what a party must not have, and for files that others may read."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

DEVELOPER, DEALER, AUDITOR = "developer", "dealer", "auditor-"
ARRAYS = {".safetensors", ".npy", ".npz", ".pt", ".pth", ".bin"}
TEXTS = {".json", ".jsonl", ".csv", ".toml", ".txt", ".log"}
LARGEST = 64 * 2**20  # bytes of a text that is searched
RECORD_ID = re.compile(rb"\b[0-9a-f]{32}\b")
PROBABILITY = re.compile(rb"\b0\.\d{6}\b")


def parties_of(run: Path) -> list[Path]:
    """The folders of a run's parties, each of which has what that party would hold."""
    return sorted(
        folder
        for folder in run.iterdir()
        if folder.is_dir() and (folder.name in (DEVELOPER, DEALER) or folder.name.startswith(AUDITOR))
    )


def open_to_others(folder: Path) -> list[str]:
    """Files and folders that somebody else on the machine may reach and read, below a folder, relative to it."""
    if not folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH):
        return []
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if _reachable(path, folder)]


def _reachable(path: Path, root: Path) -> bool:
    others = stat.S_IRWXG | stat.S_IRWXO
    above = [parent for parent in path.parents if parent == root or root in parent.parents]
    return bool(path.stat().st_mode & others) and all(parent.stat().st_mode & others for parent in above)


def misplaced(party: Path, groups: Sequence[str]) -> list[str]:
    """One line for each file in a party's folder that has what this party must not have.

    The developer: one of the ``groups`` of an attribute on a person's line. The dealer: anything of people at all. An
    auditor: the developer's arrays, or the ids of people beside numbers that may be predictions.
    """
    found = []
    for file in sorted(path for path in party.rglob("*") if path.is_file()):
        found += [f"{file.relative_to(party)}: {what}" for what in _wrong_in(file, party.name, groups)]
    return found


def _wrong_in(file: Path, party: str, groups: Sequence[str]) -> Iterator[str]:
    content = file.read_bytes() if file.stat().st_size <= LARGEST else b""
    text = file.suffix in TEXTS
    if b"PRIVATE KEY" in content:
        yield "a private key"
    if party == DEVELOPER:
        lines = content.splitlines() if text else []
        named = [name for name in groups if any(_beside_an_id(line, name) for line in lines)]
        if named:
            yield f"a group ({', '.join(named)}) on the line of a person"
        return
    if file.suffix in ARRAYS:
        yield "an array, which only the developer has"
    if party == DEALER and RECORD_ID.search(content):
        yield "the id of a record"
    if party != DEALER and text and RECORD_ID.search(content) and PROBABILITY.search(content):
        yield "ids of records with what may be predictions"


def _beside_an_id(line: bytes, group: str) -> bool:
    return (
        bool(RECORD_ID.search(line))
        and re.search(rb"(?<![\w.])" + re.escape(group.encode()) + rb"(?![\w.])", line) is not None
    )
