"""A ledger restored from an older copy is noticed by who was told more, and gone on with only by the word of both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from secure_fair.errors import Refusal, UsageError
from secure_fair.mpc.transport import Network
from secure_fair.parties.config import Endpoint
from secure_fair.parties.continuity import Memory
from secure_fair.privacy.chain import verify
from secure_fair.privacy.entries import Receipt
from secure_fair.privacy.ledger import Ledger
from secure_fair.scenarios.sweep import Quiet
from tests.mpc.harness import credentials

SIDES = ("developer", "auditor")
RECEIPT = Receipt("run", 1, "auditor", "moment", "sex", "0" * 64, 40, (4, 1), 5.0)


class Heard(Quiet):
    """Keeps what a party is warned of."""

    def __init__(self) -> None:
        super().__init__(None)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def networks() -> Iterator[dict[str, Network]]:
    """Developer and auditor, connected."""
    made = {name: Network(credentials()[name], timeout=20) for name in SIDES}
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(made[name].connect, {peer: made[peer].address for peer in SIDES if peer != name}, {})
            for name in SIDES
        ]
        for one in both:
            one.result()
    yield made
    for network in made.values():
        network.close()


@dataclass
class Pair:
    """Both parties' states, which meet again and again."""

    folder: Path
    networks: dict[str, Network]
    warned: dict[str, list[str]] = field(default_factory=dict)

    def ledger(self, name: str) -> Ledger:
        return Ledger(self.folder / name, name)

    def copy(self, name: str) -> None:
        """Make a backup."""
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        shutil.copytree(self.folder / name, self.folder / "backup")

    def restore(self, name: str) -> None:
        """Put the backup in the state's place."""
        shutil.rmtree(self.folder / name)
        shutil.copytree(self.folder / "backup", self.folder / name)

    def meet(
        self, lost: dict[str, tuple[str, ...]] | None = None, certificates: dict[str, str] | None = None
    ) -> dict[str, BaseException | None]:
        """Let them meet, and remember each other where both are content; how it ended at each."""
        ledgers = {name: self.ledger(name) for name in SIDES}
        heard = {name: Heard() for name in SIDES}
        memories = {
            name: Memory(
                Endpoint(
                    credentials()[name],
                    "",
                    {},
                    fingerprints=certificates,
                    lost=frozenset((lost or {}).get(name, ())),
                ),
                self.networks[name],
                ledgers[name],
            )
            for name in SIDES
        }
        with ThreadPoolExecutor(2) as pool:
            checks = {
                name: pool.submit(memories[name].check, [peer for peer in SIDES if peer != name], heard[name])
                for name in SIDES
            }
            ended = {name: check.exception() for name, check in checks.items()}
        if not any(ended.values()):
            for name, peer in (SIDES, SIDES[::-1]):
                ledgers[name].start(f"run of {name}")
                memories[peer].keep("run", name, memories[name].own())
        for ledger in ledgers.values():
            ledger.close()
        self.warned = {name: one.warnings for name, one in heard.items()}
        return ended


CONTENT = {"developer": None, "auditor": None}


@pytest.fixture
def pair(tmp_path: Path, networks: dict[str, Network]) -> Pair:
    return Pair(tmp_path, networks)


def test_those_who_go_on_are_content(pair: Pair) -> None:
    for _ in range(3):
        assert pair.meet() == CONTENT
    assert pair.warned == {"developer": [], "auditor": []}


@pytest.mark.parametrize("forgetful", SIDES)
@pytest.mark.parametrize("grown", [0, 20], ids=["as it was", "grown since"])
def test_an_older_copy_is_noticed_by_both(pair: Pair, forgetful: str, grown: int) -> None:
    """By itself nothing is wrong with it: its chain holds, and its head fits."""
    pair.meet()
    pair.copy(forgetful)
    pair.meet()
    pair.restore(forgetful)
    ledger = pair.ledger(forgetful)
    for number in range(grown):
        ledger.start(f"another {number}")
    ledger.close()
    assert verify(pair.folder / forgetful).entries > 1  # the attack on a ledger that nobody else remembers
    ended = pair.meet()
    for name in SIDES:
        assert isinstance(ended[name], Refusal)
        assert f"--ledger-lost {forgetful}" in str(ended[name])
        assert "restored from an older copy" in str(ended[name])
    assert ("this party's ledger does not go on" in str(ended["auditor"])) == (forgetful == "auditor")


def test_a_copy_from_the_middle_of_a_run_is_noticed_by_what_came_with_the_releases(pair: Pair) -> None:
    pair.meet()
    auditor, developer = pair.ledger("auditor"), pair.ledger("developer")
    auditor.start("run")
    auditor.close()
    pair.copy("auditor")
    auditor = pair.ledger("auditor")
    auditor.refused("run", "moment", "sex", "whatever comes next")
    developer.received(RECEIPT, auditor.end)
    auditor.close()
    developer.close()
    pair.restore("auditor")
    assert isinstance(pair.meet()["auditor"], Refusal)


def test_one_sides_word_is_not_enough_and_both_are_written_down(pair: Pair) -> None:
    pair.meet()
    shutil.rmtree(pair.folder / "auditor")
    for one in SIDES:
        ended = pair.meet(lost={one: ("auditor",)})
        other = next(name for name in SIDES if name != one)
        assert ended[one] is None
        assert isinstance(ended[other], Refusal)
    assert isinstance(pair.meet()["auditor"], Refusal)  # a word that came to nothing has changed nothing
    assert pair.meet(lost=dict.fromkeys(SIDES, ("auditor",))) == CONTENT
    assert all("--ledger-lost auditor" in text for name in SIDES for text in pair.warned[name])
    for name in SIDES:
        ledger = pair.ledger(name)
        assert {entry["whose"] for entry in ledger.entries() if entry["kind"] == "lost"} == {"auditor"}
        ledger.close()
    assert pair.meet() == CONTENT


def test_the_word_is_refused_where_nothing_was_lost(pair: Pair) -> None:
    pair.meet()
    ended = pair.meet(lost=dict.fromkeys(SIDES, ("auditor",)))
    for name in SIDES:
        assert isinstance(ended[name], UsageError)
        assert "leave it out" in str(ended[name])


def test_under_another_certificate_it_may_be_somebody_else(pair: Pair) -> None:
    pair.meet(certificates=dict.fromkeys(SIDES, "a" * 64))
    shutil.rmtree(pair.folder / "auditor")
    assert pair.meet(certificates=dict.fromkeys(SIDES, "b" * 64)) == CONTENT
    assert "auditor was met before under another certificate" in pair.warned["developer"][0]


def test_nothing_is_told_that_a_power_cut_could_take_back(pair: Pair) -> None:
    """A note that an opening went through is not waited for: it is not told of before it is on disk."""
    ledger = pair.ledger("auditor")
    before = ledger.end
    ledger.opened(RECEIPT)
    assert ledger.end == before
    assert ledger.settled().entries == before.entries + 1
    ledger.close()
