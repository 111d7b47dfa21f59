"""Simulates an audit of given decisions on this machine: reads each side's file, runs the parties, joins their answers.

Nothing here computes a figure from attributes and decisions together: what the answer has went through the gates.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from secure_fair.data.csv_rows import MOST_GROUPS
from secure_fair.data.decision_store import write_decisions
from secure_fair.data.decisions import Columns, Decisions, alike, read_attributes, read_decisions
from secure_fair.data.links import lasting_join_key, read_matched
from secure_fair.data.matched import names_of, renamed_attributes, renamed_decisions
from secure_fair.data.store import KEY_BYTES, AuditorStore
from secure_fair.data.table import AttributeTable
from secure_fair.defaults import DELTA
from secure_fair.errors import Refusal, UsageError
from secure_fair.files import private_folder, write_bytes
from secure_fair.ids import Names, as_ids, as_text, find, order
from secure_fair.parties.audit import RESULT
from secure_fair.parties.enrolment import check_size
from secure_fair.parties.messages import MOST_RECORDS
from secure_fair.parties.plans import plan_for
from secure_fair.parties.tables import check_decisions
from secure_fair.privacy.policy import Policy
from secure_fair.scenarios import assemble
from secure_fair.scenarios.audit_terms import AuditorTerms, AuditTerms
from secure_fair.scenarios.certified import keep_certificate
from secure_fair.scenarios.fit import fit_run
from secure_fair.scenarios.launch import environment
from secure_fair.scenarios.nursery import AUDIT, Nursery
from secure_fair.scenarios.policies import load as load_policy
from secure_fair.scenarios.processes import Job, run_parties
from secure_fair.scenarios.progress import Reporter
from secure_fair.scenarios.summary import opened_to_auditors, released
from secure_fair.scenarios.temporary import temporary_folder
from secure_fair.scenarios.together import entries_of

SUMMARY = "audit.json"
TERMS = "audit.toml"
FOUR_FIFTHS = "0.8"
DEFAULT_EPSILON = 1.0
Held = tuple[list[str], AttributeTable]  # an auditor's ids, and its columns in that order
_PARTY = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class AuditorFile:
    """An auditor of a simulation: its name, its file, and the columns of it that it holds."""

    name: str
    file: Path
    attributes: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> AuditorFile:
        """Read [NAME=]FILE:ATTRIBUTE,...; without a name it is that of the file."""
        given, equals, rest = text.partition("=")
        named = bool(equals) and _PARTY.fullmatch(given) is not None
        held = held_columns(rest if named else text)
        if held is None:
            raise UsageError(f"--auditor {text}: expected [NAME=]FILE:ATTRIBUTE,..., for instance city.csv:sex,race")
        file, attributes = held
        name = given if named else re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")
        if not _PARTY.fullmatch(name):
            raise UsageError(f"--auditor {text}: {name!r} cannot be a party's name; give one as in city={file}:...")
        return cls(name, file, attributes)


def held_columns(text: str) -> tuple[Path, tuple[str, ...]] | None:
    """The file and the columns of FILE:COLUMN,...; None where it is not of this form."""
    file, _, columns = text.rpartition(":")
    attributes = tuple(part.strip() for part in columns.split(",") if part.strip())
    return (Path(file), attributes) if file and attributes else None


@dataclass(frozen=True)
class AuditRequest:
    """An audit as it is asked for. ``epsilon`` None: exact where every policy allows it, else 1."""

    decisions: Path
    columns: Columns
    auditors: Sequence[AuditorFile]
    policies: Mapping[str, Path] = field(default_factory=dict)  # by auditor; "" is for those that are not named
    intersections: Sequence[tuple[str, ...]] = ()
    epsilon: float | None = None
    delta: float = DELTA
    state: Path | None = None
    certificate: bool = True
    bins: int | None = None
    matched: Path | None = None  # folder with a CSV of matched ids for every side


@dataclass(frozen=True)
class PreparedAudit:
    """An audit whose files were read and found in order."""

    wanted: AuditRequest
    decisions: Decisions
    tables: Mapping[str, AttributeTable]
    policies: Mapping[str, bytes]  # every auditor's file
    terms: AuditTerms


def prepare(wanted: AuditRequest) -> PreparedAudit:
    """Read and check everything, before any process is started: UsageError, Refusal or BudgetExceeded."""
    if wanted.epsilon is not None and not 0 < wanted.epsilon <= 1000:
        raise UsageError(f"--epsilon {wanted.epsilon:g}: must be above 0 and at most 1000")
    if not 0 < wanted.delta < 0.1:
        raise UsageError(f"--delta {wanted.delta:g}: must be above 0 and below 0.1")
    if wanted.bins is not None and wanted.bins % 2:
        raise UsageError(f"--bins {wanted.bins}: must be even, so that the median is between two of them")
    unknown = set(wanted.policies) - {auditor.name for auditor in wanted.auditors} - {""}
    if unknown:
        names = ", ".join(auditor.name for auditor in wanted.auditors)
        raise UsageError(f"--policy {min(unknown)}=...: is no auditor of this audit; there are {names}")
    decisions = read_decisions(wanted.decisions, wanted.columns)
    read = {one.name: read_attributes(one.file, one.attributes, wanted.columns.id) for one in wanted.auditors}
    if wanted.matched is not None:
        decisions, read = renamed(wanted.matched, decisions, read)
    tables = {name: table for name, (_, table) in read.items()}
    with temporary_folder("policies") as folder:
        files = write_policies(wanted, Path(folder))
        policies = {name: load_policy(file) for name, file in files.items()}
        terms = terms_of(wanted, files, policies)
        texts = {name: file.read_bytes() for name, file in files.items()}
    check_groups(wanted, tables)
    check_sizes(wanted, len(decisions.ids), tables)
    check_decisions(terms.run_config(), decisions)
    matched = check_ids(wanted, decisions.ids, {name: ids for name, (ids, _) in read.items()})
    check_policies(terms, tables, policies, matched)
    return PreparedAudit(wanted, decisions, tables, texts, terms)


def renamed(folder: Path, decisions: Decisions, read: Mapping[str, Held]) -> tuple[Decisions, dict[str, Held]]:
    """Everybody's records under the ids that they were matched by."""
    mine = folder / f"{assemble.DEVELOPER}.csv"
    found = renamed_decisions(decisions, read_matched(mine), mine)
    theirs = {}
    for name, (ids, table) in read.items():
        file = folder / f"{name}.csv"
        named = names_of(ids, read_matched(file), file)
        theirs[name] = (named, renamed_attributes(table, named))
    return found, theirs


# the policies, and what all agree on


def write_policies(wanted: AuditRequest, folder: Path) -> dict[str, Path]:
    """Every auditor's policy in ``folder``: its file's bytes, else one that allows this audit alone."""
    found = {}
    for auditor in wanted.auditors:
        given = wanted.policies.get(auditor.name, wanted.policies.get(""))
        if given is not None:
            load_policy(given)  # whose messages name the file that was given
        found[auditor.name] = folder / f"{auditor.name}.toml"
        text = default_policy(wanted, auditor).encode() if given is None else given.read_bytes()
        found[auditor.name].write_bytes(text)
    return found


def default_policy(wanted: AuditRequest, auditor: AuditorFile) -> str:
    """The text of a policy with this audit's epsilon for life."""
    crossed = [" x ".join(names) for names in wanted.intersections if set(names) & set(auditor.attributes)]
    claims = [f"impact ratio by {name} >= {FOUR_FIFTHS}" for name in (*auditor.attributes, *crossed)]
    limits = {"epsilon": wanted.epsilon or DEFAULT_EPSILON, "delta": wanted.delta}
    return tomli_w.dumps({**limits, "claims": claims})


def terms_of(wanted: AuditRequest, files: Mapping[str, Path], policies: Mapping[str, Policy]) -> AuditTerms:
    """The terms of this audit; without an epsilon exact where all policies say so, never by default."""
    exact = wanted.epsilon is None and all(policy.allow_exact for policy in policies.values())
    terms = AuditTerms(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", wanted.decisions.stem).strip("-._")[:80] or "audit",
        auditors=tuple(AuditorTerms.of(one.name, one.attributes, files[one.name]) for one in wanted.auditors),
        intersections=tuple(wanted.intersections),
        epsilon=None if exact else wanted.epsilon or DEFAULT_EPSILON,
        delta=wanted.delta,
        certificate=wanted.certificate,
        bins=wanted.bins,
        matched=wanted.matched is not None,
    )
    terms.check()
    return terms


# checks of the files against each other


def check_groups(wanted: AuditRequest, tables: Mapping[str, AttributeTable]) -> None:
    """UsageError where an intersection has too many groups."""
    groups = {name: one.groups for table in tables.values() for name, one in table.sensitive.items()}
    for names in wanted.intersections:
        size = int(np.prod([len(groups[name]) for name in names]))
        if size > MOST_GROUPS:
            raise UsageError(
                f"--intersections {' x '.join(names)!r}: {size} groups, at most {MOST_GROUPS} can be told apart; "
                "merge values, or leave one attribute out"
            )


def check_sizes(wanted: AuditRequest, records: int, tables: Mapping[str, AttributeTable]) -> None:
    """UsageError for more records than can be offered, Refusal for more than an attribute's groups have room for."""
    if records > MOST_RECORDS:
        raise UsageError(f"{wanted.decisions}: {records} records; an audit has at most {MOST_RECORDS}: audit a part")
    sizes = {name: len(one.groups) for table in tables.values() for name, one in table.sensitive.items()}
    crossed = {" x ".join(names): int(np.prod([sizes[name] for name in names])) for names in wanted.intersections}
    check_size(records, sizes | crossed)


def check_ids(wanted: AuditRequest, ids: Names, held: Mapping[str, Names]) -> int:
    """The number of records that everybody has; UsageError where an auditor has none of the developer's."""
    mine = as_ids(ids)
    common = np.ones(len(mine), dtype=bool)
    for auditor in wanted.auditors:
        theirs = as_ids(held[auditor.name])
        found = find(mine, theirs[order(theirs)]) >= 0
        if not found.any():
            pair = alike(as_text(mine), as_text(theirs))
            hint = f"{pair[0]!r} here is {pair[1]!r} there: write them alike" if pair else "compare the two columns"
            raise UsageError(f"no {wanted.columns.id} of {wanted.decisions} is in {auditor.file}: {hint}")
        common &= found
    if not common.any():
        raise UsageError("every auditor has records of the developer's, and none that all have: audit them one by one")
    return int(common.sum())


def check_policies(
    terms: AuditTerms, tables: Mapping[str, AttributeTable], policies: Mapping[str, Policy], matched: int
) -> None:
    """Refusal or BudgetExceeded where a policy forbids the audit, before anybody is asked."""
    config = terms.run_config()
    for name, policy in policies.items():
        if matched < policy.minimum_batch:
            raise Refusal(
                f"{matched} records are known to all, and the policy of {name} has minimum_batch = "
                f"{policy.minimum_batch}: audit more, or lower it"
            )
        groups = {attribute: len(held.groups) for attribute, held in tables[name].sensitive.items()}
        fit_run(policy, config, {attribute: plan_for(config, attribute, size, 0) for attribute, size in groups.items()})


# the run


def run_audit(prepared: PreparedAudit, out: Path, report: Reporter) -> dict[str, Any]:
    """Run the parties and leave the answer in ``out``; returns it."""
    began = time.perf_counter()
    private_folder(out)
    policies = out / "policies"
    private_folder(policies)
    for name, text in prepared.policies.items():
        write_bytes(policies / f"{name}.toml", text)
    write_bytes(out / "README.txt", readme(prepared).encode())
    write_bytes(out / TERMS, prepared.terms.to_toml().encode())
    with Nursery(AUDIT) as nursery, temporary_folder("stores") as folder:
        report.stage("preparing each party's store")
        write_stores(prepared, Path(folder))
        names = tuple(prepared.tables)
        job = Job(
            prepared.terms.to_toml(),
            names,
            Path(folder),
            out,
            option="--audit",
            policies={name: policies / f"{name}.toml" for name in names},
            states=prepared.wanted.state,
        )
        run_parties(job, report, nursery)
    if prepared.terms.certificate:
        keep_certificate(out)
    summary = summarise(prepared, out) | {"total_seconds": time.perf_counter() - began}
    write_bytes(out / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def write_stores(prepared: PreparedAudit, folder: Path) -> None:
    """Every party's store, under ids by one key: that of the state, or a new one."""
    state = prepared.wanted.state
    if state is not None:
        private_folder(state)
    key = secrets.token_bytes(KEY_BYTES) if state is None else lasting_join_key(state / "join.key")
    matched = prepared.wanted.matched is not None
    write_decisions(folder / assemble.DEVELOPER, prepared.decisions, None if matched else key)
    for name, table in prepared.tables.items():
        write_attributes(folder / name, table, key)


def write_attributes(folder: Path, table: AttributeTable, key: bytes) -> None:
    """An auditor's store of everything in its table."""
    everybody, names = np.arange(len(table)), tuple(table.sensitive)
    AuditorStore.write(folder, table, attributes=names, aligned=everybody, own=everybody[:0], join_key=key, seed=0)


def readme(prepared: PreparedAudit) -> str:
    """Whose the folder is, and what of it each party would hold."""
    parties = [assemble.DEVELOPER, *(f"auditor-{name}" for name in prepared.tables), assemble.DEALER]
    lines = [
        "audit.html, audit.json, audit.csv and certificate.json are the audit's answer, for whom it may concern.",
        "The parties were simulated on one machine. Each would hold the folder of its name, and nothing else of this:",
        "",
        *(f"    {name}/" for name in parties),
    ]
    return "\n".join([*lines, ""])


def summarise(prepared: PreparedAudit, out: Path) -> dict[str, Any]:
    """Join what the parties left."""
    terms = prepared.terms
    answer = json.loads((out / assemble.DEVELOPER / RESULT).read_text())
    reports = {file.parent.name: json.loads(file.read_text()) for file in sorted(out.glob("*/party.json"))}
    ledger = entries_of(sorted(out.glob("auditor-*/ledger.jsonl")))
    releases = released(ledger)
    spent = {name: account for report in reports.values() for name, account in report["privacy"].items()}
    return {
        **answer,
        "audit": terms.name,
        "terms": terms.hash(),
        "privacy": answer["privacy"] | {"attributes": spent},
        "openings": [*releases, *opened_to_auditors(ledger)],
        "traffic": {name: report["traffic"] for name, report in reports.items()},
        "warnings": warnings_of(terms, releases),
        "environment": environment(),
    }


def warnings_of(terms: AuditTerms, releases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Everything that was not protected."""
    found = ["simulated: one machine had everybody's files; between machines each party has its own"]
    if any(line["exact"] for line in releases):
        found.append("exact counts: who asks again with one decision changed learns that person's attribute")
    products = terms.run_config().products
    if products and terms.epsilon is not None:
        found.append(
            f"{', '.join(products)}: protects attributes only from a developer and auditors that follow the protocol, "
            "for no auditor holds all of it"
        )
    return found
