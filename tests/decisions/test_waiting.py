"""Waiting, decision by decision: what suspends a task, what ends a wait, and what is left when it is over."""

import pytest

from blackboard import events as ev
from blackboard.encoding import decode_inquiry, decode_task, encode_row
from blackboard.state import restore
from coordinator.decision import AnswerInquiry, Cancel, Loss, Lost, RecordSteps, Reply, Ring, Stopped, Sweep
from coordinator.decisions.dispatch import wanted
from protocol.artifacts import digest_of
from protocol.ids import inquiry_id
from protocol.messages import (
    Answer,
    AnswerReply,
    AnswerRequest,
    CancelRequest,
    FollowUp,
    Lease,
    RecordReply,
    RecordRequest,
    Step,
    Wait,
)
from tests.support.table import Table, spec


@pytest.fixture
def table():
    table = Table()
    yield table
    table.check()


def human(question: str = "well?", **fields: object) -> Wait:
    return Wait.model_validate(
        {"kind": "human", "target": "human", "path": "human", "request": question, "question": question}
        | fields
    )


def to_agent(agent: str = "verify", question: str = "is it so?") -> Wait:
    return Wait(kind="agent", target=agent, path=f"ask/{agent}", request=question[:64], question=question)


def suspend(table: Table, lease: Lease, *waits: Wait, **fields: object) -> list[str]:
    """The inquiries, in the order of the waits."""
    receipt = table.commit(lease, outcome="waiting", waits=waits, **fields)
    assert receipt.verdict == "settled"
    return [inquiry_id(lease.task, one.path, one.request, one.occurrence) for one in waits]


def answer(table: Table, inquiry: str, value: object = "yes", **fields: object) -> AnswerReply:
    request = AnswerRequest.model_validate({"inquiry": inquiry, "answerer": "ada", "answer": value, **fields})
    reply = next(
        effect for effect in table.do(AnswerInquiry(request, "source")).effects if isinstance(effect, Reply)
    )
    assert isinstance(reply.message, AnswerReply)
    return reply.message


def answers(table: Table) -> list[Answer]:
    """What the journals were told."""
    steps = [step for (kind, _), step in table.state.changes.items() if kind == "step"]
    return [Answer.model_validate(step.value) for step in steps if step.kind == "answer"]


def test_a_waiting_task_is_held_by_nobody_and_counts_for_no_slot(table):
    lease = table.held()
    (inquiry,) = suspend(table, lease, human(), usage={"busy_ms": 7})
    task = table.task(lease)
    assert (task.status, task.worker, task.token, task.usage.busy_ms) == ("waiting", None, "", 7)
    assert (table.state.busy.total(), table.state.held) == (0, {})
    assert Ring(inquiry) in table.effects
    assert table.state.directions[task.direction].in_flight == 1


def test_a_run_does_not_end_while_a_task_waits(table):
    (inquiry,) = suspend(table, table.held(), human())
    while (lease := table.dispatch()) is not None:
        table.commit(lease, exhausted=True)
    table.conclude()
    assert table.state.totals.status == "running"
    answer(table, inquiry)
    assert table.dispatch() is not None


def test_an_answer_is_a_step_of_the_journal_and_the_task_comes_back_ahead_of_new_work(table):
    lease = table.held()
    (inquiry,) = suspend(table, lease, human())
    assert answer(table, inquiry, {"go": True}).verdict == "answered"
    assert answers(table) == [Answer(value={"go": True})]
    assert (table.task(lease).status, table.task(lease).steps, table.task(lease).tries) == ("queued", 1, 0)
    again = table.dispatch()
    assert again.task == lease.task
    assert table.task(lease).attempt == 2


def test_a_wait_uses_no_attempt_however_often(table):
    lease = table.held()
    for number in range(table.spec.max_attempts * 2):
        (inquiry,) = suspend(table, lease, human(f"question {number}"))
        answer(table, inquiry)
        lease = table.held()
    assert table.task(lease).tries == 1


def test_the_first_answer_counts(table):
    (inquiry,) = suspend(table, table.held(), human())
    assert answer(table, inquiry, "yes").verdict == "answered"
    before = len(table.log)
    assert answer(table, inquiry, "yes").verdict == "answered"
    assert answer(table, inquiry, "no").reason == "ada has answered it already, and otherwise"
    assert len(table.log) == before


@pytest.mark.parametrize(
    ("wait", "fields", "why"),
    [
        (human(choices=("a", "b")), {"value": "c"}, "none of the choices"),
        (human(approves=digest_of("plan")), {}, "look again"),
        (human(approves=digest_of("plan")), {"approves": digest_of("other plan")}, "look again"),
        (human(), {"value": "x" * 70_000}, "more than 65,536 bytes"),
        (Wait(kind="time", target="clock", path="sleep", timeout_ms=5), {}, "waits for a moment"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(table, wait, fields, why):
    lease = table.held()
    (inquiry,) = suspend(table, lease, wait)
    reply = answer(table, inquiry, **fields)
    assert reply.verdict == "refused"
    assert why in reply.reason
    assert table.task(lease).status == "waiting"


def test_a_person_may_answer_with_a_failure_whatever_the_choices_are(table):
    (inquiry,) = suspend(table, table.held(), human(choices=("a",)))
    assert (
        answer(table, inquiry, None, failure={"kind": "user", "message": "ask another"}).verdict == "answered"
    )
    assert answers(table)[0].failure.message == "ask another"


def test_another_approval_makes_the_first_one_void(table):
    lease = table.held()
    (first,) = suspend(table, lease, human("ok?", request="plan a", approves=digest_of("a")), human("else?"))[
        :1
    ]
    answer(table, inquiry_id(lease.task, "human", "else?", 0))
    (second,) = suspend(table, table.held(), human("ok?", request="plan b", approves=digest_of("b")))
    assert "nobody waits" in answer(table, first, approves=digest_of("a")).reason
    assert answer(table, second, approves=digest_of("b")).verdict == "answered"


def test_a_timeout_is_an_answer_of_the_clock(table):
    lease = table.held()
    suspend(table, lease, human(timeout_ms=60_000))
    table.now_ms += 59_999
    table.do(Sweep())
    assert table.task(lease).status == "waiting"
    table.now_ms += 1
    table.do(Sweep())
    assert answers(table) == [Answer(timed_out=True)]
    assert table.task(lease).status == "queued"
    assert answer(table, next(iter(table.state.inquiries))).reason == "its time has run out"


def test_the_time_of_a_wait_runs_from_its_first_asking(table):
    lease = table.held()
    first, second = suspend(table, lease, human("a"), human("b", timeout_ms=60_000))
    table.now_ms += 50_000
    answer(table, first)
    suspend(table, table.held(), human("b", timeout_ms=60_000))
    table.now_ms += 10_000
    table.do(Sweep())
    assert table.state.inquiries[second].answer == Answer(timed_out=True)


@pytest.mark.parametrize(
    "fields", [{"timeout_ms": 60_000}, {"until_ms": 1_060_000}, {"timeout_ms": 90_000, "until_ms": 1_060_000}]
)
def test_to_sleep_is_answered_by_time(table, fields):
    lease = table.held()
    suspend(table, lease, Wait(kind="time", target="clock", path="sleep", **fields))
    table.now_ms += 60_000
    table.do(Sweep())
    assert answers(table) == [Answer()]
    assert table.task(lease).status == "queued"


def test_an_answer_that_comes_while_the_task_runs_for_another_sends_it_on_at_once(table):
    lease = table.held()
    first, second = suspend(table, lease, human("a"), human("b"))
    answer(table, first)
    lease = table.held()
    answer(table, second)
    assert table.task(lease).status == "running"
    suspend(table, lease, human("b"))
    assert table.task(lease).status == "queued"
    assert table.task(lease).tries == 0


def test_a_worker_cannot_write_answers_into_a_journal(table):
    lease = table.held()
    forged = Step(kind="answer", path="human", request="well?", value={"value": "yes"})
    request = RecordRequest(worker="w1", incarnation="i1", steps=(forged,), **lease.model_dump())
    table.do(RecordSteps(request, "source"))
    reply = table.effects[-1].message
    assert isinstance(reply, RecordReply)
    assert reply.verdict == "conflict"
    assert table.task(lease).steps == 0


def test_a_waiting_discovery_that_comes_twice_asks_once(table):
    lease = table.held()
    suspend(table, lease, human())
    assert table.commit(lease, outcome="waiting", waits=[human()]).verdict == "stale"
    assert sum(isinstance(event, ev.InquiryAsked) for event in table.log) == 1


def test_to_wait_for_nothing_is_a_bug_of_the_sender(table):
    lease = table.held()
    table.commit(lease, outcome="waiting")
    assert table.task(lease).status == "dead"


def asked_task(table: Table) -> Lease:
    """The task by which an agent is to answer, claimed."""
    lease = table.dispatch("verify")
    assert lease is not None
    table.claim(lease, worker="w2")
    return lease


def test_an_asked_agent_has_one_visit_outside_of_its_frontier_and_of_the_budget(table):
    lease = table.held()
    (inquiry,) = suspend(table, lease, to_agent())
    explored, choices = table.state.totals.explored, table.state.totals.choices
    assert wanted(table.state, table.now_ms)["verify"] == 1
    asked = asked_task(table)
    row = table.state.directions[table.task(asked).direction]
    assert (row.topic, row.inquiry, row.open, row.max_visits) == ("is it so?", inquiry, False, 1)
    assert (table.state.totals.explored, table.state.totals.choices) == (explored, choices)


def test_the_answer_of_an_agent_is_its_first_artifact(table):
    lease = table.held()
    suspend(table, lease, to_agent())
    asked = asked_task(table)
    found = [{"type": "finding", "payload": {"n": 1}}, {"type": "finding", "payload": {"n": 2}}]
    table.commit(asked, worker="w2", artifacts=found)
    assert answers(table) == [Answer(value={"n": 1})]
    assert table.task(lease).status == "queued"


def test_an_agent_that_fails_answers_with_its_failure(table):
    lease = table.held()
    suspend(table, lease, to_agent())
    failure = {"kind": "user", "message": "no"}
    table.commit(asked_task(table), worker="w2", outcome="failed", failure=failure)
    assert answers(table)[0].failure.message == "no"
    assert table.task(lease).status == "queued"


def test_an_agent_that_dies_with_its_workers_answers_with_a_failure():
    table = Table(spec(max_attempts=1))
    lease = table.held()
    suspend(table, lease, to_agent())
    asked = asked_task(table)
    table.do(Sweep([Lost("w2", "i1", {asked.task: Loss("silent", "worker w2 was silent")})]))
    assert table.task(asked).status == "dead"
    assert "lost 1 times" in answers(table)[0].failure.message
    assert table.task(lease).status == "queued"
    table.check()


def test_who_asks_and_who_is_asked_may_be_lost_in_the_same_sweep():
    table = Table(spec(max_attempts=1))
    lease = table.held()
    suspend(table, lease, to_agent(), human())
    asked = asked_task(table)
    answer(table, inquiry_id(lease.task, "human", "well?", 0))
    lease = table.held()
    lost = {name: Loss("silent", "silent") for name in (lease.task, asked.task)}
    table.do(Sweep([Lost("w1", "i1", lost), Lost("w2", "i1", lost)]))
    assert (table.task(lease).status, table.task(asked).status) == ("dead", "dead")
    table.check()


@pytest.mark.parametrize(
    ("wait", "why"),
    [
        (to_agent("nobody"), "the run has no agent 'nobody'"),
        (to_agent(question=" "), "1 to 2,000 characters"),
        (to_agent(question="x" * 2_001), "1 to 2,000 characters"),
    ],
)
def test_a_question_that_no_agent_can_be_asked_is_a_failure_at_once(table, wait, why):
    lease = table.held()
    suspend(table, lease, wait)
    assert why in answers(table)[0].failure.message
    assert table.task(lease).status == "queued"


def test_questions_count_as_directions():
    table = Table(spec(max_directions=3))
    lease = table.held()
    suspend(table, lease, to_agent(question="one"), to_agent(question="two"))
    assert "the run's limit of 3 directions" in answers(table)[0].failure.message
    table.check()


def test_a_question_that_was_answered_by_somebody_else_needs_no_visit(table):
    (inquiry,) = suspend(table, table.held(), to_agent())
    assert answer(table, inquiry).verdict == "answered"
    assert table.dispatch("verify") is None
    assert table.state.asked == {}


def test_what_an_ended_task_asked_is_withdrawn(table):
    lease = table.held()
    first, second, third = suspend(table, lease, human("a"), human("b"), to_agent())
    answer(table, first)
    lease = table.held()
    table.commit(lease, reward=1.0)
    assert {table.state.inquiries[one].withdrawn for one in (second, third)} == {
        "the task that asked has ended"
    }
    assert table.dispatch("verify") is None


def test_a_question_that_is_asked_again_after_its_withdrawal_is_open_again(table):
    lease = table.held()
    first, second = suspend(table, lease, human("a"), to_agent())
    answer(table, first)
    (third,) = suspend(table, table.held(), human("c"))
    assert table.state.inquiries[second].withdrawn == "it is asked no more"
    answer(table, third)
    suspend(table, table.held(), to_agent())
    assert table.state.inquiries[second].open
    table.commit(asked_task(table), worker="w2", artifacts=[{"type": "finding", "payload": 1}])
    assert table.state.inquiries[second].answer == Answer(value=1)


def test_a_cancelled_run_leaves_no_question_open(table):
    lease = table.held()
    suspend(table, lease, human(), to_agent())
    other = table.held()
    suspend(table, other, human())
    asked_task(table)
    table.do(Cancel(CancelRequest(reason="enough"), "source"))
    assert {task.status for task in table.state.tasks.values()} == {"cancelled"}
    assert not any(row.open for row in table.state.inquiries.values())
    table.do(Stopped(list(table.state.stopping)))
    assert table.conclude()[-1].status == "cancelled"


def test_at_the_deadline_waiting_tasks_are_cancelled_and_late_questions_fail():
    table = Table(
        spec(
            deadline_ms=1_100_000,
            roots=(FollowUp(agent="explore", topic="alpha"),),
            budget={"tasks": 1},
        )
    )
    lease = table.held()
    suspend(table, lease, human())
    table.now_ms = 1_100_000
    table.do(Sweep())
    assert table.task(lease).status == "cancelled"
    table.conclude()
    finisher = table.held("report")
    suspend(table, finisher, to_agent())
    assert table.dispatch("verify") is None
    table.do(Sweep())
    assert "the deadline passed" in answers(table)[-1].failure.message
    assert table.task(finisher).status == "queued"
    table.check()


def test_a_leader_that_takes_over_knows_all_waits_from_the_rows(table):
    first = table.held()
    suspend(table, first, human(timeout_ms=1_000), to_agent())
    second = table.held()
    (inquiry,) = suspend(table, second, human())
    answer(table, inquiry)
    state = table.state
    restored = restore(
        state.head,
        state.spec,
        state.totals,
        [decode_task(encode_row(row)) for row in state.tasks.values()],
        state.directions.values(),
        [decode_inquiry(encode_row(row)) for row in state.inquiries.values()],
    )
    for index in ("queued", "waiting", "asked", "asking", "timers", "choosable", "inquiries"):
        assert getattr(restored, index) == getattr(state, index), index
