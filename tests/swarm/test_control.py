"""Runs that are held and let go, by the production coordinator and worker in virtual time."""

import anyio

from protocol.codec import decode_as, encode
from protocol.messages import PauseReply, PauseRequest
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


def test_a_run_paused_for_a_day_and_across_a_fail_over_begins_nothing_and_then_ends_well():
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
            await anyio.sleep(86_400)
            totals = await hive.totals(run)
            assert (totals.paused, totals.tasks, totals.ended) == ("night", {"done": 2}, False)
            assert (await ask(hive, "pause", PauseRequest(paused=False), PauseReply)).verdict == "resumed"
            totals = await hive.ended(run)
            assert totals.tasks == {"done": 6}
            state = await hive.check(run)
            assert all(task.tries == 1 for task in state.tasks.values())

    run_virtually(main)
