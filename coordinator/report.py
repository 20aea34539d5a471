"""What only the coordinator knows of a run, added to its report: where the visits went, and why."""

from collections.abc import Iterator, Mapping, Sequence

from blackboard.state import DirectionRow, TaskRow, Totals
from coordinator.frontier.explain import coverage, observed

SHOWN = 20
TOPIC_WIDTH = 80
REWARD = (
    "A visit earns between 0 and 1, by how new and how relevant its passages were, and how many of them "
    "stood in their files."
)


def with_directions(
    markdown: str,
    totals: Totals,
    directions: Mapping[str, DirectionRow],
    tasks: Sequence[TaskRow],
    last: str | None,
) -> str:
    """The report with a section on the directions: visits, mean reward, and why it ended where it did.

    `last` says in words why the last visit went where it went.
    """
    return markdown.rstrip() + "\n\n" + "\n".join(_section(totals, directions, tasks, last)) + "\n"


def _section(
    totals: Totals, directions: Mapping[str, DirectionRow], tasks: Sequence[TaskRow], last: str | None
) -> Iterator[str]:
    explored = [row for row in directions.values() if row.agent == "explore"]
    visited = sorted(
        (row for row in explored if row.visits), key=lambda row: (-(observed(row) or 0.0), row.opened)
    )
    yield "## How the directions were explored\n"
    yield f"{coverage(explored)} Exploring ended because {totals.reason}. {REWARD}\n"
    if visited:
        yield "| direction | visits | mean reward | led to by | then |"
        yield "|---|---:|---:|---|---|"
    for row in visited[:SHOWN]:
        parent = directions.get(row.parent or "")
        led = _cell(parent.topic) if parent and parent.agent == "explore" else "the plan"
        cells = (_cell(row.topic), row.visits, f"{observed(row):.2f}", led, _cell(row.retired or "open"))
        yield f"| {' | '.join(map(str, cells))} |"
    waiting = [row for row in explored if not row.visits and row.open]
    if waiting:
        named = "; ".join(_cell(row.topic) for row in waiting[:SHOWN])
        yield f"\nNot visited ({len(waiting)}): {named}"
    if last is not None:
        yield f"\nWhy the last visit went where it did. {last}"
    failed = [task for task in tasks if task.status in ("failed", "dead", "cancelled")]
    for task in failed[:SHOWN]:
        yield f"\nTask {task.id} of {task.agent} ended {task.status}: {_cell(task.reason)}"


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return line if len(line) <= TOPIC_WIDTH else line[: TOPIC_WIDTH - 1] + "…"
