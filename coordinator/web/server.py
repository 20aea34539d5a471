"""The HTTP server of a coordinator, in a thread of its own: a busy event loop must not make it look dead.

What it serves of runs it reads and asks over connections of its own: HTTP is no load on the leaders' loop.
"""

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import anyio
import uvicorn

from coordinator import connections
from coordinator.operating import Operator
from coordinator.settings import Settings
from coordinator.web.app import application
from coordinator.web.guard import Guard
from protocol.errors import InvalidSettings, StoreUnavailable, SwarmError
from protocol.health import Page

CONCURRENT_REQUESTS = 200
"""Requests and event streams at once; more are told to come back."""
STOP_SECONDS = 1
RECONNECT_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
"""How long a request waits for the connections: a process that starts takes a moment to have them."""
POLL_SECONDS = 0.02
HEADER_BYTES = 16 * 1024

_log = logging.getLogger(__name__)


class Desk:
    """Where requests find the operator, who is there while store and bus can be reached."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._operator: Operator | None = None
        self._name = name

    async def attended(self) -> Operator:
        """:raises StoreUnavailable: when store and bus cannot be reached for a while."""
        with anyio.move_on_after(PATIENCE_SECONDS):
            while self._operator is None:  # noqa: ASYNC110 - once, while the process starts
                await anyio.sleep(POLL_SECONDS)
        if self._operator is None:
            raise StoreUnavailable("connect", "store and bus cannot be reached yet, or any more")
        return self._operator

    async def keep_open(self) -> None:
        """Keeps connections to store and bus until cancelled."""
        while True:
            try:
                await self._open_once()
            except (SwarmError, BaseExceptionGroup) as error:
                _log.info("HTTP: store and bus cannot be reached: %s", error)
            self._operator = None
            await anyio.sleep(RECONNECT_SECONDS)

    async def _open_once(self) -> None:
        settings = self._settings
        closed = anyio.Event()
        async with (
            connections.store(settings) as store,
            connections.transport(settings, name=self._name, on_closed=lambda _: closed.set()) as transport,
        ):
            self._operator = Operator(store, transport, settings)
            await closed.wait()


@contextmanager
def serving(
    settings: Settings, port: int, pages: Mapping[str, Callable[[], Page]], *, name: str
) -> Generator[int]:
    """Serves pages and the API for the length of the context; yields the port.

    :raises InvalidSettings: when the address cannot be used.
    """
    http = settings.http
    listener = _bound(http.host, port)
    guard = Guard(http.token.get_secret_value(), loopback_only=_loopback(http.host))
    desk = Desk(settings, name)
    config = uvicorn.Config(
        application(desk, guard, pages),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        limit_concurrency=CONCURRENT_REQUESTS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=asyncio.run, args=(_serve(server, listener, desk),), name="http", daemon=True
    )
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS + 2)
        listener.close()


async def _serve(server: uvicorn.Server, listener: socket.socket, desk: Desk) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(desk.keep_open, name="connections of HTTP")
        await server.serve([listener])
        tasks.cancel_scope.cancel()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        problem = f"{host}:{port} cannot be used: {error.strerror}"
        raise InvalidSettings("http.port", problem, "choose another, or 0 for any") from error
    return listener


def _loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
