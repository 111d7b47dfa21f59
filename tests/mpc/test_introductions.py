"""What a peer says of itself, in its request and at the head of its stream, is one thing and about the two of us."""

from __future__ import annotations

import secrets

import pytest

from secure_fair.errors import ProtocolError
from secure_fair.mpc.failure_detector import FailureDetector
from secure_fair.mpc.frames import NONCE_BYTES, Hello
from secure_fair.mpc.introductions import REQUEST, STREAM, Introductions
from secure_fair.mpc.link import Link, LinkSettings

AGREEMENT = {"scenario": "one"}


def hello(sender: str = "bob", receiver: str = "alice", scenario: str = "one") -> Hello:
    return Hello(sender, receiver, secrets.token_bytes(NONCE_BYTES), {"scenario": scenario})


@pytest.fixture
def met() -> tuple[Introductions, FailureDetector, Link]:
    """Alice, who expects bob."""
    detector = FailureDetector("alice", 5.0)
    link = detector.links["bob"] = Link("bob", LinkSettings())
    introductions = Introductions(detector)
    introductions.expect(["bob"], AGREEMENT, None)
    return introductions, detector, link


def test_a_peer_is_met_once_it_has_said_the_same_twice(
    met: tuple[Introductions, FailureDetector, Link],
) -> None:
    introductions, detector, link = met
    said = hello()
    introductions.note(link, REQUEST, said)
    assert introductions.missing == ["bob"]
    introductions.note(link, STREAM, said)
    assert introductions.missing == []
    assert not detector.failed.is_set()


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (hello(), "two connections with different hellos"),  # another process with bob's certificate has one of them
        (hello(receiver="carol"), "a hello from bob to carol"),
        (hello(sender="carol"), "a hello from carol to alice"),
    ],
)
def test_another_word_at_the_other_place_ends_the_session(
    met: tuple[Introductions, FailureDetector, Link], second: Hello, told: str
) -> None:
    introductions, detector, link = met
    introductions.note(link, REQUEST, hello())
    introductions.note(link, STREAM, second)
    assert introductions.missing == ["bob"]
    assert detector.failure is not None
    assert isinstance(detector.failure(), ProtocolError)
    assert told in str(detector.failure())


def test_another_agreement_ends_the_session(met: tuple[Introductions, FailureDetector, Link]) -> None:
    introductions, detector, link = met
    introductions.note(link, REQUEST, hello(scenario="two"))
    assert introductions.missing == ["bob"]
    assert detector.failure is not None
    assert "scenario" in str(detector.failure())
