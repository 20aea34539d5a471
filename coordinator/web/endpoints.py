"""Every endpoint in one table: what is routed is what is documented."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from blackboard.spec import RunSpec
from coordinator.operating import Operator
from coordinator.web import acting, reading
from protocol.messages import CancelRequest, Record, RetryRequest

Answer = Callable[[Operator, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path in Starlette's form. `body` and `query` are what it takes; `POST` changes something."""

    method: Literal["GET", "POST"]
    path: str
    summary: str
    answer: Answer
    body: type[Record] | None = None
    query: type[Record] | None = None


RUN = "/v1/runs/{run}"

ENDPOINTS = (
    Endpoint("GET", "/v1/runs", "The runs, newest first.", reading.runs, query=reading.RunsQuery),
    Endpoint(
        "POST", "/v1/runs", "Hand in a run: the specification is the body.", acting.submit, body=RunSpec
    ),
    Endpoint("GET", RUN, "A run: its state, what it spent, what it found.", reading.run),
    Endpoint(
        "GET",
        f"{RUN}/events",
        "A run's events up to its end, as server-sent events; `Last-Event-ID` goes on from there.",
        reading.events,
        query=reading.EventsQuery,
    ),
    Endpoint(
        "GET", "/v1/providers", "The circuit breakers of providers that have failed.", reading.providers
    ),
    Endpoint(
        "POST",
        "/v1/providers/{provider}/close",
        "Let calls of a provider through again.",
        acting.close,
        body=acting.Nothing,
    ),
    Endpoint(
        "GET", "/v1/limits", "What is in use of the limits of agents and models, and by whom.", reading.limits
    ),
    Endpoint("GET", f"{RUN}/tasks", "A run's tasks, oldest first.", reading.tasks, query=reading.TasksQuery),
    Endpoint("GET", f"{RUN}/tasks/{{task}}", "A task with its journal, and why it was chosen.", reading.task),
    Endpoint("GET", f"{RUN}/dead", "Dead letters, with reason and traceback.", reading.dead),
    Endpoint(
        "GET",
        f"{RUN}/inquiries",
        "What the run's tasks wait for.",
        reading.inquiries,
        query=reading.InquiriesQuery,
    ),
    Endpoint(
        "GET",
        f"{RUN}/artifacts",
        "Artifacts, newest first: those that `agent` may see, or all.",
        reading.artifacts,
        query=reading.ArtifactsQuery,
    ),
    Endpoint(
        "GET",
        f"{RUN}/artifacts/{{artifact}}",
        "One artifact with its payload.",
        reading.artifact,
        query=reading.AsAgent,
    ),
    Endpoint(
        "GET", f"{RUN}/frontier", "The run's directions, as their policies rank them.", reading.frontier
    ),
    Endpoint("GET", f"{RUN}/compare/{{other}}", "The outcomes of two runs side by side.", reading.compared),
    Endpoint(
        "GET", f"{RUN}/verify", "Whether rows and artifacts are what the events have made.", reading.verified
    ),
    Endpoint("POST", f"{RUN}/cancel", "End a run, or some of its tasks.", acting.cancel, body=CancelRequest),
    Endpoint("POST", f"{RUN}/pause", "Let nothing new begin.", acting.pause, body=acting.Reason),
    Endpoint("POST", f"{RUN}/resume", "Let a paused run go on.", acting.resume, body=acting.Nothing),
    Endpoint(
        "POST",
        f"{RUN}/retry",
        "Begin tasks again that ended without a result; all that are dead, if none is named.",
        acting.retry,
        body=RetryRequest,
    ),
    Endpoint(
        "POST",
        f"{RUN}/fork",
        "Begin a run that shares this one's history up to a point.",
        acting.fork,
        body=acting.Fork,
    ),
    Endpoint(
        "POST",
        f"{RUN}/replay",
        "Run this once more against its journals, in a new run.",
        acting.replay,
        body=acting.Replay,
    ),
    Endpoint(
        "POST", f"{RUN}/inquiries/{{inquiry}}", "Answer what a task asks.", acting.answer, body=acting.Given
    ),
    Endpoint(
        "POST",
        f"{RUN}/signals/{{name}}",
        "Send a signal to the tasks that wait for it now.",
        acting.signal,
        body=acting.Signal,
    ),
)
