"""`coordinator tasks`: a run's tasks, and how they ended."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import click

from blackboard.events import MICRO
from blackboard.state import DirectionRow, TaskRow, TaskStatus
from coordinator.builds import remedy, why_stranded
from coordinator.builds import stranded as stranded_tasks
from coordinator.commands.acting import operating
from coordinator.commands.shared import ago, lasting, plain, stored
from coordinator.commands.wording import choice_lines, failure_lines, in_words
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.operating import Operator
from coordinator.output import emit_json, emit_table, message
from coordinator.progress import money
from coordinator.records import LATEST, Records
from protocol.messages import Divergence, Step
from protocol.running import run_async

TOPIC_WIDTH = 50
STOPS = {
    "asked": "its worker was asked to, and has not said so yet",
    "confirmed": "its worker says so",
    "uncertain": "its worker did not say so: it may go on",
}
"""Whether a task that was cancelled while it ran has stopped."""


@click.command("tasks", cls=Verb)
@click.argument("run", default=LATEST)
@click.argument("task", required=False)
@click.option("--status", type=click.Choice(get_args(TaskStatus)), help="Only tasks in this state.")
@click.option("--agent", metavar="AGENT", help="Only those of this agent.")
@click.option(
    "--stranded",
    is_flag=True,
    help="Only those whose journal no living worker goes on from: why, and what to do.",
)
@pass_invocation
def command(
    invocation: Invocation, run: str, task: str | None, status: str | None, agent: str | None, stranded: bool
) -> None:
    """List a RUN's tasks, oldest first, or show one TASK with its attempts, journal and failure.

    `coordinator dead` lists dead letters with their reasons.
    """
    if task is not None:
        run_async(_show, invocation, run, task)
    elif stranded:
        run_async(_list_stranded, invocation, run, status, agent)
    else:
        run_async(_list, invocation, run, status, agent)


async def _list(invocation: Invocation, prefix: str, status: str | None, agent: str | None) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        tasks = await records.tasks(run)
        directions = await records.directions(run)
        asked = (await records.run(run)).spec.builds
    shown = [task for task in tasks if status in {None, task.status} and agent in {None, task.agent}]
    if invocation.json:
        emit_json([as_json(task, directions) for task in shown])
    elif shown:
        emit_table(
            ("task", "agent", "status", "attempt", "reward", "worker", "topic"),
            [_row(task, _topic(directions, task)) for task in shown],
        )
    elif tasks:
        message(f"none of the {len(tasks):,} tasks of run {run} is like that")
    else:
        of = "".join(f" with build {build} of agent {agent}" for agent, build in asked.items())
        message(f"run {run} has no tasks yet; is there a worker{of}? coordinator workers")


async def _list_stranded(invocation: Invocation, prefix: str, status: str | None, agent: str | None) -> None:
    async with operating(invocation) as operator:
        run = await operator.records.find(prefix)
        shown = await listed_stranded(operator, run, status, agent)
    if invocation.json:
        emit_json(shown)
    elif shown:
        columns = ("id", "agent", "status", "written_by", "steps", "topic")
        emit_table(columns, [[task[column] for column in columns] for task in shown])
        for task in shown:
            message(f"{task['id']}: {task['stranded']['reason']}")
            message(f"{task['id']}: {task['stranded']['remedy']}")
    else:
        message(f"no task of run {run} is stranded")


async def listed_stranded(
    operator: Operator, run: str, status: str | None, agent: str | None
) -> Sequence[Mapping[str, Any]]:
    """Tasks of a run that no living worker may run, each with the reason and the remedy."""
    offers = await operator.offers()
    asked = (await operator.records.run(run)).spec.builds
    directions = await operator.records.directions(run)
    tasks = await operator.records.tasks(run)
    return [
        {
            **as_json(task, directions),
            "stranded": {"reason": why_stranded(task, offers, asked), "remedy": remedy(task, run, asked)},
        }
        for task in stranded_tasks(tasks, offers, asked)
        if status in {None, task.status} and agent in {None, task.agent}
    ]


async def listed(
    records: Records, run: str, status: str | None, agent: str | None
) -> Sequence[Mapping[str, Any]]:
    """The tasks of a run in a state, or of an agent, as JSON."""
    directions = await records.directions(run)
    tasks = await records.tasks(run)
    shown = [task for task in tasks if status in {None, task.status} and agent in {None, task.agent}]
    return [as_json(task, directions) for task in shown]


async def described(records: Records, run: str, prefix: str) -> Mapping[str, Any]:
    """A task with its journal, and why its direction was chosen, as JSON."""
    task = await records.task(run, prefix)
    choice = await records.choice(run, task.id)
    steps = await records.steps(run, task)
    requests = await records.requests(run, steps)
    journal = [{**plain(step), "request_text": text} for step, text in zip(steps, requests, strict=True)]
    for number, divergence in (await _divergences(records, run, steps)).items():
        journal[number]["value"] = plain(divergence)
    directions = await records.directions(run)
    why = in_words(choice, directions)
    return {
        **as_json(task, directions),
        "why": why,
        "choice": choice and plain(choice),
        "journal": journal,
    }


async def _divergences(records: Records, run: str, steps: Sequence[Step]) -> Mapping[int, Divergence]:
    return {
        number: Divergence.model_validate(await records.value(run, step))
        for number, step in enumerate(steps)
        if step.kind == "divergence"
    }


def as_json(task: TaskRow, directions: Mapping[str, DirectionRow]) -> Mapping[str, Any]:
    """A task with topic and inputs of its direction."""
    return {**plain(task), "topic": _topic(directions, task), "inputs": list(_inputs(directions, task))}


def _topic(directions: Mapping[str, DirectionRow], task: TaskRow) -> str:
    row = directions.get(task.direction)
    return row.topic if row else ""


def _inputs(directions: Mapping[str, DirectionRow], task: TaskRow) -> Sequence[str]:
    row = directions.get(task.direction)
    return row.inputs if row else ()


def _row(task: TaskRow, topic: str) -> Sequence[object]:
    reward = f"{task.reward_micro / MICRO:.2f}" if task.status == "done" else None
    line = " ".join(topic.split())
    shown = line if len(line) <= TOPIC_WIDTH else line[: TOPIC_WIDTH - 1] + "…"
    return task.id, task.agent, task.status, task.attempt, reward, task.worker, shown


async def _show(invocation: Invocation, prefix: str, identity: str) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        if invocation.json:
            emit_json(await described(records, run, identity))
            return
        task = await records.task(run, identity)
        directions = await records.directions(run)
        choice = await records.choice(run, task.id)
        steps = await records.steps(run, task)
        waits = [row for row in await records.inquiries(run) if row.task == task.id and row.open]
        divergences = await _divergences(records, run, steps)
    for name, text in _lines(task, _topic(directions, task), _inputs(directions, task)):
        click.echo(f"{name + ':':<12} {text}")
    for row in waits:
        click.echo(f"waits for:   {row.wait.kind} {row.wait.target}: {row.wait.question or row.id}")
    for line in (*_journal(steps, divergences), *choice_lines(choice, directions), *failure_lines(task)):
        click.echo(line)


def _lines(task: TaskRow, topic: str, inputs: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "task", task.id
    yield "agent", task.agent
    yield "topic", " ".join(topic.split())
    if inputs:
        yield "inputs", ", ".join(inputs)
    yield "direction", f"{task.direction}, visit {task.visit}"
    yield "status", task.status + (f": {task.reason}" if task.reason else "")
    if task.stop:
        yield "stopped", STOPS[task.stop]
    yield "attempts", f"{task.attempt}, of which {task.tries} count towards the limit"
    if task.worker:
        yield "worker", task.worker
    if task.build or task.written_by:
        journal = (
            f", which goes on from what {task.written_by} recorded" if task.written_by != task.build else ""
        )
        yield "build", (task.build or "none told") + (journal if task.steps and task.written_by else "")
    yield "created", f"{ago(task.created_ms)} ago"
    if task.settled_ms:
        began = task.claimed_ms or task.dispatched_ms or task.created_ms
        yield "took", lasting((task.settled_ms - began) / 1000)
    if task.status == "done":
        yield "result", f"reward {task.reward_micro / MICRO:.2f}, {task.artifacts} artifacts"
    usage = task.usage
    tokens = usage.tokens_in + usage.tokens_out
    calls = f"{usage.model_calls} model calls, {usage.tool_calls} tool calls"
    yield "usage", f"{calls}, {tokens:,} tokens, {money(usage.cost_microdollars)}"
    if task.unknown:
        yield "unknown", f"the outcome of {task.unknown} effects: coordinator unknowns"


def _journal(steps: Sequence[Step], divergences: Mapping[int, Divergence]) -> Iterator[str]:
    if steps:
        yield f"\njournal: {len(steps)} steps"
    for number, step in enumerate(steps):
        yield f"{number:>6} {step.kind:<7} {step.path}{'  (condensed)' if step.condensed else ''}"
        if number in divergences:
            yield from _divergence(divergences[number])


def _divergence(divergence: Divergence) -> Iterator[str]:
    """Both requests, and what became of the steps from there on."""
    yield f"       in the place of step {divergence.number}; the task {divergence.verdict}"
    if divergence.set_aside:
        yield f"       set aside: {', '.join(map(str, divergence.set_aside))}"
    yield f"       recorded: {divergence.recorded}"
    yield f"       asked:    {divergence.asked}"
