"""An agent that asks its model one thing."""

import dspy
from pydantic import BaseModel

from agents.dspy_agent import dspy_agent
from protocol.artifacts import artifact


@artifact("told")
class Told(BaseModel, frozen=True):
    answer: str


asking = dspy_agent("asking", dspy.Predict("topic -> answer"), publishes=Told)
pondering = dspy_agent("pondering", dspy.Predict("topic -> answer"), publishes=Told)
