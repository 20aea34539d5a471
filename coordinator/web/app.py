"""Requests in, JSON out: the routes, and who may use them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from coordinator.operating import Operator
from coordinator.web.endpoints import ENDPOINTS, Answer
from coordinator.web.errors import error_response, http_error, unforeseen
from coordinator.web.guard import Guard
from protocol.errors import SwarmError
from protocol.health import Page


class Desk(Protocol):
    """Where requests find the operator."""

    async def attended(self) -> Operator:
        """:raises StoreUnavailable: when store and bus cannot be reached for a while."""
        ...


def application(desk: Desk, guard: Guard, pages: Mapping[str, Callable[[], Page]]) -> Starlette:
    """Pages are open to everybody who can connect; the endpoints of runs are guarded."""
    routes = [Route(path, _page(page), methods=["GET"]) for path, page in pages.items()]
    for endpoint in ENDPOINTS:
        answer = _guarded(endpoint.answer, desk, guard)
        routes.append(Route(endpoint.path, answer, methods=[endpoint.method]))
    return Starlette(routes=routes, exception_handlers={HTTPException: http_error, Exception: unforeseen})


def _page(page: Callable[[], Page]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        made = page()
        return Response(made.body, made.status, media_type=made.content_type)

    return answer


def _guarded(answer: Answer, desk: Desk, guard: Guard) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        headers = request.headers
        try:
            guard.check(
                request.method,
                headers.get("authorization", ""),
                headers.get("host", ""),
                headers.get("content-type", ""),
            )
            return await answer(await desk.attended(), request)
        except SwarmError as error:
            return error_response(error)

    return guarded
