"""Runs that are held and let go, by the production coordinator and worker in virtual time."""

import anyio

from agents.agent import Context, Discovery, agent
from coordinator.reopening import reopen
from protocol.codec import decode_as, encode
from protocol.messages import CancelReply, CancelRequest, PauseReply, PauseRequest, RetryRequest
from protocol.transport.memory import MemoryTransport
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


async def ask(hive: Swarm, verb: str, request, reply):
    now_ms = hive.clock.now_ms()
    data = encode(request, source="operator", message_id=f"{verb}-{now_ms}", time_ms=now_ms)
    subject = f"swarm.board.run-1.operator.{verb}"
    answer = await MemoryTransport(hive.bus).request(subject, data, timeout_seconds=5)
    return decode_as(answer, reply)


def test_a_run_paused_for_long_and_across_a_fail_over_begins_nothing_and_then_ends_well():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(10.0))
            run = await hive.submit(run_spec(tasks=6))
            await anyio.sleep(5)
            reply = await ask(hive, "pause", PauseRequest(reason="night"), PauseReply)
            assert reply.verdict == "paused"
            await anyio.sleep(60)
            hive.kill("c1")
            hive.start_coordinator("c2")
            await anyio.sleep(600)
            totals = await hive.totals(run)
            assert (totals.paused, totals.tasks, totals.ended) == ("night", {"done": 2}, False)
            assert (await ask(hive, "pause", PauseRequest(paused=False), PauseReply)).verdict == "resumed"
            totals = await hive.ended(run)
            assert totals.tasks == {"done": 6}
            state = await hive.check(run)
            assert all(task.tries == 1 for task in state.tasks.values())

    run_virtually(main)


def test_a_cancelled_task_of_a_silent_worker_is_uncertain_and_one_of_a_living_worker_confirmed():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(600.0), slots=1)
            hive.start_worker("w2", thinker(600.0), slots=1)
            run = await hive.submit(run_spec(tasks=2))
            await anyio.sleep(5)
            hive.silence("w2")
            reply = await ask(hive, "cancel", CancelRequest(), CancelReply)
            assert (reply.cancelled, reply.stopping) == (2, 2)
            began = anyio.current_time()
            totals = await hive.ended(run)
            assert totals.status == "cancelled"
            assert 10 <= anyio.current_time() - began < 13
            state = await hive.check(run)
            stops = {task.worker: task.stop for task in state.tasks.values()}
            assert stops == {"w1": "confirmed", "w2": "uncertain"}

    run_virtually(main)


def test_dead_letters_of_an_ended_run_are_retried_and_the_run_ends_well_under_another_coordinator():
    mended = False

    @agent("think")
    async def think(context: Context) -> Discovery:
        if not mended:
            raise RuntimeError("broken")
        return Discovery(reward=0.5)

    async def main() -> None:
        nonlocal mended
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", {"think": think})
            run = await hive.submit(run_spec(tasks=2))
            totals = await hive.ended(run)
            assert (totals.status, totals.tasks) == ("failed", {"dead": 2})
            hive.kill("c1")
            mended = True
            reply = await reopen(hive.store, run, RetryRequest(), max_active=100)
            assert reply is not None
            assert reply.retried == 2
            hive.start_coordinator("c2")
            totals = await hive.ended(run)
            assert (totals.status, totals.tasks) == ("done", {"dead": 0, "done": 2})
            await hive.check(run)

    run_virtually(main)
