"""A coordinator keeps nothing of what is over."""

import gc

import anyio

from blackboard.state import RunState
from coordinator.outbox import _Entry
from coordinator.topology import discovery_consumer
from protocol.transport.memory import MemoryBus, MemoryTransport
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


def _found(kind: type) -> int:
    """Objects of a class that were not freed, those in cycles and those kept from the collector included."""
    gc.unfreeze()
    return sum(isinstance(one, kind) for one in gc.get_objects())


def test_the_rows_of_ended_runs_are_freed_without_waiting_for_the_collectors_own_time():
    async def main() -> None:
        gc.unfreeze()
        gc.collect()
        before = _found(RunState)
        gc.disable()
        try:
            async with swarm() as hive:
                hive.start_coordinator()
                hive.start_worker("w1", thinker(0.1))
                for number in range(3):
                    await hive.ended(await hive.submit(run_spec(run=f"run-{number}")))
                await anyio.sleep(30)
                assert _found(RunState) <= before
        finally:
            gc.enable()

    run_virtually(main)


class SlowLook(MemoryTransport):
    """A bus on which one look at a run's queues takes until it may go on."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.slow = ""
        """The queue of the run whose next look is slow."""
        self.under_way, self.go_on, self.done = anyio.Event(), anyio.Event(), anyio.Event()

    async def ensure(self, streams, consumers):
        if self.slow not in {one.durable for one in consumers}:
            return await super().ensure(streams, consumers)
        self.slow = ""
        self.under_way.set()
        await self.go_on.wait()
        drifts = await super().ensure(streams, consumers)
        self.done.set()
        return drifts


def test_a_look_at_the_bus_under_way_at_a_runs_end_leaves_no_queue_of_the_run():
    async def main() -> None:
        async with swarm() as hive:
            bus = SlowLook(hive.bus)
            hive.start_coordinator(transport=bus)
            hive.start_worker("w1", thinker(30.0))
            queue = discovery_consumer(await hive.submit(run_spec()))
            await anyio.sleep(1)
            consumers = hive.bus.streams[queue.stream].consumers
            assert queue.durable in consumers
            bus.slow = queue.durable
            with anyio.fail_after(60):
                await bus.under_way.wait()
            await hive.ended("run-1")
            await anyio.sleep(1)
            assert queue.durable not in consumers
            bus.go_on.set()
            await bus.done.wait()
            await anyio.sleep(1)
            assert queue.durable not in consumers

    run_virtually(main)


def test_dispatches_that_nobody_claimed_before_they_ended_are_forgotten():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(5.0), slots=1)
            run = await hive.submit(run_spec())
            await anyio.sleep(1)
            leader = hive.coordinators["c1"].leaders[run]
            leader._release._outbox._entries["a task that was cancelled"] = _Entry("token", 0.0)
            await anyio.sleep(2)
            dispatched = leader.run.state.dispatched
            assert dispatched
            assert leader._release._outbox._entries.keys() <= dispatched.keys()

    run_virtually(main)
