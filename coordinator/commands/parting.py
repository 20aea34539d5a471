"""What `fork` and `replay` have in common: options, and what became of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from blackboard.spec import Change
from coordinator.commands.acting import operating
from coordinator.commands.asking import fresh_id
from coordinator.commands.shared import now_ms, read_file
from coordinator.forking import Forking, Parted, Verb
from coordinator.history import Point
from coordinator.invocation import Invocation
from coordinator.operating import Operator
from coordinator.output import emit_json, message
from coordinator.overrides import Overrides, PartRequest, Replacement
from coordinator.records import LATEST, Records
from protocol.errors import InvalidMessage, InvalidSettings
from protocol.strict_json import first_problem, parse_object

Function = TypeVar("Function", bound=Callable[..., Any])


def override_options(function: Function) -> Function:
    """What may be changed."""
    for option in (
        click.option(
            "--id", "identity", metavar="RUN", help="Id of the new run; the same again is the same."
        ),
        click.option(
            "--prompt",
            "prompts",
            multiple=True,
            metavar="AGENT[.PREDICTOR]=TEXT",
            help="Other instructions of a DSPy module; {instructions} stands for those that it has.",
        ),
        click.option(
            "--build",
            "builds",
            multiple=True,
            metavar="AGENT=BUILD",
            help="Have only workers run an agent whose build of it is this one, or goes on from it.",
        ),
        click.option("--model", metavar="MODEL", help="Another language model."),
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="ARTIFACT=OTHER",
            help="In the place of an input of that task, another artifact of the RUN; with @FILE,"
            " what a file of JSON has (`@-`: standard input).",
        ),
        click.option("--topic", metavar="TEXT", help="Another topic of the task at which the runs part."),
        click.option("--goal", metavar="TEXT", help="Another goal."),
    ):
        function = option(function)
    return function


def request_of(
    identity: str | None,
    prompts: Sequence[str],
    builds: Sequence[str],
    inputs: Sequence[str],
    model: str | None,
    topic: str | None,
    goal: str | None,
) -> PartRequest:
    """:raises InvalidMessage: naming the override that is wrong."""
    given: dict[str, Any] = {"id": identity, "model": model, "topic": topic, "goal": goal}
    given = {name: value for name, value in given.items() if value is not None}
    given["prompts"] = _by_name("--prompt", prompts, "agent", "text")
    given["builds"] = _by_name("--build", builds, "agent", "build")
    others = _by_name("--input", inputs, "artifact", "other")
    given["inputs"] = {name: _replacement(other) for name, other in others.items()}
    try:
        return PartRequest.model_validate(given)
    except ValidationError as error:
        raise InvalidMessage(*first_problem(error), "give another") from None


def _by_name(option: str, pairs: Sequence[str], name_of: str, what: str) -> dict[str, str]:
    """What `NAME=…` says of each name."""
    told: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            wanted = f"write {name_of.upper()}={what.upper()}"
            raise InvalidSettings(option, f"{pair!r} has no {what}", wanted)
        if name in told:
            raise InvalidSettings(option, f"{name} is given twice", "give it once")
        told[name] = value
    return told


def _replacement(other: str) -> dict[str, Any]:
    if not other.startswith("@"):
        return {"artifact": other}
    return {"payload": parse_object(read_file("--input", other[1:]))}


def point_of(at: str) -> tuple[str, int | None]:
    """The task and the step of `TASK[:STEP]`."""
    task, colon, step = at.partition(":")
    if colon and not step.isdecimal():
        raise InvalidSettings(
            "--at", f"{step!r} is no step", "give its number in `coordinator tasks RUN TASK`"
        )
    return task, int(step) if colon else None


async def part(
    operator: Operator, prefix: str, verb: Verb, at: tuple[str | None, int | None], request: PartRequest
) -> Parted:
    """Makes a run of another, both named as an operator names them."""
    run = await operator.records.find(prefix)
    task = None if at[0] is None else (await operator.records.task(run, at[0])).id
    forking = Forking(operator.store, operator.transport, operator.settings.admission.max_active_runs)
    now = now_ms()
    overrides = Overrides.model_validate(request.model_dump(include=set(Overrides.model_fields)))
    inputs = await _resolved(operator.records, run, overrides.inputs, now)
    overrides = overrides.model_copy(update={"inputs": inputs})
    return await forking.part(
        run, verb, Point(task, at[1]), overrides, request.id or fresh_id(now), now_ms=now
    )


async def _resolved(
    records: Records, run: str, inputs: Mapping[str, Replacement], now: int
) -> dict[str, Replacement]:
    """Whole ids where beginnings of ids were given."""

    async def whole(prefix: str) -> str:
        return (await records.artifact(run, prefix, now_ms=now)).id

    return {
        await whole(prefix): by
        if by.artifact is None
        else by.model_copy(update={"artifact": await whole(by.artifact)})
        for prefix, by in inputs.items()
    }


async def run_verb(
    invocation: Invocation, prefix: str, verb: Verb, at: tuple[str | None, int | None], request: PartRequest
) -> None:
    """Makes the run and says what it shares."""
    async with operating(invocation) as operator:
        parted = await part(operator, prefix, verb, at, request)
    if invocation.json:
        emit_json(as_json(parted))
        return
    origin = parted.spec.origin
    if not parted.created:
        message(f"run {parted.spec.run} was there already")
    source = LATEST if origin is None else origin.run
    message(f"shares {parted.tasks:,} finished tasks and {parted.steps:,} steps of others with run {source}")
    for change in () if origin is None else origin.changes:
        message(worded(change))
    click.echo(parted.spec.run)


def worded(change: Change) -> str:
    """What is changed, in words."""
    whose = f" of {change.of}" if change.of else ""
    return f"{change.what}{whose}: {change.now}" + ("" if change.was is None else f" (was: {change.was})")


def as_json(parted: Parted) -> dict[str, Any]:
    """The new run, and what it shares."""
    origin = parted.spec.origin
    return {
        "run": parted.spec.run,
        "created": parted.created,
        "source": origin and origin.run,
        "task": origin and origin.task,
        "step": origin and origin.step,
        "changes": [change.model_dump(mode="json") for change in origin.changes] if origin else [],
        "shared_tasks": parted.tasks,
        "shared_steps": parted.steps,
    }
