"""The life of a task, decision by decision (DESIGN §5)."""

import pytest

from blackboard import events as ev
from coordinator.decision import Bury, Cancel, Loss, Lost, RecordSteps, Reply, SendDrop, Stopped, Sweep
from coordinator.liveness import Fleet, Patience
from protocol.messages import (
    CancelReply,
    CancelRequest,
    Lease,
    RecordReply,
    RecordRequest,
    Step,
    SwarmHeartbeat,
)
from tests.support.table import Table, spec


def passage(key: str, text: str = "x") -> dict:
    return {"type": "passage", "key": key, "payload": {"quote": text}}


def take_back(table: Table, lease: Lease, worker: str = "w1", incarnation: str = "i1") -> None:
    loss = Loss("silent", f"worker {worker} was silent for 90 s")
    table.do(Sweep([Lost(worker, incarnation, {lease.task: loss})]))


@pytest.fixture
def table():
    table = Table()
    yield table
    table.check()


def test_a_visit_is_dispatched_claimed_and_settled_once(table):
    lease = table.held()
    assert table.commit(lease, reward=0.5).verdict == "settled"
    assert table.task(lease).status == "done"
    assert table.state.directions[table.task(lease).direction].reward_sum_micro == 500_000


def test_the_first_visits_spread_over_the_directions(table):
    first, second = table.dispatch(), table.dispatch()
    assert table.task(first).direction != table.task(second).direction


def test_a_discovery_delivered_twice_counts_once_and_is_receipted_twice(table):
    lease = table.held()
    assert table.commit(lease, reward=0.5, artifacts=[passage("a")]).verdict == "settled"
    before = len(table.log)
    assert table.commit(lease, reward=0.5, artifacts=[passage("a")]).verdict == "settled"
    assert len(table.log) == before


def test_a_claim_repeated_by_the_same_incarnation_gets_the_same_grant_under_the_newest_number(table):
    lease = table.held()
    first = table.task(lease).grant
    assert table.claim(lease).granted == (lease,)
    assert table.task(lease).grant > first
    before = len(table.log)
    assert table.claim(lease, number=table.task(lease).grant).granted == (lease,)
    assert len(table.log) == before


def test_beats_sent_before_a_repeated_claim_was_answered_do_not_take_the_task_back(table):
    lease = table.held()
    fleet = Fleet(Patience())
    beat = SwarmHeartbeat(worker="w1", incarnation="i1", claims_through=table.task(lease).grant)
    fleet.heard(beat, 1.0)
    table.claim(lease)
    fleet.heard(beat, 2.0)
    assert fleet.lost(table.state, 3.0, 0.0) == []


@pytest.mark.parametrize(("worker", "incarnation"), [("w2", "i1"), ("w1", "i2")])
def test_a_held_task_is_refused_to_anybody_else(table, worker, incarnation):
    lease = table.held()
    answer = table.claim(lease, worker=worker, incarnation=incarnation)
    assert answer.granted == ()
    assert "another worker" in answer.refused[0].reason


def test_a_claim_under_an_old_token_is_refused(table):
    lease = table.held()
    take_back(table, lease)
    again = table.dispatch()
    assert again.task == lease.task
    assert "again" in table.claim(lease, worker="w2").refused[0].reason
    assert table.claim(again, worker="w2").granted == (again,)


def test_a_late_result_from_a_lost_worker_is_refused_and_recorded(table):
    lease = table.held()
    take_back(table, lease)
    receipt = table.commit(lease, reward=1.0, artifacts=[passage("late")])
    assert receipt.verdict == "stale"
    refused = table.log[-1]
    assert isinstance(refused, ev.ResultRefused)
    assert refused.worker == "w1"
    assert table.state.totals.artifacts == 0


def test_after_a_rollback_that_lost_its_claim_a_worker_has_no_say_once_another_has_claimed_the_task(table):
    """Both hold it under the one token of its dispatch."""
    lease = table.dispatch()
    assert table.claim(lease, worker="w2", incarnation="i2").granted == (lease,)
    step = Step(kind="pure", path="pay", request="1")
    request = RecordRequest(worker="w1", incarnation="i1", **lease.model_dump(), steps=(step,))
    reply = table.do(RecordSteps(request, "source")).effects[0]
    assert reply.message.verdict == "stale"
    assert table.commit(lease, worker="w1", incarnation="i1", reward=1.0).verdict == "stale"
    assert "w2 claimed the task anew" in table.log[-1].reason
    assert table.commit(lease, worker="w2", incarnation="i2").verdict == "settled"
    assert table.commit(lease, worker="w1", incarnation="i1").verdict == "stale"


def test_a_lost_task_comes_back_ahead_of_new_work_with_a_new_attempt_and_token(table):
    lease = table.held()
    take_back(table, lease)
    assert any(isinstance(effect, SendDrop) for effect in table.effects)
    again = table.dispatch()
    assert again.task == lease.task
    assert again.token != lease.token
    assert table.task(again).attempt == 2


def test_a_task_lost_too_often_is_dead_lettered():
    table = Table(spec(max_attempts=2))
    for _ in range(2):
        lease = table.held()
        take_back(table, lease)
    assert table.task(lease).status == "dead"
    assert "lost 2 times" in table.task(lease).reason
    letters = [effect.letter for effect in table.effects if isinstance(effect, Bury)]
    assert [letter.task for letter in letters] == [lease.task]
    assert table.commit(lease).verdict == "stale"
    table.check()


def test_a_discovery_with_the_token_of_an_unclaimed_dispatch_is_claim_and_commit_in_one(table):
    lease = table.dispatch()
    assert table.commit(lease, worker="bare").verdict == "settled"
    assert table.task(lease).worker == "bare"


def test_a_released_task_comes_back_without_using_up_an_attempt(table):
    lease = table.held()
    table.commit(lease, outcome="released")
    assert table.task(lease).tries == 0
    assert table.dispatch().task == lease.task
    assert table.task(lease).attempt == 2


@pytest.mark.parametrize(
    ("kind", "status"), [("user", "failed"), ("bug", "dead"), ("transient", "queued"), ("capacity", "queued")]
)
def test_failures_are_treated_by_who_must_act(table, kind, status):
    lease = table.held()
    table.commit(lease, outcome="failed", failure={"kind": kind, "message": "no"})
    assert table.task(lease).status == status


def test_a_capacity_refusal_waits_as_long_as_it_was_told_and_uses_no_attempt(table):
    lease = table.held()
    failure = {"kind": "capacity", "message": "429", "retry_after_seconds": 20}
    table.commit(lease, outcome="failed", failure=failure)
    assert table.task(lease).tries == 0
    assert table.dispatch().task != lease.task
    table.now_ms += 20_000
    assert table.dispatch().task == lease.task


def test_a_transient_failure_ends_after_the_last_attempt():
    table = Table(spec(max_attempts=2))
    for _ in range(2):
        lease = table.held()
        table.commit(lease, outcome="failed", failure={"kind": "transient", "message": "reset"})
        table.now_ms += 100_000
    assert table.task(lease).status == "dead"
    assert "after 2 attempts" in table.task(lease).reason
    table.check()


def test_a_task_that_cannot_end_well_retires_its_direction(table):
    lease = table.held()
    table.commit(lease, outcome="failed", failure={"kind": "bug", "message": "boom"})
    assert "dead" in table.state.directions[table.task(lease).direction].retired


def test_one_id_with_two_contents_is_a_conflict_and_nothing_of_it_is_posted(table):
    lease = table.held()
    table.commit(lease, artifacts=[passage("same", "one"), passage("same", "two")])
    assert table.task(lease).status == "dead"
    assert "immutable" in table.task(lease).reason
    assert table.state.totals.artifacts == 0


def test_artifacts_trigger_the_agents_that_consume_them(table):
    lease = table.held()
    table.commit(lease, artifacts=[passage("a"), passage("b")])
    (direction,) = [row for row in table.state.directions.values() if row.agent == "verify"]
    assert len(direction.inputs) == 2
    assert table.dispatch("verify") is not None
    assert table.dispatch("verify") is None


def test_artifacts_hidden_from_an_agent_do_not_trigger_it(table):
    lease = table.held()
    table.commit(lease, artifacts=[passage("a") | {"visibility": ["report"]}])
    assert all(row.agent != "verify" for row in table.state.directions.values())


def test_follow_ups_that_say_the_same_thing_are_one_direction_with_its_parents(table):
    first, second = table.held(), table.held()
    table.commit(first, follow_ups=[{"agent": "explore", "topic": "New  Thing"}])
    table.commit(second, follow_ups=[{"agent": "explore", "topic": "new thing"}])
    (row,) = [row for row in table.state.directions.values() if row.topic == "New  Thing"]
    assert row.parent == table.task(first).direction
    assert row.parents == (table.task(second).direction,)


@pytest.mark.parametrize(
    ("proposal", "reason"),
    [({"agent": "nobody", "topic": "x"}, "no agent"), ({"agent": "explore"}, "neither topic nor inputs")],
)
def test_a_follow_up_that_cannot_be_is_refused_and_recorded(table, proposal, reason):
    lease = table.held()
    table.commit(lease, follow_ups=[proposal])
    (refused,) = [event for event in table.log if isinstance(event, ev.FollowUpRefused)]
    assert reason in refused.reason


def test_an_exhausted_direction_is_not_visited_again(table):
    for _ in range(2):
        table.commit(table.held(), exhausted=True)
    assert table.dispatch() is None


def test_the_budget_of_tasks_ends_exploration_and_the_reporter_finishes_the_run(table):
    for _ in range(6):
        table.commit(table.held(), reward=0.3)
    assert table.dispatch() is None
    table.conclude()
    assert "budget of 6 tasks" in table.state.totals.reason
    report = table.held("report")
    assert table.conclude() == []
    table.commit(report)
    (ended,) = table.conclude()
    assert ended.status == "done"
    assert "budget" in ended.reason


def test_a_run_whose_reporter_dies_ends_in_failure(table):
    for _ in range(2):
        table.commit(table.held(), exhausted=True)
    table.conclude()
    table.commit(table.held("report"), outcome="failed", failure={"kind": "bug", "message": "boom"})
    (ended,) = table.conclude()
    assert ended.status == "failed"
    assert "report" in ended.reason


def test_cancelling_ends_every_open_task_once_and_refuses_late_results(table):
    running, dispatched = table.held(), table.dispatch()
    table.do(Cancel(CancelRequest(reason="enough"), "source"))
    assert table.task(running).status == table.task(dispatched).status == "cancelled"
    assert table.commit(running).verdict == "stale"
    assert table.claim(dispatched).granted == ()
    table.do(Stopped([running.task]))
    (ended,) = table.conclude()
    assert ended.status == "cancelled"
    reply = table.do(Cancel(CancelRequest(reason="again"), "source")).effects[0]
    assert isinstance(reply, Reply)
    assert reply.message == CancelReply(already_ended=True)


def test_the_deadline_stops_new_visits_and_after_a_grace_cancels_what_runs():
    table = Table(spec(deadline_ms=1_010_000))
    lease = table.held()
    table.now_ms = 1_010_000
    assert table.dispatch() is None
    table.do(Sweep())
    assert table.task(lease).status == "running"
    table.now_ms += 30_000
    table.do(Sweep())
    assert table.task(lease).status == "cancelled"
    table.check()


class TestJournal:
    def record(self, table: Table, lease: Lease, *steps: Step) -> RecordReply:
        request = RecordRequest(
            task=lease.task, token=lease.token, worker="w1", incarnation="i1", steps=steps
        )
        (reply,) = table.do(RecordSteps(request, "source")).effects
        assert isinstance(reply, Reply)
        assert isinstance(reply.message, RecordReply)
        return reply.message

    def test_a_step_recorded_again_is_the_same_record(self, table):
        lease = table.held()
        step = Step(kind="model", path="plan", request="d1", value="answer")
        assert self.record(table, lease, step).verdict == "recorded"
        assert self.record(table, lease, step, step).verdict == "recorded"
        assert table.task(lease).steps == 1

    def test_the_same_key_with_another_value_is_a_conflict(self, table):
        lease = table.held()
        step = Step(kind="model", path="plan", request="d1", value="answer")
        self.record(table, lease, step)
        other = step.model_copy(update={"value": "another"})
        assert self.record(table, lease, other).verdict == "conflict"
        assert self.record(table, lease, step.model_copy(update={"occurrence": 1})).verdict == "recorded"

    def test_a_worker_that_lost_its_lease_records_nothing(self, table):
        lease = table.held()
        take_back(table, lease)
        reply = self.record(table, lease, Step(kind="pure", path="p", value=1))
        assert reply.verdict == "stale"
        assert table.task(lease).steps == 0

    def test_steps_are_numbered_on_across_attempts(self, table):
        lease = table.held()
        self.record(table, lease, Step(kind="pure", path="p", value=1))
        take_back(table, lease)
        again = table.dispatch()
        table.claim(again)
        self.record(table, again, Step(kind="pure", path="q", value=2))
        assert [event.first for event in table.log if isinstance(event, ev.StepsRecorded)] == [0, 1]
