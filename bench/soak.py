"""What a swarm still holds after much work: one coordinator, one worker, one long run and many short ones.

    python bench/soak.py [--tasks 20000] [--runs 50] [--tasks-per-run 2000] [--json]

Memory, descriptors, threads, connections, consumers and gauges are read before the work, after the long run,
after every short run, and at the end. Processes warm up over the first fifth of the short runs (caches,
high-water marks of the allocator): memory is compared with that, all else with the figures before.
Exits with 1 when anything grew beyond its bound.
"""

import argparse
import json
import secrets
import statistics
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from footprint import resident
from ours import BIN, FOLDER, READY_SECONDS, RUN_SECONDS, until, wait_until_ready
from processes import Servers, free_port, process, read_json, servers
from redis.asyncio import Redis

from blackboard.redis_link import RedisSettings
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.store import BlackboardStore
from coordinator import connections
from coordinator.settings import Settings, load
from coordinator.submit import submit
from coordinator.topology import (
    bare_discovery_consumer,
    bare_inquiry_consumer,
    bare_task_consumer,
    response_consumers,
    task_consumer,
)
from protocol.messages import FollowUp
from protocol.subjects import (
    DEAD_STREAM,
    DISCOVERIES_STREAM,
    HEARTBEATS_STREAM,
    INQUIRIES_STREAM,
    TASKS_STREAM,
)
from protocol.transport.contract import Transport

SLOTS = 128
STREAMS = (TASKS_STREAM, DISCOVERIES_STREAM, HEARTBEATS_STREAM, INQUIRIES_STREAM, DEAD_STREAM)
CONSUMERS = frozenset(
    spec.durable
    for spec in (
        task_consumer("noop"),
        bare_task_consumer(),
        bare_discovery_consumer(),
        bare_inquiry_consumer(),
        *response_consumers(),
    )
)
EMPTY_GAUGES: Mapping[str, str] = {
    "runs led": "swarmboard_runs_led",
    "backlog": "swarmboard_backlog_tasks",
    "directions": "swarmboard_directions",
    "running": "swarmboard_worker_running",
    "unsettled": "swarmboard_worker_unsettled_discoveries",
}
"""What must be 0 when no run is active, by what it counts."""
QUIET_SECONDS = 10
SETTLE_SECONDS = 1.5
"""Beyond the longest beat and report after the last change."""
MEMORY_SLACK = 1.10
"""The most that memory may grow from the warm processes to the end; a leak of whole runs grows tenfold."""
MEMORY_SLACK_MB = 6.0
DESCRIPTOR_SLACK = 2


@dataclass(frozen=True)
class Sample:
    """What is held at one moment."""

    coordinator_mb: float
    worker_mb: float
    coordinator_descriptors: int
    worker_descriptors: int
    coordinator_threads: int
    worker_threads: int
    redis_clients: int
    consumers: tuple[str, ...]
    gauges: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One figure over the whole soak, and whether it stayed within its bound."""

    name: str
    before: float
    warm: float
    peak: float
    after: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.after <= self.bound


class Soak:
    """One coordinator and one worker, their clients, and what was seen of them."""

    def __init__(self, on: Servers, stack: ExitStack) -> None:
        metrics_port = free_port()
        self.environment = {
            "SWARMBOARD_NATS_URL": on.nats_url,
            "SWARMBOARD_REDIS_URL": on.redis_url,
            "SWARMBOARD_DATA_FOLDER": str(on.folder / "data"),
            "SWARMBOARD_WORKER_METRICS_PORT": str(metrics_port),
            "PYTHONPATH": str(FOLDER),
        }
        leader = stack.enter_context(
            process([BIN / "coordinator", "--json", "serve", "--port", 0], on.log, self.environment)
        )
        port = int(read_json(leader)["http_port"])
        wait_until_ready(port)
        call = [BIN / "worker", "--agents", "noop", "--concurrency", SLOTS, "--name", "soak"]
        worker = stack.enter_context(process(call, on.log, self.environment))
        self._pids = (leader.pid, worker.pid)
        self._ports = (port, metrics_port)
        self._redis_url = on.redis_url
        self.samples: list[Sample] = []

    async def run(self, settings: Settings, tasks: int, runs: int, tasks_per_run: int) -> None:
        async with connections.store(settings) as store, connections.transport(settings) as transport:

            async def has_beaten() -> bool:
                return bool(await transport.last_per_subject(HEARTBEATS_STREAM))

            await until(has_beaten, READY_SECONDS)
            await self._look(transport)
            for count in (tasks, *[tasks_per_run] * runs):
                await _one_run(store, transport, count)
                await self._look(transport)

    async def _look(self, transport: Transport) -> None:
        """Samples once all has come to rest, or the time for that is up."""
        deadline = time.monotonic() + QUIET_SECONDS
        await anyio.sleep(SETTLE_SECONDS)
        while True:
            sample = await self._sample(transport)
            quiet = not any(sample.gauges.values()) and CONSUMERS.issuperset(sample.consumers)
            if quiet or time.monotonic() > deadline:
                self.samples.append(sample)
                return
            await anyio.sleep(0.2)

    async def _sample(self, transport: Transport) -> Sample:
        leader, worker = self._pids
        async with Redis.from_url(self._redis_url) as redis:  # pyright: ignore[reportUnknownMemberType]
            clients = len(await redis.client_list()) - 1  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return Sample(
            coordinator_mb=resident(leader)[0],
            worker_mb=resident(worker)[0],
            coordinator_descriptors=_entries(leader, "fd"),
            worker_descriptors=_entries(worker, "fd"),
            coordinator_threads=_entries(leader, "task"),
            worker_threads=_entries(worker, "task"),
            redis_clients=clients,
            consumers=tuple([name for stream in STREAMS for name in await _consumers(transport, stream)]),
            gauges=await anyio.to_thread.run_sync(self._gauges),
        )

    def _gauges(self) -> dict[str, float]:
        text = ""
        for port in self._ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text += answer.read().decode()
        found = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {
            label: sum(float(value) for name, _, value in found if name.partition("{")[0] == metric)
            for label, metric in EMPTY_GAUGES.items()
        }


async def _one_run(store: BlackboardStore, transport: Transport, tasks: int) -> None:
    run = f"soak-{secrets.token_hex(4)}"
    spec = RunSpec(
        run=run,
        goal="do nothing, often",
        agents=(AgentSpec(name="noop"),),
        roots=(FollowUp(agent="noop", topic="nothing"),),
        budget=Budget(tasks=tasks),
        keep_seconds=60,
    )

    async def has_ended() -> bool:
        return not await store.runs(active=True)

    await submit(store, transport, spec, now_ms=time.time_ns() // 1_000_000, max_active=1)
    await until(has_ended, RUN_SECONDS)


async def _consumers(transport: Transport, stream: str) -> list[str]:
    answer = await transport.request(f"$JS.API.CONSUMER.NAMES.{stream}", b"{}", timeout_seconds=5)
    return json.loads(answer)["consumers"]


def _entries(pid: int, folder: str) -> int:
    return len(list(Path(f"/proc/{pid}/{folder}").iterdir()))


def table(samples: Sequence[Sample]) -> list[Row]:
    """A row per figure. Memory is smoothed over a few samples, for it jumps by what an allocator keeps."""
    before, *later = samples
    fifth = max(1, len(later) // 5)
    rows: list[Row] = []
    for name in ("coordinator_mb", "worker_mb"):
        values = [float(getattr(sample, name)) for sample in later]
        warm, after = max(values[:fifth]), statistics.median(values[-fifth:])
        bound = warm * MEMORY_SLACK + MEMORY_SLACK_MB
        rows.append(Row(name, getattr(before, name), warm, max(values), after, bound))
    pool = RedisSettings().max_connections
    slack = {
        "coordinator_descriptors": pool + DESCRIPTOR_SLACK,
        "worker_descriptors": DESCRIPTOR_SLACK,
        "coordinator_threads": 1,
        "worker_threads": 1,
        "redis_clients": pool,
    }
    for name, more in slack.items():
        values = [float(getattr(sample, name)) for sample in later]
        first = float(getattr(before, name))
        rows.append(Row(name, first, values[fifth - 1], max(values), values[-1], first + more))
    strangers = [len(set(sample.consumers) - CONSUMERS) for sample in samples]
    rows.append(_zero("consumers_of_ended_runs", strangers))
    rows += [_zero(name.replace(" ", "_"), [it.gauges[name] for it in samples]) for name in EMPTY_GAUGES]
    return rows


def _zero(name: str, values: Sequence[float]) -> Row:
    return Row(name, values[0], values[1], max(values), values[-1], 0)


def show(rows: Sequence[Row]) -> None:
    print(f"{'':26}" + "".join(f"{title:>10}" for title in ("before", "warm", "peak", "after", "bound")))
    for row in rows:
        figures = "".join(
            f"{value:10.1f}" for value in (row.before, row.warm, row.peak, row.after, row.bound)
        )
        print(f"{row.name:26}{figures}  {'holds' if row.holds else 'GROWS'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of the long run")
    parser.add_argument("--runs", type=int, default=50, help="short runs after it")
    parser.add_argument("--tasks-per-run", type=int, default=2_000, help="tasks of each short run")
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    options = parser.parse_args()
    with servers() as on, ExitStack() as stack:
        soak = Soak(on, stack)
        settings = load({}, environ=soak.environment, folder=on.folder).settings
        anyio.run(soak.run, settings, options.tasks, options.runs, options.tasks_per_run)
    rows = table(soak.samples)
    if options.json:
        verdicts = [{**asdict(row), "holds": row.holds} for row in rows]
        print(
            json.dumps({"rows": verdicts, "samples": [asdict(sample) for sample in soak.samples]}, indent=2)
        )
    else:
        show(rows)
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
