"""Parties between machines: identities, fingerprints, options, ledgers, certificates, terms that are not as agreed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.refusals.case import Case, case, cut, remove, swap
from tests.refusals.conflicts import SMALL

OWN = "parties/dealer"
ROSTER = "parties/parties.toml"
OTHERS = "--peer auditor=127.0.0.1:1 --peer developer=127.0.0.1:1"
ZEROS = 64 * "0"


def dealer(
    *said: str,
    options: str = "--parties @/parties/parties.toml",
    peers: str = OTHERS,
    given: str = "--scenario @/small.toml",
    identity: str = "@/parties/dealer",
    files: dict[str, str | bytes] | None = None,
    problems: int = 1,
) -> Case:
    """A dealer that is refused before it connects."""
    words = f"party dealer {given} --identity {identity} --listen 127.0.0.1:0 {peers} --timeout 1 --out out {options}"
    return case(words, *said, problems=problems, files=files)


def with_roster(text: str, *said: str) -> Case:
    """A dealer with this file of fingerprints."""
    return dealer(*said, options="--parties p.toml", files={"p.toml": text})


def agreed(**names: str) -> str:
    """A file of fingerprints that are none of anybody's."""
    lines = [f'{name} = "{text}"' for name, text in {"auditor": ZEROS, "developer": ZEROS, **names}.items() if text]
    return "\n".join(["[parties]", *lines]) + "\n"


def spoiled(words: str, said: str, change: Callable[[Path], object], code: int = 2, problems: int = 1) -> Case:
    """A command on parties, or ledgers, of which something was changed."""
    copies = ("ledger",) if words.startswith("ledger") else ("parties",)
    return case(words, said, code=code, problems=problems, copies=copies, change=change)


TERMS = """\
name = "hiring"
epsilon = 1.0
[[auditors]]
name = "city"
attributes = ["sex"]
policy = "PPPP"
answer = "counts"
claims = []
smallest_share = 0.02
""".replace("PPPP", ZEROS)


def terms(said: str, text: str | bytes, problems: int = 1) -> Case:
    """A dealer of an audit with these terms."""
    return dealer(said, given="--audit t.toml", files={"t.toml": text}, problems=problems)


def certificate(said: str, content: str | bytes) -> Case:
    """A certificate of an audit that is none."""
    words = "certificate verify c.json --parties @/parties/parties.toml"
    return case(words, said, code=4, files={"c.json": content})


ENVELOPE = {"payload": "aGVsbG8=", "payloadType": "application/vnd.in-toto+json", "signatures": []}
EXTRACT = "ledger/auditor.jsonl"

CASES = {
    # who a party is
    "identity, an authority that is there": case(
        "identity init mine", "exists already", files={"mine/authority/certificate.pem": ""}
    ),
    "identity, an authority in a file": case(
        "identity init f", "f/authority: cannot be made: Not a directory", files={"f": ""}
    ),
    "identity, a name in capitals": case("identity request own Dealer", "party name"),
    "identity, a name of a path": case("identity request own ../dealer", "party name"),
    "identity, no name": case("identity request own ''", "party name"),
    "identity, the authority's name": case("identity request own authority", "taken by the authority"),
    "identity, a request that is there": case("identity request own a", "exists already", files={"own/a/key.pem": ""}),
    "identity, no request to sign": case("identity sign @/parties city r.pem", "'r.pem' does not exist"),
    "identity, a request that is none": case(
        "identity sign @/parties city r.pem", "not a request in PEM", files={"r.pem": "hello"}
    ),
    "identity, no authority": case("identity sign . city r.pem", "authority", files={"r.pem": "hello"}),
    "identity, too many days": case(
        "identity sign @/parties city r.pem --days 99999", "99999 is not in the range", files={"r.pem": ""}
    ),
    "identity, another's name": case(
        "identity sign @/parties city @/parties/dealer/request.pem", "asks for 'dealer', where 'city' was to be signed"
    ),
    "identity, signed twice": case(
        "identity sign @/parties dealer @/parties/dealer/request.pem", "'dealer' has been signed already"
    ),
    "identity, an answer that is none": case(
        "identity accept @/parties/dealer a.pem", "a.pem", files={"a.pem": "hello"}
    ),
    "identity, an answer to nobody": case("identity accept nowhere a.pem", "nowhere", files={"a.pem": "hello"}),
    "identity, nobody to show": case("identity show nowhere", "nowhere"),
    "identity, a folder of something else": case("identity show @/album", "certificate.pem"),
    "identity, no certificate": spoiled(f"identity show {OWN}", "certificate.pem", remove(f"{OWN}/certificate.pem")),
    "identity, half a certificate": spoiled(
        f"identity show {OWN}", "certificate.pem", cut(f"{OWN}/certificate.pem", 99)
    ),
    "identity, agreed on nobody": case("identity agree --out p.toml", "Missing argument 'CERTIFICATE...'"),
    "identity, agreed twice": case(
        "identity agree @/parties/dealer @/parties/dealer --out p.toml", "a second certificate"
    ),
    "identity, agreed over a file": case(
        "identity agree @/parties/dealer --out p.toml", "exists already", files={"p.toml": ""}
    ),
    # what a party is given
    "party, no roster": dealer("--parties FILE: is missing", options=""),
    "party, no such roster": dealer("'p.toml' does not exist", options="--parties p.toml"),
    "party, a roster that is no TOML": with_roster("dealer", "is not valid TOML", "secure-fair identity agree"),
    "party, an empty roster": with_roster("", "expected one table, [parties]"),
    "party, a roster of a number": with_roster("parties = 1", "expected one table, [parties]"),
    "party, a roster of two tables": with_roster("[parties]\n[others]\n", "expected one table, [parties]"),
    "party, a number for a fingerprint": with_roster("[parties]\ndealer = 1\n", "dealer = 1: expected a fingerprint"),
    "party, a fingerprint too short": with_roster(agreed(dealer=63 * "0"), "expected a fingerprint, 64 digits"),
    "party, a name in capitals": with_roster(agreed(dealer=ZEROS, Auditor=ZEROS), "party name 'Auditor'"),
    "party, a roster without a party": with_roster(agreed(dealer=ZEROS, auditor=""), "lacks auditor, of this scenario"),
    "party, a roster with a stranger": with_roster(agreed(dealer=ZEROS, stranger=ZEROS), "has stranger, not of this"),
    "party, another's fingerprint": with_roster(agreed(dealer=ZEROS), f"has the fingerprint {ZEROS} for dealer"),
    "party, a roster nested without end": with_roster("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "party, no scenario": dealer("--scenario FILE or --audit FILE: give one of the two", given=""),
    "party, scenario and audit": dealer(
        "give one of the two", given="--scenario @/small.toml --audit t.toml", files={"t.toml": TERMS}
    ),
    "party, a scenario that nobody has": dealer("no such scenario file", given="--scenario nowhere"),
    "party, a faulty scenario": dealer("seed: -1", given="--scenario s.toml", files={"s.toml": f"seed = -1\n{SMALL}"}),
    "party, no identity": dealer("'nowhere' does not exist", identity="nowhere"),
    "party, an identity of nothing": dealer(
        "certificate.pem: missing", "secure-fair identity request", identity="@/album", problems=3
    ),
    "party, somebody who is no party": dealer(
        "who is no party of this run",
        given="--scenario s.toml",
        files={"s.toml": SMALL + '[secure]\nauditors = [{name = "city", attributes = ["male"]}]\n'},
        identity="@/parties/auditor",
    ),
    "party, no peers": dealer("--peer auditor=HOST:PORT: is missing", peers="", problems=2),
    "party, a peer without an address": dealer("expected NAME=HOST:PORT", peers="--peer auditor"),
    "party, a peer without a port": dealer("expected NAME=HOST:PORT", peers="--peer auditor=host"),
    "party, a port that is none": dealer("expected NAME=HOST:PORT", peers="--peer auditor=host:99999"),
    "party, a port of 0": dealer("expected NAME=HOST:PORT", peers="--peer auditor=host:0"),
    "party, a peer twice": dealer("has an address already", peers=f"{OTHERS} --peer auditor=127.0.0.1:2"),
    "party, a peer of nobody": dealer("the other parties of this scenario are", peers=f"{OTHERS} --peer clinic=h:1"),
    "party, a peer too few": dealer("--peer developer=HOST:PORT: is missing", peers="--peer auditor=127.0.0.1:1"),
    "party, no patience": dealer("0.0 is not in the range x>=1", options="--timeout 0"),
    "party, a developer without records": case(
        f"party developer --scenario @/small.toml --identity @/parties/developer {OTHERS} --out out --state st",
        "Missing option '--store'",
    ),
    "party, an auditor without state": case(
        f"party auditor --scenario @/small.toml --identity @/parties/auditor {OTHERS} --out out --store @/album",
        "Missing option '--state'",
    ),
    # the terms of an audit
    "terms, none": dealer("'t.toml' does not exist", given="--audit t.toml"),
    "terms, no TOML": terms("is not valid TOML", "name"),
    "terms, UTF-16": terms("not UTF-8 text", TERMS.encode("utf-16")),
    "terms, nested without end": terms("nested too deeply", "a = " + "[" * 5000 + "]" * 5000),
    "terms, another key": terms('(did you mean "epsilon"?)', TERMS.replace("epsilon", "epsilom")),
    "terms, an epsilon of 0": terms("epsilon: 0.0 is not allowed", TERMS.replace("1.0", "0.0")),
    "terms, no auditors": terms("auditors: is missing", 'name = "hiring"\n'),
    "terms, a digest that is none": terms("must be text that matches", TERMS.replace(ZEROS, "abc")),
    "terms, an auditor called dealer": terms("the name is taken", TERMS.replace('"city"', '"dealer"')),
    "terms, a claim of nothing": terms("goodness", TERMS.replace("[]", '["goodness by sex >= 1"]')),
    # ledgers
    "ledger, none": case("ledger verify nowhere", "'nowhere' does not exist"),
    "ledger, a folder of something else": case("ledger verify @/album", "holds no ledger (ledger.jsonl)"),
    "ledger, text": case("ledger verify l.jsonl", "l.jsonl", code=4, files={"l.jsonl": "hello"}),
    "ledger, an empty extract": case("ledger verify l.jsonl", "l.jsonl", code=4, files={"l.jsonl": ""}),
    "ledger, a list": case("ledger verify l.jsonl", "l.jsonl", code=4, files={"l.jsonl": "[]\n"}),
    "ledger, nested without end": case(
        "ledger verify l.jsonl", "not a whole extract of a ledger", code=4, files={"l.jsonl": "[" * 5000 + "]" * 5000}
    ),
    "ledger, not UTF-8": case("ledger verify l.jsonl", "l.jsonl", code=4, files={"l.jsonl": b"\xff\xfe\n"}),
    "ledger, an entry changed": spoiled(
        f"ledger verify {EXTRACT}", "auditor.jsonl", swap(EXTRACT, "moment", "momentt"), 4
    ),
    "ledger, an entry cut": spoiled(f"ledger verify {EXTRACT}", "auditor.jsonl", cut(EXTRACT, 300), 4),
    "ledger, a state that was changed": spoiled(
        "ledger verify ledger/state", "ledger", swap("ledger/state/ledger.jsonl", "run-1", "run-9"), 4
    ),
    "ledger, a state cut off": spoiled(
        "ledger verify ledger/state", "ledger", cut("ledger/state/ledger.jsonl", 300), 4
    ),
    "ledger, the same side twice": case(
        "ledger verify @/ledger/auditor.jsonl @/ledger/auditor.jsonl", "one must be the developer's extract"
    ),
    "ledger, a folder to compare": case("ledger verify @/ledger/state @/ledger/auditor.jsonl", "name the two extracts"),
    # certificates
    "certificate, none": case("certificate verify c.json --parties @/parties/parties.toml", "'c.json' does not exist"),
    "certificate, no parties": case("certificate verify @/small.toml", "Missing option '--parties'"),
    "certificate, empty": certificate("envelope", ""),
    "certificate, text": certificate("envelope", "hello"),
    "certificate, a list": certificate("envelope", "[]"),
    "certificate, a picture": certificate("envelope", b"\xff\xd8\xff"),
    "certificate, nothing signed": certificate("sign", json.dumps(ENVELOPE)),
    "certificate, no payload": certificate("envelope", json.dumps({"signatures": []})),
    "certificate, nested without end": certificate("envelope", "[" * 5000 + "]" * 5000),
    "certificate, another roster": case(
        "certificate verify c.json --parties p.toml", "expected one table", files={"c.json": "{}", "p.toml": ""}
    ),
}
