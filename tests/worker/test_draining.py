"""A drained worker begins nothing new, finishes what it can, and gives back the rest."""

import anyio

from agents.agent import Context, Discovery, agent
from agents.observations import Draining
from tests.worker.rig import echo, rig, virtually


@agent("minute")
async def minute(_context: Context) -> Discovery:
    await anyio.sleep(60)
    return Discovery(reward=1.0)


@virtually
async def test_what_runs_may_finish_and_nothing_new_begins() -> None:
    async with rig(minute, slots=2, drain_seconds=100) as swarm:
        await swarm.leader.dispatch("minute")
        await swarm.until(lambda: len(swarm.held) == 1)
        swarm.worker.drain()
        await swarm.leader.dispatch("minute")
        await swarm.until(lambda: bool(swarm.endings), 100)
        assert [one.outcome for one in swarm.leader.discoveries] == ["done"]
        assert await swarm.leader.transport.pending("SWARM_TASKS", "tasks-minute") == 1
        assert (swarm.leader.beats[-1].status, swarm.leader.beats[-1].held) == ("draining", ())
        assert len(swarm.saw(Draining)) == 1


@virtually
async def test_what_does_not_finish_in_time_is_given_back() -> None:
    async with rig(minute, slots=2, drain_seconds=10) as swarm:
        task = await swarm.leader.dispatch("minute")
        await swarm.until(lambda: len(swarm.held) == 1)
        began = anyio.current_time()
        swarm.leader.control("w1", order="drain")
        await swarm.until(lambda: swarm.endings == ["drained"])
        assert 10 <= anyio.current_time() - began < 12
        assert [(one.token, one.outcome) for one in swarm.leader.discoveries] == [(task.token, "released")]
        assert swarm.held == []


@virtually
async def test_receipts_that_never_come_do_not_hold_the_worker_for_ever() -> None:
    async with rig(echo, drain_seconds=10) as swarm:
        swarm.leader.on_discovery = lambda _: None
        await swarm.leader.dispatch()
        await swarm.discovery()
        began = anyio.current_time()
        swarm.worker.drain()
        await swarm.until(lambda: bool(swarm.endings))
        assert anyio.current_time() - began < 15


@virtually
async def test_an_idle_worker_leaves_at_once() -> None:
    async with rig() as swarm:
        began = anyio.current_time()
        swarm.leader.control("w1", order="reload")
        await swarm.until(lambda: swarm.endings == ["reload"])
        assert anyio.current_time() - began < 1
