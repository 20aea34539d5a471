"""The production coordinator and worker in virtual time: hours pass in milliseconds."""

import anyio

from agents.agent import Context, Discovery, agent
from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, RunSpec
from protocol.messages import FollowUp
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually


def run_spec(tasks: int = 5, **changes: object) -> RunSpec:
    fields: dict[str, object] = {
        "run": "run-1",
        "goal": "wait",
        "agents": (AgentSpec(name="think"),),
        "roots": (FollowUp(agent="think", topic="alpha"), FollowUp(agent="think", topic="beta")),
        "budget": Budget(tasks=tasks),
    }
    return RunSpec.model_validate(fields | changes)


def thinker(seconds: float):
    @agent("think")
    async def think(context: Context) -> Discovery:
        await anyio.sleep(seconds)
        return Discovery(reward=0.5)

    return {"think": think}


def test_a_run_goes_from_goal_to_end():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(1.0))
            run = await hive.submit(run_spec())
            totals = await hive.ended(run)
            assert totals.status == "done"
            assert totals.tasks == {"done": 5}
            await hive.check(run)

    run_virtually(main)


def test_a_worker_silent_for_90_seconds_loses_its_tasks_and_its_late_result_is_refused():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(100.0), slots=1)
            run = await hive.submit(run_spec(tasks=1))
            await anyio.sleep(5)
            (before,) = (await hive.task_rows(run)).values()
            assert (before.status, before.worker) == ("running", "w1")
            hive.silence("w1")
            silent_since = anyio.current_time()
            hive.start_worker("w2", thinker(100.0), slots=1)
            while (await hive.task_rows(run))[before.id].attempt == 1:
                await anyio.sleep(0.1)
            waited = anyio.current_time() - silent_since
            assert 79 <= waited <= 96, waited
            await anyio.sleep(20)
            hive.hear_again("w1")
            totals = await hive.ended(run)
            assert totals.tasks == {"done": 1}, "\n".join(str(e)[:200] for e in await hive.events(run))
            state = await hive.check(run)
            assert state.tasks[before.id].worker == "w2"
            await anyio.sleep(30)
            requeued = [event for event in await hive.events(run) if isinstance(event, ev.TaskRequeued)]
            assert [event.cause for event in requeued] == ["silent"]
            refused = [event for event in await hive.events(run) if isinstance(event, ev.ResultRefused)]
            assert {(event.task, event.worker) for event in refused} == {(before.id, "w1")}

    run_virtually(main)
