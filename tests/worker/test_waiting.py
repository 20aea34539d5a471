"""An agent that waits is stopped, its slot is free, and what it waits for is published."""

import hashlib
from datetime import timedelta

import anyio
import pytest

from agents.agent import Agent, Context, Discovery, InquiryFailed, WaitTimedOut, agent
from agents.observations import TaskFinished
from protocol.artifacts import canonical_json, digest_of
from protocol.messages import (
    INLINE_BODY_BYTES,
    Answer,
    BodyRef,
    Failure,
    Step,
    SwarmDiscovery,
    Wait,
)
from tests.worker.rig import WALL_MS, rig, virtually


def answered(wait: Wait, **answer: object) -> Step:
    return Step(
        kind="answer",
        path=wait.path,
        request=wait.request,
        occurrence=wait.occurrence,
        value=Answer.model_validate(answer).model_dump(mode="json", exclude_defaults=True),
    )


async def waits_of(one: Agent, **grant: object) -> SwarmDiscovery:
    async with rig(one) as swarm:
        await swarm.leader.dispatch(one.name, **grant)
        discovery = await swarm.discovery()
        await swarm.at_rest()
        (finished,) = swarm.saw(TaskFinished)
        assert finished.outcome == discovery.outcome
        return discovery


async def outcome_with(one: Agent, *steps: Step) -> SwarmDiscovery:
    async with rig(one) as swarm:
        await swarm.leader.dispatch(one.name, steps=steps)
        return await swarm.discovery()


def asker(**options: object) -> tuple[Agent, list[object]]:
    told: list[object] = []

    @agent("asker")
    async def one(context: Context) -> Discovery:
        told.append(await context.ask_human("well?", **options))
        return Discovery(reward=1.0)

    return one, told


@virtually
async def test_a_wait_is_published_with_all_that_a_leader_needs() -> None:
    one, told = asker(choices=("a", "b"), timeout=timedelta(minutes=2), approves={"plan": 1})
    discovery = await waits_of(one)
    (wait,) = discovery.waits
    assert (discovery.outcome, discovery.failure, discovery.artifacts) == ("waiting", None, ())
    assert (wait.kind, wait.target, wait.path, wait.occurrence) == ("human", "human", "human", 0)
    assert (wait.question, wait.choices, wait.timeout_ms) == ("well?", ("a", "b"), 120_000)
    assert wait.approves == digest_of({"plan": 1})
    assert told == []


@virtually
async def test_a_wait_within_a_step_is_a_bug_and_not_waited_for_ever() -> None:
    @agent("asker")
    async def one(context: Context) -> Discovery:
        await context.step("ask", {}, lambda: context.ask_human("well?"))
        return Discovery()

    failure = (await outcome_with(one)).failure
    assert failure is not None
    assert (failure.kind, "wait before it, or after" in failure.message) == ("bug", True)


@virtually
async def test_a_recorded_answer_is_there_at_once() -> None:
    one, told = asker()
    (wait,) = (await waits_of(one)).waits
    assert (await outcome_with(one, answered(wait, value={"go": 1}))).outcome == "done"
    assert told == [{"go": 1}]


@virtually
async def test_an_answer_kept_by_digest_is_fetched() -> None:
    one, told = asker()
    (wait,) = (await waits_of(one)).waits
    raw = canonical_json({"text": "x" * 100_000})
    body = BodyRef(digest=hashlib.sha256(raw).hexdigest(), size_bytes=len(raw))
    async with rig(one) as swarm:
        swarm.leader.bodies[body.digest] = raw
        await swarm.leader.dispatch("asker", steps=[answered(wait, body=body)])
        assert (await swarm.discovery()).outcome == "done"
    assert told == [{"text": "x" * 100_000}]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ({"timed_out": True}, WaitTimedOut, "human: no answer in time"),
        ({"failure": Failure(kind="bug", message="broken")}, InquiryFailed, "human: broken"),
    ],
)
def test_a_wait_without_an_answer_has_a_typed_outcome(
    answer: dict[str, object], error: type[Exception], says: str
) -> None:
    one, _ = asker()
    caught: list[Exception] = []

    @agent("asker")
    async def careful(context: Context) -> Discovery:
        try:
            await context.ask_human("well?")
        except error as problem:
            caught.append(problem)
        return Discovery(reward=1.0)

    @virtually
    async def test() -> None:
        (wait,) = (await waits_of(one)).waits
        failed = await outcome_with(one, answered(wait, **answer))
        assert failed.failure is not None
        assert (failed.failure.kind, failed.failure.message) == ("user", says)
        assert (await outcome_with(careful, answered(wait, **answer))).outcome == "done"

    test()
    assert [str(problem) for problem in caught] == [says]


@virtually
async def test_the_same_question_again_is_another_wait_and_another_approval_too() -> None:
    @agent("twice")
    async def twice(context: Context) -> Discovery:
        async with anyio.create_task_group() as siblings:
            for approves in ("a", "a", "b"):
                siblings.start_soon(lambda value=approves: context.ask_human("ok?", approves=value))
        return Discovery()

    waits = (await waits_of(twice)).waits
    assert len({(wait.path, wait.request, wait.occurrence) for wait in waits}) == 3
    assert [wait.occurrence for wait in waits] == [0, 1, 0]


@virtually
async def test_the_same_question_of_two_branches_has_an_answer_for_each_in_whatever_order_they_come() -> None:
    @agent("twice")
    async def twice(context: Context) -> Discovery:
        async def part(name: str) -> None:
            with context.branch(name):
                told[name] = await context.ask_human("ok?")

        async with anyio.create_task_group() as siblings:
            for name in order:
                siblings.start_soon(part, name)
        return Discovery()

    told: dict[str, object] = {}
    order = ["a", "b"]
    waits = (await waits_of(twice)).waits
    assert sorted(wait.path for wait in waits) == ["a/human", "b/human"]
    order.reverse()
    await outcome_with(twice, *(answered(wait, value=f"for {wait.path}", by="p") for wait in waits))
    assert told == {"a": "for a/human", "b": "for b/human"}


@virtually
async def test_every_kind_of_wait_has_its_target() -> None:
    @agent("all")
    async def every(context: Context) -> Discovery:
        async with anyio.create_task_group() as siblings:
            siblings.start_soon(context.ask, "expert", "why?")
            siblings.start_soon(context.ask_human, "well?")
            siblings.start_soon(context.wait_signal, "go")
            siblings.start_soon(context.sleep, 2.5)
            siblings.start_soon(lambda: context.sleep(until_ms=WALL_MS + 9))
        return Discovery()

    waits = {(wait.kind, wait.target): wait for wait in (await waits_of(every)).waits}
    assert set(waits) == {("agent", "expert"), ("human", "human"), ("signal", "go"), ("time", "clock")}
    assert waits["agent", "expert"].question == "why?"
    assert waits["time", "clock"].until_ms == WALL_MS + 9


@virtually
async def test_a_step_under_way_holds_off_the_suspension() -> None:
    recorded: list[str] = []

    @agent("busy")
    async def busy(context: Context) -> Discovery:
        async def slow() -> str:
            await anyio.sleep(30)
            recorded.append("slow")
            return "done"

        async with anyio.create_task_group() as siblings:
            siblings.start_soon(context.step, "slow", {}, slow)
            siblings.start_soon(context.ask_human, "well?")
        return Discovery()

    assert (await waits_of(busy)).outcome == "waiting"
    assert recorded == ["slow"]


@virtually
async def test_a_wait_that_is_given_up_suspends_nothing() -> None:
    @agent("racer")
    async def racer(context: Context) -> Discovery:
        with anyio.move_on_after(0.01):
            await context.ask_human("well?")
        await anyio.sleep(10)
        return Discovery(reward=0.5)

    assert (await waits_of(racer)).outcome == "done"


@virtually
async def test_a_shield_does_not_keep_a_waiting_task() -> None:
    @agent("shielded")
    async def shielded(context: Context) -> Discovery:
        with anyio.CancelScope(shield=True):
            await context.ask_human("well?")
        return Discovery()

    assert (await waits_of(shielded)).outcome == "waiting"


@virtually
async def test_many_long_questions_travel_apart() -> None:
    @agent("many")
    async def many(context: Context) -> Discovery:
        async with anyio.create_task_group() as siblings:
            for number in range(1_200):
                siblings.start_soon(context.ask_human, f"{number} " + "x" * 200)
        return Discovery()

    async with rig(many) as swarm:
        await swarm.leader.dispatch("many")
        discovery = await swarm.discovery()
        assert discovery.body is not None
        body = swarm.leader.bodies[discovery.body.digest]
        assert len(body) > INLINE_BODY_BYTES
        content = SwarmDiscovery.model_validate_json(
            b'{"run":"r","task":"t","token":"x","worker":"w","incarnation":"i",' + body[1:]
        )
        assert len(content.waits) == 1_000


@pytest.mark.parametrize(
    ("wait", "says"),
    [
        (lambda context: context.sleep(), "either `seconds` or `until_ms`"),
        (lambda context: context.sleep(1, until_ms=1), "either `seconds` or `until_ms`"),
        (lambda context: context.wait_signal("two words"), "cannot be asked"),
        (lambda context: context.ask("", "why?"), "cannot be asked"),
        (lambda context: context.ask_human("well?", choices="yes"), "give a list of texts"),
    ],
)
def test_a_wait_that_cannot_be_is_the_agents_fault(wait, says: str) -> None:
    @agent("wrong")
    async def wrong(context: Context) -> Discovery:
        await wait(context)
        return Discovery()

    @virtually
    async def test() -> None:
        failure = (await outcome_with(wrong)).failure
        assert failure is not None
        assert failure.kind == "bug"
        assert says in failure.message

    test()


@virtually
async def test_a_suspended_task_counts_neither_as_completed_nor_as_failed() -> None:
    one, _ = asker()
    async with rig(one) as swarm:
        await swarm.leader.dispatch("asker")
        await swarm.discovery()
        await swarm.at_rest()
        beat = swarm.worker.ledger.beat()
        assert (beat.completed, beat.failed) == (0, 0)
