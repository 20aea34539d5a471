"""A swarm of real processes that tests may kill, freeze and cut off; and what must hold afterwards."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import anyio

from blackboard import events as ev
from blackboard.encoding import decode_artifact, decode_event, decode_state, decode_task, decode_totals
from blackboard.evolve import fold
from blackboard.redis import RedisStore
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import RunState, TaskRow, Totals, living, snapshot
from blackboard.store import LIVE_KINDS, WHOLE_KINDS, Loaded
from coordinator.submit import submit
from coordinator.verification.verify import verify
from protocol import subjects
from protocol.artifacts import digest_of
from protocol.codec import decode_as
from protocol.errors import StoreUnavailable, TransportUnavailable
from protocol.messages import Control, FollowUp
from protocol.transport.contract import Message
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport
from tests.support import forked
from tests.support.servers import NatsServer, RedisServer

ROOT = Path(__file__).parents[2]
FAST: Mapping[str, str] = {
    "SWARMBOARD_LIVENESS_HEARTBEAT_SECONDS": "0.5",
    "SWARMBOARD_LIVENESS_SILENCE_SECONDS": "3",
    "SWARMBOARD_LIVENESS_GRACE_SECONDS": "2",
    "SWARMBOARD_LIVENESS_LEASE_SECONDS": "2",
    "SWARMBOARD_LIVENESS_SWEEP_SECONDS": "0.2",
    "SWARMBOARD_WORKER_REPUBLISH_SECONDS": "1",
}


def _path(code: Path | None) -> str | None:
    """Where a process imports from that finds some code elsewhere."""
    return None if code is None else f"{code}{os.pathsep}{ROOT}"


def crash_spec(run: str, *, tasks: int = 40, longest_seconds: float = 0.4, **changes: object) -> RunSpec:
    fields: dict[str, object] = {
        "run": run,
        "goal": "dig",
        "agents": (
            AgentSpec(name="dig", publishes=("nugget",)),
            AgentSpec(name="assay", trigger="artifacts", consumes=("nugget",), publishes=("assay",)),
            AgentSpec(name="tally", trigger="finish", publishes=("ledger",)),
        ),
        "roots": tuple(FollowUp(agent="dig", topic=f"mine {n}") for n in range(3)),
        "budget": Budget(tasks=tasks),
        "max_attempts": 20,
        "settings": {"longest_seconds": longest_seconds},
    }
    return RunSpec.model_validate(fields | changes)


@dataclass
class Hive:
    """Servers are the test's own; `launch` starts the commands as processes."""

    nats: NatsServer
    redis: RedisServer
    folder: Path
    environ: Mapping[str, str] = field(default_factory=lambda: FAST)
    receipts: set[str] = field(default_factory=set)
    """Tasks whose workers were told that their results were settled."""
    launch: Callable[..., forked.Forked | Popen[bytes]] = forked.start
    _processes: dict[str, forked.Forked | Popen[bytes]] = field(default_factory=dict)

    @property
    def crash_log(self) -> Path:
        return self.folder / "executions.log"

    def start_coordinator(
        self,
        name: str = "c1",
        *,
        redis_url: str | None = None,
        nats_url: str | None = None,
        code: Path | None = None,
        environ: Mapping[str, str] = {},
    ) -> None:
        """Starts a coordinator, on its own way to a server if there is one, perhaps of another `code`."""
        ways = {"SWARMBOARD_REDIS_URL": redis_url, "SWARMBOARD_NATS_URL": nats_url, "PYTHONPATH": _path(code)}
        self._start(name, ["coordinator", "serve", "-v", "--port", "0"], {**environ, **ways})

    def start_worker(
        self,
        name: str,
        *,
        slots: int = 4,
        agents: str = "tests.crash.agents_for_crashes",
        nats_url: str | None = None,
        code: Path | None = None,
        options: Sequence[str] = (),
        environ: Mapping[str, str] = {},
    ) -> None:
        """Starts a worker; `code` is a folder that its agents, and all else that it holds, come from."""
        command = ["worker", "--agents", agents, "--concurrency", str(slots), "--name", name, "-v", *options]
        ways = {"SWARMBOARD_NATS_URL": nats_url, "PYTHONPATH": _path(code)}
        self._start(name, command, {**environ, **ways})

    def start(self, *, coordinators: int = 2, workers: int = 3) -> None:
        for number in range(1, coordinators + 1):
            self.start_coordinator(f"c{number}")
        for number in range(1, workers + 1):
            self.start_worker(f"w{number}")

    def ask(self, *arguments: str) -> str:
        """What the command says, on both of its ways."""
        done = forked.run(["coordinator", *arguments], folder=self.folder, environment=self._environment())
        assert done.returncode == 0, done
        return (done.stdout + done.stderr).decode()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.environ,
            "SWARMBOARD_NATS_URL": self.nats.url,
            "SWARMBOARD_REDIS_URL": self.redis.url,
            "CRASH_LOG": str(self.crash_log),
            "PYTHONPATH": str(ROOT),
        }

    def _start(self, name: str, command: list[str], ways: Mapping[str, str | None] = {}) -> None:
        environment = self._environment()
        environment.update({variable: value for variable, value in ways.items() if value})
        if command[0] == "worker":
            del environment["SWARMBOARD_REDIS_URL"]
        log = self.folder / f"{name}.log"
        self._processes[name] = self.launch(
            command, folder=self.folder, environment=environment, streams=forked.Streams(log, log)
        )

    def signal(self, name: str, number: int) -> None:
        self._processes[name].send_signal(number)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def kill_everything(self) -> None:
        for name in list(self._processes):
            self.signal(name, signal.SIGKILL)
        self.nats.kill()
        self.redis.kill()
        for name in list(self._processes):
            self.kill(name)

    def stop(self, name: str, timeout_seconds: float = 20) -> int:
        """Drains a process; its exit code."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        return process.wait(timeout_seconds)

    def stop_all(self) -> None:
        for name in list(self._processes):
            self._processes[name].send_signal(signal.SIGCONT)
            self.kill(name)

    def running(self) -> list[str]:
        return [name for name, process in self._processes.items() if process.poll() is None]

    def leads(self, run: str) -> str:
        """The coordinator that was the last to take up a run, as its log says."""
        taken = [
            (line, name)
            for name in self.running()
            if name.startswith("c")
            for line in self.log(name).splitlines()
            if line.endswith(f"leads run {run}")
        ]
        return max(taken)[1] if taken else ""

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def executions(self, kind: str = "run") -> Counter[str]:
        """How often each task was executed (or `paid`: each paid call made, by task and name)."""
        lines = self.crash_log.read_text().splitlines() if self.crash_log.exists() else []
        words = [line.split(" ") for line in lines]
        return Counter(" ".join([word[1], *word[3:]]).strip() for word in words if word[0] == kind)

    @asynccontextmanager
    async def clients(self) -> AsyncIterator["Clients"]:
        """The test's own connections, with a watch on every receipt that reaches a worker."""
        settings = JetStreamSettings((self.nats.url,), name="test")
        async with (
            RedisStore(self.redis.url) as store,
            JetStreamTransport(settings) as transport,
            transport.subscribe(subjects.control("*"), self._hear),
        ):
            yield Clients(store, transport)

    def _hear(self, message: Message) -> None:
        self.receipts.update(task for task, _ in decode_as(message.data, Control).settled)


@dataclass
class Clients:
    store: RedisStore
    transport: JetStreamTransport

    async def submit(self, spec: RunSpec) -> str:
        await submit(self.store, self.transport, spec, now_ms=time.time_ns() // 1_000_000, max_active=100)
        return spec.run

    async def totals(self, run: str) -> Totals:
        return decode_totals((await self.store.rows(run, "run", ["totals"]))["totals"])

    async def tasks(self, run: str) -> list[TaskRow]:
        return [decode_task(row) for row in (await self.store.rows(run, "task")).values()]

    async def until(self, condition, *, seconds: float = 60):
        """Asks until the answer is truthy; store outages count as no."""
        answer = None
        with anyio.move_on_after(seconds):
            while not answer:
                try:
                    answer = await condition()
                except StoreUnavailable:
                    answer = None
                if not answer:
                    await anyio.sleep(0.05)
            return answer
        raise AssertionError(f"not so within {seconds} s: {condition}")

    async def settled(self, run: str, count: int) -> None:
        """Waits until so many tasks of a run have ended."""

        async def enough() -> bool:
            return sum((await self.totals(run)).tasks.values()) >= count

        await self.until(enough)

    async def ended(self, run: str, *, seconds: float = 90) -> Totals:
        async def over() -> Totals | None:
            totals = await self.totals(run)
            return totals if totals.ended else None

        return await self.until(over, seconds=seconds)

    async def events(self, run: str) -> list[ev.Event]:
        found: list[ev.Event] = []
        while page := await self.store.log(run, after=len(found)):
            found += [decode_event(entry.event) for entry in page]
        return found


async def check(hive: Hive, clients: Clients, run: str) -> RunState:
    """P1, P2, P3 and P6 on what the store holds at the end, against what outsiders saw."""
    events = await clients.events(run)
    state = fold(events)
    await _check_rows(clients, run, state)
    ends = Counter(event.task for event in events if isinstance(event, ev.TaskSettled))
    assert set(ends) == set(state.tasks), "a task never ended"
    assert max(ends.values()) == 1, "a task ended twice"
    tokens = [event.token for event in events if isinstance(event, ev.TaskDispatched)]
    assert len(tokens) == len(set(tokens)), "dispatched twice under one epoch"
    claims = {
        (token, event.worker, event.incarnation)
        for event in events
        if isinstance(event, ev.TasksClaimed)
        for token in event.tasks.values()
    }
    assert len(claims) == len({token for token, *_ in claims}), "two workers were granted one epoch"
    _check_statistics(state)
    found = await verify(clients.store, run)
    assert (found.proven, found.differences) == (True, []), found
    await _check_artifacts(clients, run, events)
    await _check_receipts(hive, clients, state)
    await _check_drained(clients, run, [agent.name for agent in state.spec.agents])
    return state


async def _check_receipts(hive: Hive, clients: Clients, state: RunState) -> None:
    """What was acknowledged is there, and ended well."""
    heard = set(hive.receipts)
    others = [run for run in await clients.store.runs(active=False) if run != state.spec.run]
    elsewhere = {task.id for run in others for task in await clients.tasks(run)}
    done = {task.id for task in state.tasks.values() if task.status == "done"}
    assert heard <= done | elsewhere, "an acknowledged result is gone"


async def _check_rows(clients: Clients, run: str, state: RunState) -> None:
    loaded = await clients.store.load(run)
    everything = {kind: await clients.store.rows(run, kind) for kind in (*WHOLE_KINDS, *LIVE_KINDS)}
    whole = decode_state(Loaded(loaded.head, everything))
    assert snapshot(whole) == snapshot(state), "rows differ from the fold of the log"
    assert living(decode_state(loaded)) == living(state), "a new leader would read other rows"
    assert loaded.head == state.head


def _check_statistics(state: RunState) -> None:
    for direction in state.directions.values():
        told = [
            task
            for task in state.tasks.values()
            if task.direction == direction.id and task.status in ("done", "failed", "dead")
        ]
        assert direction.visits == len(told)
        assert direction.reward_sum_micro == sum(task.reward_micro for task in told)
        assert direction.in_flight == 0


async def _check_artifacts(clients: Clients, run: str, events: list[ev.Event]) -> None:
    posted = [event.artifact for event in events if isinstance(event, ev.ArtifactPosted)]
    assert len(posted) == len({artifact.id for artifact in posted})
    for start in range(0, len(posted), 500):
        page = posted[start : start + 500]
        rows = await clients.store.artifacts(run, [artifact.id for artifact in page])
        for artifact in page:
            kept = decode_artifact(rows[artifact.id])
            assert kept == artifact
            payload = kept.payload
            if kept.body is not None:
                payload = json.loads(await _body(clients, run, kept.body.digest, kept.body.size_bytes))
            assert digest_of(payload) == kept.digest


async def _body(clients: Clients, run: str, digest: str, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk, _ = await clients.store.get(run, digest, offset=len(data), limit=1 << 20)
        data += chunk
    return data


async def _check_drained(clients: Clients, run: str, agents: list[str]) -> None:
    """No task waits in a queue, and the queue of the run's discoveries is gone."""

    async def empty() -> bool:
        pending = [
            await clients.transport.pending(subjects.TASKS_STREAM, subjects.task_consumer(agent))
            for agent in agents
        ]
        return not any(pending)

    async def gone() -> bool:
        try:
            await clients.transport.pending(subjects.DISCOVERIES_STREAM, subjects.discovery_consumer(run))
        except TransportUnavailable:
            return True
        return False

    await clients.until(empty, seconds=45)
    await clients.until(gone, seconds=45)
