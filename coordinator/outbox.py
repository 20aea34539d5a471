"""Dispatches on their way: published after the append that made them true, and again when the bus lost them.

What is unpublished is known from the rows (every dispatched task is), so nothing here is persisted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import anyio

from blackboard.state import RunState, TaskRow
from coordinator.decision import Publish
from coordinator.decisions.dispatch import deadline_ms
from coordinator.office import Office
from coordinator.pace import Pace
from coordinator.topology import task_consumer
from protocol import subjects
from protocol.errors import TransportUnavailable
from protocol.messages import SwarmTask
from protocol.transport.contract import Publication

OVERDUE_SECONDS = 35.0
"""A dispatch that nobody claimed for so long is published again: longer than the bus's own AckWait."""
OVERDUE_LIMIT_SECONDS = 560.0
"""The time doubles up to this, so that a queue which nobody serves does not fill with copies."""
EMPTY_QUEUE_SECONDS = 3.0
"""A dispatch is published again after this when its queue is empty."""


@dataclass(slots=True)
class _Entry:
    token: str
    sent: float = 0.0
    confirmed: bool = False
    publications: int = 0

    @property
    def patience(self) -> float:
        """How long a publication that the bus has confirmed may stay unclaimed, in seconds."""
        return min(OVERDUE_SECONDS * 2 ** (self.publications - 1), OVERDUE_LIMIT_SECONDS)


class Outbox:
    """One run's dispatches that nobody has claimed yet."""

    def __init__(self, office: Office, leader_token: str, pace: Pace) -> None:
        self._office = office
        self._pace = pace
        self._prefix = leader_token[:8]
        self._entries: dict[str, _Entry] = {}

    def publish(self, state: RunState, dispatches: Iterable[Publish]) -> None:
        """Sends those dispatches that are still the newest of their tasks; confirmation comes later."""
        now, now_ms = anyio.current_time(), self._office.clock.now_ms()
        entries: list[_Entry] = []
        publications: list[Publication] = []
        for dispatch in dispatches:
            task = state.tasks[dispatch.task]
            if task.status != "dispatched" or task.token != dispatch.token:
                continue
            entry = self._entries.get(task.id)
            if entry is None or entry.token != task.token:
                entry = self._entries[task.id] = _Entry(task.token)
                self._pace.left((now_ms - task.dispatched_ms) / 1000)
            entry.sent, entry.confirmed = now, False
            entry.publications += 1
            entries.append(entry)
            publications.append(self._publication(state, task, entry))
        if publications:
            self._office.transport.publish_all(publications, done=partial(_confirm, entries))

    def _publication(self, state: RunState, task: TaskRow, entry: _Entry) -> Publication:
        direction = state.directions[task.direction]
        message = SwarmTask.trusted(
            run=state.spec.run,
            task=task.id,
            attempt=task.attempt,
            token=task.token,
            agent=task.agent,
            direction=task.direction,
            deadline_ms=deadline_ms(state, task.agent),
            topic=direction.topic,
            inputs=direction.inputs[:100],
        )
        _, data = self._office.post.sealed(message)
        message_id = f"{task.token}.{self._prefix}.{entry.publications}"
        return Publication(subjects.tasks(task.agent), data, message_id)

    def drop(self, tasks: Iterable[str]) -> None:
        """Tasks that were claimed or have ended: they are no longer ours to publish."""
        for task in tasks:
            self._entries.pop(task, None)

    def overdue(self, state: RunState, *, empty_queues: Iterable[str] = ()) -> list[Publish]:
        """What to publish again: unconfirmed, long unclaimed, or gone from an empty queue."""
        now = anyio.current_time()
        empty = frozenset(empty_queues)
        for identity in self._entries.keys() - state.dispatched:
            del self._entries[identity]  # cancelled, or taken back before anyone claimed it
        overdue: list[Publish] = []
        for identity in state.dispatched:
            task = state.tasks[identity]
            entry = self._entries.get(identity)
            if entry is None or entry.token != task.token:
                overdue.append(Publish(identity, task.token))
                continue
            lost = not entry.confirmed or task.agent in empty
            if now - entry.sent >= (EMPTY_QUEUE_SECONDS if lost else entry.patience):
                overdue.append(Publish(identity, task.token))
        return overdue

    async def empty_queues(self, state: RunState) -> list[str]:
        """Agents whose queue on the bus holds nothing although dispatches of this run should be there.

        A queue that cannot be asked is not known to be empty: it is made again, and asked at the next sweep.
        """
        now = anyio.current_time()
        agents = {
            state.tasks[identity].agent
            for identity in state.dispatched
            if (entry := self._entries.get(identity)) is not None and now - entry.sent >= EMPTY_QUEUE_SECONDS
        }
        empty: list[str] = []
        for agent in sorted(agents):
            spec = task_consumer(agent)
            try:
                if await self._office.transport.pending(spec.stream, spec.durable) == 0:
                    empty.append(agent)
            except TransportUnavailable:
                break
        return empty


def _confirm(entries: Iterable[_Entry], error: TransportUnavailable | None) -> None:
    for entry in entries:
        entry.confirmed = error is None
