"""Does a task cost more when a million others wait? It must not, by more than 20 %.

    python bench/backlog.py [--backlogs 1000,100000,1000000] [--tasks 3000] [--json]

What waits in a run are open directions: a task is made of one when a slot is free for it, so there are never
more tasks than slots and a few. Each size has servers of its own. A run is filled with directions that wait
for their one visit; a coordinator that is there takes over; then each task that ends opens another direction,
so that the backlog stays as large. `takeover_s` is from the giving up of the lead to the first dispatch,
`takeover_cpu_s` what the new leader computes meanwhile, on a machine that others use the better figure.
`cpu_us_per_task` is what choosing, completing and opening one burns, a median of parts; ratios are against
the smallest backlog. Exits with 1 when that of all processes is above 1.2.
"""

import argparse
import json
import secrets
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from board_growth import cpu_us, numbers
from crawler import AGENT, page
from footprint import resident
from ours import NOTHING_PUT_AWAY, swarm
from prefill import Brought, Prefill
from processes import Servers, servers

from blackboard.encoding import decode_event, decode_totals
from blackboard.events import TaskDispatched
from blackboard.spec import AgentSpec, RunSpec
from blackboard.store import BlackboardStore
from coordinator import connections
from coordinator.settings import Settings
from protocol import subjects
from protocol.messages import FollowUp

OPENED_AT_ONCE = 1_000
WARM_UP_TASKS = 500
PARTS = 5
TAKEOVER_SECONDS = 900
RUN_SECONDS = 900
POLL_SECONDS = 0.005
ALLOWED_RATIO = 1.2


@dataclass(frozen=True)
class Figures:
    """What one size of backlog brought."""

    directions: int
    takeover_s: float
    takeover_cpu_s: float
    leader_bytes: float
    """Resident, of the leader, per direction."""
    redis_bytes: float
    tasks_per_s: float
    cpu_us: Mapping[str, float]


class Backlog:
    """A run on fresh servers, led by a coordinator that is there already."""

    def __init__(self, store: BlackboardStore, pids: Mapping[str, int], directions: int) -> None:
        self._store = store
        self._pids = pids
        self._at_once = min(OPENED_AT_ONCE, directions)
        self._filling = directions // self._at_once
        """Tasks that open them all."""
        self._spec = RunSpec(
            run=f"backlog-{directions}-{secrets.token_hex(4)}",
            goal="read everything",
            agents=(AgentSpec(name=AGENT),),
            roots=(FollowUp(agent=AGENT, topic="the first page", max_visits=1),),
            max_directions=2 * directions + 1_000_000,
        )

    async def fill(self) -> int:
        """The position up to which the run was led from here."""

        def opened(number: int) -> Brought:
            pages = range(number * self._at_once, (number + 1) * self._at_once)
            return Brought(follow_ups=[page(f"page {one}", one) for one in pages])

        return await Prefill(self._store, self._spec).fill(self._filling, opened)

    async def first_dispatch(self, head: int) -> int:
        """When it was, in wall-clock milliseconds."""
        with anyio.fail_after(TAKEOVER_SECONDS):
            while True:
                for entry in await self._store.log(self._spec.run, after=head):
                    event = decode_event(entry.event)
                    if isinstance(event, TaskDispatched):
                        return event.at_ms
                await anyio.sleep(POLL_SECONDS)

    async def work(self, tasks: int) -> tuple[float, Mapping[str, float]]:
        """Tasks per second, and what one burns in each process, when so many are done."""
        parts: list[Mapping[str, float]] = []
        rates: list[float] = []
        with anyio.fail_after(RUN_SECONDS):
            done = await self._settled(WARM_UP_TASKS)
            for _ in range(PARTS):
                began, before = time.monotonic(), self._cpu_us()
                now = await self._settled(done + tasks // PARTS)
                parts.append(
                    {role: (us - before[role]) / (now - done) for role, us in self._cpu_us().items()}
                )
                rates.append((now - done) / (time.monotonic() - began))
                done = now
        cpu = {role: statistics.median(part[role] for part in parts) for role in self._pids}
        return statistics.median(rates), {**cpu, "all": sum(cpu.values())}

    async def _settled(self, wanted: int) -> int:
        while True:
            rows = await self._store.rows(self._spec.run, "run", ["totals"])
            settled = decode_totals(rows["totals"]).tasks.get("done", 0) - self._filling
            if settled >= wanted:
                return settled
            await anyio.sleep(POLL_SECONDS)

    def _cpu_us(self) -> dict[str, float]:
        return {role: cpu_us(pid) for role, pid in self._pids.items()}


async def measure(settings: Settings, pids: Mapping[str, int], directions: int, tasks: int) -> Figures:
    async with connections.store(settings) as store, connections.transport(settings) as transport:
        backlog = Backlog(store, pids, directions)
        leader, redis = (resident(pids[name])[0] for name in ("coordinator", "redis"))
        head = await backlog.fill()
        released_ms, before = time.time_ns() // 1_000_000, cpu_us(pids["coordinator"])
        transport.emit(subjects.RUNS, b"")
        takeover_s = (await backlog.first_dispatch(head) - released_ms) / 1000
        takeover_cpu_s = (cpu_us(pids["coordinator"]) - before) / 1e6
        rate, cpu = await backlog.work(tasks)
        return Figures(
            directions,
            takeover_s,
            takeover_cpu_s,
            (resident(pids["coordinator"])[0] - leader) * 1e6 / directions,
            (resident(pids["redis"])[0] - redis) * 1e6 / directions,
            rate,
            cpu,
        )


def run(on: Servers, directions: int, tasks: int) -> Figures:
    with swarm(on, AGENT, slots=64, log_events=NOTHING_PUT_AWAY) as (settings, leader, workers):
        pids = {"coordinator": leader, "worker": workers[0], **on.pids}
        return anyio.run(measure, settings, pids, directions, tasks)


def line(figures: Figures, smallest: Figures) -> dict[str, Any]:
    return {
        "directions": figures.directions,
        "takeover_s": round(figures.takeover_s, 2),
        "takeover_cpu_s": round(figures.takeover_cpu_s, 2),
        "leader_bytes_per_direction": round(figures.leader_bytes),
        "redis_bytes_per_direction": round(figures.redis_bytes),
        "tasks_per_s": round(figures.tasks_per_s),
        "cpu_us_per_task": {role: round(us) for role, us in figures.cpu_us.items()},
        "cpu_ratio": {role: round(us / smallest.cpu_us[role], 3) for role, us in figures.cpu_us.items()},
    }


def show(lines: Sequence[Mapping[str, Any]]) -> None:
    for one in lines:
        print(f"{one['directions']:,} directions wait: taken over in {one['takeover_s']:g} s "
              f"({one['takeover_cpu_s']:g} s of computing), "
              f"{one['tasks_per_s']:,} tasks/s; per direction {one['leader_bytes_per_direction']:,} bytes "
              f"of the leader, {one['redis_bytes_per_direction']:,} of Redis")  # fmt: skip
        for key in ("cpu_us_per_task", "cpu_ratio"):
            print(f"  {key:16}" + "  ".join(f"{name} {value:g}" for name, value in one[key].items()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backlogs", type=numbers, default=[1_000, 100_000, 1_000_000], metavar="N,…")
    parser.add_argument("--tasks", type=int, default=3_000, help="measured per backlog")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of text")
    options = parser.parse_args()
    found: list[Figures] = []
    for directions in options.backlogs:
        with servers() as on:
            found.append(run(on, directions, options.tasks))
    lines = [line(one, found[0]) for one in found]
    if options.json:
        print(json.dumps(lines, indent=2))
    else:
        show(lines)
    return int(any(one["cpu_ratio"]["all"] > ALLOWED_RATIO for one in lines))


if __name__ == "__main__":
    sys.exit(main())
