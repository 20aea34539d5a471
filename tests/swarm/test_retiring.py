"""Where a direction must earn something, the leader retires one that does not, in the middle of a run."""

from agents.agent import Context, Discovery, agent
from blackboard.spec import AgentSpec, Budget, RunSpec
from protocol.messages import FollowUp
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually

TASKS = 60


@agent("dig")
async def dig(context: Context) -> Discovery:
    return Discovery(reward=0.0)


def test_a_direction_that_earns_too_little_gets_no_more_visits_though_the_budget_has_them():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"dig": dig}, slots=2)
            spec = RunSpec(
                run="run-1",
                goal="dig",
                agents=(AgentSpec(name="dig", least_reward=0.5),),
                roots=(FollowUp(agent="dig", topic="sand"),),
                budget=Budget(tasks=TASKS),
            )
            await hive.ended(await hive.submit(spec))
            state = await hive.check("run-1")
            (sand,) = state.directions.values()
            assert "must be worth" in (sand.retired or "")
            assert 2 <= sand.visits < TASKS

    run_virtually(main)
