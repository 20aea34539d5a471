"""A leader's memory of what has ended: it forgets, and reads the rows again on the rare occasion.

What a run holds in memory follows what is under way, not what was ever done. A task that has ended is
forgotten with its inquiries once that is committed; a repeated result, an operator's retry, a late answer
bring their rows back for the one decision that needs them.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from blackboard.encoding import decode_inquiry, decode_task
from blackboard.state import OPEN, DirectionRow, InquiryRow, RunState, TaskRow, lives
from blackboard.store import BlackboardStore, RowKind
from protocol.ids import task_id
from protocol.messages import RetryRequest


class Recall:
    """Forgets and remembers the ended tasks of one run, and their inquiries."""

    def __init__(self, store: BlackboardStore, state: RunState) -> None:
        self._store = store
        self._state = state
        self._run = state.spec.run
        self._ended: list[tuple[RowKind, str]] = []
        self._holds = 0

    def forget(self, dropped: Iterable[tuple[RowKind, str]]) -> None:
        """Called after each append with what it dropped: nothing uncommitted may be forgotten."""
        self._ended += dropped
        if self._holds:
            return
        kept: list[tuple[RowKind, str]] = []
        for mark in self._ended:
            kind, _, identity = mark[1].partition(":") if mark[0] == "live" else ("", "", "")
            if kind == "task" and self._is_changing("task", identity):
                kept.append(mark)
            elif kind == "task":
                self._forget_task(identity)
        self._ended = kept

    def _is_changing(self, kind: RowKind, identity: str) -> bool:
        return (kind, identity) in self._state.changes

    def _forget_task(self, identity: str) -> None:
        state = self._state
        task = state.tasks.get(identity)
        if task is None or lives(state, task):
            return
        del state.tasks[identity]
        for inquiry in state.questions.pop(identity, ()):
            del state.inquiries[inquiry]

    def lacks(self, task: str) -> bool:
        """Whether a task is unknown here: it has ended, or was never there."""
        return task not in self._state.tasks

    async def tasks(self, ids: Sequence[str]) -> list[TaskRow]:
        """Rows of those tasks that have ended.

        :raises StoreUnavailable:
        """
        unknown = [one for one in ids if one not in self._state.tasks]
        rows = await self._store.rows(self._run, "task", unknown)
        return [task for task in map(decode_task, rows.values()) if task.status not in OPEN]

    async def inquiries(self, ids: Sequence[str]) -> list[InquiryRow]:
        """Rows of those inquiries that are not known here.

        :raises StoreUnavailable:
        """
        unknown = [one for one in ids if one not in self._state.inquiries]
        rows = await self._store.rows(self._run, "inquiry", unknown)
        return [row for row in map(decode_inquiry, rows.values()) if not row.open]

    async def retriable(
        self, request: RetryRequest
    ) -> tuple[RetryRequest, Sequence[TaskRow], Sequence[InquiryRow]]:
        """What the retry of tasks takes: the request with every task named, the rows of their directions'
        tasks, for these are counted again, and what the tasks had asked.

        To be called within `holding`, so that what ends meanwhile is not missed.

        :raises StoreUnavailable:
        """
        state = self._state
        if request.tasks:
            named = await self.tasks(request.tasks)
        else:
            dead = list(await self._store.rows(self._run, "dead"))
            named = [task for task in await self.tasks(dead) if task.status == "dead"]
            here = [task.id for task in state.tasks.values() if task.status == "dead"]
            request = request.model_copy(update={"tasks": (*(task.id for task in named), *here)})
        known = (state.tasks[one] for one in request.tasks if one in state.tasks)
        directions = {task.direction for task in (*named, *known)}
        visits = [visit for one in directions for visit in self._visits(state.directions[one])]
        ids = {task.id for task in named}
        inquiries = map(decode_inquiry, (await self._store.rows(self._run, "inquiry")).values())
        asked = [row for row in inquiries if row.task in ids]
        return request, await self.tasks(visits), asked

    def _visits(self, direction: DirectionRow) -> Iterable[str]:
        namespace, numbers = self._state.spec.namespace, range(1, direction.numbered + 1)
        return (task_id(namespace, direction.id, number) for number in numbers)

    @contextmanager
    def holding(self) -> Generator[None]:
        """Nothing is forgotten within."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    @contextmanager
    def remembering(
        self, tasks: Iterable[TaskRow] = (), inquiries: Iterable[InquiryRow] = ()
    ) -> Generator[None]:
        """Has rows in the state for one decision; those that it does not change are forgotten again.

        What the state knows already counts, for it is newer. There must be no await within.
        """
        state = self._state
        brought = [task for task in tasks if task.id not in state.tasks]
        asked = [row for row in inquiries if row.id not in state.inquiries]
        state.tasks.update({task.id: task for task in brought})
        for row in asked:
            state.inquiries[row.id] = row
            state.questions.setdefault(row.task, {})[row.id] = None
        yield
        for row in asked:
            if row.task not in state.tasks:
                del state.inquiries[row.id]
                state.questions.pop(row.task, None)
        for task in brought:
            if not self._is_changing("task", task.id):
                self._forget_task(task.id)
