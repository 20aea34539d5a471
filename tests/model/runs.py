"""Runs as numbers: the production decisions on interned states, decided once per state and command.

A state is known by its rows. What no decision reads is left out: reasons in words, who leads and how
often that changed, how many results were refused, the length of the log, and positions in it.
"""

import copy
from collections.abc import Callable, Hashable, Mapping
from dataclasses import astuple, dataclass, replace

from blackboard import events as ev
from blackboard.encoding import decode_direction, decode_task, decode_totals, encode_row
from blackboard.evolve import begin
from blackboard.spec import RunSpec
from blackboard.state import OPEN, DirectionRow, RunState, TaskRow, Totals, restore
from coordinator import decide as decider
from coordinator.decision import Command, Decision, Effect, Env
from coordinator.run import Run

NOW_MS = 1_000_000
OTHER = {"w1": "w2", "w2": "w1"}


class Violation(AssertionError):
    """What must always hold does not."""


@dataclass(frozen=True, slots=True)
class Known:
    """A run as every decision finds it: restored from its rows."""

    run: Run
    ended: bool
    tasks: Mapping[str, TaskRow]


class Runs:
    """All states of one run that were met, by number."""

    def __init__(self, spec: RunSpec) -> None:
        self.known: list[Known] = []
        self.decided = 0
        """Decisions that were taken, not remembered."""
        self._spec = spec
        self._numbers: dict[Hashable, int] = {}
        self._others: dict[int, int] = {}
        self._outcomes: dict[tuple[int, Hashable], tuple[int, tuple[Effect, ...]]] = {}
        self.first = self._intern(begin(ev.RunCreated(at_ms=NOW_MS, spec=spec)))

    def decide(self, number: int, key: Hashable, command: Callable[[], Command]) -> tuple[int, tuple]:
        """The state after a command, and its effects."""
        found = self._outcomes.get((number, key))
        if found is None:
            found = self._outcomes[number, key] = self._decide(number, command())
        return found

    def _decide(self, number: int, command: Command) -> tuple[int, tuple[Effect, ...]]:
        self.decided += 1
        run = self.known[number].run
        decision = decider.decide(run, command, Env(NOW_MS, lambda: "undecided", lambda: 0.0))
        tokens = [_token(event) for event in decision.events if isinstance(event, ev.TaskDispatched)]
        if tokens:
            decision = decider.decide(run, command, Env(NOW_MS, iter(tokens).__next__, lambda: 0.0))
        if all(isinstance(event, ev.ResultRefused) for event in decision.events):
            return number, tuple(decision.effects)
        after = Run.of(_copied(run.state))
        for event in decision.events:
            after.apply(event)
        for task in after.state.tasks.values():
            task.reason = ""
            task.began, task.ended = min(task.began, 1), min(task.ended, 1)
        _check_step(run.state, after.state, decision)
        return self._intern(after.state), tuple(decision.effects)

    def swapped(self, number: int) -> int:
        """The same state with the names of the two workers exchanged."""
        other = self._others.get(number)
        if other is None:
            state = _copied(self.known[number].run.state)
            for task in state.tasks.values():
                task.worker = OTHER[task.worker] if task.worker else task.worker
            other = self._intern(_restored(state))
            self._others[number], self._others[other] = other, number
        return other

    def _intern(self, state: RunState) -> int:
        key = (
            tuple(map(astuple, sorted(state.tasks.values(), key=lambda row: row.id))),
            tuple(map(astuple, sorted(state.directions.values(), key=lambda row: row.opened))),
            repr(_readable(state.totals)),
        )
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.known)
            _check_state(state, self._spec)
            stored = _stored(state)
            self.known.append(Known(Run.of(stored), stored.totals.ended, stored.tasks))
        return number


def _token(event: ev.TaskDispatched) -> str:
    """A token is drawn once in the life of the world: the n-th committed dispatch of a task has its own."""
    return f"{event.task}-{event.attempt}"


def _readable(totals: Totals) -> Totals:
    return replace(totals, leader="", takeovers=0, lost_events=0, refused=0, reason="")


def _copied(state: RunState) -> RunState:
    copied = RunState(
        spec=state.spec,
        totals=copy.deepcopy(state.totals),
        head=state.head,
        tasks={key: copy.copy(row) for key, row in state.tasks.items()},
        directions={key: copy.copy(row) for key, row in state.directions.items()},
    )
    return _restored(copied)


def _restored(state: RunState) -> RunState:
    totals = _readable(state.totals)
    return restore(state.head, state.spec, totals, state.tasks.values(), state.directions.values(), ())


def _stored(state: RunState) -> RunState:
    """The state as whoever leads next reads it, through the bytes of its rows.

    :raises Violation: when that is not the state.
    """
    tasks = [decode_task(encode_row(row)) for row in state.tasks.values()]
    directions = [decode_direction(encode_row(row)) for row in state.directions.values()]
    found = restore(
        state.head, state.spec, decode_totals(encode_row(_readable(state.totals))), tasks, directions, ()
    )
    for index in ("tasks", "directions", "busy", "choosable", "held"):
        mine, read = getattr(state, index), getattr(found, index)
        if {key: value for key, value in mine.items() if value} != {k: v for k, v in read.items() if v}:
            raise Violation(f"the rows do not hold the state's {index}")
    for index in ("queued", "dispatched"):
        if set(getattr(state, index)) != set(getattr(found, index)):
            raise Violation(f"the rows do not hold the state's {index}")
    return found


def _check_step(before: RunState, after: RunState, decision: Decision) -> None:
    """One terminal transition per task; attempts only grow.

    :raises Violation:
    """
    settled = [event.task for event in decision.events if isinstance(event, ev.TaskSettled)]
    if len(settled) != len(set(settled)):
        raise Violation("a task is settled twice in one decision")
    for identity, old in before.tasks.items():
        new = after.tasks[identity]
        if old.status not in OPEN and (old.status, old.reward_micro) != (new.status, new.reward_micro):
            raise Violation(f"a task that was {old.status} is {new.status} now")
        if old.status not in OPEN and identity in settled:
            raise Violation(f"a task that was {old.status} is settled again")
        if new.attempt < old.attempt:
            raise Violation("an attempt's number is taken back")


def _check_state(state: RunState, spec: RunSpec) -> None:
    """Statistics equal a recount of the tasks, and no limit is passed.

    :raises Violation:
    """
    for direction in state.directions.values():
        _check_direction(direction, [t for t in state.tasks.values() if t.direction == direction.id])
    counts: dict[str, int] = {}
    for task in state.tasks.values():
        if task.status not in OPEN:
            counts[task.status] = counts.get(task.status, 0) + 1
        if task.tries > spec.max_attempts:
            raise Violation(f"a task is tried {task.tries} times, with {spec.max_attempts} allowed")
        if task.status in ("dispatched", "running") and not task.token:
            raise Violation(f"a task is {task.status} under no token")
    if {key: count for key, count in state.totals.tasks.items() if count} != counts:
        raise Violation(f"the totals say {state.totals.tasks}, the tasks {counts}")
    explored = sum(state.agents[task.agent].trigger == "explore" for task in state.tasks.values())
    if explored != state.totals.explored:
        raise Violation(f"{explored} visits were made, and {state.totals.explored} counted")
    if spec.budget.tasks is not None and explored > spec.budget.tasks:
        raise Violation(f"{explored} visits were made, with a budget of {spec.budget.tasks}")
    if state.totals.ended and any(task.status in OPEN for task in state.tasks.values()):
        raise Violation("the run has ended with a task open")


def _check_direction(row: DirectionRow, tasks: list[TaskRow]) -> None:
    """:raises Violation:"""
    told = [task for task in tasks if task.status in ("done", "failed", "dead")]
    recount = {
        "numbered": len(tasks),
        "visits": len(told),
        "expired": sum(task.status == "cancelled" for task in tasks),
        "in_flight": sum(task.status in OPEN for task in tasks),
        "reward_sum_micro": sum(task.reward_micro for task in told),
        "reward_squares": sum(task.reward_micro**2 for task in told),
    }
    for name, count in recount.items():
        if getattr(row, name) != count:
            raise Violation(f"{name} is {getattr(row, name)}, and a recount of the tasks says {count}")
