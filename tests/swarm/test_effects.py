"""Nothing leaves a coordinator before the append that makes it true."""

import anyio
from pydantic import BaseModel, ConfigDict

from agents.agent import Context, Discovery, agent
from agents.worker_core import Limits
from blackboard.memory import MemoryStore
from blackboard.store import Batch
from protocol import subjects
from protocol.artifacts import artifact
from protocol.codec import decode, decode_as
from protocol.errors import StoreUnavailable
from protocol.messages import Control, SwarmDiscoveries
from protocol.transport.contract import Message
from protocol.transport.memory import MemoryTransport
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


class SlowStore(MemoryStore):
    """Appends wait while it is held."""

    held = False

    async def append(self, batch: Batch, *, ttl_seconds: float) -> int:
        while self.held:
            await anyio.sleep(0.01)
        return await super().append(batch, ttl_seconds=ttl_seconds)


def test_no_receipt_leaves_before_the_append_that_settles_its_task():
    store = SlowStore()
    receipts: list[str] = []

    def note(message: Message) -> None:
        receipts.extend(task for task, _ in decode_as(message.data, Control).settled)

    async def main() -> None:
        async with (
            swarm(store=store) as hive,
            MemoryTransport(hive.bus).subscribe(subjects.control("w1"), note),
        ):
            hive.start_coordinator()
            hive.start_worker("w1", thinker(2.0), slots=1)
            run = await hive.submit(run_spec(tasks=1))
            while not any(row.status == "running" for row in (await hive.task_rows(run)).values()):
                await anyio.sleep(0.1)
            store.held = True
            await anyio.sleep(5)
            assert receipts == []
            store.held = False
            await hive.ended(run)
            assert receipts == list(await hive.task_rows(run))

    run_virtually(main)


@artifact("effects_page")
class Page(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str


REPUBLISHED_AFTER = Limits().republish_seconds


class StoreThatFailsOnce(MemoryStore):
    """The first reading of a body comes to nothing."""

    failed = False

    async def get(self, run: str, digest: str, *, offset: int, limit: int) -> tuple[bytes, int]:
        if not self.failed:
            self.failed = True
            raise StoreUnavailable("get", "it is slow to start")
        return await super().get(run, digest, offset=offset, limit=limit)


def test_a_message_of_several_results_is_acknowledged_when_all_of_them_count():
    store = StoreThatFailsOnce()

    @agent("think", publishes=[Page])
    async def think(context: Context) -> Discovery:
        del context
        await anyio.sleep(10 - anyio.current_time() % 10)  # all are ready at the same time
        return Discovery([Page(text="x" * 70_000)], reward=0.5)

    async def main() -> None:
        async with swarm(store=store) as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"think": think}, slots=4)
            run = await hive.submit(run_spec(tasks=4))
            totals = await hive.ended(run)
            ended_after = anyio.current_time() % 10
            stored = hive.bus.streams[subjects.DISCOVERIES_STREAM].messages.values()
            together = [body for one in stored if isinstance(body := decode(one.data).body, SwarmDiscoveries)]
            assert store.failed
            assert [len(one.discoveries) for one in together] == [4]
            assert ended_after < REPUBLISHED_AFTER
            assert totals.tasks == {"done": 4}
            await hive.check(run)

    run_virtually(main)
