"""The embedded servers as their callers see them: up, again, together, and in the way of others."""

import json
import os
import signal
import socket
import stat
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from coordinator.embedded.folder import DataFolder
from coordinator.embedded.instance import Instance
from coordinator.embedded.probe import introduction, is_our_nats, is_our_redis
from coordinator.embedded.servers import embedded_servers
from coordinator.embedded.supervisor import ServerEvent, Timing
from protocol.errors import NotFound, ServerFailed
from tests.embedded.support import gone, port_of, redis_command, until

pytestmark = pytest.mark.anyio
QUICK = Timing(start_seconds=5, stop_seconds=5)


async def both_answer(instance: Instance) -> bool:
    known = instance.connection
    return await is_our_nats(port_of(known.nats.url), known.id) and await is_our_redis(
        port_of(known.redis.url), known.redis.password
    )


def pids(folder: Path) -> list[int]:
    return [int(DataFolder(folder).pid_file(name).read_text()) for name in ("nats", "redis")]


async def test_both_servers_answer_inside_and_are_gone_outside(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "data") as instance:
        assert instance.owned
        assert await both_answer(instance)
        running = pids(tmp_path / "data")
    assert all(gone(pid) for pid in running)
    assert not DataFolder(tmp_path / "data").instance_file.exists()
    assert not DataFolder(tmp_path / "data").worker_file.exists()


async def test_a_restart_keeps_data_ports_and_credentials(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as first:
        assert await redis_command(first, "SET fact 42") == "+OK"
    async with embedded_servers(tmp_path) as second:
        assert await redis_command(second, "GET fact") == "$2\r\n42"
    assert second.connection == first.connection


async def test_redis_is_append_only_and_never_evicts(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path, durable=True) as instance:
        for option, value in (
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("maxmemory-policy", "noeviction"),
        ):
            assert (await redis_command(instance, f"CONFIG GET {option}")).endswith(value)


async def test_jetstream_is_on(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as instance:
        found = await introduction("127.0.0.1", port_of(instance.connection.nats.url))
    assert found is not None
    assert found.jetstream


async def test_files_with_secrets_are_for_this_user_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with embedded_servers(data):
        secret = ["secrets.json", "instance.json", "worker.json", "nats/nats.conf", "redis/redis.conf"]
        assert {stat.S_IMODE((data / name).stat().st_mode) for name in secret} == {0o600}
        assert stat.S_IMODE(data.stat().st_mode) == 0o700


async def test_the_workers_file_knows_only_the_bus_with_a_workers_rights(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as instance:
        text = DataFolder(tmp_path).worker_file.read_text()
        assert instance.connection.redis.password not in text
        assert instance.connection.nats.password not in text
        assert instance.connection.worker.nats.password in text


async def test_whoever_comes_second_adopts_and_leaves_them_running(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as first:
        async with embedded_servers(tmp_path) as second:
            assert not second.owned
            assert second.connection == first.connection
        assert await both_answer(first)


async def test_two_folders_are_two_instances(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "one") as one, embedded_servers(tmp_path / "two") as two:
        assert two.owned
        assert one.connection.id != two.connection.id
        await redis_command(one, "SET fact 42")
        assert await redis_command(two, "GET fact") == "$-1"


async def test_a_copied_folder_gets_ports_of_its_own(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / "one"):
        pass
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "secrets.json").write_text((tmp_path / "one" / "secrets.json").read_text())
    async with embedded_servers(tmp_path / "one") as one, embedded_servers(tmp_path / "two") as two:
        assert one.connection.nats.url != two.connection.nats.url
        assert await both_answer(two)


async def test_an_owner_whose_servers_do_not_answer_is_named(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.prepare()
    lock = folder.try_lock("owner.lock")
    assert lock is not None
    with pytest.raises(ServerFailed, match="another coordinator uses"):
        async with embedded_servers(tmp_path, timing=Timing(start_seconds=0.2)):
            pass
    os.close(lock)


async def test_left_over_and_damaged_files_of_a_dead_owner_do_not_matter(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.prepare()
    folder.instance_file.write_text("{ not json")
    folder.worker_file.write_text("")
    (tmp_path / "secrets.json").write_text('{"id": 7}')
    for name in ("nats", "redis"):
        folder.pid_file(name).write_text(str(os.getpid()))
    assert folder.living_connection() is None
    async with embedded_servers(tmp_path) as instance:
        assert instance.owned
        assert folder.living_connection() == instance.connection


async def test_a_connection_file_of_a_dead_owner_counts_for_nothing(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    async with embedded_servers(tmp_path):
        content = folder.instance_file.read_text()
    folder.instance_file.write_text(content)
    assert folder.read_connection() is not None
    assert folder.living_connection() is None


async def test_ports_that_others_took_are_left_to_them(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as first:
        pass
    ports = [port_of(first.connection.nats.url), port_of(first.connection.redis.url)]
    others = [socket.create_server(("127.0.0.1", port)) for port in ports]
    async with embedded_servers(tmp_path) as second:
        assert not {port_of(second.connection.nats.url), port_of(second.connection.redis.url)} & set(ports)
        assert json.loads((tmp_path / "secrets.json").read_text())["id"] == first.connection.id
    for other in others:
        other.close()


@pytest.mark.parametrize("server", ["nats", "redis"])
async def test_a_killed_server_comes_back_on_its_port_with_its_data(tmp_path: Path, server: str) -> None:
    events: list[ServerEvent] = []
    async with embedded_servers(tmp_path, report=events.append) as instance:
        await redis_command(instance, "SET fact 42")
        os.kill(int(DataFolder(tmp_path).pid_file(server).read_text()), signal.SIGKILL)
        await until(lambda: "restarted" in {event.what for event in events})
        assert await both_answer(instance)
        assert await redis_command(instance, "GET fact") == "$2\r\n42"
    assert [(event.server, event.what) for event in events] == [(server, "died"), (server, "restarted")]


async def test_a_killed_guard_takes_its_server_along_and_both_come_back(tmp_path: Path) -> None:
    events: list[ServerEvent] = []
    async with embedded_servers(tmp_path, report=events.append) as instance:
        old = int(DataFolder(tmp_path).pid_file("redis").read_text())
        os.kill(os.getpgid(old), signal.SIGKILL)
        await until(lambda: "restarted" in {event.what for event in events}, seconds=10)
        assert gone(old)
        assert await both_answer(instance)


async def test_a_server_that_cannot_come_back_ends_the_context_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.embedded.supervisor.RESTARTS_IN_A_ROW", 2)
    with pytest.raises(ServerFailed, match=r"(?is)redis: ended at once.*bad directive"):
        async with embedded_servers(tmp_path, timing=QUICK):
            (tmp_path / "redis" / "redis.conf").write_text("nonsense")
            os.kill(int(DataFolder(tmp_path).pid_file("redis").read_text()), signal.SIGKILL)
            await anyio.sleep(10)
    assert DataFolder(tmp_path).try_lock("servers.lock") is not None


async def test_the_callers_own_error_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        async with embedded_servers(tmp_path):
            raise NotFound("run", "x")
    assert not DataFolder(tmp_path).owned()


async def test_a_damaged_store_is_reported_with_its_log_and_a_remedy(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path) as instance:
        for number in range(50):
            await redis_command(instance, f"SET fact{number} {'x' * 100}")
    (aof,) = (tmp_path / "redis" / "appendonlydir").glob("*.incr.aof")
    content = bytearray(aof.read_bytes())
    content[1000:1200] = b"\0" * 200
    aof.write_bytes(content)
    with pytest.raises(ServerFailed, match="redis-check-aof") as failed:
        async with embedded_servers(tmp_path, timing=QUICK):
            pass
    assert "Bad file format" in failed.value.log


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_named_as_a_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)  # noqa: ASYNC240 - a test may block
    with pytest.raises(ServerFailed, match="choose another folder"):
        async with embedded_servers(tmp_path / "data"):
            pass


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerFailed, match=r"cannot be written.*choose another folder"):
        async with embedded_servers(tmp_path / "file" / "data"):
            pass


async def test_a_full_disk_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.embedded.folder.LEAST_FREE_BYTES", 2**62)
    with pytest.raises(ServerFailed, match=r"MiB free; free at least"):
        async with embedded_servers(tmp_path):
            pass


async def test_a_long_path_with_blanks_and_quotes_works(tmp_path: Path) -> None:
    async with embedded_servers(tmp_path / ("long " * 30) / 'it\'s "quoted"') as instance:
        assert await both_answer(instance)


async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing_behind_at_once(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    for milliseconds in range(0, 100, 5):
        with anyio.fail_after(5), anyio.move_on_after(milliseconds / 1000):
            async with embedded_servers(tmp_path, timing=Timing(stop_seconds=60)):
                await anyio.sleep_forever()
        assert not folder.owned()
        lock = folder.try_lock("servers.lock")
        assert lock is not None
        os.close(lock)


async def test_many_starts_at_once_make_one_instance(tmp_path: Path) -> None:
    owned: list[bool] = []
    barrier, all_in = 5, anyio.Event()

    @asynccontextmanager
    async def started():
        async with embedded_servers(tmp_path) as instance:
            yield instance

    async def start() -> None:
        async with started() as instance:
            owned.append(instance.owned)
            if len(owned) == barrier:
                all_in.set()
            await all_in.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(barrier):
            tasks.start_soon(start)
    assert sorted(owned) == [False] * (barrier - 1) + [True]


def test_it_works_in_a_thread_other_than_the_main_one(tmp_path: Path) -> None:
    answers: list[bool] = []

    async def main() -> None:
        async with embedded_servers(tmp_path) as instance:
            answers.append(await both_answer(instance))

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    thread.join()
    assert answers == [True]
