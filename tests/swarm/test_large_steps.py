"""Large values of steps stay for as long as their task may need them."""

import anyio

from agents.agent import Agent, Context, Discovery, agent
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
