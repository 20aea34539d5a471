"""What an operator may do to a run, decision by decision."""

import pytest

from blackboard import events as ev
from blackboard.state import restore
from coordinator.decision import Cancel, Pause, RecordSteps, Reply, Retry, Stopped, Sweep
from coordinator.decisions.dispatch import wanted
from coordinator.decisions.ending import STOP_PATIENCE_MS
from coordinator.liveness import stopped
from protocol.messages import (
    CancelReply,
    CancelRequest,
    Lease,
    PauseRequest,
    RecordRequest,
    RetryReply,
    RetryRequest,
    Step,
    SwarmHeartbeat,
)
from tests.support.table import RUN, Table, spec


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
    table.do(Cancel(CancelRequest(reason="enough"), "source"))
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


def cancel(table: Table, *tasks: str) -> CancelReply:
    reply = table.do(Cancel(CancelRequest(tasks=tasks, reason="enough"), "source")).effects[-1]
    assert isinstance(reply, Reply)
    return reply.message


def beat(lease: Lease | None = None, *, state: str = "running", **changes: object) -> SwarmHeartbeat:
    held = [] if lease is None else [{**lease.model_dump(), "run": RUN, "state": state}]
    fields = {"worker": "w1", "incarnation": "i1", "claims_through": 100, "held": held}
    return SwarmHeartbeat.model_validate(fields | changes)


def test_a_cancelled_run_ends_only_when_its_workers_have_said_that_they_stopped(table):
    lease, queued = table.held(), table.dispatch()
    assert cancel(table) == CancelReply(already_ended=False, cancelled=2, stopping=1)
    assert table.task(queued).stop == ""
    assert table.conclude() == []
    assert stopped(beat(lease), table.state) == []
    assert stopped(beat(lease, state="stopping"), table.state) == []
    confirmed = stopped(beat(), table.state)
    assert confirmed == [lease.task]
    table.do(Stopped(confirmed))
    assert table.task(lease).stop == "confirmed"
    assert isinstance(table.conclude()[-1], ev.RunEnded)
    assert table.do(Stopped(confirmed)).events == []


@pytest.mark.parametrize(
    "changes", [{"incarnation": "i2"}, {"worker": "w2"}, {"claims_through": 0}], ids=lambda it: next(iter(it))
)
def test_a_beat_that_says_nothing_of_the_lease_confirms_no_stop(table, changes):
    table.held()
    cancel(table)
    assert stopped(beat(**changes), table.state) == []


def test_a_stop_that_no_worker_confirms_is_uncertain_after_a_while_and_the_run_ends(table):
    lease = table.held()
    cancel(table)
    table.now_ms += STOP_PATIENCE_MS - 1
    table.do(Sweep())
    assert table.conclude() == []
    table.now_ms += 1
    table.do(Sweep())
    assert table.task(lease).stop == "uncertain"
    assert isinstance(table.conclude()[-1], ev.RunEnded)


def test_whoever_leads_next_goes_on_waiting_for_the_same_stops(table):
    lease = table.held()
    cancel(table)
    rows = table.state
    tasks, directions = rows.tasks.values(), rows.directions.values()
    state = restore(rows.head, rows.spec, rows.totals, tasks, directions, rows.inquiries.values())
    assert list(state.stopping) == [lease.task]


def test_one_task_can_be_cancelled_and_the_run_goes_on(table):
    lease, other = table.held(), table.held()
    reply = cancel(table, lease.task, "task-nobody-knows")
    assert reply == CancelReply(already_ended=False, cancelled=1, stopping=1, missing=("task-nobody-knows",))
    assert (table.task(lease).status, table.task(other).status) == ("cancelled", "running")
    assert table.commit(lease).verdict == "stale"
    assert cancel(table, lease.task).already_ended
    assert table.commit(other, reward=0.5).verdict == "settled"
    assert table.dispatch() is not None


def retry(table: Table, *tasks: str) -> RetryReply:
    reply = table.do(Retry(RetryRequest(tasks=tasks, reason="mended"), "source")).effects[-1]
    assert isinstance(reply, Reply)
    return reply.message


def broken(table: Table, agent: str = "explore") -> Lease:
    lease = table.held(agent)
    table.commit(lease, outcome="failed", failure={"kind": "bug", "message": "boom", "traceback": "line 1"})
    return lease


def test_a_dead_task_begins_again_under_its_own_id_with_a_new_attempt_and_what_it_told_is_taken_back(table):
    lease = broken(table)
    direction = table.state.directions[table.task(lease).direction]
    assert (direction.visits, direction.in_flight, direction.open) == (1, 0, False)
    assert retry(table).retried == 1
    assert (direction.visits, direction.in_flight, direction.open) == (0, 1, True)
    table.check()
    assert table.commit(lease, reward=1.0).verdict == "stale"
    again = table.dispatch()
    assert again.task == lease.task
    assert (table.task(again).attempt, table.task(again).tries, table.task(again).visit) == (2, 1, 1)
    table.claim(again)
    table.commit(again, reward=0.75)
    assert (direction.visits, direction.reward_sum_micro, direction.first_micro) == (1, 750_000, 750_000)
    assert table.state.totals.tasks == {"dead": 0, "done": 1}


def test_a_cancelled_and_a_failed_task_can_be_retried_and_one_that_ended_well_or_not_at_all_cannot(table):
    cancelled = table.dispatch()
    cancel(table, cancelled.task)
    failed = table.held()
    table.commit(failed, outcome="failed", failure={"kind": "user", "message": "no"})
    done = table.held()
    table.commit(done, reward=1.0)
    running = table.held()
    reply = retry(table, cancelled.task, failed.task, done.task, running.task, "task-x")
    assert reply.retried == 2
    assert [(one.task, one.reason) for one in reply.refused] == [
        (done.task, "it ended well"),
        (running.task, "it has not ended: it is running"),
        ("task-x", "the run has no such task"),
    ]
    assert list(table.state.queued) == [cancelled.task, failed.task]


def test_a_retried_task_answers_from_the_journal_of_its_earlier_life(table):
    lease = table.held()
    step = Step(kind="model", path="ask", value=1)
    request = {**lease.model_dump(), "worker": "w1", "incarnation": "i1", "steps": [step]}
    table.do(RecordSteps(RecordRequest.model_validate(request), "source"))
    table.commit(lease, outcome="failed", failure={"kind": "bug", "message": "boom"})
    retry(table)
    assert table.task(lease).steps == 1


def test_a_task_that_may_still_run_is_not_retried(table):
    lease = table.held()
    cancel(table, lease.task)
    assert "not said" in retry(table, lease.task).refused[0].reason
    table.do(Stopped([lease.task]))
    assert retry(table, lease.task).retried == 1
    assert table.task(lease).stop == ""


def ended_table(**changes: object) -> Table:
    """A run that ended with one dead letter, and a report."""
    table = Table(spec(budget={"tasks": 2}, **changes))
    broken(table)
    table.commit(table.held(), reward=0.5)
    table.conclude()
    table.commit(table.held("report"), reward=1.0)
    assert isinstance(table.conclude()[-1], ev.RunEnded)
    return table


def test_retrying_reopens_an_ended_run_which_explores_nothing_new_and_reports_again():
    table = ended_table()
    assert retry(table).retried == 1
    assert (table.state.totals.status, table.state.totals.ended_ms) == ("running", None)
    again = table.held()
    passage = [{"type": "passage", "payload": 1}]
    table.commit(again, reward=1.0, artifacts=passage, follow_ups=[{"agent": "explore", "topic": "new"}])
    assert table.dispatch("explore") is None
    table.commit(table.held("verify"), reward=1.0)
    table.conclude()
    table.commit(table.held("report"), reward=1.0)
    assert table.conclude()[-1].status == "done"
    reports = [task for task in table.state.tasks.values() if task.agent == "report"]
    assert [task.status for task in reports] == ["done", "done"]
    table.check()


def test_a_report_that_died_is_retried_alone_and_the_run_then_ends_well():
    table = Table(spec(budget={"tasks": 1}))
    table.commit(table.held(), reward=0.5)
    table.conclude()
    lease = broken(table, "report")
    assert table.conclude()[-1].status == "failed"
    assert retry(table).retried == 1
    again = table.held("report")
    assert again.task == lease.task
    table.commit(again, reward=1.0)
    assert table.conclude()[-1].status == "done"
    table.check()


def test_a_dead_report_is_not_retried_beside_what_it_is_to_report_on():
    table = Table(spec(budget={"tasks": 2}))
    broken(table)
    table.commit(table.held(), reward=0.5)
    table.conclude()
    report = broken(table, "report")
    table.conclude()
    reply = retry(table)
    assert reply.retried == 1
    assert [one.task for one in reply.refused] == [report.task]
    table.commit(table.held(), reward=1.0)
    table.conclude()
    table.commit(table.held("report"), reward=1.0)
    assert table.conclude()[-1].status == "done"
    table.check()


def test_after_the_deadline_nothing_is_retried_and_the_run_stays_ended():
    table = ended_table(deadline_ms=2_000_000)
    table.now_ms = 2_000_000
    assert "deadline" in retry(table).refused[0].reason
    assert table.state.totals.ended
