"""The answer to every error: the words of the command line, with who must act in the status code."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from coordinator.web.guard import Forbidden, Unauthorized
from protocol.errors import (
    FenceError,
    InvalidMessage,
    InvalidSettings,
    MessageTooLarge,
    NotFound,
    OperatorError,
    Overloaded,
    ReplyTimeout,
    SwarmError,
    UserError,
)
from protocol.exits import remedy

_log = logging.getLogger(__name__)


def status_of(error: SwarmError) -> int:  # noqa: PLR0911 - one per error
    match error:
        case Unauthorized():
            return 401
        case Forbidden():
            return 403
        case NotFound():
            return 404
        case MessageTooLarge():
            return 413
        case InvalidMessage() | InvalidSettings():
            return 400
        case Overloaded():
            return 429
        case UserError() | FenceError():
            return 409
        case ReplyTimeout():
            return 504
        case OperatorError():
            return 503
        case _:
            return 500


def error_response(error: SwarmError) -> Response:
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    value = {"error": type(error).__name__, "message": str(error), "remedy": remedy(error)}
    return JSONResponse(value, status_of(error), headers)


async def http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    words = error.detail if isinstance(error, HTTPException) else "internal error"
    value = {"error": "Http", "message": words, "remedy": "docs/schemas/openapi.json lists what there is"}
    return JSONResponse(value, status, headers)


async def unforeseen(request: Request, error: Exception) -> Response:
    """A bug of ours: the log has it, the answer does not."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    value = {"error": type(error).__name__, "message": "a bug; the coordinator's log has it", "remedy": ""}
    return JSONResponse(value, 500)
