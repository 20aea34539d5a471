"""Tasks that wait hold no worker, and go on days later, whatever was restarted meanwhile."""

import math
from datetime import timedelta

import anyio
import pytest
from pydantic import BaseModel

from agents.agent import Agent, Context, Discovery, WaitTimedOut, agent
from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import InquiryRow
from coordinator.records import Records
from protocol import subjects
from protocol.artifacts import artifact, digest_of
from protocol.codec import decode_as, encode
from protocol.messages import (
    AnswerReply,
    AnswerRequest,
    CancelReply,
    CancelRequest,
    FollowUp,
    Record,
    SwarmInquiry,
    SwarmResponse,
)
from protocol.transport.memory import MemoryTransport
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually

DAY_SECONDS = 86_400


@artifact("waiting-note")
class Note(BaseModel, frozen=True):
    text: str


def offered(*agents: Agent) -> dict[str, Agent]:
    return {one.name: one for one in agents}


def run_spec(*names: str, topics: int = 1, tasks: int | None = None, **changes: object) -> RunSpec:
    """A run that explores the first agent; the others are only asked."""
    fields: dict[str, object] = {
        "run": "run-1",
        "goal": "wait",
        "agents": tuple(AgentSpec(name=name, max_visits=1) for name in names),
        "roots": tuple(FollowUp(agent=names[0], topic=f"topic {number}") for number in range(topics)),
        "budget": Budget(tasks=tasks or topics),
    }
    return RunSpec.model_validate(fields | changes)


def approver(answers: list[object], **options: object) -> Agent:
    """Asks a person once, and posts what they said; `answers` is what each attempt was told."""

    @agent("approve", publishes=[Note])
    async def approve(context: Context) -> Discovery:
        answer = await context.ask_human(f"is {context.topic} right?", **options)
        answers.append(answer)
        return Discovery([Note(text=str(answer))], reward=1.0)

    return approve


async def inquiries(hive: Swarm, run: str = "run-1") -> list[InquiryRow]:
    return list(await Records(hive.store).inquiries(run))


async def asked(hive: Swarm, count: int = 1) -> list[InquiryRow]:
    """The open inquiries, once there are so many."""
    with anyio.fail_after(600):
        while len(found := [row for row in await inquiries(hive) if row.open]) < count:
            await anyio.sleep(0.1)
    return found


async def waiting(hive: Swarm, count: int) -> None:
    with anyio.fail_after(3_600):
        while sum(row.status == "waiting" for row in (await hive.task_rows("run-1")).values()) < count:
            await anyio.sleep(0.5)


async def request(hive: Swarm, verb: str, message: Record) -> bytes:
    data = encode(message, source="operator", message_id=hive.clock.token(), time_ms=0)
    subject = subjects.board("run-1", "operator", verb)
    return await MemoryTransport(hive.bus).request(subject, data, timeout_seconds=5)


async def answer(hive: Swarm, inquiry: str, value: object, **fields: object) -> AnswerReply:
    message = AnswerRequest.model_validate({"inquiry": inquiry, "answerer": "ada", "answer": value, **fields})
    return decode_as(await request(hive, "answer", message), AnswerReply)


def test_a_wait_of_three_days_survives_two_restarts_of_everything():
    answers: list[object] = []

    async def main() -> None:
        async with swarm() as hive:
            agents = offered(approver(answers))
            hive.start_coordinator("c1")
            hive.start_worker("w1", agents)
            run = await hive.submit(run_spec("approve"))
            (inquiry,) = await asked(hive)
            for restart in (2, 3):
                hive.kill(f"w{restart - 1}")
                hive.kill(f"c{restart - 1}")
                await anyio.sleep(1.5 * DAY_SECONDS)
                hive.start_coordinator(f"c{restart}")
                hive.start_worker(f"w{restart}", agents)
                await anyio.sleep(60)
                assert [row.status for row in (await hive.task_rows(run)).values()] == ["waiting"]
            assert (await answer(hive, inquiry.id, "yes")).verdict == "answered"
            totals = await hive.ended(run)
            assert totals.tasks == {"done": 1}
            state = await hive.check(run)
            (task,) = state.tasks.values()
            assert (task.worker, task.attempt, task.tries) == ("w3", 2, 1)

    run_virtually(main)
    assert answers == ["yes"]


def test_a_sleep_ends_by_itself_after_everything_was_restarted():
    woken: list[int] = []

    @agent("sleep")
    async def sleep(context: Context) -> Discovery:
        await context.sleep(DAY_SECONDS)
        woken.append(context.attempt)
        return Discovery(reward=1.0)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator("c1")
            hive.start_worker("w1", offered(sleep))
            run = await hive.submit(run_spec("sleep"))
            await waiting(hive, 1)
            hive.kill("w1")
            hive.kill("c1")
            await anyio.sleep(DAY_SECONDS - 600)
            hive.start_coordinator("c2")
            hive.start_worker("w2", offered(sleep))
            await anyio.sleep(500)
            assert not woken
            await hive.ended(run)
            await hive.check(run)

    run_virtually(main)
    assert woken == [2]


def test_a_thousand_waiting_tasks_hold_no_slot():
    @agent("wait")
    async def wait(context: Context) -> Discovery:
        if context.topic == "topic 1000":
            return Discovery(reward=1.0)
        return Discovery(reward=float(await context.wait_signal("go")))

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(wait), slots=4)
            run = await hive.submit(run_spec("wait", topics=1_001))
            await waiting(hive, 1_000)
            state = hive.coordinators["c1"].leaders[run].run.state
            assert state.busy.total() == 0
            assert not state.held
            assert (await hive.totals(run)).tasks == {"done": 1}
            for row in await asked(hive, 1_000):
                await answer(hive, row.id, 0.5)
            totals = await hive.ended(run, within_seconds=3_600)
            assert totals.tasks == {"done": 1_001}
            await hive.check(run)

    run_virtually(main)


def test_an_agent_answers_another_even_with_one_slot_in_the_whole_swarm():
    @agent("think")
    async def think(context: Context) -> Discovery:
        answer = await context.ask("expert", "how deep is the sea?")
        assert answer == {"text": "how deep is the sea? deep"}
        return Discovery(reward=1.0)

    @agent("expert", publishes=[Note])
    async def expert(context: Context) -> Discovery:
        return Discovery([Note(text=f"{context.topic} deep")], reward=0.25)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(think, expert), slots=1)
            run = await hive.submit(run_spec("think", "expert"))
            totals = await hive.ended(run)
            assert totals.tasks == {"done": 2}
            state = await hive.check(run)
            (row,) = state.inquiries.values()
            assert (row.asker, row.answerer, row.direction in state.directions) == ("think", "expert", True)

    run_virtually(main)


def test_an_agent_that_comes_to_nothing_is_a_typed_failure_for_the_one_that_asked():
    @agent("think")
    async def think(context: Context) -> Discovery:
        await context.ask("expert", "why?")
        return Discovery(reward=1.0)

    @agent("expert")
    async def expert(context: Context) -> Discovery:
        raise ValueError("no idea")

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(think, expert), slots=1)
            run = await hive.submit(run_spec("think", "expert"))
            totals = await hive.ended(run)
            assert totals.tasks == {"failed": 1, "dead": 1}
            state = await hive.check(run)
            (thought,) = [task for task in state.tasks.values() if task.agent == "think"]
            assert "ask/expert: ValueError: no idea" in thought.reason

    run_virtually(main)


def test_an_answer_that_does_not_come_in_time_has_an_outcome_of_its_own():
    outcomes: list[str] = []

    @agent("ask")
    async def ask(context: Context) -> Discovery:
        try:
            await context.ask_human("well?", timeout=timedelta(hours=1))
        except WaitTimedOut as late:
            outcomes.append(str(late))
        return Discovery(reward=1.0)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(ask))
            run = await hive.submit(run_spec("ask"))
            (row,) = await asked(hive)
            began = anyio.current_time()
            totals = await hive.ended(run, within_seconds=4_000)
            assert math.isclose(anyio.current_time() - began, 3_600, abs_tol=10)
            assert totals.tasks == {"done": 1}
            (after,) = await inquiries(hive)
            assert after.answer is not None
            assert after.answer.timed_out
            assert row.until_ms == after.until_ms

    run_virtually(main)
    assert outcomes == ["human: no answer in time"]


def test_the_first_answer_counts_and_the_same_again_is_fine():
    answers: list[object] = []

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(approver(answers, choices=("yes", "no"))))
            run = await hive.submit(run_spec("approve", topics=2))
            first, second = await asked(hive, 2)
            refused = await answer(hive, first.id, "perhaps")
            assert (refused.verdict, refused.reason) == (
                "refused",
                "the answer is none of the choices: yes, no",
            )
            assert (await answer(hive, first.id, "yes")).verdict == "answered"
            assert (await answer(hive, first.id, "yes")).verdict == "answered"
            assert "ada has answered it already" in (await answer(hive, first.id, "no")).reason
            assert "no inquiry" in (await answer(hive, "inq-0", "no")).reason
            await answer(hive, second.id, "no")
            await hive.ended(run)
            state = await hive.check(run)
            assert sum(isinstance(event, ev.InquiryAnswered) for event in await hive.events(run)) == 2
            assert all(task.attempt == 2 for task in state.tasks.values())

    run_virtually(main)
    assert sorted(map(str, answers)) == ["no", "yes"]


def test_an_approval_is_void_for_anything_but_what_was_approved():
    answers: list[object] = []
    plan = {"delete": ["a", "b"]}

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(approver(answers, approves=plan)))
            run = await hive.submit(run_spec("approve"))
            (row,) = await asked(hive)
            assert row.wait.approves == digest_of(plan)
            for other in (None, digest_of({"delete": ["a"]})):
                assert "look again" in (await answer(hive, row.id, "yes", approves=other)).reason
            assert (await answer(hive, row.id, "yes", approves=digest_of(plan))).verdict == "answered"
            await hive.ended(run)

    run_virtually(main)
    assert answers == ["yes"]


def test_siblings_wait_at_the_same_time_and_each_goes_on_with_its_own_answer():
    asked_once: list[str] = []

    @agent("plan")
    async def plan(context: Context) -> Discovery:
        told: dict[str, object] = {}

        async def branch(name: str) -> None:
            async def prepare() -> str:
                asked_once.append(name)
                return name

            await context.step("prepare", name, prepare)
            told[name] = await context.ask_human(f"and {name}?")

        async with anyio.create_task_group() as branches:
            for name in ("a", "b", "c"):
                branches.start_soon(branch, name)
        assert told == {"a": "for and a?", "b": "for and b?", "c": "for and c?"}
        return Discovery(reward=1.0)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(plan))
            run = await hive.submit(run_spec("plan"))
            rows = await asked(hive, 3)
            suspended = [event for event in await hive.events(run) if isinstance(event, ev.TaskSuspended)]
            assert [len(event.inquiries) for event in suspended] == [3]
            for row in reversed(rows):
                await anyio.sleep(100)
                await answer(hive, row.id, f"for {row.wait.question}")
            totals = await hive.ended(run)
            assert totals.tasks == {"done": 1}
            await hive.check(run)

    run_virtually(main)
    assert asked_once == ["a", "b", "c"]


def test_whoever_is_first_in_a_race_wins_and_the_other_question_is_withdrawn():
    @agent("race")
    async def race(context: Context) -> Discovery:
        async with anyio.create_task_group() as runners:

            async def ask() -> None:
                await context.ask_human("or me?")
                runners.cancel_scope.cancel()

            async def sleep() -> None:
                await context.sleep(600)
                runners.cancel_scope.cancel()

            runners.start_soon(ask)
            runners.start_soon(sleep)
        return Discovery(reward=1.0)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(race))
            run = await hive.submit(run_spec("race"))
            totals = await hive.ended(run, within_seconds=700)
            assert totals.tasks == {"done": 1}
            await hive.check(run)
            withdrawn = [row for row in await inquiries(hive) if row.withdrawn]
            assert [row.wait.question for row in withdrawn] == ["or me?"]

    run_virtually(main)


def test_a_run_is_cancelled_cleanly_while_everything_waits():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(approver([])))
            run = await hive.submit(run_spec("approve", topics=3))
            rows = await asked(hive, 3)
            reply = decode_as(await request(hive, "cancel", CancelRequest()), CancelReply)
            assert not reply.already_ended
            totals = await hive.ended(run)
            assert (totals.status, totals.tasks) == ("cancelled", {"cancelled": 3})
            state = await hive.check(run)
            assert all(row.withdrawn for row in state.inquiries.values())
            assert len(state.inquiries) == len(rows)
            assert state.open_tasks == 0

    run_virtually(main)


def test_waiting_ends_with_the_runs_deadline():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(approver([])))
            run = await hive.submit(run_spec("approve", deadline_ms=hive.clock.now_ms() + 60_000))
            await asked(hive)
            totals = await hive.ended(run, within_seconds=120)
            assert totals.tasks == {"cancelled": 1}
            await hive.check(run)

    run_virtually(main)


def test_a_thread_that_waits_is_suspended_and_run_again():
    attempts: list[int] = []

    @agent("block", runs_in="thread")
    def block(context: Context) -> Discovery:
        attempts.append(context.attempt)
        assert anyio.from_thread.run(context.ask_human, "ready?") == "yes"
        return Discovery(reward=1.0)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(block))
            run = await hive.submit(run_spec("block"))
            (row,) = await asked(hive)
            await answer(hive, row.id, "yes")
            assert (await hive.ended(run)).tasks == {"done": 1}
            await hive.check(run)

    run_virtually(main)
    assert attempts == [1, 2]


@pytest.mark.parametrize("subject", [subjects.response("approve"), "swarm.response"])
def test_a_response_on_the_bus_is_an_answer(subject: str):
    answers: list[object] = []
    bells: list[SwarmInquiry] = []
    told: list[SwarmResponse] = []

    async def main() -> None:
        async with swarm() as hive:
            transport = MemoryTransport(hive.bus)
            hive.start_coordinator()
            hive.start_worker("w1", offered(approver(answers)))
            async with (
                transport.subscribe(
                    subjects.inquiry("human"), lambda it: bells.append(decode_as(it.data, SwarmInquiry))
                ),
                transport.subscribe(
                    subjects.response("approve"), lambda it: told.append(decode_as(it.data, SwarmResponse))
                ),
            ):
                run = await hive.submit(run_spec("approve"))
                (row,) = await asked(hive)
                response = SwarmResponse(run=run, inquiry=row.id, answerer="bob", answer={"fine": True})
                data = encode(response, source="bob", message_id="r-1", time_ms=0)
                await transport.publish(subject, data, message_id="r-1")
                await hive.ended(run)
                assert [bell.inquiry for bell in bells] == [row.id]
                assert (bells[0].wait.question, bells[0].asker) == ("is topic 0 right?", "approve")
                assert told[-1].answer == {"fine": True}
                assert {response.answerer for response in told} == {"bob"}

    run_virtually(main)
    assert answers == [{"fine": True}]


def test_a_question_to_an_agent_that_the_run_does_not_have_fails_at_once():
    @agent("think")
    async def think(context: Context) -> Discovery:
        await context.ask("nobody", "hello?")
        return Discovery(reward=1.0)

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", offered(think))
            run = await hive.submit(run_spec("think"))
            totals = await hive.ended(run)
            assert totals.tasks == {"failed": 1}
            (task,) = (await hive.task_rows(run)).values()
            assert "the run has no agent 'nobody'" in task.reason

    run_virtually(main)
