"""A question as `run` and `submit` take it: their common options, and the run that follows from them."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import JsonValue

from blackboard.spec import Budget, RunSpec
from coordinator.commands.shared import now_ms
from coordinator.research import DEFAULT_TASKS, research_spec
from coordinator.settings import Settings, wants_embedded
from protocol.errors import InvalidSettings
from protocol.ids import uuid7
from protocol.settings import Loaded

MODEL_KEY = "SWARMBOARD_MODEL_API_KEY"
"""Variable by which workers learn the key; a run names the variable and never the key."""
DEFAULT_BUDGET = f"tasks={DEFAULT_TASKS}"
LIMITS = {
    "tasks": "tasks",
    "calls": "model_calls",
    "tools": "tool_calls",
    "tokens": "tokens",
    "dollars": "cost_microdollars",
}

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Question:
    """What the command line asked."""

    text: str | None
    corpus: tuple[str, ...]
    budget: str | None
    model: str | None

    @staticmethod
    def taken_from(options: Mapping[str, Any]) -> "Question":
        return Question(options["question"], options["corpus"], options["budget"], options["model"])

    @property
    def given(self) -> bool:
        """Whether anything of a question was said."""
        return bool(self.text is not None or self.corpus or self.budget or self.model)


def question_options(function: Function) -> Function:
    """Adds QUESTION, --corpus, --budget and --model."""
    for option in (
        click.option(
            "--model", metavar="NAME", help="Reason with this model through DSPy, as provider/name."
        ),
        click.option(
            "--budget",
            metavar="LIMITS",
            help="Limits, comma-separated: tasks=, calls=, tools=, tokens=, dollars=, seconds=."
            f"  [default: {DEFAULT_BUDGET}]",
        ),
        click.option(
            "--corpus", multiple=True, metavar="PATH", help="A file or folder to read; may be repeated."
        ),
        click.argument("question", required=False),
    ):
        function = option(function)
    return function


def spec_of(loaded: Loaded[Settings], question: Question) -> RunSpec:
    """The run that answers the question.

    :raises InvalidSettings: naming what is missing or wrong.
    """
    if question.text is None or not question.corpus:
        missing = "--corpus PATH" if question.text is not None else "QUESTION"
        raise InvalidSettings(missing, "is missing", "ask something of files or folders of yours")
    settings = loaded.settings
    limits, seconds = parse_budget(question.budget or DEFAULT_BUDGET)
    agents: dict[str, JsonValue] = {}
    if wants_embedded(loaded):
        agents["cache"] = str(settings.data_folder / "indexes")
    if model := question.model or settings.model.name:
        if not all(model.partition("/")):
            option = "--model" if question.model else "model.name"
            raise InvalidSettings(
                option, f"{model!r} names no provider", "write provider/name, such as openai/gpt-5-mini"
            )
        agents |= {
            "model": model,
            "api_base": settings.model.api_base or None,
            "api_key_env": MODEL_KEY if settings.model.api_key.get_secret_value() else None,
        }
    now = now_ms()
    return research_spec(
        fresh_id(now),
        question.text,
        [Path(path) for path in question.corpus],
        budget=limits,
        deadline_ms=None if seconds is None else now + round(seconds * 1000),
        settings=agents,
    )


def fresh_id(now: int) -> str:
    """An id for a new run; ids sort by time."""
    return uuid7(now, secrets.token_bytes(10))


def parse_budget(text: str) -> tuple[Budget, float | None]:
    """Limits, and the seconds until the deadline. A bare number is a limit of tasks.

    :raises InvalidSettings: naming the part that is wrong.
    """
    limits: dict[str, int] = {}
    seconds = None
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = "tasks", part
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 < number < 1e15 or name not in {*LIMITS, "seconds"}:
            raise InvalidSettings(
                "--budget", f"{part!r} is no limit", "write for example tasks=32,dollars=2.50,seconds=600"
            )
        if name == "seconds":
            seconds = number
        else:
            limits[LIMITS[name]] = max(1, round(number * (1_000_000 if name == "dollars" else 1)))
    return Budget.model_validate(limits), seconds
