"""The production coordinator and worker under seeded faults; judged from outside, by the history checker."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import anyio
import pytest

from agents.journal import Journal
from tests.history.checker import Breach
from tests.sim import points
from tests.sim import simulate as simulation
from tests.sim.loop import PROCESS, InsertionOrdered, run_seeded
from tests.sim.plan import Fault
from tests.sim.simulate import described, simulate

ROOT = Path(__file__).parents[2]
GROUPS, SEEDS = 50, 10
TRACED = (3, 5, 8)
TRACES = f"""
import logging
from tests.sim.simulate import simulate
logging.disable()
print(*[simulate(seed).trace for seed in {TRACED}])
"""
FAULTS = 25
"""Of a seed, or more: so twenty thousand of them have half a million."""


@pytest.mark.parametrize("group", range(GROUPS))
def test_whatever_fails_once_faults_stop_every_run_has_ended_and_the_promises_have_held(group: int) -> None:
    played = [simulate(seed) for seed in range(group * SEEDS, (group + 1) * SEEDS)]
    failed = [one for one in played if one.problems]
    assert not failed, described(failed[0])
    assert sum(one.faults.total() for one in played) >= FAULTS * SEEDS


def test_a_process_that_dies_and_is_to_stand_still_at_once_is_dead() -> None:
    outcome = simulate(1, [Fault("moment", "c1", what, 5.99) for what in ("kill", "long pause")])
    assert not outcome.problems, described(outcome)


@pytest.mark.parametrize("part", range(6))
def test_a_process_may_die_at_any_point_of_any_step(part: int) -> None:
    """A sample of the points; `make sim-points` tries each."""
    for point in points.points()[part * 28 :: 168]:
        outcome = points.die_at(point)
        assert not outcome.problems, f"{point}\n{described(outcome)}"


def test_the_points_lie_in_all_that_a_run_goes_through() -> None:
    places = {point.what.partition(": ")[2] for point in points.points()}
    assert places == set(points.PLACES) - {"bus.publish discoveries"}


def test_a_seed_has_one_trace_in_every_process_and_under_every_hash_seed() -> None:
    told = {time: [simulate(seed).trace for seed in TRACED] for time in ("once", "again")}
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", TRACES],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        told[hash_seed] = done.stdout.split()
    assert len(set(map(tuple, told.values()))) == 1, told


def test_another_seed_is_another_story() -> None:
    assert simulate(3, []).trace != simulate(7, []).trace


def test_a_worker_that_forgets_its_journal_is_found() -> None:
    killed = (Fault("moment", "w1", "kill", 2.0), Fault("moment", "w2", "kill", 3.0))
    assert simulate(4, killed).problems == ()
    with patch.object(Journal, "_remember", lambda *_: None):
        found = simulate(4, killed).problems
    assert found
    assert all(one.startswith("P5: ") and "paid again for" in one for one in found)


def test_a_failure_is_cut_down_to_the_faults_that_it_takes_and_says_how_to_see_it_again() -> None:
    def one_death_is_too_many(seen, _final):
        died = any(one["op"] == "fault" and one["kind"] == "kill w1" for one in seen)
        return [Breach("P1", "w1 has died")] if died else []

    needed = Fault("moment", "w1", "kill", 3.0)
    others = [Fault("moment", who, "kill", 5.0) for who in ("w2", "w3")] + [
        Fault("message", "bus", "lose", 9)
    ]
    with patch.object(simulation, "check", one_death_is_too_many):
        said = described(simulate(6, [*others, needed])).splitlines()
    assert said[0].startswith("seed 6 at commit ")
    assert said[1:4] == [
        "  P1: w1 has died",
        "again: python -m tests.sim.simulate --seed 6",
        "1 of 4 faults suffice for P1: w1 has died",
    ]
    assert said[4] == f"  {needed}"


def test_ready_callbacks_run_in_an_order_of_the_seed() -> None:
    async def order(_loop) -> list[int]:
        said: list[int] = []
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(_say, said, number)
        return said

    assert run_seeded(order, 1) == run_seeded(order, 1) != run_seeded(order, 2)
    assert run_seeded(order, None) == list(range(8))


async def _say(said: list[int], number: int) -> None:
    said.append(number)


def test_a_paused_process_stands_still_until_it_goes_on() -> None:
    async def main(loop) -> list[float]:
        ticks: list[float] = []

        async def tick() -> None:
            while True:
                await anyio.sleep(1)
                ticks.append(loop.time() - began)

        began = loop.time()
        PROCESS.set("p")
        task = asyncio.create_task(tick())
        PROCESS.set("")
        loop.call_later(2.5, loop.pause, "p")
        loop.call_later(10, loop.go_on, "p")
        await anyio.sleep(11.5)
        task.cancel()
        return ticks

    assert run_seeded(main, 1) == pytest.approx([1, 2, 10, 11])


def test_a_simulation_has_no_threads_and_no_deadlocks() -> None:
    with pytest.raises(RuntimeError, match="has no threads"):
        run_seeded(lambda loop: loop.run_in_executor(None, print), 1)
    with pytest.raises(RuntimeError, match="deadlock"):
        run_seeded(lambda _loop: anyio.Event().wait(), 1)


def test_a_set_of_scopes_is_walked_in_the_order_of_insertion() -> None:
    scopes = [object() for _ in range(100)]
    walked = InsertionOrdered(scopes)
    walked.discard(scopes[50])
    assert list(walked) == scopes[:50] + scopes[51:]
