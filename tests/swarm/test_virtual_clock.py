"""The clock of virtual time: it always moves on, and says who holds it up."""

import anyio
import pytest

from tests.support import virtual
from tests.support.virtual import Livelock, run_virtually


async def _reach(due: float, delay: int) -> None:
    await anyio.sleep(1)
    for _ in range(delay):
        await anyio.lowlevel.checkpoint()
    while (left := due - anyio.current_time()) > 0:
        await anyio.sleep(left)


def test_sleepers_whose_times_differ_by_a_rounding_error_do_not_stop_the_clock(monkeypatch):
    monkeypatch.setattr(virtual, "ROUNDS_LIMIT", 10_000)

    async def main() -> None:
        due = anyio.current_time() + 1
        later = due + 1e-10
        async with anyio.create_task_group() as tasks:
            for delay in range(2):
                tasks.start_soon(_reach, later, delay)
        assert anyio.current_time() >= later

    run_virtually(main)


def test_a_timer_fires_at_its_time_and_not_before():
    async def main() -> None:
        for seconds in (0.1, 1e-12, 1e7, 0.3, 1e9, 1e-6):
            due = anyio.current_time() + seconds
            await anyio.sleep(seconds)
            assert anyio.current_time() == due

    run_virtually(main)


def test_tasks_that_wake_each_other_for_ever_are_named(monkeypatch):
    monkeypatch.setattr(virtual, "ROUNDS_LIMIT", 1_000)

    async def spin_for_ever() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(Livelock, match="spin_for_ever"):
        run_virtually(spin_for_ever)
