"""A developer that asks for what it may not have: refused on both sides, with a reason, and nothing is released.

The rogue is the program's own developer up to the training, in place of which it attacks with the real messages, over
the real session.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import secure_fair.parties.developer
from secure_fair.attacks.common.lies import lie_about_rows
from secure_fair.errors import BudgetExceeded
from secure_fair.ids import as_ids, as_text
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.parties import messages
from secure_fair.parties.messages import Finished, Proceed
from secure_fair.parties.secure_auditors import SecureAuditors
from secure_fair.privacy.admission import Admission
from secure_fair.scenarios.schema import Scenario
from tests import asks
from tests.parties.company import Company, Ended, program, tiny

Attack = Callable[[SecureAuditors], None]

EVERYBODY = np.arange(200, dtype=np.int64)  # the training records of ``tiny``
QUERY = torch.full((200, 2), 0.5)


def rogue(attack: Attack, arguments: list[str]) -> None:
    """The developer with ``attack`` in the place of its training."""

    def instead(config: object, data: object, auditors: SecureAuditors, *rest: object, **more: object) -> None:
        attack(auditors)

    secure_fair.parties.developer.develop = instead  # type: ignore[assignment]
    program(arguments)


def ask(auditors: SecureAuditors, records: np.ndarray = EVERYBODY, private: Tensor = QUERY, **fields: Any) -> None:
    """One request and what follows it."""
    values = {"operation": "moment", "attribute": "male", "width": private.shape[1], **fields}
    auditors.release(Ask(**values), records, [private])


# --- the attacks; at module level, so that a party can be given them --------------------------------------------------


def unknown_operation(auditors: SecureAuditors) -> None:
    ask(auditors, operation="attributes")


def unplanned_operation(auditors: SecureAuditors) -> None:
    ask(auditors, operation="penalty_rows")


def attribute_not_held(auditors: SecureAuditors) -> None:
    auditors.config.holders["young"] = ("auditor",)
    ask(auditors, attribute="young")


def record_twice(auditors: SecureAuditors) -> None:
    ask(auditors, np.append(EVERYBODY[:-1], 0))


def too_few_records(auditors: SecureAuditors) -> None:
    ask(auditors, EVERYBODY[:31], QUERY[:31])


def record_beyond_the_table(auditors: SecureAuditors) -> None:
    ask(auditors, EVERYBODY + 101)


def negative_record(auditors: SecureAuditors) -> None:
    ask(auditors, EVERYBODY - 1)


def no_columns(auditors: SecureAuditors) -> None:
    ask(auditors, private=torch.zeros(200, 0))


def counts_of_training_records(auditors: SecureAuditors) -> None:
    """What these records have told by moments is told again, and from another budget."""
    ask(auditors)
    asks.evaluation_counts(auditors, "male", EVERYBODY, torch.arange(200) % 2, 2)


def moment_of_test_records(auditors: SecureAuditors) -> None:
    """And the other way round."""
    test = np.arange(200, 300, dtype=np.int64)
    asks.evaluation_counts(auditors, "male", test, torch.arange(100) % 2, 2)
    ask(auditors, test, QUERY[:100])


def same_counts_again(auditors: SecureAuditors) -> None:
    """Exact counts that differ in one prediction would tell that person's attribute."""
    test = np.arange(200, 300, dtype=np.int64)
    strata = torch.zeros(100, dtype=torch.int64)
    asks.evaluation_counts(auditors, "male", test, strata, 2)
    strata[0] = 1
    asks.evaluation_counts(auditors, "male", test, strata, 2)


def counts_asked_for_again(auditors: SecureAuditors) -> None:
    """The same question in another order: answered without a message."""
    test = np.arange(200, 300, dtype=np.int64)
    strata = torch.arange(100) % 4
    first = asks.evaluation_counts(auditors, "male", test, strata, 4)
    again = asks.evaluation_counts(auditors, "male", test[::-1].copy(), strata.flip(0), 4)
    assert first is not None
    assert again is not None
    raise SystemExit(f"the same: {torch.equal(first.values, again.values)}, {first.sigma == again.sigma > 0}")


def rows_too_long(auditors: SecureAuditors) -> None:
    """Every entry is within 1, the row is not: one attribute would move the answer by 2."""
    lie_about_rows()
    ask(auditors, private=torch.ones(200, 4))


def rows_too_long_and_no_check(auditors: SecureAuditors) -> None:
    """The same, telling the auditor that there is nothing to check."""
    told = auditors._proceed
    auditors._proceed = lambda proceed: told(Proceed(go=True, checkers=[]))  # type: ignore[method-assign]
    lie_about_rows()
    ask(auditors, private=torch.ones(200, 4))


def one_wrapping_entry(auditors: SecureAuditors) -> None:
    """An entry whose square wraps around the ring to nothing."""
    lie_about_rows()
    query = torch.zeros(200, 2)
    query[0, 0] = 2.0**16
    ask(auditors, private=query)


def more_than_planned(auditors: SecureAuditors) -> None:
    for _ in range(100):
        ask(auditors)


def on_after_a_refusal(auditors: SecureAuditors) -> None:
    """Go through the operation though the budget is spent."""
    opened: list[Tensor] = []
    try:
        more_than_planned(auditors)
    except BudgetExceeded:
        wanted = Ask(operation="moment", attribute="male", width=2)
        messages.send(auditors.network, "auditor", wanted, messages.pack_records(EVERYBODY))
        messages.receive(auditors.network, "auditor")  # refused again
        messages.send(auditors.network, "auditor", Proceed(go=True))
        moment = OPERATIONS["moment"]
        inputs = moment.share(auditors.state, wanted, EVERYBODY, [QUERY], ["auditor"])
        shared = moment.compute(auditors.state, wanted, EVERYBODY, inputs, Update())
        opened.append(auditors.session.receive_opening(shared, bound=1e6))
    raise SystemExit(f"got {opened}")


def garbage(auditors: SecureAuditors) -> None:
    auditors.network.send("auditor", messages.CHANNEL, b"\xff" * 64)
    messages.receive(auditors.network, "auditor")


def unknown_message(auditors: SecureAuditors) -> None:
    head = b'{"kind": "tell", "operation": "everything"}'
    auditors.network.send("auditor", messages.CHANNEL, struct.pack("<I", len(head)), head)
    messages.receive(auditors.network, "auditor")


def half_an_index(auditors: SecureAuditors) -> None:
    wanted = Ask(operation="moment", attribute="male", width=2)
    messages.send(auditors.network, "auditor", wanted, messages.pack_records(EVERYBODY)[:-3])
    messages.receive(auditors.network, "auditor")


def finished_instead_of_going_on(auditors: SecureAuditors) -> None:
    wanted = Ask(operation="moment", attribute="male", width=2)
    messages.send(auditors.network, "auditor", wanted, messages.pack_records(EVERYBODY))
    messages.receive(auditors.network, "auditor")
    messages.send(auditors.network, "auditor", Finished())
    messages.receive(auditors.network, "auditor")


def wrong_shapes(auditors: SecureAuditors) -> None:
    """Orthogonality to matrices of another width than the auditor's."""
    asks.orthogonality(auditors, "male", [torch.zeros(2, 7) for _ in range(3)])


# --- the tests --------------------------------------------------------------------------------------------------------


def end_of(attack: Attack, scenario: Scenario, stores: Path, folder: Path) -> tuple[dict[str, Ended], list[str]]:
    """How everybody ended, and the operations that the auditor's ledger has as released."""
    with Company(scenario, stores, folder, timeout=20.0, entries={"developer": partial(rogue, attack)}) as company:
        ended = company.wait(100)
    return ended, [entry["operation"] for entry in entries_of(folder, "auditor", "planned")]


def entries_of(folder: Path, party: str, kind: str) -> list[dict[str, Any]]:
    """The entries of this kind in a party's ledger."""
    ledger = folder / "states" / party / "ledger" / "ledger.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    return [entry for entry in entries if entry["kind"] == kind]


EXACT: list[tuple[Attack, str]] = [
    (unknown_operation, "operation 'attributes' is unknown"),
    (unplanned_operation, "operation 'penalty_rows' is not in the plan for male"),
    (attribute_not_held, "attribute 'young' is unknown; known are male"),
    (record_twice, "a record appears twice in one request"),
    (too_few_records, "31 records: the policy's minimum_batch is 32"),
    (record_beyond_the_table, "record 300: the enrolled table has 300 records"),
    (negative_record, "record -1: the enrolled table has 300 records"),
    (no_columns, "shape (0, 1): every size must be at least 1"),
]


@pytest.mark.parametrize(("attack", "reason"), EXACT, ids=[attack.__name__ for attack, _ in EXACT])
def test_a_request_that_may_not_be_is_refused(
    tmp_path: Path, weights: Path, stores: Path, attack: Attack, reason: str
) -> None:
    ended, released = end_of(attack, tiny(weights), stores, tmp_path)
    assert released == []
    for name in ("auditor", "developer"):
        assert ended[name].code == 4, ended[name]
        assert reason in ended[name].said, ended[name]
        assert "Traceback" not in ended[name].said
    assert ended["dealer"].code != 0


def splitless_auditor(arguments: list[str]) -> None:
    """The auditor without the check that training and evaluation are of different records."""
    Admission._check_split = lambda *_: None  # type: ignore[method-assign]
    program(arguments)


PRIVACY = {"epsilon": 2.0, "evaluation_epsilon": 1.0}
BOTH_BUDGETS: list[tuple[Attack, list[str], str]] = [
    (
        counts_of_training_records,
        ["moment", "evaluation_counts"],
        "evaluation_counts: record 0 is a training record, the release is of test records: ask for records 200 to 299",
    ),
    (
        moment_of_test_records,
        ["evaluation_counts", "moment"],
        "moment: record 200 is a test record, the release is of training records: ask for records 0 to 199",
    ),
]


@pytest.mark.parametrize(
    ("attack", "releases", "reason"), BOTH_BUDGETS, ids=[attack.__name__ for attack, *_ in BOTH_BUDGETS]
)
def test_no_record_has_both_budgets(
    tmp_path: Path, weights: Path, stores: Path, attack: Attack, releases: list[str], reason: str
) -> None:
    ended, released = end_of(attack, tiny(weights, privacy=PRIVACY), stores, tmp_path)
    assert released == releases[:1]
    for name in ("auditor", "developer"):
        assert ended[name].code == 4, ended[name]
        assert reason in ended[name].said, ended[name]
    assert [entry["reason"] for entry in entries_of(tmp_path, "auditor", "refused")] == [reason]


@pytest.mark.parametrize(
    ("attack", "releases", "reason"), BOTH_BUDGETS, ids=[attack.__name__ for attack, *_ in BOTH_BUDGETS]
)
def test_without_the_check_a_record_has_both_budgets(
    tmp_path: Path, weights: Path, stores: Path, attack: Attack, releases: list[str], reason: str
) -> None:
    entries = {"developer": partial(rogue, attack), "auditor": splitless_auditor}
    with Company(tiny(weights, privacy=PRIVACY), stores, tmp_path, timeout=20.0, entries=entries) as company:
        company.succeed(100)
    planned = entries_of(tmp_path, "auditor", "planned")
    assert [entry["operation"] for entry in planned] == releases
    assert len({entry["records"] for entry in planned}) == 1  # the same records in both


def test_exact_counts_are_not_given_twice(tmp_path: Path, weights: Path, stores: Path) -> None:
    ended, released = end_of(same_counts_again, tiny(weights), stores, tmp_path)
    assert released == ["evaluation_counts"]
    assert [ended[name].code for name in ("auditor", "developer")] == [4, 4]
    assert "were evaluated 1 times, as planned" in ended["auditor"].said


def test_a_question_asked_again_is_answered_from_memory(tmp_path: Path, weights: Path, stores: Path) -> None:
    ended, released = end_of(counts_asked_for_again, tiny(weights, privacy=PRIVACY), stores, tmp_path)
    assert released == ["evaluation_counts"]
    assert "the same: True, True" in ended["developer"].said
    kept = [file.suffix for file in (tmp_path / "states" / "developer" / "answers").iterdir()]
    assert sorted(kept) == ["", ".asked", ".npz"]


@pytest.mark.parametrize(
    "attack", [rows_too_long, rows_too_long_and_no_check, one_wrapping_entry], ids=lambda attack: attack.__name__
)
def test_rows_beyond_the_bound_cannot_be_proved(tmp_path: Path, weights: Path, stores: Path, attack: Attack) -> None:
    ended, released = end_of(attack, tiny(weights, privacy=PRIVACY), stores, tmp_path)
    assert released == []
    assert ended["auditor"].code == 4
    assert "developer has not proved that its input keeps to its bound" in ended["auditor"].said
    assert ended["developer"].code in (4, 5)
    assert "has not proved" in ended["developer"].said
    (learned,) = entries_of(tmp_path, "auditor", "verdict")
    about = {"operation": "moment", "attribute": "male", "receiver": "auditor", "within": False}
    assert {key: learned[key] for key in about} == about
    if attack is not rows_too_long_and_no_check:  # who does not listen does not write it down either
        (told,) = entries_of(tmp_path, "developer", "verdict")
        assert {key: told[key] for key in about} == about


def test_a_request_beyond_the_budget_is_refused(tmp_path: Path, weights: Path, stores: Path) -> None:
    ended, released = end_of(more_than_planned, tiny(weights, privacy=PRIVACY), stores, tmp_path)
    assert ended["developer"].code == 3, ended["developer"]
    assert "auditor refused: male: the plan's budget" in ended["developer"].said
    assert 2 <= len(released) < 10
    assert set(released) == {"moment"}


@pytest.mark.slow
def test_who_goes_on_after_a_refusal_gets_nothing(tmp_path: Path, weights: Path, stores: Path) -> None:
    planned = end_of(more_than_planned, tiny(weights, privacy=PRIVACY), stores, tmp_path / "planned")[1]
    ended, released = end_of(on_after_a_refusal, tiny(weights, privacy=PRIVACY), stores, tmp_path / "on")
    assert released == planned
    assert "got " not in ended["developer"].said
    assert ended["auditor"].code in (4, 5), ended["auditor"]


@pytest.mark.parametrize(
    "attack",
    [garbage, unknown_message, half_an_index, finished_instead_of_going_on],
    ids=lambda attack: attack.__name__,
)
def test_messages_out_of_order_or_form_end_the_run(tmp_path: Path, weights: Path, stores: Path, attack: Attack) -> None:
    ended, released = end_of(attack, tiny(weights), stores, tmp_path)
    assert released == []
    assert ended["auditor"].code == 4, ended["auditor"]
    assert "Traceback" not in ended["auditor"].said
    assert ended["developer"].code in (4, 5)


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path, weights: Path, stores: Path) -> None:
    method = {"name": "orth", "release": "gradient"}
    ended, released = end_of(wrong_shapes, tiny(weights, method=method), stores, tmp_path)
    assert [ended[name].code for name in ("auditor", "developer")] == [4, 4], ended
    assert "orthogonality" not in released


def unknown_id(arguments: list[str]) -> None:
    """Enrols somebody whom the auditor does not know."""
    pack = messages.pack_ids
    messages.pack_ids = lambda ids: pack(as_ids(["0" * 32, *as_text(ids[1:])]))  # type: ignore[assignment]
    program(arguments)


def repeated_id(arguments: list[str]) -> None:
    """Enrols somebody twice."""
    pack = messages.pack_ids
    messages.pack_ids = lambda ids: pack(np.concatenate([ids[1:2], ids[1:]]))  # type: ignore[assignment]
    program(arguments)


def missing_id(arguments: list[str]) -> None:
    """Enrols fewer than announced."""
    pack = messages.pack_ids
    messages.pack_ids = lambda ids: pack(ids[1:])  # type: ignore[assignment]
    program(arguments)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (unknown_id, "1 of 300 record ids are unknown"),
        (repeated_id, "has an id twice"),
        (missing_id, "a table of 300 record ids was announced, 299 came"),
    ],
    ids=["unknown", "repeated", "missing"],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, weights: Path, stores: Path, entry: Callable[[list[str]], None], reason: str
) -> None:
    with Company(tiny(weights), stores, tmp_path, timeout=20.0, entries={"developer": entry}) as company:
        ended = company.wait(100)
    for name in ("auditor", "developer"):
        assert ended[name].code == 4, ended[name]
        assert reason in ended[name].said, ended[name]
