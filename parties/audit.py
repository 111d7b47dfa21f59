"""The developer's column of an audit: meet, enrol whom all have, ask for the counts, make the answer from them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import torch

from parties import messages
from parties.config import Endpoint, Folders, RunConfig
from parties.developer import SecureAuditors
from parties.enrolment import collect
from parties.meeting import Met, meet
from parties.messages import Enrol, Finished
from parties.progress import Progress
from parties.reports import leave, write_party_report
from secure_fair.data.decision_store import read_store
from secure_fair.data.decisions import UNKNOWN, Decisions
from secure_fair.fairness.audit_table import audit_table
from secure_fair.fairness.audits import SELECTION, Audit
from secure_fair.fairness.claims import Claim, Verdict, decide
from secure_fair.files import write_bytes
from secure_fair.groups import all_groups
from secure_fair.mpc.session import Session
from secure_fair.mpc.transport import Network
from secure_fair.operations.common.ask import Auditors
from secure_fair.operations.evaluation_counts import evaluation_counts
from secure_fair.privacy.accounting import gaussian_epsilon, gaussian_mu
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.release_cache import ReleaseCache

RESULT = "audit.json"
SCORING = "scoring rate"


def main(config: RunConfig, endpoint: Endpoint, folders: Folders, run: str, progress: Progress) -> None:
    """Audit once: connect, meet, enrol, count, answer, say goodbye."""
    decisions = read_store(folders.store)
    network = Network(endpoint.credentials, endpoint.listen, timeout=endpoint.timeout, link=endpoint.link)
    ledger = Ledger(folders.state / "ledger", network.name, simulated=endpoint.simulated)
    try:
        progress.stage("connecting")
        network.connect(endpoint.peers, endpoint.agreement, endpoint.fingerprints)
        session = Session.open(
            network, parties=config.compute_parties, dealer=config.dealer, precision_bits=config.precision_bits
        )
        ledger.start(run)
        began = time.perf_counter()
        progress.stage(f"meeting: {len(decisions.ids)} records of the developer's")
        met = meet(config, network, decisions.ids)
        ids = [decisions.ids[row] for row in met.rows]
        enrol(config, network, ids, run)
        cache = ReleaseCache(folders.state / "answers", terms=str(config.privacy))
        progress.stage(f"sharing attributes of {len(ids)} records")
        auditors = SecureAuditors(config, network, session, ledger, cache, run, collect(config, network, ids))
        answer = ask_all(config, auditors, decisions, met, progress)
        for auditor in config.auditors:
            messages.send(network, auditor, Finished())
        session.close()
        answer["seconds"] = time.perf_counter() - began
        folders.out.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(folders.out / RESULT, (json.dumps(answer, indent=2) + "\n").encode())
        ledger.extract(run, folders.out / "ledger.jsonl")
        write_party_report(folders.out, network.name, session.meter, network, None)
    except BaseException as error:
        leave(network, error)
        raise
    finally:
        network.close()
        ledger.close()


def enrol(config: RunConfig, network: Network, ids: list[str], run: str) -> None:
    """Send every auditor the ids of whom all have: a table of records to be evaluated, and none to train on."""
    for auditor in config.auditors:
        messages.send(network, auditor, Enrol(run=run, training=0, test=len(ids)), messages.pack_ids(ids))


def ask_all(
    config: RunConfig, auditors: Auditors, decisions: Decisions, met: Met, progress: Progress
) -> dict[str, Any]:
    """The whole answer: tables of the attributes that may be shown, and a verdict on every claim."""
    strata, count = decisions.strata(met.rows)
    selection = SELECTION if decisions.scores is None else SCORING
    audits = {}
    for number, name in enumerate(auditors.audited):
        audits[name] = count_groups(config, auditors, name, strata, count)
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
    }


def count_groups(config: RunConfig, auditors: Auditors, name: str, strata: np.ndarray, count: int) -> Audit:
    """Have the counts of one attribute or intersection opened, or recalled, as an audit."""
    held = torch.from_numpy(strata)
    release = evaluation_counts(auditors, name, np.arange(len(strata), dtype=np.int64), held, count)
    assert release is not None  # an audit always releases counts
    sizes = torch.bincount(held, minlength=count).double()
    components = [auditors.groups(component) for component in auditors.components(name)]
    known = tuple(UNKNOWN not in names for names in product(*components))
    return Audit(
        counts=all_groups(release.values, sizes).numpy(),
        sigma=release.sigma,
        names=auditors.groups(name),
        known=known,
        total=len(strata),
        smallest=max(config.promises[holder].smallest_share for holder in config.answering(name)),
    )


def shown(config: RunConfig, name: str) -> bool:
    """Whether every auditor that answers about it has its counts shown."""
    return all(config.promises[holder].answer == "counts" for holder in config.answering(name))


def claims_of(config: RunConfig) -> Iterable[tuple[str, Claim]]:
    """Each auditor's claims."""
    return ((auditor, Claim.parse(text)) for auditor, made in config.promises.items() for text in made.claims)


def verdict_tree(config: RunConfig, verdict: Verdict) -> dict[str, Any]:
    """A verdict, JSON-ready, with the epsilon that would decide what is not decided."""
    claim, privacy = verdict.claim, config.privacy
    needed = None
    if verdict.finer is not None and privacy is not None and privacy.evaluation_epsilon is not None:
        # the noise's sigma is proportional to 1 / mu
        mu = gaussian_mu(privacy.evaluation_epsilon, privacy.delta) / verdict.finer
        needed = gaussian_epsilon(mu, privacy.delta)
    return {
        "claim": str(claim),
        "metric": claim.metric,
        "attribute": claim.attribute,
        "comparator": claim.comparator,
        "threshold": claim.threshold,
        "verdict": verdict.verdict,
        "deciding_epsilon": needed,
    }
