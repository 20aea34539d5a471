"""`coordinator compare`: the outcomes of two runs side by side."""

from collections.abc import Iterator, Sequence

import click

from coordinator.commands.parting import worded
from coordinator.commands.shared import counted, plain, stored
from coordinator.comparison import ComparedTask, Comparison, Diverged, End, Outcome, Side, compare
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.progress import money
from coordinator.records import Records, operator_query
from protocol.messages import NO_USAGE, Divergence
from protocol.running import run_async

SHOWN_CHARACTERS = 400
DIGEST_CHARACTERS = 12


@click.command("compare", cls=Verb)
@click.argument("first")
@click.argument("second")
@pass_invocation
def command(invocation: Invocation, first: str, second: str) -> None:
    """Set two runs side by side: how they ended, task by task, what they found, and what they cost.

    Tasks and artifacts that are the same in both are counted; --json lists them too.
    """
    run_async(_compare, invocation, first, second)


async def _compare(invocation: Invocation, first: str, second: str) -> None:
    async with stored(invocation) as records:
        compared = await compared_runs(records, first, second)
    if invocation.json:
        emit_json(plain(compared))
    else:
        _show(compared)


async def compared_runs(records: Records, first: str, second: str) -> Comparison:
    """Two runs side by side, as an operator names them.

    :raises NotFound: when there is no such run.
    """
    sides = [await _side(records, await records.find(prefix)) for prefix in (first, second)]
    return compare(sides[0], sides[1])


async def _side(records: Records, run: str) -> Side:
    record = await records.run(run)
    tasks = {task.id: task for task in await records.tasks(run)}
    divergences: dict[str, list[Divergence]] = {}
    for task in tasks.values():
        if task.divergences:
            steps = [step for step in await records.steps(run, task) if step.kind == "divergence"]
            values = [await records.value(run, step) for step in steps]
            divergences[task.id] = [Divergence.model_validate(value) for value in values]
    artifacts = [one async for one in records.artifacts(run, operator_query(), now_ms=0)]
    directions = await records.directions(run)
    return Side(record.spec, record.totals, tasks, directions, artifacts[::-1], divergences)


def _show(compared: Comparison) -> None:
    first, second = compared.first, compared.second
    emit_table(
        ("", first.run, second.run),
        [(name, *values) for name, *values in zip(NAMES, _told(first), _told(second), strict=True)],
    )
    for change in compared.changes:
        click.echo(f"changed: {worded(change)}")
    tasks = [one for one in compared.tasks if one.verdict != "same"]
    if tasks:
        click.echo("")
        columns = ("task", "agent", "what", first.run[:12], second.run[:12], "steps", "topic")
        emit_table(columns, [_row(one) for one in tasks])
    artifacts = [one for one in compared.artifacts if one.verdict != "same"]
    if artifacts:
        click.echo("")
        emit_table(
            ("artifact", "type", "agent", "what", first.run[:12], second.run[:12]),
            [
                (one.artifact, one.type, one.agent, one.verdict, _short(one.first), _short(one.second))
                for one in artifacts
            ],
        )
    for one in compared.diverged:
        for line in _divergence(one):
            click.echo(line)
    same = len(compared.tasks) - len(tasks), len(compared.artifacts) - len(artifacts)
    verdict = "the outcomes are the same" if compared.same else "the outcomes differ"
    message(f"{verdict}; {same[0]:,} tasks and {same[1]:,} artifacts are the same in both")


NAMES = (
    "goal",
    "status",
    "tasks",
    "artifacts",
    "reward",
    "model calls",
    "tool calls",
    "tokens",
    "cost",
    "shared cost",
    "steps shared",
    "steps made anew",
    "steps set aside",
    "divergences",
)


def _told(outcome: Outcome) -> Iterator[object]:
    usage = outcome.usage
    yield outcome.goal[:40]
    yield outcome.status + (f": {outcome.reason}" if outcome.reason else "")
    yield counted(outcome.tasks)
    yield f"{outcome.artifacts:,}"
    yield f"{outcome.reward:.2f}"
    yield f"{usage.model_calls:,}"
    yield f"{usage.tool_calls:,}"
    yield f"{usage.tokens_in + usage.tokens_out:,}"
    yield money(usage.cost_microdollars)
    yield "none" if outcome.shared == NO_USAGE else money(outcome.shared.cost_microdollars)
    yield f"{outcome.steps_shared:,}"
    yield f"{outcome.steps_anew:,}"
    yield f"{outcome.steps_set_aside:,}"
    yield f"{outcome.divergences:,}"


def _row(one: ComparedTask) -> Sequence[object]:
    steps = None
    if one.second is not None:
        steps = f"{one.second.steps_shared} shared, {one.second.steps_anew} anew"
    return one.task, one.agent, one.verdict, _ending(one.first), _ending(one.second), steps, one.topic[:40]


def _ending(end: End | None) -> str | None:
    return None if end is None else f"{end.status} {end.reward:.2f}"


def _short(digest: str | None) -> str | None:
    return None if digest is None else digest[:DIGEST_CHARACTERS]


def _divergence(one: Diverged) -> Iterator[str]:
    """Both requests, from the first character in which they differ."""
    at = next(
        (
            number
            for number, pair in enumerate(zip(one.recorded, one.asked, strict=False))
            if pair[0] != pair[1]
        ),
        min(len(one.recorded), len(one.asked)),
    )
    start = max(0, at - SHOWN_CHARACTERS // 4)
    yield f"\ntask {one.task} of run {one.run} asked something else at step {one.step}; it {one.verdict}"
    for name, text in (("recorded", one.recorded), ("asked", one.asked)):
        end = start + SHOWN_CHARACTERS
        shown = f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
        yield f"  {name + ':':<10} {shown}"
