"""A DSPy program with tools as an agent; it knows nothing of the journal that its calls are in."""

import dspy
from pydantic import BaseModel

from agents.dspy_agent import dspy_agent
from agents.effects import idempotency_key, tool
from protocol.artifacts import artifact


@artifact("reply")
class Reply(BaseModel, frozen=True):
    answer: str


@tool("pure")
def stock(article: str) -> int:
    """How many pieces there are."""
    return {"kettle": 3}.get(article, 0)


@tool("keyed")
def order(article: str, pieces: int) -> str:
    """Orders pieces of an article."""
    return f"ordered {pieces} of {article} as {idempotency_key()}"


asking = dspy_agent("asking", dspy.ReAct("topic -> answer", tools=[stock, order]), publishes=Reply)
