"""The developer's column of an audit: meet, enrol whom all have, ask for the counts, make the answer from them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from secure_fair.data.decision_store import RECORDS, read_store
from secure_fair.data.decisions import NO_LABEL, Decisions
from secure_fair.errors import UsageError
from secure_fair.fairness import calibration
from secure_fair.fairness.audit_table import audit_table
from secure_fair.fairness.audits import SELECTION, AttributeAudit
from secure_fair.fairness.calibration import Bin, bins_of, calibration_table
from secure_fair.files import write_bytes
from secure_fair.groups import all_groups
from secure_fair.ids import as_ids
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.operations.common.ask import Auditors
from secure_fair.operations.evaluation_counts import evaluation_counts
from secure_fair.parties import messages
from secure_fair.parties.commitments import commit_to, hear_committed
from secure_fair.parties.config import Endpoint, Folders, RunConfig
from secure_fair.parties.confirmed import Counts, sigma_text
from secure_fair.parties.continuity import Memory
from secure_fair.parties.draw import draws_of, new_nonce
from secure_fair.parties.ending import finish
from secure_fair.parties.enrolment import collect
from secure_fair.parties.meeting import Met, meet
from secure_fair.parties.messages import Enrol
from secure_fair.parties.preflight import wait_for_all
from secure_fair.parties.progress import Progress
from secure_fair.parties.reports import leave, write_party_report
from secure_fair.parties.sealing import CERTIFICATE, seal
from secure_fair.parties.secure_auditors import SecureAuditors
from secure_fair.parties.statement import Facts
from secure_fair.parties.tables import audit_of, check_decisions, measured, verdicts_of
from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.release_cache import ReleaseCache

RESULT = "audit.json"
SCORING = "scoring rate"


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, run: str, progress: Progress) -> None:
    """Audit once: connect, meet, enrol, count, answer, say goodbye."""
    decisions = read_store(folders.store)
    check_decisions(config, decisions)
    if len(decisions.ids) > messages.MOST_RECORDS:
        raise UsageError(f"{len(decisions.ids)} records; an audit has at most {messages.MOST_RECORDS}: audit a part")
    network = endpoint.network()
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
        commitment = commit_to(folders.store, (RECORDS,), folders.out) if config.certified else ""
        heard = hear_committed(config, network, folders.out)
        ids = as_ids(decisions.ids)
        met = meet(config, network, ids, commitment)
        nonce = new_nonce() if any(one.coin for one in heard.values()) else ""
        enrol(config, network, met, len(ids), run, nonce)
        ids = ids[met.rows]
        wait_for_all(config, network, memory, run)
        draws = draws_of(config, heard, nonce, len(ids))
        cache = ReleaseCache(folders.state / "answers", terms=cache_terms(config, draws))
        progress.stage(f"sharing attributes of {len(ids)} records")
        auditors = SecureAuditors(config, network, session, ledger, cache, run, collect(config, network, ids))
        answer = ask_all(config, auditors, decisions, met, progress)
        finish(config, network, memory, run)
        session.close()
        answer |= own_view(config, run, ledger.entries(run)) | {"draws": draws}
        answer["cost"] = {name: asdict(cost) for name, cost in session.meter.summary().items()}
        answer["seconds"] = time.perf_counter() - began
        folders.out.mkdir(mode=0o700, parents=True, exist_ok=True)
        if config.certified:
            progress.stage("certificate")
            facts = Facts(commitment, ledger.head)
            write_bytes(folders.out / CERTIFICATE, seal(config, endpoint, network, run, answer, facts, heard))
        write_bytes(folders.out / RESULT, (json.dumps(answer, indent=2) + "\n").encode())
        ledger.extract(run, folders.out / "ledger.jsonl")
        write_party_report(folders.out, network.name, session.meter, network, None)
        progress.done(f"done: the answer is in {folders.out / RESULT}", {"run": run, "out": str(folders.out)})
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
        ledger.close()


def cache_terms(config: RunConfig, draws: Mapping[str, Any] | None = None) -> str:
    """The terms under which answers are remembered: one that nobody has confirmed is none for a certificate, and one
    about an earlier sample none about this."""
    drawn = f" {json.dumps(draws, sort_keys=True)}" if draws else ""
    return f"{config.privacy} {'confirmed' if config.certified else ''}{drawn}"


def enrol(config: RunConfig, network: Network, met: Met, offered: int, run: str, nonce: str) -> None:
    """Tell every auditor whom of the ``offered`` records all have: a table to be evaluated, and none to train on."""
    common = np.zeros(offered, dtype=bool)
    common[met.rows] = True
    message = Enrol(run=run, training=0, test=len(met.rows), offered=True, nonce=nonce)
    for auditor in config.auditors:
        messages.send(network, auditor, message, messages.pack_part(common))


def ask_all(
    config: RunConfig, auditors: Auditors, decisions: Decisions, met: Met, progress: Progress
) -> dict[str, Any]:
    """The whole answer: tables of the attributes that may be shown, and a verdict on every claim."""
    strata, count, bins = strata_of(config, decisions, met.rows)
    selection = SELECTION if decisions.scores is None else SCORING
    groups = {name: auditors.groups(name) for name in auditors.audited}
    audits, releases = {}, []
    for number, name in enumerate(auditors.audited):
        counts, query = count_groups(auditors, name, torch.from_numpy(strata), count)
        audits[name] = audit_of(config, groups, name, counts)
        releases.append({"attribute": name, "query": query, "sigma": sigma_text(counts)})
        progress.progress("counting", number + 1, len(auditors.audited))
    return {
        "records": {
            "developer": len(decisions.ids),
            "matched": len(met.rows),
            "unknown_to": met.unknown,
            "only_with": met.others,
            "with_label": with_label(config, decisions, met.rows),
        },
        "measured": measured(decisions),
        "selection": selection,
        "median": None if decisions.scores is None else float(np.median(decisions.scores[met.rows])),
        "attributes": {
            name: {"answer": "counts", "auditors": list(config.answering(name)), **tables_of(audit, selection, bins)}
            if shown(config, name)
            else {"answer": "verdict", "auditors": list(config.answering(name)), "sigma": audit.sigma}
            for name, audit in audits.items()
        },
        "verdicts": verdicts_of(config, audits),
        "releases": releases,
    }


def with_label(config: RunConfig, decisions: Decisions, rows: np.ndarray) -> int | None:
    """How many of these records have a label; None where labels are not looked at."""
    if decisions.labels is None or (decisions.scores is not None and config.bins is None):
        return None
    return int((decisions.labels[rows] < NO_LABEL).sum())


def strata_of(config: RunConfig, decisions: Decisions, rows: np.ndarray) -> tuple[np.ndarray, int, list[Bin]]:
    """The stratum of each of these rows, how many there are, and the bins that they are made of, if they are."""
    if config.bins is None:
        return *decisions.strata(rows), []
    assert decisions.scores is not None  # check_decisions
    assert decisions.labels is not None
    places, bins = bins_of(decisions.scores[rows], config.bins)
    return *calibration.strata_of(places, decisions.labels[rows], config.bins), bins


def tables_of(audit: AttributeAudit, selection: str, bins: Sequence[Bin]) -> dict[str, Any]:
    """The tables of one attribute."""
    calibrated = {"calibration": calibration_table(audit, bins)} if bins else {}
    return {**audit_table(audit, selection), **calibrated}


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
        "ids": "matched" if config.matched else "keyed",
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
    return Counts(name, all_groups(release.values, sizes), release.sigma, len(strata)), release.query


def shown(config: RunConfig, name: str) -> bool:
    """Whether every auditor that answers about it has its counts shown."""
    return all(config.promises[holder].answer == "counts" for holder in config.answering(name))
