"""The needs that follow from shapes are those that sessions between processes count: rounds exactly, bytes by 2 %."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from secure_fair.bench.forecast import forecast, seconds, total
from secure_fair.bench.needs import Needs, Parties, check_size, needs_of
from secure_fair.bench.pace import Effort, Pace, Work
from secure_fair.errors import UsageError
from secure_fair.learning.settings import Backbone, Lora, MethodSettings, ModelSettings, TrainingLoop
from secure_fair.mpc.cost import OperationCost
from secure_fair.mpc.link import LinkSettings
from secure_fair.mpc.menu import MAX_ELEMENTS
from secure_fair.mpc.schedule import Forecast
from secure_fair.mpc.session import Session
from secure_fair.operations import OPERATIONS
from secure_fair.operations.common.ask import Ask
from secure_fair.operations.common.operation import Update
from secure_fair.operations.common.state import PublicFacts, SharedState
from secure_fair.parties.asked import ENROL, Asked, Sizes
from secure_fair.parties.config import RunConfig
from secure_fair.privacy.target import Privacy
from tests.mpc.harness import Settings, run_fresh

TWO, THREE = ("developer", "auditor"), ("developer", "auditor", "second")
PROVED = ("auditor",)
LINK = LinkSettings()


def case(operation: str, records: int, groups: int, width: int = 0, times: int = 4, **others: Any) -> Asked:
    attribute = f"{operation} {records} {groups} {width} {others.get('verifiers')}"
    shapes = [(records, width)] if operation == "entropy_rows" else []
    ask = Ask(operation=operation, attribute=attribute, width=width, shapes=shapes)
    batch = OPERATIONS[operation].rule.row_per_record
    return Asked(operation, attribute, times, records, groups, ask, holders=("auditor",), batch=batch, **others)


CASES = [
    case("moment", 300, 2, 16),
    case("moment", 301, 5, 3, verifiers=PROVED, times=2),
    case("moment", 9_000, 2, 16, verifiers=PROVED),
    case("moment", 7_000, 3, 4, times=1),
    case("group_counts", 2_500, 2, 4, verifiers=PROVED, times=1),
    case("penalty_rows", 70, 5),
    case("adversary_rows", 70, 2, 24, verifiers=PROVED),
    case("entropy_rows", 71, 5, 24),
]


def measured(session: Session, cases: list[Asked]) -> list[tuple[Any, Any]]:
    """Enrolment and releases of every case, done as the parties do; what the meter of each party counts of either."""
    found = []
    for asked in cases:
        facts = PublicFacts("developer", {asked.attribute: asked.groups}, {}, asked.records + 1, False, {})
        state, begun = SharedState(session, facts), session.meter.summary()
        codes = np.arange(facts.enrolled) % asked.groups if session.name in asked.holders else None
        turns = np.arange(facts.enrolled) % len(asked.holders)
        parts = {name: turns == place for place, name in enumerate(asked.holders)} if asked.parted else {}
        state.share_memberships(asked.attribute, asked.holders, codes, parts)
        release(session, state, asked)
        now = session.meter.summary()
        found.append(tuple(now[name] - begun.get(name, OperationCost()) for name in (ENROL, asked.operation)))
    return found


def release(session: Session, state: SharedState, asked: Asked) -> None:
    forecast, operation, ask = Forecast(session), OPERATIONS[asked.operation], asked.ask
    rows = np.arange(asked.records)
    if asked.batch:
        rows = np.random.default_rng(1).permutation(state.facts.enrolled)[: asked.records]
    shapes = operation.inputs(ask, rows) if session.name == "developer" else []
    private = [torch.nn.functional.one_hot(torch.arange(n) % k, k).double() for n, k in shapes]
    for _ in range(asked.times):
        with forecast.request(ask.alike(rows)), session.operation(asked.operation):
            inputs = operation.share(state, ask, rows, private, list(asked.verifiers))
            value = operation.compute(state, ask, rows, inputs, Update())
            if session.name == "developer":
                session.receive_ring(value)
            else:
                session.reveal_to("developer", value)
        forecast.ask_ahead()


def agree(needs: Needs, cost: OperationCost) -> None:
    assert (needs.calls, needs.rounds) == (cost.calls, cost.rounds)
    for name in ("bytes_sent", "bytes_received", "dealer_bytes_sent", "dealer_bytes_received"):
        assert getattr(needs, name) == pytest.approx(getattr(cost, name), rel=0.02, abs=40), name


@pytest.mark.parametrize("names", [TWO, THREE], ids=["two", "three"])
def test_needs_are_what_a_session_counts(names):
    costs = run_fresh(measured, CASES, settings=Settings(len(names), timeout=200.0))[0]
    assert isinstance(costs, list), costs
    for asked, (shared, spent) in zip(CASES, costs, strict=True):
        agree(needs_of(Parties(names), asked), spent)
        enrol = Asked(ENROL, asked.attribute, 1, asked.records + 1, asked.groups, holders=asked.holders)
        agree(needs_of(Parties(names), enrol), shared)


def in_parts(one: Asked) -> Asked:
    return replace(one, holders=("auditor", "second"), parted=True)


PARTS = [
    in_parts(case("moment", 3_000, 2, 16)),
    in_parts(case("moment", 2_000, 5, 3, verifiers=("auditor", "second"), times=2)),
    in_parts(case("group_counts", 2_500, 2, 4, verifiers=("auditor", "second"), times=1)),
    in_parts(case("penalty_rows", 70, 5)),
]


def test_needs_of_people_in_parts_are_what_a_session_counts():
    costs = run_fresh(measured, PARTS, settings=Settings(3, timeout=200.0))[0]
    assert isinstance(costs, list), costs
    for asked, (shared, spent) in zip(PARTS, costs, strict=True):
        agree(needs_of(Parties(THREE), asked), spent)
        enrol = Asked(ENROL, asked.attribute, 1, asked.records + 1, asked.groups, holders=asked.holders)
        found = needs_of(Parties(THREE), enrol)
        assert (found.calls, found.rounds) == (shared.calls, shared.rounds)
        assert found.bytes_received == pytest.approx(shared.bytes_received, rel=0.03, abs=200)
        assert found.dealer_bytes_received == pytest.approx(shared.dealer_bytes_received, rel=0.03, abs=200)


def test_more_than_the_engine_takes_is_refused_with_the_bound():
    fits = case("moment", MAX_ELEMENTS // 16, 2, 16)
    check_size(fits)
    with pytest.raises(UsageError, match=f"use at most {MAX_ELEMENTS // 16:,} records"):
        needs_of(Parties(TWO), replace(fits, records=MAX_ELEMENTS // 16 + 1))


def test_seconds_are_rounds_bytes_and_waiting():
    needs = Needs(calls=1, rounds=6, waits=1, verdicts=1, bytes_sent=2e6, bytes_received=1e6)
    proved = case("moment", 10, 2, 16, verifiers=PROVED)
    pace = Pace(Work(0.001, 1e-8), Work(0.003, 3e-8), Work(0.002, 2e-8), Work(0.004, 4e-8), Work(0, 0))
    here = seconds(needs, proved, 1, LinkSettings(), pace)
    assert here == pytest.approx(6 * 0.003 + 3e6 * 3e-8)
    for operation, work in (("moment", pace.opened), ("adversary_rows", pace.approximated)):  # unproved
        one = seconds(needs, case(operation, 10, 2, 16), 1, LinkSettings(), pace)
        assert one == pytest.approx(6 * work.round_seconds + 3e6 * work.a_byte)
    far = seconds(needs, proved, 1, LinkSettings(latency_ms=50, bandwidth_mbps=80), pace)
    assert far - here == pytest.approx(9 * 0.05 + 8 * 2e6 / 80e6)


def test_work_is_the_line_through_few_rows_and_many():
    few, many = Effort(0.010 + 1e3 * 1e-8, 1e3, 5), Effort(0.010 + 1e6 * 1e-8, 1e6, 5)
    assert few.work(many, 0.0) == Work(pytest.approx(0.002), pytest.approx(1e-8))
    assert few.work(many, 0.001) == Work(pytest.approx(0.001), pytest.approx(1e-8))


def test_a_run_s_forecast_has_a_line_for_each_operation():
    config = RunConfig(
        seed=0,
        developer="developer",
        dealer="dealer",
        auditors=("auditor",),
        holders={"male": ("auditor",)},
        model=ModelSettings(Backbone(), Lora(), 32),
        train=TrainingLoop(epochs=3, batch_size=50),
        method=MethodSettings(name="odds", release="moments", components=5),
        precision_bits=16,
        privacy=Privacy(epsilon=1.0, evaluation_epsilon=1.0),
        penalised=("male",),
    )
    lines = {line.operation: line for line in forecast(config, Sizes(200, 100, {"male": ("no", "yes")}), LINK, None)}
    assert list(lines) == [ENROL, "group_counts", "moment", "evaluation_counts"]
    assert [line.calls for line in lines.values()] == [1, 1, 3, 1]
    query = 8 * 200 * 2 * 5  # a block of columns for each class
    assert 3 * query < lines["moment"].traffic < 3 * (query + 60_000)
    assert all(line.seconds is None for line in lines.values())
    assert total(lines.values()).rounds == sum(line.rounds for line in lines.values())
