"""A lower floor than the library's own publish allows: the coordinator appends settlements in group commits,
and one counter, not one future each, waits for the confirmations of a group. Called like `floor.py`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Sequence

import uvloop
from floor import Bus, Worker, decode, encode, main
from floor_with_claim import GroupCommits
from nats.aio.client import Client
from nats.aio.msg import Msg


class CountingBus(Bus):
    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.waiting: dict[str, tuple[int, asyncio.Future[None]]] = {}
        self.confirmations = ""

    async def publish(self, subject: str, tasks: Sequence[str], **body: object) -> Awaitable[object]:
        if not self.confirmations:
            self.confirmations = self.client.new_inbox()
            await self.client.subscribe(f"{self.confirmations}.*", cb=self.confirmed)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reply = f"{self.confirmations}.{tasks[0]}"
        self.waiting[reply] = len(tasks), done
        for task in tasks:
            await self.client.publish(subject, encode(task, **body), reply, {"Nats-Msg-Id": task})
        return done

    async def confirmed(self, message: Msg) -> None:
        assert b'"error"' not in message.data, message.data
        count, done = self.waiting[message.subject]
        self.waiting[message.subject] = count - 1, done
        if count == 1:
            done.set_result(None)
            del self.waiting[message.subject]


class GroupingCoordinator(GroupCommits):
    async def cycle(self, discoveries: Sequence[Msg]) -> None:
        await self.commit(done=decode(discoveries))
        await self.finish(discoveries, self.next_tasks(len(discoveries)))


class PassingWorker(Worker):
    async def process(self, tasks: list[str]) -> None:
        """A no-op task; its result is appended by the coordinator."""


if __name__ == "__main__":
    uvloop.run(main(CountingBus, GroupingCoordinator, PassingWorker, *sys.argv[1:]))
