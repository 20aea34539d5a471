"""However the process ends that started the servers, none of them is left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from coordinator.embedded.folder import DataFolder
from coordinator.embedded.servers import embedded_servers
from coordinator.embedded.supervisor import ServerEvent
from tests.embedded.support import gone, redis_command, until, wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = """
import signal, sys
from pathlib import Path
import anyio
from coordinator.embedded.servers import embedded_servers

async def main():
    async with anyio.create_task_group() as tasks:
        async def on_signal():
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()
                    return
        tasks.start_soon(on_signal)
        async with embedded_servers(Path(sys.argv[1])) as instance:
            print("owned" if instance.owned else "adopted", flush=True)
            await anyio.sleep_forever()

anyio.run(main)
"""


@contextmanager
def parent(folder: Path) -> Generator[subprocess.Popen[str]]:
    """A process that runs the servers over `folder`, once they are up."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.role = process.stdout.readline().strip()  # type: ignore[attr-defined]
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        process.stdout.close()


def family(folder: Path) -> list[int]:
    """The servers and their guards."""
    servers = [int(DataFolder(folder).pid_file(name).read_text()) for name in ("nats", "redis")]
    return [*servers, *(os.getpgid(pid) for pid in servers)]


@pytest.mark.parametrize("death", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_is_left_behind_within_seconds(tmp_path: Path, death: signal.Signals) -> None:
    with parent(tmp_path) as process:
        children = family(tmp_path)
        process.send_signal(death)
        process.wait(10)
        wait_until(lambda: all(gone(pid) for pid in children), seconds=5)
    assert DataFolder(tmp_path).instance_file.exists() == (death == signal.SIGKILL)


def test_ctrl_c_in_the_terminal_reaches_the_parent_alone(tmp_path: Path) -> None:
    """The terminal signals the whole foreground group; the parent then stops its servers in good order."""
    with parent(tmp_path) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 0
    assert "Redis is now ready to exit, bye bye" in (tmp_path / "redis.log").read_text()
    assert "SIGINT" not in (tmp_path / "redis.log").read_text()


def test_everything_killed_at_once_leaves_nothing(tmp_path: Path) -> None:
    with parent(tmp_path) as process:
        children = family(tmp_path)
        for pid in [process.pid, *children]:
            with suppress(ProcessLookupError):  # its guard was quicker
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(gone(pid) for pid in children))


def test_a_hanging_server_is_killed_after_its_grace(tmp_path: Path) -> None:
    script = SCRIPT.replace(
        "(Path(sys.argv[1]))", "(Path(sys.argv[1]), timing=__import__('coordinator.embedded.supervisor')"
        ".embedded.supervisor.Timing(30, 0.5))"
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    children = family(tmp_path)
    os.kill(children[1], signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    assert all(gone(pid) for pid in children)
    process.stdout.close()


@pytest.mark.anyio
async def test_after_kill_9_a_new_start_waits_for_the_old_servers_and_has_their_data(tmp_path: Path) -> None:
    with parent(tmp_path) as process:
        old = family(tmp_path)
        connection = DataFolder(tmp_path).read_connection()
        assert connection is not None
        process.kill()
        process.wait()
        async with embedded_servers(tmp_path) as instance:
            assert instance.owned
            assert all(gone(pid) for pid in old[:2])
            assert await redis_command(instance, "SET fact 42") == "+OK"


def test_the_second_process_adopts_and_outlives_nothing(tmp_path: Path) -> None:
    with parent(tmp_path) as first, parent(tmp_path) as second:
        assert (first.role, second.role) == ("owned", "adopted")  # type: ignore[attr-defined]
        children = family(tmp_path)
        second.send_signal(signal.SIGTERM)
        second.wait(10)
        assert not any(gone(pid) for pid in children)
        first.send_signal(signal.SIGTERM)
        first.wait(10)
        assert all(gone(pid) for pid in children)


@pytest.mark.anyio
@pytest.mark.parametrize("death", [signal.SIGTERM, signal.SIGKILL])
async def test_who_adopted_servers_starts_them_again_when_their_owner_goes(
    tmp_path: Path, death: signal.Signals
) -> None:
    events: list[ServerEvent] = []
    with parent(tmp_path) as process:
        async with embedded_servers(tmp_path, report=events.append) as instance:
            assert not instance.owned
            await redis_command(instance, "SET fact 42")
            process.send_signal(death)
            await until(lambda: "restarted" in {event.what for event in events})
            assert await redis_command(instance, "GET fact") == "$2\r\n42"
            children = family(tmp_path)
        assert all(gone(pid) for pid in children)
