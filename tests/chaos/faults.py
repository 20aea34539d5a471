"""What is done to real processes, servers and connections; each knows how to undo itself."""

import random
import shutil
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from tests.crash.hive import FAST, Hive
from tests.support.disks import failing_fsync, full_disk, newest
from tests.support.proxy import Proxy
from tests.support.servers import Server

COORDINATORS = ("c1", "c2")
SILENCE_SECONDS = float(FAST["SWARMBOARD_LIVENESS_SILENCE_SECONDS"])
LEASE_SECONDS = float(FAST["SWARMBOARD_LIVENESS_LEASE_SECONDS"])


@dataclass
class Scene:
    """The hive, with a proxy between each process and each server."""

    hive: Hive
    chance: random.Random
    seed: int
    workers: int
    note: Callable[..., None]
    ways: dict[str, dict[str, Proxy]] = field(default_factory=dict)
    held: defaultdict[object, anyio.Lock] = field(default_factory=lambda: defaultdict(anyio.Lock))
    """What is being hurt: faults of one thing come one after the other, others side by side."""

    @property
    def names(self) -> tuple[str, ...]:
        return (*COORDINATORS, *(f"w{number}" for number in range(1, self.workers + 1)))

    async def build(self, stack: AsyncExitStack) -> None:
        for name in self.names:
            servers: list[Server] = [self.hive.nats, *([self.hive.redis] if name in COORDINATORS else [])]
            self.ways[name] = {
                type(server).__name__: await stack.enter_async_context(Proxy.to(server.port))
                for server in servers
            }
            self.start(name)

    def start(self, name: str) -> None:
        ways = self.ways[name]
        nats_url = ways["NatsServer"].url(self.hive.nats.url)
        if name in COORDINATORS:
            self.hive.start_coordinator(
                name, nats_url=nats_url, redis_url=ways["RedisServer"].url(self.hive.redis.url)
            )
        else:
            self.hive.start_worker(name, agents="tests.chaos.agents_for_chaos", nats_url=nats_url)

    async def start_again(self) -> None:
        """As a service manager does with whatever has ended: a process that cannot begin gives up."""
        while True:
            await anyio.sleep(0.5)
            for name in set(self.names) - set(self.hive.running()):
                async with self.held[name]:
                    if name not in self.hive.running():
                        self.start(name)

    def any_worker(self) -> str:
        return f"w{self.chance.randrange(1, self.workers + 1)}"

    def any_coordinator(self) -> str:
        return self.chance.choice(COORDINATORS)

    async def kill(self, name: str) -> None:
        """Kill -9, and a new process in its place."""
        async with self.held[name]:
            self.hive.kill(name)
            await anyio.sleep(self.chance.uniform(0, 0.5))
            self.start(name)

    async def freeze(self, name: str, seconds: float) -> None:
        async with self.held[name]:
            self.hive.signal(name, signal.SIGSTOP)
            await anyio.sleep(seconds)
            self.hive.signal(name, signal.SIGCONT)

    async def kill_server(self, server: Server, between: Callable[[], None] = lambda: None) -> None:
        async with self.held[server]:
            server.kill()
            await anyio.sleep(self.chance.uniform(0, 1))
            between()
            await anyio.to_thread.run_sync(server.start)

    async def freeze_server(self, server: Server) -> None:
        async with self.held[server]:
            server.pause()
            await anyio.sleep(self.chance.uniform(0.5, 3))
            server.resume()

    async def disturb(self, server: str, how: Callable[[Proxy], object], seconds: float) -> None:
        """Does something to one process' connections to a server for a while."""
        proxy = self.ways[
            self.any_coordinator() if server == "RedisServer" else self.chance.choice(self.names)
        ][server]
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
            await anyio.to_thread.run_sync(self.hive.redis.start)
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
            await anyio.to_thread.run_sync(self.hive.redis.start)


FAULTS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    "kill a worker": lambda scene: scene.kill(scene.any_worker()),
    "kill a coordinator": lambda scene: scene.kill(scene.any_coordinator()),
    "freeze a worker for a moment": lambda scene: scene.freeze(
        scene.any_worker(), scene.chance.uniform(0.2, 2)
    ),
    "freeze a worker past its silence": lambda scene: scene.freeze(scene.any_worker(), SILENCE_SECONDS + 2),
    "freeze a coordinator past its lease": lambda scene: scene.freeze(
        scene.any_coordinator(), LEASE_SECONDS + 2
    ),
    "kill the bus": lambda scene: scene.kill_server(scene.hive.nats),
    "kill the store": lambda scene: scene.kill_server(scene.hive.redis),
    "freeze the bus": lambda scene: scene.freeze_server(scene.hive.nats),
    "freeze the store": lambda scene: scene.freeze_server(scene.hive.redis),
    "cut off the bus": lambda scene: scene.disturb("NatsServer", Proxy.cut, 2),
    "cut off the store": lambda scene: scene.disturb("RedisServer", Proxy.cut, 2),
    "swallow requests to the bus": lambda scene: scene.disturb(
        "NatsServer", lambda way: way.swallow("requests"), 3
    ),
    "swallow replies of the store": lambda scene: scene.disturb(
        "RedisServer", lambda way: way.swallow("replies"), 3
    ),
    "delay replies of the store": lambda scene: scene.disturb("RedisServer", lambda way: way.delay(0.3), 2),
    "drop replies of the store": lambda scene: scene.disturb(
        "RedisServer", lambda way: way.drop_replies(2), 0.5
    ),
    "split the bytes of the bus": lambda scene: scene.disturb("NatsServer", Proxy.split, 2),
    "split the bytes of the store": lambda scene: scene.disturb("RedisServer", Proxy.split, 2),
    "put back the bus": Scene.put_back_the_bus,
}
DISKS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    "fill the disk of the store": Scene.fill_the_disk,
    "fail an fsync of the store": Scene.fail_the_fsync,
}
"""Where `may_trace`."""
ROLLBACK: Mapping[str, Callable[[Scene], Awaitable[None]]] = {"cut the store": Scene.cut_the_store}
"""After this, runs go on from a prefix, and what was seen before is judged no more: early, and by itself."""
