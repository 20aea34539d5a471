"""Journals of tasks that ended well, beyond the newest or long ago, are condensed by the leader bit by bit.

What is to be kept is read and worked out here; it becomes true by an event, in an append like any other.
So a leader that lost the lead condenses nothing, and one that dies leaves a journal whole or condensed.
"""

from collections.abc import AsyncGenerator, Sequence

import anyio

from blackboard.condensing import condensed
from blackboard.encoding import decode_steps, decode_task
from blackboard.events import CondensedJournal
from blackboard.evolve import bodies_of
from blackboard.state import RunState
from coordinator.decision import Condense
from coordinator.group_commit import GroupCommit
from coordinator.observations import StoreRetry
from coordinator.office import Office
from coordinator.reading import step_row_keys
from protocol.errors import StoreUnavailable
from protocol.messages import Step

PAUSE_SECONDS = 1.0
"""Time between two looks; only a run with tasks enough has anything to look at."""
COMMIT_SECONDS = 0.05
STEPS_AT_ONCE = 500
"""An append condenses about so many steps, and whole journals."""
TASKS_AT_ONCE = 50


class Condensing:
    """Keeps the newest journals of one run whole, and makes the others short."""

    def __init__(self, office: Office, group: GroupCommit) -> None:
        self._office = office
        self._group = group
        self._run = group.run.state.spec.run
        self._kept = office.settings.retention.journals
        self._age_ms = office.settings.retention.journal_seconds * 1000
        self._old_ms = 0.0
        """When the oldest whole journal may be too old, where age counts."""
        self._whole: int | None = None
        """Whole journals when they were last counted, and in `_seen` what the state had counted by then."""
        self._seen = 0

    async def keep_up(self) -> None:
        """Looks again and again, as long as the lead lasts."""
        while True:
            await anyio.sleep(PAUSE_SECONDS)
            try:
                await self._look()
            except StoreUnavailable:
                self._office.observers.notify(StoreRetry(self._run, "condense"))

    async def _look(self) -> None:
        """Reads nothing before there can be too many, or one too old; then so rarely that each name is read a
        few times.
        """
        state = self._group.run.state
        allowed = self._kept + self._kept // 10
        by_age = self._age_ms > 0 and self._office.clock.now_ms() >= self._old_ms
        if not by_age and not self._may_be_more_than(allowed, state):
            return
        seen = state.journaled
        names = sorted(await self._office.store.rows(self._run, "journal"))
        gone = len(names) - self._kept if len(names) > allowed else 0
        if by_age:
            gone += await self._too_old(names[gone:])
        if gone:
            await self._condense(names[:gone])
        self._whole, self._seen = len(names) - gone, seen

    def _may_be_more_than(self, allowed: int, state: RunState) -> bool:
        if state.totals.tasks.get("done", 0) <= allowed:
            return False
        return self._whole is None or self._whole + state.journaled - self._seen > allowed

    async def _too_old(self, names: Sequence[str]) -> int:
        """How many of these are too old; they begin with the oldest. The next look is when another may be."""
        now_ms = self._office.clock.now_ms()
        old, eldest_ms = 0, float(now_ms)
        for at in range(0, len(names), TASKS_AT_ONCE):
            tasks = [name.partition(":")[2] for name in names[at : at + TASKS_AT_ONCE]]
            rows = await self._office.store.rows(self._run, "task", tasks)
            ended_ms = [decode_task(rows[task]).settled_ms for task in tasks]
            young = next((n for n, ms in enumerate(ended_ms) if ms + self._age_ms > now_ms), None)
            if young is not None:
                old, eldest_ms = at + young, ended_ms[young]
                break
            old = at + len(tasks)
        self._old_ms = max(eldest_ms + self._age_ms, now_ms + self._age_ms / 10)
        return old

    async def _condense(self, names: Sequence[str]) -> None:
        for at in range(0, len(names), TASKS_AT_ONCE):
            journals: list[CondensedJournal] = []
            steps = 0
            async for journal, length in self._journals(names[at : at + TASKS_AT_ONCE]):
                journals.append(journal)
                steps += length
                if steps >= STEPS_AT_ONCE:
                    await self._commit(journals)
                    journals, steps = [], 0
            if journals:
                await self._commit(journals)

    async def _journals(self, names: Sequence[str]) -> AsyncGenerator[tuple[CondensedJournal, int]]:
        """What changes of each, and how many steps that are."""
        store = self._office.store
        ended = {task: int(number) for number, _, task in (name.partition(":") for name in names)}
        rows = await store.rows(self._run, "task", list(ended))
        for task in map(decode_task, rows.values()):
            keys = step_row_keys(task.id, 0, task.steps)
            numbers: list[int] = []
            short: list[Step] = []
            bodies: list[str] = []
            for first in range(0, len(keys), STEPS_AT_ONCE):
                page = await store.rows(self._run, "step", keys[first : first + STEPS_AT_ONCE])
                for number, step in enumerate(decode_steps(page), first):
                    kept = condensed(step)
                    if kept is not step:
                        numbers.append(number)
                        short.append(kept)
                        bodies += bodies_of(step)
            changed = CondensedJournal(task.id, ended[task.id], tuple(numbers), tuple(short), tuple(bodies))
            yield changed, len(short)

    async def _commit(self, journals: Sequence[CondensedJournal]) -> None:
        """Waits for the append: no more than one such is under way."""
        self._group.do(Condense(tuple(journals)))
        head = self._group.run.state.head
        while True:
            await anyio.sleep(COMMIT_SECONDS)
            if self._group.committed >= head:
                return
