"""What several verbs say: a choice of the frontier, and how a task failed."""

from collections.abc import Iterator, Mapping

from blackboard.events import Choice, Term
from blackboard.state import DirectionRow, TaskRow
from coordinator.frontier.explain import explain


def in_words(choice: Choice | None, directions: Mapping[str, DirectionRow]) -> str | None:
    """Why a direction was chosen, for people; None for a task that needed no choice."""
    topics = {row.id: " ".join(row.topic.split()) for row in directions.values()}
    return None if choice is None else explain(choice, topics)


def choice_lines(choice: Choice | None, directions: Mapping[str, DirectionRow]) -> Iterator[str]:
    """Why a direction was chosen over the others; nothing for a task that needed no choice."""
    if choice is None:
        return
    yield (
        f"\nchosen by {choice.policy} among {choice.open_directions:,} open directions, "
        f"after {choice.started:,} visits:"
    )
    yield f"  chosen     {_term(choice.chosen, directions)}"
    for rank, term in enumerate(choice.runners_up, start=2):
        yield f"  rank {rank:<5} {_term(term, directions)}"


def _term(term: Term, directions: Mapping[str, DirectionRow]) -> str:
    row = directions.get(term.direction)
    topic = " ".join(row.topic.split()) if row else term.direction
    if not term.visits and not term.in_flight:
        return f"never visited (expected {term.mean:.3f}): {topic}"
    return (
        f"index {term.index:.3f} (mean {term.mean:.3f}, bonus {term.bonus:.3f}, {term.visits} visits, "
        f"{term.in_flight} in flight): {topic}"
    )


def failure_lines(task: TaskRow) -> Iterator[str]:
    """Kind, message and traceback; nothing for a task that left none."""
    if task.failure is not None:
        yield f"\nfailure ({task.failure.kind}): {task.failure.message}"
        if task.failure.traceback:
            yield task.failure.traceback.rstrip()
