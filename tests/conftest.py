"""Fixtures for every folder of tests: the event loop and real servers; and the order of all tests."""

import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import pytest

from protocol.errors import ServerMissing
from tests.support.servers import NatsServer, RedisServer, Server

WAITING = Path(__file__).parent / "crash"
"""Its tests wait more than they compute."""
AnyServer = TypeVar("AnyServer", bound=Server)

# Started in the background, tests may find Ctrl-C ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One NATS for the whole session: use names of your own, leave it running."""
    yield from _running(NatsServer, tmp_path_factory.mktemp("nats"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the whole session: use keys of your own, leave it running."""
    yield from _running(RedisServer, tmp_path_factory.mktemp("redis"))


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS of the test's own, to kill, pause and restart."""
    yield from _running(NatsServer, tmp_path / "nats")


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to kill, pause and restart."""
    yield from _running(RedisServer, tmp_path / "redis")


def _running(make: Callable[[Path], AnyServer], folder: Path) -> Iterator[AnyServer]:
    try:
        server = make(folder)
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    server.start()
    yield server
    server.kill()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spreads those that wait evenly over the others, which meanwhile have the processors."""
    groups = defaultdict[bool, list[pytest.Item]](list)
    for item in items:
        groups[WAITING in item.path.parents].append(item)
    spread = ((at / len(group), item) for group in groups.values() for at, item in enumerate(group))
    items[:] = [item for _, item in sorted(spread, key=itemgetter(0))]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what tests have measured: each `record_property("figure", …)`."""
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.getreports(outcome)]
    figures = [
        text
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == "figure" and report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
    for figure in figures:
        terminalreporter.line(str(figure))
