"""Does a task, or a query, cost more when much is on the board already? It must not, by more than 20 %.

    python bench/board_growth.py [--boards 10,1000,100000] [--tasks 1000] [--rounds 5] [--json]

Per round and size of board, a fresh run is filled with artifacts (each from a task of its own), and one
coordinator and one worker, the same processes throughout, do further tasks that each post one artifact.
`cpu_us_per_task` is what the processes burn per such task; `query_ms` is the newest 50 artifacts as an agent
asks for them, through the bus and the coordinator. Ratios are against the smallest board, medians of rounds.
"""

import argparse
import json
import random
import secrets
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import anyio
from ours import NOTHING_PUT_AWAY, swarm
from poster import TYPE, text_of
from prefill import Brought, Prefill
from processes import Servers, servers

from agents.board import Board
from agents.identity import Identity
from agents.view import BoardView
from blackboard.encoding import decode_totals
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.store import BlackboardStore
from coordinator import connections
from coordinator.clock import SystemClock
from coordinator.settings import Settings
from protocol import subjects
from protocol.messages import ArtifactDraft, FollowUp
from protocol.transport.contract import Transport

RUN_SECONDS = 600
POLL_SECONDS = 0.002
WARM_UP_TASKS = 300
"""Tasks before the clock starts: taking the lead, first pulls, first pages of memory."""
LAST_TASKS = 300
"""Tasks after the clock stops, so that the end of the run is not in it."""


class Conditions(TypedDict, total=False):
    type: str
    text: str


QUERIES: Mapping[str, Conditions] = {
    "newest": {},
    "of_a_type": {"type": TYPE},
    "of_a_type_with_a_word": {"type": TYPE, "text": "word31"},
}


@dataclass
class Figures:
    """What the rounds brought for one size of board."""

    cpu_us: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    tasks_per_s: list[float] = field(default_factory=list[float])
    query_ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    run: str = ""
    """The last round's run."""


def cpu_us(pid: int) -> float:
    """CPU time of all threads so far, to the nanosecond: rounds are short beside a clock tick."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1000


def _posted(number: int) -> Brought:
    text = text_of(number + 1)
    return Brought(artifacts=[ArtifactDraft(type=TYPE, payload={"text": text}, text=text)])


class Growth:
    """Measures boards of several sizes in one coordinator and one worker."""

    def __init__(
        self, store: BlackboardStore, transport: Transport, pids: Mapping[str, int], tasks: int
    ) -> None:
        self._store = store
        self._transport = transport
        self._pids = pids
        self._tasks = tasks

    async def round(self, artifacts: int, figures: Figures) -> None:
        """One run on a fresh board."""
        spec = RunSpec(
            run=f"board-{artifacts}-{secrets.token_hex(4)}",
            goal="post notes",
            agents=(AgentSpec(name="poster", publishes=(TYPE,)),),
            roots=(FollowUp(agent="poster", topic="notes"),),
            budget=Budget(tasks=artifacts + WARM_UP_TASKS + self._tasks + LAST_TASKS),
        )
        figures.run = run = spec.run
        await Prefill(self._store, spec).fill(artifacts, _posted)
        self._transport.emit(subjects.RUNS, b"")
        with anyio.fail_after(RUN_SECONDS):
            first = await self._settled(run, artifacts + WARM_UP_TASKS)
            began, before = time.monotonic(), self._cpu_us()
            last = await self._settled(run, first + self._tasks)
            after, ended = self._cpu_us(), time.monotonic()
            while run in await self._store.runs(active=True):  # noqa: ASYNC110 - happens in another process
                await anyio.sleep(POLL_SECONDS)
        per_task = {role: (value - before[role]) / (last - first) for role, value in after.items()}
        for role, value in {**per_task, "all": sum(per_task.values())}.items():
            figures.cpu_us.setdefault(role, []).append(value)
        figures.tasks_per_s.append((last - first) / (ended - began))

    async def _settled(self, run: str, wanted: int) -> int:
        """Waits until so many tasks are settled; returns how many it were by then."""
        while True:
            rows = await self._store.rows(run, "run", ["totals"])
            settled = decode_totals(rows["totals"]).tasks.get("done", 0)
            if settled >= wanted:
                return settled
            await anyio.sleep(POLL_SECONDS)

    def _cpu_us(self) -> dict[str, float]:
        return {role: cpu_us(pid) for role, pid in self._pids.items()}

    async def query(self, boards: Mapping[int, Figures], repetitions: int) -> None:
        """Asks every board in turn, so that a noisy moment hits all."""
        identity = Identity("reader", "reader-1", "bench", SystemClock().now_ms)
        board = Board(self._transport, identity, random.random)
        for _ in range(repetitions):
            for figures in boards.values():
                view = BoardView(board, figures.run, "poster", lambda: None)
                for name, conditions in QUERIES.items():
                    began = time.perf_counter()
                    await view.query(**conditions, limit=50)
                    figures.query_ms.setdefault(name, []).append((time.perf_counter() - began) * 1000)


async def measure(
    settings: Settings, pids: Mapping[str, int], sizes: Sequence[int], tasks: int, rounds: int
) -> dict[int, Figures]:
    boards = {size: Figures() for size in sizes}
    async with connections.store(settings) as store, connections.transport(settings) as transport:
        growth = Growth(store, transport, pids, tasks)
        for _ in range(rounds):
            for size, figures in boards.items():
                await growth.round(size, figures)
        await growth.query(boards, repetitions=60 * rounds)
    return boards


def run(on: Servers, sizes: Sequence[int], tasks: int, rounds: int) -> dict[int, Figures]:
    with swarm(on, "poster", slots=64, log_events=NOTHING_PUT_AWAY) as (settings, leader, workers):
        pids = {"coordinator": leader, "worker": workers[0], **on.pids}
        return anyio.run(measure, settings, pids, sizes, tasks, rounds)


def line(size: int, figures: Figures, smallest: Figures) -> dict[str, Any]:
    cpu = {role: statistics.median(values) for role, values in figures.cpu_us.items()}
    query = {name: statistics.median(values) for name, values in figures.query_ms.items()}
    return {
        "artifacts": size,
        "cpu_us_per_task": {role: round(value) for role, value in cpu.items()},
        "cpu_ratio": {
            role: round(value / statistics.median(smallest.cpu_us[role]), 3) for role, value in cpu.items()
        },
        "tasks_per_s": round(statistics.median(figures.tasks_per_s)),
        "query_ms": {name: round(value, 2) for name, value in query.items()},
        "query_ratio": {
            name: round(value / statistics.median(smallest.query_ms[name]), 3)
            for name, value in query.items()
        },
    }


def show(lines: Sequence[Mapping[str, Any]]) -> None:
    for one in lines:
        print(f"{one['artifacts']:,} artifacts on the board: {one['tasks_per_s']:,} tasks/s")
        for key in ("cpu_us_per_task", "cpu_ratio", "query_ms", "query_ratio"):
            print(f"  {key:16}" + "  ".join(f"{name} {value:g}" for name, value in one[key].items()))


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boards", type=numbers, default=[10, 1_000, 100_000], metavar="N,…")
    parser.add_argument("--tasks", type=int, default=1_000, help="measured per round and board")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of text")
    options = parser.parse_args()
    with servers() as on:
        boards = run(on, options.boards, options.tasks, options.rounds)
    smallest = boards[min(boards)]
    lines = [line(size, figures, smallest) for size, figures in boards.items()]
    if options.json:
        print(json.dumps(lines, indent=2))
    else:
        show(lines)


if __name__ == "__main__":
    main()
