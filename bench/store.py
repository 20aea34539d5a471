"""What the blackboard store costs on a real Redis: appends in groups, artifacts, queries.

    python bench/store.py [--json]

Each event stands for a task's step: one event of 300 bytes and two rows of 200. `python_us` is the
client's CPU time, all else is wall clock. The server syncs its file every second.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from blackboard.encoding import encode_artifact
from blackboard.redis import RedisStore
from blackboard.redis_append import pack_append
from blackboard.store import ArtifactWrite, Batch, RowWrite
from protocol.artifacts import Artifact, Producer
from protocol.messages import QueryRequest
from tests.support.servers import RedisServer

TTL = 60.0
SECONDS = 1.5
EVENT = b'["task_settled",{"at_ms":1700000000000,"task":"%s"}]' % (b"x" * 250)
ROW = b'{"status":"done","fields":"%s"}' % (b"y" * 170)
BOARDS = (1_000, 100_000)


class Writer:
    """A leader that appends batch after batch."""

    def __init__(self, store: RedisStore, run: str) -> None:
        self.store = store
        self.run = run
        self.head = 0
        self.tasks = 0
        self.artifacts = 0

    async def create(self) -> None:
        self.head = await self.store.append(Batch(self.run, "", 0, [b'["created",{}]']), ttl_seconds=TTL)
        await self.store.acquire(self.run, "leader", ttl_seconds=TTL)

    def task_batch(self, size: int) -> Batch:
        rows: list[RowWrite] = []
        for _ in range(size):
            self.tasks += 1
            rows.append(RowWrite("task", f"task-{self.tasks % 10_000:024d}", ROW))
            rows.append(RowWrite("direction", f"dir-{self.tasks % 100:024d}", ROW))
        return Batch(self.run, "leader", self.head, [EVENT] * size, rows)

    def artifact_batch(self, size: int) -> Batch:
        made = [self._artifact() for _ in range(size)]
        return Batch(self.run, "leader", self.head, [EVENT] * size, (), made)

    def _artifact(self) -> ArtifactWrite:
        self.artifacts += 1
        return encode_artifact(
            Artifact(
                id=f"art-{self.artifacts:024d}",
                run=self.run,
                number=self.artifacts,
                type=f"type{self.artifacts % 10}",
                payload={"text": "z" * 300},
                digest="d" * 64,
                producer=Producer(agent="explorer", task="task-1", attempt=1),
                direction="dir-1",
                created_ms=1_700_000_000_000 + self.artifacts,
            )
        )

    async def append(self, batch: Batch) -> None:
        self.head = await self.store.append(batch, ttl_seconds=TTL)


async def rate(make: Callable[[int], Batch], writer: Writer, size: int) -> dict[str, float]:
    """Appends one batch after the other for a while."""
    latencies: list[float] = []
    cpu = time.process_time()
    start = time.perf_counter()
    while (now := time.perf_counter()) - start < SECONDS:
        await writer.append(make(size))
        latencies.append(time.perf_counter() - now)
    wall = time.perf_counter() - start
    count = len(latencies)
    return {
        "appends_per_s": round(count / wall),
        "events_per_s": round(count * size / wall),
        "p50_ms": round(statistics.median(latencies) * 1e3, 3),
        "p99_ms": round(statistics.quantiles(latencies, n=100)[98] * 1e3, 3),
        "python_us_per_append": round((time.process_time() - cpu) / count * 1e6, 1),
        "python_us_per_event": round((time.process_time() - cpu) / count / size * 1e6, 2),
    }


def packing(writer: Writer, size: int) -> dict[str, float]:
    """CPU of packing alone, per event with its two rows."""
    batch = writer.task_batch(size)
    best = min(_timed(lambda: pack_append("swarm:{run}", batch, TTL)) for _ in range(200))
    return {"us_per_append": round(best * 1e6, 1), "us_per_event": round(best / size * 1e6, 2)}


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


async def latency(call: Callable[[], Awaitable[object]], repetitions: int = 200) -> dict[str, float]:
    times: list[float] = []
    for _ in range(repetitions):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    p99 = statistics.quantiles(times, n=100)[98]
    return {"p50_ms": round(statistics.median(times) * 1e3, 2), "p99_ms": round(p99 * 1e3, 2)}


async def measure(url: str) -> dict[str, object]:
    figures: dict[str, object] = {}
    async with RedisStore(url) as store:
        writer = Writer(store, "bench")
        await writer.create()
        for size in (1, 16, 128):
            figures[f"tasks_in_groups_of_{size}"] = await rate(writer.task_batch, writer, size)
            figures[f"packing_groups_of_{size}"] = packing(writer, size)
        board = Writer(store, "board")
        await board.create()
        figures["one_artifact_per_append"] = await rate(board.artifact_batch, board, 1)
        for size in BOARDS:
            fresh = Writer(store, f"board-{size}")
            await fresh.create()
            while fresh.artifacts < size:
                await fresh.append(fresh.artifact_batch(500))
            newest = QueryRequest(agent="a", type="type3", limit=50)
            both = QueryRequest(agent="a", type="type3", producer="explorer", limit=50)
            for name, query in (("newest_50_of_a_type", newest), ("two_conditions", both)):
                figures[f"{name}_of_{size}"] = await latency(
                    lambda run=fresh.run, query=query: store.query(run, query, now_ms=0)
                )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the blackboard store on a real Redis.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            figures = anyio.run(measure, server.url, backend_options={"use_uvloop": True})
        finally:
            server.kill()
    if options.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:28}", figure)


if __name__ == "__main__":
    main()
