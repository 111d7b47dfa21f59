"""Commitments come first: neither side of an audit chooses what it puts in by what the other has shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secure_fair.errors import ProtocolError, Refusal, SecureFairError
from secure_fair.ids import as_ids
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.commitments import HEARD, commit_to, committed_again, hear_committed, say_committed
from secure_fair.parties.config import Promise, RunConfig
from secure_fair.parties.draw import commitment_to
from secure_fair.parties.meeting import meet
from secure_fair.parties.messages import Committed, Known, Offer
from tests.mpc.harness import credentials
from tests.mpc.test_transport import together
from tests.parties.test_certificate import terms

IDS = as_ids([f"{number:032x}" for number in range(16)])
TABLE, MINE = "a" * 64, "b" * 64


def config(sample: int | None = None, *, certified: bool = True) -> RunConfig:
    """An audit of the developer and one auditor."""
    promise = Promise("d" * 64, "counts", (), 0.02, sample)
    found = terms().run_config()
    return replace(
        found,
        auditors=("auditor",),
        holders={"sex": ("auditor",)},
        promises={"auditor": promise},
        certified=certified,
    )


@pytest.fixture
def pair() -> Iterator[tuple[Network, Network]]:
    """Developer and auditor, connected; a peer that is silent for two seconds is lost."""
    networks = [Network(credentials()[name], timeout=2.0) for name in ("developer", "auditor")]
    ends = [{one.name: one.address for one in networks if one is not network} for network in networks]
    together(*(lambda n=network, e=end: n.connect(e, {}) for network, end in zip(networks, ends, strict=True)))
    yield networks[0], networks[1]
    together(*(lambda n=network: n.abort("the end") for network in networks))


def offered_first(network: Network) -> list[str]:
    """The late auditor: it wants to see whom the developer offers, and commits to a table for those people."""
    offer, raw = messages.expect(network, "developer", Offer)
    ids = messages.unpack_ids(raw, offer.count)
    messages.send(network, "developer", Committed(table=MINE))
    messages.send(network, "developer", Known(others=0), messages.pack_part(ids == ids))
    return [name.decode() for name in ids.tolist()]


def test_an_auditor_that_waits_for_the_ids_before_it_commits_sees_none(pair, tmp_path: Path) -> None:
    developer, auditor = pair

    def audit() -> None:
        hear_committed(config(), developer, tmp_path)
        meet(config(), developer, IDS, TABLE)

    outcomes = together(audit, lambda: offered_first(auditor))
    assert all(isinstance(outcome, SecureFairError) for outcome in outcomes)  # each waits for the other
    assert not (tmp_path / HEARD).exists()


def test_where_nobody_waits_for_its_commitment_it_has_them(pair) -> None:
    """The twin: the same auditor, and a developer that offers its records first."""
    developer, auditor = pair
    _, seen = together(lambda: meet(config(), developer, IDS, TABLE), lambda: offered_first(auditor))
    assert seen == [name.decode() for name in IDS.tolist()]


def test_commitments_are_kept_whatever_becomes_of_the_run(pair, tmp_path: Path) -> None:
    developer, auditor = pair
    asked = config(sample=4)
    heard, seed = together(
        lambda: hear_committed(asked, developer, tmp_path), lambda: say_committed(asked, auditor, MINE)
    )
    assert heard == {"auditor": Committed(table=MINE, coin=commitment_to(seed))}
    assert json.loads((tmp_path / HEARD).read_text()) == {"auditor": {"table": MINE, "coin": commitment_to(seed)}}
    assert (tmp_path / HEARD).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("sample", "certified", "sent", "said"),
    [
        (4, True, Committed(table=MINE), "draws a sample"),
        (None, True, Committed(table=MINE, coin=TABLE), "draws a sample"),
        (None, True, Committed(), "commits to no table"),
        (None, False, Committed(table=MINE), "commits to a table"),
    ],
)
def test_a_commitment_that_is_missing_or_not_due_ends_it(
    pair, tmp_path: Path, sample: int | None, certified: bool, sent: Committed, said: str
) -> None:
    developer, auditor = pair
    messages.send(auditor, "developer", sent)
    with pytest.raises(ProtocolError, match=said):
        hear_committed(config(sample, certified=certified), developer, tmp_path)


# --- a run that is gone on with ---------------------------------------------------------------------------------------


def test_who_goes_on_is_committed_to_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "attributes.csv").write_text("id,sex\n0,1\n")
    names = ("attributes.csv",)
    first = committed_again(tmp_path / "store", names, tmp_path / "out")  # it had made none
    assert committed_again(tmp_path / "store", names, tmp_path / "out") == first
    assert commit_to(tmp_path / "store", names, tmp_path / "other") != first  # by another salt
    (tmp_path / "store" / "attributes.csv").write_text("id,sex\n0,0\n")
    with pytest.raises(Refusal, match="not the one that it was committed to when the run began"):
        committed_again(tmp_path / "store", names, tmp_path / "out")


def test_another_table_after_a_crash_is_noticed(pair, tmp_path: Path) -> None:
    developer, auditor = pair
    for table in (MINE, MINE, TABLE):
        messages.send(auditor, "developer", Committed(table=table))
    hear_committed(config(), developer, tmp_path)
    hear_committed(config(), developer, tmp_path, resumed=True)
    with pytest.raises(ProtocolError, match="auditor: committed to another table than when the run began"):
        hear_committed(config(), developer, tmp_path, resumed=True)
