"""The floor with a lease: the worker claims in batches by request, and the coordinator alone appends, in
group commits, three events per task (dispatch, claim, settlement). Called like `floor.py`.
"""

import json
import sys
from collections.abc import Sequence

import uvloop
from floor import KEYS, Bus, Coordinator, Worker, decode, encode, main
from nats.aio.msg import Msg
from redis.asyncio import Redis

APPEND = """-- ARGV fence, expected head, events as one text, then task, row pairs
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return redis.error_reply('STALE') end
if redis.call('HGET', KEYS[2], 'head') ~= ARGV[2] then return redis.error_reply('HEAD') end
redis.call('XADD', KEYS[1], '*', 'e', ARGV[3])
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
return redis.call('HINCRBY', KEYS[2], 'head', (#ARGV - 3) / 2)"""


class GroupCommits(Coordinator):
    """Appends the events of everything that waits in one call."""

    def __init__(self, bus: Bus, store: Redis, in_flight: int, tasks: int) -> None:
        super().__init__(bus, store, in_flight, tasks)
        self.append, self.head = store.register_script(APPEND), 0

    async def commit(self, **tasks: Sequence[str]) -> None:
        events = [(task, encode(task, state=kind)) for kind in tasks for task in tasks[kind]]
        if events:
            rows = [part for event in events for part in event]
            log = b"\n".join(row for _, row in events)
            self.head = await self.append(KEYS, ["token", self.head, log, *rows])


class ClaimingCoordinator(GroupCommits):
    async def prepare(self) -> None:
        await super().prepare()
        await self.bus.client.subscribe("claim", cb=self.inbox.put)

    async def cycle(self, messages: Sequence[Msg]) -> None:
        claims = [message for message in messages if message.subject == "claim"]
        discoveries = [message for message in messages if message.subject != "claim"]
        claimed = [json.loads(message.data) for message in claims]
        fresh = self.next_tasks(len(discoveries))
        granted = [task for tasks in claimed for task in tasks]
        await self.commit(done=decode(discoveries), running=granted, dispatched=fresh)
        for message, tasks in zip(claims, claimed, strict=True):
            await message.respond(b"\n".join(map(encode, tasks)))
        await self.finish(discoveries, fresh)


class ClaimingWorker(Worker):
    async def process(self, tasks: list[str]) -> None:
        reply = await self.bus.client.request("claim", json.dumps(tasks).encode(), timeout=10)
        granted = [json.loads(grant)["task"] for grant in reply.data.splitlines()]
        assert granted == tasks, "a claim was refused"


if __name__ == "__main__":
    uvloop.run(main(Bus, ClaimingCoordinator, ClaimingWorker, *sys.argv[1:]))
