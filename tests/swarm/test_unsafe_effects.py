"""An unsafe effect waits until its intent is on disk; where no store can promise that, it is refused."""

import anyio

from agents.agent import Agent, Context, Discovery, agent
from blackboard.memory import MemoryStore
from blackboard.spec import AgentSpec, Budget, RunSpec
from coordinator.observations import Refused
from protocol.errors import StoreUnavailable
from protocol.messages import FollowUp
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually


class SlowDisk(MemoryStore):
    """Nothing gets to its disk while it is held; without one it says so."""

    held = True
    has_disk = True

    async def can_sync(self) -> bool:
        return self.has_disk

    async def sync(self) -> None:
        await anyio.sleep(1)
        if self.held:
            raise StoreUnavailable("sync", "not on disk in time")


def sender() -> tuple[dict[str, Agent], list[str]]:
    sent: list[str] = []

    @agent("send")
    async def send(context: Context) -> Discovery:
        async def call(key: str) -> str:
            sent.append(key)
            return "sent"

        await context.effect("mail", context.topic, call)
        return Discovery(reward=1.0)

    return {"send": send}, sent


SPEC = RunSpec(
    run="run-1",
    goal="send",
    agents=(AgentSpec(name="send"),),
    roots=(FollowUp(agent="send", topic="a letter", max_visits=1),),
    budget=Budget(tasks=1),
)


async def steps(hive: Swarm) -> int:
    return sum(row.steps for row in (await hive.task_rows("run-1")).values())


def test_an_unsafe_effect_waits_until_its_intent_is_on_disk() -> None:
    store = SlowDisk()
    agents, sent = sender()

    async def main() -> None:
        async with swarm(store=store) as hive:
            hive.start_coordinator()
            hive.start_worker("w1", agents)
            run = await hive.submit(SPEC)
            await anyio.sleep(20)
            assert (await steps(hive), sent) == (1, [])
            store.held = False
            await hive.ended(run)
            assert (await steps(hive), len(sent)) == (2, 1)

    run_virtually(main)


def test_where_nothing_can_be_promised_of_the_disk_it_is_refused_and_not_done() -> None:
    store = SlowDisk()
    store.has_disk = False
    agents, sent = sender()

    async def main() -> None:
        async with swarm(store=store) as hive:
            hive.start_coordinator()
            hive.start_worker("w1", agents)
            run = await hive.submit(SPEC)
            await hive.ended(run)
            (task,) = (await hive.task_rows(run)).values()
            assert (task.status, task.steps, sent) == ("failed", 0, [])
            assert "use Redis 7.2 or newer" in task.reason
            assert Refused("steps", "not_durable") in hive.seen

    run_virtually(main)
