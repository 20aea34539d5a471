"""A coordinator that cannot reach the bus must not hold runs hostage by a lease that it goes on renewing."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from coordinator.observations import LeaderLost
from coordinator.service import Coordinator
from protocol.errors import TransportUnavailable
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


@contextmanager
def cut_off(coordinator: Coordinator) -> Iterator[None]:
    """Nothing that the coordinator asks of the bus is answered."""
    transport = coordinator._office.transport

    async def unanswered(*_args: object) -> None:
        await anyio.sleep(5)
        raise TransportUnavailable("asking the bus", "no answer in 5 s")

    transport.ensure = unanswered
    yield
    del transport.ensure


def test_its_runs_are_led_by_another_and_it_stands_again_when_it_sees_the_bus():
    async def main() -> None:
        async with swarm() as hive:
            first = hive.start_coordinator("c1")
            hive.start_worker("w1", thinker(20.0))
            run = await hive.submit(run_spec())
            await anyio.sleep(5)
            assert list(first.leaders) == [run]
            second = hive.start_coordinator("c2")
            with cut_off(first):
                await anyio.sleep(30)
                assert not first.leaders
                assert not first.ready
                assert list(second.leaders) == [run]
            await anyio.sleep(10)
            hive.kill("c2")
            assert (await hive.ended(run)).status == "done"
            await hive.check(run)
            assert LeaderLost(run, "unavailable") in hive.seen

    run_virtually(main)


def test_one_look_without_an_answer_costs_no_lead():
    async def main() -> None:
        async with swarm() as hive:
            coordinator = hive.start_coordinator()
            hive.start_worker("w1", thinker(20.0))
            run = await hive.submit(run_spec())
            await anyio.sleep(5)
            with cut_off(coordinator):
                await anyio.sleep(8)
            assert (await hive.ended(run)).takeovers == 1

    run_virtually(main)
