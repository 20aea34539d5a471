"""Journals and the builds that wrote them: who is dispatched what, and who is granted it."""

import pytest

from blackboard import events as ev
from blackboard.spec import AgentSpec, RunSpec
from coordinator.builds import Offer, Room, remedy, stranded, why_stranded
from coordinator.decision import AnswerClaim, Claim, Lead, Loss, Lost, RecordSteps, Redispatch, Sweep
from coordinator.decisions.dispatch import wanted
from protocol.messages import ClaimRequest, FollowUp, Lease, RecordRequest, Step
from tests.support.table import Table


def offer(*told: str, free: int = 4, agent: str = "explore") -> Offer:
    return Offer(frozenset((agent,)), {agent: told} if told else {}, free)


def claimed(table: Table, lease: Lease, *told: str, worker: str = "w1") -> AnswerClaim:
    builds = {"explore": told} if told else {}
    request = ClaimRequest(worker=worker, incarnation="i1", number=9, leases=(lease,), builds=builds)
    answer = table.do(Claim(request, "source")).effects[-1]
    assert isinstance(answer, AnswerClaim)
    return answer


def lose(table: Table, lease: Lease, worker: str = "w1") -> None:
    table.do(Sweep([Lost(worker, "i1", {lease.task: Loss("silent", "silent")})]))


def record(table: Table, lease: Lease, *paths: str, worker: str = "w1") -> None:
    steps = tuple(Step(kind="pure", path=path) for path in paths)
    request = RecordRequest(**lease.model_dump(), worker=worker, incarnation="i1", steps=steps)
    table.do(RecordSteps(request, "source"))


def journaled(table: Table, *, steps: int = 1, build: str = "b1") -> str:
    """A queued task, which a worker of a build has lost after it recorded so many steps."""
    lease = table.dispatch()
    assert claimed(table, lease, *([build] if build else [])).granted
    if steps:
        record(table, lease, *(f"step {number}" for number in range(steps)))
    lose(table, lease)
    return lease.task


def dispatched(table: Table, *offers: Offer, room: int = 9) -> list[Lease]:
    events = table.do(Redispatch({"explore": room}, room, offers=offers)).events
    return [Lease(task=one.task, token=one.token) for one in events if isinstance(one, ev.TaskDispatched)]


@pytest.fixture
def table():
    table = Table()
    yield table
    table.check()


def test_a_task_with_a_journal_is_dispatched_while_a_worker_goes_on_from_it(table):
    task = journaled(table)
    assert dispatched(table, offer("b2"), offer()) == []
    assert [one.task for one in dispatched(table, offer("b2"), offer("b3", "b1"))] == [task]


@pytest.mark.parametrize("told", [("b1",), ("b2", "b1"), ("b2", "*")])
def test_a_worker_of_the_build_or_of_a_compatible_one_is_granted_the_task(table, told):
    task = journaled(table)
    (lease,) = dispatched(table, offer(*told))
    assert claimed(table, lease, *told).granted == (lease,)
    assert (table.state.tasks[task].build, table.state.tasks[task].written_by) == (told[0], "b1")
    record(table, lease, "another")
    assert table.state.tasks[task].written_by == told[0]


@pytest.mark.parametrize("told", [("b2",), ("b2", "b3"), ()])
def test_another_build_is_refused_the_task_which_stays_as_it_is_for_somebody_else(table, told):
    task = journaled(table)
    tries = table.state.tasks[task].tries
    (lease,) = dispatched(table, offer("b1"), offer("b2"))
    before = len(table.log)
    for _ in range(20):
        answer = claimed(table, lease, *told, worker="w2")
        assert (answer.granted, [one.elsewhere for one in answer.refused]) == ((), [True])
        assert "b1" in answer.refused[0].reason
    assert len(table.log) == before
    assert claimed(table, lease, "b1").granted == (lease,)
    assert table.state.tasks[task].tries == tries + 1


def test_a_task_without_a_journal_goes_to_any_build(table):
    task = journaled(table, steps=0)
    (lease,) = dispatched(table, offer("b2"))
    assert lease.task == task
    assert claimed(table, lease, "b2").granted == (lease,)


def test_a_journal_of_a_build_that_nobody_told_bars_nobody(table):
    journaled(table, build="")
    (lease,) = dispatched(table, offer("b2"))
    assert claimed(table, lease, "b2").granted == (lease,)


def test_where_only_some_workers_go_on_from_journals_no_more_are_out_than_these_have_room_for(table):
    leases = [table.dispatch() for _ in range(4)]
    for lease in leases:
        assert claimed(table, lease, "b1").granted
        record(table, lease, "a step")
    for lease in leases:
        lose(table, lease)
    some = (offer("b1", free=2), offer("b2", free=9))
    assert len(dispatched(table, *some)) == 2
    assert dispatched(table, *some) == []
    assert len(dispatched(table, offer("b1", free=0))) == 2, "with all of them, the shares are the bound"


def test_a_dispatch_that_nobody_may_claim_any_more_is_taken_back_and_uses_no_attempt(table):
    task = journaled(table)
    row = table.state.tasks[task]
    for _ in range(30):
        tries = row.tries
        (lease,) = dispatched(table, offer("b1"))
        barred = stranded([row], [offer("b2")], {})
        table.do(Sweep(stranded=[one.id for one in barred]))
        assert (row.status, row.tries) == ("queued", tries)
        assert claimed(table, lease, "b1").granted == ()


def test_the_sweep_leaves_what_was_claimed_meanwhile(table):
    task = journaled(table)
    (lease,) = dispatched(table, offer("b1"))
    assert claimed(table, lease, "b1").granted
    table.do(Sweep(stranded=[task]))
    assert table.state.tasks[task].status == "running"


def test_a_stranded_task_wants_no_slot_and_says_why_and_what_to_do(table):
    task = table.state.tasks[journaled(table, steps=3)]
    before = wanted(table.state, table.now_ms, offers=[offer("b1")])["explore"]
    offers = [offer("b2"), offer("b2"), offer()]
    assert wanted(table.state, table.now_ms, offers=offers)["explore"] == before - 1
    assert list(stranded([task], offers, {})) == [task]
    assert why_stranded(task, offers, {}) == (
        "build b1 of agent explore recorded 3 steps, and no living worker goes on from it; "
        "builds there: b2 (2), none told (1)"
    )
    assert why_stranded(task, [offer("b1", agent="other")], {}).endswith("no living worker offers the agent")
    assert "--build b1" in remedy(task, "run-1", {})
    assert f"coordinator fork run-1 --at {task.id}" in remedy(task, "run-1", {})


def test_a_task_that_runs_is_not_stranded(table):
    lease = table.dispatch()
    claimed(table, lease, "b1")
    record(table, lease, "a step")
    assert list(stranded([table.task(lease)], [offer("b2")], {})) == []


@pytest.fixture
def asking():
    """A run that asks for build b2 of its agent."""
    agents = (AgentSpec(name="explore", build="b2"),)
    table = Table(
        RunSpec(run="run-1", goal="find out", agents=agents, roots=(FollowUp(agent="explore", topic="a"),))
    )
    table.do(Lead("c1"))
    yield table
    table.check()


def test_a_run_that_asks_for_a_build_has_its_tasks_granted_to_that_build_alone(asking):
    lease = asking.dispatch()
    for told in ((), ("b1",)):
        (refusal,) = claimed(asking, lease, *told).refused
        assert (refusal.elsewhere, refusal.reason) == (
            True,
            "it needs build b2, which this one does not go on from",
        )
    assert claimed(asking, lease, "b3", "b2").granted == (lease,)


@pytest.mark.parametrize(
    ("offers", "visits"),
    [([offer("b1")], 0), ([offer("b1"), offer("b2", free=3)], 3), ([offer("b2")], None), ([], 0)],
)
def test_it_wants_slots_for_visits_as_far_as_workers_have_the_build(asking, offers, visits):
    assert Room(asking.state, offers).left("explore", "b2") == visits
    wanting = wanted(asking.state, asking.now_ms, offers=offers).get("explore", 0)
    assert wanting == visits if visits is not None else wanting > 3


def test_its_tasks_are_stranded_without_a_worker_of_the_build_whoever_wrote_their_journals(asking):
    lease = asking.dispatch()
    assert claimed(asking, lease, "b2").granted
    record(asking, lease, "a step")
    lose(asking, lease)
    task, offers = asking.task(lease), [offer("b1")]
    assert list(stranded([task], offers, asking.state.builds)) == [task]
    assert why_stranded(task, offers, asking.state.builds).startswith(
        "the run asks for build b2 of agent explore"
    )
    assert remedy(task, "run-1", asking.state.builds) == "start a worker with --build b2 and that code"
