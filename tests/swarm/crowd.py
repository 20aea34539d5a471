"""A thousand workers in virtual time, of which hundreds fall silent at once, as when a rack loses its power.

python -m tests.swarm.crowd [--workers N] [--silent N] [--json]
"""

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import anyio

from agents.agent import Context, Discovery, agent
from blackboard import events as ev
from blackboard.spec import AgentSpec, Budget, RunSpec
from blackboard.state import TaskRow
from protocol.messages import FollowUp
from protocol.transport.memory import MemoryBus
from tests.support.swarm import Swarm, swarm
from tests.support.virtual import run_virtually

WORK_SECONDS = 3_600.0
"""A task outlasts whatever happens here."""
SLOTS = 2
WATCHED_SECONDS = 60.0
"""How long the swarm is watched once all tasks have moved: does it come to rest?"""
MOVED_WITHIN_SECONDS = 95.0
MESSAGES_PER_TASK = 12
"""The most that may be said about one move, beats aside: task, claim, grant, acknowledgement, receipts."""


@dataclass(frozen=True)
class Found:
    """What was seen from the silence on."""

    workers: int
    silent: int
    held: int
    """Tasks of the silent workers."""
    seconds: float
    """Until the last of these tasks ran elsewhere."""
    requeued: int
    """Requeued tasks, whoever held them: should be those."""
    dispatched: int
    second_moves: int
    """Tasks that were requeued more than once."""
    messages: Mapping[str, int]
    """Messages by first word of the subject, until the end of the watch."""
    peak_per_second: int
    """Messages, beats aside, in the busiest second."""

    @property
    def problems(self) -> list[str]:
        """Why this is not what was promised; empty if it is."""
        said = sum(count for word, count in self.messages.items() if word != "heartbeat")
        wrong = {
            f"the last task ran elsewhere after {self.seconds:.0f} s": self.seconds > MOVED_WITHIN_SECONDS,
            f"{self.requeued} tasks were requeued, {self.held} were lost": self.requeued != self.held,
            f"{self.dispatched} dispatches for {self.held} tasks": self.dispatched != self.held,
            f"{self.second_moves} tasks moved twice": self.second_moves > 0,
            f"{said} messages for {self.held} moves": said > MESSAGES_PER_TASK * self.held + self.background,
        }
        return [text for text, so in wrong.items() if so]

    @property
    def background(self) -> float:
        """What two coordinators say anyhow, each second, of demand and leads."""
        return 4 * (self.seconds + WATCHED_SECONDS)


class CountingBus(MemoryBus):
    """Counts what is sent, by kind and by second."""

    def __init__(self) -> None:
        super().__init__()
        self.by_word: Counter[str] = Counter()
        self.by_second: Counter[int] = Counter()

    def send(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str],
        answer: Callable[[bytes], None] | None = None,
    ) -> tuple[bool, bool]:
        word = subject.split(".")[1]
        self.by_word[word] += 1
        if word != "heartbeat":
            self.by_second[int(anyio.current_time())] += 1
        return super().send(subject, data, headers, answer)

    def forget(self) -> None:
        self.by_word.clear()
        self.by_second.clear()


@agent("think")
async def think(_context: Context) -> Discovery:
    await anyio.sleep(WORK_SECONDS)
    return Discovery(reward=0.5)


def spec(tasks: int) -> RunSpec:
    return RunSpec(
        run="run-1",
        goal="wait",
        agents=(AgentSpec(name="think"),),
        roots=tuple(FollowUp(agent="think", topic=f"topic {number}") for number in range(10)),
        budget=Budget(tasks=tasks),
    )


async def play(workers: int, silent: int) -> Found:
    """As many tasks as workers run, on half of the slots; then so many workers say nothing more."""
    bus = CountingBus()
    async with swarm(bus=bus) as hive:
        for name in ("c1", "c2"):
            hive.start_coordinator(name)
        for number in range(workers):
            hive.start_worker(f"w{number}", {"think": think}, slots=SLOTS)
        await hive.submit(spec(workers))
        await _all_running(hive, workers)
        quiet = {f"w{number}" for number in range(silent)}
        before = await hive.task_rows("run-1")
        held = {key: row.attempt for key, row in before.items() if row.worker in quiet}
        known = len(await hive.events("run-1"))
        bus.forget()
        for name in quiet:
            hive.kill(name)
        began = anyio.current_time()
        with anyio.move_on_after(2 * MOVED_WITHIN_SECONDS):
            while not _moved(await hive.task_rows("run-1"), held):
                await anyio.sleep(0.5)
        seconds = anyio.current_time() - began
        await anyio.sleep(WATCHED_SECONDS)
        events = (await hive.events("run-1"))[known:]
        requeued = Counter(one.task for one in events if isinstance(one, ev.TaskRequeued))
        return Found(
            workers, silent, len(held), round(seconds, 1), requeued.total(),
            sum(isinstance(one, ev.TaskDispatched) for one in events),
            sum(count > 1 for count in requeued.values()), dict(sorted(bus.by_word.items())),
            max(bus.by_second.values(), default=0),
        )  # fmt: skip


async def _all_running(hive: Swarm, tasks: int) -> None:
    with anyio.fail_after(300):
        while True:
            rows = await hive.task_rows("run-1")
            if sum(row.status == "running" for row in rows.values()) == tasks:
                return
            await anyio.sleep(1)


def _moved(rows: Mapping[str, TaskRow], held: Mapping[str, int]) -> bool:
    return all(rows[key].status == "running" and rows[key].attempt > attempt for key, attempt in held.items())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--silent", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="print an object instead of lines")
    options = parser.parse_args()
    logging.disable()
    began = time.monotonic()
    found = run_virtually(lambda: play(options.workers, options.silent))
    if options.json:
        print(json.dumps({**asdict(found), "problems": found.problems}, indent=2))
    else:
        print(f"{found} in {time.monotonic() - began:.0f} s: {'; '.join(found.problems) or 'as promised'}")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
