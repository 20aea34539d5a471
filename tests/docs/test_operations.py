"""What operations.md and the README say of overload and of rollbacks, in virtual time."""

from typing import Any

import anyio
import pytest

from agents.agent import Context, Discovery, agent
from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, RunSpec
from coordinator.records import Logged, Records, Trimmed
from coordinator.settings import Admission, Retention, Settings
from coordinator.submit import submit
from protocol.errors import Overloaded
from protocol.exits import Exit, exit_code
from protocol.messages import FollowUp
from protocol.transport.memory import MemoryTransport
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually

LARGEST_GROUP = 60
"""Events in one append, about: what ten slots do at once."""


@agent("think")
async def think(context: Context) -> Discovery:
    await anyio.sleep(1)
    return Discovery(reward=0.5)


def spec(run: str, tasks: int = 5) -> RunSpec:
    return RunSpec(
        run=run,
        goal="think",
        agents=(AgentSpec(name="think"),),
        roots=(FollowUp(agent="think", topic="of nothing"), FollowUp(agent="think", topic="of something")),
        budget=Budget(tasks=tasks),
    )


def test_a_run_too_many_is_refused_with_the_time_to_ask_again() -> None:
    async def main() -> None:
        async with swarm() as hive:
            options: Any = {"now_ms": hive.clock.now_ms(), "max_active": 1}
            bus = MemoryTransport(hive.bus)
            assert await submit(hive.store, bus, spec("run-1"), **options)
            with pytest.raises(Overloaded) as refused:
                await submit(hive.store, bus, spec("run-2"), **options)
            assert refused.value.retry_after_seconds > 0
            assert exit_code(refused.value) == Exit.FAILED
            hive.start_coordinator()
            hive.start_worker("w1", {"think": think})
            await hive.ended("run-1")
            await anyio.sleep(1)
            assert await submit(hive.store, bus, spec("run-2"), **options)

    run_virtually(main)


def test_no_more_tasks_wait_for_workers_than_admission_allows() -> None:
    async def main() -> None:
        async with swarm(settings=Settings(admission=Admission(max_queued_tasks=3))) as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"think": think}, slots=50)
            run = await hive.submit(spec("run-1", tasks=100))
            with anyio.fail_after(600):
                while not (await hive.totals(run)).ended:
                    tasks = (await hive.task_rows(run)).values()
                    assert sum(task.status == "dispatched" for task in tasks) <= 3
                    await anyio.sleep(0.01)

    run_virtually(main)


def test_a_rollback_is_noticed_recorded_and_the_run_goes_on_from_what_is_there() -> None:
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"think": think})
            run = await hive.submit(spec("run-1", tasks=20))
            await anyio.sleep(2)
            earlier, position = hive.store.snapshot(), await hive.store.head(run)
            await anyio.sleep(2)
            lost = await hive.store.head(run) - position
            hive.store.restore(earlier)
            totals = await hive.ended(run)
            assert totals.status == "done"
            assert totals.lost_events >= lost > 0
            incidents = [event for event in await hive.events(run) if isinstance(event, ev.LeaderChanged)]
            assert sum(event.lost_events for event in incidents) == totals.lost_events
            await hive.check(run)

    run_virtually(main)


def test_a_log_is_bounded_and_statistics_stay() -> None:
    async def main() -> None:
        retention = Retention(log_events=50, segment_events=10, archive=False)
        async with swarm(settings=Settings(retention=retention)) as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"think": think}, slots=10)
            run = await hive.submit(spec("run-1", tasks=400))
            totals = await hive.ended(run)
            assert totals.tasks == {"done": 400}
            assert 50 <= len(await hive.events(run)) <= 50 + 10 + LARGEST_GROUP
            follow = Records(hive.store).follow(run, after=7)
            first = await anext(follow)
            assert isinstance(first, Trimmed)
            assert (first.first, first.last) == (8, await hive.store.head(run) - len(await hive.events(run)))
            left = [one.position async for one in follow if isinstance(one, Logged)]
            assert left == list(range(first.last + 1, await hive.store.head(run) + 1))
            assert sum(row.visits for row in (await hive.directions(run)).values()) == 400

    run_virtually(main)
