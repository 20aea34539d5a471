"""The product under the load of the floors: a real coordinator, real workers, an agent that does nothing."""

import secrets
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
from processes import Figures, Servers, Stopwatch, process, read_json

from blackboard.encoding import decode_event
from blackboard.events import TaskDispatched, TaskSettled
from blackboard.spec import AgentSpec, Budget, RunSpec
from coordinator import connections
from coordinator.settings import Settings, load
from coordinator.submit import submit
from protocol.messages import FollowUp
from protocol.subjects import HEARTBEATS_STREAM

FOLDER = Path(__file__).parent
BIN = Path(sys.executable).parent
READY_SECONDS = 20
RUN_SECONDS = 300
NOTHING_PUT_AWAY = 100_000_000
"""Events that a log may hold, where what was filled in must stay as it is."""


@contextmanager
def swarm(
    on: Servers, agent: str, *, slots: int, log_events: int, workers: int = 1
) -> Generator[tuple[Settings, int, Sequence[int]]]:
    """A coordinator, and then workers that offer an agent of this folder; the process ids of both."""
    environment = {
        "SWARMBOARD_NATS_URL": on.nats_url,
        "SWARMBOARD_REDIS_URL": on.redis_url,
        "SWARMBOARD_DATA_FOLDER": str(on.folder / "data"),
        "SWARMBOARD_RETENTION_LOG_EVENTS": str(log_events),
        "PYTHONPATH": str(FOLDER),
    }
    with ExitStack() as stack:
        leader = stack.enter_context(
            process([BIN / "coordinator", "--json", "serve", "--port", 0], on.log, environment)
        )
        wait_until_ready(int(read_json(leader)["http_port"]))
        call = [BIN / "worker", "--agents", agent, "--concurrency", slots, "--name"]
        fleet = [
            stack.enter_context(process([*call, f"bench-{number}"], on.log, environment)).pid
            for number in range(workers)
        ]
        yield load({}, environ=environment, folder=on.folder).settings, leader.pid, fleet


def run_ours(on: Servers, workers: int, in_flight: int, tasks: int) -> Figures:
    """One run of `tasks` visits of one direction; its slots are what is in flight."""
    slots = -(-in_flight // workers)
    log_events = 10 * tasks + 1_000  # `measure` reads all of it
    with swarm(on, "noop", slots=slots, log_events=log_events, workers=workers) as (settings, leader, fleet):
        watch = Stopwatch(on, coordinators=[leader], workers=fleet)
        spec = RunSpec(
            run=f"bench-{secrets.token_hex(4)}",
            goal="do nothing, often",
            agents=(AgentSpec(name="noop", policy="ucb1"),),
            roots=(FollowUp(agent="noop", topic="nothing"),),
            budget=Budget(tasks=tasks),
        )
        latencies, seconds = anyio.run(measure, settings, spec, workers, watch)
        assert len(latencies) == tasks, f"{len(latencies)} of {tasks} tasks were settled"
        p50, p99 = (float(latencies[int(tasks * part)]) for part in (0.5, 0.99))
        return Figures(tasks / seconds, p50, p99, watch.cpu_us(tasks))


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


async def measure(
    settings: Settings, spec: RunSpec, workers: int, watch: Stopwatch
) -> tuple[list[int], float]:
    """Milliseconds from dispatch to settlement of every task, sorted, and the seconds of all of it.

    Both come from the log, whose clock is the leader's.
    """
    async with connections.store(settings) as store, connections.transport(settings) as transport:

        async def all_have_beaten() -> bool:
            return len(await transport.last_per_subject(HEARTBEATS_STREAM)) == workers

        async def run_has_ended() -> bool:
            return not await store.runs(active=True)

        await until(all_have_beaten, READY_SECONDS)
        watch.start()
        await submit(store, transport, spec, now_ms=time.time_ns() // 1_000_000, max_active=1)
        await until(run_has_ended, RUN_SECONDS)
        watch.stop()
        started: dict[str, int] = {}
        ended: dict[str, int] = {}
        position = 0
        while entries := await store.log(spec.run, after=position):
            position = entries[-1].position
            for event in (decode_event(entry.event) for entry in entries):
                if isinstance(event, TaskDispatched):
                    started.setdefault(event.task, event.at_ms)
                elif isinstance(event, TaskSettled):
                    ended[event.task] = event.at_ms
        seconds = (max(ended.values()) - min(started.values())) / 1000
        return sorted(ended[task] - started[task] for task in ended), seconds


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    with anyio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await anyio.sleep(0.05)
