"""Servers and processes for benchmarks, and what they burn."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from coordinator.embedded.programs import find_nats_server, find_redis_server

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOG_TAIL = 4_000


@dataclass(frozen=True)
class Servers:
    """A fresh pair of servers, as the product configures them."""

    nats_url: str
    redis_url: str
    pids: Mapping[str, int]
    folder: Path
    log: Path
    """What all processes say on standard error; its end is shown when a measurement fails."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Figures:
    """What one measurement brought."""

    tasks_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_task: Mapping[str, float]


class Stopwatch:
    """CPU time of every process of a swarm, between start and stop."""

    def __init__(self, on: Servers, coordinators: Sequence[int], workers: Sequence[int]) -> None:
        servers = {name: [pid] for name, pid in on.pids.items()}
        self._pids = {"coordinator": coordinators, "worker": workers, **servers}
        self._before: dict[str, float] = {}
        self._after: dict[str, float] = {}

    def start(self) -> None:
        self._before = self._read()

    def stop(self) -> None:
        self._after = self._read()

    def cpu_us(self, tasks: int) -> dict[str, float]:
        """Microseconds per task, by role."""
        return {role: (after - self._before[role]) / tasks * 1e6 for role, after in self._after.items()}

    def _read(self) -> dict[str, float]:
        return {role: sum(map(cpu_seconds, pids)) for role, pids in self._pids.items()}


@contextmanager
def process(
    command: Sequence[str | Path | int], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A child with pipes for its input and output, ended with the context; its messages go to `log`."""
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(env or {})},
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()


@contextmanager
def servers() -> Iterator[Servers]:
    """nats-server (file storage, sync every 100 ms) and redis-server (appendonly, everysec)."""
    nats_port, redis_port, password = free_port(), free_port(), secrets.token_urlsafe(12)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(TemporaryDirectory(prefix="swarmboard-bench-", ignore_cleanup_errors=True))
        )
        config = folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{nats_port}"\n'
            f'jetstream {{ store_dir: "{folder}/nats", sync_interval: 100ms }}\n'
            f'authorization {{ user: swarm, password: "{password}" }}\n'
        )
        log = folder / "processes.log"
        bus = stack.enter_context(process([find_nats_server(), "--config", config], log))
        redis_options = (
            f"--port {redis_port} --bind 127.0.0.1 --requirepass {password} --dir {folder} --appendonly yes"
        )
        store = stack.enter_context(
            process(
                [find_redis_server(), *redis_options.split(), "--appendfsync", "everysec", "--save", ""], log
            )
        )
        for port in (nats_port, redis_port):
            wait_for_port(port)
        try:
            yield Servers(
                nats_url=f"nats://swarm:{password}@127.0.0.1:{nats_port}",
                redis_url=f"redis://:{password}@127.0.0.1:{redis_port}/0",
                pids={"nats": bus.pid, "redis": store.pid},
                folder=folder,
                log=log,
            )
        except BaseException:
            sys.stderr.write(log.read_text()[-LOG_TAIL:])
            raise


def wait_for_port(port: int, timeout_seconds: float = 15) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def read_json(child: subprocess.Popen[str]) -> dict[str, float]:
    """The next line that a child prints, as JSON."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        sys.exit(f"{child.args} ended with {child.wait()} before it printed its figures")
    return json.loads(line)
