"""Questions to people and signals, from the command line, over a swarm that runs."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from coordinator import connections
from coordinator.commands.answering import json_or_text
from coordinator.settings import load
from protocol.artifacts import digest_of
from protocol.codec import encode
from protocol.messages import SwarmResponse
from tests.verbs.commands import Shell, spec, until


def opened(shell: Shell, run: str, kind: str) -> Sequence[Any]:
    return [one for one in shell("inquiries", run, "--json").json if one["wait"]["kind"] == kind]


def clerk_run(shell: Shell) -> str:
    agents = [{"name": "clerk"}, {"name": "archive"}]
    return shell("submit", "--spec", "-", stdin=spec("clerk", "the old bridge", agents=agents)).out.strip()


def test_a_person_answers_and_a_signal_follows(shell: Shell) -> None:
    run = clerk_run(shell)
    until(lambda: bool(opened(shell, run, "human")))
    (inquiry,) = opened(shell, run, "human")
    digest = digest_of({"topic": "the old bridge"})
    assert inquiry["wait"]["approves"] == digest
    listed = shell("inquiries", run).out
    assert "go on?" in listed
    assert "choices are yes, no" in listed
    assert f"approves {digest}" in listed
    assert shell("show", run, "--json").json["inquiries"] == {"total": 1, "open": 1}
    assert "waits for:" in shell("show", run).out
    (task,) = shell("tasks", run, "--status", "waiting", "--json").json
    assert "human human: go on?" in shell("tasks", run, task["id"]).out

    assert "--approves" in shell("answer", run, inquiry["id"], "yes", code=2).err
    assert "--approves" in shell("answer", run, inquiry["id"], "yes", "--approves", digest[:4], code=2).err
    refused = shell("answer", run, inquiry["id"], "maybe", "--approves", digest[:8], code=1)
    assert "none of the choices: yes, no" in refused.err
    assert "exactly one" in shell("answer", run, inquiry["id"], code=2).err
    answered = shell("answer", run, inquiry["id"][:12], "yes", "--approves", digest[:8], "--json")
    assert answered.json == {"run": run, "inquiry": inquiry["id"], "answered": True}
    shell("answer", run, inquiry["id"], "yes", "--approves", digest)
    again = shell("answer", run, inquiry["id"], "no", "--approves", digest, code=1)
    assert "has answered it already, and otherwise" in again.err

    assert "no task that waits for signal 'door'" in shell("signal", run, "door", code=3).err
    until(lambda: bool(opened(shell, run, "signal")))
    assert "reached 1 waiting tasks" in shell("signal", run, "gate", '{"wide": true}').err
    until(lambda: shell("show", run, "--json").json["status"] == "done")
    found = shell("artifacts", run, "--type", "verdict", "--json").json
    assert "yes, {'said': 'what do we know? nothing'}, {'wide': True}" in json.dumps(found)
    assert [one["state"] for one in shell("inquiries", run, "--all", "--json").json] == ["answered"] * 3
    assert "3 inquiries have ended" in shell("inquiries", run).err
    told = shell("watch", run).out
    assert "inquiry_asked" in told
    assert "wait=go on?" in told


def test_a_run_that_waits_is_cancelled(shell: Shell) -> None:
    run = clerk_run(shell)
    until(lambda: bool(opened(shell, run, "human")))
    (inquiry,) = opened(shell, run, "human")
    shell("cancel", run)
    late = shell(
        "answer",
        run,
        inquiry["id"],
        "--failure",
        "too late",
        "--approves",
        inquiry["wait"]["approves"],
        code=1,
    )
    assert "has ended" in late.err


def test_a_response_on_the_bus_is_an_answer(shell: Shell) -> None:
    run = clerk_run(shell)
    until(lambda: bool(opened(shell, run, "human")))
    (inquiry,) = opened(shell, run, "human")
    response = SwarmResponse(
        run=run, inquiry=inquiry["id"], answerer="bot", answer="no", approves=inquiry["wait"]["approves"]
    )

    async def publish() -> None:
        settings = load({"data.folder": str(shell.data)}).settings
        async with connections.transport(settings, name="bot") as transport:
            data = encode(response, source="bot", message_id=inquiry["id"], time_ms=0)
            await transport.publish("swarm.response.clerk", data, message_id=inquiry["id"])

    anyio.run(publish)
    until(lambda: bool(opened(shell, run, "signal")))
    (told,) = [
        one for one in shell("inquiries", run, "--all", "--json").json if one["wait"]["kind"] == "human"
    ]
    assert (told["answerer"], told["answer"]["value"]) == ("bot", "no")
    shell("cancel", run)


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ('{"a": [1]}', {"a": [1]}), ("yes", "yes"), ('[{"x": NaN}]', '[{"x": NaN}]'), ("", "")],
)
def test_an_answer_is_json_where_it_is_json_and_text_otherwise(text: str, value: object) -> None:
    assert json_or_text(text) == value
