"""What a run may do otherwise than the run whose history it shares, and the spec that says so. Pure."""

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from blackboard.spec import AgentSpec, Change, RunSpec
from blackboard.state import DirectionRow
from coordinator.history import Source
from protocol.errors import InvalidMessage
from protocol.ids import BUILD_PATTERN
from protocol.messages import TOPIC_LIMIT, Id, Record

INSTRUCTIONS = "instructions"
"""The setting of a run that holds prompts, by agent, or by agent, a dot and the predictor's name."""
PROMPT_LENGTH = 16_000

Build = Annotated[str, StringConstraints(pattern=f"^{BUILD_PATTERN.pattern}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=PROMPT_LENGTH)]


class Replacement(Record):
    """What a task gets in the place of an input: another artifact of the run, or content of the same type."""

    artifact: Id | None = None
    payload: JsonValue = None


class Overrides(Record):
    """What is changed; None is as it was."""

    goal: Text | None = None
    topic: Annotated[str, StringConstraints(min_length=1, max_length=TOPIC_LIMIT)] | None = None
    """Of the task where the runs part."""
    inputs: dict[Id, Replacement] = Field(default_factory=dict[Id, Replacement], max_length=64)
    """Of that task, by the artifact that is replaced."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    prompts: dict[str, Text] = Field(default_factory=dict[str, Text], max_length=64)
    """Instructions of DSPy modules, by agent, or by agent, a dot and the predictor's name."""
    builds: dict[str, Build] = Field(default_factory=dict[str, Build], max_length=64)
    """By agent, the build of it that is to run."""


class PartRequest(Overrides):
    """A request to make a run of another."""

    id: Id | None = None
    """Of the new run; the same request under the same id is the same run."""


def changes(source: Source, task: str | None, overrides: Overrides) -> tuple[Change, ...]:
    """What the overrides change of a run, inputs apart (`coordinator.replacing`).

    :raises InvalidMessage: for one that changes nothing, or that nobody in the run would read.
    """
    found: list[Change] = []
    spec = source.spec
    if overrides.goal is not None:
        found.append(Change(what="goal", was=spec.goal, now=overrides.goal))
    if overrides.topic is not None:
        was = beginning(source, task, "topic").topic
        found.append(Change(what="topic", of=task or "", was=was, now=overrides.topic))
    if overrides.model is not None:
        if not any(row.usage.model_calls for row in source.tasks.values()):
            problem = f"no task of run {spec.run} has called a model, so another one would change nothing"
            raise InvalidMessage("model", problem, "leave it out")
        found.append(Change(what="model", was=spec.settings.get("model"), now=overrides.model))
    for name, text in overrides.prompts.items():
        _agent(spec, f"prompts.{name}", name.partition(".")[0])
        found.append(Change(what="prompt", of=name, was=_prompts(spec).get(name), now=text))
    for name, build in overrides.builds.items():
        was = _agent(spec, f"builds.{name}", name).build
        found.append(Change(what="build", of=name, was=was or None, now=build))
    for change in found:
        if change.was == change.now:
            field = f"{change.what}s.{change.of}" if change.what in ("prompt", "build") else change.what
            raise InvalidMessage(
                field, f"is what run {spec.run} has already", "give another, or leave it out"
            )
    return tuple(found)


def beginning(source: Source, task: str | None, field: str) -> DirectionRow:
    """The direction of the task where runs part, which may begin with another topic or other inputs.

    :raises InvalidMessage: without a task, and where the direction has visits that keep what it began with.
    """
    if task is None:
        raise InvalidMessage(field, "belongs to the task where the runs part", "name the task")
    row = source.tasks[task]
    if row.visit > 1:
        raise InvalidMessage(
            field,
            f"task {task} is visit {row.visit} of its direction, whose earlier visits keep what they had",
            "name the task of the first visit",
        )
    return next(one for one in source.directions if one.id == row.direction)


def _agent(spec: RunSpec, field: str, name: str) -> AgentSpec:
    for one in spec.agents:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in spec.agents)
    raise InvalidMessage(field, f"run {spec.run} has no agent {name!r}", f"name one of {names}")


def _prompts(spec: RunSpec) -> dict[str, JsonValue]:
    known = spec.settings.get(INSTRUCTIONS)
    return known if isinstance(known, dict) else {}


def changed(spec: RunSpec, made: tuple[Change, ...]) -> RunSpec:
    """A specification with goal, model, prompts and builds as the changes say."""
    settings = dict(spec.settings)
    prompts = {one.of: one.now for one in made if one.what == "prompt"}
    if prompts:
        settings[INSTRUCTIONS] = {**_prompts(spec), **prompts}
    goal = spec.goal
    for one in made:
        if one.what == "model":
            settings["model"] = one.now
        elif one.what == "goal":
            goal = str(one.now)
    builds = {one.of: {"build": one.now} for one in made if one.what == "build"}
    agents = tuple(one.model_copy(update=builds.get(one.name, {})) for one in spec.agents)
    return spec.model_copy(update={"goal": goal, "settings": settings, "agents": agents})
