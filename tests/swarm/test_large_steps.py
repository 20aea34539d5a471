"""Large values of steps stay for as long as their task may need them."""

import anyio

from agents.agent import Agent, AgentFailure, Context, Discovery, agent
from blackboard.spec import AgentSpec, RunSpec
from coordinator.settings import Retention, Settings
from protocol.messages import FollowUp
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually

ORPHAN_SECONDS = 60
PAUSE_SECONDS = 600
LARGE = "x" * 200_000


def keeper() -> tuple[dict[str, Agent], list[int], list[object]]:
    made: list[int] = []
    answered: list[object] = []

    @agent("keep")
    async def keep(context: Context) -> Discovery:
        async def call() -> str:
            made.append(1)
            return LARGE

        value = await context.step("read", {"text": LARGE + context.topic}, call)
        await context.sleep(PAUSE_SECONDS)
        answered.append(value)
        return Discovery(reward=1.0)

    return {"keep": keep}, made, answered


def test_a_large_step_is_replayed_long_after_an_orphan_would_be_gone() -> None:
    agents, made, answered = keeper()
    spec = RunSpec(
        run="run-1",
        goal="keep",
        agents=(AgentSpec(name="keep"),),
        roots=(FollowUp(agent="keep", topic="t", max_visits=1),),
    )

    async def main() -> None:
        settings = Settings(retention=Retention(orphan_seconds=ORPHAN_SECONDS))
        async with swarm(settings=settings) as hive:
            hive.start_coordinator()
            hive.start_worker("w1", agents)
            run = await hive.submit(spec)
            await anyio.sleep(PAUSE_SECONDS / 2)
            assert answered == []
            totals = await hive.ended(run)
            assert totals.status == "done"
            assert (made, answered) == ([1], [LARGE])

    run_virtually(main)


def test_a_journal_of_more_values_than_one_message_may_bring_in_is_replayed() -> None:
    calls: list[int] = []

    @agent("count")
    async def count(context: Context) -> Discovery:
        async def call() -> list[int]:
            calls.append(1)
            return [0] * 6_000

        for number in range(12):
            await context.step("read", number, call)
        if context.attempt == 1:
            raise AgentFailure("transient", "once more")
        return Discovery(reward=1.0)

    spec = RunSpec(
        run="run-1",
        goal="count",
        agents=(AgentSpec(name="count"),),
        roots=(FollowUp(agent="count", topic="t", max_visits=1),),
    )

    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"count": count})
            totals = await hive.ended(await hive.submit(spec))
            assert (totals.status, len(calls)) == ("done", 12)

    run_virtually(main)
