"""An audit's certificate: no party signs what it knows to be false, and nobody can change what was signed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from secure_fair.errors import Refusal
from secure_fair.fairness.claims import decide
from secure_fair.ids import as_ids
from secure_fair.mpc.confirmation import Told
from secure_fair.parties import certificates, envelope, identity
from secure_fair.parties.config import Endpoint, RunConfig
from secure_fair.parties.confirmed import Confirmed
from secure_fair.parties.draw import Draw
from secure_fair.parties.envelope import NotGenuine, Signature
from secure_fair.parties.holdings import confirmed_about
from secure_fair.parties.roster import Roster
from secure_fair.parties.sealing import AuditorsView, MetBy, View, fingerprint_of
from secure_fair.parties.statement import Facts, statement, verify
from secure_fair.parties.tables import audit_of, claims_of, verdict_tree
from secure_fair.privacy.accounting import gaussian_mu
from secure_fair.privacy.target import Privacy
from secure_fair.scenarios.audit_terms import AuditorTerms, AuditTerms
from secure_fair.scenarios.cli import main
from tests.parties.company import make_identities

NAMES = ["developer", "city", "dealer"]
GROUPS = {"sex": ("female", "male", "unknown")}
RUN, TABLE, QUERY, TERMS_HASH = "hiring-audit-1", "t" * 8, "ab" * 32, "e" * 64
COUNTS = torch.tensor([[400, 300, 10], [200, 300, 5]])  # two strata, three groups: the impact ratio is 2/3
RECORDS = int(COUNTS.sum())
CLAIMS = ("impact ratio by sex >= 0.8", "selection rate difference by sex <= 0.3")


def terms() -> AuditTerms:
    city = AuditorTerms(
        name="city", attributes=("sex",), policy="d" * 64, answer="counts", claims=CLAIMS, smallest_share=0.02
    )
    return AuditTerms(name="hiring", auditors=(city,))


@dataclass
class Case:
    """Three parties, what city has confirmed, and the honest statement."""

    config: RunConfig
    endpoints: dict[str, Endpoint]
    facts: dict[str, Facts]
    confirmed: Confirmed

    draw = Draw("1" * 64, "2" * 64, np.ones(RECORDS, bool))

    @property
    def met(self) -> MetBy:
        return MetBy("city", RUN, RECORDS, self.facts["developer"].commitment, self.draw)

    def honest(self) -> dict[str, Any]:
        counts = self.confirmed.recall(QUERY)
        found = audit_of(self.config, GROUPS, "sex", counts)
        verdicts = [
            {"auditor": name, **verdict_tree(self.config, decide(claim, found))}
            for name, claim in claims_of(self.config)
        ]
        answer = {"measured": "decisions", "records": {"matched": RECORDS}, "verdicts": verdicts}
        answer["draws"] = {"city": self.draw.facts}
        answer["releases"] = [{"attribute": "sex", "query": QUERY, "sigma": "0"}]
        marks = {name: fingerprint_of(endpoint) for name, endpoint in self.endpoints.items()}
        return statement(self.config, RUN, TERMS_HASH, answer, marks, self.facts)

    def check(self, tree: dict[str, Any], view: View | None = None) -> None:
        """As city does."""
        own = AuditorsView(self.config, self.met, GROUPS, self.confirmed)
        (view or own).check(envelope.canonical(tree), self.endpoints["city"], self.facts["city"])

    def signed(self, tree: dict[str, Any] | None = None, names: list[str] = NAMES) -> bytes:
        payload = envelope.canonical(self.honest() if tree is None else tree)
        held = [self.endpoints[name].credentials for name in names]
        return envelope.write(payload, [envelope.sign(payload, one.key, one.certificate) for one in held])

    @property
    def roster(self) -> dict[str, str]:
        return {name: fingerprint_of(endpoint) for name, endpoint in self.endpoints.items()}


def parties(folder: Path) -> dict[str, Endpoint]:
    make_identities(folder, NAMES, simulated=True)
    return {
        name: Endpoint(identity.load(folder / name), "", {}, {"scenario": TERMS_HASH}, simulated=True) for name in NAMES
    }


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("certificate")
    confirmed = Confirmed(folder / "confirmed", TABLE)
    told = Told(COUNTS * 2**16, COUNTS.sum(1))
    confirmed.keep(QUERY, "sex", np.arange(RECORDS), told, 0.0, 2**16)
    facts = {name: Facts(letter * 64, letter * 64) for name, letter in (("developer", "a"), ("city", "b"))}
    config = terms().model_copy(update={"epsilon": 1.0}).run_config()
    return Case(config, parties(folder / "identities"), {**facts, "dealer": Facts()}, confirmed)


# --- what is signed ---------------------------------------------------------------------------------------------------


def test_an_honest_statement_is_signed_and_verified(case: Case) -> None:
    case.check(case.honest())
    told = verify(case.signed(), case.roster)["predicate"]
    assert [one["passed"] for one in told["claims"]] == [False, True]
    assert {one["confirmed_by"] for one in told["claims"]} == {"city"}
    assert told["privacy"] == {"epsilon": "1", "delta": "1e-05", "mu": f"{gaussian_mu(1.0, 1e-5):.6g}"}


def lie(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """A statement with one thing changed."""

    def change(tree: dict[str, Any]) -> None:
        inside = tree["predicate"]
        for part in path[:-1]:
            inside = inside[part]
        inside[path[-1]] = value

    return change


LIES = {
    "passed": lie("claims", 0, "passed", value=True),
    "open": lie("claims", 1, "passed", value=None),
    "threshold": lie("claims", 0, "threshold", value="0.6"),
    "comparator": lie("claims", 0, "comparator", value="<="),
    "no claim": lie("claims", value=[]),
    "nobody confirmed": lie("claims", 0, "confirmed_by", value=None),
    "records": lie("records", value=RECORDS + 1),
    "run": lie("run", value="another-run"),
    "terms": lie("terms", value="f" * 64),
    "policy": lie("policies", "city", value="0" * 64),
    "epsilon": lie("privacy", "epsilon", value="0.1"),
    "measured": lie("measured", value="intentions"),
    "not claimed": lie("not claimed", value=[]),
    "commitment": lie("commitments", "city", value="0" * 64),
    "the developer's commitment": lie("commitments", "developer", value="0" * 64),
    "more drawn": lie("draws", "city", "drawn", value=RECORDS + 1),
    "another coin": lie("draws", "city", "nonce", value="3" * 64),
    "no draw": lie("draws", value={}),
    "ledger": lie("ledgers", "city", value="0" * 64),
    "fingerprint": lie("parties", "city", value="0" * 64),
    "a party more": lie("parties", "mayor", value="0" * 64),
    "another release": lie("releases", 0, "query", value="cd" * 32),
    "no release": lie("releases", value=[]),
    "more noise": lie("releases", 0, "sigma", value="50"),
    "noise that is no number": lie("releases", 0, "sigma", value="much"),
    "a word more": lie("fair", value=True),
    "a model": lie("model", value={"head.safetensors": "0" * 64}),
    "another subject": lambda tree: tree["subject"][0]["digest"].update(sha256="0" * 64),
    "a subject more": lambda tree: tree["subject"].append({"name": "head", "digest": {"sha256": "0" * 64}}),
    "a draw of somebody else's": lie("draws", "mayor", value={"drawn": 1, "of": 1}),
    "a commitment of somebody else's": lie("commitments", "mayor", value="0" * 64),
    "a ledger of somebody else's": lie("ledgers", "mayor", value="0" * 64),
    "another kind": lambda tree: tree.update(predicateType="urn:other"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_auditor_signs_no_lie(case: Case, name: str) -> None:
    tree = case.honest()
    LIES[name](tree)
    with pytest.raises(Refusal, match=r"the statement|never confirmed"):
        case.check(tree)


@pytest.mark.parametrize("name", ["passed", "open", "records"])
def test_one_that_decides_nothing_anew_would_sign_it(case: Case, name: str) -> None:
    """The twin: the terms alone, which is all that a dealer can check, say nothing of the outcome."""
    tree = case.honest()
    LIES[name](tree)
    case.check(tree, View(case.config))


MALFORMED = {
    "passed is a text": lie("claims", 0, "passed", value="yes"),
    "passed is a number": lie("claims", 0, "passed", value=1),
    "passed is a list": lie("claims", 0, "passed", value=[]),
    "a claim is a list": lie("claims", value=[["passed"]]),
    "a claim is a text": lie("claims", value=["passed"]),
    "a release is a list": lie("releases", value=[["attribute", "query", "sigma"]]),
    "a query is a number": lie("releases", 0, "query", value=5),
    "an attribute is a list": lie("releases", 0, "attribute", value=[]),
    "half a letter": lie("run", value="\ud800"),
    "no number": lie("records", value=float("nan")),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_statement_is_refused_and_raises_nothing_else(case: Case, name: str) -> None:
    """Of a developer that sends what json can read and Python stumbles over."""
    tree = case.honest()
    MALFORMED[name](tree)
    payload = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    view = AuditorsView(case.config, case.met, GROUPS, case.confirmed)
    with pytest.raises(Refusal, match=r"the statement is (none of an audit|not in the form)"):
        view.check(payload, case.endpoints["city"], case.facts["city"])


def test_a_forgery_that_python_stumbles_over_is_refused(case: Case, tmp_path: Path) -> None:
    """By keys of the forger's own, for whoever verifies has to read it first."""
    forger = parties(tmp_path)["city"].credentials
    for value in (float("nan"), "\ud800"):
        payload = json.dumps(case.honest() | {"more": value}, sort_keys=True, separators=(",", ":")).encode()
        content = envelope.write(payload, [envelope.sign(payload, forger.key, forger.certificate)])
        with pytest.raises(NotGenuine, match="no statement of an audit"):
            verify(content, case.roster)


def test_counts_of_other_records_are_not_signed_for(case: Case) -> None:
    """Confirmed in another run, about other people."""
    view = AuditorsView(case.config, case.met, GROUPS, Confirmed(case.confirmed.folder, "other"))
    with pytest.raises(Refusal, match="of other records, noise or draw than this run's"):
        case.check(case.honest(), view)


def test_counts_are_about_their_draw_and_their_noise(case: Case) -> None:
    """A developer that keeps the counts of its luckiest draw cannot have them certified under another."""
    ids, other = as_ids(["a" * 32, "b" * 32]), replace(case.draw, nonce="3" * 64)
    finer = replace(case.config, privacy=Privacy(evaluation_epsilon=2.0))
    names = {
        confirmed_about(case.config, ids, case.draw),
        confirmed_about(case.config, ids, other),
        confirmed_about(case.config, ids, None),
        confirmed_about(case.config, ids[:1], case.draw),
        confirmed_about(finer, ids, case.draw),
    }
    assert len(names) == 5
    assert confirmed_about(case.config, ids, replace(case.draw)) in names


@pytest.mark.parametrize("strata", [1, 3, 4])
def test_counts_from_which_no_claim_follows_are_not_signed_for(case: Case, tmp_path: Path, strata: int) -> None:
    """A developer that has itself counted in other strata than decisions, or decisions by label."""
    confirmed = Confirmed(tmp_path, TABLE)
    counts = torch.zeros(strata, 3, dtype=torch.int64)
    counts[0, 0] = RECORDS
    confirmed.keep(QUERY, "sex", np.arange(RECORDS), Told(counts * 2**16, counts.sum(1)), 0.0, 2**16)
    view = AuditorsView(case.config, case.met, GROUPS, confirmed)
    with pytest.raises(Refusal, match=f"in {strata} strata of sex"):
        case.check(case.honest(), view)


# --- what was signed --------------------------------------------------------------------------------------------------


def test_a_changed_byte_is_noticed_wherever_it_is(case: Case) -> None:
    content = case.signed()
    draw = np.random.default_rng(0)
    places = {0, len(content) - 1, *draw.integers(0, len(content), 400).tolist()}
    for place in places:
        for change in (1, 0x20):
            altered = bytearray(content)
            altered[place] ^= change
            with pytest.raises(NotGenuine):
                verify(bytes(altered), case.roster)
    for altered in (content + b" ", content[:-1], b" " + content, content.replace(b'{"payload"', b'{ "payload"')):
        with pytest.raises(NotGenuine):
            verify(altered, case.roster)


def test_another_payload_under_the_same_signatures_is_refused(case: Case) -> None:
    tree = case.honest()
    LIES["passed"](tree)
    swapped = json.loads(case.signed())
    swapped["payload"] = base64.b64encode(envelope.canonical(tree)).decode()
    with pytest.raises(NotGenuine, match="is not of this payload"):
        verify(envelope.canonical(swapped) + b"\n", case.roster)


def test_signed_anew_by_others_of_the_same_names_is_refused(case: Case, tmp_path: Path) -> None:
    """All signatures are in order; what is not is whose keys they are."""
    others = Case(case.config, parties(tmp_path), case.facts, case.confirmed)
    tree = others.honest()
    LIES["passed"](tree)
    forged = others.signed(tree)
    verify(forged, others.roster)  # who believes the forger's list of keys believes the rest
    with pytest.raises(NotGenuine, match="city, dealer, developer is another one"):
        verify(forged, case.roster)


@pytest.mark.parametrize("names", [["developer"], ["developer", "dealer"], ["developer", "city", "city", "dealer"]])
def test_a_signature_is_neither_missing_nor_there_twice(case: Case, names: list[str]) -> None:
    with pytest.raises(NotGenuine):
        verify(case.signed(names=names), case.roster)


def test_a_payload_of_another_kind_is_refused(case: Case) -> None:
    with pytest.raises(NotGenuine, match="no statement of an audit"):
        verify(case.signed({"parties": case.roster}), case.roster)
    with pytest.raises(NotGenuine):
        verify(case.signed(case.honest() | {"predicateType": "urn:other"}), case.roster)


def test_the_command_verifies_offline(case: Case, tmp_path: Path) -> None:
    (tmp_path / "certificate.json").write_bytes(case.signed())
    Roster("", case.roster).write(tmp_path / "parties.toml")
    command = ["certificate", "verify", str(tmp_path / "certificate.json"), "--parties", str(tmp_path / "parties.toml")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "impact ratio by sex >= 0.8: does not hold (confirmed by city)" in done.stdout
    assert "simulated" in done.stderr
    (tmp_path / "other.toml").write_text("epsilon = 1")
    other = CliRunner().invoke(main, [*command, "--policy", str(tmp_path / "other.toml")])
    assert other.exit_code == 4
    assert "no auditor agreed" in other.stderr
    (tmp_path / "certificate.json").write_bytes(case.signed().replace(b"a", b"b", 1))
    assert CliRunner().invoke(main, command).exit_code == 4


def test_securesystemslib_verifies_every_signature_and_no_other(case: Case) -> None:
    """The library of in-toto and TUF, which reads DSSE envelopes: all three sign, and none signs another payload."""
    tree = json.loads(case.signed())
    keys = [
        SSlibKey.from_crypto(Signature(b"", one["cert"]).parsed.public_key(), keyid=one["keyid"])
        for one in tree["signatures"]
    ]
    assert len(read_envelope(tree).verify(keys, 3)) == 3
    tree["payload"] = base64.b64encode(base64.b64decode(tree["payload"]).replace(b"false", b"true ")).decode()
    with pytest.raises(VerificationError):
        read_envelope(tree).verify(keys, 1)


def read_envelope(tree: dict[str, Any]) -> Envelope:
    """The envelope as the library takes it; the certificates beside the signatures are an addition of ours."""
    return Envelope.from_dict(json.loads(json.dumps(tree)))


def test_openssl_verifies_a_signature_by_itself(case: Case, tmp_path: Path) -> None:
    """As docs/audit.md has it: the signed bytes are the payload behind its type and their lengths."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    tree = json.loads(case.signed())
    payload, one = base64.b64decode(tree["payload"]), tree["signatures"][1]
    kind = tree["payloadType"].encode()
    (tmp_path / "signed").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (tmp_path / "signature").write_bytes(base64.b64decode(one["sig"]))
    (tmp_path / "certificate.pem").write_text(one["cert"])
    key = subprocess.run(
        [openssl, "x509", "-in", tmp_path / "certificate.pem", "-pubkey", "-noout"], capture_output=True
    )
    (tmp_path / "key.pem").write_bytes(key.stdout)
    check = [openssl, "dgst", "-sha256", "-verify", tmp_path / "key.pem", "-signature", tmp_path / "signature"]
    done = subprocess.run([*check, tmp_path / "signed"], capture_output=True, text=True)
    assert "Verified OK" in done.stdout
    assert certificates.common_name(Signature(b"", one["cert"]).parsed.subject) == "city"
