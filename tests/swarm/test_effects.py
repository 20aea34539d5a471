"""Nothing leaves a coordinator before the append that makes it true."""

import anyio

from blackboard.memory import MemoryStore
from blackboard.store import Batch
from protocol import subjects
from protocol.codec import decode_as
from protocol.messages import Control
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
        receipts.extend(receipt.task for receipt in decode_as(message.data, Control).receipts)

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
