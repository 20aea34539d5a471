"""Who may ask over HTTP for what, and which status an error has."""

import pytest

from coordinator.operating import NoLeader
from coordinator.web.errors import error_response, status_of
from coordinator.web.guard import Forbidden, Guard, Unauthorized
from protocol.errors import (
    ArtifactConflict,
    InvalidMessage,
    MessageTooLarge,
    NotFound,
    Overloaded,
    ReplyTimeout,
    StaleLeader,
    StoreUnavailable,
)

JSON = "application/json"


def test_without_a_token_this_machine_may_ask_everything():
    guard = Guard("", loopback_only=True)
    for host in ("127.0.0.1:8642", "localhost", "[::1]:80", "LOCALHOST:1"):
        guard.check("GET", "", host, "")
        guard.check("POST", "", host, f"{JSON}; charset=utf-8")


def test_without_a_token_nobody_may_ask_where_others_can_connect():
    with pytest.raises(Forbidden, match=r"set http\.token"):
        Guard("", loopback_only=False).check("GET", "", "127.0.0.1", "")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", ""])
def test_a_page_that_has_its_own_name_lead_to_this_machine_is_refused(host):
    with pytest.raises(Forbidden, match="not a name of this machine"):
        Guard("", loopback_only=True).check("GET", "", host, "")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_form_in_a_browser_could_send_changes_nothing(kind):
    with pytest.raises(Forbidden, match="Content-Type"):
        Guard("", loopback_only=True).check("POST", "", "localhost", kind)


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic secret", "secret", "Bearer ſecret"])
def test_where_there_is_a_token_nothing_is_told_without_it(given):
    for loopback_only in (True, False):
        with pytest.raises(Unauthorized):
            Guard("secret", loopback_only=loopback_only).check("GET", given, "localhost", JSON)


def test_whoever_has_the_token_may_ask_from_anywhere():
    guard = Guard("secret", loopback_only=False)
    guard.check("POST", "Bearer secret", "swarm.example", "")
    guard.check("GET", "bearer secret", "swarm.example", "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unauthorized(), 401),
        (Forbidden("no", "do"), 403),
        (NotFound("run", "x"), 404),
        (InvalidMessage("x", "bad", "better"), 400),
        (MessageTooLarge("body", 2, 1), 413),
        (Overloaded("runs", 1, 2.0), 429),
        (StaleLeader("r"), 409),
        (NoLeader("r", "pause"), 503),
        (StoreUnavailable("get", "refused"), 503),
        (ReplyTimeout("s", 1), 504),
        (ArtifactConflict("a"), 500),
    ],
)
def test_the_status_says_who_must_act(error, status):
    assert status_of(error) == status


def test_an_overloaded_swarm_says_when_to_come_back():
    assert error_response(Overloaded("runs", 1, 2.4)).headers["retry-after"] == "2"
    assert error_response(Unauthorized()).headers["www-authenticate"] == "Bearer"
