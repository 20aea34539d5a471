"""What a fork shares of any run is a history like any other: it folds to its rows, and can be led."""

from collections import Counter, defaultdict
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from blackboard import events as ev
from blackboard.encoding import decode_event, encode_event
from blackboard.evolve import fold, usage_of
from blackboard.spec import Origin, SharedJournal
from blackboard.state import OPEN, restore
from coordinator.decision import Lead
from coordinator.history import Brought, Point, Source, before, history, whole_prefix
from coordinator.run import Run
from protocol.errors import InvalidMessage
from protocol.messages import NO_USAGE, Step
from tests.decisions.test_any_order import MOVES, Storm
from tests.support.table import Table

DISPATCH, COMMIT = "dispatch", "commit"
FOLLOW_UP_OF_AN_ANSWER = [
    *(DISPATCH, "repeat", "suspend", "verify", DISPATCH, "claim"),
    *(COMMIT, DISPATCH, DISPATCH, COMMIT),
]
"""A task of a direction that was found while answering a question, whose asker waits."""
ENDED = frozenset(("done", "failed", "dead", "cancelled"))


def steps_of(table: Table) -> dict[str, list[Step]]:
    rows = sorted((key, row) for (kind, key), row in table.state.changes.items() if kind == "step")
    found: dict[str, list[Step]] = defaultdict(list)
    for key, row in rows:
        assert isinstance(row, Step)
        found[key.partition(":")[0]].append(row)
    return found


def source_of(table: Table) -> Source:
    state = table.state
    asked = defaultdict(list)
    for row in state.inquiries.values():
        asked[row.task].append(row)
    return Source(state.spec, state.head, state.tasks, list(state.directions.values()), asked)


def brought_by(table: Table) -> Brought:
    artifacts = defaultdict(list)
    for event in table.log:
        if isinstance(event, ev.ArtifactPosted):
            artifacts[event.artifact.producer.task].append(event.artifact)
    choices = {key: row for (kind, key), row in table.state.changes.items() if kind == "choice"}
    return Brought(steps_of(table), choices, artifacts)


def forked(table: Table, point: Point, verb="fork") -> Table:
    """The fork, led by the decisions that lead any run."""
    source, brought = source_of(table), brought_by(table)
    part = before(source, point)
    journals = {}
    if verb == "replay":
        journals = {task: steps for task, steps in brought.steps.items() if task not in part.ended}
    elif point.step:
        journals = {point.task: brought.steps[point.task][: point.step]}
    told = {key: SharedJournal(steps=len(steps), usage=usage_of(steps)) for key, steps in journals.items()}
    origin = Origin(
        verb=verb,
        run="run-1",
        root="run-1",
        head=source.head,
        task=point.task,
        step=point.step,
        journals=told,
    )
    spec = source.spec.model_copy(update={"run": "run-2", "origin": origin})
    fork = Table(spec, now_ms=table.now_ms, seed=1)
    fork.log = history(source, part, brought, journals, spec, table.now_ms)
    fork.run = Run.of(fold(fork.log))
    assert {task: row.status in OPEN for task, row in fork.state.tasks.items()} == {
        **dict.fromkeys(part.ended, False),
        **dict.fromkeys(part.under_way, True),
    }
    return fork


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(MOVES), min_size=10, max_size=120),
    st.booleans(),
    st.booleans(),
    st.sampled_from(("fork", "replay")),
)
@example(seed=77520510, moves=FOLLOW_UP_OF_AN_ANSWER, ends=False, whole=False, verb="fork")
def test_a_fork_of_any_run_at_any_task_folds_to_its_rows_and_comes_to_an_end(seed, moves, ends, whole, verb):
    storm = Storm(seed)
    for move in moves:
        storm.play(move)
    if ends:
        storm.finish()
    table = storm.table
    if not table.state.tasks:
        return
    task = table.state.tasks[storm.random.choice(sorted(table.state.tasks))]
    steps = steps_of(table)[task.id]
    step = None if whole or verb == "replay" else storm.random.randrange(whole_prefix(steps) + 1)
    try:
        fork = forked(table, Point(task.id, step), verb)
    except InvalidMessage as error:
        asker = str(error).rpartition("part at task ")[2]
        assert table.state.questions[asker]
        assert forked(table, Point(asker), verb).state.tasks[asker].status == "queued"
        return
    assert [decode_event(encode_event(event)) for event in fork.log] == [
        replace(event, choice=None) if isinstance(event, ev.TaskDispatched) else event for event in fork.log
    ]
    assert table.state.tasks[task.id] is task
    assert fork.state.tasks[task.id].status == "queued"
    shared = {key: row for key, row in fork.state.tasks.items() if row.status in ENDED}
    for key, row in shared.items():
        mine = table.state.tasks[key]
        assert (row.status, row.reward_micro, row.reason, row.artifacts, row.steps, row.usage) == (
            (mine.status, mine.reward_micro, mine.reason, mine.artifacts, mine.steps, mine.usage)
        )
        assert (row.shared, row.shared_steps) == (row.usage, row.steps)
    assert fork.state.totals.usage == NO_USAGE
    fork.check()
    fork.do(Lead("coordinator-2"))
    state = fork.state
    again = restore(
        state.head,
        state.spec,
        state.totals,
        state.tasks.values(),
        state.directions.values(),
        state.inquiries.values(),
    )
    assert (again.queued.keys(), again.choosable) == (state.queued.keys(), +state.choosable)
    rest = Storm(seed)
    rest.table = fork
    rest.finish()
    fork.check()
    ended = Counter(event.task for event in fork.log if isinstance(event, ev.TaskSettled))
    assert ended == dict.fromkeys(fork.state.tasks, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(MOVES), min_size=10, max_size=80))
def test_a_fork_of_a_fork_at_the_same_point_shares_the_same(seed, moves):
    storm = Storm(seed)
    for move in moves:
        storm.play(move)
    if not storm.table.state.tasks:
        return
    task = storm.random.choice(sorted(storm.table.state.tasks))
    if storm.table.state.directions[storm.table.state.tasks[task].direction].inquiry is not None:
        return
    one = forked(storm.table, Point(task))
    other = forked(one, Point(task))
    assert one.state.directions == other.state.directions
    settled = [{row.id for row in side.state.tasks.values() if row.status in ENDED} for side in (one, other)]
    assert settled[0] == settled[1]
