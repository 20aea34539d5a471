"""Every point at which a process may die between two calls: one simulation for each.

A run without such a death is looked at first: which process makes which calls, and how often. It has a worker
that dies and a leader that dies, a second run that is cancelled, a fork of the first, logs that are archived
and journals that are condensed; so the points lie in submit, dispatch, claim, journal, commit, reassign,
fail-over, archive, condense, fork and cancel. The fork is judged by the proof that it is what its events say.

python -m tests.sim.points [--jobs N] [--results FILE] [--done] [--json]
"""

import gc
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

import anyio

from blackboard.encoding import decode_task
from coordinator.forking import Forking
from coordinator.history import Point
from coordinator.overrides import Overrides
from protocol.errors import SwarmError
from protocol.transport.memory import MemoryTransport
from tests.sim import machine
from tests.sim.machine import WALL_MS, Machine
from tests.sim.plan import Fault
from tests.sim.simulate import RUNS, Outcome, ask_for_runs, described, repeat, simulate
from tests.support.results import Line, Results, attack, commit, kept

SEED = 4
ENDED_BEFORE = 5
"""So many tasks have ended when the run is forked."""
SCENE = (Fault("moment", "w1", "kill", 6.0), Fault("moment", "c1", "kill", 12.0))
PLACES = (
    "store.acquire", "store.load", "store.append", "store.release", "store.finish", "store.rows",
    "store.log", "store.put",
    "bus.ensure", "bus.publish_all tasks", "bus.request claim", "bus.reply claim", "bus.request record",
    "bus.reply record", "bus.reply cancel", "bus.emit discoveries", "bus.publish discoveries", "bus.ack",
    "bus.emit control", "bus.publish dead", "bus.delete_consumer",
)  # fmt: skip
SETTINGS = machine.SETTINGS.model_copy(
    update={
        "retention": machine.SETTINGS.retention.model_copy(
            update={"log_events": 20, "segment_events": 20, "journals": 2}
        )
    }
)
"""Logs are archived, and journals condensed, soon."""


FORK = "run-3"


def _simulated(*more: Fault) -> Outcome:
    return simulate(SEED, (*SCENE, *more), SETTINGS, _ask_and_fork, (*RUNS, FORK))


async def _ask_and_fork(machine: Machine) -> None:
    """Forks the first run, too, before a task of its later half."""
    await ask_for_runs(machine)
    while sum(ended_by(await machine.store.rows(RUNS[0], "task"))) < ENDED_BEFORE:
        await anyio.sleep(0.5)
    tasks = (await machine.store.rows(RUNS[0], "task")).values()
    at = Point(max(map(decode_task, tasks), key=lambda task: task.began).id)
    forking = Forking(_Mortal(machine), MemoryTransport(machine.bus), 10)
    fork = partial(forking.part, RUNS[0], "fork", at, Overrides(), FORK, now_ms=WALL_MS)
    await repeat(machine, "fork", FORK, fork)


def ended_by(rows: Mapping[str, bytes]) -> Iterator[bool]:
    """Of each task, whether it has ended."""
    return (decode_task(row).ended > 0 for row in rows.values())


class _Mortal:
    """A store as a client sees it that may die before or after each call, and is then started again."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __getattr__(self, name: str) -> Callable:
        async def call(*arguments: object, **options: object) -> object:
            act = self._machine.judge("client", f"store.{name}")
            if act == "kill":
                raise SwarmError(f"the client died before {name}")
            result = await getattr(self._machine.store, name)(*arguments, **options)
            if act:
                raise SwarmError(f"the client died after {name}")
            return result

        return call


@cache
def points() -> Sequence[Fault]:
    """Before each call, and after it."""
    calls = _simulated().calls
    return [
        Fault("call", process, f"{act}: {place}", number)
        for (process, place), count in sorted(calls.items())
        for number in range(1, count + 1)
        for act in ("kill", "kill after")
        if place in PLACES
    ]


def die_at(point: Fault) -> Outcome:
    """The scene, in which a process dies at this point, and is started again."""
    return _simulated(point)


def block(numbers: range) -> Line:
    """What came of a few points."""
    logging.disable()  # what goes wrong goes wrong on purpose
    failed: list[str] = []
    for point in points()[numbers.start : numbers.stop]:
        outcome = die_at(point)
        if outcome.problems:
            failed.append(str(point))
            print(described(outcome), file=sys.stderr, flush=True)
    gc.collect()
    return {"first": numbers.start, "seeds": len(numbers), "failed": failed}


def main() -> int:
    parser = kept(__doc__)
    parser.add_argument("--jobs", "-j", type=int, default=1, help="processes side by side")
    options = parser.parse_args()
    logging.disable()
    results, every = Results(options.results, commit()), range(len(points()))
    done = results.done.values() if options.done else attack(results, block, every, options.jobs)
    failed = [point for one in done for point in one["failed"]]
    report = {"points": len(every), "tried": sum(one["seeds"] for one in done), "failed": len(failed)}
    print(json.dumps(report) if options.json else f"{report['tried']:,} points: {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
