"""What is counted, bounded and taken back: the sums that budgets and the frontier rest on."""

import pytest

from blackboard import events as ev
from coordinator.decision import Loss, Lost, Sweep
from tests.support.table import Table, spec


@pytest.fixture
def table():
    table = Table()
    yield table
    table.check()


def test_a_loss_takes_nothing_back_from_another_incarnation(table):
    lease = table.held(incarnation="i2")
    loss = Loss("restarted", "worker w1 restarted")
    assert table.do(Sweep([Lost("w1", "i1", {lease.task: loss})])).events == []
    assert table.task(lease).status == "running"


def test_a_discovery_that_proposes_the_same_thing_twice_opens_one_direction(table):
    lease = table.held()
    again = {"agent": "explore", "topic": "gamma"}
    table.commit(lease, follow_ups=[again, again])
    opened = [event for event in table.log if isinstance(event, ev.DirectionOpened)]
    assert [event.topic for event in opened].count("gamma") == 1
    assert table.state.totals.directions == 3


def test_the_limit_of_directions_holds_within_one_discovery():
    table = Table(spec(max_directions=4))
    lease = table.held()
    table.commit(lease, follow_ups=[{"agent": "explore", "topic": f"topic {n}"} for n in range(5)])
    assert table.state.totals.directions == 4
    refused = [event for event in table.log if isinstance(event, ev.FollowUpRefused)]
    assert len(refused) == 3
    assert all("limit" in event.reason for event in refused)
    table.check()


def test_what_an_attempt_used_counts_whether_or_not_it_brought_a_result(table):
    lease = table.held()
    failure = {"kind": "transient", "message": "reset"}
    table.commit(lease, outcome="failed", failure=failure, usage={"model_calls": 2, "tokens_in": 10})
    table.now_ms += 100_000
    again = table.held()
    assert again.task == lease.task
    table.commit(again, usage={"model_calls": 3, "tokens_in": 5})
    assert table.task(lease).usage.model_calls == table.state.totals.usage.model_calls == 5
    assert table.state.totals.usage.tokens_in == 15


def test_a_dead_task_tells_the_frontier_a_reward_of_nothing(table):
    lease = table.held()
    table.commit(lease, outcome="failed", failure={"kind": "bug", "message": "boom"})
    direction = table.state.directions[table.task(lease).direction]
    assert (direction.visits, direction.reward_sum_micro) == (1, 0)
