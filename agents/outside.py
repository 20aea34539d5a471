"""Errors of the world outside, as an agent's libraries raise them, by who must act. Pure."""

import socket
import sys
from collections.abc import Mapping
from datetime import timedelta
from math import isnan
from types import ModuleType
from typing import Any
from urllib.error import HTTPError, URLError

from agents.agent import AgentFailure

CAPACITY = frozenset((429,))
PASSING = frozenset((408, 425))
RETRY_LIMIT_SECONDS = 86_400.0


def outside_failure(error: BaseException) -> AgentFailure | None:
    """The failure that an error of a connection or of an HTTP answer stands for; None for any other error."""
    if isinstance(error, HTTPError):
        return answered(error.code, dict(error.headers or {}), f"{error.url}: {error.reason}")
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror | URLError):
        return AgentFailure("transient", f"{type(error).__name__}: {error}")
    httpx = sys.modules.get("httpx")
    return None if httpx is None else _of_httpx(httpx, error)


def _of_httpx(httpx: ModuleType, error: Any) -> AgentFailure | None:  # noqa: ANN401 - httpx is not a dependency
    """Only an agent that has loaded httpx can raise its errors."""
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        return answered(response.status_code, dict(response.headers), str(error))
    if isinstance(error, httpx.TransportError):
        return AgentFailure("transient", f"{type(error).__name__}: {error}")
    return None


def answered(status: int, headers: Mapping[str, str], message: str) -> AgentFailure:
    """An HTTP answer that is none: too many requests need patience, servers may recover, the rest is ours."""
    text = f"HTTP {status}: {message}"
    if status in CAPACITY:
        return AgentFailure("capacity", text, retry_after=_retry_after(headers))
    if status in PASSING or status >= 500:
        return AgentFailure("transient", text, retry_after=_retry_after(headers))
    return AgentFailure("user", text)


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The seconds that a server asks for; a date, which needs a common clock, is left to our own patience."""
    given = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    try:
        seconds = float(given)
    except ValueError:
        return None
    return None if isnan(seconds) else timedelta(seconds=min(max(seconds, 0.0), RETRY_LIMIT_SECONDS))
