"""The developer's column of an audit: meet, enrol whom all have, ask for the counts, make the answer from them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from parties import messages
from parties.config import Endpoint, Folders, RunConfig
from parties.confirmed import Counts
from parties.continuity import Memory
from parties.developer import SecureAuditors
from parties.enrolment import collect
from parties.meeting import Met, meet
from parties.messages import Enrol
from parties.preflight import finish, wait_for_all
from parties.progress import Progress
from parties.reports import leave, write_party_report
from parties.sealing import CERTIFICATE, commit_to, seal
from parties.statement import Facts
from parties.tables import audit_of, check_labels, claims_of, verdict_tree
from secure_fair.data.decision_store import RECORDS, read_store
from secure_fair.data.decisions import Decisions
from secure_fair.errors import UsageError
from secure_fair.fairness.audit_table import audit_table
from secure_fair.fairness.audits import SELECTION
from secure_fair.fairness.claims import decide
from secure_fair.files import write_bytes
from secure_fair.groups import all_groups
from secure_fair.ids import as_ids
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.operations.common.ask import Auditors
from secure_fair.operations.evaluation_counts import evaluation_counts, question_of
from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.release_cache import ReleaseCache

RESULT = "audit.json"
SCORING = "scoring rate"


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, run: str, progress: Progress) -> None:
    """Audit once: connect, meet, enrol, count, answer, say goodbye."""
    decisions = read_store(folders.store)
    check_labels(config, decisions.labels is not None)
    if len(decisions.ids) > messages.MOST_RECORDS:
        raise UsageError(f"{len(decisions.ids)} records; an audit has at most {messages.MOST_RECORDS}: audit a part")
    network = Network(endpoint.credentials, endpoint.listen, timeout=endpoint.timeout, link=endpoint.link)
    ledger = Ledger(folders.state / "ledger", network.name, simulated=endpoint.simulated)
    try:
        progress.stage("connecting")
        network.connect(endpoint.peers, endpoint.agreement, endpoint.fingerprints)
        session = Session.open(
            network, parties=config.compute_parties, dealer=config.dealer, precision_bits=config.precision_bits
        )
        memory = Memory(endpoint, network, ledger)
        memory.check(config.auditors, progress)
        ledger.start(run)
        began = time.perf_counter()
        progress.stage(f"meeting: {len(decisions.ids)} records of the developer's")
        ids = as_ids(decisions.ids)
        met = meet(config, network, ids)
        enrol(config, network, met, len(ids), run)
        ids = ids[met.rows]
        wait_for_all(config, network, memory, run)
        cache = ReleaseCache(folders.state / "answers", terms=cache_terms(config))
        progress.stage(f"sharing attributes of {len(ids)} records")
        auditors = SecureAuditors(config, network, session, ledger, cache, run, collect(config, network, ids))
        answer = ask_all(config, auditors, decisions, met, progress)
        finish(config, network, memory, run)
        session.close()
        answer |= own_view(config, run, ledger.entries(run))
        answer["cost"] = {name: asdict(cost) for name, cost in session.meter.summary().items()}
        answer["seconds"] = time.perf_counter() - began
        folders.out.mkdir(mode=0o700, parents=True, exist_ok=True)
        if config.certified:
            progress.stage("certificate")
            facts = Facts(commit_to(folders.store / RECORDS, folders.out), ledger.head)
            write_bytes(folders.out / CERTIFICATE, seal(config, endpoint, network, run, answer, facts))
        write_bytes(folders.out / RESULT, (json.dumps(answer, indent=2) + "\n").encode())
        ledger.extract(run, folders.out / "ledger.jsonl")
        write_party_report(folders.out, network.name, session.meter, network, None)
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
        ledger.close()


def cache_terms(config: RunConfig) -> str:
    """The terms under which answers are remembered: one that nobody has confirmed is none for a certificate."""
    return f"{config.privacy} {'confirmed' if config.certified else ''}"


def enrol(config: RunConfig, network: Network, met: Met, offered: int, run: str) -> None:
    """Tell every auditor whom of the ``offered`` records all have: a table to be evaluated, and none to train on."""
    common = np.zeros(offered, dtype=bool)
    common[met.rows] = True
    message = Enrol(run=run, training=0, test=len(met.rows), offered=True)
    for auditor in config.auditors:
        messages.send(network, auditor, message, messages.pack_part(common))


def ask_all(
    config: RunConfig, auditors: Auditors, decisions: Decisions, met: Met, progress: Progress
) -> dict[str, Any]:
    """The whole answer: tables of the attributes that may be shown, and a verdict on every claim."""
    strata, count = decisions.strata(met.rows)
    selection = SELECTION if decisions.scores is None else SCORING
    groups = {name: auditors.groups(name) for name in auditors.audited}
    audits, releases = {}, []
    for number, name in enumerate(auditors.audited):
        counts, query = count_groups(auditors, name, torch.from_numpy(strata), count)
        audits[name] = audit_of(config, groups, name, counts)
        releases.append({"attribute": name, "query": query, "sigma": f"{counts.sigma:.6g}"})
        progress.progress("counting", number + 1, len(auditors.audited))
    return {
        "records": {
            "developer": len(decisions.ids),
            "matched": len(met.rows),
            "unknown_to": met.unknown,
            "only_with": met.others,
            "with_label": None if decisions.labels is None else int((decisions.labels[met.rows] < 2).sum()),
        },
        "measured": "decisions" if decisions.scores is None else "scores above their median",
        "selection": selection,
        "median": None if decisions.scores is None else float(np.median(decisions.scores[met.rows])),
        "attributes": {
            name: {"answer": "counts", "auditors": list(config.answering(name)), **audit_table(audit, selection)}
            if shown(config, name)
            else {"answer": "verdict", "auditors": list(config.answering(name)), "sigma": audit.sigma}
            for name, audit in audits.items()
        },
        "verdicts": [
            {"auditor": auditor, **verdict_tree(config, decide(claim, audits[claim.attribute]))}
            for auditor, claim in claims_of(config)
        ],
        "releases": releases,
    }


def own_view(config: RunConfig, run: str, entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The developer's view of what was agreed on, and of what its ledger says that it was opened."""
    opened = [
        {
            **{key: entry[key] for key in ("auditor", "operation", "attribute", "of", "sigma")},
            "receiver": config.developer,
            "releases": 1,
            "numbers": int(np.prod(entry["shape"])),
            "exact": entry["sigma"] is None,
        }
        for entry in entries
        if entry["kind"] == "received"
    ]
    privacy = config.privacy
    epsilon, delta = (None, 0.0) if privacy is None else (privacy.evaluation_epsilon, privacy.delta)
    account = {"epsilon": epsilon, "exact": epsilon is None, "delta": delta, "releases": None}
    return {
        "audit": run,
        "method": "audit",
        "certified": config.certified,
        "policies": {name: promise.digest for name, promise in config.promises.items()},
        "privacy": {
            "epsilon": epsilon,
            "delta": delta,
            "mu": None if epsilon is None else gaussian_mu(epsilon, delta),
            "attributes": {name: account | {"adjacency": f"substitution of one {name}"} for name in config.holders},
        },
        "openings": opened,
        "warnings": [],
    }


def count_groups(auditors: Auditors, name: str, strata: torch.Tensor, count: int) -> tuple[Counts, str]:
    """Have the counts of one attribute or intersection opened, or recalled; with the name that its holders heard."""
    records = np.arange(len(strata), dtype=np.int64)
    release = evaluation_counts(auditors, name, records, strata, count)
    assert release is not None  # an audit always releases counts
    sizes = torch.bincount(strata, minlength=count).double()
    query = auditors.cache.heard_as(question_of(auditors, name, records, strata, count))
    return Counts(name, all_groups(release.values, sizes), release.sigma, len(strata)), query


def shown(config: RunConfig, name: str) -> bool:
    """Whether every auditor that answers about it has its counts shown."""
    return all(config.promises[holder].answer == "counts" for holder in config.answering(name))
