"""What an operator may do to a run, decision by decision."""

import pytest

from blackboard import events as ev
from coordinator.decision import Cancel, Pause, Reply, Sweep
from coordinator.decisions.dispatch import wanted
from protocol.messages import PauseRequest
from tests.support.table import Table, spec


@pytest.fixture
def table():
    table = Table()
    yield table
    table.check()


def pause(table: Table, *, paused: bool = True) -> str:
    reply = table.do(Pause(PauseRequest(paused=paused, reason="lunch"), "source")).effects[-1]
    assert isinstance(reply, Reply)
    return reply.message.verdict


def test_nothing_new_is_dispatched_while_a_run_is_paused(table):
    table.held()
    assert pause(table) == "paused"
    assert table.dispatch() is None
    assert wanted(table.state, table.now_ms) == {"explore": 1}
    assert pause(table, paused=False) == "resumed"
    assert table.dispatch() is not None


def test_what_runs_when_a_run_is_paused_may_finish_and_its_follow_ups_wait(table):
    lease = table.held()
    pause(table)
    follow_ups = [{"agent": "explore", "topic": "gamma"}]
    passage = [{"type": "passage", "payload": 1}]
    assert table.commit(lease, reward=0.5, follow_ups=follow_ups, artifacts=passage).verdict == "settled"
    assert [row.topic for row in table.state.directions.values()] == ["alpha", "beta", "gamma", ""]
    assert table.dispatch("verify") is None
    pause(table, paused=False)
    assert table.dispatch("verify") is not None


def test_an_unclaimed_dispatch_is_taken_back_and_its_claim_is_refused_clearly(table):
    lease = table.dispatch()
    pause(table)
    assert "paused" in table.claim(lease).refused[0].reason
    assert table.task(lease).tries == 0
    assert table.commit(lease).verdict == "stale"
    pause(table, paused=False)
    again = table.dispatch()
    assert (again.task, table.task(again).attempt, table.task(again).tries) == (lease.task, 2, 1)
    assert table.claim(again).granted == (again,)


def test_pausing_twice_and_resuming_what_is_not_paused_change_nothing(table):
    assert pause(table, paused=False) == "unchanged"
    pause(table)
    before = len(table.log)
    assert pause(table) == "unchanged"
    assert len(table.log) == before


def test_a_paused_run_does_not_end_until_it_is_resumed():
    table = Table(
        spec(agents=[{"name": "explore", "max_visits": 1}], roots=[{"agent": "explore", "topic": "a"}])
    )
    lease = table.held()
    pause(table)
    table.commit(lease, reward=1.0)
    assert table.conclude() == []
    pause(table, paused=False)
    assert isinstance(table.conclude()[-1], ev.RunEnded)
    assert pause(table) == "ended"
    table.check()


def test_a_paused_run_can_be_cancelled(table):
    pause(table)
    table.do(Cancel("enough", "source"))
    assert pause(table, paused=False) == "ended"
    assert isinstance(table.conclude()[-1], ev.RunEnded)


def test_the_deadline_does_not_stand_still_while_a_run_is_paused():
    table = Table(spec(deadline_ms=2_000_000))
    lease = table.dispatch()
    pause(table)
    table.now_ms = 2_000_000
    table.do(Sweep())
    assert table.task(lease).status == "cancelled"
    table.check()
