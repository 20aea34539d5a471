"""Forks and replays whose task gets another artifact in the place of an input."""

from collections.abc import Callable, Mapping

import pytest
from pydantic import BaseModel

from agents.agent import Agent, Context, Discovery, Posting, agent
from blackboard.encoding import decode_artifact
from blackboard.spec import AgentSpec, RunSpec
from blackboard.state import TaskRow
from coordinator.commands.compare import compared_runs
from coordinator.history import Point
from coordinator.records import Records
from coordinator.verification.verify import verify
from protocol.artifacts import Artifact, artifact
from protocol.errors import InvalidMessage
from protocol.messages import FollowUp
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_forks import everything, part

LARGE = "x" * 200_000


@artifact("clue")
class Clue(BaseModel, frozen=True):
    text: str


@artifact("verdict")
class Verdict(BaseModel, frozen=True):
    text: str


class World:
    """Finds clues, one per topic; each is judged, by two looks at it. The knife leads to a late one."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def agents(self) -> Mapping[str, Agent]:
        @agent("find", publishes=[Clue])
        async def find(context: Context) -> Discovery:
            hidden = ("find",) if context.topic == "secret" else ()
            posted = Posting(Clue(text=context.topic), text=context.topic, visibility=hidden)
            return Discovery([posted], reward=0.5)

        @agent("judge", publishes=[Verdict])
        async def judge(context: Context) -> Discovery:
            (clue,) = [context.load(one, Clue).text for one in context.inputs]

            async def call() -> str:
                self.calls.append(f"{context.run} {clue[:20]}")
                return f"seen {clue[:20]}"

            first = await context.step("look", {"at": clue[:20]}, call)
            second = await context.step("look", {"again": clue[:20], "after": first}, call)
            more = [FollowUp(agent="find", topic="late")] if clue == "knife" else []
            return Discovery([Verdict(text=f"{first}, {second}")], reward=1.0, follow_ups=more)

        return {"find": find, "judge": judge}


SPEC = RunSpec(
    run="run-1",
    goal="judge",
    agents=(
        AgentSpec(name="find", publishes=("clue",), max_visits=1),
        AgentSpec(name="judge", publishes=("verdict",), trigger="artifacts", consumes=("clue",)),
    ),
    roots=(
        FollowUp(agent="find", topic="knife"),
        FollowUp(agent="find", topic="rope"),
        FollowUp(agent="find", topic="secret"),
    ),
)


def with_judged_run(test: Callable) -> None:
    async def main() -> None:
        async with swarm() as hive:
            world = World()
            hive.start_coordinator()
            hive.start_worker("w1", world.agents(), slots=1)
            await hive.ended(await hive.submit(SPEC))
            world.calls.clear()
            await test(hive, world)

    run_virtually(main)


async def board(hive: Swarm, run: str) -> dict[str, Artifact]:
    ids = [key async for key in _ids(hive, run)]
    return {one: decode_artifact(data) for one, data in (await hive.store.artifacts(run, ids)).items()}


async def _ids(hive: Swarm, run: str):
    for event in await hive.events(run):
        if event.kind == "artifact_posted":
            yield event.artifact.id


async def clue(hive: Swarm, text: str) -> Artifact:
    return next(one for one in (await board(hive, "run-1")).values() if one.payload == {"text": text})


async def judged(hive: Swarm, text: str, run: str = "run-1") -> TaskRow:
    """The task whose input is that clue."""
    wanted = (await clue(hive, text)).id
    directions = await hive.directions(run)
    tasks = (await hive.task_rows(run)).values()
    return next(task for task in tasks if wanted in directions[task.direction].inputs)


async def told(hive: Swarm, run: str) -> set[str]:
    return {one.payload["text"] for one in (await board(hive, run)).values() if one.type == "verdict"}


def test_a_fork_with_other_content_begins_the_task_with_that_and_is_on_record_as_given():
    async def test(hive: Swarm, world: World) -> None:
        before = await everything(hive.store, "run-1")
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        parted = await part(hive, "fork", Point(task.id), inputs={old.id: {"payload": {"text": "wire"}}})
        await hive.ended("run-2")
        assert [call for call in world.calls if "wire" in call] == ["run-2 wire"] * 2
        assert not [call for call in world.calls if "rope" in call]
        assert "seen wire, seen wire" in await told(hive, "run-2")
        assert await everything(hive.store, "run-1") == before
        (change,) = parted.spec.origin.changes
        new = (await board(hive, "run-2"))[change.now]
        assert (change.what, change.of, change.was) == ("input", task.id, old.id)
        assert (new.type, new.payload, new.run) == ("clue", {"text": "wire"}, "run-2")
        assert (new.producer.agent, new.producer.task, new.producer.attempt) == ("operator", task.id, 0)
        assert (new.given, new.parents, new.text) == (True, (old.id,), "")
        assert (await board(hive, "run-2"))[old.id].digest == old.digest, "others have used it"
        assert (await hive.directions("run-2"))[task.direction].inputs == (new.id,)
        await hive.check("run-2")
        verdict = await verify(hive.store, "run-2")
        assert (verdict.proven, verdict.differences) == (True, [])

    with_judged_run(test)


def test_the_comparison_shows_the_change_the_task_and_the_artifact_that_was_gained():
    async def test(hive: Swarm, world: World) -> None:
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        await part(hive, "fork", Point(task.id), inputs={old.id: {"payload": {"text": "wire"}}})
        await hive.ended("run-2")
        compared = await compared_runs(Records(hive.store), "run-1", "run-2")
        assert not compared.same
        assert [one.what for one in compared.changes] == ["input"]
        assert [one.task for one in compared.tasks if one.verdict == "changed"] == [task.id]
        found = {(one.type, one.agent): one.verdict for one in compared.artifacts if one.verdict != "same"}
        assert found == {("clue", "operator"): "gained", ("verdict", "judge"): "changed"}

    with_judged_run(test)


def test_a_replay_answers_from_the_journal_up_to_the_first_request_that_the_input_changes():
    async def test(hive: Swarm, world: World) -> None:
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        await part(hive, "replay", Point(task.id), inputs={old.id: {"payload": {"text": "wire"}}})
        await hive.ended("run-2")
        assert world.calls == ["run-2 wire"] * 2
        (diverged,) = (await compared_runs(Records(hive.store), "run-1", "run-2")).diverged
        assert (diverged.task, diverged.verdict) == (task.id, "went on")
        assert ("rope" in diverged.recorded, "wire" in diverged.asked) == (True, True)

    with_judged_run(test)


def test_a_fork_at_a_step_keeps_the_steps_before_it_whatever_the_input_is_now():
    async def test(hive: Swarm, world: World) -> None:
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        await part(hive, "fork", Point(task.id, 1), inputs={old.id: {"payload": {"text": "wire"}}})
        await hive.ended("run-2")
        assert [call for call in world.calls if "wire" in call] == ["run-2 wire"]
        assert "seen rope, seen wire" in await told(hive, "run-2")

    with_judged_run(test)


def test_an_artifact_that_the_fork_shares_stands_in_as_it_is():
    async def test(hive: Swarm, world: World) -> None:
        task, rope, knife = await judged(hive, "late"), await clue(hive, "late"), await clue(hive, "knife")
        await part(hive, "fork", Point(task.id), inputs={rope.id: {"artifact": knife.id}})
        await hive.ended("run-2")
        assert (await hive.directions("run-2"))[task.direction].inputs == (knife.id,)
        assert not [one for one in (await board(hive, "run-2")).values() if one.given]
        assert world.calls == ["run-2 knife"] * 2

    with_judged_run(test)


def test_an_artifact_that_was_posted_later_stands_in_as_a_copy_that_says_whose_content_it_has():
    async def test(hive: Swarm, world: World) -> None:
        task, knife, late = await judged(hive, "knife"), await clue(hive, "knife"), await clue(hive, "late")
        await part(hive, "fork", Point(task.id), inputs={knife.id: {"artifact": late.id}})
        await hive.ended("run-2")
        (new,) = [one for one in (await board(hive, "run-2")).values() if one.given]
        assert (new.digest, new.text, new.parents) == (late.digest, "late", (knife.id, late.id))
        assert "seen late, seen late" in await told(hive, "run-2")
        await hive.check("run-2")

    with_judged_run(test)


def test_content_that_travels_apart_is_put_with_the_fork_and_outlives_the_source():
    async def test(hive: Swarm, world: World) -> None:
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        await part(hive, "fork", Point(task.id), inputs={old.id: {"payload": {"text": LARGE}}})
        await hive.store.finish("run-1", await hive.store.head("run-1"), keep_seconds=0.001)
        await hive.ended("run-2")
        assert await hive.store.runs(active=False) == ["run-2"]
        assert f"seen {LARGE[:20]}, seen {LARGE[:20]}" in await told(hive, "run-2")
        verdict = await verify(hive.store, "run-2")
        assert (verdict.proven, verdict.differences, verdict.bodies) == (True, [], 1)

    with_judged_run(test)


def test_a_fork_of_the_fork_keeps_what_was_given_and_may_replace_it_in_turn():
    async def test(hive: Swarm, world: World) -> None:
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        first = await part(hive, "fork", Point(task.id), inputs={old.id: {"payload": {"text": "wire"}}})
        await hive.ended("run-2")
        wire = first.spec.origin.changes[0].now
        await part(hive, "fork", Point(task.id, 1), "run-2", "run-3", goal="judge again")
        await hive.ended("run-3")
        assert "seen wire, seen wire" in await told(hive, "run-3")
        other = {wire: {"payload": {"text": "chain"}}}
        third = await part(hive, "fork", Point(task.id), "run-2", "run-4", inputs=other)
        await hive.ended("run-4")
        assert "seen chain, seen chain" in await told(hive, "run-4")
        chain = (await board(hive, "run-4"))[third.spec.origin.changes[0].now]
        assert chain.parents == (wire,)
        for run in ("run-3", "run-4"):
            await hive.check(run)
            assert len([one for one in await board(hive, run) if one == wire]) == 1

    with_judged_run(test)


@pytest.mark.parametrize("by", ["content", "artifact"])
def test_replays_of_a_whole_fork_begin_the_task_with_what_was_given_to_it_there(by: str):
    async def test(hive: Swarm, world: World) -> None:
        task, old, knife = await judged(hive, "late"), await clue(hive, "late"), await clue(hive, "knife")
        given = {"payload": {"text": LARGE}} if by == "content" else {"artifact": knife.id}
        await part(hive, "fork", Point(task.id), inputs={old.id: given})
        await hive.ended("run-2")
        world.calls.clear()
        for source, run in (("run-2", "run-3"), ("run-3", "run-4")):
            await part(hive, "replay", Point(), source, run)
            await hive.ended(run)
            assert await told(hive, run) == await told(hive, "run-2")
            (new,) = [one for one in (await board(hive, run)).values() if one.given]
            assert (await hive.directions(run))[task.direction].inputs == (new.id,)
            assert (new.producer.task, new.digest == old.digest) == (task.id, False)
            await hive.check(run)
            verdict = await verify(hive.store, run)
            assert (verdict.proven, verdict.differences) == (True, [])
        assert world.calls == []

    with_judged_run(test)


def test_the_same_content_under_the_same_id_is_the_same_fork_and_other_content_is_another():
    async def test(hive: Swarm, world: World) -> None:
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        for created, text in ((True, "wire"), (False, "wire")):
            inputs = {old.id: {"payload": {"text": text}}}
            assert (await part(hive, "fork", Point(task.id), inputs=inputs)).created is created
        with pytest.raises(InvalidMessage, match="id: run run-2 exists and comes from elsewhere"):
            await part(hive, "fork", Point(task.id), inputs={old.id: {"payload": {"text": "chain"}}})

    with_judged_run(test)


def test_content_that_is_not_of_the_type_fails_the_task_and_names_the_field():
    async def test(hive: Swarm, world: World) -> None:
        task, old = await judged(hive, "rope"), await clue(hive, "rope")
        await part(hive, "fork", Point(task.id), inputs={old.id: {"payload": {"txt": "wire"}}})
        await hive.ended("run-2")
        failed = (await hive.task_rows("run-2"))[task.id]
        assert failed.status == "failed"
        assert f"given in the place of input {old.id}, is no clue: text: Field required" in failed.reason
        assert "fork again with content of that type" in failed.reason

    with_judged_run(test)


def test_what_cannot_stand_in_is_refused_with_the_field_and_the_remedy():
    async def test(hive: Swarm, world: World) -> None:
        task, old, secret = await judged(hive, "rope"), await clue(hive, "rope"), await clue(hive, "secret")
        verdict = next(one for one in (await board(hive, "run-1")).values() if one.type == "verdict")
        wire = {"payload": {"text": "wire"}}
        refusals = (
            (secret.id, wire, "is no input of the task where the runs part; name one of art-"),
            (old.id, {}, "takes an artifact or a payload; give one of the two"),
            (
                old.id,
                {"payload": {"text": "rope"}},
                "has that content already; give another, or leave it out",
            ),
            (old.id, {"artifact": "art-none"}, "the run has no artifact art-none; name one that it has"),
            (old.id, {"artifact": verdict.id}, "is a verdict version 1; give a clue version 1"),
            (
                old.id,
                {"artifact": secret.id},
                "agent 'judge' may not see artifact art-.* or give the content",
            ),
        )
        for replaced, by, words in refusals:
            with pytest.raises(InvalidMessage, match=f"^inputs.{replaced}: .*{words}"):
                await part(hive, "fork", Point(task.id), inputs={replaced: by})
        with pytest.raises(InvalidMessage, match="belongs to the task where the runs part; name the task"):
            await part(hive, "replay", Point(), inputs={old.id: wire})
        assert await hive.store.runs(active=False) == ["run-1"]

    with_judged_run(test)
