"""`coordinator frontier`: where a run's visits went, and why."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from blackboard.events import MICRO
from blackboard.state import DirectionRow
from coordinator.commands.shared import plain, stored
from coordinator.commands.wording import choice_lines
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.records import LATEST
from protocol.running import run_async

TOPIC_WIDTH = 70


@click.command("frontier", cls=Verb)
@click.argument("run", default=LATEST)
@click.option("--why", metavar="TASK", help="Why this task's direction was chosen, and what came next.")
@click.option("--tree", is_flag=True, help="Directions below those that led to them.")
@pass_invocation
def command(invocation: Invocation, run: str, why: str | None, tree: bool) -> None:
    """Show a run's directions: visits, those under way, mean reward, and whether they are open."""
    if why is not None:
        run_async(_explain, invocation, run, why)
    else:
        run_async(_list, invocation, run, tree)


async def _list(invocation: Invocation, prefix: str, tree: bool) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        directions = await records.directions(run)
    rows = list(_walk(_children(directions))) if tree else [(row, 0) for row in directions.values()]
    if invocation.json:
        nested = _nested(_children(directions)) if tree else [_as_json(row) for row in directions.values()]
        emit_json(nested)
    elif not rows:
        message(f"run {run} has no directions yet")
    else:
        columns = ("direction", "agent", "visits", "in flight", "mean", "best", "state", "topic")
        emit_table(columns, [_row(row, depth) for row, depth in rows])


Children = Mapping[str | None, Sequence[DirectionRow]]


def _children(directions: Mapping[str, DirectionRow]) -> Children:
    """Directions by the one that led to them; None for the roots."""
    children: dict[str | None, list[DirectionRow]] = {}
    for row in directions.values():
        children.setdefault(row.parent if row.parent in directions else None, []).append(row)
    return children


def _walk(children: Children) -> Iterator[tuple[DirectionRow, int]]:
    """Depth first, without recursion: a line of research may be long."""
    waiting = [(row, 0) for row in reversed(children.get(None, ()))]
    while waiting:
        row, depth = waiting.pop()
        yield row, depth
        waiting += [(child, depth + 1) for child in reversed(children.get(row.id, ()))]


def _nested(children: Children) -> Sequence[Mapping[str, Any]]:
    nodes: dict[str, dict[str, Any]] = {row.id: _as_json(row) for row, _ in _walk(children)}
    for identity, node in nodes.items():
        node["children"] = [nodes[row.id] for row in children.get(identity, ())]
    return [nodes[row.id] for row in children.get(None, ())]


def _as_json(row: DirectionRow) -> dict[str, Any]:
    return {**plain(row), "open": row.open, "mean_reward": _mean(row)}


def _mean(row: DirectionRow) -> float | None:
    return row.reward_sum_micro / MICRO / row.visits if row.visits else None


def _row(row: DirectionRow, depth: int) -> Sequence[object]:
    mean = _mean(row)
    topic = "· " * depth + " ".join(row.topic.split())
    return (
        row.id,
        row.agent,
        row.visits,
        row.in_flight,
        None if mean is None else f"{mean:.2f}",
        f"{row.reward_best_micro / MICRO:.2f}" if row.visits else None,
        "open" if row.open else row.retired or "all visits made",
        topic if len(topic) <= TOPIC_WIDTH else topic[: TOPIC_WIDTH - 1] + "…",
    )


async def _explain(invocation: Invocation, prefix: str, identity: str) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        task = await records.task(run, identity)
        choice = await records.choice(run, task.id)
        directions = await records.directions(run)
    if invocation.json:
        emit_json({"task": task.id, "direction": task.direction, "choice": choice and plain(choice)})
        return
    lines = list(choice_lines(choice, directions))
    row = directions[task.direction]
    click.echo(f"task {task.id}: visit {task.visit} of {' '.join(row.topic.split())!r} by {task.agent}")
    for line in lines:
        click.echo(line.lstrip("\n"))
    if not lines:
        click.echo("it was due without a choice: its agent is not one that explores")
