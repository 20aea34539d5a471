"""What a run accepts is bounded: deadlines, replies, payloads, and directions that nobody asked for."""

import pytest

from blackboard import events as ev
from blackboard.state import TaskRow
from coordinator.decision import Cancel, Redispatch, Stopped, Sweep
from coordinator.submit import SETTINGS_BYTES, check
from protocol.errors import InvalidMessage
from protocol.messages import INLINE_BODY_BYTES, REPLY_BYTES, CancelRequest, FollowUp, Lease
from tests.support.table import Table, spec

DEADLINE_MS = 1_050_000


@pytest.fixture
def late():
    """A run with a deadline 50 s away: one task runs, one is dispatched."""
    table = Table(spec(deadline_ms=DEADLINE_MS, budget={}))
    table.held()
    table.dispatch()
    yield table
    table.check()


def test_what_waits_is_cancelled_at_the_deadline_and_what_runs_may_bring_its_result(late):
    (running,) = late.state.held["w1"]
    late.now_ms = DEADLINE_MS
    late.do(Sweep())
    assert late.state.dispatched == {}
    assert late.state.tasks[running].status == "running"
    late.now_ms += 30_000
    late.do(Sweep())
    assert late.state.tasks[running].status == "cancelled"
    assert late.dispatch() is None


def test_the_finishing_agents_report_after_the_deadline(late):
    (running,) = late.state.held["w1"]
    late.commit(lease_of(late.state.tasks[running]), reward=0.5)
    late.now_ms = DEADLINE_MS + 3_600_000
    late.do(Sweep())
    late.conclude()
    lease = late.held("report")
    late.do(Sweep())
    assert late.task(lease).status == "running"
    assert late.commit(lease, reward=1.0).verdict == "settled"
    late.conclude()
    assert (late.state.totals.status, late.state.totals.reason) == ("done", "the deadline has passed")


def test_a_task_that_the_deadline_stopped_is_not_tried_again(late):
    (running,) = late.state.held["w1"]
    lease = late.state.tasks[running]
    late.now_ms = DEADLINE_MS
    failure = {"kind": "transient", "message": "agent 'explore' did not finish in 5 s"}
    late.commit(lease_of(lease), outcome="failed", failure=failure)
    assert late.state.tasks[running].status == "cancelled"
    assert "deadline" in late.state.tasks[running].reason


def test_what_artifacts_trigger_does_not_keep_a_run_alive_past_its_deadline(late):
    (running,) = late.state.held["w1"]
    draft = {"type": "passage", "payload": {"quote": "x"}}
    late.commit(lease_of(late.state.tasks[running]), reward=0.5, artifacts=[draft])
    assert late.state.choosable["verify"] == 1
    late.now_ms = DEADLINE_MS
    late.do(Sweep())
    assert late.dispatch("verify") is None
    assert any(isinstance(event, ev.RunFinishing) for event in late.conclude())


def lease_of(task: TaskRow) -> Lease:
    return Lease(task=task.id, token=task.token)


def test_nobody_can_start_a_finishing_agent_early():
    table = Table()
    table.commit(table.held(), follow_ups=[{"agent": "report", "topic": "finish"}])
    assert refusals(table) == ["agent 'report' runs once, when all else has ended"]
    table.check()


def test_a_finishing_agent_cannot_open_exploration_again():
    table = Table(spec(budget={"tasks": 2}))
    for _ in range(2):
        table.commit(table.held(), reward=0.1, exhausted=True)
    table.conclude()
    table.commit(table.held("report"), follow_ups=[{"agent": "explore", "topic": "more"}])
    assert refusals(table) == ["exploration has ended"]
    table.conclude()
    assert table.state.totals.ended
    table.check()


def test_a_direction_proposed_for_an_agent_that_artifacts_trigger_is_visited_once():
    table = Table()
    table.commit(table.held(), follow_ups=[{"agent": "verify", "topic": "endless"}])
    assert table.dispatch("verify") is not None
    assert table.dispatch("verify") is None
    table.check()


def test_a_direction_proposed_a_thousand_times_is_recorded_once_per_parent():
    table = Table()
    again = [{"agent": "explore", "topic": "beta"}] * 1000
    table.commit(table.held(), follow_ups=again)
    table.commit(table.held(), follow_ups=again)
    proposals = [event for event in table.log if isinstance(event, ev.DirectionProposedAgain)]
    assert len(proposals) == 1
    table.check()


def test_a_claim_is_granted_as_far_as_its_reply_has_room():
    table = Table(
        spec(goal="g" * 16_000, roots=[FollowUp(agent="explore", topic=f"t{n}") for n in range(40)])
    )
    leases = [lease for _ in range(6) if (lease := table.dispatch())]
    many = leases * 5
    answer = table.claim(*many)
    assert 0 < len(answer.granted) < len(many)
    assert not answer.refused
    assert len(answer.granted) * 16_000 < REPLY_BYTES


def test_a_payload_over_the_inline_limit_is_dead_lettered():
    table = Table()
    lease = table.held()
    payload = {"numbers": [1e9] * (INLINE_BODY_BYTES // 10)}
    table.commit(lease, artifacts=[{"type": "passage", "payload": payload}])
    assert table.task(lease).status == "dead"
    assert "payload of passage" in table.task(lease).reason
    assert table.state.totals.artifacts == 0
    table.check()


def test_settings_that_no_grant_could_carry_are_refused():
    with pytest.raises(InvalidMessage, match="settings"):
        check(spec(settings={"text": "x" * SETTINGS_BYTES}))


def test_queued_tasks_are_not_dispatched_after_the_deadline():
    table = Table(spec(deadline_ms=DEADLINE_MS))
    table.commit(table.held(), outcome="released")
    table.now_ms = DEADLINE_MS
    assert table.do(Redispatch({"explore": 5}, 5)).events == []
    table.do(Sweep())
    assert [task.status for task in table.state.tasks.values()] == ["cancelled"]
    table.check()


def test_cancelling_a_run_ends_what_is_queued_dispatched_and_running():
    table = Table()
    table.commit(table.held(), outcome="released")
    table.do(Redispatch({"explore": 0}, 0))
    table.held()
    table.dispatch("explore")
    queued = table.held()
    table.commit(queued, outcome="failed", failure={"kind": "transient", "message": "later"})
    table.do(Cancel(CancelRequest(reason="enough"), "source"))
    assert {task.status for task in table.state.tasks.values()} == {"cancelled"}
    table.do(Stopped(list(table.state.stopping)))
    table.conclude()
    assert table.state.totals.status == "cancelled"
    table.check()


def refusals(table: Table) -> list[str]:
    return [event.reason for event in table.log if isinstance(event, ev.FollowUpRefused)]
