"""Sustained load with a fault every half minute: nothing grows, and every run is judged when it has ended.

One coordinator and one worker are never killed. They are frozen, cut off and robbed of their servers, and
what they hold at the end is compared with what they held once they were warm.

python -m tests.chaos.soak [--minutes M] [--every SECONDS] [--seed N] [--json]
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from blackboard.spec import RunSpec
from blackboard.state import OPEN
from protocol import subjects
from protocol.errors import StoreUnavailable, SwarmError
from tests.chaos import chaos
from tests.chaos.chaos import History, servers
from tests.chaos.faults import DISKS, FAULTS
from tests.chaos.scene import Scene
from tests.crash.hive import FAST, Clients, Hive
from tests.history.checker import check
from tests.history.final import final_state
from tests.support import scripts
from tests.support.disks import may_trace

PRODUCERS = 2
TASKS = 400
"""Of each run."""
KEPT_SECONDS = 60
WORKERS = 4
CALM_SECONDS = 180.0
SPARED = ("c1", "w1")
LOG_EVENTS, SEGMENT_EVENTS = 1_000, 250
BOUNDED = {
    **FAST,
    "SWARMBOARD_RETENTION_LOG_EVENTS": str(LOG_EVENTS),
    "SWARMBOARD_RETENTION_SEGMENT_EVENTS": str(SEGMENT_EVENTS),
}
PART = 1 / 3
"""Of the samples, the first and the last are compared."""


@dataclass(frozen=True)
class Sample:
    """What is held at a moment."""

    coordinator_mb: float
    worker_mb: float
    coordinator_descriptors: int
    worker_descriptors: int
    coordinator_threads: int
    worker_threads: int
    log_events: int
    """Of the longest log."""
    store_mb: float
    open_tasks: int


@dataclass(frozen=True)
class Slack:
    """By how much a figure may rise."""

    share: float = 0.0
    more: float = 0.0


ALLOWED = {
    "coordinator_mb": Slack(0.1, 6),
    "worker_mb": Slack(0.1, 6),
    "coordinator_descriptors": Slack(more=8),
    "worker_descriptors": Slack(more=4),
    "coordinator_threads": Slack(more=1),
    "worker_threads": Slack(more=1),
    "log_events": Slack(more=2 * SEGMENT_EVENTS),
    "store_mb": Slack(0.25, 4),
    "open_tasks": Slack(more=2 * WORKERS * 4),
}
"""Descriptors may rise by a pool of connections that is used more; tasks by what all slots hold, twice."""


@dataclass
class Soaked:
    """What came of it."""

    runs: int = 0
    tasks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class Sparing(Scene):
    """Some processes are watched, and live on."""

    async def kill(self, name: str) -> None:
        others = [one for one in self.names if one[0] == name[0] and one not in SPARED]
        await super().kill(self.chance.choice(others) if name in SPARED else name)


class Soak:
    """The servers and processes of one soak."""

    def __init__(self, hive: Hive, clients: Clients, scene: Scene, history: History) -> None:
        self._hive = hive
        self._clients = clients
        self._scene = scene
        self._history = history
        self._active: set[str] = set()
        self._pids = {name: hive.pid(name) for name in SPARED}
        self.found = Soaked()

    async def run(self, seconds: float, every: float) -> None:
        """Producers submit runs one after the other; faults come one after the other, too."""
        end = time.monotonic() + seconds
        async with anyio.create_task_group() as tasks:
            for number in range(PRODUCERS):
                tasks.start_soon(self._produce, number, end)
            names = chaos.again_and_again(
                self._scene.chance, sorted({*FAULTS, *(DISKS if may_trace() else ())})
            )
            while time.monotonic() < end:
                await anyio.sleep(every)
                await self._sample()
                name = next(names)
                self._history.note("fault", kind=name)
                self.found.faults[name] += 1
                tasks.start_soon((FAULTS | DISKS)[name], self._scene)
        if {name: self._hive.pid(name) for name in SPARED} != self._pids:
            self.found.breaches.append(f"one of {' and '.join(SPARED)} has ended by itself")

    async def _produce(self, number: int, end: float) -> None:
        count = 0
        while time.monotonic() < end:
            run = f"run-{number}-{count}"
            request = chaos.spec(run, TASKS, self._scene.seed)
            await self._one_run(request.model_copy(update={"keep_seconds": KEPT_SECONDS}))
            count += 1

    async def _one_run(self, request: RunSpec) -> None:
        """From its submission until the checker has judged it."""
        await chaos.produce(self._clients, self._history, request)
        self._active.add(request.run)
        try:
            await self._clients.ended(request.run, seconds=CALM_SECONDS)
        except AssertionError:
            self.found.breaches.append(f"P1: {request.run} has not ended within {CALM_SECONDS:g} s")
            return
        finally:
            self._active.discard(request.run)
        final = await self._final(request.run)
        tasks = final[request.run]["tasks"]
        seen = [
            one
            for one in self._history.read()
            if one["op"] == "fault" or one.get("run") == request.run or one.get("task") in tasks
        ]
        self.found.breaches += [f"{one.promise}: {one.what}" for one in check(seen, final)]
        self.found.runs += 1
        self.found.tasks += len(tasks)

    async def _final(self, run: str) -> dict[str, dict]:
        while True:
            try:
                return await final_state(self._clients.store, [run])
            except StoreUnavailable:
                await anyio.sleep(0.2)

    async def _sample(self) -> None:
        """Before a fault, when those before it are healed; left out where the store does not answer."""
        active = sorted(self._active)  # runs begin and end meanwhile
        try:
            logs = [await self._log_events(run) for run in active]
            tasks = [task for run in active for task in await self._clients.tasks(run)]
        except SwarmError:
            return
        coordinator, worker = self._pids.values()
        self.found.samples.append(
            Sample(
                coordinator_mb=_resident_mb(coordinator),
                worker_mb=_resident_mb(worker),
                coordinator_descriptors=_entries(coordinator, "fd"),
                worker_descriptors=_entries(worker, "fd"),
                coordinator_threads=_entries(coordinator, "task"),
                worker_threads=_entries(worker, "task"),
                log_events=max(logs, default=0),
                store_mb=_resident_mb(self._hive.redis.pid),
                open_tasks=sum(task.status in OPEN for task in tasks),
            )
        )

    async def _log_events(self, run: str) -> int:
        head = await self._clients.store.head(run)
        first = await self._clients.store.log(run, after=0, limit=1)
        return head - first[0].position + 1 if first else 0


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * 4096 / 1e6, 1)


def _entries(pid: int, folder: str) -> int:
    return len(list(Path(f"/proc/{pid}/{folder}").iterdir()))


def figures(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Of each thing that is held: its median in the first and the last part, its peak, and what it may be."""
    size = max(1, round(len(samples) * PART))
    found: list[dict[str, Any]] = []
    for name in (one.name for one in fields(Sample)):
        values = [float(getattr(sample, name)) for sample in samples]
        first, last, slack = median(values[:size]), median(values[-size:]), ALLOWED[name]
        bound = round(first * (1 + slack.share) + slack.more, 1)
        told = {"first": first, "last": last, "peak": max(values), "bound": bound}
        found.append({"name": name, **told, "holds": last <= bound})
    return found


async def soak(folder: Path, seed: int, minutes: float, every: float) -> Soaked:
    """One soak on servers of its own."""
    with servers(folder) as (nats, redis):
        hive = Hive(nats, redis, folder, BOUNDED, launch=scripts.start)
        history = History(hive.crash_log)
        try:
            async with AsyncExitStack() as stack:
                clients = await stack.enter_async_context(hive.clients())
                heard = clients.transport.subscribe(subjects.control("*"), history.hear)
                await stack.enter_async_context(heard)
                scene = Sparing(hive, random.Random(seed), seed, WORKERS, history.note)
                await scene.build(stack)
                guard = await stack.enter_async_context(anyio.create_task_group())
                guard.start_soon(scene.start_again)
                one = Soak(hive, clients, scene, history)
                await one.run(60 * minutes, every)
                guard.cancel_scope.cancel()
        finally:
            hive.stop_all()
    return one.found


def report(found: Soaked, minutes: float) -> dict[str, Any]:
    return {
        "minutes": minutes,
        "runs": found.runs,
        "tasks": found.tasks,
        "faults": dict(sorted(found.faults.items())),
        "failed": found.breaches,
        "figures": figures(found.samples),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds from one fault to the next")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print an object instead of lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swarmboard-soak-") as folder:
        found = anyio.run(partial(soak, Path(folder), options.seed, options.minutes, options.every))
    told = report(found, options.minutes)
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print(f"{told['runs']} runs, {told['tasks']:,} tasks, {found.faults.total()} faults in "
              f"{options.minutes:g} minutes: {told['failed'] or 'no breach'}")  # fmt: skip
        for one in told["figures"]:
            print(f"{one['name']:24}{one['first']:10g}{one['last']:10g}{one['peak']:10g}{one['bound']:10g}  "
                  f"{'holds' if one['holds'] else 'GROWS'}")  # fmt: skip
    return int(bool(found.breaches) or not all(one["holds"] for one in told["figures"]))


if __name__ == "__main__":
    sys.exit(main())
