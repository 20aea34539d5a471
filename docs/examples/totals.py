"""Agents that build on what others found: one with each discovery, one at the end."""

from pydantic import BaseModel
from words import Count

from agents.agent import Context, Discovery, Posting, agent
from protocol.artifacts import artifact


@artifact("long")
class Long(BaseModel, frozen=True):
    text: str


@artifact("total")
class Total(BaseModel, frozen=True):
    texts: int
    words: int
    long: int


@agent("pick", consumes=[Count], publishes=[Long])
async def pick(context: Context) -> Discovery:
    """Gets the counts of one discovery, and posts those of five words or more."""
    counts = [(found.id, context.load(found, Count)) for found in context.inputs]
    long = [
        Posting(Long(text=count.text), key=count.text, parents=(identity,), tags=("long",), text=count.text)
        for identity, count in counts
        if count.words >= 5
    ]
    return Discovery(long, reward=len(long) / len(counts))


@agent("total", publishes=[Total])
async def total(context: Context) -> Discovery:
    """Reads the board."""
    counts = [found.payload for found in await context.board.all(Count)]
    long, _ = await context.board.query(type=Long, tag="long", text="blackboard", limit=10)
    words = sum(count.words for count in counts)
    return Discovery([Total(texts=len(counts), words=words, long=len(long))], reward=1.0)
