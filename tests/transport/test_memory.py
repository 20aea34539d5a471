"""The transport in memory alone: virtual time and order."""

import anyio
import pytest

from protocol.transport.contract import ConsumerSpec, StreamSpec
from protocol.transport.memory import MemoryBus, MemoryTransport
from tests.support.virtual import run_virtually
from tests.transport.conftest import Messages, Received


def test_the_ack_wait_passes_in_virtual_time() -> None:
    async def main() -> list[float]:
        bus, times = MemoryBus(), list[float]()
        transport = MemoryTransport(bus)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run)
            consumer = ConsumerSpec("S", "d", "s.>", ack_wait_seconds=30)
            await transport.ensure([StreamSpec("S", ("s.>",))], [consumer])
            await transport.publish("s.a", b"", message_id="1")
            pull = transport.pull("S", "d", lambda delivery: times.append(anyio.current_time()))
            async with pull as puller:
                puller.add_credits(4)
                await anyio.sleep(100)
            tasks.cancel_scope.cancel()
        return [time - times[0] for time in times]

    assert run_virtually(main) == pytest.approx([0, 30, 60, 90], abs=0.01)


@pytest.mark.anyio
async def test_the_same_calls_give_the_same_order() -> None:
    async def once() -> tuple[list[bytes], ...]:
        bus = MemoryBus()
        transport = MemoryTransport(bus)
        received, heard = [Received(), Received()], [Messages(), Messages()]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run)
            await transport.ensure([StreamSpec("S", ("s.>",))], [ConsumerSpec("S", "d", "s.>")])
            async with (
                transport.pull("S", "d", received[0]) as first,
                transport.pull("S", "d", received[1]) as second,
                transport.subscribe("s.*", heard[0], queue="q"),
                transport.subscribe("s.*", heard[1], queue="q"),
            ):
                first.add_credits(3)
                second.add_credits(9)
                for number in range(10):
                    await transport.publish(f"s.{number}", str(number).encode(), message_id=str(number))
                await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        return (*(one.data for one in received), *([m.data for m in one.messages] for one in heard))

    outcomes = [await once() for _ in range(3)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0][0]) == 3
    assert len(outcomes[0][2]) == len(outcomes[0][3]) == 5
