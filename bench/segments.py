"""One run of many iterations: what its leader, its log and a take-over cost at the beginning and at the end.

    python bench/segments.py [--iterations 10000] [--every 1000] [--page docs/long-runs.md] [--json]

One agent, one task at a time, each with a recorded reply of 2,000 bytes and an artifact. It runs twice, on
real servers: with one leader to the end, whose memory is read; and with a leader that is killed with -9 at
every mark, for the time until the other coordinator dispatches, and for what it reads to lead. At the end
both runs are verified. Exits with 1 when a curve rises by more in 10,000 iterations than it may, or when a
run is not what its events have made.
"""

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import median

import anyio
from footprint import resident
from frontier.charts import Curve, chart
from ours import BIN, FOLDER, until, wait_until_ready
from processes import Servers, process, read_json, servers
from redis.asyncio import Redis

from blackboard.encoding import decode_event, decode_state, decode_totals
from blackboard.events import TaskDispatched
from blackboard.redis_keys import Keyspace
from blackboard.redis_link import RedisSettings
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import Totals
from blackboard.store import BlackboardStore
from coordinator import connections
from coordinator.settings import Settings, load
from coordinator.submit import submit
from coordinator.verification.verify import verify
from protocol.messages import FollowUp
from protocol.transport.contract import Transport

LEASE_SECONDS = 2
MARK_SECONDS = 120
POLL_SECONDS = 0.005
BEYOND = 300
"""Iterations after the last mark, so that it is one like the others."""
LOADS = 5
"""The quickest of so many counts: the machine does other things too."""
SPAN = 10_000
"""Iterations in which a curve may rise by what is allowed."""
TITLES = {
    "log_events": ("events in the log", 1_000.0),
    "log_kib": ("log in Redis, KiB", 1_000.0),
    "journals_kib": ("journals in Redis, KiB", 3_500.0),
    "redis_bytes": ("all of it in Redis, bytes per iteration", 300.0),
    "leader_mb": ("leader's memory, MB", 2.0),
    "live_rows": ("rows read at a take-over", 0.5),
    "load_ms": ("reading them, ms", 2.0),
    "takeover_s": ("from kill -9 to the next dispatch, s", 1.5 * LEASE_SECONDS),
}
"""What each curve is of, and by how much it may rise: a log by a segment, an election by what it waits."""


BEGIN, END = "<!-- measured -->", "<!-- end -->"


@dataclass(frozen=True)
class Mark:
    """What was seen after so many iterations; None where this leg does not look."""

    iterations: int
    log_events: int
    log_kib: float
    journals_kib: float
    redis_bytes: float | None = None
    """Since the mark before."""
    leader_mb: float | None = None
    live_rows: int | None = None
    load_ms: float | None = None
    takeover_s: float | None = None


class Pair:
    """Two coordinators: one leads, the other stands by. And one worker."""

    def __init__(self, on: Servers, stack: ExitStack) -> None:
        self._on = on
        self._stack = stack
        self.environment = {
            "SWARMBOARD_NATS_URL": on.nats_url,
            "SWARMBOARD_REDIS_URL": on.redis_url,
            "SWARMBOARD_DATA_FOLDER": str(on.folder / "data"),
            "SWARMBOARD_LIVENESS_LEASE_SECONDS": str(LEASE_SECONDS),
            "PYTHONPATH": str(FOLDER),
        }
        self.stand_by()
        self.stand_by()
        call = [BIN / "worker", "--agents", "iterations", "--concurrency", 1, "--name", "bench-1"]
        stack.enter_context(process(call, on.log, self.environment))

    def kill(self, leader: int) -> int:
        """When, in wall-clock milliseconds."""
        os.kill(leader, signal.SIGKILL)
        return time.time_ns() // 1_000_000

    def stand_by(self) -> None:
        """Another coordinator takes the place of the killed one."""
        call = [BIN / "coordinator", "--json", "serve", "--port", 0]
        child = self._stack.enter_context(process(call, self._on.log, self.environment))
        wait_until_ready(int(read_json(child)["http_port"]))


class Leg:
    """One run, looked at after every so many iterations."""

    def __init__(self, store: BlackboardStore, redis_url: str, pair: Pair) -> None:
        self._store = store
        self._redis_url = redis_url
        self._pair = pair
        self._run = f"bench-{secrets.token_hex(4)}"
        self._keys = Keyspace(RedisSettings().prefix).run(self._run)
        self._size = 0
        """Bytes in Redis at the mark before, and its number of iterations."""
        self._at = 0

    async def play(self, transport: Transport, iterations: int, every: int, *, kill: bool) -> list[Mark]:
        spec = RunSpec(
            run=self._run,
            goal="look again and again",
            agents=(AgentSpec(name="iterations", max_running=1),),
            roots=(FollowUp(agent="iterations", topic="the pressure"),),
            budget=Budget(tasks=iterations + BEYOND),
        )
        await submit(self._store, transport, spec, now_ms=time.time_ns() // 1_000_000, max_active=100)
        marks: list[Mark] = []
        for mark in range(every, iterations + 1, every):
            await until(lambda mark=mark: self._has_settled(mark), MARK_SECONDS)
            marks.append(await (self._taken_over(mark) if kill else self._looked_at(mark)))
        await until(lambda: self._has_settled(iterations + BEYOND), MARK_SECONDS)
        verdict = await verify(self._store, self._run)
        if not (verdict.proven and verdict.sound):
            sys.exit(f"run {self._run} is not what its events have made: {verdict}")
        return marks

    async def _has_settled(self, count: int) -> bool:
        return sum((await self._totals()).tasks.values()) >= count

    async def _totals(self) -> Totals:
        return decode_totals((await self._store.rows(self._run, "run", ["totals"]))["totals"])

    async def _leader(self) -> int:
        """Process id of the coordinator that leads the run: its name ends with it."""
        return int((await self._totals()).leader.rpartition("-")[2])

    async def _looked_at(self, iterations: int) -> Mark:
        sizes = await self._sizes()
        head, first = await self._store.head(self._run), await self._store.log(self._run, after=0, limit=1)
        size, grown = sum(sizes.values()), None
        if self._at:
            grown = (size - self._size) / (iterations - self._at)
        self._size, self._at = size, iterations
        return Mark(
            iterations,
            head - first[0].position + 1,
            sizes[self._keys.log] / 1024,
            sum(sizes.get(self._keys.rows(kind), 0) for kind in ("step", "journal")) / 1024,
            redis_bytes=grown,
            leader_mb=resident(await self._leader())[0],
        )

    async def _sizes(self) -> dict[str, int]:
        """Bytes of each of the run's keys."""
        async with Redis.from_url(self._redis_url) as redis:  # pyright: ignore[reportUnknownMemberType]
            pattern = self._keys.root.replace("{", "[{]").replace("}", "[}]") + ":*"
            names = [name async for name in redis.scan_iter(match=pattern, count=1_000)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            sizes = [await redis.memory_usage(name, samples=0) or 0 for name in names]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType]
        return {name.decode(): int(size) for name, size in zip(names, sizes, strict=True)}  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]

    async def _taken_over(self, iterations: int) -> Mark:
        mark = await self._looked_at(iterations)
        killed_ms = self._pair.kill(await self._leader())
        load_ms = min([await self._load_ms() for _ in range(LOADS)])
        loaded = await self._store.load(self._run)
        seconds = (await self._dispatched_after(loaded.head) - killed_ms) / 1000
        await anyio.to_thread.run_sync(self._pair.stand_by)
        rows = sum(map(len, loaded.rows.values()))
        return replace(mark, leader_mb=None, live_rows=rows, load_ms=load_ms, takeover_s=seconds)

    async def _load_ms(self) -> float:
        began = time.perf_counter()
        decode_state(await self._store.load(self._run))
        return (time.perf_counter() - began) * 1000

    async def _dispatched_after(self, head: int) -> int:
        with anyio.fail_after(MARK_SECONDS):
            while True:
                for entry in await self._store.log(self._run, after=head):
                    event = decode_event(entry.event)
                    if isinstance(event, TaskDispatched):
                        return event.at_ms
                await anyio.sleep(POLL_SECONDS)


async def measure(settings: Settings, on: Servers, pair: Pair, iterations: int, every: int) -> list[Mark]:
    async with connections.store(settings) as store, connections.transport(settings) as transport:
        marks: list[Mark] = []
        for kill in (False, True):
            marks += await Leg(store, on.redis_url, pair).play(transport, iterations, every, kill=kill)
        return marks


def curve(marks: Sequence[Mark], name: str) -> list[tuple[int, float]]:
    """What was seen of one figure, by iterations."""
    points = [(mark.iterations, getattr(mark, name)) for mark in marks]
    return sorted((at, float(value)) for at, value in points if value is not None)


def rise(points: Sequence[tuple[int, float]]) -> float:
    """By how much a curve rises in SPAN iterations: the median slope of all pairs (Theil and Sen), which no
    outlier moves.
    """
    slopes = [(b - a) / (after - at) for (at, a), (after, b) in combinations(points, 2) if after > at]
    return median(slopes) * SPAN if slopes else 0.0


def verdicts(marks: Sequence[Mark]) -> dict[str, bool]:
    """Whether each curve is flat, from where the log and the whole journals have filled up."""
    full = 0.9 * max(mark.log_events for mark in marks)
    filled = min(mark.iterations for mark in marks if mark.log_events >= full)
    return {
        name: rise([one for one in curve(marks, name) if one[0] >= filled]) <= allowed
        for name, (_, allowed) in TITLES.items()
    }


def table(marks: Sequence[Mark]) -> list[str]:
    """A row per number of iterations."""
    titles = " | ".join(title for title, _ in TITLES.values())
    lines = [f"| iterations | {titles} |", "|---:" * (len(TITLES) + 1) + "|"]
    columns = {name: _mean(curve(marks, name)) for name in TITLES}
    for at in sorted({mark.iterations for mark in marks}):
        figures = (f"{at:,}", *(_shown(columns[name].get(at)) for name in TITLES))
        lines += [f"| {' | '.join(figures)} |"]
    return lines


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def _mean(points: Sequence[tuple[int, float]]) -> dict[int, float]:
    """By iterations: both legs look at the log."""
    return {at: sum(v for a, v in points if a == at) / sum(a == at for a, _ in points) for at, _ in points}


def write(page: Path, marks: Sequence[Mark]) -> None:
    """Puts the table between the marks of the page, and the curves beside it, each over its own beginning."""
    text = page.read_text(encoding="utf-8")
    head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text("\n".join([head + BEGIN, *table(marks), END]) + tail, encoding="utf-8")
    curves: list[Curve] = []
    for name, (title, _) in TITLES.items():
        points = _mean(curve(marks, name))
        base = max(points.values()) or 1.0
        shares = [(at, value / base, value / base, value / base) for at, value in points.items()]
        curves.append(Curve(title.partition(",")[0], shares))
    drawn = chart("A long run, each figure as a share of its own highest", "iterations", "share", curves)
    page.with_suffix(".svg").write_text(drawn, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1_000, help="iterations between two looks")
    parser.add_argument("--page", type=Path, help="a page between whose marks the table is put")
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    options = parser.parse_args()
    with servers() as on, ExitStack() as stack:
        pair = Pair(on, stack)
        settings = load({}, environ=pair.environment, folder=on.folder).settings
        marks = anyio.run(measure, settings, on, pair, options.iterations, options.every)
    flat = verdicts(marks)
    if options.json:
        print(json.dumps({"marks": [asdict(mark) for mark in marks], "flat": flat}, indent=2))
    else:
        said = [f"{name}: {'flat' if is_flat else 'RISES'}" for name, is_flat in flat.items()]
        print("\n".join([*table(marks), *said]))
    if options.page is not None:
        write(options.page, marks)
    sys.exit(not all(flat.values()))


if __name__ == "__main__":
    main()
