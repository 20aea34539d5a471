"""Agents whose every execution and every paid call is written to a file that no server knows."""

import os
import random
from pathlib import Path

import anyio
from pydantic import Field

from agents.agent import Context, Discovery, Posting, agent
from protocol.artifacts import artifact
from protocol.messages import FollowUp, Record

LARGE_BYTES = 100_000


@artifact("nugget")
class Nugget(Record):
    text: str


@artifact("assay")
class Assay(Record):
    checked: int = Field(ge=0)


@artifact("ledger")
class LedgerPage(Record):
    nuggets: int


def note(kind: str, context: Context, detail: str = "") -> None:
    """One line, one write: survives a kill right after it."""
    line = f"{kind} {context.task} {context.attempt} {detail}\n".encode()
    file = os.open(Path(os.environ["CRASH_LOG"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


def _seconds(context: Context) -> float:
    longest = float(str(context.settings.get("longest_seconds", 0.2)))
    return random.Random(context.task).uniform(0, longest)


@agent("dig", publishes=[Nugget])
async def dig(context: Context) -> Discovery:
    """Two paid calls, two nuggets (every tenth a large one), and follow-ups for a while."""
    note("run", context)
    for name in ("first", "second"):

        async def call(name: str = name) -> str:
            note("paid", context, name)
            return name

        await context.step(f"dig.{name}", context.topic, call)
        await anyio.sleep(_seconds(context) / 2)
    chance = random.Random(context.task)
    large = chance.random() < 0.1
    nuggets = [
        Posting(Nugget(text=f"{context.topic} {n}" + "x" * LARGE_BYTES * large), key=str(n)) for n in range(2)
    ]
    depth = context.topic.count("/")
    follow_ups = [FollowUp(agent="dig", topic=f"{context.topic}/{n}") for n in range(2) if depth < 4]
    note("done", context)
    return Discovery(nuggets, reward=chance.random(), follow_ups=follow_ups)


@agent("assay", consumes=[Nugget], publishes=[Assay])
async def assay(context: Context) -> Discovery:
    note("run", context)
    await anyio.sleep(_seconds(context) / 4)
    return Discovery([Assay(checked=len(context.inputs))], reward=1.0)


@agent("tally", consumes=[Nugget], publishes=[LedgerPage])
async def tally(context: Context) -> Discovery:
    note("run", context)
    nuggets = await context.board.all(Nugget)
    return Discovery([LedgerPage(nuggets=len(nuggets))], reward=1.0)
