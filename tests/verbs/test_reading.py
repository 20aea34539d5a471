"""The verbs that read, over a swarm that runs: as text for people, and as JSON for programs."""

import hashlib
import re

import anyio

from blackboard.redis_keys import Keyspace
from blackboard.redis_link import RedisLink, RedisSettings
from coordinator.connections import redis_address, redis_settings
from coordinator.embedded.folder import DataFolder
from coordinator.settings import load
from tests.verbs.commands import Shell, spec
from tests.verbs.conftest import QUESTION


def test_a_finished_run_is_listed_with_its_tasks(shell: Shell, finished: str) -> None:
    listed = {run["run"]: run for run in shell("runs", "--json").json}
    assert listed[finished]["status"] == "done"
    assert listed[finished]["goal"] == QUESTION
    assert set(listed[finished]["tasks"]) == {"done"}
    assert finished in shell("runs").out


def test_only_unfinished_runs_are_active(shell: Shell, finished: str, napping: str) -> None:
    active = {run["run"]: run for run in shell("runs", "--active", "--json").json}
    assert finished not in active
    assert active[napping]["status"] == "running"


def test_a_run_is_shown_whole(shell: Shell, finished: str) -> None:
    shown = shell("show", finished, "--json").json
    assert shown["status"] == "done"
    assert shown["goal"] == QUESTION
    assert shown["budget"]["tasks"] == {"spent": shown["agents"]["explore"]["done"], "limit": 32}
    assert shown["usage"]["model_calls"] == 0
    assert sum(shown["tasks"].values()) == sum(sum(states.values()) for states in shown["agents"].values())
    assert shown["artifacts"]["types"]["report"] == 1
    assert sum(shown["artifacts"]["types"].values()) == shown["artifacts"]["total"]
    assert shown["takeovers"] == shown["lost_events"] == 0
    assert shown["spec"]["run"] == finished
    text = shell("show", finished).out
    assert QUESTION in text
    assert f"coordinator artifacts {finished} --type report" in text


def test_a_run_is_proven_to_be_what_its_events_have_made(shell: Shell, finished: str, noted: str) -> None:
    found = shell("verify", finished, "--json").json
    assert (found["proven"], found["sound"], found["differences"]) == (True, True, [])
    text = shell("verify", noted)
    assert re.search(r"^compared: \d+ events with \d+ rows, 2 artifacts, 1 bodies$", text.out, re.MULTILINE)
    assert "all is as the events have made it" in text.err
    assert "no run 'nowhere'" in shell("verify", "nowhere", code=3).err


def test_a_row_altered_in_the_store_is_found_and_ends_the_verb_with_1(shell: Shell, failed: str) -> None:
    (task,) = shell("tasks", failed, "--json").json
    row = Keyspace(RedisSettings().prefix).run(failed).rows("task"), task["id"]
    settings = load({}, environ={}, connection=DataFolder(shell.data).read_connection()).settings.redis

    async def put(value: bytes | None) -> bytes:
        link = RedisLink(redis_address(settings), redis_settings(settings))
        try:
            before = await link.call("read", "HGET", *row)
            if value is not None:
                await link.call("alter", "HSET", *row, value)
        finally:
            await link.aclose()
        return before

    before = anyio.run(put, None)
    anyio.run(put, before.replace(b'"dead"', b'"done"'))
    try:
        altered = shell("verify", failed, code=1)
        assert f"row task {task['id']}: status is 'done', by the events 'dead'" in altered.out
        assert shell("verify", failed, "--json", code=1).json["sound"] is False
    finally:
        anyio.run(put, before)
    shell("verify", failed)


def test_a_failed_run_says_why(shell: Shell, failed: str) -> None:
    shown = shell("show", failed, "--json").json
    assert shown["status"] == "failed"
    assert shown["reason"].startswith("no task ended well; the first ended dead: bug: ")
    assert shown["tasks"] == {"dead": 1}


def test_runs_are_found_by_the_beginning_of_their_id(shell: Shell, finished: str, failed: str) -> None:
    assert shell("show", finished[:-1], "--json").json["run"] == finished
    newest = shell("runs", "--json").json[0]["run"]
    assert shell("show", "latest", "--json").json["run"] == newest
    assert shell("show", "--json").json["run"] == newest
    ambiguous = shell("show", finished[:1], code=2)
    assert "give more" in ambiguous.err
    assert finished in shell("runs").out
    assert failed in shell("runs").out


def test_what_is_not_there_is_not_found(shell: Shell, finished: str) -> None:
    for arguments in (
        ("watch", "nowhere"),
        ("cancel", "nowhere"),
        ("tasks", finished, "task-none"),
        ("artifacts", finished, "art-none"),
        ("frontier", finished, "--why", "task-none"),
    ):
        answer = shell(*arguments, code=3)
        assert answer.out == ""
        assert "error: no " in answer.err
    assert '"exit": 3' in shell("show", "nowhere", "--json", code=3).err


def test_artifacts_are_listed_by_what_they_are(shell: Shell, finished: str, noted: str) -> None:
    reports = shell("artifacts", finished, "--type", "report", "--json").json
    assert [artifact["producer"]["agent"] for artifact in reports] == ["report"]
    found = shell("artifacts", finished, "--type", "finding", "--text", "moon", "--json").json
    assert found
    assert all("moon" in artifact["text"].lower() for artifact in found)
    tagged = shell("artifacts", noted, "--tag", "long", "--json").json
    assert [artifact["tags"] for artifact in tagged] == [["long"]]
    assert shell("artifacts", noted, "--producer", "note", "--json").json[1:]
    one = shell("artifacts", noted, "--limit", "1")
    assert "see more with --limit" in one.err
    assert len(one.out.splitlines()) == 2
    none = shell("artifacts", noted, "--type", "finding")
    assert none.out == ""
    assert "none of the 2 artifacts" in none.err
    assert "--type" in shell("artifacts", noted, "--type", "no such", code=2).err


def test_an_artifact_is_printed_with_its_content_wherever_it_is_kept(shell: Shell, noted: str) -> None:
    listed = {artifact["tags"][0]: artifact for artifact in shell("artifacts", noted, "--json").json}
    assert listed["short"]["payload"] == {"text": "Grüße"}
    assert listed["long"]["payload"] is None
    for tag in ("short", "long"):
        body = shell("artifacts", noted, listed[tag]["id"], "--body").raw
        assert hashlib.sha256(body).hexdigest() == listed[tag]["digest"]
    whole = shell("artifacts", noted, listed["long"]["id"][:12], "--json").json
    assert whole["payload"] == {"text": "long " * 20_000}
    assert "Grüße" in shell("artifacts", noted, listed["short"]["id"]).out
    assert "name it after the run" in shell("artifacts", noted, "--body", code=2).err


def test_tasks_are_listed_and_shown_with_their_journal(shell: Shell, noted: str) -> None:
    (task,) = shell("tasks", noted, "--json").json
    assert (task["agent"], task["status"], task["topic"]) == ("note", "done", "Grüße")
    shown = shell("tasks", noted, task["id"][:10], "--json").json
    assert [step["path"] for step in shown["journal"]] == ["read"]
    text = shell("tasks", noted, "latest").out
    assert "reward 0.50, 2 artifacts" in text
    assert "read" in text
    assert task["id"] in shell("tasks", noted).out


def test_a_dead_letter_is_shown_with_its_traceback(shell: Shell, failed: str) -> None:
    (task,) = shell("tasks", failed, "--status", "dead", "--json").json
    assert task["failure"]["kind"] == "bug"
    text = shell("tasks", failed, task["id"]).out
    assert "boom over x" in text
    assert "Traceback" in text
    assert shell("tasks", failed, "--status", "done").out == ""
    assert "Invalid value" in shell("tasks", failed, "--status", "tired", code=2).err


def test_the_frontier_shows_where_visits_went_and_why(shell: Shell, finished: str) -> None:
    rows = shell("frontier", finished, "--json").json
    explored = [row for row in rows if row["agent"] == "explore"]
    assert sum(row["visits"] for row in explored) > 0
    assert all(0 <= row["mean_reward"] <= 1 for row in explored if row["visits"])
    tree = shell("frontier", finished, "--tree", "--json").json
    assert {child["agent"] for child in tree[0]["children"]} == {"explore"}
    assert "· " in shell("frontier", finished, "--tree").out
    assert rows[0]["topic"] in shell("frontier", finished).out
    task = shell("tasks", finished, "--agent", "explore", "--json").json[0]
    why = shell("frontier", finished, "--why", task["id"], "--json").json
    assert why["choice"]["chosen"]["direction"] == why["direction"] == task["direction"]
    assert why["why"].startswith(f"Chosen: “{task['topic']}”, out of ")
    assert shell("tasks", finished, task["id"], "--json").json["why"] == why["why"]
    assert "chosen by" in shell("frontier", finished, "--why", task["id"][:10]).out
    assert "without a choice" in shell("frontier", finished, "--why", "latest").out


def test_workers_are_listed_with_what_they_offer(shell: Shell, noted: str) -> None:
    workers = shell("workers", "--json").json
    assert len(workers) == 2
    assert all({"note", "explore"} <= set(worker["agents"]) for worker in workers)
    assert all(worker["age_seconds"] < 90 and worker["slots"] == 4 for worker in workers)
    assert workers[0]["worker"] in shell("workers").out


def test_a_run_that_was_just_made_says_what_to_do_next(shell: Shell) -> None:
    run = shell("submit", "--spec", "-", stdin=spec("nobody-offers-this")).out.strip()
    try:
        assert f"coordinator watch {run}" in shell("artifacts", run).err
    finally:
        shell("cancel", run)


def test_servers_that_do_not_answer_are_the_operators_business(shell: Shell) -> None:
    away = ("--nats-url", "nats://127.0.0.1:1", "--redis-url", "redis://127.0.0.1:1/0")
    for arguments in (
        ("show", "latest"),
        ("watch", "latest"),
        ("workers",),
        ("submit", "why?", "--corpus", "corpus"),
    ):
        answer = shell(*arguments, *away, code=4)
        assert "hint: `coordinator doctor`" in answer.err
        assert "Traceback" not in answer.err


def test_no_task_of_a_run_that_has_ended_is_stranded(shell: Shell, finished: str) -> None:
    assert shell("tasks", finished, "--stranded", "--json").json == []
    assert f"no task of run {finished} is stranded" in shell("tasks", finished, "--stranded").err
    (report,) = shell("tasks", finished, "--agent", "report", "--json").json
    assert report["build"] == "1"
    assert "build:       1" in shell("tasks", finished, report["id"]).out
    workers = shell("workers", "--json").json
    assert all(worker["builds"]["report"] == ["1"] for worker in workers)
    assert all(worker["builds"]["nap"][0].startswith("source-") for worker in workers)
    assert workers[0]["builds"]["nap"][0] in shell("workers").out


def test_a_run_that_asks_for_a_build_that_nobody_has_says_so(shell: Shell) -> None:
    agents = [{"name": "note", "build": "lost"}]
    run = shell("submit", "--spec", "-", stdin=spec("note", agents=agents)).out.strip()
    assert "is there a worker with build lost of agent note?" in shell("tasks", run).err
    shell("cancel", run)
