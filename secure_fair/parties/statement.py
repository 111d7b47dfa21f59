"""The statement of an audit, as an in-toto Statement v1: what is claimed, of whom, by which rules, and what is not.

Every party signs the same statement, after it has checked what it can know (``secure_fair.parties.sealing``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secure_fair.parties import certificates, envelope
from secure_fair.parties.config import RunConfig
from secure_fair.parties.envelope import NotGenuine
from secure_fair.privacy.accounting import gaussian_mu

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICTIONS = "predictions"  # a subject beside those that are files of a model
PREDICATE = "urn:secure-fair:audit:v1"
NOT_CLAIMED = (
    "that the decisions are those that a model made, or will make: they are what the developer committed to",
    "that attributes or labels are true, or the records a fair sample of anybody",
    "that the model is fair by another measure, another group or another threshold",
    "anything about a claim that is not confirmed: it rests on the developer's word",
    "that the parties did not collude: the dealer with another party, or developer and auditor in what they put in",
)


@dataclass(frozen=True)
class Facts:
    """One party's own part of a statement. ``commitment``: SHA-256 of a salt and its input; empty at the dealer, which
    has none, nor a ``ledger`` (its newest hash). ``policy``: SHA-256 of an auditor's file."""

    commitment: str = ""
    ledger: str = ""
    policy: str = ""


def statement(
    config: RunConfig,
    run: str,
    terms: str,
    answer: Mapping[str, Any],
    parties: Mapping[str, str],
    facts: Mapping[str, Facts],
) -> dict[str, Any]:
    """The statement of an answer. ``terms``: their hash; ``parties``: fingerprints; ``facts`` of every party."""
    return {
        "_type": STATEMENT,
        "subject": subjects(facts[config.developer].commitment, answer.get("model", {})),
        "predicateType": PREDICATE,
        "predicate": {
            "run": run,
            "terms": terms,
            "measured": answer["measured"],
            "records": answer["records"]["matched"],
            "claims": [claim_tree(config, one) for one in answer["verdicts"]],
            "releases": answer["releases"],
            "draws": answer["draws"],
            "model": dict(answer.get("model", {})),
            "privacy": privacy_tree(config),
            "policies": policies_of(config, facts),
            "commitments": {name: one.commitment for name, one in facts.items() if one.commitment},
            "ledgers": {name: one.ledger for name, one in facts.items() if one.ledger},
            "parties": dict(parties),
            "not claimed": list(NOT_CLAIMED),
        },
    }


def policies_of(config: RunConfig, facts: Mapping[str, Facts]) -> dict[str, str]:
    """Digests of the auditors' policies: in an audit those agreed on, in a training those that each has said before it
    was sent anything. A simulation may have none, where the scenario stands for them."""
    if config.promises:
        return {name: promise.digest for name, promise in config.promises.items()}
    return {name: facts[name].policy for name in config.auditors if facts[name].policy}


def subjects(commitment: str, model: Mapping[str, str]) -> list[dict[str, Any]]:
    """The things that a statement is about: committed decisions; of a training predictions, and the model's files."""
    named = {**model, (PREDICTIONS if model else "decisions"): commitment}
    return [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(named.items())]


def verify(content: bytes, roster: Mapping[str, str]) -> dict[str, Any]:
    """The statement in a certificate's bytes, if all its parties have signed it and are those of the ``roster``, the
    fingerprints by name that the verifier has from them. NotGenuine otherwise."""
    payload, signatures = envelope.read(content)
    names = {name: mark for mark, name in envelope.names_of(signatures).items()}
    try:
        tree: dict[str, Any] = json.loads(payload)
        parties = tree["predicate"]["parties"]
        genuine = (tree["_type"], tree["predicateType"]) == (STATEMENT, PREDICATE) and isinstance(parties, dict)
        genuine &= envelope.canonical(tree) == payload
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise NotGenuine("the signed payload is no statement of an audit") from error
    if not genuine:
        raise NotGenuine("the signed payload is no statement of an audit, or of another version")
    if names != parties or len(names) != len(signatures):
        missing = sorted(set(parties) - set(names))
        raise NotGenuine(f"signed by {', '.join(sorted(names))}, and {', '.join(missing) or 'other keys'} did not sign")
    wrong = sorted(name for name in {*roster, *names} if roster.get(name) != names.get(name))
    if wrong:
        raise NotGenuine(f"the key of {', '.join(wrong)} is another one than the parties' fingerprints have")
    return tree


def is_simulated(content: bytes) -> bool:
    """Whether any of the keys was made for a simulation."""
    _, signatures = envelope.read(content)
    return any(certificates.is_simulated(one.parsed) for one in signatures.values())


def claim_tree(config: RunConfig, verdict: Mapping[str, Any]) -> dict[str, Any]:
    """A claim as it is certified. ``passed`` None: the noise leaves it open. ``confirmed_by``: the auditor that has
    checked the counts; None: nobody could."""
    passed = {"pass": True, "fail": False}.get(verdict["verdict"])
    return {
        "auditor": verdict["auditor"],
        "metric": verdict["metric"],
        "attribute": verdict["attribute"],
        "comparator": verdict["comparator"],
        "threshold": verdict["threshold"],
        "passed": passed,
        "confirmed_by": config.joint_holder(verdict["attribute"]),
    }


def privacy_tree(config: RunConfig) -> dict[str, Any]:
    """The guarantee for all counts of one attribute together; decimal numbers as text."""
    privacy = config.privacy
    if privacy is None or privacy.evaluation_epsilon is None:
        return {"epsilon": None, "delta": None, "mu": None}
    epsilon, delta = privacy.evaluation_epsilon, privacy.delta
    return {"epsilon": f"{epsilon:.6g}", "delta": f"{delta:.6g}", "mu": f"{gaussian_mu(epsilon, delta):.6g}"}
