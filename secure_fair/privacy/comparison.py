"""The comparison of both sides' ledgers about one run: everything that was received was planned, in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from secure_fair.privacy.entries import Receipt, missed_numbers


def entries_about(entries: Sequence[dict[str, Any]], auditor: str) -> list[dict[str, Any]]:
    """The entries of the developer's that are about one auditor, or about none."""
    return [entry for entry in entries if entry.get("auditor", entry.get("receiver", auditor)) == auditor]


def compare(developer: Sequence[dict[str, Any]], auditor: Sequence[dict[str, Any]]) -> list[str]:
    """Differences between the two sides' entries of one run (and one auditor); empty where the ledgers agree.

    Everything that the developer received must be planned by the auditor in the same words. A release that was
    planned but neither opened nor received is an interrupted one, and no difference; nor is one that the developer has
    written down as missed, if the auditor's own entries say that the run was begun again after it was opened: nothing
    is missed in a run that never stopped. Verdicts and disclosures must be on both sides; ledgers from before these
    were written down have none.
    """
    planned = {entry["number"]: entry for entry in auditor if entry["kind"] == "planned"}
    opened = {entry["number"] for entry in auditor if entry["kind"] == "opened"}
    received: dict[int, dict[str, Any]] = {}
    problems = []
    for entry in developer:
        if entry["kind"] == "received":
            if entry["number"] in received:
                problems.append(f"release {entry['number']}: the developer wrote it down twice")
            received[entry["number"]] = entry
    for number, entry in sorted(received.items()):
        problems += _differences(number, planned.get(number), entry)
    missed = _missed(developer)
    for number in sorted(opened - set(received) - missed):
        problems.append(f"release {number}: opened by the auditor, not in the developer's ledger")
    for number in sorted(missed - planned.keys()):
        problems.append(f"release {number}: missed by the developer, unknown to the auditor")
    for number in sorted(missed & opened - set(received) - _before_a_stop(auditor)):
        problems.append(f"release {number}: opened by the auditor, missed by the developer in a run that went on")
    if any(entry["kind"] == "start" and "notes" in entry for entry in (*developer, *auditor)):
        problems += _verdict_differences(developer, auditor) + _disclosed_differences(developer, auditor)
    return problems


def missed(developer: Sequence[dict[str, Any]]) -> int:
    """The number of releases that, as the developer says, it heard of after a crash alone. They may have been read."""
    return len(_missed(developer) - {entry["number"] for entry in developer if entry["kind"] == "received"})


def _missed(developer: Sequence[dict[str, Any]]) -> set[int]:
    return {number for entry in developer if entry["kind"] == "missed" for number in missed_numbers(entry)}


def _before_a_stop(auditor: Sequence[dict[str, Any]]) -> set[int]:
    """The numbers that the auditor opened before it began the run again, by its own entries."""
    last = max((place for place, entry in enumerate(auditor) if entry["kind"] == "start"), default=0)
    return {entry["number"] for entry in auditor[:last] if entry["kind"] == "opened"}


def _verdict_differences(developer: Sequence[dict[str, Any]], auditor: Sequence[dict[str, Any]]) -> list[str]:
    """The differences between verdicts; one that the developer was not told of (``within`` None) is interrupted."""
    theirs, ours = (
        {entry["number"]: entry for entry in side if entry["kind"] == "verdict"} for side in (developer, auditor)
    )
    problems = []
    for number in sorted(theirs.keys() | ours.keys()):
        told, learned = theirs.get(number), ours.get(number)
        if told is None:
            problems.append(f"verdict on release {number}: learned by the auditor, not in the developer's ledger")
        elif learned is None:
            if told["within"] is not None:
                problems.append(f"verdict on release {number}: told to the developer, not in the auditor's ledger")
        else:
            keys = ("receiver", "operation", "attribute", *(("within",) if told["within"] is not None else ()))
            problems += [
                f"verdict on release {number}: {key} is {learned[key]!r} at the auditor, {told[key]!r} at the developer"
                for key in keys
                if learned[key] != told[key]
            ]
    return problems


def _disclosed_differences(developer: Sequence[dict[str, Any]], auditor: Sequence[dict[str, Any]]) -> list[str]:
    """The differences between what was given away and what arrived, in this order; the last may be on its way."""
    given, arrived = (
        [(entry["receiver"], entry["what"], entry["numbers"]) for entry in side if entry["kind"] == "disclosed"]
        for side in (developer, auditor)
    )
    problems = [
        f"disclosure {place}: {ours} at the auditor, {theirs} at the developer"
        for place, (theirs, ours) in enumerate(zip(given, arrived, strict=False), 1)
        if theirs != ours
    ]
    if len(arrived) > len(given):
        problems.append(f"disclosure {len(given) + 1}: arrived at the auditor, not in the developer's ledger")
    elif len(given) > len(arrived) + 1:
        problems.append(f"disclosure {len(arrived) + 1}: given by the developer, not in the auditor's ledger")
    return problems


def _differences(number: int, planned: dict[str, Any] | None, received: dict[str, Any]) -> list[str]:
    """The differences between the two entries about one release."""
    if planned is None:
        return [f"release {number}: received by the developer, unknown to the auditor"]
    pairs = [(item.name, planned.get(item.name, ""), received.get(item.name, "")) for item in fields(Receipt)]
    return [
        f"release {number}: {key} is {ours!r} at the auditor, {theirs!r} at the developer"
        for key, ours, theirs in pairs
        if ours != theirs
    ]
