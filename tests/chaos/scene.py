"""The hive under chaos: what may be done to a process, a server or a connection; each undoes itself."""

import random
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import anyio
import anyio.to_thread

from tests.crash.hive import Hive
from tests.support.clocks import WallClock
from tests.support.disks import failing_fsync, full_disk, newest
from tests.support.proxy import Proxy
from tests.support.servers import Server

COORDINATORS = ("c1", "c2")
STORE_CLOCK = "store.clock"
WRONG_SECONDS = (1, 6 * 3600)
"""By how much a clock is wrong, either way."""
DRAIN_SECONDS = 10.0


async def begin(server: Server) -> None:
    """A server lives as long as the thread that starts it: not one of those that end when they are idle."""
    server.spawn()
    await anyio.to_thread.run_sync(server.wait_ready)


@dataclass
class Scene:
    """The hive, with a proxy between each process and each server."""

    hive: Hive
    chance: random.Random
    seed: int
    workers: int
    note: Callable[..., None]
    other: Path | None = None
    """Code of another version."""
    ways: dict[str, dict[str, Proxy]] = field(default_factory=dict)
    held: defaultdict[object, anyio.Lock] = field(default_factory=lambda: defaultdict(anyio.Lock))
    """What is being hurt: faults of one thing come one after the other, others side by side."""
    of_other_version: set[str] = field(default_factory=set)
    ahead_seconds: float = 0.0
    """The furthest that a coordinator's clock was ahead."""
    _next: dict[Sequence[str], Iterator[str]] = field(default_factory=dict)

    @property
    def worker_names(self) -> tuple[str, ...]:
        return tuple(f"w{number}" for number in range(1, self.workers + 1))

    @property
    def names(self) -> tuple[str, ...]:
        return (*COORDINATORS, *self.worker_names)

    async def build(self, stack: AsyncExitStack) -> None:
        for name in self.names:
            servers: list[Server] = [self.hive.nats, *([self.hive.redis] if name in COORDINATORS else [])]
            self.ways[name] = {
                type(server).__name__: await stack.enter_async_context(Proxy.to(server.port))
                for server in servers
            }
            self.start(name)

    def clock(self, name: str) -> WallClock:
        return WallClock(self.hive.folder / f"{name}.clock")

    def start(self, name: str) -> None:
        ways, environ = self.ways[name], self.clock(name).environ
        nats_url = ways["NatsServer"].url(self.hive.nats.url)
        code = self.other if name in self.of_other_version else None
        if name in COORDINATORS:
            redis_url = ways["RedisServer"].url(self.hive.redis.url)
            self.hive.start_coordinator(
                name, nats_url=nats_url, redis_url=redis_url, code=code, environ=environ
            )
        else:
            agents = "tests.chaos.agents_for_chaos"
            self.hive.start_worker(name, agents=agents, nats_url=nats_url, code=code, environ=environ)

    async def start_again(self) -> None:
        """As a service manager does with whatever has ended: a process that cannot begin gives up.

        Servers should not end by themselves: what one said last is shown.
        """
        while True:
            await anyio.sleep(0.5)
            for name in set(self.names) - set(self.hive.running()):
                async with self.held[name]:
                    if name not in self.hive.running():
                        self.start(name)
            for server in [one for one in (self.hive.nats, self.hive.redis) if not one.running]:
                async with self.held[server]:
                    if not server.running:
                        end = f"{server.program.name} ended by itself:\n{server.log_tail(10)}"
                        print(end, file=sys.stderr, flush=True)
                        await begin(server)

    def any_of(self, names: Sequence[str]) -> str:
        """One that nothing is done to, if there is one."""
        return self.chance.choice([name for name in names if not self.held[name].locked()] or names)

    def any_worker(self) -> str:
        return self.any_of(self.worker_names)

    def any_coordinator(self) -> str:
        return self.any_of(COORDINATORS)

    async def kill(self, name: str) -> None:
        """Kill -9, and a new process in its place."""
        async with self.held[name]:
            self.hive.kill(name)
            await anyio.sleep(self.chance.uniform(0, 0.5))
            self.start(name)

    async def replace(self, names: Sequence[str]) -> None:
        """The next of them drains, and goes on with the other version: forward through all, then back."""
        name = next(self._next.setdefault(names, cycle(names)))
        async with self.held[name]:
            self.hive.signal(name, signal.SIGTERM)
            with anyio.move_on_after(DRAIN_SECONDS):
                while name in self.hive.running():
                    await anyio.sleep(0.1)
            self.hive.kill(name)
            self.of_other_version ^= {name}
            self.start(name)

    async def end_upgrade(self) -> None:
        """Whatever the other version left undone, this one must bring to its end."""
        for name in sorted(self.of_other_version):
            self.of_other_version.discard(name)
            await self.kill(name)

    async def freeze(self, name: str, seconds: float) -> None:
        async with self.held[name]:
            self.hive.signal(name, signal.SIGSTOP)
            await anyio.sleep(seconds)
            self.hive.signal(name, signal.SIGCONT)

    async def set_clock(self, name: str) -> None:
        """It jumps by up to hours, and after some seconds, in which all else may happen, back."""
        clock, (least, most) = self.clock(name), WRONG_SECONDS
        ahead = self.chance.choice((-1, 1)) * least * (most / least) ** self.chance.random()
        async with self.held[f"{name}'s clock"]:
            if name in COORDINATORS:
                self.ahead_seconds = max(self.ahead_seconds, ahead)
            clock.set(ahead)
            await anyio.sleep(self.chance.uniform(1, 5))
            clock.set(0)

    def let_hours_pass(self) -> None:
        """What waits for a moment by a clock that was ahead has reached it."""
        for name in COORDINATORS:
            self.clock(name).set(self.ahead_seconds)

    async def kill_server(self, server: Server, between: Callable[[], None] = lambda: None) -> None:
        async with self.held[server]:
            server.kill()
            await anyio.sleep(self.chance.uniform(0, 1))
            between()
            await begin(server)

    async def freeze_server(self, server: Server) -> None:
        async with self.held[server]:
            if server.running:
                server.pause()
                await anyio.sleep(self.chance.uniform(0.5, 3))
                server.resume()

    async def disturb(self, server: str, how: Callable[[Proxy], object], seconds: float) -> None:
        """Does something to one process' connections to a server for a while."""
        proxy = self.ways[self.any_coordinator() if server == "RedisServer" else self.any_of(self.names)][
            server
        ]
        async with self.held[proxy]:
            done = how(proxy)
            if isinstance(done, Awaitable):
                await done
            await anyio.sleep(seconds)
            proxy.mend()

    async def put_back_the_bus(self) -> None:
        """NATS comes back with what an earlier copy of its folder held."""
        data = self.hive.nats.folder / "data"
        copy = self.hive.nats.folder / "copy"

        def put_back() -> None:
            if copy.exists():
                shutil.rmtree(data)
                shutil.copytree(copy, data)
                shutil.rmtree(copy)
            elif data.exists():
                shutil.copytree(data, copy)

        await self.kill_server(self.hive.nats, put_back)
        if copy.exists():
            await anyio.sleep(1.5)
            await self.kill_server(self.hive.nats, put_back)

    async def cut_the_store(self) -> None:
        """The append-only file ends in the middle of its last record.

        What clients heard before it died they have noted by then: they get a second.
        """
        await anyio.sleep(self.chance.uniform(1, 2))

        def cut() -> None:
            last = newest(self.hive.redis)
            size = last.stat().st_size
            with last.open("r+b") as file:
                file.truncate(max(0, size - self.chance.randrange(1, 40)))
            self.note("fault", kind="store cut")

        async with self.held[self.hive.redis]:
            self.hive.redis.kill()
            await anyio.sleep(1)
            cut()
            await begin(self.hive.redis)
            await anyio.sleep(1)  # in which Redis writes its file anew

    async def fill_the_disk(self) -> None:
        """The store can write nothing more, and goes on by itself when it can."""
        async with self.held[self.hive.redis]:
            with full_disk(self.hive.redis):
                await anyio.sleep(self.chance.uniform(1, 3))
            await anyio.sleep(2)  # in which Redis writes what it still holds

    async def fail_the_fsync(self) -> None:
        """Redis takes nothing more after that until it is started again."""
        async with self.held[self.hive.redis]:
            with failing_fsync(self.hive.redis):
                await anyio.sleep(self.chance.uniform(1, 3))
            self.hive.redis.kill()
            await begin(self.hive.redis)
