"""Statistics counted again from the rows of tasks. Pure.

A part of what the fold of a log proves, for runs whose log does not reach back to the first event.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from blackboard.evolve import TOLD
from blackboard.rewards import recount
from blackboard.state import OPEN, DirectionRow, TaskRow, Totals


def recounted(
    totals: Totals, tasks: Sequence[TaskRow], directions: Sequence[DirectionRow]
) -> Iterator[tuple[str, str]]:
    """What differs: the id of a direction, or `totals`, and how."""
    ended = Counter(task.status for task in tasks if task.status not in OPEN)
    if ended != +Counter(totals.tasks):
        yield "totals", f"tasks are {totals.tasks}, counted {dict(ended)}"
    if totals.directions != len(directions):
        yield "totals", f"directions are {totals.directions}, counted {len(directions)}"
    visits: dict[str, list[TaskRow]] = defaultdict(list)
    for task in tasks:
        visits[task.direction].append(task)
    for row in directions:
        for name, said, counted in _differing(row, visits.pop(row.id, [])):
            yield row.id, f"{name} is {said}, counted {counted}"
    for direction, lost in visits.items():
        yield direction, f"is missing, and {len(lost)} tasks are visits of it"


def _differing(row: DirectionRow, visits: Sequence[TaskRow]) -> Iterator[tuple[str, object, object]]:
    told = [
        (task.visit, task.reward_micro, task.usage.cost_microdollars or 0)
        for task in visits
        if task.status in TOLD
    ]
    again = replace(row, numbered=len(visits), expired=sum(task.status == "cancelled" for task in visits))
    recount(again, sorted(told))
    for one in fields(DirectionRow):
        said, counted = getattr(row, one.name), getattr(again, one.name)
        if said != counted:
            yield one.name, said, counted
