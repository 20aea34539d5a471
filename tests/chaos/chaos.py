"""Rounds of faults on real processes, each judged by the history checker.

python -m tests.chaos.chaos [--minutes M] [--seconds S] [--from N] [--tasks N] [--workers N] [--results FILE]
                            [--other COMMIT] [--done] [--json] [--brief]
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio

from blackboard.spec import AgentSpec, Budget, RunSpec
from protocol import subjects
from protocol.codec import decode_as
from protocol.errors import SwarmError
from protocol.messages import Control, FollowUp
from protocol.transport.contract import Message
from tests.chaos.faults import CLOCKS, DISKS, FAULTS, LONG, ROLLBACK, VERSIONS, possible
from tests.chaos.scene import STORE_CLOCK, Scene
from tests.crash.hive import FAST, Clients, Hive
from tests.history.checker import check
from tests.history.final import final_state
from tests.support import scripts
from tests.support.clocks import WallClock, clear_up
from tests.support.results import Line, Results, commit, seeded
from tests.support.servers import NatsServer, RedisServer
from tests.support.versions import before_the_last_change, code_of

PRODUCERS = 4
BOUNDED = {
    **FAST,
    "SWARMBOARD_RETENTION_LOG_EVENTS": "500",
    "SWARMBOARD_RETENTION_SEGMENT_EVENTS": "250",
}
"""Most of a run's log has left it, for the archive, before the run ends."""
SIDES = 3
"""From which faults come at the same time. With more, nothing gets done before they stop."""
PAUSE_SECONDS = 1.0
"""The longest from one fault of a side to its next."""
LONG_SECONDS = (2.0, 150.0)
"""How long a long freeze lasts: long ones as often as short ones, by orders of magnitude."""
CALM_SECONDS = 300.0


@dataclass
class Round:
    """How one round went."""

    seed: int
    tasks: int = 0
    amid: int = 0
    """Executions that came to their end while faults happened."""
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
    nats, redis = NatsServer(folder / "nats"), RedisServer(folder / "redis")
    redis.environ = WallClock(folder / STORE_CLOCK).environ
    try:
        yield nats.start(), redis.start()
    finally:
        nats.kill()
        redis.kill()
        clear_up()


async def play(
    seed: int, folder: Path, *, tasks: int, workers: int, seconds: float, other: Path | None = None
) -> Round:
    """One round: producers submit runs, faults happen for so long, all heals, all must end.

    In every second round the store is cut before.
    """
    began, result = time.monotonic(), Round(seed)
    with servers(folder) as (nats, redis):
        # in interpreters of their own: a fork keeps the clock and the code of the process that it comes from
        hive = Hive(nats, redis, folder, BOUNDED, launch=scripts.start)
        history = History(hive.crash_log)
        runs = [f"run-{number}" for number in range(PRODUCERS)]
        try:
            async with AsyncExitStack() as stack:
                clients = await stack.enter_async_context(hive.clients())
                await stack.enter_async_context(
                    clients.transport.subscribe(subjects.control("*"), history.hear)
                )
                scene = Scene(hive, random.Random(seed), seed, workers, history.note, other)
                await scene.build(stack)
                guard = await stack.enter_async_context(anyio.create_task_group())
                guard.start_soon(scene.start_again)
                async with anyio.create_task_group() as producers:
                    for run in runs:
                        request = spec(run, tasks // PRODUCERS, seed)
                        producers.start_soon(partial(produce, clients, history, request))
                    if scene.seed % 2:
                        await _all_begun(history, runs)
                        await _cut_the_store(scene, result, seconds / 2)
                    await _rage(scene, result, seconds)
                result.amid = sum(one["op"] == "finish" for one in history.read())
                scene.let_hours_pass()
                await scene.end_upgrade()
                await _calm(clients, runs, result)
                final = await final_state(clients.store, runs)
                guard.cancel_scope.cancel()
        finally:
            hive.stop_all()
        seen = history.read()
        result.breaches += [f"{one.promise}: {one.what}" for one in check(seen, final)]
        result.tasks = sum(len(state["tasks"]) for state in final.values())
        result.records, result.seconds = len(seen), round(time.monotonic() - began, 1)
    return result


async def produce(clients: Clients, history: History, request: RunSpec) -> None:
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


async def _all_begun(history: History, runs: list[str]) -> None:
    """Until each run has had a task: its submission is no longer the last that the store has written."""
    while not {one["run"] for one in history.read() if one["op"] == "begin"}.issuperset(runs):
        await anyio.sleep(0.2)


async def _cut_the_store(scene: Scene, result: Round, seconds: float) -> None:
    """Again and again, and before all else: what was seen before the last cut is not judged."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in ROLLBACK:
            await _hurt(scene, result, name)


async def _rage(scene: Scene, result: Round, seconds: float) -> None:
    """Faults from several sides at a time, and some long ones beside them."""
    names, end = again_and_again(scene.chance, possible(scene)), time.monotonic() + seconds
    async with anyio.create_task_group() as sides:
        for _ in range(SIDES):
            sides.start_soon(_rage_on, scene, result, names, end)
        for name in LONG:
            sides.start_soon(_freeze_on, scene, result, name, end)


async def _rage_on(scene: Scene, result: Round, names: Iterator[str], end: float) -> None:
    while time.monotonic() < end:
        await _hurt(scene, result, next(names))
        await anyio.sleep(scene.chance.uniform(0, PAUSE_SECONDS))


async def _freeze_on(scene: Scene, result: Round, name: str, end: float) -> None:
    """One after the other, none beyond the end."""
    least, most = LONG_SECONDS
    while (left := end - time.monotonic()) > least:
        scene.note("fault", kind=name)
        result.faults[name] += 1
        await LONG[name](scene, min(left, least * (most / least) ** scene.chance.random()))
        await anyio.sleep(scene.chance.uniform(0, 2))


def again_and_again(chance: random.Random, names: Sequence[str]) -> Iterator[str]:
    """Every class of faults in an order by chance, then in another."""
    while True:
        yield from chance.sample(names, len(names))


async def _hurt(scene: Scene, result: Round, name: str) -> None:
    """Each fault heals itself."""
    scene.note("fault", kind=name)
    result.faults[name] += 1
    await (FAULTS | DISKS | CLOCKS | VERSIONS | ROLLBACK)[name](scene)


async def _calm(clients: Clients, runs: list[str], result: Round) -> None:
    with anyio.move_on_after(CALM_SECONDS) as scope:
        for run in runs:
            await clients.ended(run, seconds=CALM_SECONDS)
    if scope.cancelled_caught:
        result.breaches.append(f"P1: the runs have not ended {CALM_SECONDS:g} s after the faults stopped")


def report(done: Iterable[Line]) -> dict[str, Any]:
    """The sum of the rounds that are there."""
    rounds = sorted(done, key=lambda one: one["first"])
    faults = sum((Counter(one["faults"]) for one in rounds), Counter[str]())
    return {
        "rounds": len(rounds),
        "failed": [one["first"] for one in rounds if one["breaches"]],
        "tasks": sum(one["tasks"] for one in rounds),
        "amid": sum(one["amid"] for one in rounds),
        "faults": dict(sorted(faults.items())),
    }


def main() -> int:
    parser = seeded(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=150.0, help="of faults in each round")
    parser.add_argument("--tasks", type=int, default=1_200, help="of each round")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument(
        "--other", default=before_the_last_change(), metavar="COMMIT",
        help="whose code half of a rolling upgrade runs (the one before the newest that changed the product)",
    )  # fmt: skip
    options = parser.parse_args()
    results = Results(options.results, commit())
    end, seeds = time.monotonic() + 60 * options.minutes, count(options.first)
    while not options.done and time.monotonic() < end:
        seed = next(seed for seed in seeds if (seed, 1) not in results.done)
        results.add(_round(seed, options))
    found = report(results.done.values())
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{found['rounds']} rounds, {found['tasks']:,} tasks, {sum(found['faults'].values()):,} faults "
              f"of {len(found['faults'])} classes: {len(found['failed'])} rounds failed "
              f"{found['failed'] or ''}")  # fmt: skip
    return 1 if found["failed"] else 0


def _round(seed: int, options: argparse.Namespace) -> Line:
    with tempfile.TemporaryDirectory(prefix="swarmboard-chaos-") as folder:
        one = anyio.run(
            partial(
                play,
                seed,
                Path(folder),
                tasks=options.tasks,
                workers=options.workers,
                seconds=options.seconds,
                other=code_of(options.other, Path(folder, "other")) if options.other else None,
            )
        )
    said = "; ".join(one.breaches[:5]) or "no breach"
    if options.brief:
        said = f"{len(one.breaches)} breaches"
    print(
        f"round {seed}: {one.tasks:,} tasks, {one.amid:,} amid {one.faults.total()} faults, "
        f"{one.records:,} records, {one.seconds:.0f} s: {said}", file=sys.stderr, flush=True,
    )  # fmt: skip
    return {"first": seed, "seeds": 1, "tasks": one.tasks, "amid": one.amid, "faults": one.faults,
            "breaches": one.breaches}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
