"""What the processes cost before they do anything: time to start, CPU to start, memory when idle.

    python bench/footprint.py [--starts 7] [--settle 3] [--json]

Each figure stands beside a floor: a bare interpreter, and one that has imported the client libraries
which every process of the product needs (nats, redis, pydantic). Starts are interleaved, medians are shown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from ours import FOLDER, READY_SECONDS, until, wait_until_ready
from processes import Servers, cpu_seconds, process, read_json, servers

from coordinator import connections
from coordinator.settings import Settings, load
from protocol.subjects import HEARTBEATS_STREAM

BIN = Path(sys.executable).parent
LIBRARIES = "import nats, redis.asyncio, pydantic"
COMMANDS: Mapping[str, Sequence[str | Path]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "python with nats, redis, pydantic": (sys.executable, "-c", LIBRARIES),
    "worker --help": (BIN / "worker", "--help"),
    "coordinator --help": (BIN / "coordinator", "--help"),
}
SLEEPER = "import sys; print('{}', flush=True); sys.stdin.read()"
SLEEPERS: Mapping[str, str] = {
    "python": SLEEPER,
    "python with nats, redis, pydantic": f"{LIBRARIES}; {SLEEPER}",
}


@dataclass(frozen=True)
class Start:
    wall_ms: float
    cpu_ms: float
    """User and system time."""


@dataclass(frozen=True)
class Idle:
    rss_mb: float
    """Resident, 10^6 bytes, shared pages of libraries counted in full."""
    own_mb: float
    """Resident and not shared with any other process."""
    cpu_percent: float
    """Of one core, while nothing was asked of the process."""


def start(command: Sequence[str | Path]) -> Start:
    began = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{command} ended with {child.returncode}"
    return Start(wall * 1000, (used.ru_utime + used.ru_stime) * 1000)


def starts(count: int) -> dict[str, Start]:
    """Medians. The first round only fills the caches of files and bytecode."""
    rounds = [{name: start(command) for name, command in COMMANDS.items()} for _ in range(count + 1)][1:]
    return {
        name: Start(
            statistics.median(one[name].wall_ms for one in rounds),
            statistics.median(one[name].cpu_ms for one in rounds),
        )
        for name in COMMANDS
    }


def resident(pid: int) -> tuple[float, float]:
    """Megabytes resident, and those of them that are the process's own."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024
    return sizes["Rss"] / 1e6, (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1e6


def idle(on: Servers, settle_seconds: float) -> dict[str, Idle]:
    """A coordinator without runs and a worker without tasks, beside their servers and the floors."""
    environment = {
        "SWARMBOARD_NATS_URL": on.nats_url,
        "SWARMBOARD_REDIS_URL": on.redis_url,
        "SWARMBOARD_DATA_FOLDER": str(on.folder / "data"),
        "PYTHONPATH": str(FOLDER),
    }
    with ExitStack() as stack:
        leader = stack.enter_context(
            process([BIN / "coordinator", "--json", "serve", "--port", 0], on.log, environment)
        )
        wait_until_ready(int(read_json(leader)["http_port"]))
        worker = stack.enter_context(
            process([BIN / "worker", "--agents", "noop", "--name", "idle"], on.log, environment)
        )
        pids = {"worker": worker.pid, "coordinator": leader.pid}
        for name, script in SLEEPERS.items():
            sleeper = stack.enter_context(process([sys.executable, "-c", script], on.log))
            read_json(sleeper)
            pids[name] = sleeper.pid
        anyio.run(worker_has_beaten, load({}, environ=environment, folder=on.folder).settings)
        pids |= {f"{name}-server": pid for name, pid in on.pids.items()}
        return look(pids, settle_seconds)


def look(pids: Mapping[str, int], settle_seconds: float) -> dict[str, Idle]:
    """Waits until start-up is over, then watches for as long again."""
    time.sleep(settle_seconds)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(settle_seconds)
    return {
        name: Idle(*resident(pid), (cpu_seconds(pid) - before[name]) / settle_seconds * 100)
        for name, pid in pids.items()
    }


async def worker_has_beaten(settings: Settings) -> None:
    async with connections.transport(settings) as transport:

        async def has_beaten() -> bool:
            return bool(await transport.last_per_subject(HEARTBEATS_STREAM))

        await until(has_beaten, READY_SECONDS)


def rounded(figures: Mapping[str, Start | Idle]) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(value, 1) for key, value in asdict(one).items()} for name, one in figures.items()
    }


def show(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    for title, lines in figures.items():
        keys = list(next(iter(lines.values())))
        print(f"{title:36}" + "".join(f"{key:>13}" for key in keys))
        for name, line in lines.items():
            print(f"  {name:34}" + "".join(f"{line[key]:13.1f}" for key in keys))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=7, help="how often each command is started")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before and during the idle watch")
    parser.add_argument("--json", action="store_true", help="print one object instead of tables")
    options = parser.parse_args()
    with servers() as on:
        figures = {"idle": rounded(idle(on, options.settle)), "start": rounded(starts(options.starts))}
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
