"""Work without workers, workers without a right clock, and what waits for them."""

import anyio

from agents.identity import Identity
from agents.ledger import Ledger
from coordinator.liveness import Fleet, Patience
from protocol import subjects
from protocol.messages import SwarmHeartbeat
from tests.support.swarm import swarm
from tests.support.virtual import run_virtually
from tests.swarm.test_virtual_time import run_spec, thinker


def test_a_run_without_workers_does_not_fill_its_queue_and_ends_when_one_appears():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            run = await hive.submit(run_spec())
            await anyio.sleep(3600)
            assert len(hive.bus.streams[subjects.TASKS_STREAM].messages) < 60
            hive.start_worker("w1", thinker(1.0))
            assert (await hive.ended(run)).tasks == {"done": 5}
            await hive.check(run)

    run_virtually(main)


def test_agents_that_nobody_asked_for_are_offered_in_vain():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            hive.start_worker("w1", thinker(1.0))
            hive.start_worker("w2", {"unasked": thinker(1.0)["think"]})
            assert (await hive.ended(await hive.submit(run_spec()))).tasks == {"done": 5}

    run_virtually(main)


def test_two_workers_under_one_name_do_not_take_each_others_tasks_for_ever():
    async def main() -> None:
        async with swarm() as hive:
            hive.start_coordinator()
            for name in ("w1", "w1", "w2"):
                hive.start_worker(name, thinker(20.0))
            assert (await hive.ended(await hive.submit(run_spec(tasks=20)))).tasks == {"done": 20}

    run_virtually(main)


def test_a_worker_whose_clock_is_set_back_stays_alive():
    fleet = Fleet(Patience())
    fleet.heard(beat(1_000_000), 0.0)
    for second in range(10, 300, 10):
        fleet.heard(beat(second * 1000), float(second))
    assert [one.worker for one in fleet.alive(299.0)] == ["w1"]


def test_an_older_incarnation_does_not_speak_for_the_newer():
    fleet = Fleet(Patience())
    fleet.heard(beat(2_000, "i2"), 0.0)
    fleet.heard(beat(1_000, "i1"), 14.0)
    assert [one.incarnation for one in fleet.alive(14.0)] == ["i2"]
    assert list(fleet.alive(90.0)) == []


def test_a_worker_dates_its_beats_one_after_the_other_whatever_its_clock_does():
    clock = iter((5_000, 1_000, 1_000, 9_000))
    ledger = Ledger(Identity("w1", "i1", "test", lambda: next(clock)), ["think"], slots=1)
    assert [ledger.beat().sent_ms for _ in range(4)] == [5_000, 5_001, 5_002, 9_000]


def beat(sent_ms: int, incarnation: str = "i1") -> SwarmHeartbeat:
    return SwarmHeartbeat(worker="w1", incarnation=incarnation, slots=1, sent_ms=sent_ms)
