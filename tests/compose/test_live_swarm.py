"""The services of compose.yaml as plain processes, and a real Prometheus that scrapes them at work."""

import math
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from blackboard.spec import AgentSpec, Budget, RunSpec
from coordinator import connections
from coordinator.settings import Settings, load
from coordinator.submit import submit
from protocol.messages import FollowUp
from tests.compose.prometheus import Prometheus, alert_rules, panel_queries, program
from tests.compose.support import ROOT, SERVICES, ComposeNats, ComposeRedis
from tests.support.servers import free_port
from tests.support.waiting import wait_until

TASKS = 400
WINDOW = "3s"
SECONDS = 30

pytestmark = pytest.mark.anyio


@dataclass
class Swarm:
    """Where the pieces of a running swarm are."""

    nats: ComposeNats
    redis: ComposeRedis
    coordinators: list[int]
    workers: list[int]
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The coordinators, then the workers."""

    def settings(self) -> Settings:
        return load({}, environ=self.environment("coordinator", 0), folder=self.folder).settings

    def environment(self, service: str, port: int) -> dict[str, str]:
        """That of compose.yaml, with addresses, ports and passwords of this machine."""
        given = SERVICES[service]["environment"]
        here = {
            "SWARMBOARD_NATS_URL": self.nats.address,
            "SWARMBOARD_NATS_PASSWORD": self.nats.passwords[service.upper()],
            "SWARMBOARD_REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/0",
            "SWARMBOARD_REDIS_PASSWORD": self.redis.password,
            "SWARMBOARD_HTTP_HOST": "127.0.0.1",
            "SWARMBOARD_HTTP_PORT": str(port),
            "SWARMBOARD_WORKER_METRICS_HOST": "127.0.0.1",
            "SWARMBOARD_WORKER_METRICS_PORT": str(port),
            "SWARMBOARD_WORKER_AGENTS": "tests.compose.sample_agents",
            "SWARMBOARD_MODEL_NAME": "",
            "SWARMBOARD_MODEL_API_KEY": "",
        }
        kept = {key: here.get(key, value) for key, value in given.items()}
        pulse = {"SWARMBOARD_LIVENESS_HEARTBEAT_SECONDS": "1", "SWARMBOARD_LIVENESS_SILENCE_SECONDS": "4"}
        return {
            **kept,
            **pulse,
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
        }


def start(swarm: Swarm, service: str, port: int) -> subprocess.Popen[bytes]:
    """One replica, by the command of compose.yaml."""
    script, *arguments = [part.replace("${CONCURRENCY:-4}", "4") for part in SERVICES[service]["command"]]
    main = {"coordinator": "coordinator.cli", "worker": "agents.cli"}[script]
    command = [sys.executable, "-c", f"from {main} import main; main()", *arguments]
    with (swarm.folder / "log").open("ab") as log:
        return subprocess.Popen(command, env=swarm.environment(service, port), cwd=swarm.folder, stderr=log)


@asynccontextmanager
async def living_swarm(folder: Path) -> AsyncGenerator[Swarm]:
    """Two coordinators and two workers; all end well when they are told to."""
    swarm = Swarm(
        ComposeNats(folder / "nats").start(),
        ComposeRedis(folder / "redis").start(),
        [free_port() for _ in range(SERVICES["coordinator"]["deploy"]["replicas"])],
        [free_port() for _ in range(2)],
        folder,
    )
    (folder / "swarmboard.toml").write_text("[limits.agents.explore]\nconcurrent = 50\n")
    try:
        for service, ports, health in (
            ("coordinator", swarm.coordinators, "/readyz"),
            ("worker", swarm.workers, "/healthz"),
        ):
            swarm.processes += [start(swarm, service, port) for port in ports]
            for port in ports:
                await wait_until(partial(healthy, port, health), SECONDS)
        yield swarm
        for process in swarm.processes:
            process.terminate()
        codes = {process.wait(SECONDS) for process in swarm.processes}
        assert codes <= {0, -signal.SIGKILL}, (folder / "log").read_text()
    finally:
        for process in swarm.processes:
            process.kill()
            process.wait()
        swarm.nats.kill()
        swarm.redis.kill()


def healthy(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


async def explore(swarm: Swarm) -> None:
    spec = RunSpec(
        run="live",
        goal="be measured",
        agents=(AgentSpec(name="explore"),),
        roots=tuple(FollowUp(agent="explore", topic=f"root {number}") for number in range(5)),
        budget=Budget(tasks=TASKS),
    )
    settings = swarm.settings()
    async with connections.store(settings) as store, connections.transport(settings) as bus:
        await submit(store, bus, spec, now_ms=time.time_ns() // 1_000_000, max_active=1)


def at_work(prometheus: Prometheus) -> bool:
    """Whether the window of the queries holds work from end to end."""
    found = prometheus.query(
        f"sum(rate(swarmboard_tasks_settled_total[{WINDOW}])) > 0 and sum(swarmboard_backlog_tasks) > 0"
    )
    return bool(found) and bool(
        prometheus.query(f"sum(rate(swarmboard_worker_receipts_total[{WINDOW}])) > 0")
    )


def alert_states(prometheus: Prometheus) -> dict[str, str]:
    """Every alert of compose; fails where an expression cannot be evaluated."""
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(alert_rules())
    assert not any(rule.get("lastError") for rule in rules)
    return {rule["name"]: rule["state"] for rule in rules}


async def test_dashboard_and_alerts_tell_what_a_real_swarm_does(tmp_path: Path) -> None:
    program("prometheus")
    async with living_swarm(tmp_path) as swarm:
        targets = {
            "coordinator": [f"127.0.0.1:{port}" for port in swarm.coordinators],
            "worker": [f"127.0.0.1:{port}" for port in swarm.workers],
        }
        prometheus = Prometheus(tmp_path / "prometheus", targets).start()
        await wait_until(lambda: len(prometheus.query("up == 1")) == 4, SECONDS)
        await explore(swarm)
        await wait_until(lambda: at_work(prometheus), SECONDS)
        moment = str(time.time())
        for title, expression in panel_queries():
            query = expression.replace("$__rate_interval", WINDOW)
            answer = prometheus.ask("query", query=query, time=moment)["result"]
            assert answer, f"{title}: {expression} finds nothing"
            assert not any(math.isnan(float(series["value"][1])) for series in answer), (
                f"{title}: {expression}"
            )
        states = alert_states(prometheus)
        assert "firing" not in states.values(), states
        assert states["SwarmboardWorkersSilent"] == "inactive"
        await wait_until(
            lambda: (
                prometheus.query(f'sum(swarmboard_tasks_settled_total{{status="done"}}) == {TASKS}') != []
            ),
            SECONDS,
        )
        swarm.processes[-1].kill()
        await wait_until(lambda: alert_states(prometheus)["SwarmboardWorkersSilent"] == "pending", SECONDS)
        prometheus.kill()
