"""The least that a durable task cycle costs with nats-py and redis-py; imports nothing of ours.

    floor.py coordinator NATS_URL REDIS_URL IN_FLIGHT TASKS   says "ready", waits for a line, says its figures
    floor.py worker      NATS_URL REDIS_URL SLOTS

publish -> pull -> fenced append -> publish discovery -> consume. The worker appends, a script call per task;
what waits goes together, in one pipeline and one wait for confirmations. `floor_with_claim.py` adds what
a fenced lease costs, `floor_grouped.py` takes away what grouping can.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, StreamConfig
from redis.asyncio import Redis

PADDING = "x" * 300
KEYS = ["log", "rows"]
APPEND = """-- ARGV fence, task, row: the same task again changes nothing
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return redis.error_reply('STALE') end
local new = redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3])
if new == 1 then redis.call('XADD', KEYS[1], '*', 'e', ARGV[3]) end"""


def encode(task: str, **more: object) -> bytes:
    return json.dumps({"task": task, "token": "token", "pad": PADDING, **more}).encode()


def decode(messages: Sequence[Msg]) -> list[str]:
    return [json.loads(message.data)["task"] for message in messages]


async def take(inbox: asyncio.Queue[Msg]) -> list[Msg]:
    """Everything that waits, at least one."""
    return [await inbox.get(), *(inbox.get_nowait() for _ in range(inbox.qsize()))]


class Bus:
    def __init__(self, client: Client) -> None:
        self.client, self.js = client, client.jetstream(publish_async_max_pending=10_000)

    async def publish(self, subject: str, tasks: Sequence[str], **body: float) -> Awaitable[object]:
        """One message per task; what it returns ends when the bus has confirmed all of them."""
        send = partial(self.js.publish_async, subject)
        sent = [await send(encode(task, **body), headers={"Nats-Msg-Id": task}) for task in tasks]
        return asyncio.gather(*sent)

    async def pull(self, stream: str, inbox: asyncio.Queue[Msg]) -> Callable[[int], Awaitable[None]]:
        """Delivers into `inbox`; returns the function that asks for so many more."""
        subject, reply = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.d", self.client.new_inbox()
        await self.client.subscribe(reply, cb=inbox.put)
        return lambda count: self.client.publish(subject, b'{"batch":%d}' % count, reply)


class Coordinator:
    """Keeps `in_flight` tasks out until `tasks` have come back."""

    def __init__(self, bus: Bus, store: Redis, in_flight: int, tasks: int) -> None:
        self.bus, self.store, self.in_flight, self.tasks = bus, store, in_flight, tasks
        self.inbox: asyncio.Queue[Msg] = asyncio.Queue()
        self.dispatched, self.started, self.latencies, self.publishes = 0, {}, [], []

    async def prepare(self) -> None:
        for stream, retention in (("TASKS", "workqueue"), ("DISCOVERIES", "limits")):
            await self.bus.js.add_stream(StreamConfig(stream, subjects=[f"{stream}.>"], retention=retention))
            await self.bus.js.add_consumer(stream, ConsumerConfig("d", ack_wait=30, max_ack_pending=-1))
        self.more = await self.bus.pull("DISCOVERIES", self.inbox)
        await self.more(2 * self.in_flight)
        await self.store.hset("rows", mapping={"fence": "token", "head": 0})

    async def cycle(self, discoveries: Sequence[Msg]) -> None:
        await self.finish(discoveries, self.next_tasks(len(discoveries)))

    def next_tasks(self, settled: int) -> list[str]:
        room = min(self.in_flight - len(self.started) + settled, self.tasks - self.dispatched)
        fresh = [f"task-{self.dispatched + ordinal:024d}" for ordinal in range(room)]
        self.dispatched += room
        self.started.update(dict.fromkeys(fresh, time.perf_counter()))
        return fresh

    async def finish(self, discoveries: Sequence[Msg], fresh: Sequence[str]) -> None:
        for message, task in zip(discoveries, decode(discoveries), strict=True):
            await self.bus.client.publish(message.reply, b"+ACK")
            self.latencies.append(time.perf_counter() - self.started.pop(task))
        if discoveries:
            await self.more(len(discoveries))
        if fresh:
            self.publishes.append(await self.bus.publish("TASKS.a", fresh))

    async def run(self) -> dict[str, float]:
        begun = time.perf_counter()
        await self.cycle([])
        while len(self.latencies) < self.tasks:
            await self.cycle(await take(self.inbox))
        await asyncio.gather(*self.publishes)
        seconds = time.perf_counter() - begun
        assert await self.store.hlen("rows") == self.tasks + 2, "not every task was appended"
        p50, p99 = (1000 * sorted(self.latencies)[int(self.tasks * part)] for part in (0.5, 0.99))
        return {"tasks_per_s": self.tasks / seconds, "p50_ms": p50, "p99_ms": p99}


class Worker:
    def __init__(self, bus: Bus, store: Redis) -> None:
        self.bus, self.store, self.append = bus, store, store.register_script(APPEND)

    async def process(self, tasks: list[str]) -> None:
        pipeline = self.store.pipeline(transaction=False)
        for task in tasks:
            await self.append(KEYS, ["token", task, encode(task, state="done")], pipeline)
        await pipeline.execute()

    async def run(self, slots: int) -> None:
        inbox: asyncio.Queue[Msg] = asyncio.Queue()
        await (more := await self.bus.pull("TASKS", inbox))(slots)
        while messages := await take(inbox):
            await self.process(tasks := decode(messages))
            await (await self.bus.publish("DISCOVERIES.w", tasks, reward=0.5))
            for message in messages:
                await self.bus.client.publish(message.reply, b"+ACK")
            await more(len(messages))


async def main(bus: type[Bus], coordinator: type[Coordinator], worker: type[Worker], *arguments: str) -> None:
    role, nats_url, redis_url, in_flight, *tasks = arguments
    servers = bus(await nats.connect(nats_url, connect_timeout=10)), Redis.from_url(redis_url)
    if role == "worker":
        await worker(*servers).run(int(in_flight))
    leader = coordinator(*servers, int(in_flight), int(tasks[0]))
    await leader.prepare()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(await leader.run()), flush=True)


if __name__ == "__main__":
    uvloop.run(main(Bus, Coordinator, Worker, *sys.argv[1:]))
