"""A reference run names each point that it passes; then a run is killed once at each point, and goes on.

With `SWARM_EVERY_LABEL=1` every point has its turn, else a seeded sample. `make labels` runs them all.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from blackboard import events as ev
from blackboard.evolve import fold
from coordinator.operating import Operator
from coordinator.records import Records
from coordinator.settings import Settings
from protocol.messages import AnswerRequest, Step
from tests.crash import labelled
from tests.crash.hive import Clients, Hive
from tests.crash.reasoning import play
from tests.crash.test_durable import AGENTS, KEY, SLOW_SECONDS, answer, spec
from tests.support import forked
from tests.support.model_server import ModelServer, running
from tests.support.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio
AT_LEAST = 60
SAMPLE = 6
SEED = 20
FAST = {
    "SWARMBOARD_LIVENESS_HEARTBEAT_SECONDS": "0.3",
    "SWARMBOARD_LIVENESS_SILENCE_SECONDS": "2",
    "SWARMBOARD_LIVENESS_GRACE_SECONDS": "1.5",
    "SWARMBOARD_LIVENESS_LEASE_SECONDS": "1.5",
    "SWARMBOARD_LIVENESS_SWEEP_SECONDS": "0.1",
    "SWARMBOARD_WORKER_REPUBLISH_SECONDS": "0.5",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
}
MODEL_CALLS = 4
TOPIC = "both rounds=2"


@dataclass
class Stage:
    """Servers that stay, and the processes of one run after the other."""

    hive: Hive
    model: ModelServer
    processes: dict[str, forked.Forked] = field(default_factory=dict)

    def folder(self, run: str) -> Path:
        folder = self.hive.folder / run
        folder.mkdir(exist_ok=True)
        return folder

    def start(self, run: str, name: str, kill_at: str = "", freeze_at: str = "") -> None:
        folder, worker = self.folder(run), name.startswith("w")
        environ = {
            **FAST,
            **KEY,
            "SWARMBOARD_NATS_URL": self.hive.nats.url,
            "CRASH_LOG": str(folder / "effects.log"),
            "SWARM_POINTS": str(folder / f"{name}.points"),
            "SWARM_PROCESS": name[0],
            "SWARM_KILL_AT": kill_at,
            "SWARM_FREEZE_AT": freeze_at,
        }
        command = ["worker", "--agents", AGENTS, "--concurrency", "1", "--name", f"{name}-{run}"]
        if not worker:
            environ["SWARMBOARD_REDIS_URL"] = self.hive.redis.url
            command = ["coordinator", "serve", "--port", "0"]
        self.processes[name] = labelled.start(command, environ, folder / f"{name}.log")

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.processes.clear()

    def points(self, run: str, name: str) -> list[str]:
        file = self.folder(run) / f"{name}.points"
        return file.read_text().splitlines() if file.exists() else []

    def effects(self, run: str) -> Counter[str]:
        file = self.folder(run) / "effects.log"
        return Counter(file.read_text().splitlines() if file.exists() else ())


@pytest.fixture
def stage(own_nats: NatsServer, own_redis: RedisServer, tmp_path: Path) -> Iterator[Stage]:
    with running(ModelServer(otherwise=play)) as model:
        stage = Stage(Hive(own_nats, own_redis, tmp_path), model)
        yield stage
        stage.stop()


async def go(stage: Stage, clients: Clients, run: str, kill_at: str = "") -> bool:
    """One run to its end, with a death at a point; whether the point was reached."""
    stage.model.requests.clear()
    victim = {"w": "w1", "c": "c1"}.get(kill_at[:1], "")
    for name in ("c1", "w1"):
        stage.start(run, name, kill_at if name == victim else "")
    await clients.submit(spec(run, "reason", TOPIC, stage.model.url))
    dead = False
    with anyio.fail_after(SLOW_SECONDS):
        while not (await clients.totals(run)).ended:
            if victim and not dead and stage.processes[victim].poll() is not None:
                dead = True
                stage.start(run, f"{victim[0]}2")
            await tell_the_truth(stage, clients, run)
            await anyio.sleep(0.05)
    stage.stop()
    return dead or kill_at in stage.points(run, victim)


async def tell_the_truth(stage: Stage, clients: Clients, run: str) -> None:
    """A person who looks whether an effect happened, and says so."""
    records = Records(clients.store)
    for row in await records.inquiries(run):
        if row.open:
            happened = any(line.split()[1] in row.wait.question for line in stage.effects(run))
            said = "happened" if happened else "did not happen"
            request = AnswerRequest(inquiry=row.id, answerer="tester", answer=said)
            await Operator(clients.store, clients.transport, Settings()).answer(run, request)


async def holds(stage: Stage, clients: Clients, run: str, kill_at: str) -> None:
    """One commit, one artifact, no finished step again; keyed effects under one key, unsafe ones once."""
    events = await clients.events(run)
    settled = [event for event in events if isinstance(event, ev.TaskSettled)]
    assert [event.status for event in settled] == ["done"], kill_at
    assert await answer(clients, run) == {"answer": "3 observations"}, kill_at
    recorded = [step for event in events if isinstance(event, ev.StepsRecorded) for step in event.steps]
    assert len(set(map(identity, recorded))) == len(recorded), kill_at
    assert sum(step.kind == "model" for step in recorded) == MODEL_CALLS, kill_at
    under_way = 1 if kill_at.startswith("w.") else 0
    assert MODEL_CALLS <= len(stage.model.requests) <= MODEL_CALLS + under_way, kill_at
    effects = stage.effects(run)
    keys = {line.split()[1] for line in effects if line.startswith("keyed")}
    assert len(keys) == 1, kill_at
    assert sum(effects.values()) <= 2 + under_way, kill_at
    unsafe = [count for line, count in effects.items() if line.startswith("unsafe")]
    assert unsafe == [1], kill_at
    (task,) = fold(events).tasks.values()
    assert task.unknown == 0, kill_at


def identity(step: Step) -> tuple[object, ...]:
    return step.kind, step.path, step.request, step.occurrence


async def test_a_run_may_be_killed_at_every_point_and_does_nothing_twice(stage: Stage, capsys) -> None:
    async with stage.hive.clients() as clients:
        await go(stage, clients, "reference")
        await holds(stage, clients, "reference", "")
        points = [*stage.points("reference", "w1"), *stage.points("reference", "c1")]
        assert len(points) == len(set(points))
        assert len(points) >= AT_LEAST, points
        everyone = os.environ.get("SWARM_EVERY_LABEL") == "1"
        chosen = points if everyone else random.Random(SEED).sample(points, SAMPLE)
        began, missed = time.monotonic(), []
        for number, point in enumerate(chosen):
            if not await go(stage, clients, f"run-{number}", point):
                missed.append(point)
            await holds(stage, clients, f"run-{number}", point)
        with capsys.disabled():
            seconds = time.monotonic() - began
            print(f"\n{len(points)} points; {len(chosen)} tried in {seconds:.0f} s; not reached: {missed}")
        assert len(missed) <= len(chosen) // 3


async def test_a_result_that_leaves_after_a_freeze_is_refused_and_its_refusal_recorded(stage: Stage) -> None:
    async with stage.hive.clients() as clients:
        run = "frozen"
        stage.start(run, "c1")
        stage.start(run, "w1", freeze_at="w.emit.discoveries.before#0")
        await clients.submit(spec(run, "reason", TOPIC, stage.model.url))

        async def taken_back() -> list[ev.TaskRequeued]:
            await tell_the_truth(stage, clients, run)
            return [one for one in await clients.events(run) if isinstance(one, ev.TaskRequeued)]

        (lost,) = await clients.until(taken_back)
        assert lost.cause == "silent"
        stage.processes["w1"].send_signal(signal.SIGCONT)
        await clients.ended(run)
        await holds(stage, clients, run, "")
        refused = [one for one in await clients.events(run) if isinstance(one, ev.ResultRefused)]
        assert {(one.task, one.token) for one in refused} == {(lost.task, lost.token)}
