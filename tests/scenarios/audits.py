"""Audits in tests: small files of decisions and attributes, and an audit between forked processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from secure_fair.data.decision_store import read_store
from secure_fair.data.decisions import Columns
from secure_fair.data.store import AuditorStore
from secure_fair.ids import as_ids, as_text
from secure_fair.parties.audit import ask_all, cache_terms
from secure_fair.parties.draw import new_nonce
from secure_fair.parties.holdings import Enrolled, Holdings
from secure_fair.parties.meeting import Met
from secure_fair.parties.plain import enrolment_of
from secure_fair.parties.plain_auditors import PlainAuditors
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.release_cache import ReleaseCache
from secure_fair.scenarios.audit import AuditorFile, AuditRequest, PreparedAudit, prepare, summarise, write_stores
from secure_fair.scenarios.progress import LineReporter
from tests.parties.company import Company, Ended, Entry

SEXES = ("female", "male")
RACES = ("Asian", "Black", "White")


def policy(folder: Path, text: str) -> dict[str, Path]:
    """A file that all auditors have."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(text)
    return {"": folder / "policy.toml"}


def people(records: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Drawn people: ids, decisions that favour men, labels of which some are empty, sex and race, some unknown."""
    draw = np.random.default_rng(seed)
    sex = np.where(draw.random(records) < 0.05, "", draw.choice(SEXES, records))
    return {
        "id": np.array([f"p{number}" for number in range(records)]),
        "decision": (draw.random(records) < np.where(sex == "male", 0.6, 0.3)).astype(int),
        "label": np.where(draw.random(records) < 0.1, "", draw.integers(0, 2, records).astype(str)),
        "sex": sex,
        "race": draw.choice(RACES, records),
    }


def write(file: Path, columns: dict[str, np.ndarray], *names: str, rows: slice = slice(None)) -> Path:
    """These columns as a CSV."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = zip(*(columns[name][rows] for name in names), strict=True)
    file.write_text("\n".join([",".join(names), *(",".join(map(str, line)) for line in lines)]) + "\n")
    return file


def wanted(folder: Path, columns: dict[str, np.ndarray], **settings: Any) -> AuditRequest:
    """An audit by sex and race of one auditor, which lacks the developer's first two records and has one of its own."""
    decisions = write(folder / "decisions.csv", columns, "id", "decision", "label")
    attributes = write(folder / "city.csv", columns, "id", "sex", "race", rows=slice(2, None))
    attributes.write_text(attributes.read_text() + "other,male,Asian\n")
    return AuditRequest(decisions, Columns(), [AuditorFile("city", attributes, ("sex", "race"))], **settings)


def held(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The records of ``wanted`` that both have."""
    return {name: values[2:] for name, values in columns.items()}


def run(
    prepared: PreparedAudit, folder: Path, entries: Mapping[str, Entry] | None = None
) -> tuple[dict[str, Any] | None, dict[str, Ended]]:
    """The answer of an audit between processes, None where it failed, and how its parties ended; ``entries``: who runs
    something else than the program."""
    policies = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in prepared.policies.items():
        policies[name] = folder / f"{name}-policy.toml"
        policies[name].write_bytes(content)
    write_stores(prepared, folder / "stores")
    states = prepared.wanted.state
    others = entries or {}
    with Company(
        prepared.terms, folder / "stores", folder, entries=others, policies=policies, states=states
    ) as company:
        ended = company.wait(100)
    whole = all(end.code == 0 for end in ended.values())
    return (summarise(prepared, folder) if whole else None), ended


def audited(folder: Path, wanted: AuditRequest) -> dict[str, Any]:
    """The answer; an AssertionError where there is none."""
    answer, ended = run(prepare(wanted), folder)
    assert answer is not None, {name: end.said[-1500:] for name, end in ended.items() if end.code}
    return answer


def in_the_clear(prepared: PreparedAudit, folder: Path, run: str) -> dict[str, Any]:
    """The developer's answer with every gate, budget, ledger and memory, and no shares: in this process.

    ``folder`` keeps the states, so that another audit there is another run about the same people.
    """
    config, stores = prepared.terms.run_config(), folder / f"stores-{run}"
    write_stores(replace(prepared, wanted=replace(prepared.wanted, state=folder)), stores)
    decisions = read_store(stores / "developer")
    known = {name: set(AuditorStore.open(stores / name).ids) for name in config.auditors}
    offered = as_ids(decisions.ids)
    rows = [row for row, name in enumerate(as_text(offered)) if all(name in ids for ids in known.values())]
    ids = offered[rows]
    met = Met(np.array(rows), dict.fromkeys(known, 0), dict.fromkeys(known, 0))
    ledgers = {name: Ledger(folder / name, name, simulated=True) for name in config.auditors}
    try:
        holders = {
            name: Holdings.open(
                config,
                name,
                AuditorStore.open(stores / name),
                folder / name,
                ledger,
                policy_of(prepared, name, folder),
                Enrolled(run, ids, 0, new_nonce() if config.promises[name].sample is not None else "", new_nonce()),
                LineReporter(),
            )
            for name, ledger in ledgers.items()
        }
        cache = ReleaseCache(folder / "answers", terms=cache_terms(config))
        auditors = PlainAuditors(config, holders, enrolment_of(config, holders, ids), cache)
        return ask_all(config, auditors, decisions, met, LineReporter())
    finally:
        for ledger in ledgers.values():
            ledger.close()


def policy_of(prepared: PreparedAudit, name: str, folder: Path) -> Policy:
    """An auditor's policy, as it reads it."""
    file = folder / f"{name}-policy.toml"
    file.write_bytes(prepared.policies[name])
    return prepared.terms.policy(name, file)
