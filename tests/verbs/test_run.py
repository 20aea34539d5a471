"""`coordinator run` from end to end: each test with servers of its own."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import NatsServer, RedisServer
from tests.verbs.commands import Shell, line_with, spec, stop
from tests.verbs.conftest import QUESTION

ASYNCIO = str(Path(os.__file__).parent / "asyncio")
LONG = ("How does a task propagate cancellation, and what can suppress it?", "--corpus", ASYNCIO)
OUTCOME = [
    "run",
    "status",
    "question",
    "answer",
    "findings",
    "directions",
    "tasks",
    "usage",
    "seconds",
    "report",
    "warnings",
]
FINDING = ["path", "start_line", "end_line", "quote", "direction", "reward", "artifact"]
DIRECTION = ["topic", "parent", "visits", "mean_reward"]


@contextmanager
def servers(shell: Shell) -> Generator[None]:
    """The servers and a coordinator, without workers: for a look at what is there."""
    up = shell.start("up", "--workers", "0", "--json")
    try:
        assert up.stdout is not None
        found = json.loads(up.stdout.readline())
        assert list(found) == ["data", "http_port", "workers"]
        yield
        assert stop(up).code == 0
    finally:
        up.kill()


def test_a_question_is_answered_as_one_json_object(own: Shell) -> None:
    answer = own("run", QUESTION, "--corpus", "corpus", "--workers", "1", "--json")
    found = answer.json
    assert list(found) == OUTCOME
    assert (found["status"], found["question"]) == ("done", QUESTION)
    assert "moon" in found["answer"]
    assert all(list(finding) == FINDING for finding in found["findings"])
    assert all(list(direction) == DIRECTION for direction in found["directions"])
    for finding in found["findings"]:
        lines = (own.home / "corpus" / finding["path"]).read_text().splitlines()
        assert finding["quote"] == "\n".join(lines[finding["start_line"] - 1 : finding["end_line"]])
    assert Path(found["report"]).read_text().startswith("# ")


def test_the_report_goes_to_standard_output_and_the_progress_does_not(own: Shell) -> None:
    answer = own("run", "Der Mond? 🌊", "--corpus", "corpus", "--workers", "1", "--output", "out/r.md")
    assert answer.out.startswith("# Der Mond? 🌊")
    assert answer.out.rstrip() == (own.home / "out" / "r.md").read_text().rstrip()
    assert "explored " in answer.err
    assert "report: out/r.md" in answer.err
    assert "Why the last visit went where it did. Chosen: “" in answer.out
    assert "WARNING" not in answer.err
    assert "\x1b" not in answer.out + answer.err


def test_an_empty_corpus_is_answered_and_not_made_up(own: Shell) -> None:
    (own.home / "empty").mkdir()
    found = own("run", "Is there anything?", "--corpus", "empty", "--workers", "1", "--json", code=6).json
    assert list(found) == OUTCOME
    assert found["findings"] == []
    assert found["status"] == "failed"


def test_what_cannot_work_is_refused_before_anything_starts(own: Shell) -> None:
    question = ("run", "why?", "--corpus", "corpus")
    assert "nowhere does not exist" in own("run", "why?", "--corpus", "nowhere", code=2).err
    assert "cannot be written" in own(*question, "--output", "corpus/tides.md/report.md", code=2).err
    assert "--model: 'gpt' names no provider" in own(*question, "--model", "gpt", code=2).err
    assert "--resume" in own(*question, "--resume", "abc", code=2).err
    assert "leave out QUESTION" in own(*question, "--resume", "abc", code=2).err
    assert not own.data.exists()


def test_resuming_without_an_unfinished_run_finds_none(own: Shell) -> None:
    answer = own("run", "--resume", "--workers", "1", code=3)
    assert "there is no unfinished run; begin one with: coordinator run" in answer.err


def test_agents_that_are_not_there_end_the_swarm_with_their_error(own: Shell) -> None:
    began = time.monotonic()
    answer = own("up", "--workers", "1", "--agents", "no_such_module", code=4)
    assert "no_such_module" in answer.err
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_running(own: Shell, number: signal.Signals) -> None:
    process = own.start("run", *LONG, "--workers", "2", "--budget", "2000")
    line_with(process, "explored ")
    ended = stop(process, number)
    assert ended.code == 130
    assert f"coordinator run --resume --data {own.data}" in ended.err
    assert "Traceback" not in ended.err
    assert not own.left_over()


def test_a_killed_run_is_resumed_and_repeats_nothing_finished(own: Shell) -> None:
    process = own.start("run", *LONG, "--workers", "2", "--budget", "16")
    line_with(process, "explored ", count=3)
    process.kill()
    process.communicate()

    with servers(own):
        before = _tasks(own)
        kept = _digests(own)
        assert own("show", "latest", "--json").json["status"] == "running"
        found = own("run", "--resume", "--workers", "2", "--json").json
        after = _tasks(own)
        digests = _digests(own)
        events = own("watch", "latest", "--json").lines

    settled = {key: task for key, task in before.items() if task["status"] == "done"}
    assert len(settled) >= 3
    assert found["status"] == "done"
    assert len(found["findings"]) > 0
    ends = Counter(event["task"] for event in events if event["kind"] == "task_settled")
    assert set(ends) == set(after)
    assert set(ends.values()) == {1}
    assert {key: after[key] for key in settled} == settled
    assert kept.items() <= digests.items()
    assert len(digests) == sum(event["kind"] == "artifact_posted" for event in events)


def _tasks(shell: Shell) -> dict[str, Any]:
    return {task["id"]: task for task in shell("tasks", "latest", "--json").json}


def _digests(shell: Shell) -> dict[str, str]:
    artifacts = shell("artifacts", "latest", "--limit", "10000", "--json").json
    return {artifact["id"]: artifact["digest"] for artifact in artifacts}


def test_two_runs_share_one_data_folder(own: Shell) -> None:
    questions = ("What raises the tides?", "What keeps its water?")
    both = [
        own.start("run", question, "--corpus", "corpus", "--workers", "1", "--json") for question in questions
    ]
    for process, question in zip(both, questions, strict=True):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        assert json.loads(out)["question"] == question


def test_nobody_leads_where_no_coordinator_runs(
    own: Shell, nats_server: NatsServer, redis_server: RedisServer
) -> None:
    where = ("--nats-url", nats_server.url, "--redis-url", redis_server.url)
    run = own("submit", "--spec", "-", *where, stdin=spec("note")).out.strip()
    answer = own("cancel", run, *where, code=4)
    assert "no coordinator leads run" in answer.err
    assert "coordinator serve" in answer.err
