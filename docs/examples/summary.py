"""A DSPy module as an agent."""

import dspy
from pydantic import BaseModel

from agents.dspy_agent import dspy_agent
from protocol.artifacts import artifact


@artifact("summary")
class Summary(BaseModel, frozen=True):
    summary: str


summarize = dspy_agent("summarize", dspy.Predict("topic -> summary"), publishes=Summary)
