"""Counts the words of a text; the halves of a text are directions of their own."""

from pydantic import BaseModel

from agents.agent import Context, Discovery, agent
from protocol.artifacts import artifact
from protocol.messages import FollowUp


@artifact("count")
class Count(BaseModel, frozen=True):
    text: str
    words: int


@agent("count", publishes=[Count])
async def count(context: Context) -> Discovery:
    words = context.topic.split()
    halves = words[: len(words) // 2], words[len(words) // 2 :]
    return Discovery(
        artifacts=[Count(text=context.topic, words=len(words))],
        reward=len(words) / (len(words) + 10),
        follow_ups=[FollowUp(agent="count", topic=" ".join(half)) for half in halves if half],
    )
