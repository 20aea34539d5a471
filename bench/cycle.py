"""Durable no-op tasks per second and their latency, beside what the libraries alone would cost.

    python bench/cycle.py [--workers 1,2,4] [--in-flight 256] [--tasks 10000] [--rounds 5] [--json]

Ours chooses by ucb1 (the default policy costs some 15 microseconds more per task). Each round measures every
contender once, on fresh servers, so that a noisy minute hits all of them; figures
are medians over the rounds. CPU is what the processes burn between the first dispatch and the last end.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ours import run_ours
from processes import Figures, Servers, Stopwatch, process, read_json, servers

FOLDER = Path(__file__).parent
SETTLE_SECONDS = 0.7
"""Time for workers to connect and send their first pull, before the clock starts."""


@dataclass(frozen=True)
class Load:
    workers: int
    in_flight: int
    tasks: int


def run_floor(script: str, on: Servers, load: Load) -> Figures:
    """Runs one of the floors; each worker gets an equal share of what is in flight."""
    slots = -(-load.in_flight // load.workers)
    call = [sys.executable, FOLDER / script]
    with ExitStack() as stack:
        figures = [load.in_flight, load.tasks]
        leader = stack.enter_context(
            process([*call, "coordinator", on.nats_url, on.redis_url, *figures], on.log)
        )
        assert leader.stdout is not None
        assert leader.stdin is not None
        leader.stdout.readline()
        workers = [
            stack.enter_context(process([*call, "worker", on.nats_url, on.redis_url, slots], on.log))
            for _ in range(load.workers)
        ]
        time.sleep(SETTLE_SECONDS)
        watch = Stopwatch(on, coordinators=[leader.pid], workers=[worker.pid for worker in workers])
        watch.start()
        leader.stdin.write("\n")
        leader.stdin.flush()
        said = read_json(leader)
        watch.stop()
        return Figures(said["tasks_per_s"], said["p50_ms"], said["p99_ms"], watch.cpu_us(load.tasks))


CONTENDERS: Mapping[str, Callable[[Servers, Load], Figures]] = {
    "floor": lambda on, load: run_floor("floor.py", on, load),
    "floor_with_claim": lambda on, load: run_floor("floor_with_claim.py", on, load),
    "floor_grouped": lambda on, load: run_floor("floor_grouped.py", on, load),
    "ours": lambda on, load: run_ours(on, load.workers, load.in_flight, load.tasks),
}


def compare(load: Load, rounds: int, contenders: Sequence[str]) -> dict[str, Figures]:
    """Medians over interleaved rounds."""
    measured: dict[str, list[Figures]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, figures in measured.items():
            with servers() as on:
                figures.append(CONTENDERS[name](on, load))
    return {name: median(figures) for name, figures in measured.items()}


def median(figures: Sequence[Figures]) -> Figures:
    def over(value: Callable[[Figures], float]) -> float:
        return statistics.median(value(one) for one in figures)

    return Figures(
        over(lambda one: one.tasks_per_s),
        over(lambda one: one.p50_ms),
        over(lambda one: one.p99_ms),
        {role: over(lambda one, role=role: one.cpu_us_per_task[role]) for role in figures[0].cpu_us_per_task},
    )


def as_json(load: Load, results: Mapping[str, Figures]) -> dict[str, object]:
    """One line of the answer; fields of contenders that did not run are absent."""
    line: dict[str, object] = {"workers": load.workers, "in_flight": load.in_flight, "tasks": load.tasks}
    for name, figures in results.items():
        if name != "ours":
            line[f"{name}_tasks_per_s"] = round(figures.tasks_per_s, 1)
            line[f"{name}_cpu_us_per_task"] = rounded(figures.cpu_us_per_task)
    if ours := results.get("ours"):
        line |= {
            "tasks_per_s": round(ours.tasks_per_s, 1),
            "p50_ms": round(ours.p50_ms, 2),
            "p99_ms": round(ours.p99_ms, 2),
            "cpu_us_per_task": rounded(ours.cpu_us_per_task),
        }
        if floor := results.get("floor"):
            line["ratio"] = round(ours.tasks_per_s / floor.tasks_per_s, 3)
    return line


def rounded(figures: Mapping[str, float]) -> dict[str, int]:
    return {role: round(value) for role, value in figures.items()}


def show(load: Load, results: Mapping[str, Figures]) -> None:
    print(f"{load.workers} worker(s), {load.in_flight} in flight, {load.tasks:,} tasks")
    print(f"  {'':18}{'tasks/s':>9}{'p50 ms':>9}{'p99 ms':>9}   CPU microseconds per task")
    for name, figures in results.items():
        cpu = "  ".join(f"{role} {value:.0f}" for role, value in figures.cpu_us_per_task.items())
        print(f"  {name:18}{figures.tasks_per_s:9,.0f}{figures.p50_ms:9.1f}{figures.p99_ms:9.1f}   {cpu}")


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=numbers, default=[1, 2, 4], metavar="N,…")
    parser.add_argument("--in-flight", type=numbers, default=[1, 256], metavar="N,…")
    parser.add_argument(
        "--tasks", type=int, default=10_000, help="per round; an eighth of it with one in flight"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=list(CONTENDERS), metavar="NAME,…"
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of tables")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    lines: list[dict[str, object]] = []
    for in_flight in options.in_flight:
        for workers in options.workers if in_flight > 1 else [1]:
            load = Load(workers, in_flight, options.tasks if in_flight > 1 else max(1, options.tasks // 8))
            results = compare(load, options.rounds, options.only)
            lines.append(as_json(load, results))
            if not options.json:
                show(load, results)
    if options.json:
        print(json.dumps(lines, indent=2))


if __name__ == "__main__":
    main()
