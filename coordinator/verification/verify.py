"""Whether a run's rows, artifacts and bodies are what its events have made: `coordinator verify`.

Events are read from the archive and the log, folded, and compared with all that the store has. Nothing is
changed, and nothing is asked of a leader: a run may go on meanwhile, and only what it touches is read again.
"""

from collections.abc import Sequence

from blackboard.store import BlackboardStore, LogEntry
from coordinator.archive import Archive
from coordinator.records import Trimmed
from coordinator.verification.content import Content
from coordinator.verification.proof import NAMED, Expected, Unfoldable
from coordinator.verification.rows import Rows
from coordinator.verification.verdict import Verdict
from protocol.errors import BrokenArchive, NotFound

AT_ONCE = 1_000
REMEDY = "set retention.archive = true before a run begins that is to be proven whole"
ROUNDS = 10
"""How often rows are read again that a running run has touched meanwhile."""


async def verify(store: BlackboardStore, run: str) -> Verdict:
    """:raises NotFound: when there is no such run.
    :raises StoreUnavailable:
    """
    if not await store.head(run):
        raise NotFound("run", run)
    return await _Verification(store, run).verdict()


class _Verification:
    def __init__(self, store: BlackboardStore, run: str) -> None:
        self._store = store
        self._run = run
        self._archive = Archive(store, run)
        self._expected = Expected()
        self._found = Verdict(run)
        self._rows = Rows(store, run, self._expected)

    async def verdict(self) -> Verdict:
        try:
            await self._follow()
            await self._compare()
            self._found.proven = True
        except Unfoldable as error:
            first = await self._first()
            if first == 1:
                self._found.unproven = str(error)
                self._found.differs("log", str(self._expected.position + 1), str(error))
            else:
                self._found.unproven = f"{Trimmed(1, first - 1)}; {REMEDY}"
        except BrokenArchive as error:
            self._found.unproven = str(error)
            self._found.differs("log", f"{error.first}-{error.last}", error.problem)
        content = Content(self._store, self._run, self._expected, self._found)
        if not self._found.proven:
            await self._check_log()
            await content.recount()
        await content.check_artifacts(self._rows.bodies)
        return self._found

    async def _first(self) -> int:
        """Number of the first event that is kept at all: a log that was only trimmed is not wrong."""
        log = await self._store.log(self._run, after=0, limit=1)
        archived = await self._archive.segments()
        return min((*(one.position for one in log), *(one.first for one in archived)), default=1)

    async def _follow(self) -> None:
        """Folds what has been added since."""
        expected = self._expected
        while True:
            entries = await self._store.log(self._run, after=expected.position, limit=AT_ONCE)
            if entries and entries[0].position > expected.position + 1:
                archived: Sequence[LogEntry] = await self._archive.after(expected.position)
                self._found.archived += len(archived)
                entries = archived or entries
            if not entries:
                break
            expected.follow(_up_to_a_gap(entries))
        self._found.events = expected.position
        head = await self._store.head(self._run)
        if head < expected.position:
            raise Unfoldable(head + 1, f"is in the log, whose head is said to be {head:,}")

    async def _compare(self) -> None:
        """All rows once, and those again that were touched while they were read."""
        expected = self._expected
        expected.touched = set()
        found = [one async for one in self._rows.every()]
        choices = await self._rows.choices()
        await self._follow()
        found += self._rows.wrong(choices)
        for _ in range(ROUNDS):
            again, expected.touched = expected.touched, set()
            found = [(place, problem) for place, problem in found if place not in again]
            if not again:
                break
            found += [one async for one in self._rows.some(sorted(again))]
            await self._follow()
        self._found.moving = [" ".join(place) for place in sorted(expected.touched)]
        for place, problem in found:
            if place not in expected.touched:
                self._found.differs("row", " ".join(place), problem)
        self._found.rows = len(expected.rows) + len(choices)
        self._found.rows += sum(len(expected.names(kind)) for kind in NAMED)

    async def _check_log(self) -> None:
        """What is kept of events is whole, whether or not it reaches back to the first one."""
        if self._found.differences:
            return
        position: int | None = None
        try:
            for segment in await self._archive.segments():
                entries = await self._archive.after(segment.first - 1)
                self._found.archived += len(entries)
                position = self._goes_on(entries, position)
        except BrokenArchive as error:
            self._found.differs("log", f"{error.first}-{error.last}", error.problem)
            return
        while entries := await self._store.log(self._run, after=position or 0, limit=AT_ONCE):
            position = self._goes_on(entries, position)

    def _goes_on(self, entries: Sequence[LogEntry], position: int | None) -> int | None:
        """Notes each gap; the position of the last of these events."""
        for entry in entries:
            if position is not None and entry.position != position + 1:
                self._found.differs("log", str(position + 1), f"is missing up to {entry.position - 1:,}")
            position = entry.position
            self._found.events += 1
        return position


def _up_to_a_gap(entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """What was trimmed between two reads of the log is in the archive by now: it is looked for there."""
    first = entries[0].position
    gap = next((at for at, entry in enumerate(entries) if entry.position != first + at), len(entries))
    return entries[:gap]
