"""The end of a certified audit: every party gives its part of the statement, checks the whole, and signs it.

An auditor signs once it has found in the statement what it knows itself: terms, run, number of records, policies,
budget, its own commitment and ledger, and of every claim by counts that it has confirmed the outcome, decided anew from
those counts. Of the rest it believes those whose it is: others' claims are theirs to check. The dealer, who sees no
counts, signs that it took part under these terms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from secure_fair.errors import ProtocolError, Refusal
from secure_fair.fairness.audits import LABELS, metric
from secure_fair.mpc.transport import Network
from secure_fair.parties import envelope, messages
from secure_fair.parties.config import Endpoint, RunConfig
from secure_fair.parties.confirmed import Confirmed, Counts, sigma_text
from secure_fair.parties.draw import Draw
from secure_fair.parties.envelope import Signature
from secure_fair.parties.messages import Committed, Ended, Own, Seal, Sealed
from secure_fair.parties.statement import (
    NOT_CLAIMED,
    PREDICATE,
    STATEMENT,
    Facts,
    claim_tree,
    policies_of,
    privacy_tree,
    statement,
    subjects,
)
from secure_fair.parties.tables import DECIDED, PREDICTED, SCORED, audit_of, claims_of

CERTIFICATE = "certificate.json"
STRATA = (2, 2 * len(LABELS))  # decisions alone, and by label
TRAINED = 4  # predictions by label, of which there is none that is not known


def fingerprint_of(endpoint: Endpoint) -> str:
    """SHA-256 of a party's own certificate."""
    return Signature(b"", endpoint.credentials.certificate.decode()).fingerprint


def seal(
    config: RunConfig,
    endpoint: Endpoint,
    network: Network,
    run: str,
    answer: Mapping[str, Any],
    facts: Facts,
    heard: Mapping[str, Committed],
) -> bytes:
    """The developer's side: collect everybody's part, have the statement signed by all; the certificate's bytes.

    ``heard``: what the auditors were committed to before they were sent anything; nobody is asked for that again.
    """
    others = [*config.auditors, config.dealer]
    parts = {name: messages.expect(network, name, Own)[0] for name in others}
    known = {config.developer: facts, config.dealer: Facts()}
    known |= {name: Facts(heard[name].table, parts[name].ledger, heard[name].policy) for name in config.auditors}
    marks = {config.developer: fingerprint_of(endpoint)} | {name: one.fingerprint for name, one in parts.items()}
    payload = envelope.canonical(statement(config, run, endpoint.agreement["scenario"], answer, marks, known))
    for name in others:
        messages.send(network, name, Seal(), payload)
    signatures = [_own_signature(endpoint, payload)]
    for name in others:
        sealed, raw = messages.expect(network, name, Sealed)
        found = Signature(raw, sealed.certificate)
        if found.fingerprint != marks[name]:
            raise envelope.NotGenuine(f"{name} has signed with another key than it said")
        envelope.check(payload, found)
        signatures.append(found)
    return envelope.write(payload, signatures)


def countersign(config: RunConfig, endpoint: Endpoint, network: Network, facts: Facts, view: View) -> None:
    """Any other party's side: say what is its own, check the statement, sign it. Refusal names what does not fit.

    A dealer that all have come back to signs nothing anew where the run has ended before.
    """
    mine = Own(ledger=facts.ledger, fingerprint=fingerprint_of(endpoint))
    messages.send(network, config.developer, mine)
    asked, payload = messages.receive(network, config.developer)
    if isinstance(asked, Ended) and endpoint.resumed and network.name == config.dealer:
        return
    if not isinstance(asked, Seal):
        raise ProtocolError(f"{config.developer} is out of step: sent {asked.kind!r} where 'seal' was due")
    try:
        view.check(payload, endpoint, facts)
    except Refusal as error:
        messages.refuse(network, config.developer, error)
        raise
    signature = _own_signature(endpoint, payload)
    sealed = Sealed(certificate=signature.certificate)
    messages.send(network, config.developer, sealed, signature.signature)


class View:
    """One party's knowledge of an audit, against which it holds the statement: here the dealer's, the terms alone."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    def check(self, payload: bytes, endpoint: Endpoint, facts: Facts) -> None:
        """Refusal unless the statement is in order as far as this party knows."""
        tree = _parsed(payload)
        told = tree["predicate"]
        _same("kind", (tree.get("_type"), tree.get("predicateType")), (STATEMENT, PREDICATE))
        about = subjects(told["commitments"].get(self.config.developer, ""), told["model"])
        _same("subject", tree.get("subject"), about)
        name, parties = endpoint.credentials.name, {self.config.dealer, *self.config.compute_parties}
        _same("terms", told["terms"], endpoint.agreement["scenario"])
        if self.config.promises:
            _same("policies", told["policies"], policies_of(self.config, {}))
        else:
            _same("policies of no auditor", set(told["policies"]) - set(self.config.auditors), set())
            _same("this party's policy", told["policies"].get(name, ""), facts.policy)
        _same("privacy", told["privacy"], privacy_tree(self.config))
        _same("not claimed", told["not claimed"], list(NOT_CLAIMED))
        _same("parties", set(told["parties"]), parties)
        for what in ("commitments", "draws", "ledgers"):
            _same(f"who has {what} and is no party", sorted({*told[what]} - parties), [])
        _same("this party's fingerprint", told["parties"][name], fingerprint_of(endpoint))
        if endpoint.fingerprints is not None:
            _same("the parties' fingerprints", told["parties"], dict(endpoint.fingerprints))
        _same("this party's commitment", told["commitments"].get(name, ""), facts.commitment)
        _same("this party's ledger", told["ledgers"].get(name, ""), facts.ledger)
        self.check_outcome(tree)

    def check_outcome(self, tree: Mapping[str, Any]) -> None:
        """The dealer saw no outcome."""


@dataclass(frozen=True)
class MetBy:
    """An auditor's memory of the meeting: its ``name``, the run, how many records take part, the developer's commitment
    to its table, made before anything was drawn or counted, the digests of the model, and the auditor's draw."""

    name: str
    run: str
    records: int
    commitment: str
    draw: Draw | None = None
    model: Mapping[str, str] = field(default_factory=dict)


class AuditorsView(View):
    """An auditor's: what it remembers of the meeting, and the counts that it has confirmed.

    ``groups``: names of every attribute's and intersection's groups.
    """

    def __init__(
        self, config: RunConfig, met: MetBy, groups: Mapping[str, tuple[str, ...]], confirmed: Confirmed
    ) -> None:
        super().__init__(config)
        self.name, self.run, self.records, self.draw = met.name, met.run, met.records, met.draw
        self.commitment, self.groups, self.confirmed = met.commitment, groups, confirmed
        self.model = dict(met.model)

    def check_outcome(self, tree: Mapping[str, Any]) -> None:
        """Decide every claim anew whose counts this auditor has confirmed."""
        told = tree["predicate"]
        _same("run", told["run"], self.run)
        _same("records", told["records"], self.records)
        _same("the developer's commitment", told["commitments"].get(self.config.developer), self.commitment)
        _same("this auditor's draw", told["draws"].get(self.name), None if self.draw is None else self.draw.facts)
        _same("model", told["model"], self.model)
        measured = (PREDICTED,) if self.config.claims else (DECIDED, SCORED)
        if told["measured"] not in measured:
            raise Refusal(f"the statement measures {told['measured']!r}: there are {', '.join(measured)}")
        claims = list(claims_of(self.config))
        _same("number of claims", len(told["claims"]), len(claims))
        counts = self._counts(told["releases"])
        for one, (auditor, claim) in zip(told["claims"], claims, strict=True):
            mine = self.config.joint_holder(claim.attribute) == self.name
            verdict = {"verdict": {True: "pass", False: "fail", None: ""}[one["passed"]]}
            if mine:
                found = audit_of(self.config, self.groups, claim.attribute, counts[claim.attribute])
                verdict = {"verdict": claim.verdict(metric(found, claim.metric))}
            known = {"metric": claim.metric, "attribute": claim.attribute, "comparator": claim.comparator}
            due = claim_tree(self.config, {"auditor": auditor, **known, "threshold": claim.threshold} | verdict)
            _same(f"claim {claim}", one, due)

    def _counts(self, releases: list[Mapping[str, Any]]) -> dict[str, Counts]:
        """The confirmed counts of this auditor's attributes, by the names under which they were asked for."""
        found = {}
        for release in releases:
            if self.config.joint_holder(release["attribute"]) == self.name:
                counts = self.confirmed.recall(release["query"])
                _same("attribute of a release", counts.attribute, release["attribute"])
                _same("records of a release", counts.total, self.records)
                _same("noise of a release", release["sigma"], sigma_text(counts))
                self._check_strata(counts)
                found[counts.attribute] = counts
        mine = {name for name in self.config.audited if self.config.joint_holder(name) == self.name}
        _same("releases", set(found), mine)
        return found

    def _check_strata(self, counts: Counts) -> None:
        """Refusal unless there are decisions alone, or decisions by label, as the claims about them need."""
        strata = len(counts.values)
        by_label = any(claim.labelled for _, claim in claims_of(self.config) if claim.attribute == counts.attribute)
        due = STRATA[by_label:] if self.config.bins is None else (len(LABELS) * self.config.bins,)
        if self.config.claims:
            due = (TRAINED,)
        if strata not in due:
            raise Refusal(f"the statement rests on counts in {strata} strata of {counts.attribute}: nothing follows")


def _own_signature(endpoint: Endpoint, payload: bytes) -> Signature:
    return envelope.sign(payload, endpoint.credentials.key, endpoint.credentials.certificate)


def _parsed(payload: bytes) -> dict[str, Any]:
    """The statement; Refusal where it has another shape than every statement has."""
    try:
        tree: dict[str, Any] = json.loads(payload)
        told = tree["predicate"]
        fields = {"run": str, "terms": str, "measured": str, "records": int, "claims": list, "releases": list}
        fields |= dict.fromkeys(("privacy", "policies", "model", "commitments", "draws", "ledgers", "parties"), dict)
        shaped = all(isinstance(told[name], kind) for name, kind in fields.items()) and len(told) == len(fields) + 1
        shaped &= all(isinstance(one["passed"], bool | NoneType) for one in told["claims"])
        shaped &= all(_is_release(one) for one in told["releases"])
        shaped &= envelope.canonical(tree) == payload
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise Refusal("the statement is none of an audit") from error
    if not shaped:
        raise Refusal("the statement is not in the form in which statements are signed")
    return tree


def _is_release(entry: Any) -> bool:
    """Whether this is what a statement says of a release: three texts."""
    texts = isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
    return texts and set(entry) == {"attribute", "query", "sigma"}


def _same(what: str, told: object, known: object) -> None:
    if told != known:
        raise Refusal(f"the statement does not fit what is known here: {what} is {told!r:.200}, and not {known!r:.200}")
