"""The `worker` command as a process, on a real nats-server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from protocol.messages import SwarmHeartbeat
from protocol.transport.jetstream import JetStreamSettings, JetStreamTransport
from tests.support.fake_leader import FakeLeader
from tests.support.rejecting import rejecting
from tests.support.servers import NatsServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
AGENTS = ("echo", "nap", "block", "stuck", "count")

pytestmark = pytest.mark.anyio


@contextmanager
def worker_process(server: NatsServer, folder: Path, **settings: str) -> Generator[subprocess.Popen[str]]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SWARMBOARD_")},
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "SWARMBOARD_NATS_URL": server.address,
        "SWARMBOARD_NATS_USER": server.user,
        "SWARMBOARD_NATS_PASSWORD": server.password,
        "SWARMBOARD_WORKER_NAME": "w1",
        "SWARMBOARD_WORKER_AGENTS": "tests.worker.sample_agents",
        **settings,
    }
    command = [sys.executable, "-c", "from agents.cli import main; main()"]
    process = subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@asynccontextmanager
async def leading(server: NatsServer) -> AsyncGenerator[FakeLeader]:
    settings = JetStreamSettings((server.address,), user=server.user, password=server.password)
    async with (
        JetStreamTransport(settings) as transport,
        FakeLeader(transport, agents=AGENTS).leading() as leader,
    ):
        yield leader


async def up(leader: FakeLeader) -> SwarmHeartbeat:
    await wait_until(lambda: bool(leader.beats), 20)
    return leader.beats[0]


async def ended(process: subprocess.Popen[str], seconds: float = 20) -> tuple[int | None, str]:
    await wait_until(lambda: process.poll() is not None, seconds)
    assert process.stderr is not None
    return process.returncode, process.stderr.read()


async def test_beats_go_on_while_an_agent_blocks_the_loop(own_nats: NatsServer, tmp_path: Path) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path, SWARMBOARD_LIVENESS_HEARTBEAT_SECONDS="0.3"):
            first = await up(leader)
            assert set(first.agents) == set(AGENTS)
            assert (first.slots, first.status) == (4, "alive")
            task = await leader.dispatch("block")
            await wait_until(lambda: bool(leader.beats[-1].held))
            began, known = time.monotonic(), len(leader.beats)
            await wait_until(lambda: bool(leader.discoveries))
            assert time.monotonic() - began > 2
            during = leader.beats[known:]
            assert len(during) >= 5
            assert {(one.token, one.progress) for beat in during[:5] for one in beat.held} == {
                (task.token, 0)
            }


async def test_a_beat_is_sent_at_once_when_asked(own_nats: NatsServer, tmp_path: Path) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path, SWARMBOARD_LIVENESS_HEARTBEAT_SECONDS="30"):
            await up(leader)
            await anyio.sleep(0.2)
            known, began = len(leader.beats), time.monotonic()
            leader.control("w1", order="beat")
            await wait_until(lambda: len(leader.beats) > known)
            assert time.monotonic() - began < 0.5


async def test_a_worker_on_uvloop_runs_threads_and_processes_too(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path) as process:
            await up(leader)
            await leader.dispatch("count")
            await wait_until(lambda: bool(leader.discoveries), 20)
            assert (leader.discoveries[0].outcome, leader.discoveries[0].reward) == ("done", 0.25)
            process.send_signal(signal.SIGTERM)
            assert (await ended(process))[0] == 0


async def test_sigterm_drains_and_exits_0(own_nats: NatsServer, tmp_path: Path) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path, SWARMBOARD_WORKER_DRAIN_SECONDS="1.5") as process:
            await up(leader)
            short = await leader.dispatch("nap", topic="0.8")
            long = await leader.dispatch("nap", topic="60")
            await wait_until(lambda: sum(len(claim.leases) for claim in leader.claims) == 2)
            process.send_signal(signal.SIGTERM)
            code, errors = await ended(process)
            assert code == 0, errors
            assert {one.token: one.outcome for one in leader.discoveries} == {
                short.token: "done",
                long.token: "released",
            }
            await wait_until(lambda: (leader.beats[-1].status, leader.beats[-1].held) == ("draining", ()))


async def test_an_order_to_reload_starts_the_same_command_anew(own_nats: NatsServer, tmp_path: Path) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path) as process:
            first = await up(leader)
            leader.control("w1", order="reload")
            await wait_until(lambda: leader.beats[-1].incarnation != first.incarnation, 20)
            assert leader.beats[-1].agents == first.agents
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert (await ended(process))[0] == 0


async def test_a_second_signal_ends_at_once(own_nats: NatsServer, tmp_path: Path) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path) as process:
            await up(leader)
            await leader.dispatch("nap", topic="60")
            await wait_until(lambda: len(leader.beats[-1].held) == 1)
            process.send_signal(signal.SIGINT)
            await wait_until(lambda: leader.beats[-1].status == "draining")
            process.send_signal(signal.SIGINT)
            assert (await ended(process, 5))[0] == 130


async def test_a_hung_thread_does_not_keep_a_drained_worker_alive(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path) as process:
            await up(leader)
            await leader.dispatch("stuck")
            await wait_until(lambda: bool(leader.discoveries))
            process.send_signal(signal.SIGTERM)
            code, errors = await ended(process)
            assert code == 0, errors
            assert "1 threads of agents still run" in errors


async def test_work_goes_on_after_the_bus_was_killed_and_came_back(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with leading(own_nats) as leader:
        with worker_process(own_nats, tmp_path, SWARMBOARD_WORKER_REPUBLISH_SECONDS="1") as process:
            await up(leader)
            over_the_outage = await leader.dispatch("nap", topic="1.5")
            await wait_until(lambda: bool(leader.beats[-1].held))
            own_nats.kill()
            await anyio.sleep(0.5)
            own_nats.start()
            known = len(leader.beats)
            await wait_until(lambda: over_the_outage.token in leader.settled, 20)
            await wait_until(lambda: len(leader.beats) > known)
            for _ in range(20):
                await leader.dispatch("echo")
            await wait_until(lambda: len(leader.settled) == 21, 20)
            process.send_signal(signal.SIGTERM)
            assert (await ended(process))[0] == 0


async def test_a_bus_that_is_not_there_is_an_unreachable_server(own_nats: NatsServer, tmp_path: Path) -> None:
    own_nats.kill()
    with worker_process(own_nats, tmp_path, SWARMBOARD_NATS_CONNECT_TIMEOUT_SECONDS="1") as process:
        code, errors = await ended(process)
        assert code == 4, errors
        assert "NATS" in errors


async def test_a_connection_that_is_closed_for_good_ends_the_process(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with rejecting() as address:
        with worker_process(own_nats, tmp_path, SWARMBOARD_NATS_URL=address) as process:
            code, errors = await ended(process)
            assert code == 1, errors
            assert "NATS closed the connection for good" in errors


async def test_a_wrong_agent_is_a_usage_error(own_nats: NatsServer, tmp_path: Path) -> None:
    with worker_process(own_nats, tmp_path, SWARMBOARD_WORKER_AGENTS="no_such_module") as process:
        code, errors = await ended(process)
        assert code == 2
        assert "no_such_module" in errors
