"""Rounds of faults on real processes, each judged by the history checker.

python -m tests.chaos.chaos [--minutes M] [--seed N] [--tasks N] [--json]
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from blackboard.spec import AgentSpec, Budget, RunSpec
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import SwarmError
from protocol.messages import Control, FollowUp
from protocol.transport.contract import Message
from tests.chaos.faults import FAULTS, ROLLBACK, Scene
from tests.crash.hive import FAST, Clients, Hive
from tests.history.checker import check
from tests.history.final import final_state
from tests.support.servers import NatsServer, RedisServer

PRODUCERS = 4
CALM_SECONDS = 180.0


@dataclass
class Round:
    """How one round went."""

    seed: int
    tasks: int = 0
    records: int = 0
    seconds: float = 0.0
    faults: Counter = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)


def spec(run: str, tasks: int, seed: int) -> RunSpec:
    return RunSpec(
        run=run,
        goal="mine",
        agents=(AgentSpec(name="mine", publishes=("ore",)), AgentSpec(name="count", trigger="finish")),
        roots=tuple(FollowUp(agent="mine", topic=f"hill {number}") for number in range(3)),
        budget=Budget(tasks=tasks),
        max_attempts=50,
        seed=seed,
    )


class History:
    """What clients see, in a file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, op: str, **fields: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"at": time.monotonic(), "op": op, **fields}) + "\n")

    def hear(self, message: Message) -> None:
        worker = message.subject.rpartition(".")[2]
        control = decode_as(message.data, Control)
        for task, token in control.settled:
            self.note("receipt", task=task, token=token, verdict="settled", worker=worker)
        for one in control.stale:
            self.note("receipt", task=one.task, token=one.token, verdict="stale", worker=worker)

    def read(self) -> list[dict]:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return sorted(map(json.loads, lines), key=lambda one: one["at"])


@contextmanager
def servers(folder: Path) -> Iterator[tuple[NatsServer, RedisServer]]:
    nats, redis = NatsServer(folder / "nats").start(), RedisServer(folder / "redis").start()
    try:
        yield nats, redis
    finally:
        nats.kill()
        redis.kill()


async def play(seed: int, folder: Path, *, tasks: int, workers: int, seconds: float) -> Round:
    """One round: several producers submit runs, faults happen for so long, everything heals, all must end."""
    began, result = time.monotonic(), Round(seed)
    with servers(folder) as (nats, redis):
        hive = Hive(nats, redis, folder, FAST)
        history = History(hive.crash_log)
        runs = [f"run-{number}" for number in range(PRODUCERS)]
        try:
            async with AsyncExitStack() as stack:
                clients = await stack.enter_async_context(hive.clients())
                await stack.enter_async_context(
                    clients.transport.subscribe(subjects.control("*"), history.hear)
                )
                scene = Scene(hive, random.Random(seed), seed, workers, history.note)
                await scene.build(stack)
                async with anyio.create_task_group() as producers:
                    for run in runs:
                        request = spec(run, tasks // PRODUCERS, seed)
                        producers.start_soon(partial(_produce, clients, history, request))
                    await _rage(scene, result, seconds)
                await _calm(clients, runs, result)
                final = await final_state(clients.store, runs)
        finally:
            hive.stop_all()
        seen = history.read()
        result.breaches += [f"{one.promise}: {one.what}" for one in check(seen, final)]
        result.tasks = sum(len(state["tasks"]) for state in final.values())
        result.records, result.seconds = len(seen), round(time.monotonic() - began, 1)
    return result


async def _produce(clients: Clients, history: History, request: RunSpec) -> None:
    """Submits until the answer is definite."""
    while True:
        try:
            await clients.submit(request)
        except SwarmError:
            history.note("submit", run=request.run, outcome="unknown")
            await anyio.sleep(0.5)
        else:
            history.note("submit", run=request.run, outcome="ok")
            return


async def _rage(scene: Scene, result: Round, seconds: float) -> None:
    """Every class once, in an order of the seed's, then at random; one at a time, for each heals itself."""
    names = scene.chance.sample(sorted(FAULTS), len(FAULTS))
    if scene.seed % 4 == 3:
        names.insert(0, *ROLLBACK)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name = names.pop(0) if names else scene.chance.choice(sorted(FAULTS))
        scene.note("fault", kind=name)
        result.faults[name] += 1
        await (FAULTS | ROLLBACK)[name](scene)
        await anyio.sleep(scene.chance.uniform(0, 0.3))


async def _calm(clients: Clients, runs: list[str], result: Round) -> None:
    with anyio.move_on_after(CALM_SECONDS) as scope:
        for run in runs:
            await clients.ended(run, seconds=CALM_SECONDS)
    if scope.cancelled_caught:
        result.breaches.append(f"P1: the runs have not ended {CALM_SECONDS:g} s after the faults stopped")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--tasks", type=int, default=1_200, help="of each round")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--json", action="store_true", help="print an object at the end")
    options = parser.parse_args()
    end, seed, faults, failed, tasks = time.monotonic() + 60 * options.minutes, options.seed, Counter(), [], 0
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory(prefix="swarmboard-chaos-") as folder:
            one = anyio.run(
                partial(play, seed, Path(folder), tasks=options.tasks, workers=options.workers, seconds=60)
            )
        faults += one.faults
        tasks += one.tasks
        failed += [seed] * bool(one.breaches)
        said = "; ".join(one.breaches[:5]) or "no breach"
        print(
            f"round {seed}: {one.tasks:,} tasks, {one.faults.total()} faults, {one.records:,} records, "
            f"{one.seconds:.0f} s: {said}", file=sys.stderr, flush=True,
        )  # fmt: skip
        seed += 1
    rounds = seed - options.seed
    report = {"rounds": rounds, "failed": failed, "tasks": tasks, "faults": dict(sorted(faults.items()))}
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"{rounds} rounds, {tasks:,} tasks, {faults.total():,} faults of {len(faults)} classes: "
              f"{len(failed)} rounds failed {failed or ''}")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
