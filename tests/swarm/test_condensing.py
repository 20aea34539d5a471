"""Journals of tasks that ended well are condensed, beyond the newest: what stays, and what still works."""

from collections.abc import Mapping

import anyio
import pytest
from pydantic import BaseModel, JsonValue

from agents.agent import Agent, Context, Discovery, Priced, agent
from blackboard.condensing import condensed
from blackboard.encoding import decode_steps
from blackboard.spec import AgentSpec, Budget, RunSpec
from coordinator.commands.compare import compared_runs
from coordinator.history import Point
from coordinator.records import Records, operator_query
from coordinator.settings import Retention, Settings
from coordinator.verification.verify import verify
from protocol.artifacts import artifact
from protocol.errors import InvalidMessage
from protocol.messages import FollowUp, RetryReply, RetryRequest, Step, Usage
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_forks import part
from tests.swarm.test_long_runs import ask, settled

KEPT, TASKS = 10, 40
LARGE = "x" * 100_000
REPLY = "a long reply. " * 50
SETTINGS = Settings(retention=Retention(log_events=1_000_000, journals=KEPT))
CALL = Usage(model_calls=1, tokens_out=100, cost_microdollars=7)


@artifact("seen")
class Seen(BaseModel, frozen=True):
    text: str


class World:
    """Counts the calls that are made, and may let visits of a topic fail after theirs."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[str] = []
        self.failing = failing

    def agents(self) -> dict[str, Agent]:
        @agent("look")
        async def look(context: Context) -> Discovery:
            async def call() -> Priced:
                self.calls.append(f"{context.run} {context.topic} {context.visit}")
                return Priced(f"{REPLY}{context.visit}", CALL)

            async def send(key: str) -> str:
                return f"sent under {key}: {REPLY}"

            await context.step("ask", {"prompt": "What now? " * 30, "visit": context.visit}, call)
            await context.effect("post", "letter", send, kind="keyed")
            await anyio.sleep(1)
            if context.topic == self.failing:
                raise ValueError("a bug after the call")
            return Discovery(reward=0.5)

        return {"look": look}


def looks(tasks: int = TASKS) -> RunSpec:
    return RunSpec(
        run="run-1",
        goal="look again",
        agents=(AgentSpec(name="look", max_running=1),),
        roots=(FollowUp(agent="look", topic="the pressure"),),
        budget=Budget(tasks=tasks),
    )


async def ended_run(hive: Swarm, world: World) -> None:
    hive.start_worker("w1", world.agents())
    hive.start_coordinator("c1")
    await hive.submit(looks())
    await hive.ended("run-1")


async def journals(hive: Swarm, run: str = "run-1") -> list[list[Step]]:
    """By visit."""
    records = Records(hive.store)
    return [list(await records.steps(run, task)) for task in await records.tasks(run)]


def test_the_newest_journals_stay_whole_and_of_older_ones_only_the_replies_of_models_go():
    async def main() -> None:
        async with swarm(settings=SETTINGS) as hive:
            await ended_run(hive, World())
            found = await journals(hive)
            whole = [all(not step.condensed for step in steps) for steps in found]
            assert whole == sorted(whole)
            assert KEPT <= sum(whole) <= KEPT + KEPT // 10 + 2
            assert len(await hive.store.rows("run-1", "journal")) == sum(whole)
            call, intent, effect = found[0]
            assert (call.value, call.asked, len(call.condensed)) == (None, None, 64)
            assert call.usage == CALL
            assert (intent.value, effect.value) != (None, None)
            assert effect.value == f"sent under {intent.value['key']}: {REPLY}"
            await hive.check("run-1")

    run_virtually(main)


def test_what_travelled_apart_goes_with_the_steps_that_named_it_unless_something_else_does(record_property):
    async def main() -> None:
        async with swarm(settings=SETTINGS) as hive:

            @agent("look", publishes=[Seen])
            async def look(context: Context) -> Discovery:
                async def call() -> Mapping[str, JsonValue]:
                    return {"text": f"{context.visit} {LARGE}"}

                async def common() -> Mapping[str, JsonValue]:
                    return {"text": LARGE}

                said = await context.step("ask", {"visit": context.visit}, call)
                await context.step("ask", {"what": "is common"}, common)
                await anyio.sleep(1)
                posted = [Seen.model_validate(said)] if context.visit == 1 else []
                return Discovery(posted, reward=0.5)

            hive.start_worker("w1", {"look": look})
            hive.start_coordinator("c1")
            await hive.submit(looks())
            await settled(hive, TASKS // 2)
            hive.kill("c1")
            hive.start_coordinator("c2")
            await settled(hive, TASKS - 1)
            first = (await Records(hive.store).tasks("run-1"))[0]
            await part(hive, "fork", Point((await Records(hive.store).tasks("run-1"))[-1].id))
            await hive.ended("run-1")
            await hive.ended("run-2")
            for name in ("c2", "w1"):
                hive.kill(name)
            everything = bytes_of(hive, "run-1")
            await anyio.sleep(SETTINGS.retention.orphan_seconds + 1)
            whole = sum(not steps[0].condensed for steps in await journals(hive))
            left = bytes_of(hive, "run-1")
            record_property("bytes", f"{everything:,} before, {left:,} left")
            assert everything > TASKS * len(LARGE)
            assert (whole + 2) * len(LARGE) < left < (whole + 2) * (len(LARGE) + 100)
            assert (await journals(hive))[0][0].condensed
            (posted,) = [
                one async for one in Records(hive.store).artifacts("run-1", operator_query(), now_ms=0)
            ]
            assert posted.producer.task == first.id
            for run in ("run-1", "run-2"):
                verdict = await verify(hive.store, run)
                assert (verdict.proven, verdict.differences) == (True, [])

    run_virtually(main)


def bytes_of(hive: Swarm, run: str) -> int:
    bodies = hive.store.snapshot().runs[run].bodies.values()
    return sum(len(body.data) for body in bodies if body.expires > anyio.current_time())


def test_leaders_that_die_while_they_condense_leave_every_journal_whole_or_condensed():
    async def main() -> None:
        async with swarm(settings=SETTINGS) as hive:
            hive.start_worker("w1", World().agents())
            hive.start_coordinator("c0")
            await hive.submit(looks())
            for number in range(1, 8):
                await settled(hive, 5 * number)
                hive.kill(f"c{number - 1}")
                hive.start_coordinator(f"c{number}")
            await hive.ended("run-1")
            state = await hive.check("run-1")
            assert state.totals.takeovers == 8
            assert sum(not steps[0].condensed for steps in await journals(hive)) <= KEPT + KEPT // 10 + 2

    run_virtually(main)


def test_a_journal_of_a_task_that_may_begin_again_stays_whole_however_old_it_is():
    async def main() -> None:
        async with swarm(settings=SETTINGS) as hive:
            world = World(failing="the heat")
            hive.start_worker("w1", world.agents())
            hive.start_coordinator("c1")
            roots = (FollowUp(agent="look", topic="the pressure"), FollowUp(agent="look", topic="the heat"))
            await hive.submit(looks().model_copy(update={"roots": roots}))
            await settled(hive, TASKS - 5)
            assert len(await hive.store.rows("run-1", "dead")) == (await hive.totals("run-1")).tasks["dead"]
            dead = [task for task in await Records(hive.store).tasks("run-1") if task.status == "dead"]
            assert len(dead) == 1
            made = len(world.calls)
            world.failing = ""
            for task in dead:
                assert all(not step.condensed for step in await Records(hive.store).steps("run-1", task))
            said = await ask(hive, "retry", RetryRequest(), RetryReply)
            assert said.retried == len(dead)
            assert len(await hive.store.rows("run-1", "dead")) == 0
            await hive.ended("run-1")
            assert not [call for call in world.calls[made:] if call == "run-1 the heat 1"]
            await hive.check("run-1")

    run_virtually(main)


def test_a_fork_before_a_later_task_shares_condensed_journals_and_both_runs_compare():
    async def main() -> None:
        async with swarm(settings=SETTINGS) as hive:
            world = World()
            await ended_run(hive, world)
            tasks = await Records(hive.store).tasks("run-1")
            world.calls.clear()
            parted = await part(hive, "fork", Point(tasks[-3].id))
            assert parted.tasks == TASKS - 3
            await hive.ended("run-2")
            assert len(world.calls) == 3
            state = await hive.check("run-2")
            assert [task.steps for task in state.tasks.values()] == [3] * TASKS
            assert (await journals(hive, "run-2"))[0] == (await journals(hive))[0]
            assert (await hive.totals("run-2")).shared.cost_microdollars == 7 * (TASKS - 3)
            assert (await compared_runs(Records(hive.store), "run-1", "run-2")).same

    run_virtually(main)


def test_what_needs_a_condensed_journal_is_refused_and_says_what_to_do_instead():
    async def main() -> None:
        async with swarm(settings=SETTINGS) as hive:
            world = World()
            await ended_run(hive, world)
            tasks = await Records(hive.store).tasks("run-1")
            with pytest.raises(
                InvalidMessage,
                match=r"from step 0 on \(retention.journals, retention.journal_seconds\); part at step 0",
            ):
                await part(hive, "fork", Point(tasks[0].id, 1))
            with pytest.raises(InvalidMessage, match=r"would run again are condensed.* begin at a task"):
                await part(hive, "replay", Point())
            assert (await part(hive, "fork", Point(tasks[0].id, 0))).steps == 0
            await hive.ended("run-2")
            world.calls.clear()
            await part(hive, "replay", Point(tasks[-5].id), run="run-3")
            await hive.ended("run-3")
            assert world.calls == []

    run_virtually(main)


def test_journals_of_tasks_that_ended_long_ago_are_condensed_though_they_are_among_the_newest():
    age = 200.0
    aged = Settings(retention=Retention(log_events=1_000_000, journal_seconds=age))

    async def main() -> None:
        async with swarm(settings=aged) as hive:

            @agent("look")
            async def look(context: Context) -> Discovery:
                async def call() -> str:
                    return REPLY

                await context.step("ask", {"visit": context.visit}, call)
                if context.topic == "later":
                    await context.sleep(1.2 * age)
                return Discovery(reward=0.5)

            hive.start_worker("w1", {"look": look})
            hive.start_coordinator("c1")
            roots = [FollowUp(agent="look", topic=topic, max_visits=1) for topic in ("now", "soon", "later")]
            await hive.submit(looks().model_copy(update={"roots": tuple(roots)}))
            await settled(hive, 2)
            await anyio.sleep(0.95 * age)
            assert [len(steps) for steps in await journals(hive)] == [1, 1, 1]
            assert not any(step.condensed for steps in await journals(hive) for step in steps)
            hive.kill("c1")
            hive.start_coordinator("c2")
            await anyio.sleep(0.2 * age)
            gone = [bool(steps[0].condensed) for steps in await journals(hive)]
            assert sorted(gone) == [False, True, True]
            assert len(await hive.store.rows("run-1", "journal")) == 0
            await hive.ended("run-1")
            assert [bool(steps[0].condensed) for steps in await journals(hive)] == gone
            await hive.check("run-1")

    run_virtually(main)


def test_a_run_whose_tasks_record_nothing_has_nothing_to_condense():
    async def main() -> None:
        async with swarm(settings=SETTINGS) as hive:

            @agent("look")
            async def look(context: Context) -> Discovery:
                return Discovery(reward=0.5)

            hive.start_worker("w1", {"look": look})
            hive.start_coordinator()
            await hive.submit(looks())
            await hive.ended("run-1")
            assert await hive.store.rows("run-1", "journal") == {}
            await hive.check("run-1")

    run_virtually(main)


def step(**fields: object) -> Step:
    return Step.model_validate({"kind": "model", "path": "ask", "request": "r", "usage": CALL} | fields)


def test_a_condensed_step_is_condensed_once_and_a_small_value_stays():
    long = step(value=REPLY, failed=("f",))
    short = condensed(long)
    assert condensed(short) is short
    assert len(short.model_dump_json(exclude_defaults=True)) < 200
    assert condensed(step(value=5)) == step(value=5)
    assert condensed(step(value=5, failed=("f",))) == step(value=5)
    assert decode_steps({"0": short.model_dump_json().encode()}) == [short]
