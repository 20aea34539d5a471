"""Whether a run's rows, artifacts and bodies are what its events have made: `coordinator verify`.

Events are read from the archive and the log, folded, and compared with all that the store has. Nothing is
changed, and nothing is asked of a leader: a run may go on meanwhile, and only what it touches is read again.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Literal

from pydantic import ValidationError

from blackboard.encoding import decode_direction, decode_task, decode_totals, encode_row
from blackboard.store import BlackboardStore, LogEntry, RowKind
from coordinator.archive import Archive
from coordinator.proof import NAMED, Expected, Place, Unfoldable, digest
from coordinator.records import Records, operator_query
from coordinator.recounting import recounted
from protocol.artifacts import Artifact, digest_of
from protocol.errors import BrokenArchive, NotFound
from protocol.messages import CHUNK_BYTES, BodyRef

AT_ONCE = 1_000
PROBLEM_CHARACTERS = 500
ROUNDS = 10
"""How often rows are read again that a running run has touched meanwhile."""
WHOLE: tuple[RowKind, ...] = ("run", "task", "direction", "inquiry", "choice")
"""Kinds of which all rows are read, so that one too many is found."""
What = Literal["log", "row", "artifact", "body", "statistics"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it must be, by id."""

    what: What
    id: str
    problem: str


@dataclass(slots=True)
class Verdict:
    """`proven`: all events from the first on were there, and the rows were compared with their fold."""

    run: str
    proven: bool = False
    events: int = 0
    archived: int = 0
    """Events that came from the archive."""
    rows: int = 0
    artifacts: int = 0
    bodies: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])
    unproven: str = ""
    """Why the rows could not be compared with the fold."""
    moving: list[str] = field(default_factory=list[str])
    """Rows that the run touched whenever they were read: pause it, or wait for its end."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong; what could not be compared is not wrong."""
        return not self.differences


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

    async def verdict(self) -> Verdict:
        try:
            await self._follow()
            await self._compare()
            self._found.proven = True
        except Unfoldable as error:
            self._found.unproven = str(error)
            if await self._has_whole_log():
                self._differs("log", str(self._expected.position + 1), str(error))
        except BrokenArchive as error:
            self._found.unproven = str(error)
            self._differs("log", f"{error.first}-{error.last}", error.problem)
        await self._check_log()
        await self._check_artifacts()
        await self._recount()
        return self._found

    def _differs(self, what: What, identity: str, problem: str) -> None:
        self._found.differences.append(Difference(what, identity, problem))

    async def _has_whole_log(self) -> bool:
        """Whether the first event is kept at all: a log that was only trimmed is not wrong."""
        log = await self._store.log(self._run, after=0, limit=1)
        archived = await self._archive.segments()
        return any(first == 1 for first in (*(one.position for one in log), *(one.first for one in archived)))

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
        found = [one async for one in self._all_rows()]
        await self._follow()
        for _ in range(ROUNDS):
            again, expected.touched = expected.touched, set()
            found = [(place, problem) for place, problem in found if place not in again]
            if not again:
                break
            found += [one async for one in self._some_rows(sorted(again))]
            await self._follow()
        self._found.moving = [" ".join(place) for place in sorted(expected.touched)]
        for place, problem in found:
            if place not in expected.touched:
                self._differs("row", " ".join(place), problem)
        self._found.rows = len(expected.rows) + sum(len(expected.names(kind)) for kind in NAMED)

    async def _all_rows(self) -> AsyncGenerator[tuple[Place, str]]:
        """All that must be there, and all that is; of steps only the former, for journals may be large."""
        expected = self._expected
        kinds: tuple[RowKind, ...] = (*WHOLE, *NAMED)
        for kind in kinds:
            stored = await self._store.rows(self._run, kind)
            wanted = {key for of, key in expected.rows if of == kind}
            if kind in NAMED:
                wanted = expected.names(kind)
            for one in self._differing(kind, [*wanted, *(stored.keys() - wanted)], stored):
                yield one
        async for one in self._some_rows([place for place in expected.rows if place[0] == "step"]):
            yield one

    async def _some_rows(self, places: Sequence[Place]) -> AsyncGenerator[tuple[Place, str]]:
        for kind, group in groupby(places, _kind):
            keys = [key for _, key in group]
            for at in range(0, len(keys), AT_ONCE):
                page = keys[at : at + AT_ONCE]
                stored = await self._store.rows(self._run, kind, page)
                for one in self._differing(kind, page, stored):
                    yield one

    def _differing(
        self, kind: RowKind, keys: Sequence[str], stored: Mapping[str, bytes]
    ) -> Iterator[tuple[Place, str]]:
        names = self._expected.names(kind) if kind in NAMED else None
        for key in keys:
            wanted = self._expected.rows.get((kind, key)) if names is None else (key in names or None)
            row = stored.get(key)
            if row is None and wanted is not None:
                yield (kind, key), "is missing"
            elif row is not None and wanted is None:
                yield (kind, key), "is there, and no event has made it"
            elif row is not None and names is None and digest(row) != wanted:
                yield (kind, key), self._described((kind, key), row)

    def _described(self, place: Place, stored: bytes) -> str:
        """Which fields differ, where the fold still has them."""
        row = self._expected.row(place)
        if row is None:
            return "is not what its event has made it"
        try:
            said = json.loads(stored)
            made = json.loads(encode_row(row))
            names = [name for name in {**made, **said} if made.get(name) != said.get(name)]
        except (ValueError, TypeError):
            return "cannot be read"
        told = [f"{name} is {said.get(name)!r}, by the events {made.get(name)!r}" for name in names]
        return "; ".join(told)[:PROBLEM_CHARACTERS] or "has the same content in another form"

    async def _check_log(self) -> None:
        """What is kept of events is whole, whether or not it reaches back to the first one."""
        if self._found.proven or self._found.differences:
            return
        position: int | None = None
        try:
            for segment in await self._archive.segments():
                entries = await self._archive.after(segment.first - 1)
                self._found.archived += len(entries)
                position = self._goes_on(entries, position)
        except BrokenArchive as error:
            self._differs("log", f"{error.first}-{error.last}", error.problem)
            return
        while entries := await self._store.log(self._run, after=position or 0, limit=AT_ONCE):
            position = self._goes_on(entries, position)

    def _goes_on(self, entries: Sequence[LogEntry], position: int | None) -> int | None:
        """Notes each gap; the position of the last of these events."""
        for entry in entries:
            if position is not None and entry.position != position + 1:
                self._differs("log", str(position + 1), f"is missing up to {entry.position - 1:,}")
            position = entry.position
            self._found.events += 1
        return position

    async def _check_artifacts(self) -> None:
        """Each is as it was posted, can be found, and has its content; so have steps that name bodies."""
        expected, proven = self._expected, self._found.proven
        known = list(expected.artifacts)
        for at in range(0, len(known) if proven else 0, AT_ONCE):
            page = known[at : at + AT_ONCE]
            stored = await self._store.artifacts(self._run, page)
            for identity in page:
                if identity not in stored:
                    self._differs("artifact", identity, "is missing")
                elif digest(stored[identity]) != expected.artifacts[identity]:
                    self._differs("artifact", identity, "is not what was posted")
        listed: set[str] = set()
        bodies = {body.digest: body for named in expected.bodies.values() for body in named}
        async for artifact in Records(self._store).artifacts(self._run, operator_query(), now_ms=0):
            listed.add(artifact.id)
            self._check_artifact(artifact)
            if artifact.body is not None:
                bodies[artifact.body.digest] = artifact.body
        for identity in known if proven else ():
            if identity not in listed:
                self._differs("artifact", identity, "cannot be found by queries")
        self._found.artifacts = len(listed)
        for body in bodies.values():
            await self._check_body(body)

    def _check_artifact(self, artifact: Artifact) -> None:
        wanted = digest_of(artifact.payload) if artifact.body is None else artifact.body.digest
        if wanted != artifact.digest:
            self._differs("artifact", artifact.id, "its content does not have its digest")
        if self._found.proven and artifact.id not in self._expected.artifacts:
            newer = artifact.number > self._expected.state.totals.artifacts
            if not newer:
                self._differs("artifact", artifact.id, "is there, and no event has posted it")

    async def _check_body(self, body: BodyRef) -> None:
        self._found.bodies += 1
        read, offset = sha256(), 0
        try:
            while offset < body.size_bytes:
                data, _ = await self._store.get(self._run, body.digest, offset=offset, limit=CHUNK_BYTES)
                if not data:
                    break
                read.update(data)
                offset += len(data)
        except NotFound:
            self._differs("body", body.digest, "is missing")
            return
        if read.hexdigest() != body.digest:
            self._differs("body", body.digest, "has other bytes than its digest says")

    async def _recount(self) -> None:
        """Statistics against the rows of tasks: what a fold would tell, where there is none."""
        if self._found.proven:
            return
        head = await self._store.head(self._run)
        totals = await self._store.rows(self._run, "run", ["totals"])
        tasks = await self._store.rows(self._run, "task")
        directions = await self._store.rows(self._run, "direction")
        if await self._store.head(self._run) != head:
            self._found.moving.append("statistics")
            return
        try:
            counted = recounted(
                decode_totals(totals.get("totals", b"")),
                [decode_task(row) for row in tasks.values()],
                [decode_direction(row) for row in directions.values()],
            )
            for identity, problem in counted:
                self._differs("statistics", identity, problem)
        except ValidationError as error:
            self._differs("row", error.title, "cannot be read")


def _kind(place: Place) -> RowKind:
    return place[0]


def _up_to_a_gap(entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """What was trimmed between two reads of the log is in the archive by now: it is looked for there."""
    first = entries[0].position
    gap = next((at for at, entry in enumerate(entries) if entry.position != first + at), len(entries))
    return entries[:gap]
