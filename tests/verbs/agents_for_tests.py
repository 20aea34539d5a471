"""Agents that end in every way a run can see."""

from datetime import timedelta

import anyio
from pydantic import BaseModel, ConfigDict

from agents.agent import AgentFailure, Context, Discovery, Posting, agent
from protocol.artifacts import artifact


@artifact("note")
class Note(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str


@agent("note", publishes=[Note])
async def note(context: Context) -> Discovery:
    """One small artifact, and one that is kept by digest."""
    await context.step("read", {"topic": context.topic}, _read)
    return Discovery(
        artifacts=[
            Posting(Note(text=context.topic), key="small", tags=("short",), text="a grüner note"),
            Posting(Note(text="long " * 20_000), key="large", tags=("long",)),
        ],
        reward=0.5,
        exhausted=True,
    )


@agent("whisper", publishes=[Note])
async def whisper(context: Context) -> Discovery:
    """One artifact that only a friend may see."""
    return Discovery([Posting(Note(text="a secret"), visibility=("friend",))], reward=0.5, exhausted=True)


@artifact("gloss")
class Gloss(BaseModel):
    model_config = ConfigDict(frozen=True)
    text: str


@agent("gloss", publishes=[Gloss])
async def gloss(context: Context) -> Discovery:
    """Says of its inputs how long they are."""
    said = sorted(len(context.load(one, Note).text) for one in context.inputs)
    return Discovery([Gloss(text=f"lengths {said}")], reward=0.5, exhausted=True)


async def _read() -> str:
    return "read"


@agent("boom")
async def boom(context: Context) -> Discovery:
    raise RuntimeError(f"boom over {context.topic}")


@agent("refuse")
async def refuse(context: Context) -> Discovery:
    raise AgentFailure("user", "the topic makes no sense")


@agent("consult")
async def consult(context: Context) -> Discovery:
    """Asks a service that wants to be left alone for long, until the file exists that the topic names."""
    async with context.provider("library"):
        if not await anyio.Path(context.topic).exists():
            raise AgentFailure("capacity", "closed for lunch", retry_after=timedelta(hours=1))
    return Discovery(exhausted=True)


@agent("nap")
async def nap(context: Context) -> Discovery:
    """Sleeps until its run is cancelled."""
    await anyio.sleep(600)
    return Discovery(exhausted=True)
