"""The verbs over HTTP, on the port of a coordinator that runs."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.servers import free_port
from tests.verbs.commands import Shell, line_with, spec, stop, until


class Client:
    """Asks one coordinator, as a program would."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str) -> Any:
        response = self.open(method, path, body, **headers)
        text = response.read()
        assert response.status == status, text
        assert response.headers["content-type"].startswith("application/json")
        return json.loads(text)

    def open(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Content-Type": "application/json", **headers}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, sent)
        return connection.getresponse()


@pytest.fixture(scope="module")
def client(shell: Shell) -> Iterator[Client]:
    """Of a second coordinator, so that most answers come from one that does not lead."""
    port = free_port()
    serving = shell.start("serve", "--port", str(port))
    line_with(serving, "serves")
    yield Client(port)
    assert stop(serving).code == 0


def events(response: http.client.HTTPResponse) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for raw in response:
        line = raw.decode().rstrip("\n")
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields
            fields = {}


def test_a_run_is_submitted_shown_listed_and_cancelled(client: Client) -> None:
    submitted = client("POST", "/v1/runs", json.loads(spec("nap")), status=201)
    run = submitted["run"]
    assert submitted == {"run": run, "created": True, "ignored": [], "warnings": []}
    until(lambda: client("GET", f"/v1/runs/{run}")["tasks"] == {"running": 1})
    assert run in [one["run"] for one in client("GET", "/v1/runs?active=true")]
    (task,) = client("GET", f"/v1/runs/{run}/tasks?status=running")
    assert client("GET", f"/v1/runs/{run}/tasks/{task['id']}")["journal"] == []
    assert client("POST", f"/v1/runs/{run}/pause", {"reason": "lunch"})["verdict"] == "paused"
    assert client("GET", f"/v1/runs/{run}")["paused"] == "lunch"
    assert client("POST", f"/v1/runs/{run}/resume")["verdict"] == "resumed"
    cancelled = client("POST", f"/v1/runs/{run}/cancel", {"reason": "enough"})
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "enough")
    assert [one["task"] for one in cancelled["confirmed"]] == [task["id"]]


def test_dead_letters_are_listed_and_retried(client: Client) -> None:
    run = client("POST", "/v1/runs", json.loads(spec("boom", "x")), status=201)["run"]
    until(lambda: client("GET", f"/v1/runs/{run}")["status"] == "failed")
    (letter,) = client("GET", f"/v1/runs/{run}/dead")
    assert "Traceback" in letter["failure"]["traceback"]
    assert client("POST", f"/v1/runs/{run}/retry", {})["retried"] == 1
    until(lambda: [one["attempt"] for one in client("GET", f"/v1/runs/{run}/dead")] == [2])


def test_a_question_is_answered_and_a_signal_sent(client: Client) -> None:
    clerks = spec("clerk", "the old bridge", agents=[{"name": "clerk"}, {"name": "archive"}])
    run = client("POST", "/v1/runs", json.loads(clerks), status=201)["run"]

    def asked(kind: str) -> list[dict[str, Any]]:
        return [one for one in client("GET", f"/v1/runs/{run}/inquiries") if one["wait"]["kind"] == kind]

    until(lambda: bool(asked("human")))
    (inquiry,) = asked("human")
    path = f"/v1/runs/{run}/inquiries/{inquiry['id']}"
    given = {"answer": "yes", "approves": inquiry["wait"]["approves"], "answerer": "ada"}
    assert "about" in client("POST", path, {"answer": "yes"}, status=409)["message"]
    assert client("POST", path, given)["answered"] is True
    assert "otherwise" in client("POST", path, {**given, "answer": "no"}, status=409)["message"]
    until(lambda: bool(asked("signal")))
    sent = client("POST", f"/v1/runs/{run}/signals/gate", {"value": "open"})
    assert len(sent["inquiries"]) == 1
    until(lambda: client("GET", f"/v1/runs/{run}")["status"] == "done")
    ended = client("GET", f"/v1/runs/{run}/inquiries?all=true")
    assert "ada" in [one["answerer"] for one in ended]


def test_events_are_streamed_up_to_the_end_and_go_on_after_a_cursor(client: Client, noted: str) -> None:
    response = client.open("GET", f"/v1/runs/{noted}/events")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    seen = list(events(response))
    assert [int(one["id"]) for one in seen[:-1]] == list(range(1, len(seen)))
    assert seen[0]["event"] == "run_created"
    assert json.loads(seen[-1]["data"])["status"] == "done"
    again = list(events(client.open("GET", f"/v1/runs/{noted}/events", **{"Last-Event-ID": "3"})))
    assert again == seen[3:]
    assert list(events(client.open("GET", f"/v1/runs/{noted}/events?after=3"))) == seen[3:]


def test_a_run_is_verified_as_by_the_verb(client: Client, shell: Shell, noted: str) -> None:
    found = client("GET", f"/v1/runs/{noted}/verify")
    assert found["sound"] is True
    assert found == shell("verify", noted, "--json").json


def test_events_of_a_run_under_way_come_as_they_happen(client: Client) -> None:
    run = client("POST", "/v1/runs", json.loads(spec("nap")), status=201)["run"]
    until(lambda: client("GET", f"/v1/runs/{run}")["tasks"] == {"running": 1})
    stream = events(client.open("GET", f"/v1/runs/{run}/events"))
    assert next(stream)["event"] == "run_created"
    canceller = threading.Timer(0.5, lambda: client("POST", f"/v1/runs/{run}/cancel", {}))
    canceller.start()
    assert [one["event"] for one in stream][-2:] == ["run_ended", "end"]
    canceller.join()


def test_an_agent_sees_of_the_artifacts_what_it_may(client: Client) -> None:
    run = client("POST", "/v1/runs", json.loads(spec("whisper")), status=201)["run"]
    until(lambda: client("GET", f"/v1/runs/{run}")["status"] == "done")
    (artifact,) = client("GET", f"/v1/runs/{run}/artifacts?type=note")["artifacts"]
    assert client("GET", f"/v1/runs/{run}/artifacts?agent=friend")["artifacts"] == [artifact]
    assert client("GET", f"/v1/runs/{run}/artifacts?agent=stranger")["artifacts"] == []
    path = f"/v1/runs/{run}/artifacts/{artifact['id']}"
    assert client("GET", f"{path}?agent=friend")["payload"] == {"text": "a secret"}
    assert client("GET", f"{path}?agent=stranger", status=404)["error"] == "NotFound"


def test_the_frontier_is_that_of_the_verb(client: Client, shell: Shell, finished: str) -> None:
    assert client("GET", f"/v1/runs/{finished}/frontier") == shell("frontier", finished, "--json").json


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("GET", "/v1/runs/nothing", None, 404, "no run"),
        ("POST", "/v1/runs/nothing/pause", {}, 404, "no run"),
        ("POST", "/v1/runs", b"{", 400, "message"),
        ("POST", "/v1/runs", {}, 400, "goal"),
        ("POST", "/v1/runs/latest/pause", {"because": "x"}, 400, "because"),
        ("POST", "/v1/runs/latest/cancel", {"reason": ""}, 400, "reason"),
        ("GET", "/v1/runs?active=perhaps", None, 400, "active"),
        ("GET", "/v1/runs/latest/events?after=-1", None, 400, "after"),
        ("POST", "/v1/runs/latest/signals/nobody", {}, 404, "waits for signal"),
        ("GET", "/v1/nothing", None, 404, "Not Found"),
        ("DELETE", "/v1/runs/latest", None, 405, "Method Not Allowed"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    client: Client, noted: str, method: str, path: str, body: Any, status: int, named: str
) -> None:
    answer = client(method, path, body, status=status)
    assert named in answer["message"]
    assert answer.keys() == {"error", "message", "remedy"}


def test_a_body_is_bounded(client: Client) -> None:
    answer = client("POST", "/v1/runs", b" " * (4 * 1024 * 1024 + 1), status=413)
    assert answer["error"] == "MessageTooLarge"


def test_a_page_of_another_site_can_change_nothing(client: Client, noted: str) -> None:
    refused = client("POST", f"/v1/runs/{noted}/cancel", {}, status=403, **{"Content-Type": "text/plain"})
    assert "application/json" in refused["message"]
    assert client("GET", "/v1/runs", status=403, Host="evil.example")["error"] == "Forbidden"


def test_with_a_token_runs_are_served_to_those_who_have_it_and_health_to_all(shell: Shell) -> None:
    port = free_port()
    extra = {**shell.extra, "SWARMBOARD_HTTP_TOKEN": "open sesame", "SWARMBOARD_HTTP_HOST": "0.0.0.0"}
    serving = Shell(shell.home, shell.data, extra).start("serve", "--port", str(port))
    line_with(serving, "serves")
    anybody, friend = Client(port), Client(port, "open sesame")
    assert anybody("GET", "/v1/runs", status=401)["error"] == "Unauthorized"
    assert anybody("GET", "/healthz") == {"alive": True}
    assert isinstance(friend("GET", "/v1/runs"), list)
    assert stop(serving).code == 0


def test_an_open_port_without_a_token_serves_no_runs(shell: Shell) -> None:
    port = free_port()
    extra = {**shell.extra, "SWARMBOARD_HTTP_HOST": "0.0.0.0"}
    serving = Shell(shell.home, shell.data, extra).start("serve", "--port", str(port))
    line_with(serving, "serves")
    assert "http.token" in Client(port)("POST", "/v1/runs", {}, status=403)["message"]
    assert Client(port).open("GET", "/metrics").status == 200
    assert stop(serving).code == 0


def test_stranded_tasks_are_asked_for_among_the_tasks(client: Client, noted: str) -> None:
    assert client("GET", f"/v1/runs/{noted}/tasks?stranded=true") == []
    assert client("GET", f"/v1/runs/{noted}/tasks?stranded=false") != []
