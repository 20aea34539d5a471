"""nats-server and redis-server over one data folder, for as long as a context lasts.

One process at a time supervises a folder. Whoever comes later adopts the running servers, does not
stop them, and starts them again should their owner go: they last as long as anybody needs them. See
`folder` for the locks and `guard` for how children end with their parent.
"""

import os
import random
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from coordinator.embedded.config import nats_config, redis_config
from coordinator.embedded.folder import Connection, DataFolder, Secrets, write_private
from coordinator.embedded.instance import Instance, connection_of
from coordinator.embedded.probe import HOST, is_our_nats, is_our_redis
from coordinator.embedded.programs import find_nats_server, find_redis_server
from coordinator.embedded.supervisor import PortTaken, ServerEvent, ServerPlan, Supervisor, Timing
from protocol.errors import ServerFailed
from protocol.exits import first_swarm_error

PORTS = range(10_240, 32_768)
"""Below the range from which systems draw the client side of connections: there a client that keeps
trying a dead server's port can end up connected to itself, and block the port."""
PORT_ATTEMPTS = 10
RETRY_SECONDS = 0.05
TAKE_OVER_SECONDS = 0.25


@asynccontextmanager
async def embedded_servers(
    data: Path,
    *,
    durable: bool = False,
    timing: Timing | None = None,
    report: Callable[[ServerEvent], None] = lambda _: None,
) -> AsyncGenerator[Instance]:
    """Starts the servers, or adopts those that another process already runs over `data`, an absolute path.

    `durable` syncs every append to disk before it counts. `report` is told when a server that was
    up dies and comes back.

    :raises ServerMissing: when a program is not installed.
    :raises ServerFailed: when a server does not start or stay up, or the folder cannot be used.
    """
    timing = timing or Timing()
    folder = DataFolder(data)
    folder.prepare()
    owner = await _own_or_adopt(folder, timing)
    if isinstance(owner, Instance):
        take_over = partial(_take_over, owner, durable, timing, report)
        async with _beside(take_over):
            yield owner
        return
    try:
        async with _owned_servers(folder, durable, timing, report) as instance:
            yield instance
    finally:
        os.close(owner)


async def _take_over(
    adopted: Instance, durable: bool, timing: Timing, report: Callable[[ServerEvent], None]
) -> None:
    """Waits until the owner of adopted servers is gone, and then runs them on the same ports."""
    while (owner := adopted.folder.try_lock("owner.lock")) is None:  # noqa: ASYNC110 - another process has it
        await anyio.sleep(TAKE_OVER_SECONDS)
    report(ServerEvent("embedded servers", "died", "their owner has gone; starting them again"))
    try:
        async with _owned_servers(adopted.folder, durable, timing, report) as own:
            known, now = adopted.connection, own.connection
            if (known.nats, known.redis) != (now.nats, now.redis):
                raise ServerFailed("embedded servers", "came back on other ports", "start this command again")
            report(ServerEvent("embedded servers", "restarted", "this process runs them now"))
            await anyio.sleep_forever()
    finally:
        os.close(owner)


@asynccontextmanager
async def _beside(*watchers: Callable[[], Coroutine[object, object, None]]) -> AsyncGenerator[None]:
    """Runs watchers for the length of the context. Errors, the body's and theirs, come out ungrouped."""
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as group:
            for watcher in watchers:
                group.start_soon(watcher, name="watch the embedded servers")
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again below, without the group's wrapping
                failure = error
            group.cancel_scope.cancel()
    except* ServerFailed as failed:
        failure = first_swarm_error(failed)
    if failure is not None:
        raise failure


async def _own_or_adopt(folder: DataFolder, timing: Timing) -> int | Instance:
    """The descriptor of the owner's lock, or the running instance of the process that has it."""
    deadline = anyio.current_time() + timing.start_seconds
    problem = ""
    while (owner := folder.try_lock("owner.lock")) is None:
        try:
            connection = folder.read_connection()
        except (OSError, ValueError):
            connection, problem = None, f", and {folder.instance_file} is damaged"
        if connection is not None:
            if await _answers(connection):
                return Instance(folder, connection, owned=False)
            problem = f" (process {connection.pid}), and its servers do not answer"
        if anyio.current_time() > deadline:
            raise ServerFailed(
                "embedded servers",
                f"another coordinator uses {folder.path}{problem}",
                "stop that one, or choose another folder with --data",
            )
        await anyio.sleep(RETRY_SECONDS)
    return owner


async def _answers(connection: Connection) -> bool:
    nats, redis = urlsplit(connection.nats.url), urlsplit(connection.redis.url)
    return await is_our_nats(nats.port or 0, connection.id) and await is_our_redis(
        redis.port or 0, connection.redis.password
    )


@asynccontextmanager
async def _owned_servers(
    folder: DataFolder, durable: bool, timing: Timing, report: Callable[[ServerEvent], None]
) -> AsyncGenerator[Instance]:
    lock = await _wait_for_old_servers(folder, timing)
    servers: list[Supervisor] = []
    try:
        secrets = await _start_all(folder, lock, durable, timing, servers)
        connection = connection_of(secrets)
        write_private(folder.worker_file, connection.worker)
        write_private(folder.instance_file, connection)
        async with _beside(*(partial(server.keep_running, report) for server in servers)):
            yield Instance(folder, connection, owned=True)
    finally:
        folder.instance_file.unlink(missing_ok=True)
        folder.worker_file.unlink(missing_ok=True)
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as stop:
                for server in servers:
                    stop.start_soon(server.stop, name="stop a server")
        os.close(lock)


async def _wait_for_old_servers(folder: DataFolder, timing: Timing) -> int:
    """The lock that servers hold: those of an owner that was killed are on their way out."""
    deadline = anyio.current_time() + timing.stop_seconds + 5
    while (lock := folder.try_lock("servers.lock")) is None:
        if anyio.current_time() > deadline:
            left = [
                path.read_text() for name in ("nats", "redis") if (path := folder.pid_file(name)).exists()
            ]
            raise ServerFailed(
                "embedded servers",
                f"servers of a coordinator that is gone still use {folder.path}",
                f"end the processes {' and '.join(left)} (their pid files lie there)",
            )
        await anyio.sleep(RETRY_SECONDS)
    return lock


async def _start_all(
    folder: DataFolder, lock: int, durable: bool, timing: Timing, servers: list[Supervisor]
) -> Secrets:
    """Starts both; appends to `servers` what has to be stopped. Ports are the last ones where still free."""
    programs = {"nats": str(find_nats_server()), "redis": str(find_redis_server())}
    secrets = folder.secrets()

    async def start(name: str, port: int) -> int:
        for attempt in range(PORT_ATTEMPTS):
            port = port if _free(port) else _free_port()
            server = Supervisor(
                _plan(name, programs[name], folder, secrets, port, durable), folder, lock, timing
            )
            servers.append(server)
            try:
                await server.start()
            except PortTaken:
                servers.remove(server)
                if attempt + 1 == PORT_ATTEMPTS:
                    raise
            else:
                break
        return port

    nats_port = await start("nats", secrets.nats_port)
    redis_port = await start("redis", secrets.redis_port)
    found = secrets.model_copy(update={"nats_port": nats_port, "redis_port": redis_port})
    if found != secrets:
        folder.keep(found)
    return found


def _plan(
    name: str, program: str, folder: DataFolder, secrets: Secrets, port: int, durable: bool
) -> ServerPlan:
    config = folder.server(name) / f"{name}.conf"
    if name == "nats":
        _write_config(config, nats_config(secrets, port, durable=durable))
        return ServerPlan(name, (program, "-c", config.name), lambda: is_our_nats(port, secrets.id))
    _write_config(config, redis_config(secrets, port, durable=durable))
    return ServerPlan(name, (program, config.name), lambda: is_our_redis(port, secrets.redis_password))


def _write_config(path: Path, text: str) -> None:
    try:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ServerFailed(
            "data folder", f"{path} cannot be written: {error.strerror}", "choose another folder with --data"
        ) from error


def _free_port() -> int:
    return next(port for port in random.sample(PORTS, len(PORTS)) if _free(port))


def _free(port: int) -> bool:
    if not port:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
