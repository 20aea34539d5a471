"""Dispatches on their way: published after the append that made them true, and again when the bus lost them.

What is unpublished is known from the rows (every dispatched task is), so nothing here is persisted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import anyio

from blackboard.state import RunState
from coordinator.decisions.dispatch import deadline_ms
from coordinator.office import Office
from coordinator.pace import Pace
from coordinator.topology import task_consumer
from protocol import subjects
from protocol.errors import TransportUnavailable
from protocol.messages import SwarmTask

OVERDUE_SECONDS = 35.0
"""A dispatch that nobody claimed for so long is published again: longer than the bus's own AckWait."""
OVERDUE_LIMIT_SECONDS = 560.0
"""The time doubles up to this, so that a queue which nobody serves does not fill with copies."""
EMPTY_QUEUE_SECONDS = 3.0
"""A dispatch is published again after this when its queue is empty."""


@dataclass(slots=True)
class _Entry:
    token: str
    sent: float
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

    def publish(self, state: RunState, identity: str, token: str) -> None:
        """Sends one dispatch, if it is still the newest of its task; confirmation comes later."""
        task = state.tasks[identity]
        if task.status != "dispatched" or task.token != token:
            return
        entry = self._entries.get(task.id)
        if entry is None or entry.token != token:
            entry = self._entries[task.id] = _Entry(token, 0.0)
            self._pace.left((self._office.clock.now_ms() - task.dispatched_ms) / 1000)
        entry.sent = anyio.current_time()
        entry.confirmed = False
        entry.publications += 1
        direction = state.directions[task.direction]
        message = SwarmTask(
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
        self._office.transport.publish_soon(
            subjects.tasks(task.agent),
            data,
            message_id=f"{message.token}.{self._prefix}.{entry.publications}",
            done=partial(_confirm, entry),
        )

    def drop(self, task: str) -> None:
        """The task was claimed or has ended: it is no longer ours to publish."""
        self._entries.pop(task, None)

    def overdue(self, state: RunState, *, empty_queues: Iterable[str] = ()) -> list[tuple[str, str]]:
        """Tasks and tokens to publish again: unconfirmed, long unclaimed, or gone from an empty queue."""
        now = anyio.current_time()
        empty = frozenset(empty_queues)
        for identity in self._entries.keys() - state.dispatched:
            del self._entries[identity]  # cancelled, or taken back before anyone claimed it
        overdue: list[tuple[str, str]] = []
        for identity in state.dispatched:
            task = state.tasks[identity]
            entry = self._entries.get(identity)
            if entry is None or entry.token != task.token:
                overdue.append((identity, task.token))
                continue
            lost = not entry.confirmed or task.agent in empty
            if now - entry.sent >= (EMPTY_QUEUE_SECONDS if lost else entry.patience):
                overdue.append((identity, task.token))
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


def _confirm(entry: _Entry, error: TransportUnavailable | None) -> None:
    entry.confirmed = error is None
