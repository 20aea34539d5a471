"""The parts of the research that a language model can play, and how to get a model to play them.

Imports no model library: that is loaded when a run's settings name a model.
"""

import importlib
from collections.abc import Sequence
from typing import Annotated, Protocol, cast

import anyio.from_thread
from pydantic import Field

from agents.agent import Context
from agents.model_settings import ModelSettings, prepare_environment
from protocol.messages import Record, Unit


class Judgement(Record):
    """A model's word on one passage, numbered from 1. Only a `quote` that stands in it is used."""

    passage: int
    relevance: Unit
    quote: str
    why: str = ""


class Reading(Record):
    """What a model made of some passages: those that bear on the question, and where to look next."""

    judgements: tuple[Judgement, ...] = ()
    follow_ups: tuple[str, ...] = ()


class Sentence(Record):
    """A sentence of an answer with the numbers (from 1) of the findings that bear it."""

    text: str
    citations: Annotated[tuple[int, ...], Field(max_length=50)] = ()


class Roles(Protocol):
    """Planning, reading and writing.

    Each method may raise AgentFailure, by who must act on the model's error.
    """

    async def plan(self, question: str, outline: Sequence[str]) -> tuple[str, ...]:
        """First directions. `outline` shows headings of the corpus that fit the question."""
        ...

    async def read(self, question: str, topic: str, passages: Sequence[str]) -> Reading: ...

    async def write(self, question: str, findings: Sequence[str]) -> tuple[Sentence, ...]: ...


class _Factory(Protocol):
    def __call__(self, context: Context, model: ModelSettings) -> Roles: ...


def model_roles(context: Context) -> Roles | None:
    """The roles played by the run's model; None when it has none. To be called in a worker thread.

    :raises AgentFailure: (user) when the model's settings are wrong.
    """
    model = ModelSettings.of(context.settings)
    if model is None:
        return None
    prepare_environment()
    module = importlib.import_module("agents.research.dspy_roles")
    factory = cast("_Factory", module.ModelRoles)
    return anyio.from_thread.run_sync(factory, context, model)
