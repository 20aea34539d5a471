"""The verbs that act, and `watch`, over a swarm that runs."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.verbs.commands import Shell, spec, stop, until


def test_submitting_prints_the_runs_id_and_does_not_wait(shell: Shell, napping: str) -> None:
    assert shell("show", napping, "--json").json["status"] == "running"
    assert len(napping.splitlines()) == 1


def test_the_same_run_handed_in_twice_exists_once(shell: Shell) -> None:
    once = spec("note", run="once")
    assert shell("submit", "--spec", "-", "--json", "--wait", stdin=once).json["created"] is True
    again = shell("submit", "--spec", "-", "--json", stdin=once)
    assert again.json == {"run": "once", "created": False}
    assert "was there already" in again.err
    assert shell("submit", "--spec", "-", "--wait", stdin=once).out == "once\n"
    other = shell("submit", "--spec", "-", stdin=spec("note", "another", run="once"), code=2)
    assert "run: run once exists with another spec" in other.err


def test_a_spec_may_come_from_a_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(spec("note"), encoding="utf-8")
    assert shell("submit", "--spec", str(file), "--wait", "--json").json["status"] == "done"
    assert "cannot be read" in shell("submit", "--spec", str(tmp_path / "none.json"), code=2).err
    file.write_text("[")
    assert f"--spec: {file}: not JSON" in shell("submit", "--spec", str(file), code=2).err


@pytest.mark.parametrize(
    ("garbage", "named"),
    [
        ("{", "not JSON"),
        ("", "the body is empty"),
        ("{}", "goal"),
        (spec("note", agents=[{"name": "two words"}]), "agents.0.name"),
        (spec("note", agents=[{"name": "note"}, {"name": "note"}]), "agents.1.name"),
        (spec("note", agents=[{"name": "note", "policy": "guess"}]), "agents.0.policy"),
        (spec("note", roots=[{"agent": "other"}]), "roots.0.agent"),
        (spec("note", tasks=0), "budget.tasks"),
        (spec("note", run="no spaces please"), "run"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_by_field(shell: Shell, garbage: str, named: str) -> None:
    answer = shell("submit", "--spec", "-", stdin=garbage, code=2)
    assert answer.out == ""
    assert answer.err.startswith(f"error: --spec: standard input: {named}")
    assert "Traceback" not in answer.err


def test_unknown_fields_of_a_spec_are_named(shell: Shell) -> None:
    answer = shell("submit", "--spec", "-", "--wait", stdin=spec("note", budjet={"tasks": 1}))
    assert "ignored: budjet" in answer.err


def test_options_that_contradict_are_refused(shell: Shell) -> None:
    for arguments, named in (
        (("submit",), "or hand in a --spec FILE"),
        (("submit", "why?"), "--corpus"),
        (("submit", " ", "--corpus", "corpus"), "QUESTION: is empty"),
        (("submit", "why?", "--corpus", "nowhere"), "--corpus: nowhere does not exist"),
        (("submit", "why?", "--corpus", "corpus", "--budget", "tasks=lots"), "--budget"),
        (("submit", "why?", "--corpus", "corpus", "--timeout", "3"), "--timeout"),
        (("submit", "why?", "--spec", "-"), "--spec"),
        (("cancel", "latest", "--reason", ""), "--reason"),
        (("cancel",), "RUN"),
    ):
        assert named in shell(*arguments, code=2).err


def test_waiting_ends_at_its_timeout_and_the_run_goes_on(shell: Shell) -> None:
    timed = shell("submit", "--spec", "-", "--wait", "--timeout", "0.5", "--json", stdin=spec("nap"), code=5)
    assert timed.json["status"] == "running"
    assert "coordinator watch" in timed.err
    shell("cancel", timed.json["run"])


def test_a_run_that_fails_is_told_by_the_exit_code(shell: Shell) -> None:
    refused = shell("submit", "--spec", "-", "--wait", "--json", stdin=spec("refuse"), code=6)
    assert refused.json["status"] == "failed"
    assert "the topic makes no sense" in refused.err


def test_interrupting_the_wait_leaves_the_run_alone(shell: Shell, napping: str) -> None:
    waiting = shell.start("submit", "--spec", "-", "--wait", stdin=-1)
    assert waiting.stdin is not None
    waiting.stdin.write(spec("nap").encode())
    waiting.stdin.close()
    waiting.stdin = None
    assert waiting.stdout is not None
    run = waiting.stdout.readline().decode().strip()
    assert stop(waiting, signal.SIGINT).code == 130
    assert shell("show", run, "--json").json["status"] == "running"
    shell("cancel", run)


def test_a_cancelled_run_ends_and_keeps_the_reason(shell: Shell) -> None:
    waiting = spec("nobody", agents=[{"name": "nobody"}])
    run = shell("submit", "--spec", "-", stdin=waiting).out.strip()
    answer = shell("cancel", run, "--reason", "no longer wanted", "--json").json
    assert answer.pop("confirmed") == answer.pop("uncertain") == []
    assert answer.pop("tasks") <= 1, "more than the prefetch was dispatched"
    assert answer == {
        "run": run,
        "already_ended": False,
        "status": "cancelled",
        "reason": "no longer wanted",
    }
    again = shell("cancel", run)
    assert "has ended already" in again.err
    assert shell("cancel", run, "--json").json["already_ended"] is True
    assert set(shell("show", run, "--json").json["tasks"]) <= {"cancelled"}


def test_cancelling_says_which_tasks_their_workers_have_stopped(shell: Shell) -> None:
    run = shell("submit", "--spec", "-", stdin=spec("nap")).out.strip()
    until(lambda: shell("show", run, "--json").json["tasks"] == {"running": 1})
    answer = shell("cancel", run, "--json").json
    (task,) = shell("tasks", run, "--json").json
    assert answer["confirmed"] == [{"task": task["id"], "agent": "nap", "worker": task["worker"]}]
    assert (answer["tasks"], answer["uncertain"], task["stop"]) == (1, [], "confirmed")


def test_one_task_of_a_run_can_be_cancelled(shell: Shell) -> None:
    roots = [{"agent": "nap", "topic": topic} for topic in ("a", "b")]
    run = shell("submit", "--spec", "-", stdin=spec("nap", roots=roots, tasks=2)).out.strip()
    until(lambda: shell("show", run, "--json").json["tasks"] == {"running": 2})
    task = shell("tasks", run, "--json").json[0]["id"]
    assert "1 of them ran and have stopped" in shell("cancel", run, task).err
    assert shell("show", run, "--json").json["tasks"] == {"running": 1, "cancelled": 1}
    assert shell("cancel", run, task, "--json").json["already_ended"] is True
    assert "no task 'x'" in shell("cancel", run, "x", code=3).err
    shell("cancel", run)


def test_watching_shows_events_as_they_happen_up_to_the_end(shell: Shell, noted: str) -> None:
    run = shell("submit", "--spec", "-", stdin=spec("nap")).out.strip()
    watching = shell.start("watch", run, "--json")
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert (first["position"], first["kind"]) == (1, "run_created")
    shell("cancel", run)
    out, err = watching.communicate(timeout=20)
    events = [first, *map(json.loads, out.splitlines())]
    assert watching.returncode == 0
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["kind"] == "run_ended"
    assert f"run {run} ended cancelled" in err.decode()


def test_watching_goes_on_after_a_position(shell: Shell, noted: str) -> None:
    events = shell("watch", noted, "--json").lines
    assert shell("watch", noted, "--after", "3", "--json").lines == events[3:]
    text = shell("watch", noted, "--after", "3").out
    assert "task_settled" in text
    assert len(text.splitlines()) == len(events) - 3


def test_watching_survives_the_death_of_the_store(shell: Shell) -> None:
    run = shell("submit", "--spec", "-", stdin=spec("nap")).out.strip()
    until(lambda: shell("show", run, "--json").json["tasks"] == {"running": 1})
    watching = shell.start("watch", run, "--json")
    assert watching.stdout is not None
    positions = [json.loads(watching.stdout.readline())["position"] for _ in range(4)]
    os.kill(int((shell.data / "redis.pid").read_text()), signal.SIGKILL)
    until(lambda: shell("runs", code=None).code == 0)
    shell("cancel", run)
    out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0
    positions += [json.loads(line)["position"] for line in out.splitlines()]
    assert positions == list(range(1, len(positions) + 1))


def test_an_interrupted_watch_says_so(shell: Shell, napping: str) -> None:
    watching = shell.start("watch", napping)
    assert watching.stdout is not None
    watching.stdout.readline()
    ended = stop(watching, signal.SIGINT)
    assert ended.code == 130
    assert ended.err.strip() == "interrupted"
