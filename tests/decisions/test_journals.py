"""What the leader makes of recorded steps: what they have cost, and effects of which nobody knows."""

import pytest

from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, Estimate
from coordinator.decision import RecordSteps, Reply, ReplyOnceOnDisk
from protocol.messages import Intent, Lease, RecordRequest, Step, Usage
from tests.support.table import Table, spec

USAGE = Usage(model_calls=1, tokens_in=10, tokens_out=5, tokens_cached=4, cost_microdollars=7)


@pytest.fixture
def table():
    table = Table()
    yield table
    table.check()


def record(table: Table, lease: Lease, *steps: Step, on_disk: bool = False) -> list:
    request = RecordRequest(task=lease.task, token=lease.token, worker="w1", incarnation="i1", steps=steps)
    return table.do(RecordSteps(request, "source", on_disk)).effects


def model(number: int) -> Step:
    return Step(kind="model", path="ask", request=f"r{number}", value=number, usage=USAGE)


def intent(ordinal: int) -> Step:
    value = Intent(effect="keyed", key=f"key-{ordinal}").model_dump(mode="json")
    return Step(kind="intent", path="mail", request="r", occurrence=ordinal, value=value)


def effect(ordinal: int) -> Step:
    usage = Usage(tool_calls=1)
    return Step(kind="effect", path="mail", request="r", occurrence=ordinal, value="sent", usage=usage)


def test_what_a_step_has_cost_counts_once_it_is_recorded_and_once_only(table):
    lease = table.held()
    record(table, lease, model(1), model(2))
    record(table, lease, model(1), model(2))
    twice = USAGE.plus(USAGE)
    assert table.task(lease).usage == table.state.totals.usage == twice
    table.commit(lease, usage={"busy_ms": 3})
    assert table.task(lease).usage == twice.plus(Usage(busy_ms=3))
    assert table.state.directions[table.task(lease).direction].cost_sum_micro == 14


def test_a_dead_workers_steps_have_been_paid_for(table):
    lease = table.held()
    record(table, lease, model(1))
    table.commit(lease, outcome="failed", failure={"kind": "bug", "message": "boom"})
    assert table.state.totals.usage == USAGE


def test_an_intent_without_an_outcome_is_counted_until_it_has_one(table):
    lease = table.held()
    record(table, lease, intent(0), intent(1))
    assert table.task(lease).unknown == 2
    record(table, lease, effect(0))
    assert table.task(lease).unknown == 1


def test_an_effect_is_told_from_others_by_path_and_ordinal_alone(table):
    lease = table.held()
    record(table, lease, intent(0))
    (reply,) = record(table, lease, intent(0).model_copy(update={"value": {"effect": "unsafe", "key": "k"}}))
    assert reply.message.verdict == "conflict"


def test_divergences_are_counted(table):
    lease = table.held()
    record(table, lease, Step(kind="divergence", path="ask", request="r", occurrence=3, value={}))
    assert table.task(lease).divergences == 1


def test_the_answer_to_an_unsafe_intent_waits_for_the_disk(table):
    lease = table.held()
    (waiting,) = record(table, lease, intent(0), on_disk=True)
    assert isinstance(waiting, ReplyOnceOnDisk)
    (again,) = record(table, lease, intent(0), on_disk=True)
    assert isinstance(again, ReplyOnceOnDisk)
    (stale,) = record(table, Lease(task=lease.task, token="old"), intent(0), on_disk=True)
    assert isinstance(stale, Reply)
    assert sum(isinstance(event, ev.StepsRecorded) for event in table.log) == 1


def metered(budget: Budget, estimate: Estimate) -> Table:
    report = AgentSpec(name="report", trigger="finish", estimate=Estimate())
    return Table(spec(budget=budget, agents=(AgentSpec(name="explore", estimate=estimate), report)))


def test_what_a_step_has_used_is_drawn_from_what_is_reserved_for_its_task():
    table = metered(Budget(model_calls=10), Estimate(model_calls=3))
    lease = table.held()
    account = table.state.totals.accounts["explore"]
    record(table, lease, model(1), model(2))
    assert (account.spent, account.reserved) == ((2, 0, 30, 14), (1, 0, 0, 0))
    table.commit(lease)
    assert (account.spent, account.reserved) == ((2, 0, 30, 14), (0, 0, 0, 0))
    table.check()


def test_a_step_of_unknown_cost_uses_up_what_is_reserved_of_it():
    table = metered(Budget(cost_microdollars=100), Estimate(model_calls=2, cost_microdollars=40))
    lease = table.held()
    unknown = model(1).model_copy(update={"usage": Usage(model_calls=1, cost_microdollars=None)})
    record(table, lease, unknown)
    account = table.state.totals.accounts["explore"]
    assert (account.spent[3], account.reserved[3]) == (40, 0)
    table.check()
