"""Board requests that any coordinator answers: reads, bodies, and claims on runs that are over."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
from anyio.abc import TaskGroup

from blackboard.encoding import decode_artifact, decode_steps, decode_task
from coordinator.observations import Refused
from coordinator.office import Office
from coordinator.reading import step_row_keys
from protocol.codec import decode_as
from protocol.errors import InvalidMessage, NotFound, Overloaded, SwarmError, UserError
from protocol.messages import (
    ClaimReply,
    ClaimRequest,
    GetReply,
    GetRequest,
    PutReply,
    PutRequest,
    QueryReply,
    QueryRequest,
    Record,
    RecordReply,
    RecordRequest,
    Refusal,
    StepsReply,
    StepsRequest,
)
from protocol.transport.contract import Message

STEPS_PAGE = 200
REQUESTS_LIMIT = 256
POSITION_PATIENCE_SECONDS = 2.0
POSITION_POLL_SECONDS = 0.02

Answer = Callable[[str, Message], Awaitable[Record]]


class Board:
    """Serves reads and bodies, and what `others` answer. Each request is a task; above REQUESTS_LIMIT the
    answer is `Overloaded`.
    """

    def __init__(self, office: Office, tasks: TaskGroup, others: Mapping[str, Answer]) -> None:
        self._office = office
        self._tasks = tasks
        self._under_way = 0
        self.verbs: dict[str, Callable[[Message], None]] = {
            "get": partial(self._serve, self._get),
            "steps": partial(self._serve, self._steps),
            "query": partial(self._serve, self._query),
            "put": partial(self._serve, self._put),
            **{verb: partial(self._serve, answer) for verb, answer in others.items()},
        }

    def _serve(self, answer: Answer, message: Message) -> None:
        if self._under_way >= REQUESTS_LIMIT:
            self._office.observers.notify(Refused("request", "overloaded"))
            self._office.post.refuse(message, Overloaded("board requests under way", REQUESTS_LIMIT, 0.5))
            return
        self._under_way += 1
        self._tasks.start_soon(self._answer, answer, message)

    async def _answer(self, answer: Answer, message: Message) -> None:
        try:
            reply = await answer(message.subject.split(".")[2], message)
        except SwarmError as error:
            if isinstance(error, UserError):
                self._office.observers.notify(Refused("request", "invalid"))
            self._office.post.refuse(message, error)
        else:
            self._office.post.reply(message, reply)
        finally:
            self._under_way -= 1

    async def _get(self, run: str, message: Message) -> Record:
        request = decode_as(message.data, GetRequest)
        if request.digest is not None:
            limit = self._office.settings.limits.reply_bytes // 2
            data, size = await self._office.store.get(run, request.digest, offset=request.offset, limit=limit)
            return GetReply(data=base64.b64encode(data).decode(), size_bytes=size)
        rows = await self._office.store.artifacts(run, request.artifacts)
        now_ms = self._office.clock.now_ms()
        room = self._office.settings.limits.reply_bytes
        found: list[object] = []
        missing: list[str] = []
        for identity in request.artifacts:
            data = rows.get(identity)
            artifact = decode_artifact(data) if data is not None else None
            if data is None or artifact is None or not artifact.visible_to(request.agent, now_ms):
                missing.append(identity)
                continue
            room -= len(data)
            if room < 0 and found:
                break
            found.append(artifact)
        return GetReply(artifacts=tuple(found), missing=tuple(missing))

    async def _steps(self, run: str, message: Message) -> Record:
        request = decode_as(message.data, StepsRequest)
        keys = step_row_keys(request.task, request.after, STEPS_PAGE)
        rows = await self._office.store.rows(run, "step", keys)
        room = self._office.settings.limits.reply_bytes
        kept: dict[str, bytes] = {}
        for key in sorted(rows):
            room -= len(rows[key])
            if room < 0 and kept:
                break
            kept[key] = rows[key]
        more = len(kept) == STEPS_PAGE or len(kept) < len(rows)
        return StepsReply(
            steps=tuple(decode_steps(kept)), next=request.after + len(kept) if more and kept else None
        )

    async def _query(self, run: str, message: Message) -> Record:
        request = decode_as(message.data, QueryRequest)
        store = self._office.store
        if request.min_position:
            await self._wait_for(run, request.min_position)
        page = await store.query(run, request, now_ms=self._office.clock.now_ms())
        room = self._office.settings.limits.reply_bytes
        found: list[object] = []
        for data in page.artifacts:
            room -= len(data)
            if room < 0 and found:
                number = decode_artifact(data).number
                return QueryReply(artifacts=tuple(found), cursor=number + 1)
            found.append(decode_artifact(data))
        return QueryReply(artifacts=tuple(found), cursor=page.cursor)

    async def _wait_for(self, run: str, position: int) -> None:
        """Returns once the log has reached a position; gives up after POSITION_PATIENCE_SECONDS."""
        deadline = anyio.current_time() + POSITION_PATIENCE_SECONDS
        while await self._office.store.head(run) < position and anyio.current_time() < deadline:  # noqa: ASYNC110
            await anyio.sleep(POSITION_POLL_SECONDS)

    async def _put(self, run: str, message: Message) -> Record:
        request = decode_as(message.data, PutRequest)
        limit = self._office.settings.limits.max_body_bytes
        if request.size_bytes > limit:
            raise InvalidMessage("size_bytes", f"is over the limit of {limit:,}", "post a smaller artifact")
        try:
            chunk = base64.b64decode(request.data, validate=True)
        except binascii.Error as error:
            raise InvalidMessage("data", f"is not base64: {error}", "encode the chunk as base64") from error
        if not await self._office.store.head(run):
            raise NotFound("run", run)
        result = await self._office.store.put(
            run,
            request.digest,
            size_bytes=request.size_bytes,
            offset=request.offset,
            chunk=chunk,
            ttl_seconds=self._office.settings.retention.orphan_seconds,
        )
        return PutReply(complete=result.complete, received_bytes=result.received_bytes)


class Epilogue:
    """Answers workers whose run has ended: nobody leads it any more, and they must not wait for ever."""

    def __init__(self, office: Office, tasks: TaskGroup, is_active: Callable[[str], bool]) -> None:
        self._office = office
        self._tasks = tasks
        self._is_active = is_active
        self.verbs: dict[str, Callable[[Message], None]] = {
            "claim": partial(self._unless_active, self._claim),
            "record": partial(self._unless_active, self._record),
        }

    def _unless_active(self, answer: Callable[[Message], Record], message: Message) -> None:
        run = message.subject.split(".")[2]
        if not self._is_active(run):
            self._tasks.start_soon(self._answer, answer, run, message)

    async def _answer(self, answer: Callable[[Message], Record], run: str, message: Message) -> None:
        try:
            if run in await self._office.store.runs(active=True):
                return
            self._office.post.reply(message, answer(message))
        except SwarmError as error:
            self._office.post.refuse(message, error)

    @staticmethod
    def _claim(message: Message) -> Record:
        request = decode_as(message.data, ClaimRequest)
        refusals = [
            Refusal(task=lease.task, token=lease.token, reason="the run is over") for lease in request.leases
        ]
        return ClaimReply(refusals=tuple(refusals))

    @staticmethod
    def _record(message: Message) -> Record:
        decode_as(message.data, RecordRequest)
        return RecordReply(verdict="stale", reason="the run is over")

    async def was_settled(self, run: str, task: str, token: str) -> bool:
        """Whether a result under this token counted before the run ended."""
        row = (await self._office.store.rows(run, "task", [task])).get(task)
        return row is not None and decode_task(row).token == token
