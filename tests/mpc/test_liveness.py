"""Who is blamed for a loss, and when parties wait in a circle."""

from __future__ import annotations

import pytest

from secure_fair.mpc.liveness import GRACE_SECONDS, HEARSAY_SECONDS, Suspicion, find_circle, find_loss

NOW = 1000.0
OLD = NOW - GRACE_SECONDS - 0.01
HEARD = NOW - HEARSAY_SECONDS - 0.01


@pytest.mark.parametrize(
    ("suspicions", "silences", "lost"),
    [
        ([], {"bob": 0.4, "carol": 1.0}, None),
        ([], {"bob": 0.4, "carol": 54.1}, "carol"),
        ([], {"bob": 0.4, "carol": 53.9}, None),
        ([], {"bob": 54.2, "carol": 54.7}, "carol"),
        ([Suspicion(NOW - 0.1, "bob", "ended")], {"carol": 0.4}, None),  # the grace period
        ([Suspicion(OLD, "bob", "ended")], {"carol": 0.4}, "bob"),
        ([Suspicion(OLD, "bob", "ended"), Suspicion(OLD, "carol", "ended")], {}, "bob"),  # the first
        # bob reads us no more, and is still heard: he lives, and may say why, but not for ever
        ([Suspicion(OLD, "bob", "ended")], {"bob": 0.4, "carol": 0.4}, None),
        ([Suspicion(NOW - 29.9, "bob", "ended")], {"bob": 0.4, "carol": 0.4}, None),
        ([Suspicion(NOW - 30.1, "bob", "ended")], {"bob": 0.4, "carol": 0.4}, "bob"),
        # bob has left because carol, who was stopped, had become silent to him a little earlier than to us
        ([Suspicion(OLD, "bob", "ended")], {"carol": 53.5}, None),
        ([Suspicion(OLD, "bob", "ended")], {"carol": 54.1}, "carol"),
        ([Suspicion(OLD, "bob", "ended")], {"carol": 29.0}, "bob"),
        # who was blamed comes before who left, once his own words had the time to arrive
        (
            [Suspicion(OLD, "bob", "ended"), Suspicion(OLD, "carol", "garbage", teller="bob")],
            {"carol": 0.4},
            None,
        ),
        (
            [Suspicion(HEARD, "bob", "ended"), Suspicion(HEARD, "carol", "garbage", teller="bob")],
            {"carol": 0.4},
            "carol",
        ),
        # what a party sees for itself need not wait for anybody's words
        ([Suspicion(OLD, "carol", "silent", teller="bob")], {"carol": 54.1}, "carol"),
    ],
)
def test_the_party_really_lost_is_named(
    suspicions: list[Suspicion], silences: dict[str, float], lost: str | None
) -> None:
    found = find_loss(NOW, suspicions, silences, 60.0)
    assert (found.party if found else None) == lost


@pytest.mark.parametrize(
    ("waits", "circle"),
    [
        ({}, []),
        ({"alice": {"bob": 11.0}}, []),
        ({"alice": {"bob": 11.0}, "bob": {"alice": 11.0}}, ["bob", "alice"]),
        ({"alice": {"bob": 11.0}, "bob": {"alice": 9.0}}, []),  # a message may be on its way
        ({"alice": {"bob": 9.0}, "bob": {"alice": 11.0}}, []),
        ({"alice": {"bob": 11.0}, "bob": {"carol": 11.0}, "carol": {"alice": 11.0}}, ["bob", "carol", "alice"]),
        ({"alice": {"bob": 11.0}, "bob": {"carol": 11.0}, "carol": {"bob": 11.0}}, []),  # not through us
        ({"alice": {"bob": 11.0, "carol": 11.0}, "carol": {"alice": 11.0}}, ["carol", "alice"]),
        ({"bob": {"carol": 11.0}, "carol": {"bob": 11.0}}, []),
    ],
)
def test_circles_of_waits(waits: dict[str, dict[str, float]], circle: list[str]) -> None:
    assert find_circle("alice", waits, 10.0) == circle
