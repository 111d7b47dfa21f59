"""Disputes: opened inputs prove a certificate, changed ones are caught, and what does not follow from them is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from secure_fair.data.decision_store import RECORDS, read_store
from secure_fair.data.store import ATTRIBUTES, META, AuditorStore
from secure_fair.ids import as_ids
from secure_fair.parties import envelope, identity
from secure_fair.parties.commitments import commit_to, commitment
from secure_fair.parties.config import Endpoint
from secure_fair.parties.dispute import DISPROVED, PROVED, OpenedCounts, OpenedInputs
from secure_fair.parties.draw import Draw
from secure_fair.parties.envelope import Signature
from secure_fair.parties.roster import Roster
from secure_fair.parties.sealing import fingerprint_of
from secure_fair.parties.statement import Facts, statement
from secure_fair.scenarios.audit import PreparedAudit, prepare
from secure_fair.scenarios.cli import main
from tests.parties.company import make_identities
from tests.scenarios import audits
from tests.scenarios.audits import in_the_clear, people, wanted

NAMES = ["developer", "city", "dealer"]
EXACT = "allow_exact = true\nclaims = ['impact ratio by sex >= 0.8', 'selection rate difference by race <= 0.9']\n"
SEED, NONCE = "1" * 64, "1" * 64


@dataclass
class Signed:
    """An audit with everything that its parties keep, and a certificate that they have signed."""

    folder: Path
    prepared: PreparedAudit
    tree: dict[str, Any]
    endpoints: dict[str, Endpoint]

    def sign(self, tree: dict[str, Any]) -> Path:
        """The certificate of a statement, as all would sign it."""
        payload = envelope.canonical(tree)
        held = [one.credentials for one in self.endpoints.values()]
        signatures: list[Signature] = [envelope.sign(payload, one.key, one.certificate) for one in held]
        (self.folder / "certificate.json").write_bytes(envelope.write(payload, signatures))
        return self.folder / "certificate.json"

    def dispute(self, *opened: str, tree: dict[str, Any] | None = None, code: int = 0) -> Result:
        """The command, about this statement."""
        certificate = self.sign(tree or self.tree)
        given = ["--parties", self.folder / "parties.toml", "--audit", self.folder / "audit.toml"]
        for name in opened:
            given += ["--opened", f"{name}={self.folder / name}"]
        done = CliRunner().invoke(main, ["certificate", "dispute", str(certificate), *map(str, given)])
        assert done.exit_code == code, (done.output, done.exception)
        return done


def signed(
    folder: Path, identities: Path, text: str, columns: dict[str, np.ndarray] | None = None, **settings: Any
) -> Signed:
    """An audit in the clear of 200 people, or of these, whose parties have committed to their stores beforehand."""
    folder.mkdir(exist_ok=True)
    asked = wanted(folder, people(200) if columns is None else columns)
    (folder / "policy.toml").write_text(text)
    prepared = prepare(replace(asked, policies={"": folder / "policy.toml"}, **settings))
    answer = in_the_clear(prepared, folder / "states", "run")
    stores, config = folder / "states" / "stores-run", prepared.terms.run_config()
    facts = {
        "developer": Facts(commit_to(stores / "developer", (RECORDS,), folder / "developer"), "a" * 64),
        "city": Facts(commit_to(stores / "city", (ATTRIBUTES, META), folder / "city"), "b" * 64),
        "dealer": Facts(),
    }
    draws = {}
    if config.promises["city"].sample is not None:
        held = AuditorStore.open(stores / "city").ids
        ids = as_ids([name for name in read_store(stores / "developer").ids if name in set(held)])
        draw = Draw.of(config.promises["city"], SEED, NONCE, ids, len(held))
        draw.keep(folder / "city")
        draws = {"city": draw.facts}
    endpoints = {name: Endpoint(identity.load(identities / name), "", {}) for name in NAMES}
    marks = {name: fingerprint_of(endpoint) for name, endpoint in endpoints.items()}
    tree = statement(config, "run", prepared.terms.hash(), answer | {"draws": draws}, marks, facts)
    Roster("", marks).write(folder / "parties.toml")
    (folder / "audit.toml").write_text(prepared.terms.to_toml())
    return Signed(folder, prepared, tree, endpoints)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identities")
    make_identities(folder, NAMES, simulated=True)
    return folder


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory, identities: Path) -> Signed:
    return signed(tmp_path_factory.mktemp("exact"), identities, EXACT)


@pytest.fixture
def case(exact: Signed, tmp_path: Path) -> Signed:
    """The same in a folder of its own."""
    shutil.copytree(exact.folder, tmp_path / "case")
    return replace(exact, folder=tmp_path / "case", tree=json.loads(json.dumps(exact.tree)))


def lied(tree: dict[str, Any]) -> dict[str, Any]:
    """The statement with the first claim turned around."""
    claim = tree["predicate"]["claims"][0]
    claim["passed"] = not claim["passed"]
    return tree


def test_opened_inputs_prove_what_follows_from_them(case: Signed) -> None:
    done = case.dispute("developer", "city")
    assert done.stdout.count("the opened inputs say the same") == 2
    assert "city: the inputs are those that it committed to" in done.stdout
    assert "impact ratio by sex >= 0.8: certified as fail, recounted 0." in done.stdout


def test_a_verdict_that_does_not_follow_is_disproved(case: Signed) -> None:
    """Every signature is in order: all have signed it, as they can where they collude."""
    done = case.dispute("developer", "city", tree=lied(case.tree), code=6)
    assert "certified as pass" in done.stdout
    assert "impact ratio by sex >= 0.8: disproved" in done.stderr


def test_one_party_alone_shows_its_own_inputs_and_nothing_is_counted(case: Signed) -> None:
    for name in ("developer", "city"):
        done = case.dispute(name, tree=lied(case.tree))
        assert done.stdout.count("not opened") == 2


# --- chosen late ------------------------------------------------------------------------------------------------------


def framed(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everybody who is known to have been refused is a woman now: what an auditor may say once it knows whom it is
    about."""
    return columns | {"sex": np.where(columns["decision"] == 1, "male", "female")}


@pytest.fixture
def late(tmp_path: Path, identities: Path) -> Signed:
    """An audit whose auditor has counted a table that it chose for the people whom it was offered."""
    text = "allow_exact = true\nclaims = ['impact ratio by sex >= 0.1']\n"
    found = signed(tmp_path / "late", identities, text, framed(people(200)))
    assert found.tree["predicate"]["claims"][0]["passed"] is False
    return found


def test_a_table_chosen_late_would_prove_itself(late: Signed) -> None:
    """The twin: committed to at the end, it is what was counted, and the developer stands condemned."""
    done = late.dispute("developer", "city")
    assert "impact ratio by sex >= 0.1: certified as fail, recounted 0: proved" in done.stdout


def test_a_table_chosen_late_is_not_the_one_committed_to_before_the_offer(late: Signed) -> None:
    """It is bound to what it had: to open the table of its choice is found out, and so is to open the other."""
    stores = late.folder / "states" / "stores-run"
    chosen, honest = late.folder / "city", late.folder / "honest"
    shutil.copytree(stores / "city", honest)
    table = (honest / ATTRIBUTES).read_text().splitlines()
    header, place = table[0].split(","), table[0].split(",").index("sex")
    rows = [line.split(",") for line in table[1:]]
    for number, row in enumerate(rows):
        row[place] = str(number % 2)  # nothing to do with decisions
    (honest / ATTRIBUTES).write_text("\n".join(map(",".join, [header, *rows])) + "\n")
    before = commit_to(honest, (ATTRIBUTES, META), late.folder / "first")
    late.tree["predicate"]["commitments"]["city"] = before
    assert "not those that the certificate commits it to" in late.dispute("developer", "city", code=4).stderr
    shutil.rmtree(chosen)
    shutil.copytree(late.folder / "first", chosen)
    assert "impact ratio by sex >= 0.1: disproved" in late.dispute("developer", "city", code=6).stderr


def edited(name: str) -> Callable[[Path], None]:
    """One cell of a file changed."""

    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        head, cell, rest = lines[5].split(",", 2)
        lines[5] = ",".join([head, str(1 - int(cell)), rest])
        (folder / name).write_text("\n".join(lines) + "\n")

    return change


def renamed(folder: Path) -> None:
    (folder / META).write_text((folder / META).read_text().replace("unknown", "others"))


@pytest.mark.parametrize(
    ("party", "change"),
    [("developer", edited(RECORDS)), ("city", edited(ATTRIBUTES)), ("city", renamed)],
    ids=["a decision", "an attribute", "what a group is called"],
)
def test_changed_inputs_are_caught(case: Signed, party: str, change: Callable[[Path], None]) -> None:
    change(case.folder / party / "committed")
    done = case.dispute("developer", "city", code=4)
    assert f"{party}: the opened files are not those" in done.stderr


def test_what_was_committed_to_is_not_salt(case: Signed) -> None:
    """The first line of a table taken for the end of the salt: it hashes to the same, and opens another file."""
    folder = case.folder / "developer"
    opened, table = json.loads((folder / "commitment.json").read_text()), folder / "committed" / RECORDS
    line, rest = table.read_bytes().split(b"\n", 1)
    longer = bytes.fromhex(opened["salt"]) + line + b"\n"
    table.write_bytes(rest)
    assert commitment(longer, [table]) == case.tree["predicate"]["commitments"]["developer"]
    (folder / "commitment.json").write_text(json.dumps(opened | {"salt": longer.hex()}))
    assert "a salt has 32" in case.dispute("developer", code=2).stderr


@pytest.mark.parametrize("holder", ["city", "county"])
def test_an_attribute_is_counted_from_the_table_of_who_holds_it(case: Signed, holder: str) -> None:
    """Another auditor may have committed to a column of the same name, that it holds by no terms. The twin are terms by
    which it does: then the certificate is disproved by it."""
    shutil.copytree(case.folder / "city", case.folder / "county")
    table = case.folder / "county" / "committed" / ATTRIBUTES
    header, *rows = [line.split(",") for line in table.read_text().splitlines()]
    place = header.index("sex")
    decided = (case.folder / "developer" / "committed" / RECORDS).read_text().splitlines()[1:]
    selected = {line.split(",")[0] for line in decided if line.split(",")[1] == "1"}
    for alike in ([row for row in rows if (row[0] in selected) == value] for value in (False, True)):
        for number, row in enumerate(alike):
            row[place] = str(number % 2)  # nothing to do with decisions
    table.write_text("\n".join(map(",".join, [header, *rows])) + "\n")
    config = case.prepared.terms.run_config()
    promises = {**config.promises, "county": replace(config.promises["city"], claims=())}
    config = replace(
        config, auditors=("county", "city"), holders=config.holders | {"sex": (holder,)}, promises=promises
    )
    openings = {name: OpenedInputs(case.folder / name) for name in ("developer", "county", "city")}
    found = next(OpenedCounts(config, case.tree["predicate"], openings).findings())
    assert found.found == {"city": PROVED, "county": DISPROVED}[holder]


def test_another_salt_opens_nothing(case: Signed) -> None:
    file = case.folder / "city" / "commitment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"salt": "0" * 64}))
    case.dispute("city", code=4)


def test_records_that_were_left_out_are_missed(case: Signed) -> None:
    """A certificate about fewer people than both sides have in common."""
    case.tree["predicate"]["records"] -= 1
    done = case.dispute("developer", "city", tree=case.tree, code=4)
    assert "198 records in common, and the certificate is about 197" in done.stderr


def test_other_terms_are_not_those_of_the_certificate(case: Signed) -> None:
    file = case.folder / "audit.toml"
    file.write_text(file.read_text().replace("smallest_share = 0.02", "smallest_share = 0.4"))
    assert "not the terms" in case.dispute("developer", "city", code=4).stderr


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, identities: Path) -> Signed:
    patch = pytest.MonkeyPatch()
    patch.setattr(audits, "new_nonce", lambda: SEED)
    found = signed(tmp_path_factory.mktemp("drawn"), identities, f"{EXACT}sample = 80\n")
    patch.undo()
    return found


def test_a_sample_is_drawn_again_from_the_opened_seed(drawn: Signed) -> None:
    done = drawn.dispute("developer", "city")
    assert done.stdout.count("the opened inputs say the same") == 2
    everybody = people(200)
    rates = [everybody["decision"][2:][everybody["sex"][2:] == sex].mean() for sex in ("female", "male")]
    assert f"recounted {rates[0] / rates[1]:.4g}" not in done.stdout  # of 80, and not of all


def test_another_seed_than_was_committed_to_is_caught(drawn: Signed) -> None:
    file = drawn.folder / "city" / "draw.json"
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"seed": "2" * 64}))
    try:
        assert "the opened seed is not the one" in drawn.dispute("developer", "city", code=4).stderr
    finally:
        file.write_text(before)


def test_noise_may_be_what_contradicts(tmp_path: Path, identities: Path) -> None:
    found = signed(tmp_path, identities, "epsilon = 1000\nclaims = ['impact ratio by sex >= 0.99']\n", epsilon=1000.0)
    assert found.tree["predicate"]["claims"][0]["passed"] is False
    done = found.dispute("developer", "city", tree=lied(found.tree), code=6)
    assert "or it is noise" in done.stdout


def test_the_statement_cannot_call_a_contradiction_noise(case: Signed) -> None:
    """The terms say that counts are exact, whatever sigma was signed."""
    for sigma in ("50", "no number"):
        tree = lied(json.loads(json.dumps(case.tree)))
        tree["predicate"]["releases"][0]["sigma"] = sigma
        assert "disproved" in case.dispute("developer", "city", tree=tree, code=6).stdout


def test_what_was_measured_is_what_was_committed_to(case: Signed) -> None:
    case.tree["predicate"]["measured"] = "scores above their median"
    done = case.dispute("developer", "city", tree=case.tree, code=4)
    assert "measures scores above their median, and the opened table has decisions" in done.stderr


def test_an_opening_is_copied_for_whom_it_concerns(case: Signed, tmp_path: Path) -> None:
    command = ["certificate", "open", str(case.folder / "city"), "--out", str(tmp_path / "handed")]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert {file.name for file in (tmp_path / "handed").rglob("*") if file.is_file()} == {
        "commitment.json",
        ATTRIBUTES,
        META,
    }
    assert not any(entry.stat().st_mode & 0o077 for entry in (tmp_path / "handed").rglob("*"))
    again = CliRunner().invoke(main, command)
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    empty = CliRunner().invoke(main, ["certificate", "open", str(tmp_path), "--out", str(tmp_path / "x")])
    assert "name what a party wrote" in empty.stderr
