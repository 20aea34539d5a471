"""Choices per second and memory at 1,000, 100,000 and 1,000,000 directions, beside a full scan.

    python -m bench.frontier.speed [--json] [--sizes 1000,100000] [--policy kl-ucb-plus-plus]

`choices_per_s` is asking alone, `buckets_per_s` moving the best in the buckets alone. `cycles_per_s` is the
whole of a visit: choose, start, tell, with the statistics of the row and the event of the log; `scans_per_s`
finds the same direction by looking at all. Seconds are of processor time, so that neighbours on the machine
disturb less.
"""

import argparse
import gc
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from blackboard.events import MICRO, TaskDispatched, TaskSettled
from blackboard.rewards import start, tell
from blackboard.state import DirectionRow
from coordinator.frontier.adaptive import Adaptive
from coordinator.frontier.indexed import IndexFrontier, IndexPolicy
from coordinator.frontier.indexes import INDEX_RULES
from coordinator.frontier.staircase import Arm, Estimate, Staircase

IN_FLIGHT = 16
SECONDS = 1.5
SEARCHED: Mapping[str, IndexPolicy] = {policy.name: policy for policy in (Adaptive(), *INDEX_RULES)}
"""Policies whose choices are searched for in the buckets."""


@dataclass(frozen=True, slots=True)
class Speed:
    directions: int
    build_s: float
    choices_per_s: float
    buckets_per_s: float
    """The bucket structure alone: the best of its steps by UCB1's index goes to its next bucket."""
    indexes_per_s: float
    """The exact argmax alone, moving one direction from bucket to bucket, without runners-up or record."""
    cycles_per_s: float
    scans_per_s: float
    frontier_bytes_per_direction: int
    row_bytes_per_direction: int


def rows_of(count: int, rng: Random) -> tuple[list[DirectionRow], list[float]]:
    """Directions of which a third were visited, a few of them often; and the level of each one's rewards."""
    rows: list[DirectionRow] = []
    levels: list[float] = []
    for number in range(1, count + 1):
        row = DirectionRow(
            f"dir-{number:024x}", "explorer", "", number, 0, prior_micro=rng.randrange(100_000, 900_000)
        )
        visits = min(int(rng.paretovariate(1.2)) - 1, 60) if number % 3 == 0 else 0
        levels.append(rng.random())
        for _ in range(visits):
            tell(row, start(row), reward(levels[-1], rng))
        rows.append(row)
    return rows, levels


def reward(level: float, rng: Random) -> int:
    """In micro-units, scattered around a level."""
    return int(MICRO * min(1.0, max(0.0, rng.gauss(level, 0.1))))


def rate(action: Callable[[], object], seconds: float) -> float:
    """Calls per second of processor time, over about that time."""
    gc.freeze()  # that no collection of what was there before falls into what is measured
    began = time.process_time()
    action()
    batch = 20 if time.process_time() - began < 0.01 else 1
    done, began = 0, time.process_time()
    while (passed := time.process_time() - began) < seconds:
        for _ in range(batch):
            action()
        done += batch
    return done / passed


def measured(count: int, seconds: float = SECONDS, policy: IndexPolicy | None = None) -> Speed:
    """Of the default policy unless another is given."""
    rng = Random(count)
    held = resident_bytes()
    rows, levels = rows_of(count, rng)
    by_id = {row.id: row for row in rows}
    gc.collect()
    row_bytes = resident_bytes() - held
    held, began = resident_bytes(), time.perf_counter()
    frontier = IndexFrontier(policy or Adaptive(), rows)
    build = time.perf_counter() - began
    gc.collect()
    frontier_bytes = resident_bytes() - held
    pending: list[tuple[DirectionRow, int]] = []

    def cycle() -> None:
        choice = frontier.choose(0, 0)
        assert choice is not None
        row = by_id[choice.chosen.direction]
        visit = start(row)
        TaskDispatched(
            at_ms=0,
            task="t",
            direction=row.id,
            agent=row.agent,
            visit=visit,
            attempt=1,
            token="t",
            choice=choice,
        )
        frontier.changed(row)
        pending.append((row, visit))
        if len(pending) > IN_FLIGHT:
            row, visit = pending.pop(rng.randrange(IN_FLIGHT))
            told = reward(levels[row.opened - 1], rng)
            tell(row, visit, told)
            TaskSettled(at_ms=0, task="t", token="t", status="done", reward_micro=told)
            frontier.changed(row)

    def index() -> None:
        row = frontier.best(1)[0][1].row
        tell(row, start(row), reward(levels[row.opened - 1], rng))
        frontier.changed(row)

    def scan() -> None:
        index = frontier.policy.at(frontier.pooled).of
        arms = frontier.arms()
        max(arms, key=lambda arm: index(arm.group, arm.count, arm.mean, arm.in_flight, -math.inf))

    cycle()
    # Whole visits come before what makes visits of its own, as many as the machine is fast.
    choices, cycles = rate(lambda: frontier.choose(0, 0), seconds), rate(cycle, seconds)
    buckets, indexes, scans = (rate(action, seconds) for action in (buckets_of(rows, rng), index, scan))
    return Speed(
        count, build, choices, buckets, indexes, cycles, scans, frontier_bytes // count, row_bytes // count
    )


def buckets_of(rows: list[DirectionRow], rng: Random) -> Callable[[], None]:
    """Chooses a direction in the bucket structure and moves it, without statistics or a record."""
    stairs, clock = Staircase(), len(rows)
    for row in rows:
        arm = Arm(row, spawned=False)
        arm.stand(Estimate(row.visits + 1, row.reward_sum_micro + (row.prior_micro or 0)))
        stairs.add(arm)

    def move() -> None:
        nonlocal clock
        clock += 1
        twice_log = 2.0 * math.log(clock)
        best = max(stairs.steps, key=lambda arm: arm.mean + math.sqrt(twice_log / arm.count))
        stairs.remove(best)
        best.stand(Estimate(best.count + 1, best.sum_micro + rng.randrange(MICRO)))
        stairs.add(best)

    return move


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--policy", choices=list(SEARCHED), default=Adaptive.name)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = [measured(int(size), policy=SEARCHED[options.policy]) for size in options.sizes.split(",")]
    if options.json:
        print(json.dumps([asdict(speed) for speed in found]))
        return 0
    for speed in found:
        print("  ".join(f"{name} {value:,.1f}" for name, value in asdict(speed).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
