"""`coordinator frontier`: where a run's visits went, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from blackboard.events import MICRO
from blackboard.spec import RunSpec
from blackboard.state import DirectionRow
from coordinator.commands.shared import plain, stored
from coordinator.commands.wording import choice_lines, in_words
from coordinator.frontier.explain import (
    UNVISITED_INDEX,
    RankedDirection,
    TreeLine,
    coverage,
    observed,
    rank,
    tree,
)
from coordinator.invocation import Invocation, Verb, pass_invocation
from coordinator.output import emit_json, emit_table, message
from coordinator.records import LATEST, Records
from protocol.running import run_async

TOPIC_WIDTH = 70
LEGEND = (
    "index: what speaks for a next visit: the mean, and a bonus for what is not known, less what is under way"
)


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


async def _list(invocation: Invocation, prefix: str, nested: bool) -> None:
    async with stored(invocation) as records:
        run = await records.find(prefix)
        directions = await records.directions(run)
        spec = (await records.run(run)).spec
    ranked = _ranked(spec, directions)
    if invocation.json:
        emit_json(_nested(tree(directions.values())) if nested else _flat(ranked, directions))
    elif not directions:
        message(f"run {run} has no directions yet")
    elif nested:
        columns = ("direction", "agent", "visits", "in flight", "mean", "best", "state", "topic")
        emit_table(columns, [_row(line.row, line.depth) for line in tree(directions.values())])
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
        message(LEGEND)
        message(coverage(explored))


async def described(records: Records, run: str) -> Sequence[Mapping[str, Any]]:
    """The directions of a run as JSON, as their policies rank them now."""
    directions = await records.directions(run)
    return _flat(_ranked((await records.run(run)).spec, directions), directions)


def _flat(
    ranked: Sequence[RankedDirection], directions: Mapping[str, DirectionRow]
) -> Sequence[Mapping[str, Any]]:
    return [{**_as_json(directions[line.direction]), **_standing(line)} for line in ranked]


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


def _nested(lines: Sequence[TreeLine]) -> Sequence[Mapping[str, Any]]:
    """The tree as JSON: every direction with those it led to as `children`."""
    roots: list[dict[str, Any]] = []
    above: list[dict[str, Any]] = []
    for line in lines:
        node: dict[str, Any] = {**_as_json(line.row), "children": []}
        siblings = above[line.depth - 1]["children"] if line.depth else roots
        siblings.append(node)
        above[line.depth :] = [node]
    return roots


def _as_json(row: DirectionRow) -> dict[str, Any]:
    return {**plain(row), "open": row.open, "mean_reward": observed(row)}


def _row(row: DirectionRow, depth: int) -> Sequence[object]:
    mean = observed(row)
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
    why = in_words(choice, directions)
    if invocation.json:
        emit_json(
            {"task": task.id, "direction": task.direction, "why": why, "choice": choice and plain(choice)}
        )
        return
    lines = list(choice_lines(choice, directions))
    row = directions[task.direction]
    click.echo(f"task {task.id}: visit {task.visit} of {' '.join(row.topic.split())!r} by {task.agent}")
    if why is not None:
        click.echo(why)
    for line in lines:
        click.echo(line.lstrip("\n"))
    if not lines:
        click.echo(
            "it was due without a choice: its agent is not one that explores"
            if row.inquiry is None
            else f"it was due without a choice: it is asked by inquiry {row.inquiry}"
        )
