"""An agent that posts one small artifact and does nothing else, for measuring what the board costs."""

from pydantic import BaseModel

from agents.agent import Context, Discovery, Posting, agent
from protocol.artifacts import artifact

TYPE = "note"
WORDS = 97
"""Size of the vocabulary: the index of a word grows with the board."""


@artifact(TYPE)
class Note(BaseModel, frozen=True):
    text: str


def text_of(visit: int) -> str:
    """Eight words, other ones for every visit."""
    return " ".join(f"word{(visit * 8 + at) * 31 % WORDS}" for at in range(8))


@agent("poster", publishes=[Note])
async def poster(context: Context) -> Discovery:
    text = text_of(context.visit)
    return Discovery(artifacts=[Posting(Note(text=text), text=text)], reward=0.5)
