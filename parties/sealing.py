"""The end of a certified audit: every party gives its part of the statement, checks the whole, and signs it.

An auditor signs once it has found in the statement what it knows itself: terms, run, number of records, policies,
budget, its own commitment and ledger, and of every claim by counts that it has confirmed the outcome, decided anew from
those counts. Of the rest it believes those whose it is: others' claims are theirs to check. The dealer, who sees no
counts, signs that it took part under these terms.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parties import envelope, messages
from parties.config import Endpoint, RunConfig
from parties.confirmed import Confirmed, Counts, sigma_text
from parties.draw import Draw
from parties.envelope import Signature
from parties.messages import Own, Seal, Sealed
from parties.statement import NOT_CLAIMED, Facts, claim_tree, privacy_tree, statement
from parties.tables import audit_of, claims_of
from secure_fair.errors import Refusal
from secure_fair.fairness.audits import LABELS, metric
from secure_fair.files import private_folder, write_bytes
from secure_fair.mpc.transport import Network

CERTIFICATE = "certificate.json"
SALT_BYTES = 32
COMMITMENT = "commitment.json"
COMMITTED = "committed"  # beside it: the files that it is to
STRATA = (2, 2 * len(LABELS))  # decisions alone, and by label
MEASURED = ("decisions", "scores above their median")


def commit_to(folder: Path, names: Sequence[str], out: Path) -> str:
    """A salted commitment to the files of a party's store; they and the salt are kept in ``out``, to open it."""
    salt = secrets.token_bytes(SALT_BYTES)
    contents = {name: (folder / name).read_bytes() for name in names}
    digest = commitment(salt, list(contents.values()))
    private_folder(out / COMMITTED)
    for name, content in contents.items():
        write_bytes(out / COMMITTED / name, content)
    of = f"SHA-256 of the salt and of {names[0]}"
    if len(names) > 1:
        of = f"SHA-256 of the salt and of the SHA-256 of each of {', '.join(names)}"
    opened = {"commitment": digest, "salt": salt.hex(), "of": of, "files": list(names)}
    write_bytes(out / COMMITMENT, (json.dumps(opened, indent=2) + "\n").encode())
    return digest


def commitment(salt: bytes, contents: Sequence[bytes]) -> str:
    """SHA-256, hex, of a salt and one file, or of a salt and the digests of several."""
    if len(contents) == 1:
        return hashlib.sha256(salt + contents[0]).hexdigest()
    return hashlib.sha256(salt + b"".join(hashlib.sha256(one).digest() for one in contents)).hexdigest()


def fingerprint_of(endpoint: Endpoint) -> str:
    """SHA-256 of a party's own certificate."""
    return Signature(b"", endpoint.credentials.certificate.decode()).fingerprint


def seal(
    config: RunConfig, endpoint: Endpoint, network: Network, run: str, answer: Mapping[str, Any], facts: Facts
) -> bytes:
    """The developer's side: collect everybody's part, have the statement signed by all; the certificate's bytes."""
    others = [*config.auditors, config.dealer]
    parts = {name: messages.expect(network, name, Own)[0] for name in others}
    known = {config.developer: facts} | {name: Facts(one.commitment, one.ledger) for name, one in parts.items()}
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
    """Any other party's side: say what is its own, check the statement, sign it. Refusal names what does not fit."""
    mine = Own(commitment=facts.commitment, ledger=facts.ledger, fingerprint=fingerprint_of(endpoint))
    messages.send(network, config.developer, mine)
    _, payload = messages.expect(network, config.developer, Seal)
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
        name, parties = endpoint.credentials.name, {self.config.dealer, *self.config.compute_parties}
        _same("terms", told["terms"], endpoint.agreement["scenario"])
        _same("policies", told["policies"], {one: promise.digest for one, promise in self.config.promises.items()})
        _same("privacy", told["privacy"], privacy_tree(self.config))
        _same("not claimed", told["not claimed"], list(NOT_CLAIMED))
        _same("parties", set(told["parties"]), parties)
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
    to its table, made before anything was drawn or counted, and the auditor's draw."""

    name: str
    run: str
    records: int
    commitment: str
    draw: Draw | None = None


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

    def check_outcome(self, tree: Mapping[str, Any]) -> None:
        """Decide every claim anew whose counts this auditor has confirmed."""
        told = tree["predicate"]
        _same("run", told["run"], self.run)
        _same("records", told["records"], self.records)
        _same("the developer's commitment", told["commitments"].get(self.config.developer), self.commitment)
        _same("this auditor's draw", told["draws"].get(self.name), None if self.draw is None else self.draw.facts)
        if told["measured"] not in MEASURED:
            raise Refusal(f"the statement measures {told['measured']!r}: there are {', '.join(MEASURED)}")
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
        fields |= dict.fromkeys(("privacy", "policies", "commitments", "draws", "ledgers", "parties"), dict)
        shaped = all(isinstance(told[name], kind) for name, kind in fields.items()) and len(told) == len(fields) + 1
        shaped &= all(set(one) >= {"passed"} for one in told["claims"])
        shaped &= all(set(one) == {"attribute", "query", "sigma"} for one in told["releases"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise Refusal("the statement is none of an audit") from error
    if not shaped or envelope.canonical(tree) != payload:
        raise Refusal("the statement is not in the form in which statements are signed")
    return tree


def _same(what: str, told: object, known: object) -> None:
    if told != known:
        raise Refusal(f"the statement does not fit what is known here: {what} is {told!r:.200}, and not {known!r:.200}")
