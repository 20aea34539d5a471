"""The verbs that hold runs and mend tasks, over a swarm that runs."""

from tests.verbs.commands import Shell, spec, until


def tasks(shell: Shell, run: str) -> dict:
    return shell("show", run, "--json").json["tasks"]


def test_a_paused_run_begins_nothing_and_goes_on_when_it_is_resumed(shell: Shell) -> None:
    run = shell(
        "submit", "--spec", "-", stdin=spec("nap", roots=[{"agent": "nap", "topic": "a"}])
    ).out.strip()
    until(lambda: tasks(shell, run) == {"running": 1})
    answer = shell("pause", run, "--reason", "lunch", "--json").json
    assert answer == {"run": run, "paused": True, "verdict": "paused"}
    assert shell("show", run, "--json").json["paused"] == "lunch"
    assert "paused" in shell("runs").out
    assert "paused already" in shell("pause", run).err
    assert "goes on" in shell("resume", run).err
    assert shell("resume", run, "--json").json["verdict"] == "unchanged"
    shell("cancel", run)
    assert "has ended" in shell("pause", run).err


def test_pausing_needs_a_run_and_a_reason_that_says_something(shell: Shell) -> None:
    assert "--reason" in shell("pause", "latest", "--reason", "", code=2).err
    assert "no run 'nothing'" in shell("pause", "nothing", code=3).err


def test_a_dead_letter_is_listed_with_its_traceback_and_retried_after_the_end(shell: Shell) -> None:
    run = shell("submit", "--spec", "-", "--wait", stdin=spec("boom", "x"), code=6).out.strip()
    (letter,) = shell("dead", run, "--json").json
    assert (letter["agent"], letter["topic"], letter["attempt"]) == ("boom", "x", 1)
    text = shell("dead", run).out
    assert "boom over x" in text
    assert "Traceback" in text
    reply = shell("retry", run, "--dead", "--reason", "hope", "--json").json
    assert reply == {"run": run, "retried": 1, "refused": []}
    until(lambda: shell("show", run, "--json").json["status"] == "failed")
    (task,) = shell("tasks", run, "--json").json
    assert (task["id"], task["status"], task["attempt"]) == (letter["id"], "dead", 2)
    kinds = [event["kind"] for event in shell("watch", run, "--json").lines]
    assert kinds.index("run_ended") < kinds.index("run_reopened") < kinds.index("tasks_retried")


def test_what_cannot_be_retried_is_refused_with_the_reason(shell: Shell, noted: str) -> None:
    (task,) = shell("tasks", noted, "--json").json
    refused = shell("retry", noted, task["id"], code=1)
    assert "it ended well" in refused.err
    assert "no dead letters" in shell("dead", noted).err
    assert shell("retry", noted, "--dead", "--json").json["retried"] == 0
    assert "TASK" in shell("retry", noted, code=2).err
    assert shell("show", noted, "--json").json["status"] == "done"
