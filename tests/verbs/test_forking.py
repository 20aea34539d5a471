"""Runs made of others, and two runs side by side, by the commands and over HTTP."""

import pytest

from tests.verbs.commands import Shell, spec, until
from tests.verbs.test_http import Client, client

__all__ = ["client"]


@pytest.fixture(scope="module")
def task(shell: Shell, noted: str) -> str:
    (task,) = shell("tasks", noted, "--json").json
    return task["id"]


def done(shell: Shell, run: str) -> str:
    until(lambda: shell("show", run, "--json").json["status"] == "done")
    return run


def test_a_replay_ends_the_same_and_the_comparison_says_so(shell: Shell, noted: str) -> None:
    answer = shell("replay", noted)
    assert f"shares 0 finished tasks and 1 steps of others with run {noted}" in answer.err
    again = done(shell, answer.out.strip())
    compared = shell("compare", noted, again, "--json").json
    assert compared["same"] is True
    assert (compared["second"]["steps_shared"], compared["second"]["steps_anew"]) == (1, 0)
    assert [one["verdict"] for one in compared["artifacts"]] == ["same", "same"]
    text = shell("compare", noted, again)
    assert "the outcomes are the same; 1 tasks and 2 artifacts are the same in both" in text.err


def test_a_fork_with_another_topic_shows_the_planted_difference(shell: Shell, noted: str, task: str) -> None:
    forked = shell("fork", noted, "--at", task, "--topic", "Adieu", "--json").json
    assert (forked["created"], forked["source"], forked["task"]) == (True, noted, task)
    assert forked["changes"] == [{"what": "topic", "of": task, "was": "Grüße", "now": "Adieu"}]
    done(shell, forked["run"])
    compared = shell("compare", noted, forked["run"], "--json").json
    assert compared["same"] is False
    assert [(one["task"], one["verdict"]) for one in compared["tasks"]] == [(task, "changed")]
    assert [one["verdict"] for one in compared["artifacts"]] == ["changed", "same"]
    text = shell("compare", noted, forked["run"])
    assert "changed: topic of" in text.out
    assert "the outcomes differ" in text.err
    assert f"with run {noted}" in shell("show", forked["run"]).out


@pytest.fixture(scope="module")
def glossed(shell: Shell) -> tuple[str, str, str]:
    """A run in which what was noted is glossed; the task that does, and its input that has the word."""
    agents = [
        {"name": "note", "publishes": ["note"], "max_visits": 1},
        {"name": "gloss", "trigger": "artifacts", "consumes": ["note"]},
    ]
    run = shell("submit", "--spec", "-", "--wait", stdin=spec("note", "word", agents=agents)).out.strip()
    (task,) = shell("tasks", run, "--agent", "gloss", "--json").json
    (small,) = shell("artifacts", run, "--tag", "short", "--json").json
    assert small["id"] in task["inputs"]
    assert small["id"] in shell("tasks", run, task["id"]).out
    return run, task["id"], small["id"]


def lengths(shell: Shell, run: str) -> str:
    done(shell, run)
    (found,) = shell("artifacts", run, "--producer", "gloss", "--json").json
    return found["payload"]["text"]


def test_a_fork_gives_a_task_another_input_from_a_file(shell: Shell, glossed: tuple[str, str, str]) -> None:
    run, task, small = glossed
    (shell.home / "longer.json").write_text('{"text": "a longer word"}')
    forked = shell("fork", run, "--at", task, "--input", f"{small}=@longer.json", "--json").json
    (change,) = forked["changes"]
    assert (change["what"], change["of"], change["was"]) == ("input", task, small)
    assert lengths(shell, forked["run"]) == "lengths [13, 100000]"
    assert f"operator, task {task}, attempt 0" in shell("artifacts", forked["run"], change["now"]).out
    compared = shell("compare", run, forked["run"])
    assert f"changed: input of {task}: {change['now']} (was: {small})" in compared.out
    own = shell("artifacts", run, "--producer", "gloss", "--json").json[0]["id"]
    for given, words in (
        (small, "write ARTIFACT=OTHER"),
        (f"{small}=@none.json", "none.json cannot be read"),
        (f"{small}={own[:12]}", "is a gloss version 1; give a note version 1"),
        (f"{own}=@longer.json", "is no input of the task where the runs part; name one of art-"),
    ):
        assert words in shell("fork", run, "--at", task, "--input", given, code=2).err


def test_a_divergence_is_shown_with_both_requests(shell: Shell, noted: str, task: str) -> None:
    run = done(shell, shell("replay", noted, task, "--topic", "Adieu").out.strip())
    (diverged,) = shell("compare", noted, run, "--json").json["diverged"]
    assert ("Grüße" in diverged["recorded"], "Adieu" in diverged["asked"]) == (True, True)
    text = shell("compare", noted, run).out
    assert f"task {task} of run {run} asked something else at step 0; it went on" in text


def test_a_fork_of_the_same_id_is_made_once(shell: Shell, noted: str, task: str) -> None:
    for created in (True, False):
        answer = shell(
            "fork", noted, "--at", f"{task}:1", "--goal", "otherwise", "--id", "forked-once", "--json"
        )
        assert answer.json["created"] is created
    assert "comes from elsewhere" in shell("fork", noted, "--at", task, "--id", "forked-once", code=2).err


def test_what_is_wrong_with_a_fork_is_said(shell: Shell, noted: str, task: str) -> None:
    assert "no task 'task-none'" in shell("fork", noted, "--at", "task-none", code=3).err
    assert "no run 'nothing'" in shell("fork", "nothing", "--at", task, code=3).err
    assert "--at" in shell("fork", noted, "--at", f"{task}:x", code=2).err
    assert "write AGENT=BUILD" in shell("fork", noted, "--at", task, "--build", "2", code=2).err
    assert "has recorded 1 steps" in shell("fork", noted, "--at", f"{task}:9", code=2).err
    assert "no task of run" in shell("fork", noted, "--at", task, "--model", "openai/x", code=2).err
    assert "has no agent 'nobody'" in shell("replay", noted, "--prompt", "nobody=so", code=2).err
    assert "'so' has no text" in shell("replay", noted, "--prompt", "so", code=2).err
    assert "name the task" in shell("replay", noted, "--topic", "so", code=2).err
    assert "no run 'nothing'" in shell("compare", noted, "nothing", code=3).err


def test_a_prompt_for_an_agent_that_takes_none_fails_its_task_and_says_so(shell: Shell, noted: str) -> None:
    run = shell("replay", noted, "--prompt", "note=be brief").out.strip()
    until(lambda: shell("show", run, "--json").json["status"] == "failed")
    assert "agent 'note' is no DSPy module and takes none" in shell("show", run).out


def test_nobody_submits_a_run_that_says_it_comes_from_another(shell: Shell) -> None:
    origin = {"verb": "fork", "run": "a", "root": "a", "head": 1}
    assert "origin" in shell("submit", "--spec", "-", stdin=spec("note", origin=origin), code=2).err


def test_runs_are_forked_replayed_and_compared_over_http(
    shell: Shell, client: Client, noted: str, task: str, glossed: tuple[str, str, str]
) -> None:
    forked = client("POST", f"/v1/runs/{noted}/fork", {"at": f"{task}:1", "goal": "else"}, status=201)
    again = client("POST", f"/v1/runs/{noted}/replay", {"id": "http-again"}, status=201)
    assert client("POST", f"/v1/runs/{noted}/replay", {"id": "http-again"})["created"] is False
    for run in (forked["run"], again["run"]):
        until(lambda run=run: client("GET", f"/v1/runs/{run}")["status"] == "done")
        assert client("GET", f"/v1/runs/{noted}/compare/{run}")["same"] is True
    run, gloss, small = glossed
    inputs = {"at": gloss, "inputs": {small: {"payload": {"text": "ab"}}}}
    assert (
        lengths(shell, client("POST", f"/v1/runs/{run}/fork", inputs, status=201)["run"])[:11]
        == "lengths [2,"
    )
    inputs["inputs"] = {small: {}}
    assert f"inputs.{small}" in client("POST", f"/v1/runs/{run}/fork", inputs, status=400)["message"]
    assert "at" in client("POST", f"/v1/runs/{noted}/fork", {"at": "a b"}, status=400)["message"]
    assert client("POST", f"/v1/runs/{noted}/fork", {"at": "task-none"}, status=404)["error"] == "NotFound"
    assert "steps" in client("POST", f"/v1/runs/{noted}/fork", {"at": f"{task}:7"}, status=400)["message"]
