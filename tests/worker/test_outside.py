"""Whose turn it is when something outside fails."""

import io
import socket
from email.message import Message
from urllib.error import HTTPError, URLError

import httpx
import pytest

from agents.failures import failure_of


def http_error(status: int, **headers: str) -> HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return HTTPError("http://example.test", status, "no", message, io.BytesIO())


def of_httpx(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://example.test")
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx.Response(status, headers=given, request=request)
    return httpx.HTTPStatusError("no", request=request, response=response)


@pytest.mark.parametrize("raised", [http_error, of_httpx])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "user"), (401, "user"), (404, "user"), (408, "transient"), (500, "transient"), (503, "transient")],
)
def test_an_http_answer_is_classified_by_its_status(raised, status, kind):
    failure = failure_of(raised(status))
    assert (failure.kind, f"HTTP {status}" in failure.message) == (kind, True)


@pytest.mark.parametrize("raised", [http_error, of_httpx])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("Wed, 21 Oct 2026", None), ("-3", 0.0), ("nan", None), ("1e400", 86_400.0)],
)
def test_a_rate_limit_asks_for_the_patience_that_the_server_asks_for(raised, said, seconds):
    failure = failure_of(raised(429, retry_after=said))
    assert (failure.kind, failure.retry_after_seconds) == ("capacity", seconds)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("no"),
        ConnectionResetError("reset"),
        TimeoutError("late"),
        socket.gaierror("no such host"),
        URLError("no route"),
        httpx.ReadTimeout("late"),
        httpx.ConnectError("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_transient(error):
    assert failure_of(error).kind == "transient"


@pytest.mark.parametrize("error", [FileNotFoundError("x"), PermissionError("x"), ValueError("x")])
def test_anything_else_is_a_bug_with_its_traceback(error):
    assert failure_of(error).kind == "bug"


def test_of_several_failures_a_bug_counts_first():
    group = ExceptionGroup("both", [ConnectionResetError("reset"), ValueError("x")])
    assert failure_of(group).kind == "bug"
