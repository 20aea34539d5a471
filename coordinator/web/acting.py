"""Endpoints that change a run: the same verbs as the command's, by the same operator."""

import time
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from coordinator.commands import cancel as cancel_verb
from coordinator.commands import parting
from coordinator.commands import providers as providers_verb
from coordinator.commands.parting import point_of
from coordinator.commands.submit import spec_from
from coordinator.forking import Verb
from coordinator.operating import OPERATOR_NAME, Operator
from coordinator.overrides import PartRequest
from coordinator.pricing import unpriced
from coordinator.records import the_one
from coordinator.submit import submit as submit_run
from coordinator.web.bodies import body_of, bytes_of
from protocol.messages import AnswerRequest, CancelRequest, Failure, Id, PauseRequest, Record, RetryRequest
from protocol.prices import PriceTable


class Nothing(Record):
    """An empty object."""


class Reason(Record):
    """Why; it is recorded."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)] = "paused by the operator"


class Given(Record):
    """An answer, or why there is none."""

    answer: JsonValue = None
    failure: Annotated[str, Field(min_length=1, max_length=4_000)] | None = None
    approves: str | None = None
    """Digest of what is approved, where the inquiry names one."""
    answerer: Id = OPERATOR_NAME


class Signal(Record):
    """What the tasks get that wait for the signal."""

    value: JsonValue = None
    answerer: Id = OPERATOR_NAME


class Fork(PartRequest):
    """A run that shares this one's history up to a point."""

    at: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(:[0-9]{1,9})?$")]
    """The task before which the runs part, or `TASK:STEP` for a step of its journal."""


class Replay(PartRequest):
    """The run once more, against its journals."""

    task: Id | None = None
    """Where it begins; without it, at the beginning."""


async def submit(operator: Operator, request: Request) -> Response:
    spec, unknown = spec_from(await bytes_of(request))
    now_ms = time.time_ns() // 1_000_000
    settings = operator.settings
    created = await submit_run(
        operator.store,
        operator.transport,
        spec,
        now_ms=now_ms,
        max_active=settings.admission.max_active_runs,
    )
    warning = unpriced(spec, PriceTable(settings.prices.models))
    value = {
        "run": spec.run,
        "created": created,
        "ignored": unknown,
        "warnings": [warning] if warning else [],
    }
    return JSONResponse(value, 201 if created else 200, {"Location": f"/v1/runs/{spec.run}"})


async def cancel(operator: Operator, request: Request) -> Response:
    run = await _run(operator, request)
    wanted = await body_of(request, CancelRequest)
    return JSONResponse(cancel_verb.as_json(await operator.cancel(run, wanted)))


async def pause(operator: Operator, request: Request) -> Response:
    reason = (await body_of(request, Reason)).reason
    return await _pause(operator, request, PauseRequest(reason=reason))


async def resume(operator: Operator, request: Request) -> Response:
    await body_of(request, Nothing)
    return await _pause(operator, request, PauseRequest(paused=False))


async def _pause(operator: Operator, request: Request, wanted: PauseRequest) -> Response:
    run = await _run(operator, request)
    verdict = (await operator.pause(run, wanted)).verdict
    return JSONResponse({"run": run, "paused": wanted.paused and verdict != "ended", "verdict": verdict})


async def retry(operator: Operator, request: Request) -> Response:
    run = await _run(operator, request)
    reply = await operator.retry(run, await body_of(request, RetryRequest))
    return JSONResponse({"run": run, **reply.model_dump(mode="json")})


async def fork(operator: Operator, request: Request) -> Response:
    wanted = await body_of(request, Fork)
    return await _part(operator, request, "fork", point_of(wanted.at), wanted)


async def replay(operator: Operator, request: Request) -> Response:
    wanted = await body_of(request, Replay)
    return await _part(operator, request, "replay", (wanted.task, None), wanted)


async def _part(
    operator: Operator, request: Request, verb: Verb, at: tuple[str | None, int | None], wanted: PartRequest
) -> Response:
    parted = await parting.part(operator, request.path_params["run"], verb, at, wanted)
    location = {"Location": f"/v1/runs/{parted.spec.run}"}
    return JSONResponse(parting.as_json(parted), 201 if parted.created else 200, location)


async def answer(operator: Operator, request: Request) -> Response:
    run = await _run(operator, request)
    given = await body_of(request, Given)
    rows = {row.id: row for row in reversed(await operator.records.inquiries(run))}
    inquiry = the_one("inquiry", request.path_params["inquiry"], list(rows))
    failure = None if given.failure is None else Failure(kind="user", message=given.failure)
    wanted = AnswerRequest(
        inquiry=inquiry,
        answerer=given.answerer,
        answer=given.answer,
        failure=failure,
        approves=given.approves,
    )
    await operator.answer(run, wanted)
    return JSONResponse({"run": run, "inquiry": inquiry, "answered": True})


async def signal(operator: Operator, request: Request) -> Response:
    run = await _run(operator, request)
    given = await body_of(request, Signal)
    name = request.path_params["name"]
    reached = await operator.signal(run, name, given.value, given.answerer)
    return JSONResponse({"run": run, "signal": name, "inquiries": list(reached)})


async def close(operator: Operator, request: Request) -> Response:
    await body_of(request, Nothing)
    now_ms = time.time_ns() // 1_000_000
    breaker = await operator.close(request.path_params["provider"], now_ms)
    return JSONResponse(providers_verb.as_json(breaker))


async def _run(operator: Operator, request: Request) -> str:
    return await operator.records.find(request.path_params["run"])
