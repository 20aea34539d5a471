"""What the bus has lost is published again at once; what may only be waiting there is not."""

from collections.abc import Callable, Mapping

import anyio

from coordinator.outbox import EMPTY_QUEUE_SECONDS, OVERDUE_SECONDS
from coordinator.topology import task_consumer
from protocol.transport.memory import MemoryBus, MemoryTransport
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec

QUEUE = task_consumer("think")
SOON_SECONDS = EMPTY_QUEUE_SECONDS + 2
"""A sweep or two after a loss shows."""


class LosingBus(MemoryBus):
    """Takes no task while it loses, and confirms none."""

    loses = False

    def send(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str],
        answer: Callable[[bytes], None] | None = None,
    ) -> tuple[bool, bool]:
        if self.loses and subject.startswith("swarm.tasks."):
            return False, False
        return super().send(subject, data, headers, answer)


async def waiting(hive: Swarm) -> int:
    """Messages in the queue: no worker is there."""
    return await MemoryTransport(hive.bus).pending(QUEUE.stream, QUEUE.durable)


async def seconds_until_waiting(hive: Swarm, wanted: int) -> float:
    began = anyio.current_time()
    while await waiting(hive) < wanted:
        await anyio.sleep(0.1)
    return anyio.current_time() - began


async def dispatched(hive: Swarm, run: str) -> None:
    """A run whose first task has been dispatched."""
    await hive.submit(run_spec(run=run))
    while not await hive.task_rows(run):
        await anyio.sleep(0.1)


def test_a_dispatch_that_the_bus_did_not_confirm_is_published_again_though_others_wait_in_its_queue():
    async def main() -> None:
        bus = LosingBus()
        async with swarm(bus=bus) as hive:
            hive.start_coordinator()
            await dispatched(hive, "run-1")
            await seconds_until_waiting(hive, 1)
            bus.loses = True
            await dispatched(hive, "run-2")
            assert await waiting(hive) == 1
            bus.loses = False
            assert await seconds_until_waiting(hive, 2) <= SOON_SECONDS

    run_virtually(main)


def test_a_dispatch_that_was_confirmed_is_published_again_when_its_queue_is_empty():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            await dispatched(hive, "run-1")
            await seconds_until_waiting(hive, 1)
            stream = hive.bus.streams.pop(QUEUE.stream)
            await MemoryTransport(hive.bus).ensure([stream.spec], [QUEUE])
            assert await seconds_until_waiting(hive, 1) <= SOON_SECONDS

    run_virtually(main)


def test_what_was_confirmed_and_is_still_there_has_its_time():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            await dispatched(hive, "run-1")
            await seconds_until_waiting(hive, 1)
            assert OVERDUE_SECONDS - 1 <= await seconds_until_waiting(hive, 2) <= OVERDUE_SECONDS + 2

    run_virtually(main)
