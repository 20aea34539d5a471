"""Endpoints that read: what the verbs print with `--json`, and events as they happen."""

import json
import time
from contextlib import aclosing
from typing import Annotated

import anyio
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from coordinator.commands import compare as compare_verb
from coordinator.commands import frontier as frontier_verb
from coordinator.commands import inquiries as inquiries_verb
from coordinator.commands import limits as limits_verb
from coordinator.commands import providers as providers_verb
from coordinator.commands import runs as runs_verb
from coordinator.commands import show as show_verb
from coordinator.commands import tasks as tasks_verb
from coordinator.commands import verify as verify_verb
from coordinator.commands import watch as watch_verb
from coordinator.commands.shared import plain
from coordinator.operating import Operator
from coordinator.records import OPERATOR, Records
from coordinator.verification.verify import verify
from coordinator.web.bodies import modelled, query_of
from protocol.errors import NotFound
from protocol.messages import Count, Id, QueryRequest, Record

ALIVE_SECONDS = 15.0
"""A stream without events says so often that it is alive: proxies cut what is silent."""


class RunsQuery(Record):
    active: bool = False
    """Only those that have not ended."""


class EventsQuery(Record):
    after: Count = 0
    """Only events after this position in the run's log."""


class TasksQuery(Record):
    status: str | None = None
    agent: Id | None = None
    stranded: bool = False
    """Only those whose journal no living worker goes on from, with the reason and the remedy."""


class InquiriesQuery(Record):
    all: bool = False
    """Those that have ended too."""


class AsAgent(Record):
    agent: Id | None = None
    """See what this agent may see; without it, everything."""


class ArtifactsQuery(AsAgent):
    type: Id | None = None
    tag: str | None = None
    producer: Id | None = None
    correlation: Id | None = None
    text: Annotated[str, Field(max_length=500)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Count | None = None
    """That of the page before."""


async def runs(operator: Operator, request: Request) -> Response:
    active = query_of(request, RunsQuery).active
    records = operator.records
    found = await records.runs(active=active)
    return _json([runs_verb.as_json(one, await runs_verb.tasks_by_state(records, one)) for one in found])


async def providers(operator: Operator, _request: Request) -> Response:
    return _json([providers_verb.as_json(one) for one in await operator.records.breakers()])


async def limits(operator: Operator, _request: Request) -> Response:
    return _json([limits_verb.as_json(one) for one in await operator.limits()])


async def run(operator: Operator, request: Request) -> Response:
    records, identity = await _found(operator, request)
    return _json(await show_verb.described(records, identity))


async def compared(operator: Operator, request: Request) -> Response:
    names = request.path_params["run"], request.path_params["other"]
    return _json(plain(await compare_verb.compared_runs(operator.records, *names)))


async def verified(operator: Operator, request: Request) -> Response:
    _, identity = await _found(operator, request)
    return _json(verify_verb.as_json(await verify(operator.store, identity)))


async def events(operator: Operator, request: Request) -> Response:
    records, identity = await _found(operator, request)
    after = query_of(request, EventsQuery).after
    seen = request.headers.get("last-event-id")
    if seen is not None:
        after = modelled({"after": seen}, EventsQuery).after
    return EventStream(records, identity, after)


class EventStream(Response):
    """A run's log as server-sent events, with positions as ids; the last one, `end`, has the verdict."""

    def __init__(self, records: Records, run: str, after: int) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
        ]
        self._records = records
        self._run = run
        self._after = after
        self._turn = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends with the run, or with the listener."""
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with anyio.create_task_group() as group:
            group.start_soon(self._until_gone, receive, group.cancel_scope, name="listener")
            group.start_soon(self._say_alive, send, name="sign of life")
            await self._tell(send)
            group.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, send: Send) -> None:
        async with aclosing(self._records.follow(self._run, after=self._after)) as log:
            async for logged in log:
                told = watch_verb.as_json(logged)
                await self._say(send, told, told["kind"], f"id: {told['position']}\n")
        totals = await self._records.totals(self._run)
        verdict = {"run": self._run, "status": totals.status, "reason": totals.reason}
        await self._say(send, verdict, "end")

    async def _say(self, send: Send, value: object, kind: str, head: str = "") -> None:
        data = json.dumps(value, ensure_ascii=False)
        await self._write(send, f"{head}event: {kind}\ndata: {data}\n\n")

    async def _write(self, send: Send, text: str) -> None:
        async with self._turn:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _say_alive(self, send: Send) -> None:
        while True:
            await anyio.sleep(ALIVE_SECONDS)
            await self._write(send, ": alive\n\n")

    @staticmethod
    async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


async def tasks(operator: Operator, request: Request) -> Response:
    query = query_of(request, TasksQuery)
    records, identity = await _found(operator, request)
    if query.stranded:
        return _json(await tasks_verb.listed_stranded(operator, identity, query.status, query.agent))
    return _json(await tasks_verb.listed(records, identity, query.status, query.agent))


async def task(operator: Operator, request: Request) -> Response:
    records, identity = await _found(operator, request)
    return _json(await tasks_verb.described(records, identity, request.path_params["task"]))


async def dead(operator: Operator, request: Request) -> Response:
    records, identity = await _found(operator, request)
    return _json(await tasks_verb.listed(records, identity, "dead", None))


async def inquiries(operator: Operator, request: Request) -> Response:
    every = query_of(request, InquiriesQuery).all
    records, identity = await _found(operator, request)
    rows = await records.inquiries(identity)
    return _json([inquiries_verb.as_json(row) for row in rows if every or row.open])


async def artifacts(operator: Operator, request: Request) -> Response:
    asked = query_of(request, ArtifactsQuery)
    _, identity = await _found(operator, request)
    conditions = QueryRequest.model_validate({**asked.model_dump(), "agent": asked.agent or "operator"})
    query = conditions.model_copy(update={"agent": asked.agent or OPERATOR})
    page = await operator.store.query(identity, query, now_ms=_now_ms())
    found = [json.loads(data) for data in page.artifacts]
    return _json({"artifacts": found, "cursor": page.cursor})


async def artifact(operator: Operator, request: Request) -> Response:
    agent = query_of(request, AsAgent).agent or OPERATOR
    records, identity = await _found(operator, request)
    name = request.path_params["artifact"]
    found = await records.artifact(identity, name, now_ms=_now_ms())
    if not found.visible_to(agent, _now_ms()):
        raise NotFound("artifact", name)
    return _json({**plain(found), "payload": await records.payload(identity, found)})


async def frontier(operator: Operator, request: Request) -> Response:
    records, identity = await _found(operator, request)
    return _json(await frontier_verb.described(records, identity))


async def _found(operator: Operator, request: Request) -> tuple[Records, str]:
    records = operator.records
    return records, await records.find(request.path_params["run"])


def _json(value: object) -> Response:
    return JSONResponse(value)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
