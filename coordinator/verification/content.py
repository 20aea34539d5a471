"""The artifacts of a run, bodies that artifacts and steps name, and statistics that can be counted again."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from pydantic import ValidationError

from blackboard.encoding import decode_direction, decode_task, decode_totals
from blackboard.store import BlackboardStore
from coordinator.records import Records, operator_query
from coordinator.verification.proof import Expected, digest
from coordinator.verification.recounting import recounted
from coordinator.verification.verdict import Verdict
from protocol.artifacts import Artifact, digest_of
from protocol.errors import NotFound
from protocol.messages import CHUNK_BYTES, BodyRef

AT_ONCE = 1_000


class Content:
    """Checks against the events where these were proven whole, and against digests always."""

    def __init__(self, store: BlackboardStore, run: str, expected: Expected, found: Verdict) -> None:
        self._store = store
        self._run = run
        self._expected = expected
        self._found = found

    async def check_artifacts(self, named: Mapping[str, BodyRef]) -> None:
        """Each is as it was posted, can be found, and has its content; so have bodies that steps name."""
        known = list(self._expected.artifacts) if self._found.proven else []
        for at in range(0, len(known), AT_ONCE):
            await self._check_posted(known[at : at + AT_ONCE])
        bodies = dict(named)
        listed: set[str] = set()
        try:
            async for artifact in Records(self._store).artifacts(self._run, operator_query(), now_ms=0):
                listed.add(artifact.id)
                self._check_content(artifact)
                if artifact.body is not None:
                    bodies[artifact.body.digest] = artifact.body
        except ValidationError:
            self._found.differs("artifact", "*", "queries fail, for one cannot be read")
            listed.update(known)
        for identity in known:
            if identity not in listed:
                self._found.differs("artifact", identity, "cannot be found by queries")
        self._found.artifacts = len(listed)
        for body in bodies.values():
            await self._check_body(body)

    async def _check_posted(self, ids: Sequence[str]) -> None:
        stored = await self._store.artifacts(self._run, ids)
        for identity in ids:
            if identity not in stored:
                self._found.differs("artifact", identity, "is missing")
            elif digest(stored[identity]) != self._expected.artifacts[identity]:
                self._found.differs("artifact", identity, "is not what was posted")

    def _check_content(self, artifact: Artifact) -> None:
        wanted = digest_of(artifact.payload) if artifact.body is None else artifact.body.digest
        if wanted != artifact.digest:
            self._found.differs("artifact", artifact.id, "its content does not have its digest")
        if not self._found.proven or artifact.id in self._expected.artifacts:
            return
        if artifact.number <= self._expected.state.totals.artifacts:  # it was not posted meanwhile
            self._found.differs("artifact", artifact.id, "is there, and no event has posted it")

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
            self._found.differs("body", body.digest, "is missing")
            return
        if read.hexdigest() != body.digest:
            self._found.differs("body", body.digest, "has other bytes than its digest says")

    async def recount(self) -> None:
        """Statistics against the rows of tasks: what a fold would tell, where there is none."""
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
                self._found.differs("statistics", identity, problem)
        except ValidationError as error:
            self._found.differs("row", error.title, "cannot be read")
