"""`coordinator frontier`: where a run's visits went, and why."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from blackboard.events import MICRO
from blackboard.spec import RunSpec
from blackboard.state import DirectionRow
from coordinator.commands.shared import plain, stored
from coordinator.commands.wording import choice_lines
from coordinator.frontier.explain import RankedDirection, coverage, explain, rank
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.records import LATEST
from protocol.running import run_async

TOPIC_WIDTH = 70
UNVISITED_INDEX = 1e6
"""Policies that visit everything once give what was not visited an index beyond this."""


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
        spec = (await records.run(run)).spec
    ranked = _ranked(spec, directions)
    if invocation.json:
        flat = [{**_as_json(directions[line.direction]), **_standing(line)} for line in ranked]
        emit_json(_nested(_children(directions)) if tree else flat)
    elif not directions:
        message(f"run {run} has no directions yet")
    elif tree:
        columns = ("direction", "agent", "visits", "in flight", "mean", "best", "state", "topic")
        emit_table(columns, [_row(row, depth) for row, depth in _walk(_children(directions))])
    else:
        columns = (
            "place",
            "direction",
            "agent",
            "visits",
            "in flight",
            "mean",
            "index",
            "bonus",
            "state",
            "topic",
        )
        emit_table(columns, [_ranked_row(line, directions[line.direction]) for line in ranked])
        explored = [row for row in directions.values() if _explored(spec, row)]
        message(coverage(explored))


def _explored(spec: RunSpec, row: DirectionRow) -> bool:
    return row.inquiry is None and any(
        agent.name == row.agent and agent.trigger == "explore" for agent in spec.agents
    )


def _ranked(spec: RunSpec, directions: Mapping[str, DirectionRow]) -> Sequence[RankedDirection]:
    """Agent by agent, as its policy ranks them now: the open ones first. Questions are in no frontier."""
    lines: list[RankedDirection] = []
    for agent in spec.agents:
        rows = [row for row in directions.values() if row.agent == agent.name and row.inquiry is None]
        lines += rank(rows, agent.policy, len(rows))
    return lines


def _standing(line: RankedDirection) -> Mapping[str, Any]:
    return {"place": line.place, "index": line.index, "bonus": line.bonus, "closed": line.closed}


def _ranked_row(line: RankedDirection, row: DirectionRow) -> Sequence[object]:
    return (
        line.place,
        row.id,
        row.agent,
        line.visits,
        line.in_flight,
        _shown(line.mean),
        _shown(line.index),
        _shown(line.bonus),
        line.closed or "open",
        _topic(row, 0),
    )


def _shown(value: float | None) -> str | None:
    if value is None:
        return None
    return "first visit" if value >= UNVISITED_INDEX else f"{value:.2f}"


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
    return (
        row.id,
        row.agent,
        row.visits,
        row.in_flight,
        None if mean is None else f"{mean:.2f}",
        f"{row.reward_best_micro / MICRO:.2f}" if row.visits else None,
        "open" if row.open else row.retired or "all visits made",
        _topic(row, depth),
    )


def _topic(row: DirectionRow, depth: int) -> str:
    topic = "· " * depth + " ".join(row.topic.split())
    return topic if len(topic) <= TOPIC_WIDTH else topic[: TOPIC_WIDTH - 1] + "…"


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
    if choice is not None:
        click.echo(explain(choice, {row.id: row.topic for row in directions.values()}))
    for line in lines:
        click.echo(line.lstrip("\n"))
    if not lines:
        click.echo(
            "it was due without a choice: its agent is not one that explores"
            if row.inquiry is None
            else f"it was due without a choice: it is asked by inquiry {row.inquiry}"
        )
