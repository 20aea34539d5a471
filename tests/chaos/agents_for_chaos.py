"""Agents that tell a file, which no server knows, what they begin, pay and finish."""

import json
import os
import random
import time
from collections.abc import Sequence
from secrets import token_hex

import anyio

from agents.agent import AgentFailure, Context, Discovery, agent
from protocol.artifacts import artifact
from protocol.messages import FollowUp, Record


@artifact("ore")
class Ore(Record):
    text: str


class Execution:
    """One time that an agent runs."""

    def __init__(self, context: Context) -> None:
        self.where = {"task": context.task, "execution": token_hex(8)}
        self.chance = random.Random(context.task)
        self._context = context
        note("begin", run=context.run, attempt=context.attempt, worker=str(os.getpid()), **self.where)

    async def step(self, name: str) -> None:
        """Money is spent, or something in the world changes: the line in the file cannot be taken back."""

        async def pay() -> str:
            note("pay", step=name, **self.where)
            return f"{name} of {self.where['execution']}"

        value = await self._context.step(name, self._context.topic, pay)
        note("step", step=name, value=value, **self.where)

    def finish(self, found: Sequence[Ore], **fields: object) -> Discovery:
        payloads = [one.model_dump() for one in found]
        note("finish", attempt=self._context.attempt, outcome="done", payloads=payloads, **self.where)
        return Discovery(list(found), **fields)


def note(op: str, **fields: object) -> None:
    """One line, one write: survives a kill right after it. The clock is the machine's, not the process'."""
    line = json.dumps({"at": time.monotonic(), "op": op, **fields}).encode() + b"\n"
    file = os.open(os.environ["CRASH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


@agent("mine", publishes=[Ore])
async def mine(context: Context) -> Discovery:
    """Mostly quick; some slower than the lease, some with many artifacts, some that wait, some poison."""
    execution = Execution(context)
    await execution.step("first")
    kind = execution.chance.random()
    await anyio.sleep(4.0 if kind < 0.02 else execution.chance.uniform(0, 0.1))
    if 0.02 < kind < 0.06:
        await context.sleep(1)
    await execution.step("second")
    if kind > 0.98:
        raise ValueError("poison")
    if kind > 0.95 and context.attempt == 1:
        raise AgentFailure("transient", "a hiccup")
    count = 100 if 0.5 < kind < 0.51 else 2
    found = [Ore(text=f"{context.task} {n} of {execution.where['execution']}") for n in range(count)]
    follow_ups = (FollowUp(agent="mine", topic=f"{context.topic}.{context.visit}"),) if kind < 0.3 else ()
    return execution.finish(found, reward=round(kind, 3), follow_ups=follow_ups)


@agent("count", consumes=[Ore])
async def count(context: Context) -> Discovery:
    return Execution(context).finish([], reward=1.0)
